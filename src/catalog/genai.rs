//! The metrics of the GenAI conventions, which are beside those of this crate where they were asked for.

use super::{Metric, MetricKind, Stability};
use crate::word::words;

/// A version of OpenTelemetry's GenAI conventions, whose metrics are recorded beside those of this crate.
///
/// ```
/// use botticelli_obs::{Builder, GenAiMetrics};
///
/// let builder = Builder::new().with_genai_metrics("1.41".parse()?).with_genai_metrics(GenAiMetrics::GenAi0_1);
/// # Ok::<(), botticelli_obs::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GenAiMetrics {
    /// The semantic conventions v1.41: `gen_ai.client.operation.duration`, `gen_ai.client.token.usage` and two of streams.
    V1_41,
    /// semantic-conventions-genai 0.1.0, which renames them and counts tokens by counters: `gen_ai.client.inference.*`,
    /// `gen_ai.client.embeddings.*`.
    GenAi0_1,
}

words! { GenAiMetrics:
    "1.41" = V1_41,
    "genai-0.1" = GenAi0_1,
}

impl GenAiMetrics {
    /// Returns the metrics of this version.
    pub(crate) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::V1_41 => V1_41,
            Self::GenAi0_1 => GENAI_0_1,
        }
    }
}

/// Finds the metric of any version that has this name on the page.
#[cfg(feature = "otlp-metrics")]
pub(crate) fn of_page(name: &str) -> Option<&'static Metric> {
    V1_41.iter().chain(GENAI_0_1).find(|metric| metric.prometheus == name)
}

/// The bucket bounds that both versions recommend for durations.
const DURATIONS: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Likewise for numbers of tokens.
const TOKENS: &[f64] = &[
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
    67108864.0,
];

const CALL: &[&str] = &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"];
/// A call that succeeded has no `error.type`.
const OUTCOME: &[&str] = &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"];
const TYPE: &[&str] = &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.type"];
const MODALITY: &[&str] =
    &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.modality"];

macro_rules! metrics {
    ($($(#[doc = $description:literal])+ $id:ident: $kind:ident $name:literal = $prometheus:literal $unit:literal $labels:expr, $buckets:expr;)+) => {
        $(pub(crate) const $id: Metric = Metric {
            name: $name,
            prometheus: $prometheus,
            kind: MetricKind::$kind,
            stability: Stability::Experimental,
            unit: $unit,
            labels: $labels,
            buckets: $buckets,
            description: concat!($($description),+).trim_ascii_start(),
        };)+
    };
}

metrics! {
    /// Duration of an operation, in seconds.
    OPERATION_DURATION: Histogram "gen_ai.client.operation.duration" = "gen_ai_client_operation_duration_seconds" "s" OUTCOME, DURATIONS;
    /// Input and output tokens of an operation.
    TOKEN_USAGE: Histogram "gen_ai.client.token.usage" = "gen_ai_client_token_usage" "{token}" TYPE, TOKENS;
    /// Time from the start of a streamed operation to its first chunk, in seconds.
    OPERATION_FIRST_CHUNK: Histogram "gen_ai.client.operation.time_to_first_chunk" = "gen_ai_client_operation_time_to_first_chunk_seconds" "s" CALL, DURATIONS;
    /// Time between two chunks of a streamed operation, in seconds.
    OPERATION_CHUNK_GAP: Histogram "gen_ai.client.operation.time_per_output_chunk" = "gen_ai_client_operation_time_per_output_chunk_seconds" "s" CALL, DURATIONS;
    /// Duration of an inference, in seconds.
    INFERENCE_DURATION: Histogram "gen_ai.client.inference.duration" = "gen_ai_client_inference_duration_seconds" "s" OUTCOME, DURATIONS;
    /// Time from the start of a streamed inference to its first chunk, in seconds.
    INFERENCE_FIRST_CHUNK: Histogram "gen_ai.client.inference.time_to_first_chunk" = "gen_ai_client_inference_time_to_first_chunk_seconds" "s" CALL, DURATIONS;
    /// Time between two chunks of a streamed inference, in seconds.
    INFERENCE_CHUNK_GAP: Histogram "gen_ai.client.inference.time_per_output_chunk" = "gen_ai_client_inference_time_per_output_chunk_seconds" "s" CALL, DURATIONS;
    /// Input tokens, those read from or written to a cache included.
    USAGE_INPUT: Counter "gen_ai.client.inference.usage.input_tokens" = "gen_ai_client_inference_usage_input_tokens_total" "{token}" MODALITY, &[];
    /// Output tokens, reasoning included.
    USAGE_OUTPUT: Counter "gen_ai.client.inference.usage.output_tokens" = "gen_ai_client_inference_usage_output_tokens_total" "{token}" MODALITY, &[];
    /// Input tokens that were read from a cache; part of the input tokens.
    USAGE_CACHE_READ: Counter "gen_ai.client.inference.usage.cache_read.input_tokens" = "gen_ai_client_inference_usage_cache_read_input_tokens_total" "{token}" MODALITY, &[];
    /// Input tokens that were written to a cache; part of the input tokens.
    USAGE_CACHE_WRITE: Counter "gen_ai.client.inference.usage.cache_write.input_tokens" = "gen_ai_client_inference_usage_cache_write_input_tokens_total" "{token}" MODALITY, &[];
    /// Output tokens spent on reasoning; part of the output tokens.
    USAGE_REASONING: Counter "gen_ai.client.inference.usage.reasoning.output_tokens" = "gen_ai_client_inference_usage_reasoning_output_tokens_total" "{token}" MODALITY, &[];
    /// Input tokens of an inference.
    INFERENCE_INPUT: Histogram "gen_ai.client.inference.operation.input_tokens" = "gen_ai_client_inference_operation_input_tokens" "{token}" OUTCOME, TOKENS;
    /// Output tokens of an inference.
    INFERENCE_OUTPUT: Histogram "gen_ai.client.inference.operation.output_tokens" = "gen_ai_client_inference_operation_output_tokens" "{token}" OUTCOME, TOKENS;
    /// Duration of a request for embeddings, in seconds.
    EMBEDDINGS_DURATION: Histogram "gen_ai.client.embeddings.duration" = "gen_ai_client_embeddings_duration_seconds" "s" OUTCOME, DURATIONS;
    /// Input tokens of a request for embeddings.
    EMBEDDINGS_INPUT: Histogram "gen_ai.client.embeddings.operation.input_tokens" = "gen_ai_client_embeddings_operation_input_tokens" "{token}" OUTCOME, TOKENS;
}

const V1_41: &[Metric] = &[OPERATION_DURATION, TOKEN_USAGE, OPERATION_FIRST_CHUNK, OPERATION_CHUNK_GAP];

const GENAI_0_1: &[Metric] = &[
    INFERENCE_DURATION,
    INFERENCE_FIRST_CHUNK,
    INFERENCE_CHUNK_GAP,
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_CACHE_READ,
    USAGE_CACHE_WRITE,
    USAGE_REASONING,
    INFERENCE_INPUT,
    INFERENCE_OUTPUT,
    EMBEDDINGS_DURATION,
    EMBEDDINGS_INPUT,
    // Of operations that are neither.
    OPERATION_DURATION,
];
