//! Real servers as child processes: started on loopback, stopped by dropping them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{find_program, free_port, get, wait_for};

/// A child process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("botticelli-obs-{name}-{}-{}", std::process::id(), free_port()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The labels and the value of a series.
pub type Sample = (serde_json::Map<String, serde_json::Value>, f64);

fn encoded(expr: &str) -> String {
    expr.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns the answer to an instant query of a server that speaks Prometheus' API.
pub fn query(addr: SocketAddr, expr: &str) -> Vec<Sample> {
    let path = format!("/api/v1/query?query={}", encoded(expr));
    let response = get(addr, &path, Duration::from_secs(30)).expect("it answers");
    assert_eq!(response.status, 200, "{expr}: {}", response.body);
    let answer: serde_json::Value = serde_json::from_str(&response.body).expect("it answers in JSON");
    let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let value = |series: &serde_json::Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
    let labels = |series: &serde_json::Value| series["metric"].as_object().cloned().unwrap_or_default();
    result.iter().map(|series| (labels(series), value(series).expect("a sample has a value"))).collect()
}

/// A real Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    folder: Folder,
    addr: SocketAddr,
}

impl Prometheus {
    /// Starts Prometheus with one job `botticelli` that scrapes this target; `None` where it is not installed.
    pub fn scraping(target: SocketAddr, interval: &str) -> Option<Self> {
        Self::scraping_as("botticelli", target, interval)
    }

    /// The same with a job of another name.
    pub fn scraping_as(job: &str, target: SocketAddr, interval: &str) -> Option<Self> {
        let folder = Folder::new("prometheus");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\nscrape_configs:\n  - job_name: {job}\n    static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(&config, text).expect("the configuration can be written");
        Self::with_config(&config, folder)
    }

    /// Starts this program, a Prometheus of some version, which scrapes the target each second and keeps exemplars; `None` where it
    /// is not installed.
    pub fn with_exemplars(program: &str, target: SocketAddr) -> Option<Self> {
        let folder = Folder::new("prometheus");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  - job_name: botticelli\n    static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(&config, text).expect("the configuration can be written");
        Self::start(program, &["--enable-feature=exemplar-storage"], &config, folder)
    }

    /// Starts this program, a Prometheus 3, which scrapes nothing; with its OTLP receiver, or without. `None` where it is not installed.
    pub fn of_pushes(program: &str, has_receiver: bool) -> Option<Self> {
        let folder = Folder::new("prometheus");
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "scrape_configs: []\n").expect("the configuration can be written");
        let options = if has_receiver { &["--web.enable-otlp-receiver"][..] } else { &[] };
        Self::start(program, options, &config, folder)
    }

    /// Starts Prometheus with this configuration and its data in a folder; `None` where it is not installed.
    pub fn with_config(config: &Path, folder: Folder) -> Option<Self> {
        Self::start("prometheus", &[], config, folder)
    }

    fn start(program: &str, options: &[&str], config: &Path, folder: Folder) -> Option<Self> {
        let program = find_program(program)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let prometheus = Self { _process: Process(child), folder, addr };
        wait_for("prometheus is ready", Duration::from_secs(60), || {
            get(addr, "/-/ready", Duration::from_secs(1)).ok().filter(|response| response.status == 200)
        });
        Some(prometheus)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the answer to an instant query.
    pub fn query(&self, expr: &str) -> Vec<Sample> {
        query(self.addr, expr)
    }

    /// Returns the exemplars of what a query selects: the labels of the series, and the exemplar.
    pub fn exemplars(&self, query: &str) -> Vec<(serde_json::Value, serde_json::Value)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let (query, start, end) = (encoded(query), now - 600, now + 600);
        let path = format!("/api/v1/query_exemplars?query={query}&start={start}&end={end}");
        let answer = get(self.addr, &path, Duration::from_secs(30)).expect("prometheus answers");
        let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("prometheus answers in JSON");
        let series = answer["data"].as_array().cloned().unwrap_or_default();
        let of_series = |series: serde_json::Value| {
            let exemplars = series["exemplars"].as_array().cloned().unwrap_or_default();
            exemplars.into_iter().map(move |exemplar| (series["seriesLabels"].clone(), exemplar))
        };
        series.into_iter().flat_map(of_series).collect()
    }

    /// Returns what Prometheus knows of the families: type and help by name, through `/api/v1/metadata`.
    pub fn metadata(&self) -> serde_json::Value {
        let response = get(self.addr, "/api/v1/metadata", Duration::from_secs(30)).expect("prometheus answers");
        serde_json::from_str(&response.body).expect("prometheus answers in JSON")
    }

    /// Returns what Prometheus has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A real node_exporter with nothing but its textfile collector.
