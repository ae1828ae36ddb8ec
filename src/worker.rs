//! Threads of this crate. Pipelines run on their own tokio runtimes, so that they and the program's runtime can't block each other.

use std::cell::Cell;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as a thread of this crate.
pub(crate) fn mark_own_thread() {
    IS_OWN.set(true);
}

/// Whether the current thread is a thread of this crate. Its spans must not be exported: each export would cause another one.
pub(crate) fn is_own_thread() -> bool {
    IS_OWN.get()
}

/// Returns the time when `timeout` is over, at most a year from now. Callers pass `Duration::MAX` for "no limit", which would
/// overflow an `Instant`.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(YEAR)
}

/// A thread with a single-threaded tokio runtime. Dropping it stops the runtime with all of its tasks, and joins the thread.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    /// The thread ends when this is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread of this name, with at most 4 threads beside it for blocking tasks such as name look-ups.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread or an event queue.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        runtime.max_blocking_threads(4).on_thread_start(mark_own_thread);
        Self::run(name, runtime)
    }

    /// Starts a thread of this name with a runtime of this builder, for callers that configure its blocking threads themselves.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread or an event queue.
    pub(crate) fn run(name: &str, mut runtime: Builder) -> io::Result<Self> {
        let runtime = runtime.enable_all().thread_name(format!("{name}-blocking")).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            mark_own_thread();
            // Ends when the sender is dropped, which is an `Err`.
            let _ = runtime.block_on(stopped);
            // Does not wait for the blocking threads: a name look-up that hangs there would delay the shutdown.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the handle of the runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Worker {
    /// Stops the runtime, and waits until the thread has ended, or until the deadline or a moment after it. A task that computes until
    /// then goes on in the background, up to its next `await`.
    pub(crate) fn stop_by(mut self, deadline: Instant) {
        const MOMENT: Duration = Duration::from_millis(50);
        drop(self.stop.take());
        let deadline = deadline.max(Instant::now() + MOMENT);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                // Without its handle the thread is not joined.
                self.thread = None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread can't join itself, as when one of its tasks drops the worker.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // An error is a panic of that thread, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

/// The limit for a shutdown by `Drop`.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `work`, which may hang, on a new thread and waits for its result until the deadline.
///
/// Returns `None` after the deadline, when the thread goes on in the background, or if no thread can be started.
pub(crate) fn wait_for<T: Send + 'static>(
    name: &str,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, finished) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        mark_own_thread();
        // An error means that the deadline has passed and the receiver is gone.
        let _ = done.send(work());
    });
    thread.ok()?;
    finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}
