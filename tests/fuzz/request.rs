//! What a client sends on a connection, of any bytes, to the whole server: it ends, all that is
//! answered is HTTP, and no more calls are made than there are whole requests in the bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anabranch::engine::code::Code;
use anabranch::engine::fetch::{
    Answer, CallError, Exchange, Fetch, Fetched, Head, Opened, StreamedRequest,
};
use anabranch::json::Body;
use anabranch::plan::Table;
use anabranch::policy::memory::Memory;
use anabranch::server::drain::Drain;
use anabranch::server::{Server, State, connection};
use anabranch::telemetry::Telemetry;
use anabranch::telemetry::log::Log;
use anabranch::worker::Workers;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

use crate::support::{on_paused_time, table};

static TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| {
    table(
        r#"
route: GET /items/{id}
calls:
  read: { service: s, get: "/items/{{request.path.id}}", query: { q: $.request.query.q } }
response: { body: $.read.body }
---
route: POST /items
calls:
  made: { service: s, post: /items, json: { all: $.request.body } }
response: { body: $.made.body }
---
route: PUT /files/{rest...}
calls:
  file: { service: s, put: "/files/{{request.path.rest}}", forward_body: true }
response: { pass: file }
---
services: { s: { url: http://s } }
"#,
    )
});

#[allow(dead_code, reason = "guided by coverage the fuzzer finds its own")]
pub const TOKENS: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    "GET ",
    "POST ",
    "HEAD ",
    "PUT /files/a ",
    "/items/a",
    "/items",
    "%2e%2e",
    "%2F",
    "?q=1",
    "HTTP/1.1\r\n",
    "HTTP/1.0\r\n",
    "host: h\r\n",
    "content-length: 2\r\n",
    "content-length: 0\r\n",
    "transfer-encoding: chunked\r\n",
    "content-type: application/json\r\n",
    "connection: close\r\n",
    "connection: keep-alive\r\n",
    "expect: 100-continue\r\n",
    "upgrade: h2c\r\n",
    "x-request-timeout: 1ms\r\n",
    "{\"a\":1}",
    "0\r\n\r\n",
    "1\r\na\r\n",
    "ffffffffffffffff\r\n",
    "GET /items/a HTTP/1.1\r\nhost: h\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\0\0\0\u{4}\0\0\0\0\0",
    "\0\0\0\u{4}\u{1}\0\0\0\0",
    "\0\0\u{4}\u{8}\0\0\0\0\0\0\0\0\u{1}",
    "\0\0\u{4}\u{3}\0\0\0\0\u{1}\0\0\0\u{8}",
];

/// Longer than all clocks of a connection one after the other.
const LONGEST: Duration = Duration::from_secs(600);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers everything, and counts it when the whole request has come.
#[derive(Default)]
struct Service {
    calls: AtomicUsize,
}

impl Fetch for Service {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let demand = &exchange.route.calls[exchange.call.0].raw_demand;
        let bytes = Bytes::from_static(br#"{"a":[1,2]}"#);
        Fetched {
            result: Ok(Box::new(Answer {
                status: 200,
                headers: HeaderMap::new(),
                body: Body::check(bytes, demand, exchange.route.json_limits).ok(),
                held: None,
                lasting: None,
            })),
            attempts: 1,
            note: None,
        }
    }

    async fn open(&self, _: Arc<Exchange>, body: StreamedRequest) -> Opened {
        if let StreamedRequest::Stream(body) = body
            && body.collect().await.is_err()
        {
            return Opened {
                result: Err(CallError::new(Code::Reset)),
                attempts: 1,
                note: None,
                covered: None,
            };
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let body = Full::new(Bytes::from_static(b"passed"));
        Opened {
            result: Ok(Head {
                status: 200,
                headers: HeaderMap::new(),
                body: body.map_err(|never| match never {}).boxed_unsync(),
            }),
            attempts: 1,
            note: None,
            covered: None,
        }
    }
}

/// What the client does when it has sent its bytes.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Wait,
}

pub fn hold(bytes: &[u8]) {
    let is_two = bytes.starts_with(PREFACE);
    let most = match is_two {
        true => heads_of_two(&bytes[PREFACE.len()..]),
        false => whole_requests(bytes),
    };
    // At once and then closed; in drops and then silent.
    for (pipe, after) in [
        (64 * 1024, After::Close),
        (1 + bytes.len() % 97, After::Wait),
    ] {
        let (answers, calls) = on_paused_time(talk(bytes, pipe, after));
        assert!(calls <= most, "{calls} calls, {most} requests");
        match is_two {
            true => check_frames(&answers),
            false => check_answers(&answers),
        }
    }
}

