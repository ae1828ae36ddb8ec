//! Whatever passes is what it was.

use std::io::{ErrorKind, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use botticelli_obs::ErrorType;
use botticelli_obs::http_layer::{LlmLayer, LlmMiddleware};
use botticelli_obs::testing::Capture;
use flate2::{Compression, write::GzEncoder};
use futures_util::FutureExt;
use http_body::{Body, Frame};
use proptest::prelude::*;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use super::scripted::{self, Script, Step, chat};
use super::server::{Act, Server, answer};

fn event(content: &str) -> String {
    format!("data: {{\"choices\": [{{\"index\": 0, \"delta\": {{\"content\": \"{content}\"}}}}]}}\n\n")
}

const END: &str = "data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}}\n\ndata: [DONE]\n\n";

/// Data, trailers or an error.
type Content = Result<Result<Vec<u8>, http::HeaderMap>, ErrorKind>;

/// What one poll of a body gives, and what the body says of itself then.
#[derive(Debug, PartialEq)]
struct Polled {
    frame: Poll<Option<Content>>,
    is_end: bool,
    size: (u64, Option<u64>),
}

/// Polls a body until it has ended, and twice after that.
fn poll_all(mut body: impl Body<Data = bytes::Bytes, Error = std::io::Error> + Unpin) -> Vec<Polled> {
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = Vec::new();
    let mut after_end = 0;
    while after_end < 3 {
        let frame = Pin::new(&mut body).poll_frame(&mut context);
        let frame = frame.map(|frame| {
            after_end += usize::from(frame.is_none());
            let content = |frame: Frame<bytes::Bytes>| {
                frame.into_data().map(|data| data.to_vec()).map_err(|frame| frame.into_trailers().unwrap_or_default())
            };
            frame.map(|frame| frame.map(content).map_err(|error| error.kind()))
        });
        let size = body.size_hint();
        polls.push(Polled { frame, is_end: body.is_end_stream(), size: (size.lower(), size.upper()) });
    }
    polls
}

/// Asserts that a body passes the layer as it is, whatever the answer's status.
fn assert_passes(script: &Script, status: u16) {
    let capture = Capture::new();
    let mut response = http::Response::new(script.clone());
    *response.status_mut() = status.try_into().expect("a status");
    let observed = capture.run(|| {
        let sent = scripted::send(&LlmLayer::new(), chat("m"), response).now_or_never();
        sent.expect("it is ready").into_body()
    });
    assert_eq!(observed.is_end_stream(), script.is_end_stream());
    assert_eq!(observed.size_hint().exact(), script.size_hint().exact());
    assert_eq!(poll_all(observed), poll_all(script.clone()));
    assert_eq!(capture.llm("openai", "m").requests(), 1);
}

#[test]
fn each_frame_leaves_in_the_poll_in_which_it_came() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().expect("a header"));
    let data = |text: &str| Step::Data(text.as_bytes().to_vec());
    let steps = [
        Step::Pends,
        data(&event("gold")),
        Step::Pends,
        data("data: {\"cho"),
        data(""),
        data("ices\": []}\n\n"),
        data(END),
        Step::Trailers(trailers),
        data("after the end"),
    ];
    for status in [200, 500] {
        assert_passes(&Script::new(steps.clone()), status);
        assert_passes(&Script::new(steps.clone()).telling_its_end(), status);
        assert_passes(&Script::new([data("x"), Step::Fails(ErrorKind::ConnectionReset), data("y")]), status);
        assert_passes(&Script::default().telling_its_end(), status);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let piece = prop_oneof![
        Just(event("gold")),
        Just(END.to_owned()),
        "data: [\\[{}\":,0-9a-z\\]]{0,40}\n{0,2}",
        "(event|id|data|:): ?\\PC{0,20}\r?\n",
    ];
    prop_oneof![
        8 => piece.prop_map(|text| Step::Data(text.into_bytes())),
        4 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Step::Data),
        1 => Just(Step::Pends),
        1 => Just(Step::Fails(ErrorKind::BrokenPipe)),
    ]
}

