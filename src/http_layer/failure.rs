//! Classifies the errors of clients and bodies, whose types are those of other crates.

use std::any::Any;
use std::error::Error;
use std::io;

use crate::error_type::{ClassifyError, ErrorType};

/// Classifies an error without an answer.
pub(super) fn of_request(error: &dyn Any) -> ErrorType {
    of_any(error).unwrap_or(ErrorType::Network)
}

/// Classifies an error inside the body of an answer.
pub(super) fn of_body(error: &dyn Any) -> ErrorType {
    match of_any(error) {
        None | Some(ErrorType::Network | ErrorType::Unknown) => ErrorType::Stream,
        Some(class) => class,
    }
}

/// Returns the class of an error of a known type, or of one in a box.
fn of_any(error: &dyn Any) -> Option<ErrorType> {
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return of_error(&**error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send>>() {
        return of_error(&**error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error>>() {
        return of_error(&**error);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_error(error);
    }
    #[cfg(feature = "async-openai")]
    if let Some(error) = error.downcast_ref() {
        return of_openai(error);
    }
    #[cfg(feature = "reqwest-middleware")]
    if let Some(error) = error.downcast_ref::<reqwest_middleware::Error>() {
        return of_error(error);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return of_error(error);
    }
    None
}

/// Returns the class of the first error of a known type: this one, or one behind it.
fn of_error(error: &(dyn Error + 'static)) -> Option<ErrorType> {
    std::iter::successors(Some(error), |error| Error::source(*error)).find_map(of_one)
}

fn of_one(error: &(dyn Error + 'static)) -> Option<ErrorType> {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error.error_type());
    }
    #[cfg(feature = "reqwest-middleware")]
    if let Some(error) = error.downcast_ref::<reqwest_middleware::Error>() {
        return match error {
            reqwest_middleware::Error::Reqwest(error) => Some(error.error_type()),
            reqwest_middleware::Error::Middleware(error) => error.chain().find_map(of_one),
        };
    }
    #[cfg(feature = "async-openai")]
    if let Some(error) = error.downcast_ref() {
        return of_openai(error);
    }
    error.downcast_ref::<io::Error>().map(ClassifyError::error_type)
}

#[cfg(feature = "async-openai")]
fn of_openai(error: &async_openai::error::OpenAIError) -> Option<ErrorType> {
    use async_openai::error::OpenAIError;

    match error {
        OpenAIError::Reqwest(error) => Some(error.error_type()),
        OpenAIError::ApiError(refusal) => {
            let error = &refusal.api_error;
            let body = serde_json::json!({
                "error": {"message": error.message, "type": error.r#type, "code": error.code},
            });
            Some(ErrorType::from_http_response(refusal.status_code.as_u16(), body.to_string().as_bytes()))
        }
        OpenAIError::JSONDeserialize(..) => Some(ErrorType::Decode),
        OpenAIError::InvalidArgument(_) => Some(ErrorType::InvalidRequest),
        OpenAIError::StreamError(_) => Some(ErrorType::Stream),
        OpenAIError::Boxed(error) => of_error(&**error),
        _ => None,
    }
}
