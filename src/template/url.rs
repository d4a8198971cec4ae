//! The literal side of a path: what an operator may write, and that no value changed it.
//!
//! Values are escaped one by one ([`super::escape`]), which cannot see that a literal `.` and a value
//! `.` together make `..`. So the path is looked at once more when it is whole.

use crate::template::Error;
use crate::template::compile::fill;
use crate::template::escape::{is_dot_segment, percent_byte};
use crate::template::tags::{Tag, error, is_placeholder};

/// A full URL at the beginning of a path: what it names, and where the path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Scheme and authority, fills put in.
    pub url: String,
    /// The byte offset in the source at which the path begins.
    pub rest: usize,
}

/// The origin that stands before the path of a call, which must be literal; `None` where there is
/// only a path.
pub fn origin(source: &str, fills: &[String]) -> Result<Option<Origin>, Error> {
    let head_end = source.find("{{").unwrap_or(source.len());
    let first_length = source.chars().next().map_or(0, char::len_utf8);
    let head = if source.starts_with(is_placeholder) {
        fill(&source[..first_length], fills)
    } else {
        source[..head_end].to_owned()
    };
    let Some((scheme, _)) = head.split_once("://") else {
        return match source.starts_with("{{") && source.contains("://") {
            true => Err(templated(source)),
            false => Ok(None),
        };
    };
    if !matches!(scheme, "http" | "https") {
        if scheme.starts_with('/') {
            return Ok(None);
        }
        let help = "write a path that begins with `/`, or an `http://` or `https://` URL";
        return Err(error(
            0,
            first_length,
            "the scheme is neither http nor https",
            help,
        ));
    }
    let from = match source.starts_with(is_placeholder) {
        true => first_length,
        false => scheme.len() + "://".len(),
    };
    let rest = source[from..]
        .find('/')
        .map_or(source.len(), |slash| from + slash);
    if source[..rest].contains("{{") {
        return Err(templated(source));
    }
    Ok(Some(Origin {
        url: fill(&source[..rest], fills),
        rest,
    }))
}

fn templated(source: &str) -> Error {
    let offset = source.find("{{").unwrap_or(0);
    let length = source[offset..].find("}}").map_or(2, |end| end + 2);
    let help = "name the service, and template the path only";
    error(
        offset,
        length,
        "a scheme or authority with a hole in it",
        help,
    )
}

/// Stands for a hole while the literal text around it is looked at.
const HOLE: char = '\u{FFFF}';

/// Judges the literal text of a path.
pub(super) fn check(source: &str, fills: &[String], tags: &[Tag]) -> Result<(), Error> {
    let mut segment = Segment::default();
    let mut characters = Characters {
        source,
        fills,
        tags,
    }
    .all()
    .into_iter();
    match characters.next() {
        Some((_, '/')) => {}
        _ => {
            return Err(error(
                0,
                source.len(),
                "a path that does not begin with `/`",
                "begin it with `/`: it is put behind the path of the service's `url`",
            ));
        }
    }
    segment.start = 1;
    for (offset, character) in characters {
        if character == '/' {
            segment.check(false)?;
            segment = Segment {
                start: offset + 1,
                text: String::new(),
            };
        } else {
            check_character(source, offset, character)?;
            segment.text.push(character);
        }
    }
    segment.check(true)
}

/// Reads a text as (offset, character), fills put in and each tag one [`HOLE`].
struct Characters<'s> {
    source: &'s str,
    fills: &'s [String],
    tags: &'s [Tag],
}

impl Characters<'_> {
    fn all(&self) -> Vec<(usize, char)> {
        let mut characters = Vec::new();
        let mut at = 0;
        for tag in self.tags {
            self.literal(at, tag.start, &mut characters);
            characters.push((tag.start, HOLE));
            at = tag.end;
        }
        self.literal(at, self.source.len(), &mut characters);
        characters
    }

    fn literal(&self, start: usize, end: usize, characters: &mut Vec<(usize, char)>) {
        for (offset, character) in self.source[start..end].char_indices() {
            let offset = start + offset;
            if is_placeholder(character) {
                let filled = fill(character.encode_utf8(&mut [0; 4]), self.fills);
                characters.extend(filled.chars().map(|character| (offset, character)));
            } else {
                characters.push((offset, character));
            }
        }
    }
}

#[derive(Default)]
struct Segment {
    start: usize,
    text: String,
}

impl Segment {
    fn check(&self, last: bool) -> Result<(), Error> {
        let refuse = |message: &str| Err(error(self.start, self.text.len().max(1), message, ""));
        if self.text.is_empty() && !last {
            return refuse("an empty segment in a path");
        }
        if is_dot_segment(self.text.as_bytes()) {
            return refuse("`.` or `..` in a path");
        }
        for (offset, _) in self.text.match_indices('%') {
            let digits = self.text.as_bytes().get(offset + 1..offset + 3);
            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                let help = "write `%25` for a percent sign";
                let message = "`%` without two hexadecimal digits in a path";
                return Err(error(self.start, self.text.len(), message, help));
            }
        }
        Ok(())
    }
}

