//! A YAML document as a tree whose every part knows where it stands.

use crate::diagnostic::Span;

/// A value and where it stands. The span of a quoted scalar includes its quotes.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Null,
    Boolean(bool),
    /// A number as JSON spells it, digit by digit.
    Number(String),
    Text(Text),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

/// A scalar that is text. Where `${…}` was filled in, `source` holds the placeholder U+FDD0 + n and
/// `fills[n]` what stands for it; a scalar with fills is always `Text`, whatever it looks like.
#[derive(Clone, Debug)]
pub struct Text {
    pub source: String,
    pub fills: Vec<String>,
    /// For each byte of `source`, where it comes from in the file is `offsets(byte)`.
    pub origin: Origin,
}

/// Maps offsets in a scalar's text to offsets in its file.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The text stands in the file as it is, from this byte on.
    Verbatim(u32),
    /// (offset in the text, offset in the file) wherever the two part: escapes, folds, fills.
    Mapped(Vec<(u32, u32)>),
}

impl Text {
    /// What is written, with the fills put in. Not to be shown to anyone.
    pub fn filled(&self) -> String {
        unimplemented!()
    }
}

impl Node {
    /// The member of this name, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value),
            _ => None,
        }
    }
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
    /// The part `offset..offset+length` of a text scalar, as a place in the file; the whole scalar
    /// for any other node.
    pub fn part(&self, _offset: usize, _length: usize) -> Span {
        unimplemented!()
    }
}
