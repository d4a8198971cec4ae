//! Which bytes of a stored answer a request asks for (RFC 9110 §14): a pure function over headers.
//!
//! One range of bytes is cut out. Several, those in another unit and those that cannot be read get all of
//! it, as §14.2 lets a server do.

use std::ops::Range;

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::cache::{control, rules};

/// What of an answer is to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// Not empty, and within the body: 206.
    Bytes(Range<usize>),
    /// The range begins where there is nothing any longer: 416.
    Nothing,
}

/// What a GET with these headers is given of a stored 200 whose body is so long.
pub fn wanted(request: &HeaderMap, stored: &HeaderMap, length: usize) -> Part {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Part::Whole;
    };
    if !is_the_same(request, stored) {
        return Part::Whole;
    }
    part(line.as_bytes(), length).unwrap_or(Part::Whole)
}

/// The headers of a 206 with these bytes (RFC 9110 §15.3.7). Without those that speak of the bytes of the
/// whole body.
pub fn head_of_part(mut stored: HeaderMap, bytes: &Range<usize>, length: usize) -> HeaderMap {
    for name in ["content-length", "content-md5", "content-digest"] {
        stored.remove(name);
    }
    let (first, last) = (bytes.start, bytes.end - 1);
    stored.insert(
        header::CONTENT_RANGE,
        content_range(&format!("bytes {first}-{last}/{length}")),
    );
    stored
}

/// The headers of a 416 (RFC 9110 §15.5.17). Those that are stored would say how long the answer may be
/// kept for requests without a range.
pub fn head_of_nothing(length: usize) -> HeaderMap {
    let value = content_range(&format!("bytes */{length}"));
    HeaderMap::from_iter([(header::CONTENT_RANGE, value)])
}

fn content_range(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("words and digits are visible ASCII")
}

/// `if-range`: whether the client has a part of this very answer (RFC 9110 §13.1.5).
fn is_the_same(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(condition), None) => is_strong(condition, stored),
        (Some(_), Some(_)) => false,
    }
}

/// By a tag that is not weak, or by a date to the letter that cannot have changed within its second
/// (RFC 9110 §8.8.2.2).
fn is_strong(condition: &HeaderValue, stored: &HeaderMap) -> bool {
    if condition.as_bytes().starts_with(b"\"") {
        return stored.get(header::ETAG) == Some(condition);
    }
    let modified = rules::date(stored, &header::LAST_MODIFIED);
    let made = rules::date(stored, &header::DATE);
    stored.get(header::LAST_MODIFIED) == Some(condition) && modified.is_some() && modified < made
}

/// `None` for all that is not one good range of bytes.
fn part(line: &[u8], length: usize) -> Option<Part> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&line[..at], &line[at + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut ranges = control::members(set);
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return None;
    };
    let dash = range.iter().position(|byte| *byte == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", last) => suffix(number(last)?, length),
        (first, b"") => bytes(number(first)?, usize::MAX, length),
        (first, last) => bytes(number(first)?, number(last)?, length),
    }
}

fn bytes(first: usize, last: usize, length: usize) -> Option<Part> {
    if last < first {
        return None;
    }
    Some(match first < length {
        true => Part::Bytes(first..last.saturating_add(1).min(length)),
        false => Part::Nothing,
    })
}

/// The last `count` bytes. Of an empty body they are all of it, which no `content-range` can say.
fn suffix(count: usize, length: usize) -> Option<Part> {
    match (count, length) {
        (0, _) => Some(Part::Nothing),
        (_, 0) => None,
        _ => Some(Part::Bytes(length.saturating_sub(count)..length)),
    }
}

