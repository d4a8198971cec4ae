//! What a service sends, of any bytes, read by the real client: over in time, and what it calls a
//! success is JSON within the limits.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anabranch::downstream::dial::Dial;
use anabranch::downstream::observe::Silent;
use anabranch::downstream::tasks::Tasks;
use anabranch::downstream::{Client, Process};
use anabranch::engine::code::Code;
use anabranch::engine::fetch::{Exchange, Fetch, Made, StreamedRequest};
use anabranch::plan::{CallId, Route, Table};
use anabranch::policy::memory::Memory;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{identity, on_paused_time, table};

static TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| {
    table(
        "
route: GET /
calls:
  one: { get: / }
  two: { get: / }
response: { body: [ $.one.body, $.two.body ] }
---
route: GET /raw
calls:
  one: { get: / }
response: { pass: one }
---
services:
  one: { url: http://one/base, max_body: 1KiB }
  two: { url: http://two/base, http: 2, max_body: 1KiB }
",
    )
});

#[allow(dead_code, reason = "guided by coverage the fuzzer finds its own")]
pub const TOKENS: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 503 No\r\n",
    "HTTP/1.0 200 OK\r\n",
    "content-length: 0\r\n",
    "content-length: 2\r\n",
    "content-length: 2048\r\n",
    "transfer-encoding: chunked\r\n",
    "content-type: application/json\r\n",
    "content-encoding: gzip\r\n",
    "connection: close\r\n",
    "retry-after: 1\r\n",
    "0\r\n\r\n",
    "5\r\n",
    "ffffffffffffffff\r\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    ",",
    ":",
    "null",
    "true",
    "1e999",
    "-",
    "0",
    " ",
    "é",
    "\u{feff}",
    "\0\0\0\u{4}\0\0\0\0\0",
    "\0\0\u{1}\u{1}\u{4}\0\0\0\u{1}",
];

const TIMEOUT: Duration = Duration::from_secs(5);
/// The clock of the runtime rounds up to it.
const TICK: Duration = Duration::from_millis(1);
/// A passed body may stand still for `write_stall`, and after its last byte once more.
const PASSED: Duration = Duration::from_secs(60);

/// A service that sends these bytes once it was asked something.
#[derive(Clone)]
struct Service {
    bytes: Bytes,
    pipe: usize,
    after: After,
}

/// What the service does when it has sent them.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Wait,
}

impl Dial for Service {
    type Io = DuplexStream;

    async fn dial(&self, _: &str, _: u16, _: Instant) -> Result<DuplexStream, Code> {
        let (near, far) = duplex(self.pipe);
        tokio::spawn(self.clone().speak(far));
        Ok(near)
    }
}

impl Service {
    async fn speak(self, far: DuplexStream) {
        let (mut reader, mut writer) = tokio::io::split(far);
        let listen = async {
            let mut asked = [0; 1024];
            while reader.read(&mut asked).await.is_ok_and(|read| read > 0) {}
        };
        let send = async {
            // The clock goes on once the whole request is there.
            sleep(TICK).await;
            let _ = writer.write_all(&self.bytes).await;
        };
        match self.after {
            After::Close => tokio::select! { () = listen => {}, () = send => {} },
            After::Wait => drop(tokio::join!(listen, send)),
        }
    }
}

fn client(service: Service) -> Client<Service> {
    fastrand::seed(7);
    let process = Process::new(Tasks::new(8), Memory::new(1 << 30));
    let client = Client::new(&TABLE, Arc::new(service), process, Arc::new(Silent));
    client.expect("no service has a certificate")
}

pub fn hold(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    // At once and then closed; in drops and then silent.
    for (pipe, after) in [
        (64 * 1024, After::Close),
        (1 + bytes.len() % 97, After::Wait),
    ] {
        let service = || Service {
            bytes: bytes.clone(),
            pipe,
            after,
        };
        on_paused_time(check_whole(service(), CallId(0)));
        on_paused_time(check_whole(service(), CallId(1)));
        on_paused_time(check_passed(service()));
    }
}

async fn check_whole(service: Service, call: CallId) {
    let began = Instant::now();
    let fetched = client(service)
        .fetch(exchange(&TABLE.routes[0], call).into())
        .await;
    check_time(began);
    let Ok(answer) = fetched.result else { return };
    assert!((200..300).contains(&answer.status), "{}", answer.status);
    if let Some(body) = answer.body {
        let most = TABLE.routes[0].calls[call.0].max_body;
        assert!(body.bytes().len() <= most);
        let text = std::str::from_utf8(body.bytes()).expect("JSON is UTF-8");
        serde_json::from_str::<IgnoredAny>(text).expect("a success is JSON");
    }
}

async fn check_passed(service: Service) {
    let began = Instant::now();
    let exchange = exchange(&TABLE.routes[1], CallId(0));
    let opened = client(service)
        .open(exchange.into(), StreamedRequest::Buffered)
        .await;
    check_time(began);
    if let Ok(head) = opened.result {
        let body = timeout(PASSED, head.body.collect()).await;
        let _ = body.expect("a body ends");
    }
}

fn check_time(began: Instant) {
    let took = began.elapsed();
    assert!(took <= TIMEOUT + TICK, "it took {took:?}");
}

fn exchange(route: &Arc<Route>, call: CallId) -> Exchange {
    Exchange {
        route: route.clone(),
        call,
        target: "/".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        deadline: Instant::now() + TIMEOUT,
        ends_with_route: false,
        made: Made::default(),
        identity: Arc::new(identity()),
    }
}
