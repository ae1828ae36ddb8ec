//! A trace backend for OTLP/HTTP that accepts everything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub struct Sink {
    addr: SocketAddr,
    exports: Arc<AtomicU64>,
}

impl Sink {
    /// Listens on a free port of loopback for the rest of the process.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let sink = Self { addr: listener.local_addr()?, exports: Arc::default() };
        let exports = Arc::clone(&sink.exports);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let exports = Arc::clone(&exports);
                // Returns when the connection is closed.
                thread::spawn(move || serve(client, &exports));
            }
        });
        Ok(sink)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns how many exports it has accepted.
    pub fn exports(&self) -> u64 {
        self.exports.load(Ordering::Relaxed)
    }
}

fn serve(mut client: TcpStream, exports: &AtomicU64) -> io::Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while requests.read_line(&mut line)? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        if length == 0 {
            return Ok(());
        }
        io::copy(&mut requests.by_ref().take(length), &mut io::sink())?;
        exports.fetch_add(1, Ordering::Relaxed);
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
    }
}
