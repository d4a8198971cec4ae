//! Runs a compiled text over byte ranges of bodies.

use std::borrow::Cow;

use base64::Engine as _;

use crate::json::{Kind, Value, write_text};
use crate::path::{Env, Root};
use crate::template::program::{Call, From, Helper, Key, Name, Operand, Piece};
use crate::template::{Failure, FailureKind, Place, Text, escape, url};

/// The longest text that is rendered, in bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// How many elements all loops of one text may go through.
const MOST_ROUNDS: usize = 100_000;

/// Appends the text; `out` may hold a part of it after a failure.
pub(super) fn render(text: &Text, env: &Env<'_>, out: &mut String) -> Result<(), Failure> {
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
        let given = choice.first(env).map_or(Given::Absent, Given::Part);
        return rendering.write(&given, choice.text(), choice.root(), false);
    }
    rendering.pieces(&text.pieces)?;
    let slashes = rendering.slashes;
    let path = &out[start..];
    if text.place == Place::Path && !url::holds(path, &text.prefix, slashes) {
        return Err(Failure {
            kind: FailureKind::Bad,
            path: text.prefix.to_string(),
            root: text.required_roots().first().copied(),
            message: "the values in this path would change where it leads".to_owned(),
        });
    }
    Ok(())
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

/// A value: a part of a body, or JSON that was just made.
enum Given<'v> {
    Absent,
    Part(Value<'v>),
    Made(Vec<u8>),
}

impl Given<'_> {
    fn value(&self) -> Option<Value<'_>> {
        match self {
            Given::Absent => None,
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
            Kind::Text => value.bytes().len() > 2,
            Kind::Array => value.elements().next().is_some(),
        }
    }
}

fn made_text<'v>(text: &str) -> Given<'v> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_text(&mut out, text);
    Given::Made(out)
}

fn truth<'v>(holds: bool) -> Given<'v> {
    Given::Part(Value::trusted(if holds { b"true" } else { b"false" }))
}

