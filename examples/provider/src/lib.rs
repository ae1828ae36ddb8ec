//! An instrumented provider library: a client of Ollama that depends on `botticelli_obs` without its default features.
//!
//! The program that uses the library decides where metrics and spans go. If it installs nothing, nothing is recorded.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use botticelli_obs::json::{Response, Value};
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, Outcome, llm_call};

/// A client of an Ollama server, such as `127.0.0.1:11434`.
#[derive(Clone, Debug)]
pub struct Ollama {
    server: String,
}

/// The answer of a model.
#[derive(Debug)]
pub struct Reply {
    /// The generated text.
    pub text: String,
    response: Response,
}

/// The error of a request.
#[derive(Debug)]
pub enum Error {
    /// The connection failed.
    Io(io::Error),
    /// The server refused the request with this status and body.
    Refused(u16, Vec<u8>),
    /// The answer is not valid HTTP, or not JSON of the expected form.
    Malformed,
}

impl Outcome for Reply {
    fn record_in(&self, call: &mut LlmCall) {
        self.response.record_in(call);
    }
}

impl ClassifyError for Error {
    fn error_type(&self) -> ErrorType {
        match self {
            Self::Io(error) => error.error_type(),
            Self::Refused(status, body) => ErrorType::from_http_response(*status, body),
            Self::Malformed => ErrorType::Decode,
        }
    }
}

impl Ollama {
    /// Creates a client of the server at `host:port`, and declares the model that it will call.
    pub fn new(server: &str, model: &str) -> Self {
        botticelli_obs::declare("ollama", model);
        Self { server: server.to_owned() }
    }

    /// Sends a prompt to the model and returns its answer.
    ///
    /// # Errors
    ///
    /// When the connection fails, the server refuses the request, or its answer is malformed.
    #[llm_call(provider = "ollama", model = model, operation = "text_completion")]
    pub fn generate(&self, model: &str, prompt: &str) -> Result<Reply, Error> {
        let (model, prompt) = (Value::from(model), Value::from(prompt));
        let body = self.post("/api/generate", &format!(r#"{{"model":{model},"prompt":{prompt},"stream":false}}"#))?;
        let json: Value = String::from_utf8_lossy(&body).parse().map_err(|_| Error::Malformed)?;
        let text = json["response"].as_str().ok_or(Error::Malformed)?.to_owned();
        Ok(Reply { text, response: Response::read(&json) })
    }

    /// Posts a request by HTTP/1.0, where the server closes the connection to end the body.
    fn post(&self, path: &str, body: &str) -> Result<Vec<u8>, Error> {
        let Self { server } = self;
        let length = body.len();
        let mut stream = TcpStream::connect(server)?;
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(Error::Malformed)?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(Error::Malformed)?;
        if status == 200 { Ok(body) } else { Err(Error::Refused(status, body)) }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the server can't be reached: {error}"),
            Self::Refused(status, body) => write!(f, "status {status}: {}", String::from_utf8_lossy(body)),
            Self::Malformed => f.write_str("the server's answer is malformed"),
        }
    }
}

impl std::error::Error for Error {}
