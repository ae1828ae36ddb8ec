//! Classifies errors of the standard library, of `reqwest`, and those that are known by their sources alone.

use std::error::Error;
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
    let mut sources = std::iter::successors(error.source(), |error| Error::source(*error));
    sources.any(|source| {
        source.is::<serde_json::Error>()
            || source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    })
}

impl ErrorType {
    /// Classifies an error of any type by itself and by its [sources](Error::source). The first of them that is known wins:
    ///
    /// - an [`io::Error`] and, with the feature `reqwest`, a `reqwest::Error` of 0.13: its own class;
    /// - an error of another version of `reqwest`, from 0.11 on: the class that it would have in 0.13. Their types are not known here, so
    ///   that their words tell them;
    /// - an error of `serde_json`: [`Decode`](Self::Decode);
    /// - a time limit of `tokio`: [`Timeout`](Self::Timeout).
    ///
    /// Without any of these it is [`Unknown`](Self::Unknown). Errors in a box, such as `Box<dyn Error + Send + Sync>`, implement
    /// [`ClassifyError`] by it.
    ///
    /// ```
    /// use std::error::Error;
    /// use std::{fmt, io};
    ///
    /// use botticelli_obs::ErrorType;
    ///
    /// #[derive(Debug)]
    /// struct ClientError(io::Error);
    ///
    /// impl fmt::Display for ClientError {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("no answer")
    ///     }
    /// }
    ///
    /// impl Error for ClientError {
    ///     fn source(&self) -> Option<&(dyn Error + 'static)> {
    ///         Some(&self.0)
    ///     }
    /// }
    ///
    /// let error = ClientError(io::ErrorKind::ConnectionRefused.into());
    /// assert_eq!(ErrorType::from_error(&error), ErrorType::Network);
    /// ```
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        chain(error).find_map(of_one).unwrap_or(Self::Unknown)
    }
}

/// Returns an error and its sources.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| Error::source(*error))
}

fn of_one(error: &(dyn Error + 'static)) -> Option<ErrorType> {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error.error_type());
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error.error_type());
    }
    let words = error.to_string();
    let is = |start: &str| words.starts_with(start);
    if is("HTTP status client error (") || is("HTTP status server error (") {
        let status = words.split_once('(').and_then(|(_, status)| status.get(..3)?.parse().ok());
        status.map(ErrorType::from_http_status)
    } else if is("builder error") {
        Some(ErrorType::InvalidRequest)
    } else if is("error sending request") {
        Some(if has_timed_out(error) { ErrorType::Timeout } else { ErrorType::Network })
    } else if is("error decoding response body") || is("request or response body error") {
        Some(if has_timed_out(error) {
            ErrorType::Timeout
        } else if chain(error).any(is_of_content) {
            ErrorType::Decode
        } else {
            ErrorType::Stream
        })
    } else if is_timeout(&words) {
        Some(ErrorType::Timeout)
    } else {
        is_of_json(&words).then_some(ErrorType::Decode)
    }
}

fn has_timed_out(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        let is_io = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        error.downcast_ref().is_some_and(is_io) || is_timeout(&error.to_string())
    })
}

/// The words of `reqwest` and of `tokio` for a time limit.
fn is_timeout(words: &str) -> bool {
    matches!(words, "operation timed out" | "deadline has elapsed")
}

/// Whether the content of a body is the cause, and not the connection.
fn is_of_content(error: &(dyn Error + 'static)) -> bool {
    let is_io = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    error.downcast_ref().is_some_and(is_io) || is_of_json(&error.to_string())
}

/// Whether the words are those of an error of `serde_json`, which end with the place.
fn is_of_json(words: &str) -> bool {
    let place = words.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(" column "));
    place.is_some_and(|(line, column)| [line, column].iter().all(|number| number.parse::<u64>().is_ok()))
}

macro_rules! by_sources {
    ($($error:ty),+) => {
        $(
            /// Classifies the error as [`ErrorType::from_error`] does.
            impl ClassifyError for $error {
                fn error_type(&self) -> ErrorType {
                    ErrorType::from_error(self)
                }
            }
        )+
    };
}

by_sources!(dyn Error, dyn Error + Send, dyn Error + Send + Sync);
