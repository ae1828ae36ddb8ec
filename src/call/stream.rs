//! A call around a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::LlmCall;
use super::observe::Observed;
use crate::error_type::ClassifyError;
use crate::outcome::Outcome;

pin_project! {
    /// A stream around which a call is recorded, made by [`LlmCall::observe_stream`] and [`LlmCall::wrap_stream`].
    ///
    /// The call ends with the stream: as a success, or with the last error an item was. Dropped before that it is `cancelled`,
    /// unless a chunk has told why generation stopped: then everything was there, and the call is a success.
    #[must_use = "streams do nothing unless polled"]
    pub struct ObservedStream<S> {
        // Dropped before the call, so that calls inside it still hand up what they know.
        #[pin]
        stream: S,
        observed: Completed,
    }
}

/// A call that counts as finished when it is dropped after its finish reason.
struct Completed(Observed);

impl Completed {
    fn is_complete(&mut self) -> bool {
        self.0.call().is_some_and(LlmCall::is_complete)
    }
}

impl Drop for Completed {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.is_complete() {
            // However long ago that was.
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
                let earlier = call.facts().and_then(|facts| facts.error.take());
                item.record_in(call);
                if let Some(facts) = call.facts()
                    && facts.error.is_none()
                {
                    facts.error = earlier;
                    call.record_chunk();
                }
            }
            observed.finish_if_overdue();
        } else if this.observed.is_complete() {
            // A reader who is slow to see the end has had everything in time.
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
    /// A future that opens a stream around which a call is recorded, made by [`LlmCall::observe_stream`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveStream<F> {
        #[pin]
        future: F,
        observed: Observed,
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
            Ok(stream) => Ok(ObservedStream { stream, observed: Completed(this.observed.take()) }),
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
    /// Records the call around a future that opens a stream, and around the stream; ends with the stream.
    ///
    /// It takes the future and not the stream so that a failure to open is recorded as what it was. Time to the first chunk and
    /// the gaps between chunks are recorded; usage may come in any chunk, and the last one counts.
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
        ObserveStream { future, observed: Observed::new(self) }
    }

    /// Records the call around a stream that is open already; ends with the stream.
    pub fn wrap_stream<S: Stream<Item: Outcome>>(self, stream: S) -> ObservedStream<S> {
        ObservedStream { stream, observed: Completed(Observed::new(self)) }
    }
}