fn check_character(source: &str, offset: usize, character: char) -> Result<(), Error> {
    let help = match character {
        HOLE => return Ok(()),
        'A'..='Z' | 'a'..='z' | '0'..='9' | '%' => return Ok(()),
        '-' | '.' | '_' | '~' | '!' | '$' | '&' | '\'' => return Ok(()),
        '(' | ')' | '*' | '+' | ',' | ';' | '=' | ':' | '@' => return Ok(()),
        _ if !character.is_ascii() && !character.is_control() => return Ok(()),
        '?' => "write what follows it under `query`",
        '#' => "a fragment is never sent; write `%23` for the character",
        '{' | '}' => "write `{{request.path.NAME}}` for a parameter of the route",
        ' ' => "write `%20` for a space",
        _ => "write it percent-encoded",
    };
    // A character that was filled in is not shown.
    let shown = match source[offset..].starts_with(character) {
        true if !character.is_control() => format!("`{character}` in a path"),
        true => "a control character in a path".to_owned(),
        false => "what `${…}` gives here may not stand in a path".to_owned(),
    };
    Err(error(offset, character.len_utf8(), shown, help))
}

/// Literal text as it is sent.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii() {
            true => encoded.push(byte as char),
            false => percent_byte(&mut encoded, byte),
        }
    }
    encoded
}

/// Whether a rendered path is what its template promised: it begins with the literal prefix, has as
/// many `/` as were written on purpose, no empty segment but at its end, and no dot segment.
pub(super) fn holds(path: &str, prefix: &str, slashes: usize) -> bool {
    let is_sent = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\');
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let mut found = 1;
    let mut rest = segments.as_bytes();
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        if byte == b'/' {
            if at == 0 || is_dot_segment(&rest[..at]) {
                return false;
            }
            found += 1;
            rest = &rest[at + 1..];
            at = 0;
            continue;
        }
        if !is_sent(byte) {
            return false;
        }
        at += 1;
    }
    found == slashes && !is_dot_segment(rest) && path.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::tags::scan;

    fn judge(source: &str, fills: &[&str]) -> Result<(), Error> {
        let fills: Vec<String> = fills.iter().map(|fill| fill.to_string()).collect();
        check(source, &fills, &scan(source).expect(source))
    }

    #[test]
    fn a_literal_path_is_judged_when_it_is_read() {
        let good = [
            "/",
            "/a/b",
            "/a/",
            "/a/{{x}}/b",
            "/a/{{x}}-{{y}}.json",
            "/a{{#if x}}/b{{/if}}",
            "/caf\u{e9}/a%20b",
            "/a;v=1/b,c/(d)/e:f@g",
            "/...",
        ];
        for source in good {
            assert_eq!(judge(source, &[]), Ok(()), "{source}");
        }
        let bad = [
            ("", 0, "a path that does not begin"),
            ("a/b", 0, "a path that does not begin"),
            ("{{x}}/b", 0, "a path that does not begin"),
            ("/a?b=c", 2, "`?` in a path"),
            ("/a#b", 2, "`#` in a path"),
            ("/a b", 2, "` ` in a path"),
            ("/a/{id}", 3, "`{` in a path"),
            ("/a\nb", 2, "a control character"),
            ("/a\\b", 2, "`\\` in a path"),
            ("//evil/x", 1, "an empty segment"),
            ("/a//b", 3, "an empty segment"),
            ("/a/../b", 3, "`.` or `..`"),
            ("/a/%2e%2E", 3, "`.` or `..`"),
            ("/a/.", 3, "`.` or `..`"),
            ("/a/%{{x}}", 3, "`%` without"),
            ("/a/%4{{x}}", 3, "`%` without"),
        ];
        for (source, offset, message) in bad {
            let found = judge(source, &[]).expect_err(source);
            assert_eq!(found.offset, offset, "{source}: {}", found.message);
            assert!(
                found.message.starts_with(message),
                "{source}: {}",
                found.message
            );
        }
    }

    #[test]
    fn what_is_filled_in_is_judged_but_not_shown() {
        assert_eq!(judge("/\u{FDD0}/x", &["v1"]), Ok(()));
        assert_eq!(judge("\u{FDD0}/x", &["/v1"]), Ok(()));
        for secret in ["a?b", "..", "a b", "", "{{x}}"] {
            let found = judge("/\u{FDD0}/x", &[secret]).expect_err(secret);
            assert_eq!(found.offset, 1, "{secret}");
            assert!(!found.message.contains("a?b"), "{}", found.message);
        }
    }

    #[test]
    fn an_origin_is_literal() {
        let rows = [
            ("/a/{{x}}", None),
            ("/a://b", None),
            ("http://host:80/a", Some(("http://host:80", 14))),
            ("https://host", Some(("https://host", 12))),
            ("http://\u{FDD0}/a", Some(("http://users", 10))),
            ("\u{FDD1}/a", Some(("http://b:1", 3))),
        ];
        let fills = ["users".to_owned(), "http://b:1".to_owned()];
        for (source, expected) in rows {
            let found = origin(source, &fills).expect(source);
            let found = found
                .as_ref()
                .map(|origin| (origin.url.as_str(), origin.rest));
            assert_eq!(found, expected, "{source}");
        }
        for source in [
            "http://{{x}}/a",
            "http://a{{x}}",
            "{{x}}://a/b",
            "ftp://a/b",
        ] {
            assert!(origin(source, &fills).is_err(), "{source}");
        }
    }

    #[test]
    fn a_path_that_came_out_wrong_is_seen() {
        let rows = [
            ("/a/b", "/a/", 2, true),
            ("/a/", "/a/", 2, true),
            ("/b/b", "/a/", 2, false),
            ("/a/b/c", "/a/", 2, false),
            ("/a//c", "/a/", 3, false),
            ("/a/..", "/a/", 2, false),
            ("/a/%2e./c", "/a/", 3, false),
            ("/a/b?c", "/a/", 2, false),
            ("/a/b c", "/a/", 2, false),
        ];
        for (path, prefix, slashes, expected) in rows {
            assert_eq!(holds(path, prefix, slashes), expected, "{path}");
        }
    }
}
