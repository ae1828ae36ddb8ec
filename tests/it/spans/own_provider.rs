//! Calls in the subscriber of a program that exports spans itself, with any version of everything in any order.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use botticelli_obs::{LlmCall, tracing};
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// Keeps the spans that end, and logs each.
#[derive(Clone, Debug, Default)]
struct Talkative(Arc<Mutex<Vec<SpanData>>>);

impl Talkative {
    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic").iter().map(|span| span.name.to_string()).collect()
    }
}

impl SpanProcessor for Talkative {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        tracing::error!("a span ends");
        if span.name != "export" {
            tracing::info_span!("export").in_scope(|| tracing::info!("exporting"));
            self.0.lock().expect("no panic").push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Runs with a subscriber that exports to this processor, on a thread of its own, which must come to an end.
fn with_own_provider(run: impl FnOnce(&Talkative) + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        let spans = Talkative::default();
        let provider = SdkTracerProvider::builder().with_span_processor(spans.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(Registry::default().with(layer), || run(&spans));
        let _ = done.send(());
    });
    let ended = finished.recv_timeout(Duration::from_secs(30));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    thread.join().expect("no panic");
}

#[test]
fn a_processor_that_logs_inside_the_call_does_not_deadlock() {
    with_own_provider(|spans| {
        let call = LlmCall::start("p", "m");
        let span = call.span().clone();
        span.in_scope(|| {
            call.finish();
            assert_eq!(spans.names(), ["chat m"]);
            tracing::info_span!("inner").in_scope(|| LlmCall::start("p", "n").finish());
        });
        assert!(spans.names().contains(&"chat n".to_owned()));
    });
}

#[test]
fn a_span_of_a_programs_own_provider_ends_with_its_call() {
    with_own_provider(|spans| {
        let call = LlmCall::start("p", "m");
        let held = call.span().clone();
        held.in_scope(|| tracing::info!("sending the request"));
        thread::sleep(Duration::from_millis(20));
        call.finish();
        assert_eq!(spans.names(), ["chat m"]);
        let ended = spans.0.lock().expect("no panic").remove(0);
        let lasted = ended.end_time.duration_since(ended.start_time).expect("it ends after its start");
        assert!(lasted >= Duration::from_millis(20), "{lasted:?}");
        drop(held);
        assert_eq!(spans.names(), Vec::<String>::new(), "it ends once");
    });
}

#[test]
fn behind_a_reload_layer_a_span_ends_with_its_last_handle() {
    let spans = Talkative::default();
    let provider = SdkTracerProvider::builder().with_span_processor(spans.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let (layer, _handle) = reload::Layer::new(layer);
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let call = LlmCall::start("p", "m");
        let held = call.span().clone();
        call.finish();
        assert_eq!(spans.names(), Vec::<String>::new());
        drop(held);
        assert_eq!(spans.names(), ["chat m"]);
    });
}
