//! Trace backends made for a test, which do what real ones do on their worst days.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

use super::tls::{Certificate, TlsListener};

/// Why items are rejected.
const REASON: &str = "too old";

/// What a peer does with an export.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Takes,
    TakesAfter(Duration),
    Refuses(Code),
    /// Refuses in these words.
    RefusesSaying(Code, &'static str),
    /// Refuses, and asks to be left alone for so many seconds; with status 429 by HTTP.
    Throttles(u64),
    /// Takes the export but so many of its spans or data points.
    Rejects(i64),
    NeverAnswers,
}

/// What a peer has received.
#[derive(Clone, Debug)]
pub struct Received {
    mood: Mood,
    /// How many exports of spans have come, whatever became of them.
    pub tries: usize,
    pub spans: Vec<Span>,
    /// Each export of metrics.
    pub metrics: Vec<ExportMetricsServiceRequest>,
    /// The size of each export.
    pub batches: Vec<usize>,
    /// The headers of the last export, lower-case.
    pub headers: BTreeMap<String, String>,
}

impl Received {
    fn note(&mut self, headers: &HeaderMap) {
        let headers =
            headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        self.headers = headers.collect();
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
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
    retry_delay: Option<Pause>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Pause {
    #[prost(uint64, tag = "1")]
    seconds: u64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Received>>);

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Received> {
        self.0.lock().expect("no test panics with this lock")
    }

    /// Does with an export what the mood says; returns how many of its items are rejected, if any.
    async fn admit(&self) -> Result<Option<i64>, Code> {
        let mood = self.lock().mood;
        match mood {
            Mood::Takes => {}
            Mood::Rejects(items) => return Ok(Some(items)),
            Mood::TakesAfter(delay) => tokio::time::sleep(delay).await,
            Mood::Refuses(code) | Mood::RefusesSaying(code, _) => return Err(code),
            Mood::Throttles(_) => return Err(Code::ResourceExhausted),
            Mood::NeverAnswers => std::future::pending().await,
        }
        Ok(None)
    }

    /// What a refusal says.
    fn words(&self) -> &'static str {
        if let Mood::RefusesSaying(_, words) = self.lock().mood { words } else { "refused" }
    }

    /// A refusal by gRPC, with the pause that is asked for.
    fn status(&self, code: Code) -> Status {
        let Mood::Throttles(seconds) = self.lock().mood else { return Status::new(code, self.words()) };
        let pause = RetryInfo { retry_delay: Some(Pause { seconds, nanos: 0 }) };
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Detail { type_url, value: pause.encode_to_vec() }];
        let details = RpcStatus { code: code as i32, message: String::new(), details }.encode_to_vec();
        Status::with_details(code, self.words(), details.into())
    }

    async fn take(
        &self,
        request: ExportTraceServiceRequest,
        headers: &HeaderMap,
    ) -> Result<ExportTraceServiceResponse, Code> {
        self.lock().tries += 1;
        let rejected = self.admit().await?;
        let spans = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        let spans: Vec<Span> = spans.flat_map(|spans| spans.spans).collect();
        let mut received = self.lock();
        received.batches.push(spans.len());
        received.spans.extend(spans);
        received.note(headers);
        let partial_success = rejected
            .map(|rejected_spans| ExportTracePartialSuccess { rejected_spans, error_message: REASON.to_owned() });
        Ok(ExportTraceServiceResponse { partial_success })
    }

    async fn take_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        headers: &HeaderMap,
    ) -> Result<ExportMetricsServiceResponse, Code> {
        let rejected = self.admit().await?;
        let mut received = self.lock();
        received.metrics.push(request);
        received.note(headers);
        let partial_success = rejected.map(|rejected_data_points| ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message: REASON.to_owned(),
        });
        Ok(ExportMetricsServiceResponse { partial_success })
    }
}

/// A running peer; it ends when it is dropped.
#[derive(Debug)]
pub struct Peer {
    _runtime: Runtime,
    shared: Shared,
    pub addr: SocketAddr,
}

impl Peer {
    /// Starts a peer of OTLP/gRPC.
    pub fn grpc(mood: Mood) -> Self {
        Self::grpc_on(SocketAddr::from(([127, 0, 0, 1], 0)), mood)
    }

    pub fn grpc_on(addr: SocketAddr, mood: Mood) -> Self {
        Self::start_grpc(addr, mood, None)
    }

    pub fn grpc_tls(certificate: &Certificate) -> Self {
        Self::start_grpc(SocketAddr::from(([127, 0, 0, 1], 0)), Mood::Takes, Some((certificate, None)))
    }

    /// Demands a certificate of its clients.
    pub fn grpc_mutual_tls(certificate: &Certificate, client: &Certificate) -> Self {
        Self::start_grpc(SocketAddr::from(([127, 0, 0, 1], 0)), Mood::Takes, Some((certificate, Some(client))))
    }

