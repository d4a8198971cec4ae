//! Passing over sixty-four bytes at a time, with hardly a branch for a token.
//!
//! Where tokens are read one by one, the processor guesses wrong at the length of every other string, and
//! looks at every comma. Here a block of bytes becomes masks of 64 bits, one bit for each byte and the
//! first the lowest ([`Masks`], by comparisons of whole vectors), and what there is to know of the tokens
//! comes from arithmetic on masks: which quotes are escaped, what is inside strings, what stands
//! behind what (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", The VLDB Journal 28, 2019).
//!
//! The grammar is checked the same way. Which token may stand behind which is one rule for all blocks
//! ([`Carry::marks`]). What else there is depends on whether an array or an object is innermost: in
//! an array stands no colon, in an object colons and commas take turns. So only the brackets are gone
//! through one by one, and of the marks between two brackets all are checked at once ([`Walk::block`]).
//! Numbers, words and `\u` are read where they begin, as elsewhere.
//!
//! As all of `pass.rs` it reports no fault: a block in which something is not plain is left, as a whole or
//! from a mark on, to those who go token by token.

use std::num::NonZeroU64;

use super::pass::{Bracket, Expect, Pass};
use super::text::{self, Escape};
use super::token;

pub(super) const BLOCK: usize = 64;
/// How many bytes in front of a block are looked at with it: a character may begin there.
pub(super) const BEFORE: usize = 3;
/// A block and the bytes in front of it.
pub(super) type Window = [u8; BEFORE + BLOCK];

/// What stands where in a block, in strings or not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    /// Below 0x20.
    pub(super) controls: u64,
    /// All white space.
    pub(super) spaces: u64,
    /// `[` and `{`.
    pub(super) opens: u64,
    /// `]` and `}`.
    pub(super) closes: u64,
    pub(super) commas: u64,
    pub(super) colons: u64,
    /// What may stand behind a backslash.
    pub(super) escapes: u64,
    /// `u`, which wants four digits behind it when it is escaped.
    pub(super) code_units: u64,
    /// Whether no byte of the block shows that these are not characters of UTF-8. One may be cut off by
    /// the end of the block.
    pub(super) is_utf8: bool,
}

/// What stands where outside of strings.
struct Marks {
    opens: u64,
    closes: u64,
    /// What closes an array or object with nothing in it.
    empties: u64,
    commas: u64,
    colons: u64,
}

/// What a block has to know of those in front of it: all bits or none for `inside`, the lowest bit for
/// the others.
#[derive(Default)]
struct Carry {
    /// The block begins inside a string.
    inside: u64,
    /// Its first byte is escaped.
    escaped: u64,
    /// A number or word may go on in it.
    bare: u64,
    /// Its first byte stands right behind a value, but for white space.
    value: u64,
    /// Its first byte stands right behind a bracket that opens.
    open: u64,
}

/// Where a walk over blocks is.
struct Walk {
    /// What is innermost, if it is unread: where it is not, the walk ends.
    inside: Option<Bracket>,
    /// All bits, if in an object the colon of the member has been passed. In an array it says nothing.
    behind_colon: u64,
    /// Where the block with the last bracket, comma or colon begins, and all of those in it.
    last: (usize, u64),
    /// How many values have been ended by a comma or bracket.
    ended: usize,
}

/// What keeps a block from being passed over.
struct Odd;

