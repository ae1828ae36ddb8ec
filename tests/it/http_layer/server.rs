//! A server that answers with the bytes that it is told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does after it has read a request.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Vec<u8>),
    /// Each byte alone.
    Trickle(Vec<u8>),
    /// Sends nothing more, and keeps the connection.
    Hang,
    /// Closes the connection in such a way that the client gets an error.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: String,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

#[derive(Clone)]
pub struct Server {
    addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Starts a server that gives these answers in turn, each on a connection of its own, and the last one for ever.
    pub async fn start(answers: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let server = Self { addr, received: Arc::default() };
        let received = Arc::clone(&server.received);
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let answer = answers[number.min(answers.len() - 1)].clone();
                tokio::spawn(serve(stream, answer, Arc::clone(&received)));
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut stream: TcpStream, acts: Vec<Act>, received: Arc<Mutex<Vec<Received>>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let request = read(&mut stream).await?;
    received.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    for act in acts {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await?,
            Act::Trickle(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    tokio::task::yield_now().await;
                }
            }
            Act::Hang => std::future::pending().await,
            Act::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
        }
    }
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream) -> io::Result<Received> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let request = Received { head: head.to_owned(), body: body.to_owned() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Ok(request);
        }
    }
}

/// An answer with a body of known length, after which the connection is closed.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    vec![Act::Send([head.as_bytes(), body].concat())]
}
