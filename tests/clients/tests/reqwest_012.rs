//! Errors of `reqwest` 0.12, which many clients still have, have the classes of those of 0.13.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use botticelli_obs::{ClassifyError, ErrorType};

/// Answers each request with these bytes, and closes the connection.
fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    addr
}

macro_rules! classes {
    ($reqwest:ident, $classify:expr) => {{
        let refused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let limited = server("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}");
        let garbled = server("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<hi>");
        let cut = server("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"id\":");
        let url = |addr: SocketAddr| format!("http://{addr}/");
        let client = $reqwest::Client::builder().timeout(Duration::from_millis(500)).build().expect("it is built");
        let get = |url: String| client.get(url).send();
        let json = async |addr| match get(url(addr)).await {
            Ok(response) => response.json::<serde_json::Value>().await.err(),
            Err(error) => Some(error),
        };
        let errors = [
            get(url(refused)).await.err(),
            get(url(silent.local_addr().expect("it is bound"))).await.err(),
            get(url(limited)).await.and_then($reqwest::Response::error_for_status).err(),
            json(garbled).await,
            json(cut).await,
            get("no url".to_owned()).await.err(),
        ];
        errors.map(|error| $classify(error.expect("it fails")))
    }};
}

#[test]
fn errors_of_012_have_the_classes_of_013() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    let (older, newer) = runtime.block_on(async {
        let older = classes!(reqwest_012, |error: reqwest_012::Error| {
            // As an error of a client around it.
            let error: Box<dyn Error + Send + Sync> = Box::new(error);
            error.error_type()
        });
        (older, classes!(reqwest, |error: reqwest::Error| error.error_type()))
    });
    assert_eq!(older, newer);
    let all = [
        ErrorType::Network,
        ErrorType::Timeout,
        ErrorType::RateLimit,
        ErrorType::Decode,
        ErrorType::Stream,
        ErrorType::InvalidRequest,
    ];
    assert_eq!(older, all);
}
