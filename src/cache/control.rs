//! `cache-control`, read as a shared cache reads it (RFC 9111 §5.2, RFC 5861).
//!
//! It only says what is written there. What may be done by it is said in `rules`. Where a line is
//! malformed, the reading that stores and serves less is taken.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

/// The most seconds there are; more is as much (RFC 9111 §1.2.2).
const MOST: u64 = 1 << 31;

/// The directives of a request or an answer (RFC 9111 §5.2, RFC 5861). A span of time that cannot be
/// read is zero, and of two the stricter one counts (RFC 9111 §4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub no_store: bool,
    /// Also where only some fields are named: a shared cache may do so (§5.2.2.4).
    pub no_cache: bool,
    /// Also where only some fields are named: a shared cache may do so (§5.2.2.7).
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// `Duration::MAX` where any age will do (§5.2.1.2).
    pub max_stale: Option<Duration>,
}

impl Control {
    /// What an answer says. `pragma` has no meaning there (RFC 9111 §5.4).
    pub fn of_answer(answer: &HeaderMap) -> Control {
        let mut control = Control::default();
        for line in answer.get_all(CACHE_CONTROL) {
            for member in members(line.as_bytes()) {
                let (name, argument) = cut(member);
                control.add(&name.to_ascii_lowercase(), argument);
            }
        }
        control
    }

    /// What a request says. `pragma: no-cache` counts where there is no `cache-control`: RFC 9111
    /// §5.4 lets go of it, RFC 7234 §5.4 says how it is read.
    pub fn of_request(request: &HeaderMap) -> Control {
        let mut control = Control::of_answer(request);
        if !request.contains_key(CACHE_CONTROL) {
            let mut lines = request.get_all(PRAGMA).iter();
            control.no_cache = lines.any(|line| {
                let mut members = members(line.as_bytes());
                members.any(|member| member.eq_ignore_ascii_case(b"no-cache"))
            });
        }
        control
    }

    /// Adds one directive. An argument where none belongs changes nothing, but for `public`, which
    /// is the one word that only permits.
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public |= argument.is_none(),
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => least(&mut self.max_age, span(argument)),
            b"s-maxage" => least(&mut self.s_maxage, span(argument)),
            b"stale-while-revalidate" => least(&mut self.stale_while_revalidate, span(argument)),
            b"stale-if-error" => least(&mut self.stale_if_error, span(argument)),
            // The one span that is stricter the longer it is.
            b"min-fresh" => self.min_fresh = self.min_fresh.max(Some(span(argument))),
            b"max-stale" if argument.is_none() => least(&mut self.max_stale, Duration::MAX),
            b"max-stale" => least(&mut self.max_stale, span(argument)),
            _ => {}
        }
    }
}

/// Seconds as HTTP writes them (RFC 9111 §1.2.2): digits only, and too many are 2^31.
pub fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0u64, |seconds, digit| {
        (seconds * 10 + u64::from(digit - b'0')).min(MOST)
    });
    Some(Duration::from_secs(seconds))
}

/// The members of a list (RFC 9110 §5.6.1), trimmed, without the empty ones. A comma within a quoted
/// string parts nothing; from a quote that nobody closes, quotes are letters, so that it hides nothing.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let mut quotes = true;
    let pieces = std::iter::from_fn(move || {
        let line = rest?;
        let end = end_of_member(line, &mut quotes);
        rest = line.get(end + 1..);
        Some(line[..end].trim_ascii())
    });
    pieces.filter(|member| !member.is_empty())
}

/// Where the first member of a list ends: its comma or the end of the line. `quotes` is whether they
/// still count; it keeps a line full of open ones from being read once for each.
fn end_of_member(line: &[u8], quotes: &mut bool) -> usize {
    let mut at = 0;
    while at < line.len() && line[at] != b',' {
        let quoted = if *quotes && line[at] == b'"' {
            let length = length_of_quoted(&line[at..]);
            *quotes = length.is_some();
            length
        } else {
            None
        };
        at += quoted.unwrap_or(1);
    }
    at
}

/// How long the quoted string is that begins here (RFC 9110 §5.6.4), if it ends at all.
fn length_of_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// The name of a directive and what follows its `=`. Where it is not `=` that ends the name, all that
/// follows is an argument that nothing can be made of, as in `max-age =60`.
fn cut(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let ends = |byte: &u8| matches!(byte, b'=' | b' ' | b'\t' | b'"');
    let Some(end) = member.iter().position(ends) else {
        return (member, None);
    };
    let (name, rest) = member.split_at(end);
    (name, Some(rest.strip_prefix(b"=").unwrap_or(rest)))
}

