//! The client's side: drain, slow heads, and messages whose framing is not clear.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, interval, timeout};

use crate::client::Ask;
use crate::faulty::behaviour::Behaviour;
use crate::faulty::{Faulty, Plot, Wire};
use crate::fixture::Page;
use crate::invariants::SLACK;
use crate::stage::{alone, real};
use crate::support::Folder;
use crate::world::World;

/// How long something may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that serves.
struct Process {
    child: Child,
    /// Kept, so that it can go on talking.
    _talk: BufReader<ChildStderr>,
    listen: String,
    admin: String,
}

impl Process {
    fn start(folder: &Folder) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["serve", "--watch", "off"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        talk.read_line(&mut line).unwrap();
        let words = line.split_whitespace();
        let mut addresses = words.filter_map(|word| word.strip_prefix("http://"));
        let mut next = || {
            addresses
                .next()
                .map(|word| word.trim_end_matches(',').to_owned())
        };
        let (Some(listen), Some(admin)) = (next(), next()) else {
            panic!("no addresses in {line:?}");
        };
        Process {
            child,
            _talk: talk,
            listen,
            admin,
        }
    }

    fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The grace is 2 s in place of 5, so that the test is shorter; nothing else depends on it.
const DRAINED: &str = "
server: { listen: '127.0.0.1:0', shed: { lag: 5s }, drain: { grace: 2s, max: 30s } }
admin: { listen: '127.0.0.1:0' }
services: { u: { url: 'http://u.test' } }
---
route: GET /slow
timeout: 2s
calls: { user: { service: u, get: /slow, retry: false } }
response: { body: $.user.body }
---
route: GET /quick
response: { text: ok }
";
const GRACE: Duration = Duration::from_secs(2);

/// Its memory cannot be compared: each run is a process of its own.
#[test]
fn scenario_21_a_drain_loses_no_request() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    alone(|| runtime.block_on(drain()));
}

