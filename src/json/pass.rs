//! Passing over what nobody looks into, in one loop.
//!
//! Most of a body is only checked and moved: no part in it is asked for and no key of it compared.
//! There the scan needs to know what is open and what comes next, and no more. [`Pass::over`] reads
//! such bytes token by token (see `token.rs`) without going back to the machine in `scan.rs`, and
//! stops between two tokens at the latest place that it is sure of. It reports no faults: what it
//! does not like, it leaves to the machine. Once the machine has begun a token it keeps its place in
//! it, so however many pieces a body comes in, a token is not begun again with each.

use super::token;

/// What comes next between two tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    Separator,
}

#[derive(Clone, Copy, Debug)]
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
}

impl Pass<'_> {
    /// Goes from `at`, where `expect` comes next, as far as all is plain, and says where that is and
    /// what comes next there.
    pub(super) fn over(&mut self, at: usize, expect: Expect) -> (usize, Expect) {
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
                None => return (at, expect),
            },
            Expect::ElementOrEnd | Expect::Colon => return (at, expect),
        }
        loop {
            if !behind {
                let Some((start, byte)) = token::after_space(buffer, at) else {
                    return (at, Expect::Value);
                };
                if self.nodes == 0 {
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
                        if buffer.get(start + 1) != Some(&b'}') {
                            return (start + 1, Expect::KeyOrEnd);
                        }
                        Some(start + 1)
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
    fn inside(&self) -> Option<Bracket> {
        self.unread.last().copied().or(self.around)
    }
}
