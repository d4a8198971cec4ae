//! The door under load: who is turned away, what is left out, and what memory is given back.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::plan::Table;
use crate::policy::shed::Priority;
use crate::server::tests::requests::{Answered, all, ask, get};
use crate::server::tests::world::World;

const ROUTES: &str = "
services: { shop: { url: 'http://127.0.0.1:1' } }
---
route: GET /items/{id}
timeout: 1s
calls: { good: { service: shop, get: '/items/{{request.path.id}}' } }
response: { body: { item: $.good.body.at } }
---
route: GET /vital/{id}
calls: { good: { service: shop, get: '/items/{{request.path.id}}' } }
response: { body: { item: $.good.body.at } }
---
route: GET /page
calls:
  main: { service: shop, get: /main }
  extra: { service: shop, get: /extra, optional: true }
response: { body: { main: $.main.body.at, extra: $.extra.body.at, errors: $.errors } }
---
route: POST /orders
timeout: 5s
calls: { order: { service: shop, post: '/slow-1000', forward_body: true } }
response: { body: $.order.body }
---
route: POST /upload
timeout: 10s
calls: { up: { service: shop, post: /up, forward_body: true } }
response: { pass: up }
---
route: GET /passed/fed
calls: { thing: { service: shop, get: /fed } }
response: { pass: thing }
";

/// So many requests at a time, and `/vital` is critical.
fn crowded(in_flight: usize) -> impl Fn(&mut Table) {
    move |table| {
        table.server.shed.in_flight = in_flight;
        let route = table
            .routes
            .iter_mut()
            .find(|route| route.pattern == "/vital/{id}");
        let route = route.and_then(std::sync::Arc::get_mut);
        route.expect("nobody else has the route yet").priority = Priority::Critical;
    }
}

/// Requests that take a while, each on a connection that is to be kept.
async fn under_way(world: &World, count: usize) -> Vec<tokio::io::DuplexStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (mut client, _) = world.connect();
        let request = "GET /vital/slow-900 HTTP/1.1\r\nhost: h\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.server.counts().requests(), count);
    clients
}

