//! A proxy as companies have them: it forwards requests and opens tunnels.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running proxy, which leads to one place whatever it is asked for: names of hosts are looked up by a proxy, not by its clients.
#[derive(Debug)]
pub struct ForwardProxy {
    pub addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let heads = Arc::default();
        let proxy = Self { addr, heads: Arc::clone(&heads) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let heads = Arc::clone(&heads);
                thread::spawn(move || serve(client, to, &heads));
            }
        });
        proxy
    }

    /// Returns the heads of the requests that have begun a connection.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no test panics with this lock").clone()
    }
}

fn serve(mut client: TcpStream, to: SocketAddr, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4096];
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => read.extend_from_slice(&buffer[..bytes]),
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let is_tunnel = head.starts_with("CONNECT ");
    heads.lock().expect("no test panics with this lock").push(head);
    let mut server = TcpStream::connect(to)?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        server.write_all(&read[end..])?;
    } else {
        server.write_all(&read)?;
    }
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
        copied
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Both)
}
