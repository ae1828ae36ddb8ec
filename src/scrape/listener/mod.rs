//! The HTTP listener that Prometheus scrapes, bounded in what peers can take.
//!
//! A connection goes from the [`lobby`], where it shows the head of a request, to a place where hyper serves it.
//! [`connections`] decides who gets a place, [`answer`] what a request gets, and [`pages`] renders the page.

mod answer;
mod connections;
mod lobby;
mod pages;
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
use crate::snapshot::Format;
use crate::worker::Worker;
use answer::Answers;
use connections::Connections;
use pages::Pages;

/// How many connections may wait in the kernel to be accepted; it cuts this to what it is set to, 4096 on Linux.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel may hold for a peer that does not read. Without it these are megabytes, and whether a slow peer reads
/// shows late.
const SEND_BUFFER: usize = 256 * 1024;

/// Who may scrape.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Networks that may scrape; empty for all.
    pub(crate) allowed: Vec<IpNet>,
    /// What everything but `/health` wants to see; `None` for nothing.
    pub(crate) token: Option<Token>,
}

/// Renders the page.
pub(crate) type Render = Arc<dyn Fn(Format) -> Vec<u8> + Send + Sync>;

/// Binds the first address of `host:port` that can be had.
///
/// # Errors
///
/// The system's error when the host has no address, or for its last address.
pub(crate) fn bind(listen: &str) -> io::Result<std::net::TcpListener> {
    let mut addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
    // `localhost` is both, and Prometheus' configurations say 127.0.0.1.
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

/// Binds as `std` does, but for the sizes.
fn bind_to(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows it would take the port away from whoever has it.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it. A system that refuses serves with its own.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let _entered = worker.handle().enter();
    let listener = TcpListener::from_std(listener)?;
    let pages = Pages::start(worker.handle(), render);
    let answers = Answers { access, pages, is_crowded: AtomicBool::new(false) };
    worker.handle().spawn(Connections::new(listener, addr, answers).run());
    Ok(addr)
}