/// Digits only; too many are as far as anything can be.
fn number(text: &[u8]) -> Option<usize> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0usize, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    /// `whole`, `2-4` or `nothing`.
    fn shown(part: Part) -> String {
        match part {
            Part::Whole => "whole".into(),
            Part::Bytes(bytes) => format!("{}-{}", bytes.start, bytes.end - 1),
            Part::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn one_range_of_bytes_is_cut_out() {
        fn check(range: &str, length: usize, expected: &str) {
            let request = headers(&[("range", range)]);
            let part = wanted(&request, &HeaderMap::new(), length);
            assert_eq!(shown(part), expected, "{range:?} of {length}");
        }
        check("bytes=0-1", 10, "0-1");
        check("bytes=0-0", 10, "0-0");
        check("bytes=1-", 10, "1-9");
        check("bytes=-1", 10, "9-9");
        check("bytes=-10", 10, "0-9");
        check("bytes=-11", 10, "0-9");
        check("bytes=9-9", 10, "9-9");
        check("bytes=9-99", 10, "9-9");
        check("Bytes=0-1", 10, "0-1");
        check("bytes= 0-1 ,", 10, "0-1");
        check("bytes=00-01", 10, "0-1");
        check("bytes=0-99999999999999999999999", 10, "0-9");
        check("bytes=-99999999999999999999999", 10, "0-9");

        // Behind its end.
        check("bytes=10-", 10, "nothing");
        check("bytes=10-12", 10, "nothing");
        check("bytes=99999999999999999999999-", 10, "nothing");
        check("bytes=-0", 10, "nothing");
        check("bytes=0-", 0, "nothing");
        check("bytes=-5", 0, "whole");

        // Several, or none.
        for range in [
            "bytes=0-1,3-4",
            "bytes=0-1, -1",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes",
            "",
            "=0-1",
            "bytes=2-1",
            "bytes=a-1",
            "bytes=0-b",
            "bytes=0x0-1",
            "bytes=+0-1",
            "bytes=0 - 1",
            "bytes=0--1",
            "bytes=--1",
            "bytes=0-1-2",
            "bytes=\"0-1\"",
            "bytes =0-1",
            "bytes:0-1",
            "items=0-1",
        ] {
            check(range, 10, "whole");
        }
        let two = headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
        assert_eq!(wanted(&two, &HeaderMap::new(), 10), Part::Whole);
        assert_eq!(wanted(&HeaderMap::new(), &two, 10), Part::Whole);
    }

    #[test]
    fn a_part_goes_to_whom_has_the_rest_of_the_same_answer() {
        const DAY: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
        const NEXT: &str = "Tue, 15 Nov 1994 08:12:32 GMT";
        fn check(conditions: &[&str], stored: &[(&str, &str)], expected: &str) {
            let mut request = headers(&[("range", "bytes=0-1")]);
            for condition in conditions {
                request.append("if-range", HeaderValue::from_str(condition).unwrap());
            }
            let part = wanted(&request, &headers(stored), 10);
            assert_eq!(shown(part), expected, "{conditions:?} {stored:?}");
        }
        let tagged = [("etag", "\"a\""), ("last-modified", DAY), ("date", NEXT)];
        check(&["\"a\""], &tagged, "0-1");
        check(&[DAY], &tagged, "0-1");
        check(&[], &tagged, "0-1");
        for other in [
            "\"b\"",
            "W/\"a\"",
            "a",
            "",
            "*",
            "\"a\", \"b\"",
            NEXT,
            "Tuesday, 15-Nov-94 08:12:31 GMT",
        ] {
            check(&[other], &tagged, "whole");
        }
        check(&["\"a\"", "\"a\""], &tagged, "whole");
        check(&["W/\"a\""], &[("etag", "W/\"a\"")], "whole");
        check(&["\"a\""], &[("etag", "W/\"a\"")], "whole");
        check(&["\"a\""], &[], "whole");
        // A date that its own second may have overtaken.
        check(&[DAY], &[("last-modified", DAY), ("date", DAY)], "whole");
        check(&[DAY], &[("last-modified", DAY)], "whole");
        check(&["x"], &[("last-modified", "x"), ("date", NEXT)], "whole");
    }

    #[test]
    fn a_part_has_the_headers_of_the_whole_but_for_those_of_its_bytes() {
        let stored = headers(&[
            ("content-type", "text/html"),
            ("content-length", "10"),
            ("content-digest", "sha-256=:x:"),
            ("content-md5", "x"),
            ("repr-digest", "sha-256=:x:"),
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
        ]);
        let expected = headers(&[
            ("content-type", "text/html"),
            ("repr-digest", "sha-256=:x:"),
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("content-range", "bytes 2-4/10"),
        ]);
        assert_eq!(head_of_part(stored, &(2..5), 10), expected);
        let expected = headers(&[("content-range", "bytes */10")]);
        assert_eq!(head_of_nothing(10), expected);
    }

    proptest! {
        #[test]
        fn no_range_is_outside(
            set in "[-0-9, a]{0,12}|[0-9]{0,24}-[0-9]{0,24}",
            length in 0usize..40,
        ) {
            let request = headers(&[("range", &format!("bytes={set}"))]);
            if let Part::Bytes(bytes) = wanted(&request, &HeaderMap::new(), length) {
                prop_assert!(bytes.start < bytes.end && bytes.end <= length, "{bytes:?}");
            }
        }
    }
}
