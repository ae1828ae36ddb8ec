//! The channel and the metadata of OTLP/gRPC.

#[cfg(feature = "otlp-metrics")]
pub(crate) use answers::Answers;

use std::io;

#[cfg(feature = "otlp-metrics")]
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::connect::Connector;
use super::{CONNECT_TIMEOUT, Config};

/// Creates a channel that connects on first use.
///
/// Its tasks run on the current tokio runtime; without one this panics.
///
/// # Errors
///
/// When a certificate can't be used, or the system has no root certificates.
pub(crate) fn channel(config: &Config) -> io::Result<Channel> {
    let connector = Connector::new(config.proxy.clone());
    let (endpoint, connector) = encrypted(config, connector)?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(config.timeout).connect_with_connector_lazy(connector))
}

/// Adds TLS for an `https://` endpoint. It belongs to the connector, so `tonic` gets a URL for which it does not encrypt itself, and the
/// URL that its requests name.
#[cfg(feature = "otlp-tls")]
fn encrypted(config: &Config, connector: Connector) -> io::Result<(Endpoint, Connector)> {
    let Some(tls) = super::tls::Tls::of(config)? else { return Ok((endpoint(&config.endpoint)?, connector)) };
    let origin = config.endpoint.parse().map_err(io::Error::other)?;
    let plain = config.endpoint.replacen("https:", "http:", 1);
    Ok((endpoint(&plain)?.origin(origin), connector.with_tls(tls)))
}

#[cfg(not(feature = "otlp-tls"))]
fn encrypted(config: &Config, connector: Connector) -> io::Result<(Endpoint, Connector)> {
    Ok((endpoint(&config.endpoint)?, connector))
}

fn endpoint(url: &str) -> io::Result<Endpoint> {
    Endpoint::from_shared(url.to_owned()).map_err(io::Error::other)
}

/// Returns the headers as gRPC metadata.
///
/// # Errors
///
/// When a name or value is no valid header.
#[cfg(feature = "otlp-metrics")]
pub(crate) fn metadata(config: &Config) -> io::Result<MetadataMap> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &config.headers {
        let name: http::HeaderName = name.parse().map_err(io::Error::other)?;
        headers.append(name, value.parse().map_err(io::Error::other)?);
    }
    Ok(MetadataMap::from_headers(headers))
}

/// Whether a server of gRPC says that a message is too large. They have no code of its own for it.
pub(crate) fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "too large", "exceeds maximum", "max message size"].iter().any(|words| message.contains(words))
}

#[cfg(feature = "otlp-metrics")]
mod answers {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::{Request, Response};
    use http_body_util::BodyExt;
    use tonic::body::Body;
    use tonic::transport::{Channel, Error};
    use tower_service::Service;

    /// A channel whose answers have no details of their status. The clients of tonic 0.14 panic if the details are no base64.
    #[derive(Clone, Debug)]
    pub(crate) struct Answers(pub(crate) Channel);

    const DETAILS: &str = "grpc-status-details-bin";

    impl Service<Request<Body>> for Answers {
        type Response = Response<Body>;
        type Error = Error;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Service::poll_ready(&mut self.0, cx)
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let answer = Service::call(&mut self.0, request);
            Box::pin(async move {
                let mut answer = answer.await?;
                answer.headers_mut().remove(DETAILS);
                Ok(answer.map(|body| {
                    Body::new(body.map_frame(|mut frame| {
                        if let Some(trailers) = frame.trailers_mut() {
                            trailers.remove(DETAILS);
                        }
                        frame
                    }))
                }))
            })
        }
    }
}
