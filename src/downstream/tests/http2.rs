//! HTTP/2 by prior knowledge: streams share a connection, and each failure is judged by its own
//! stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::support::*;
use crate::downstream::attempt::{Attempt, Carriage};
use crate::downstream::connection::Outgoing;
use crate::downstream::dial::Tcp;
use crate::downstream::guards::{Patience, Wish};
use crate::downstream::ladder::Whole;
use crate::downstream::pool::Need;
use crate::downstream::send;
use crate::engine::fetch::Fetch;
use crate::plan::settings::HttpVersion;
use crate::plan::{Call, ServiceId};

type Server = Connection<TcpStream, Bytes>;
type Asked = (Request<h2::RecvStream>, SendResponse<Bytes>);

async fn accept(peer: Peer) -> Server {
    let Peer::Tcp(stream) = peer else {
        panic!("HTTP/2 is tried over TCP");
    };
    h2::server::handshake(stream).await.unwrap()
}

async fn next(server: &mut Server) -> Option<Asked> {
    server.accept().await?.ok()
}

fn respond(response: &mut SendResponse<Bytes>, body: &str) {
    let head = Response::builder().header("content-type", "application/json");
    let mut stream = response
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    stream
        .send_data(Bytes::copy_from_slice(body.as_bytes()), true)
        .unwrap();
}

fn fixture(port: u16) -> Fixture<Tcp> {
    let mut service = service(port);
    service.http = HttpVersion::Two;
    Fixture::new(service, Tcp::new())
}

/// Counts connections and answers everything with the connection's number.
async fn plain(connections: Arc<AtomicUsize>) -> u16 {
    serve(script(move |number, peer| {
        let connections = connections.clone();
        async move {
            connections.fetch_add(1, Ordering::SeqCst);
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                respond(&mut response, &format!("[{number}]"));
            }
        }
    }))
    .await
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let fixture = fixture(plain(connections.clone()).await);
    let calls = (0..50).map(|_| fixture.outcome(get(), 5000));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome, "200 [0] x1");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.heard.in_flight(), 0);
}

#[tokio::test]
async fn the_request_names_its_authority_and_has_no_host() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let port = serve(script(move |_, peer| {
        let sender = sender.clone();
        async move {
            let mut server = accept(peer).await;
            while let Some((request, mut response)) = next(&mut server).await {
                sender.send(request.map(drop)).unwrap();
                respond(&mut response, "1");
            }
        }
    }))
    .await;
    assert_eq!(fixture(port).outcome(get(), 1000).await, "200 1 x1");
    let request = requests.recv().await.unwrap();
    let uri = format!("http://127.0.0.1:{port}/base/me?page=1");
    assert_eq!(request.uri().to_string(), uri);
    assert!(!request.headers().contains_key("host"));
    assert_eq!(request.headers()["x-request-id"], "req-1");
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_even_for_a_write() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let port = serve(script(move |_, peer| {
        let count = count.clone();
        async move {
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => response.send_reset(Reason::REFUSED_STREAM),
                    _ => respond(&mut response, "1"),
                }
            }
        }
    }))
    .await;
    let fixture = fixture(port);
    assert_eq!(fixture.outcome(post(), 1000).await, "200 1 x2");
    assert_eq!(fixture.heard.attempts(), ["first", "retry:refused_stream"]);
}

#[tokio::test]
async fn an_answer_to_head_may_say_any_length() {
    let port = serve(script(|_, peer| async move {
        let mut server = accept(peer).await;
        while let Some((_, mut response)) = next(&mut server).await {
            let head = Response::builder().header("content-length", "5000000");
            response
                .send_response(head.body(()).unwrap(), true)
                .unwrap();
        }
    }))
    .await;
    let call = Call {
        method: http::Method::HEAD,
        ..get()
    };
    assert_eq!(fixture(port).outcome(call, 1000).await, "200  x1");
}

