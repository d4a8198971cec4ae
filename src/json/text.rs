//! The inside of JSON strings: escapes, and writing them. Runs without specials are in `token.rs`.

use std::borrow::Cow;

use super::token;

/// What stands behind the backslash at `at`.
pub(super) enum Escape {
    /// A whole escape; what follows it begins here.
    Ends(usize),
    /// The buffer ends inside the escape.
    Unfinished,
    /// No escape of JSON; the fault is here.
    Wrong(usize),
}

pub(super) fn escape(buffer: &[u8], at: usize) -> Escape {
    match buffer.get(at + 1) {
        None => Escape::Unfinished,
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::Ends(at + 2),
        Some(b'u') => {
            let end = buffer.len().min(at + 6);
            let digits = &buffer[at + 2..end];
            match digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
                Some(wrong) => Escape::Wrong(at + 2 + wrong),
                None if digits.len() < 4 => Escape::Unfinished,
                None => Escape::Ends(end),
            }
        }
        Some(_) => Escape::Wrong(at),
    }
}

/// The text that the inside of a valid string stands for. A lone surrogate becomes U+FFFD.
pub(super) fn decode(inside: &[u8]) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inside) else {
        return String::from_utf8_lossy(inside);
    };
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    let mut next = Some(first);
    while let Some(backslash) = next {
        out.push_str(&String::from_utf8_lossy(&rest[..backslash]));
        let (character, length) = unescape(&rest[backslash..]);
        out.push(character);
        rest = rest.get(backslash + length..).unwrap_or_default();
        next = memchr::memchr(b'\\', rest);
    }
    out.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(out)
}

/// The character of the escape that `bytes` begins with, and the escape's length.
fn unescape(bytes: &[u8]) -> (char, usize) {
    let character = match bytes.get(1) {
        Some(b'u') => return unescape_unicode(bytes),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, 2)
}

fn unescape_unicode(bytes: &[u8]) -> (char, usize) {
    let lone = (char::REPLACEMENT_CHARACTER, 6);
    let Some(unit) = hex4(bytes, 2) else {
        return lone;
    };
    if !(0xD800..0xDC00).contains(&unit) {
        return (char::from_u32(unit).unwrap_or(lone.0), 6);
    }
    if bytes.get(6..8) != Some(b"\\u") {
        return lone;
    }
    match hex4(bytes, 8) {
        Some(low @ 0xDC00..0xE000) => {
            let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(scalar).unwrap_or(lone.0), 12)
        }
        _ => lone,
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let (stop, _) = token::plain_run(bytes, at);
        out.extend_from_slice(&bytes[at..stop]);
        let Some(&special) = bytes.get(stop) else {
            break;
        };
        write_escape(out, special);
        at = stop + 1;
    }
    out.push(b'"');
}

/// Appends a number as JSON.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The eight digits of four bytes, all at once.
pub fn hexadecimal(bytes: [u8; 4]) -> [u8; 8] {
    /// A one in each byte.
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut digits = u64::from(u32::from_be_bytes(bytes));
    // Each half to the front of the place that it will have, down to one digit in a byte.
    digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF;
    digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF;
    digits = (digits | digits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    let above_nine = (digits + 6 * ONES) >> 4 & ONES;
    let letters = above_nine * u64::from(b'a' - b'0' - 10);
    (digits + u64::from(b'0') * ONES + letters).to_be_bytes()
}

fn write_escape(out: &mut Vec<u8>, special: u8) {
    match special {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', special]),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0C => out.extend_from_slice(b"\\f"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hexadecimal([other, 0, 0, 0])[..2]);
        }
    }
}
