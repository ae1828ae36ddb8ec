//! The HTTP listener that Prometheus scrapes. It limits the connections, memory and time that peers can use.
//!
//! An accepted connection is [`pending`] until the head of its first request is complete. It then gets one of the slots, in which
//! hyper serves it. [`connections`] assigns and frees slots, [`answer`] makes the answers, and [`pages`] renders the page.

mod answer;
mod connections;
mod pages;
mod pending;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::token::Token;
#[cfg(feature = "console")]
use crate::console::Console;
use crate::snapshot::Format;
use crate::worker::Worker;
use answer::Answers;
use connections::Connections;
use pages::Pages;

/// The maximum number of connections that wait in the kernel to be accepted. The kernel reduces it to its own limit, 4096 on Linux.
const BACKLOG: i32 = 4096;

/// The size of a connection's send buffer in the kernel, in bytes. The default grows to megabytes: the kernel would hold that much
/// for every peer that does not read, and the listener would notice late that it does not.
const SEND_BUFFER: usize = 256 * 1024;

/// The peers that may scrape.
#[derive(Clone)]
pub(crate) struct Access {
    /// Networks that may scrape; empty for all.
    pub(crate) allowed: Vec<IpNet>,
    /// The token that every path except `/health` requires; `None` for no token.
    pub(crate) token: Option<Token>,
    /// What `/` is, in place of a few links; it checks its peers itself.
    #[cfg(feature = "console")]
    pub(crate) console: Option<Arc<Console>>,
}

/// Renders the page.
pub(crate) type Render = Arc<dyn Fn(Format) -> Vec<u8> + Send + Sync>;

/// Binds the first address of `host:port` that is available.
///
/// # Errors
///
/// When the host has no address, or none can be bound; the system's error is that of the last address.
pub(crate) fn bind(listen: &str) -> io::Result<std::net::TcpListener> {
    let mut addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
    // `localhost` has an IPv4 and an IPv6 address, and Prometheus configurations usually name 127.0.0.1.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    for addr in addresses {
        match bind_to(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Binds like `std`, with other sizes of backlog and send buffer.
fn bind_to(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option would take the port from another process.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted connections inherit the size. If the system refuses it, its default applies.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves the page until the worker is dropped.
///
/// # Errors
///
/// The system's error when the listener can't be registered with the runtime.
pub(crate) fn start(
    worker: &Worker,
    listener: std::net::TcpListener,
    access: Access,
    render: Render,
) -> io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let _entered = worker.handle().enter();
    let listener = TcpListener::from_std(listener)?;
    let pages = Pages::start(worker.handle(), render);
    let answers = Answers { access, pages, is_contended: AtomicBool::new(false) };
    worker.handle().spawn(Connections::new(listener, addr, answers).run());
    Ok(addr)
}
