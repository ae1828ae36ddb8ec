//! A span, and the call it stands for.

use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use tracing::Metadata;

use super::fields::Fields;
use crate::call::{BridgedCall, Inside};
use crate::error_type::ErrorType;
use crate::lock::unpoisoned;
use crate::provider;

/// What is kept beside a span that may be a call.
#[derive(Debug)]
pub(super) struct Bridge {
    began: Instant,
    /// The class of a call of which the span does not tell how it went.
    silence: ErrorType,
    /// Set when the call starts.
    inside: OnceLock<Inside>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fields: Fields,
    call: Call,
    /// When something happened last, since it is known how the call went.
    ended: Option<Instant>,
}

#[derive(Debug, Default)]
enum Call {
    /// It is not known yet which call it is, or whether it is one.
    #[default]
    Unknown,
    /// It starts now, or nothing is recorded.
    Started(Option<BridgedCall>),
}

impl Bridge {
    pub(super) fn new(metadata: &Metadata<'_>) -> Self {
        let tells_errors = metadata.fields().field("error.type").is_some();
        Self {
            began: Instant::now(),
            silence: if tells_errors { ErrorType::Cancelled } else { ErrorType::Unknown },
            inside: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// Takes the values that `read` passes on. Returns whether the call started by it.
    pub(super) fn record(&self, read: impl FnOnce(&mut Fields)) -> bool {
        // Values format themselves by code of others, so the lock is not held while they are read.
        let mut fields = Fields::default();
        read(&mut fields);
        let names = {
            let mut state = self.lock();
            state.fields.take_from(fields);
            state.mark();
            let is_known = matches!(state.call, Call::Unknown) && state.fields.is_call_known();
            if is_known {
                state.call = Call::Started(None);
            }
            is_known.then(|| state.fields.names())
        };
        names.is_some_and(|names| self.start(&names))
    }

    fn start(&self, [provider, model, operation]: &[String; 3]) -> bool {
        let Some(mut call) = BridgedCall::start([provider::label(provider), model, operation], self.began) else {
            return false;
        };
        if let Some(inside) = call.inside() {
            let _ = self.inside.set(inside);
        }
        self.lock().call = Call::Started(Some(call));
        true
    }

    /// The inside of the call, once it has started.
    pub(super) fn inside(&self) -> Option<&Inside> {
        self.inside.get()
    }

    /// Notes that the span was left.
    pub(super) fn leave(&self) {
        self.lock().mark();
    }

    /// Counts the call.
    pub(super) fn end(&self) {
        let is_late = {
            let state = self.lock();
            matches!(state.call, Call::Unknown) && state.fields.is_inference()
        };
        if is_late {
            // Of a library that does not name the provider or the model.
            let names = self.lock().fields.names();
            self.start(&names);
        }
        let State { fields, call, ended } = mem::take(&mut *self.lock());
        if let Call::Started(Some(call)) = call {
            let silence = if std::thread::panicking() { ErrorType::Panic } else { self.silence };
            call.end(ended.unwrap_or_else(Instant::now), fields.into_facts(), silence, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

impl State {
    fn mark(&mut self) {
        if self.fields.is_told() {
            self.ended = Some(Instant::now());
        }
    }
}
