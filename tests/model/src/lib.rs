//! `src/store/halves.rs` under a model checker: every order of its threads, every value that an atomic may show.
#![cfg(test)]

#[path = "../../../src/store/halves.rs"]
mod halves;

/// Stands for `src/store/sync.rs`.
mod sync {
    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::thread::yield_now;
}

use loom::sync::Arc;
use loom::thread;

/// One count and one bucket.
type Halves = halves::Halves<1>;

/// Adds the same to the count, to the bucket and to the sum.
fn add(halves: &Halves, more: u64) {
    let update = halves.update();
    update.add(0, more);
    update.add_to_bucket(0, more);
    assert!(update.add_to_sum(more as f64));
}

fn read(halves: &Halves) -> (u64, u64, f64) {
    halves.read(|totals| (totals.counts[0], totals.buckets[0], totals.sum))
}

#[test]
fn a_reader_sees_all_of_an_update_or_nothing() {
    loom::model(|| {
        let halves = Arc::new(Halves::new(1));
        let recorder = {
            let halves = Arc::clone(&halves);
            thread::spawn(move || add(&halves, 3))
        };
        let (first, second, sum) = read(&halves);
        assert_eq!((first, sum), (second, first as f64));
        assert!(first == 0 || first == 3);
        recorder.join().expect("it ends");
        // Both halves are used again.
        for updates in 1..=3 {
            assert_eq!(read(&halves).0, 3 * updates);
            add(&halves, 3);
        }
        assert_eq!(read(&halves), (12, 12, 12.0));
    });
}

#[test]
fn no_update_is_lost_or_doubled_between_two_recorders_and_a_reader() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let halves = Arc::new(Halves::new(1));
        let recorders: Vec<_> = [1, 4]
            .map(|more| {
                let halves = Arc::clone(&halves);
                thread::spawn(move || add(&halves, more))
            })
            .into_iter()
            .collect();
        let (first, second, sum) = read(&halves);
        assert_eq!((first, sum), (second, first as f64));
        recorders.into_iter().for_each(|recorder| recorder.join().expect("it ends"));
        assert_eq!(read(&halves), (5, 5, 5.0));
    });
}

#[test]
fn two_readers_share_the_totals() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let halves = Arc::new(Halves::new(1));
        add(&halves, 2);
        let reader = {
            let halves = Arc::clone(&halves);
            thread::spawn(move || read(&halves))
        };
        add(&halves, 5);
        let (first, second, _) = read(&halves);
        assert_eq!((first, second), (7, 7));
        let (first, second, _) = reader.join().expect("it ends");
        assert!(first == second && (first == 2 || first == 7));
    });
}

#[test]
fn a_count_stops_at_the_highest_number() {
    loom::model(|| {
        let halves = Arc::new(Halves::new(1));
        add(&halves, 1);
        let recorder = {
            let halves = Arc::clone(&halves);
            thread::spawn(move || halves.update().add(0, u64::MAX))
        };
        halves.update().add(0, 7);
        recorder.join().expect("it ends");
        assert_eq!(halves.read(|totals| totals.counts[0]), u64::MAX);
    });
}
