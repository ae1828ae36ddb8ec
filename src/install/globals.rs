//! The two globals of a process. Neither can be taken back once it is set, so ours does nothing until it is armed.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use once_cell::sync::OnceCell;
use tracing::Dispatch;
use tracing_log::LogTracer;

use super::error::InstallError;
use crate::current::{self, SharedRecorder};

/// Filled when our shell has become the process' recorder.
static CLAIMED: OnceCell<()> = OnceCell::new();

/// The recorder behind the shell; set once, when an install has succeeded.
static ARMED: OnceCell<SharedRecorder> = OnceCell::new();

/// Makes the shell the process' recorder, unless an earlier install that failed has left it there.
///
/// # Errors
///
/// When the process has another one.
pub(super) fn claim_recorder() -> Result<(), InstallError> {
    CLAIMED
        .get_or_try_init(|| {
            metrics::set_global_recorder(Shell { armed: &ARMED }).map_err(|_| InstallError::foreign_recorder())
        })
        .copied()
}

/// Gives the shell the recorder it forwards to, for the rest of the process.
pub(super) fn arm_recorder(recorder: SharedRecorder) {
    // Only the one install that succeeds comes here.
    let _ = ARMED.set(recorder);
}

/// Makes this the process' subscriber, and the place where records of the `log` crate go.
///
/// # Errors
///
/// When the process has another one.
pub(super) fn set_subscriber(subscriber: impl Into<Dispatch>) -> Result<(), InstallError> {
    tracing::dispatcher::set_global_default(subscriber.into()).map_err(|_| InstallError::foreign_subscriber())?;
    // A program with a logger of its own keeps it.
    let _ = LogTracer::init();
    Ok(())
}

struct Shell {
    armed: &'static OnceCell<SharedRecorder>,
}

impl Shell {
    fn forward<T>(&self, to: impl FnOnce(&SharedRecorder) -> T, inert: impl FnOnce() -> T) -> T {
        self.armed.get().map_or_else(inert, to)
    }
}

impl Recorder for Shell {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.forward(|recorder| recorder.describe_counter(key, unit, description), || ());
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        let describe = |to: &SharedRecorder| {
            if !current::identify_as_global(self, &key, to) {
                to.describe_gauge(key, unit, description);
            }
        };
        self.forward(describe, || ());
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.forward(|recorder| recorder.describe_histogram(key, unit, description), || ());
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.forward(|recorder| recorder.register_counter(key, metadata), Counter::noop)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.forward(|recorder| recorder.register_gauge(key, metadata), Gauge::noop)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.forward(|recorder| recorder.register_histogram(key, metadata), Histogram::noop)
    }
}
