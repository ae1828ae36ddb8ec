//! Looks up the names of endpoints.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::worker::apart;

/// Looks names up by the system. The resolver of `hyper-util` does so too, on a thread of tokio's, which panics where the system has
/// no more threads.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    /// A look-up may hang long after its connection has been given up.
    turns: Arc<Semaphore>,
}

impl Resolver {
    const AT_ONCE: usize = 4;

    pub(super) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(Self::AT_ONCE)) }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let turns = Arc::clone(&self.turns);
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let look_up = move || {
                let _turn = turn;
                (name.as_str(), 0).to_socket_addrs()
            };
            apart("botticelli-obs-lookup", look_up)
                .await
                .unwrap_or_else(|| Err(io::Error::other("the look-up panicked")))
        })
    }
}
