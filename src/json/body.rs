//! A checked body and the parts of it that were asked for.

use std::ops::Range;

use bytes::Bytes;

use super::demand::{Demand, Slot};
use super::scan::{Fault, Limits, Scan};
use super::value::Value;

/// A body that is known to be JSON, with the ranges of the parts that were asked for.
///
/// The ranges lie within the bytes and hold one value each: only a [`Scan`] makes a body.
#[derive(Clone, Debug)]
pub struct Body {
    bytes: Bytes,
    whole: Range<usize>,
    parts: Box<[Option<Range<usize>>]>,
}

impl Body {
    pub(super) fn new(bytes: Bytes, whole: Range<usize>, parts: Vec<Option<Range<usize>>>) -> Body {
        Body {
            bytes,
            whole,
            parts: parts.into_boxed_slice(),
        }
    }

    /// Checks `bytes` in one go.
    pub fn check(bytes: Bytes, demand: &Demand, limits: Limits) -> Result<Body, Fault> {
        Scan::new(demand, limits).finish(bytes)
    }

    /// The part of this slot; `None` if the body does not have it.
    pub fn slot(&self, slot: Slot) -> Option<Value<'_>> {
        let part = self.parts.get(slot.0)?.clone()?;
        Some(Value::trusted(&self.bytes[part]))
    }

    /// The same part as bytes that share the body's memory.
    pub fn slice(&self, slot: Slot) -> Option<Bytes> {
        let part = self.parts.get(slot.0)?.clone()?;
        Some(self.bytes.slice(part))
    }

    /// The bytes of all the parts together; those that lie in each other count once.
    pub fn asked_for(&self) -> usize {
        let parts = self.parts.iter().flatten().map(Range::len);
        parts.sum::<usize>().min(self.bytes.len())
    }

    pub fn whole(&self) -> Value<'_> {
        Value::trusted(&self.bytes[self.whole.clone()])
    }

    /// All of it, white space around it included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
