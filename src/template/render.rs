//! Runs a compiled text over byte ranges of bodies.
//!
//! An absent value is not a failure until somebody needs it: helpers hand it on, `default` and
//! conditions take it, and only a hole stops at it ([`Halt::Absent`]).

use std::borrow::Cow;
use std::cmp::Ordering;

use base64::Engine as _;

use crate::json::{Kind, Value, write_text};
use crate::path::{Env, Root};
use crate::template::choice::Choice;
use crate::template::program::{Call, From, Helper, Name, Operand, Piece};
use crate::template::{Failure, FailureKind, Place, Text, escape, url};

/// The longest text that is rendered, in bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// How many elements all loops of one text may go through.
const MOST_ROUNDS: usize = 100_000;

/// Why a text was not rendered to its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// A hole's value is missing or null.
    Absent(Failure),
    Failed(Failure),
}

/// Appends the text; `out` may hold a part of it after a halt.
pub(super) fn render(text: &Text, env: &Env<'_>, out: &mut String) -> Result<(), Halt> {
    let start = out.len();
    let mut rendering = Rendering {
        env,
        place: text.place,
        out,
        start,
        slashes: 0,
        loops: Vec::new(),
        rounds: 0,
    };
    if let Some(choice) = &text.choice {
        let subject = Subject {
            text: choice.text(),
            root: choice.root(),
        };
        return rendering.write(&given_by(choice, env), subject, false);
    }
    rendering.pieces(&text.pieces)?;
    let slashes = rendering.slashes;
    if text.place == Place::Path && !url::holds(&out[start..], &text.prefix, slashes) {
        let subject = Subject {
            text: &text.prefix,
            root: text.required_roots().first().copied(),
        };
        return Err(subject.bad("the values in this path would change where it leads"));
    }
    Ok(())
}

/// The value of a path that stands where a text is wanted.
fn given_by<'v>(choice: &'v Choice, env: &Env<'v>) -> Given<'v> {
    let subject = Subject {
        text: choice.text(),
        root: choice.root(),
    };
    if choice.queries.iter().all(|query| query.is_singular()) {
        return choice
            .first(env)
            .map_or(Given::Absent(subject), Given::Part);
    }
    let mut made = Vec::new();
    match choice.render(env, &mut made) {
        true => Given::Made(made),
        false => Given::Absent(subject),
    }
}

struct Rendering<'v, 'o> {
    env: &'v Env<'v>,
    place: Place,
    out: &'o mut String,
    start: usize,
    /// Those that were written on purpose: literally, or by a rest parameter.
    slashes: usize,
    loops: Vec<Round<'v>>,
    rounds: usize,
}

/// The element a loop is at.
#[derive(Clone, Copy)]
struct Round<'v> {
    element: Value<'v>,
    index: usize,
    last: usize,
    root: Option<Root>,
}

/// What a failure is about: the words of the operator, and the root they read.
#[derive(Clone, Copy)]
struct Subject<'v> {
    text: &'v str,
    root: Option<Root>,
}

impl Subject<'_> {
    fn failure(self, kind: FailureKind, message: &str) -> Failure {
        Failure {
            kind,
            path: self.text.to_owned(),
            root: self.root,
            message: message.to_owned(),
        }
    }
    fn absent(self) -> Halt {
        Halt::Absent(self.failure(FailureKind::Missing, "it is absent"))
    }
    fn missing(self, message: &str) -> Halt {
        Halt::Failed(self.failure(FailureKind::Missing, message))
    }
    fn bad(self, message: &str) -> Halt {
        Halt::Failed(self.failure(FailureKind::Bad, message))
    }
}

/// A value: a part of a body, or JSON that was just made.
enum Given<'v> {
    Absent(Subject<'v>),
    Part(Value<'v>),
    Made(Vec<u8>),
}

impl Given<'_> {
    fn value(&self) -> Option<Value<'_>> {
        match self {
            Given::Absent(_) => None,
            Given::Part(value) => Some(*value),
            Given::Made(bytes) => Some(Value::trusted(bytes)),
        }
    }

    /// As in Handlebars: absent, `false`, 0, an empty text and an empty list do not hold.
    fn holds(&self) -> bool {
        let Some(value) = self.value() else {
            return false;
        };
        match value.kind() {
            Kind::Null | Kind::Boolean(false) => false,
            Kind::Boolean(true) | Kind::Object => true,
            Kind::Number => !value.equals(Value::trusted(b"0")),
            Kind::Text => value.bytes() != b"\"\"",
            Kind::Array => value.elements().next().is_some(),
        }
    }

    /// Text as it is, numbers and booleans as they came.
    fn text(&self, subject: Subject<'_>) -> Result<Cow<'_, str>, Halt> {
        let value = match self {
            Given::Absent(absent) => return Err(absent.absent()),
            Given::Part(value) => *value,
            Given::Made(bytes) => Value::trusted(bytes),
        };
        match value.kind() {
            Kind::Text => Ok(value.text().unwrap_or_default()),
            Kind::Number | Kind::Boolean(_) => Ok(String::from_utf8_lossy(value.bytes())),
            Kind::Null => Err(subject.absent()),
            Kind::Array | Kind::Object => Err(subject
                .missing("it is a list or an object, which only `json`, `join` and `len` take")),
        }
    }
}

