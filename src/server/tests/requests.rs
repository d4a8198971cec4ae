//! Requests to the whole server: files, engine and all, but for the services, on virtual time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::server::tests::world::World;

pub const ROUTES: &str = "
server: { trusted: [ 127.0.0.1/32 ], server_timing: true, limits: { body: 1000B } }
services: { shop: { url: 'http://127.0.0.1:1' } }
---
route: GET /items/{id}
timeout: 1s
calls: { good: { service: shop, get: '/items/{{request.path.id}}' } }
response: { body: { item: $.good.body.at, q: $.request.query.q } }
---
route: POST /orders
timeout: 10s
input: { body: { max: 100B } }
calls: { order: { service: shop, post: /orders, forward_body: true } }
response: { status: 201, body: $.order.body }
---
route: DELETE /orders
calls: { order: { service: shop, delete: /orders } }
response: { status: 204 }
---
route: GET /passed/{what}
timeout: 1s
calls: { thing: { service: shop, get: '/{{request.path.what}}' } }
response: { pass: thing }
---
route: POST /upload
calls: { up: { service: shop, post: /up, forward_body: true } }
response: { pass: up }
---
route: GET /later/{id}
calls:
  note: { service: shop, post: '/note/{{request.path.id}}', detached: true }
response: { text: ok }
---
route: GET /reset
response: { status: 205 }
---
route: GET /kept
calls: { good: { service: shop, get: /kept, forward_headers: [ accept-language ] } }
response: { cache: computed, body: { item: $.good.body.at } }
---
route: GET /for
host: shop.example
response: { text: shop }
---
route: GET /client
response: { body: { ip: $.request.client.ip, host: $.request.host, id: $.request.id } }
";

/// One answer: status, headers in lower case, body.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answered {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn parse(text: &str) -> Answered {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        Answered {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