/// The span of an argument, quoted or not (RFC 9111 §5.2); zero if there is none to be read.
fn span(argument: Option<&[u8]>) -> Duration {
    let argument = argument.unwrap_or_default();
    let bare = argument
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(argument);
    delta_seconds(bare).unwrap_or_default()
}

fn least(kept: &mut Option<Duration>, span: Duration) {
    *kept = Some(kept.map_or(span, |kept| kept.min(span)));
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn lines(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn directives_are_read_as_they_are_meant() {
        fn check(text: &[&str], change: impl FnOnce(&mut Control)) {
            let bytes: Vec<&[u8]> = text.iter().map(|line| line.as_bytes()).collect();
            let mut expected = Control::default();
            change(&mut expected);
            let headers = lines(&CACHE_CONTROL, &bytes);
            assert_eq!(Control::of_answer(&headers), expected, "{text:?}");
            assert_eq!(Control::of_request(&headers), expected, "{text:?}");
        }
        // Words, in any case, on any line; what is unknown is passed over.
        check(&[], |_| {});
        check(&["", " , ,", "="], |_| {});
        check(&["no-store"], |control| control.no_store = true);
        check(&["No-StOrE"], |control| control.no_store = true);
        check(&["foobar, private"], |control| control.private = true);
        check(&["public", "must-revalidate,proxy-revalidate"], |control| {
            control.public = true;
            control.must_revalidate = true;
            control.proxy_revalidate = true;
        });
        check(&["must-understand\t,only-if-cached ,, "], |control| {
            control.must_understand = true;
            control.only_if_cached = true;
        });
        check(&["immutable", "no-storex", "x-no-store"], |_| {});

        // Names of fields make no difference; an argument takes no restriction away.
        check(&["private=\"set-cookie\""], |control| {
            control.private = true;
        });
        check(&["no-cache=\"a, b\""], |control| control.no_cache = true);
        check(&["no-cache=a"], |control| control.no_cache = true);
        check(&["no-store=0"], |control| control.no_store = true);
        check(&["no-store \"x\""], |control| control.no_store = true);
        check(&["public=false"], |_| {});

        // Quoted strings are one argument, whatever is in them.
        check(&["x=\"max-age=3600, no-store\", max-age=1"], |control| {
            control.max_age = seconds(1);
        });
        check(&["max-age=\"1\", x=\"max-age=3600\""], |control| {
            control.max_age = seconds(1);
        });
        check(&["x=\"a\\\", no-store\", private"], |control| {
            control.private = true;
        });
        // A quote that nobody closes hides nothing.
        check(&["x=\"a, no-store", "private"], |control| {
            control.no_store = true;
            control.private = true;
        });
        check(&["x=\"a\\\", no-store"], |control| control.no_store = true);
        check(&["x=\"a\\"], |_| {});

        // Spans.
        check(&["MaX-aGe=3600"], |control| control.max_age = seconds(3600));
        check(&["max-age=003600"], |control| {
            control.max_age = seconds(3600);
        });
        check(&["max-age=\"100\""], |control| {
            control.max_age = seconds(100);
        });
        check(&["s-maxage=10, max-age=20"], |control| {
            control.s_maxage = seconds(10);
            control.max_age = seconds(20);
        });
        check(
            &["stale-while-revalidate=1, stale-if-error=2, min-fresh=3, max-stale=4"],
            |control| {
                control.stale_while_revalidate = seconds(1);
                control.stale_if_error = seconds(2);
                control.min_fresh = seconds(3);
                control.max_stale = seconds(4);
            },
        );
        check(&["max-stale"], |control| {
            control.max_stale = Some(Duration::MAX);
        });
        // Too much is 2^31.
        for text in ["2147483648", "2147483649", "99999999999999999999999"] {
            check(&[&format!("max-age={text}")], |control| {
                control.max_age = seconds(1 << 31);
            });
        }
        check(&["max-age=2147483647"], |control| {
            control.max_age = seconds((1 << 31) - 1);
        });

        // What is no span is none at all: stale.
        for argument in [
            "", "=", "=-3600", "=+1", "=3600.0", "=3600.5", "=a3600", "=3600a", "='3600'", "=\"\"",
            "= 3600", " =3600", " = 3600", "=\"3600", "=3600\"", "=1 2", "==1", "=\"-1\"", "=1;a",
        ] {
            check(&[&format!("max-age{argument}"), "s-maxage=x"], |control| {
                control.max_age = seconds(0);
                control.s_maxage = seconds(0);
            });
        }
        check(&["max-stale=soon"], |control| {
            control.max_stale = seconds(0);
        });

        // The strictest of several counts.
        for text in [
            &["max-age=1800, max-age=1"][..],
            &["max-age=1, max-age=1800"],
            &["max-age=1800", "max-age=1"],
            &["max-age=1", "max-age=1800"],
        ] {
            check(text, |control| control.max_age = seconds(1));
        }
        check(&["max-age=10, max-age=x"], |control| {
            control.max_age = seconds(0);
        });
        check(&["min-fresh=1, min-fresh=5, min-fresh=3"], |control| {
            control.min_fresh = seconds(5);
        });
        check(&["max-stale, max-stale=5"], |control| {
            control.max_stale = seconds(5);
        });
        check(&["max-stale=5, max-stale"], |control| {
            control.max_stale = seconds(5);
        });
    }

    #[test]
    fn pragma_counts_in_a_request_that_has_nothing_newer() {
        fn check(pragma: &str, cache_control: Option<&str>, expected: bool) {
            let mut headers = lines(&PRAGMA, &[pragma.as_bytes()]);
            if let Some(text) = cache_control {
                headers.append(CACHE_CONTROL, text.parse().unwrap());
            }
            let row = format!("{pragma:?} {cache_control:?}");
            assert_eq!(Control::of_request(&headers).no_cache, expected, "{row}");
            assert!(!Control::of_answer(&headers).no_cache, "{row}");
        }
        check("no-cache", None, true);
        check("x, No-Cache", None, true);
        check("no-cache", Some("max-age=5"), false);
        check("no-cache", Some(""), false);
        check("unrecognised-extension", None, false);
        check("x=\", no-cache,\"", None, false);
    }

    /// Bytes that a header value can hold, with those preferred that mean something here.
    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        let words: Vec<&[u8]> = vec![
            b"max-age",
            b"no-cache",
            b"=",
            b"\"",
            b"\\",
            b",",
            b" ",
            b"9",
            b"-",
            b"max-stale",
        ];
        let piece = prop_oneof![
            prop::sample::select(words).prop_map(<[u8]>::to_vec),
            prop_oneof![Just(b'\t'), 32u8..127, 128u8..].prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn directive() -> impl Strategy<Value = (&'static str, Option<u64>)> {
        let word = prop::sample::select(vec!["no-store", "no-cache", "private", "public", "x"]);
        let span = prop::sample::select(vec![
            "max-age",
            "s-maxage",
            "stale-if-error",
            "min-fresh",
            "max-stale",
            "x",
        ]);
        prop_oneof![
            word.prop_map(|word| (word, None)),
            (span, any::<u64>()).prop_map(|(span, seconds)| (span, Some(seconds))),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any_line(), 0..4)) {
            let text: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
            for name in [CACHE_CONTROL, PRAGMA] {
                let headers = lines(&name, &text);
                let _ = (Control::of_answer(&headers), Control::of_request(&headers));
            }
        }

        /// However the directives are quoted, ordered and put on lines, they say the same.
        #[test]
        fn the_way_it_is_written_does_not_matter(
            directives in prop::collection::vec((directive(), any::<bool>(), any::<bool>()), 0..8)
        ) {
            let mut plain = Vec::new();
            let mut fancy = vec![String::new()];
            for ((name, seconds), quoted, new_line) in directives {
                plain.push(match seconds {
                    Some(seconds) => format!("{name}={seconds}"),
                    None => name.to_owned(),
                });
                if new_line {
                    fancy.push(String::new());
                }
                let last = fancy.last_mut().unwrap();
                *last = match seconds {
                    Some(seconds) if quoted => format!("{last},{name}=\"{seconds}\""),
                    Some(seconds) => format!("{name}={seconds} ,\t{last}"),
                    None => format!("{last} , {}", name.to_uppercase()),
                };
            }
            let fancy: Vec<&[u8]> = fancy.iter().map(|line| line.as_bytes()).collect();
            let one = lines(&CACHE_CONTROL, &[plain.join(", ").as_bytes()]);
            prop_assert_eq!(
                Control::of_answer(&one),
                Control::of_answer(&lines(&CACHE_CONTROL, &fancy))
            );
        }
    }
}
