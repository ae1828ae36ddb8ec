//! The providers and models that have series of their own.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use hashbrown::{Equivalent, HashMap};

use super::label::{OTHER, clean_name_of_pair};
use super::sink::Sink;
use crate::series::{Pair, PairSeries};

/// The series of every pair up to the bound; all further ones share those of (`other`, `other`).
///
/// A pair is admitted once for all `llm` metrics together, so that what the page says of it is whole.
pub(super) struct Pairs {
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

/// The series of a pair.
pub(super) enum Admission {
    Admitted(Arc<PairSeries>),
    /// Those of (`other`, `other`), as there were too many pairs before.
    Folded(Arc<PairSeries>),
}

impl Pairs {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, admitted: RwLock::default(), other: OnceLock::new() }
    }

    /// Returns the series of a pair, whose names need not be clean.
    pub(super) fn admit(&self, provider: &str, model: &str, sink: &Arc<Sink>) -> Admission {
        if let Some(known) = self.get(provider, model) {
            return Admission::Admitted(known);
        }
        let (provider, model) = (clean_name_of_pair(provider), clean_name_of_pair(model));
        if (&*provider, &*model) == (OTHER, OTHER) {
            return Admission::Admitted(self.other(sink));
        }
        if let Some(known) = self.get(&provider, &model) {
            return Admission::Admitted(known);
        }
        if self.admitted.read().unwrap_or_else(PoisonError::into_inner).len() >= self.limit {
            return Admission::Folded(self.other(sink));
        }
        let mut admitted = self.admitted.write().unwrap_or_else(PoisonError::into_inner);
        let room = admitted.len() < self.limit;
        match admitted.entry(Names(provider.into(), model.into())) {
            hashbrown::hash_map::Entry::Occupied(known) => Admission::Admitted(Arc::clone(known.get())),
            hashbrown::hash_map::Entry::Vacant(vacant) if room => {
                let pair = Pair::new(&vacant.key().0, &vacant.key().1);
                Admission::Admitted(Arc::clone(vacant.insert(Arc::new(PairSeries::register(sink, pair)))))
            }
            hashbrown::hash_map::Entry::Vacant(_) => Admission::Folded(self.other(sink)),
        }
    }

    fn get(&self, provider: &str, model: &str) -> Option<Arc<PairSeries>> {
        self.admitted.read().unwrap_or_else(PoisonError::into_inner).get(&Asked(provider, model)).cloned()
    }

    fn other(&self, sink: &Arc<Sink>) -> Arc<PairSeries> {
        Arc::clone(self.other.get_or_init(|| Arc::new(PairSeries::register(sink, Pair::new(OTHER, OTHER)))))
    }
}
