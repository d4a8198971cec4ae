//! What one scalar can spell: durations, sizes, shares, words, addresses.
//!
//! Each is a serde type, decoded by serde_yaml from the scalar; each can say what it is and what to
//! write instead of a text that it refuses. Which key holds which stands in
//! [`keys`](crate::config::keys).

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use crate::config::document::{
    Coalesce, Computed, Decode, DurationRange, ForwardQuery, HttpVersion, Memory, ParameterKind,
    Percentage, RetryOn, Ttl, Url,
};
use crate::config::scalar;
use crate::diagnostic::{did_you_mean, nearest};
use crate::policy::hedge::After;
use crate::policy::shed::Priority;

/// A value that one scalar spells.
pub trait Leaf: DeserializeOwned {
    /// What it is, with its article.
    const WHAT: &'static str;

    /// What to write instead of `written`.
    fn help(_written: &str) -> Option<String> {
        None
    }
}

/// Why a text is not understood: what to write instead, if that can be said.
type Refusal = Option<String>;

/// Takes a scalar of any kind as its text and hands it to `parse`.
struct ByText<F> {
    what: &'static str,
    parse: F,
}

impl<T, F: Fn(&str) -> Result<T, Refusal>> Visitor<'_> for ByText<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|_| E::custom(format_args!("not {}", self.what)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! leaf {
    ($type:ty, $what:literal, $parse:path) => {
        impl Leaf for $type {
            const WHAT: &'static str = $what;
            fn help(written: &str) -> Option<String> {
                $parse(written).err().flatten()
            }
        }
    };
}

/// A serde type that is parsed from text by a function.
macro_rules! parsed {
    ($type:ty, $what:literal, $parse:path) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ByText {
                    what: $what,
                    parse: $parse,
                })
            }
        }
        leaf!($type, $what, $parse);
    };
}

// === plain kinds ===

impl Leaf for bool {
    const WHAT: &'static str = "a boolean";

    fn help(written: &str) -> Option<String> {
        match written.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" | "1" => Some("write `true`".to_owned()),
            "no" | "off" | "n" | "false" | "0" => Some("write `false`".to_owned()),
            _ => Some("write `true` or `false`".to_owned()),
        }
    }
}

impl Leaf for u32 {
    const WHAT: &'static str = "a whole number";

    fn help(_written: &str) -> Option<String> {
        Some("write digits alone: `2`".to_owned())
    }
}

/// A whole number, or `off` or `false` for none.
#[derive(Clone, Copy, Debug)]
pub struct CountOrOff(pub Option<u32>);

impl<'de> Deserialize<'de> for CountOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u32),
            Switch(bool),
            Word(Off),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Off {
            Off,
        }
        match Written::deserialize(deserializer)? {
            Written::Count(count) => Ok(CountOrOff(Some(count))),
            Written::Switch(false) | Written::Word(Off::Off) => Ok(CountOrOff(None)),
            Written::Switch(true) => Err(de::Error::custom("not a number")),
        }
    }
}

impl Leaf for CountOrOff {
    const WHAT: &'static str = "a whole number or `off`";

    fn help(_written: &str) -> Option<String> {
        Some("write digits alone: `100`, or `off`".to_owned())
    }
}

impl Leaf for String {
    const WHAT: &'static str = "text";
}

// === durations ===

/// A duration above zero: `200ms`, `1.5s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Duration);

parsed!(Time, "a duration", time);
parsed!(DurationRange, "a range of durations", duration_range);

const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

fn time(text: &str) -> Result<Time, Refusal> {
    duration(text).map(Time)
}

/// The units of a duration, in nanoseconds.
const TIMES: [(&str, u64); 4] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

pub fn duration(text: &str) -> Result<Duration, Refusal> {
    let (digits, unit) = split_unit(text);
    let Some((_, factor)) = TIMES.iter().find(|(name, _)| *name == unit) else {
        return Err(duration_help(digits, unit));
    };
    let Some(nanoseconds) = scaled(digits, *factor) else {
        return Err(Some("write a number and its unit: `200ms`, `1.5s`".into()));
    };
    if nanoseconds == 0 {
        return Err(Some("a duration is above zero".into()));
    }
    let duration = u64::try_from(nanoseconds)
        .map(Duration::from_nanos)
        .ok()
        .filter(|duration| *duration <= LONGEST);
    duration.ok_or_else(|| Some("the longest duration is `8760h`".into()))
}

