//! Classifies errors of the standard library and of `reqwest`.

use std::io;

use crate::error_type::{ClassifyError, ErrorType};

/// Classifies an I/O error by its kind:
///
/// - `TimedOut` and `WouldBlock`: [`Timeout`](ErrorType::Timeout);
/// - `InvalidData`: [`Decode`](ErrorType::Decode);
/// - `InvalidInput`: [`InvalidRequest`](ErrorType::InvalidRequest);
/// - `Other` with another `io::Error` inside: the class of that one;
/// - everything else: [`Network`](ErrorType::Network).
///
/// ```
/// use std::io;
///
/// use botticelli_obs::{ClassifyError, ErrorType};
///
/// let error = io::Error::from(io::ErrorKind::ConnectionRefused);
/// assert_eq!(error.error_type(), ErrorType::Network);
/// ```
impl ClassifyError for io::Error {
    fn error_type(&self) -> ErrorType {
        match self.kind() {
            // A read timeout of a socket is `TimedOut` on Windows and `WouldBlock` elsewhere.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorType::Timeout,
            io::ErrorKind::InvalidData => ErrorType::Decode,
            io::ErrorKind::InvalidInput => ErrorType::InvalidRequest,
            // Libraries wrap I/O errors in this kind.
            io::ErrorKind::Other => {
                let inner = self.get_ref().and_then(|inner| inner.downcast_ref::<Self>());
                inner.map_or(ErrorType::Network, Self::error_type)
            }
            _ => ErrorType::Network,
        }
    }
}

/// Classifies an error of `reqwest`. The first of these that applies wins:
///
/// - a timeout: [`Timeout`](ErrorType::Timeout);
/// - an error with a status, as of `error_for_status`: the class of the [status](ErrorType::from_http_status);
/// - a request that can't be built: [`InvalidRequest`](ErrorType::InvalidRequest);
/// - a body that is malformed: [`Decode`](ErrorType::Decode); one that breaks off: [`Stream`](ErrorType::Stream);
/// - a request that fails before the response: [`Network`](ErrorType::Network);
/// - everything else: [`Unknown`](ErrorType::Unknown).
#[cfg(feature = "reqwest")]
impl ClassifyError for reqwest::Error {
    fn error_type(&self) -> ErrorType {
        if self.is_timeout() {
            ErrorType::Timeout
        } else if let Some(status) = self.status() {
            ErrorType::from_http_status(status.as_u16())
        } else if self.is_builder() {
            ErrorType::InvalidRequest
        } else if self.is_body() || self.is_decode() {
            // `reqwest` reports a body that breaks off as a `decode` error, the same as one that is no JSON.
            if is_malformed(self) { ErrorType::Decode } else { ErrorType::Stream }
        } else if self.is_request() {
            ErrorType::Network
        } else {
            ErrorType::Unknown
        }
    }
}

/// Whether the content of the body is the cause, and not the connection.
#[cfg(feature = "reqwest")]
fn is_malformed(error: &reqwest::Error) -> bool {
    use std::error::Error;

    let mut sources = std::iter::successors(error.source(), |error| Error::source(*error));
    sources.any(|source| {
        source.is::<serde_json::Error>()
            || source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    })
}