fn made_text<'v>(text: &str) -> Given<'v> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_text(&mut out, text);
    Given::Made(out)
}

fn made_number<'v>(number: usize) -> Given<'v> {
    Given::Made(number.to_string().into_bytes())
}

fn truth<'v>(holds: bool) -> Given<'v> {
    Given::Part(Value::trusted(if holds { b"true" } else { b"false" }))
}

impl<'v> Rendering<'v, '_> {
    fn pieces(&mut self, pieces: &'v [Piece]) -> Result<(), Halt> {
        for piece in pieces {
            match piece {
                Piece::Literal(text) => {
                    self.count_slashes(text);
                    self.out.push_str(text);
                }
                Piece::Hole(operand) => self.hole(operand)?,
                Piece::If {
                    test,
                    wanted,
                    then,
                    otherwise,
                } => {
                    let holds = self.operand(test)?.holds();
                    self.pieces(if holds == *wanted { then } else { otherwise })?;
                }
                Piece::Each {
                    list,
                    body,
                    otherwise,
                } => self.each(list, body, otherwise)?,
            }
            if self.out.len() - self.start > MOST_BYTES {
                let whole = Subject {
                    text: "the text",
                    root: None,
                };
                return Err(whole.bad(&format!("it is longer than {MOST_BYTES} bytes")));
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        list: &'v Operand,
        body: &'v [Piece],
        otherwise: &'v [Piece],
    ) -> Result<(), Halt> {
        let subject = self.subject(list);
        let elements: Vec<Value<'v>> = match self.operand(list)? {
            Given::Absent(_) => Vec::new(),
            Given::Part(value) if value.kind() == Kind::Array => value.elements().collect(),
            Given::Part(_) | Given::Made(_) => {
                return Err(subject.missing("it is no list, and `#each` needs one"));
            }
        };
        if elements.is_empty() {
            return self.pieces(otherwise);
        }
        let last = elements.len() - 1;
        for (index, element) in elements.into_iter().enumerate() {
            self.rounds += 1;
            if self.rounds > MOST_ROUNDS {
                return Err(subject.bad(&format!("loops of more than {MOST_ROUNDS} rounds")));
            }
            self.loops.push(Round {
                element,
                index,
                last,
                root: subject.root,
            });
            let rendered = self.pieces(body);
            self.loops.pop();
            rendered?;
        }
        Ok(())
    }

    fn hole(&mut self, operand: &'v Operand) -> Result<(), Halt> {
        let given = self.operand(operand)?;
        self.write(&given, self.subject(operand), is_rest(operand))
    }

    /// Escapes a value by the place.
    fn write(
        &mut self,
        given: &Given<'_>,
        subject: Subject<'_>,
        is_rest: bool,
    ) -> Result<(), Halt> {
        let text = given.text(subject)?;
        let written = match self.place {
            Place::Path if is_rest => {
                self.count_slashes(&text);
                escape::rest(self.out, &text)
            }
            Place::Path => escape::segment(self.out, &text),
            Place::Header => escape::header(self.out, &text),
            Place::Query | Place::Plain => {
                self.out.push_str(&text);
                Ok(())
            }
        };
        written.map_err(|refusal| subject.bad(refusal))
    }

    fn count_slashes(&mut self, text: &str) {
        if self.place == Place::Path {
            self.slashes += text.bytes().filter(|byte| *byte == b'/').count();
        }
    }

    fn operand(&self, operand: &'v Operand) -> Result<Given<'v>, Halt> {
        let innermost = self.loops.last();
        Ok(match operand {
            Operand::Name(name) => self.present(self.name(name), operand),
            Operand::Literal(bytes) => self.present(Some(Value::trusted(bytes)), operand),
            Operand::Index => made_number(innermost.map_or(0, |round| round.index)),
            Operand::First => truth(innermost.is_some_and(|round| round.index == 0)),
            Operand::Last => truth(innermost.is_some_and(|round| round.index == round.last)),
            Operand::Call(call) => self.call(call)?,
        })
    }

    fn present(&self, value: Option<Value<'v>>, operand: &'v Operand) -> Given<'v> {
        match value {
            Some(value) if !value.is_null() => Given::Part(value),
            _ => Given::Absent(self.subject(operand)),
        }
    }

    fn name(&self, name: &Name) -> Option<Value<'v>> {
        let start = match name.from {
            From::Root { root, .. } => self.env.value(root)?,
            From::Loop { out } => self.round(out)?.element,
            From::Context => return None,
        };
        name.keys.iter().try_fold(start, |value, key| key.of(value))
    }

    fn round(&self, out: usize) -> Option<&Round<'v>> {
        self.loops.iter().rev().nth(out)
    }

    fn call(&self, call: &'v Call) -> Result<Given<'v>, Halt> {
        let mut given = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            given.push(self.operand(argument)?);
        }
        match call.helper {
            Helper::Default => {
                let chosen = given.iter().position(|given| given.value().is_some());
                Ok(given.swap_remove(chosen.unwrap_or(0)))
            }
            Helper::Json => {
                let bytes = given[0].value().unwrap_or(Value::NULL).bytes();
                Ok(made_text(&String::from_utf8_lossy(bytes)))
            }
            Helper::And => Ok(truth(given.iter().all(Given::holds))),
            Helper::Or => Ok(truth(given.iter().any(Given::holds))),
            Helper::Not => Ok(truth(!given[0].holds())),
            Helper::Equal => Ok(truth(equal(&given[0], &given[1]))),
            Helper::Unequal => Ok(truth(!equal(&given[0], &given[1]))),
            Helper::Greater => Ok(truth(ordered(&given, Ordering::is_gt))),
            Helper::GreaterOrEqual => Ok(truth(ordered(&given, Ordering::is_ge))),
            Helper::Less => Ok(truth(ordered(&given, Ordering::is_lt))),
            Helper::LessOrEqual => Ok(truth(ordered(&given, Ordering::is_le))),
            Helper::Lower
            | Helper::Upper
            | Helper::Trim
            | Helper::Base64
            | Helper::Join
            | Helper::Len => self.made(call, given),
        }
    }

    /// The value of a helper that gives an absent argument on as it is.
    fn made(&self, call: &'v Call, mut given: Vec<Given<'v>>) -> Result<Given<'v>, Halt> {
        if let Some(absent) = given.iter().position(|given| given.value().is_none()) {
            return Ok(given.swap_remove(absent));
        }
        let subject = self.subject(&call.arguments[0]);
        let first = &given[0];
        Ok(match call.helper {
            Helper::Lower => made_text(&first.text(subject)?.to_lowercase()),
            Helper::Upper => made_text(&first.text(subject)?.to_uppercase()),
            Helper::Trim => made_text(first.text(subject)?.trim()),
            Helper::Base64 => {
                let text = first.text(subject)?;
                made_text(&base64::engine::general_purpose::STANDARD.encode(text.as_bytes()))
            }
            Helper::Join => {
                let separator = given[1].text(self.subject(&call.arguments[1]))?;
                made_text(&join(first, &separator, subject)?)
            }
            _ => made_number(length(first, subject)?),
        })
    }

    /// What a failure of this operand is about.
    fn subject(&self, operand: &'v Operand) -> Subject<'v> {
        match operand {
            Operand::Name(name) => Subject {
                text: &name.text,
                root: match name.from {
                    From::Root { root, .. } => Some(root),
                    From::Loop { out } => self.round(out).and_then(|round| round.root),
                    From::Context => None,
                },
            },
            Operand::Call(call) => Subject {
                text: &call.text,
                root: call
                    .arguments
                    .iter()
                    .find_map(|argument| self.subject(argument).root),
            },
            _ => Subject {
                text: "a literal",
                root: None,
            },
        }
    }
}

