//! Passing over what nobody looks into, in one loop.
//!
//! Most of a body is only checked and moved: no part in it is asked for and no key of it compared.
//! There the scan needs to know what is open and what comes next, and no more. [`Pass::over`] reads
//! such bytes token by token (see `token.rs`), and what is long by blocks of 64 bytes (see `blocks.rs`),
//! without going back to the machine in `scan.rs`, and stops between two tokens at the latest place that
//! it is sure of. It reports no faults: what it does not like, it leaves to the machine. Once the machine
//! has begun a token it keeps its place in it, so however many pieces a body comes in, a token is not
//! begun again with each.

use std::ops::Range;

use super::token;
#[cfg(target_arch = "x86_64")]
use super::vector;

/// How much of a piece must be left for blocks to be worth their while, and how much of it is gone over
/// token by token before: most of what nobody looks at is short.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 512;
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 128;

/// What comes next between two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    Separator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Array,
    Object,
}

/// What is known where nobody looks.
pub(super) struct Pass<'s> {
    pub(super) buffer: &'s [u8],
    /// The unread array or object around all of `unread`, which is not closed here.
    pub(super) around: Option<Bracket>,
    /// The arrays and objects that are open, innermost last.
    pub(super) unread: &'s mut Vec<Bracket>,
    /// How many of them there may be.
    pub(super) depth: usize,
    /// How many more values there may be.
    pub(super) nodes: u32,
    /// What has been found to be UTF-8 on the way.
    pub(super) characters: Range<usize>,
}

impl Pass<'_> {
    /// Goes from `at`, where `expect` comes next, as far as all is plain, and says where that is and
    /// what comes next there.
    pub(super) fn over(&mut self, at: usize, expect: Expect) -> (usize, Expect) {
        #[cfg(target_arch = "x86_64")]
        if self.buffer.len() - at >= LONG {
            let enough = at + SHORT;
            let mut place = self.by_tokens(at, expect, enough);
            if let (at, Expect::Value) = place
                && at >= enough
            {
                place = vector::by_blocks(self, at).unwrap_or(place);
            }
            return self.by_tokens(place.0, place.1, usize::MAX);
        }
        self.by_tokens(at, expect, usize::MAX)
    }

    /// The same token by token, or up to a value at `enough` or behind.
    pub(super) fn by_tokens(
        &mut self,
        at: usize,
        expect: Expect,
        enough: usize,
    ) -> (usize, Expect) {
        let buffer = self.buffer;
        let Some(mut inside) = self.inside() else {
            return (at, expect);
        };
        let mut at = at;
        let mut behind = false;
        match expect {
            Expect::Value => {}
            Expect::Separator => behind = true,
            Expect::Key | Expect::KeyOrEnd => match token::key(buffer, at) {
                Some(value) => at = value,
                None => match (expect, token::after_space(buffer, at)) {
                    (Expect::KeyOrEnd, Some((_, b'}'))) => behind = true,
                    _ => return (at, expect),
                },
            },
            Expect::ElementOrEnd => match token::after_space(buffer, at) {
                Some((_, b']')) => behind = true,
                Some(_) => {}
                None => return (at, expect),
            },
            Expect::Colon => return (at, expect),
        }
        loop {
            if !behind {
                let Some((start, byte)) = token::after_space(buffer, at) else {
                    return (at, Expect::Value);
                };
                if self.nodes == 0 || at >= enough {
                    return (at, Expect::Value);
                }
                self.nodes -= 1;
                let end = match byte {
                    b'"' => token::string(buffer, start + 1),
                    b'{' if self.unread.len() < self.depth => {
                        inside = Bracket::Object;
                        self.unread.push(inside);
                        if let Some(value) = token::key(buffer, start + 1) {
                            at = value;
                            continue;
                        }
                        match token::after_space(buffer, start + 1) {
                            Some((end, b'}')) => Some(end),
                            _ => return (start + 1, Expect::KeyOrEnd),
                        }
                    }
                    b'[' if self.unread.len() < self.depth => {
                        inside = Bracket::Array;
                        self.unread.push(inside);
                        at = start + 1;
                        match token::after_space(buffer, at) {
                            None => return (at, Expect::ElementOrEnd),
                            Some((end, b']')) => Some(end),
                            Some(_) => continue,
                        }
                    }
                    b'-' | b'0'..=b'9' => token::number(buffer, start, byte),
                    b't' | b'f' | b'n' => token::literal(buffer, start),
                    _ => None,
                };
                let Some(end) = end else {
                    self.nodes += 1;
                    return (at, Expect::Value);
                };
                at = end;
            }
            behind = true;
            let Some((mark, byte)) = token::after_space(buffer, at) else {
                return (at, Expect::Separator);
            };
            match (inside, byte) {
                (Bracket::Array, b',') => {
                    at = mark + 1;
                    behind = false;
                }
                (Bracket::Object, b',') => match token::key(buffer, mark + 1) {
                    Some(value) => {
                        at = value;
                        behind = false;
                    }
                    None => return (mark + 1, Expect::Key),
                },
                (Bracket::Array, b']') | (Bracket::Object, b'}') if !self.unread.is_empty() => {
                    at = mark + 1;
                    self.unread.pop();
                    match self.inside() {
                        Some(around) => inside = around,
                        None => return (at, Expect::Separator),
                    }
                }
                _ => return (at, Expect::Separator),
            }
        }
    }

    /// What is innermost, if it is unread.
    pub(super) fn inside(&self) -> Option<Bracket> {
        self.unread.last().copied().or(self.around)
    }
}
