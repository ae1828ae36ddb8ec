//! What was counted during the last hour, in bounded memory.
//!
//! Two things are kept: a point of all models together every [`INTERVAL`], for the charts, and the totals of each model at some moments,
//! for the tables. What was counted in a window is the difference to the totals at its start.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error_type::ErrorType;
use crate::totals::{Model, Times, Totals};

/// The time between two points.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// How many points there are: an hour.
pub(super) const POINTS: usize = 720;

/// A window of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Window {
    FiveMinutes,
    #[default]
    Hour,
    SinceStart,
}

impl Window {
    pub(super) const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::SinceStart];

    /// Reads its length in seconds; 0 stands for all the time since the start.
    pub(super) fn of(seconds: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.seconds().to_string() == seconds)
    }

    pub(super) fn seconds(self) -> u32 {
        match self {
            Self::FiveMinutes => 300,
            Self::Hour => 3600,
            Self::SinceStart => 0,
        }
    }

    /// Returns how often totals are kept for this window, in points. A window begins at the last totals that are old enough.
    fn stride(self) -> u64 {
        match self {
            Self::FiveMinutes => 6,
            Self::Hour | Self::SinceStart => 60,
        }
    }

    /// Returns how many totals are kept.
    fn kept(self) -> usize {
        match self {
            Self::FiveMinutes => 11,
            Self::Hour => 13,
            Self::SinceStart => 0,
        }
    }
}

/// What all models together have counted between two moments.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// The place in the order of all points, from 0.
    pub(super) number: u64,
    /// The end of the interval, in seconds since 1970.
    pub(super) time: f64,
    pub(super) seconds: f64,
    pub(super) calls: u64,
    pub(super) errors: [u32; ErrorType::ALL.len()],
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) cache_read: u64,
    pub(super) cost: Option<u64>,
    pub(super) in_flight: f64,
    /// Median and 95th percentile of the durations, then of the times to the first chunk.
    pub(super) quantiles: [Option<f32>; 4],
}

/// The totals of each model at one moment.
#[derive(Debug)]
pub(super) struct Baseline {
    /// In seconds since 1970.
    pub(super) time: f64,
    /// Sorted by their names.
    models: Box<[Model]>,
}

impl Baseline {
    fn new(time: f64, totals: &Totals) -> Self {
        let mut models: Box<[Model]> = totals.models.as_slice().into();
        models.sort_by(|a, b| names(a).cmp(&names(b)));
        Self { time, models }
    }

    /// Returns what a model has counted since.
    pub(super) fn since(&self, model: &Model) -> Model {
        let found = self.models.binary_search_by(|earlier| names(earlier).cmp(&names(model)));
        found.map_or_else(|_| model.clone(), |at| model.since(&self.models[at]))
    }
}

fn names(model: &Model) -> [&str; 2] {
    [model.provider(), model.model()]
}

#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// How many points there were.
    count: u64,
    last: Option<(f64, Model)>,
    baselines: [VecDeque<Baseline>; 2],
}

