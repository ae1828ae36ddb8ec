//! The HTTP listener that Prometheus scrapes, bounded in what peers can take.
//!
//! A peer is served when it comes, never later: where all places are taken, the connection that has been silent for longest makes
//! room. Only connections that have asked a moment ago are safe, and while all have, newcomers wait in the kernel's backlog.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::snapshot::Format;
use crate::worker::Worker;

/// How many connections may be open.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection that has asked is safe: longer than an answer takes.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a request may take to arrive, and a connection to stay open between two: longer than scrapers pause.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// How long a new connection is safe: in a flood, longer than a request is on its way.
const GREETING_TIME: Duration = Duration::from_millis(100);

/// How long to wait for a place.
const PAUSE: Duration = Duration::from_millis(20);

/// How long to wait where `accept` fails, as when descriptors have run out.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often trouble with accepting is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Who may scrape.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Networks that may scrape; empty for all.
    pub(crate) allowed: Vec<IpNet>,
}

/// Renders the page.
pub(crate) type Render = Arc<dyn Fn(Format) -> Vec<u8> + Send + Sync>;

/// What the listener answers with.
struct Answers {
    allowed: Vec<IpNet>,
    render: Render,
}

/// Binds the first address of `host:port` that can be had.
///
/// # Errors
///
/// The system's error when the host has no address, or for its last address.
pub(crate) fn bind(listen: &str) -> io::Result<std::net::TcpListener> {
    let mut addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
    // `localhost` is both, and Prometheus' configurations say 127.0.0.1.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    std::net::TcpListener::bind(&*addresses)
}

/// Serves the page, for as long as the worker lives.
///
/// # Errors
///
/// The system's error when the listener can't be used.
pub(crate) fn start(
    worker: &Worker,
    listener: std::net::TcpListener,
    access: Access,
    render: Render,
) -> io::Result<SocketAddr> {
    let answers = Answers { allowed: access.allowed, render };
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let _entered = worker.handle().enter();
    let listener = TcpListener::from_std(listener)?;
    worker.handle().spawn(accept(listener, addr, Arc::new(answers)));
    Ok(addr)
}

async fn accept(listener: TcpListener, addr: SocketAddr, answers: Arc<Answers>) {
    let mut open = Connections { started: Instant::now(), connections: VecDeque::new() };
    let mut reported: Option<Instant> = None;
    loop {
        if !open.make_room() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) => open.add(stream, peer.ip(), &answers),
            Err(error) => {
                if reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                    reported = Some(Instant::now());
                    tracing::warn!(target: "botticelli_obs", "metrics: {addr} accepts no connections, {error}; trying on");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

struct Connections {
    started: Instant,
    connections: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// When it may be closed for another one, in milliseconds since the start.
    safe_until: Arc<AtomicU64>,
}

impl Connections {
    /// Whether there is a place for one more, made by closing the oldest one that has not asked a moment ago.
    fn make_room(&mut self) -> bool {
        self.connections.retain(|connection| !connection.task.is_finished());
        if self.connections.len() < MAX_CONNECTIONS {
            return true;
        }
        let now = millis(self.started, Duration::ZERO);
        let is_silent = |connection: &Connection| connection.safe_until.load(Ordering::Relaxed) < now;
        let Some(silent) = self.connections.iter().position(is_silent) else { return false };
        if let Some(connection) = self.connections.remove(silent) {
            connection.task.abort();
        }
        true
    }

    fn add(&mut self, stream: TcpStream, peer: IpAddr, answers: &Arc<Answers>) {
        // A listener on `[::]` sees IPv4 peers at addresses such as `::ffff:10.0.0.1`.
        let peer = peer.to_canonical();
        let is_allowed = answers.allowed.is_empty() || answers.allowed.iter().any(|network| network.contains(&peer));
        let (answers, started) = (Arc::clone(answers), self.started);
        let safe_until = Arc::new(AtomicU64::new(millis(started, GREETING_TIME)));
        let asked = Arc::clone(&safe_until);
        let service = service_fn(move |request: Request<Incoming>| {
            asked.store(millis(started, ANSWER_TIME), Ordering::Relaxed);
            let response = answer(&request, is_allowed, &answers);
            async { Ok::<_, Infallible>(response) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let task = tokio::spawn(async {
            // What a peer does wrong is its own affair.
            let _ = serving.await;
        });
        self.connections.push_back(Connection { task: task.abort_handle(), safe_until });
    }
}

fn answer(request: &Request<Incoming>, is_allowed: bool, answers: &Answers) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match request.uri().path() {
        _ if !is_allowed => (StatusCode::FORBIDDEN, "text/plain", Vec::new()),
        "/health" => (StatusCode::OK, "text/plain", b"ok".to_vec()),
        _ => (StatusCode::OK, Format::Text.content_type(), (answers.render)(Format::Text)),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

fn millis(started: Instant, later: Duration) -> u64 {
    u64::try_from((started.elapsed() + later).as_millis()).unwrap_or(u64::MAX)
}