impl Pass<'_> {
    /// Goes from a value at `at` as far as there are whole blocks and all in them is plain.
    #[inline(always)]
    pub(super) fn by_blocks(
        &mut self,
        at: usize,
        masks: impl Fn(&Window) -> Masks,
        sums: impl Fn(u64) -> u64,
    ) -> (usize, Expect) {
        let buffer = self.buffer;
        let Some(mut begin) = at.checked_sub(BEFORE) else {
            return (at, Expect::Value);
        };
        let mut walk = Walk {
            inside: self.inside(),
            behind_colon: !0,
            last: (at, 0),
            ended: 0,
        };
        let mut carry = Carry::default();
        let before = self.unread.len();
        while let Some(rest) = buffer.get(begin..)
            && let Some(window) = rest.first_chunk()
            && walk.inside.is_some()
            && walk.ended + self.unread.len() + BLOCK < self.nodes as usize + before
        {
            let masks = masks(window);
            let start = begin + BEFORE;
            begin += BLOCK;
            if carry.is_text(&masks) {
                continue;
            }
            let Ok(marks) = carry.marks(&masks, &sums, buffer, start) else {
                break;
            };
            let passed = walk.block(self, window, &marks, &sums);
            let ends = marks.commas | (marks.closes & !marks.empties);
            walk.ended += (ends & passed).count_ones() as usize;
            let all = (marks.opens | marks.closes | marks.commas | marks.colons) & passed;
            if all != 0 {
                walk.last = (start, all);
            }
            if passed != !0 {
                break;
            }
        }
        let (start, all) = walk.last;
        let Some(last) = all.checked_ilog2() else {
            return (at, Expect::Value);
        };
        let last = start + last as usize;
        let expect = match (buffer[last], walk.inside) {
            (b'[', _) => Expect::ElementOrEnd,
            (b'{', _) => Expect::KeyOrEnd,
            (b',', Some(Bracket::Object)) => Expect::Key,
            (b',' | b':', _) => Expect::Value,
            _ => Expect::Separator,
        };
        // A value counts from its first byte on: also what is open, and what has just been closed.
        let begun = walk.ended + self.unread.len() + usize::from(expect == Expect::Separator);
        self.nodes -= (begun - before) as u32;
        self.characters = at..last + 1;
        (last + 1, expect)
    }
}

impl Walk {
    /// Goes over the marks of a block, and says which bytes it went over: all, or those in front of one.
    #[inline(always)]
    fn block(
        &mut self,
        pass: &mut Pass<'_>,
        window: &Window,
        marks: &Marks,
        sums: impl Fn(u64) -> u64,
    ) -> u64 {
        let between = marks.commas | marks.colons;
        // From each first, third, fifth of them up to the next.
        let parity = sums(between);
        // None, where commas and colons take turns and a colon is the first.
        let out_of_turn = parity ^ marks.colons;
        let mut brackets = marks.opens | marks.closes;
        let mut passed = 0;
        // All bits, where a comma is the first: `behind_colon`, less the parity of all that stands in front of
        // here in the block.
        let mut turned = self.behind_colon;
        loop {
            let bracket = brackets & brackets.wrapping_neg();
            let here = bracket.wrapping_sub(1) & !passed;
            let wrong = match self.inside {
                Some(Bracket::Array) => marks.colons,
                Some(Bracket::Object) => (out_of_turn ^ turned) & between,
                None => return passed,
            };
            if wrong & here != 0 {
                return passed;
            }
            passed |= here;
            if bracket == 0 {
                self.behind_colon = turned ^ all_bits(parity >> 63);
                return passed;
            }
            let at = bracket.trailing_zeros();
            let turn = all_bits(parity >> at & 1);
            self.behind_colon = turned ^ turn;
            let is_empty = marks.empties & bracket != 0;
            if self
                .bracket(pass, window[BEFORE + at as usize % BLOCK], is_empty)
                .is_err()
            {
                return passed;
            }
            passed |= bracket;
            turned = self.behind_colon ^ turn;
            brackets ^= bracket;
        }
    }

    #[inline(always)]
    fn bracket(&mut self, pass: &mut Pass<'_>, byte: u8, is_empty: bool) -> Result<(), Odd> {
        let is_key = self.behind_colon == 0 && self.inside == Some(Bracket::Object);
        let bracket = match byte & 0x20 {
            0 => Bracket::Array,
            _ => Bracket::Object,
        };
        // What closes has this bit.
        if byte & 0x04 == 0 {
            if is_key || pass.unread.len() >= pass.depth {
                return Err(Odd);
            }
            pass.unread.push(bracket);
            self.inside = Some(bracket);
            self.behind_colon = 0;
            return Ok(());
        }
        if Some(bracket) != self.inside || (is_key && !is_empty) || pass.unread.pop().is_none() {
            return Err(Odd);
        }
        self.inside = pass.inside();
        self.behind_colon = !0;
        Ok(())
    }
}

/// The lowest bit, sixty-four times.
#[inline(always)]
fn all_bits(bit: u64) -> u64 {
    0u64.wrapping_sub(bit)
}

