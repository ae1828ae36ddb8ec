//! Accepts connections, assigns slots to those with a request, and closes connections to free slots and descriptors.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Sleep, sleep};

use super::answer::Answers;
use super::pending::{HEAD_SIZE, MAX_PENDING, Pending, PendingConnection};
use super::stream::{Progress, Stream};
use crate::throttle::Throttle;

/// The maximum number of open connections.
const MAX_CONNECTIONS: usize = 64;

/// The number of slots: connections that hyper serves at the same time.
pub(super) const SLOTS: usize = MAX_CONNECTIONS - MAX_PENDING;

/// How long a connection must have made no progress to lose its slot to a waiting request.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a peer may read answers while a request waits for a slot.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The same while a request has waited for [`READ_TIMEOUT`]. Both together stay below the 5 s in which a scrape is answered.
const SHORT_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval at which timeouts are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The same while a request waits for a slot.
const SHORT_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The pause after a failed `accept`.
const BACK_OFF: Duration = Duration::from_millis(100);

pub(super) struct Connections {
    listener: TcpListener,
    addr: SocketAddr,
    answers: Arc<Answers>,
    pending: Pending,
    active: Vec<Active>,
    tasks: JoinSet<()>,
    /// The earliest time of the next `accept`.
    accept_at: Instant,
    throttle: Throttle,
}

/// A connection with a slot.
struct Active {
    task: AbortHandle,
    progress: Arc<Progress>,
    is_closing: bool,
}

impl Active {
    fn close(&mut self) {
        self.is_closing = true;
        self.task.abort();
    }
}

impl Connections {
    pub(super) fn new(listener: TcpListener, addr: SocketAddr, answers: Answers) -> Self {
        Self {
            listener,
            addr,
            answers: Arc::new(answers),
            pending: Pending::default(),
            active: Vec::with_capacity(SLOTS),
            tasks: JoinSet::new(),
            accept_at: Instant::now(),
            throttle: Throttle::default(),
        }
    }

    /// Accepts and serves connections until the task is dropped.
    pub(super) async fn run(mut self) {
        let mut timer = Box::pin(sleep(CHECK_INTERVAL));
        loop {
            match poll_fn(|cx| self.poll_accept(timer.as_mut(), cx)).await {
                Ok((stream, peer)) => self.pending.add(stream, peer.ip(), Instant::now()),
                Err(error) => self.accept_failed(&error),
            }
            // The runtime delivers data that has arrived and drops closed connections before the next one is accepted.
            yield_now().await;
        }
    }

