//! JSON templates: constants and parts of bodies, spliced as bytes.
//!
//! Absent means missing or null: [`Json::render`] says so instead of writing `null`, and whoever
//! holds the value decides what becomes of it.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::json::{Kind, Value, write_text};
use crate::path::{Condition, Env, Frame, Root};
use crate::template::choice::Choice;
use crate::template::{Failure, FailureKind, Mark, Text};

/// The largest value that is rendered, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How many elements all loops of one template may go through.
const MOST_ROUNDS: usize = 1_000_000;

/// A JSON template. What it reads is bound.
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
    First(Choice),
    Count(Choice),
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
    pub fn render(&self, env: &Env<'_>, out: &mut Vec<u8>) -> Result<bool, Failure> {
        let mut writer = Writer {
            start: out.len(),
            out,
            rounds: 0,
        };
        writer.value(self, env)
    }

    /// What a failure that needs this value names.
    fn written(&self, env: &Env<'_>) -> (String, Option<Root>) {
        match self {
            Json::Choice(choice)
            | Json::First(choice)
            | Json::Count(choice)
            | Json::For { source: choice, .. } => (choice.text().to_owned(), choice.root()),
            Json::Text(text) => match text.render(env, &mut String::new()) {
                Err(failure) => (failure.path, failure.root),
                Ok(()) => ("a text".to_owned(), text.required_roots().first().copied()),
            },
            Json::If {
                condition,
                then,
                otherwise,
            } => match condition.holds(env) {
                true => then.written(env),
                false => otherwise.written(env),
            },
            Json::Constant(_) | Json::Object(_) | Json::Array(_) | Json::Merge(_) => {
                ("a literal".to_owned(), None)
            }
        }
    }
}

/// Writes one template, and counts what it costs.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    rounds: usize,
}

