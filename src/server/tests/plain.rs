//! Plain requests, which are read and answered without hyper: as it would do it, and what is our own to
//! take care of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::engine::fetch::{ByteStream, StreamError};
use crate::plan::settings;
use crate::server::answer::Answer;
use crate::server::connection::Serve;
use crate::server::drain::Drain;
use crate::server::link::Ticket;
use crate::server::tests::fuzz;
use crate::server::tests::requests::ROUTES;
use crate::server::tests::wire::{Seen, Wire};
use crate::server::tests::world::{By, World};

const GET: &str = "GET /a HTTP/1.1\r\nhost: h\r\n\r\n";

/// The lines of an answer in order, but for those that tell the time, and whether the connection is
/// ended with it.
async fn answered(world: &World, by: By, request: &str) -> Vec<String> {
    let (mut client, _task) = world.connect_by(by);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let ended = timeout(Duration::from_secs(30), client.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let tells_time = |line: &str| line.starts_with("date: ") || line.starts_with("server-timing");
    let told = text.lines().filter(|line| !tells_time(line));
    let mut lines: Vec<String> = told.map(str::to_owned).collect();
    lines[1..].sort();
    lines.push(format!("ended: {}", ended.is_ok()));
    assert_eq!(text.matches("\ndate: ").count(), 1, "{text}");
    lines
}

#[tokio::test(start_paused = true)]
async fn they_are_answered_as_by_hyper() {
    let world = World::new(ROUTES);
    for request in [
        "GET /items/a?q=1",
        "HEAD /items/a",
        "GET /items/slow-5000",
        "GET /items/down",
        "GET /items/panic",
        "DELETE /orders",
        "GET /passed/thing",
        "HEAD /passed/sized",
        "GET /passed/dated",
        "GET /passed/down",
        "GET /passed/break",
        "GET /reset",
        "GET /nowhere",
        "PUT /orders",
        "OPTIONS /orders",
        "OPTIONS *",
        "GET http://h/client",
        "GET /kept",
        "GET /for",
    ] {
        for ends in ["", "connection: close\r\n"] {
            let text = format!("{request} HTTP/1.1\r\nhost: h\r\nx-request-id: r\r\n{ends}\r\n");
            let ours = answered(&world, By::Us, &text).await;
            assert_eq!(ours, answered(&world, By::Hyper, &text).await, "{text}");
        }
    }
}

/// What came back, what the service saw, and whether the connection ended, of bytes that arrive in
/// pieces.
async fn talk(
    by: By,
    bytes: &[u8],
    cuts: &[usize],
    half_closes: bool,
) -> (Vec<String>, Vec<Seen>, bool) {
    let mut wire = Wire::by(by, settings::Server::default(), 64 * 1024);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        wire.send(&bytes[piece[0]..piece[1]]).await;
        sleep(Duration::from_millis(1)).await;
    }
    if half_closes {
        let _ = wire.client.shutdown().await;
    }
    let mut back = Vec::new();
    let ended = timeout(Duration::from_secs(100), wire.client.read_to_end(&mut back)).await;
    drop(wire.client);
    wire.task.await.expect("nothing panics");
    let text = String::from_utf8_lossy(&back).into_owned();
    let answers = text.split("HTTP/1.").map(|answer| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let mut lines: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with("date"))
            .collect();
        lines.sort_unstable();
        format!("{lines:?} {body}")
    });
    let seen = wire.echo.seen.lock().unwrap().clone();
    (answers.collect(), seen, ended.is_ok())
}

