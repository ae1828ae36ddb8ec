//! The labels of a series.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A set of labels, and how both text formats write it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSet {
    labels: Box<[(Box<str>, Box<str>)]>,
    /// `name="value",name="value"`, without braces.
    text: Box<str>,
}

impl LabelSet {
    /// Makes a set of names and values, in the order of the page. Names must be valid and different.
    pub(crate) fn new<N: Into<Box<str>>, V: Into<Box<str>>>(labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let labels: Box<[(Box<str>, Box<str>)]> =
            labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut text = String::new();
        for (name, value) in &labels {
            write_label(&mut text, name, value);
        }
        Self { labels, text: text.into() }
    }
}

fn write_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// The labels of one series: a set that other series share, and at most one more label of a closed set of values.
///
/// A pair of provider and model has some thirty series. What they have in common is kept once.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    set: Arc<LabelSet>,
    /// A reference, because most labels have none and a snapshot holds many.
    third: Option<&'static (&'static str, &'static str)>,
}

impl Labels {
    pub(crate) fn new(set: Arc<LabelSet>) -> Self {
        Self { set, third: None }
    }

    /// Adds a label, a name and a value that needs no escape, in place of one of that name.
    pub(crate) fn with(set: Arc<LabelSet>, third: &'static (&'static str, &'static str)) -> Self {
        let (name, _) = *third;
        if set.labels.iter().all(|(label, _)| **label != *name) {
            return Self { set, third: Some(third) };
        }
        let others = set.labels.iter().filter(|(label, _)| **label != *name);
        let set = LabelSet::new(others.map(|(name, value)| (&**name, &**value)));
        Self { set: Arc::new(set), third: Some(third) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.labels.iter().map(|(name, value)| (&**name, &**value)).chain(self.third.copied())
    }

    /// Returns the value of a label, empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
    }

    /// Returns what makes it this series: the labels sorted by name.
    pub(crate) fn identity(&self) -> Vec<(String, String)> {
        let mut labels: Vec<_> = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.sort();
        labels
    }

    /// Returns how many bytes [`write`](Self::write) appends.
    pub(super) fn text_len(&self) -> usize {
        self.set.text.len() + self.third.map_or(0, |(name, value)| name.len() + value.len() + ",=\"\"".len())
    }

    /// Appends the labels as the text formats write them, without braces; returns whether there are any.
    pub(super) fn write(&self, page: &mut Vec<u8>) -> bool {
        page.extend_from_slice(self.set.text.as_bytes());
        if let Some((name, value)) = self.third {
            if !self.set.text.is_empty() {
                page.push(b',');
            }
            page.extend_from_slice(name.as_bytes());
            page.extend_from_slice(b"=\"");
            page.extend_from_slice(value.as_bytes());
            page.push(b'"');
        }
        !self.set.text.is_empty() || self.third.is_some()
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        Self::new(Arc::new(LabelSet::new(labels)))
    }
}

/// The order of the page: by the values, label by label.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.labels
            .iter()
            .map(|(_, value)| value)
            .cmp(other.labels.iter().map(|(_, value)| value))
            .then_with(|| self.labels.cmp(&other.labels))
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.set.cmp(&other.set).then_with(|| self.third.cmp(&other.third)))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
