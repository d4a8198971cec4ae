//! Headers that belong to one connection, and what an answer's head says about itself.

use std::time::{Duration, SystemTime};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use crate::policy::retry_after;

/// RFC 9110 §7.6.1, and what older programs send.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Asked of every line: told by length and text it takes a fifth of what the list does.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes what is meant for one connection only: the fixed names, and those that `Connection` lists.
pub fn keep_end_to_end(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The headers that `Connection` lists.
pub fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::try_from(token).ok())
        .collect()
}

/// The bytes of these lines as HTTP/1.1 writes them.
pub fn written_size(headers: &HeaderMap) -> usize {
    let line = |name: &HeaderName, value: &[u8]| name.as_str().len() + value.len() + ": \r\n".len();
    headers
        .iter()
        .map(|(name, value)| line(name, value.as_bytes()))
        .sum()
}

/// How long the service says it keeps an idle connection: `Keep-Alive: timeout=N`.
pub fn keep_alive_of(text: &str) -> Option<Duration> {
    let seconds = parts(text).find_map(|token| {
        let (key, value) = token.split_once('=')?;
        let value = value.trim().trim_matches('"');
        key.trim()
            .eq_ignore_ascii_case("timeout")
            .then(|| value.parse().ok())?
    })?;
    Some(Duration::from_secs(seconds))
}

/// Whether the body is in a transfer coding besides `chunked`, which we did not ask for.
pub fn is_transfer_coded(headers: &HeaderMap) -> bool {
    tokens(headers, &TRANSFER_ENCODING).any(|token| !token.eq_ignore_ascii_case("chunked"))
}

/// Whether content lengths are given that differ or are no numbers.
pub fn lengths_differ(headers: &HeaderMap) -> bool {
    let mut lengths = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|length| length.trim_ascii());
    let Some(first) = lengths.next() else {
        return false;
    };
    !first.iter().all(u8::is_ascii_digit) || first.is_empty() || lengths.any(|other| other != first)
}

/// Whether the body is compressed or otherwise coded.
pub fn is_content_coded(headers: &HeaderMap) -> bool {
    tokens(headers, &CONTENT_ENCODING).any(|token| !token.eq_ignore_ascii_case("identity"))
}

/// Whether the content type is JSON's or not given: `application/json`, `*+json` or none.
pub fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence
            .len()
            .checked_sub("+json".len())
            .and_then(|at| essence.get(at..))
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// How long `retry-after` asks to wait; a date is read against the answer's own.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let date = headers
        .get(DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    retry_after::parse(value, date.unwrap_or_else(SystemTime::now))
}

/// The comma-separated parts of all lines of a header, those that are text.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parts)
}

/// The comma-separated parts of one line, but for empty ones.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_is_taken_out_is_what_is_told() {
        for name in &HOP_BY_HOP {
            assert!(is_hop_by_hop(name), "{name}");
        }
        for name in [DATE, CONTENT_LENGTH, HeaderName::from_static("tea")] {
            assert!(!is_hop_by_hop(&name), "{name}");
        }
    }

    #[test]
    fn what_is_for_one_connection_is_removed() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other,,"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("proxy-authenticate", "Basic"),
            ("content-type", "text/plain"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        keep_end_to_end(&mut map);
        let names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "set-cookie"]);
        assert_eq!(map.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn the_keep_alive_timeout_is_learned() {
        fn check(value: &'static str, expected: Option<u64>) {
            let found = keep_alive_of(value);
            assert_eq!(found, expected.map(Duration::from_secs), "{value}");
        }
        check("timeout=5", Some(5));
        check("timeout=5, max=100", Some(5));
        check("max=100, Timeout=\"7\"", Some(7));
        check("timeout=soon", None);
        check("max=100", None);
        check("", None);
    }

    #[test]
    fn content_types_of_json_are_known() {
        fn check(value: &'static str, expected: bool) {
            let found = may_be_json(&headers(&[("content-type", value)]));
            assert_eq!(found, expected, "{value}");
        }
        check("application/json", true);
        check("Application/JSON; charset=utf-8", true);
        check("application/problem+json", true);
        check("application/vnd.api+JSON ;x=y", true);
        check("text/html", false);
        check("text/json", false);
        check("+jso", false);
        check("", false);
        assert!(may_be_json(&HeaderMap::new()));
    }

    #[test]
    fn lengths_that_differ_are_seen() {
        fn check(values: &[&'static str], expected: bool) {
            let lines: Vec<_> = values
                .iter()
                .map(|value| ("content-length", *value))
                .collect();
            assert_eq!(lengths_differ(&headers(&lines)), expected, "{values:?}");
        }
        check(&[], false);
        check(&["5"], false);
        check(&["5", "5"], false);
        check(&["5, 5"], false);
        check(&["5", "6"], true);
        check(&["5,6"], true);
        check(&["+5"], true);
        check(&[""], true);
    }

    #[test]
    fn codings_are_seen() {
        assert!(is_content_coded(&headers(&[("content-encoding", "gzip")])));
        assert!(!is_content_coded(&headers(&[(
            "content-encoding",
            "identity"
        )])));
        assert!(!is_content_coded(&HeaderMap::new()));
        assert!(is_transfer_coded(&headers(&[(
            "transfer-encoding",
            "gzip, chunked"
        )])));
        assert!(!is_transfer_coded(&headers(&[(
            "transfer-encoding",
            "Chunked"
        )])));
    }

    #[test]
    fn a_date_is_read_against_the_date_of_the_answer() {
        let map = headers(&[
            ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
            ("retry-after", "Tue, 15 Nov 1994 08:12:33 GMT"),
        ]);
        assert_eq!(retry_after(&map), Some(Duration::from_secs(2)));
        assert_eq!(retry_after(&headers(&[("retry-after", "later")])), None);
    }
}
