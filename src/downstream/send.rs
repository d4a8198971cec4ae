//! The request of an attempt: where it goes, what the route file says, and what we add ourselves.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, EXPECT, HOST, HeaderName, USER_AGENT, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;

use crate::ascii;
use crate::downstream::connection::{Outgoing, Prepared};
use crate::downstream::fault::Fault;
use crate::downstream::headers;
use crate::downstream::http1::Message;
use crate::downstream::http1::answer::Wanted;
use crate::engine::code::Code;
use crate::engine::fetch::{Exchange, Identity};
use crate::json::{hexadecimal, write_number};
use crate::plan::settings::Endpoint;

/// A header of our own, and how HTTP/1.1 writes it up to its value.
struct Ours {
    name: HeaderName,
    start: &'static [u8],
}

const fn ours(name: HeaderName, start: &'static [u8]) -> Ours {
    Ours { name, start }
}

static REQUEST_ID: Ours = ours(
    HeaderName::from_static("x-request-id"),
    b"\r\nx-request-id: ",
);
static TRACEPARENT: Ours = ours(HeaderName::from_static("traceparent"), b"\r\ntraceparent: ");
static TRACESTATE: Ours = ours(HeaderName::from_static("tracestate"), b"\r\ntracestate: ");
static REQUEST_TIMEOUT: Ours = ours(
    HeaderName::from_static("x-request-timeout"),
    b"\r\nx-request-timeout: ",
);
static OUR_VIA: Ours = ours(VIA, b"\r\nvia: ");
static OUR_ACCEPT: Ours = ours(ACCEPT, b"\r\naccept: ");
static OUR_USER_AGENT: Ours = ours(USER_AGENT, b"\r\nuser-agent: ");

/// The name of a line, with what stands before it and behind it in HTTP/1.1.
enum Name<'n> {
    OfCall(&'n HeaderName),
    Ours(&'static Ours),
}

impl Name<'_> {
    fn of(&self) -> &HeaderName {
        match self {
            Name::OfCall(name) => name,
            Name::Ours(ours) => &ours.name,
        }
    }
}

/// Room for a head of the usual length.
const HEAD_CAPACITY: usize = 512;

/// Targets up to this length are within every limit of the http crate.
const PLAIN_MOST: usize = 8 * 1024;

/// How this process names itself in `via`: an edge and a sidecar may stand in one path, so each has
/// a name of its own.
pub fn pseudonym() -> &'static str {
    static PSEUDONYM: OnceLock<String> = OnceLock::new();
    PSEUDONYM.get_or_init(|| format!("anabranch-{:08x}", fastrand::u32(..)))
}

/// Whether the client's `via` says that the request came through us before.
pub fn came_through_us(via: &str) -> bool {
    via.split(',')
        .filter_map(|hop| hop.split_whitespace().nth(1))
        .any(|name| name.eq_ignore_ascii_case(pseudonym()))
}

/// The request to `endpoint` for a connection of this version, with `left` to go.
pub fn prepare(
    exchange: &Exchange,
    endpoint: &Endpoint,
    version: Version,
    left: Duration,
    body: Outgoing,
) -> Result<Prepared, Fault> {
    let prepared = match version {
        Version::HTTP_2 => {
            request(exchange, endpoint, left, body).map(|request| Prepared::Two(Box::new(request)))
        }
        _ => message(exchange, endpoint, left, body).map(Prepared::One),
    };
    prepared.ok_or_else(|| {
        Fault::not_sent(Code::BadValue).with_detail("the rendered path is not one of this service")
    })
}

fn request(
    exchange: &Exchange,
    endpoint: &Endpoint,
    left: Duration,
    body: Outgoing,
) -> Option<Request<Outgoing>> {
    let method = &exchange.call().method;
    let mut request = Request::new(body);
    *request.uri_mut() = checked(endpoint, &exchange.target)?;
    *request.method_mut() = method.clone();
    *request.version_mut() = Version::HTTP_2;
    let mut headers = HeaderMap::new();
    each_line(exchange, left, |name, value| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name.of(), value);
        }
    });
    // The library says the length of what has one.
    if takes_a_body(method) && request.body().size_hint().exact() == Some(0) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.headers_mut() = headers;
    Some(request)
}

