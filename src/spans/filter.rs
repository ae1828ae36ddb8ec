//! Which spans and events are exported.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::call;
use crate::fork::Origin;
use crate::worker::is_own_thread;

/// Selects the spans and events to export:
///
/// - nothing in the child of a fork, where nobody exports;
/// - nothing from the threads of this crate: the exporter's HTTP stack would trace its own exports. The target can't tell them
///   apart, because the program may use the same HTTP stack, whose spans are wanted;
/// - every call span, whatever the directives are;
/// - everything else by the directives.
pub(super) struct SpanFilter {
    directives: EnvFilter,
    origin: Origin,
}

impl SpanFilter {
    pub(super) fn new(directives: &str) -> Self {
        Self { directives: EnvFilter::new(directives), origin: Origin::here() }
    }
}

impl<S: Subscriber> Filter<S> for SpanFilter {
    fn enabled(&self, metadata: &Metadata<'_>, cx: &Context<'_, S>) -> bool {
        !is_own_thread()
            && !self.origin.is_forked()
            && (metadata.target() == call::TARGET || Filter::<S>::enabled(&self.directives, metadata, cx))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Filter::<S>::callsite_enabled(&self.directives, metadata);
        if interest.is_never() && metadata.target() != call::TARGET {
            return interest;
        }
        // Not `always`, which would skip `enabled` and with it the check of the thread.
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Call spans have the level INFO. A lower hint would disable them before `enabled` is asked.
        Filter::<S>::max_level_hint(&self.directives).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.directives, attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        Filter::<S>::on_record(&self.directives, id, values, cx);
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        Filter::<S>::on_enter(&self.directives, id, cx);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        Filter::<S>::on_exit(&self.directives, id, cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        Filter::<S>::on_close(&self.directives, id, cx);
    }
}
