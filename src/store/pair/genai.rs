//! The metrics of the GenAI conventions of one provider and model.
//!
//! They are ordinary families of the store, with bounds, exclusion and added recorders as the metrics of a program have them. A call
//! records into them beside its group of counts.

use std::collections::HashMap;
use std::sync::{RwLock, Weak};
use std::time::Duration;

use metrics::{Counter, Histogram, Recorder, SharedString};

use crate::catalog::GenAiMetrics;
use crate::catalog::{METADATA, Metric, genai};
use crate::error_type::ErrorType;
use crate::lock::unpoisoned;
use crate::operation::Operation;
use crate::provider;
use crate::store::Store;
use crate::usage::Usage;

/// The handles of one provider and model.
pub(super) struct GenAi {
    versions: Box<[GenAiMetrics]>,
    store: Weak<Store>,
    provider: SharedString,
    model: SharedString,
    histograms: Handles<Histogram>,
    counters: Handles<Counter>,
}

/// Handles by the name of their metric, the operation and the last label, where there is one.
type Handles<T> = RwLock<HashMap<(&'static str, Operation, &'static str), T>>;

/// The modality of tokens of which no more is known than their number.
const UNKNOWN: &str = "unknown";

/// What is counted when a call ends.
pub(super) struct End {
    pub(super) operation: Operation,
    pub(super) seconds: f64,
    pub(super) error: Option<ErrorType>,
    pub(super) usage: Option<Usage>,
}

impl GenAi {
    /// Creates the handles of a pair, whose names must be clean; `None` where no version is asked for.
    pub(super) fn new(versions: &[GenAiMetrics], store: &Weak<Store>, names: [&str; 2]) -> Option<Box<Self>> {
        let [provider, model] = names;
        let provider = provider::convention_name(provider).to_owned();
        (!versions.is_empty()).then(|| {
            Box::new(Self {
                versions: versions.into(),
                store: Weak::clone(store),
                provider: provider.into(),
                model: model.to_owned().into(),
                histograms: Handles::default(),
                counters: Handles::default(),
            })
        })
    }

    pub(super) fn end(&self, end: &End) {
        self.duration(end.operation, end.error, end.seconds);
        for version in &self.versions {
            match version {
                // What is not known must not be reported there.
                GenAiMetrics::V1_41 => end.usage.iter().for_each(|usage| self.usage_1_41(end.operation, usage)),
                GenAiMetrics::GenAi0_1 => self.usage_0_1(end.operation, end.error, end.usage),
            }
        }
    }

    /// Records a duration without a call.
    pub(super) fn single_duration(&self, seconds: f64) {
        self.duration(Operation::Chat, None, seconds);
    }

    /// Records tokens without a call.
    pub(super) fn single_usage(&self, usage: &Usage) {
        for version in &self.versions {
            match version {
                GenAiMetrics::V1_41 => self.usage_1_41(Operation::Chat, usage),
                GenAiMetrics::GenAi0_1 => self.usage_0_1(Operation::Chat, None, Some(*usage)),
            }
        }
    }

    pub(super) fn first_chunk(&self, operation: Operation, elapsed: Duration) {
        for version in &self.versions {
            let metric = match version {
                GenAiMetrics::V1_41 => &genai::OPERATION_FIRST_CHUNK,
                GenAiMetrics::GenAi0_1 => &genai::INFERENCE_FIRST_CHUNK,
            };
            self.sample(metric, operation, "", elapsed.as_secs_f64());
        }
    }

    pub(super) fn chunk_gap(&self, operation: Operation, gap: Duration) {
        for version in &self.versions {
            let metric = match version {
                GenAiMetrics::V1_41 => &genai::OPERATION_CHUNK_GAP,
                GenAiMetrics::GenAi0_1 => &genai::INFERENCE_CHUNK_GAP,
            };
            self.sample(metric, operation, "", gap.as_secs_f64());
        }
    }

