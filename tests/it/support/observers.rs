//! The query sides of Jaeger, of Grafana and of a Prometheus in a container, as far as the doctor asks them: none can be had here.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::RawQuery;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Answers `/api/services` as Jaeger does.
#[derive(Debug)]
pub struct Jaeger {
    _runtime: Runtime,
    pub addr: SocketAddr,
}

impl Jaeger {
    pub fn knowing(services: &[&str]) -> Self {
        let answer = json!({"data": services, "total": services.len(), "limit": 0, "offset": 0, "errors": null});
        let (runtime, addr) = serve(Router::new().route("/api/services", get(|| async move { Json(answer) })));
        Self { _runtime: runtime, addr }
    }
}

/// Hands the queries of the datasource `prometheus` to a Prometheus, as Grafana does.
#[derive(Debug)]
pub struct Grafana {
    _runtime: Runtime,
    pub addr: SocketAddr,
}

impl Grafana {
    pub fn before(prometheus: SocketAddr) -> Self {
        let ask = move |RawQuery(query): RawQuery| async move {
            let path = format!("/api/v1/query?{}", query.unwrap_or_default());
            let asked = tokio::task::spawn_blocking(move || super::get(prometheus, &path, Duration::from_secs(10)));
            let answer = asked.await.ok().and_then(Result::ok).ok_or(axum::http::StatusCode::BAD_GATEWAY)?;
            Ok::<_, axum::http::StatusCode>(answer.body)
        };
        let path = "/api/datasources/proxy/uid/prometheus/api/v1/query";
        let (runtime, addr) = serve(Router::new().route(path, get(ask)));
        Self { _runtime: runtime, addr }
    }
}

/// Tells of one target that is down, as a Prometheus does whose words can't be had from one on this machine.
#[derive(Debug)]
pub struct PrometheusElsewhere {
    _runtime: Runtime,
    pub addr: SocketAddr,
}

impl PrometheusElsewhere {
    pub fn failing(target: &str, error: &str) -> Self {
        let target = json!({
            "scrapeUrl": format!("http://{target}/metrics"),
            "lastError": error,
            "health": "down",
            "labels": {"job": "botticelli", "instance": target},
        });
        let nothing = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
        let targets = json!({"status": "success", "data": {"activeTargets": [target], "droppedTargets": []}});
        let router = Router::new()
            .route("/api/v1/query", get(|| async move { Json(nothing) }))
            .route("/api/v1/targets", get(|| async move { Json(targets) }));
        let (runtime, addr) = serve(router);
        Self { _runtime: runtime, addr }
    }
}

fn serve(router: Router) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().expect("a runtime can be had");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    runtime.spawn(async move { axum::serve(listener, router).await });
    (runtime, addr)
}
