//! The body of an answer, which passes as it is and is read on the way.

use std::any::Any;
use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::failure;
use super::reading::Reading;

pin_project! {
    /// The body of an answer to an LLM request, or of any other answer. Each frame leaves in the poll in which it came, and what is
    /// known of the size and of the end is that of the body inside.
    ///
    /// The call or attempt ends with the body: at its end, with its error, or when it is dropped.
    pub struct LlmBody<B> {
        // Declared before the reading, and so dropped before it: what is read further in ends first.
        #[pin]
        inner: B,
        // `None` if nothing is recorded, and after the end.
        reading: Option<Box<Reading>>,
    }
}

impl<B: Body> LlmBody<B> {
    pub(super) fn new(inner: B, mut reading: Option<Reading>) -> Self {
        if inner.is_end_stream() {
            // Nobody need ask for it.
            reading.iter_mut().for_each(Reading::finish);
            reading = None;
        }
        Self { inner, reading: reading.map(Box::new) }
    }
}

impl<B> Body for LlmBody<B>
where
    B: Body<Error: 'static>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(reading) = this.reading {
            let has_ended = match &frame {
                None => {
                    reading.finish();
                    true
                }
                Some(Err(error)) => {
                    reading.fail(failure::of_body(error as &dyn Any));
                    true
                }
                Some(Ok(frame)) => {
                    let is_complete = frame.data_ref().is_some_and(|data| read(reading, data));
                    if is_complete || this.inner.is_end_stream() {
                        reading.finish();
                    }
                    is_complete || this.inner.is_end_stream()
                }
            };
            if has_ended {
                *this.reading = None;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads data without taking it.
fn read(reading: &mut Reading, data: &impl Buf) -> bool {
    if data.chunk().len() == data.remaining() {
        return reading.read(data.chunk());
    }
    // Few buffers have more than one slice, and none is known that has more than these.
    let mut slices = [IoSlice::new(&[]); 64];
    let count = data.chunks_vectored(&mut slices);
    slices[..count].iter().any(|slice| reading.read(slice))
}

impl<B> fmt::Debug for LlmBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmBody").finish_non_exhaustive()
    }
}