    fn duration(&self, operation: Operation, error: Option<ErrorType>, seconds: f64) {
        let of_version = |version: &GenAiMetrics| match (version, operation) {
            (GenAiMetrics::V1_41, _) | (GenAiMetrics::GenAi0_1, Operation::Other) => &genai::OPERATION_DURATION,
            (GenAiMetrics::GenAi0_1, Operation::Embeddings) => &genai::EMBEDDINGS_DURATION,
            (GenAiMetrics::GenAi0_1, _) => &genai::INFERENCE_DURATION,
        };
        let mut metrics: Vec<&'static Metric> = self.versions.iter().map(of_version).collect();
        // Both versions may have the same one.
        metrics.dedup_by_key(|metric| metric.name);
        for metric in metrics {
            self.sample(metric, operation, class(error), seconds);
        }
    }

    fn usage_1_41(&self, operation: Operation, usage: &Usage) {
        self.sample(&genai::TOKEN_USAGE, operation, "input", usage.prompt() as f64);
        if operation != Operation::Embeddings {
            self.sample(&genai::TOKEN_USAGE, operation, "output", usage.completion() as f64);
        }
    }

    /// Without usage there is a 0, so that the series of the counters are there from the first call.
    fn usage_0_1(&self, operation: Operation, error: Option<ErrorType>, usage: Option<Usage>) {
        let usage = usage.unwrap_or_default();
        match operation {
            Operation::Other => return,
            Operation::Embeddings => {
                return self.sample(&genai::EMBEDDINGS_INPUT, operation, class(error), usage.prompt() as f64);
            }
            _ => {}
        }
        for (metric, tokens) in [
            (&genai::USAGE_INPUT, usage.prompt()),
            (&genai::USAGE_OUTPUT, usage.completion()),
            (&genai::USAGE_CACHE_READ, usage.cache_read()),
            (&genai::USAGE_CACHE_WRITE, usage.cache_write()),
            (&genai::USAGE_REASONING, usage.reasoning()),
        ] {
            self.count(metric, operation, tokens);
        }
        self.sample(&genai::INFERENCE_INPUT, operation, class(error), usage.prompt() as f64);
        self.sample(&genai::INFERENCE_OUTPUT, operation, class(error), usage.completion() as f64);
    }

    fn sample(&self, metric: &'static Metric, operation: Operation, last: &'static str, value: f64) {
        let register = |store: &Store| store.register_histogram(&self.key(metric, operation, last), &METADATA);
        if let Some(histogram) = self.handle(&self.histograms, (metric.name, operation, last), register) {
            histogram.record(value);
        }
    }

    fn count(&self, metric: &'static Metric, operation: Operation, more: u64) {
        let register = |store: &Store| store.register_counter(&self.key(metric, operation, UNKNOWN), &METADATA);
        if let Some(counter) = self.handle(&self.counters, (metric.name, operation, UNKNOWN), register) {
            counter.increment(more);
        }
    }

    /// Returns a handle, which is used with no lock held: recorders that are added may record metrics themselves.
    fn handle<T: Clone>(
        &self,
        handles: &Handles<T>,
        key: (&'static str, Operation, &'static str),
        register: impl FnOnce(&Store) -> T,
    ) -> Option<T> {
        let known = unpoisoned(handles.read()).get(&key).cloned();
        known.or_else(|| {
            let handle = register(&*self.store.upgrade()?);
            Some(unpoisoned(handles.write()).entry(key).or_insert(handle).clone())
        })
    }

    fn key(&self, metric: &Metric, operation: Operation, last: &'static str) -> metrics::Key {
        let operation = SharedString::const_str(operation.as_str());
        let (provider, model) = (self.provider.clone(), self.model.clone());
        if last.is_empty() {
            metric.key([operation, provider, model])
        } else {
            metric.key([operation, provider, model, SharedString::const_str(last)])
        }
    }
}

/// Returns the `error.type` of a call, empty without an error.
fn class(error: Option<ErrorType>) -> &'static str {
    match error {
        None => "",
        // The conventions' word for an error of no known class.
        Some(ErrorType::Unknown) => "_OTHER",
        Some(error) => error.as_str(),
    }
}
