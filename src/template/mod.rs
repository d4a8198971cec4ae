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
use render::Halt;

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
        if place == Place::Header {
            check_header(source, fills)?;
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

    /// The path, if it is one and no text with holes.
    pub fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
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
        self.run(env, out).map_err(|halt| match halt {
            Halt::Absent(failure) | Halt::Failed(failure) => failure,
        })
    }

    /// The same where an absent value makes the whole text absent: `Ok(false)`, nothing was written.
    pub fn render_present(&self, env: &Env<'_>, out: &mut String) -> Result<bool, Failure> {
        match self.run(env, out) {
            Ok(()) => Ok(true),
            Err(Halt::Absent(_)) => Ok(false),
            Err(Halt::Failed(failure)) => Err(failure),
        }
    }

    fn run(&self, env: &Env<'_>, out: &mut String) -> Result<(), Halt> {
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

    /// Moves every place in it: it was parsed from the part of a text that begins at `offset`.
    fn shift(&mut self, offset: usize) {
        let moved = program::each_name(&mut self.pieces, &mut |name| {
            name.offset += offset;
            Ok(())
        });
        debug_assert!(moved.is_ok(), "moving refuses nothing");
    }
}

/// Refuses literal text that no header can hold.
fn check_header(source: &str, fills: &[String]) -> Result<(), Error> {
    let is_refused = |character: char| character.is_ascii_control() && character != '\t';
    for (offset, character) in source.char_indices() {
        let filled = compile::fill(character.encode_utf8(&mut [0; 4]), fills);
        if filled.contains(is_refused) {
            let message = "a line break or another control character in a header";
            let help = "write the value on one line";
            return Err(tags::error(offset, character.len_utf8(), message, help));
        }
    }
    Ok(())
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
    let Some(literal) = source.strip_prefix('$').filter(|rest| is_path(rest)) else {
        return Text::parse(source, fills, place).map(Scalar::Text);
    };
    match Text::parse(literal, fills, place) {
        Ok(mut text) => {
            text.shift(1);
            Ok(Scalar::Text(text))
        }
        Err(fault) => Err(Error {
            offset: fault.offset + 1,
            ..fault
        }),
    }
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

/// A key of a JSON template: the name it writes, and its mark. A doubled mark at the end and a
/// doubled `$` at the beginning are literal.
pub fn key(written: &str) -> Result<(String, Mark), Error> {
    let refuse = |message: String, help: &str| Err(tags::error(0, written.len(), message, help));
    if written.contains("{{") {
        let help = "write the key as it is; a value may hold `{{ }}`";
        return refuse("`{{` in a key".to_owned(), help);
    }
    let name = match written.strip_prefix('$') {
        Some(rest) if rest.starts_with('$') => rest,
        Some(_) => {
            let help = format!("a key that really begins with `$` is written `${written}`");
            return refuse(format!("unknown key `{written}`"), &help);
        }
        None => written,
    };
    let (name, mark) = match unmarked(name) {
        (name, Some(mark)) if name.ends_with(['?', '!']) && !name.ends_with(mark) => {
            match unmarked(&name) {
                (name, None) => (name, Some(mark)),
                (_, Some(_)) => {
                    let help = "keep one; a mark that belongs to the key itself is doubled";
                    return refuse(format!("two marks on the key `{written}`"), help);
                }
            }
        }
        unmarked => unmarked,
    };
    if name.is_empty() && mark.is_some() {
        let help = "put a name before the mark; a key that really is `?` or `!` is written twice";
        return refuse("a mark without a name".to_owned(), help);
    }
    let mark = match mark {
        Some('?') => Mark::LeaveOut,
        Some(_) => Mark::Require,
        None => Mark::Null,
    };
    Ok((name, mark))
}

/// Cuts the run of one mark at the end: of each two one is literal, an odd one is the mark.
fn unmarked(name: &str) -> (String, Option<char>) {
    let Some(mark) = name.chars().next_back().filter(|last| "?!".contains(*last)) else {
        return (name.to_owned(), None);
    };
    let base = name.trim_end_matches(mark);
    let run = name.len() - base.len();
    let literal = mark.to_string().repeat(run / 2);
    (base.to_owned() + &literal, (run % 2 == 1).then_some(mark))
}

#[cfg(test)]
mod tests;
