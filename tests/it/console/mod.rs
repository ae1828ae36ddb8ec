//! The console: its routes, who gets an answer, and what is in it. `.ci/console/` looks at it in a browser.

mod data;
mod gate;
mod page;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use botticelli_obs::{Builder, Telemetry};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// An answer: the status, the head in lower case, and the body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).expect("it is JSON")
    }
}

/// Asks with these headers, without any other, and reads until the listener closes.
fn ask_with(addr: SocketAddr, start: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    write!(stream, "{start} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Asks as the page does.
fn ask(addr: SocketAddr, path: &str) -> Answer {
    ask_with(addr, &format!("GET {path}"), &format!("Host: {addr}\r\n"))
}

fn installed(builder: Builder) -> (Telemetry, SocketAddr) {
    let telemetry = builder.with_console().install().expect("it installs");
    let addr = telemetry.metrics_addr().expect("there is a listener");
    (telemetry, addr)
}
