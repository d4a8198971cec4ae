//! `response: { cache: computed }`: what a stitched answer says to those who may keep it, out of what
//! its parts said of themselves. What it depends on was read off the file: `plan::Computed`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

use crate::engine::context::Settled;
use crate::engine::fetch::Lasting;
use crate::engine::outcome::{Origin, Outcome};
use crate::plan::{CallId, Computed};

/// A call that has told nothing of its answer: it was good when it came.
const UNKNOWN: Lasting = Lasting {
    age: Duration::ZERO,
    max_age: Duration::ZERO,
    shared_max_age: Duration::ZERO,
    no_store: false,
    private: false,
    public: false,
    must_revalidate: false,
};

/// How an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    Never,
    May(Terms),
}

/// In whole seconds, so that nothing is kept for longer than its parts are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Of the oldest part.
    pub age: u64,
    /// What is left until the first part is no longer fresh: for one client's cache, and for caches
    /// that clients share.
    pub left: u64,
    pub shared_left: u64,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
}

/// Puts the parts together. `settled` holds what answered to the calls that have a part in the answer.
pub fn keeping(computed: &Computed, settled: &[Option<Settled>]) -> Keeping {
    let mut parts = Parts::default();
    let mut private = computed.is_private;
    let mut public = false;
    for (place, settled) in settled.iter().enumerate() {
        let outcomes = settled.as_ref().map_or(&[][..], Settled::outcomes);
        let own = Parts::of(outcomes);
        if computed.with_credentials.contains(&CallId(place)) {
            // One that was skipped may have been skipped for who asked.
            let is_for_all = own.count > 0 && own.all_public;
            private |= !is_for_all;
            public |= is_for_all;
        }
        parts = parts.and(own);
    }
    if parts.never {
        return Keeping::Never;
    }
    let terms = Terms {
        age: parts.age.as_secs() + u64::from(parts.age.subsec_nanos() > 0),
        left: parts.left.unwrap_or_default().as_secs(),
        shared_left: parts.shared_left.unwrap_or_default().as_secs(),
        private: false,
        public,
        must_revalidate: parts.must_revalidate,
    };
    Keeping::May(match private || parts.private {
        true => terms.for_one_client(),
        false => terms,
    })
}

/// Some answers together.
#[derive(Clone, Copy)]
struct Parts {
    count: usize,
    never: bool,
    age: Duration,
    /// `None`: of no part.
    left: Option<Duration>,
    shared_left: Option<Duration>,
    private: bool,
    all_public: bool,
    must_revalidate: bool,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts {
            count: 0,
            never: false,
            age: Duration::ZERO,
            left: None,
            shared_left: None,
            private: false,
            all_public: true,
            must_revalidate: false,
        }
    }
}

impl Parts {
    fn of(outcomes: &[Outcome]) -> Parts {
        outcomes
            .iter()
            .fold(Parts::default(), |parts, outcome| match outcome.origin {
                Origin::Skipped => parts,
                Origin::Live | Origin::Cache => {
                    parts.and(Parts::one(outcome.lasting.unwrap_or(UNKNOWN)))
                }
                Origin::Stale | Origin::Fallback | Origin::Failed => Parts {
                    never: true,
                    ..parts
                },
            })
    }

    fn one(lasting: Lasting) -> Parts {
        Parts {
            count: 1,
            never: lasting.no_store,
            age: lasting.age,
            left: Some(lasting.max_age.saturating_sub(lasting.age)),
            shared_left: Some(lasting.shared_max_age.saturating_sub(lasting.age)),
            private: lasting.private,
            all_public: lasting.public,
            must_revalidate: lasting.must_revalidate,
        }
    }

    fn and(self, other: Parts) -> Parts {
        let least = |one: Option<Duration>, other| one.into_iter().chain(other).min();
        Parts {
            count: self.count + other.count,
            never: self.never || other.never,
            age: self.age.max(other.age),
            left: least(self.left, other.left),
            shared_left: least(self.shared_left, other.shared_left),
            private: self.private || other.private,
            all_public: self.all_public && other.all_public,
            must_revalidate: self.must_revalidate || other.must_revalidate,
        }
    }
}

