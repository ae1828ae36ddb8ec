//! What call sites call: the series of a provider and model with whichever recorder is current.

use std::sync::Arc;

use metrics::{IntoF64, Recorder};

use crate::current::{self, Current};
use crate::error_type::ErrorType;
use crate::series::{Fact, Finished, Handles, PairSeries, Series};
use crate::usage::Usage;

/// Publishes the series of a provider and model with the value 0, each `error_type` and `finish_reason` included.
///
/// Prometheus' `rate()` and `increase()` see an increase only between two scrapes of one series: a counter that appears with
/// its first event shows nothing for it. Call this where a driver is made; it is cheap, and calling it again changes nothing.
/// Like everything that records, it does nothing before something is installed: see also `Builder::add_model`.
///
/// ```
/// botticelli_obs::declare("gemini", "gemini-2.5-flash");
/// ```
pub fn declare(provider: impl AsRef<str>, model: impl AsRef<str>) {
    if let Some(series) = current_series(provider.as_ref(), model.as_ref()) {
        series.declare();
    }
}

/// Returns the series of a pair with the recorder that is current now; `None` without one.
#[inline]
pub(crate) fn current_series(provider: &str, model: &str) -> Option<Series> {
    match current::global() {
        Some(own) => own.lasting_pair(provider, model),
        None => series_elsewhere(provider, model),
    }
}

#[cold]
fn series_elsewhere(provider: &str, model: &str) -> Option<Series> {
    current::with_current(|current| match current {
        Current::Own(own) => own.pair(provider, model).map(Series::Shared),
        // Only a reference, so everything is registered now.
        Current::Foreign(recorder) => Some(Series::Shared(Arc::new(Handles::complete(recorder, provider, model)))),
        Current::None => None,
    })
}

/// Counts one call.
pub fn request(provider: impl AsRef<str>, model: impl AsRef<str>) {
    record(provider.as_ref(), model.as_ref(), &Fact::Request);
}

/// Counts one failed call.
pub fn error(provider: impl AsRef<str>, model: impl AsRef<str>, error: impl Into<ErrorType>) {
    record(provider.as_ref(), model.as_ref(), &Fact::Error(error.into()));
}

/// Records one duration, in seconds.
pub fn duration(provider: impl AsRef<str>, model: impl AsRef<str>, elapsed: impl IntoF64) {
    record(provider.as_ref(), model.as_ref(), &Fact::Duration(elapsed.into_f64()));
}

/// Counts prompt and completion tokens, and both together.
pub fn tokens(provider: impl AsRef<str>, model: impl AsRef<str>, prompt: u64, completion: u64) {
    record(provider.as_ref(), model.as_ref(), &Fact::Tokens(Usage::new(prompt, completion)));
}

/// Counts one call, its duration in seconds and its prompt and completion tokens.
pub fn finished(
    provider: impl AsRef<str>,
    model: impl AsRef<str>,
    elapsed: impl IntoF64,
    (prompt, completion): (u64, u64),
) {
    let (provider, model) = (provider.as_ref(), model.as_ref());
    record_finished(&Finished { provider, model, seconds: elapsed.into_f64(), prompt, completion });
}

fn record_finished(call: &Finished<'_>) {
    if !current::global().is_some_and(|own| own.finished(call)) {
        record_finished_anywhere(call);
    }
}

#[cold]
fn record_finished_anywhere(call: &Finished<'_>) {
    record_anywhere(
        call.provider,
        call.model,
        |series| series.finished(call),
        |handles, recorder| handles.finished(recorder, call),
    );
}

fn record(provider: &str, model: &str, fact: &Fact) {
    record_anywhere(provider, model, |series| series.record(fact), |handles, recorder| handles.record(recorder, fact));
}

fn record_anywhere(
    provider: &str,
    model: &str,
    own: impl Fn(&dyn PairSeries),
    foreign: impl FnOnce(&Handles, &dyn Recorder),
) {
    if let Some(recorder) = current::global() {
        return recorder.lasting_pair(provider, model).iter().for_each(|series| own(&**series));
    }
    current::with_current(|current| match current {
        Current::Own(recorder) => recorder.pair(provider, model).iter().for_each(|series| own(&**series)),
        // Registers what is recorded and nothing else.
        Current::Foreign(recorder) => foreign(&Handles::new(Arc::from(provider), Arc::from(model)), recorder),
        Current::None => {}
    });
}
