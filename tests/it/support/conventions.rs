//! What the GenAI conventions say of their metrics, from `tests/fixtures/conventions`.

use std::collections::BTreeSet;
use std::time::Duration;

use botticelli_obs::{ErrorType, GenAiMetrics, LlmCall, Usage, llm_tokens};
use serde::Deserialize;

/// A metric of the conventions.
#[derive(Debug, Deserialize)]
pub struct Convention {
    pub name: String,
    pub instrument: String,
    pub unit: String,
    /// Attributes that every sample has.
    pub required: BTreeSet<String>,
    /// Attributes that it may have.
    pub optional: BTreeSet<String>,
    pub buckets: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Registry {
    version: String,
    metrics: Vec<Convention>,
}

/// The versions that the crate knows.
pub const VERSIONS: [GenAiMetrics; 2] = [GenAiMetrics::V1_41, GenAiMetrics::GenAi0_1];

/// Reads the client metrics of a version.
pub fn metrics_of(version: GenAiMetrics) -> Vec<Convention> {
    let text = match version {
        GenAiMetrics::V1_41 => include_str!("../../fixtures/conventions/1.41.json"),
        GenAiMetrics::GenAi0_1 => include_str!("../../fixtures/conventions/genai-0.1.json"),
        other => panic!("no registry of {other}"),
    };
    let registry: Registry = serde_json::from_str(text).expect("it is a registry");
    assert_eq!(registry.version, version.to_string());
    registry.metrics
}

impl Convention {
    /// Checks that a sample has all attributes that it must have, the model, and none that it may not have. `spelt` makes the names of
    /// attributes those of the sample.
    pub fn check_attributes<'a>(&self, found: impl IntoIterator<Item = &'a str>, spelt: impl Fn(&str) -> String) {
        let found: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
        let required: BTreeSet<String> =
            self.required.iter().map(String::as_str).chain(["gen_ai.request.model"]).map(&spelt).collect();
        let allowed: BTreeSet<String> = self.required.iter().chain(&self.optional).map(|name| spelt(name)).collect();
        assert!(found.is_superset(&required), "{}: {found:?} lacks some of {required:?}", self.name);
        assert!(found.is_subset(&allowed), "{}: {found:?} has more than {allowed:?}", self.name);
    }
}

/// Calls of every kind, so that each metric of the conventions has samples.
pub fn every_kind_of_call() {
    let mut call = LlmCall::builder("gemini", "gemini-2.5-flash").with_operation("generate_content").start();
    call.record_usage(Usage::new(1200, 300).with_cache_read(1000).with_cache_write(7).with_reasoning(120));
    call.finish();
    LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
    LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Unknown);
    let mut stream = LlmCall::builder("gemini", "gemini-2.5-flash").with_streaming().start();
    for _ in 0..3 {
        stream.record_chunk();
    }
    stream.record_usage(Usage::new(12, 30));
    stream.finish();
    let mut vectors = LlmCall::builder("gemini", "gemini-embedding-001").with_operation("embeddings").start();
    vectors.record_usage(Usage::new(50, 0));
    vectors.finish();
    LlmCall::builder("cohere", "rerank-v3.5").with_operation("rerank").start().finish();
    // Without a call.
    llm_tokens!("ollama", "llama3.2", prompt: 3, completion: 4);
    botticelli_obs::llm_duration!("ollama", "llama3.2", Duration::from_millis(100));
}
