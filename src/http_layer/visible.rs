//! Bodies of requests whose bytes can be seen without taking them.

use std::any::Any;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;

/// The bytes of a body.
pub(super) enum Visible<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Deref for Visible<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Returns the bytes of a body of a known type.
pub(super) fn bytes<B: 'static>(body: &B) -> Option<Visible<'_>> {
    let body = body as &dyn Any;
    if let Some(body) = body.downcast_ref::<Full<Bytes>>() {
        // It gives its bytes to who polls it, and a clone shares them.
        let mut clone = body.clone();
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut clone).poll_frame(&mut context) else { return None };
        return frame.into_data().ok().map(Visible::Shared);
    }
    #[cfg(feature = "reqwest")]
    if let Some(body) = body.downcast_ref::<reqwest::Body>() {
        return body.as_bytes().map(Visible::Borrowed);
    }
    body.downcast_ref::<String>().map(|body| Visible::Borrowed(body.as_bytes()))
}

/// Replaces the bytes of such a body.
pub(super) fn replace<B: 'static>(body: &mut B, bytes: Vec<u8>) {
    let body = body as &mut dyn Any;
    if let Some(body) = body.downcast_mut::<Full<Bytes>>() {
        *body = Full::new(bytes.into());
        return;
    }
    #[cfg(feature = "reqwest")]
    if let Some(body) = body.downcast_mut::<reqwest::Body>() {
        *body = bytes.into();
        return;
    }
    if let (Some(body), Ok(text)) = (body.downcast_mut::<String>(), String::from_utf8(bytes)) {
        *body = text;
    }
}
