//! The ports of the stack.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::queries::{self, list, text};
use crate::support::server::Process;
use crate::support::{find_program, skip, wait_for};

/// A listening socket.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listening {
    port: u16,
    is_loopback: bool,
}

/// The TCP sockets that listen in the network of a process, from `/proc`.
fn listening(pid: u32) -> BTreeSet<Listening> {
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let lines: Vec<String> =
        tables.into_iter().flatten().flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let parse = |line: &String| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        // 0A is the state of a socket that listens. Words of an address are in the order of the machine.
        let is_loopback =
            matches!(address, "0100007F" | "00000000000000000000000001000000" | "0000000000000000FFFF00000100007F");
        (*fields.get(3)? == "0A").then_some(Listening { port: u16::from_str_radix(port, 16).ok()?, is_loopback })
    };
    lines.iter().filter_map(parse).collect()
}

#[test]
fn jaeger_in_the_network_of_the_host_listens_on_loopback_only() {
    let Some(jaeger) = find_program("jaeger") else { return };
    // In a network of its own, since the ports are fixed.
    let isolated = ["--net", "sh", "-c", r#"ip link set lo up && exec "$0" "$@""#];
    let can_be_isolated = Command::new("unshare").args(isolated).arg("true").stderr(Stdio::null()).status();
    if !can_be_isolated.is_ok_and(|status| status.success()) {
        return skip("no network of its own can be had");
    }
    let compose = queries::yaml("compose.yaml");
    let service = &compose["services"]["jaeger-host"];
    assert_eq!(service["network_mode"], "host");
    let environment = service["environment"].as_object().expect("it has an environment");
    let child = Command::new("unshare")
        .args(isolated)
        .arg(jaeger)
        .args(list(&service["command"]).iter().map(text))
        .envs(environment.iter().map(|(name, value)| (name, text(value))))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare runs");
    let process = Process(child);
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let ports = wait_for("jaeger listens", Duration::from_secs(60), || {
        // The child is in the network of this test before it is in its own.
        network(&process.0.id().to_string()).filter(|of| Some(of) != network("self").as_ref())?;
        let listening = listening(process.0.id());
        let has = |port| listening.iter().any(|listening| listening.port == port);
        [16_685, 16_686, 4317, 4318, 13_133].into_iter().all(has).then_some(listening)
    });
    let open: Vec<_> = ports.iter().filter(|listening| !listening.is_loopback).collect();
    assert!(open.is_empty(), "open to the network: {open:?}");
}
