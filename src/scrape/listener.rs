//! The exporter's HTTP listener, bounded from outside.
//!
//! The exporter accepts without a limit, never closes a connection that sends nothing, and retries a failing `accept` at
//! once. But it spawns its connections on whichever runtime is current while it is polled. So it is polled inside a second,
//! disposable runtime that holds nothing but the open connections: while that is full the exporter is not polled, and
//! newcomers wait in the kernel's backlog; when it stays full it is thrown away, lingering connections with it, and replaced.
//!
//! It is also where the exporter renders, on a blocking thread. Such a thread ends when it has nothing left to do, and requests
//! are not read before it has: so the start of one is the moment before a render, and its end the moment after.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{ExporterFuture, PrometheusBuilder};
use tokio::runtime::Builder;
use tokio::time::{Sleep, sleep};

use super::page::{Bounds, Page};

use crate::worker::{Worker, mark_own_thread};

/// How many connections may be open before newcomers wait. One poll of the exporter may accept up to 128 more.
const MAX_CONNECTIONS: usize = 64;

/// How long all connections may be taken before they are closed: longer than a scrape takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same soon after such a closing: under a flood, the scrape that waits in the backlog must get its turn.
const PATIENCE_IN_FLOOD: Duration = Duration::from_millis(250);

/// How long after such a closing there is still a flood.
const FLOOD: Duration = Duration::from_secs(10);

/// How long to leave the exporter alone when it is woken and accepts nothing, as when descriptors have run out.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How many such polls in a row count as trouble.
const FRUITLESS_POLLS: u32 = 8;

/// How often trouble with accepting is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// How often a port that the system chose may be lost to another program before it is bound for good.
const ATTEMPTS: u32 = 5;

/// Binds the first address of `host:port` that can be had and serves the page of the recorder on it.
///
/// # Errors
///
/// The system's error when the host has no address, for its last address, or when it gives no thread.
pub(super) fn start(
    worker: &Worker,
    listen: &str,
    exporter: impl Fn() -> PrometheusBuilder,
    bounds: &Arc<Bounds>,
) -> io::Result<(Arc<Page>, SocketAddr)> {
    let mut last_error = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    let mut addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
    // `localhost` is both, and Prometheus' configurations say 127.0.0.1.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    for wanted in addresses {
        for _ in 0..ATTEMPTS {
            // The exporter tells neither the port it bound nor why it could not, so the address is tried out beforehand.
            let addr = match TcpListener::bind(wanted).and_then(|probe| probe.local_addr()) {
                Ok(addr) => addr,
                Err(error) => {
                    last_error = error;
                    break;
                }
            };
            let built = {
                let _entered = worker.handle().enter();
                exporter().with_http_listener(addr).build()
            };
            match built {
                Ok((recorder, future)) => {
                    let page = Arc::new(Page::new(recorder, Arc::clone(bounds)));
                    let connections = Connections::new(&page)?;
                    worker.handle().spawn(Bounded::new(future, connections, addr));
                    return Ok((page, addr));
                }
                Err(error) => last_error = io::Error::new(io::ErrorKind::AddrInUse, error),
            }
        }
    }
    Err(last_error)
}

/// The runtime that holds the open connections, one task each.
struct Connections {
    worker: Worker,
    page: Arc<Page>,
}

impl Connections {
    fn new(page: &Arc<Page>) -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        let (before, after, meanwhile) = (Arc::clone(page), Arc::clone(page), Arc::clone(page));
        runtime
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::ZERO)
            .on_thread_start(move || {
                mark_own_thread();
                before.begin();
            })
            .on_thread_stop(move || after.end())
            .on_thread_unpark(move || meanwhile.wait());
        Ok(Self { worker: Worker::run("botticelli-obs-scrape", runtime)?, page: Arc::clone(page) })
    }

    fn open(&self) -> usize {
        self.worker.handle().metrics().num_alive_tasks()
    }

    fn poll(&self, exporter: &mut ExporterFuture, cx: &mut Context<'_>) -> bool {
        let _entered = self.worker.handle().enter();
        exporter.as_mut().poll(cx).is_ready()
    }
}

/// The exporter's accept loop; dropping it closes the listener and every connection.
struct Bounded {
    exporter: ExporterFuture,
    connections: Connections,
    addr: SocketAddr,
    full_since: Option<Instant>,
    closed_at: Option<Instant>,
    fruitless: u32,
    reported: Option<Instant>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    fn new(exporter: ExporterFuture, connections: Connections, addr: SocketAddr) -> Self {
        Self {
            exporter,
            connections,
            addr,
            full_since: None,
            closed_at: None,
            fruitless: 0,
            reported: None,
            pause: None,
        }
    }

    /// Whether there is room for connections, made by closing the old ones if they have been there for too long.
    fn has_room(&mut self) -> bool {
        if self.connections.open() < MAX_CONNECTIONS {
            self.full_since = None;
            return true;
        }
        let flooded = self.closed_at.is_some_and(|at| at.elapsed() < FLOOD);
        let patience = if flooded { PATIENCE_IN_FLOOD } else { PATIENCE };
        if self.full_since.get_or_insert_with(Instant::now).elapsed() < patience {
            return false;
        }
        // Without a thread for the new runtime the old one stays, and is tried again.
        let Ok(fresh) = Connections::new(&self.connections.page) else { return false };
        self.connections = fresh;
        self.full_since = None;
        self.closed_at = Some(Instant::now());
        true
    }

    fn report_trouble(&mut self) {
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            self.reported = Some(Instant::now());
            tracing::warn!(
                target: "botticelli_obs",
                "metrics: {} accepts no connections, as when the program has run out of file descriptors; trying on",
                self.addr
            );
        }
    }
}

impl Future for Bounded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            if !this.has_room() {
                this.pause = Some(Box::pin(sleep(PATIENCE_IN_FLOOD / 5)));
                continue;
            }
            let before = this.connections.open();
            if this.connections.poll(&mut this.exporter, cx) {
                return Poll::Ready(());
            }
            this.fruitless = if this.connections.open() > before { 0 } else { this.fruitless + 1 };
            if this.fruitless < FRUITLESS_POLLS {
                return Poll::Pending;
            }
            this.fruitless = 0;
            this.report_trouble();
            this.pause = Some(Box::pin(sleep(BACK_OFF)));
        }
    }
}
