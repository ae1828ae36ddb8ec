//! `#[llm_call]`: what it records, on each kind of function it goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use botticelli_obs::{Builder, ClassifyError, ErrorType, LlmCall, LlmResponse, Outcome, Usage, llm_call, metrics};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};

use crate::support::page::Page;

const MODEL: &str = "gemini-2.5-flash";

#[derive(Debug, Default, PartialEq)]
struct Reply {
    tokens: Option<(u64, u64)>,
    finish: Option<&'static str>,
}

fn reply(prompt: u64, completion: u64) -> Reply {
    Reply { tokens: Some((prompt, completion)), finish: Some("stop") }
}

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        self.tokens.map(|(prompt, completion)| Usage::new(prompt, completion))
    }

    fn finish_reason(&self) -> Option<&str> {
        self.finish
    }
}

#[derive(Debug, PartialEq)]
struct ApiError(u16);

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::from_http_status(self.0)
    }
}

impl From<std::num::ParseIntError> for ApiError {
    fn from(_: std::num::ParseIntError) -> Self {
        Self(400)
    }
}

/// A reply and an error that implement nothing of ours.
#[derive(Debug)]
struct Foreign {
    tokens: u64,
}

struct Request {
    model: String,
}

impl Request {
    fn new() -> Self {
        Self { model: MODEL.to_owned() }
    }

    fn model(&self) -> &str {
        &self.model
    }
}

/// What was recorded, by the labels of one provider and model.
struct Recorded(Page);

impl Recorded {
    fn value(&self, name: &str, more: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> =
            [("provider", "gemini"), ("model", MODEL)].into_iter().chain(more.iter().copied()).collect();
        self.0.get(name, &labels).unwrap_or(0.0)
    }

    fn requests(&self) -> f64 {
        assert_eq!(self.0.sum("llm_requests_total"), self.value("llm_requests_total", &[]), "only of this model");
        assert_eq!(self.value("llm_in_flight", &[]), 0.0, "nothing is in flight any more");
        assert_eq!(self.value("llm_duration_count", &[]), self.value("llm_requests_total", &[]));
        self.value("llm_requests_total", &[])
    }

    fn errors(&self, error: ErrorType) -> f64 {
        self.value("llm_errors_total", &[("error_type", error.as_str())])
    }

    fn tokens(&self) -> (f64, f64) {
        (self.value("llm_tokens_prompt_total", &[]), self.value("llm_tokens_completion_total", &[]))
    }

    /// One call that was a success, with these tokens.
    #[track_caller]
    fn is_success(&self, prompt: f64, completion: f64) {
        assert_eq!(self.requests(), 1.0);
        assert_eq!(self.0.sum("llm_errors_total"), 0.0);
        assert_eq!(self.tokens(), (prompt, completion));
    }

    /// One call that failed.
    #[track_caller]
    fn is_failure(&self, error: ErrorType) {
        assert_eq!(self.requests(), 1.0);
        assert_eq!(self.0.sum("llm_errors_total"), 1.0);
        assert_eq!(self.errors(error), 1.0, "{:?}", self.0.of("llm_errors_total"));
    }
}

fn record<T>(code: impl FnOnce() -> T) -> (T, Recorded) {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let output = metrics::with_local_recorder(&recorder, code);
    (output, Recorded(Page::parse(&page.render())))
}

fn record_async<T>(code: impl Future<Output = T>) -> (T, Recorded) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    record(|| runtime.block_on(code))
}

/// Polls once.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

mod functions {
    use super::*;

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn generate(prompt: &str) -> Result<Reply, ApiError> {
        tokio::task::yield_now().await;
        if prompt.is_empty() {
            return Err(ApiError(429));
        }
        let tokens: u64 = prompt.parse()?;
        Ok(reply(tokens, 2))
    }

    #[test]
    fn success_is_recorded_with_its_usage() {
        let (output, recorded) = record_async(generate("12"));
        assert_eq!(output, Ok(reply(12, 2)));
        recorded.is_success(12.0, 2.0);
        assert_eq!(recorded.value("llm_finish_total", &[("finish_reason", "stop")]), 1.0);
    }

    #[test]
    fn early_return_of_an_error_is_recorded_with_its_class() {
        let (output, recorded) = record_async(generate(""));
        assert_eq!(output, Err(ApiError(429)));
        recorded.is_failure(ErrorType::RateLimit);
    }

