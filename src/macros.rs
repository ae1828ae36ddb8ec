//! The owner's six metrics, one macro a fact.

/// Counts one finished call: `llm_requests_total`, and with it how long it took and what it used, if that is said.
///
/// Provider and model are anything that is `AsRef<str>`, `duration` as in [`llm_duration!`](crate::llm_duration), `prompt` and
/// `completion` as in [`llm_tokens!`](crate::llm_tokens). Like the other `llm_*!` macros it records just what it is told;
/// [`LlmCall`](crate::LlmCall) records everything about a call and cannot forget.
///
/// ```
/// # let model = String::from("gemini-2.5-flash");
/// # let started = std::time::Instant::now();
/// botticelli_obs::llm_request!("gemini", model);
/// // The same as this macro and those two, with one look for the series:
/// botticelli_obs::llm_request!("gemini", model, duration: started.elapsed(), prompt: 12, completion: 30);
/// ```
#[macro_export]
macro_rules! llm_request {
    ($provider:expr, $model:expr $(,)?) => {
        $crate::__private::request(&$provider, &$model)
    };
    ($provider:expr, $model:expr, duration: $elapsed:expr, prompt: $prompt:expr, completion: $completion:expr $(,)?) => {
        $crate::__private::finished(&$provider, &$model, $elapsed, ($prompt, $completion))
    };
}

/// Counts one failed call with its class: `llm_errors_total`.
///
/// The third argument is an [`ErrorType`](crate::ErrorType) or a reference to a
/// [`ClassifyError`](crate::ClassifyError).
///
/// ```
/// use botticelli_obs::ErrorType;
/// botticelli_obs::llm_error!("gemini", "gemini-2.5-flash", ErrorType::RateLimit);
/// ```
#[macro_export]
macro_rules! llm_error {
    ($provider:expr, $model:expr, $error:expr $(,)?) => {
        $crate::__private::error(&$provider, &$model, $error)
    };
}

/// Records how long a call took: `llm_duration`.
///
/// The third argument is a [`Duration`](std::time::Duration), or a number of seconds.
///
/// ```
/// let started = std::time::Instant::now();
/// botticelli_obs::llm_duration!("gemini", "gemini-2.5-flash", started.elapsed());
/// ```
#[macro_export]
macro_rules! llm_duration {
    ($provider:expr, $model:expr, $elapsed:expr $(,)?) => {
        $crate::__private::duration(&$provider, &$model, $elapsed)
    };
}

/// Counts the tokens of a call: `llm_tokens_total`, `llm_tokens_prompt_total`, `llm_tokens_completion_total`.
///
/// Both numbers are `u64`.
///
/// ```
/// botticelli_obs::llm_tokens!("gemini", "gemini-2.5-flash", prompt: 12, completion: 30);
/// ```
#[macro_export]
macro_rules! llm_tokens {
    ($provider:expr, $model:expr, prompt: $prompt:expr, completion: $completion:expr $(,)?) => {
        $crate::__private::tokens(&$provider, &$model, $prompt, $completion)
    };
}
