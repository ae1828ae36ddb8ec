//! The classes of failure with which a call can end.

use std::sync::Arc;

use crate::word::words;

macro_rules! error_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a call did not succeed: the `error_type` label and the span's `error.type`.
        ///
        /// The set is closed, which bounds the values of the label. `Display` writes the label value and `FromStr` parses it,
        /// ignoring ASCII case. Values are ordered as they are declared.
        ///
        /// ```
        /// use botticelli_obs::ErrorType;
        ///
        /// assert_eq!("rate_limit".parse(), Ok(ErrorType::RateLimit));
        /// assert_eq!(ErrorType::RateLimit.to_string(), "rate_limit");
        /// assert!(ErrorType::RateLimit < ErrorType::Unknown);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ErrorType {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the label value, such as `rate_limit`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        words! { ErrorType: $($name = $variant),+ }
    };
}

error_types! {
    /// There were too many requests or tokens for a limit that resets, such as one per minute (HTTP 429).
    RateLimit = "rate_limit",
    /// The credit or the plan is exhausted, and waiting does not help (HTTP 402).
    Quota = "quota",
    /// The key is missing or wrong, or has no permission (HTTP 401, 403).
    Auth = "auth",
    /// The provider could not be reached: DNS, connect, TLS, reset.
    Network = "network",
    /// The answer did not arrive in time (HTTP 408, 504, or the client's own limit).
    Timeout = "timeout",
    /// The request was invalid (other HTTP 4xx).
    InvalidRequest = "invalid_request",
    /// The model or route does not exist (HTTP 404).
    NotFound = "not_found",
    /// The provider failed (other HTTP 5xx).
    ServerError = "server_error",
    /// The provider is over capacity (HTTP 503, 529).
    Overloaded = "overloaded",
    /// The prompt does not fit the model's context.
    ContextLength = "context_length",
    /// The provider's content filter blocked the request or the answer.
    ContentFilter = "content_filter",
    /// The answer could not be decoded.
    Decode = "decode",
    /// The stream ended early.
    Stream = "stream",
    /// The caller dropped the call before it ended.
    Cancelled = "cancelled",
    /// The code around the call panicked.
    Panic = "panic",
    /// Any other failure.
    Unknown = "unknown",
}

impl ErrorType {
    /// Classifies an HTTP status code. Codes outside 400 to 599 are [`Unknown`](Self::Unknown).
    ///
    /// ```
    /// use botticelli_obs::ErrorType;
    /// assert_eq!(ErrorType::from_http_status(429), ErrorType::RateLimit);
    /// assert_eq!(ErrorType::from_http_status(529), ErrorType::Overloaded);
    /// ```
    pub const fn from_http_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimit,
            402 => Self::Quota,
            401 | 403 => Self::Auth,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            500..=599 => Self::ServerError,
            _ => Self::Unknown,
        }
    }

    /// Returns the index of this value in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Classifies an error.
///
/// Implement it for a client's error type. Use its variants and status codes, and not its text, which may change.
///
/// ```
/// use botticelli_obs::{ClassifyError, ErrorType, LlmCall};
///
/// struct ApiError { status: u16 }
///
/// impl ClassifyError for ApiError {
///     fn error_type(&self) -> ErrorType {
///         ErrorType::from_http_status(self.status)
///     }
/// }
///
/// LlmCall::start("gemini", "gemini-2.5-flash").fail(&ApiError { status: 503 });
/// ```
///
/// A [`Box`] or [`Arc`] of an error has the class of that error. This includes `Box<dyn ClassifyError>`:
///
/// ```
/// use botticelli_obs::{ClassifyError, ErrorType};
///
/// let error: Box<dyn ClassifyError + Send + Sync> = Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
/// assert_eq!(ErrorType::from(&error), ErrorType::Timeout);
/// ```
pub trait ClassifyError {
    /// Returns the class of this error.
    fn error_type(&self) -> ErrorType;
}

/// Returns itself, for code whose errors are already classes.
impl ClassifyError for ErrorType {
    fn error_type(&self) -> ErrorType {
        *self
    }
}

impl<E: ClassifyError + ?Sized> ClassifyError for Box<E> {
    fn error_type(&self) -> ErrorType {
        (**self).error_type()
    }
}

/// For shared streams, which return the same error to each reader.
impl<E: ClassifyError + ?Sized> ClassifyError for Arc<E> {
    fn error_type(&self) -> ErrorType {
        (**self).error_type()
    }
}

impl<E: ClassifyError + ?Sized> From<&E> for ErrorType {
    fn from(error: &E) -> Self {
        error.error_type()
    }
}
