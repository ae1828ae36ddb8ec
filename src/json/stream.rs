//! Reads the responses out of the bytes of a stream.

use serde_json::Value;

use super::scan::Scanner;
use super::{Callers, Response, api::Api, failure};

/// How long the name of a field or of an event, and a word such as `[DONE]`, may be. Longer ones are none that is known.
const MAX_WORD: usize = 64;

/// Reads the answers of a provider out of the bytes of a stream, cut anywhere.
///
/// It reads server-sent events, JSON documents one after the other (Ollama) and one array of them (Gemini), and recognises the format
/// by the first byte. A whole JSON body is one document. Bytes that belong to none of these give nothing; it never fails.
///
/// It keeps at most 64 KiB, however long an event is: texts and whatever else no fact is in are passed over.
///
/// ```
/// use botticelli_obs::Usage;
/// use botticelli_obs::json::{StreamEnd, StreamReader};
///
/// let mut reader = StreamReader::new();
/// let chunks = ["data: {\"usage\": {\"prompt_to", "kens\": 12, \"completion_tokens\": 3}}\n\nda", "ta: [DONE]\n\n"];
/// let responses: usize = chunks.iter().map(|chunk| reader.read(chunk.as_bytes()).count()).sum();
/// assert_eq!(responses, 1);
/// assert_eq!(reader.response().usage(), Some(Usage::new(12, 3)));
/// assert_eq!(reader.end(), StreamEnd::Seen);
/// ```
///
/// In a call, each response is recorded as it comes:
///
/// ```
/// use botticelli_obs::json::{StreamEnd, StreamReader};
/// use botticelli_obs::{ErrorType, LlmCall, Outcome};
///
/// fn record(chunks: impl Iterator<Item = Vec<u8>>) {
///     let mut call = LlmCall::builder("openai", "gpt-4o").with_streaming().start();
///     let mut reader = StreamReader::new();
///     for chunk in chunks {
///         for response in reader.read(&chunk) {
///             call.record_chunk();
///             response.record_in(&mut call);
///         }
///     }
///     match reader.end() {
///         StreamEnd::Missing => call.fail(ErrorType::Stream),
///         _ => call.finish(),
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct StreamReader {
    api: Option<Api>,
    format: Format,
    scanner: Scanner,
    line: Line,
    /// The name of a field, or the value of `event` or of `data`, as far as it may be a word.
    word: Word,
    /// The name of the event that is being read is `error`.
    is_error: bool,
    /// The last byte was a carriage return: a line feed after it ends no further line.
    after_return: bool,
    callers: Callers,
    response: Response,
    end: StreamEnd,
    /// The choices that have begun and those that have finished, as bits.
    choices: [u128; 2],
    /// The last event has generated content.
    has_content: bool,
}

/// Whether the end marker of a stream was seen, such as `[DONE]`, `message_stop` or `"done": true`.
///
/// A stream that breaks off has none. That it has ended well can't be seen from the connection alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The format is not recognised, or it has no end marker, like Gemini's events and whole bodies.
    #[default]
    Unknown,
    /// The format has an end marker, and it has not come.
    Missing,
    /// The end marker has come, or a failure, after which none comes.
    Seen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Undecided,
    /// This many bytes of a byte order mark were read.
    Mark(usize),
    Events,
    Documents,
    Array,
    /// The array has ended.
    Ended,
}

/// Where in a line of server-sent events the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    Name,
    /// After the colon, where one space is passed over.
    Space(Field),
    Value(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Other,
}

/// The beginning of a text, and whether that is all of it.
#[derive(Clone, Debug, Default)]
struct Word {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Word {
    fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = MAX_WORD.saturating_sub(self.bytes.len());
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn is(&self, word: &[u8]) -> bool {
        !self.is_cut && self.bytes.trim_ascii() == word
    }
}

impl StreamReader {
    /// Creates a reader that guesses the API.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a reader for a known API, as [`Response::read_as`] reads it.
    pub fn with_api(api: Api) -> Self {
        Self { api: Some(api), ..Self::default() }
    }

    /// Reads the next bytes. Returns the response of each event that is complete with them; an event without facts gives an empty
    /// response.
    ///
    /// The iterator reads as it is asked for. Whatever is left when it is dropped is read then.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Responses<'a> {
        Responses { reader: self, bytes }
    }

    /// Reads the data of one event that another reader of server-sent events has taken from the stream. Returns `None` for
    /// `[DONE]`, and for what is no JSON.
    ///
    /// ```
    /// use botticelli_obs::json::{StreamEnd, StreamReader};
    ///
    /// let mut reader = StreamReader::new();
    /// let response = reader.read_event(br#"{"choices": [{"index": 0, "finish_reason": "stop"}]}"#).unwrap_or_default();
    /// assert!(response.finish_reasons().eq(["stop"]));
    /// assert_eq!(reader.end(), StreamEnd::Missing);
    /// assert_eq!(reader.read_event(b"[DONE]"), None);
    /// assert_eq!(reader.end(), StreamEnd::Seen);
    /// ```
    pub fn read_event(&mut self, data: &[u8]) -> Option<Response> {
        self.format = Format::Events;
        if data.trim_ascii() == b"[DONE]" {
            self.end = StreamEnd::Seen;
            return None;
        }
        self.scanner.reset();
        let (_, event) = self.scanner.feed(data);
        self.scanner.reset();
        event.map(|event| self.take(&event))
    }