/// Its caller takes it for not sent, and may have it sent again.
#[tokio::test]
async fn a_write_that_was_cut_before_it_began_is_not_sent() {
    // More than may be reset.
    const ROUNDS: usize = 150;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let port = serve(script(move |_, peer| {
        let count = count.clone();
        async move {
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                count.fetch_add(1, Ordering::SeqCst);
                respond(&mut response, "1");
            }
        }
    }))
    .await;
    let mut service = service(port);
    service.http = HttpVersion::Two;
    // The cuts would open it.
    service.breaker = None;
    let fixture = Fixture::new(service, Tcp::new());
    let client = &fixture.client;
    let id = ServiceId(0);
    let service = client.service(id);
    for _ in 0..ROUNDS {
        let told = client.told(id);
        let wish = Wish {
            is_repeatable: false,
            patience: Patience::None,
            now: Instant::now(),
        };
        let admitted = service.guards.admit(&[], wish, &told);
        let Ok(permit) = admitted.await else {
            panic!("it is admitted");
        };
        let attempt = Attempt::new(permit);
        let pool = service.pools[0].clone();
        let lease = match pool.take(Need::Any, Instant::now()) {
            Some(lease) => Ok(lease),
            None => pool.open_or_share(Need::Any).await,
        };
        let Ok(lease) = lease else {
            panic!("there is a connection");
        };
        let exchange = Arc::new(exchange(post(), 1000));
        let body = Outgoing::Whole(Bytes::new());
        let left = Duration::from_secs(1);
        let request = send::prepare(&exchange, &pool.endpoint, lease.version(), left, body);
        let Ok(request) = request else {
            panic!("it can be sent");
        };
        let carriage = Carriage {
            exchange,
            attempt: attempt.clone(),
            pool,
            lease,
            may_replay: false,
            writes: None,
            finish: Whole {
                process: client.process.clone(),
                validates: false,
            },
        };
        attempt.cut();
        assert!(carriage.carry_alone(request).await.is_err());
    }
    // What comes behind them has come, and they have not.
    assert_eq!(fixture.outcome(post(), 1000).await, "200 1 x1");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_judged_by_its_reason() {
    async fn check(reason: Reason, call: Call, expected: &str) {
        let port = serve(script(move |_, peer| async move {
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                response.send_reset(reason);
            }
        }))
        .await;
        assert_eq!(
            fixture(port).outcome(call, 1000).await,
            expected,
            "{reason:?}"
        );
    }
    check(Reason::INTERNAL_ERROR, get(), "reset x2").await;
    check(Reason::INTERNAL_ERROR, post(), "reset x1").await;
    check(Reason::REFUSED_STREAM, post(), "refused_stream x2").await;
    check(Reason::HTTP_1_1_REQUIRED, get(), "protocol_error x1").await;
}

#[tokio::test]
async fn a_stream_that_is_reset_inside_its_body_is_truncated() {
    let port = serve(script(|_, peer| async move {
        let mut server = accept(peer).await;
        let mut open = Vec::new();
        while let Some((_, mut response)) = next(&mut server).await {
            let mut stream = response.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"[1"), false).unwrap();
            stream.send_reset(Reason::CANCEL);
            open.push(stream);
        }
    }))
    .await;
    // Whether the head is still seen before the reset is the peer's affair.
    let outcome = fixture(port).outcome(once(get()), 1000).await;
    assert!(
        outcome == "truncated x1" || outcome == "reset x1",
        "{outcome}"
    );
}

#[tokio::test]
async fn a_connection_that_drains_is_replaced() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let port = serve(script(move |number, peer| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                respond(&mut response, &format!("[{number}]"));
                server.graceful_shutdown();
            }
        }
    }))
    .await;
    let fixture = fixture(port);
    for _ in 0..5 {
        let fetched = fixture.fetch(post(), 1000).await;
        assert!(fetched.result.is_ok(), "{}", shown(&fetched));
    }
    assert!(connections.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn a_dead_connection_is_replaced_unseen() {
    // The first connection dies on its second request without a word.
    let port = serve(script(|number, peer| async move {
        let mut server = accept(peer).await;
        let mut answered = 0;
        while let Some((_, mut response)) = next(&mut server).await {
            if number == 0 && answered == 1 {
                return;
            }
            respond(&mut response, &format!("[{number}]"));
            answered += 1;
        }
    }))
    .await;
    let fixture = fixture(port);
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [0] x1");
    let outcome = fixture.outcome(get(), 1000).await;
    assert_eq!(outcome, "200 [1] x2");
}

#[tokio::test]
async fn a_cancelled_call_resets_its_stream_only() {
    let (reset, was_reset) = oneshot::channel();
    let reset = Arc::new(Mutex::new(Some(reset)));
    let (arrived, has_arrived) = oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let port = serve(script(move |_, peer| {
        let (reset, arrived) = (reset.clone(), arrived.clone());
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut server = accept(peer).await;
            let first = next(&mut server).await.unwrap();
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            tokio::spawn(async move {
                let (_, mut response) = first;
                let reason = std::future::poll_fn(|context| response.poll_reset(context)).await;
                let reset = reset.lock().unwrap().take().unwrap();
                reset.send(reason.unwrap()).unwrap();
            });
            while let Some((_, mut response)) = next(&mut server).await {
                respond(&mut response, "2");
            }
        }
    }))
    .await;
    let fixture = fixture(port);
    let client = fixture.client.clone();
    let running = tokio::spawn(async move { client.fetch(exchange(get(), 5000).into()).await });
    has_arrived.await.unwrap();
    running.abort();
    assert_eq!(was_reset.await.unwrap(), Reason::CANCEL);
    assert_eq!(fixture.outcome(get(), 1000).await, "200 2 x1");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_full_connection_gets_a_second_beside_it() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let (settled, is_settled) = tokio::sync::watch::channel(false);
    let settled = Arc::new(settled);
    let port = serve(script(move |_, peer| {
        let (count, settled) = (count.clone(), settled.clone());
        async move {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            let Peer::Tcp(stream) = peer else { panic!() };
            let mut builder = h2::server::Builder::new();
            let mut server: Server = builder
                .max_concurrent_streams(1)
                .handshake(stream)
                .await
                .unwrap();
            let mut held = Vec::new();
            while let Some((_, mut response)) = next(&mut server).await {
                // The first connection's second request is held until another connection is there.
                match nth == 0 && held.is_empty() {
                    true => {
                        respond(&mut response, "0");
                        held.push(response);
                    }
                    false if nth == 0 => {
                        settled.send_replace(true);
                        held.push(response);
                    }
                    false => respond(&mut response, "1"),
                }
            }
        }
    }))
    .await;
    let fixture = fixture(port);
    // By now the settings of the service have arrived.
    assert_eq!(fixture.outcome(get(), 1000).await, "200 0 x1");
    let client = fixture.client.clone();
    let held = tokio::spawn(async move { client.fetch(exchange(get(), 60_000).into()).await });
    let mut is_settled = is_settled;
    is_settled.wait_for(|settled| *settled).await.unwrap();
    assert_eq!(fixture.outcome(get(), 5000).await, "200 1 x1");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    held.abort();
}