fn message(
    exchange: &Exchange,
    endpoint: &Endpoint,
    left: Duration,
    body: Outgoing,
) -> Option<Message> {
    let (method, target) = (&exchange.call().method, &exchange.target);
    if !is_plain(target) {
        checked(endpoint, target)?;
    }
    let mut head = Vec::with_capacity(HEAD_CAPACITY);
    for piece in [method.as_str(), " ", &endpoint.prefix, target, " HTTP/1.1"] {
        head.extend_from_slice(piece.as_bytes());
    }
    head.extend_from_slice(b"\r\nhost: ");
    head.extend_from_slice(endpoint.authority.as_bytes());
    each_line(exchange, left, |name, value| {
        match name {
            Name::OfCall(name) => {
                for piece in [b"\r\n", name.as_str().as_bytes(), b": "] {
                    head.extend_from_slice(piece);
                }
            }
            Name::Ours(ours) => head.extend_from_slice(ours.start),
        }
        head.extend_from_slice(value);
    });
    match body.size_hint().exact() {
        Some(0) if !takes_a_body(method) => {}
        Some(length) => {
            head.extend_from_slice(b"\r\ncontent-length: ");
            write_number(&mut head, length);
        }
        None => head.extend_from_slice(b"\r\ntransfer-encoding: chunked"),
    }
    head.extend_from_slice(b"\r\n\r\n");
    Some(Message {
        head,
        body,
        wanted: Wanted {
            bodiless: *method == Method::HEAD,
            all_headers: exchange.call().keeps_headers,
        },
    })
}

/// A target of plain characters, without a segment of dots: what most are, told without parsing.
fn is_plain(target: &str) -> bool {
    target.starts_with('/')
        && target.len() <= PLAIN_MOST
        && ascii::is_all_of(target.as_bytes(), &IS_PLAIN)
}

static IS_PLAIN: [bool; 256] = ascii::letters_digits_and(b"/?_~!$&'()*+,-:;=@");

/// RFC 9110 §8.6: such a request says so when it has none.
fn takes_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The URL, if after rendering it still has the endpoint's scheme, authority and prefix, and nothing
/// in it that leads out of the prefix again.
fn checked(endpoint: &Endpoint, target: &str) -> Option<Uri> {
    let scheme = match endpoint.https {
        true => "https",
        false => "http",
    };
    let Endpoint {
        authority, prefix, ..
    } = endpoint;
    let uri: Uri = format!("{scheme}://{authority}{prefix}{target}")
        .parse()
        .ok()?;
    let same_place = uri.scheme_str() == Some(scheme)
        && uri
            .authority()
            .is_some_and(|found| found == authority.as_str());
    let found = uri.path_and_query()?.as_str();
    let same_path = target.starts_with('/')
        && found.len() == prefix.len() + target.len()
        && found.starts_with(prefix.as_str())
        && found.ends_with(target);
    let path = target.split('?').next().unwrap_or_default();
    (same_place && same_path && !path.split('/').any(is_dots)).then_some(uri)
}

