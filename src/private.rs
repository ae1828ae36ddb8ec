//! The functions and traits that expanded macros call.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

pub use crate::call::LlmCall;
use crate::call::ObservedStreamWith;
use crate::error_type::{ClassifyError, ErrorType};
use crate::outcome::Outcome;
pub use crate::record::{duration, error, finished, request, tokens};
pub use crate::task::{LlmTask, LlmToolCall};
use crate::usage::Usage;

/// The text of a provider, model or operation.
pub fn text<T: AsRef<str> + ?Sized>(text: &T) -> &str {
    text.as_ref()
}

/// An [`Outcome`]. This trait and the two below only exist for their messages of the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how the call turned out",
    label = "this is neither an `LlmResponse`, nor a `Result` of one and a `ClassifyError`",
    note = "implement `LlmResponse` for the response, or give the argument `usage`",
    note = "implement `ClassifyError` for the error, or give the argument `error_type`"
)]
pub trait IsOutcome: Outcome {}

#[diagnostic::do_not_recommend]
impl<T: Outcome> IsOutcome for T {}

/// A response that can be recorded: an [`Outcome`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` says nothing about the call",
    label = "this is not an `LlmResponse`",
    note = "implement `LlmResponse` for it, or give the argument `usage`"
)]
pub trait IsResponse: Outcome {}

#[diagnostic::do_not_recommend]
impl<T: Outcome> IsResponse for T {}

/// A [`ClassifyError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which class of failure it is",
    label = "this is not a `ClassifyError`",
    note = "implement `ClassifyError` for it, or give the argument `error_type`"
)]
pub trait IsError: ClassifyError {}

#[diagnostic::do_not_recommend]
impl<T: ClassifyError> IsError for T {}

/// Records an outcome by its trait.
///
/// Returns a function, as `classify` does. The bound is then checked once, where the expansion names the type, and a missing
/// implementation is one error.
pub fn outcome<T: IsOutcome>() -> fn(&mut LlmCall, &T) {
    |call, outcome| outcome.record_in(call)
}

/// Records a response by its trait.
pub fn response<T: IsResponse>(call: &mut LlmCall, response: &T) {
    response.record_in(call);
}

/// Records a response by a closure.
pub fn usage<T>(call: &mut LlmCall, response: &T, usage: impl FnOnce(&T) -> Option<Usage>) {
    if let Some(usage) = usage(response) {
        call.record_usage(usage);
    }
}

/// Records what a closure says of an output, or of an item of a stream.
pub fn report<T>(call: &mut LlmCall, value: &T, report: impl FnOnce(&mut LlmCall, &T)) {
    report(call, value);
}

/// Classifies an error of which nothing is known; the closure of [`report`] may know better.
pub fn unknown<E>(_: &E) -> ErrorType {
    ErrorType::Unknown
}

/// Classifies an error by its trait.
pub fn classify<E: IsError>() -> fn(&E) -> ErrorType {
    E::error_type
}

/// Classifies a result, its error by a closure or by [`classify`].
pub fn failure<T, E>(result: &Result<T, E>, classify: impl FnOnce(&E) -> ErrorType) -> Option<ErrorType> {
    result.as_ref().err().map(classify)
}

/// Classifies an output that is no failure.
pub fn no_failure<T>(_: &T) -> Option<ErrorType> {
    None
}

/// Records an error by a closure, or by [`classify`].
pub fn error_type<E>(call: &mut LlmCall, error: &E, classify: impl FnOnce(&E) -> ErrorType) {
    call.record_error(classify(error));
}

/// A value with a closure that records it, for values that implement none of the traits above.
#[derive(Debug)]
pub struct Reported<T, R> {
    value: T,
    report: R,
}

impl<T, R: Fn(&mut LlmCall, &T)> Reported<T, R> {
    /// Creates the pair.
    pub fn new(value: T, report: R) -> Self {
        Self { value, report }
    }

    /// Returns the value.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T, R: Fn(&mut LlmCall, &T)> Outcome for Reported<T, R> {
    fn record_in(&self, call: &mut LlmCall) {
        (self.report)(call, &self.value);
    }
}

/// The error of an operation that can't fail.
#[derive(Debug)]
pub enum Never {}

/// Wraps a stream in the result of an operation that can't fail.
pub fn always<S>(stream: S) -> Result<S, Never> {
    Ok(stream)
}

/// Classifies an error that can't exist.
pub fn never(never: &Never) -> ErrorType {
    match *never {}
}

/// Unwraps the stream of such a result.
pub fn opened<S>(opened: Result<S, Never>) -> S {
    match opened {
        Ok(stream) => stream,
        Err(never) => match never {},
    }
}

/// Calls `LlmCall::observe_sync` with code whose value implements none of the traits above.
pub fn observe_sync<T, R>(call: LlmCall, code: impl FnOnce() -> Reported<T, R>) -> Reported<T, R>
where
    R: Fn(&mut LlmCall, &T),
{
    call.observe_sync(code)
}

/// `LlmCall::observe_stream_with` for a function that opens the stream without waiting.
pub fn observe_opening<S, E, R, C>(
    call: LlmCall,
    open: impl FnOnce() -> Result<S, E>,
    report: R,
    error_type: C,
) -> Result<ObservedStreamWith<S, R>, E>
where
    S: Stream,
    R: FnMut(&mut LlmCall, &S::Item),
    C: FnOnce(&E) -> ErrorType,
{
    let mut open = Some(open);
    let opening = poll_fn(|_| open.take().map_or(Poll::Pending, |open| Poll::Ready(open())));
    let mut opening = pin!(call.observe_stream_with(opening, report).with_error_type(error_type));
    loop {
        // Ready at the first poll, as `open` does not wait.
        if let Poll::Ready(opened) = opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return opened;
        }
    }
}

/// A boxed stream type of a function's signature.
#[diagnostic::on_unimplemented(
    message = "a stream around which a call is recorded can't be a `{Self}`",
    label = "this is no boxed stream",
    note = "return `impl Stream<Item = …>`, or `Pin<Box<dyn Stream<Item = …> + Send>>`"
)]
pub trait Boxed<S> {
    /// Boxes a stream.
    fn boxed(stream: S) -> Self;
}

impl<'a, T, S: Stream<Item = T> + 'a> Boxed<S> for Pin<Box<dyn Stream<Item = T> + 'a>> {
    fn boxed(stream: S) -> Self {
        Box::pin(stream)
    }
}

impl<'a, T, S: Stream<Item = T> + Send + 'a> Boxed<S> for Pin<Box<dyn Stream<Item = T> + Send + 'a>> {
    fn boxed(stream: S) -> Self {
        Box::pin(stream)
    }
}

impl<'a, T, S: Stream<Item = T> + Send + Sync + 'a> Boxed<S> for Pin<Box<dyn Stream<Item = T> + Send + Sync + 'a>> {
    fn boxed(stream: S) -> Self {
        Box::pin(stream)
    }
}

/// Boxes the stream of a result.
pub fn boxed<B: Boxed<S>, S, E>(opened: Result<S, E>) -> Result<B, E> {
    opened.map(B::boxed)
}