#[tokio::test]
async fn reading_stops_soon_after_the_limit() {
    let (sender, mut sent) = mpsc::unbounded_channel();
    let port = serve(script(move |_, peer| {
        let sender = sender.clone();
        async move {
            let mut server = accept(peer).await;
            let (_, mut response) = next(&mut server).await.unwrap();
            let mut stream = response.send_response(Response::new(()), false).unwrap();
            tokio::spawn(async move {
                let mut total = 0;
                loop {
                    stream.reserve_capacity(0x4000);
                    let granted = std::future::poll_fn(|context| stream.poll_capacity(context));
                    let Some(Ok(count)) = granted.await else {
                        return sender.send(total).unwrap();
                    };
                    total += count;
                    stream
                        .send_data(Bytes::from(vec![b'1'; count]), false)
                        .unwrap();
                }
            });
            while next(&mut server).await.is_some() {}
        }
    }))
    .await;
    let fixture = fixture(port);
    assert_eq!(fixture.outcome(get(), 5000).await, "too_large x1");
    // What was read, and the windows of the stream on both sides.
    let sent = sent.recv().await.unwrap();
    assert!((1 << 20..(1 << 20) + (600 << 10)).contains(&sent), "{sent}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (closed, is_closed) = oneshot::channel();
    let closed = Arc::new(Mutex::new(Some(closed)));
    let port = serve(script(move |_, peer| {
        let closed = closed.clone();
        async move {
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                respond(&mut response, "1");
            }
            closed.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    }))
    .await;
    let mut service = service(port);
    service.http = HttpVersion::Two;
    service.pool.idle = Duration::from_millis(1);
    let fixture = Fixture::new(service, Tcp::new());
    assert_eq!(fixture.outcome(get(), 1000).await, "200 1 x1");
    is_closed.await.unwrap();
}

/// How the streams of one connection ended, as its service sees it.
#[derive(Default)]
struct Ends {
    reset: AtomicUsize,
    answered: AtomicUsize,
}

/// Answers the stream of a call once `go` says so, or sees it reset before that.
async fn ends_of_streams(ends: Arc<Ends>, go: watch::Receiver<bool>) -> u16 {
    serve(script(move |number, peer| {
        let (ends, go) = (ends.clone(), go.clone());
        async move {
            let mut server = accept(peer).await;
            while let Some((_, mut response)) = next(&mut server).await {
                let (ends, mut go) = (ends.clone(), go.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = std::future::poll_fn(|context| response.poll_reset(context)) => {
                            ends.reset.fetch_add(1, Ordering::SeqCst);
                        }
                        _ = go.wait_for(|go| *go) => {
                            respond(&mut response, &format!("[{number}]"));
                            ends.answered.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        }
    }))
    .await
}

/// Notes §1.10: a hundred at once, five a second after that.
#[tokio::test]
async fn what_is_cancelled_resets_its_stream_only_as_often_as_peers_bear() {
    let ends = Arc::new(Ends::default());
    let (go, gone) = watch::channel(false);
    let fixture = fixture(ends_of_streams(ends.clone(), gone).await);
    let running: Vec<_> = (0..160)
        .map(|_| {
            let client = fixture.client.clone();
            tokio::spawn(async move { client.fetch(exchange(once(get()), 60_000).into()).await })
        })
        .collect();
    while fixture.heard.in_flight() < 160 || fixture.heard.attempts().len() < 160 {
        tokio::task::yield_now().await;
    }
    let started = std::time::Instant::now();
    for call in running {
        call.abort();
        let _ = call.await;
    }
    go.send(true).unwrap();
    fixture.process.leftovers.finished().await;
    let reset = ends.reset.load(Ordering::SeqCst);
    let allowed = 100 + 5 * (started.elapsed().as_secs() as usize + 1);
    assert!(reset <= allowed, "{reset} of {allowed}");
    assert_eq!(fixture.outcome(get(), 5000).await, "200 [0] x1");
    assert_eq!(fixture.heard.in_flight(), 0);
}