impl<'v> Rendering<'v, '_> {
    fn pieces(&mut self, pieces: &'v [Piece]) -> Result<(), Failure> {
        for piece in pieces {
            match piece {
                Piece::Literal(text) => {
                    self.slashes += text.bytes().filter(|byte| *byte == b'/').count();
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
                let message = format!("the text is longer than {MOST_BYTES} bytes");
                return Err(failure(FailureKind::Bad, "the template", None, message));
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        list: &'v Operand,
        body: &'v [Piece],
        otherwise: &'v [Piece],
    ) -> Result<(), Failure> {
        let (path, root) = self.written(list);
        let elements: Vec<Value<'v>> = match self.operand(list)? {
            Given::Absent => Vec::new(),
            Given::Part(value) if value.kind() == Kind::Array => value.elements().collect(),
            Given::Part(_) | Given::Made(_) => {
                let message = "`#each` needs a list".to_owned();
                return Err(failure(FailureKind::Missing, &path, root, message));
            }
        };
        if elements.is_empty() {
            return self.pieces(otherwise);
        }
        let last = elements.len() - 1;
        for (index, element) in elements.into_iter().enumerate() {
            self.rounds += 1;
            if self.rounds > MOST_ROUNDS {
                let message = format!("its loops have more than {MOST_ROUNDS} rounds");
                return Err(failure(FailureKind::Bad, &path, root, message));
            }
            self.loops.push(Round {
                element,
                index,
                last,
                root,
            });
            let rendered = self.pieces(body);
            self.loops.pop();
            rendered?;
        }
        Ok(())
    }

    fn hole(&mut self, operand: &'v Operand) -> Result<(), Failure> {
        let (path, root) = self.written(operand);
        let given = self.operand(operand)?;
        let is_rest = matches!(
            operand,
            Operand::Name(Name {
                from: From::Root { rest: true, .. },
                ..
            })
        );
        self.write(&given, &path, root, is_rest)
    }

    /// Escapes a value by the place.
    fn write(
        &mut self,
        given: &Given<'_>,
        path: &str,
        root: Option<Root>,
        is_rest: bool,
    ) -> Result<(), Failure> {
        let text = text_of(given, path, root)?;
        let written = match self.place {
            Place::Path if is_rest => {
                self.slashes += text.bytes().filter(|byte| *byte == b'/').count();
                escape::rest(self.out, &text)
            }
            Place::Path => escape::segment(self.out, &text),
            Place::Header => escape::header(self.out, &text),
            Place::Query | Place::Plain => {
                self.out.push_str(&text);
                Ok(())
            }
        };
        written.map_err(|refusal| failure(FailureKind::Bad, path, root, refusal.to_owned()))
    }

    fn operand(&mut self, operand: &'v Operand) -> Result<Given<'v>, Failure> {
        let innermost = self.loops.last();
        Ok(match operand {
            Operand::Name(name) => match self.name(name) {
                Some(value) if !value.is_null() => Given::Part(value),
                _ => Given::Absent,
            },
            Operand::Literal(bytes) => Given::Part(Value::trusted(bytes)),
            Operand::Index => {
                let index = innermost.map_or(0, |round| round.index);
                Given::Made(index.to_string().into_bytes())
            }
            Operand::First => truth(innermost.is_some_and(|round| round.index == 0)),
            Operand::Last => truth(innermost.is_some_and(|round| round.index == round.last)),
            Operand::Call(call) => return self.call(call),
        })
    }

    fn name(&self, name: &Name) -> Option<Value<'v>> {
        let start = match name.from {
            From::Root { root, .. } => self.env.value(root)?,
            From::Loop { out } => {
                let place = self.loops.len().checked_sub(out + 1)?;
                self.loops[place].element
            }
            From::Context => return None,
        };
        name.keys.iter().try_fold(start, |value, key| match key {
            Key::Name(name) => value.get(name),
            Key::Digits(index, _) if value.kind() == Kind::Array => {
                value.index(i64::try_from(*index).ok()?)
            }
            Key::Digits(_, digits) => value.get(digits),
        })
    }

    fn call(&mut self, call: &'v Call) -> Result<Given<'v>, Failure> {
        let mut given = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            given.push(self.operand(argument)?);
        }
        let (_, root) = call
            .arguments
            .first()
            .map_or((String::new(), None), |first| self.written(first));
        let text = |place: usize| text_of(&given[place], &call.text, root);
        let compared = |holds: fn(std::cmp::Ordering) -> bool| {
            let (left, right) = (given[0].value(), given[1].value());
            let order = left
                .zip(right)
                .and_then(|(left, right)| left.compare(right));
            truth(order.is_some_and(holds))
        };
        Ok(match call.helper {
            Helper::Default => {
                let mut given = given.into_iter();
                let chosen = given.find(|given| given.value().is_some());
                chosen.unwrap_or(Given::Absent)
            }
            Helper::Lower => made_text(&text(0)?.to_lowercase()),
            Helper::Upper => made_text(&text(0)?.to_uppercase()),
            Helper::Trim => made_text(text(0)?.trim()),
            Helper::Base64 => {
                made_text(&base64::engine::general_purpose::STANDARD.encode(text(0)?.as_bytes()))
            }
            Helper::Json => {
                let bytes = given[0].value().unwrap_or(Value::NULL).bytes();
                made_text(&String::from_utf8_lossy(bytes))
            }
            Helper::Join => {
                let separator = text(1)?;
                made_text(&join(&given[0], &separator, &call.text, root)?)
            }
            Helper::Len => {
                let length = length(&given[0], &call.text, root)?;
                Given::Made(length.to_string().into_bytes())
            }
            Helper::Equal => truth(equal(&given[0], &given[1])),
            Helper::Unequal => truth(!equal(&given[0], &given[1])),
            Helper::Greater => compared(std::cmp::Ordering::is_gt),
            Helper::GreaterOrEqual => compared(std::cmp::Ordering::is_ge),
            Helper::Less => compared(std::cmp::Ordering::is_lt),
            Helper::LessOrEqual => compared(std::cmp::Ordering::is_le),
            Helper::And => truth(given.iter().all(Given::holds)),
            Helper::Or => truth(given.iter().any(Given::holds)),
            Helper::Not => truth(!given[0].holds()),
        })
    }

    /// The words and the root of an operand, for a failure.
    fn written(&self, operand: &Operand) -> (String, Option<Root>) {
        match operand {
            Operand::Name(name) => {
                let root = match name.from {
                    From::Root { root, .. } => Some(root),
                    From::Loop { out } => {
                        let place = self.loops.len().checked_sub(out + 1);
                        place.and_then(|place| self.loops[place].root)
                    }
                    From::Context => None,
                };
                (name.text.to_string(), root)
            }
            Operand::Call(call) => {
                let first = call.arguments.first().map(|first| self.written(first));
                (call.text.to_string(), first.and_then(|(_, root)| root))
            }
            _ => ("a literal".to_owned(), None),
        }
    }
}

/// Text as it is, numbers and booleans as they came.
fn text_of<'g>(
    given: &'g Given<'_>,
    path: &str,
    root: Option<Root>,
) -> Result<Cow<'g, str>, Failure> {
    let missing = |message: &str| failure(FailureKind::Missing, path, root, message.to_owned());
    let Some(value) = given.value() else {
        return Err(missing("it is absent"));
    };
    match value.kind() {
        Kind::Text => Ok(value.text().unwrap_or_default()),
        Kind::Number | Kind::Boolean(_) => Ok(String::from_utf8_lossy(value.bytes())),
        Kind::Null => Err(missing("it is absent")),
        Kind::Array | Kind::Object => Err(missing(
            "it is a list or an object, which only `json`, `join` and `len` take",
        )),
    }
}

fn join(
    given: &Given<'_>,
    separator: &str,
    path: &str,
    root: Option<Root>,
) -> Result<String, Failure> {
    let missing = |message: &str| failure(FailureKind::Missing, path, root, message.to_owned());
    let list = given.value().ok_or_else(|| missing("it is absent"))?;
    if list.kind() != Kind::Array {
        return Err(missing("`join` needs a list"));
    }
    let mut out = String::new();
    for (place, element) in list.elements().enumerate() {
        if place > 0 {
            out.push_str(separator);
        }
        out.push_str(&text_of(&Given::Part(element), path, root)?);
    }
    Ok(out)
}

fn length(given: &Given<'_>, path: &str, root: Option<Root>) -> Result<usize, Failure> {
    let missing = |message: &str| failure(FailureKind::Missing, path, root, message.to_owned());
    let value = given.value().ok_or_else(|| missing("it is absent"))?;
    match value.kind() {
        Kind::Array => Ok(value.elements().count()),
        Kind::Object => Ok(value.members().count()),
        Kind::Text => Ok(value.text().unwrap_or_default().chars().count()),
        _ => Err(missing("`len` needs a text, a list or an object")),
    }
}

fn equal(left: &Given<'_>, right: &Given<'_>) -> bool {
    match (left.value(), right.value()) {
        (Some(left), Some(right)) => left.equals(right),
        (None, None) => true,
        _ => false,
    }
}

fn failure(kind: FailureKind, path: &str, root: Option<Root>, message: String) -> Failure {
    Failure {
        kind,
        path: path.to_owned(),
        root,
        message,
    }
}
