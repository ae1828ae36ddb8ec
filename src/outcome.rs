//! What a provider's types tell about a call.

use std::sync::Arc;

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
///
/// // References, `Box` and `Arc` tell what is behind them.
/// let shared: std::sync::Arc<dyn LlmResponse> = std::sync::Arc::new(Reply { text: String::new(), tokens: Some((12, 30)) });
/// assert_eq!(shared.usage(), Some(Usage::new(12, 30)));
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

macro_rules! responses_behind {
    ($($pointer:ty),+) => {$(
        impl<T: LlmResponse + ?Sized> LlmResponse for $pointer {
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
    )+};
}

responses_behind!(&T, Box<T>, Arc<T>);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_type::ErrorType;

    struct Full;

    impl LlmResponse for Full {
        fn usage(&self) -> Option<Usage> {
            Some(Usage::new(1, 2))
        }

        fn response_model(&self) -> Option<&str> {
            Some("model")
        }

        fn response_id(&self) -> Option<&str> {
            Some("id")
        }

        fn finish_reason(&self) -> Option<&str> {
            Some("stop")
        }
    }

    #[test]
    fn pointers_tell_all_that_is_behind_them() {
        fn told(response: impl LlmResponse) -> String {
            let (model, id) = (response.response_model(), response.response_id());
            format!("{:?} {model:?} {id:?} {:?}", response.usage(), response.finish_reason())
        }
        let boxed: Box<dyn LlmResponse> = Box::new(Full);
        let boxed_again: Box<Arc<dyn LlmResponse>> = Box::new(Arc::new(Full));
        for text in [told(&Full), told(boxed), told(Box::new(Full)), told(Arc::new(Full)), told(&boxed_again)] {
            assert_eq!(text, told(Full));
        }
    }

    #[test]
    fn results_of_pointers_and_classes_are_outcomes() {
        fn is_outcome<T: Outcome>() {}
        is_outcome::<Result<Box<Full>, ErrorType>>();
        is_outcome::<Result<Arc<Full>, Box<dyn ClassifyError + Send>>>();
        is_outcome::<Result<(), Arc<std::io::Error>>>();
    }
}
