//! The macros that record single facts, for the six base metrics.

/// Counts one finished call: `llm_requests_total`. The longer form also records its duration and its tokens.
///
/// Provider and model are `AsRef<str>` and are borrowed. `duration` is as in [`llm_duration!`](crate::llm_duration), `prompt` and
/// `completion` are as in [`llm_tokens!`](crate::llm_tokens).
///
/// This macro and the other `llm_*!` macros record only their arguments: no span, no calls in flight. Use
/// [`LlmCall`](crate::LlmCall) to record everything about a call, however it ends. Where no recorder is installed, the macros do
/// nothing.
///
/// ```
/// let model = String::from("gemini-2.5-flash");
/// let started = std::time::Instant::now();
/// botticelli_obs::llm_request!("gemini", model);
/// // The same as this macro, `llm_duration!` and `llm_tokens!`, with one look-up of the series:
/// let elapsed = started.elapsed();
/// botticelli_obs::llm_request!("gemini", model, duration: elapsed, prompt: 12, completion: 30);
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

/// Counts one failed call by its class: `llm_errors_total`.
///
/// The third argument is an [`ErrorType`](crate::ErrorType), or a reference to an error that implements
/// [`ClassifyError`](crate::ClassifyError). It does not count a request: call [`llm_request!`](crate::llm_request) as well.
///
/// ```
/// use botticelli_obs::ErrorType;
///
/// botticelli_obs::llm_request!("gemini", "gemini-2.5-flash");
/// botticelli_obs::llm_error!("gemini", "gemini-2.5-flash", ErrorType::RateLimit);
/// ```
#[macro_export]
macro_rules! llm_error {
    ($provider:expr, $model:expr, $error:expr $(,)?) => {
        $crate::__private::error(&$provider, &$model, $error)
    };
}

/// Records the duration of a call: `llm_duration`, a histogram in seconds.
///
/// The third argument is a [`Duration`](std::time::Duration), or a number of seconds. Values that are negative or not finite are
/// dropped, and counted in `botticelli_obs_invalid_samples_total`.
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

/// Counts the tokens of a call: `llm_tokens_prompt_total`, `llm_tokens_completion_total`, and `llm_tokens_total`, their sum.
///
/// Both numbers are `u64`. `prompt` includes cached tokens, `completion` includes reasoning, as in [`Usage`](crate::Usage).
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