proptest! {
    #[test]
    fn no_bytes_change_what_passes(
        steps in prop::collection::vec(step(), 0..12),
        tells_end in any::<bool>(),
        status in prop_oneof![Just(200), Just(204), Just(429), Just(500)],
    ) {
        let script = Script::new(steps);
        assert_passes(&if tells_end { script.telling_its_end() } else { script }, status);
    }

    #[test]
    fn no_request_is_changed(body in "[\\[{}\":,0-9a-z \\]]{0,60}", path in "/[a-z0-9/:.%]{0,20}(chat/completions|messages|api/chat)?") {
        let capture = Capture::new();
        let seen = std::sync::Mutex::new(None);
        let service = tower::service_fn(|request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            *seen.lock().expect("nobody panics") = Some(request);
            async { Ok::<_, std::convert::Infallible>(http::Response::new(Script::default())) }
        });
        let request = scripted::post(&format!("http://api.openai.com{path}"), &body);
        let sent = request.clone();
        capture.run(|| tower::Service::call(&mut tower::Layer::layer(&LlmLayer::new(), service), request).now_or_never());
        let seen = seen.into_inner().expect("nobody panics").expect("it was sent");
        prop_assert_eq!(seen.uri(), sent.uri());
        prop_assert_eq!(seen.headers(), sent.headers());
        prop_assert_eq!(format!("{:?}", seen.body()), format!("{:?}", sent.body()));
    }
}

/// All that a client gets.
#[derive(Debug, PartialEq)]
struct Got {
    head: Option<(u16, http::Version, http::HeaderMap, String, Option<u64>, bool)>,
    body: Vec<u8>,
    error: Option<([bool; 6], Option<u16>, String)>,
}

impl Got {
    fn fail(mut self, error: &reqwest::Error) -> Self {
        let predicates = [
            error.is_timeout(),
            error.is_body(),
            error.is_decode(),
            error.is_connect(),
            error.is_request(),
            error.is_status(),
        ];
        self.error = Some((predicates, error.status().map(|status| status.as_u16()), error.to_string()));
        self
    }
}

async fn get(client: &ClientWithMiddleware, url: &str) -> Got {
    let mut got = Got { head: None, body: Vec::new(), error: None };
    let request = client.post(url).body(r#"{"model": "m", "messages": [], "stream": true}"#).send();
    let mut response = match request.await {
        Ok(response) => response,
        Err(reqwest_middleware::Error::Reqwest(error)) => return got.fail(&error),
        Err(error) => panic!("{error}"),
    };
    got.head = Some((
        response.status().as_u16(),
        response.version(),
        response.headers().clone(),
        response.url().to_string(),
        response.content_length(),
        response.remote_addr().is_some(),
    ));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.body.extend_from_slice(&chunk),
            Ok(None) => return got,
            Err(error) => return got.fail(&error),
        }
    }
}

/// How long a client waits for the next bytes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asserts that a client gets the same with the layer and without, and returns what it got and what was captured.
async fn assert_same(acts: Vec<Act>) -> (Got, Capture) {
    let server = Server::start(vec![acts]).await;
    let url = server.url("/v1/chat/completions");
    let client = reqwest::Client::builder().read_timeout(PATIENCE).no_proxy().build().expect("a client");
    let bare = get(&ClientBuilder::new(client.clone()).build(), &url).await;
    let observed = ClientBuilder::new(client).with(LlmMiddleware::new()).build();
    let capture = Capture::new();
    let got = capture.observe(get(&observed, &url)).await;
    assert_eq!(got, bare);
    assert_eq!(capture.llm("unknown", "m").requests(), 1);
    (got, capture)
}

fn stream(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    format!("{head}{body}").into_bytes()
}

