//! Sets of the keys of objects that are looked into, to refuse a second key of the same text.
//!
//! A key is kept as its range in the body. Small objects are compared key by key; a large one gets a
//! table under a random hash, so that no body makes it quadratic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::ops::Range;

use super::text;

/// Up to here comparing beats hashing.
const SMALL: usize = 16;

/// A key as a range of the body, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) start: usize,
    pub(super) end: usize,
    escaped: bool,
    /// Equal for equal texts, so that most others are told apart without looking at them.
    print: u64,
}

impl Key {
    pub(super) fn new(buffer: &[u8], inside: Range<usize>, escaped: bool) -> Key {
        let mut key = Key {
            start: inside.start,
            end: inside.end,
            escaped,
            print: 0,
        };
        key.print = match escaped {
            false => print(buffer, inside),
            true => {
                let text = key.bytes(buffer);
                print(&text, 0..text.len())
            }
        };
        key
    }

    pub(super) fn text(self, buffer: &[u8]) -> Cow<'_, str> {
        text::decode(&buffer[self.start..self.end])
    }

    /// The bytes of its text.
    pub(super) fn bytes(self, buffer: &[u8]) -> Cow<'_, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(&buffer[self.start..self.end]);
        }
        match self.text(buffer) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    #[inline]
    fn equals(self, other: Key, buffer: &[u8]) -> bool {
        self.print == other.print && self.has_text_of(other, buffer)
    }

    #[inline(never)]
    fn has_text_of(self, other: Key, buffer: &[u8]) -> bool {
        if self.escaped || other.escaped {
            return self.bytes(buffer) == other.bytes(buffer);
        }
        buffer[self.start..self.end] == buffer[other.start..other.end]
    }
}

/// The length and the first and last bytes of a text, mixed.
fn print(buffer: &[u8], text: Range<usize>) -> u64 {
    let length = text.len();
    let from = &buffer[text.start..];
    let bytes = &from[..length];
    let print = match (bytes.last_chunk(), from.first_chunk()) {
        (Some(last), Some(first)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(3)
        }
        // Fewer than eight bytes, and others behind them.
        (None, Some(first)) => u64::from_le_bytes(*first) & ((1 << (8 * length)) - 1),
        (_, None) => {
            let bytes = bytes.iter().rev();
            bytes.fold(0, |print, byte| print << 8 | u64::from(*byte))
        }
    };
    print ^ (length as u64) << 56
}

/// The keys of the open objects, innermost last, in one list.
#[derive(Debug, Default)]
pub(super) struct Keys {
    small: Vec<Key>,
}

/// The keys of one open object.
#[derive(Debug)]
pub(super) struct Set {
    /// Where its keys begin in [`Keys`].
    from: usize,
    large: Option<Box<Large>>,
}

#[derive(Debug, Default)]
struct Large {
    random: RandomState,
    by_hash: HashMap<u64, Key>,
    /// Keys whose hash another key has too: practically none.
    others: Vec<Key>,
}

impl Keys {
    pub(super) fn open(&self) -> Set {
        Set {
            from: self.small.len(),
            large: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.small.clear();
    }

    pub(super) fn capacity(&self) -> usize {
        self.small.capacity()
    }

    pub(super) fn close(&mut self, set: &Set) {
        self.small.truncate(set.from);
    }

    /// Adds a key to the innermost set; `false` if it is there already.
    pub(super) fn insert(&mut self, set: &mut Set, key: Key, buffer: &[u8]) -> bool {
        if let Some(large) = &mut set.large {
            return large.insert(key, buffer);
        }
        let known = &self.small[set.from..];
        if known.iter().any(|known| known.equals(key, buffer)) {
            return false;
        }
        self.small.push(key);
        if self.small.len() - set.from > SMALL {
            let mut large = Box::<Large>::default();
            for key in self.small.drain(set.from..) {
                large.insert(key, buffer);
            }
            set.large = Some(large);
        }
        true
    }
}

impl Large {
    fn insert(&mut self, key: Key, buffer: &[u8]) -> bool {
        let hash = self.random.hash_one(&*key.bytes(buffer));
        match self.by_hash.entry(hash) {
            Entry::Vacant(free) => {
                free.insert(key);
                true
            }
            Entry::Occupied(taken) if taken.get().equals(key, buffer) => false,
            Entry::Occupied(_) => {
                let new = !self.others.iter().any(|known| known.equals(key, buffer));
                if new {
                    self.others.push(key);
                }
                new
            }
        }
    }
}