    /// Polls for a new connection. Every poll also checks timeouts and assigns free slots.
    fn poll_accept(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let now = Instant::now();
            while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
            self.active.retain(|active| !active.task.is_finished());
            self.pending.poll_heads(now, cx);
            self.close_timed_out(now);
            self.assign_slots(now);
            if now >= self.accept_at
                && self.pending.has_room(now)
                && let Poll::Ready(accepted) = self.listener.poll_accept(cx)
            {
                return Poll::Ready(accepted);
            }
            let Some(check) = self.next_check(now) else { return Poll::Pending };
            timer.as_mut().reset(check.into());
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Returns the time of the next check; `None` while no connection is open.
    fn next_check(&self, now: Instant) -> Option<Instant> {
        if now < self.accept_at {
            return Some(self.accept_at);
        }
        if self.pending.is_empty() && self.active.is_empty() {
            return None;
        }
        let interval = if self.pending.requests() > 0 { SHORT_CHECK_INTERVAL } else { CHECK_INTERVAL };
        let closable = self.pending.closable_at().filter(|_| !self.pending.has_room(now));
        Some(closable.unwrap_or(now + interval).min(now + interval))
    }

    fn close_timed_out(&mut self, now: Instant) {
        let is_full = self.answers.pages.is_full();
        let open = self.active.iter_mut().filter(|active| !active.is_closing);
        open.filter(|active| active.progress.has_timed_out(now, is_full)).for_each(Active::close);
    }

    /// Assigns free slots to waiting requests in the order of their connections, and frees slots for the other requests.
    fn assign_slots(&mut self, now: Instant) {
        while self.tasks.len() < SLOTS
            && let Some(connection) = self.pending.next_request()
        {
            self.serve(connection, now);
        }
        let waiting = self.pending.requests();
        // A peer that sends requests all the time makes progress: it loses its slot by the answer to its next request.
        self.answers.is_contended.store(waiting > 0, Ordering::Relaxed);
        let closing = self.active.iter().filter(|active| active.is_closing).count();
        for _ in closing..waiting {
            if !self.free_slot(now) {
                break;
            }
        }
    }

    /// Closes the connection that has stalled for longest, or else the one that has been reading for longest, if its timeout is
    /// over.
    fn free_slot(&mut self, now: Instant) -> bool {
        let read_timeout = if self.pending.waited(now) >= READ_TIMEOUT { SHORT_READ_TIMEOUT } else { READ_TIMEOUT };
        self.close_longest(STALL_TIMEOUT, |progress| progress.stalled_for(now))
            || self.close_longest(read_timeout, |progress| progress.reading_for(now))
    }

    /// Closes the connection with the longest time, if that is the timeout at least.
    fn close_longest(&mut self, timeout: Duration, time: impl Fn(&Progress) -> Duration) -> bool {
        let open = self.active.iter_mut().filter(|active| !active.is_closing);
        let times = open.map(|active| (time(&active.progress), active));
        match times.max_by_key(|(time, _)| *time) {
            Some((time, active)) if time >= timeout => {
                active.close();
                true
            }
            _ => false,
        }
    }

    fn serve(&mut self, connection: PendingConnection, now: Instant) {
        let progress = Arc::new(Progress::new(now));
        let task = serve(connection.stream, connection.peer, Arc::clone(&progress), Arc::clone(&self.answers));
        let task = self.tasks.spawn(task);
        self.active.push(Active { task, progress, is_closing: false });
    }

    /// Logs the error. Closes a connection if descriptors have run out; otherwise delays the next `accept`.
    fn accept_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        // The peer closed the connection before it was accepted.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        let now = Instant::now();
        if self.throttle.allow(now) {
            tracing::warn!(target: "botticelli_obs", "metrics: {} accepts no connections, {error}; trying on", self.addr);
        }
        let is_closed = has_run_out(error) && (self.pending.close_one(now) || self.free_slot(now));
        if !is_closed {
            self.accept_at = retry_at(error, self.pending.closable_at(), now);
        }
    }
}

/// Returns the time of the next `accept` after this error. Only a closed connection shortens the pause, and only if descriptors
/// have run out. The time is always after `now`: a failing `accept` must not become a busy loop.
fn retry_at(error: &io::Error, closable_at: Option<Instant>, now: Instant) -> Instant {
    let latest = now + BACK_OFF;
    let closable_at = closable_at.filter(|at| has_run_out(error) && *at > now);
    closable_at.unwrap_or(latest).min(latest)
}

/// Whether descriptors have run out: those of the process or of the system, or Windows' sockets.
fn has_run_out(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| RUN_OUT.contains(&number))
}

/// `WSAEMFILE`, or `ENFILE` and `EMFILE`.
const RUN_OUT: &[i32] = if cfg!(windows) { &[10_024] } else { &[23, 24] };

async fn serve(stream: TcpStream, peer: IpAddr, progress: Arc<Progress>, answers: Arc<Answers>) {
    let stream = Stream::new(stream, Arc::clone(&progress));
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, progress) = (Arc::clone(&answers), Arc::clone(&progress));
        async move { Ok::<_, Infallible>(answers.answer(&request, peer, &progress).await) }
    });
    let connection = http1::Builder::new()
        // `Progress` has the timeouts: hyper's would include the pause between two scrapes.
        .header_read_timeout(None)
        .max_buf_size(HEAD_SIZE)
        // A peer may close its side after its request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // Errors of a peer are not logged: anyone could fill the log with them.
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_accept_is_never_retried_at_once() {
        let now = Instant::now() + Duration::from_secs(1);
        let (past, soon) = (now.checked_sub(BACK_OFF), Some(now + BACK_OFF / 2));
        let run_out = io::Error::from_raw_os_error(RUN_OUT[0]);
        let other = io::Error::from(io::ErrorKind::OutOfMemory);
        for (error, closable_at, retry) in [
            (&run_out, None, now + BACK_OFF),
            (&run_out, past, now + BACK_OFF),
            (&run_out, soon, now + BACK_OFF / 2),
            (&other, past, now + BACK_OFF),
            (&other, soon, now + BACK_OFF),
        ] {
            assert_eq!(retry_at(error, closable_at, now), retry, "{error}, {closable_at:?}");
        }
    }
}
