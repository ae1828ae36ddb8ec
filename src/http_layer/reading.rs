//! Reads an answer as it passes, and ends what records it.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::recording::Recording;
use crate::error_type::ErrorType;
use crate::json::failure;
use crate::json::{StreamEnd, StreamReader};
use crate::outcome::Outcome;

/// How much of the body of an error is kept.
const MAX_ERROR: usize = 64 * 1024;

/// The headers in which servers tell the id of a request.
static REQUEST_IDS: [HeaderName; 9] = [
    HeaderName::from_static("x-request-id"),
    // Anthropic.
    HeaderName::from_static("request-id"),
    // Azure.
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("x-ms-request-id"),
    // AWS.
    HeaderName::from_static("x-amzn-requestid"),
    HeaderName::from_static("x-goog-request-id"),
    // Mistral; NVIDIA; Cloudflare.
    HeaderName::from_static("mistral-correlation-id"),
    HeaderName::from_static("nvcf-reqid"),
    HeaderName::from_static("cf-aig-log-id"),
];

#[derive(Debug)]
struct Answer {
    reader: StreamReader,
    is_stream: bool,
    /// Whether an answer of a known API must have events.
    is_of_known_api: bool,
    has_events: bool,
}

/// An answer that is being read. Dropped before its end, it was given up by the reader.
#[derive(Debug)]
pub(super) struct Reading {
    /// `None` once it has ended.
    recording: Option<Recording>,
    status: u16,
    request_id: Option<HeaderValue>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Answer(Box<Answer>),
    /// An error, as far as it is kept.
    Error(Vec<u8>),
    /// Bytes that can't be read, such as compressed ones.
    Opaque,
}

impl Answer {
    /// Whether a stream that ends here has broken off.
    fn is_cut(&self) -> bool {
        match self.reader.end() {
            StreamEnd::Missing => !self.reader.has_finished_choices(),
            _ => self.is_of_known_api && !self.has_events,
        }
    }
}

impl Reading {
    /// Begins with the head of an answer.
    pub(super) fn start(mut recording: Recording, status: u16, headers: &HeaderMap) -> Self {
        recording.call().record_rate_limits(headers);
        let is_encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        let content = match status {
            _ if is_encoded => Content::Opaque,
            200..=299 => {
                let api = recording.api;
                Content::Answer(Box::new(Answer {
                    reader: api.map_or_else(StreamReader::new, StreamReader::with_api),
                    is_stream: recording.is_streaming || is_event_stream(headers),
                    is_of_known_api: api.is_some(),
                    has_events: false,
                }))
            }
            _ => Content::Error(Vec::new()),
        };
        let request_id = REQUEST_IDS.iter().find_map(|name| headers.get(name)).cloned();
        Self { recording: Some(recording), status, request_id, content }
    }

    /// Reads the next bytes of the body. Returns whether the answer is complete with them, whatever follows.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        let Some(recording) = &mut self.recording else { return true };
        match &mut self.content {
            Content::Answer(answer) => {
                let mut responses = answer.reader.read(bytes);
                while responses.next().is_some() {
                    answer.has_events = true;
                    if answer.is_stream && responses.has_content() {
                        recording.call().record_chunk();
                    }
                }
                drop(responses);
                answer.reader.end() == StreamEnd::Seen
            }
            Content::Error(kept) => {
                let room = MAX_ERROR - kept.len();
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
                false
            }
            Content::Opaque => false,
        }
    }

    /// Ends with the body.
    pub(super) fn finish(&mut self) {
        let is_cut = match &self.content {
            Content::Answer(answer) => answer.is_stream && answer.is_cut(),
            _ => false,
        };
        self.end(is_cut.then_some(ErrorType::Stream));
    }

    /// Ends with an error of the body.
    pub(super) fn fail(&mut self, error: ErrorType) {
        self.end(Some(error));
    }

    /// Ends it, with an error unless the answer says what has failed.
    fn end(&mut self, error: Option<ErrorType>) {
        let Some(mut recording) = self.recording.take() else { return };
        let failure = self.record_in(&mut recording);
        if let Some(error) = failure.or(error) {
            recording.record_error(error);
        }
        recording.finish();
    }

    /// Records what the answer has said. Returns why it is none.
    fn record_in(&mut self, recording: &mut Recording) -> Option<ErrorType> {
        let is_error = !(200..=299).contains(&self.status);
        let (failure, code) = match &self.content {
            Content::Answer(answer) => {
                let response = answer.reader.response();
                response.record_in(recording.call());
                (response.failure(), response.error_code().map(Box::from))
            }
            Content::Error(body) => {
                let (failure, code) = failure::of_answer(self.status, body);
                (Some(failure), code)
            }
            Content::Opaque => (is_error.then(|| ErrorType::from_http_status(self.status)), None),
        };
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        if failure.is_some() {
            recording.record_answer(self.status, request_id, code.as_deref());
        }
        failure
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some(mut recording) = self.recording.take() else { return };
        let failure = self.record_in(&mut recording);
        let is_complete = match &self.content {
            Content::Answer(answer) => answer.reader.response().finish_reasons().next().is_some(),
            _ => false,
        };
        if let Some(failure) = failure {
            recording.fail(failure);
        } else if is_complete {
            recording.finish();
        }
        // Otherwise both are dropped, and so cancelled.
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let name = headers.get(CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = name.split(';').next().unwrap_or_default().trim();
    ["text/event-stream", "application/x-ndjson", "application/jsonl"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}
