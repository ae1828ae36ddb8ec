//! Budgets of a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use botticelli_obs::{Budget, Builder, metrics};

use super::{page, paid};
use crate::support::page::Page;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_budget_is_on_the_page_and_answers_before_a_call() {
    let budget = Budget::daily("bot", 1.0);
    let before = SystemTime::now();
    let (recorder, page) = Builder::new().add_budget(&budget).recorder().expect("a recorder");
    let read = || Page::parse(&page.render());
    assert_eq!(read().value("llm_budget_limit_usd", &[("budget", "bot")]), 1.0);
    assert_eq!(read().value("llm_budget_spent_usd", &[("budget", "bot")]), 0.0);
    metrics::with_local_recorder(&recorder, || paid(0.75));
    assert_eq!(budget.check(), Ok(()));
    metrics::with_local_recorder(&recorder, || paid(0.25));
    let error = budget.check().expect_err("it is spent");
    assert!(error.to_string().starts_with("the budget `bot` of today is spent: 1 of 1 USD since "), "{error}");
    assert!(error.status().since <= before);
    assert_eq!(read().value("llm_budget_spent_usd", &[("budget", "bot")]), 1.0);
}

#[test]
fn a_threshold_is_told_once_on_a_thread_of_the_crate() {
    let (tell, told) = mpsc::channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let budget = Budget::daily("bot", 1.0)
        .with_callback(0.8, move |status| {
            let _ = tell.send((status.spent, thread::current().name().map(str::to_owned)));
        })
        .with_callback(2.0, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
    let (recorder, _page) = Builder::new().add_budget(&budget).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || (0..19).for_each(|_| paid(0.1)));
    let (spent, thread) = told.recv_timeout(LIMIT).expect("the callback is called");
    assert!((0.8..=1.9).contains(&spent), "{spent}");
    assert_eq!(thread.as_deref(), Some("botticelli-obs-budget"));
    // The next report comes, and the first threshold is not told again before the second one.
    metrics::with_local_recorder(&recorder, || paid(0.1));
    crate::support::wait_for("the second threshold is told", LIMIT, || {
        (calls.load(Ordering::Relaxed) == 1).then_some(())
    });
    assert!(told.try_recv().is_err());
}

#[test]
fn a_callback_that_panics_or_blocks_stops_neither_others_nor_the_page() {
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let (tell, told) = mpsc::channel();
    let budget = Budget::daily("bot", 1.0)
        .with_callback(0.5, |_| panic!("on purpose"))
        .with_callback(0.6, move |_| {
            let _ = blocked.lock().expect("no panic").recv();
        })
        .with_callback(0.9, move |_| {
            let _ = tell.send(());
        });
    let (recorder, page) = Builder::new().add_budget(&budget).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || paid(0.7));
    crate::support::wait_for("the callbacks are taken", LIMIT, || {
        metrics::with_local_recorder(&recorder, || paid(0.2));
        told.try_recv().ok()
    });
    assert!(Page::parse(&page.render()).value("llm_budget_spent_usd", &[("budget", "bot")]) >= 0.9);
    drop(release);
}

#[test]
fn a_budget_that_is_none_is_an_error_of_the_install() {
    for (budget, why) in [
        (Budget::daily("bot", 0.0), "the budget `bot` has 0 USD a day: it must be more than 0"),
        (Budget::daily("bot", f64::NAN), "the budget `bot` has NaN USD a day: it must be more than 0"),
        (Budget::daily(" ", 1.0), "a budget needs a name"),
        (
            Budget::daily("bot", 1.0).with_callback(-1.0, |_| ()),
            "the budget `bot` has a callback at -1: it must be more than 0, such as 0.8",
        ),
    ] {
        let error = Builder::new().add_budget(&budget).recorder().expect_err(why);
        assert_eq!(error.to_string(), format!("add_budget: {why}"));
    }
}

#[test]
fn budgets_of_no_builder_are_never_spent() {
    let budget = Budget::daily("bot", 0.01);
    page(|| paid(5.0));
    assert_eq!(budget.check(), Ok(()));
}