impl Writer<'_> {
    /// `false`: absent, nothing was written.
    fn value(&mut self, json: &Json, env: &Env<'_>) -> Result<bool, Failure> {
        let is_present = match json {
            Json::Constant(bytes) => bytes.as_ref() != b"null" && self.append(bytes),
            Json::Choice(choice) => choice.render(env, self.out),
            Json::Text(text) => self.text(text, env)?,
            Json::Object(members) => self.object(members, env)?,
            Json::Array(items) => self.array(items, env)?,
            Json::For {
                variable,
                source,
                filter,
                each,
            } => self.each(*variable, source, filter.as_ref(), each, env)?,
            Json::If {
                condition,
                then,
                otherwise,
            } => {
                let branch = if condition.holds(env) {
                    then
                } else {
                    otherwise
                };
                self.value(branch, env)?
            }
            Json::First(choice) => choice
                .first(env)
                .is_some_and(|value| self.append(value.bytes())),
            Json::Count(choice) => self.append(choice.count(env).to_string().as_bytes()),
            Json::Merge(items) => self.merge(items, env)?,
        };
        if self.out.len() - self.start > MOST_BYTES {
            let message = format!("it is longer than {MOST_BYTES} bytes");
            return Err(failure(FailureKind::Bad, json.written(env), message));
        }
        Ok(is_present)
    }

    fn value_or_null(&mut self, json: &Json, env: &Env<'_>) -> Result<(), Failure> {
        if !self.value(json, env)? {
            self.append(b"null");
        }
        Ok(())
    }

    /// Always true, for an arm that has written something.
    fn append(&mut self, bytes: &[u8]) -> bool {
        self.out.extend_from_slice(bytes);
        true
    }

    /// A text with an absent value in it is absent as a whole.
    fn text(&mut self, text: &Text, env: &Env<'_>) -> Result<bool, Failure> {
        let mut rendered = String::new();
        let is_present = text.render_present(env, &mut rendered)?;
        if is_present {
            write_text(self.out, &rendered);
        }
        Ok(is_present)
    }

    fn object(&mut self, members: &[Member], env: &Env<'_>) -> Result<bool, Failure> {
        self.out.push(b'{');
        let mut is_first = true;
        for member in members {
            let before = self.out.len();
            if !is_first {
                self.out.push(b',');
            }
            self.append(&member.key);
            match (self.value(&member.value, env)?, member.mark) {
                (true, _) => {}
                (false, Mark::Null) => {
                    self.append(b"null");
                }
                (false, Mark::LeaveOut) => {
                    self.out.truncate(before);
                    continue;
                }
                (false, Mark::Require) => return Err(required(member, env)),
            }
            is_first = false;
        }
        self.out.push(b'}');
        Ok(true)
    }

    fn array(&mut self, items: &[Json], env: &Env<'_>) -> Result<bool, Failure> {
        self.out.push(b'[');
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.value_or_null(item, env)?;
        }
        self.out.push(b']');
        Ok(true)
    }

    fn each(
        &mut self,
        variable: Root,
        source: &Choice,
        filter: Option<&Condition>,
        each: &Json,
        env: &Env<'_>,
    ) -> Result<bool, Failure> {
        let Some(elements) = source.elements(env)? else {
            return Ok(false);
        };
        let mut is_first = true;
        self.out.push(b'[');
        for (index, value) in elements.into_iter().enumerate() {
            self.round(source)?;
            let frame = Frame {
                variable,
                index,
                value,
                outer: env.frame,
            };
            let env = Env {
                scope: env.scope,
                frame: Some(&frame),
            };
            if filter.is_some_and(|filter| !filter.holds(&env)) {
                continue;
            }
            if !is_first {
                self.out.push(b',');
            }
            is_first = false;
            self.value_or_null(each, &env)?;
        }
        self.out.push(b']');
        Ok(true)
    }

    fn round(&mut self, source: &Choice) -> Result<(), Failure> {
        self.rounds += 1;
        if self.rounds <= MOST_ROUNDS {
            return Ok(());
        }
        let written = (source.text().to_owned(), source.root());
        let message = format!("loops of more than {MOST_ROUNDS} rounds");
        Err(failure(FailureKind::Bad, written, message))
    }

    /// Shallow, later wins: a member keeps the place at which its key first appeared.
    fn merge(&mut self, items: &[Json], env: &Env<'_>) -> Result<bool, Failure> {
        let mut objects = Vec::with_capacity(items.len());
        for item in items {
            let mut bytes = Vec::new();
            let mut writer = Writer {
                out: &mut bytes,
                start: 0,
                rounds: self.rounds,
            };
            let is_present = writer.value(item, env)?;
            self.rounds = writer.rounds;
            if !is_present {
                continue;
            }
            if Value::trusted(&bytes).kind() != Kind::Object {
                let message = "it is no object, and `$merge` needs objects".to_owned();
                return Err(failure(FailureKind::Missing, item.written(env), message));
            }
            objects.push(bytes);
        }
        let members = objects
            .iter()
            .flat_map(|bytes| Value::trusted(bytes).members());
        self.members(&merged(members));
        Ok(true)
    }

    fn members(&mut self, members: &[(Value<'_>, Value<'_>)]) {
        self.out.push(b'{');
        for (place, (key, value)) in members.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.append(key.bytes());
            self.out.push(b':');
            self.append(value.bytes());
        }
        self.out.push(b'}');
    }
}

/// The members with the last value of each key, at the place of its first.
fn merged<'v>(
    members: impl Iterator<Item = (Value<'v>, Value<'v>)>,
) -> Vec<(Value<'v>, Value<'v>)> {
    let mut merged: Vec<(Value<'v>, Value<'v>)> = Vec::new();
    let mut places: HashMap<Cow<'v, str>, usize> = HashMap::new();
    for (key, value) in members {
        let name = key.text().unwrap_or_default();
        match places.get(&name) {
            Some(&place) => merged[place].1 = value,
            None => {
                places.insert(name, merged.len());
                merged.push((key, value));
            }
        }
    }
    merged
}

fn required(member: &Member, env: &Env<'_>) -> Failure {
    let key = member.key.strip_suffix(b":").unwrap_or(&member.key);
    let key = Value::trusted(key).text().unwrap_or_default();
    let message = format!("it is absent, and `{key}!` needs it");
    failure(FailureKind::Missing, member.value.written(env), message)
}

fn failure(kind: FailureKind, written: (String, Option<Root>), message: String) -> Failure {
    let (path, root) = written;
    Failure {
        kind,
        path,
        root,
        message,
    }
}
