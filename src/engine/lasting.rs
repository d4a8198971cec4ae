//! How long what a service answered is good, for those who keep what it becomes a part of: read off
//! its headers (RFC 9111 §4.2). Only what is said counts, nothing is guessed.
//!
//! `computed.rs` makes one answer's headers out of those of its parts.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use crate::cache::control::Control;
use crate::cache::rules::{self, Vary};
use crate::engine::fetch::Lasting;

/// Of an answer that came at `now`. The time on its way is not in `age`: it is within the time that
/// our own client waits, and the client counts that itself (§4.2.3).
pub fn lasting(status: u16, headers: &HeaderMap, now: SystemTime) -> Lasting {
    let control = Control::of_answer(headers);
    let freshness = rules::freshness(headers, now, Duration::ZERO);
    let shared_max_age = freshness.lifetime;
    let max_age = match (control.max_age, control.s_maxage) {
        (Some(max_age), _) => max_age,
        (None, None) => shared_max_age,
        (None, Some(_)) => rules::freshness(&dates(headers), now, Duration::ZERO).lifetime,
    };
    // It is never used before it is asked about.
    let never_fresh = control.no_cache || rules::vary(headers) == Vary::Anything;
    let fresh = |lifetime: Duration| match never_fresh {
        true => Duration::ZERO,
        false => lifetime,
    };
    Lasting {
        age: freshness.initial_age,
        max_age: fresh(max_age),
        shared_max_age: fresh(shared_max_age),
        // What is a part of an answer itself says nothing of the whole.
        no_store: control.no_store || status == 206,
        private: control.private,
        public: control.public || control.s_maxage.is_some(),
        must_revalidate: control.must_revalidate || control.proxy_revalidate,
    }
}

/// Without what `cache-control` says, `expires` counts.
fn dates(headers: &HeaderMap) -> HeaderMap {
    let mut dates = headers.clone();
    dates.remove(header::CACHE_CONTROL);
    dates
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Lasting = Lasting {
        age: Duration::ZERO,
        max_age: Duration::ZERO,
        shared_max_age: Duration::ZERO,
        no_store: false,
        private: false,
        public: false,
        must_revalidate: false,
    };

    fn fresh(age: u64, max_age: u64, shared_max_age: u64) -> Lasting {
        Lasting {
            age: Duration::from_secs(age),
            max_age: Duration::from_secs(max_age),
            shared_max_age: Duration::from_secs(shared_max_age),
            ..NOTHING
        }
    }

    #[test]
    fn an_answer_lasts_as_long_as_its_headers_say() {
        /// Headers with `|` between them, and what they mean at 12:00:00.
        fn check(text: &str, expected: Lasting) {
            let mut headers = HeaderMap::new();
            for line in text.split('|').filter(|line| !line.is_empty()) {
                let (name, value) = line.split_once(": ").unwrap();
                let name = http::HeaderName::try_from(name.trim()).unwrap();
                headers.append(name, value.trim().parse().unwrap());
            }
            let now = httpdate::parse_http_date("Wed, 25 Nov 2026 12:00:00 GMT").unwrap();
            assert_eq!(lasting(200, &headers, now), expected, "{text}");
            let partial = lasting(206, &headers, now);
            assert!(partial.no_store, "{text}");
        }
        // Nothing is guessed.
        check("", NOTHING);
        check(
            "last-modified: Tue, 24 Nov 2026 12:00:00 GMT | etag: \"a\"",
            NOTHING,
        );
        check("cache-control: max-age=60", fresh(0, 60, 60));
        check("cache-control: max-age=60 | age: 7", fresh(7, 60, 60));
        check("cache-control: max-age=60, s-maxage=300", {
            Lasting {
                public: true,
                ..fresh(0, 60, 300)
            }
        });
        // Without `max-age`, `expires` is for those who do not share.
        check(
            "cache-control: s-maxage=300 | date: Wed, 25 Nov 2026 11:59:50 GMT \
             | expires: Wed, 25 Nov 2026 12:00:30 GMT",
            Lasting {
                public: true,
                ..fresh(10, 40, 300)
            },
        );
        check("cache-control: s-maxage=300", {
            Lasting {
                public: true,
                ..fresh(0, 0, 300)
            }
        });
        check(
            "date: Wed, 25 Nov 2026 11:59:50 GMT | expires: Wed, 25 Nov 2026 12:00:30 GMT",
            fresh(10, 40, 40),
        );
        check("expires: Wed, 25 Nov 2026 12:00:30 GMT", fresh(0, 30, 30));
        check("expires: 0", NOTHING);
        check("cache-control: max-age=9 | expires: 0", fresh(0, 9, 9));
        check(
            "date: Wed, 25 Nov 2026 12:00:09 GMT | cache-control: max-age=9",
            fresh(0, 9, 9),
        );
        // To be asked about before each use: it never is fresh.
        check("cache-control: no-cache, max-age=9", NOTHING);
        check("cache-control: max-age=9 | vary: *", NOTHING);
        check("cache-control: max-age=9 | vary: accept", fresh(0, 9, 9));
        for (word, expected) in [
            (
                "no-store",
                Lasting {
                    no_store: true,
                    ..fresh(0, 9, 9)
                },
            ),
            (
                "private",
                Lasting {
                    private: true,
                    ..fresh(0, 9, 9)
                },
            ),
            (
                "public",
                Lasting {
                    public: true,
                    ..fresh(0, 9, 9)
                },
            ),
            (
                "must-revalidate",
                Lasting {
                    must_revalidate: true,
                    ..fresh(0, 9, 9)
                },
            ),
            (
                "proxy-revalidate",
                Lasting {
                    must_revalidate: true,
                    ..fresh(0, 9, 9)
                },
            ),
        ] {
            check(&format!("cache-control: max-age=9, {word}"), expected);
        }
    }
}
