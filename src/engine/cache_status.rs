//! `cache-status` (RFC 9211): what the cache did for each call of a run.

use http::HeaderValue;

use crate::engine::fetch::{CacheFate, CacheNote, Forwarded};
use crate::plan::{CallId, Route};

/// What the cache did for one call, or for all elements of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// A hit only where every element was one; else of the first that was forwarded.
    note: CacheNote,
    /// How many were given a body that was kept, of how many.
    kept: usize,
    all: usize,
}

impl Tally {
    /// Over the elements that the cache has something to say of; `None` where there is none.
    pub fn of(notes: impl Iterator<Item = Option<CacheNote>>) -> Option<Tally> {
        notes.flatten().fold(None, |tally, note| {
            Some(match tally {
                None => Tally::one(note),
                Some(tally) => tally.and(note),
            })
        })
    }

    pub fn one(note: CacheNote) -> Tally {
        Tally {
            note,
            kept: usize::from(note.is_of_cache()),
            all: 1,
        }
    }

    fn and(self, next: CacheNote) -> Tally {
        let note = match (self.note.fate, next.fate) {
            (CacheFate::Forwarded(_), _) => self.note,
            (CacheFate::Hit, CacheFate::Forwarded(_)) => next,
            (CacheFate::Hit, CacheFate::Hit) => CacheNote {
                fate: CacheFate::Hit,
                ttl: self.note.ttl.into_iter().chain(next.ttl).min(),
            },
        };
        Tally {
            note,
            kept: self.kept + usize::from(next.is_of_cache()),
            all: self.all + 1,
        }
    }

    fn member(&self, name: &str) -> String {
        let mut member = "anabranch".to_owned();
        let mut is_mixed = false;
        match self.note.fate {
            CacheFate::Hit => member.push_str("; hit"),
            CacheFate::Forwarded(Forwarded {
                why,
                status,
                stored,
                collapsed,
            }) => {
                is_mixed = self.all > 1;
                member.push_str(&format!("; fwd={}", why.word()));
                if let Some(status) = status {
                    member.push_str(&format!("; fwd-status={status}"));
                }
                if stored {
                    member.push_str("; stored");
                }
                if collapsed {
                    member.push_str("; collapsed");
                }
            }
        }
        if let Some(ttl) = self.note.ttl {
            member.push_str(&format!("; ttl={ttl}"));
        }
        match is_mixed {
            true => member.push_str(&format!(
                "; detail=\"{name}: {} of {} kept\"",
                self.kept, self.all
            )),
            // A call's name is a token.
            false => member.push_str(&format!("; detail={name}")),
        }
        member
    }
}

/// One member for each call, in the order of the file.
pub fn write(route: &Route, tallies: impl Iterator<Item = (CallId, Tally)>) -> Option<HeaderValue> {
    // A header of a long list helps nobody.
    const MOST: usize = 16;
    let members = tallies.take(MOST);
    let members = members.map(|(call, tally)| tally.member(&route.calls[call.0].name));
    let text = Vec::from_iter(members).join(", ");
    HeaderValue::from_str(&text)
        .ok()
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fetch::Forward;

    fn hit(ttl: i64) -> Option<CacheNote> {
        Some(CacheNote {
            fate: CacheFate::Hit,
            ttl: Some(ttl),
        })
    }

    fn forwarded(
        why: Forward,
        status: Option<u16>,
        stored: bool,
        collapsed: bool,
        ttl: Option<i64>,
    ) -> Option<CacheNote> {
        let fate = CacheFate::Forwarded(Forwarded {
            why,
            status,
            stored,
            collapsed,
        });
        Some(CacheNote { fate, ttl })
    }

    #[test]
    fn a_member_says_what_became_of_a_call() {
        fn check(notes: &[Option<CacheNote>], expected: &str) {
            let tally = Tally::of(notes.iter().copied());
            let member = tally.map(|tally| tally.member("stock"));
            assert_eq!(member.as_deref().unwrap_or(""), expected, "{notes:?}");
        }
        use Forward::{Bypass, Miss, Request, Stale, UriMiss, VaryMiss};
        let miss = |ttl| forwarded(Miss, None, true, false, ttl);
        check(&[], "");
        check(&[None, None], "");
        check(&[hit(297)], "anabranch; hit; ttl=297; detail=stock");
        check(&[hit(-3)], "anabranch; hit; ttl=-3; detail=stock");
        check(
            &[miss(Some(300))],
            "anabranch; fwd=miss; stored; ttl=300; detail=stock",
        );
        check(
            &[forwarded(Stale, Some(304), true, false, Some(60))],
            "anabranch; fwd=stale; fwd-status=304; stored; ttl=60; detail=stock",
        );
        check(
            &[forwarded(Miss, None, false, true, None)],
            "anabranch; fwd=miss; collapsed; detail=stock",
        );
        for (why, word) in [
            (UriMiss, "uri-miss"),
            (VaryMiss, "vary-miss"),
            (Request, "request"),
            (Bypass, "bypass"),
        ] {
            check(
                &[forwarded(why, None, false, false, None)],
                &format!("anabranch; fwd={word}; detail=stock"),
            );
        }
        // Of a list: a hit only if all are, with the least time to live.
        check(
            &[hit(9), None, hit(7), hit(8)],
            "anabranch; hit; ttl=7; detail=stock",
        );
        check(
            &[
                hit(9),
                miss(Some(5)),
                forwarded(Stale, Some(304), true, false, None),
                hit(1),
            ],
            "anabranch; fwd=miss; stored; ttl=5; detail=\"stock: 3 of 4 kept\"",
        );
    }
}