    #[test]
    fn error_of_a_question_mark_is_recorded_after_its_conversion() {
        let (output, recorded) = record_async(generate("many"));
        assert_eq!(output, Err(ApiError(400)));
        recorded.is_failure(ErrorType::InvalidRequest);
    }

    #[test]
    fn future_that_is_never_polled_is_no_call() {
        let ((), recorded) = record(|| drop(generate("12")));
        assert_eq!(recorded.requests(), 0.0);
    }

    #[test]
    fn dropped_future_is_cancelled() {
        let ((), recorded) = record(|| {
            let mut future = Box::pin(generate("12"));
            assert!(poll(future.as_mut()).is_pending());
        });
        recorded.is_failure(ErrorType::Cancelled);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn generate_sync(prompt: &str) -> Result<Reply, ApiError> {
        if prompt.is_empty() {
            return Err(ApiError(429));
        }
        let tokens: u64 = prompt.parse()?;
        Ok(reply(tokens, 2))
    }

    #[test]
    fn function_that_blocks_is_recorded() {
        record(|| generate_sync("12")).1.is_success(12.0, 2.0);
        record(|| generate_sync("")).1.is_failure(ErrorType::RateLimit);
        record(|| generate_sync("many")).1.is_failure(ErrorType::InvalidRequest);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn panics() -> Reply {
        panic!("as the test wants")
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn panics_async() -> Reply {
        panic!("as the test wants")
    }

    #[test]
    fn panic_is_recorded_and_goes_on() {
        let (panicked, recorded) = record(|| std::panic::catch_unwind(panics).is_err());
        assert!(panicked);
        recorded.is_failure(ErrorType::Panic);
        let (panicked, recorded) = record(|| {
            let mut future = Box::pin(panics_async());
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(future.as_mut()).is_ready())).is_err()
        });
        assert!(panicked);
        recorded.is_failure(ErrorType::Panic);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn plain() -> Reply {
        reply(1, 2)
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn text() -> String {
        "to be or not".to_owned()
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn nothing() {}

    #[test]
    fn plain_output_is_a_success() {
        record_async(plain()).1.is_success(1.0, 2.0);
        record(text).1.is_success(0.0, 0.0);
        record_async(nothing()).1.is_success(0.0, 0.0);
    }

    /// Documented, and with attributes of its own.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "an argument that is moved")]
    #[llm_call(provider = provider, model = model)]
    pub(crate) fn owned(provider: String, mut model: String) -> String {
        #![allow(unused_assignments)]
        model.push('!');
        provider + &model
    }

    #[test]
    fn arguments_are_read_before_the_body_and_not_moved() {
        let (text, recorded) = record(|| owned("gemini".to_owned(), MODEL.to_owned()));
        assert_eq!(text, format!("gemini{MODEL}!"));
        assert_eq!(recorded.requests(), 1.0);
    }

    #[llm_call(provider = { count.set(count.get() + 1); "gemini" }, model = MODEL, operation = "embeddings")]
    fn counted(count: &std::cell::Cell<u32>) -> Reply {
        assert_eq!(count.get(), 1, "evaluated before the body");
        Reply::default()
    }

    #[test]
    fn expressions_are_evaluated_once() {
        let count = std::cell::Cell::new(0);
        record(|| counted(&count));
        assert_eq!(count.get(), 1);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn factorial(n: u64) -> Reply {
        if n == 0 { reply(1, 1) } else { factorial(n - 1) }
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn countdown(n: u64) -> Reply {
        if n == 0 { reply(1, 1) } else { Box::pin(countdown(n - 1)).await }
    }

    #[test]
    fn recursion_is_one_call() {
        record(|| factorial(5)).1.is_success(1.0, 1.0);
        record_async(countdown(5)).1.is_success(1.0, 1.0);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn calls_others() -> Result<Reply, ApiError> {
        LlmCall::start("gemini", MODEL).observe(async { reply(7, 8) }).await;
        tokio::task::yield_now().await;
        generate("12").await?;
        Ok(Reply::default())
    }

    #[test]
    fn nested_calls_are_parts_and_hand_up_their_usage() {
        let (output, recorded) = record_async(calls_others());
        assert_eq!(output, Ok(Reply::default()));
        recorded.is_success(19.0, 10.0);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn calls_another_sync() -> Reply {
        generate_sync("12").map(|_| Reply::default()).unwrap_or_default()
    }

    #[test]
    fn nested_call_that_blocks_is_a_part() {
        record(calls_another_sync).1.is_success(12.0, 2.0);
    }

    #[llm_call(provider = "gemini", model = MODEL, operation = operation)]
    fn with_operation(operation: String) -> Reply {
        generate_sync("12").map(|_| Reply::default()).unwrap_or_default()
    }

    #[test]
    fn call_of_another_operation_is_its_own() {
        assert_eq!(record(|| with_operation("embeddings".to_owned())).1.requests(), 2.0);
        assert_eq!(record(|| with_operation("chat".to_owned())).1.requests(), 1.0);
    }

    #[llm_call(provider = "gemini", model = MODEL, timeout = limit)]
    async fn hangs(limit: Duration) -> Reply {
        std::future::pending().await
    }

    #[test]
    fn call_dropped_after_its_time_is_a_timeout() {
        let ((), recorded) = record(|| {
            let mut future = Box::pin(hangs(Duration::ZERO));
            assert!(poll(future.as_mut()).is_pending());
        });
        recorded.is_failure(ErrorType::Timeout);
        let ((), recorded) = record(|| {
            let mut future = Box::pin(hangs(Duration::from_secs(3600)));
            assert!(poll(future.as_mut()).is_pending());
        });
        recorded.is_failure(ErrorType::Cancelled);
    }
}

mod signatures {
    use super::*;

    struct Client {
        model: String,
        tokens: u64,
    }

    impl Client {
        fn new() -> Self {
            Self { model: MODEL.to_owned(), tokens: 0 }
        }

        #[llm_call(provider = "gemini", model = request.model())]
        async fn by_reference(&self, request: &Request) -> Result<&Self, ApiError> {
            tokio::task::yield_now().await;
            Ok(self)
        }

        #[llm_call(provider = "gemini", model = self.model)]
        fn by_mutable_reference(&mut self, tokens: &mut u64) -> Reply {
            self.tokens += 1;
            *tokens += self.tokens;
            reply(*tokens, 0)
        }

        #[llm_call(provider = "gemini", model = &self.model)]
        async fn by_value(self, Request { model, .. }: Request) -> Result<String, ApiError> {
            Ok(self.model + &model)
        }

        #[llm_call(provider = "gemini", model = self.model)]
        async fn by_box(self: Box<Self>) -> String {
            self.model
        }

        #[llm_call(provider = "gemini", model = self.model)]
        fn by_pinned_arc(self: Pin<Arc<Self>>) -> Result<Self, ApiError> {
            Ok(Self { model: self.model.clone(), tokens: 3 })
        }
    }

    impl LlmResponse for Client {}

    #[test]
    fn methods_take_self_in_any_form() {
        let client = Client::new();
        assert_eq!(record_async(client.by_reference(&Request::new())).1.requests(), 1.0);
        let mut tokens = 4;
        record(|| Client::new().by_mutable_reference(&mut tokens)).1.is_success(5.0, 0.0);
        assert_eq!(tokens, 5);
        assert_eq!(record_async(client.by_value(Request::new())).1.requests(), 1.0);
        assert_eq!(record_async(Box::new(Client::new()).by_box()).1.requests(), 1.0);
        assert_eq!(record(|| Arc::pin(Client::new()).by_pinned_arc().map(|client| client.tokens)).0, Ok(3));
    }

    trait Name {
        const NAME: &'static str;
    }

    impl Name for Client {
        const NAME: &'static str = "gemini";
    }

    #[llm_call(provider = P::NAME, model = model)]
    async fn generic<'a, P, T, const N: usize>(model: impl AsRef<str>, values: &'a [T; N]) -> Result<&'a T, ApiError>
    where
        P: Name,
        T: LlmResponse,
    {
        tokio::task::yield_now().await;
        values.first().ok_or(ApiError(404))
    }

    #[test]
    fn generic_functions_are_recorded() {
        record_async(generic::<Client, _, 1>(MODEL, &[reply(1, 2)])).1.is_success(1.0, 2.0);
        let none: [Reply; 0] = [];
        record_async(generic::<Client, _, 0>(String::from(MODEL), &none)).1.is_failure(ErrorType::NotFound);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn opaque(fails: bool) -> Result<impl LlmResponse + use<>, ApiError> {
        if fails {
            return Err(ApiError(503));
        }
        Ok(reply(1, 2))
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn opaque_async() -> impl LlmResponse {
        reply(1, 2)
    }

    #[test]
    fn opaque_return_types_are_recorded() {
        record(|| drop(opaque(false))).1.is_success(1.0, 2.0);
        record(|| drop(opaque(true))).1.is_failure(ErrorType::Overloaded);
        record_async(async { drop(opaque_async().await) }).1.is_success(1.0, 2.0);
    }

    #[async_trait]
    trait Driver {
        fn model(&self) -> &str;

        async fn generate(&self, request: &Request) -> Result<Reply, ApiError>;

        #[llm_call(provider = "gemini", model = self.model())]
        async fn by_default(&self, tokens: Option<u64>) -> Result<Reply, ApiError> {
            let tokens = tokens.ok_or(ApiError(400))?;
            Ok(reply(tokens, 0))
        }
    }

    #[async_trait]
    impl Driver for Client {
        fn model(&self) -> &str {
            &self.model
        }

        #[llm_call(provider = "gemini", model = request.model())]
        async fn generate(&self, request: &Request) -> Result<Reply, ApiError> {
            tokio::task::yield_now().await;
            if self.tokens == 0 {
                return Err(ApiError(401));
            }
            Ok(reply(request.model.len() as u64, self.tokens))
        }
    }

    #[test]
    fn methods_of_async_traits_are_recorded() {
        let driver: Box<dyn Driver + Sync> = Box::new(Client::new());
        record_async(driver.generate(&Request::new())).1.is_failure(ErrorType::Auth);
        record_async(driver.by_default(Some(3))).1.is_success(3.0, 0.0);
        record_async(driver.by_default(None)).1.is_failure(ErrorType::InvalidRequest);
        let ((), recorded) = record(|| drop(driver.by_default(None)));
        assert_eq!(recorded.requests(), 0.0, "as with an `async fn`");
    }

    trait ByHand {
        fn generate<'a>(
            &'a self,
            prompt: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;
    }

    impl ByHand for Client {
        #[llm_call(provider = "gemini", model = self.model)]
        fn generate<'a>(
            &'a self,
            prompt: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>> {
            let length = prompt.len() as u64;
            ::std::boxed::Box::pin(async move {
                tokio::task::yield_now().await;
                if length == 0 {
                    return Err(ApiError(400));
                }
                Ok(reply(length, self.tokens))
            })
        }
    }

    #[llm_call(provider = "gemini", model = model)]
    fn future(model: &str) -> impl Future<Output = Result<Reply, ApiError>> {
        async move { Ok(reply(model.len() as u64, 0)) }
    }

    #[test]
    fn futures_at_the_end_of_a_function_are_recorded() {
        let client = Client::new();
        record_async(ByHand::generate(&client, "four")).1.is_success(4.0, 0.0);
        record_async(ByHand::generate(&client, "")).1.is_failure(ErrorType::InvalidRequest);
        record_async(future(MODEL)).1.is_success(MODEL.len() as f64, 0.0);
    }

    mod reexported {
        pub(crate) use botticelli_obs as obs;
    }

    #[reexported::obs::llm_call(crate = reexported::obs, provider = "gemini", model = MODEL)]
    async fn through_a_reexport() -> Result<Reply, ApiError> {
        Ok(reply(1, 2))
    }

    #[test]
    fn crate_can_be_reexported() {
        record_async(through_a_reexport()).1.is_success(1.0, 2.0);
    }

    macro_rules! generates {
        ($name:ident, $provider:expr, $usage:expr, $tokens:expr) => {
            #[llm_call(provider = $provider, model = MODEL, usage = $usage)]
            async fn $name() -> Result<Reply, ApiError> {
                Ok(reply($tokens, 2))
            }
        };
    }

    generates!(by_macro, "gemini", |_| Some(Usage::new(5, 6)), 1);

    #[test]
    fn arguments_can_come_from_a_macro() {
        record_async(by_macro()).1.is_success(5.0, 6.0);
    }

    #[test]
    fn futures_are_send_if_the_body_is() {
        fn send<T: Send>(value: T) -> T {
            value
        }
        let (client, request) = (Client::new(), Request::new());
        drop(send(client.by_reference(&request)));
        drop(send(generic::<Client, _, 1>(MODEL, &[Reply::default()])));
        drop(send(Driver::generate(&client, &request)));
        drop(send(future(MODEL)));
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn not_send(cell: std::rc::Rc<u64>) -> Reply {
        tokio::task::yield_now().await;
        reply(*cell, 0)
    }

    #[test]
    fn futures_need_not_be_send() {
        record_async(not_send(std::rc::Rc::new(4))).1.is_success(4.0, 0.0);
    }
}

mod foreign_types {
    use super::*;

    fn usage(reply: &Foreign) -> Option<Usage> {
        Some(Usage::new(reply.tokens, 1))
    }

    #[llm_call(
        provider = "gemini",
        model = MODEL,
        usage = |reply| Some(Usage::new(reply.tokens, 0)),
        error_type = |error| if error.kind() == std::io::ErrorKind::TimedOut { ErrorType::Timeout } else { ErrorType::Network },
    )]
    async fn both(result: std::io::Result<Foreign>) -> std::io::Result<Foreign> {
        result
    }

    #[llm_call(provider = "gemini", model = MODEL, usage = usage)]
    fn only_usage(result: Result<Foreign, ApiError>) -> Result<Foreign, ApiError> {
        result
    }

    #[llm_call(provider = "gemini", model = MODEL, error_type = |_| ErrorType::Decode)]
    fn only_error_type(result: Result<Reply, std::io::Error>) -> Result<Reply, std::io::Error> {
        result
    }

    #[llm_call(provider = "gemini", model = MODEL, usage = usage)]
    async fn plain() -> Foreign {
        Foreign { tokens: 5 }
    }

    #[llm_call(provider = "gemini", model = MODEL, usage = |_| None)]
    fn unknown_usage() -> Foreign {
        Foreign { tokens: 5 }
    }

    #[llm_call(
        provider = "gemini",
        model = MODEL,
        report = |call, result| {
            let Ok(reply) = result else { return };
            call.record_usage(Usage::new(reply.tokens, 2));
            call.record_finish_reason("stop");
        },
    )]
    async fn reported(result: std::io::Result<Foreign>) -> std::io::Result<Foreign> {
        result
    }

    #[llm_call(
        provider = "gemini",
        model = MODEL,
        error_type = |_| ErrorType::Network,
        report = |call, result| if result.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            call.record_error(ErrorType::Timeout);
        },
    )]
    fn reported_and_classified(result: std::io::Result<Foreign>) -> std::io::Result<Foreign> {
        result
    }

    fn report(call: &mut LlmCall, reply: &Foreign) {
        call.record_usage(Usage::new(reply.tokens, 0));
        call.record_error(ErrorType::ContentFilter);
    }

    #[llm_call(provider = "gemini", model = MODEL, report = report)]
    fn reported_without_result() -> Foreign {
        Foreign { tokens: 5 }
    }

    #[test]
    fn a_closure_reports_what_other_arguments_have_no_words_for() {
        record_async(reported(Ok(Foreign { tokens: 5 }))).1.is_success(5.0, 2.0);
        record_async(reported(Err(io_error(std::io::ErrorKind::TimedOut)))).1.is_failure(ErrorType::Unknown);
        record(|| reported_and_classified(Ok(Foreign { tokens: 5 }))).1.is_success(0.0, 0.0);
        for (kind, class) in [
            (std::io::ErrorKind::TimedOut, ErrorType::Timeout),
            (std::io::ErrorKind::ConnectionReset, ErrorType::Network),
        ] {
            record(|| reported_and_classified(Err(io_error(kind)))).1.is_failure(class);
        }
        let recorded = record(reported_without_result).1;
        recorded.is_failure(ErrorType::ContentFilter);
        assert_eq!(recorded.tokens(), (5.0, 0.0));
    }

    fn io_error(kind: std::io::ErrorKind) -> std::io::Error {
        kind.into()
    }

    /// An outcome that is no `LlmResponse`.
    struct Told(ErrorType);

    impl Outcome for Told {
        fn record_in(&self, call: &mut LlmCall) {
            call.record_usage(Usage::new(1, 2));
            call.record_error(self.0);
        }
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    async fn outcome() -> Told {
        Told(ErrorType::ContentFilter)
    }

    #[llm_call(provider = "gemini", model = MODEL, error_type = |_| ErrorType::Decode)]
    fn outcome_in_a_result() -> Result<Told, std::fmt::Error> {
        Ok(Told(ErrorType::ContextLength))
    }

    #[test]
    fn outcome_of_ones_own_tells_all_of_the_call() {
        let recorded = record_async(outcome()).1;
        recorded.is_failure(ErrorType::ContentFilter);
        assert_eq!(recorded.tokens(), (1.0, 2.0));
        record(|| outcome_in_a_result().map(drop)).1.is_failure(ErrorType::ContextLength);
    }

    #[test]
    fn usage_and_error_type_stand_in_for_the_traits() {
        record_async(both(Ok(Foreign { tokens: 3 }))).1.is_success(3.0, 0.0);
        record_async(both(Err(io_error(std::io::ErrorKind::TimedOut)))).1.is_failure(ErrorType::Timeout);
        record_async(both(Err(io_error(std::io::ErrorKind::NotFound)))).1.is_failure(ErrorType::Network);
        record_async(plain()).1.is_success(5.0, 1.0);
        let recorded = record(unknown_usage).1;
        recorded.is_success(0.0, 0.0);
        assert_eq!(recorded.value("llm_usage_missing_total", &[]), 1.0);
    }

    #[test]
    fn half_that_is_not_given_is_the_traits() {
        record(|| only_usage(Ok(Foreign { tokens: 3 }))).1.is_success(3.0, 1.0);
        record(|| only_usage(Err(ApiError(429)))).1.is_failure(ErrorType::RateLimit);
        let recorded = record(|| only_error_type(Ok(reply(1, 2)))).1;
        recorded.is_success(1.0, 2.0);
        assert_eq!(recorded.value("llm_finish_total", &[("finish_reason", "stop")]), 1.0);
        record(|| only_error_type(Err(io_error(std::io::ErrorKind::NotFound)))).1.is_failure(ErrorType::Decode);
    }
}

mod streams {
    use super::*;

    type Chunk = Result<Reply, ApiError>;
    type Boxed = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

    fn chunks() -> impl Stream<Item = Chunk> + Send {
        stream::iter([Ok(Reply { tokens: Some((3, 1)), finish: None }), Ok(reply(3, 4))])
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    async fn opaque(fails: bool) -> Result<impl Stream<Item = Chunk> + use<>, ApiError> {
        tokio::task::yield_now().await;
        if fails {
            return Err(ApiError(429));
        }
        Ok(chunks())
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    async fn boxed(fails: bool) -> Result<Pin<Box<dyn Stream<Item = Chunk> + Send>>, ApiError> {
        if fails { Err(ApiError(429)) } else { Ok(Box::pin(chunks())) }
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    async fn alias(fails: bool) -> Result<Boxed, ApiError> {
        if fails { Err(ApiError(429)) } else { Ok(Box::pin(chunks())) }
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    fn boxed_sync<'a>(fails: &'a bool) -> Result<BoxStream<'a, Chunk>, ApiError> {
        if *fails {
            return Err(ApiError(429));
        }
        Ok(chunks().filter(|_| std::future::ready(!*fails)).boxed())
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    fn infallible() -> impl Stream<Item = Chunk> {
        chunks()
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    fn infallible_boxed() -> Pin<Box<dyn Stream<Item = Chunk>>> {
        Box::pin(chunks())
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    async fn infallible_async() -> impl Stream<Item = Reply> {
        chunks().map(|chunk| chunk.unwrap_or_default())
    }

    #[async_trait]
    trait Driver {
        async fn open(&self, fails: bool) -> Result<Boxed, ApiError>;
    }

    struct Client;

    #[async_trait]
    impl Driver for Client {
        #[llm_call(provider = "gemini", model = MODEL, stream)]
        async fn open(&self, fails: bool) -> Result<Boxed, ApiError> {
            if fails { Err(ApiError(429)) } else { Ok(Box::pin(chunks())) }
        }
    }

    async fn read<T>(stream: impl Stream<Item = T>) -> usize {
        stream.count().await
    }

    #[track_caller]
    fn is_streamed((count, recorded): (usize, Recorded)) {
        assert_eq!(count, 2);
        recorded.is_success(3.0, 4.0);
        assert_eq!(recorded.value("llm_time_to_first_chunk_seconds_count", &[]), 1.0);
    }

    #[test]
    fn streams_of_every_form_are_recorded_to_their_end() {
        is_streamed(record_async(async { read(opaque(false).await.expect("opens")).await }));
        is_streamed(record_async(async { read(boxed(false).await.expect("opens")).await }));
        is_streamed(record_async(async { read(alias(false).await.expect("opens")).await }));
        is_streamed(record_async(async { read(Client.open(false).await.expect("opens")).await }));
        is_streamed(record_async(async { read(boxed_sync(&false).expect("opens")).await }));
        is_streamed(record_async(async { read(infallible()).await }));
        is_streamed(record_async(async { read(infallible_boxed()).await }));
        is_streamed(record_async(async { read(infallible_async().await).await }));
    }

    #[test]
    fn failure_to_open_is_recorded_with_its_class() {
        record_async(async { opaque(true).await.is_err() }).1.is_failure(ErrorType::RateLimit);
        record_async(async { boxed(true).await.is_err() }).1.is_failure(ErrorType::RateLimit);
        record_async(async { alias(true).await.is_err() }).1.is_failure(ErrorType::RateLimit);
        record_async(async { Client.open(true).await.is_err() }).1.is_failure(ErrorType::RateLimit);
        record(|| boxed_sync(&true).is_err()).1.is_failure(ErrorType::RateLimit);
    }

    #[test]
    fn dropped_stream_is_cancelled_and_keeps_its_tokens() {
        let (_, recorded) = record_async(async { infallible().next().await });
        recorded.is_failure(ErrorType::Cancelled);
        assert_eq!(recorded.tokens(), (3.0, 1.0));
    }

    struct ForeignError;

    #[llm_call(
        provider = "gemini",
        model = MODEL,
        stream,
        usage = |chunk| Some(Usage::new(chunk.tokens, 0)),
        error_type = |_| ErrorType::Stream,
    )]
    async fn foreign(opens: bool) -> Result<impl Stream<Item = Result<Foreign, ForeignError>> + use<>, ForeignError> {
        if !opens {
            return Err(ForeignError);
        }
        Ok(stream::iter([Ok(Foreign { tokens: 1 }), Ok(Foreign { tokens: 5 }), Err(ForeignError)]))
    }

    #[llm_call(provider = "gemini", model = MODEL, stream, usage = |chunk| Some(Usage::new(chunk.tokens, 0)))]
    fn foreign_chunks() -> impl Stream<Item = Foreign> {
        stream::iter([Foreign { tokens: 1 }, Foreign { tokens: 5 }])
    }

    #[llm_call(
        provider = "gemini",
        model = MODEL,
        stream,
        report = |call, chunk| if let Ok(chunk) = chunk {
            call.record_usage(Usage::new(chunk.tokens, 1));
        },
    )]
    async fn reported(opens: bool) -> Result<impl Stream<Item = Result<Foreign, ForeignError>> + use<>, ForeignError> {
        if !opens {
            return Err(ForeignError);
        }
        Ok(stream::iter([Ok(Foreign { tokens: 1 }), Ok(Foreign { tokens: 5 })]))
    }

    #[test]
    fn a_closure_reports_chunks_too() {
        let (count, recorded) = record_async(async {
            match reported(true).await {
                Ok(stream) => read(stream).await,
                Err(ForeignError) => 0,
            }
        });
        assert_eq!(count, 2);
        recorded.is_success(5.0, 1.0);
        record_async(async { reported(false).await.map(drop) }).1.is_failure(ErrorType::Unknown);
    }

    #[test]
    fn usage_and_error_type_are_of_chunks_too() {
        let (count, recorded) = record_async(async {
            match foreign(true).await {
                Ok(stream) => read(stream).await,
                Err(ForeignError) => 0,
            }
        });
        assert_eq!(count, 3);
        recorded.is_failure(ErrorType::Stream);
        assert_eq!(recorded.tokens(), (5.0, 0.0));
        record_async(async { foreign(false).await.is_err() }).1.is_failure(ErrorType::Stream);
        record_async(async { read(foreign_chunks()).await }).1.is_success(5.0, 0.0);
    }

    #[llm_call(provider = "gemini", model = MODEL)]
    fn generate() -> Reply {
        reply(9, 9)
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    fn faked() -> impl Stream<Item = Chunk> {
        stream::iter([Ok(generate())])
    }

    #[llm_call(provider = "gemini", model = MODEL, stream)]
    async fn faked_lazily() -> Result<impl Stream<Item = Chunk>, ApiError> {
        Ok(stream::once(async { Ok(generate()) }))
    }

    #[test]
    fn stream_that_is_faked_by_a_call_is_one_call() {
        record_async(async { read(faked()).await }).1.is_success(9.0, 9.0);
        record_async(async { read(faked_lazily().await.expect("opens")).await }).1.is_success(9.0, 9.0);
    }
}
