//! Reads JSON of any size as it arrives, and keeps the fields that matter in bounded memory.

use serde_json::{Map, Value};

use super::names::{self, Content, Keep, Share};

/// The longest text that is kept whole, in bytes of JSON. Of a longer one the beginning is kept.
const MAX_TEXT: usize = 4096;
/// The longest name and the longest number.
const MAX_WORD: usize = 64;
/// Further items of an array are passed over.
const MAX_ITEMS: usize = 128;
/// Deeper objects and arrays are passed over.
const MAX_DEPTH: usize = 12;
/// What may be kept of one document in each [`Share`], in bytes. So what stands last has room after any amount of content.
const ROOM: [usize; 3] = [16 * 1024, 28 * 1024, 16 * 1024];
/// What a value takes beside its text, and what an object takes for its first fields.
const NODE: usize = 64;
const FIELDS: usize = 640;

#[derive(Debug, Default)]
enum State {
    /// A value must follow.
    #[default]
    Value,
    /// An item of an array, or its end.
    Item,
    /// A name, or the end of the object.
    Name,
    Colon,
    /// A comma, or the end.
    After,
    Text {
        is_name: bool,
        is_escaped: bool,
        is_kept: bool,
        is_cut: bool,
    },
    Literal {
        is_kept: bool,
    },
    /// A value of which nothing is kept.
    Skip {
        depth: usize,
        in_text: bool,
        is_escaped: bool,
    },
    /// It is no JSON. Nothing more is read of this document.
    Broken,
}

#[derive(Debug)]
enum Container {
    Object(Map<String, Value>),
    Array(Vec<Value>),
}

#[derive(Debug)]
struct Frame {
    container: Container,
    /// The name of the value that follows, if it is kept.
    name: Option<&'static str>,
    /// What is kept of the values: of that of the name, or of the items.
    keep: Option<Keep>,
    share: Share,
    /// Whether what follows the name, or an item, is content.
    content: Content,
    /// It is an error: whether it has any fields matters, too.
    is_error: bool,
}

/// A reader of one JSON document after the other.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    frames: Vec<Frame>,
    token: Vec<u8>,
    /// What is used of [`ROOM`].
    used: [usize; 3],
    done: Option<Value>,
    /// A text has begun that is content unless it is empty.
    may_be_content: bool,
    has_content: bool,
}

impl Scanner {
    /// Forgets an unfinished document.
    pub(super) fn reset(&mut self) {
        self.state = State::Value;
        self.frames.clear();
        self.token.clear();
        self.used = [0; 3];
        self.done = None;
        self.may_be_content = false;
    }

    /// Whether the last document that was read has generated content, which nothing is kept of.
    pub(super) fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether no document has begun.
    pub(super) fn is_idle(&self) -> bool {
        self.frames.is_empty() && matches!(self.state, State::Value)
    }

