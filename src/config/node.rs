//! A YAML document as a tree whose every part knows where it stands.

use std::hash::{Hash, Hasher};

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
    /// A value that could not be read. A finding was made, so nothing more is said about it.
    Broken,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

/// A scalar that is text. Where `${…}` was filled in, `source` holds the placeholder U+FDD0 + n and
/// `fills[n]` what stands for it; a scalar with fills is always `Text`, whatever it looks like.
#[derive(Clone)]
pub struct Text {
    pub source: String,
    pub fills: Vec<String>,
    /// For each byte of `source`, where it comes from in the file.
    pub origin: Origin,
}

/// Maps offsets in a scalar's text to offsets in its file.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The text stands in the file as it is, from this byte on.
    Verbatim(u32),
    /// (offset in the text, offset in the file) wherever the two part: escapes, folds, fills. The
    /// first is at 0, the last at the end of the text.
    Mapped(Vec<(u32, u32)>),
}

/// The first placeholder; there are as many as [`MOST_FILLS`].
pub const FIRST_PLACEHOLDER: char = '\u{fdd0}';
/// U+FDD0 to U+FDEF: characters that Unicode reserves for such use.
pub const MOST_FILLS: usize = 32;

/// Which fill a character stands for, if it is a placeholder.
pub fn placeholder(character: char) -> Option<usize> {
    let index = (character as usize).checked_sub(FIRST_PLACEHOLDER as usize)?;
    (index < MOST_FILLS).then_some(index)
}

// === impl Origin ===

impl Origin {
    /// Where the byte at `offset` of the text stands in the file.
    pub fn of(&self, offset: usize) -> u32 {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        match self {
            Origin::Verbatim(start) => start.saturating_add(offset),
            Origin::Mapped(points) => {
                let after = points.partition_point(|(text, _)| *text <= offset);
                let Some((text, file)) = after.checked_sub(1).map(|index| points[index]) else {
                    return 0;
                };
                let here = file.saturating_add(offset - text);
                points.get(after).map_or(here, |(_, next)| here.min(*next))
            }
        }
    }
}

impl Node {
    /// Whether `${…}` stands in it.
    pub fn is_filled(&self) -> bool {
        matches!(&self.kind, Kind::Text(text) if !text.fills.is_empty())
    }
}

// === impl Text ===

impl Text {
    /// What is written, with the fills put in. Not to be shown to anyone.
    pub fn filled(&self) -> String {
        if self.fills.is_empty() {
            return self.source.clone();
        }
        let mut out = String::with_capacity(self.source.len());
        for character in self.source.chars() {
            match placeholder(character).and_then(|index| self.fills.get(index)) {
                Some(fill) => out.push_str(fill),
                None => out.push(character),
            }
        }
        out
    }
}

impl std::fmt::Debug for Text {
    /// What was filled in may be secret, so only its number is shown.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Text")
            .field("source", &self.source)
            .field("fills", &self.fills.len())
            .finish_non_exhaustive()
    }
}

// === impl Node ===

impl Node {
    /// The member of this name, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, if this is a text scalar.
    pub fn text(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The part `offset..offset+length` of a text scalar, as a place in the file; the whole scalar
    /// for any other node.
    pub fn part(&self, offset: usize, length: usize) -> Span {
        let Kind::Text(text) = &self.kind else {
            return self.span;
        };
        let end = offset.saturating_add(length).min(text.source.len());
        let offset = offset.min(end);
        let start = text.origin.of(offset);
        Span {
            file: self.span.file,
            start,
            end: text.origin.of(end).max(start),
        }
    }

    /// Adds everything but its place to a hash.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        std::mem::discriminant(&self.kind).hash(hasher);
        match &self.kind {
            Kind::Null | Kind::Broken => {}
            Kind::Boolean(value) => value.hash(hasher),
            Kind::Number(digits) => digits.hash(hasher),
            Kind::Text(text) => (&text.source, &text.fills).hash(hasher),
            Kind::Sequence(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| item.fingerprint(hasher));
            }
            Kind::Mapping(entries) => {
                entries.len().hash(hasher);
                for entry in entries {
                    entry.key.hash(hasher);
                    entry.value.fingerprint(hasher);
                }
            }
        }
    }

    /// What it is, in words, with its article.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Boolean(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Broken => "a value that could not be read",
        }
    }
}