#[test]
fn whatever_comes_is_taken_as_by_hyper() {
    let cuts = prop::collection::vec(any::<usize>(), 0..4);
    let strategy = (fuzz::stream(), cuts, any::<bool>());
    let result = fuzz::runner(1500).run(&strategy, |(bytes, cuts, half_closes)| {
        let [ours, theirs] = [By::Us, By::Hyper].map(|by| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(talk(by, &bytes, &cuts, half_closes))
        });
        prop_assert_eq!(ours, theirs, "{}", bytes.escape_ascii());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_more_is_left_to_hyper() {
    for (request, starts, says_end) in [
        ("GET /a HTTP/1.0\r\nhost: h\r\n\r\n", "HTTP/1.0 200", false),
        (
            "GET /a HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, close\r\n\r\n",
            "HTTP/1.1 200",
            true,
        ),
        (
            "GET /a HTTP/1.1\r\nhost: h\r\nconnection: x\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
            true,
        ),
        (
            "GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
            true,
        ),
    ] {
        let mut wire = Wire::open();
        wire.send(request).await;
        let answer = timeout(Duration::from_secs(1), wire.rest())
            .await
            .expect("it ends");
        assert!(answer.starts_with(starts), "{answer}");
        assert_eq!(
            answer.contains("\r\nconnection: close\r\n"),
            says_end,
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_an_answer_is_made_is_next() {
    let mut wire = Wire::open();
    wire.send("GET /slow/2 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    wire.send(GET).await;
    assert_eq!(wire.answer().await.1, "/slow/2");
    assert_eq!(wire.answer().await.1, "/a");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_on_and_on_is_not_read_ahead() {
    let mut wire = Wire::with(settings::Server::default(), 1024);
    wire.send("GET /slow/20 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    sleep(Duration::from_millis(1)).await;
    let more = wire.send(GET.repeat(10_000));
    assert!(timeout(Duration::from_secs(10), more).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn after_the_last_answer_the_rest_is_read_for_a_moment() {
    let mut wire = Wire::open();
    let last = "GET /large HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    wire.send(format!("{last}{GET}")).await;
    wire.rest().await;
    assert!(wire.client.write_all(&[0; 100_000]).await.is_ok());
    assert_eq!(wire.seen(), 1);
    wire.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_cannot_be_held_is_refused_and_ends_the_connection() {
    let routes =
        "server: { limits: { header_bytes: 1MiB } }\n---\nroute: GET /a\nresponse: { text: a }";
    let world = World::new(routes);
    let name = "x".repeat(70_000);
    for before in [0, 1] {
        let (mut client, task) = world.connect();
        let all = format!(
            "{}GET /a HTTP/1.1\r\nhost: h\r\n{name}: y\r\n\r\n{GET}",
            GET.repeat(before)
        );
        client.write_all(all.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        task.await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let answers = (
            text.matches("HTTP/1.1 200 ").count(),
            text.matches("HTTP/1.1 431 ").count(),
        );
        assert_eq!(answers, (before, 1), "{text}");
    }
}

/// Answers every request with the stream that it makes.
struct Streams<M>(M);

impl<M: Fn() -> ByteStream + Send + Sync + 'static> Serve for Streams<M> {
    fn serve(
        self: Arc<Self>,
        ticket: Ticket,
        _head: Box<Parts>,
        _body: Option<Incoming>,
    ) -> impl Future<Output = Response<Answer>> + Send + Unpin + 'static {
        std::future::ready(Response::new(Answer::streamed((self.0)(), ticket)))
    }
}

/// A client of [`Streams`] that has asked.
async fn asked(
    by: By,
    pipe: usize,
    make: impl Fn() -> ByteStream + Send + Sync + 'static,
) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, io) = duplex(pipe);
    let service = Arc::new(Streams(make));
    let task = tokio::spawn(by.run(io, settings::Server::default(), service, Drain::default()));
    client.write_all(GET.as_bytes()).await.unwrap();
    (client, task)
}

/// Pieces, each so many seconds after the one before was taken.
fn timed<const COUNT: usize>(pieces: [(u64, Bytes); COUNT]) -> ByteStream {
    let pieces = futures_util::stream::iter(pieces).then(|(seconds, piece)| async move {
        sleep(Duration::from_secs(seconds)).await;
        Ok::<_, StreamError>(Frame::data(piece))
    });
    ByteStream::new(StreamBody::new(pieces.boxed()))
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_wait_for_its_body() {
    let make = || timed([(3, Bytes::from_static(b"a")), (3, Bytes::from_static(b"b"))]);
    let (mut client, _task) = asked(By::Us, 1024, make).await;
    let started = Instant::now();
    let mut some = [0; 5];
    client.read_exact(&mut some).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_between_two_pieces_is_noticed() {
    let make = || timed([(0, Bytes::from_static(b"a")), (8, Bytes::from_static(b"b"))]);
    let (client, task) = asked(By::Us, 1024, make).await;
    let started = Instant::now();
    sleep(Duration::from_millis(2)).await;
    drop(client);
    task.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// Twenty seconds for the first piece, of which the service knows nothing.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_slow_client_is_not_the_silence_of_the_service() {
    let make = || {
        timed([
            (0, Bytes::from(vec![b'x'; 20 * 1024])),
            (2, Bytes::from_static(b"end")),
        ])
    };
    for by in [By::Us, By::Hyper] {
        let (mut client, _task) = asked(by, 1024, make).await;
        let mut got = Vec::new();
        let mut some = [0; 1024];
        while !got.ends_with(b"0\r\n\r\n") {
            sleep(Duration::from_secs(1)).await;
            let count = client.read(&mut some).await.unwrap();
            assert!(count > 0, "{by:?}: cut after {} bytes", got.len());
            got.extend_from_slice(&some[..count]);
        }
    }
}

/// By hyper as by us: the request is over when its answer is handed over, however it is taken.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_keeps_nothing_but_its_bytes() {
    let text = "x".repeat(60 * 1024);
    let world = World::new(&format!(
        "services: {{ shop: {{ url: 'http://127.0.0.1:1' }} }}\n---\nroute: GET /a\ncalls:\n  \
         note: {{ service: shop, post: /note, detached: true }}\n\
         response: {{ body: {{ a: {text}, b: {text} }} }}"
    ));
    for (by, calls) in [(By::Us, 1), (By::Hyper, 2)] {
        let (mut client, _task) = world.connect_by(by);
        client.write_all(GET.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.fetch.calls().len(), calls, "{by:?}");
        assert_eq!(world.server.counts().requests(), 0, "{by:?}");
        assert!(world.memory.reserved() > 100 * 1024, "{by:?}");
    }
}
