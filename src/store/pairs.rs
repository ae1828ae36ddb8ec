//! The providers and models that have series, and the look that finds them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hashbrown::{Equivalent, HashMap};

use super::label::{OTHER, clean_name_of_pair};
use super::pair::Pair;
use super::words::{last_word, same};
use crate::lock::unpoisoned;
use crate::series::Finished;

/// The pairs up to the bound. Further ones share a pair for each provider, (`gemini`, `other`), and those of providers beyond
/// [`MAX_PROVIDERS`] share (`other`, `other`).
///
/// A pair is admitted once for all `llm` metrics together, so that what readers get of it is whole.
pub(super) struct Pairs {
    /// What they are known by in caches. [`FORGOTTEN`] in the end.
    id: AtomicU64,
    limit: usize,
    admitted: RwLock<Admitted>,
    /// Times a pair beyond the bound was recorded.
    folded: AtomicU64,
}

/// No entry of a cache has this.
const FORGOTTEN: u64 = u64::MAX;

/// How many providers have a pair for models beyond the bound.
const MAX_PROVIDERS: usize = 100;

#[derive(Default)]
struct Admitted {
    by_name: HashMap<Names, Arc<Pair>>,
    /// In the order of the page.
    sorted: Vec<Arc<Pair>>,
    /// How many of them stand for others.
    overflow: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct Names(Arc<str>, Arc<str>);

/// Names as they are in the map.
#[derive(Hash)]
struct Clean<'a>(&'a str, &'a str);

impl Equivalent<Names> for Clean<'_> {
    fn equivalent(&self, names: &Names) -> bool {
        *self.0 == *names.0 && *self.1 == *names.1
    }
}

impl Pairs {
    pub(super) fn new(limit: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id: AtomicU64::new(id), limit, admitted: RwLock::default(), folded: AtomicU64::new(0) }
    }

    /// Returns how many times a pair beyond the bound was recorded.
    pub(super) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// Returns all pairs, in the order of the page.
    pub(super) fn all(&self) -> Vec<Arc<Pair>> {
        unpoisoned(self.admitted.read()).sorted.clone()
    }

    /// Does something with a pair that the thread has asked for lately; `None` if it has not.
    #[inline(always)]
    pub(super) fn with_cached<T>(&self, provider: &str, model: &str, then: impl FnOnce(&Arc<Pair>) -> T) -> Option<T> {
        // A pair in the cache is used while the cache is borrowed. Others may borrow it too: who records inside finds the pair as
        // well. At the end of a thread there is no cache.
        let cached = CACHE.try_with(|cache| {
            let cache = cache.try_borrow().ok()?;
            Some(then(cache.find(&Asked::new(self.id.load(Ordering::Relaxed), provider, model))?))
        });
        cached.ok().flatten()
    }

    /// Records a finished call of a pair in the cache; `false` if it is not there.
    #[inline(always)]
    pub(super) fn finished_cached(&self, call: &Finished<'_>) -> bool {
        self.with_cached(call.provider, call.model, |pair| pair.finished(call)).is_some()
    }

    /// Makes every pair that is in a cache a stranger, and every later one.
    pub(super) fn forget(&self) {
        self.id.store(FORGOTTEN, Ordering::Relaxed);
    }

    /// Returns a pair that is not found at once in the cache, and keeps it there. `open` makes the pair of clean names.
    #[cold]
    pub(super) fn open(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> Arc<Pair> {
        let asked = &Asked::new(self.id.load(Ordering::Relaxed), provider, model);
        let beside = CACHE.try_with(|cache| cache.try_borrow().ok()?.find_beside(asked).cloned());
        if let Ok(Some(pair)) = beside {
            return pair;
        }
        let (pair, is_folded) = self.admit(provider, model, open);
        if is_folded {
            // Not in the cache: there may be no end of them, and they would push the others out.
            self.folded.fetch_add(1, Ordering::Relaxed);
        } else if asked.id != FORGOTTEN && provider.len() + model.len() <= MAX_CACHED {
            let _ = CACHE.try_with(|cache| {
                if let Ok(mut cache) = cache.try_borrow_mut() {
                    cache.insert(asked, &pair);
                }
            });
        }
        pair
    }

    /// Returns a pair, and whether it stands for others.
    fn admit(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool) {
        if let Some(known) = self.get(provider, model) {
            return (known, false);
        }
        let (provider, model) = (clean_name_of_pair(provider), clean_name_of_pair(model));
        let admitted = unpoisoned(self.admitted.read());
        if let Some(known) = admitted.by_name.get(&Clean(&provider, &model)) {
            return (Arc::clone(known), false);
        }
        // Beyond the bound no write lock is needed: the pair for others is open from the second model on.
        if admitted.is_overflow(&model, self.limit)
            && let Some(others) = admitted.others(&provider)
        {
            return (others, *model != *OTHER);
        }
        drop(admitted);
        let (pair, is_folded, is_new) = self.admit_new(&provider, &model, open);
        // Without the lock: added recorders may record something themselves.
        if is_new {
            pair.open_extras();
        }
        (pair, is_folded)
    }

    fn admit_new(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool, bool) {
        let mut admitted = unpoisoned(self.admitted.write());
        // Another thread may have opened it meanwhile.
        if let Some(known) = admitted.by_name.get(&Clean(provider, model)) {
            return (Arc::clone(known), false, false);
        }
        if !admitted.is_overflow(model, self.limit) {
            return (admitted.insert(open(provider, model)), false, true);
        }
        let is_folded = model != OTHER;
        if let Some(others) = admitted.others(provider) {
            return (others, is_folded, false);
        }
        let provider = if admitted.overflow < MAX_PROVIDERS { provider } else { OTHER };
        admitted.overflow += 1;
        (admitted.insert(open(provider, OTHER)), is_folded, true)
    }

    fn get(&self, provider: &str, model: &str) -> Option<Arc<Pair>> {
        let admitted = unpoisoned(self.admitted.read());
        admitted.by_name.get(&Clean(provider, model)).cloned()
    }
}