fn duration_help(digits: &str, unit: &str) -> Refusal {
    if !scalar::is_number(digits) || digits.starts_with('-') {
        return Some("write a number and its unit: `200ms`, `1.5s`, `5m`, `1h`".into());
    }
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "" if digits.parse::<f64>().is_ok_and(|number| number < 10.0) => "s",
        "" | "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hour" | "hours" => "h",
        "d" | "day" | "days" => return Some("write it in hours: `24h` is a day".into()),
        "us" | "µs" | "ns" => return Some("the smallest unit is `ms`: write `0.5ms`".into()),
        _ => return Some("the units are `ms`, `s`, `m` and `h`".into()),
    };
    Some(format!("write `{digits}{meant}`"))
}

/// `25ms..250ms`. A single duration is refused: it does not say whether it is the first or the last.
pub fn duration_range(text: &str) -> Result<DurationRange, Refusal> {
    let Some((from, to)) = text.split_once("..") else {
        return Err(Some(
            "write the shortest and the longest: `25ms..250ms`".into(),
        ));
    };
    let range = DurationRange {
        from: duration(from.trim())?,
        to: duration(to.trim())?,
    };
    if range.from > range.to {
        return Err(Some(format!("write `{}..{}`", to.trim(), from.trim())));
    }
    Ok(range)
}

/// A duration, or a percentile of the call's own times: `p95`, `p99.9`.
fn after(text: &str) -> Result<After, Refusal> {
    if let Some(digits) = text.strip_prefix('p') {
        return percentile(digits).map(After::Percentile).ok_or_else(|| {
            Some("write `p` and a number above 0 and below 100, with two decimals at most".into())
        });
    }
    duration(text).map(After::Fixed).map_err(|help| {
        let share = text.strip_suffix('%').or(text.strip_prefix('P'));
        match share.filter(|share| percentile(share).is_some()) {
            Some(share) => Some(format!("write `p{share}`")),
            None => help.map(|help| format!("{help}; or a percentile: `p95`")),
        }
    })
}

/// In hundredths of a percent.
fn percentile(digits: &str) -> Option<u32> {
    let decimals = digits.split_once('.').map_or("", |(_, decimals)| decimals);
    scaled(digits, 100)
        .filter(|share| decimals.len() <= 2 && (1..10_000).contains(share))
        .and_then(|share| u32::try_from(share).ok())
}

parsed!(After, "a duration or a percentile", after);

/// A duration, or `from_headers`.
fn ttl(text: &str) -> Result<Ttl, Refusal> {
    match text {
        "from_headers" => Ok(Ttl::FromHeaders),
        _ => duration(text).map(Ttl::For).map_err(|help| {
            Some(match (nearest(text, ["from_headers"]), help) {
                (Some(near), _) => format!("write `{near}`"),
                (None, Some(help)) => format!("{help}; or `from_headers`"),
                (None, None) => "write a duration, `5m`, or `from_headers`".to_owned(),
            })
        }),
    }
}

parsed!(Ttl, "a duration or `from_headers`", ttl);

impl<'de> Deserialize<'de> for Coalesce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Switch(bool),
            Word(Auto),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Auto {
            Auto,
        }
        match Written::deserialize(deserializer)? {
            Written::Switch(true) => Ok(Coalesce::On),
            Written::Switch(false) => Ok(Coalesce::Off),
            Written::Word(Auto::Auto) => Ok(Coalesce::Auto),
        }
    }
}

impl Leaf for Coalesce {
    const WHAT: &'static str = "`auto`, `true` or `false`";

    fn help(_written: &str) -> Option<String> {
        Some("write `true`, `false` or `auto`".to_owned())
    }
}

fn computed(text: &str) -> Result<Computed, Refusal> {
    match text {
        "computed" => Ok(Computed),
        _ => Err(Some(
            "write `computed`, or leave it out and set `headers`".to_owned(),
        )),
    }
}

parsed!(Computed, "`computed`", computed);

// === sizes ===

/// A number of bytes above zero: `64KiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

parsed!(Size, "a size", size);

const SIZES: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

fn size(text: &str) -> Result<Size, Refusal> {
    let (digits, unit) = split_unit(text);
    let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(size_help(digits, unit));
    };
    match scaled(digits, *factor) {
        None => Err(Some("write a number and its unit: `64KiB`, `1MiB`".into())),
        Some(0) => Err(Some("a size is above zero".into())),
        Some(bytes) => u64::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= 1 << 40)
            .map(Size)
            .ok_or_else(|| Some("the largest size is `1024GiB`".into())),
    }
}

