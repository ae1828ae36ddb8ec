//! A recorder that keeps every sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};

/// A recorder that keeps every sample of a histogram, instead of buckets.
#[derive(Clone)]
pub(super) struct SampleRecorder {
    pub(super) registry: Arc<Registry<Key, AtomicStorage>>,
}

impl SampleRecorder {
    pub(super) fn new() -> Self {
        Self { registry: Arc::new(Registry::atomic()) }
    }

    pub(super) fn find<T>(
        &self,
        handles: impl IntoIterator<Item = (Key, T)>,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Option<T> {
        let wanted: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let is_wanted = |key: &Key| {
            key.name() == name
                && key.labels().map(|label| (label.key(), label.value())).collect::<BTreeMap<_, _>>() == wanted
        };
        handles.into_iter().find_map(|(key, handle)| is_wanted(&key).then_some(handle))
    }
}

impl Recorder for SampleRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.registry.get_or_create_counter(&key.to_retained(), |counter| Counter::from_arc(Arc::clone(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.registry.get_or_create_gauge(&key.to_retained(), |gauge| Gauge::from_arc(Arc::clone(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.registry.get_or_create_histogram(&key.to_retained(), |bucket| Histogram::from_arc(Arc::clone(bucket)))
    }
}
