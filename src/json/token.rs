//! Tokens that stand in the buffer as a whole: where each ends, if nothing is wrong with it.
//!
//! These are the quick half of the checker. They look at eight or sixteen bytes at a time and answer
//! `None` for all that is not plain sailing: a token that the buffer may cut off, or a fault. The
//! machine in `scan.rs` then reads that token byte by byte, and is the only one that knows how to wait
//! and what to say of a fault; so the two cannot disagree about it. Whether a string is UTF-8 is not
//! asked here: `scan.rs` asks that of all tokens it went past at once, and blocks ask it themselves.

use super::text::{self, Escape};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Eight bytes as one number, the first one lowest.
///
/// What is looked for is marked in the high bit of its byte. Marks behind the first may be wrong: a
/// sum or difference carries over only from a byte that is marked rightly.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    /// The word at `at`; `None` near the end of the buffer.
    #[inline(always)]
    fn at(buffer: &[u8], at: usize) -> Option<Word> {
        Some(Word::of(buffer.get(at..)?.first_chunk()?))
    }

    #[inline(always)]
    fn of(bytes: &[u8; 8]) -> Word {
        Word(u64::from_le_bytes(*bytes))
    }

    /// Marks quotes and control characters, and some of what is not ASCII. Flipping
    /// the bit 0x02 puts the quote (0x22) right behind the control characters (below 0x20), so that
    /// one comparison finds both.
    #[inline(always)]
    fn low(self) -> u64 {
        (self.0 ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21)
    }

    /// The same for backslashes.
    #[inline(always)]
    fn backslashes(self) -> u64 {
        (self.0 ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES)
    }

    /// Marks what ends a run of plain characters: quotes, backslashes and control characters.
    #[inline(always)]
    fn specials(self) -> u64 {
        (self.low() | self.backslashes()) & !self.0 & HIGHS
    }

    /// Marks `"`, `{`, `[`, `}` and `]`: a bracket and its brace differ in the bit 0x20 only.
    #[inline(always)]
    fn structure(self) -> u64 {
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        let folded = self.0 | (ONES * 0x20);
        let opening = zeros(folded ^ (ONES * u64::from(b'{')));
        let closing = zeros(folded ^ (ONES * u64::from(b'}')));
        let quotes = zeros(self.0 ^ (ONES * u64::from(b'"')));
        (opening | closing | quotes) & HIGHS
    }

    /// Marks what is no digit.
    #[inline(always)]
    fn not_digits(self) -> u64 {
        let digits = self.0 ^ (ONES * u64::from(b'0'));
        (digits.wrapping_add(ONES * (0x80 - 10)) | digits) & HIGHS
    }

    /// Marks what is no space, with any bit of its byte.
    #[inline(always)]
    fn not_spaces(self) -> u64 {
        self.0 ^ (ONES * u64::from(b' '))
    }

    /// The bytes from the first mark on.
    #[inline(always)]
    fn after(self, marks: u64) -> u64 {
        self.0 >> (marks.trailing_zeros() & 56)
    }

    /// The byte of the first mark.
    #[inline(always)]
    fn first(self, marks: u64) -> u8 {
        self.after(marks) as u8
    }
}

/// The two words of a block.
#[inline(always)]
fn words(block: &[u8; 16]) -> [Word; 2] {
    let bits = u128::from_le_bytes(*block);
    [Word(bits as u64), Word((bits >> 64) as u64)]
}

/// How many bytes stand before the first mark.
#[inline(always)]
fn before(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// Where the run of plain characters that begins at `at` ends (at a quote, a backslash, a control
/// character or the end of the buffer), and whether all of it is ASCII.
pub(super) fn plain_run(buffer: &[u8], at: usize) -> (usize, bool) {
    let mut at = at;
    let mut seen = 0u64;
    while let Some(word) = Word::at(buffer, at) {
        let marks = word.specials();
        if marks != 0 {
            // Of this word, only the high bits below the first mark count.
            seen |= word.0 & (marks & marks.wrapping_neg()).wrapping_sub(1);
            return (at + before(marks), seen & HIGHS == 0);
        }
        seen |= word.0;
        at += 8;
    }
    let mut ascii = seen & HIGHS == 0;
    while let Some(&byte) = buffer.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        ascii &= byte < 0x80;
        at += 1;
    }
    (at, ascii)
}

/// Behind the string whose inside begins at `at`.
#[inline(always)]
pub(super) fn string(buffer: &[u8], at: usize) -> Option<usize> {
    // Most strings end in their first sixteen bytes.
    for at in [at, at + 8] {
        let Some(word) = Word::at(buffer, at) else {
            return any_string(buffer, at);
        };
        let marks = word.specials();
        if marks != 0 {
            let stop = at + before(marks);
            if word.first(marks) != b'"' {
                return any_string(buffer, stop);
            }
            return Some(stop + 1);
        }
    }
    any_string(buffer, at + 16)
}

/// Where the value may begin that stands behind the key and the colon at `at`.
#[inline(always)]
pub(super) fn key(buffer: &[u8], at: usize) -> Option<usize> {
    let (quote, b'"') = after_space(buffer, at)? else {
        return None;
    };
    // Most keys end in their first word, and the colon follows at once.
    if let Some(word) = Word::at(buffer, quote + 1) {
        let marks = word.specials();
        let after = word.after(marks);
        if after as u16 == u16::from_le_bytes(*b"\":") {
            let space = usize::from((after >> 16) as u8 == b' ');
            return Some(quote + 1 + before(marks) + 2 + space);
        }
    }
    let end = string(buffer, quote + 1)?;
    let (colon, b':') = after_space(buffer, end)? else {
        return None;
    };
    Some(colon + 1)
}

