//! Connections that have been accepted and have not shown the head of a request yet.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

use super::stream::HEAD_TIME;

/// How many connections may be here, the one that has just been accepted included.
pub(super) const LOBBY: usize = 16;

/// How large the head of a request may be; the least that hyper can be told.
pub(super) const HEAD_SIZE: usize = 8 * 1024;

/// How long a connection is not closed for another one. A request that is on its way arrives sooner; and it bounds how many
/// connections a flood can make the listener's thread accept in a second.
const GRACE: Duration = Duration::from_millis(5);

/// A connection whose request has not arrived yet.
pub(super) struct Waiting {
    pub(super) stream: TcpStream,
    pub(super) peer: IpAddr,
    since: Instant,
    has_asked: bool,
}

/// The connections, the oldest first.
#[derive(Default)]
pub(super) struct Lobby(VecDeque<Waiting>);

impl Lobby {
    /// Whether there is room for one more, also by closing one.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.0.len() + 1 < LOBBY || self.closable_at().is_some_and(|at| at <= now)
    }

    /// When the connection with the least claim may be closed for another one: the oldest that has not asked.
    pub(super) fn closable_at(&self) -> Option<Instant> {
        self.0.iter().find(|waiting| !waiting.has_asked).map(|waiting| waiting.since + GRACE)
    }

    /// Closes the connection with the least claim, if it may be closed.
    pub(super) fn close_one(&mut self, now: Instant) -> bool {
        let oldest = self.0.iter().position(|waiting| !waiting.has_asked);
        let Some(at) = oldest.filter(|at| self.0.get(*at).is_some_and(|waiting| waiting.since + GRACE <= now)) else {
            return false;
        };
        self.0.remove(at).is_some()
    }

    /// Takes a connection in, in place of the one with the least claim if there is no room.
    pub(super) fn add(&mut self, stream: TcpStream, peer: IpAddr, now: Instant) {
        if self.0.len() + 1 >= LOBBY {
            self.close_one(now);
        }
        self.0.push_back(Waiting { stream, peer, since: now, has_asked: false });
    }

    /// Looks for requests that have arrived, and closes connections that have ended or exceed the time limit.
    pub(super) fn look(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.0.retain_mut(|waiting| {
            if !waiting.has_asked {
                match waiting.poll_head(cx) {
                    Poll::Ready(Ok(())) => waiting.has_asked = true,
                    Poll::Ready(Err(_)) => return false,
                    Poll::Pending => {}
                }
            }
            waiting.has_asked || now.saturating_duration_since(waiting.since) < HEAD_TIME
        });
    }

    /// How many have asked.
    pub(super) fn asking(&self) -> usize {
        self.0.iter().filter(|waiting| waiting.has_asked).count()
    }

    /// Lets out the first that has asked.
    pub(super) fn next_asking(&mut self) -> Option<Waiting> {
        let first = self.0.iter().position(|waiting| waiting.has_asked)?;
        self.0.remove(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Waiting {
    /// Waits until the head of a request is there, or more than one may have. Nothing is read: hyper does that.
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
                // What has been seen stays readable: the runtime has to be told to wait for more.
                _ => _ = self.stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())),
            }
        }
        Poll::Pending
    }
}

/// Whether these bytes hold the head of a request: hyper takes empty lines before it, and line ends without `\r`.
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
