//! Invalid settings and failed starts, and the pipelines that they stop.

use super::error::InstallError;

/// An invalid setting, or the failed start of a pipeline.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: InstallError,
    /// The pipelines that it stops, by their names on the page.
    pub(crate) pipelines: Vec<&'static str>,
}

/// All faults, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Returns the value, or adds the error as a fault that stops these pipelines.
    ///
    /// Several pipelines may use one variable, such as `OTEL_EXPORTER_OTLP_PROTOCOL`. Equal errors are one fault.
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

    /// Returns the configuration of a pipeline, or `None` if it is off or stopped by any fault.
    pub(super) fn keep_pipeline<T>(
        &mut self,
        pipeline: &'static str,
        result: Result<Option<T>, InstallError>,
    ) -> Option<T> {
        self.keep(&[pipeline], result).flatten().filter(|_| !self.has_stopped(pipeline))
    }

    /// Returns whether a fault stops this pipeline.
    pub(super) fn has_stopped(&self, pipeline: &str) -> bool {
        self.0.iter().any(|fault| fault.pipelines.contains(&pipeline))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Returns the error of the first fault, if there is any.
    pub(super) fn into_result(self) -> Result<(), InstallError> {
        self.0.into_iter().next().map_or(Ok(()), |fault| Err(fault.error))
    }

    /// Returns the error of the first fault that stops this pipeline, if there is any.
    pub(super) fn into_result_of(self, pipeline: &str) -> Result<(), InstallError> {
        let stopping = self.0.into_iter().filter(|fault| fault.pipelines.contains(&pipeline));
        Self(stopping.collect()).into_result()
    }
}
