//! Records a call around a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::LlmCall;
use super::observe::ObservedCall;
use crate::error_type::{ClassifyError, ErrorType};
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

pin_project! {
    /// A stream that records a call around another stream by a closure. Created by [`LlmCall::observe_stream_with`] and
    /// [`LlmCall::wrap_stream_with`].
    ///
    /// The call ends as that of an [`ObservedStream`] does.
    #[must_use = "streams do nothing unless polled"]
    pub struct ObservedStreamWith<S, R> {
        #[pin]
        stream: S,
        observed: StreamedCall,
        report: R,
    }
}

/// A call that is finished, and not cancelled, when it is dropped after its finish reason was recorded.
struct StreamedCall(ObservedCall);

impl StreamedCall {
    fn is_complete(&mut self) -> bool {
        self.0.call().is_some_and(LlmCall::is_complete)
    }

    /// Polls the stream as the inside of the call and records what comes: an item, or the end.
    fn poll_next<T>(
        &mut self,
        cx: &mut Context<'_>,
        inside: impl FnOnce(&mut Context<'_>) -> Poll<Option<T>>,
        report: impl FnOnce(&mut LlmCall, &T),
    ) -> Poll<Option<T>> {
        let Poll::Ready(item) = self.0.run(|| inside(cx)) else {
            self.0.wait(cx);
            return Poll::Pending;
        };
        if let Some(item) = &item {
            if let Some(call) = self.0.call() {
                // An item that is an error is not a chunk. A later chunk does not erase the error.
                let earlier = call.facts().and_then(|facts| facts.error.take());
                report(call, item);
                if let Some(facts) = call.facts()
                    && facts.error.is_none()
                {
                    facts.error = earlier;
                    call.record_chunk();
                }
            }
            self.0.finish_if_overdue();
        } else if self.is_complete() {
            // Not `finish`: only the end of the stream was read late.
            self.0.end();
        } else {
            self.0.finish();
        }
        Poll::Ready(item)
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
        this.observed.poll_next(cx, |cx| this.stream.poll_next(cx), |call, item| item.record_in(call))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<S: Stream, R: FnMut(&mut LlmCall, &S::Item)> Stream for ObservedStreamWith<S, R> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        this.observed.poll_next(cx, |cx| this.stream.poll_next(cx), this.report)
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

impl<S, R> fmt::Debug for ObservedStreamWith<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedStreamWith").finish_non_exhaustive()
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

pin_project! {
    /// A future that opens a stream around which a call is recorded by closures, made by [`LlmCall::observe_stream_with`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveStreamWith<F, R, C> {
        #[pin]
        future: F,
        observed: ObservedCall,
        // Taken when the future has ended.
        report: Option<R>,
        error_type: Option<C>,
    }
}

/// Polls the opening of a stream as the inside of a call, which goes on with the stream or ends with the error.
fn poll_open<S, E>(
    observed: &mut ObservedCall,
    cx: &mut Context<'_>,
    inside: impl FnOnce(&mut Context<'_>) -> Poll<Result<S, E>>,
    error_type: impl FnOnce(&E) -> ErrorType,
) -> Poll<Result<(S, StreamedCall), E>> {
    let Poll::Ready(opened) = observed.run(|| inside(cx)) else {
        observed.wait(cx);
        return Poll::Pending;
    };
    Poll::Ready(match opened {
        Ok(stream) => Ok((stream, StreamedCall(observed.take()))),
        Err(error) => {
            if let Some(call) = observed.call() {
                call.record_error(error_type(&error));
            }
            observed.finish();
            Err(error)
        }
    })
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
        let opened = poll_open(this.observed, cx, |cx| this.future.poll(cx), E::error_type);
        opened.map_ok(|(stream, observed)| ObservedStream { stream, observed })
    }
}

impl<F, S, E, R, C> Future for ObserveStreamWith<F, R, C>
where
    F: Future<Output = Result<S, E>>,
    S: Stream,
    R: FnMut(&mut LlmCall, &S::Item),
    C: FnOnce(&E) -> ErrorType,
{
    type Output = Result<ObservedStreamWith<S, R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let opened = ready!(poll_open(
            this.observed,
            cx,
            |cx| this.future.poll(cx),
            |error| this.error_type.take().map_or(ErrorType::Unknown, |error_type| error_type(error)),
        ));
        Poll::Ready(opened.map(|(stream, observed)| {
            let report = this.report.take().expect("a future is not polled again when it was ready");
            ObservedStreamWith { stream, observed, report }
        }))
    }
}

impl<F, R, C> ObserveStreamWith<F, R, C> {
    /// Sets the class of a failure to open the stream. Defaults to `unknown`.
    pub fn with_error_type<S, E, K>(self, error_type: K) -> ObserveStreamWith<F, R, K>
    where
        F: Future<Output = Result<S, E>>,
        K: FnOnce(&E) -> ErrorType,
    {
        let Self { future, observed, report, .. } = self;
        ObserveStreamWith { future, observed, report, error_type: Some(error_type) }
    }
}

impl<F> fmt::Debug for ObserveStream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveStream").finish_non_exhaustive()
    }
}

