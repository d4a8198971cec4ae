//! The server on loopback sockets, in real time, of two workers: who answers what, drain, the cap, a second
//! signal.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::server::accept::serve;
use crate::server::load::Strain;
use crate::server::tests::world::World;

const ROUTES: &str = "
server: { limits: { connections: 80 }, drain: { grace: 500ms, max: 20s } }
services: { shop: { url: 'http://127.0.0.1:1' } }
---
route: GET /{what}
timeout: 10s
calls: { thing: { service: shop, get: '/{{request.path.what}}', retry: false } }
response: { body: $.thing.body }
";

async fn start(world: &World) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(world.server.clone(), listener)))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn send(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// An answer as far as it comes in one piece.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

/// Waits until so many requests are under way.
async fn under_way(world: &World, requests: usize, connections: usize) {
    let counts = world.server.counts();
    while counts.requests() != requests || counts.connections() != connections {
        tokio::task::yield_now().await;
    }
}

/// Scenario 21 of `resilience.md` §6.
#[tokio::test]
async fn a_drain_loses_no_request() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, served) = start(&world).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(address).await;
        send(&mut stream, "/a").await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        idle.push(stream);
    }
    let (mut two, connection) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(connect(address).await),
    )
    .await
    .unwrap();
    let two_ended = tokio::spawn(connection);
    let request = Request::get("http://h/slow-700")
        .body(Empty::new())
        .unwrap();
    let two_answer = tokio::spawn(two.send_request(request));
    let mut busy = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(address).await;
        send(&mut stream, "/slow-700").await;
        busy.push(stream);
    }
    under_way(&world, 51, 71).await;

    let began = Instant::now();
    world.drain.begin();
    assert!(world.drain.is_draining());
    let mut new = connect(address).await;
    send(&mut new, "/b").await;
    let text = answer(&mut new).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("connection: close"), "{text}");
    for mut stream in busy {
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(two_answer.await.unwrap().unwrap().status(), 200);
    two_ended.await.unwrap().unwrap();
    for mut stream in idle {
        assert_eq!(answer(&mut stream).await, "");
    }
    served.await.unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(world.server.counts().connections(), 0);
    assert_eq!(world.server.counts().requests(), 0);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, served) = start(&world).await;
    let mut stream = connect(address).await;
    send(&mut stream, "/slow-9000").await;
    under_way(&world, 1, 1).await;
    let began = Instant::now();
    world.drain.begin();
    world.drain.end_now();
    served.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(450));
    assert!(stream.read(&mut [0]).await.map_or(0, |count| count) == 0);
    assert_eq!(world.server.counts().connections(), 0);
}