/// Behind the string that goes on at `at`, with whatever belongs into a string.
#[inline(never)]
fn any_string(buffer: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        at = plain(buffer, at);
        at = match buffer.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match text::escape(buffer, at) {
                Escape::Ends(next) => next,
                _ => return None,
            },
            _ => return None,
        };
    }
}

/// Where the run of plain characters from `at` on ends, or the buffer.
#[inline(always)]
fn plain(buffer: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(block) = buffer.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        // The compiler makes one comparison of sixteen bytes of this.
        let mut is_plain = true;
        for &byte in block {
            is_plain &= (byte ^ 0x02 > 0x20) & (byte != b'\\');
        }
        if !is_plain {
            let [first, second] = words(block);
            let (first, second) = (first.specials(), second.specials());
            // Both at once: which one it is cannot be foretold.
            let marks = u128::from(first) | u128::from(second) << 64;
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 16;
    }
    let rest = buffer.get(at..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, 0x00..=0x1F | b'"' | b'\\');
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

/// The first byte from `at` on that is no white space, and where it stands.
#[inline(always)]
pub(super) fn after_space(buffer: &[u8], at: usize) -> Option<(usize, u8)> {
    let byte = *buffer.get(at)?;
    if byte > b' ' {
        return Some((at, byte));
    }
    // A space, or a line break and up to seven columns of indentation.
    if let Some(word) = Word::at(buffer, at + 1)
        && is_space(byte)
    {
        let others = word.not_spaces();
        let byte = word.first(others);
        if byte > b' ' {
            return Some((at + 1 + before(others), byte));
        }
    }
    let at = end_of_space(buffer, at);
    Some((at, *buffer.get(at)?))
}

#[inline(always)]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Where the white space from `at` on ends: line breaks and indentations more often than not.
#[inline(never)]
fn end_of_space(buffer: &[u8], at: usize) -> usize {
    let mut at = at;
    while buffer.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
        while let Some(word) = Word::at(buffer, at) {
            let others = word.not_spaces();
            at += before(others);
            if others != 0 {
                break;
            }
        }
    }
    at
}

/// Behind the digits that begin at `at`.
#[inline(always)]
fn digits(buffer: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(word) = Word::at(buffer, at) {
        let marks = word.not_digits();
        at += before(marks);
        if marks != 0 {
            return at;
        }
    }
    while buffer.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Behind the number that begins at `at` with `byte`, if something stands there that is none of it.
#[inline(always)]
pub(super) fn number(buffer: &[u8], at: usize, byte: u8) -> Option<usize> {
    let first = at + usize::from(byte == b'-');
    let mut end = digits(buffer, first);
    if end == first || (end > first + 1 && buffer[first] == b'0') {
        return None;
    }
    let mut next = *buffer.get(end)?;
    if next == b'.' {
        let fraction = end + 1;
        end = digits(buffer, fraction);
        if end == fraction {
            return None;
        }
        next = *buffer.get(end)?;
    }
    if next == b'e' || next == b'E' {
        return exponent(buffer, end + 1);
    }
    Some(end)
}

/// Behind the exponent whose sign or digits begin at `at`.
#[inline(never)]
fn exponent(buffer: &[u8], at: usize) -> Option<usize> {
    let first = at + usize::from(matches!(buffer.get(at), Some(b'+' | b'-')));
    let end = digits(buffer, first);
    (end > first && end < buffer.len()).then_some(end)
}

/// Behind `true`, `false` or `null` at `at`.
#[inline(always)]
pub(super) fn literal(buffer: &[u8], at: usize) -> Option<usize> {
    let rest = buffer.get(at..)?;
    match rest.first_chunk::<4>()? {
        b"true" | b"null" => Some(at + 4),
        b"fals" if rest.get(4) == Some(&b'e') => Some(at + 5),
        _ => None,
    }
}

// === over bytes that are known to be JSON ===

/// Behind the string that opens at `start`.
pub(super) fn end_of_string(bytes: &[u8], start: usize) -> usize {
    /// From here on the set-up of a search with wider words pays.
    const SHORT: usize = 32;
    let mut at = start + 1;
    while at - start <= SHORT
        && let Some(word) = Word::at(bytes, at)
    {
        let marks = word.specials();
        at += before(marks);
        if marks != 0 {
            match word.first(marks) {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }
    while let Some(rest) = bytes.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest[found] == b'"' => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    bytes.len()
}

/// Behind the array or object that opens at `start`.
pub(super) fn end_of_container(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            b',' | b':' => {}
            _ => {
                // Inside a number, a word or white space.
                if let Some(word) = Word::at(bytes, at) {
                    at += before(word.structure());
                    continue;
                }
            }
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_told_apart() {
        for length in 0..48 {
            for place in 0..length {
                for byte in 0..=0xFF {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    text.extend(b"\":00000000");
                    let expected = match byte {
                        b'"' => Some(place + 1),
                        0x00..=0x1F | b'\\' => None,
                        _ => Some(length + 1),
                    };
                    // An escape of a quote or of nothing, and what `text.rs` says of it.
                    if byte != b'\\' {
                        assert_eq!(string(&text, 0), expected, "{text:?}");
                    }
                    let run = expected.map_or(place, |end| end - 1);
                    assert_eq!(plain(&text, 0), run, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn digits_end_at_the_first_byte_that_is_none() {
        for length in 0..20 {
            for byte in 0..=0xFF {
                let mut text = vec![b'9'; length];
                text.extend([byte, 0xFF, b'0', b'0', b'0', b'0', b'0', b'0', b'0']);
                let more = usize::from(byte.is_ascii_digit());
                assert_eq!(digits(&text, 0), length + more, "{text:?}");
            }
        }
    }
}
