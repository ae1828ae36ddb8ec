//! A call while it is recorded, and its end.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::facts::Facts;
use super::nesting::{Frame, Identity};
use super::{builder, span};
use crate::cost::{self, Bill, CallCost, CostOutcome, CostStatus};
use crate::error_type::ErrorType;
use crate::operation::Operation;
use crate::series::{CallDetails, CallEnd, Series, TraceIds, is_plausible};
use crate::task::Task;

/// A call that is recorded: one of its own, or a part of the call around it.
pub(super) struct Live {
    /// The call around a part, which is told what the part has learnt; `None` of a call of its own. A part has neither series nor
    /// span.
    pub(super) whole: Option<Arc<Frame>>,
    pub(super) series: Option<Series>,
    pub(super) span: Span,
    pub(super) operation: Operation,
    pub(super) started: Instant,
    pub(super) last_chunk: Option<Instant>,
    /// The time from its start to the first chunk.
    pub(super) first_chunk: Option<Duration>,
    /// `None` of a chat whose names are those of its lasting series.
    pub(super) identity: Option<Identity>,
    /// The innermost task around it.
    pub(super) task: Option<Arc<Task>>,
    /// Made when something runs inside the call.
    pub(super) frame: Option<Arc<Frame>>,
    pub(super) facts: Facts,
    /// When the time the call was given is over.
    pub(super) deadline: Option<Instant>,
    /// Whether it was started by a destructor that a panic runs.
    pub(super) unwinding: bool,
}

thread_local! {
    /// What the last call that has ended on this thread leaves for the next one: to get and return the memory takes more time than
    /// most of what is recorded.
    static SPARE: Cell<Option<Box<Live>>> = const { Cell::new(None) };
}

impl Live {
    fn new(started: Instant) -> Self {
        Self {
            whole: None,
            series: None,
            span: Span::none(),
            operation: Operation::Chat,
            started,
            last_chunk: None,
            first_chunk: None,
            identity: None,
            task: None,
            frame: None,
            facts: Facts::default(),
            deadline: None,
            unwinding: false,
        }
    }

