//! The span of a call as the subscriber sees it: what is known at the start is there at the start, for samplers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use botticelli_obs::{Builder, ErrorType, Layer, LlmCall, Registry, Usage, tracing};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::Context;

use crate::support::page::Page;

/// Fields and values, with their types, of the last span: at its start, and recorded later.
#[derive(Clone, Default)]
struct Seen {
    start: Arc<Mutex<BTreeMap<&'static str, String>>>,
    later: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

struct Keep<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Keep<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), format!("i64 {value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), format!("f64 {value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), format!("bool {value}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        assert_eq!(*attributes.metadata().level(), tracing::Level::INFO);
        attributes.record(&mut Keep(&mut self.start.lock().expect("no panic")));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Keep(&mut self.later.lock().expect("no panic")));
    }
}

/// Returns what the span of this call had at its start, and what it got later.
fn span_of(call: impl FnOnce()) -> [BTreeMap<&'static str, String>; 2] {
    let seen = Seen::default();
    tracing::subscriber::with_default(seen.clone().with_subscriber(Registry::default()), call);
    [seen.start, seen.later].map(|fields| fields.lock().expect("no panic").clone())
}

fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

#[test]
fn what_is_known_at_the_start_is_there_at_the_start_and_no_more() {
    let [start, _] = span_of(|| LlmCall::start("gemini", "gemini-2.5-flash").finish());
    let least = [
        ("otel.name", "chat gemini-2.5-flash"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "gcp.gemini"),
        ("gen_ai.request.model", "gemini-2.5-flash"),
    ];
    assert_eq!(start, fields(least));
    let [start, _] = span_of(|| {
        let call =
            LlmCall::builder("ollama", "all-minilm").with_operation("embeddings").with_server("localhost", 11434);
        call.with_max_tokens(256).with_temperature(0.5).with_top_p(0.9).with_streaming().start().finish();
    });
    let most = [
        ("otel.name", "embeddings all-minilm"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "embeddings"),
        ("gen_ai.provider.name", "ollama"),
        ("gen_ai.request.model", "all-minilm"),
        ("gen_ai.request.max_tokens", "i64 256"),
        ("gen_ai.request.temperature", "f64 0.5"),
        ("gen_ai.request.top_p", "f64 0.9"),
        ("gen_ai.request.stream", "bool true"),
        ("server.address", "localhost"),
        ("server.port", "i64 11434"),
    ];
    assert_eq!(start, fields(most));
}

#[test]
fn what_is_learnt_is_recorded_at_the_end() {
    let [_, later] = span_of(|| {
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(12, 30).with_cache_read(10).with_cache_write(1).with_reasoning(5));
        call.record_response_model("gemini-2.5-flash-001");
        call.record_response_id("r1");
        call.finish();
    });
    let learnt = [
        ("gen_ai.usage.input_tokens", "i64 12"),
        ("gen_ai.usage.output_tokens", "i64 30"),
        ("gen_ai.usage.cache_read.input_tokens", "i64 10"),
        ("gen_ai.usage.cache_creation.input_tokens", "i64 1"),
        ("gen_ai.usage.reasoning.output_tokens", "i64 5"),
        ("gen_ai.response.model", "gemini-2.5-flash-001"),
        ("gen_ai.response.id", "r1"),
    ];
    assert_eq!(later, fields(learnt));
    let [_, later] = span_of(|| LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Timeout));
    assert_eq!(later, fields([("error.type", "timeout"), ("otel.status_code", "ERROR")]));
}

#[test]
fn time_to_the_first_chunk_is_recorded_when_it_comes() {
    let [_, later] = span_of(|| {
        let mut call = LlmCall::builder("gemini", "gemini-2.5-flash").with_streaming().start();
        call.record_chunk();
        call.record_chunk();
        call.finish();
    });
    let first_chunk = &later["gen_ai.response.time_to_first_chunk"];
    let seconds = first_chunk.strip_prefix("f64 ").unwrap_or_else(|| panic!("{first_chunk}"));
    assert!((0.0..60.0).contains(&seconds.parse::<f64>().expect("a number")), "{seconds}");
}

#[test]
fn names_are_as_clean_and_short_as_labels() {
    let name = |operation: &str, model: &str| {
        let [start, _] = span_of(|| LlmCall::builder("p", model).with_operation(operation).start().finish());
        start["otel.name"].clone()
    };
    assert_eq!(name("chat", ""), "chat");
    assert_eq!(name("chat", " \n"), "chat");
    assert_eq!(name("", "m"), "m");
    assert_eq!(name("chat", "models/gemini-2.5-flash"), "chat gemini-2.5-flash");
    assert_eq!(name("chat", " a\nb\"c\\\u{1b}[31m"), "chat a_b'c/_[31m");
    assert_eq!(name("chat", &"ä".repeat(1 << 20)), format!("chat {}", "ä".repeat(64)));
    assert!(name(&"x".repeat(1 << 20), "m").len() < 140);
}

/// A layer that panics at one point of a span's life.
struct Panics(&'static str);

impl Panics {
    fn at(&self, point: &str) {
        if self.0 == point {
            // Without a message.
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Panics {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.at("new");
    }
    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        self.at("record");
    }
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.at("enter");
    }
    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.at("exit");
    }
    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.at("close");
    }
}

#[test]
fn a_layer_that_panics_harms_no_call() {
    for point in ["new", "record", "enter", "exit", "close"] {
        let (recorder, handle) = Builder::new().recorder().expect("there is nothing to refuse");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tracing::subscriber::with_default(Panics(point).with_subscriber(Registry::default()), || {
                metrics::with_local_recorder(&recorder, || {
                    let mut call = LlmCall::start("p", "m");
                    call.record_chunk();
                    call.record_usage(Usage::new(1, 2));
                    call.observe_sync(|| LlmCall::start("p", "n").fail(ErrorType::Auth));
                    drop(LlmCall::start("p", "m"));
                });
            });
        }));
        assert!(panicked.is_ok(), "{point}");
        let page = Page::parse(&handle.render());
        for (model, requests, errors) in [("m", 2.0, 1.0), ("n", 1.0, 1.0)] {
            let labels = [("provider", "p"), ("model", model)];
            assert_eq!(page.value("llm_requests_total", &labels), requests, "{point}");
            assert_eq!(page.value("llm_in_flight", &labels), 0.0, "{point}");
            let of_all: f64 =
                page.of("llm_errors_total").iter().filter(|(of, _)| of["model"] == model).map(|(_, value)| value).sum();
            assert_eq!(of_all, errors, "{point}");
        }
    }
}

#[test]
fn providers_have_the_names_of_the_conventions() {
    for (provider, name) in [
        ("gemini", "gcp.gemini"),
        ("vertex", "gcp.vertex_ai"),
        ("bedrock", "aws.bedrock"),
        ("azure_openai", "azure.ai.openai"),
        ("mistral", "mistral_ai"),
        ("grok", "x_ai"),
        ("watsonx", "ibm.watsonx.ai"),
        ("openai", "openai"),
        ("anthropic", "anthropic"),
        ("groq", "groq"),
        ("ollama", "ollama"),
        ("gcp.gemini", "gcp.gemini"),
    ] {
        let [start, _] = span_of(|| LlmCall::start(provider, "m").finish());
        assert_eq!(start["gen_ai.provider.name"], name);
    }
}
