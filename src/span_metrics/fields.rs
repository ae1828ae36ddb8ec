//! The fields of a span that tell of its call. Others are not read: they may hold what people and models say.

use std::fmt::{self, Write};
use std::mem;
use std::time::Duration;

use tracing::field::{Field, Visit};

use super::error_word;
use crate::call::SpanFacts;
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::operation::Operation;
use crate::usage::Usage;

/// The longest text that is kept, in bytes. Labels are shorter.
const LONGEST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Fields {
    operation: Option<Box<str>>,
    provider: Option<Box<str>>,
    model: Option<Box<str>>,
    tokens: [Option<u64>; Tokens::COUNT],
    is_error: bool,
    error_type: Option<ErrorType>,
    finish_reasons: Option<FinishReasons>,
    response_model: Option<Box<str>>,
    response_id: Option<Box<str>>,
    /// In seconds.
    first_chunk: Option<f64>,
}

/// What a field is about.
#[derive(Clone, Copy, Debug)]
enum About {
    Operation,
    Provider,
    Model,
    Tokens(Tokens),
    StatusCode,
    ErrorType,
    FinishReasons,
    ResponseModel,
    ResponseId,
    FirstChunk,
}

#[derive(Clone, Copy, Debug)]
enum Tokens {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    Reasoning,
}

impl Tokens {
    const COUNT: usize = Self::Reasoning as usize + 1;
}

impl About {
    /// By the names of the GenAI conventions, of their older versions, and of rig.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            super::OPERATION => Self::Operation,
            "gen_ai.provider.name" | "gen_ai.system" => Self::Provider,
            "gen_ai.request.model" => Self::Model,
            "gen_ai.usage.input_tokens" | "gen_ai.usage.prompt_tokens" => Self::Tokens(Tokens::Input),
            "gen_ai.usage.output_tokens" | "gen_ai.usage.completion_tokens" => Self::Tokens(Tokens::Output),
            "gen_ai.usage.cache_read.input_tokens" => Self::Tokens(Tokens::CacheRead),
            "gen_ai.usage.cache_creation.input_tokens" | "gen_ai.usage.cache_write.input_tokens" => {
                Self::Tokens(Tokens::CacheWrite)
            }
            "gen_ai.usage.reasoning.output_tokens" | "gen_ai.usage.reasoning_tokens" => Self::Tokens(Tokens::Reasoning),
            "otel.status_code" => Self::StatusCode,
            "error.type" => Self::ErrorType,
            "gen_ai.response.finish_reasons" => Self::FinishReasons,
            "gen_ai.response.model" => Self::ResponseModel,
            "gen_ai.response.id" => Self::ResponseId,
            "gen_ai.response.time_to_first_chunk" => Self::FirstChunk,
            _ => return None,
        })
    }
}

impl Fields {
    /// Takes what others have.
    pub(super) fn take_from(&mut self, newer: Self) {
        fn take<T>(older: &mut Option<T>, newer: Option<T>) {
            if newer.is_some() {
                *older = newer;
            }
        }
        take(&mut self.operation, newer.operation);
        take(&mut self.provider, newer.provider);
        take(&mut self.model, newer.model);
        for (older, newer) in self.tokens.iter_mut().zip(newer.tokens) {
            take(older, newer);
        }
        self.is_error |= newer.is_error;
        take(&mut self.error_type, newer.error_type);
        take(&mut self.finish_reasons, newer.finish_reasons);
        take(&mut self.response_model, newer.response_model);
        take(&mut self.response_id, newer.response_id);
        take(&mut self.first_chunk, newer.first_chunk);
    }

    /// Whether the operation is one that asks a model.
    pub(super) fn is_inference(&self) -> bool {
        self.operation.as_deref().is_some_and(|operation| Operation::of(operation) != Operation::Other)
    }

    /// Whether it is known which call it is.
    pub(super) fn is_call_known(&self) -> bool {
        self.is_inference() && self.provider.is_some() && self.model.is_some()
    }

