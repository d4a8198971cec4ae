//! Text and JSON with holes: compiled once, rendered into bytes many times.
//!
//! The JSON side is the tree [`Json`], which `plan` builds from YAML; the text side is [`Text`], which
//! is Handlebars: its parser is used, its tree is walked here, so that numbers keep their digits, an
//! absent value is never an empty string, and escaping follows the place. Neither knows a file or a
//! call: names are bound to roots by whoever compiles ([`crate::path::Bind`]).
//!
//! The way of a text: `tags.rs` finds its tags, `compile.rs` makes a `program.rs` of them, `render.rs`
//! runs it, `escape.rs` and `url.rs` guard what comes out. `choice.rs` is `PATH ?? PATH ?? JSON`,
//! `json.rs` renders trees.

pub mod choice;
mod compile;
pub mod escape;
pub mod json;
mod program;
mod render;
mod tags;
pub mod url;

use crate::path::{Bind, Env, Root};
use choice::Choice;
use program::Piece;

/// Names of the context document that are no calls.
pub const RESERVED: [&str; 9] = [
    "request", "errors", "degraded", "each", "reply", "row", "keys", "item", "env",
];

/// Where a text ends up, which decides how its values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path of a call. A value is one segment: everything but unreserved is percent-encoded;
    /// empty, `.` and `..` are refused.
    Path,
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
    /// What is wrong with it, in a few words, without any value in it.
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
    place: Place,
    pieces: Vec<Piece>,
    /// Of a path: the literal text before the first hole.
    prefix: Box<str>,
    /// The text, if there is no hole in it.
    constant: Option<Box<str>>,
    /// A path in the place of a text: its value is the whole text.
    choice: Option<Choice>,
}

impl Text {
    /// Compiles Handlebars text. `fills` are the texts that stand for the placeholder characters
    /// U+FDD0 + n in `source` (what `${…}` was filled with): they are never looked into.
    pub fn parse(source: &str, fills: &[String], place: Place) -> Result<Text, Error> {
        let tags = tags::scan(source)?;
        if place == Place::Path {
            url::check(source, fills, &tags)?;
        }
        let mut pieces = compile::compile(source, fills, &tags)?;
        if place == Place::Path {
            program::each_literal(&mut pieces, &mut |text| *text = url::encode(text).into());
        }
        let constant = match pieces.as_slice() {
            [] => Some("".into()),
            [Piece::Literal(text)] => Some(text.clone()),
            _ => None,
        };
        let prefix = match pieces.first() {
            Some(Piece::Literal(text)) => text.clone(),
            _ => "".into(),
        };
        Ok(Text {
            place,
            pieces,
            prefix,
            constant,
            choice: None,
        })
    }

    /// A path where a text is wanted: its value as text; absent is a failure, as in a hole.
    pub fn of_choice(choice: Choice, place: Place) -> Text {
        Text {
            place,
            pieces: Vec::new(),
            prefix: "".into(),
            constant: None,
            choice: Some(choice),
        }
    }

    /// The text if it has no holes (fills put in).
    pub fn constant(&self) -> Option<&str> {
        self.constant.as_deref()
    }

    pub fn bind(&mut self, binder: &mut dyn Bind) -> Result<(), Error> {
        match &mut self.choice {
            Some(choice) => choice.bind(binder),
            None => program::each_name(&mut self.pieces, &mut |name| program::bind(name, binder)),
        }
    }

    /// Says which roots are `{name...}` parameters: alone in a hole, such a value keeps its `/`.
    pub fn mark_rest(&mut self, is_rest: impl Fn(Root) -> bool) {
        let marked = program::each_name(&mut self.pieces, &mut |name| {
            if let program::From::Root { root, rest } = &mut name.from {
                *rest = name.keys.is_empty() && is_rest(*root);
            }
            Ok(())
        });
        debug_assert!(marked.is_ok(), "marking refuses nothing");
    }

    /// The roots that must have a value: those of holes that stand outside `default` and blocks.
    pub fn required_roots(&self) -> Vec<Root> {
        program::required_roots(&self.pieces)
    }

    /// Appends the text. On a failure `out` is as long as before.
    pub fn render(&self, env: &Env<'_>, out: &mut String) -> Result<(), Failure> {
        if let Some(constant) = &self.constant {
            out.push_str(constant);
            return Ok(());
        }
        let before = out.len();
        let rendered = render::render(self, env, out);
        if rendered.is_err() {
            out.truncate(before);
        }
        rendered
    }
}

/// What a YAML text is by the first two of the four rules.
#[derive(Clone, Debug)]
pub enum Scalar {
    Choice(Choice),
    Text(Text),
}

/// Decides whether a text is a path (`$.`, `$[`) or Handlebars.
pub fn scalar(source: &str, fills: &[String], place: Place) -> Result<Scalar, Error> {
    if is_path(source) {
        return choice::parse(source, false).map(Scalar::Choice);
    }
    if source == "$" {
        let help = "write `$.request` or the path of what you need; `$$.` writes `$.` literally";
        return Err(tags::error(
            0,
            1,
            "`$` alone is the whole context document",
            help,
        ));
    }
    let literal = source.strip_prefix('$').filter(|rest| is_path(rest));
    Text::parse(literal.unwrap_or(source), fills, place).map(Scalar::Text)
}

fn is_path(source: &str) -> bool {
    source.starts_with("$.") || source.starts_with("$[")
}

impl Scalar {
    pub fn bind(&mut self, binder: &mut dyn Bind) -> Result<(), Error> {
        match self {
            Scalar::Choice(choice) => choice.bind(binder),
            Scalar::Text(text) => text.bind(binder),
        }
    }
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

/// A key of a JSON template: the name it writes, and its mark. A doubled mark or `$` is literal.
pub fn key(written: &str) -> Result<(String, Mark), Error> {
    let name = written
        .strip_prefix('$')
        .filter(|rest| rest.starts_with('$'));
    let name = name.unwrap_or(written);
    let (name, mark) = if name.ends_with("??") || name.ends_with("!!") {
        (&name[..name.len() - 1], Mark::Null)
    } else if let Some(name) = name.strip_suffix('?') {
        (name, Mark::LeaveOut)
    } else if let Some(name) = name.strip_suffix('!') {
        (name, Mark::Require)
    } else {
        (name, Mark::Null)
    };
    if name.is_empty() && mark != Mark::Null {
        let help = "put a name before the mark; a key that really is `?` or `!` is written twice";
        return Err(tags::error(0, written.len(), "a mark without a name", help));
    }
    Ok((name.to_owned(), mark))
}