impl Carry {
    /// Whether the block is in the midst of a long string, and all in it is right.
    #[inline(always)]
    fn is_text(&self, masks: &Masks) -> bool {
        let ends = masks.quotes | masks.backslashes | masks.controls | self.escaped;
        self.inside == !0 && ends == 0 && masks.is_utf8
    }

    /// What stands outside the strings of the block at `start`, if all that can be seen of it without
    /// knowing which brackets are open is right.
    #[inline(always)]
    fn marks(
        &mut self,
        masks: &Masks,
        sums: impl Fn(u64) -> u64,
        buffer: &[u8],
        start: usize,
    ) -> Result<Marks, Odd> {
        let escaped = self.escaped(masks.backslashes);
        let quotes = masks.quotes & !escaped;
        // Strings with their first quotes and without their last ones.
        let inside = self.inside ^ sums(quotes);
        self.inside = all_bits(inside >> 63);
        let last_quotes = quotes & !inside;
        let outside = !(inside | quotes);

        let spaces = masks.spaces & outside;
        let opens = masks.opens & outside;
        let closes = masks.closes & outside;
        let commas = masks.commas & outside;
        let colons = masks.colons & outside;
        let bare = outside & !(spaces | opens | closes | commas | colons);
        let behind_bare = bare << 1 | self.bare;
        self.bare = bare >> 63;
        let bares = bare & !behind_bare;

        let behind_value = self.behind_value(last_quotes | closes | bare, spaces);
        let values = (quotes & inside) | bares | opens;
        let empties = closes & !behind_value;
        let wrong = (masks.controls & inside)
            | (escaped & !masks.escapes)
            | (values & behind_value)
            | ((commas | colons) & !behind_value);
        if wrong != 0 || !masks.is_utf8 {
            return Err(Odd);
        }
        for at in places(escaped & masks.code_units) {
            let Escape::Ends(_) = text::escape(buffer, start + at - 1) else {
                return Err(Odd);
            };
        }
        let at_once = opens << 1 | self.open;
        self.open = opens >> 63;
        for at in places(empties & !at_once) {
            if !is_empty(buffer, start + at) {
                return Err(Odd);
            }
        }
        for at in places(bares) {
            if !is_bare(buffer, start + at) {
                return Err(Odd);
            }
        }
        Ok(Marks {
            opens,
            closes,
            empties,
            commas,
            colons,
        })
    }

    /// What stands behind `values`, each given by its last byte at least, but for white space.
    #[inline(always)]
    fn behind_value(&mut self, values: u64, spaces: u64) -> u64 {
        let next = values << 1 | self.value;
        // The sum carries through each run of spaces that begins there.
        let (through, carries) = spaces.overflowing_add(next & spaces);
        self.value = values >> 63 | u64::from(carries);
        (next | through) & !spaces
    }

    /// What stands behind a backslash that is not itself escaped.
    #[inline(always)]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        const SECONDS: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        // Of a run of backslashes every second one is escaped, and so is what follows if it is odd. The
        // difference carries through each run; the bits at odd places are set before and turned after, so
        // that it does the same for runs that begin at an odd place.
        let free = backslashes & !self.escaped;
        let turns = (free << 1 | SECONDS).wrapping_sub(free) ^ SECONDS;
        let escaped = turns ^ (backslashes | self.escaped);
        self.escaped = (turns & backslashes) >> 63;
        escaped
    }
}

/// The places of the bits.
#[inline(always)]
fn places(bits: u64) -> impl Iterator<Item = usize> {
    let mut left = bits;
    std::iter::from_fn(move || {
        let place = NonZeroU64::new(left)?.trailing_zeros();
        left &= left - 1;
        Some(place as usize)
    })
}

/// Whether what closes at `at` stands right behind a bracket that opens, but for white space. (A form feed,
/// which is trimmed as well, is no white space to JSON: [`is_bare`] refuses it.)
#[inline(never)]
fn is_empty(buffer: &[u8], at: usize) -> bool {
    let inside = buffer[..at].trim_ascii_end();
    matches!(inside.last(), Some(b'[' | b'{'))
}

