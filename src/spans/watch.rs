//! Notices that a thread ends before its subscriber does.

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::thread_end;

/// Comes after the layers that have thread-locals.
pub(super) struct Watch;

impl<S: Subscriber> Layer<S> for Watch {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        thread_end::watch_new_span();
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        thread_end::watch_event();
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        thread_end::watch_enter();
    }
}

/// A layer without the events of threads that are ending: one that writes lines keeps them in a thread-local first.
pub(super) struct Lines<L>(pub(super) L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Lines<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        self.0.on_new_span(attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        self.0.on_record(id, values, cx);
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if !thread_end::is_ending() {
            self.0.on_event(event, cx);
        }
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        self.0.on_enter(id, cx);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        self.0.on_exit(id, cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        self.0.on_close(id, cx);
    }
}
