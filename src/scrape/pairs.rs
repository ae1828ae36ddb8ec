//! The providers and models that have series of their own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use hashbrown::Equivalent;
use hashbrown::hash_map::{Entry, HashMap};

use super::label::{OTHER, clean_name_of_pair};
use super::sink::Sink;
use crate::series::{Pair, PairSeries};

/// The series of every pair up to the bound; all further ones share those of (`other`, `other`).
///
/// A pair is admitted once for all `llm` metrics together, so that what the page says of it is whole.
pub(super) struct Pairs {
    id: u64,
    limit: usize,
    admitted: RwLock<HashMap<Names, Arc<PairSeries>>>,
    other: OnceLock<Arc<PairSeries>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Names(Box<str>, Box<str>);

#[derive(Hash)]
struct Asked<'a>(&'a str, &'a str);

impl Equivalent<Names> for Asked<'_> {
    fn equivalent(&self, names: &Names) -> bool {
        *self.0 == *names.0 && *self.1 == *names.1
    }
}

/// Which series a pair has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    ItsOwn,
    /// Those of (`other`, `other`), as there were too many pairs before.
    Folded,
}

/// The pair a thread has asked for last. Most ask for the same again, and the lock and the hash cost as much as the record.
struct Last {
    /// That of the [`Pairs`]; at its address there may be another one later.
    id: u64,
    provider: String,
    model: String,
    series: Arc<PairSeries>,
}

thread_local! {
    static LAST: Cell<Option<Box<Last>>> = const { Cell::new(None) };
}

impl Pairs {
    pub(super) fn new(limit: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, limit, admitted: RwLock::default(), other: OnceLock::new() }
    }

    /// Does something with the series of a pair, whose names need not be clean.
    pub(super) fn with(
        &self,
        (provider, model): (&str, &str),
        sink: &Arc<Sink>,
        then: impl FnOnce(&Arc<PairSeries>),
    ) -> Admission {
        let mut then = Some(then);
        let of_last = |place: &Cell<Option<Box<Last>>>| {
            // Out of its place while in use, as an added recorder may record something itself.
            let last = place.take();
            let is_same = last.as_deref().is_some_and(|last| last.is(self.id, provider, model));
            if is_same && let (Some(last), Some(then)) = (&last, then.take()) {
                then(&last.series);
            }
            place.set(last);
        };
        // None at the end of a thread.
        let _ = LAST.try_with(of_last);
        let Some(then) = then else { return Admission::ItsOwn };
        let (series, admission) = self.admit(provider, model, sink);
        then(&series);
        if admission == Admission::ItsOwn {
            let _ = LAST.try_with(|place| {
                let mut last = place.take();
                match &mut last {
                    Some(last) => last.replace(self.id, provider, model, series),
                    None => last = Some(Box::new(Last::new(self.id, provider, model, series))),
                }
                place.set(last);
            });
        }
        admission
    }

    fn admit(&self, provider: &str, model: &str, sink: &Arc<Sink>) -> (Arc<PairSeries>, Admission) {
        if let Some(known) = self.get(provider, model) {
            return (known, Admission::ItsOwn);
        }
        let (provider, model) = (clean_name_of_pair(provider), clean_name_of_pair(model));
        if (&*provider, &*model) == (OTHER, OTHER) {
            return (self.other(sink), Admission::ItsOwn);
        }
        if let Some(known) = self.get(&provider, &model) {
            return (known, Admission::ItsOwn);
        }
        if self.admitted.read().unwrap_or_else(PoisonError::into_inner).len() >= self.limit {
            return (self.other(sink), Admission::Folded);
        }
        let mut admitted = self.admitted.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = admitted.len() < self.limit;
        match admitted.entry(Names(provider.into(), model.into())) {
            Entry::Occupied(known) => (Arc::clone(known.get()), Admission::ItsOwn),
            Entry::Vacant(vacant) if has_room => {
                let pair = Pair::new(&vacant.key().0, &vacant.key().1);
                let series = vacant.insert(Arc::new(PairSeries::register(sink, pair)));
                (Arc::clone(series), Admission::ItsOwn)
            }
            Entry::Vacant(_) => (self.other(sink), Admission::Folded),
        }
    }

    fn get(&self, provider: &str, model: &str) -> Option<Arc<PairSeries>> {
        self.admitted.read().unwrap_or_else(PoisonError::into_inner).get(&Asked(provider, model)).cloned()
    }

    fn other(&self, sink: &Arc<Sink>) -> Arc<PairSeries> {
        Arc::clone(self.other.get_or_init(|| Arc::new(PairSeries::register(sink, Pair::new(OTHER, OTHER)))))
    }
}

impl Last {
    fn new(id: u64, provider: &str, model: &str, series: Arc<PairSeries>) -> Self {
        Self { id, provider: provider.to_owned(), model: model.to_owned(), series }
    }

    fn is(&self, id: u64, provider: &str, model: &str) -> bool {
        self.id == id && self.model == model && self.provider == provider
    }

    /// Takes another pair, into the memory it has.
    fn replace(&mut self, id: u64, provider: &str, model: &str, series: Arc<PairSeries>) {
        (self.id, self.series) = (id, series);
        provider.clone_into(&mut self.provider);
        model.clone_into(&mut self.model);
    }
}
