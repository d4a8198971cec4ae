//! How a value is written where it ends up, and what may not stand there.
//!
//! The rules are those against injection: a value in a path is one segment and stays one, whoever
//! decodes it once more; a value in a header ends before no line does. Literal text is the operator's
//! and is judged when the file is read ([`super::url`]), not here.

use std::borrow::Cow;
use std::fmt::Write;

/// Why a value may not stand in its place. Never holds the value.
pub(super) type Refusal = &'static str;

/// Appends `value` as one segment of a path.
pub(super) fn segment(out: &mut String, value: &str) -> Result<(), Refusal> {
    // Most values are words or numbers, of which nothing is to be asked.
    if !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte != b'.' && is_unreserved(byte))
    {
        out.push_str(value);
        return Ok(());
    }
    refuse_segment(value)?;
    percent(out, value);
    Ok(())
}

/// Appends the value of a parameter that holds the rest of a path: as many segments as it has.
pub(super) fn rest(out: &mut String, value: &str) -> Result<(), Refusal> {
    for (number, part) in value.split('/').enumerate() {
        if number > 0 {
            out.push('/');
        }
        segment(out, part)?;
    }
    Ok(())
}

fn refuse_segment(value: &str) -> Result<(), Refusal> {
    let decoded = match value.contains('%') {
        true => Cow::Owned(decode_once(value.as_bytes())),
        false => Cow::Borrowed(value.as_bytes()),
    };
    if value.is_empty() {
        Err("is empty, and a segment of a path is not")
    } else if is_dots(value.as_bytes()) || is_dots(&decoded) {
        Err("is `.` or `..`, which would change the path")
    } else if decoded.iter().any(|&byte| is_control(byte)) {
        Err("holds a control character")
    } else {
        Ok(())
    }
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// Whether a segment as it is sent is `.` or `..`, for one who decodes it too.
pub(super) fn is_dot_segment(segment: &[u8]) -> bool {
    // The longest way to write one is `%2e%2e`.
    let may_be = segment.len() <= 6 && matches!(segment, [b'.' | b'%', ..]);
    may_be && is_dots(&decode_once(segment))
}

/// `bytes` with each `%XX` decoded, once.
fn decode_once(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match pair.and_then(hexadecimal) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn hexadecimal(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let value = digit(pair[0])? * 16 + digit(pair[1])?;
    u8::try_from(value).ok()
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7F
}

/// Appends `value` as (part of) the value of a header. A tab is the one control character that may
/// stand there (RFC 9110 §5.5).
pub(super) fn header(out: &mut String, value: &str) -> Result<(), Refusal> {
    if value.bytes().any(|byte| is_control(byte) && byte != b'\t') {
        return Err("holds a line break or another control character");
    }
    out.push_str(value);
    Ok(())
}

/// The one form of all the ways to write a path: each segment decoded once, and written as a value
/// would be. What is no escape stands for itself.
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte == b'/' || is_unreserved(byte)) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for (number, part) in path.split('/').enumerate() {
        if number > 0 {
            out.push('/');
        }
        percent_bytes(&mut out, &decode_once(part.as_bytes()));
    }
    Cow::Owned(out)
}

/// Appends `text` with everything but unreserved percent-encoded.
pub(super) fn percent(out: &mut String, text: &str) {
    percent_bytes(out, text.as_bytes());
}

