//! A histogram that counts its samples where they are recorded, without a lock.
//!
//! The exporter keeps samples in a list until somebody empties it, and a sample that is recorded while that happens may be lost
//! (`metrics-util` 0.20.4, `AtomicBucket::clear_with` against `push`). Here none is: there are two halves, one of them in use, and
//! only the other is emptied, once as many samples have arrived there as it was given. It is how Prometheus' client for Go
//! takes a consistent snapshot.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Counts and sums of samples by bucket, since they were last taken.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: Arc<[f64]>,
    /// The half in use in the highest bit, and how many samples that half has been given.
    state: AtomicU64,
    halves: [Half; 2],
    taking: Mutex<()>,
}

/// A cell for each bound, and one for what is above the last.
type Half = Box<[Cell]>;

#[derive(Debug, Default)]
struct Cell {
    /// Counts last, and so says that the sum is there.
    count: AtomicU64,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

const SECOND_HALF: u64 = 1 << 63;

/// How often to look again for samples that have not arrived before giving up the processor.
const SPINS: u32 = 100;

impl Buckets {
    /// Creates an empty histogram; `bounds` are the upper bounds of its buckets, ascending and finite.
    pub(crate) fn new(bounds: Arc<[f64]>) -> Self {
        let half = || (0..=bounds.len()).map(|_| Cell::default()).collect();
        Self { state: AtomicU64::new(0), halves: [half(), half()], taking: Mutex::new(()), bounds }
    }

    /// Returns the upper bounds of the buckets.
    pub(crate) fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Records a finite value `count` times.
    pub(crate) fn record(&self, value: f64, count: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let given_to = self.state.fetch_add(count, Ordering::AcqRel);
        let cell = &self.half(given_to)[bucket];
        let mut sum = cell.sum.load(Ordering::Relaxed);
        let add = value * count as f64;
        while let Err(now) = cell.sum.compare_exchange_weak(
            sum,
            (f64::from_bits(sum) + add).to_bits(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            sum = now;
        }
        cell.count.fetch_add(count, Ordering::Release);
    }

    /// Takes what has been recorded since the last time: the index, count and sum of each bucket that has samples.
    ///
    /// Waits for recordings that are under way, which takes as long as their threads are kept from running.
    pub(crate) fn take(&self, mut each: impl FnMut(usize, u64, f64)) {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load(Ordering::Acquire);
        if state & !SECOND_HALF == 0 {
            return;
        }
        let state = self.state.swap((state & SECOND_HALF) ^ SECOND_HALF, Ordering::AcqRel);
        let (half, given) = (self.half(state), state & !SECOND_HALF);
        let mut looked = 0;
        while half.iter().map(|cell| cell.count.load(Ordering::Acquire)).sum::<u64>() != given {
            looked += 1;
            if looked % SPINS == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
        for (bucket, cell) in half.iter().enumerate() {
            let count = cell.count.swap(0, Ordering::Relaxed);
            let sum = f64::from_bits(cell.sum.swap(0, Ordering::Relaxed));
            if count > 0 {
                each(bucket, count, sum);
            }
        }
    }

    fn half(&self, state: u64) -> &Half {
        &self.halves[usize::from(state & SECOND_HALF != 0)]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn taken(buckets: &Buckets) -> Vec<(usize, u64, f64)> {
        let mut taken = Vec::new();
        buckets.take(|bucket, count, sum| taken.push((bucket, count, sum)));
        taken
    }

    #[test]
    fn samples_are_in_the_bucket_whose_bound_they_reach() {
        let buckets = Buckets::new(Arc::from([1.0, 2.0]));
        for (value, count) in [(-1.0, 1), (1.0, 2), (1.5, 1), (2.0, 1), (2.5, 3)] {
            buckets.record(value, count);
        }
        assert_eq!(taken(&buckets), [(0, 3, 1.0), (1, 2, 3.5), (2, 3, 7.5)]);
        assert_eq!(taken(&buckets), []);
    }

    #[test]
    fn no_sample_is_lost_or_doubled_while_others_take() {
        const EACH: u64 = 200_000;
        let buckets = Buckets::new(Arc::from([1.0]));
        let recording = AtomicBool::new(true);
        let (mut count, mut sum) = (0, 0.0);
        let mut add = |_, more, of| (count, sum) = (count + more, sum + of);
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..3).map(|_| scope.spawn(|| (0..EACH).for_each(|_| buckets.record(0.5, 1)))).collect();
            scope.spawn(|| {
                while recording.load(Ordering::Relaxed) {
                    buckets.take(&mut add);
                }
            });
            threads.into_iter().for_each(|thread| thread.join().expect("it records"));
            recording.store(false, Ordering::Relaxed);
        });
        buckets.take(|_, more, of| (count, sum) = (count + more, sum + of));
        assert_eq!((count, sum), (3 * EACH, 1.5 * EACH as f64));
    }
}
