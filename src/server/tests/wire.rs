//! A connection with guard and hyper, over a pipe and on virtual time, in front of a service that
//! repeats what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::plan::settings;
use crate::server::answer::Answer;
use crate::server::connection::Serve;
use crate::server::drain::{Drain, Phase};
use crate::server::link::Ticket;
use crate::server::tests::world::By;

/// A request as it came to the service, with its body read to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub struct Echo {
    pub seen: Mutex<Vec<Seen>>,
    /// Requests whose answer nobody waited for.
    gone: Arc<Mutex<usize>>,
}

impl Serve for Echo {
    fn serve(
        self: Arc<Self>,
        ticket: Ticket,
        parts: Box<Parts>,
        body: Option<Incoming>,
    ) -> impl Future<Output = Response<Answer>> + Send + Unpin + 'static {
        Box::pin(async move {
            if let Some(refusal) = ticket.refusal() {
                return refused(refusal.code.status(), ticket);
            }
            let mut gone = Gone(Some(self.gone.clone()));
            if let Some(seconds) = parts.uri.path().strip_prefix("/slow/") {
                sleep(Duration::from_secs(seconds.parse().unwrap())).await;
            }
            if parts.uri.path() == "/unread" {
                gone.0 = None;
                return Response::new(Answer::plain(large(), ticket));
            }
            let body = match body {
                Some(body) => body.collect().await.map(|body| body.to_bytes()),
                None => Ok(Bytes::new()),
            };
            let Ok(body) = body else {
                gone.0 = None;
                let status = ticket
                    .refusal()
                    .map_or(499, |refusal| refusal.code.status());
                return refused(status, ticket);
            };
            self.seen.lock().unwrap().push(Seen {
                method: parts.method.to_string(),
                target: parts.uri.to_string(),
                headers: parts
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                    .collect(),
                body: body.to_vec(),
            });
            gone.0 = None;
            let bytes = match parts.uri.path() {
                "/large" => large(),
                path => Bytes::from(path.to_owned()),
            };
            Response::new(Answer::plain(bytes, ticket))
        })
    }
}

fn large() -> Bytes {
    Bytes::from("x".repeat(1 << 20))
}

struct Gone(Option<Arc<Mutex<usize>>>);

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(gone) = &self.0 {
            *gone.lock().unwrap() += 1;
        }
    }
}