/// All that is answered, and how many calls are made for it.
async fn talk(bytes: &[u8], pipe: usize, after: After) -> (Vec<u8>, usize) {
    let (near, far) = duplex(pipe);
    let (mut reader, mut writer) = tokio::io::split(near);
    let (service, drain) = (Arc::new(Service::default()), Drain::default());
    let peer = "192.0.2.7:9".parse().unwrap();
    let server = Arc::new(server(service.clone(), drain.clone()));
    let serve = connection::run(far, peer, &TABLE.server, server, &drain);
    let send = async {
        let _ = writer.write_all(bytes).await;
        if after == After::Close {
            let _ = writer.shutdown().await;
        }
    };
    let mut answers = Vec::new();
    let all = async { tokio::join!(serve, send, reader.read_to_end(&mut answers)) };
    let (.., read) = timeout(LONGEST, all).await.expect("the connection ends");
    read.expect("a pipe does not break");
    (answers, service.calls.load(Ordering::Relaxed))
}

fn server(fetch: Arc<Service>, drain: Drain) -> Server<Service> {
    let telemetry = Arc::new(Telemetry::new(Log::silent()));
    let state = State {
        generation: 1,
        table: TABLE.clone(),
        meters: Arc::new(telemetry.meters(&TABLE)),
        fetch,
    };
    Server::new(
        state,
        telemetry,
        drain,
        Memory::new(1 << 30),
        Workers::alone(),
    )
}

// === What is sent, read once more in the plainest way

/// How many requests stand in the bytes, whole and well-formed, before the first that is not.
fn whole_requests(bytes: &[u8]) -> usize {
    std::iter::successors(after_request(bytes), |rest| after_request(rest)).count()
}

/// What stands behind the first request (RFC 9112 §2.2, §6.3).
fn after_request(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let (head, rest) = cut(bytes, b"\r\n\r\n")?;
    // Every byte a character: values may have any byte above 127.
    let head: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let request_line: Vec<&str> = lines.next()?.split(' ').collect();
    let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
    let all = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|field| field.0 == name);
        named.map(|field| field.1).collect()
    };
    match (&request_line[..], all("host").len()) {
        ([_, _, "HTTP/1.1"], 1) | ([_, _, "HTTP/1.0"], 0 | 1) => {}
        _ => return None,
    }
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some(rest),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            rest.get(length.parse().ok()?..)
        }
        ([], ["chunked"]) => after_chunks(rest),
        _ => None,
    }
}

/// Name and value, in lower case where case does not count.
fn field(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_broken = line.contains(['\r', '\n', '\0']) || name.contains([' ', '\t']);
    let value = value.trim_matches([' ', '\t']);
    let value = match value.eq_ignore_ascii_case("chunked") {
        true => "chunked",
        false => value,
    };
    (!is_broken).then(|| (name.to_ascii_lowercase(), value))
}

/// What stands behind the last chunk and its trailers (RFC 9112 §7.1).
fn after_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, after) = cut(rest, b"\r\n")?;
        let size = line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?.trim_end(), 16).ok()?;
        if size == 0 {
            return after_trailers(after);
        }
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn after_trailers(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, after) = cut(rest, b"\r\n")?;
        if line.is_empty() {
            return Some(after);
        }
        rest = after;
    }
}

/// What stands before and behind the first `mark`.
fn cut<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|part| part == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

/// How many HEADERS frames stand in the bytes (RFC 9113 §4.1, §6.2).
fn heads_of_two(bytes: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = bytes;
    while let Some((kind, after)) = after_frame(rest) {
        count += usize::from(kind == 1);
        rest = after;
    }
    count
}

/// The type of the first frame, and what stands behind it.
fn after_frame(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [high, middle, low, kind, _, _, _, _, _, rest @ ..] = bytes else {
        return None;
    };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    Some((*kind, rest.get(length as usize..)?))
}

// === What is answered

/// One answer after the other, each with a status line and a body that is all there.
fn check_answers(mut rest: &[u8]) {
    while !rest.is_empty() {
        let (head, body) = cut(rest, b"\r\n\r\n")
            .unwrap_or_else(|| panic!("a head ends: {}", rest.escape_ascii()));
        let head = std::str::from_utf8(head).expect("nothing of a client's is in a head");
        check_status_line(head.split("\r\n").next().unwrap());
        rest = after_body(head, body);
    }
}

fn check_status_line(line: &str) {
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .or(line.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
        .filter(|status| (100..600).contains(status));
    assert!(status.is_some_and(|status| status != 500), "{line:?}");
}

fn after_body<'b>(head: &str, body: &'b [u8]) -> &'b [u8] {
    let value = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name));
    if value("transfer-encoding: ").is_some() {
        return after_chunks(body).expect("the chunks are whole");
    }
    let length = value("content-length: ").map_or(0, |length| length.parse().expect("a length"));
    // The answer to HEAD has the length and no body; no body of ours begins like an answer.
    match body.is_empty() || body.starts_with(b"HTTP/1.") {
        true => body,
        false => body.get(length..).expect("the body is whole"),
    }
}

/// Frames and nothing else, the first one SETTINGS (RFC 9113 §3.4).
fn check_frames(mut rest: &[u8]) {
    let is_settings = |bytes| after_frame(bytes).is_some_and(|(kind, _)| kind == 4);
    assert!(rest.is_empty() || is_settings(rest), "{rest:?}");
    while !rest.is_empty() {
        let (_, after) = after_frame(rest).expect("a frame is whole");
        rest = after;
    }
}
