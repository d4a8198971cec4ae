//! JSON templates: constants and parts of bodies, spliced as bytes.

use std::borrow::Cow;

use crate::json::{Kind, Value, write_text};
use crate::path::{Condition, Env, Frame, Root};
use crate::template::choice::Choice;
use crate::template::{Failure, FailureKind, Mark, Text};

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
        match self {
            Json::Constant(bytes) if bytes.as_ref() == b"null" => Ok(false),
            Json::Constant(bytes) => Ok(append(out, bytes)),
            Json::Choice(choice) => Ok(choice.render(env, out)),
            Json::Text(text) => render_text(text, env, out),
            Json::Object(members) => render_object(members, env, out),
            Json::Array(items) => {
                write_list(out, items.iter(), |item, out| item.render_or_null(env, out))
            }
            Json::For {
                variable,
                source,
                filter,
                each,
            } => render_loop(*variable, source, filter.as_ref(), each, env, out),
            Json::If {
                condition,
                then,
                otherwise,
            } => match condition.holds(env) {
                true => then.render(env, out),
                false => otherwise.render(env, out),
            },
            Json::First(choice) => match choice.first(env) {
                Some(value) => Ok(append(out, value.bytes())),
                None => Ok(false),
            },
            Json::Count(choice) => Ok(append(out, choice.count(env).to_string().as_bytes())),
            Json::Merge(items) => render_merge(items, env, out),
        }
    }

    fn render_or_null(&self, env: &Env<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        if !self.render(env, out)? {
            out.extend_from_slice(b"null");
        }
        Ok(())
    }

    /// What `key!:` names when this is absent.
    fn written(&self) -> (String, Option<Root>) {
        match self {
            Json::Choice(choice) | Json::First(choice) | Json::For { source: choice, .. } => {
                let root = choice.queries.first().map(|query| query.root());
                (choice.text().to_owned(), root)
            }
            Json::Text(text) => ("a text".to_owned(), text.required_roots().first().copied()),
            _ => ("the value".to_owned(), None),
        }
    }
}

fn append(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.extend_from_slice(bytes);
    true
}

/// A text with an absent value in it is absent as a whole.
fn render_text(text: &Text, env: &Env<'_>, out: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut rendered = String::new();
    match text.render(env, &mut rendered) {
        Ok(()) => {
            write_text(out, &rendered);
            Ok(true)
        }
        Err(failure) if failure.kind == FailureKind::Missing => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn render_object(members: &[Member], env: &Env<'_>, out: &mut Vec<u8>) -> Result<bool, Failure> {
    out.push(b'{');
    let mut is_first = true;
    for member in members {
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        out.extend_from_slice(&member.key);
        let is_present = member.value.render(env, out)?;
        match (is_present, member.mark) {
            (true, _) => {}
            (false, Mark::Null) => out.extend_from_slice(b"null"),
            (false, Mark::LeaveOut) => {
                out.truncate(before);
                continue;
            }
            (false, Mark::Require) => return Err(required(member)),
        }
        is_first = false;
    }
    out.push(b'}');
    Ok(true)
}

fn required(member: &Member) -> Failure {
    let (path, root) = member.value.written();
    let key = member.key.strip_suffix(b":").unwrap_or(&member.key);
    let key = Value::trusted(key).text().unwrap_or_default();
    Failure {
        kind: FailureKind::Missing,
        path,
        root,
        message: format!("it is absent, and `{key}!` needs it"),
    }
}

fn render_loop(
    variable: Root,
    source: &Choice,
    filter: Option<&Condition>,
    each: &Json,
    env: &Env<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Failure> {
    let Some(elements) = source.elements(env)? else {
        return Ok(false);
    };
    let mut is_first = true;
    out.push(b'[');
    for (index, value) in elements.into_iter().enumerate() {
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
            out.push(b',');
        }
        is_first = false;
        each.render_or_null(&env, out)?;
    }
    out.push(b']');
    Ok(true)
}

fn write_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    write: impl Fn(T, &mut Vec<u8>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    out.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.push(b']');
    Ok(true)
}

/// Shallow, later wins: a member keeps the place at which its key first appeared.
fn render_merge(items: &[Json], env: &Env<'_>, out: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut rendered = Vec::with_capacity(items.len());
    for item in items {
        let mut bytes = Vec::new();
        if !item.render(env, &mut bytes)? {
            continue;
        }
        if Value::trusted(&bytes).kind() != Kind::Object {
            let (path, root) = item.written();
            return Err(Failure {
                kind: FailureKind::Missing,
                path,
                root,
                message: "it is no object, and `$merge` needs objects".to_owned(),
            });
        }
        rendered.push(bytes);
    }
    let mut members: Vec<(Value<'_>, Value<'_>)> = Vec::new();
    let mut places: std::collections::HashMap<Cow<'_, str>, usize> = Default::default();
    for (key, value) in rendered
        .iter()
        .flat_map(|bytes| Value::trusted(bytes).members())
    {
        let name = key.text().unwrap_or_default();
        match places.get(&name) {
            Some(&place) => members[place].1 = value,
            None => {
                places.insert(name, members.len());
                members.push((key, value));
            }
        }
    }
    out.push(b'{');
    for (place, (key, value)) in members.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.bytes());
        out.push(b':');
        out.extend_from_slice(value.bytes());
    }
    out.push(b'}');
    Ok(true)
}
