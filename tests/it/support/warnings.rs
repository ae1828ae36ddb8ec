//! The warnings of a program.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use botticelli_obs::tracing::field::Field;
use botticelli_obs::tracing::{Event, Level};
use botticelli_obs::{Layer, Registry};

/// A layer that keeps the messages and fields of warnings.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Returns how many of them are as described.
    pub fn count(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        self.0.lock().expect("no panic").iter().filter(|warning| is_meant(warning)).count()
    }
}

impl Layer<Registry> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, Registry>) {
        if *event.metadata().level() == Level::WARN {
            let warnings = &mut *self.0.lock().expect("no panic");
            event.record(&mut |_: &Field, value: &dyn Debug| warnings.push(format!("{value:?}")));
        }
    }
}
