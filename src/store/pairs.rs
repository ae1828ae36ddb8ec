//! The providers and models that have series.

mod cache;
mod lasting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hashbrown::{Equivalent, HashMap};

use super::label::{OTHER, clean_name_of_pair};
use super::pair::Pair;
use crate::lock::unpoisoned;
use cache::{Asked, CACHE, MAX_CACHED};

/// The pairs up to the bound. Further pairs of a provider share one, (`gemini`, `other`). Those of providers beyond
/// [`MAX_PROVIDERS`] share (`other`, `other`).
///
/// A pair is admitted once for all `llm` metrics together, so that readers get all metrics of it or none.
pub(super) struct Pairs {
    /// Identifies this store in the caches. [`FORGOTTEN`] after the store is closed.
    id: AtomicU64,
    limit: usize,
    admitted: RwLock<Admitted>,
    /// How many times a pair beyond the bound was recorded.
    folded: AtomicU64,
}

/// An id that no entry of a cache has.
const FORGOTTEN: u64 = u64::MAX;

/// How many providers may have a pair for their models beyond the bound.
const MAX_PROVIDERS: usize = 100;

#[derive(Default)]
struct Admitted {
    by_name: HashMap<Names, Arc<Pair>>,
    /// The pairs in the order of the page.
    sorted: Vec<Arc<Pair>>,
    /// How many of these are for models beyond the bound.
    overflow: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct Names(Arc<str>, Arc<str>);

/// Clean names, to look up [`Names`] without allocating.
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

    /// Calls the function with a pair in the cache of this thread. Returns `None` if it is not there.
    #[inline(always)]
    pub(super) fn with_cached<T>(&self, provider: &str, model: &str, then: impl FnOnce(&Arc<Pair>) -> T) -> Option<T> {
        // The cache is borrowed while the function runs. The function may record metrics: then the cache is borrowed again, which
        // is allowed. When a thread ends, its cache is dropped before other thread-local values that may still record.
        let cached = CACHE.try_with(|cache| {
            let cache = cache.try_borrow().ok()?;
            Some(then(cache.find(&Asked::new(self.id.load(Ordering::Relaxed), provider, model))?))
        });
        cached.ok().flatten()
    }

    /// Does something with a pair that the thread has asked for lately by its clean names; `None` if it has not.
    #[inline(always)]
    pub(super) fn lately<T>(
        &'static self,
        provider: &str,
        model: &str,
        then: impl FnOnce(&'static Pair) -> T,
    ) -> Option<T> {
        lasting::with_found(provider, model, then)
    }

    /// Makes [`lately`](Self::lately) find a pair if the names that were asked for are its own.
    pub(super) fn keep_lasting(&'static self, pair: &Arc<Pair>, provider: &str, model: &str) -> Option<&'static Pair> {
        let is_own = *pair.provider == *provider && *pair.model == *model;
        is_own.then(|| lasting::keep(pair.lasting()))
    }

    /// Makes sure that no pair of this store is found in a cache any more.
    pub(super) fn forget(&self) {
        self.id.store(FORGOTTEN, Ordering::Relaxed);
    }

    /// Returns a pair that [`with_cached`](Self::with_cached) did not find, and adds it to the cache. `open` creates a new pair
    /// from clean names.
    #[cold]
    pub(super) fn open(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> Arc<Pair> {
        let asked = &Asked::new(self.id.load(Ordering::Relaxed), provider, model);
        let beside = CACHE.try_with(|cache| cache.try_borrow().ok()?.find_beside(asked).cloned());
        if let Ok(Some(pair)) = beside {
            return pair;
        }
        let (pair, is_folded) = self.admit(provider, model, open);
        if is_folded {
            // It is not cached: there may be any number of such names, and they would replace the other entries.
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

    /// Returns a pair, and whether it is a shared one because of the bound.
    fn admit(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool) {
        if let Some(known) = self.get(provider, model) {
            return (known, false);
        }
        let (provider, model) = (clean_name_of_pair(provider), clean_name_of_pair(model));
        let admitted = unpoisoned(self.admitted.read());
        if let Some(known) = admitted.by_name.get(&Clean(&provider, &model)) {
            return (Arc::clone(known), false);
        }
        // Beyond the bound only the first look-up needs the write lock, to open the shared pair.
        if admitted.is_overflow(&model, self.limit)
            && let Some(others) = admitted.others(&provider)
        {
            return (others, *model != *OTHER);
        }
        drop(admitted);
        let (pair, is_folded, is_new) = self.admit_new(&provider, &model, open);
        // After the lock is released, because added recorders may record metrics themselves.
        if is_new {
            pair.open_extras();
        }
        (pair, is_folded)
    }

    fn admit_new(&self, provider: &str, model: &str, open: impl Fn(&str, &str) -> Pair) -> (Arc<Pair>, bool, bool) {
        let mut admitted = unpoisoned(self.admitted.write());
        // Another thread may have opened it since the look-up.
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
    /// Whether a pair must use a shared one. A model with the name `other` always does, and does not count against the bound.
    fn is_overflow(&self, model: &str, limit: usize) -> bool {
        model == OTHER || self.sorted.len() - self.overflow >= limit
    }

    /// Returns the shared pair for models beyond the bound, if it is open.
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
