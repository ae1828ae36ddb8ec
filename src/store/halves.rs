//! Numbers that change together, and are read together.
//!
//! There are two halves, one of them in use. An update adds to the half that is in use when it begins, without a lock. A reader
//! switches to the other half, waits until every update of the first has ended, and moves its numbers into the totals. So it sees
//! all of an update or nothing, and no update is lost or counted twice. Prometheus' client for Go reads a histogram in this way;
//! here a group may be more than a histogram.

use super::sync::{AtomicU64, Mutex, Ordering, spin_loop, yield_now};

/// A group of counts, and one sum of floating-point numbers.
#[derive(Debug)]
pub(super) struct Halves {
    /// The half in use in the highest bit, and how many updates it has been given in the others.
    state: AtomicU64,
    halves: [Half; 2],
    totals: Mutex<Totals>,
}

#[derive(Debug)]
struct Half {
    /// How many updates have ended.
    ended: AtomicU64,
    /// The bits of an `f64`.
    sum: AtomicU64,
    counts: Box<[AtomicU64]>,
}

/// Everything that readers have found so far.
#[derive(Debug)]
pub(super) struct Totals {
    /// Finite.
    pub(super) sum: f64,
    /// Each stops at `u64::MAX`.
    pub(super) counts: Box<[u64]>,
    /// How many times the sum would have become infinite, and was left as it was.
    pub(super) overflows: u64,
}

const SECOND_HALF: u64 = 1 << 63;

/// How often a reader looks again before it gives up the processor.
const SPINS: u32 = 100;

impl Halves {
    pub(super) fn new(counts: usize) -> Self {
        let half = || Half {
            ended: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            counts: (0..counts).map(|_| AtomicU64::new(0)).collect(),
        };
        let totals = Totals { sum: 0.0, counts: vec![0; counts].into(), overflows: 0 };
        Self { state: AtomicU64::new(0), halves: [half(), half()], totals: Mutex::new(totals) }
    }

    /// Begins an update, which ends when it is dropped. Readers wait for it, so nothing slow may come between.
    #[inline]
    pub(super) fn update(&self) -> Update<'_> {
        // Acquire: a half is used again only after its reader has left it.
        let state = self.state.fetch_add(1, Ordering::Acquire);
        let half = self.half(state);
        Update { half, counts: &half.counts }
    }

    /// Reads everything that was added before.
    ///
    /// Waits for updates under way, which takes as long as their threads are kept from running.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Totals) -> T) -> T {
        let mut totals = match self.totals.lock() {
            Ok(totals) => totals,
            Err(poisoned) => poisoned.into_inner(),
        };
        self.drain(&mut totals);
        read(&totals)
    }

    fn drain(&self, totals: &mut Totals) {
        let state = self.state.load(Ordering::Relaxed);
        if state & !SECOND_HALF == 0 {
            return;
        }
        // Release: whoever sees the other half in use sees it empty.
        let state = self.state.swap((state & SECOND_HALF) ^ SECOND_HALF, Ordering::AcqRel);
        let (half, given) = (self.half(state), state & !SECOND_HALF);
        let mut looked = 0;
        while half.ended.load(Ordering::Acquire) != given {
            looked += 1;
            if looked % SPINS == 0 { yield_now() } else { spin_loop() }
        }
        // Nobody else touches this half until it is in use again, so that plain loads and stores do.
        half.ended.store(0, Ordering::Relaxed);
        for (count, total) in half.counts.iter().zip(&mut totals.counts) {
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
    fn half(&self, state: u64) -> &Half {
        &self.halves[(state >> 63) as usize]
    }
}

/// Numbers that are added together.
#[must_use = "an update ends when it is dropped"]
pub(super) struct Update<'a> {
    half: &'a Half,
    /// Those of the half, looked up once.
    counts: &'a [AtomicU64],
}

impl Update<'_> {
    /// Adds to a count, which stops at `u64::MAX`.
    #[inline]
    pub(super) fn add(&self, count: usize, more: u64) {
        let Some(count) = self.counts.get(count) else { return };
        let before = count.fetch_add(more, Ordering::Relaxed);
        if before.checked_add(more).is_none() {
            // No reader has seen the number that has wrapped: it waits for the end of this update.
            count.fetch_max(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Adds to the sum; returns whether it is finite. Otherwise it is left as it was.
    #[inline]
    pub(super) fn add_to_sum(&self, more: f64) -> bool {
        let mut bits = self.half.sum.load(Ordering::Relaxed);
        loop {
            let sum = f64::from_bits(bits) + more;
            // Whether it is finite, whatever its sign.
            if sum.to_bits() << 1 >= f64::INFINITY.to_bits() << 1 {
                return false;
            }
            match self.half.sum.compare_exchange_weak(bits, sum.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => bits = now,
            }
        }
    }
}

impl Drop for Update<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: a reader that counts this update as ended sees what it has added.
        self.half.ended.fetch_add(1, Ordering::Release);
    }
}
