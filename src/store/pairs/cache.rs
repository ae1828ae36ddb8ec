//! The pairs a thread has asked for last, of any store and in any spelling.

use std::cell::RefCell;
use std::sync::Arc;

use crate::store::pair::Pair;
use crate::store::words::{last_word, same};

thread_local! {
    pub(super) static CACHE: RefCell<Cache> = const { RefCell::new(Cache::new()) };
}

/// The pairs a thread has asked for last. The locks and the hash of the map cost as much as the record itself.
///
/// A set-associative cache: the hash says in which set a pair is, and within a set any of the ways may have it. So sixteen pairs
/// in turn hardly ever push each other out.
pub(super) struct Cache {
    sets: [[Entry; WAYS]; SETS],
    /// Says which way the next new pair takes in a set that is full. A random one: where there is a pair too many in turn, the
    /// oldest way would always be the one that is needed next.
    random: u64,
}

/// The most bytes of names, as they are asked for, that a thread keeps for a pair.
pub(super) const MAX_CACHED: usize = 512;

const SETS: usize = 4;
const WAYS: usize = 8;

struct Entry {
    hash: u64,
    /// That of the [`Pairs`](super::Pairs). Addresses are reused.
    id: u64,
    provider: String,
    model: String,
    /// `None` in an entry that was never used.
    pair: Option<Arc<Pair>>,
}

impl Cache {
    const fn new() -> Self {
        Self { sets: [const { [const { Entry::EMPTY }; WAYS] }; SETS], random: 0 }
    }

    /// Finds a pair if it is the first one of its hash.
    #[inline(always)]
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Arc<Pair>> {
        let entry = self.sets[asked.set()].iter().find(|entry| entry.hash == asked.hash)?;
        if entry.is(asked) { entry.pair.as_ref() } else { None }
    }

    /// Finds a pair behind others of the same hash.
    pub(super) fn find_beside(&self, asked: &Asked<'_>) -> Option<&Arc<Pair>> {
        let mut entries = self.sets[asked.set()].iter();
        entries.find(|entry| entry.hash == asked.hash && entry.is(asked))?.pair.as_ref()
    }

    pub(super) fn insert(&mut self, asked: &Asked<'_>, pair: &Arc<Pair>) {
        let ways = &mut self.sets[asked.set()];
        let way = ways.iter().position(|entry| entry.pair.is_none()).unwrap_or_else(|| {
            self.random = next_random(self.random, asked.hash);
            top_bits(self.random, WAYS)
        });
        let entry = &mut ways[way];
        entry.hash = asked.hash;
        entry.id = asked.id;
        // Into the memory they have.
        asked.provider.clone_into(&mut entry.provider);
        asked.model.clone_into(&mut entry.model);
        entry.pair = Some(Arc::clone(pair));
    }
}

impl Entry {
    const EMPTY: Self = Self { hash: 0, id: 0, provider: String::new(), model: String::new(), pair: None };

    /// Whether this is the pair that was asked for; their hashes are the same.
    #[inline(always)]
    fn is(&self, asked: &Asked<'_>) -> bool {
        // For one store, one model and one length of the provider a hash has one last word of the provider: multiplying by an
        // odd number, rotating and `^` can be undone. And up to eight bytes that word is the whole text.
        self.id == asked.id
            && same(self.model.as_bytes(), asked.model.as_bytes())
            && self.provider.len() == asked.provider.len()
            && (self.provider.len() <= 8 || same(self.provider.as_bytes(), asked.provider.as_bytes()))
    }
}

/// A provider and model as they are asked for, and their hash.
pub(super) struct Asked<'a> {
    /// That of the [`Pairs`](super::Pairs).
    pub(super) id: u64,
    provider: &'a str,
    model: &'a str,
    pub(super) hash: u64,
}

impl<'a> Asked<'a> {
    /// Makes a quick hash of a store and two names, by the last bytes of each: names of models differ at their ends. Texts are
    /// compared too, so a collision costs time and nothing else. [`Entry::is`] relies on how it is made.
    #[inline(always)]
    pub(super) fn new(id: u64, provider: &'a str, model: &'a str) -> Self {
        let lengths = (model.len() as u64) << 32 | provider.len() as u64;
        let mixed = mix(last_word(model.as_bytes()) ^ lengths ^ id.rotate_right(16));
        let hash = mix(mixed.rotate_left(29) ^ last_word(provider.as_bytes()));
        Self { id, provider, model, hash }
    }

