//! A real store that takes metrics by OTLP: VictoriaMetrics, from 1.112.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::page::Page;
use super::server::{Folder, Process};
use super::{find_program, free_port, get, wait_for};

#[derive(Debug)]
pub struct Store {
    _process: Process,
    _folder: Folder,
    addr: SocketAddr,
}

impl Store {
    /// Starts the store with these options; `None` where it is not installed, or older than OTLP.
    #[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
    pub fn start(options: &[&str]) -> Option<Self> {
        let program = find_program("victoria-metrics")?;
        let help = Command::new(&program).arg("-help").output().expect("victoria-metrics runs");
        if ![help.stdout, help.stderr].concat().windows(14).any(|window| window == b"-opentelemetry") {
            let required = std::env::var_os("REQUIRE_BACKENDS").is_some_and(|value| value == "1");
            assert!(!required, "{} takes no OTLP, and REQUIRE_BACKENDS=1", program.display());
            eprintln!("skipped: {} is older than 1.112", program.display());
            return None;
        }
        let folder = Folder::new("store");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let child = Command::new(program)
            .arg(format!("-httpListenAddr={addr}"))
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .arg("-search.latencyOffset=0s")
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("victoria-metrics starts");
        let store = Self { _process: Process(child), _folder: folder, addr };
        wait_for("victoria-metrics is ready", Duration::from_secs(60), || {
            get(addr, "/health", Duration::from_secs(1)).ok().filter(|response| response.status == 200)
        });
        Some(store)
    }

    /// Where it takes metrics.
    pub fn endpoint(&self) -> String {
        format!("http://{}/opentelemetry/v1/metrics", self.addr)
    }

    /// Returns all it holds as samples of a page, without the labels made of the resource.
    pub fn samples(&self) -> Page {
        let ask = |path: &str| get(self.addr, path, Duration::from_secs(10)).expect("victoria-metrics answers").body;
        ask("/internal/force_flush");
        let answer = ask("/api/v1/query?query=%7B__name__%21%3D%22%22%7D");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("it answers in JSON");
        let mut page = Page::default();
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let labels = series["metric"].as_object().expect("a series has labels");
            let labels =
                labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            let (names, labels): (Vec<_>, Vec<_>) = labels.partition(|(name, _)| name == "__name__");
            let is_own = |name: &str| {
                !["service", "telemetry", "job", "instance", "scope"].iter().any(|of| name.starts_with(of))
            };
            let labels = labels.into_iter().filter(|(name, _)| is_own(name)).collect();
            let value = series["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a series has a value");
            page.samples.insert((names[0].1.clone(), labels), value);
        }
        page
    }
}
