//! What is found inside bytes that are known to be JSON, by skipping over the rest.
//!
//! Nothing here checks: a [`Value`] comes from a [`super::Body`] or was written by ourselves. Bytes
//! that are no JSON give nonsense, never a panic or an endless loop. There is no recursion, and each
//! step over an array or an object is one pass over its bytes.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{number, text, token};

/// A JSON value as its bytes: valid, without white space around it. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Value<'a>(&'a [u8]);

/// What kind of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean(bool),
    Number,
    Text,
    Array,
    Object,
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.0))
    }
}

impl<'a> Value<'a> {
    pub const NULL: Value<'static> = Value(b"null");

    /// Wraps bytes that the caller wrote itself and so knows to be one JSON value.
    pub fn trusted(bytes: &'a [u8]) -> Value<'a> {
        Value(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't') => Kind::Boolean(true),
            Some(b'f') => Kind::Boolean(false),
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// The decoded text of a string (borrowed when it has no escapes), else `None`.
    /// A lone surrogate becomes U+FFFD.
    pub fn text(self) -> Option<Cow<'a, str>> {
        Some(text::decode(self.inside()?))
    }

    /// What stands between the quotes of a string.
    fn inside(self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The member of this name, if this is an object that has it.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let found = self.members().find(|(key, _)| key.is_text(name))?;
        Some(found.1)
    }

    fn is_text(self, name: &str) -> bool {
        match self.inside() {
            None => false,
            Some(inside) if inside.contains(&b'\\') => text::decode(inside) == name,
            Some(inside) => inside == name.as_bytes(),
        }
    }

    /// The element of this index, from the end if negative.
    pub fn index(self, index: i64) -> Option<Value<'a>> {
        let index = if index < 0 {
            let count = self.elements().count();
            count.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok()?
        };
        self.elements().nth(index)
    }

    /// The elements of an array; nothing for any other kind.
    pub fn elements(self) -> Elements<'a> {
        Elements(Items::of(self, b'['))
    }

    /// The members of an object as (key with its quotes, value); nothing for any other kind.
    pub fn members(self) -> Members<'a> {
        Members(Items::of(self, b'{'))
    }

    /// The elements of an array or the values of an object's members; nothing for any other kind.
    pub fn children(self) -> Children<'a> {
        match self.kind() {
            Kind::Object => Children::Members(self.members()),
            _ => Children::Elements(self.elements()),
        }
    }

    /// JSON equality by RFC 9535 §2.3.5.2.2: numbers by their mathematical value, exactly, at any
    /// size; objects without regard to order.
    pub fn equals(self, other: Value<'_>) -> bool {
        let mut pairs = vec![(self, other)];
        while let Some((one, other)) = pairs.pop() {
            if one.0 == other.0 {
                continue;
            }
            let same = match (one.kind(), other.kind()) {
                (Kind::Array, Kind::Array) => pair_elements(one, other, &mut pairs),
                (Kind::Object, Kind::Object) => pair_members(one, other, &mut pairs),
                _ => one.compare(other) == Some(Ordering::Equal),
            };
            if !same {
                return false;
            }
        }
        true
    }

    /// The order of two numbers or of two strings; `None` for anything else.
    pub fn compare(self, other: Value<'_>) -> Option<Ordering> {
        match (self.kind(), other.kind()) {
            (Kind::Number, Kind::Number) => Some(number::compare(self.0, other.0)),
            // The order of UTF-8 bytes is the order of the Unicode scalar values.
            (Kind::Text, Kind::Text) => Some(self.text()?.as_bytes().cmp(other.text()?.as_bytes())),
            _ => None,
        }
    }
}

type Pairs<'a, 'b> = Vec<(Value<'a>, Value<'b>)>;

/// Adds what must be equal for two arrays to be equal; `false` if they cannot be.
fn pair_elements<'a, 'b>(one: Value<'a>, other: Value<'b>, pairs: &mut Pairs<'a, 'b>) -> bool {
    let mut others = other.elements();
    for element in one.elements() {
        match others.next() {
            Some(other) => pairs.push((element, other)),
            None => return false,
        }
    }
    others.next().is_none()
}

/// The same for two objects. Sorting keeps large objects from being quadratic.
fn pair_members<'a, 'b>(one: Value<'a>, other: Value<'b>, pairs: &mut Pairs<'a, 'b>) -> bool {
    let ones = by_key(one);
    let others = by_key(other);
    if ones.len() != others.len() {
        return false;
    }
    for ((key, value), (other_key, other)) in ones.into_iter().zip(others) {
        if key != other_key {
            return false;
        }
        pairs.push((value, other));
    }
    true
}

fn by_key(object: Value<'_>) -> Vec<(Cow<'_, str>, Value<'_>)> {
    let members = object.members();
    let decoded = members.map(|(key, value)| (key.text().unwrap_or_default(), value));
    let mut members: Vec<_> = decoded.collect();
    members.sort_by(|one, other| one.0.cmp(&other.0));
    members
}

/// The elements of an array. See [`Value::elements`].
#[derive(Clone)]
pub struct Elements<'a>(Items<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.0.begin()?;
        self.0.value()
    }
}

/// The members of an object. See [`Value::members`].
#[derive(Clone)]
pub struct Members<'a>(Items<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        self.0.begin()?;
        let key = self.0.value()?;
        self.0.pass(b':');
        Some((key, self.0.value()?))
    }
}

/// The values inside an array or an object. See [`Value::children`].
#[derive(Clone)]
pub enum Children<'a> {
    Elements(Elements<'a>),
    Members(Members<'a>),
}

impl<'a> Iterator for Children<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Children::Elements(elements) => elements.next(),
            Children::Members(members) => Some(members.next()?.1),
        }
    }
}

/// A place inside the bytes of an array or object.
#[derive(Clone)]
struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// At the first item of a value that opens with `bracket`; at the end of anything else.
    fn of(value: Value<'a>, bracket: u8) -> Items<'a> {
        match value.0.first() {
            Some(first) if *first == bracket => Items {
                bytes: value.0,
                at: 1,
            },
            _ => Items { bytes: b"", at: 0 },
        }
    }

    /// Goes to the next item, if there is one.
    fn begin(&mut self) -> Option<()> {
        self.pass(b',');
        match self.bytes.get(self.at)? {
            b']' | b'}' => None,
            _ => Some(()),
        }
    }

    /// Goes past white space and one `mark`.
    fn pass(&mut self, mark: u8) {
        self.space();
        if self.bytes.get(self.at) == Some(&mark) {
            self.at += 1;
            self.space();
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        let start = self.at;
        self.at = match self.bytes.get(start)? {
            b'"' => token::end_of_string(self.bytes, start),
            b'{' | b'[' => token::end_of_container(self.bytes, start),
            _ => end_of_word(self.bytes, start),
        };
        Some(Value(&self.bytes[start..self.at]))
    }
}

fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    let rest = &bytes[start..];
    start + rest.iter().position(ends).unwrap_or(rest.len()).max(1)
}
