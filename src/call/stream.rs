//! Records a call around a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::LlmCall;
use super::observe::ObservedCall;
use crate::error_type::ClassifyError;
use crate::outcome::Outcome;

pin_project! {
    /// A stream that records a call around another stream. Created by [`LlmCall::observe_stream`] and [`LlmCall::wrap_stream`].
    ///
    /// The call ends with the stream: as a success, or with the class of the last item that was an error. A stream dropped before
    /// its end is recorded as `cancelled`, unless a chunk had a finish reason: then the answer was complete, and the call is a
    /// success.
    #[must_use = "streams do nothing unless polled"]
    pub struct ObservedStream<S> {
        // Declared before the call, and so dropped before it: inner calls that end by the drop still pass their facts to this call.
        #[pin]
        stream: S,
        observed: StreamedCall,
    }
}

/// A call that is finished, and not cancelled, when it is dropped after its finish reason was recorded.
struct StreamedCall(ObservedCall);

impl StreamedCall {
    fn is_complete(&mut self) -> bool {
        self.0.call().is_some_and(LlmCall::is_complete)
    }
}

impl Drop for StreamedCall {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.is_complete() {
            // Not `finish`: the answer was complete in time, even if the deadline has passed since.
            self.0.end();
        }
    }
}

impl<S: Stream<Item: Outcome>> Stream for ObservedStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let observed = &mut this.observed.0;
        let Poll::Ready(item) = observed.run(|| this.stream.poll_next(cx)) else {
            observed.wait(cx);
            return Poll::Pending;
        };
        if let Some(item) = &item {
            if let Some(call) = observed.call() {
                // An item that is an error is not a chunk. A later chunk does not erase the error.
                let earlier = call.facts.error.take();
                item.record_in(call);
                if call.facts.error.is_none() {
                    call.record_chunk();
                    call.facts.error = earlier;
                }
            }
            observed.finish_if_overdue();
        } else if this.observed.is_complete() {
            // Not `finish`, as above: only the end of the stream was read late.
            this.observed.0.end();
        } else {
            this.observed.0.finish();
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<S> fmt::Debug for ObservedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedStream").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that opens a stream and records the call around it. Created by [`LlmCall::observe_stream`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveStream<F> {
        #[pin]
        future: F,
        observed: ObservedCall,
    }
}

impl<F, S, E> Future for ObserveStream<F>
where
    F: Future<Output = Result<S, E>>,
    S: Stream<Item: Outcome>,
    E: ClassifyError,
{
    type Output = Result<ObservedStream<S>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(opened) = this.observed.run(|| this.future.poll(cx)) else {
            this.observed.wait(cx);
            return Poll::Pending;
        };
        Poll::Ready(match opened {
            Ok(stream) => Ok(ObservedStream { stream, observed: StreamedCall(this.observed.take()) }),
            Err(error) => {
                if let Some(call) = this.observed.call() {
                    call.record_error(&error);
                }
                this.observed.finish();
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for ObserveStream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveStream").finish_non_exhaustive()
    }
}

impl LlmCall {
    /// Records the call around a future that opens a stream, and then around the stream. The call ends with the stream.
    ///
    /// It takes the future and not the stream, so that a failure to open is recorded with its class, and the time to the first
    /// chunk includes the opening. It also records the gaps between chunks. Any chunk may have the usage; the last one that has
    /// it counts. See [`ObservedStream`] for a stream that is dropped.
    ///
    /// ```
    /// # use botticelli_obs::{ClassifyError, ErrorType, LlmCall};
    /// # struct ApiError; impl ClassifyError for ApiError { fn error_type(&self) -> ErrorType { ErrorType::Auth } }
    /// # async fn open() -> Result<futures_util::stream::Empty<Result<String, ApiError>>, ApiError> {
    /// #     Ok(futures_util::stream::empty())
    /// # }
    /// # async fn example() -> Result<(), ApiError> {
    /// use futures_util::StreamExt;
    ///
    /// let mut stream = LlmCall::start("gemini", "gemini-2.5-flash").observe_stream(open()).await?;
    /// while let Some(chunk) = stream.next().await {
    ///     let text = chunk?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn observe_stream<F, S, E>(self, future: F) -> ObserveStream<F>
    where
        F: Future<Output = Result<S, E>>,
        S: Stream<Item: Outcome>,
        E: ClassifyError,
    {
        ObserveStream { future, observed: ObservedCall::new(self) }
    }

    /// Records the call around a stream that is open already. The call ends with the stream.
    ///
    /// Prefer [`observe_stream`](Self::observe_stream) where the stream is opened by a future: this one can't record a failure to
    /// open.
    ///
    /// ```
    /// # use botticelli_obs::LlmCall;
    /// # async fn example() -> std::io::Result<()> {
    /// use futures_util::{StreamExt, stream};
    ///
    /// let words = stream::iter([Ok::<_, std::io::Error>("to be ".to_owned()), Ok("or not".to_owned())]);
    /// let mut words = LlmCall::start("ollama", "llama3.2").wrap_stream(words);
    /// while let Some(word) = words.next().await {
    ///     print!("{}", word?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wrap_stream<S: Stream<Item: Outcome>>(self, stream: S) -> ObservedStream<S> {
        ObservedStream { stream, observed: StreamedCall(ObservedCall::new(self)) }
    }
}
