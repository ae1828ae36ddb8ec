//! The traits by which a provider's types report on a call.

use std::sync::Arc;

use crate::call::LlmCall;
use crate::error_type::ClassifyError;
use crate::usage::Usage;

/// Reports the facts about a call that are in a response, or in a chunk of a streamed response.
///
/// Implement it for a client's response type. Every method returns `None` by default, so an empty implementation compiles. For a
/// stream, the last value of each method is recorded: chunks may repeat cumulative usage, or only one chunk may have it.
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
/// // References, `Box` and `Arc` implement the trait, too.
/// let shared: std::sync::Arc<dyn LlmResponse> = std::sync::Arc::new(Reply { text: String::new(), tokens: Some((12, 30)) });
/// assert_eq!(shared.usage(), Some(Usage::new(12, 30)));
/// ```
pub trait LlmResponse {
    /// Returns the tokens used.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Returns the model that answered. Its name may be more precise than that of the requested model.
    fn response_model(&self) -> Option<&str> {
        None
    }

    /// Returns the provider's id of the response.
    fn response_id(&self) -> Option<&str> {
        None
    }

    /// Returns why generation of the first choice stopped, in the provider's words, such as `stop` or `end_turn`.
    fn finish_reason(&self) -> Option<&str> {
        None
    }
}

/// Reports nothing, for code that returns no response.
impl LlmResponse for () {}

/// Reports nothing, for code that returns only the text.
impl LlmResponse for String {}

macro_rules! forward_responses {
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

forward_responses!(&T, Box<T>, Arc<T>);

/// Records how a call, or one item of a stream, ended.
///
/// Every [`LlmResponse`] implements it, and so does a `Result` of an `Outcome` and a [`ClassifyError`]. Implement it yourself for
/// a response that reports more than [`LlmResponse`] can, such as a failure or several choices:
///
/// ```
/// use botticelli_obs::{ErrorType, LlmCall, Outcome};
///
/// struct Reply { finish_reasons: Vec<String>, is_blocked: bool }
///
/// impl Outcome for Reply {
///     fn record_in(&self, call: &mut LlmCall) {
///         for reason in &self.finish_reasons {
///             call.record_finish_reason(reason);
///         }
///         if self.is_blocked {
///             call.record_error(ErrorType::ContentFilter);
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how the call turned out",
    note = "implement `LlmResponse` for the response and `ClassifyError` for the error, or use `observe_with`"
)]
pub trait Outcome {
    /// Records the facts in the call.
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
    fn pointers_report_what_their_target_reports() {
        fn facts(response: impl LlmResponse) -> String {
            let (model, id) = (response.response_model(), response.response_id());
            format!("{:?} {model:?} {id:?} {:?}", response.usage(), response.finish_reason())
        }
        let boxed: Box<dyn LlmResponse> = Box::new(Full);
        let boxed_again: Box<Arc<dyn LlmResponse>> = Box::new(Arc::new(Full));
        for text in [facts(&Full), facts(boxed), facts(Box::new(Full)), facts(Arc::new(Full)), facts(&boxed_again)] {
            assert_eq!(text, facts(Full));
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
