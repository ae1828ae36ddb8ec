#![doc = include_str!("http_layer.md")]

mod body;
mod change;
mod failure;
mod fields;
mod hosts;
#[cfg(feature = "tower")]
mod http_service;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
#[cfg(feature = "async-openai")]
mod openai;
mod reading;
mod recognize;
mod recording;
mod request;
#[cfg(feature = "_reqwest-layer")]
mod reqwest;
mod route;
#[cfg(any(feature = "async-openai", feature = "tower"))]
mod service;
mod settings;
#[cfg(feature = "tower")]
mod visible;

pub use body::LlmBody;
#[cfg(feature = "tower")]
pub use http_service::LlmFuture;
#[cfg(feature = "reqwest-middleware")]
pub use middleware::LlmMiddleware;
pub use request::{HttpRequest, LlmRequest};
#[cfg(any(feature = "async-openai", feature = "tower"))]
pub use service::{LlmLayer, LlmService};

use change::Changes;
use recording::Recording;
use settings::Settings;

/// Recognises a request and starts to record it; `None` for any other request, and where nothing is recorded.
fn start(settings: &Settings, request: &HttpRequest<'_>) -> Option<(Recording, Changes)> {
    if crate::call::is_inert() {
        return None;
    }
    let llm = recognize::recognize(settings, request)?;
    let recording = Recording::start(&llm, &request.target)?;
    let changes = Changes::of(settings, request, &llm, &recording);
    Some((recording, changes))
}
