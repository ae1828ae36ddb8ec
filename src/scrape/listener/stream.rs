//! The stream of a connection with a slot, and the progress of its requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long the head of a request may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be idle between two requests. Usual scrape intervals are shorter.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a peer may accept no bytes of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer may read answers while no further page can be rendered.
const FULL_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The progress of the requests of a connection.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When a byte was last read or written.
    moved: Instant,
    /// Whether the last write had to wait for the peer.
    is_blocked: bool,
    /// Whether the bytes read so far end within the head of a request.
    is_in_head: bool,
    /// The number of answers that are not completely written; more than one if the peer pipelines requests.
    unwritten: usize,
    /// When the number was last zero.
    unwritten_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The connection waits for the next request.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// This program makes the answer.
    Answering,
    /// The answer is being written.
    Writing,
}

impl Progress {
    /// Starts with the head of a request that has arrived.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            phase: Phase::Head,
            since: now,
            moved: now,
            is_blocked: false,
            is_in_head: false,
            unwritten: 0,
            unwritten_since: now,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the head of a request is complete.
    pub(super) fn request_arrived(&self) {
        self.state().enter(Phase::Answering);
    }

    /// Records that an answer is written from now on, until the returned guard is dropped.
    pub(super) fn answer_begins(self: &Arc<Self>) -> Writing {
        let mut state = self.state();
        state.enter(Phase::Writing);
        if state.unwritten == 0 {
            state.unwritten_since = state.since;
        }
        state.unwritten += 1;
        Writing(Arc::clone(self))
    }

    fn read(&self, ends_head: bool) {
        let mut state = self.state();
        state.is_in_head = !ends_head;
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

    /// Returns how long the peer has made no progress; zero while it waits for this program. Single bytes of a head are no
    /// progress: a peer could send them all day.
    pub(super) fn stalled_for(&self, now: Instant) -> Duration {
        let state = self.state();
        match state.phase {
            Phase::Idle | Phase::Writing => now.saturating_duration_since(state.moved),
            Phase::Head => now.saturating_duration_since(state.since),
            Phase::Answering => Duration::ZERO,
        }
    }

    /// Returns how long the peer has been reading answers; zero if all are completely written.
    pub(super) fn reading_for(&self, now: Instant) -> Duration {
        let state = self.state();
        if state.unwritten > 0 { now.saturating_duration_since(state.unwritten_since) } else { Duration::ZERO }
    }

    /// Whether a timeout is over. While `is_full`, no further page can be rendered until pages are read.
    pub(super) fn has_timed_out(&self, now: Instant, is_full: bool) -> bool {
        if is_full && self.reading_for(now) >= FULL_READ_TIMEOUT {
            return true;
        }
        let state = self.state();
        let stalled = now.saturating_duration_since(state.moved);
        match state.phase {
            _ if state.is_blocked && stalled >= WRITE_TIMEOUT => true,
            Phase::Idle => stalled >= IDLE_TIMEOUT,
            Phase::Head => now.saturating_duration_since(state.since) >= HEAD_TIMEOUT,
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

/// A guard for an answer that is not completely written.
#[derive(Debug)]
pub(super) struct Writing(Arc<Progress>);

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.unwritten = state.unwritten.saturating_sub(1);
        if state.unwritten == 0 && state.phase == Phase::Writing {
            // A pipelined request may have arrived in part.
            let next = if state.is_in_head { Phase::Head } else { Phase::Idle };
            state.enter(next);
        }
    }
}

/// A stream that records its progress.
pub(super) struct Stream {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// The last bytes read.
    tail: [u8; 3],
}

impl Stream {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress, tail: [0; 3] }
    }

    /// Records bytes that have been read. A head ends with an empty line.
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().skip(bytes.len().saturating_sub(self.tail.len())) {
            self.tail.rotate_left(1);
            self.tail[2] = *byte;
        }
        self.progress.read(self.tail.ends_with(b"\n\n") || self.tail == *b"\n\r\n");
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
            // Otherwise the kernel would keep unread bytes for minutes, and the peer would not notice that the answer is cut.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.read(&buf.filled()[before..]);
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

    // Otherwise hyper would copy the page.
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
    fn head_times_out() {
        let progress = Progress::new(Instant::now());
        progress.read(false);
        assert!(!progress.has_timed_out(after(4), false) && progress.has_timed_out(after(6), false));
        assert!(progress.stalled_for(after(2)) >= Duration::from_secs(1));
    }

    #[test]
    fn time_of_this_program_does_not_count() {
        let progress = Progress::new(Instant::now());
        progress.request_arrived();
        assert!(!progress.has_timed_out(after(1000), true));
        assert_eq!(progress.stalled_for(after(1000)), Duration::ZERO);
        assert_eq!(progress.reading_for(after(1000)), Duration::ZERO);
    }

    #[test]
    fn peer_that_does_not_read_times_out() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.request_arrived();
        let _writing = progress.answer_begins();
        progress.wrote(true);
        assert!(!progress.has_timed_out(after(4), false) && progress.has_timed_out(after(6), false));
        assert!(progress.stalled_for(after(6)) >= Duration::from_secs(5));
    }

    #[test]
    fn slow_reader_times_out_only_while_pages_are_full() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.request_arrived();
        let first = progress.answer_begins();
        progress.wrote(false);
        assert!(!progress.has_timed_out(after(60), false));
        assert!(!progress.has_timed_out(after(9), true) && progress.has_timed_out(after(11), true));
        assert!(progress.reading_for(after(4)) >= Duration::from_secs(3));
        // The second answer does not restart the time.
        progress.request_arrived();
        let second = progress.answer_begins();
        drop(first);
        assert!(progress.has_timed_out(after(11), true));
        drop(second);
        assert!(!progress.has_timed_out(after(11), true));
        assert_eq!(progress.reading_for(after(11)), Duration::ZERO);
    }

    #[test]
    fn connection_is_kept_between_requests_for_two_minutes() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.read(true);
        progress.request_arrived();
        drop(progress.answer_begins());
        assert!(!progress.has_timed_out(after(110), true) && progress.has_timed_out(after(130), false));
        assert!(progress.stalled_for(after(2)) >= Duration::from_secs(1));
    }

    #[test]
    fn part_of_a_pipelined_head_times_out_like_any_head() {
        let progress = Arc::new(Progress::new(Instant::now()));
        progress.read(false);
        progress.request_arrived();
        drop(progress.answer_begins());
        assert!(!progress.has_timed_out(after(4), false) && progress.has_timed_out(after(6), false));
    }
}