    /// Returns one in which nothing is set that [`clear`](Self::clear) clears.
    #[inline]
    pub(super) fn spare_or_new(started: Instant) -> Box<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        spare.unwrap_or_else(|| Box::new(Self::new(started)))
    }

    /// Drops what the call has kept.
    #[inline]
    fn clear(&mut self) {
        self.whole = None;
        self.series = None;
        if !self.span.is_none() {
            self.span = Span::none();
        }
        self.last_chunk = None;
        self.first_chunk = None;
        self.identity = None;
        self.task = None;
        self.frame = None;
        self.facts.clear();
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(super) fn frame(&mut self) -> &Arc<Frame> {
        self.frame.get_or_insert_with(|| {
            let of_series = || {
                let [provider, model] = self.series.as_ref().map_or([""; 2], |series| series.names());
                Identity::new([provider, model, builder::CHAT])
            };
            let identity = self.identity.take().unwrap_or_else(of_series);
            Frame::new(identity, self.series.clone(), self.span.clone())
        })
    }

    fn end(&mut self) {
        if let Some(frame) = &self.frame {
            self.facts.fill_from(frame.close());
        }
        match &self.whole {
            Some(whole) => whole.hand_up(mem::take(&mut self.facts)),
            None => self.record_end(),
        }
    }

    fn record_end(&mut self) {
        // Measured once: the span lasts as long as the sample says.
        let elapsed = self.started.elapsed();
        let cost = self.cost_if_known();
        let trace = if self.span.is_disabled() {
            None
        } else {
            if let Some(known) = cost.and_then(|cost| cost.known()) {
                span::cost(&self.span, cost::usd(known));
            }
            span::end(mem::replace(&mut self.span, Span::none()), &self.facts, elapsed)
        };
        self.count(elapsed, cost, trace);
    }

    /// Counts the call as ended.
    #[inline]
    pub(super) fn count(&self, elapsed: Duration, cost: Option<CallCost>, trace: Option<TraceIds>) {
        let facts = &self.facts;
        if let Some(series) = &self.series {
            let finished = if facts.finish_reasons.is_empty() { [0; _] } else { facts.finish_reasons.counts() };
            series.end(&CallEnd {
                operation: self.operation,
                elapsed,
                error: facts.error,
                usage: facts.usage,
                waited: facts.waited,
                finished,
                trace,
                details: &|| self.details(cost),
            });
        }
        if let (Some(cost), Some(series)) = (&cost, &self.series) {
            series.cost(cost);
        }
        if let Some(task) = &self.task {
            self.add_to(task, cost);
        }
    }

    /// Counts the call for the tasks around it.
    #[cold]
    fn add_to(&self, task: &Task, cost: Option<CallCost>) {
        let usage = self.facts.usage.filter(is_plausible);
        task.add_call(usage.map_or(0, |usage| usage.total()), cost.and_then(|cost| cost.known()));
    }

    #[inline]
    pub(super) fn cost_if_known(&self) -> Option<CallCost> {
        if cost::are_prices_on() || self.facts.billing.is_some() { self.cost() } else { None }
    }

    /// Returns what the call has cost: the provider's figure, or else by the prices of the recorder.
    #[cold]
    fn cost(&self) -> Option<CallCost> {
        let Facts { usage, error, response_model, billing, .. } = &self.facts;
        let billing = billing.as_deref();
        let figure = billing.and_then(|billing| billing.cost);
        let outcome = CostOutcome::of(*error);
        if let Some(nano_usd) = figure.and_then(cost::nano_usd) {
            return Some(CallCost { status: CostStatus::Provider, nano_usd, outcome, has_invalid_figure: false });
        }
        let bill = Bill {
            usage: *usage,
            response_model: response_model.as_deref(),
            service_tier: billing.and_then(|billing| billing.service_tier.as_deref()),
            is_batch: billing.is_some_and(|billing| billing.is_batch),
            error: *error,
            at: None,
        };
        let priced = self.series.as_ref().and_then(|series| series.price(&bill));
        if figure.is_none() {
            return priced;
        }
        let missing = CallCost { status: CostStatus::Missing, nano_usd: 0, outcome, has_invalid_figure: true };
        Some(priced.map_or(missing, |priced| CallCost { has_invalid_figure: true, ..priced }))
    }

    #[cold]
    fn details(&self, cost: Option<CallCost>) -> CallDetails {
        let answer = self.facts.answer.as_deref();
        CallDetails {
            attempts: self.frame.as_ref().map_or(0, |frame| frame.attempts()),
            first_chunk: self.first_chunk,
            status: answer.and_then(|answer| answer.status),
            code: answer.and_then(|answer| answer.code.clone()),
            request_id: answer.and_then(|answer| answer.request_id.clone()),
            task: self.task.as_ref().and_then(|task| task.name()),
            cost_nano_usd: cost.and_then(|cost| cost.known()),
        }
    }

    /// Says why a call is dropped that has neither finished nor failed.
    fn error_of_drop(&self) -> ErrorType {
        if std::thread::panicking() && !self.unwinding {
            ErrorType::Panic
        } else if self.is_overdue() {
            ErrorType::Timeout
        } else {
            ErrorType::Cancelled
        }
    }
}

pub(super) fn end(mut live: Box<Live>) {
    live.end();
    live.clear();
    // Dropped at the end of a thread, which has no spare one any more.
    let _ = SPARE.try_with(|spare| spare.set(Some(live)));
}

/// Apart from the destructor, which nearly always finds that the call has ended.
#[cold]
pub(super) fn end_of_drop(mut live: Box<Live>) {
    if live.facts.error.is_none() {
        live.facts.error = Some(live.error_of_drop());
    }
    // A recorder that panics while the thread unwinds would abort the process.
    span::contained(|| end(live));
}
