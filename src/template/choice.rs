//! `PATH ?? PATH ?? JSON`: the first operand that is not absent.

use bytes::Bytes;

use crate::json::{Body, Demand, Kind, Limits, Value};
use crate::path::{Bind, Bound, Env, Query, Root, Rooted};
use crate::template::tags::{error, is_placeholder};
use crate::template::{Error, Failure, FailureKind};

#[derive(Clone, Debug)]
pub struct Choice {
    pub queries: Vec<Query>,
    /// The literal at the end, as JSON bytes.
    pub literal: Option<Box<[u8]>>,
    /// Where each query stands in the text.
    offsets: Vec<usize>,
    text: Box<str>,
}

/// Parses a text that begins with `$`. After a query that is always an array `??` has no meaning and
/// is refused, save where `allow_many` (`$for`, `$first`, `for_each`).
pub fn parse(text: &str, allow_many: bool) -> Result<Choice, Error> {
    if let Some((offset, character)) = text.char_indices().find(|(_, c)| is_placeholder(*c)) {
        let help =
            "a path is read as it stands; put the value into text: `{{ }}` and `${…}` mix there";
        return Err(error(
            offset,
            character.len_utf8(),
            "`${` cannot stand in a path",
            help,
        ));
    }
    let operands = operands(text);
    let last = operands.len() - 1;
    let mut choice = Choice {
        queries: Vec::new(),
        literal: None,
        offsets: Vec::new(),
        text: text.into(),
    };
    for (place, &(offset, operand)) in operands.iter().enumerate() {
        if operand.is_empty() {
            let help = "write a path or a JSON literal behind `??`";
            return Err(error(
                offset.saturating_sub(2),
                2,
                "`??` without an operand",
                help,
            ));
        }
        if place == last && place > 0 && !operand.starts_with('$') {
            choice.literal = Some(literal(offset, operand)?);
            continue;
        }
        let query = Query::parse(operand).map_err(|fault| shifted(fault, offset))?;
        if place < last && !query.is_singular() && !allow_many {
            let message = "`??` behind a query that always gives an array";
            let help = "an empty array is not absent: write `$first:` for its first node, or leave `??` out";
            return Err(error(offset, operand.len(), message, help));
        }
        choice.offsets.push(offset);
        choice.queries.push(query);
    }
    Ok(choice)
}

/// The operands with their offsets, split at `??` outside quotes and brackets.
fn operands(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut depth = 0usize;
    let mut quote = None;
    let mut is_escaped = false;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), b'\\') => is_escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'[' | b'(' | b'{') => depth += 1,
            (None, b']' | b')' | b'}') => depth = depth.saturating_sub(1),
            (None, b'?') if depth == 0 && bytes.get(at + 1) == Some(&b'?') => {
                parts.push(trimmed(text, start, at));
                at += 1;
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(trimmed(text, start, text.len()));
    parts
}

fn trimmed(text: &str, start: usize, end: usize) -> (usize, &str) {
    let part = &text[start..end];
    let offset = start + part.len() - part.trim_start().len();
    (offset, part.trim())
}

fn literal(offset: usize, operand: &str) -> Result<Box<[u8]>, Error> {
    let limits = Limits {
        depth: 64,
        nodes: 100_000,
    };
    let bytes = Bytes::copy_from_slice(operand.as_bytes());
    match Body::check(bytes, &Demand::default(), limits) {
        Ok(body) => Ok(body.whole().bytes().into()),
        Err(_) => {
            let help = "write a path, or JSON: `\"text\"` in double quotes, a number, `true`, `false`, `null`, `[]`, `{}`";
            let message = "the last operand is neither a path nor JSON";
            Err(error(offset, operand.len(), message, help))
        }
    }
}

fn shifted(fault: Error, offset: usize) -> Error {
    Error {
        offset: fault.offset + offset,
        ..fault
    }
}

/// Says where a query stands in the whole text, not in its operand.
struct Shifted<'b> {
    binder: &'b mut dyn Bind,
    offset: usize,
}

impl Bind for Shifted<'_> {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        self.binder.bind(&Rooted {
            offset: rooted.offset + self.offset,
            ..rooted.clone()
        })
    }
}

