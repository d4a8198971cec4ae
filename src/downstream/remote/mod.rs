//! The store of the cache that all instances share: a Redis.
//!
//! It may help and must never hurt. A lookup waits no longer than its timeout, whatever has become of
//! the Redis; one that fails again and again is left alone for a while, and comes back by itself. What
//! an answer is, how old it may be and in which order the stores are asked is for whoever holds a
//! [`Remote`]; bytes go in under a [`Name`] and come out again. Read `store.rs` next; a build without
//! the feature `redis` has `absent.rs` in its place.

#[cfg(feature = "redis")]
mod link;
#[cfg(feature = "redis")]
mod purges;
#[cfg(not(feature = "redis"))]
#[path = "absent.rs"]
mod store;
#[cfg(feature = "redis")]
mod store;
#[cfg(feature = "redis")]
mod writes;

#[cfg(all(test, feature = "redis"))]
mod tests;

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

// Given on here, so that those who hold one need not know which of the two files it comes from.
pub use store::Remote;

/// The first part of all names. The number is of the form of names and values: another form is
/// another number, so that instances of two versions leave each other's alone.
const PREFIX: &str = "anabranch:1:";

/// A path that is written out longer than this is hashed.
const LONGEST_PATH: usize = 512;

/// A larger value is not put: it would hold up the lookups behind it.
pub const LARGEST_VALUE: usize = 8 * 1024 * 1024;

/// Why nothing is known of what the Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    TimedOut,
    Failed,
    /// It was not asked: it is left alone for a while, or has too much to do.
    Resting,
}

impl Away {
    /// The label `result` of `anabranch_cache_requests_total`.
    pub fn name(self) -> &'static str {
        match self {
            Away::TimedOut => "timeout",
            Away::Failed => "error",
            Away::Resting => "resting",
        }
    }
}

/// What an operator wants to know, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The Redis is left alone from now on. The cause holds no secret.
    Away {
        cause: String,
    },
    Back,
}

/// Where a value is kept: `anabranch:1:{service}:{path}:{hash of the full key}`. The key may hold
/// credentials, so that only its SHA-256 is told; the path is for [`Remote::purge`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// `path` is the target without its query.
    pub fn new(service: &str, path: &str, key: &[u8]) -> Name {
        let mut name = prefix(service, Some(path));
        push_hash(&mut name, key);
        Name(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the names of a service, or of one path of it, begin with, and no others do. Nothing in it is
/// special in a pattern of Redis.
fn prefix(service: &str, path: Option<&str>) -> String {
    let mut prefix = PREFIX.to_owned();
    push_part(&mut prefix, service);
    prefix.push(':');
    if let Some(path) = path {
        let start = prefix.len();
        push_part(&mut prefix, path);
        if prefix.len() - start > LONGEST_PATH {
            prefix.truncate(start);
            prefix.push('~');
            push_hash(&mut prefix, path.as_bytes());
        }
        prefix.push(':');
    }
    prefix
}

/// Percent-encodes all but letters, digits and `/_.-`: `%` and `~` too, so that two texts never come
/// out the same.
fn push_part(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_byte(out, "%", byte);
        }
    }
}

fn push_hash(out: &mut String, bytes: &[u8]) {
    for byte in digest(&SHA256, bytes).as_ref() {
        push_byte(out, "", *byte);
    }
}

fn push_byte(out: &mut String, before: &str, byte: u8) {
    write!(out, "{before}{byte:02x}").expect("a String takes all that is written");
}

#[cfg(test)]
mod name_tests {
    use super::*;

    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_name_says_service_and_path_and_hides_the_key() {
        #[track_caller]
        fn check(service: &str, path: &str, expected: &str) {
            let name = Name::new(service, path, b"");
            let expected = format!("anabranch:1:{expected}:{NOTHING}");
            assert_eq!(name.as_str(), expected);
        }
        check("users", "/v1/users/7", "users:/v1/users/7");
        check("users", "/a:b", "users:/a%3ab");
        check("users", "/*[?]\\^", "users:/%2a%5b%3f%5d%5c%5e");
        check("users", "/a%3ab~", "users:/a%253ab%7e");
        check("http://a:80", "", "http%3a//a%3a80:");
        check("users", "/é\n", "users:/%c3%a9%0a");
        let key = Name::new("users", "/", b"authorization: s3cr3t");
        assert!(!key.as_str().contains("s3cr3t"));
    }

    #[test]
    fn what_differs_has_another_name() {
        let name = |service, path, key: &str| Name::new(service, path, key.as_bytes());
        assert_eq!(name("a", "/b", "c"), name("a", "/b", "c"));
        for (service, path, key) in [("b", "/b", "c"), ("a", "/b/", "c"), ("a", "/b", "d")] {
            assert_ne!(name("a", "/b", "c"), name(service, path, key));
        }
        assert!(!name("ab", "/", "").as_str().starts_with(&prefix("a", None)));
        let of_path = prefix("a", Some("/b"));
        assert!(!name("a", "/b:c", "").as_str().starts_with(&of_path));
        assert!(!name("a", "/bc", "").as_str().starts_with(&of_path));
    }

    #[test]
    fn a_long_path_is_hashed() {
        let long = format!("/{}", "x".repeat(9000));
        let name = Name::new("a", &long, b"");
        assert!(name.as_str().len() < 200);
        assert!(name.as_str().starts_with(&prefix("a", Some(&long))));
        assert_ne!(name, Name::new("a", &format!("{long}y"), b""));
    }
}
