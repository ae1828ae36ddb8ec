//! All shapes of answers in `tests/fixtures/shapes.jsonl`: what is read of each.

use std::collections::BTreeMap;
use std::fmt::Write;

use botticelli_obs::json::{Response, StreamReader, Value};
use botticelli_obs::testing::Capture;
use botticelli_obs::{ErrorType, LlmCall, Usage};
use futures_util::{FutureExt, StreamExt, stream};

use super::text;

/// What the providers' documentation says of the shapes that are marked `debatable`, where it differs from what is expected there.
/// `tests/fixtures/README.md` has the reasons.
const DECIDED: &[(&str, &str)] = &[
    ("err_xai_403_credits", "quota"),
    ("err_siliconflow_403_balance", "quota"),
    ("err_fireworks_412", "quota"),
    ("err_nginx_499_meaning", "invalid_request"),
    ("gemini_openai_thoughts_in_total", "10/120 read 0 written 0 reasoning 0 [stop] -"),
];

pub(super) struct Shape {
    pub(super) name: String,
    json: Value,
}

pub(super) fn shapes() -> Vec<Shape> {
    let lines = text("shapes.jsonl");
    let parse = |line: &str| {
        let json: Value = line.parse().expect("a line is JSON");
        Shape { name: json["name"].as_str().expect("a name").to_owned(), json }
    };
    lines.lines().map(parse).collect()
}

impl Shape {
    fn status(&self) -> u16 {
        self.json["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status")
    }

    pub(super) fn is_answer(&self) -> bool {
        self.status() < 400
    }

    /// The body, or the events of the stream.
    pub(super) fn events(&self) -> Vec<Value> {
        match &self.json["events"] {
            Value::Array(events) => events.clone(),
            _ => vec![self.json["body"].clone()],
        }
    }

    /// What is expected, in the form of [`describe`].
    fn expected(&self) -> String {
        let decided = DECIDED.iter().find(|(name, _)| *name == self.name).map(|(_, expected)| (*expected).to_owned());
        let expected = &self.json["expected"];
        let error = expected["error_type"].as_str();
        if !self.is_answer() {
            return decided.unwrap_or_else(|| error.expect("a refusal has a class").to_owned());
        }
        let count = |name: &str| expected[name].as_u64();
        let usage = count("prompt").map(|prompt| {
            let usage = Usage::new(prompt, count("completion").expect("a count"));
            let usage = usage.with_cache_read(count("cache_read").expect("a count"));
            let usage = usage.with_cache_write(count("cache_write").expect("a count"));
            usage.with_reasoning(count("reasoning").expect("a count"))
        });
        let finish = expected["finish"].as_array().into_iter().flatten().filter_map(Value::as_str);
        decided.unwrap_or_else(|| describe(usage, finish.map(str::to_owned).collect(), error))
    }

    /// What is read, in several ways.
    fn read(&self) -> Vec<String> {
        if !self.is_answer() {
            let body = self.json["raw"].as_str().map_or_else(|| self.json["body"].to_string(), str::to_owned);
            return vec![ErrorType::from_http_response(self.status(), body.as_bytes()).to_string()];
        }
        let events = self.events();
        let mut at_once = Response::default();
        events.iter().for_each(|event| at_once.add(event));
        let mut reader = StreamReader::new();
        events.iter().for_each(|event| reader.read(format!("data: {event}\n\n").as_bytes()).for_each(drop));
        let mut documents = StreamReader::new();
        events.iter().for_each(|event| documents.read(event.to_string().as_bytes()).for_each(drop));
        let recorded = observe(stream::iter(events).map(|event| Response::read(&event)));
        let responses = [&at_once, reader.response(), documents.response()];
        responses.into_iter().map(of_response).chain([recorded]).collect()
    }
}

fn describe(usage: Option<Usage>, mut finish: Vec<String>, error: Option<&str>) -> String {
    finish.sort();
    let usage = usage.map_or_else(
        || "-/-".to_owned(),
        |usage| {
            let (read, written) = (usage.cache_read(), usage.cache_write());
            let reasoning = usage.reasoning();
            format!("{}/{} read {read} written {written} reasoning {reasoning}", usage.prompt(), usage.completion())
        },
    );
    format!("{usage} [{}] {}", finish.join(", "), error.unwrap_or("-"))
}

/// What a call learns of a response that is recorded whole.
fn of_response(response: &Response) -> String {
    let recorded = observe(stream::iter([response.clone()]));
    let usage = response.usage();
    assert_eq!(usage.is_none(), recorded.starts_with("-/-"), "{response:?}");
    recorded
}

/// What a call learns of a stream of responses.
fn observe(responses: impl futures_core::Stream<Item = Response>) -> String {
    let capture = Capture::new();
    let call = async { LlmCall::start("p", "m").wrap_stream(Box::pin(responses)).count().await };
    capture.observe(call).now_or_never();
    let llm = capture.llm("p", "m");
    let usage = Usage::new(llm.prompt_tokens().get(), llm.completion_tokens().get());
    let usage = usage.with_cache_read(llm.cache_read_tokens().get()).with_cache_write(llm.cache_write_tokens().get());
    let usage = usage.with_reasoning(llm.reasoning_tokens().get());
    let usage = Some(usage).filter(|usage| *usage != Usage::default());
    let labels = ["stop", "length", "tool_calls", "content_filter", "error", "other"];
    let times = |label: &&str| usize::try_from(llm.finished(label).get()).expect("a small number");
    let finish = labels.iter().flat_map(|label| std::iter::repeat_n((*label).to_owned(), times(label))).collect();
    let error = ErrorType::ALL.iter().find(|error| llm.errors_of(**error) == 1);
    describe(usage, finish, error.map(|error| error.as_str()))
}

#[test]
fn every_shape_is_read_right() {
    let shapes = shapes();
    assert_eq!(shapes.len(), 424);
    let mut wrong = BTreeMap::<String, Vec<String>>::new();
    for shape in &shapes {
        let expected = shape.expected();
        let read = shape.read();
        if read.iter().any(|read| *read != expected) {
            let kind = format!(
                "{}{}",
                shape.json["provider"].as_str().unwrap_or_default(),
                if shape.json["debatable"] == true { ", debatable" } else { "" }
            );
            wrong.entry(kind).or_default().push(format!("{}: {expected}\n      is read as {read:?}", shape.name));
        }
    }
    let count: usize = wrong.values().map(Vec::len).sum();
    let mut report = format!("{} of {} are read right", shapes.len() - count, shapes.len());
    for (kind, names) in wrong {
        let _ = write!(report, "\n{kind}:");
        names.iter().for_each(|name| {
            let _ = write!(report, "\n    {name}");
        });
    }
    assert_eq!(count, 0, "{report}");
}