    /// Returns provider, model and operation.
    pub(super) fn names(&self) -> [String; 3] {
        [&self.provider, &self.model, &self.operation].map(|name| name.as_deref().unwrap_or_default().to_owned())
    }

    /// Whether it is known how the call went.
    pub(super) fn is_told(&self) -> bool {
        self.is_error
            || self.error_type.is_some()
            || self.tokens != [None; Tokens::COUNT]
            || self.finish_reasons.is_some()
            || self.response_model.is_some()
            || self.response_id.is_some()
    }

    pub(super) fn into_facts(self) -> SpanFacts {
        let usage = (self.tokens != [None; Tokens::COUNT]).then(|| {
            let [input, output, cache_read, cache_write, reasoning] = self.tokens.map(Option::unwrap_or_default);
            Usage::new(input, output)
                .with_cache_read(cache_read)
                .with_cache_write(cache_write)
                .with_reasoning(reasoning)
        });
        SpanFacts {
            usage,
            error: self.error_type.or(self.is_error.then_some(ErrorType::Unknown)),
            finish_reasons: self.finish_reasons.unwrap_or_default(),
            response_model: self.response_model,
            response_id: self.response_id,
            first_chunk: self.first_chunk.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }

    fn take_text(&mut self, about: About, text: &str) {
        let text = text[..text.floor_char_boundary(LONGEST)].trim();
        if text.is_empty() {
            return;
        }
        let kept = || Some(Box::from(text));
        match about {
            About::Operation => self.operation = kept(),
            About::Provider => self.provider = kept(),
            About::Model => self.model = kept(),
            About::Tokens(tokens) => self.tokens[tokens as usize] = text.parse().ok(),
            About::StatusCode => self.is_error = text.eq_ignore_ascii_case("error"),
            About::ErrorType => self.error_type = Some(error_word::class(text)),
            About::FinishReasons => self.finish_reasons = finish_reasons(text),
            About::ResponseModel => self.response_model = kept(),
            About::ResponseId => self.response_id = kept(),
            About::FirstChunk => self.first_chunk = text.parse().ok(),
        }
    }

    fn take_number(&mut self, about: About, number: f64, whole: Option<u64>) {
        match about {
            About::Tokens(tokens) => self.tokens[tokens as usize] = whole,
            About::FirstChunk => self.first_chunk = Some(number),
            // A status is a number with some libraries.
            About::ErrorType => {
                let status = whole.and_then(|whole| u16::try_from(whole).ok());
                self.error_type = Some(status.map_or(ErrorType::Unknown, ErrorType::from_http_status));
            }
            _ => {}
        }
    }
}

/// Reads a list such as `["stop"]`, or `stop,length`.
fn finish_reasons(list: &str) -> Option<FinishReasons> {
    let mut reasons = FinishReasons::default();
    let words = list.split(['[', ']', ',', '"']).map(str::trim);
    words.filter(|word| !word.is_empty()).for_each(|word| reasons.add(word));
    (!reasons.is_empty()).then_some(reasons)
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(about) = About::of(field.name()) {
            self.take_text(about, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(about) = About::of(field.name()) {
            self.take_number(about, value as f64, Some(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if let Some(about) = About::of(field.name()) {
            self.take_number(about, value as f64, u64::try_from(value).ok());
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if let Some(about) = About::of(field.name()) {
            let is_count = value.fract() == 0.0 && (0.0..9e15).contains(&value);
            self.take_number(about, value, is_count.then_some(value as u64));
        }
    }

    fn record_bool(&mut self, _: &Field, _: bool) {}

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(about) = About::of(field.name()) {
            let mut text = Text::default();
            // An error is only that the text is cut.
            let _ = write!(text, "{value:?}");
            let text = mem::take(&mut text.0);
            self.take_text(about, text.trim_matches('"'));
        }
    }
}

/// A text that ends where it gets too long.
#[derive(Debug, Default)]
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LONGEST - self.0.len();
        self.0.push_str(&more[..more.floor_char_boundary(room)]);
        if more.len() <= room { Ok(()) } else { Err(fmt::Error) }
    }
}
