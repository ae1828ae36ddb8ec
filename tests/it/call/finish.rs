//! Finish reasons: the words of providers, and the label they become.

use botticelli_obs::LlmCall;
use botticelli_obs::testing::{Attribute, Capture};

#[test]
fn words_of_providers_become_one_of_six_labels() {
    let cases: &[(&str, &[&str])] = &[
        ("stop", &["stop", "STOP", "end_turn", "stop_sequence", "completed", "COMPLETE"]),
        ("length", &["length", "MAX_TOKENS", "max_tokens", "max_output_tokens", "model_context_window_exceeded"]),
        ("tool_calls", &["tool_calls", "tool_use", "function_call", "custom_tool_call"]),
        ("content_filter", &["content_filter", "SAFETY", "RECITATION", "refusal", "IMAGE_PROHIBITED_CONTENT"]),
        ("error", &["error", "MALFORMED_FUNCTION_CALL", "failed"]),
        ("other", &["OTHER", "FINISH_REASON_UNSPECIFIED", "load", "a word of tomorrow", ""]),
    ];
    for (label, words) in cases {
        for word in *words {
            let capture = Capture::new();
            capture.run(|| {
                let mut call = LlmCall::start("provider", "model");
                call.record_finish_reason(word);
                call.finish();
            });
            assert_eq!(capture.llm("provider", "model").finished(label), 1, "{word}");
        }
    }
}

#[test]
fn each_choice_counts_and_the_span_has_the_words_as_given() {
    let capture = Capture::new();
    capture.run(|| {
        let mut call = LlmCall::start("provider", "model");
        ["STOP", "MAX_TOKENS", "STOP"].into_iter().for_each(|reason| call.record_finish_reason(reason));
        call.finish();
    });
    let llm = capture.llm("provider", "model");
    assert_eq!(llm.finished("stop"), 2);
    assert_eq!(llm.finished("length"), 1);
    let given = Attribute::Texts(["STOP", "MAX_TOKENS", "STOP"].map(str::to_owned).to_vec());
    assert_eq!(capture.spans()[0].attribute("gen_ai.response.finish_reasons"), Some(given));
}
