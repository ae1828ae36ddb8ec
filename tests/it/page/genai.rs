//! The metrics of the GenAI conventions on the page.

use std::collections::BTreeSet;

use botticelli_obs::{Builder, GenAiMetrics, LlmCall, Usage, histogram, llm_request, metrics};

use crate::support::conventions::{Convention, VERSIONS, every_kind_of_call, metrics_of};
use crate::support::page::Page;

fn page_of(builder: Builder, record: impl FnOnce()) -> Page {
    let (recorder, page) = builder.recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn page(version: GenAiMetrics) -> Page {
    page_of(Builder::new().with_genai_metrics(version), every_kind_of_call)
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

/// The name that Prometheus gives a metric of OpenTelemetry.
fn family(metric: &Convention) -> String {
    let unit = if metric.unit == "s" { "_seconds" } else { "" };
    let total = if metric.instrument == "counter" { "_total" } else { "" };
    format!("{}{unit}{total}", underscored(&metric.name))
}

fn families(page: &Page) -> BTreeSet<&str> {
    page.types.keys().map(String::as_str).filter(|name| name.starts_with("gen_ai_")).collect()
}

#[test]
fn a_page_has_every_metric_of_a_version_and_no_more() {
    for version in VERSIONS {
        let (page, registry) = (page(version), metrics_of(version));
        let names: Vec<String> = registry.iter().map(family).collect();
        assert_eq!(families(&page), names.iter().map(String::as_str).collect(), "{version}");
        for metric in &registry {
            let name = family(metric);
            assert_eq!(page.types[&name], metric.instrument, "{name}");
            let suffix = if metric.instrument == "histogram" { "_count" } else { "" };
            let samples = page.of(&format!("{name}{suffix}"));
            assert!(!samples.is_empty(), "{name} has no samples");
            for (labels, _) in samples {
                metric.check_attributes(labels.keys().map(String::as_str), underscored);
            }
        }
    }
}

#[test]
fn histograms_have_the_buckets_of_the_conventions() {
    for version in VERSIONS {
        let page = page(version);
        for metric in metrics_of(version).iter().filter(|metric| metric.instrument == "histogram") {
            let buckets = page.of(&format!("{}_bucket", family(metric)));
            let bounds: BTreeSet<&str> = buckets.iter().map(|(labels, _)| labels["le"].as_str()).collect();
            let expected: Vec<String> = metric.buckets.iter().map(f64::to_string).chain(["+Inf".to_owned()]).collect();
            assert_eq!(bounds, expected.iter().map(String::as_str).collect(), "{}", metric.name);
        }
    }
}

const GEMINI: [(&str, &str); 2] =
    [("gen_ai_provider_name", "gcp.gemini"), ("gen_ai_request_model", "gemini-2.5-flash")];

fn of<'a>(operation: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&GEMINI[..], &[("gen_ai_operation_name", operation)], more].concat()
}

#[test]
fn the_values_of_1_41_are_those_of_the_calls() {
    let page = page(GenAiMetrics::V1_41);
    let duration = "gen_ai_client_operation_duration_seconds";
    let count = format!("{duration}_count");
    assert_eq!(page.value(&count, &of("generate_content", &[])), 1.0);
    assert_eq!(page.value(&count, &of("chat", &[])), 1.0);
    assert_eq!(page.value(&count, &of("chat", &[("error_type", "rate_limit")])), 1.0);
    assert_eq!(page.value(&count, &of("chat", &[("error_type", "_OTHER")])), 1.0);
    // One that is recorded without a call is a duration of its own.
    assert_eq!(page.sum(&count), page.sum("llm_duration_count"));
    assert!((page.sum(&format!("{duration}_sum")) - page.sum("llm_duration_sum")).abs() < 1e-9);
    let other = [
        ("gen_ai_provider_name", "cohere"),
        ("gen_ai_request_model", "rerank-v3.5"),
        ("gen_ai_operation_name", "other"),
    ];
    assert_eq!(page.value(&count, &other), 1.0);

    let usage = |suffix: &str, operation, kind| {
        page.value(&format!("gen_ai_client_token_usage_{suffix}"), &of(operation, &[("gen_ai_token_type", kind)]))
    };
    assert_eq!((usage("sum", "generate_content", "input"), usage("count", "generate_content", "input")), (1200.0, 1.0));
    assert_eq!((usage("sum", "generate_content", "output"), usage("sum", "chat", "output")), (300.0, 30.0));
    // Failed calls have told no usage.
    assert_eq!(usage("count", "chat", "input"), 1.0);
    assert_eq!(page.sum("gen_ai_client_token_usage_sum"), page.sum("llm_tokens_total"));

    let first_chunk = "gen_ai_client_operation_time_to_first_chunk_seconds_count";
    assert_eq!(page.value(first_chunk, &of("chat", &[])), 1.0);
    assert_eq!(page.value("gen_ai_client_operation_time_per_output_chunk_seconds_count", &of("chat", &[])), 2.0);
}

#[test]
fn the_values_of_genai_0_1_are_those_of_the_calls() {
    let page = page(GenAiMetrics::GenAi0_1);
    let inference =
        |name: &str, labels: &[(&str, &str)]| page.value(&format!("gen_ai_client_inference_{name}"), labels);
    assert_eq!(inference("duration_seconds_count", &of("generate_content", &[])), 1.0);
    assert_eq!(inference("duration_seconds_count", &of("chat", &[("error_type", "rate_limit")])), 1.0);
    let unknown = [("gen_ai_token_modality", "unknown")];
    for (name, tokens) in [
        ("input_tokens", 1200.0),
        ("output_tokens", 300.0),
        ("cache_read_input_tokens", 1000.0),
        ("cache_write_input_tokens", 7.0),
        ("reasoning_output_tokens", 120.0),
    ] {
        assert_eq!(inference(&format!("usage_{name}_total"), &of("generate_content", &unknown)), tokens, "{name}");
    }
    assert_eq!(inference("usage_input_tokens_total", &of("chat", &unknown)), 12.0);
    // Each call has a sample, also one that told nothing.
    assert_eq!(inference("operation_input_tokens_count", &of("chat", &[])), 1.0);
    assert_eq!(inference("operation_input_tokens_sum", &of("chat", &[("error_type", "rate_limit")])), 0.0);
    assert_eq!(inference("operation_input_tokens_count", &of("chat", &[("error_type", "rate_limit")])), 1.0);
    assert_eq!(inference("time_to_first_chunk_seconds_count", &of("chat", &[])), 1.0);

    let embeddings = [
        ("gen_ai_provider_name", "gcp.gemini"),
        ("gen_ai_request_model", "gemini-embedding-001"),
        ("gen_ai_operation_name", "embeddings"),
    ];
    assert_eq!(page.value("gen_ai_client_embeddings_duration_seconds_count", &embeddings), 1.0);
    assert_eq!(page.value("gen_ai_client_embeddings_operation_input_tokens_sum", &embeddings), 50.0);
    assert_eq!(page.sum("gen_ai_client_operation_duration_seconds_count"), 1.0, "what is neither");
}

#[test]
fn both_versions_together_count_each_call_once() {
    let both = Builder::new().with_genai_metrics(GenAiMetrics::V1_41).with_genai_metrics(GenAiMetrics::GenAi0_1);
    let page = page_of(both, || LlmCall::builder("cohere", "rerank-v3.5").with_operation("rerank").start().finish());
    assert_eq!(page.sum("gen_ai_client_operation_duration_seconds_count"), 1.0);
    let page = page_of(Builder::new().with_genai_metrics(GenAiMetrics::GenAi0_1), || {
        llm_request!("ollama", "llama3.2", duration: 0.5, prompt: 3, completion: 4);
    });
    assert_eq!(page.sum("gen_ai_client_inference_duration_seconds_count"), 1.0);
    assert_eq!(page.sum("gen_ai_client_inference_usage_output_tokens_total"), 4.0);
}

#[test]
fn without_a_word_there_are_none() {
    assert!(families(&page_of(Builder::new(), every_kind_of_call)).is_empty());
}

#[test]
fn they_can_be_excluded_and_have_other_buckets() {
    let builder = Builder::new()
        .with_genai_metrics(GenAiMetrics::V1_41)
        .without_metrics("gen_ai.client.token.*")
        .with_buckets("gen_ai.client.operation.duration", [1.0, 600.0]);
    let page = page_of(builder, || {
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(1, 2));
        call.finish();
    });
    assert_eq!(families(&page), BTreeSet::from(["gen_ai_client_operation_duration_seconds"]));
    assert_eq!(page.of("gen_ai_client_operation_duration_seconds_bucket").len(), 3);
}

#[test]
fn a_library_that_records_them_too_has_series_in_the_same_family() {
    let page = page_of(Builder::new().with_genai_metrics(GenAiMetrics::V1_41), || {
        histogram!("gen_ai.client.operation.duration", "gen_ai.operation.name" => "chat", "gen_ai.provider.name" => "groq")
            .record(0.5);
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
    });
    assert_eq!(page.of("gen_ai_client_operation_duration_seconds_count").len(), 2);
}

#[test]
fn models_beyond_the_bound_are_counted_as_other() {
    let builder = Builder::new().with_genai_metrics(GenAiMetrics::V1_41).with_max_series(2);
    let page = page_of(builder, || {
        for model in 0..50 {
            LlmCall::start("gemini", format!("model-{model}")).finish();
        }
    });
    let counts = page.of("gen_ai_client_operation_duration_seconds_count");
    assert_eq!(counts.len(), 3);
    let other = counts.iter().find(|(labels, _)| labels["gen_ai_request_model"] == "other").expect("it is there");
    assert_eq!((other.0["gen_ai_provider_name"].as_str(), other.1), ("gcp.gemini", 48.0));
}
