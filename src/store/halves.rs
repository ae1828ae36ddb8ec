//! Numbers that are updated and read together.
//!
//! There are two halves, one of which is active. An update adds to the half that is active when the update begins, without a lock.
//! A reader makes the other half active, waits until every update of the first half has ended, and adds its numbers to the totals.
//! It sees an update as a whole or not at all, and no update is lost or counted twice. Prometheus' client for Go reads its
//! histograms in this way. Here a group has more numbers than those of a histogram.

use super::sync::{AtomicU64, Mutex, Ordering, spin_loop, yield_now};

/// A group of `N` counts, buckets of samples, and one sum of floating-point numbers.
#[derive(Debug)]
pub(super) struct Halves<const N: usize> {
    /// The half in use in the highest bit, and how many updates it has been given in the others.
    state: AtomicU64,
    halves: [Half<N>; 2],
    totals: Mutex<Totals<N>>,
}

#[derive(Debug)]
struct Half<const N: usize> {
    /// How many updates have ended.
    ended: AtomicU64,
    /// The bits of an `f64`.
    sum: AtomicU64,
    counts: [AtomicU64; N],
    buckets: Box<[AtomicU64]>,
}

/// The sums over all halves that were read so far.
#[derive(Debug)]
pub(super) struct Totals<const N: usize> {
    /// Finite.
    pub(super) sum: f64,
    /// Each stops at `u64::MAX`.
    pub(super) counts: [u64; N],
    /// Likewise.
    pub(super) buckets: Box<[u64]>,
    /// How many times the sum would have become infinite, and was left as it was. Who counts them as invalid takes them.
    pub(super) overflows: u64,
}

const SECOND_HALF: u64 = 1 << 63;

/// How often a reader checks for the end of updates before it yields the processor.
const SPINS: u32 = 100;

impl<const N: usize> Halves<N> {
    pub(super) fn new(buckets: usize) -> Self {
        let half = || Half {
            ended: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        };
        let totals = Totals { sum: 0.0, counts: [0; N], buckets: vec![0; buckets].into(), overflows: 0 };
        Self { state: AtomicU64::new(0), halves: [half(), half()], totals: Mutex::new(totals) }
    }

    /// Begins an update, which ends when it is dropped. Readers wait for its end, so it must be short.
    #[inline]
    pub(super) fn update(&self) -> Update<'_, N> {
        // Acquire: a half is used again only after its reader has left it.
        let state = self.state.fetch_add(1, Ordering::Acquire);
        Update { half: self.half(state) }
    }

    /// Reads everything that was added before.
    ///
    /// Waits for updates under way, which takes as long as their threads are kept from running.
    pub(super) fn read<T>(&self, read: impl FnOnce(&mut Totals<N>) -> T) -> T {
        let mut totals = match self.totals.lock() {
            Ok(totals) => totals,
            Err(poisoned) => poisoned.into_inner(),
        };
        self.drain(&mut totals);
        read(&mut totals)
    }

    fn drain(&self, totals: &mut Totals<N>) {
        let state = self.state.load(Ordering::Relaxed);
        if state & !SECOND_HALF == 0 {
            return;
        }
        // Release: a thread that sees the other half as active sees that it is empty.
        let state = self.state.swap((state & SECOND_HALF) ^ SECOND_HALF, Ordering::AcqRel);
        let (half, given) = (self.half(state), state & !SECOND_HALF);
        let mut looked = 0;
        while half.ended.load(Ordering::Acquire) != given {
            looked += 1;
            if looked % SPINS == 0 { yield_now() } else { spin_loop() }
        }
        // No other thread uses this half until it is active again, so relaxed loads and stores are enough.
        half.ended.store(0, Ordering::Relaxed);
        let buckets = half.buckets.iter().zip(&mut totals.buckets);
        for (count, total) in half.counts.iter().zip(&mut totals.counts).chain(buckets) {
            let more = count.load(Ordering::Relaxed);
            if more > 0 {
                count.store(0, Ordering::Relaxed);
                *total = total.saturating_add(more);
            }
        }
        let sum = totals.sum + f64::from_bits(half.sum.load(Ordering::Relaxed));
        half.sum.store(0, Ordering::Relaxed);
        if sum.is_finite() {
            totals.sum = sum;
        } else {
            totals.overflows += 1;
        }
    }

    #[inline]
    fn half(&self, state: u64) -> &Half<N> {
        &self.halves[(state >> 63) as usize]
    }
}

/// An update of the group.
#[must_use = "an update ends when it is dropped"]
pub(super) struct Update<'a, const N: usize> {
    half: &'a Half<N>,
}

impl<const N: usize> Update<'_, N> {
    /// Adds to a count, which stops at `u64::MAX`.
    #[inline]
    pub(super) fn add(&self, count: usize, more: u64) {
        add_saturating(&self.half.counts[count], more);
    }

    /// Adds to a bucket, likewise.
    #[inline]
    pub(super) fn add_to_bucket(&self, bucket: usize, more: u64) {
        if let Some(count) = self.half.buckets.get(bucket) {
            add_saturating(count, more);
        }
    }

    /// Adds to the sum. Returns `false` and does not change the sum if it would not be finite.
    #[inline]
    pub(super) fn add_to_sum(&self, more: f64) -> bool {
        let mut bits = self.half.sum.load(Ordering::Relaxed);
        loop {
            let sum = f64::from_bits(bits) + more;
            #[expect(clippy::eq_op, reason = "fewer instructions than `is_finite`, with the same result")]
            let is_finite = !(sum - sum).is_nan();
            if !is_finite {
                return false;
            }
            match self.half.sum.compare_exchange_weak(bits, sum.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => bits = now,
            }
        }
    }
}

impl<const N: usize> Drop for Update<'_, N> {
    #[inline]
    fn drop(&mut self) {
        // Release: a reader that counts this update as ended sees the numbers that it has added.
        self.half.ended.fetch_add(1, Ordering::Release);
    }
}

#[inline]
fn add_saturating(count: &AtomicU64, more: u64) {
    let before = count.fetch_add(more, Ordering::Relaxed);
    if before.checked_add(more).is_none() {
        // No reader has seen the number that has wrapped: it waits for the end of this update.
        count.fetch_max(u64::MAX, Ordering::Relaxed);
    }
}
