//! What a provider's types tell about a call.

use crate::call::LlmCall;
use crate::error_type::ClassifyError;
use crate::usage::Usage;

/// What a response, or a chunk of a streamed one, says about the call; implement it for a client's response type.
///
/// Everything defaults to `None`, so an empty implementation is a start. In a stream usage may come in any chunk, cumulative or
/// once: the last one counts.
///
/// ```
/// use botticelli_obs::{LlmResponse, Usage};
///
/// struct Reply { text: String, tokens: Option<(u64, u64)> }
///
/// impl LlmResponse for Reply {
///     fn usage(&self) -> Option<Usage> {
///         self.tokens.map(|(prompt, completion)| Usage::new(prompt, completion))
///     }
/// }
/// ```
pub trait LlmResponse {
    /// Returns the tokens used, if it says so.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Returns the model that answered, which may be more precise than the one asked for.
    fn response_model(&self) -> Option<&str> {
        None
    }

    /// Returns the provider's id of the response.
    fn response_id(&self) -> Option<&str> {
        None
    }

    /// Returns why generation stopped, in the provider's words; of several choices that of the first. In a stream the last one
    /// counts.
    fn finish_reason(&self) -> Option<&str> {
        None
    }
}

/// For code whose replies say nothing about the call.
impl LlmResponse for () {}

/// For code that returns the text alone.
impl LlmResponse for String {}

impl<T: LlmResponse + ?Sized> LlmResponse for &T {
    fn usage(&self) -> Option<Usage> {
        (**self).usage()
    }

    fn response_model(&self) -> Option<&str> {
        (**self).response_model()
    }

    fn response_id(&self) -> Option<&str> {
        (**self).response_id()
    }

    fn finish_reason(&self) -> Option<&str> {
        (**self).finish_reason()
    }
}

/// How a call, or a step of a stream, turned out: an [`LlmResponse`], or a `Result` of one and a [`ClassifyError`].
///
/// Implement it for a response that knows more than an [`LlmResponse`] can tell, such as a failure or several choices.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how the call turned out",
    note = "implement `LlmResponse` for the response and `ClassifyError` for the error, or use `observe_with`"
)]
pub trait Outcome {
    /// Records what is known into the call.
    fn record_in(&self, call: &mut LlmCall);
}

impl<T: LlmResponse> Outcome for T {
    fn record_in(&self, call: &mut LlmCall) {
        if let Some(usage) = self.usage() {
            call.record_usage(usage);
        }
        if let Some(model) = self.response_model() {
            call.record_response_model(model);
        }
        if let Some(id) = self.response_id() {
            call.record_response_id(id);
        }
        if let Some(reason) = self.finish_reason() {
            call.record_choice(0, reason);
        }
    }
}

impl<T: Outcome, E: ClassifyError> Outcome for Result<T, E> {
    fn record_in(&self, call: &mut LlmCall) {
        match self {
            Ok(outcome) => outcome.record_in(call),
            Err(error) => call.record_error(error),
        }
    }
}