impl History {
    /// Adds the totals of a moment.
    pub(super) fn add(&mut self, time: f64, totals: Totals) {
        let sum = totals.sum();
        if let Some((last_time, last)) = &self.last {
            let new = sum.since(last);
            let quantile = |of, quantile| totals.quantile(of, &new, quantile).map(|seconds| seconds as f32);
            let point = Point {
                number: self.count,
                time,
                seconds: time - last_time,
                calls: new.calls,
                errors: new.errors.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
                prompt: new.prompt,
                completion: new.completion,
                cache_read: new.cache_read,
                cost: new.cost,
                in_flight: sum.in_flight,
                quantiles: [
                    quantile(Times::Durations, 0.5),
                    quantile(Times::Durations, 0.95),
                    quantile(Times::FirstChunks, 0.5),
                    quantile(Times::FirstChunks, 0.95),
                ],
            };
            if self.points.len() == POINTS {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        for (window, baselines) in [Window::FiveMinutes, Window::Hour].into_iter().zip(&mut self.baselines) {
            if self.count.is_multiple_of(window.stride()) {
                if baselines.len() == window.kept() {
                    baselines.pop_front();
                }
                baselines.push_back(Baseline::new(time, &totals));
            }
        }
        self.last = Some((time, sum));
        self.count += 1;
    }

    /// Returns the totals at the start of a window; `None` if it begins with the program.
    pub(super) fn baseline(&self, window: Window, now: f64) -> Option<&Baseline> {
        let baselines = self.baselines.get(window as usize)?;
        let start = now - f64::from(window.seconds());
        baselines.iter().rev().find(|baseline| baseline.time <= start)
    }

    /// Returns the points from this number on, the earliest first.
    pub(super) fn points(&self, from: u64) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.number >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::unix_time;

    fn totals(models: usize, calls: u64) -> Totals {
        let model = |number: usize| Model {
            labels: [("provider", "p".to_owned()), ("model", format!("m{number}"))].into_iter().collect(),
            calls,
            durations: vec![calls, 0].into(),
            ..Model::default()
        };
        Totals { models: (0..models).map(model).collect(), bounds: [vec![1.0], vec![]] }
    }

    #[test]
    fn points_hold_what_came_between_and_are_an_hour_at_most() {
        let (mut history, start) = (History::default(), unix_time());
        for sample in 0..2 * POINTS as u64 {
            history.add(start + 5.0 * sample as f64, totals(3, 2 * sample));
        }
        assert_eq!(history.points(0).count(), POINTS);
        assert!(history.points(0).all(|point| point.calls == 6 && point.seconds == 5.0));
        let last = history.points(0).last().expect("a point").number;
        assert_eq!(history.points(last).count(), 1);
        assert_eq!(history.points(last + 1).count(), 0);
    }

    #[test]
    fn window_begins_where_it_should_or_up_to_a_tenth_earlier() {
        let (mut history, start) = (History::default(), unix_time());
        let mut now = start;
        for sample in 0..1_000_u32 {
            now = start + 5.0 * f64::from(sample);
            history.add(now, totals(2, u64::from(sample)));
        }
        for window in [Window::FiveMinutes, Window::Hour] {
            let seconds = f64::from(window.seconds());
            let baseline = history.baseline(window, now).expect("an old enough one");
            let length = now - baseline.time;
            assert!((seconds..=1.1 * seconds).contains(&length), "{window:?}: {length}");
            let calls = baseline.since(&totals(1, 999).models[0]).calls;
            assert_eq!(calls as f64, length / 5.0);
        }
        assert!(history.baseline(Window::SinceStart, now).is_none());
        let kept: usize = history.baselines.iter().map(VecDeque::len).sum();
        assert_eq!(kept, 24);
    }

    #[test]
    fn window_longer_than_the_program_has_no_baseline() {
        let (mut history, start) = (History::default(), unix_time());
        history.add(start, totals(1, 5));
        history.add(start + 5.0, totals(1, 9));
        assert!(history.baseline(Window::FiveMinutes, start + 6.0).is_none());
    }

    /// Calculated from the sizes of what is kept; names are shared with the store.
    #[test]
    fn hour_of_200_models_takes_three_megabytes() {
        let (mut history, start) = (History::default(), unix_time());
        let mut totals = totals(200, 0);
        for sample in 0..2 * POINTS as u64 {
            for model in &mut totals.models {
                model.calls = sample * 5;
                (model.durations, model.first_chunks) = (vec![sample; 18].into(), vec![sample; 18].into());
            }
            history.add(start + 5.0 * sample as f64, totals.clone());
        }
        let of_model =
            |model: &Model| size_of::<Model>() + size_of_val(&*model.durations) + size_of_val(&*model.first_chunks);
        let kept: usize = history.baselines.iter().flatten().flat_map(|baseline| &baseline.models).map(of_model).sum();
        let points = history.points.capacity() * size_of::<Point>();
        assert!(kept + points < 3_000_000, "{kept} + {points} bytes");
    }
}
