//! The sampler: which traces are exported.

use opentelemetry_sdk::trace::Sampler as SdkSampler;

use crate::word::words;

/// Selects the traces to export. The names are those of `OTEL_TRACES_SAMPLER` in the [OpenTelemetry specification].
///
/// A ratio is the share of the traces to export: from 0.0 (none) to 1.0 (all). Ratios beyond are an error of `install`. The
/// `parentbased_*` samplers apply only to traces that begin in this process; for others they follow the decision of the caller,
/// which comes with the trace context.
///
/// ```
/// use botticelli_obs::{Builder, Sampler};
///
/// let builder = Builder::new().with_sampler(Sampler::ParentBasedTraceIdRatio(0.1)); // a tenth of the traces
/// assert_eq!("always_off".parse(), Ok(Sampler::AlwaysOff));
/// ```
///
/// Parsed from the names in any case. The ratio is 1.0 then: the specification has it in a variable of its own,
/// `OTEL_TRACES_SAMPLER_ARG`.
///
/// [OpenTelemetry specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampler {
    /// `always_on`: all traces.
    AlwaysOn,
    /// `always_off`: no traces.
    AlwaysOff,
    /// `traceidratio`: this share of the traces.
    TraceIdRatio(f64),
    /// `parentbased_always_on`, the default: as the caller decided, otherwise all traces.
    ParentBasedAlwaysOn,
    /// `parentbased_always_off`: as the caller decided, otherwise no traces.
    ParentBasedAlwaysOff,
    /// `parentbased_traceidratio`: as the caller decided, otherwise this share of the traces.
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
