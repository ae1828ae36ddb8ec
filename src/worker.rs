//! Threads of this crate. Pipelines run on their own tokio runtimes, so that they and the program's runtime can't block each other.

use std::cell::Cell;
use std::io;
use std::mem;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::fork::Origin;
use crate::lock::unpoisoned;

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
    /// Closed when the thread ends.
    ended: Mutex<Receiver<()>>,
    origin: Origin,
}

impl Worker {
    /// Starts a thread of this name, whose tasks never block.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread or an event queue.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        Self::build(name, Builder::new_current_thread())
    }

    /// Starts a thread of this name with a runtime of this builder, for code of others that needs its blocking threads. Code of this
    /// crate that blocks runs [`apart`].
    ///
    /// # Errors
    ///
    /// When the system can't create two threads or an event queue.
    #[cfg(feature = "exporter")]
    pub(crate) fn run(name: &str, mut runtime: Builder) -> io::Result<Self> {
        // tokio panics if a blocking task comes when it has no thread and can't start one. So one is started now, and kept.
        runtime.thread_keep_alive(FOREVER);
        let worker = Self::build(name, runtime)?;
        check_threads()?;
        worker.handle.spawn_blocking(|| ());
        Ok(worker)
    }

    fn build(name: &str, mut runtime: Builder) -> io::Result<Self> {
        check_descriptors()?;
        let runtime =
            runtime.enable_all().thread_name(format!("{name}-blocking")).on_thread_start(mark_own_thread).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            mark_own_thread();
            // Ends when the sender is dropped, which is an `Err`.
            let _ = runtime.block_on(stopped);
            // Does not wait for the blocking threads: a name look-up that hangs there would delay the shutdown.
            runtime.shutdown_background();
            drop(end);
        })?;
        let (thread, ended) = (Some(thread), Mutex::new(ended));
        Ok(Self { handle, stop: Some(stop), thread, ended, origin: Origin::here() })
    }

    /// Returns the handle of the runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops the runtime, and waits until the thread has ended. After the deadline it waits only as long as a thread needs that has
    /// nothing left to do; a task that does not come to an end is left alone.
    pub(crate) fn stop_by(mut self, deadline: Instant) {
        self.end(deadline);
    }

    fn end(&mut self, deadline: Instant) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if self.origin.is_forked() {
            // The thread is the parent's. Waking or joining it from here would disturb the parent, or panic.
            mem::forget((stop, thread));
            return;
        }
        drop(stop);
        // A thread can't join itself, as when one of its tasks drops the worker.
        let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) else { return };
        let ended = unpoisoned(self.ended.get_mut());
        let remaining = deadline.saturating_duration_since(Instant::now()).max(MOMENT);
        if ended.recv_timeout(remaining) == Err(mpsc::RecvTimeoutError::Disconnected) {
            // An error is a panic of that thread, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end(Instant::now() + DROP_TIMEOUT);
    }
}

/// The limit for a shutdown by `Drop`.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// More than an idle thread needs to end.
const MOMENT: Duration = Duration::from_millis(50);

#[cfg(feature = "exporter")]
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whether an error says that the system gives no more threads or descriptors.
pub(crate) fn has_run_out(error: &io::Error) -> bool {
    // `WSAEMFILE`, or `ENFILE` and `EMFILE`.
    const DESCRIPTORS: &[i32] = if cfg!(windows) { &[10_024] } else { &[23, 24] };
    // No thread is `EAGAIN`.
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error().is_some_and(|number| DESCRIPTORS.contains(&number))
}

/// Checks that a thread can be had, for code that would panic without.
#[cfg(feature = "exporter")]
fn check_threads() -> io::Result<()> {
    // Three at a time, and a pause after them: for a moment a thread that has been joined still counts against the limit.
    let start = || {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().spawn(move || {
            let _ = ended.recv();
        })?;
        Ok::<_, io::Error>((end, thread))
    };
    for (end, thread) in [start()?, start()?, start()?] {
        drop(end);
        let _ = thread.join();
    }
    thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// Checks that a few descriptors can be had. tokio panics if there is none for its signals, which are compiled in where any crate of
/// the program needs them.
#[cfg(unix)]
fn check_descriptors() -> io::Result<()> {
    let pair = std::os::unix::net::UnixStream::pair;
    drop([pair()?, pair()?, pair()?]);
    Ok(())
}

#[cfg(not(unix))]
fn check_descriptors() -> io::Result<()> {
    Ok(())
}

/// Runs `work`, which may hang, on a thread of its own and waits for its result until the deadline.
///
/// Returns `None` after the deadline, when the thread goes on in the background, or if `work` panics.
pub(crate) fn wait_for<T: Send + 'static>(
    name: &str,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, finished) = mpsc::channel();
    start_apart(name, move || drop(done.send(work())));
    finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// Runs `work`, which may block, on a thread of its own. Returns `None` if `work` panics.
///
/// As tokio's `spawn_blocking`, which panics where the system has no more threads.
pub(crate) async fn apart<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, finished) = oneshot::channel();
    start_apart(name, move || drop(done.send(work())));
    finished.await.ok()
}

/// Runs `work` on a new thread, or on this one if there is none to be had.
pub(crate) fn start_apart(name: &str, work: impl FnOnce() + Send + 'static) {
    // Shared, since a thread that can't be started drops what it was given.
    let work = Arc::new(Mutex::new(Some(work)));
    let run = |work: &Mutex<Option<_>>| {
        let work = unpoisoned(work.lock()).take();
        if let Some(work) = work {
            as_own_thread(work);
        }
    };
    let shared = Arc::clone(&work);
    if thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared)).is_err() {
        run(&work);
    }
}

/// Runs `work` on this thread as on one of this crate.
fn as_own_thread<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            IS_OWN.set(self.0);
        }
    }

    let _restore = Restore(IS_OWN.replace(true));
    work()
}