/// Whether a hole holds nothing but the parameter of a path's rest.
fn is_rest(operand: &Operand) -> bool {
    matches!(
        operand,
        Operand::Name(Name {
            from: From::Root { rest: true, .. },
            ..
        })
    )
}

fn join(given: &Given<'_>, separator: &str, subject: Subject<'_>) -> Result<String, Halt> {
    let list = given.value().filter(|value| value.kind() == Kind::Array);
    let Some(list) = list else {
        return Err(subject.missing("it is no list, and `join` needs one"));
    };
    let mut out = String::new();
    for (place, element) in list.elements().enumerate() {
        if place > 0 {
            out.push_str(separator);
        }
        match element.kind() {
            Kind::Null | Kind::Array | Kind::Object => {
                let message = "an element of it is no text, number or boolean";
                return Err(subject.missing(message));
            }
            _ => out.push_str(&Given::Part(element).text(subject)?),
        }
        if out.len() > MOST_BYTES {
            return Err(subject.bad(&format!("it is longer than {MOST_BYTES} bytes")));
        }
    }
    Ok(out)
}

fn length(given: &Given<'_>, subject: Subject<'_>) -> Result<usize, Halt> {
    let value = given.value().unwrap_or(Value::NULL);
    match value.kind() {
        Kind::Array => Ok(value.elements().count()),
        Kind::Object => Ok(value.members().count()),
        Kind::Text => Ok(value.text().unwrap_or_default().chars().count()),
        _ => Err(subject.missing("`len` needs a text, a list or an object")),
    }
}

fn equal(left: &Given<'_>, right: &Given<'_>) -> bool {
    match (left.value(), right.value()) {
        (Some(left), Some(right)) => left.equals(right),
        (None, None) => true,
        _ => false,
    }
}

fn ordered(given: &[Given<'_>], holds: fn(Ordering) -> bool) -> bool {
    let both = given[0].value().zip(given[1].value());
    both.and_then(|(left, right)| left.compare(right))
        .is_some_and(holds)
}
