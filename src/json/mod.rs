//! Bodies as bytes: checks them, finds the parts that are asked for, splices them without decoding.
//!
//! Nothing here builds a tree. A body is checked once, from its first byte to its last
//! ([`Scan`]); on the way the ranges of the parts that a plan asks for ([`Demand`]) are kept. What is
//! later read inside such a part is found by skipping over bytes that are known to be JSON ([`Value`]).
//! Numbers therefore keep their digits and objects their order, and memory is bounded by the body.

use bytes::Bytes;

/// One step of a demand: how to get from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of this name.
    Name(String),
    /// The element of this index, from the front.
    Index(usize),
    /// Every member or element.
    Every,
    /// Every value below, at any depth.
    Deep,
}

/// The number of a part that a [`Demand`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub usize);

/// What somebody will read of a body: a trie of steps, some of whose nodes are slots.
///
/// An object that is looked into (a step goes through it) may not have duplicate keys; parts that
/// are only moved are not looked into.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    _todo: (),
}

impl Demand {
    /// The slot of the part at `steps` (names and indexes only), the same for the same steps.
    /// An empty list is the whole body.
    pub fn slot(&mut self, _steps: &[Step]) -> Slot {
        unimplemented!()
    }
    /// Says that the objects on the way along `steps` (any kind of step) will be looked into.
    pub fn look(&mut self, _steps: &[Step]) {
        unimplemented!()
    }
    /// A demand that looks into every object at every depth (for request bodies).
    pub fn strict(self) -> Self {
        unimplemented!()
    }
}

/// The limits of one body. `depth` counts open arrays and objects; a node is a value, not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub depth: u32,
    pub nodes: u32,
}

/// Why a body is refused, with the byte offset where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Syntax {
        offset: usize,
        message: &'static str,
    },
    ByteOrderMark,
    Duplicate {
        offset: usize,
        key: String,
    },
    TooDeep {
        offset: usize,
    },
    TooManyNodes {
        offset: usize,
    },
}

/// A checker that is fed as the bytes arrive: `advance` is given everything received so far.
pub struct Scan<'d> {
    _demand: &'d Demand,
}

impl<'d> Scan<'d> {
    pub fn new(_demand: &'d Demand, _limits: Limits) -> Self {
        unimplemented!()
    }
    /// Goes on where the last call stopped. `buffer` holds all bytes so far.
    pub fn advance(&mut self, _buffer: &[u8]) -> Result<(), Fault> {
        unimplemented!()
    }
    /// The body is complete. Empty (or only white space) is a syntax fault here.
    pub fn finish(self, _bytes: Bytes) -> Result<Body, Fault> {
        unimplemented!()
    }
}

/// A body that is known to be JSON, with the ranges of the parts that were asked for.
#[derive(Clone, Debug)]
pub struct Body {
    bytes: Bytes,
}

impl Body {
    /// Checks `bytes` in one go.
    pub fn check(_bytes: Bytes, _demand: &Demand, _limits: Limits) -> Result<Body, Fault> {
        unimplemented!()
    }
    /// The part of this slot; `None` if the body does not have it.
    pub fn slot(&self, _slot: Slot) -> Option<Value<'_>> {
        unimplemented!()
    }
    pub fn whole(&self) -> Value<'_> {
        unimplemented!()
    }
    /// All of it, white space around it included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

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
        unimplemented!()
    }
    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }
    /// The decoded text of a string (borrowed when it has no escapes), else `None`.
    /// A lone surrogate becomes U+FFFD.
    pub fn text(self) -> Option<std::borrow::Cow<'a, str>> {
        unimplemented!()
    }
    /// The member of this name, if this is an object that has it.
    pub fn get(self, _name: &str) -> Option<Value<'a>> {
        unimplemented!()
    }
    /// The element of this index, from the end if negative.
    pub fn index(self, _index: i64) -> Option<Value<'a>> {
        unimplemented!()
    }
    /// The elements of an array; nothing for any other kind.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        std::iter::empty()
    }
    /// The members of an object as (key with its quotes, value); nothing for any other kind.
    pub fn members(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        std::iter::empty()
    }
    /// JSON equality by RFC 9535 §2.3.5.2.2: numbers by their mathematical value, exactly, at any
    /// size; objects without regard to order.
    pub fn equals(self, _other: Value<'_>) -> bool {
        unimplemented!()
    }
    /// The order of two numbers or of two strings; `None` for anything else.
    pub fn compare(self, _other: Value<'_>) -> Option<std::cmp::Ordering> {
        unimplemented!()
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_text(_out: &mut Vec<u8>, _text: &str) {
    unimplemented!()
}
