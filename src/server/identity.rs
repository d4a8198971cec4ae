//! Who asks, and under which names the request goes on: request id, trace, client address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::engine::fetch::Identity;
use crate::json::hexadecimal;
use crate::server::known::Known;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

const REQUEST_ID_MOST: usize = 128;
/// W3C Trace Context §3.3.1.5 asks for at least this much to be handed on.
const TRACE_STATE_MOST: usize = 512;

/// What is known of a request before its route is.
pub fn read(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> Arc<Identity> {
    let known = Known::of(headers);
    let trace = match known.has(Known::TRACE_PARENT) {
        true => trace(headers),
        false => None,
    };
    Arc::new(Identity {
        request_id: match known.has(Known::REQUEST_ID) {
            true => request_id(headers),
            false => random_id(),
        },
        trace_state: trace.is_some().then(|| trace_state(headers)).flatten(),
        trace_id: match &trace {
            Some((id, _)) => *id,
            None => random_digits(),
        },
        trace_flags: trace.map_or(1, |(_, flags)| flags),
        client_ip: match known.has(Known::FORWARDED_FOR) {
            true => client_ip(headers, peer, trusted),
            false => peer.ip().to_canonical(),
        },
        via: match known.has(Known::VIA) {
            true => joined(headers, &header::VIA),
            false => None,
        },
    })
}

/// Whether the peer's words about others are believed.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// The only value of a header that stands once.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn request_id(headers: &HeaderMap) -> String {
    single(headers, &REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_request_id(id))
        .map_or_else(random_id, str::to_owned)
}

fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_MOST).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn random_id() -> String {
    let digits = random_digits();
    str::from_utf8(&digits)
        .expect("hex digits are ASCII")
        .to_owned()
}

fn random_digits() -> [u8; 32] {
    // Zero is no trace id.
    let id = fastrand::u128(..).max(1).to_be_bytes();
    let (fours, _) = id.as_chunks();
    let mut digits = [0; 32];
    for (place, four) in digits.as_chunks_mut().0.iter_mut().zip(fours) {
        *place = hexadecimal(*four);
    }
    digits
}

/// Trace id and flags of a `traceparent` (W3C Trace Context §3.2).
fn trace(headers: &HeaderMap) -> Option<([u8; 32], u8)> {
    let value = single(headers, &TRACE_PARENT)?.to_str().ok()?.trim();
    let mut parts = value.splitn(5, '-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = is_lower_hex(version, 2)
        && version != "ff"
        && is_lower_hex(trace, 32)
        && is_lower_hex(parent, 16)
        && is_lower_hex(flags, 2)
        && !(version == "00" && parts.next().is_some());
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    if !fits || is_zero(trace) || is_zero(parent) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    // Of a version that we do not know, only the sampled flag is understood.
    let flags = if version == "00" { flags } else { flags & 1 };
    Some((trace.as_bytes().try_into().ok()?, flags))
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn trace_state(headers: &HeaderMap) -> Option<String> {
    joined(headers, &TRACE_STATE)
        .filter(|state| !state.is_empty() && state.len() <= TRACE_STATE_MOST)
}

/// All lines of a header as one; `None` where there is none or one is not ASCII.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut out: Option<String> = None;
    for value in headers.get_all(name) {
        let text = value.to_str().ok()?;
        match &mut out {
            None => out = Some(text.to_owned()),
            Some(out) => {
                out.push_str(", ");
                out.push_str(text);
            }
        }
    }
    out
}

/// The peer's address, or, if the peer is trusted, the last of `x-forwarded-for` that is not. Where
/// all of them are trusted it is the first; a word that is no address ends the list.
fn client_ip(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    let Some(list) = joined(headers, &FORWARDED_FOR) else {
        return client;
    };
    for word in list.rsplit(',') {
        if !is_trusted(client, trusted) {
            break;
        }
        match address(word.trim()) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
        .unwrap_or(word);
    bare.parse::<IpAddr>()
        .or_else(|_| word.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn identity(lines: &[(&'static str, &str)]) -> Arc<Identity> {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        read(&headers(lines), "10.0.0.1:5000".parse().unwrap(), &trusted)
    }

    #[test]
    fn the_client_s_request_id_is_kept_if_it_is_plain() {
        let long = "x".repeat(128);
        for id in ["a", "A-b_c.9", &long] {
            assert_eq!(identity(&[("x-request-id", id)]).request_id, id);
        }
        let longer = "x".repeat(129);
        for id in ["", "a b", "a/b", "ä", &longer] {
            let made = identity(&[("x-request-id", id)]).request_id.clone();
            assert!(is_lower_hex(&made, 32), "{id}: {made}");
        }
        let two = identity(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert!(is_lower_hex(&two.request_id, 32));
    }

    #[test]
    fn a_trace_is_taken_from_a_valid_traceparent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let rows: [(String, Option<u8>); 10] = [
            (format!("00-{trace}-{span}-01"), Some(1)),
            (format!("00-{trace}-{span}-00"), Some(0)),
            (format!("cc-{trace}-{span}-03-more"), Some(1)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ];
        for (parent, expected) in rows {
            let identity = identity(&[("traceparent", &parent), ("tracestate", "a=1")]);
            let found = str::from_utf8(&identity.trace_id).unwrap();
            assert_eq!(found == trace, expected.is_some(), "{parent}");
            assert_eq!(identity.trace_flags, expected.unwrap_or(1), "{parent}");
            assert_eq!(
                identity.trace_state.is_some(),
                expected.is_some(),
                "{parent}"
            );
            assert!(is_lower_hex(found, 32));
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        let rows = [
            ("", "10.0.0.1"),
            ("1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("1.2.3.4, 10.0.0.7", "1.2.3.4"),
            ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
            ("1.2.3.4, unknown, 10.0.0.7", "10.0.0.7"),
            ("[2001:db8::1]:99", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:99", "1.2.3.4"),
        ];
        for (list, expected) in rows {
            let lines = [("x-forwarded-for", list)];
            let lines = if list.is_empty() { &[][..] } else { &lines[..] };
            assert_eq!(identity(lines).client_ip.to_string(), expected, "{list}");
        }
        let distrusted = read(
            &headers(&[("x-forwarded-for", "1.2.3.4")]),
            "8.8.8.8:1".parse().unwrap(),
            &[],
        );
        assert_eq!(distrusted.client_ip.to_string(), "8.8.8.8");
    }

    #[test]
    fn via_is_handed_on_whole() {
        let identity = identity(&[("via", "1.1 a"), ("via", "2 b")]);
        assert_eq!(identity.via.as_deref(), Some("1.1 a, 2 b"));
    }
}
