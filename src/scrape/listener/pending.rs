//! Accepted connections without a slot: they send the head of a request first.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

use super::stream::HEAD_TIMEOUT;

/// The maximum number of pending connections, the one that has just been accepted included.
pub(super) const MAX_PENDING: usize = 16;

/// The maximum size of a request's head in bytes, the smallest that hyper accepts.
pub(super) const HEAD_SIZE: usize = 8 * 1024;

/// How long a new connection is not closed for another one. It limits the processor time that a flood of connections costs.
/// The first bytes of a request usually arrive within it.
const GRACE_PERIOD: Duration = Duration::from_millis(5);

/// A connection without a slot.
pub(super) struct PendingConnection {
    pub(super) stream: TcpStream,
    pub(super) peer: IpAddr,
    accepted: Instant,
    /// When the head of its request was complete.
    requested: Option<Instant>,
}

/// The connections in the order in which they were accepted.
#[derive(Default)]
pub(super) struct Pending(VecDeque<PendingConnection>);

impl Pending {
    /// Whether another connection can be added, if necessary in place of one that may be closed.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.0.len() + 1 < MAX_PENDING || self.closable_at().is_some_and(|at| at <= now)
    }

    /// Returns when the oldest connection without a request may be closed.
    pub(super) fn closable_at(&self) -> Option<Instant> {
        self.0.iter().find(|connection| connection.requested.is_none()).map(PendingConnection::closable_at)
    }

    /// Closes the oldest connection without a request, if it may be closed.
    pub(super) fn close_one(&mut self, now: Instant) -> bool {
        let oldest = self.0.iter().position(|connection| connection.requested.is_none());
        let Some(at) = oldest.filter(|at| self.0.get(*at).is_some_and(|connection| connection.closable_at() <= now))
        else {
            return false;
        };
        self.0.remove(at).is_some()
    }

    /// Adds a connection, in place of one that may be closed if there is no room.
    pub(super) fn add(&mut self, stream: TcpStream, peer: IpAddr, now: Instant) {
        if self.0.len() + 1 >= MAX_PENDING {
            self.close_one(now);
        }
        self.0.push_back(PendingConnection { stream, peer, accepted: now, requested: None });
    }

    /// Checks which heads are complete. Closes connections that have ended or failed, or whose head has timed out.
    pub(super) fn poll_heads(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.0.retain_mut(|connection| {
            if connection.requested.is_none() {
                match connection.poll_head(cx) {
                    Poll::Ready(Ok(())) => connection.requested = Some(now),
                    Poll::Ready(Err(_)) => return false,
                    Poll::Pending => {}
                }
            }
            connection.requested.is_some() || now.saturating_duration_since(connection.accepted) < HEAD_TIMEOUT
        });
    }

    /// Returns the number of connections whose request waits for a slot.
    pub(super) fn requests(&self) -> usize {
        self.0.iter().filter(|connection| connection.requested.is_some()).count()
    }

    /// Returns how long the oldest request has waited for a slot; zero without one.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let oldest = self.0.iter().filter_map(|connection| connection.requested).min();
        oldest.map(|requested| now.saturating_duration_since(requested)).unwrap_or_default()
    }

    /// Removes the oldest connection with a request.
    pub(super) fn next_request(&mut self) -> Option<PendingConnection> {
        let first = self.0.iter().position(|connection| connection.requested.is_some())?;
        self.0.remove(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PendingConnection {
    fn closable_at(&self) -> Instant {
        self.accepted + GRACE_PERIOD
    }

    /// Polls for the complete head of a request, or for [`HEAD_SIZE`] bytes. The bytes are not consumed: hyper reads them.
    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.stream.poll_read_ready(cx)?.is_ready() {
            let is_ended = match pin!(self.stream.ready(Interest::READABLE)).poll(cx) {
                Poll::Ready(ready) => ready?.is_read_closed(),
                Poll::Pending => false,
            };
            let mut bytes = [0; HEAD_SIZE];
            let mut seen = ReadBuf::new(&mut bytes);
            let Poll::Ready(peeked) = self.stream.poll_peek(cx, &mut seen) else { return Poll::Pending };
            match peeked? {
                seen @ 1.. if seen == HEAD_SIZE || has_head(&bytes[..seen]) => return Poll::Ready(Ok(())),
                _ if is_ended => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                // The peeked bytes keep the socket readable. An error tells the runtime to wait for more.
                _ => _ = self.stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())),
            }
        }
        Poll::Pending
    }
}

/// Whether these bytes contain the complete head of a request. Like hyper, it accepts empty lines before the head, and line ends
/// without `\r`.
fn has_head(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let head = &bytes[start..];
    head.windows(2).any(|pair| pair == b"\n\n") || head.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::has_head;

    #[test]
    fn head_ends_with_an_empty_line() {
        for whole in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\n\n", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nmore"] {
            assert!(has_head(whole.as_bytes()), "{whole:?}");
        }
        for part in ["", "\r\n\r\n", "GET / HTTP/1.1", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r"] {
            assert!(!has_head(part.as_bytes()), "{part:?}");
        }
    }
}
