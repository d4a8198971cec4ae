//! A value of a client in the URL of a call: it stays where the template puts it, or nothing is sent.
//!
//! The input is the value of `{id}`, then behind the first `|` that of `{rest...}`; without a `|` it is
//! both.

use std::sync::{Arc, LazyLock, Mutex};

use anabranch::engine::code::Code;
use anabranch::engine::fetch::{CallError, Exchange, Fetch, Fetched, Opened, StreamedRequest};
use anabranch::engine::request::{Request, RequestBody};
use anabranch::engine::{input, run};
use anabranch::plan::Table;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use tokio::time::Instant;

use crate::support::{identity, on_paused_time, table};

const AUTHORITY: &str = "host:8080";
const PREFIX: &str = "/base";

static TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| {
    table(
        r#"
route: GET /{id}/{rest...}
calls:
  whole: { service: s, optional: true, get: "/a/{{request.path.id}}" }
  inside: { service: s, optional: true, get: "/a/x-{{request.path.id}}.json/z" }
  dotted: { service: s, optional: true, get: "/a/.{{request.path.id}}" }
  twice: { service: s, optional: true, get: "/a/{{request.path.id}}{{request.path.id}}" }
  rest: { service: s, optional: true, get: "/a/{{request.path.rest}}" }
  query:
    service: s
    optional: true
    get: /a
    query: { text: "x{{request.path.id}}", path: $.request.path.rest }
response: { text: done }
---
services: { s: { url: "http://host:8080/base" } }
"#,
    )
});

#[allow(dead_code, reason = "guided by coverage the fuzzer finds its own")]
pub const TOKENS: [&str; 32] = [
    ".",
    "..",
    "/",
    "//",
    "\\",
    "%",
    "%2e",
    "%2E",
    "%2f",
    "%2F",
    "%5c",
    "%25",
    "%00",
    "%0d%0a",
    "?",
    "#",
    "&",
    "=",
    "+",
    ";",
    "@",
    ":",
    "|",
    " ",
    "\t",
    "\r\n",
    "\0",
    "\u{7f}",
    "é",
    "．",
    "／",
    "http://evil.example/",
];

/// Writes down what it is asked and fails.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, String)>>);

impl Fetch for Recorder {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        let name = exchange.route.calls[exchange.call.0].name.clone();
        self.0.lock().unwrap().push((name, exchange.target.clone()));
        Fetched {
            result: Err(CallError::new(Code::ConnectRefused)),
            attempts: 1,
            note: None,
        }
    }

    async fn open(&self, _: Arc<Exchange>, _: StreamedRequest) -> Opened {
        unreachable!("the route passes nothing through")
    }
}

pub fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (id, rest) = text.split_once('|').unwrap_or((&text, &text));
    let sent = on_paused_time(sent(id, rest));
    for (call, target) in &sent {
        check_place(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        check_path(call, path, id, rest);
        check_query(call, query, id, rest);
    }
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_plain(id) && is_plain(rest) {
        assert_eq!(sent.len(), TABLE.routes[0].calls.len());
    }
}

/// What every call of the route sends: its name and its target.
async fn sent(id: &str, rest: &str) -> Vec<(String, String)> {
    let (route, started) = (&TABLE.routes[0], Instant::now());
    let request = Request {
        method: Method::GET,
        host: "shop.example".to_owned(),
        parameters: vec![id.to_owned(), rest.to_owned()],
        query: Vec::new(),
        raw_query: None,
        headers: HeaderMap::new(),
        body: RequestBody::Read(Bytes::new()),
        client_ip: "192.0.2.7".parse().unwrap(),
        identity: Arc::new(identity()),
        started,
        deadline: started + route.timeout,
        brownout: false,
    };
    let recorder = Recorder::default();
    if let Ok(accepted) = input::accept(route, request) {
        run::run(route, &accepted, &recorder).await;
    }
    recorder.0.into_inner().unwrap()
}

/// Put behind the service's URL, the target is still at that service and below its prefix.
fn check_place(target: &str) {
    let url = format!("http://{AUTHORITY}{PREFIX}{target}");
    assert!(
        url.bytes().all(|b| b.is_ascii_graphic() && b != b'#'),
        "{url:?}"
    );
    let uri: Uri = url.parse().unwrap();
    assert_eq!(uri.scheme_str(), Some("http"), "{url}");
    assert_eq!(uri.authority().unwrap(), AUTHORITY, "{url}");
    assert_eq!(uri.path_and_query().unwrap(), &format!("{PREFIX}{target}"));
    assert!(uri.path().starts_with("/base/a"), "{url}");
}

/// The segments are those of the template with the values in them, decoded once.
fn check_path(call: &str, path: &str, id: &str, rest: &str) {
    let segments = path.split('/').map(decoded).collect::<Vec<_>>();
    let values = match call {
        "whole" => vec![id.to_owned()],
        "inside" => vec![format!("x-{id}.json"), "z".to_owned()],
        "dotted" => vec![format!(".{id}")],
        "twice" => vec![format!("{id}{id}")],
        "rest" => rest.split('/').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let expected = ["", "a"].map(str::to_owned).into_iter().chain(values);
    assert!(
        expected.map(String::into_bytes).eq(segments.clone()),
        "{call}: {path}"
    );
    for segment in &segments {
        assert!(!matches!(&segment[..], b"." | b".."), "{call}: {path}");
        assert!(!segment.iter().any(u8::is_ascii_control), "{call}: {path}");
    }
    // What is nothing but a value leads nowhere even for one who decodes it twice.
    if matches!(call, "whole" | "rest") {
        let again = segments.iter().map(|segment| decoded_bytes(segment));
        for segment in again {
            assert!(!matches!(&segment[..], b"." | b".."), "{call}: {path}");
        }
    }
}

fn check_query(call: &str, query: &str, id: &str, rest: &str) {
    let pairs: Vec<Vec<u8>> = query.split('&').map(decoded).collect();
    let expected = match call {
        "query" => vec![format!("text=x{id}"), format!("path={rest}")],
        _ => vec![String::new()],
    };
    let expected: Vec<Vec<u8>> = expected.into_iter().map(String::into_bytes).collect();
    assert_eq!(pairs, expected, "{call}: {query}");
}

fn decoded(text: &str) -> Vec<u8> {
    decoded_bytes(text.as_bytes())
}

/// Each `%XX` decoded, once.
fn decoded_bytes(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, others @ ..] = rest {
        let digits = others.get(..2).filter(|_| *first == b'%');
        let escaped = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = &others[if escaped.is_some() { 2 } else { 0 }..];
    }
    bytes
}