fn percent_bytes(out: &mut String, bytes: &[u8]) {
    out.reserve(bytes.len());
    for &byte in bytes {
        match is_unreserved(byte) {
            true => out.push(byte as char),
            false => percent_byte(out, byte),
        }
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(super) fn percent_byte(out: &mut String, byte: u8) {
    write!(out, "%{byte:02X}").expect("a String takes all that is written to it");
}

/// Appends `key=value` to a query, with `&` before it where something stands already.
pub fn push_query(out: &mut String, key: &str, value: &str) {
    separate(out);
    percent(out, key);
    out.push('=');
    percent(out, value);
}

/// Appends `key=value` to an `application/x-www-form-urlencoded` body.
pub fn push_form(out: &mut String, key: &str, value: &str) {
    separate(out);
    form(out, key);
    out.push('=');
    form(out, value);
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push('&');
    }
}

/// The form encoding of the URL standard: a space is `+`, and `*-._` stay as they are.
fn form(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                out.push(byte as char);
            }
            b' ' => out.push('+'),
            _ => percent_byte(out, byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_segment_or_refused() {
        let rows = [
            ("42", Some("42")),
            ("a-b.c_d~e", Some("a-b.c_d~e")),
            ("a b/c?d#e%f", Some("a%20b%2Fc%3Fd%23e%25f")),
            ("../../admin?x=1", Some("..%2F..%2Fadmin%3Fx%3D1")),
            ("//evil", Some("%2F%2Fevil")),
            ("@evil.example", Some("%40evil.example")),
            ("é", Some("%C3%A9")),
            ("...", Some("...")),
            ("%2", Some("%252")),
            ("%zz", Some("%25zz")),
            ("%252e%252e", Some("%25252e%25252e")),
            ("", None),
            (".", None),
            ("..", None),
            ("%2e", None),
            ("%2E%2e", None),
            (".%2e", None),
            ("%00", None),
            ("a%00b", None),
            ("%0d%0aX:y", None),
            ("a\r\nb", None),
            ("\0", None),
            ("\u{7f}", None),
        ];
        for (value, expected) in rows {
            let mut out = String::new();
            let written = segment(&mut out, value).is_ok();
            assert_eq!(written.then_some(out.as_str()), expected, "{value:?}");
        }
    }

    #[test]
    fn a_rest_keeps_its_slashes_and_refuses_by_segment() {
        let rows = [
            ("a/b c/d", Some("a/b%20c/d")),
            ("a", Some("a")),
            ("a//b", None),
            ("/a", None),
            ("a/", None),
            ("a/../b", None),
            ("a/%2e%2e/b", None),
            ("", None),
        ];
        for (value, expected) in rows {
            let mut out = String::new();
            let written = rest(&mut out, value).is_ok();
            assert_eq!(written.then_some(out.as_str()), expected, "{value:?}");
        }
    }

    #[test]
    fn a_header_value_has_no_control_characters() {
        let rows = [
            ("a\tb é", true),
            ("a\rb", false),
            ("a\nb", false),
            ("a\0b", false),
            ("\u{1b}", false),
            ("\u{7f}", false),
        ];
        for (value, expected) in rows {
            assert_eq!(
                header(&mut String::new(), value).is_ok(),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_path_has_one_form() {
        let rows = [
            ("/p/1_2-3.4~5", "/p/1_2-3.4~5"),
            ("/p%20q", "/p%20q"),
            ("/p q", "/p%20q"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/@me;v=1", "/%40me%3Bv%3D1"),
            ("/%40me", "/%40me"),
            ("/%7euser", "/~user"),
            ("/a%2fb/c", "/a%2Fb/c"),
            ("/100%", "/100%25"),
            ("/100%25", "/100%25"),
            ("/p%2520q", "/p%2520q"),
            ("/%zz", "/%25zz"),
            ("/%ff", "/%FF"),
            ("/a/", "/a/"),
            ("", ""),
        ];
        for (path, expected) in rows {
            assert_eq!(canonical_path(path), expected, "{path}");
            assert_eq!(canonical_path(expected), expected, "{path}, once more");
        }
    }

    #[test]
    fn queries_and_forms_differ_in_the_space() {
        let mut query = String::new();
        push_query(&mut query, "a b", "x&y=z");
        push_query(&mut query, "c", "*~+é");
        assert_eq!(query, "a%20b=x%26y%3Dz&c=%2A~%2B%C3%A9");
        let mut body = String::new();
        push_form(&mut body, "a b", "x&y=z");
        push_form(&mut body, "c", "*~+é");
        assert_eq!(body, "a+b=x%26y%3Dz&c=*%7E%2B%C3%A9");
    }
}
