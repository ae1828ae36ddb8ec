//! The signals that end the bot.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C or, on Unix, for the SIGTERM of an orchestrator.
pub struct Stop {
    #[cfg(unix)]
    signals: [Signal; 2],
}

#[cfg(unix)]
impl Stop {
    pub fn new() -> io::Result<Self> {
        Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    pub async fn requested(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Stop {
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    pub async fn requested(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // There is no such signal here.
            std::future::pending().await
        }
    }
}
