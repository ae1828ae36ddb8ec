//! The stack's servers with its own configurations, which differ from the shipped ones in addresses only.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::queries;
use crate::support::server::{Folder, Process, Sample, query};
use crate::support::{find_program, find_program_of_hand_runs, free_port, get, wait_for};

/// A server on loopback with a folder of its own.
pub struct Server {
    process: Process,
    absent: Absent,
    pub addr: SocketAddr,
}

/// A server that does not run, with the folder that it had.
pub struct Absent {
    command: Command,
    folder: Folder,
    /// Where it is to answer when it is ready.
    ready: (SocketAddr, &'static str),
}

impl Absent {
    /// Starts it, and waits until it is ready.
    pub fn start(mut self) -> Server {
        let log = File::create(self.folder.path().join("log")).expect("the log can be written");
        let child = self.command.stdout(Stdio::null()).stderr(log).spawn().expect("the server starts");
        let (addr, path) = self.ready;
        let server = Server { process: Process(child), absent: self, addr };
        wait_for(path, Duration::from_secs(60), || {
            get(addr, path, Duration::from_secs(2)).ok().filter(|response| response.status == 200)
        });
        server
    }
}

impl Server {
    /// Starts it, and waits until it answers at this path.
    fn start(command: Command, folder: Folder, ready: (SocketAddr, &'static str)) -> Self {
        Absent { command, folder, ready }.start()
    }

    /// Ends it as a failure of its machine would.
    pub fn stop(self) -> Absent {
        drop(self.process);
        self.absent
    }

    /// Returns the answer to an instant query.
    pub fn query(&self, expr: &str) -> Vec<Sample> {
        query(self.addr, expr)
    }

    /// Returns what it serves at a path.
    pub fn json(&self, path: &str) -> Value {
        let response = get(self.addr, path, Duration::from_secs(10)).expect("it answers");
        serde_json::from_str(&response.body).expect("it answers in JSON")
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A copy of a folder of the stack and its folders.
fn copy(name: &str) -> Folder {
    let folder = Folder::new("stack");
    for file in queries::files(name) {
        let target = folder.path().join(file.strip_prefix(&format!("{name}/")).expect("a file lies in its folder"));
        if queries::path(&file).is_dir() {
            fs::create_dir(&target).expect("a folder can be made");
            for inner in queries::files(&file) {
                let name = inner.rsplit('/').next().expect("a file has a name");
                fs::copy(queries::path(&inner), target.join(name)).expect("a file can be copied");
            }
        } else {
            fs::copy(queries::path(&file), target).expect("a file can be copied");
        }
    }
    folder
}

/// Starts Prometheus with the shipped configuration and rules; `None` where it is not installed.
pub fn prometheus(targets: &[SocketAddr], alertmanager: Option<SocketAddr>) -> Option<Server> {
    start_prometheus(Command::new(find_program("prometheus")?), targets, alertmanager)
}

/// Starts Prometheus 3 likewise, which also takes pushes; `None` where it is not installed.
pub fn prometheus_3(targets: &[SocketAddr]) -> Option<Server> {
    let mut command = Command::new(find_program("prometheus3")?);
    command.args(["--web.enable-otlp-receiver", "--web.enable-remote-write-receiver"]);
    start_prometheus(command, targets, None)
}

fn start_prometheus(mut command: Command, targets: &[SocketAddr], alertmanager: Option<SocketAddr>) -> Option<Server> {
    let folder = copy("prometheus");
    let list = |addrs: &[SocketAddr]| serde_json::json!([{ "targets": addrs }]).to_string();
    fs::write(folder.path().join("targets.yml"), list(targets)).expect("the targets can be written");
    if let Some(addr) = alertmanager {
        fs::write(folder.path().join("alertmanagers.yml"), list(&[addr])).expect("the alertmanagers can be written");
    }
    let addr = free_address();
    command
        .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={addr}"));
    Some(Server::start(command, folder, (addr, "/-/ready")))
}

/// A Collector with configurations of `examples/stack/collector`.
pub struct Collector {
    process: Process,
    folder: Folder,
    pub grpc: SocketAddr,
}

/// The addresses behind a Collector.
#[derive(Clone, Copy)]
pub struct Behind {
    pub jaeger: SocketAddr,
    pub prometheus: SocketAddr,
    /// The page that it scrapes, if it does.
    pub page: Option<SocketAddr>,
}

impl Collector {
    /// Starts the Collector, and waits until it listens; `None` where it is not installed.
    pub fn start(behind: Behind) -> Option<Self> {
        let program = find_program_of_hand_runs("otelcol")?;
        let (grpc, http, folder) = (free_address(), free_address(), Folder::new("otelcol"));
        let mut command = Command::new(program);
        let mut write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::write(&path, text).expect("the configuration can be written");
            command.arg(format!("--config={}", path.display()));
        };
        // Two of them on one machine would meet on its port.
        write("telemetry.yaml", "service: {telemetry: {metrics: {level: none}}}");
        let mut add = |file: &str, addresses: &[(&str, SocketAddr)]| {
            let mut text = queries::read(&format!("collector/{file}"));
            for (shipped, addr) in addresses {
                assert!(text.contains(shipped), "{file} has another address than {shipped}");
                text = text.replace(shipped, &addr.to_string());
            }
            write(file, &text);
        };
        let [receives, sends] = [
            [("0.0.0.0:4317", grpc), ("0.0.0.0:4318", http)],
            [("jaeger:4317", behind.jaeger), ("prometheus:9090", behind.prometheus)],
        ];
        add("collector.yaml", &[receives, sends].concat());
        if let Some(page) = behind.page {
            add("collector.scrape.yaml", &[("host.docker.internal:9464", page)]);
        }
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the Collector starts");
        let mut collector = Self { process: Process(child), folder, grpc };
        wait_for("the Collector listens", Duration::from_secs(60), || {
            let ended = collector.process.0.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "the Collector has ended: {}", collector.log());
            TcpStream::connect(grpc).ok()
        });
        Some(collector)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Starts an Alertmanager that tells nobody; `None` where it is not installed.
pub fn alertmanager() -> Option<Server> {
    let mut command = Command::new(find_program("prometheus-alertmanager")?);
    let (folder, addr) = (Folder::new("alertmanager"), free_address());
    let config = folder.path().join("alertmanager.yml");
    fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").expect("it can be written");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={addr}"))
        .arg("--cluster.listen-address=");
    Some(Server::start(command, folder, (addr, "/-/ready")))
}

/// Starts VictoriaMetrics; `None` where it is not installed.
pub fn victoria_metrics() -> Option<Server> {
    let mut command = Command::new(find_program("victoria-metrics")?);
    let (folder, addr) = (Folder::new("victoria-metrics"), free_address());
    command
        .arg(format!("-httpListenAddr={addr}"))
        .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
        .arg("-search.latencyOffset=0s");
    Some(Server::start(command, folder, (addr, "/health")))
}

/// A machine with one program, whose Prometheus agent is to be started.
pub struct Machine<'a> {
    pub id: &'a str,
    pub target: SocketAddr,
    pub store: SocketAddr,
}

impl Machine<'_> {
    /// Starts the agent with the shipped configuration; `None` where Prometheus is not installed.
    pub fn agent(&self) -> Option<Server> {
        let program = find_program("prometheus")?;
        let help = Command::new(&program).arg("--help").output().expect("prometheus tells its flags");
        // Prometheus 2 has the agent behind a feature flag.
        let is_version_2 = !String::from_utf8_lossy(&help.stdout).contains("--[no-]agent");
        let mode = if is_version_2 { "--enable-feature=agent,expand-external-labels" } else { "--agent" };
        let mut command = Command::new(program);
        let folder = copy("scale");
        // As on a machine of its own, where every program is this one.
        let targets = serde_json::json!([{"targets": [self.target], "labels": {"instance": "127.0.0.1:9464"}}]);
        fs::write(folder.path().join("targets.yml"), targets.to_string()).expect("the targets can be written");
        let config = folder.path().join("agent.yml");
        let shipped = queries::read("scale/agent.yml");
        assert!(shipped.contains("127.0.0.1:8428"), "agent.yml writes to another store");
        let text = shipped.replace("127.0.0.1:8428", &self.store.to_string());
        fs::write(&config, text).expect("the configuration can be written");
        let addr = free_address();
        command
            .env("HOST_ID", self.id)
            .arg(mode)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.agent.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"));
        Some(Server::start(command, folder, (addr, "/-/ready")))
    }
}