    #[inline]
    fn set(&self) -> usize {
        top_bits(self.hash, SETS)
    }
}

/// Returns the next of some numbers that follow no pattern.
pub(super) fn next_random(random: u64, hash: u64) -> u64 {
    mix(random).wrapping_add(hash | 1)
}

#[inline]
pub(super) fn mix(bits: u64) -> u64 {
    bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Returns a number below a power of two, by the bits that [`mix`] mixes best.
#[inline]
pub(super) fn top_bits(mixed: u64, below: usize) -> usize {
    (mixed >> (u64::BITS - below.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::thread;

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Config, Store};

    fn store() -> Arc<Store> {
        Store::new(&Config::default(), Vec::new())
    }

    /// Names of the pair that is found, and whether the cache had it.
    fn found(store: &Store, provider: &str, model: &str) -> (String, String, bool) {
        let names = |pair: &Arc<Pair>| (pair.provider.to_string(), pair.model.to_string());
        let cached = store.pairs.with_cached(provider, model, names);
        let is_cached = cached.is_some();
        let (provider, model) = cached.unwrap_or_else(|| store.with_pair(provider, model, names));
        (provider, model, is_cached)
    }

    #[test]
    fn sixteen_pairs_in_turn_are_nearly_always_in_the_cache() {
        let mut rng = Rng::with_seed(1);
        let mut name = |longest| (0..rng.usize(2..longest)).map(|_| rng.alphanumeric()).collect::<String>();
        let (mut asked, mut missed) = (0, 0);
        for _ in 0..300 {
            let pairs = [(); 16].map(|()| (name(12), name(40)));
            // A thread with a cache of its own.
            let in_turn = || {
                let store = store();
                let round = || pairs.iter().filter(|(provider, model)| !found(&store, provider, model).2).count();
                round();
                (0..20).map(|_| round()).sum::<usize>()
            };
            missed += thread::scope(|scope| scope.spawn(in_turn).join().expect("it does not panic"));
            asked += 20 * pairs.len();
        }
        assert!(missed * 100 < asked, "{missed} of {asked}");
    }

    #[test]
    fn pairs_of_one_hash_are_all_found_beside_each_other() {
        let store = store();
        let models = ["gemini-1.5-pro-latest", "gemini-2.5-pro-latest", "gemini-9.5-pro-latest"];
        let hashes = models.map(|model| Asked::new(store.pairs.id.load(Ordering::Relaxed), "gemini", model).hash);
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
        for _ in 0..3 {
            for model in models {
                assert_eq!(found(&store, "gemini", model).1, model);
            }
        }
        let entries = CACHE.with_borrow(|cache| {
            cache.sets.iter().flatten().filter(|entry| entry.hash == hashes[0] && entry.pair.is_some()).count()
        });
        assert_eq!(entries, models.len());
    }

    #[test]
    fn names_too_long_for_the_cache_are_found() {
        let (store, long) = (store(), "m".repeat(MAX_CACHED));
        for _ in 0..2 {
            let (_, model, is_cached) = found(&store, "gemini", &long);
            assert!(!is_cached && long.starts_with(&model));
        }
    }

    #[test]
    fn caches_forget_a_store_that_is_closed_and_never_mix_two() {
        let stores = [store(), store()];
        for store in &stores {
            assert!(!found(store, "gemini", "gemini-2.5-flash").2);
            assert!(found(store, "gemini", "gemini-2.5-flash").2);
        }
        stores[0].close();
        assert!(!found(&stores[0], "gemini", "gemini-2.5-flash").2);
        assert!(!found(&stores[0], "gemini", "gemini-2.5-flash").2);
        assert!(found(&stores[1], "gemini", "gemini-2.5-flash").2);
    }

    proptest! {
        #[test]
        fn what_is_found_has_the_names_that_were_asked_for(
            names in prop::collection::vec(("[ab]{1,2}(openai|-of-a-provider)?", "[ab]{1,3}(-latest|-with-a-long-name-of-its-own-2025-01-01)?"), 1..40),
        ) {
            let store = store();
            for (provider, model) in &names {
                let (found_provider, found_model, _) = found(&store, provider, model);
                prop_assert_eq!((&found_provider, &found_model), (provider, model));
            }
        }
    }
}
