//! The query sides of Grafana, of other versions of Jaeger, and of a Prometheus in a container, as far as the doctor asks them: none can
//! be had here.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{OriginalUri, RawQuery};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A real Jaeger without a part of its API, as another version.
#[derive(Debug)]
pub struct OtherJaeger {
    _runtime: Runtime,
    pub addr: SocketAddr,
}

impl OtherJaeger {
    /// As those of before `/api/v3`, which answer everything else with the page of their user interface.
    pub fn older(jaeger: SocketAddr) -> Self {
        let ask = move |OriginalUri(uri): OriginalUri| async move {
            if uri.path().starts_with("/api/v3/") {
                return (StatusCode::OK, "<!doctype html>".to_owned());
            }
            hand_on(jaeger, uri.to_string()).await
        };
        let (runtime, addr) = serve(Router::new().fallback(ask));
        Self { _runtime: runtime, addr }
    }

    /// As those of since August 2026, which have nothing but `/api/v3`.
    pub fn newer(jaeger: SocketAddr) -> Self {
        let ask = move |OriginalUri(uri): OriginalUri| async move {
            if !uri.path().starts_with("/api/v3/") {
                return (StatusCode::NOT_FOUND, "404 page not found".to_owned());
            }
            hand_on(jaeger, uri.to_string()).await
        };
        let (runtime, addr) = serve(Router::new().fallback(ask));
        Self { _runtime: runtime, addr }
    }
}

/// Returns what a server answers.
async fn hand_on(to: SocketAddr, path: String) -> (StatusCode, String) {
    let asked = tokio::task::spawn_blocking(move || super::get(to, &path, Duration::from_secs(10)));
    match asked.await.ok().and_then(Result::ok) {
        Some(answer) => (StatusCode::from_u16(answer.status).expect("a status"), answer.body),
        None => (StatusCode::BAD_GATEWAY, String::new()),
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
            hand_on(prometheus, path).await
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
