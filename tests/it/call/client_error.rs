//! The classes of errors that clients give.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use botticelli_obs::{ClassifyError, ErrorType, LlmCall};

#[test]
fn io_errors_are_classified_by_their_kind() {
    let cases = [
        (ErrorKind::TimedOut, ErrorType::Timeout),
        (ErrorKind::WouldBlock, ErrorType::Timeout),
        (ErrorKind::ConnectionRefused, ErrorType::Network),
        (ErrorKind::ConnectionReset, ErrorType::Network),
        (ErrorKind::BrokenPipe, ErrorType::Network),
        (ErrorKind::UnexpectedEof, ErrorType::Network),
        (ErrorKind::HostUnreachable, ErrorType::Network),
        (ErrorKind::InvalidData, ErrorType::Decode),
        (ErrorKind::InvalidInput, ErrorType::InvalidRequest),
    ];
    for (kind, class) in cases {
        assert_eq!(io::Error::from(kind).error_type(), class, "{kind}");
        assert_eq!(io::Error::other(io::Error::from(kind)).error_type(), class, "{kind} in another error");
    }
    assert_eq!(io::Error::other("no such host").error_type(), ErrorType::Network);
    LlmCall::start("ollama", "llama3.2").fail(&io::Error::from(ErrorKind::TimedOut));
}

/// An error of a client that this crate knows nothing of.
#[derive(Debug)]
struct Wrapped(&'static str, Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

#[test]
fn errors_of_any_type_are_classified_by_their_sources() {
    let boxed = |words, source: Option<Box<dyn Error + Send + Sync>>| -> Box<dyn Error + Send + Sync> {
        Box::new(Wrapped(words, source))
    };
    let refused = || Some(Box::<dyn Error + Send + Sync>::from(io::Error::from(ErrorKind::ConnectionRefused)));
    let sending = "error sending request for url (http://localhost/)";
    let cases = [
        (boxed("it failed", None), ErrorType::Unknown),
        (boxed("it failed", refused()), ErrorType::Network),
        (boxed("it failed", Some(boxed("deeper", refused()))), ErrorType::Network),
        (boxed("it failed", Some(boxed("deadline has elapsed", None))), ErrorType::Timeout),
        (boxed("it failed", Some(boxed("expected value at line 1 column 1", None))), ErrorType::Decode),
        // Those of other versions of `reqwest`.
        (boxed(sending, refused()), ErrorType::Network),
        (boxed(sending, Some(boxed("operation timed out", None))), ErrorType::Timeout),
        (boxed("HTTP status client error (429 Too Many Requests) for url (…)", None), ErrorType::RateLimit),
        (boxed("HTTP status server error (é", None), ErrorType::Unknown),
        (boxed("error decoding response body", refused()), ErrorType::Stream),
        (boxed("builder error", None), ErrorType::InvalidRequest),
    ];
    for (error, class) in cases {
        assert_eq!(ErrorType::from(&error), class, "{error:?}");
    }
}

#[cfg(feature = "reqwest")]
mod with_reqwest {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    use reqwest::{Client, Error, Response};

    use super::{ClassifyError, ErrorType};

    /// Answers one request with these bytes, and closes the connection.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let addr = listener.local_addr().expect("it has an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client connects");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // Never answers: keeps the connection until the client gives up.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        addr
    }

    async fn get(addr: SocketAddr, timeout: Duration) -> Result<Response, Error> {
        let client = Client::builder().no_proxy().timeout(timeout).build()?;
        client.get(format!("http://{addr}/v1/models")).send().await?.error_for_status()
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[track_caller]
    fn assert_class<T>(result: Result<T, Error>, class: ErrorType) {
        let error = result.err().expect("it fails");
        assert_eq!(error.error_type(), class, "{error:?}");
    }

    #[tokio::test]
    async fn server_that_is_away_is_network() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let addr = listener.local_addr().expect("it has an address");
        drop(listener);
        assert_class(get(addr, PATIENCE).await, ErrorType::Network);
        assert_class(Client::new().get("http://no-such-host.invalid/").send().await, ErrorType::Network);
    }

    #[tokio::test]
    async fn server_that_hangs_is_a_timeout() {
        assert_class(get(server(""), Duration::from_millis(50)).await, ErrorType::Timeout);
    }

    #[tokio::test]
    async fn status_is_classified_as_such() {
        let answer = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
        assert_class(get(server(answer), PATIENCE).await, ErrorType::RateLimit);
    }

    #[tokio::test]
    async fn url_that_is_none_is_an_invalid_request() {
        assert_class(Client::new().get("localhost without a scheme").send().await, ErrorType::InvalidRequest);
    }

    #[tokio::test]
    async fn body_that_breaks_off_is_a_stream_error() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"id\": ",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"id\": \r\n",
        ] {
            let mut response = get(server(answer), PATIENCE).await.expect("it has a head");
            response.chunk().await.expect("the first part is there");
            assert_class(response.chunk().await, ErrorType::Stream);
            let response = get(server(answer), PATIENCE).await.expect("it has a head");
            assert_class(response.json::<serde_json::Value>().await, ErrorType::Stream);
        }
    }

    #[tokio::test]
    async fn body_that_is_no_json_is_a_decode_error() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
        let response = get(server(answer), PATIENCE).await.expect("it has a head");
        assert_class(response.json::<serde_json::Value>().await, ErrorType::Decode);
    }
}