impl Terms {
    pub fn for_one_client(self) -> Terms {
        Terms {
            shared_left: self.left,
            private: true,
            public: false,
            ..self
        }
    }

    /// Sets `cache-control`, `age` and `vary`.
    pub fn write(&self, computed: &Computed, headers: &mut HeaderMap) {
        let text = self.cache_control();
        let value = HeaderValue::try_from(text).expect("words and digits are visible ASCII");
        headers.insert(header::CACHE_CONTROL, value);
        // An answer with an `age` was not made for this request (RFC 9111 §5.1).
        if self.age > 0 {
            headers.insert(header::AGE, HeaderValue::from(self.age));
        }
        if let Some(vary) = &computed.vary {
            headers.insert(header::VARY, vary.clone());
        }
    }

    /// What is left begins at the age, so that the age, taken off again, gives what is left
    /// (RFC 9111 §4.2).
    fn cache_control(&self) -> String {
        let Terms {
            age,
            left,
            shared_left,
            private,
            public,
            must_revalidate,
        } = *self;
        let mut text = match left.max(shared_left) {
            0 => "no-cache".to_owned(),
            _ => format!("max-age={}", age + left),
        };
        if shared_left != left {
            text.push_str(&format!(", s-maxage={}", age + shared_left));
        }
        for (word, is_said) in [
            ("private", private),
            ("public", public),
            ("must-revalidate", must_revalidate),
        ] {
            if is_said {
                text.push_str(", ");
                text.push_str(word);
            }
        }
        text
    }
}

