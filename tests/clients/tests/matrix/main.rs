//! The same calls through each kind of source, on one page.

mod page;
mod server;
mod sources;

use botticelli_obs::{Builder, LlmCall, SpanMetrics, metrics};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use page::{Counts, counts, forget, merge_errors, sum};
use server::{MODEL, Server, prompt};
use sources::{Ask, Client};

const CALLS: usize = 300;

/// The calls of each kind: whole, and streamed.
const KINDS: [bool; 2] = [false, true];

/// Makes the calls, half of them streamed, and returns what is on the page then.
fn page(server: &Server, make: impl AsyncFn(Ask<'_>)) -> Counts {
    page_of_kinds(server, &KINDS, make)
}

fn page_of_kinds(server: &Server, kinds: &[bool], make: impl AsyncFn(Ask<'_>)) -> Counts {
    counts(&text(server, kinds, make))
}

fn text(server: &Server, kinds: &[bool], make: impl AsyncFn(Ask<'_>)) -> String {
    let (recorder, metrics) = Builder::new().recorder().expect("it starts");
    let subscriber = Registry::default().with(SpanMetrics::layer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    metrics::with_local_recorder(&recorder, || {
        botticelli_obs::tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(async {
                for number in 0..CALLS / KINDS.len() {
                    for &is_streamed in kinds {
                        make(Ask { url: server.url(), prompt: prompt(number), is_streamed }).await;
                    }
                }
            });
        });
    });
    // Tasks of clients that still read end with it.
    drop(runtime);
    metrics.render()
}

fn page_of(server: &Server, client: Client) -> Counts {
    page(server, async |ask| client.ask(ask).await)
}

fn page_by_hand(server: &Server) -> Counts {
    page(server, sources::guard)
}

const FIRST_CHUNKS: &str = "llm_time_to_first_chunk_seconds_count";
const CHUNK_GAPS: &str = "llm_time_per_output_chunk_seconds_count";

#[test]
fn guard_counts_what_the_server_did() {
    let server = Server::start();
    let counts = page_by_hand(&server);
    assert_eq!(server.requests(), CALLS);
    assert_eq!(sum(&counts, "llm_requests_total"), CALLS as f64);
    let successes = (0..CALLS).filter(|number| matches!(prompt(number / KINDS.len()), "stop" | "length")).count();
    assert_eq!(sum(&counts, "llm_errors_total"), (CALLS - successes) as f64);
    assert_eq!(sum(&counts, "llm_tokens_total"), 42.0 * successes as f64);
    assert_eq!(sum(&counts, "llm_tokens_cache_read_total"), 8.0 * successes as f64);
}

#[test]
fn middleware_has_the_same_page() {
    let server = Server::start();
    assert_eq!(page_of(&server, Client::Middleware), page_by_hand(&server));
}

#[test]
fn layer_in_async_openai_has_the_same_page() {
    let server = Server::start();
    assert_eq!(page_of(&server, Client::AsyncOpenAi), page_by_hand(&server));
}

/// rig's spans have neither the class of a failure, nor finish reasons, nor the times of chunks.
fn without_what_rig_leaves_out(mut counts: Counts) -> Counts {
    forget(&mut counts, &[FIRST_CHUNKS, CHUNK_GAPS, "llm_finish_total"]);
    let classes = ["rate_limit", "quota", "auth", "context_length", "server_error", "stream"];
    merge_errors(&mut counts, &classes, "unknown");
    counts
}

#[test]
fn bridge_with_rig_has_the_same_page_but_for_what_rig_leaves_out() {
    let server = Server::start();
    let page = page_of(&server, Client::Rig { has_middleware: false });
    assert_eq!(page, without_what_rig_leaves_out(page_by_hand(&server)));
}

/// genai's spans have a status where the body would say more, `web_stream` for all failures to open a stream, nothing for a stream that is
/// cut, and no times between chunks.
#[test]
fn bridge_with_genai_has_the_same_page_but_for_what_genai_leaves_out() {
    let server = Server::start();
    for is_streamed in KINDS {
        let genai = page_of_kinds(&server, &[is_streamed], async |ask| Client::GenAi.ask(ask).await);
        let mut by_hand = page_of_kinds(&server, &[is_streamed], sources::guard);
        if is_streamed {
            forget(&mut by_hand, &[CHUNK_GAPS]);
            merge_errors(&mut by_hand, &["stream"], "cancelled");
            merge_errors(&mut by_hand, &["rate_limit", "quota", "auth", "context_length", "server_error"], "stream");
        } else {
            merge_errors(&mut by_hand, &["quota"], "rate_limit");
            merge_errors(&mut by_hand, &["context_length"], "invalid_request");
            merge_errors(&mut by_hand, &["stream"], "network");
        }
        assert_eq!(genai, by_hand, "streamed: {is_streamed}");
    }
}

/// Makes each call inside one by hand that records nothing of its own.
fn page_around(server: &Server, client: Client) -> Counts {
    page(server, async |ask| {
        let mut call = LlmCall::start("openai", MODEL);
        call.scope(client.ask(ask)).await;
        call.finish();
    })
}

#[test]
fn two_sources_together_count_each_call_once() {
    let server = Server::start();
    let by_hand = page_by_hand(&server);
    let rig_with_middleware = Client::Rig { has_middleware: true };
    for client in [Client::Middleware, Client::AsyncOpenAi, Client::Rig { has_middleware: false }, Client::GenAi] {
        let both = page_around(&server, client);
        for name in ["llm_requests_total", "llm_tokens_total", "llm_tokens_reasoning_total"] {
            assert_eq!(sum(&both, name), sum(&by_hand, name), "{name} of the guard around {client:?}");
        }
    }
    // Together they know nearly all that the guard does.
    let mut both = page_of(&server, rig_with_middleware);
    assert_eq!(sum(&both, "llm_attempts_total"), CALLS as f64);
    forget(&mut both, &["llm_attempts_total", "llm_attempt_errors_total", "llm_attempt_duration_seconds_count"]);
    let mut known = by_hand.clone();
    forget(&mut known, &[FIRST_CHUNKS, CHUNK_GAPS]);
    assert_eq!(both, known, "rig over the middleware");
    let all = page_around(&server, rig_with_middleware);
    assert_eq!(sum(&all, "llm_requests_total"), CALLS as f64);
    assert_eq!(sum(&all, "llm_attempts_total"), CALLS as f64);
    assert_eq!(sum(&all, "llm_tokens_total"), sum(&by_hand, "llm_tokens_total"));
}

#[test]
fn attempts_and_waits_are_as_the_server_has_them() {
    let server = Server::start();
    let page = text(&server, &KINDS, async |_| {
        let mut call = LlmCall::start("openai", MODEL);
        call.scope(sources::with_retry(server.url())).await;
        call.finish();
    });
    let value = |series: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.split(' ').next_back());
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}: {page}"))
    };
    assert_eq!(server.requests(), 2 * CALLS);
    assert_eq!(value("llm_requests_total{"), CALLS as f64);
    assert_eq!(value("llm_attempts_total{"), server.requests() as f64);
    assert_eq!(value("llm_attempt_duration_seconds_count{"), server.requests() as f64);
    let refused = format!(r#"llm_attempt_errors_total{{provider="openai",model="{MODEL}",error_type="rate_limit"}}"#);
    assert_eq!(value(&refused), CALLS as f64);
    // What the limiter took is in the waits, and in no attempt.
    assert_eq!(value("llm_wait_seconds_count{"), CALLS as f64);
    let waited = 2.0 * sources::LIMITER.as_secs_f64() * CALLS as f64;
    assert_eq!(value("llm_wait_seconds_sum{"), waited);
    assert!(value("llm_attempt_duration_seconds_sum{") < waited);
}
