//! The bot with a trace backend, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::bot::Bot;
use crate::support::page::Page;
use crate::support::server::{CollectedSpan, Collector};
use crate::support::{free_port, get, wait_for};

/// Spans are flushed when the bot is told to end, and every one has arrived when it has ended: what they say is what the bot
/// counted.
fn ends_in_order_by(signal: &str) {
    let Some(collector) = Collector::start() else { return };
    let endpoint = format!("http://{}", collector.grpc);
    // A long delay of the batch processor: what arrives was flushed at the end.
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let options =
        ["--rate", "50", "--concurrency", "8", "--latency-scale", "0.02", "--error-rate", "0.3", "--timeout", "1s"];
    let mut bot = Bot::start(&options, &variables);
    wait_for("some calls", Duration::from_secs(60), || {
        let page = get(bot.metrics, "/metrics", Duration::from_secs(1)).ok()?;
        (Page::parse(&page.body).sum("llm_requests_total") >= 20.0).then_some(())
    });
    assert!(!collector.received().contains("gen_ai."), "nothing was flushed before the end");

    bot.signal(signal);
    let status = bot.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}: {}", bot.stderr());
    let tally = bot.tally(Duration::from_secs(30));
    let calls: u64 = tally.iter().map(|pair| pair.requests).sum();
    // A message, the task that answers it, and its call.
    let spans = collector.spans(3 * calls as usize);
    let (calls_seen, around): (Vec<_>, Vec<_>) =
        spans.iter().partition(|span| span.attributes.contains_key("gen_ai.request.model"));
    assert_eq!((calls_seen.len() as u64, around.len() as u64), (calls, 2 * calls));
    for span in &calls_seen {
        assert_eq!(span.kind, "SPAN_KIND_CLIENT");
        let parent_of = |span: &CollectedSpan| {
            let is_parent = |other: &&&CollectedSpan| (&other.id, &other.trace) == (&span.parent, &span.trace);
            *around.iter().find(is_parent).unwrap_or_else(|| panic!("no parent of {span:?}"))
        };
        let task = parent_of(span);
        assert_eq!([&task.name, &parent_of(task).name], ["invoke_agent answer", "bot.message"], "{span:?}");
        let failed = span.attributes.contains_key("error.type");
        assert_eq!(span.status, if failed { "STATUS_CODE_ERROR" } else { "STATUS_CODE_UNSET" }, "{span:?}");
        assert!(failed || span.attributes.contains_key("gen_ai.usage.output_tokens"), "{span:?}");
    }
    for pair in &tally {
        let model = format!("Str({})", pair.model);
        let of_pair: Vec<_> =
            calls_seen.iter().filter(|span| span.attributes["gen_ai.request.model"] == model).collect();
        assert!(of_pair.iter().all(|span| span.name == format!("chat {}", pair.model)), "{of_pair:?}");
        let mut errors = BTreeMap::new();
        for error in of_pair.iter().filter_map(|span| span.attributes.get("error.type")) {
            *errors.entry(error.trim_start_matches("Str(").trim_end_matches(')').to_owned()).or_default() += 1;
        }
        assert_eq!((of_pair.len() as u64, &errors), (pair.requests, &pair.errors), "{model}");
    }
}

#[test]
fn ctrl_c_flushes_every_span_and_exits_with_0() {
    ends_in_order_by("INT");
}

#[test]
fn sigterm_flushes_every_span_and_exits_with_0() {
    ends_in_order_by("TERM");
}

#[test]
fn a_bot_whose_server_is_away_counts_network_errors_and_exits_with_0() {
    let options = ["--calls", "10", "--rate", "100", "--timeout", "2s", "--model", "llama3.2", "--provider", "ollama"];
    let address = format!("http://127.0.0.1:{}/v1", free_port());
    let mut bot = Bot::start(&options, &[("OPENAI_BASE_URL", address.as_str()), ("OPENAI_API_KEY", "none")]);
    let status = bot.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}: {}", bot.stderr());
    let tally = bot.tally(Duration::from_secs(30));
    let [pair] = tally.as_slice() else { panic!("one pair: {tally:?}") };
    assert_eq!((pair.requests, pair.errors.get("network").copied()), (10, Some(10)), "{pair:?}");
}

#[test]
fn the_bots_quantiles_lie_in_the_buckets_of_the_page() {
    let bot = Bot::start(&["--calls", "20", "--rate", "50", "--error-rate", "0", "--linger", "60s"], &[]);
    let tally = bot.tally(Duration::from_secs(60));
    let page = Page::parse(&get(bot.metrics, "/metrics", Duration::from_secs(60)).expect("the page is served").body);
    for pair in &tally {
        let mut buckets: Vec<(f64, f64)> = page
            .of("llm_duration_bucket")
            .into_iter()
            .filter(|(labels, _)| labels["provider"] == pair.provider && labels["model"] == pair.model)
            .map(|(labels, count)| (labels["le"].parse().expect("a bound"), count))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (quantile, milliseconds) in [(0.5, pair.p50_ms), (0.95, pair.p95_ms)] {
            let rank = (quantile * pair.requests as f64).ceil();
            let at = buckets.iter().position(|(_, count)| *count >= rank).expect("the last bucket has all");
            let below = if at == 0 { 0.0 } else { buckets[at - 1].0 };
            let seconds = milliseconds as f64 / 1000.0;
            // The bot's clock starts a little before the call's.
            assert!((0.9 * below..=1.1 * buckets[at].0 + 0.1).contains(&seconds), "{seconds} s: {pair:?} {buckets:?}");
        }
    }
}
