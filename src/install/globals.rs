//! Sets the global recorder and the global subscriber. Neither can be unset, so the global recorder does nothing until an install
//! has succeeded.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use once_cell::sync::OnceCell;
use tracing::Dispatch;
use tracing_log::LogTracer;

use super::error::InstallError;
use crate::current;
use crate::store::Store;

/// Set when `GlobalRecorder` is the global recorder of the process.
static IS_SET: OnceCell<()> = OnceCell::new();

/// The recorder to which `GlobalRecorder` forwards. Set once, when an install has succeeded.
static TARGET: OnceCell<Arc<Store>> = OnceCell::new();

/// Sets the global recorder, unless an earlier install that failed later has set it already.
///
/// # Errors
///
/// When the process has another global recorder.
pub(super) fn set_recorder() -> Result<(), InstallError> {
    IS_SET
        .get_or_try_init(|| {
            metrics::set_global_recorder(GlobalRecorder { target: &TARGET })
                .map_err(|_| InstallError::foreign_recorder())
        })
        .copied()
}

/// Makes the global recorder forward to this recorder until the process ends.
pub(super) fn activate_recorder(recorder: Arc<Store>) {
    // Can't fail: only one install succeeds, and only that one calls this.
    let _ = TARGET.set(recorder);
}

/// Sets the global subscriber, and forwards records of the `log` crate to it.
///
/// # Errors
///
/// When the process has another global subscriber.
pub(super) fn set_subscriber(subscriber: impl Into<Dispatch>) -> Result<(), InstallError> {
    tracing::dispatcher::set_global_default(subscriber.into()).map_err(|_| InstallError::foreign_subscriber())?;
    // Fails if the program has its own logger, which then stays.
    let _ = LogTracer::init();
    Ok(())
}

/// Forwards to its target; does nothing before the target is set.
struct GlobalRecorder {
    target: &'static OnceCell<Arc<Store>>,
}

impl GlobalRecorder {
    fn forward<T>(&self, to: impl FnOnce(&Arc<Store>) -> T, noop: impl FnOnce() -> T) -> T {
        self.target.get().map_or_else(noop, to)
    }
}

impl Recorder for GlobalRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.forward(|recorder| recorder.describe_counter(key, unit, description), || ());
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        let describe = |to: &Arc<Store>| {
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
