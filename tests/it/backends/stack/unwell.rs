//! A program in which everything goes wrong that alerts are for, and a model for each.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use botticelli_obs::{Budget, Builder, ErrorType, LlmCall, LlmTask, LlmToolCall, Usage, declare, gauge};

use crate::support::role;

pub const PROVIDER: &str = "unwell";

/// Makes calls of each kind until the test ends.
pub fn run() {
    let budget = Budget::daily("unwell", 0.01);
    let telemetry = Builder::new().with_max_series(16).add_budget(&budget).install().expect("it installs");
    for model in ["good", "bad", "idle", "limited", "broke", "locked out", "cancelled", "forgetful", "slow", "stuck"] {
        declare(PROVIDER, model);
    }
    let stuck = LlmCall::start(PROVIDER, "stuck");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64();
    gauge!("llm.last_success_timestamp", "provider" => PROVIDER, "model" => "long ago").set(now - 20.0 * 3600.0);
    let silent = [("task", "silent"), ("kind", "bot"), ("nested", "false")];
    gauge!("llm.task.last_success_timestamp", &silent).set(now - 20.0 * 3600.0);
    for number in 0..10 {
        declare(PROVIDER, format!("what user {number} has typed"));
    }
    thread::spawn(|| {
        for number in 0_u64.. {
            make_calls(number);
            thread::sleep(Duration::from_millis(250));
        }
    });
    role::wait_for_the_end();
    drop((stuck, telemetry));
}

fn make_calls(number: u64) {
    let failing = [
        ("bad", ErrorType::ServerError),
        ("limited", ErrorType::RateLimit),
        ("broke", ErrorType::Quota),
        ("locked out", ErrorType::Auth),
    ];
    for (model, error) in failing {
        let mut call = LlmCall::start(PROVIDER, model);
        call.scope_sync(|| {
            let current = LlmCall::current().expect("it is inside");
            current.record_wait(Duration::from_millis(100));
            current.attempt().fail(error);
        });
        call.fail(error);
    }
    succeed(LlmCall::start(PROVIDER, "good"));
    for (model, cost) in [("dear", 0.01), ("priceless", f64::NAN)] {
        let mut call = LlmCall::start(PROVIDER, model);
        call.record_cost(cost);
        succeed(call);
    }
    LlmTask::builder("running in circles").with_kind("agent").start().scope_sync(|| {
        for _ in 0..3 {
            LlmToolCall::builder("search").with_arguments("the same").start().finish();
        }
    });
    // Of a limit that is nearly used up.
    for (gauge, value) in [("llm.ratelimit.limit", 100.0), ("llm.ratelimit.remaining", (number % 9) as f64)] {
        gauge!(gauge, "provider" => PROVIDER, "model" => "good", "kind" => "requests").set(value);
    }
    let forgetful = LlmCall::start(PROVIDER, "forgetful");
    if number.is_multiple_of(2) {
        succeed(forgetful)
    } else {
        forgetful.finish()
    }
    let mut cancelled = LlmCall::builder(PROVIDER, "cancelled").with_streaming().start();
    cancelled.record_chunk();
    drop(cancelled);
    thread::spawn(|| {
        let mut slow = LlmCall::builder(PROVIDER, "slow").with_streaming().start();
        thread::sleep(Duration::from_secs(3));
        slow.record_chunk();
        succeed(slow);
    });
}

fn succeed(mut call: LlmCall) {
    call.record_usage(Usage::new(12, 30));
    call.finish();
}
