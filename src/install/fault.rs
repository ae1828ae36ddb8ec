//! Settings that can't be used, and what they stop.

use super::error::InstallError;

/// A setting that can't be used, or a pipeline that can't start.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: InstallError,
    /// The pipelines that stay off for it, by the names they have on the page.
    pub(crate) pipelines: Vec<&'static str>,
}

/// All faults, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Returns the value, or keeps the error as a fault of these pipelines.
    ///
    /// Two pipelines may rest on one variable, such as `OTEL_EXPORTER_OTLP_PROTOCOL`: that is one fault.
    pub(super) fn keep<T>(&mut self, pipelines: &[&'static str], result: Result<T, InstallError>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let text = error.to_string();
        match self.0.iter_mut().find(|fault| fault.error.to_string() == text) {
            Some(fault) => {
                let new = pipelines.iter().filter(|pipeline| !fault.pipelines.contains(pipeline));
                let new: Vec<&str> = new.copied().collect();
                fault.pipelines.extend(new);
            }
            None => self.0.push(Fault { error, pipelines: pipelines.to_vec() }),
        }
        None
    }

    /// Returns the configuration of a pipeline that is on; `None` for one that is off, or stopped by any fault.
    pub(super) fn keep_pipeline<T>(
        &mut self,
        pipeline: &'static str,
        result: Result<Option<T>, InstallError>,
    ) -> Option<T> {
        self.keep(&[pipeline], result).flatten().filter(|_| !self.stop(pipeline))
    }

    /// Whether one of the faults stops this pipeline.
    pub(super) fn stop(&self, pipeline: &str) -> bool {
        self.0.iter().any(|fault| fault.pipelines.contains(&pipeline))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Returns the first of the faults as an error.
    pub(super) fn into_result(self) -> Result<(), InstallError> {
        self.0.into_iter().next().map_or(Ok(()), |fault| Err(fault.error))
    }

    /// Returns the first of the faults that stop this pipeline as an error.
    pub(super) fn into_result_of(self, pipeline: &str) -> Result<(), InstallError> {
        let stopping = self.0.into_iter().filter(|fault| fault.pipelines.contains(&pipeline));
        Self(stopping.collect()).into_result()
    }
}
