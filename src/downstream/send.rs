//! The request of an attempt: where it goes, what the route file says, and what we add ourselves.

use std::sync::OnceLock;
use std::time::Duration;

use http::header::{
    ACCEPT, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT, VIA,
};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;

use crate::downstream::connection::Outgoing;
use crate::downstream::fault::Fault;
use crate::downstream::headers;
use crate::engine::code::Code;
use crate::engine::fetch::{Exchange, Identity};
use crate::plan::settings::Endpoint;

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

/// The request to `endpoint` on a connection of this version, with `left` to go.
pub fn request(
    exchange: &Exchange,
    endpoint: &Endpoint,
    version: Version,
    left: Duration,
    body: Outgoing,
) -> Result<Request<Outgoing>, Fault> {
    let method = &exchange.route.calls[exchange.call.0].method;
    let whole = checked(endpoint, &exchange.target).ok_or_else(|| {
        Fault::not_sent(Code::BadValue).with_detail("the rendered path is not one of this service")
    })?;
    let mut headers = ours(exchange, left);
    frame(&mut headers, method, version, &body);
    let uri = match version {
        Version::HTTP_2 => whole,
        _ => {
            let host = HeaderValue::from_str(&endpoint.authority)
                .map_err(|_| Fault::not_sent(Code::Internal))?;
            headers.insert(HOST, host);
            whole
                .path_and_query()
                .cloned()
                .map(Uri::from)
                .unwrap_or_default()
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(request)
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

/// The exchange's headers, and those that every call gets.
fn ours(exchange: &Exchange, left: Duration) -> HeaderMap {
    let mut headers = exchange.headers.clone();
    headers::keep_end_to_end(&mut headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    let identity = &exchange.identity;
    let timeout = format!("{}ms", left.as_millis());
    set(
        &mut headers,
        HeaderName::from_static("x-request-id"),
        &identity.request_id,
    );
    set(
        &mut headers,
        HeaderName::from_static("traceparent"),
        &traceparent(identity),
    );
    if let Some(state) = &identity.trace_state {
        set(&mut headers, HeaderName::from_static("tracestate"), state);
    }
    set(
        &mut headers,
        HeaderName::from_static("x-request-timeout"),
        &timeout,
    );
    set(&mut headers, VIA, &via(identity));
    let entry = headers.entry(ACCEPT);
    entry.or_insert(HeaderValue::from_static("application/json"));
    let entry = headers.entry(USER_AGENT);
    entry.or_insert(HeaderValue::from_static("anabranch"));
    headers
}

/// Replaces a header; a value that cannot be one leaves it out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(_) => drop(headers.remove(name)),
    }
}

/// A span of its own in the client's trace.
fn traceparent(identity: &Identity) -> String {
    let span = fastrand::u64(1..);
    format!(
        "00-{}-{span:016x}-{:02x}",
        identity.trace_id, identity.trace_flags
    )
}

fn via(identity: &Identity) -> String {
    match &identity.via {
        Some(before) => format!("{before}, 1.1 {}", pseudonym()),
        None => format!("1.1 {}", pseudonym()),
    }
}

/// Says what the client library cannot know by itself.
fn frame(headers: &mut HeaderMap, method: &Method, version: Version, body: &Outgoing) {
    let takes_a_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match body.size_hint().exact() {
        // RFC 9110 §8.6: a method that expects a body says so when there is none.
        Some(0) if takes_a_body => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // Without it the library takes it that a GET has no body.
        None if version != Version::HTTP_2 => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        _ => {}
    }
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
        fn no_target_leads_elsewhere(target in "\\PC{0,30}") {
            if let Some(uri) = checked(&endpoint("/v1"), &target) {
                prop_assert_eq!(uri.scheme_str(), Some("http"));
                prop_assert_eq!(uri.authority().unwrap().as_str(), "users:8080");
                prop_assert!(uri.path().starts_with("/v1/"));
            }
        }
    }
}
