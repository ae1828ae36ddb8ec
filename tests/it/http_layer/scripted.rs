//! Bodies that follow a script, and a service that answers with them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use botticelli_obs::http_layer::{LlmBody, LlmLayer};
use botticelli_obs::testing::Capture;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};

/// What a body does when it is polled.
#[derive(Clone, Debug)]
pub enum Step {
    Data(Vec<u8>),
    Trailers(http::HeaderMap),
    Fails(io::ErrorKind),
    /// Is not ready, and wakes the task at once.
    Pends,
}

/// A body that follows a script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    /// Says that it has ended as soon as it has.
    tells_end: bool,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), tells_end: false }
    }

    pub fn of(chunks: &[&str]) -> Self {
        Self::new(chunks.iter().map(|chunk| Step::Data(chunk.as_bytes().to_vec())))
    }

    pub fn telling_its_end(self) -> Self {
        Self { tells_end: true, ..self }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data.into()))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Fails(kind)) => Some(Err(kind.into())),
            Some(Step::Pends) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let sizes = self.steps.iter().map(|step| if let Step::Data(data) = step { data.len() as u64 } else { 0 });
        SizeHint::with_exact(sizes.sum())
    }
}

/// A request.
pub fn post(url: &str, body: &str) -> http::Request<Full<Bytes>> {
    http::Request::post(url).body(Full::from(body.to_owned())).expect("it can be built")
}

pub const CHAT_URL: &str = "https://api.openai.com/v1/chat/completions";

/// A request for a stream.
pub fn chat(model: &str) -> http::Request<Full<Bytes>> {
    post(CHAT_URL, &format!(r#"{{"model": "{model}", "messages": [], "stream": true}}"#))
}

/// Sends a request through the layer to a service that gives this answer.
pub async fn send(
    layer: &LlmLayer,
    request: http::Request<Full<Bytes>>,
    answer: http::Response<Script>,
) -> http::Response<LlmBody<Script>> {
    let service = service_fn(move |_: http::Request<Full<Bytes>>| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(answer) }
    });
    match layer.layer(service).oneshot(request).await {
        Ok(answer) => answer,
        Err(error) => match error {},
    }
}

/// Returns what is captured while an answer is read to its end.
pub async fn capture(request: http::Request<Full<Bytes>>, answer: http::Response<Script>) -> Capture {
    let capture = Capture::new();
    let read = async {
        let mut body = send(&LlmLayer::new(), request, answer).await.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    };
    capture.observe(read).await;
    capture
}
