//! The pairs a thread has asked for last, of a store that is never dropped.
//!
//! Such a store keeps its pairs for ever. A thread can therefore keep plain references to them: nothing is counted, borrowed or
//! destroyed, and a look is a few words compared. It is for names that are clean; the cache of any store has the other ones.

use std::cell::Cell;

use super::cache::{mix, next_random, top_bits};
use crate::store::pair::Pair;
use crate::store::words::{ends, last_word, same};

thread_local! {
    static LATELY: Lately = const {
        Lately { sets: [const { [const { Cell::new(Slot::EMPTY) }; WAYS] }; SETS], random: Cell::new(0) }
    };
}

/// A set-associative cache, as the one of any store is. It does not say of which store a pair is: the one of the process is the
/// only one that is never dropped.
struct Lately {
    sets: [[Cell<Slot>; WAYS]; SETS],
    random: Cell<u64>,
}

const SETS: usize = 8;
const WAYS: usize = 4;

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    pair: Option<&'static Pair>,
}

impl Slot {
    const EMPTY: Self = Self { hash: 0, pair: None };
}

/// Does something with a pair that is found by its clean names.
///
/// It is generic so that each caller has a search of its own, which the compiler makes a part of it.
#[inline(always)]
pub(super) fn with_found<T>(provider: &str, model: &str, then: impl FnOnce(&'static Pair) -> T) -> Option<T> {
    let hash = hash(provider, model);
    let slot = LATELY.with(|lately| lately.sets[set(hash)].iter().map(Cell::get).find(|slot| slot.hash == hash))?;
    slot.pair.filter(|pair| is(pair, provider, model)).map(then)
}

/// Keeps a pair that was not found, in the place of one of the same hash or of a random one.
pub(super) fn keep(pair: &'static Pair) -> &'static Pair {
    let hash = hash(&pair.provider, &pair.model);
    LATELY.with(|lately| {
        let ways = &lately.sets[set(hash)];
        let is_free = |slot: Slot| slot.pair.is_none() || slot.hash == hash;
        let way = ways.iter().position(|way| is_free(way.get())).unwrap_or_else(|| {
            lately.random.set(next_random(lately.random.get(), hash));
            top_bits(lately.random.get(), WAYS)
        });
        ways[way].set(Slot { hash, pair: Some(pair) });
    });
    pair
}

/// Whether these are the names of a pair that has their hash.
#[inline(always)]
fn is(pair: &Pair, provider: &str, model: &str) -> bool {
    // For one model a hash stands for one word of the provider, and up to eight bytes that word is the whole text.
    pair.provider.len() == provider.len()
        && same(pair.model.as_bytes(), model.as_bytes())
        && (provider.len() <= 8 || same(pair.provider.as_bytes(), provider.as_bytes()))
}

/// Makes a quick hash of two names. Those of models differ at their ends, or where a version stands near their beginning.
#[inline(always)]
fn hash(provider: &str, model: &str) -> u64 {
    let (provider, model) = (provider.as_bytes(), model.as_bytes());
    let version = model.get(4..12).or(model.get(..8)).and_then(<[u8]>::first_chunk);
    let version = version.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    last_word(model).wrapping_add(version << 2) ^ ends(provider).rotate_left(42) ^ model.len() as u64
}

#[inline(always)]
fn set(hash: u64) -> usize {
    top_bits(mix(hash), SETS)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use fastrand::Rng;

    use super::*;
    use crate::series::{Finished, Series};
    use crate::store::{Config, Store};

    /// Does something with a store as that of a process, on a thread that has looked for nothing yet.
    fn with_store<T: Send + 'static>(run: impl FnOnce(&'static Store) -> T + Send + 'static) -> T {
        let config = Config { max_series: usize::MAX, ..Config::default() };
        let store: &Store = Box::leak(Box::new(Store::new(&config, Vec::new())));
        thread::spawn(|| run(store)).join().expect("it does not panic")
    }

    /// Whether a pair is found at once; it is then, or has been opened.
    fn is_found(store: &'static Store, provider: &str, model: &str) -> bool {
        let is = |pair: &'static Pair| [&*pair.provider, &pair.model] == [provider, model];
        let found = store.pairs.lately(provider, model, is);
        assert_ne!(found, Some(false), "{provider}, {model}");
        let series = store.lasting_pair(provider, model).expect("the store is open");
        assert_eq!(series.names(), [provider, model]);
        found.is_some()
    }

    #[test]
    fn sixteen_pairs_in_turn_are_nearly_always_found() {
        let mut rng = Rng::with_seed(1);
        let mut name = |longest| (0..rng.usize(2..longest)).map(|_| rng.alphanumeric()).collect::<String>();
        let (mut asked, mut missed) = (0, 0);
        for _ in 0..100 {
            let pairs = [(); 16].map(|()| (name(12), name(40)));
            asked += 20 * pairs.len();
            missed += with_store(move |store| {
                let round = || pairs.iter().filter(|(provider, model)| !is_found(store, provider, model)).count();
                round();
                (0..20).map(|_| round()).sum::<usize>()
            });
        }
        assert!(missed * 20 < asked, "{missed} of {asked}");
    }

    #[test]
    fn what_is_found_has_the_names_that_were_asked_for() {
        with_store(|store| {
            let mut rng = Rng::with_seed(2);
            let mut any = |texts: &'static [&'static str]| *rng.choice(texts).expect("there are some");
            let mut name = |endings: &'static [&'static str]| {
                [any(&["a", "b", "ab", "ba", "aab", "\u{e4}"]), any(&["", "a", "b"]), any(endings)].concat()
            };
            for _ in 0..20_000 {
                let provider = name(&["", "openai", "-of-a-provider", "-of-a-provider-with-a-long-name"]);
                let model = name(&["", "-latest", "-2024-10-22", "-with-a-long-name-of-its-own-2025-01-01"]);
                is_found(store, &provider, &model);
            }
        });
    }

    #[test]
    fn other_spellings_are_not_found_and_mean_the_same_pair() {
        with_store(|store| {
            for _ in 0..2 {
                let series = store.lasting_pair(" gemini", "models/gemini-2.5-flash").expect("the store is open");
                assert!(matches!(series, Series::Shared(_)));
                assert_eq!(series.names(), ["gemini", "gemini-2.5-flash"]);
            }
            assert!(store.pairs.lately(" gemini", "models/gemini-2.5-flash", |_| ()).is_none());
            assert!(!is_found(store, "gemini", "gemini-2.5-flash"));
            assert!(is_found(store, "gemini", "gemini-2.5-flash"));
        });
    }

    #[test]
    fn closed_store_has_no_pair() {
        with_store(|store| {
            let (provider, model) = ("gemini", "gemini-2.5-flash");
            let call = Finished { provider, model, seconds: 0.5, prompt: 1, completion: 2 };
            is_found(store, provider, model);
            assert!(store.finished(&call));
            store.close();
            assert!(store.lasting_pair(provider, model).is_none());
            assert!(!store.finished(&call));
        });
    }
}
