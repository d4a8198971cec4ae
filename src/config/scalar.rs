//! One scalar: what it is by the contract, and where each byte of its text stands in the file.
//!
//! YAML's own rules for plain scalars are not used: what is not null, a boolean or a number as JSON
//! spells them is text, so `NO`, `0x1F`, `007` and `1_000` stay as they were written.

use saphyr_parser::ScalarStyle;

use crate::config::node::Origin;

/// What a plain scalar is, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Null,
    Boolean(bool),
    Number,
    Text,
}

pub fn resolve(text: &str) -> Plain {
    match text {
        "" | "~" | "null" => Plain::Null,
        "true" => Plain::Boolean(true),
        "false" => Plain::Boolean(false),
        _ if is_number(text) => Plain::Number,
        _ => Plain::Text,
    }
}

/// Whether this is a number by the grammar of RFC 8259 §6.
pub fn is_number(text: &str) -> bool {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 {
            return false;
        }
        rest = &exponent[length..];
    }
    rest.is_empty()
}

/// The length of the quoted text at the start of `written`, if its quote is closed.
pub fn quoted_length(written: &str, mark: char) -> Option<usize> {
    let bytes = written.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if mark == '"' => at += 1,
            b'\'' if mark == '\'' && bytes.get(at + 1) == Some(&b'\'') => at += 1,
            byte if byte == mark as u8 => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Collects the points of an [`Origin`].
pub struct Trace {
    points: Vec<(u32, u32)>,
}

impl Trace {
    pub fn new() -> Trace {
        Trace { points: Vec::new() }
    }

    /// Says that the byte at `text` comes from `file`.
    pub fn at(&mut self, text: usize, file: u32) {
        let text = u32::try_from(text).unwrap_or(u32::MAX);
        if let Some((last_text, last_file)) = self.points.last()
            && last_file.saturating_add(text - last_text) == file
        {
            return;
        }
        self.points.push((text, file));
    }

    /// Says that the text ends at `text`, and its source at `file`.
    pub fn end(mut self, text: usize, file: u32) -> Origin {
        let text = u32::try_from(text).unwrap_or(u32::MAX);
        match self.points.as_slice() {
            [] => Origin::Verbatim(file),
            [(0, start)] if start.saturating_add(text) == file => Origin::Verbatim(*start),
            _ => {
                self.points.push((text, file));
                Origin::Mapped(self.points)
            }
        }
    }
}

/// Where the bytes of `value` stand in the file: `raw` is the scalar's source, `start` its offset.
///
/// Folding only ever turns white space into other white space, so everything else is found again in
/// order; only quoted scalars have escapes besides.
pub fn origin(value: &str, raw: &str, start: u32, style: ScalarStyle) -> Origin {
    let raw_end = start + raw.len() as u32;
    let (inner, start) = match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if raw.len() >= 2 => {
            (&raw[1..raw.len() - 1], start + 1)
        }
        _ => (raw, start),
    };
    if inner == value {
        return Origin::Verbatim(start);
    }
    let mut trace = Trace::new();
    let mut position = 0;
    for (offset, character) in value.char_indices() {
        let (at, length) = locate(inner, position, character, style);
        trace.at(offset, start + at as u32);
        position = at + length;
    }
    let end = (start + position as u32).min(raw_end);
    trace.end(value.len(), end)
}

/// Where `character` stands in `raw` from `position` on, and how long its spelling is.
fn locate(raw: &str, position: usize, character: char, style: ScalarStyle) -> (usize, usize) {
    let mut at = position;
    loop {
        let rest = &raw[at..];
        if let Some(length) = escape(rest, style) {
            return (at, length);
        }
        if rest.starts_with(character) {
            return (at, character.len_utf8());
        }
        match line_fold(rest) {
            // White space of the value that a fold made: it stands where the fold begins.
            _ if character.is_whitespace() => return (at, 0),
            Some(length) => at += length,
            None => return (at, 0),
        }
    }
}

/// The length of the escape at the start of `rest`, if there is one that gives a character.
fn escape(rest: &str, style: ScalarStyle) -> Option<usize> {
    match style {
        ScalarStyle::SingleQuoted if rest.starts_with("''") => Some(2),
        ScalarStyle::DoubleQuoted => {
            let after = rest.strip_prefix('\\')?.chars().next()?;
            match after {
                'x' => Some(4),
                'u' => Some(6),
                'U' => Some(10),
                '\n' | '\r' => None,
                _ => Some(1 + after.len_utf8()),
            }
            .map(|length| rest.floor_char_boundary(length))
        }
        _ => None,
    }
}

/// The length of what a fold leaves out at the start of `rest`: white space, an escaped line end.
fn line_fold(rest: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    match first {
        '\\' => Some(1),
        _ if first.is_whitespace() => Some(first.len_utf8()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_json_says() {
        let numbers = [
            "0",
            "-0",
            "1",
            "12.10",
            "1e400",
            "-1.5E+3",
            "1152921504606846976",
            "0.0",
        ];
        for text in numbers {
            assert_eq!(resolve(text), Plain::Number, "{text}");
        }
        let texts = [
            "NO",
            "yes",
            "on",
            "True",
            "0x1F",
            "0o7",
            "007",
            "1_000",
            "2024-01-01",
            ".5",
            "+1",
            "1.",
            "-",
            "1e",
            "1e+",
            ".inf",
            ".NaN",
            "Null",
            "NULL",
            "12:30",
            "1.2.3",
            "-a",
            "1 2",
        ];
        for text in texts {
            assert_eq!(resolve(text), Plain::Text, "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(resolve(text), Plain::Null, "{text}");
        }
        assert_eq!(resolve("true"), Plain::Boolean(true));
        assert_eq!(resolve("false"), Plain::Boolean(false));
    }

    /// The source offsets of the characters of `value`.
    fn check(value: &str, raw: &str, style: ScalarStyle, expected: &[u32]) {
        let origin = origin(value, raw, 100, style);
        let found: Vec<u32> = value.char_indices().map(|(at, _)| origin.of(at)).collect();
        let expected: Vec<u32> = expected.iter().map(|at| at + 100).collect();
        assert_eq!(found, expected, "{raw:?}");
    }

    #[test]
    fn every_character_is_found_in_its_source() {
        use ScalarStyle::{DoubleQuoted, Folded, Literal, Plain, SingleQuoted};
        check("abc", "abc", Plain, &[0, 1, 2]);
        check("abc", "'abc'", SingleQuoted, &[1, 2, 3]);
        check("a'b", "'a''b'", SingleQuoted, &[1, 2, 4]);
        check("a\nb", "\"a\\nb\"", DoubleQuoted, &[1, 2, 4]);
        check("é\"x", "\"\\u00e9\\\"x\"", DoubleQuoted, &[1, 7, 9]);
        check("ab", "\"a\\\n   b\"", DoubleQuoted, &[1, 7]);
        check("a b", "a\n   b", Plain, &[0, 1, 5]);
        check("a\nb", "a\n  b\n", Literal, &[0, 1, 4]);
        check("a\nb\n", "a\r\n  b\r\n", Literal, &[0, 1, 5, 6]);
        check("a b\nc", "a\n  b\n\n  c\n", Folded, &[0, 1, 4, 5, 9]);
        check("  x\n y", "  x\n   y", Folded, &[0, 1, 2, 3, 4, 7]);
    }

    #[test]
    fn the_end_of_a_text_is_the_end_of_its_source() {
        let origin = origin("a\nb", "\"a\\nb\"", 0, ScalarStyle::DoubleQuoted);
        assert_eq!(origin.of(3), 5);
    }
}