    /// Whether the bytes since the last document are no JSON.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Reads up to the end of a document, or to a byte that is no JSON. Returns how many bytes it has read, and what is kept of the
    /// document if it is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Value>) {
        let mut read = 0;
        while read < bytes.len() {
            let rest = &bytes[read..];
            if self.may_be_content {
                self.may_be_content = false;
                self.has_content |= rest[0] != b'"';
            }
            read += match self.state {
                State::Text { .. } => self.text(rest),
                State::Literal { .. } => self.literal(rest),
                State::Skip { .. } => self.skip(rest),
                State::Broken => return (read, None),
                _ => {
                    self.structure(rest[0]);
                    1
                }
            };
            if let Some(value) = self.done.take() {
                self.reset();
                return (read, Some(value));
            }
        }
        (read, None)
    }

    fn structure(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            return;
        }
        match (&self.state, byte) {
            (State::Item, b']') | (State::Name, b'}') => self.close(),
            (State::Value | State::Item, _) => self.begin(byte),
            (State::Name, b'"') => self.begin_text(true, true),
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => {
                self.state = match self.frames.last().map(|frame| &frame.container) {
                    Some(Container::Object(_)) => State::Name,
                    _ => State::Value,
                };
            }
            (State::After, b'}' | b']') => self.close(),
            _ => self.state = State::Broken,
        }
    }

    /// Begins a value.
    fn begin(&mut self, byte: u8) {
        let (keep, inside, is_full) = match self.frames.last() {
            None => {
                self.has_content = false;
                (Some(Keep::Containers), Share::Root, false)
            }
            Some(frame) => {
                let is_full = matches!(&frame.container, Container::Array(items) if items.len() >= MAX_ITEMS);
                let inside = frame.name.map_or(frame.share, |name| frame.share.inside(name));
                (frame.keep, inside, is_full)
            }
        };
        let is_root = self.frames.is_empty();
        let is_error = self.frames.last().is_some_and(|frame| match &frame.name {
            Some(name) => matches!(*name, "error" | "errors"),
            None => frame.is_error,
        });
        let is_kept = !is_full && self.has_room();
        let scalar = is_kept && matches!(keep, Some(Keep::Scalars | Keep::All));
        let container = is_kept && matches!(keep, Some(Keep::Containers | Keep::All)) && self.frames.len() < MAX_DEPTH;
        // Items keep their indices.
        if !is_full && self.has_room() && !(if matches!(byte, b'{' | b'[') { container } else { scalar }) {
            if let Some(Frame { container: Container::Array(items), .. }) = self.frames.last_mut() {
                items.push(Value::Null);
            }
            self.charge(NODE / 2);
        }
        match (byte, self.frames.last().map_or(Content::No, |frame| frame.content)) {
            (b'"', Content::Text) => self.may_be_content = true,
            (b'{', Content::Object) => self.has_content = true,
            _ => {}
        }
        match byte {
            b'{' | b'[' if container => {
                self.charge(NODE);
                let (container, keep, state) = match byte {
                    b'{' => (Container::Object(Map::new()), None, State::Name),
                    _ => (Container::Array(Vec::new()), keep, State::Item),
                };
                // Items of an array are what the array is.
                let content = match (&container, self.frames.last()) {
                    (Container::Array(_), Some(frame)) => frame.content,
                    _ => Content::No,
                };
                self.frames.push(Frame { container, name: None, keep, share: inside, content, is_error });
                self.state = state;
            }
            b'{' | b'[' => self.state = State::Skip { depth: 1, in_text: false, is_escaped: false },
            _ if is_root => self.state = State::Broken,
            b'"' if scalar => self.begin_text(false, true),
            b'"' => self.state = State::Skip { depth: 0, in_text: true, is_escaped: false },
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.token.clear();
                self.token.push(byte);
                self.state = State::Literal { is_kept: scalar };
            }
            _ => self.state = State::Broken,
        }
    }

    fn begin_text(&mut self, is_name: bool, is_kept: bool) {
        self.token.clear();
        self.state = State::Text { is_name, is_escaped: false, is_kept, is_cut: false };
    }

    /// The share of a value in the current container.
    fn share(&self) -> usize {
        self.frames.last().map_or(Share::Root, |frame| frame.share) as usize
    }

    fn has_room(&self) -> bool {
        self.used[self.share()] < ROOM[self.share()]
    }

    fn charge(&mut self, bytes: usize) {
        let share = self.share();
        self.used[share] += bytes;
    }

    fn text(&mut self, bytes: &[u8]) -> usize {
        let State::Text { is_name, mut is_escaped, is_kept, mut is_cut } = self.state else { return bytes.len() };
        let mut end = None;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let room = (if is_name { MAX_WORD } else { MAX_TEXT }).saturating_sub(self.token.len());
        is_cut |= text.len() > room;
        self.token.extend_from_slice(&text[..text.len().min(room)]);
        self.state = State::Text { is_name, is_escaped, is_kept, is_cut };
        let Some(end) = end else { return bytes.len() };
        if is_name {
            self.name(is_cut);
        } else {
            let text = decode(&self.token, is_cut);
            self.add(text.into());
        }
        end + 1
    }

    fn name(&mut self, is_cut: bool) {
        self.state = State::Colon;
        let is_escaped = self.token.contains(&b'\\');
        let known = match is_escaped {
            _ if is_cut => names::known(b""),
            true => names::known(decode(&self.token, false).as_bytes()),
            false => names::known(&self.token),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.keep = known.keep;
            frame.content = known.content;
            frame.name = known.keep.map(|_| known.name);
            if let (true, Container::Object(fields)) = (frame.is_error, &mut frame.container)
                && fields.is_empty()
            {
                fields.insert(String::new(), Value::Null);
            }
        }
    }

    fn literal(&mut self, bytes: &[u8]) -> usize {
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        let end = bytes.iter().position(is_end);
        let word = &bytes[..end.unwrap_or(bytes.len())];
        if word.len() > MAX_WORD.saturating_sub(self.token.len()) {
            self.state = State::Broken;
            return word.len();
        }
        self.token.extend_from_slice(word);
        if end.is_some() {
            let is_kept = matches!(self.state, State::Literal { is_kept: true });
            match serde_json::from_slice(&self.token) {
                Ok(value) if is_kept => self.add(value),
                Ok(_) => self.state = State::After,
                Err(_) => self.state = State::Broken,
            }
        }
        word.len()
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let State::Skip { mut depth, mut in_text, mut is_escaped } = self.state else { return bytes.len() };
        for (at, byte) in bytes.iter().enumerate() {
            match (in_text, byte) {
                (true, _) if is_escaped => is_escaped = false,
                (true, b'\\') => is_escaped = true,
                (_, b'"') => in_text = !in_text,
                (false, b'{' | b'[') => depth += 1,
                (false, b'}' | b']') => depth -= 1,
                _ => {}
            }
            if depth == 0 && !in_text {
                self.state = State::After;
                return at + 1;
            }
        }
        self.state = State::Skip { depth, in_text, is_escaped };
        bytes.len()
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let value = match frame.container {
            Container::Object(fields) => Value::Object(fields),
            Container::Array(items) => Value::Array(items),
        };
        if self.frames.is_empty() {
            self.done = Some(value);
        } else {
            self.insert(value);
        }
    }

    /// Adds a text or a literal.
    fn add(&mut self, value: Value) {
        self.charge(NODE + value.as_str().map_or(0, str::len));
        self.insert(value);
    }

    fn insert(&mut self, value: Value) {
        self.state = State::After;
        let share = self.share();
        match self.frames.last_mut() {
            Some(Frame { container: Container::Object(fields), name, .. }) => {
                if let Some(name) = name.take() {
                    self.used[share] += if fields.is_empty() { FIELDS } else { 0 };
                    fields.insert(name.to_owned(), value);
                }
            }
            Some(Frame { container: Container::Array(items), .. }) => items.push(value),
            None => {}
        }
    }
}

/// Decodes the inside of a JSON text. Of a text that is cut, a part of a character at its end is left out.
fn decode(raw: &[u8], is_cut: bool) -> String {
    let is_plain = !raw.contains(&b'\\');
    if let (true, Ok(text)) = (is_plain, std::str::from_utf8(raw)) {
        return text.to_owned();
    }
    // The longest part that can be missing at the end is a pair of `\u` escapes.
    let cuts = if is_cut { 12 } else { 0 };
    let decoded = (0..=cuts.min(raw.len())).find_map(|cut| {
        let quoted = [b"\"", &raw[..raw.len() - cut], b"\""].concat();
        serde_json::from_slice(&quoted).ok()
    });
    decoded.unwrap_or_else(|| String::from_utf8_lossy(raw).into_owned())
}
