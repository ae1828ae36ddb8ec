//! A thread of the crate's own with a tokio runtime on it: nothing of a pipeline ever runs on the program's runtime.

use std::cell::Cell;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as one of the crate's own.
pub(crate) fn mark_own_thread() {
    OWN.set(true);
}

/// Whether the current thread is one of the crate's own, whose work must never be traced: it would trace its own export.
pub(crate) fn is_own_thread() -> bool {
    OWN.get()
}

/// The moment when this time is over. `Duration::MAX` is a usual way to say "without a limit", and no clock goes so far.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(YEAR)
}

/// The thread; dropping it stops the runtime and everything on it.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread of this name with a single-threaded runtime.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no event queue.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        runtime.max_blocking_threads(4).on_thread_start(mark_own_thread);
        Self::run(name, runtime)
    }

    /// Starts a thread of this name with the runtime of this builder, which sets what its blocking threads do.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no event queue.
    pub(crate) fn run(name: &str, mut runtime: Builder) -> io::Result<Self> {
        let runtime = runtime.enable_all().thread_name(format!("{name}-blocking")).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            mark_own_thread();
            // Either way of ending is the order to stop: sent, or its sender dropped.
            let _ = runtime.block_on(stopped);
            // A name look-up may hang in the blocking pool: it must not hold up whoever shuts down.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the handle of the runtime, to spawn on it or to enter its context.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic on that thread has been reported by the panic hook; there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}

/// How long a pipeline that is dropped may take.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs something that may hang on a thread of its own, and waits for it until the deadline.
pub(crate) fn wait_for<T: Send + 'static>(
    name: &str,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, finished) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        mark_own_thread();
        // Nobody listens any more when the deadline has passed.
        let _ = done.send(work());
    });
    thread.ok()?;
    finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}