async fn drain() {
    let plot = Plot::always(Behaviour::json("7").after(500));
    let service = Faulty::new("u", plot, Instant::now());
    let address = service.listen().await.to_string();
    let folder = Folder::new();
    folder.write("routes.yaml", &DRAINED.replace("u.test", &address));
    let mut process = Process::start(&folder);
    let listen = process.listen.clone();

    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&listen).await;
        send(&mut stream, "/quick").await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        idle.push(stream);
    }
    let io = TokioIo::new(connect(&listen).await);
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut two, line) = builder.handshake::<_, Empty<Bytes>>(io).await.unwrap();
    let two_ended = tokio::spawn(line);
    let request = http::Request::get("http://shop/slow")
        .body(Empty::new())
        .unwrap();
    let two_answered = tokio::spawn(two.send_request(request));
    let mut busy = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&listen).await;
        send(&mut stream, "/slow").await;
        busy.push(stream);
    }
    service.until(|journal| journal.seen.len() == 51).await;

    let began = Instant::now();
    process.terminate();
    // The signal has to arrive first.
    let mut ready = connect(&process.admin).await;
    loop {
        send(&mut ready, "/readyz").await;
        let text = answer(&mut ready).await;
        match text.starts_with("HTTP/1.1 503") {
            true => break,
            false => assert!(began.elapsed() < SLACK, "{text}"),
        }
    }
    let fresh = || async {
        let mut stream = connect(&listen).await;
        send(&mut stream, "/quick").await;
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("connection: close"), "{text}");
    };
    fresh().await;
    for stream in &mut busy {
        let text = answer(stream).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert_eq!(answer(stream).await, "", "I2");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "I1");
    assert_eq!(two_answered.await.unwrap().unwrap().status(), 200);
    // It ends well only by GOAWAY.
    two_ended.await.unwrap().unwrap();
    fresh().await;
    assert!(began.elapsed() < GRACE, "the grace is not over");
    for stream in &mut idle {
        assert_eq!(answer(stream).await, "");
    }
    assert!(began.elapsed() >= GRACE);
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap());
    assert_eq!(ended.await.unwrap().code(), Some(0));
    let took = began.elapsed();
    assert!(took <= GRACE + Duration::from_secs(1), "{took:?}");
    assert!(TcpStream::connect(&listen).await.is_err());
    let journal = service.journal();
    assert_eq!((journal.seen.len(), journal.open()), (51, 0));
    service.stop();
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn send(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// An answer, as far as it comes in one piece; empty at the end of the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut bytes)).await;
    let count = read.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// The head's clock is 2 s in place of 10, and the byte comes each second in place of each 5: it is
/// the same clock, and the heads are as far from their end.
#[test]
fn scenario_22_slow_heads_cost_nobody_else_anything() {
    const CLOCK: Duration = Duration::from_secs(2);
    real(async || {
        let page = Page {
            server: "timeouts: { headers: 2s }",
            more: "---\nroute: GET /quick\nname: quick\nresponse: { text: ok }\n",
            ..Page::default()
        };
        let world = World::real(&page, &[]).await;
        let files = open_files();
        let mut slow = Vec::new();
        for _ in 0..1000 {
            let began = Instant::now();
            let wire = world.connect(Ask::get("/").peer).await;
            slow.push(tokio::spawn(trickle(wire, began)));
        }
        let opening = world.now();
        let mut times = Vec::new();
        while slow.iter().any(|one| !one.is_finished()) {
            let got = world.ask(Ask::get("/quick").within(2000)).await;
            assert_eq!(got.status, 200);
            times.push(got.took());
        }
        // What else the machine does only adds: were it the slow ones, no fifty would all be quick.
        let fifties = times.chunks_exact_mut(50).map(|fifty| {
            fifty.sort_unstable();
            fifty[fifty.len() * 99 / 100]
        });
        let p99 = fifties.min().expect("fifty were answered");
        assert!(p99 < Duration::from_millis(20), "{p99:?}");
        for took in join_all(slow).await {
            let took = took.unwrap();
            assert!(took >= CLOCK, "{took:?}");
            // The clock runs from when the proxy took the connection, at the latest when all were
            // open; and a thousand that end at once keep two busy cores at work for a while. A clock
            // that began anew with each byte would never end one of them.
            let most = CLOCK + opening + Duration::from_secs(3);
            assert!(took <= most, "{took:?} {opening:?}");
        }
        world
            .until("files are closed", || open_files() <= files)
            .await;
        world.check().await
    });
}

/// Sends a byte of a head now and then; ends with the connection, and says how long it lasted.
async fn trickle(mut wire: Box<dyn Wire>, began: Instant) -> Duration {
    let mut bytes = b"GET /quick HTTP/1.1\r\nhost: shop\r\n".iter();
    let mut pace = interval(Duration::from_secs(1));
    let mut unread = [0; 1024];
    loop {
        tokio::select! {
            read = wire.read(&mut unread) => match read {
                Ok(0) | Err(_) => return began.elapsed(),
                Ok(_) => {}
            },
            _ = pace.tick() => {
                // An end shows when it is read.
                let _ = wire.write_all(&[*bytes.next().unwrap()]).await;
            }
        }
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What stands between a request line and the end of the message.
const UNCLEAR: [(&str, &str); 14] = [
    (
        "both",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "xchunked",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "lengths",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    ),
    (
        "a sign",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ncontent-length: +2\r\n\r\n{}",
    ),
    ("no host", "GET /page/7 HTTP/1.1\r\naccept: */*\r\n\r\n"),
    (
        "two hosts",
        "GET /page/7 HTTP/1.1\r\nhost: shop\r\nhost: shop\r\n\r\n",
    ),
    ("bare LF", "GET /page/7 HTTP/1.1\nhost: shop\n\n"),
    (
        "one bare LF",
        "GET /page/7 HTTP/1.1\r\nhost: shop\naccept: */*\r\n\r\n",
    ),
    (
        "a fold",
        "GET /page/7 HTTP/1.1\r\nhost: shop\r\naccept: a,\r\n b\r\n\r\n",
    ),
    (
        "chunk size",
        "POST /sign-up HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ),
    (
        "NUL",
        "GET /page/7 HTTP/1.1\r\nhost: shop\r\naccept: a\0b\r\n\r\n",
    ),
    (
        "CR",
        "GET /page/7 HTTP/1.1\r\nhost: shop\r\naccept: a\rb\r\n\r\n",
    ),
    (
        "absolute",
        "GET http://evil/page/7 HTTP/1.1\r\nhost: shop\r\n\r\n",
    ),
];

#[test]
fn scenario_23_unclear_framing_reaches_no_service() {
    real(async || {
        let page = Page {
            more: "---\nroute: POST /sign-up\nname: sign-up\ncalls:\n  user: { service: u, post: /users }\n\
                   response: { body: $.user.body }\n",
            ..Page::default()
        };
        let world = World::real(&page, &[]).await;
        for (name, text) in UNCLEAR {
            let mut wire = world.connect(Ask::get("/").peer).await;
            // What follows on the connection is not taken for a request.
            let next = Ask::get("/page/8").text("next");
            wire.write_all(format!("{text}{next}").as_bytes())
                .await
                .unwrap();
            let mut bytes = Vec::new();
            let read = timeout(PATIENCE, wire.read_to_end(&mut bytes)).await;
            // A reset is an end too.
            let _ = read.unwrap_or_else(|_| panic!("{name}: the connection stays open"));
            let answer = String::from_utf8_lossy(&bytes);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
                "{name}: {answer}"
            );
            assert!(answer.matches("HTTP/1.1").count() <= 1, "{name}: {answer}");
        }
        for (name, service) in &world.services {
            assert!(service.journal().connections.is_empty(), "{name}");
        }
        assert_eq!(world.get("/page/7").await.status, 200);
        world.check().await
    });
}
