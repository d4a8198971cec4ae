//! What is logged and counted of whole runs.

#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anabranch::app::{self, Options, Running};
use anabranch::reload::watch::Mode;
use anabranch::telemetry::log::{Form, Log};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use sink::Sink;

/// One service behind all calls: what it answers stands in the path.
const ROUTES: &str = "\
route: GET /page/{main}
name: page
calls:
  main: { service: s, get: \"/{{request.path.main}}\", retry: false }
  side: { service: s, get: /500, optional: true }
  spare: { service: s, get: /404, fallback: [ { value: 1 } ] }
  never: { service: s, get: /200, when: \"$.request.method == 'POST'\" }
response:
  body: { all: [ $.main.body, $.side.body, $.spare.body, $.never.body ] }
---
route: GET /list
name: list
calls:
  stock: { service: s, for_each: p in $.request.query_list.status, max_items: 9, get: \"/{{p}}\", optional: true }
response:
  body: { all: $.stock }
---
route: GET /later
name: later
calls:
  told: { service: s, get: /503, retry: false, detached: true }
response: { text: ok }
";

struct Fixture {
    folder: PathBuf,
    running: Running,
    sink: Sink,
}

impl Fixture {
    async fn start(form: Form) -> Fixture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-telemetry-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let service = serve_statuses().await;
        let gateway = format!(
            "server: {{ listen: 127.0.0.1:0 }}\nadmin: {{ listen: 127.0.0.1:0 }}\n\
             services: {{ s: {{ url: \"http://{service}\" }} }}\n"
        );
        fs::write(folder.join("gateway.yaml"), gateway).unwrap();
        fs::write(folder.join("routes.yaml"), ROUTES).unwrap();
        let sink = Sink::default();
        let options = Options {
            paths: vec![folder.clone()],
            watch: Mode::Off,
            log: Log::to(sink.clone(), form),
            workers: 2,
        };
        let running = match app::start(options).await {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        };
        Fixture {
            folder,
            running,
            sink,
        }
    }

    async fn get(&self, path: &str) -> String {
        ask(self.running.listen, path).await
    }

    async fn metrics(&self) -> String {
        ask(self.running.admin, "/metrics").await
    }

    /// The lines of requests, the newest last. A line is queued when its answer was written.
    fn lines(&self) -> Vec<String> {
        self.running.telemetry.log().flush(Duration::from_secs(10));
        let text = String::from_utf8(self.sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A service that answers `GET /NUMBER` with that status.
async fn serve_statuses() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head[5..8].to_owned();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{status}",
        status.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    body.to_owned()
}

fn call<'l>(line: &'l Value, name: &str) -> &'l Value {
    let calls = line["calls"].as_array().unwrap();
    let found = calls.iter().find(|call| call["name"] == name);
    found.unwrap_or_else(|| panic!("`{name}` in {line}"))
}

#[tokio::test]
async fn a_line_tells_of_the_request_and_of_each_call() {
    let fixture = Fixture::start(Form::Json).await;
    fixture.get("/page/200?secret=1").await;
    let lines = fixture.lines();
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    for (field, expected) in [
        ("message", "\"request\""),
        ("method", "\"GET\""),
        ("path", "\"/page/200\""),
        ("route", "\"page\""),
        ("status", "200"),
        ("generation", "1"),
        ("code", "null"),
        ("degraded", "\"side=service_5xx, spare=fallback\""),
        ("client", "\"127.0.0.1\""),
    ] {
        assert_eq!(line[field].to_string(), expected, "{field}");
    }
    for (name, outcome, status, code, attempts) in [
        ("main", "live", "200", "null", "1"),
        ("side", "failed", "500", "\"service_5xx\"", "1"),
        ("spare", "fallback", "404", "\"service_4xx\"", "1"),
        ("never", "skipped", "null", "null", "0"),
    ] {
        let call = call(&line, name);
        assert_eq!(call["outcome"], outcome, "{name}");
        assert_eq!(call["status"].to_string(), status, "{name}");
        assert_eq!(call["code"].to_string(), code, "{name}");
        assert_eq!(call["attempts"].to_string(), attempts, "{name}");
    }
}

#[tokio::test]
async fn a_person_reads_the_same_on_one_line() {
    let fixture = Fixture::start(Form::Text).await;
    fixture.get("/page/200").await;
    let lines = fixture.lines();
    let line = lines.last().unwrap();
    assert!(line.contains(" 200 GET /page/200 page "), "{line}");
    for part in [
        "  main ",
        " · side service_5xx ",
        " · spare service_4xx→fallback ",
        " · never skipped",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test]
async fn each_failed_call_is_counted_once_under_the_code_of_its_entry() {
    let fixture = Fixture::start(Form::Json).await;
    fixture.get("/page/200").await;
    fixture.get("/page/503").await;
    let metrics = fixture.metrics().await;
    for line in [
        "anabranch_requests_total{route=\"page\",status=\"200\"} 1",
        "anabranch_requests_total{route=\"page\",status=\"503\"} 1",
        "anabranch_request_duration_seconds_count{route=\"page\"} 2",
        "anabranch_degraded_total{route=\"page\"} 1",
        "anabranch_calls_total{route=\"page\",call=\"main\",service=\"s\",outcome=\"live\",reason=\"-\"} 1",
        "anabranch_calls_total{route=\"page\",call=\"main\",service=\"s\",outcome=\"failed\",reason=\"service_unavailable\"} 1",
        "anabranch_call_duration_seconds_count{route=\"page\",call=\"main\"} 2",
        "anabranch_attempts_total{service=\"s\",kind=\"first\",reason=\"-\"}",
        "anabranch_in_flight{service=\"s\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn elements_are_counted_one_by_one() {
    let fixture = Fixture::start(Form::Json).await;
    fixture.get("/list?status=200&status=404&status=201").await;
    let lines = fixture.lines();
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let each = call(&line, "stock");
    assert_eq!(each["items"], 3, "{line}");
    assert_eq!(each["failed_items"], 1, "{line}");
    let metrics = fixture.metrics().await;
    for line in [
        "anabranch_calls_total{route=\"list\",call=\"stock\",service=\"s\",outcome=\"live\",reason=\"-\"} 2",
        "anabranch_calls_total{route=\"list\",call=\"stock\",service=\"s\",outcome=\"failed\",reason=\"service_4xx\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_call_after_the_answer_is_counted_and_in_no_line() {
    let fixture = Fixture::start(Form::Json).await;
    assert_eq!(fixture.get("/later").await, "ok");
    let lines = fixture.lines();
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(line["calls"], Value::Array(vec![]));
    let counted = "anabranch_calls_total{route=\"later\",call=\"told\",service=\"s\",outcome=\"failed\",reason=\"service_unavailable\"} 1";
    let seen = async {
        while !fixture.metrics().await.contains(counted) {
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    seen.expect("the call is counted in time");
}