    fn start_grpc(addr: SocketAddr, mood: Mood, tls: Option<(&Certificate, Option<&Certificate>)>) -> Self {
        let (runtime, shared, listener) = parts(addr, mood);
        let addr = listener.local_addr().expect("it is bound");
        let mut server = Server::builder();
        // The child needs no peer, and must not get the provider that tonic's server takes from the process.
        if let Some((certificate, client)) = tls.filter(|_| !super::in_scenario()) {
            let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
            let identity = Identity::from_pem(&certificate.certificate, &certificate.key);
            let tls = ServerTlsConfig::new().identity(identity);
            let tls = match client {
                Some(client) => tls.client_ca_root(tonic::transport::Certificate::from_pem(&client.certificate)),
                None => tls,
            };
            server = server.tls_config(tls).expect("the certificate is valid");
        }
        let traces = TraceServiceServer::new(shared.clone()).accept_compressed(CompressionEncoding::Gzip);
        let metrics = MetricsServiceServer::new(shared.clone()).accept_compressed(CompressionEncoding::Gzip);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        runtime.spawn(server.add_service(traces).add_service(metrics).serve_with_incoming(incoming));
        Self { _runtime: runtime, shared, addr }
    }

    /// Starts a peer of OTLP/HTTP.
    pub fn http(mood: Mood) -> Self {
        Self::http_on(SocketAddr::from(([127, 0, 0, 1], 0)), mood)
    }

    pub fn http_on(addr: SocketAddr, mood: Mood) -> Self {
        let (runtime, shared, listener) = parts(addr, mood);
        let addr = listener.local_addr().expect("it is bound");
        let router = router(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { _runtime: runtime, shared, addr }
    }

    pub fn http_tls(certificate: &Certificate) -> Self {
        Self::start_http_tls(certificate, None)
    }

    /// Demands a certificate of its clients.
    pub fn http_mutual_tls(certificate: &Certificate, client: &Certificate) -> Self {
        Self::start_http_tls(certificate, Some(client))
    }

    fn start_http_tls(certificate: &Certificate, client: Option<&Certificate>) -> Self {
        let (runtime, shared, listener) = parts(SocketAddr::from(([127, 0, 0, 1], 0)), Mood::Takes);
        let addr = listener.local_addr().expect("it is bound");
        let listener = TlsListener::new(listener, certificate, client);
        let router = router(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { _runtime: runtime, shared, addr }
    }

    /// Changes what it does with the next exports.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    pub fn received(&self) -> Received {
        self.shared.lock().clone()
    }
}

fn parts(addr: SocketAddr, mood: Mood) -> (Runtime, Shared, TcpListener) {
    let runtime = Runtime::new().expect("a runtime can be had");
    let received = Received {
        mood,
        tries: 0,
        spans: Vec::new(),
        metrics: Vec::new(),
        batches: Vec::new(),
        headers: BTreeMap::new(),
    };
    let shared = Shared(Arc::new(Mutex::new(received)));
    let listener = runtime.block_on(TcpListener::bind(addr)).expect("the address is free");
    (runtime, shared, listener)
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        match self.take(request.into_inner(), &headers).await {
            Ok(response) => Ok(Response::new(response)),
            Err(code) => Err(self.status(code)),
        }
    }
}

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        match self.take_metrics(request.into_inner(), &headers).await {
            Ok(response) => Ok(Response::new(response)),
            Err(code) => Err(Status::new(code, "refused")),
        }
    }
}

fn router(shared: Shared) -> Router {
    async fn export(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
        let seconds = if let Mood::Throttles(seconds) = shared.lock().mood { Some(seconds) } else { None };
        let retry_after = seconds.map(|seconds| [("retry-after", seconds.to_string())]);
        (retry_after.map(AppendHeaders), take(shared, headers, body).await)
    }
    async fn take(shared: Shared, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, impl IntoResponse> {
        let decoded = decode(&headers, &body).map_err(|_| Code::InvalidArgument);
        let taken = match decoded {
            Ok(request) => shared.take(request, &headers).await,
            Err(code) => Err(code),
        };
        taken.map(|response| response.encode_to_vec()).map_err(|code| {
            let refusal = RpcStatus { code: code as i32, message: shared.words().to_owned(), details: Vec::new() };
            (status(code), [("content-type", "application/x-protobuf")], refusal.encode_to_vec())
        })
    }
    async fn export_metrics(
        State(shared): State<Shared>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Vec<u8>, StatusCode> {
        let taken = shared.take_metrics(decode(&headers, &body)?, &headers).await;
        taken.map(|response| response.encode_to_vec()).map_err(status)
    }
    fn decode<T: Message + Default>(headers: &HeaderMap, body: &Bytes) -> Result<T, StatusCode> {
        let mut bytes = Vec::new();
        let read = match headers.get("content-encoding") {
            Some(_) => GzDecoder::new(&body[..]).read_to_end(&mut bytes),
            None => (&body[..]).read_to_end(&mut bytes),
        };
        read.map_err(|_| StatusCode::BAD_REQUEST)?;
        T::decode(&bytes[..]).map_err(|_| StatusCode::BAD_REQUEST)
    }
    fn status(code: Code) -> StatusCode {
        match code {
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        }
    }
    Router::new().route("/v1/traces", post(export)).route("/v1/metrics", post(export_metrics)).with_state(shared)
}