fn is_refused(answer: &Answered) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains(r#""code":"overloaded""#), "{answer:?}");
    let again = answer.header("retry-after").unwrap();
    assert!(["1", "2", "3"].contains(&again), "{again}");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_normal_routes_are_refused_and_critical_ones_are_not() {
    let world = World::with(ROUTES, crowded(50));
    let mut clients = under_way(&world, 50).await;
    is_refused(&get(&world, "/items/1").await);
    assert_eq!(get(&world, "/vital/1").await.status, 200);
    let series = "anabranch_shed_total{priority=\"normal\",cause=\"in_flight\"}";
    assert_eq!(world.metric(series), Some(1.0));
    // No route, no load.
    assert_eq!(get(&world, "/nothing").await.status, 404);
    let made = world.fetch.calls().len();
    assert_eq!(made, 51, "the one that was refused made no call");
    for client in &mut clients {
        let mut bytes = [0; 12];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"HTTP/1.1 200");
    }
    assert_eq!(get(&world, "/items/1").await.status, 200);
    assert_eq!(world.server.counts().requests(), 0);
    assert_eq!(world.memory.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_not_read() {
    let world = World::with(ROUTES, crowded(50));
    let _clients = under_way(&world, 50).await;
    let request = "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n";
    is_refused(&Answered::parse(&all(&world, request).await));
    assert_eq!(world.memory.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_optional_goes_first() {
    let world = World::with(ROUTES, crowded(50));
    // Between nine tenths of the limit and where the first normal request is cut, 0.95874 of it.
    let _clients = under_way(&world, 47).await;
    let answer = get(&world, "/page").await;
    assert_eq!(answer.status, 200);
    let left_out = "\"errors\":[{\"call\":\"extra\",\"code\":\"overloaded\",\"attempts\":0,";
    assert!(answer.body.contains(left_out), "{}", answer.body);
    let page = "{\"main\":\"/main\",\"extra\":null,";
    assert!(answer.body.starts_with(page), "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let degraded = answer.header("x-anabranch-degraded");
    assert_eq!(degraded, Some("extra=overloaded"));
    assert!(!world.fetch.calls().contains(&"/extra".to_owned()));
    let series = "anabranch_calls_total{route=\"get-page\",call=\"extra\",service=\"shop\",\
                  outcome=\"failed\",reason=\"overloaded\"}";
    assert_eq!(world.metric(series), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn lag_turns_away_too() {
    let world = World::with(ROUTES, crowded(50));
    world
        .server
        .load()
        .here()
        .lag
        .pretend(Duration::from_millis(53));
    is_refused(&get(&world, "/items/1").await);
    assert_eq!(get(&world, "/vital/1").await.status, 200);
    let series = "anabranch_shed_total{priority=\"normal\",cause=\"lag\"}";
    assert_eq!(world.metric(series), Some(1.0));
    world
        .server
        .load()
        .here()
        .lag
        .pretend(Duration::from_millis(5));
    assert_eq!(get(&world, "/items/1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_its_turn_with_all_its_calls() {
    let world = World::new(
        "
services: { shop: { url: 'http://127.0.0.1:1' } }
---
route: GET /two/{id}
calls:
  a: { service: shop, get: '/items/{{request.path.id}}' }
  b: { service: shop, get: '/items/{{request.path.id}}' }
response: { body: { a: $.a.body.at, b: $.b.body.at } }
",
    );
    let turns = &world.server.load().here().turns;
    let (mut client, _task) = world.connect();
    let request = "GET /two/slow-900 HTTP/1.1\r\nhost: h\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(turns.under_way(), 2);
    client.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(turns.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_reserved_until_its_request_is_over() {
    let world = World::new(ROUTES);
    world.memory.set_limit(10_000);
    let (mut client, _task) = world.connect();
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 4000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&[b'x'; 3000]).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        world.memory.reserved(),
        3000,
        "what is only announced is not"
    );
    client.write_all(&[b'x'; 1000]).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.memory.reserved(), 4000);
    let mut bytes = [0; 12];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200");
    assert_eq!(world.memory.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_finds_no_memory_is_refused() {
    let world = World::new(ROUTES);
    world.memory.set_limit(10_000);
    let taken = world.memory.count(5000);
    let body = "x".repeat(6000);
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 6000\r\n\r\n";
    is_refused(&Answered::parse(
        &all(&world, &format!("{head}{body}")).await,
    ));
    let series = "anabranch_shed_total{priority=\"normal\",cause=\"memory\"}";
    assert_eq!(world.metric(series), Some(1.0));
    assert_eq!(world.memory.reserved(), 5000);
    assert!(world.fetch.calls().is_empty());
    // What streams holds nothing.
    let head = "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: 6000\r\n\r\n";
    let streamed = ask(&world, &format!("{head}{body}")).await;
    assert_eq!((streamed.status, streamed.body.len()), (203, 6000));
    // Over its limit nobody is taken at all.
    let more = world.memory.count(5000);
    is_refused(&get(&world, "/items/1").await);
    assert_eq!(world.metric(series), Some(2.0));
    drop((taken, more));
    assert_eq!(get(&world, "/items/1").await.status, 200);
    assert_eq!(world.memory.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_counts_until_it_is_written() {
    let world = World::new(ROUTES);
    let (client, io) = tokio::io::duplex(64);
    let (server, drain) = (world.server.clone(), world.drain.clone());
    let task = tokio::spawn(async move {
        let peer = "127.0.0.1:9".parse().unwrap();
        let settings = server.state().table.server.clone();
        crate::server::connection::run(io, peer, &settings, server, &drain).await;
    });
    let mut client = client;
    client
        .write_all(b"GET /items/1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let body = "{\"item\":\"/items/1\"}";
    assert_eq!(world.memory.reserved(), body.len());
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with(body), "{text}");
    task.await.unwrap();
    assert_eq!(world.memory.reserved(), 0);
}

/// A body that streams is to arrive as fast as one that is read, but for the time in which nobody
/// takes it.
#[tokio::test(start_paused = true)]
async fn an_upload_that_drips_is_refused() {
    let world = World::new(ROUTES);
    let (mut client, task) = world.connect();
    let head = "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: 6000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let dripping = async {
        while client.write_all(b"x").await.is_ok() && !task.is_finished() {
            sleep(Duration::from_millis(400)).await;
            let mut bytes = [0; 12];
            let read =
                tokio::time::timeout(Duration::from_millis(1), client.read_exact(&mut bytes));
            if read.await.is_ok() {
                return bytes;
            }
        }
        panic!("it was not answered");
    };
    assert_eq!(&dripping.await, b"HTTP/1.1 408");
    assert!((1..4).contains(&started.elapsed().as_secs()));
    assert_eq!(world.server.counts().requests(), 0);
}

/// HTTP/2 keeps an answer back for which the client has no room, after all of it was handed over.
#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_an_http_2_answer_do_not_wait_for_ever() {
    for path in ["/items/1", "/passed/fed"] {
        let world = World::new(ROUTES);
        let (sender, receiver) = mpsc::channel(4);
        sender.send(Bytes::from(vec![b'x'; 1000])).await.unwrap();
        *world.fetch.feed.lock().unwrap() = Some(receiver);
        drop(sender);
        let (client, task) = world.connect();
        let (mut requests, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(5)
                .handshake(TokioIo::new(client))
                .await
                .unwrap();
        tokio::spawn(connection);
        let started = Instant::now();
        let request = Request::get(format!("http://h{path}"))
            .body(Full::<Bytes>::default())
            .unwrap();
        let unread = requests.send_request(request).await.unwrap();
        task.await.unwrap();
        let elapsed = started.elapsed().as_secs();
        assert!((10..=20).contains(&elapsed), "{path}: {elapsed}");
        drop(unread);
        assert_eq!(world.server.counts().requests(), 0);
        assert_eq!(world.memory.reserved(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_2_answer_that_is_taken_leaves_nothing() {
    let world = World::new(ROUTES);
    let (client, task) = world.connect();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    let started = Instant::now();
    let request = Request::get("http://h/items/1")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = requests.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"{\"item\":\"/items/1\"}");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.memory.reserved(), 0);
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 60, "it was idle");
}

/// What h2 would refuse by itself has no body, and is in no log.
#[tokio::test(start_paused = true)]
async fn http_2_headers_that_are_too_large_are_refused_by_us() {
    let world = World::new(ROUTES);
    let (client, _task) = world.connect();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://h/items/1")
        .header("x-large", "a".repeat(60 * 1024))
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = requests.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 431);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("\"code\":\"headers_too_large\""), "{body}");
    assert!(world.log().contains("headers_too_large"));
}
