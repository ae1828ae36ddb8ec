//! What a call learns before it ends, and how the facts of inner calls are added.

use std::time::Duration;

use super::answer::Answer;
use crate::cost::Billing;
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::usage::Usage;

/// What a call has learnt about itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<ErrorType>,
    /// How long the call has waited on this side.
    pub(super) waited: Duration,
    pub(super) finish_reasons: FinishReasons,
    pub(super) response_model: Option<Box<str>>,
    pub(super) response_id: Option<Box<str>>,
    /// What the HTTP answer to the last request has said, if it has failed.
    pub(super) answer: Option<Box<Answer>>,
    pub(super) billing: Option<Box<Billing>>,
}

impl Facts {
    #[inline]
    pub(super) fn clear(&mut self) {
        self.usage = None;
        self.error = None;
        self.waited = Duration::ZERO;
        if !self.finish_reasons.is_empty() {
            self.finish_reasons = FinishReasons::default();
        }
        self.response_model = None;
        self.response_id = None;
        self.answer = None;
        self.billing = None;
    }

    /// Whether they say nothing of how the call went.
    #[cfg(feature = "span-metrics")]
    pub(super) fn is_silent(&self) -> bool {
        self.usage.is_none()
            && self.error.is_none()
            && self.finish_reasons.is_empty()
            && self.response_model.is_none()
            && self.response_id.is_none()
    }

    /// Adds those of a later try: tokens add up, of everything else the last word counts.
    pub(super) fn add(&mut self, later: Self) {
        self.usage = match (self.usage, later.usage) {
            (Some(usage), Some(more)) => Some(usage + more),
            (usage, more) => more.or(usage),
        };
        self.error = later.error;
        self.waited = self.waited.saturating_add(later.waited);
        if !later.finish_reasons.is_empty() {
            self.finish_reasons = later.finish_reasons;
        }
        self.response_model = later.response_model.or(self.response_model.take());
        self.response_id = later.response_id.or(self.response_id.take());
        self.answer = later.answer;
        match (&mut self.billing, later.billing) {
            (Some(billing), Some(later)) => billing.add(*later),
            (billing, later) => *billing = billing.take().or(later),
        }
    }

    /// Fills what is missing from those of inner calls.
    pub(super) fn fill_from(&mut self, inner: Self) {
        self.usage = match (self.usage, inner.usage) {
            (Some(usage), Some(inner)) => Some(usage.filled_from(inner)),
            (usage, inner) => usage.or(inner),
        };
        self.waited = self.waited.saturating_add(inner.waited);
        if self.error == Some(ErrorType::Unknown) {
            self.error = inner.error.or(self.error);
        }
        if self.finish_reasons.is_empty() {
            self.finish_reasons = inner.finish_reasons;
        }
        self.response_model = self.response_model.take().or(inner.response_model);
        self.response_id = self.response_id.take().or(inner.response_id);
        self.answer = self.answer.take().or(inner.answer);
        match (&mut self.billing, inner.billing) {
            (Some(billing), Some(inner)) => billing.fill_from(*inner),
            (billing, inner) => *billing = billing.take().or(inner),
        }
    }

    pub(super) fn answer(&mut self) -> &mut Answer {
        self.answer.get_or_insert_default()
    }
}
