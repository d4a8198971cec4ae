//! Whether a text is the URL of a Redis. What it says is read by the crate that connects; this module
//! is stricter, so that nothing written is silently left aside, and says what to write instead.

/// Nothing of the text is in it: there may be a password.
pub struct Fault {
    pub headline: &'static str,
    pub help: &'static str,
}

const HEADLINE: &str = "this is not the URL of a Redis";
const PERCENT_ENCODE: &str = "percent-encode what is special in user and password: `/` is `%2F`";

fn fault(help: &'static str) -> Result<(), Fault> {
    Err(Fault {
        headline: HEADLINE,
        help,
    })
}

/// Whether this build can ask the Redis that `text` names.
pub fn examine(text: &str) -> Result<(), Fault> {
    if !cfg!(feature = "redis") {
        return Err(Fault {
            headline: "this build has no Redis",
            help: "build it with the feature `redis`, or leave the key out",
        });
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return fault("write `redis://host:6379`, `rediss://host:6379` or `unix:///path`");
    };
    if rest.contains('#') {
        return fault("leave `#` and what follows out; in a password write `%23`");
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => examine_host(place, query)?,
        "unix" | "redis+unix" | "valkey+unix" => examine_path(place, query)?,
        _ => return fault("the scheme is `redis`, `rediss` (by TLS) or `unix`"),
    }
    match is_taken(text) {
        true => Ok(()),
        false => fault(PERCENT_ENCODE),
    }
}

fn examine_host(place: &str, query: &str) -> Result<(), Fault> {
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if path.contains('@') {
        return fault(PERCENT_ENCODE);
    }
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() {
        return fault("write the host: `redis://host:6379`");
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return fault("the port is a number from 1 to 65535");
    }
    if !path.is_empty() && !is_number(path) {
        return fault("behind the host there is only the number of a database: `/0`");
    }
    examine_query(query, &["protocol"])
}

fn examine_path(place: &str, query: &str) -> Result<(), Fault> {
    if !place.starts_with('/') || place.len() < 2 {
        return fault("write the path of the socket behind the slashes: `unix:///run/redis.sock`");
    }
    examine_query(query, &["db", "user", "pass", "protocol"])
}

fn examine_query(query: &str, known: &[&str]) -> Result<(), Fault> {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let fits = pairs.all(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        known.contains(&name)
            && match name {
                "db" => is_number(value),
                "protocol" => matches!(value, "2" | "3" | "resp2" | "resp3"),
                _ => true,
            }
    });
    match fits {
        true => Ok(()),
        false => fault(
            "behind `?` there may be `protocol=3`; for a socket `db`, `user` and `pass` as well",
        ),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(feature = "redis")]
fn is_taken(text: &str) -> bool {
    ::redis::Client::open(text).is_ok()
}

#[cfg(not(feature = "redis"))]
fn is_taken(_: &str) -> bool {
    true
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let help = examine(text).err().map_or("", |fault| fault.help);
        match expected {
            "" => assert_eq!(help, "", "{text}"),
            _ => assert!(help.contains(expected), "{text}: {help}"),
        }
    }

    #[test]
    fn what_names_a_redis_is_taken() {
        for text in [
            "redis://cache",
            "redis://cache:6379/3",
            "rediss://user:p%40ss@cache.internal:6380",
            "redis://:only@[::1]:6379/?protocol=3",
            "valkey://cache/0",
            "unix:///run/redis.sock?db=2&pass=x",
            "redis+unix:///run/redis.sock",
        ] {
            check(text, "");
        }
    }

    #[test]
    fn what_does_not_is_refused_with_what_to_write() {
        for (text, help) in [
            ("cache:6379", "`redis://host:6379`"),
            ("http://cache", "the scheme"),
            ("REDIS://cache", "the scheme"),
            ("redis://", "write the host"),
            ("redis://:secret@:6379", "write the host"),
            ("redis://cache:0", "the port"),
            ("redis://:a/b@cache:6379", "percent-encode"),
            ("redis://cache/main", "number of a database"),
            ("redis://cache/-1", "number of a database"),
            ("redis://cache/?db=1", "behind `?`"),
            ("redis://cache/?protocol=4", "behind `?`"),
            ("rediss://cache/#insecure", "`#`"),
            ("redis://a b", "percent-encode"),
            ("redis://0.0.0.0", "percent-encode"),
            ("unix://run/redis.sock", "path of the socket"),
            ("unix:///run/redis.sock?db=x", "behind `?`"),
        ] {
            check(text, help);
        }
    }
}

#[cfg(all(test, not(feature = "redis")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_it_takes_none() {
        let fault = examine("redis://cache:6379").err().unwrap();
        assert_eq!(fault.headline, "this build has no Redis");
    }
}
