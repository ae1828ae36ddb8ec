//! The open connections, and which of them is closed for another one.

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
use super::lobby::{HEAD_SIZE, LOBBY, Lobby, Waiting};
use super::stream::{CROWDED_READING_TIME, Progress, READING_TIME, Stream};

/// How many connections may be open.
const MAX_CONNECTIONS: usize = 64;

/// How many of them may be served.
pub(super) const SERVING: usize = MAX_CONNECTIONS - LOBBY;

/// How long a served connection must have made no progress to be closed for another one.
const SILENCE: Duration = Duration::from_secs(1);

/// How often time limits are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How often places are looked for while a connection waits for one.
const PAUSE: Duration = Duration::from_millis(50);

/// How long to wait where `accept` fails and nothing can be closed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often trouble with accepting is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Connections {
    listener: TcpListener,
    addr: SocketAddr,
    answers: Arc<Answers>,
    lobby: Lobby,
    serving: Vec<Served>,
    tasks: JoinSet<()>,
    /// No connection is accepted before.
    accept_at: Instant,
    reported: Option<Instant>,
}

struct Served {
    task: AbortHandle,
    progress: Arc<Progress>,
    is_closing: bool,
}

impl Served {
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
            lobby: Lobby::default(),
            serving: Vec::with_capacity(SERVING),
            tasks: JoinSet::new(),
            accept_at: Instant::now(),
            reported: None,
        }
    }

    /// Accepts and serves for ever.
    pub(super) async fn run(mut self) {
        let mut timer = Box::pin(sleep(CHECK_INTERVAL));
        loop {
            match poll_fn(|cx| self.poll_accept(timer.as_mut(), cx)).await {
                Ok((stream, peer)) => self.lobby.add(stream, peer.ip(), Instant::now()),
                Err(error) => self.accept_failed(&error),
            }
            // The runtime reads what has arrived before a connection is closed for the next one.
            yield_now().await;
        }
    }

    /// Waits for a connection; meanwhile serves and closes those that are open.
    fn poll_accept(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let now = Instant::now();
            while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
            self.serving.retain(|served| !served.task.is_finished());
            self.lobby.look(now, cx);
            self.close_overdue(now);
            self.give_places(now);
            if now >= self.accept_at
                && self.lobby.has_room(now)
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

    /// When to look again without being woken; `None` while nothing is open.
    fn next_check(&self, now: Instant) -> Option<Instant> {
        if now < self.accept_at {
            return Some(self.accept_at);
        }
        if self.lobby.is_empty() && self.serving.is_empty() {
            return None;
        }
        let pause = if self.lobby.asking() > 0 { PAUSE } else { CHECK_INTERVAL };
        let closable = self.lobby.closable_at().filter(|_| !self.lobby.has_room(now));
        Some(closable.unwrap_or(now + pause).min(now + pause))
    }

    fn close_overdue(&mut self, now: Instant) {
        let reading_limit = match () {
            () if self.lobby.asking() > 0 => Some(CROWDED_READING_TIME),
            () if self.answers.pages.wait() => Some(READING_TIME),
            () => None,
        };
        let open = self.serving.iter_mut().filter(|served| !served.is_closing);
        open.filter(|served| served.progress.is_overdue(now, reading_limit)).for_each(Served::close);
    }

    /// Serves the connections that have asked. While places are missing, closes as many as are silent for longest, and has others end
    /// with their next answer: peers that ask again and again on open connections must not keep everybody else out.
    fn give_places(&mut self, now: Instant) {
        while self.tasks.len() < SERVING
            && let Some(waiting) = self.lobby.next_asking()
        {
            self.serve(waiting, now);
        }
        self.answers.is_crowded.store(self.lobby.asking() > 0, Ordering::Relaxed);
        let closing = self.serving.iter().filter(|served| served.is_closing).count();
        for _ in closing..self.lobby.asking() {
            if !self.close_silent(now) {
                break;
            }
        }
    }

    /// Closes the served connection that has been silent for longest, if that is long enough.
    fn close_silent(&mut self, now: Instant) -> bool {
        let open = self.serving.iter_mut().filter(|served| !served.is_closing);
        let silent = open.map(|served| (served.progress.silent_for(now), served));
        match silent.max_by_key(|(silence, _)| *silence) {
            Some((silence, served)) if silence >= SILENCE => {
                served.close();
                true
            }
            _ => false,
        }
    }

    fn serve(&mut self, waiting: Waiting, now: Instant) {
        let progress = Arc::new(Progress::new(now));
        let task = serve(waiting.stream, waiting.peer, Arc::clone(&progress), Arc::clone(&self.answers));
        let task = self.tasks.spawn(task);
        self.serving.push(Served { task, progress, is_closing: false });
    }

    /// Closes the connection with the least claim where descriptors have run out, or waits.
    fn accept_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        // The peer has gone while it waited to be accepted.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        let now = Instant::now();
        if self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL) {
            self.reported = Some(now);
            tracing::warn!(target: "botticelli_obs", "metrics: {} accepts no connections, {error}; trying on", self.addr);
        }
        let has_run_out = has_run_out(error);
        if has_run_out && (self.lobby.close_one(now) || self.close_silent(now)) {
            return;
        }
        let closable_at = self.lobby.closable_at().filter(|at| has_run_out && *at > now);
        self.accept_at = closable_at.unwrap_or(now + BACK_OFF).min(now + BACK_OFF);
    }
}

/// Whether descriptors have run out: those of the process or of the system, or Windows' sockets.
fn has_run_out(error: &io::Error) -> bool {
    let numbers: &[i32] = if cfg!(windows) { &[10_024] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

async fn serve(stream: TcpStream, peer: IpAddr, progress: Arc<Progress>, answers: Arc<Answers>) {
    let stream = Stream::new(stream, Arc::clone(&progress));
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, progress) = (Arc::clone(&answers), Arc::clone(&progress));
        async move { Ok::<_, Infallible>(answers.answer(&request, peer, &progress).await) }
    });
    let serving = http1::Builder::new()
        // Time limits are those of `Progress`: hyper's would count the pause between two scrapes.
        .header_read_timeout(None)
        .max_buf_size(HEAD_SIZE)
        // A peer may end its side as soon as it has asked.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // Errors of a connection are those of its peer.
    let _ = serving.await;
}