#[tokio::test]
async fn over_the_cap_connections_wait() {
    let world = World::of_workers(2, ROUTES, |table| table.server.limits.connections = 2);
    let (address, _served) = start(&world).await;
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    for stream in [&mut first, &mut second] {
        send(stream, "/a").await;
        assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
    }
    let mut third = connect(address).await;
    send(&mut third, "/a").await;
    assert!(
        timeout(Duration::from_millis(100), third.read(&mut [0]))
            .await
            .is_err(),
        "nobody takes it"
    );
    assert_eq!(world.server.counts().connections(), 2);
    drop(first);
    assert!(answer(&mut third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let world = World::of_workers(2, ROUTES, |table| table.server.limits.per_address = Some(2));
    let (address, _served) = start(&world).await;
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    for stream in [&mut first, &mut second] {
        send(stream, "/a").await;
        assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
    }
    for _ in 0..5 {
        let mut third = connect(address).await;
        assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0);
    }
    assert_eq!(
        world.metric("anabranch_connections_refused_total"),
        Some(5.0)
    );
    while !world.log().contains("connections refused") {
        tokio::task::yield_now().await;
    }
    let log = world.log();
    assert_eq!(log.matches("connections refused").count(), 1, "{log}");
    assert!(log.contains(r#""level":"warn""#), "{log}");
    drop(first);
    under_way(&world, 0, 1).await;
    let mut again = connect(address).await;
    send(&mut again, "/a").await;
    assert!(answer(&mut again).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn whoever_is_trusted_has_any_number_of_connections() {
    let world = World::of_workers(2, ROUTES, |table| {
        table.server.limits.per_address = Some(1);
        table.server.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let (address, _served) = start(&world).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(address).await;
        send(&mut stream, "/a").await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    assert_eq!(
        world.metric("anabranch_connections_refused_total"),
        Some(0.0)
    );
}

/// Unread bytes must not take the answer with them when the connection is closed.
#[tokio::test]
async fn a_refusal_arrives_although_more_was_sent() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, _served) = start(&world).await;
    for _ in 0..20 {
        let mut stream = connect(address).await;
        let head = "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 500000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 500_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 405"), "{text}");
        assert!(text.contains("connection: close"), "{text}");
    }
}

#[tokio::test]
async fn connections_are_spread_and_stay_where_they_are() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, _served) = start(&world).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(address).await;
        send(&mut stream, "/a").await;
        answer(&mut stream).await;
        streams.push(stream);
    }
    for stream in &mut streams {
        send(stream, "/a").await;
        answer(stream).await;
    }
    let workers = || std::mem::take(&mut *world.fetch.workers.lock().unwrap());
    assert_eq!(workers(), [0, 1, 0, 1, 0, 1, 0, 1]);
    // Two of the same worker go, and the next two take their places.
    drop(streams.remove(2));
    drop(streams.remove(0));
    under_way(&world, 0, 2).await;
    for _ in 0..2 {
        let mut stream = connect(address).await;
        send(&mut stream, "/a").await;
        answer(&mut stream).await;
        streams.push(stream);
    }
    assert_eq!(workers(), [0, 0]);
}

/// The requests of a connection that carries many at a time are done by its worker until it has eight more
/// than another.
#[tokio::test]
async fn the_requests_of_one_client_are_spread_where_they_are_many() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, _served) = start(&world).await;
    let io = TokioIo::new(connect(address).await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io)
            .await
            .unwrap();
    tokio::spawn(connection);
    let answers: Vec<_> = (0..12)
        .map(|_| {
            let request = Request::get("http://h/slow-400");
            tokio::spawn(client.send_request(request.body(Empty::new()).unwrap()))
        })
        .collect();
    under_way(&world, 12, 1).await;
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    let of_second: usize = world.fetch.workers.lock().unwrap().iter().sum();
    assert_eq!(of_second, 2, "of twelve");
}

/// Whoever takes connections has nothing to do with one that is taken.
#[tokio::test]
async fn a_worker_answers_while_nobody_can_be_let_in() {
    let world = World::of_workers(2, ROUTES, |_| {});
    let (address, _served) = start(&world).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(address).await;
        send(&mut stream, "/a").await;
        answer(&mut stream).await;
        streams.push(stream.into_std().unwrap());
    }
    // From here on this thread, which takes connections, does nothing else.
    for mut stream in streams {
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n")
            .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn each_worker_has_its_own_lag_and_its_own_turns() {
    let world = World::of_workers(2, ROUTES, |table| {
        table.server.shed.lag = Duration::from_millis(20);
    });
    let (address, _served) = start(&world).await;
    let server = world.server.clone();
    let of_second = |ask: fn(&Strain) -> usize| {
        let server = server.clone();
        let asked = async move { ask(server.load().here()) };
        world.server.workers.get(1).spawn(asked)
    };
    let late = |strain: &Strain| {
        strain.lag.pretend(Duration::from_secs(1));
        0
    };
    of_second(late).await.unwrap();
    let (mut first, mut second) = (connect(address).await, connect(address).await);
    send(&mut first, "/slow-300").await;
    send(&mut second, "/a").await;
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 503"));
    assert_eq!(world.server.load().lag(), Duration::from_secs(1));
    assert!(answer(&mut first).await.starts_with("HTTP/1.1 200"));

    let ready = |strain: &Strain| {
        strain.lag.pretend(Duration::ZERO);
        0
    };
    of_second(ready).await.unwrap();
    send(&mut second, "/slow-300").await;
    under_way(&world, 1, 2).await;
    while of_second(|strain| strain.turns.under_way()).await.unwrap() != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.server.load().here().turns.under_way(), 0);
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 200"));
}
