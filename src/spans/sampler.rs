//! Which traces are exported.

use opentelemetry_sdk::trace::Sampler as SdkSampler;

use crate::word::words;

/// Which traces are exported, by the names of the OpenTelemetry specification (`OTEL_TRACES_SAMPLER`).
///
/// Ratios are from 0.0, no trace, to 1.0, every trace.
///
/// Parsed from the names in any case, and displayed as them. Both leave the ratio out, which the specification has in a variable
/// of its own, `OTEL_TRACES_SAMPLER_ARG`: parsed, it is 1.0.
///
/// ```
/// use botticelli_obs::Sampler;
///
/// assert_eq!("always_off".parse(), Ok(Sampler::AlwaysOff));
/// assert_eq!("traceidratio".parse(), Ok(Sampler::TraceIdRatio(1.0)));
/// assert_eq!(Sampler::ParentBasedTraceIdRatio(0.1).to_string(), "parentbased_traceidratio");
/// ```
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

words! {
    Sampler:
    "always_on" = AlwaysOn,
    "always_off" = AlwaysOff,
    "traceidratio" = TraceIdRatio(1.0),
    "parentbased_always_on" = ParentBasedAlwaysOn,
    "parentbased_always_off" = ParentBasedAlwaysOff,
    "parentbased_traceidratio" = ParentBasedTraceIdRatio(1.0),
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
