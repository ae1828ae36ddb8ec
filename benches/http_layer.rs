//! Requests and streamed events through the HTTP layer, each beside the same without it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use botticelli_obs::http_layer::{LlmLayer, LlmService};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

const REQUEST: &[u8] = br#"{"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Who is the lady in the shell, and why does everyone think of the sea?"}], "temperature": 0.7}"#;

const ANSWER: &[u8] = br#"{"id": "chatcmpl-123", "object": "chat.completion", "created": 1764000000, "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Venus, born of the sea."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}}"#;

const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" gold\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

/// Answers at once.
#[derive(Clone)]
struct Server;

impl Service<Request<Full<Bytes>>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::new(Bytes::from_static(ANSWER)))))
    }
}

/// Sends a request and reads the answer.
fn send<S, B>(service: &mut S, url: &'static str)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    let mut request = Request::new(Full::new(Bytes::from_static(REQUEST)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(url);
    let mut context = Context::from_waker(Waker::noop());
    let mut sent = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = sent.as_mut().poll(&mut context) else { return };
    let mut body = response.into_body();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        black_box(frame.is_ok());
    }
}

thread_local! {
    static SERVICE: RefCell<LlmService<Server>> = RefCell::new(LlmLayer::new().layer(Server));
}

const CHAT: &str = "https://api.openai.com/v1/chat/completions";
const FILES: &str = "https://api.openai.com/v1/files";

pub fn request() {
    SERVICE.with_borrow_mut(|service| send(service, black_box(CHAT)));
}

pub fn other_request() {
    SERVICE.with_borrow_mut(|service| send(service, black_box(FILES)));
}

pub fn bare_request() {
    send(&mut Server, black_box(CHAT));
}

/// A stream without an end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(black_box(EVENT))))))
    }
}

/// Answers with the stream.
struct Streaming;

impl Service<Request<Full<Bytes>>> for Streaming {
    type Response = Response<Endless>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Endless)))
    }
}

type Streamed = <LlmService<Streaming> as Service<Request<Full<Bytes>>>>::Response;

thread_local! {
    static STREAM: RefCell<Option<Streamed>> = const { RefCell::new(None) };
}

fn open() -> Streamed {
    let mut request =
        Request::new(Full::new(Bytes::from_static(br#"{"model": "gpt-4o-mini", "messages": [], "stream": true}"#)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(CHAT);
    let mut sent = pin!(LlmLayer::new().layer(Streaming).call(request));
    match sent.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => unreachable!("it answers at once"),
    }
}

fn poll(body: &mut (impl Body + Unpin)) {
    let mut context = Context::from_waker(Waker::noop());
    if let Poll::Ready(Some(frame)) = Pin::new(body).poll_frame(&mut context) {
        black_box(frame.is_ok());
    }
}

pub fn event() {
    STREAM.with_borrow_mut(|stream| poll(stream.get_or_insert_with(open).body_mut()));
}

pub fn bare_event() {
    poll(&mut Endless);
}