fn size_help(digits: &str, unit: &str) -> Refusal {
    if !scalar::is_number(digits) || digits.starts_with('-') {
        return Some("write a number and its unit: `64KiB`, `1MiB`".into());
    }
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "" => match digits.parse::<u64>() {
            Ok(bytes) if bytes > 0 && bytes % (1 << 20) == 0 => {
                return Some(format!("write `{}MiB`", bytes >> 20));
            }
            Ok(bytes) if bytes > 0 && bytes % (1 << 10) == 0 => {
                return Some(format!("write `{}KiB`", bytes >> 10));
            }
            // So few bytes are seldom meant.
            Ok(bytes) if bytes > 0 && bytes < 1 << 10 => {
                return Some(format!("write `{bytes}B`, `{bytes}KiB` or `{bytes}MiB`"));
            }
            _ => "B",
        },
        "b" | "bytes" => "B",
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        _ => return Some("the units are `B`, `KiB`, `MiB` and `GiB`".into()),
    };
    Some(format!("write `{digits}{meant}`"))
}

// === shares ===

parsed!(Percentage, "a share in percent", percentage);

fn percentage(text: &str) -> Result<Percentage, Refusal> {
    let Some(digits) = text.strip_suffix('%') else {
        let help = match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => format!("write `{}%`", share * 100.0),
            Ok(_) => format!("write `{text}%`"),
            Err(_) => "write a number and `%`: `95%`".to_owned(),
        };
        return Err(Some(help));
    };
    scaled(digits, 100)
        .and_then(|share| u16::try_from(share).ok())
        .filter(|share| *share <= 10_000)
        .map(Percentage)
        .ok_or_else(|| Some("write a share from `0%` to `100%`".into()))
}

/// A share above zero, or a size.
fn memory(text: &str) -> Result<Memory, Refusal> {
    if text.ends_with('%') {
        return match percentage(text)? {
            Percentage(0) => Err(Some("a share is above zero: write `25%`".into())),
            share => Ok(Memory::Share(share)),
        };
    }
    match size(text) {
        Ok(Size(bytes)) => Ok(Memory::Size(bytes)),
        Err(help) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(help.map(|help| format!("{help}, or a share such as `25%`")))
        }
        Err(help) => Err(help),
    }
}

parsed!(Memory, "a share or a size", memory);

// === numbers with a unit ===

/// The number at the start and what follows it.
fn split_unit(text: &str) -> (&str, &str) {
    let unit = text
        .find(|character: char| !character.is_ascii_digit() && !matches!(character, '.' | '-'))
        .unwrap_or(text.len());
    text.split_at(unit)
}