/// `.` or `..`, also when written with percent signs.
fn is_dots(segment: &str) -> bool {
    if segment.len() > 6 {
        return false;
    }
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// The exchange's end-to-end headers, and those that every call gets; ours win, but for `accept` and
/// `user-agent`. What an [`Identity`] holds may stand in a header.
fn each_line(exchange: &Exchange, left: Duration, mut put: impl FnMut(Name<'_>, &[u8])) {
    let named = headers::named_by_connection(&exchange.headers);
    for (name, value) in &exchange.headers {
        let is_replaced =
            is_ours(name) || (*name == TRACESTATE.name && exchange.identity.trace_state.is_some());
        if !is_replaced && !headers::is_hop_by_hop(name) && !named.contains(name) {
            put(Name::OfCall(name), value.as_bytes());
        }
    }
    let identity = &exchange.identity;
    put(Name::Ours(&REQUEST_ID), identity.request_id.as_bytes());
    put(Name::Ours(&TRACEPARENT), &traceparent(identity));
    if let Some(state) = &identity.trace_state {
        put(Name::Ours(&TRACESTATE), state.as_bytes());
    }
    put(Name::Ours(&REQUEST_TIMEOUT), timeout(left, &mut [0; 22]));
    put(Name::Ours(&OUR_VIA), via(identity).as_bytes());
    let defaults: [(&'static Ours, &[u8]); 2] = [
        (&OUR_ACCEPT, b"application/json"),
        (&OUR_USER_AGENT, b"anabranch"),
    ];
    for (ours, value) in defaults {
        let is_there = exchange.headers.contains_key(&ours.name) && !named.contains(&ours.name);
        if !is_there {
            put(Name::Ours(ours), value);
        }
    }
}

/// What no key of a call sets.
fn is_ours(name: &HeaderName) -> bool {
    let ours = [
        &HOST,
        &CONTENT_LENGTH,
        &EXPECT,
        &REQUEST_ID.name,
        &TRACEPARENT.name,
        &REQUEST_TIMEOUT.name,
        &VIA,
    ];
    ours.contains(&name)
}

/// A span of its own in the client's trace.
fn traceparent(identity: &Identity) -> [u8; 55] {
    let mut text = *b"00-________________________________-________________-__";
    let [b0, b1, b2, b3, b4, b5, b6, b7] = fastrand::u64(1..).to_be_bytes();
    text[3..35].copy_from_slice(&identity.trace_id);
    text[36..44].copy_from_slice(&hexadecimal([b0, b1, b2, b3]));
    text[44..52].copy_from_slice(&hexadecimal([b4, b5, b6, b7]));
    text[53..].copy_from_slice(&hexadecimal([identity.trace_flags, 0, 0, 0])[..2]);
    text
}

/// Whole milliseconds, written into `space`: as many digits as there may be, and `ms`.
fn timeout(left: Duration, space: &mut [u8; 22]) -> &[u8] {
    let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(milliseconds).as_bytes();
    let end = digits.len() + 2;
    space[..end - 2].copy_from_slice(digits);
    space[end - 2..end].copy_from_slice(b"ms");
    &space[..end]
}

fn via(identity: &Identity) -> Cow<'_, str> {
    match &identity.via {
        Some(before) => format!("{before}, {}", our_via()).into(),
        None => our_via().into(),
    }
}

fn our_via() -> &'static str {
    static VIA: OnceLock<String> = OnceLock::new();
    VIA.get_or_init(|| format!("1.1 {}", pseudonym()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(prefix: &str) -> Endpoint {
        Endpoint {
            https: false,
            host: "users".into(),
            port: 8080,
            prefix: prefix.into(),
            authority: "users:8080".into(),
        }
    }

    #[test]
    fn the_place_of_a_url_does_not_change() {
        fn check(target: &str, expected: Option<&str>) {
            let found = checked(&endpoint("/v1"), target).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{target}");
        }
        check("/a", Some("http://users:8080/v1/a"));
        check("/a?b=c%26", Some("http://users:8080/v1/a?b=c%26"));
        check("/", Some("http://users:8080/v1/"));
        check(
            "/..%2f..%2fadmin",
            Some("http://users:8080/v1/..%2f..%2fadmin"),
        );
        check("/a#b", None);
        check("@evil.example/", None);
        check(".evil.example/", None);
        check("", None);
        check("/a/../../admin", None);
        check("/%2e%2E/admin", None);
        check("/a/.", None);
        check("/a b", None);
        check("/a\r\nx: y", None);
    }

    #[test]
    fn our_own_name_in_via_is_a_loop() {
        fn check(via: &str, expected: bool) {
            assert_eq!(came_through_us(via), expected, "{via}");
        }
        check(&format!("1.1 {}", pseudonym()), true);
        check(&format!("1.0 edge, 1.1 {} (x)", pseudonym()), true);
        check("1.1 anabranch-", false);
        check("1.1 edge", false);
        check("", false);
        assert_eq!(pseudonym().len(), "anabranch-".len() + 8);
    }

    proptest! {
        #[test]
        fn a_plain_target_stays_where_it_is(target in "[/a-z.%?#&= -]{0,12}|/[!-~]{0,12}") {
            if is_plain(&target) {
                prop_assert!(checked(&endpoint("/v1"), &target).is_some(), "{}", target);
            }
        }

        #[test]
        fn no_target_leads_elsewhere(target in "\\PC{0,30}") {
            if let Some(uri) = checked(&endpoint("/v1"), &target) {
                prop_assert_eq!(uri.scheme_str(), Some("http"));
                prop_assert_eq!(uri.authority().unwrap().as_str(), "users:8080");
                prop_assert!(uri.path().starts_with("/v1/"));
            }
        }
    }
}
