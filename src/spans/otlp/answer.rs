//! What a backend says about an export.

use std::error::Error;
use std::io;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::super::export::Answer;
use crate::cause::innermost;
use crate::otlp::Config;

/// The longest text of a backend that a log line repeats, in characters.
const LONGEST: usize = 200;

/// Brings what a backend says into a form for log lines.
#[derive(Clone)]
pub(super) struct Words {
    /// The values of the request's headers, and their parts. A backend may repeat them, and they may be secrets.
    secrets: Vec<String>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

impl Words {
    pub(super) fn new(config: &Config) -> Self {
        let parts = config.headers.iter().flat_map(|(_, value)| {
            std::iter::once(value.as_str()).chain(value.split([' ', ',', ';', '='])).map(str::trim)
        });
        let mut secrets: Vec<String> = parts.filter(|part| part.len() >= 4).map(str::to_owned).collect();
        // A whole value before its parts.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// Returns `what`, followed by what the backend says, if anything: without control characters and header values, and not longer
    /// than a line.
    pub(super) fn after(&self, what: &str, said: &str) -> String {
        let said = self.secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret, "[header]"));
        let clean: String = said.chars().map(|char| if is_plain(char) { char } else { ' ' }).collect();
        let mut words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = words.char_indices().nth(LONGEST) {
            words.truncate(end);
            words.push('…');
        }
        if words.is_empty() { what.to_owned() } else { format!("{what}: {words}") }
    }
}

/// Neither a control character nor one that changes the direction of text or has no width.
fn is_plain(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns the answer for a request that got none, such as when nobody listens. What TLS finds wrong, such as a certificate that
/// nobody vouches for, is final.
pub(super) fn of_transport_error(error: &(dyn Error + 'static)) -> Answer {
    let why = innermost(error).to_string();
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    if causes.any(is_tls) { Answer::Refused { why } } else { Answer::Later { why, pause: None } }
}

fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "otlp-tls")]
    if cause.is::<rustls::Error>() {
        return true;
    }
    // The error inside an error of the system is none of its sources.
    let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inside.is_some_and(|inside| is_tls(inside))
}

/// Returns the answer for a message that was taken.
pub(super) fn of_taken(response: &[u8], words: &Words) -> Answer {
    // The request has succeeded even if the answer is not what it should be.
    let response = ExportTraceServiceResponse::decode(response).unwrap_or_default();
    let Some(partial) = response.partial_success else { return Answer::Taken };
    match u64::try_from(partial.rejected_spans) {
        Ok(rejected @ 1..) => {
            Answer::TakenInPart { rejected, why: words.after("some were rejected", &partial.error_message) }
        }
        _ => Answer::Taken,
    }
}

/// `google.rpc.Status`: the body of a refusal by HTTP, and the details of one by gRPC.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

impl RpcStatus {
    /// Returns the pause that the backend asks for.
    pub(super) fn pause(&self) -> Option<Duration> {
        let info = self.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
        let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay?;
        Some(
            Duration::new(u64::try_from(delay.seconds).ok()?, 0)
                + Duration::from_nanos(u64::try_from(delay.nanos).ok()?),
        )
    }
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