impl Choice {
    /// As the operator wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The queries with their places in the text.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &Query)> {
        self.offsets.iter().copied().zip(&self.queries)
    }

    pub fn bind(&mut self, binder: &mut dyn Bind) -> Result<(), Error> {
        for (query, offset) in self.queries.iter_mut().zip(&self.offsets) {
            let mut shifted = Shifted {
                binder,
                offset: *offset,
            };
            query.bind(&mut shifted)?;
        }
        Ok(())
    }

    /// Appends the value. `false`: absent, nothing was written.
    pub fn render(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        for query in &self.queries {
            if query.is_singular() {
                if let Some(value) = present(query.first(env)) {
                    out.extend_from_slice(value.bytes());
                    return true;
                }
                continue;
            }
            let mut nodes = Vec::new();
            query.nodes(env, &mut nodes);
            write_array(out, &nodes);
            return true;
        }
        match &self.literal {
            Some(literal) if literal.as_ref() != b"null" => {
                out.extend_from_slice(literal);
                true
            }
            _ => false,
        }
    }

    /// The first node of the first operand that has one which is not null.
    pub fn first<'a>(&'a self, env: &Env<'a>) -> Option<Value<'a>> {
        let found = self
            .queries
            .iter()
            .find_map(|query| present(query.first(env)));
        found.or_else(|| present(self.literal.as_deref().map(Value::trusted)))
    }

    /// The number of nodes of the first operand.
    pub fn count(&self, env: &Env<'_>) -> usize {
        let mut nodes = Vec::new();
        self.queries[0].nodes(env, &mut nodes);
        nodes.len()
    }

    /// The elements to loop over; `None` where the list is absent. An operand that is always an array
    /// gives way to the next where it is empty.
    pub fn elements<'a>(&'a self, env: &Env<'a>) -> Result<Option<Vec<Value<'a>>>, Failure> {
        let mut found = None;
        for query in &self.queries {
            if query.is_singular() {
                if let Some(value) = present(query.first(env)) {
                    return self.elements_of(value).map(Some);
                }
                continue;
            }
            let mut nodes = Vec::new();
            query.nodes(env, &mut nodes);
            if !nodes.is_empty() {
                return Ok(Some(nodes));
            }
            found = Some(nodes);
        }
        match present(self.literal.as_deref().map(Value::trusted)) {
            Some(value) => self.elements_of(value).map(Some),
            None => Ok(found),
        }
    }

    fn elements_of<'a>(&self, value: Value<'a>) -> Result<Vec<Value<'a>>, Failure> {
        match value.kind() {
            Kind::Array => Ok(value.elements().collect()),
            _ => Err(self.failure("it is no list")),
        }
    }

    /// The root of the first operand: for messages.
    pub fn root(&self) -> Option<Root> {
        self.queries.first().map(Query::root)
    }

    /// A failure of this path.
    pub fn failure(&self, message: &str) -> Failure {
        Failure {
            kind: FailureKind::Missing,
            path: self.text().to_owned(),
            root: self.root(),
            message: message.to_owned(),
        }
    }
}

fn present(value: Option<Value<'_>>) -> Option<Value<'_>> {
    value.filter(|value| !value.is_null())
}

/// Appends `[a,b,c]`.
pub fn write_array(out: &mut Vec<u8>, nodes: &[Value<'_>]) {
    out.push(b'[');
    for (place, node) in nodes.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(node.bytes());
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_split_outside_quotes_and_brackets() {
        for (text, expected) in [
            ("$.a", vec![(0, "$.a")]),
            ("$.a ?? $.b ?? 0", vec![(0, "$.a"), (7, "$.b"), (14, "0")]),
            (
                "$['??'] ?? \"a??b\"",
                vec![(0, "$['??']"), (11, "\"a??b\"")],
            ),
            ("$.a[?@.b == '??']", vec![(0, "$.a[?@.b == '??']")]),
            ("$.a['\\'??'] ?? 1", vec![(0, "$.a['\\'??']"), (15, "1")]),
            ("$.a ??", vec![(0, "$.a"), (6, "")]),
        ] {
            assert_eq!(operands(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_at_its_place() {
        for (text, expected) in [
            ("$.a ?? \"n/a\"", None),
            ("$.a ?? null", None),
            ("$.a[*] ?? []", Some(0)),
            ("$.a ?? $.b[*]", None),
            ("$.a ?? $.b[*] ?? []", Some(7)),
            ("$.a ?? nope", Some(7)),
            ("$.a ?? 007", Some(7)),
            ("$.a ??", Some(4)),
            ("$.a ?? 1 ?? 2", Some(7)),
        ] {
            let found = parse(text, false).err().map(|error| error.offset);
            assert_eq!(found, expected, "{text}");
        }
        assert!(parse("$.a[*] ?? []", true).is_ok());
    }
}
