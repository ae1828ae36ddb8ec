//! The bounds of a histogram, and the search for the bucket of a sample.

use std::ops::Deref;
use std::sync::Arc;

/// Upper bounds, ascending and finite.
///
/// The exponent of a floating-point number says between which powers of two it is. A table has the first bound of each of these
/// octaves: most have no other one, and a search is a comparison.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    all: Arc<[f64]>,
    /// Those from `lowest` to the highest with bounds.
    octaves: Box<[Octave]>,
    lowest: usize,
}

#[derive(Clone, Debug)]
struct Octave {
    /// The first bound that is not below it.
    first: f64,
    /// How many are before that one.
    begin: u32,
    /// Whether there are others in this octave.
    has_more: bool,
}

/// The lowest octave that a table may begin with. No duration is shorter, except zero.
const NANOSECOND: f64 = 1e-9;

impl Bounds {
    pub(super) fn new(all: Arc<[f64]>) -> Self {
        let positive = &all[all.partition_point(|bound| *bound <= 0.0)..];
        let lowest = octave(positive.first().map_or(NANOSECOND, |lowest| lowest.min(NANOSECOND)));
        let octaves = positive.last().map_or(0..0, |highest| lowest..octave(*highest) + 1);
        let begin = |octave: usize| all.partition_point(|bound| *bound < f64::from_bits((octave as u64) << MANTISSA));
        let octaves = octaves.map(|octave| {
            // The end of an octave is the beginning of the next one. Above the last there is no number.
            let (begin, end) = (begin(octave), begin(octave + 1));
            Octave { first: all[begin], begin: begin as u32, has_more: end > begin + 1 }
        });
        Self { octaves: octaves.collect(), all, lowest }
    }

    /// Returns all bounds, in the order of the buckets.
    pub(super) fn all(&self) -> &Arc<[f64]> {
        &self.all
    }

    /// Returns the index of the bucket of a sample, which is the number of bounds below it.
    #[inline(always)]
    pub(super) fn bucket(&self, value: f64) -> usize {
        self.quick_bucket(value).unwrap_or_else(|| self.search(value))
    }

    /// Returns the bucket of a sample where one comparison tells it. The sample is positive and finite then.
    #[inline(always)]
    pub(super) fn quick_bucket(&self, value: f64) -> Option<usize> {
        // There is no octave for zero, what is negative, and what is above all bounds.
        let octave = self.octaves.get(octave(value).wrapping_sub(self.lowest))?;
        (!octave.has_more).then(|| octave.begin as usize + usize::from(octave.first < value))
    }

    #[inline(never)]
    pub(super) fn search(&self, value: f64) -> usize {
        self.all.partition_point(|bound| *bound < value)
    }
}

impl Deref for Bounds {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.all
    }
}

const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;

/// Returns the octave of a positive number. The result for a negative number is above that of all positive ones.
#[inline]
fn octave(value: f64) -> usize {
    (value.to_bits() >> MANTISSA) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any number; more often one of a few octaves.
    fn number() -> impl Strategy<Value = f64> {
        let exact = prop::sample::select(vec![
            0.0,
            -0.0,
            0.5,
            1.0,
            2.0,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::MAX,
            f64::MIN,
        ]);
        prop_oneof![
            exact,
            0.4..9.0_f64,
            -9.0..0.0_f64,
            prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO
        ]
    }

    proptest! {
        #[test]
        fn table_finds_what_a_search_of_all_bounds_finds(
            mut bounds in prop::collection::vec(number(), 0..40),
            values in prop::collection::vec(number(), 1..40),
        ) {
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            let samples: Vec<f64> = values.into_iter().chain(bounds.clone()).collect();
            let table = Bounds::new(bounds.into());
            for value in samples {
                let expected = table.partition_point(|bound| *bound < value);
                prop_assert_eq!(table.bucket(value), expected, "{} in {:?}", value, &*table);
            }
        }
    }

    #[test]
    fn bounds_of_one_octave_are_many() {
        let table = Bounds::new((0..1_000).map(|bound| 1.0 + f64::from(bound) / 1_000.0).collect());
        for sample in 0..3_000 {
            let sample = f64::from(sample) / 1_300.0;
            assert_eq!(table.bucket(sample), table.search(sample), "{sample}");
        }
    }
}