fn chunked(chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in chunks {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("0\r\n{trailers}\r\n").bytes());
    bytes
}

#[track_caller]
fn assert_success(capture: &Capture) {
    let llm = capture.llm("unknown", "m");
    assert_eq!(llm.errors(), 0);
    assert_eq!((llm.prompt_tokens().get(), llm.completion_tokens().get()), (7, 2));
    assert_eq!(llm.in_flight(), 0.0);
}

#[tokio::test]
async fn answers_pass_bit_for_bit_however_they_are_sent() {
    let short = format!("{}{END}", event("gold"));
    let long_line = format!("{}{}{END}", event(&"gold ".repeat(40_000)), event("x"));
    let big_event = format!("{}{END}", event(&"gold ".repeat(200_000)));
    let many = format!("{}{END}", event(&"gold ".repeat(100)).repeat(10_000));
    assert!(many.len() > 5_000_000);
    assert_success(&assert_same(vec![Act::Trickle(stream(&short))]).await.1);
    for body in [&short, &long_line, &big_event, &many] {
        assert_success(&assert_same(vec![Act::Send(stream(body))]).await.1);
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(1_000).collect();
        assert_success(&assert_same(vec![Act::Send(chunked(&pieces, "x-checksum: 1\r\n"))]).await.1);
        let (got, capture) =
            assert_same(answer("200 OK", "content-type: text/event-stream\r\n", body.as_bytes())).await;
        assert_success(&capture);
        assert_eq!(got.head.and_then(|head| head.4), Some(body.len() as u64));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(body.as_bytes()).expect("it compresses");
        let gzip = gzip.finish().expect("it ends");
        let (got, capture) = assert_same(answer("200 OK", "content-encoding: gzip\r\n", &gzip)).await;
        assert_success(&capture);
        assert_eq!(got.body, body.as_bytes());
    }
}

#[tokio::test]
async fn answers_that_end_badly_end_as_badly() {
    let word = event("gold");
    let cut = chunked(&[word.as_bytes()], "");
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let cases: Vec<(Vec<Act>, ErrorType)> = vec![
        // Closed before the end, in each framing.
        (vec![Act::Send(cut[..cut.len() - 5].to_vec())], ErrorType::Stream),
        (vec![Act::Send(format!("{length}{word}").into_bytes())], ErrorType::Stream),
        (vec![Act::Send(stream(&word))], ErrorType::Stream),
        (vec![Act::Send(stream(&word)), Act::Reset], ErrorType::Stream),
        // Before the first byte.
        (vec![Act::Reset], ErrorType::Network),
        (vec![], ErrorType::Network),
        // Nothing more comes.
        (vec![Act::Send(stream(&word)), Act::Hang], ErrorType::Timeout),
        (vec![Act::Hang], ErrorType::Timeout),
        // No gzip.
        (answer("200 OK", "content-encoding: gzip\r\n", b"gold"), ErrorType::Decode),
        (answer("429 Too Many Requests", "retry-after: 1\r\n", b"wait"), ErrorType::RateLimit),
        (answer("500 Oops", "", b""), ErrorType::ServerError),
    ];
    for (acts, error) in cases {
        let shown = format!("{acts:?}");
        let (_, capture) = assert_same(acts).await;
        let llm = capture.llm("unknown", "m");
        assert_eq!(llm.errors_of(error), 1, "{shown}");
        assert_eq!(llm.errors(), 1, "{shown}");
    }
}

#[tokio::test]
async fn a_request_of_another_kind_is_not_touched() {
    let server = Server::start(vec![answer("200 OK", "", b"a file")]).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(LlmMiddleware::new()).build();
    let capture = Capture::new();
    capture.observe(get(&client, &server.url("/v1/files"))).await;
    assert!(capture.spans().is_empty(), "{capture}");
    let received = server.received();
    assert_eq!(received[0].header("traceparent"), None);
}