/// A strong `etag` (RFC 9110 §8.8.3): the same bytes have the same, on every instance.
pub fn etag(body: &[u8]) -> HeaderValue {
    // 128 bits are as many as a tag needs: nobody gains by two bodies with one.
    let hash = digest(&SHA256, body);
    let tag = BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]);
    let tag = format!("\"{tag}\"");
    HeaderValue::try_from(tag).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::code::Code;
    use crate::engine::fetch::Answer;

    /// `max-age/s-maxage/age WORDS` in milliseconds; `-` is unknown, `skipped`, `failed`.
    fn outcome(text: &str) -> Outcome {
        let mut words = text.split(' ');
        let figures = match words.next().unwrap() {
            "skipped" => return Outcome::skipped(),
            "failed" => return Outcome::failed(Code::Reset, None),
            "-" => None,
            figures => Some(figures),
        };
        let words: Vec<&str> = words.collect();
        let lasting = figures.map(|figures| {
            let mut figures = figures.split('/');
            let mut next = || Duration::from_millis(figures.next().unwrap().parse().unwrap());
            Lasting {
                max_age: next(),
                shared_max_age: next(),
                age: next(),
                no_store: words.contains(&"no-store"),
                private: words.contains(&"private"),
                public: words.contains(&"public"),
                must_revalidate: words.contains(&"must-revalidate"),
            }
        });
        let answer = Answer {
            status: 200,
            headers: HeaderMap::new(),
            body: None,
            held: None,
            lasting,
        };
        Outcome::answered(answer, None)
    }

    /// Calls are parted by `|`, the elements of a list by `,`; a `*` before a call: it sends credentials.
    fn computed(calls: &str, is_private: bool) -> String {
        let mut with_credentials = Vec::new();
        let calls = calls.split('|').map(str::trim).enumerate();
        let settled: Vec<Option<Settled>> = calls
            .filter(|(_, call)| !call.is_empty())
            .map(|(place, call)| {
                let bare = call.strip_prefix('*');
                with_credentials.extend(bare.map(|_| CallId(place)));
                let call = bare.unwrap_or(call);
                Some(match call.strip_prefix('[') {
                    None => Settled::One(Box::new(outcome(call))),
                    Some(list) => {
                        let elements = list.trim_end_matches(']').split(',');
                        let elements = elements.map(str::trim).filter(|text| !text.is_empty());
                        Settled::Many(elements.map(outcome).collect())
                    }
                })
            })
            .collect();
        let computed = Computed {
            vary: Some(HeaderValue::from_static("accept-language")),
            is_private,
            with_credentials,
        };
        match keeping(&computed, &settled) {
            Keeping::Never => "never".to_owned(),
            Keeping::May(terms) => {
                let mut headers = HeaderMap::new();
                terms.write(&computed, &mut headers);
                assert_eq!(headers.remove(header::VARY), computed.vary);
                let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
                let control = headers.remove(header::CACHE_CONTROL).map(text);
                let age = headers.remove(header::AGE).map(text);
                assert!(headers.is_empty());
                [control, age.map(|age| format!("age {age}"))]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join("; ")
            }
        }
    }

    #[test]
    fn an_answer_is_good_for_as_long_as_all_its_parts() {
        fn check(calls: &str, expected: &str) {
            assert_eq!(computed(calls, false), expected, "{calls}");
        }
        check("", "no-cache");
        check("skipped", "no-cache");
        check("[]", "no-cache");
        check("-", "no-cache");
        check("60000/60000/0", "max-age=60");
        check("60000/60000/0 | skipped | []", "max-age=60");
        check("60000/60000/0 | -", "no-cache");
        check("60000/60000/0 | 30000/30000/0", "max-age=30");
        check("[60000/60000/0, 20000/20000/0, skipped]", "max-age=20");
        // What is left counts, and the age of the oldest.
        check("60000/60000/50000 | 30000/30000/0", "max-age=60; age 50");
        check("60000/60000/10000 | 30000/30000/5000", "max-age=35; age 10");
        check(
            "3600000/3600000/600000 | 60000/60000/0",
            "max-age=660; age 600",
        );
        check("60000/60000/60000", "no-cache; age 60");
        check("60000/60000/99000", "no-cache; age 99");
        // Whole seconds: an age is rounded up, what is left down.
        check("60000/60000/2500", "max-age=60; age 3");
        check("60999/60999/1", "max-age=61; age 1");
        check("999/999/0", "no-cache");
        // For shared caches.
        check("60000/300000/0", "max-age=60, s-maxage=300");
        check("60000/300000/30000", "max-age=60, s-maxage=300; age 30");
        check("0/300000/7000", "max-age=7, s-maxage=300; age 7");
        check("60000/0/0", "max-age=60, s-maxage=0");
        check(
            "60000/300000/0 | 100000/200000/0",
            "max-age=60, s-maxage=200",
        );
        check("60000/300000/0 private", "max-age=60, private");
        check("0/300000/0 private", "no-cache, private");
        // Words of any part.
        check("60000/60000/0 | 60000/60000/0 no-store", "never");
        check("60000/60000/0 | [60000/60000/0, failed]", "never");
        check("failed", "never");
        check(
            "60000/60000/0 must-revalidate | 90000/90000/0",
            "max-age=60, must-revalidate",
        );
    }

    #[test]
    fn what_credentials_were_sent_for_is_for_one_client() {
        fn check(calls: &str, expected: &str) {
            assert_eq!(computed(calls, false), expected, "{calls}");
        }
        let one = "60000/60000/0";
        check(&format!("*{one}"), "max-age=60, private");
        check(&format!("*{one} public"), "max-age=60, public");
        check(&format!("*{one} public private"), "max-age=60, private");
        check(&format!("{one} public"), "max-age=60");
        check(&format!("*{one} public | *{one}"), "max-age=60, private");
        check(
            &format!("*[{one} public, {one} public] | {one}"),
            "max-age=60, public",
        );
        check(&format!("*[{one} public, {one}]"), "max-age=60, private");
        // Nothing was sent, perhaps for who asked.
        check(&format!("{one} | *skipped"), "max-age=60, private");
        check("*-", "no-cache, private");
        assert_eq!(computed(one, true), "max-age=60, private");
        let public = format!("*{one} public");
        assert_eq!(computed(&public, true), "max-age=60, private");
    }

    #[test]
    fn a_tag_is_of_the_bytes() {
        assert_eq!(etag(b"abc"), "\"ungWv48Bz-pBQUDeXa4iIw\"");
        assert_eq!(etag(b""), "\"47DEQpj8HBSa-_TImW-5JA\"");
        assert_ne!(etag(b"{\"a\":1}"), etag(b"{\"a\":2}"));
    }
}