/// Whether a number or word begins at `at`, and ends before something else begins.
#[inline(always)]
fn is_bare(buffer: &[u8], at: usize) -> bool {
    let end = match buffer.get(at) {
        Some(&byte @ (b'-' | b'0'..=b'9')) => token::number(buffer, at, byte),
        _ => token::literal(buffer, at),
    };
    // No colon: a key is a string.
    end.and_then(|end| token::after_space(buffer, end))
        .is_some_and(|(_, byte)| matches!(byte, b',' | b']' | b'}'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::json) fn masks(window: &Window) -> Masks {
        let mut masks = Masks {
            is_utf8: is_utf8(window),
            ..Masks::default()
        };
        for (at, byte) in window[BEFORE..].iter().enumerate() {
            let of = |set: &[u8]| u64::from(set.contains(byte)) << at;
            masks.quotes |= of(b"\"");
            masks.backslashes |= of(b"\\");
            masks.controls |= u64::from(*byte < 0x20) << at;
            masks.spaces |= of(b" \t\r\n");
            masks.opens |= of(b"[{");
            masks.closes |= of(b"]}");
            masks.commas |= of(b",");
            masks.colons |= of(b":");
            masks.escapes |= of(b"\"\\/bfnrtu");
            masks.code_units |= of(b"u");
        }
        masks
    }

    /// Whether no byte of the block shows that this is no part of a text in UTF-8.
    fn is_utf8(window: &Window) -> bool {
        let text = &window[rest_of_character(window)..];
        let Err(error) = str::from_utf8(text) else {
            return true;
        };
        let fault = error.valid_up_to();
        let shows = match (text[fault], error.error_len()) {
            (0x80..=0xBF, _) => fault,
            (_, Some(length)) => fault + length,
            (_, None) => text.len(),
        };
        shows == text.len()
    }

    /// How many bytes in front of the block belong to a character that begins further in front.
    pub(in crate::json) fn rest_of_character(window: &Window) -> usize {
        let goes_on = |byte: &&u8| (0x80..=0xBF).contains(*byte);
        window[..BEFORE].iter().take_while(goes_on).count()
    }

    pub(in crate::json) fn sums(bits: u64) -> u64 {
        (0..64).fold(0, |sums, at| {
            let below = bits << (63 - at);
            sums | u64::from(below.count_ones() % 2) << at
        })
    }

    /// Where a way through a text ends, and what is known there.
    pub(in crate::json) type Passed = ((usize, Expect), Vec<Bracket>, u32);

    /// Goes through `text` from a value at [`BEFORE`] on, inside of `unread`, with nobody looking into any
    /// of it, and of `around` neither: block by block and then token by token, and token by token alone.
    pub(in crate::json) fn both_ways(
        text: &[u8],
        around: Option<Bracket>,
        unread: &[Bracket],
        limits: (usize, u32),
    ) -> [Passed; 2] {
        [true, false].map(|by_blocks| {
            let mut passed = passed(text, around, unread, limits, |pass| {
                let (at, expect) = match by_blocks {
                    true => pass.by_blocks(BEFORE, masks, sums),
                    false => (BEFORE, Expect::Value),
                };
                pass.by_tokens(at, expect, usize::MAX)
            });
            // One white space more or less is gone past behind a colon.
            let at = &mut passed.0.0;
            *at = token::after_space(text, *at).map_or(text.len(), |(at, _)| at);
            passed
        })
    }

    fn passed(
        text: &[u8],
        around: Option<Bracket>,
        unread: &[Bracket],
        (depth, nodes): (usize, u32),
        way: impl Fn(&mut Pass<'_>) -> (usize, Expect),
    ) -> Passed {
        let mut unread = unread.to_vec();
        let mut pass = Pass {
            buffer: text,
            around,
            unread: &mut unread,
            depth,
            nodes,
            characters: 0..0,
        };
        let place = way(&mut pass);
        let nodes = pass.nodes;
        (place, unread, nodes)
    }

    /// Where blocks end in a text in which all is right and nothing around it is closed.
    pub(in crate::json) fn end_of_blocks(text: &[u8], around: Bracket) -> usize {
        let limits = (1000, 1_000_000);
        passed(text, Some(around), &[], limits, |pass| {
            pass.by_blocks(BEFORE, masks, sums)
        })
        .0
        .0
    }
}
