//! What the HTTP answer to a failed request has said about it.

use tracing::{Span, record_all};

/// Status, error code and request id of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) code: Option<Box<str>>,
    pub(super) request_id: Option<Box<str>>,
}

impl Answer {
    pub(super) fn record_code(&mut self, code: &str) {
        if is_code(code) {
            self.code = Some(code.into());
        }
    }

    pub(super) fn record_request_id(&mut self, id: &str) {
        if is_code(id) {
            self.request_id = Some(id.into());
        }
    }

    /// Records it on the span of the request.
    pub(super) fn record_on(&self, span: &Span) {
        record_all!(
            span,
            http.response.status_code = self.status.map(i64::from),
            botticelli.error.code = self.code.as_deref(),
            botticelli.request.id = self.request_id.as_deref(),
        );
    }
}

/// Whether a text can be a code or an id. Any other may be a message.
fn is_code(text: &str) -> bool {
    const LONGEST: usize = 64;
    let is_of_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_of_code)
}
