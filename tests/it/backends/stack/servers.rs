//! The stack's servers with its own configurations, which differ from the shipped ones in addresses only.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::queries;
use crate::support::server::{Folder, Process, Sample, query};
use crate::support::{find_program, free_port, get, wait_for};

/// A server on loopback with a folder of its own.
pub struct Server {
    _process: Process,
    _folder: Folder,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it answers at this path.
    fn start(mut command: Command, folder: Folder, (addr, ready): (SocketAddr, &str)) -> Self {
        let log = File::create(folder.path().join("log")).expect("the log can be written");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the server starts");
        let server = Self { _process: Process(child), _folder: folder, addr };
        wait_for(ready, Duration::from_secs(60), || {
            get(addr, ready, Duration::from_secs(2)).ok().filter(|response| response.status == 200)
        });
        server
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

/// Starts Prometheus 3 likewise, with its OTLP receiver; `None` where it is not installed.
pub fn prometheus_3(targets: &[SocketAddr]) -> Option<Server> {
    let mut command = Command::new(find_program("prometheus3")?);
    command.arg("--web.enable-otlp-receiver");
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
