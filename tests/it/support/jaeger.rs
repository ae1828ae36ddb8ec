//! A real Jaeger, whose program is also a Collector.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Folder, Process};
use super::{Response, find_program, free_port, get, wait_for};

/// The limit for a start, and for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address on loopback that nobody listens on.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The program with a configuration of its own. The built-in one opens a dozen fixed ports.
#[derive(Debug)]
pub struct Program {
    process: Process,
    folder: Folder,
}

impl Program {
    /// Starts it, and waits until it listens on these addresses; `None` where it is not installed.
    pub fn start(mut config: Value, addrs: &[SocketAddr]) -> Option<Self> {
        let program = find_program("jaeger")?;
        let folder = Folder::new("jaeger");
        config["service"]["telemetry"] = json!({"metrics": {"level": "none"}, "logs": {"level": "warn"}});
        // JSON is YAML.
        let path = folder.path().join("config.yaml");
        fs::write(&path, config.to_string()).expect("the configuration can be written");
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let child = Command::new(program)
            .arg(format!("--config={}", path.display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("jaeger starts");
        let mut program = Self { process: Process(child), folder };
        for addr in addrs {
            wait_for("jaeger listens", PATIENCE, || {
                let ended = program.process.0.try_wait().expect("it can be waited for");
                assert!(ended.is_none(), "jaeger has ended: {}", program.log());
                TcpStream::connect(addr).ok()
            });
        }
        Some(program)
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.process.0.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A receiver of OTLP on these addresses.
pub fn otlp_receiver(grpc: SocketAddr, http: SocketAddr) -> Value {
    json!({"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}})
}

/// A Jaeger that keeps its spans in memory.
#[derive(Debug)]
pub struct Jaeger {
    pub program: Program,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    /// Where it is queried.
    pub api: SocketAddr,
}

impl Jaeger {
    /// Starts Jaeger; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_on(free_address(), free_address())
    }

    /// Starts Jaeger with OTLP on these addresses; `None` where it is not installed.
    pub fn start_on(grpc: SocketAddr, http: SocketAddr) -> Option<Self> {
        Self::start_with(grpc, http, otlp_receiver(grpc, http))
    }

    /// Starts one that takes no OTLP, but Zipkin's spans at the address of OTLP/HTTP.
    pub fn without_otlp() -> Option<Self> {
        let http = free_address();
        Self::start_with(http, http, json!({"zipkin": {"endpoint": http}}))
    }

    /// Starts Jaeger with these receivers, which listen on these addresses; `None` where it is not installed.
    pub fn start_with(grpc: SocketAddr, http: SocketAddr, receivers: Value) -> Option<Self> {
        let (api, api_grpc) = (free_address(), free_address());
        let names: Vec<&String> = receivers.as_object().into_iter().flat_map(|receivers| receivers.keys()).collect();
        let config = json!({
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": api},
                    "grpc": {"endpoint": api_grpc},
                },
            },
            "receivers": receivers,
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": names, "exporters": ["jaeger_storage_exporter"]}},
            },
        });
        let program = Program::start(config, &[grpc, http, api])?;
        Some(Self { program, grpc, http, api })
    }

    /// Returns its answer to a request of its API.
    pub fn ask(&self, path: &str) -> Response {
        get(self.api, path, PATIENCE).expect("jaeger answers")
    }

    /// Returns all spans of a service.
    pub fn spans(&self, service: &str) -> Vec<Span> {
        spans_of(&self.ask(&format!(
            "/api/v3/traces?query.service_name={service}&query.num_traces=100000\
             &query.start_time_min=2020-01-01T00:00:00Z&query.start_time_max=2100-01-01T00:00:00Z"
        )))
    }

    /// Waits until it has so many spans of a service, and returns them.
    pub fn wait_for_spans(&self, service: &str, count: usize) -> Vec<Span> {
        wait_for("jaeger has the spans", PATIENCE, || Some(self.spans(service)).filter(|spans| spans.len() >= count))
    }

    /// Returns the spans of a trace.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        spans_of(&self.ask(&format!("/api/v3/traces/{id}")))
    }

    /// Returns the ids of the traces that its user interface finds for the query of one of its URLs.
    pub fn search(&self, query: &str) -> Vec<String> {
        let response = self.ask(&format!("/api/traces?{query}"));
        let answer: Value = serde_json::from_str(&response.body).expect("jaeger answers in JSON");
        let traces = answer["data"].as_array().unwrap_or_else(|| panic!("no traces: {answer:#}"));
        traces.iter().map(|trace| text(&trace["traceID"])).collect()
    }
}

/// A Collector made of Jaeger's program, between programs and backends.
#[derive(Debug)]
pub struct Between {
    pub program: Program,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    /// Where Prometheus scrapes the metrics, if the Collector has such a page.
    pub page: SocketAddr,
}

/// What a Collector does. It has a pipeline only for the signals that it sends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    /// Where it sends traces by OTLP/gRPC.
    pub traces: Option<SocketAddr>,
    /// The Prometheus to whose OTLP receiver it sends metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether it serves the metrics on a page.
    pub has_page: bool,
}