impl Admitted {
    /// Whether a pair has to share one. A model that is called so shares it anyway, and takes no place.
    fn is_overflow(&self, model: &str, limit: usize) -> bool {
        model == OTHER || self.sorted.len() - self.overflow >= limit
    }

    /// Returns the pair for models beyond the bound, if it is open.
    fn others(&self, provider: &str) -> Option<Arc<Pair>> {
        let of_provider = self.by_name.get(&Clean(provider, OTHER));
        let of_all = || self.by_name.get(&Clean(OTHER, OTHER)).filter(|_| self.overflow >= MAX_PROVIDERS);
        of_provider.or_else(of_all).cloned()
    }

    fn insert(&mut self, pair: Pair) -> Arc<Pair> {
        let pair = Arc::new(pair);
        let place = self.sorted.partition_point(|other| other.labels() < pair.labels());
        self.sorted.insert(place, Arc::clone(&pair));
        self.by_name.insert(Names(Arc::clone(&pair.provider), Arc::clone(&pair.model)), Arc::clone(&pair));
        pair
    }
}

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache::new()) };
}

/// The pairs a thread has asked for last. The locks and the hash of the map cost as much as the record itself.
///
/// A set-associative cache: the hash says in which set a pair is, and within a set any of the ways may have it. So sixteen pairs
/// in turn hardly ever push each other out.
struct Cache {
    sets: [[Entry; WAYS]; SETS],
    /// Says which way the next new pair takes in a set that is full. A random one: where there is a pair too many in turn, the
    /// oldest way would always be the one that is needed next.
    random: u64,
}

/// The most bytes of names, as they are asked for, that a thread keeps for a pair.
const MAX_CACHED: usize = 512;

const SETS: usize = 4;
const WAYS: usize = 8;

struct Entry {
    hash: u64,
    /// That of the [`Pairs`]. Addresses are reused.
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
    fn find(&self, asked: &Asked<'_>) -> Option<&Arc<Pair>> {
        let entry = self.sets[asked.set()].iter().find(|entry| entry.hash == asked.hash)?;
        if entry.is(asked) { entry.pair.as_ref() } else { None }
    }

    /// Finds a pair behind others of the same hash.
    fn find_beside(&self, asked: &Asked<'_>) -> Option<&Arc<Pair>> {
        let mut entries = self.sets[asked.set()].iter();
        entries.find(|entry| entry.hash == asked.hash && entry.is(asked))?.pair.as_ref()
    }

    fn insert(&mut self, asked: &Asked<'_>, pair: &Arc<Pair>) {
        let ways = &mut self.sets[asked.set()];
        let way = ways.iter().position(|entry| entry.pair.is_none()).unwrap_or_else(|| {
            self.random = self.random.wrapping_mul(ODD).wrapping_add(asked.hash | 1);
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
struct Asked<'a> {
    /// That of the [`Pairs`].
    id: u64,
    provider: &'a str,
    model: &'a str,
    hash: u64,
}

impl<'a> Asked<'a> {
    /// Makes a quick hash of a store and two names, by the last bytes of each: names of models differ at their ends. Texts are
    /// compared too, so a collision costs time and nothing else. [`Entry::is`] relies on how it is made.
    #[inline(always)]
    fn new(id: u64, provider: &'a str, model: &'a str) -> Self {
        let lengths = (model.len() as u64) << 32 | provider.len() as u64;
        let mixed = (last_word(model.as_bytes()) ^ lengths ^ id.rotate_right(16)).wrapping_mul(ODD);
        let hash = (mixed.rotate_left(29) ^ last_word(provider.as_bytes())).wrapping_mul(ODD);
        Self { id, provider, model, hash }
    }

    #[inline]
    fn set(&self) -> usize {
        top_bits(self.hash, SETS)
    }
}

/// Returns a number below a power of two, by the bits that a multiplication mixes best.
#[inline]
fn top_bits(mixed: u64, below: usize) -> usize {
    (mixed >> (u64::BITS - below.ilog2())) as usize
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::thread;

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::super::{Config, Store};
    use super::*;

    fn store() -> Store {
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
