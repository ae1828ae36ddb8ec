//! The summary that a program prints at its end.

use std::time::Duration;

use botticelli_obs::{Builder, ErrorType, LlmCall, Summary, Usage, llm_duration};

use crate::support::in_own_process;

#[test]
fn a_summary_says_what_the_calls_came_to() {
    in_own_process(&[], || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        assert_eq!(telemetry.summary(), Summary::default(), "nothing was called yet");

        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(12, 30));
        call.finish();
        LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Timeout);
        LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
        for _ in 0..10 {
            llm_duration!("ollama", "llama3.2", Duration::from_millis(960));
        }
        botticelli_obs::declare("groq", "quiet");

        let summary = telemetry.summary();
        let [gemini, groq, ollama] = summary.models() else { panic!("three models: {summary:?}") };
        assert_eq!((gemini.provider.as_str(), gemini.model.as_str()), ("gemini", "gemini-2.5-flash"));
        assert_eq!((gemini.calls, gemini.errors, gemini.tokens), (3, 2, 42));
        assert!(gemini.p50.expect("there were calls") < Duration::from_secs(1));
        assert_eq!((groq.calls, groq.p50, groq.p95), (0, None, None));
        // All ten lie in the bucket from 0.64 s to 1.28 s, where they are taken to be spread evenly.
        assert_eq!(ollama.p50.map(|time| time.as_millis()), Some(960));
        assert_eq!(ollama.p95.map(|time| time.as_millis()), Some(1248));

        let table = summary.to_string();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["provider", "model", "calls", "errors", "tokens", "p50", "p95"]);
        assert_eq!(lines[2], ["groq", "quiet", "0", "0", "0", "-", "-"]);
        assert_eq!(lines[3], ["ollama", "llama3.2", "0", "0", "0", "0.96", "s", "1.25", "s"]);
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "columns are aligned:\n{table}");
        telemetry.shutdown(Duration::from_secs(5)).expect("there is nothing to lose");
    });
}

#[test]
fn a_summary_has_the_cost_where_any_is_looked_up() {
    in_own_process(&[], || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        for cost in [0.25, 0.5, -1.0] {
            let mut call = LlmCall::start("openrouter", "openai/gpt-4o");
            call.record_cost(cost);
            call.finish();
        }
        let mut unknown = LlmCall::start("perplexity", "sonar");
        unknown.record_cost(f64::NAN);
        unknown.finish();
        LlmCall::start("ollama", "llama3.2").finish();
        let summary = telemetry.summary();
        let costs: Vec<_> = summary.models().iter().map(|model| (model.cost, model.cost_unknown)).collect();
        assert_eq!(costs, [(None, 0), (Some(0.75), 1), (None, 1)]);
        let table = summary.to_string();
        let cells: Vec<&str> = table.lines().map(|line| line[line.len() - 32..].trim()).collect();
        assert_eq!((cells[0], cells[1]), ("cost", "-"), "{table}");
        assert!(cells[2].ends_with("0.7500 USD, unknown for 1 call"), "{table}");
        assert!(cells[3].ends_with("unknown for 1 call"), "{table}");
    });
}