impl Between {
    /// Starts the Collector; `None` where it is not installed.
    pub fn start(ways: Ways) -> Option<Self> {
        let (grpc, http, page) = (free_address(), free_address(), free_address());
        let mut addrs = vec![grpc, http];
        let mut exporters = json!({});
        let mut pipelines = json!({});
        let mut add = |signal: &str, name: &str, config: Value| {
            exporters[name] = config;
            pipelines[signal]["receivers"] = json!(["otlp"]);
            let names = &mut pipelines[signal]["exporters"];
            let others = names.as_array().cloned().unwrap_or_default();
            *names = others.into_iter().chain([json!(name)]).collect();
        };
        if let Some(addr) = ways.traces {
            add("traces", "otlp", json!({"endpoint": addr, "tls": {"insecure": true}}));
        }
        if let Some(addr) = ways.metrics {
            add("metrics", "otlphttp", json!({"endpoint": format!("http://{addr}/api/v1/otlp")}));
        }
        if ways.has_page {
            add("metrics", "prometheus", json!({"endpoint": page}));
            addrs.push(page);
        }
        let receivers = otlp_receiver(grpc, http);
        let service = json!({"pipelines": pipelines});
        let program =
            Program::start(json!({"receivers": receivers, "exporters": exporters, "service": service}), &addrs)?;
        Some(Self { program, grpc, http, page })
    }
}

/// A span as Jaeger returns it.
#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace: String,
    pub parent: String,
    pub id: String,
    pub name: String,
    /// 3 is a client's, see `SpanKind` of OTLP.
    pub kind: u64,
    /// 2 is an error, see `Status` of OTLP.
    pub status: u64,
    /// In nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, Value>,
}

impl Span {
    /// Returns the text of an attribute, empty if it has none.
    pub fn text(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the number of an attribute, 0 if it has none.
    pub fn number(&self, attribute: &str) -> u64 {
        self.attributes.get(attribute).and_then(Value::as_u64).unwrap_or_default()
    }

    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.end - self.start).as_secs_f64()
    }

    fn of(span: &Value) -> Self {
        let attributes = span["attributes"].as_array().into_iter().flatten();
        let time = |value: &Value| text(value).parse().expect("a time is a number");
        Self {
            trace: text(&span["traceId"]),
            parent: text(&span["parentSpanId"]),
            id: text(&span["spanId"]),
            name: text(&span["name"]),
            kind: span["kind"].as_u64().unwrap_or_default(),
            status: span["status"]["code"].as_u64().unwrap_or_default(),
            start: time(&span["startTimeUnixNano"]),
            end: time(&span["endTimeUnixNano"]),
            attributes: attributes.map(|attribute| (text(&attribute["key"]), plain(&attribute["value"]))).collect(),
        }
    }
}

fn spans_of(response: &Response) -> Vec<Span> {
    if response.status == 404 {
        return Vec::new();
    }
    assert_eq!(response.status, 200, "{}", response.body);
    let answer: Value = serde_json::from_str(&response.body).expect("jaeger answers in JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let scopes =
        list(&answer["result"]["resourceSpans"]).into_iter().flat_map(|resource| list(&resource["scopeSpans"]));
    scopes.flat_map(|scope| list(&scope["spans"])).map(|span| Span::of(&span)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the value inside `{"stringValue": …}`. Whole numbers come as text.
fn plain(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|value| value.iter().next()) else { return Value::Null };
    match (kind.as_str(), inner.as_str().and_then(|text| text.parse::<i64>().ok())) {
        ("intValue", Some(number)) => number.into(),
        _ => inner.clone(),
    }
}
