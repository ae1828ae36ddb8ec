//! The providers and models that have series, and the look that finds them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hashbrown::{Equivalent, HashMap};

use super::label::{OTHER, clean_name_of_pair};
use super::pair::Pair;
use crate::lock::unpoisoned;

/// The pairs up to the bound. Further ones share a pair for each provider, (`gemini`, `other`), and those of providers beyond
/// [`MAX_PROVIDERS`] share (`other`, `other`).
///
/// A pair is admitted once for all `llm` metrics together, so that what readers get of it is whole.
pub(super) struct Pairs {
    id: u64,
    limit: usize,
    admitted: RwLock<Admitted>,
    /// Times a pair beyond the bound was recorded.
    folded: AtomicU64,
}

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

#[derive(Hash)]
struct Asked<'a>(&'a str, &'a str);

impl Equivalent<Names> for Asked<'_> {
    fn equivalent(&self, names: &Names) -> bool {
        *self.0 == *names.0 && *self.1 == *names.1
    }
}

impl Pairs {
    pub(super) fn new(limit: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, limit, admitted: RwLock::default(), folded: AtomicU64::new(0) }
    }

    /// Returns how many times a pair beyond the bound was recorded.
    pub(super) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// Returns all pairs, in the order of the page.
    pub(super) fn all(&self) -> Vec<Arc<Pair>> {
        unpoisoned(self.admitted.read()).sorted.clone()
    }

    /// Does something with a pair, whose names need not be clean. `open` makes the pair of clean names.
    #[inline]
    pub(super) fn with<T>(
        &self,
        provider: &str,
        model: &str,
        open: impl Fn(&str, &str) -> Pair,
        then: impl Fn(&Arc<Pair>) -> T,
    ) -> T {
        let hash = hash(provider, model);
        // A pair in the cache is used while the cache is borrowed. Others may borrow it too: who records inside finds the pair as
        // well. At the end of a thread there is no cache.
        let cached = CACHE.try_with(|cache| {
            let cache = cache.try_borrow().ok()?;
            Some(then(&cache.find(self.id, hash, provider, model)?.pair))
        });
        if let Ok(Some(done)) = cached {
            return done;
        }
        let (pair, is_folded) = self.admit(provider, model, open);
        if is_folded {
            // Not in the cache: there may be no end of them, and they would push the others out.
            self.folded.fetch_add(1, Ordering::Relaxed);
        } else if provider.len() + model.len() <= MAX_CACHED {
            let _ = CACHE.try_with(|cache| {
                if let Ok(mut cache) = cache.try_borrow_mut() {
                    cache.insert(self.id, hash, (provider, model), &pair);
                }
            });
        }
        then(&pair)
    }

    /// Returns a pair, and whether it stands for others.
    #[cold]
    fn admit(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool) {
        if let Some(known) = self.get(provider, model) {
            return (known, false);
        }
        let (provider, model) = (clean_name_of_pair(provider), clean_name_of_pair(model));
        let admitted = unpoisoned(self.admitted.read());
        if let Some(known) = admitted.by_name.get(&Asked(&provider, &model)) {
            return (Arc::clone(known), false);
        }
        // Beyond the bound no write lock is needed: the pair for others is open from the second model on.
        if admitted.is_overflow(&model, self.limit)
            && let Some(others) = admitted.others(&provider)
        {
            return (others, *model != *OTHER);
        }
        drop(admitted);
        let (pair, is_folded, is_new) = self.open(&provider, &model, open);
        // Without the lock: added recorders may record something themselves.
        if is_new {
            pair.open_extras();
        }
        (pair, is_folded)
    }

    fn open(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool, bool) {
        let mut admitted = unpoisoned(self.admitted.write());
        // Another thread may have opened it meanwhile.
        if let Some(known) = admitted.by_name.get(&Asked(provider, model)) {
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
        admitted.by_name.get(&Asked(provider, model)).cloned()
    }
}

impl Admitted {
    /// Whether a pair has to share one. A model that is called so shares it anyway, and takes no place.
    fn is_overflow(&self, model: &str, limit: usize) -> bool {
        model == OTHER || self.sorted.len() - self.overflow >= limit
    }

    /// Returns the pair for models beyond the bound, if it is open.
    fn others(&self, provider: &str) -> Option<Arc<Pair>> {
        let of_provider = self.by_name.get(&Asked(provider, OTHER));
        let of_all = || self.by_name.get(&Asked(OTHER, OTHER)).filter(|_| self.overflow >= MAX_PROVIDERS);
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
    sets: [[Option<Entry>; WAYS]; SETS],
    /// The way that the next new pair takes, in whichever set.
    next: usize,
}

/// The most bytes of names, as they are asked for, that a thread keeps for a pair.
const MAX_CACHED: usize = 512;

const SETS: usize = 8;
const WAYS: usize = 4;

struct Entry {
    /// That of the [`Pairs`]. Addresses are reused.
    id: u64,
    hash: u64,
    provider: String,
    model: String,
    pair: Arc<Pair>,
}

impl Cache {
    const fn new() -> Self {
        Self { sets: [const { [const { None }; WAYS] }; SETS], next: 0 }
    }

    #[inline]
    fn find(&self, id: u64, hash: u64, provider: &str, model: &str) -> Option<&Entry> {
        self.sets[set(hash)]
            .iter()
            .flatten()
            .find(|entry| entry.hash == hash && entry.id == id && entry.model == model && entry.provider == provider)
    }

    fn insert(&mut self, id: u64, hash: u64, (provider, model): (&str, &str), pair: &Arc<Pair>) {
        let ways = &mut self.sets[set(hash)];
        let way = ways.iter().position(Option::is_none).unwrap_or_else(|| {
            self.next = (self.next + 1) % WAYS;
            self.next
        });
        match &mut ways[way] {
            // Into the memory it has.
            Some(entry) => {
                (entry.id, entry.hash) = (id, hash);
                provider.clone_into(&mut entry.provider);
                model.clone_into(&mut entry.model);
                entry.pair = Arc::clone(pair);
            }
            empty => {
                let (provider, model, pair) = (provider.to_owned(), model.to_owned(), Arc::clone(pair));
                *empty = Some(Entry { id, hash, provider, model, pair });
            }
        }
    }
}

#[inline]
fn set(hash: u64) -> usize {
    (hash >> (u64::BITS - SETS.ilog2())) as usize
}

/// A quick hash of two names, by the last bytes of each: names of models differ at their ends. Texts are compared too, so a
/// collision costs time and nothing else.
#[inline]
fn hash(provider: &str, model: &str) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let length = (model.len() as u64) << 32 | provider.len() as u64;
    let mixed = (word(model.as_bytes()) ^ length).wrapping_mul(ODD);
    (mixed.rotate_left(29) ^ word(provider.as_bytes())).wrapping_mul(ODD)
}

/// The last eight bytes, or all of them.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}