/// Sends `request` and takes all that comes until the server ends the connection.
pub async fn all(world: &World, request: &str) -> String {
    let (mut client, task) = world.connect();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    task.await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One request on a connection of its own.
pub async fn ask(world: &World, request: &str) -> Answered {
    let closing = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    Answered::parse(&all(world, &closing).await)
}

pub async fn get(world: &World, path: &str) -> Answered {
    ask(world, &format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_through_its_plan() {
    let world = World::new(ROUTES);
    let answer = get(&world, "/items/a%20b?q=1+2").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, r#"{"item":"/items/a%20b","q":"1 2"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("server-timing"), Some("good;dur=0.0"));
    assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    assert!(answer.header("date").is_some());
    assert_eq!(world.fetch.calls(), ["/items/a%20b"]);
    let log = world.log();
    assert!(log.contains(r#""status":200"#), "{log}");
    assert_eq!(world.server.counts().requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_an_answer_already_is_told_that_it_is_good_still() {
    let world = World::new(ROUTES);
    let first = get(&world, "/kept").await;
    let tag = first.header("etag").expect("the answer has a tag");
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert_eq!(first.header("vary"), Some("accept-language"));
    assert_eq!(first.body, r#"{"item":"/kept"}"#);
    let head = ask(&world, "HEAD /kept HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("16"));
    assert_eq!(head.header("etag"), Some(tag));
    for method in ["GET", "HEAD"] {
        let again = format!("{method} /kept HTTP/1.1\r\nhost: h\r\nif-none-match: W/{tag}\r\n\r\n");
        let again = ask(&world, &again).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(again.header("etag"), Some(tag));
        assert_eq!(again.header("cache-control"), Some("no-cache"));
        assert_eq!(again.header("vary"), Some("accept-language"));
        assert!(again.header("x-request-id").is_some() && again.header("date").is_some());
        for absent in ["content-type", "content-length", "transfer-encoding"] {
            assert_eq!(again.header(absent), None);
        }
    }
    let series = r#"anabranch_requests_total{route="get-kept",status="304"}"#;
    assert_eq!(world.metric(series), Some(2.0));
    assert!(
        world
            .log()
            .lines()
            .last()
            .unwrap()
            .contains(r#""status":304"#)
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_answer_of_a_route_is_a_problem() {
    let world = World::new(ROUTES);
    let rows = [
        ("GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n", 404, "no_route"),
        ("GET /items/ HTTP/1.1\r\nhost: h\r\n\r\n", 404, "no_route"),
        (
            "GET /items/%ff HTTP/1.1\r\nhost: h\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "GET /items/1?q=%f HTTP/1.1\r\nhost: h\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "PUT /items/1 HTTP/1.1\r\nhost: h\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        (
            "TRACE /items/1 HTTP/1.1\r\nhost: h\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (
            "GET / HTTP/3.0\r\nhost: h\r\n\r\n",
            505,
            "version_not_supported",
        ),
        ("BREW / HTTP/1.1\r\nhost: h\r\n\r\n", 501, "unknown_method"),
        (
            "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n",
            413,
            "body_too_large",
        ),
        (
            "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n",
            413,
            "body_too_large",
        ),
        (
            "GET /items/down HTTP/1.1\r\nhost: h\r\n\r\n",
            502,
            "connect_refused",
        ),
        (
            "GET /items/panic HTTP/1.1\r\nhost: h\r\n\r\n",
            500,
            "internal",
        ),
        (
            "GET /items/slow-2000 HTTP/1.1\r\nhost: h\r\n\r\n",
            504,
            "timeout",
        ),
        (
            "GET /items/1 HTTP/1.1\r\nhost: h\r\nx-request-timeout: 5ms\r\n\r\n",
            504,
            "deadline_exhausted",
        ),
    ];
    for (request, status, code) in rows {
        let answer = ask(&world, request).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let id = answer.header("x-request-id").unwrap();
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], code, "{request}");
        assert_eq!(body["type"], format!("urn:anabranch:{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["instance"], id);
        assert!(
            body["title"].is_string() && body["detail"].is_string(),
            "{body}"
        );
        let log = world.log();
        let line = log.lines().last().unwrap();
        assert!(line.contains(&format!("\"status\":{status}")), "{line}");
        assert!(line.contains(code), "{line}");
    }
    let calls = world.fetch.calls();
    assert_eq!(calls, ["/items/down", "/items/panic", "/items/slow-2000"]);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_a_message_that_is_refused() {
    let world = World::new(ROUTES);
    let order = "POST /orders HTTP/1.1\r\nhost: h\r\n";
    let rows = [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\nz: w\r\n\r\n",
        "content-length: +2\r\n\r\nab",
        "content-length: 2\r\nx: a\r\n b\r\n\r\nab",
    ];
    for rest in rows {
        let text = all(
            &world,
            &format!("{order}{rest}GET /items/1 HTTP/1.1\r\nhost: h\r\n\r\n"),
        )
        .await;
        let answer = Answered::parse(&text);
        assert_eq!(answer.status, 400, "{rest:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{rest:?}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    }
    assert!(world.fetch.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn methods_are_answered_as_the_routes_say() {
    let world = World::new(ROUTES);
    let whole = get(&world, "/items/7").await;
    let head = ask(&world, "HEAD /items/7 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(whole.body.len().to_string().as_str())
    );
    assert_eq!(world.fetch.calls().len(), 2);
    let wrong = ask(&world, "PATCH /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(wrong.header("allow"), Some("DELETE, OPTIONS, POST"));
    let options = ask(&world, "OPTIONS /items/7 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((options.status, options.body.as_str()), (204, ""));
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(options.header("content-length"), None);
    let star = ask(&world, "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(star.status, 204);
    let deleted = ask(&world, "DELETE /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(deleted.header("content-length"), None);
    let ours = ask(&world, "GET /for HTTP/1.1\r\nhost: Shop.example:80\r\n\r\n").await;
    assert_eq!((ours.status, ours.body.as_str()), (200, "shop"));
    assert_eq!(get(&world, "/for").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_request_knows_who_asks() {
    let world = World::new(ROUTES);
    let answer = ask(
        &world,
        "GET /client HTTP/1.1\r\nhost: H:80\r\nx-forwarded-for: 1.2.3.4\r\nx-request-id: mine\r\n\r\n",
    )
    .await;
    assert_eq!(answer.body, r#"{"ip":"1.2.3.4","host":"h","id":"mine"}"#);
    assert_eq!(answer.header("x-request-id"), Some("mine"));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_before_any_call() {
    let world = World::new(ROUTES);
    let started = Instant::now();
    let (mut client, _task) = world.connect();
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(b"2\r\n{}\r\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(world.fetch.calls().is_empty());
    client
        .write_all(b"0\r\nx-trailer: dropped\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = [0; 12];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 201");
    assert_eq!(world.fetch.calls(), ["/orders"]);
    assert_eq!(started.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_refused() {
    let world = World::new(ROUTES);
    let started = Instant::now();
    let (mut client, _task) = world.connect();
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 90\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = [0; 12];
    let answered = async {
        client.read_exact(&mut bytes).await.unwrap();
    };
    timeout(Duration::from_secs(20), answered).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 408");
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(world.fetch.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_may_not_outgrow_its_limit() {
    let world = World::new(ROUTES);
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let fits = all(
        &world,
        &format!(
            "{}{chunk}0\r\n\r\n",
            head.replacen("\r\n", "\r\nconnection: close\r\n", 1)
        ),
    )
    .await;
    assert_eq!(Answered::parse(&fits).status, 201);
    let answer = Answered::parse(&all(&world, &format!("{head}{chunk}{chunk}0\r\n\r\n")).await);
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
    assert_eq!(world.fetch.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_is_streamed() {
    let world = World::new(ROUTES);
    let known = get(&world, "/passed/thing").await;
    assert_eq!((known.status, known.body.as_str()), (203, "/thing"));
    assert_eq!(known.header("x-from"), Some("service"));
    assert_eq!(known.header("connection"), Some("close"), "only our own");
    assert_eq!(known.header("content-length"), Some("6"));
    assert!(!world.log().contains("client_gone"), "{}", world.log());
    let head = ask(&world, "HEAD /passed/sized HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(
        (head.header("content-length"), head.body.as_str()),
        (Some("12345"), "")
    );

    let (sender, receiver) = mpsc::channel(1);
    *world.fetch.feed.lock().unwrap() = Some(receiver);
    let (mut client, _task) = world.connect();
    client
        .write_all(b"GET /passed/fed HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    for piece in ["one", "two"] {
        // Longer than the route's timeout: that ends with the head.
        sleep(Duration::from_secs(5)).await;
        sender.send(Bytes::from(piece)).await.unwrap();
        let mut bytes = vec![0; 4096];
        let mut text = String::new();
        while !text.contains(&format!("3\r\n{piece}\r\n")) {
            let count = client.read(&mut bytes).await.unwrap();
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }
    // Nothing more comes: the connection is cut, without the last chunk.
    let mut rest = Vec::new();
    let stalled = Instant::now();
    let _ = client.read_to_end(&mut rest).await;
    assert_eq!((rest.len(), stalled.elapsed().as_secs()), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_cuts_the_connection() {
    let world = World::new(ROUTES);
    let text = all(&world, "GET /passed/break HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = Answered::parse(&text);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(!answer.body.ends_with("0\r\n\r\n"), "{text}");
    assert!(world.log().contains("truncated"), "{}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_request_streams_to_a_passed_call() {
    let world = World::new(ROUTES);
    let head = "POST /upload HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let (mut client, _task) = world.connect();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(b"3\r\nabc\r\n").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        world.fetch.calls(),
        ["/up"],
        "the call does not wait for the body"
    );
    client.write_all(b"2\r\nde\r\n0\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 4096];
    let count = client.read(&mut bytes).await.unwrap();
    let answer = Answered::parse(std::str::from_utf8(&bytes[..count]).unwrap());
    assert_eq!((answer.status, answer.body.as_str()), (203, "abcde"));

    let broken = all(&world, &format!("{head}3\r\nabcd\r\n")).await;
    assert_eq!(Answered::parse(&broken).status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_told_of_in_the_log() {
    let world = World::new(ROUTES);
    let (mut client, task) = world.connect();
    client
        .write_all(b"GET /items/slow-900 HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_millis(20)).await;
    drop(client);
    task.await.unwrap();
    assert_eq!(world.fetch.cancelled.load(Ordering::Relaxed), 1);
    let log = world.log();
    assert!(log.contains("499") && log.contains("client_gone"), "{log}");
    assert_eq!(world.server.counts().requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_detached_call_is_sent_after_the_answer() {
    let world = World::new(ROUTES);
    let answer = get(&world, "/later/slow-1500").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let started = Instant::now();
    world.server.detached.drained().await;
    assert_eq!(world.fetch.calls(), ["/note/slow-1500"]);
    assert_eq!(world.fetch.cancelled.load(Ordering::Relaxed), 0);
    assert_eq!(started.elapsed().as_millis(), 1500);
}

#[tokio::test(start_paused = true)]
async fn http_2_gets_the_same_answers() {
    let world = World::new(ROUTES);
    let (client, _task) = world.connect();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    let long = format!("/{}", "x".repeat(9000));
    let rows = [
        ("GET", "/items/7", "", 200),
        ("HEAD", "/items/7", "", 200),
        ("POST", "/orders", "{}", 201),
        ("POST", "/upload", "abc", 203),
        ("GET", "/passed/thing", "", 203),
        ("GET", "/nothing", "", 404),
        ("GET", "/items/panic", "", 500),
        ("GET", &long, "", 414),
        ("BREW", "/items/7", "", 501),
        ("PUT", "/items/7", "", 405),
    ];
    for (method, path, body, status) in rows {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://h{path}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert!(response.headers().contains_key("x-request-id"));
        let has_length = response.headers().contains_key("content-length");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}");
        assert!(has_length, "{method} {path}");
    }
    let request = Request::get("http://h/items/7")
        .header("content_length", "3")
        .body(Full::default())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 400);
    // 32 KiB of fields as HTTP/1 counts them, `host: h` and `x-large: ` with their line ends included.
    let spare = 32 * 1024 - "host: h\r\nx-large: \r\n".len();
    for (length, status) in [(spare, 200), (spare + 1, 431)] {
        let request = Request::get("http://h/items/7")
            .header("x-large", "a".repeat(length))
            .body(Full::default())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{length}");
    }
    let broken = Request::get("http://h/passed/break")
        .body(Full::default())
        .unwrap();
    let response = sender.send_request(broken).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    let again = Request::get("http://h/items/7")
        .body(Full::default())
        .unwrap();
    assert_eq!(sender.send_request(again).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_on_the_generation_it_began_with() {
    let world = World::new(ROUTES);
    let (mut client, _task) = world.connect();
    let slow = "GET /items/slow-500 HTTP/1.1\r\nhost: h\r\n\r\n";
    client.write_all(slow.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    world.swap(2, "route: GET /new\nresponse: { text: new }\n");
    let mut bytes = vec![0; 4096];
    let count = client.read(&mut bytes).await.unwrap();
    assert_eq!(
        Answered::parse(std::str::from_utf8(&bytes[..count]).unwrap()).status,
        200
    );
    client.write_all(slow.as_bytes()).await.unwrap();
    let count = client.read(&mut bytes).await.unwrap();
    assert_eq!(
        Answered::parse(std::str::from_utf8(&bytes[..count]).unwrap()).status,
        404
    );
    assert_eq!(get(&world, "/new").await.body, "new");
    assert!(world.log().contains(r#""generation":2"#), "{}", world.log());
}

#[tokio::test(start_paused = true)]
async fn an_http_2_client_that_takes_no_answer_is_cut() {
    let world = World::new(ROUTES);
    let (sender, receiver) = mpsc::channel(4);
    for _ in 0..4 {
        sender.send(Bytes::from(vec![b'x'; 1000])).await.unwrap();
    }
    *world.fetch.feed.lock().unwrap() = Some(receiver);
    let (client, task) = world.connect();
    let (mut requests, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1500)
        .handshake(TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    let started = Instant::now();
    let request = Request::get("http://h/passed/fed")
        .body(Full::<Bytes>::default())
        .unwrap();
    let unread = requests.send_request(request).await.unwrap();
    task.await.unwrap();
    let elapsed = started.elapsed().as_secs();
    assert!((10..=20).contains(&elapsed), "{elapsed}");
    drop(unread);
    assert_eq!(world.server.counts().requests(), 0);
    assert!(world.log().contains("client_gone"), "{}", world.log());
}
