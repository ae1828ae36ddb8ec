//! A connection that is served: its stream, and how far it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long the head of a request may take to arrive.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a connection may stay open between two requests: longer than scrapers pause.
const IDLE_TIME: Duration = Duration::from_secs(120);

/// How long a peer may take no byte of its answer.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// How long a peer may read an answer while a new page waits for memory that old pages take.
pub(super) const READING_TIME: Duration = Duration::from_secs(10);

/// How long it may while another connection waits for a place.
pub(super) const CROWDED_READING_TIME: Duration = Duration::from_secs(3);

/// How far a connection is.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When a byte was last read or written.
    moved: Instant,
    /// Whether the peer has no room for what is to be written.
    is_blocked: bool,
    /// Answers that are not wholly written: more than one where requests come without waiting for answers.
    unwritten: usize,
    /// Since when there are such answers.
    unwritten_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has been asked since the last answer.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// The answer is being made: the peer waits for this program.
    Answering,
    /// The answer is being written.
    Writing,
}

impl Progress {
    /// Begins with the head of a request that is there.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            phase: Phase::Head,
            since: now,
            moved: now,
            is_blocked: false,
            unwritten: 0,
            unwritten_since: now,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has arrived.
    pub(super) fn asked(&self) {
        self.state().enter(Phase::Answering);
    }

    /// Its answer goes to the peer, for as long as what is returned lives.
    pub(super) fn answered(self: &Arc<Self>) -> Writing {
        let mut state = self.state();
        state.enter(Phase::Writing);
        if state.unwritten == 0 {
            state.unwritten_since = state.since;
        }
        state.unwritten += 1;
        Writing(Arc::clone(self))
    }

    fn read(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.enter(Phase::Head);
        }
        state.moved = Instant::now();
    }

    fn wrote(&self, is_blocked: bool) {
        let mut state = self.state();
        state.is_blocked = is_blocked;
        if !is_blocked {
            state.moved = Instant::now();
        }
    }

    /// For how long the connection has made no progress; zero where it waits for this program.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let state = self.state();
        if state.phase == Phase::Answering { Duration::ZERO } else { now.saturating_duration_since(state.moved) }
    }

    /// Whether the connection exceeds a time limit. `reading_limit` is there while others wait for it: how long an answer may take to
    /// be read.
    pub(super) fn is_overdue(&self, now: Instant, reading_limit: Option<Duration>) -> bool {
        let state = self.state();
        let silent = now.saturating_duration_since(state.moved);
        let reading = now.saturating_duration_since(state.unwritten_since);
        match state.phase {
            _ if state.is_blocked && silent >= WRITE_TIME => true,
            _ if state.unwritten > 0 && reading_limit.is_some_and(|limit| reading >= limit) => true,
            Phase::Idle => silent >= IDLE_TIME,
            Phase::Head => now.saturating_duration_since(state.since) >= HEAD_TIME,
            Phase::Answering | Phase::Writing => false,
        }
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        (self.phase, self.since, self.moved) = (phase, now, now);
    }
}

/// An answer that is not wholly written yet.
#[derive(Debug)]
pub(super) struct Writing(Arc<Progress>);

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.unwritten = state.unwritten.saturating_sub(1);
        if state.unwritten == 0 && state.phase == Phase::Writing {
            state.enter(Phase::Idle);
        }
    }
}

/// A stream that says how far it is.
pub(super) struct Stream {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl Stream {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.progress.wrote(written.is_pending());
        written
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let state = self.progress.state();
        if state.is_blocked {
            // The kernel would keep what the peer has not read for minutes, and the peer would not learn that there is no more.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.progress.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    // Without it hyper would copy the page.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn head_has_its_time() {
        let progress = Progress::new(Instant::now());
        progress.read();
        assert!(!progress.is_overdue(after(4), None) && progress.is_overdue(after(6), None));
    }

    #[test]
    fn nobody_is_closed_for_what_the_program_does() {
        let progress = Progress::new(Instant::now());
        progress.asked();
        assert!(!progress.is_overdue(after(1000), Some(READING_TIME)));
        assert_eq!(progress.silent_for(after(1000)), Duration::ZERO);
    }

    #[test]
    fn peer_that_does_not_read_is_closed() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.asked();
        let _writing = progress.answered();
        progress.wrote(true);
        assert!(!progress.is_overdue(after(4), None) && progress.is_overdue(after(6), None));
        assert!(progress.silent_for(after(6)) >= Duration::from_secs(5));
    }

    #[test]
    fn slow_reader_is_closed_only_for_others() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.asked();
        let first = progress.answered();
        progress.wrote(false);
        assert!(!progress.is_overdue(after(60), None));
        assert!(
            !progress.is_overdue(after(9), Some(READING_TIME)) && progress.is_overdue(after(11), Some(READING_TIME))
        );
        // The end of one answer is not the end of the next one.
        progress.asked();
        let second = progress.answered();
        drop(first);
        assert!(progress.is_overdue(after(11), Some(READING_TIME)));
        drop(second);
        assert!(!progress.is_overdue(after(11), Some(READING_TIME)));
    }

    #[test]
    fn connection_is_kept_between_requests_for_two_minutes() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.asked();
        drop(progress.answered());
        assert!(!progress.is_overdue(after(110), Some(READING_TIME)) && progress.is_overdue(after(130), None));
        assert!(progress.silent_for(after(2)) >= Duration::from_secs(1));
    }
}
