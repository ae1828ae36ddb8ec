//! What the counts of an export are since.

use crate::snapshot::Family;
use crate::word::words;

/// The words of `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` in the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Temporality {
    /// Totals since the start of the program.
    #[default]
    Cumulative,
    /// What was counted since the last export that was accepted.
    Delta,
    /// As `Delta`, but totals of what is read from elsewhere, so that nothing has to be remembered of it.
    LowMemory,
}

words! { Temporality: "cumulative" = Cumulative, "delta" = Delta, "lowmemory" = LowMemory }

impl Temporality {
    /// Whether the counts of a family are those since the last export.
    pub(super) fn is_delta_of(self, family: &Family) -> bool {
        match self {
            Self::Cumulative => false,
            Self::Delta => true,
            Self::LowMemory => !family.about.name.starts_with("process_"),
        }
    }
}