#[derive(Debug)]
pub struct NodeExporter {
    _process: Process,
    addr: SocketAddr,
}

impl NodeExporter {
    /// Starts node_exporter on the files of this folder; `None` where it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = find_program("prometheus-node-exporter")?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(program)
            .args(["--collector.disable-defaults", "--collector.textfile", "--web.disable-exporter-metrics"])
            .arg(format!("--collector.textfile.directory={}", folder.display()))
            .arg(format!("--web.listen-address={addr}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts");
        let exporter = Self { _process: Process(child), addr };
        wait_for("node_exporter listens", Duration::from_secs(30), || std::net::TcpStream::connect(addr).ok());
        Some(exporter)
    }

    /// Returns what it serves.
    pub fn page(&self) -> String {
        get(self.addr, "/metrics", Duration::from_secs(10)).expect("node_exporter answers").body
    }
}

/// A real OTLP collector process (rotel) that prints what it receives.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    folder: Folder,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Collector {
    /// Starts the collector; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// Starts the collector with gRPC on this address; `None` where it is not installed.
    pub fn start_on(grpc: SocketAddr) -> Option<Self> {
        Self::start_with(grpc, &["--debug-log", "traces"])
    }

    /// Starts one that prints metrics too.
    pub fn of_metrics(grpc: SocketAddr) -> Option<Self> {
        Self::start_with(grpc, &["--debug-log", "traces", "--debug-log", "metrics"])
    }

    /// Starts one that refuses metrics in the way of Jaeger: UNIMPLEMENTED by gRPC, 404 by HTTP.
    pub fn of_traces_only() -> Option<Self> {
        let grpc = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::start_with(grpc, &["--debug-log", "traces", "--otlp-receiver-metrics-disabled"])
    }

    fn start_with(grpc: SocketAddr, options: &[&str]) -> Option<Self> {
        let program = find_program("rotel-agent")?;
        let folder = Folder::new("collector");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let errors = log.try_clone().expect("the log can be shared");
        let child = Command::new(program)
            .args(["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"])
            .args(options)
            .arg("--otlp-grpc-endpoint")
            .arg(grpc.to_string())
            .arg("--otlp-http-endpoint")
            .arg(http.to_string())
            .arg("--pid-file")
            .arg(folder.path().join("pid"))
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("rotel-agent starts");
        let collector = Self { process: Process(child), folder, grpc, http };
        for addr in [grpc, http] {
            wait_for("rotel-agent listens", Duration::from_secs(60), || std::net::TcpStream::connect(addr).ok());
        }
        Some(collector)
    }

    /// Stops it.
    pub fn stop(mut self) {
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
    }

    /// Waits until it has printed so many spans, and returns them.
    pub fn spans(&self, count: usize) -> Vec<CollectedSpan> {
        wait_for("the collector prints the spans", Duration::from_secs(30), || {
            let spans = CollectedSpan::parse_all(&self.received());
            (spans.len() >= count && spans.iter().all(|span| !span.status.is_empty())).then_some(spans)
        })
    }

    /// Returns what it has printed: resource, scope, ids, parents, attributes of each span.
    pub fn received(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A span as the collector has printed it.
#[derive(Clone, Debug, Default)]
pub struct CollectedSpan {
    pub trace: String,
    pub parent: String,
    pub id: String,
    pub name: String,
    pub kind: String,
    pub status: String,
    /// Values with their types, such as `Int(12)`.
    pub attributes: BTreeMap<String, String>,
}

impl CollectedSpan {
    fn parse_all(printed: &str) -> Vec<Self> {
        let spans = printed.split("\nSpan #").skip(1);
        spans.map(|span| Self::parse(span.split("\nResourceSpans #").next().unwrap_or_default())).collect()
    }

    fn parse(printed: &str) -> Self {
        let field = |name: &str| {
            let found = printed.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
            found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        // Events, which have attributes of their own, come after those of the span.
        let attributes = printed.split("\nEvents:").next().unwrap_or_default().lines();
        let attributes = attributes.filter_map(|line| line.trim().strip_prefix("-> ")?.split_once(": "));
        Self {
            trace: field("Trace ID"),
            parent: field("Parent ID"),
            id: field("ID"),
            name: field("Name"),
            kind: field("Kind"),
            status: field("Status code"),
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }
}
