//! Which traces are exported.

use opentelemetry_sdk::trace::Sampler as SdkSampler;

/// Which traces are exported, by the names of the OpenTelemetry specification (`OTEL_TRACES_SAMPLER`).
///
/// Ratios are from 0.0, no trace, to 1.0, every trace.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampler {
    /// `always_on`: every trace.
    AlwaysOn,
    /// `always_off`: none.
    AlwaysOff,
    /// `traceidratio`: this share of the traces.
    TraceIdRatio(f64),
    /// `parentbased_always_on`, the default: as the caller decided, else every trace.
    ParentBasedAlwaysOn,
    /// `parentbased_always_off`: as the caller decided, else none.
    ParentBasedAlwaysOff,
    /// `parentbased_traceidratio`: as the caller decided, else this share of the traces.
    ParentBasedTraceIdRatio(f64),
}

impl Sampler {
    pub(super) fn to_sdk(self) -> SdkSampler {
        let based = |root| SdkSampler::ParentBased(Box::new(root));
        match self {
            Self::AlwaysOn => SdkSampler::AlwaysOn,
            Self::AlwaysOff => SdkSampler::AlwaysOff,
            Self::TraceIdRatio(ratio) => SdkSampler::TraceIdRatioBased(ratio),
            Self::ParentBasedAlwaysOn => based(SdkSampler::AlwaysOn),
            Self::ParentBasedAlwaysOff => based(SdkSampler::AlwaysOff),
            Self::ParentBasedTraceIdRatio(ratio) => based(SdkSampler::TraceIdRatioBased(ratio)),
        }
    }
}