    /// Returns the facts of all events so far.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Returns whether the end marker was seen so far.
    pub fn end(&self) -> StreamEnd {
        // The last line may have no end.
        match self.line {
            Line::Value(Field::Data) if self.word.is(b"[DONE]") => StreamEnd::Seen,
            _ => self.end,
        }
    }

    /// Reads up to the end of an event. Returns how many bytes it has read, and the response of the event.
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Response>) {
        match self.format {
            Format::Undecided | Format::Mark(_) => (self.decide(bytes[0]), None),
            Format::Ended => (bytes.len(), None),
            Format::Events => self.events(bytes),
            Format::Documents => self.documents(bytes),
            Format::Array => self.array(bytes),
        }
    }

    /// Decides by a byte which format it is. Returns 1 if the byte is no part of it.
    fn decide(&mut self, byte: u8) -> usize {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        let marked = if let Format::Mark(marked) = self.format { marked } else { 0 };
        let (format, read) = match byte {
            _ if MARK.get(marked) == Some(&byte) => (Format::Mark(marked + 1), 1),
            _ if byte.is_ascii_whitespace() => (Format::Undecided, 1),
            b'{' => (Format::Documents, 0),
            b'[' => (Format::Array, 1),
            _ => (Format::Events, 0),
        };
        self.format = format;
        if format == Format::Array {
            self.end = StreamEnd::Missing;
        }
        read
    }

    fn documents(&mut self, bytes: &[u8]) -> (usize, Option<Response>) {
        if !self.scanner.is_broken() {
            let (read, event) = self.scanner.feed(bytes);
            return (read, event.map(|event| self.take(&event)));
        }
        // What is no JSON ends with its line.
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.scanner.reset();
                (end + 1, None)
            }
            None => (bytes.len(), None),
        }
    }

    fn array(&mut self, bytes: &[u8]) -> (usize, Option<Response>) {
        if self.scanner.is_broken() {
            self.format = Format::Ended;
            return (bytes.len(), None);
        }
        match bytes[0] {
            byte if self.scanner.is_idle() && (byte == b',' || byte.is_ascii_whitespace()) => (1, None),
            b']' if self.scanner.is_idle() => {
                (self.format, self.end) = (Format::Ended, StreamEnd::Seen);
                (1, None)
            }
            _ => {
                let (read, event) = self.scanner.feed(bytes);
                (read, event.map(|event| self.take(&event)))
            }
        }
    }

    /// Reads server-sent events. An event is read as soon as its JSON is complete, since some servers leave out the empty line
    /// after it.
    fn events(&mut self, bytes: &[u8]) -> (usize, Option<Response>) {
        let after_return = std::mem::take(&mut self.after_return);
        match (self.line, bytes[0]) {
            (Line::Start, b'\n') if after_return => (1, None),
            (Line::Start, byte @ (b'\n' | b'\r')) => {
                self.scanner.reset();
                self.is_error = false;
                self.after_return = byte == b'\r';
                (1, None)
            }
            (Line::Start, _) => {
                self.word.clear();
                self.line = Line::Name;
                (0, None)
            }
            (Line::Name, _) => (self.name(bytes), None),
            (Line::Space(field), byte) => {
                self.line = Line::Value(field);
                (usize::from(byte == b' '), None)
            }
            (Line::Value(field), _) => self.value(field, bytes),
        }
    }

    fn name(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| matches!(byte, b':' | b'\n' | b'\r'));
        self.word.add(&bytes[..end.unwrap_or(bytes.len())]);
        let Some(end) = end else { return bytes.len() };
        if bytes[end] == b':' {
            self.line = Line::Space(match () {
                () if self.word.is(b"data") => Field::Data,
                () if self.word.is(b"event") => Field::Event,
                () => Field::Other,
            });
            self.word.clear();
        } else {
            self.start_line(bytes[end]);
        }
        end + 1
    }

    fn value(&mut self, field: Field, bytes: &[u8]) -> (usize, Option<Response>) {
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let value = &bytes[..end.unwrap_or(bytes.len())];
        if field == Field::Data && !self.scanner.is_broken() {
            let (read, event) = self.scanner.feed(value);
            if let Some(event) = event {
                self.word.add(&value[..read]);
                return (read, Some(self.take(&event)));
            }
        }
        self.word.add(value);
        let Some(end) = end else { return (bytes.len(), None) };
        match field {
            Field::Data if self.word.is(b"[DONE]") => {
                self.end = StreamEnd::Seen;
                self.scanner.reset();
            }
            Field::Data if self.scanner.is_broken() => self.scanner.reset(),
            // The data of an event may have several lines.
            Field::Data => {
                self.scanner.feed(b"\n");
            }
            Field::Event => self.is_error = self.word.is(b"error"),
            Field::Other => {}
        }
        self.start_line(bytes[end]);
        (end + 1, None)
    }

    fn note_choices(&mut self, event: &Value, response: &Response) {
        let bit = |choice: usize| u32::try_from(choice).ok().and_then(|choice| 1_u128.checked_shl(choice)).unwrap_or(0);
        let [begun, finished] = &mut self.choices;
        for (at, choice) in event["choices"].as_array().into_iter().flatten().enumerate() {
            let index = choice["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            *begun |= bit(index.unwrap_or(at));
        }
        if *begun != 0 {
            response.finish_reasons.iter().for_each(|(choice, _)| *finished |= bit(choice));
        }
    }

    /// Whether every choice of a chat has finished: then servers that send no `[DONE]` have sent all.
    #[cfg(feature = "_http-layer")]
    pub(crate) fn has_finished_choices(&self) -> bool {
        let [begun, finished] = self.choices;
        begun != 0 && begun & !finished == 0
    }

    fn start_line(&mut self, line_end: u8) {
        self.line = Line::Start;
        self.after_return = line_end == b'\r';
    }

    /// Reads an event.
    fn take(&mut self, event: &Value) -> Response {
        let mut response = Response { callers: self.callers, ..Response::default() };
        // Other events of OpenAI's responses repeat what the request or earlier events have said.
        let name = event["type"].as_str().unwrap_or_default();
        self.has_content = self.scanner.has_content() && (!name.starts_with("response.") || name.ends_with(".delta"));
        response.add_as(self.api, event);
        if self.is_error && response.failure.is_none() {
            response.failure = Some(failure::of_error_event(event));
        }
        self.callers = response.callers;
        self.note_choices(event, &response);
        self.response.merge(&response);
        match end_after(event) {
            _ if self.end == StreamEnd::Seen => {}
            _ if response.failure.is_some() => self.end = StreamEnd::Seen,
            StreamEnd::Unknown => {}
            // A whole body has choices, too, and no end marker.
            StreamEnd::Missing if self.format == Format::Documents && event["choices"].is_array() => {}
            end => self.end = end,
        }
        response
    }
}

