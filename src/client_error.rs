//! The classes of errors that clients give everywhere.

use std::io;

use crate::error_type::{ClassifyError, ErrorType};

/// [`Timeout`](ErrorType::Timeout), [`Decode`](ErrorType::Decode) for data that made no sense,
/// [`InvalidRequest`](ErrorType::InvalidRequest) for input that was refused, and [`Network`](ErrorType::Network): what else fails in
/// a call is the connection.
impl ClassifyError for io::Error {
    fn error_type(&self) -> ErrorType {
        match self.kind() {
            // Sockets with a read timeout say one on Windows and the other elsewhere.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorType::Timeout,
            io::ErrorKind::InvalidData => ErrorType::Decode,
            io::ErrorKind::InvalidInput => ErrorType::InvalidRequest,
            // Another error may be wrapped in it.
            io::ErrorKind::Other => {
                let inner = self.get_ref().and_then(|inner| inner.downcast_ref::<Self>());
                inner.map_or(ErrorType::Network, Self::error_type)
            }
            _ => ErrorType::Network,
        }
    }
}

/// [`Timeout`](ErrorType::Timeout), the class of the status where there is one, [`Network`](ErrorType::Network) before the
/// response, [`Stream`](ErrorType::Stream) for a body that breaks off, [`Decode`](ErrorType::Decode) for one that can't be read.
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
            // A body that breaks off is a `decode` error there, as is one that is no JSON.
            if is_malformed(self) { ErrorType::Decode } else { ErrorType::Stream }
        } else if self.is_request() {
            ErrorType::Network
        } else {
            ErrorType::Unknown
        }
    }
}

#[cfg(feature = "reqwest")]
fn is_malformed(error: &reqwest::Error) -> bool {
    use std::error::Error;

    let mut sources = std::iter::successors(error.source(), |error| Error::source(*error));
    sources.any(|source| {
        source.is::<serde_json::Error>()
            || source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    })
}