impl<F, R, C> fmt::Debug for ObserveStreamWith<F, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveStreamWith").finish_non_exhaustive()
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
    /// use botticelli_obs::{ClassifyError, LlmCall};
    /// use futures_util::{Stream, StreamExt};
    ///
    /// async fn read<S, E>(open: impl Future<Output = Result<S, E>>) -> Result<String, E>
    /// where
    ///     S: Stream<Item = Result<String, E>>,
    ///     E: ClassifyError,
    /// {
    ///     let call = LlmCall::builder("gemini", "gemini-2.5-flash").with_streaming().start();
    ///     let mut chunks = std::pin::pin!(call.observe_stream(open).await?);
    ///     let mut text = String::new();
    ///     while let Some(chunk) = chunks.next().await {
    ///         text += &chunk?;
    ///     }
    ///     Ok(text)
    /// }
    /// ```
    pub fn observe_stream<F, S, E>(self, future: F) -> ObserveStream<F>
    where
        F: Future<Output = Result<S, E>>,
        S: Stream<Item: Outcome>,
        E: ClassifyError,
    {
        ObserveStream { future, observed: ObservedCall::new(self) }
    }

    /// Records the call around a future that opens a stream, and around the stream, for items that do not implement
    /// [`Outcome`]. The call ends with the stream.
    ///
    /// The closure gets each item and records usage, a finish reason, or an error. An item with an error is not counted as a chunk.
    /// A failure to open is `unknown` unless [`with_error_type`](ObserveStreamWith::with_error_type) says more.
    ///
    /// ```
    /// use std::io;
    ///
    /// use botticelli_obs::{ErrorType, LlmCall, Usage};
    /// use futures_util::Stream;
    ///
    /// type Item = io::Result<(String, Option<u64>)>;
    ///
    /// async fn observed<S: Stream<Item = Item>>(
    ///     open: impl Future<Output = io::Result<S>>,
    /// ) -> io::Result<impl Stream<Item = Item>> {
    ///     let call = LlmCall::builder("ollama", "llama3.2").with_streaming().start();
    ///     call.observe_stream_with(open, |call, item: &Item| match item {
    ///         Ok((_, Some(tokens))) => call.record_usage(Usage::new(0, *tokens)),
    ///         Ok((_, None)) => {}
    ///         Err(_) => call.record_error(ErrorType::Stream),
    ///     })
    ///     .with_error_type(|_: &io::Error| ErrorType::Network)
    ///     .await
    /// }
    /// ```
    pub fn observe_stream_with<F, S, E, R>(self, future: F, report: R) -> ObserveStreamWith<F, R, fn(&E) -> ErrorType>
    where
        F: Future<Output = Result<S, E>>,
        S: Stream,
        R: FnMut(&mut LlmCall, &S::Item),
    {
        ObserveStreamWith { future, observed: ObservedCall::new(self), report: Some(report), error_type: None }
    }

    /// Records the call around a stream that is open already, for items that do not implement [`Outcome`]. The call ends with the
    /// stream. The closure is as in [`observe_stream_with`](Self::observe_stream_with).
    ///
    /// ```
    /// use botticelli_obs::{LlmCall, Usage};
    /// use futures_util::stream;
    ///
    /// let chunks = stream::iter([("to be", 0), ("or not", 12)]);
    /// let call = LlmCall::start("ollama", "llama3.2");
    /// let chunks = call.wrap_stream_with(chunks, |call, (_, tokens)| {
    ///     call.record_usage(Usage::new(3, *tokens));
    /// });
    /// # drop(chunks);
    /// ```
    pub fn wrap_stream_with<S, R>(self, stream: S, report: R) -> ObservedStreamWith<S, R>
    where
        S: Stream,
        R: FnMut(&mut LlmCall, &S::Item),
    {
        ObservedStreamWith { stream, observed: StreamedCall(ObservedCall::new(self)), report }
    }

    /// Records the call around a stream that is open already. The call ends with the stream.
    ///
    /// Prefer [`observe_stream`](Self::observe_stream) where the stream is opened by a future: this one can't record a failure to
    /// open.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    /// use futures_util::{StreamExt, stream};
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let words = ["to be ", "or not"].map(|word| Ok::<_, std::io::Error>(word.to_owned()));
    /// let words = stream::iter(words);
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