/// Returns whether an event is the last of its format, or shows that one must follow.
fn end_after(event: &Value) -> StreamEnd {
    const LAST: &[&str] = &[
        "message_stop",
        "message-end",
        "stream-end",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
        "response.done",
        "interaction.completed",
        "interaction.incomplete",
        "interaction.failed",
        "interaction.cancelled",
        "interaction.requires_action",
    ];
    // Anthropic, Cohere in its two versions, OpenAI's responses, Gemini's interactions.
    const OTHERS: &[&str] = &[
        "message_",
        "content_block_",
        "message-",
        "content-",
        "tool-call-",
        "stream-start",
        "response.",
        "interaction.",
        "step.",
    ];
    let name = event["type"].as_str().or(event["event_type"].as_str()).unwrap_or_default();
    if LAST.contains(&name) {
        return StreamEnd::Seen;
    }
    match event["done"].as_bool() {
        Some(true) => StreamEnd::Seen,
        Some(false) => StreamEnd::Missing,
        None if event["choices"].is_array() || OTHERS.iter().any(|other| name.starts_with(other)) => StreamEnd::Missing,
        None => StreamEnd::Unknown,
    }
}

/// The responses of the events in some bytes of a stream: see [`StreamReader::read`].
#[derive(Debug)]
#[must_use = "each response has facts to record"]
pub struct Responses<'a> {
    reader: &'a mut StreamReader,
    bytes: &'a [u8],
}

impl Responses<'_> {
    /// Returns whether the event of the last response has content that was generated: text, reasoning, or a call of a tool. The first
    /// events of a stream often have none.
    ///
    /// ```
    /// use botticelli_obs::json::StreamReader;
    ///
    /// let mut reader = StreamReader::new();
    /// let mut responses = reader.read(br#"{"message": {"role": "assistant", "content": ""}} {"message": {"content": "Venus"}}"#);
    /// responses.next();
    /// assert!(!responses.has_content());
    /// responses.next();
    /// assert!(responses.has_content());
    /// ```
    pub fn has_content(&self) -> bool {
        self.reader.has_content
    }
}

impl Iterator for Responses<'_> {
    type Item = Response;

    fn next(&mut self) -> Option<Response> {
        while !self.bytes.is_empty() {
            let (read, response) = self.reader.step(self.bytes);
            self.bytes = &self.bytes[read..];
            if response.is_some() {
                return response;
            }
        }
        None
    }
}

impl Drop for Responses<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