fn refused(status: u16, ticket: Ticket) -> Response<Answer> {
    let mut response = Response::new(Answer::plain(Bytes::from_static(b"refused"), ticket));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A client's end of a connection.
pub struct Wire {
    pub client: DuplexStream,
    pub echo: Arc<Echo>,
    pub drain: Drain,
    pub task: JoinHandle<()>,
    pub opened: Instant,
}

impl Wire {
    pub fn open() -> Wire {
        Wire::with(settings::Server::default(), 64 * 1024)
    }

    pub fn with(settings: settings::Server, pipe: usize) -> Wire {
        Wire::by(By::Us, settings, pipe)
    }

    pub fn by(by: By, settings: settings::Server, pipe: usize) -> Wire {
        let (client, io) = duplex(pipe);
        let echo = Arc::new(Echo::default());
        let drain = Drain::default();
        let task = tokio::spawn(by.run(io, settings, echo.clone(), drain.clone()));
        Wire {
            client,
            echo,
            drain,
            task,
            opened: Instant::now(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // What the server does not read any more is no matter here.
        let _ = self.client.write_all(bytes.as_ref()).await;
    }

    /// One answer with a known length: status line and body.
    pub async fn answer(&mut self) -> (String, String) {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.client.read_u8().await.expect("an answer's head"));
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.client.read_exact(&mut body).await.unwrap();
        let status = head.lines().next().unwrap().to_owned();
        (status, String::from_utf8(body).unwrap())
    }

    /// All that comes until the server ends the connection.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.client.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn seen(&self) -> usize {
        self.echo.seen.lock().unwrap().len()
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_connection_serves_one_request_after_the_other() {
    let mut wire = Wire::open();
    for path in ["/a", "/b"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"))
            .await;
        let (status, body) = wire.answer().await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", path));
    }
    assert_eq!(wire.seen(), 2);
}

/// Scenario 23 of `resilience.md` §6, first as the first message, then behind a good one.
#[tokio::test(start_paused = true)]
async fn a_bad_message_is_refused_in_its_turn_and_ends_the_connection() {
    let rows: [(&str, u16); 20] = [
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +2\r\n\r\nab",
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: h\n\n", 400),
        ("GET / HTTP/1.1\r\nhost: h\r\nx: a\r\n b\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        ("BREW / HTTP/1.1\r\nhost: h\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nhost: h\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent_length: 3\r\n\r\n0\r\n\r\n",
            400,
        ),
    ];
    for (message, status) in rows {
        for before in [0, 1, 2] {
            let mut wire = Wire::open();
            let after = "GET /never HTTP/1.1\r\nhost: h\r\n\r\n";
            wire.send([&GET.repeat(before), message, after].concat())
                .await;
            for _ in 0..before {
                assert_eq!(wire.answer().await.1, "/a", "{message:?}");
            }
            let rest = wire.rest().await;
            assert!(
                rest.starts_with(&format!("HTTP/1.1 {status} ")),
                "{message:?}: {rest}"
            );
            assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{message:?}: {rest}");
            assert_eq!(wire.seen(), before, "{message:?}");
            wire.task.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_head_or_target_has_its_own_status() {
    let rows = [
        (
            format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(9000)),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
                "x".repeat(33_000)
            ),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(64)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(63)),
            200,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
                "x".repeat(32_000)
            ),
            200,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(8000)),
            200,
        ),
    ];
    for (message, status) in rows {
        let mut wire = Wire::open();
        wire.send(&message).await;
        let (line, _) = wire.answer().await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_refused() {
    for message in [
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let mut wire = Wire::open();
        wire.send(message).await;
        wire.client.shutdown().await.unwrap();
        let rest = wire.rest().await;
        assert!(rest.starts_with("HTTP/1.1 400 "), "{message:?}: {rest}");
        assert_eq!(wire.seen(), 0);
    }
}

/// Scenario 22.
#[tokio::test(start_paused = true)]
async fn heads_that_drip_are_cut_after_ten_seconds() {
    let mut wires: Vec<Wire> = (0..1000).map(|_| Wire::open()).collect();
    for byte in ["G", "E"] {
        for wire in &mut wires {
            wire.send(byte).await;
        }
        sleep(Duration::from_secs(5) - Duration::from_millis(1)).await;
    }
    assert!(wires.iter().all(|wire| !wire.task.is_finished()));
    for wire in &mut wires {
        let rest = wire.rest().await;
        assert!(rest.starts_with("HTTP/1.1 408 "), "{rest}");
    }
    assert_eq!(wires[0].opened.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_ends_quietly() {
    let mut wire = Wire::open();
    assert_eq!(wire.rest().await, "");
    assert_eq!(wire.opened.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_ten_seconds_from_its_first_byte() {
    let mut wire = Wire::open();
    wire.send(GET).await;
    wire.answer().await;
    sleep(Duration::from_secs(50)).await;
    wire.send("GET ").await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 408 "));
    assert_eq!(wire.opened.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_a_minute() {
    let mut wire = Wire::open();
    for _ in 0..2 {
        wire.send(GET).await;
        wire.answer().await;
        sleep(Duration::from_secs(30)).await;
    }
    assert_eq!(wire.rest().await, "");
    assert_eq!(wire.opened.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_its_answer_is_made() {
    let mut wire = Wire::open();
    wire.send("GET /slow/300 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(wire.answer().await.1, "/slow/300");
    wire.send(GET).await;
    assert_eq!(wire.answer().await.1, "/a");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_ends_its_request() {
    let mut wire = Wire::open();
    wire.send("GET /slow/300 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    sleep(Duration::from_millis(20)).await;
    drop(wire.client);
    wire.task.await.unwrap();
    assert!(wire.opened.elapsed() < Duration::from_millis(70));
    assert_eq!(*wire.echo.gone.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut() {
    let mut wire = Wire::with(settings::Server::default(), 1024);
    wire.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    sleep(Duration::from_secs(9)).await;
    let mut some = [0; 1024];
    wire.client.read_exact(&mut some).await.unwrap();
    (&mut wire.task).await.unwrap();
    assert_eq!(wire.opened.elapsed().as_secs(), 19);
}

#[tokio::test(start_paused = true)]
async fn requests_with_and_without_a_body_take_turns_on_a_connection() {
    let mut wire = Wire::open();
    let with_body =
        |path| format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc");
    let plain = |path| format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n");
    let all = [
        plain("/a"),
        plain("/b"),
        with_body("/c"),
        plain("/d"),
        with_body("/e"),
        plain("/f"),
    ];
    wire.send(all.concat()).await;
    for path in ["/a", "/b", "/c", "/d", "/e", "/f"] {
        assert_eq!(wire.answer().await, ("HTTP/1.1 200 OK".into(), path.into()));
    }
    let bodies: Vec<usize> = wire
        .echo
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| seen.body.len())
        .collect();
    assert_eq!(bodies, [0, 0, 3, 0, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_it_is_left_after_its_answer() {
    let mut wire = Wire::open();
    wire.send(
        "GET /a HTTP/1.1\r\nhost: h\r\nConnection: Close\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\n\r\n",
    )
    .await;
    let answers = wire.rest().await;
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
    assert!(answers.ends_with("\r\n\r\n/a"), "{answers}");
    assert_eq!(wire.seen(), 1);
    wire.task.await.unwrap();
}

/// The corpus of `tests/fuzz` has the input that found it: `upgrade-and-cut`.
#[tokio::test(start_paused = true)]
async fn an_early_answer_is_whole_also_where_the_request_names_an_upgrade() {
    let mut wire = Wire::with(settings::Server::default(), 1024);
    wire.send("POST /unread HTTP/1.1\r\nhost: h\r\nUpgrade: h2c\r\ncontent-length: 9\r\n\r\nsome")
        .await;
    let (status, body) = wire.answer().await;
    assert_eq!((status.as_str(), body.len()), ("HTTP/1.1 200 OK", 1 << 20));
}

#[tokio::test(start_paused = true)]
async fn expect_continue_is_answered_when_the_body_is_read() {
    let mut wire = Wire::open();
    wire.send("POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    let mut line = [0; 25];
    wire.client.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("ab").await;
    assert_eq!(wire.answer().await.1, "/a");
    assert_eq!(wire.echo.seen.lock().unwrap()[0].body, b"ab");
}

#[tokio::test(start_paused = true)]
async fn http_2_goes_through_on_the_same_port() {
    let Wire { client, echo, .. } = Wire::open();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    for path in ["/a", "/large"] {
        let request = Request::get(format!("http://h{path}"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), if path == "/a" { 2 } else { 1 << 20 });
    }
    assert_eq!(echo.seen.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_ends_when_idle() {
    let Wire {
        client,
        task,
        opened,
        ..
    } = Wire::open();
    let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(client),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    task.await.unwrap();
    assert_eq!(opened.elapsed().as_secs(), 60);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_idle_connections_and_waits_for_the_others() {
    let mut fresh = Wire::open();
    let mut idle = Wire::open();
    idle.send(GET).await;
    idle.answer().await;
    let mut busy = Wire::open();
    busy.send("GET /slow/3 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    sleep(Duration::from_millis(1)).await;
    for wire in [&fresh, &idle, &busy] {
        wire.drain.advance(Phase::Closing);
    }
    assert_eq!(fresh.rest().await, "");
    assert_eq!(idle.rest().await, "");
    assert!(idle.opened.elapsed() < Duration::from_secs(1));
    assert!(busy.rest().await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(busy.opened.elapsed().as_secs(), 3);
}