/// A decimal number without sign or exponent times `factor`, rounded down.
fn scaled(digits: &str, factor: u64) -> Option<u128> {
    if !scalar::is_number(digits) || digits.starts_with('-') || digits.contains(['e', 'E']) {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.parse::<u64>().ok()?;
    // What stands beyond the fifteenth place is below one unit of any result.
    let fraction = &fraction[..fraction.len().min(15)];
    let divisor = 10u128.pow(fraction.len() as u32);
    let part = match fraction {
        "" => 0,
        _ => fraction.parse::<u64>().ok()?,
    };
    let factor = u128::from(factor);
    Some(u128::from(whole) * factor + u128::from(part) * factor / divisor)
}

// === words ===

macro_rules! words {
    ($type:ty, $what:literal, $parse:ident, { $($word:literal => $value:expr),* $(,)? }) => {
        fn $parse(text: &str) -> Result<$type, Refusal> {
            match text {
                $($word => Ok($value),)*
                _ => Err(did_you_mean(text, [$($word),*]).or_else(|| {
                    let words: &[&str] = &[$(concat!("`", $word, "`")),*];
                    Some(format!("write one of {}", words.join(", ")))
                })),
            }
        }
        parsed!($type, $what, $parse);
    };
}

words!(Decode, "a way to decode", decode, {
    "auto" => Decode::Auto,
    "json" => Decode::Json,
    "text" => Decode::Text,
    "none" => Decode::None,
});

words!(ParameterKind, "a type of input", parameter_kind, {
    "string" => ParameterKind::String,
    "integer" => ParameterKind::Integer,
    "number" => ParameterKind::Number,
    "boolean" => ParameterKind::Boolean,
    "array" => ParameterKind::Array,
});

words!(HttpVersion, "a version of HTTP", http_version, {
    "auto" => HttpVersion::Auto,
    "1" => HttpVersion::One,
    "2" => HttpVersion::Two,
});

words!(Priority, "a priority", priority, {
    "critical" => Priority::Critical,
    "high" => Priority::High,
    "normal" => Priority::Normal,
    "bulk" => Priority::Bulk,
});

/// `only: not_sent` of a fallback.
#[derive(Clone, Copy, Debug)]
pub struct NotSent;

words!(NotSent, "a reason to fall back", not_sent, { "not_sent" => NotSent });

/// `forward_query: "*"`.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

words!(Everything, "a list of names or `*`", everything, { "*" => Everything });

impl From<Everything> for ForwardQuery {
    fn from(_: Everything) -> ForwardQuery {
        ForwardQuery::All
    }
}

parsed!(RetryOn, "a reason to retry", retry_on);

fn retry_on(text: &str) -> Result<RetryOn, Refusal> {
    match text {
        "connect" => Ok(RetryOn::Connect),
        "reset" => Ok(RetryOn::Reset),
        "timeout" => Ok(RetryOn::Timeout),
        _ => error_status(text).map(RetryOn::Status).ok_or_else(|| {
            did_you_mean(text, ["connect", "reset", "timeout"]).or_else(|| {
                Some("write `connect`, `reset`, `timeout` or a status such as `503`".into())
            })
        }),
    }
}

/// The status of an error: 400 to 599.
#[derive(Clone, Copy, Debug)]
pub struct ErrorStatus(pub u16);

parsed!(ErrorStatus, "the status of an error", status);

fn status(text: &str) -> Result<ErrorStatus, Refusal> {
    error_status(text)
        .map(ErrorStatus)
        .ok_or_else(|| Some("write a number from 400 to 599".into()))
}

fn error_status(text: &str) -> Option<u16> {
    let number: u16 = text.parse().ok()?;
    (text.len() == 3 && (400..=599).contains(&number)).then_some(number)
}

// === addresses ===

/// `127.0.0.1:8080`.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub SocketAddr);

parsed!(Address, "an address with a port", address);

fn address(text: &str) -> Result<Address, Refusal> {
    text.parse().map(Address).map_err(|_| {
        Some(match text.rsplit_once(':') {
            Some(("", port)) if port.parse::<u16>().is_ok() => {
                format!("write `0.0.0.0:{port}` to listen on every address")
            }
            Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
                format!("write `127.0.0.1:{port}`: names are not resolved here")
            }
            _ => match text.parse::<u16>() {
                Ok(port) => format!("write `127.0.0.1:{port}`, or `0.0.0.0:{port}`"),
                Err(_) => "write an IP address and a port: `127.0.0.1:8080`, `[::1]:8080`".into(),
            },
        })
    })
}

/// `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug)]
pub struct Network(pub ipnet::IpNet);

parsed!(Network, "a range of addresses", network);

fn network(text: &str) -> Result<Network, Refusal> {
    text.parse::<ipnet::IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
        .map(Network)
        .map_err(|_| Some("write a CIDR: `10.0.0.0/8`, `fd00::/8`".into()))
}

parsed!(Url, "the URL of a service", url);

fn url(text: &str) -> Result<Url, Refusal> {
    let no = |help: &str| Err(Some(help.to_owned()));
    let Some((scheme, rest)) = text.split_once("://") else {
        return no("write `http://host:port` or `https://host`");
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return no("the scheme is `http` or `https`"),
    };
    if text.contains(['?', '#']) {
        return no("leave `?` and `#` out: a call has `query`");
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return no("leave the user out: send credentials by `headers`");
    }
    let Ok(parsed) = authority.parse::<http::uri::Authority>() else {
        return no("write `http://host:port`");
    };
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return no("the port is a number from 1 to 65535"),
        },
        _ if tls => 443,
        _ => 80,
    };
    if !is_path(path) {
        return no("in the path, percent-encode what is no letter, digit or one of `-._~`");
    }
    if parsed.host().is_empty() {
        return no("write `http://host:port`");
    }
    Ok(Url {
        tls,
        host: parsed.host().to_ascii_lowercase(),
        port,
        path: path.trim_end_matches('/').to_owned(),
    })
}

/// Whether this is a path by RFC 3986 without segments that go up.
fn is_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => {
                let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
                hex(bytes.next()) && hex(bytes.next())
            }
            _ => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte),
        };
        if !fine {
            return false;
        }
    }
    !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A host as requests name it, without its port, in lower case.
#[derive(Clone, Debug)]
pub struct Host(pub String);

parsed!(Host, "a host name", host);

fn host(text: &str) -> Result<Host, Refusal> {
    let fine = |authority: &http::uri::Authority| {
        !text.contains('@') && !authority.host().is_empty() && !text.contains('*')
    };
    text.parse::<http::uri::Authority>()
        .ok()
        .filter(fine)
        .map(|authority| Host(authority.host().to_ascii_lowercase()))
        .ok_or_else(|| Some("write a name such as `shop.example.com`".into()))
}

#[cfg(test)]
mod tests;
