//! Text and JSON with holes: compiled once, rendered into bytes many times.
//!
//! The JSON side is the tree [`Json`], which `plan` builds from YAML; the text side is [`Text`], which
//! is Handlebars: its parser is used, its tree is walked here, so that numbers keep their digits, an
//! absent value is never an empty string, and escaping follows the place. Neither knows a file or a
//! call: names are bound to roots by whoever compiles ([`crate::path::Bind`]).

use crate::path::{Bind, Condition, Env, Query, Root};

/// Where a text ends up, which decides how its values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One segment of a path: everything but unreserved is percent-encoded; empty, `.`, `..` refused.
    PathSegment,
    /// A query value or form field: percent-encoded by whoever builds the query, so plain here.
    Query,
    /// A header value: CR, LF, NUL and other control bytes are refused.
    Header,
    /// Plain text.
    Plain,
}

/// Why a template is refused when it is read: byte offset and length within its text.
pub type Error = crate::path::Error;

/// Why a template could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The path or hole that failed, as the operator wrote it.
    pub path: String,
    pub root: Option<Root>,
    /// One sentence, without any value in it.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The value is absent or of a type that cannot stand there (`missing_value`).
    Missing,
    /// A value that may not stand in a URL or header (`bad_value`).
    Bad,
}

/// A text with holes.
#[derive(Clone, Debug)]
pub struct Text {
    _todo: (),
}

impl Text {
    /// Compiles Handlebars text. `fills` are the texts that stand for the placeholder characters
    /// U+FDD0 + n in `source` (what `${…}` was filled with): they are never looked into.
    pub fn parse(_source: &str, _fills: &[String], _place: Place) -> Result<Text, Error> {
        unimplemented!()
    }
    /// The text if it has no holes (fills put in).
    pub fn constant(&self) -> Option<&str> {
        unimplemented!()
    }
    pub fn bind(&mut self, _binder: &mut dyn Bind) -> Result<(), Error> {
        unimplemented!()
    }
    /// Appends the text. On a failure `out` is as long as before.
    pub fn render(&self, _env: &Env<'_>, _out: &mut String) -> Result<(), Failure> {
        unimplemented!()
    }
}

/// `PATH ?? PATH ?? JSON`.
#[derive(Clone, Debug)]
pub struct Choice {
    pub queries: Vec<Query>,
    /// The literal at the end, as JSON bytes.
    pub literal: Option<Box<[u8]>>,
}

/// What a key's mark says about an absent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `key`: null.
    Null,
    /// `key?`: left out.
    LeaveOut,
    /// `key!`: an error.
    Require,
}

/// A JSON template. `Query`s in it are bound.
#[derive(Clone, Debug)]
pub enum Json {
    /// JSON bytes that are the same every time.
    Constant(Box<[u8]>),
    Choice(Choice),
    Text(Text),
    Object(Vec<Member>),
    Array(Vec<Json>),
    For {
        variable: Root,
        source: Choice,
        filter: Option<Condition>,
        each: Box<Json>,
    },
    If {
        condition: Condition,
        then: Box<Json>,
        otherwise: Box<Json>,
    },
    First(Query),
    Count(Query),
    Merge(Vec<Json>),
}

#[derive(Clone, Debug)]
pub struct Member {
    /// The key as a JSON string followed by `:`, ready to be written.
    pub key: Box<[u8]>,
    pub mark: Mark,
    pub value: Json,
}

impl Json {
    /// Appends the value to `out`. `Ok(false)`: absent, nothing was written.
    pub fn render(&self, _env: &Env<'_>, _out: &mut Vec<u8>) -> Result<bool, Failure> {
        unimplemented!()
    }
}

impl Choice {
    pub fn render(&self, _env: &Env<'_>, _out: &mut Vec<u8>) -> Result<bool, Failure> {
        unimplemented!()
    }
    pub fn text(&self) -> String {
        unimplemented!()
    }
}
pub mod escape {
    pub fn push_query(_out: &mut String, _key: &str, _value: &str) {}
    pub fn push_form(_out: &mut String, _key: &str, _value: &str) {}
}
