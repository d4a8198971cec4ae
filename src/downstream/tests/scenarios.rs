//! The scenarios of `resilience.md` §6, by number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::support::*;
use crate::engine::fetch::Fetch;
use crate::plan::{Call, Decode};

/// Defaults of a call with `timeout: 300ms`.
fn in_300_ms(call: Call) -> Call {
    Call {
        attempt_timeout: Duration::from_micros(137_500),
        ..call
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_1_a_service_that_never_answers_costs_two_attempts() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = starts.clone();
    let fixture = piped(script(move |_, mut peer| {
        let seen = seen.clone();
        async move {
            peer.request().await.unwrap();
            seen.lock().unwrap().push(Instant::now());
            let started = Instant::now();
            peer.closed().await;
            seen.lock().unwrap().push(started + started.elapsed());
        }
    }));
    let start = Instant::now();
    assert_eq!(fixture.outcome(in_300_ms(get()), 300).await, "timeout x2");
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    tokio::task::yield_now().await;
    let moments: Vec<u128> = starts
        .lock()
        .unwrap()
        .iter()
        .map(|moment| moment.duration_since(start).as_millis())
        .collect();
    // The first is cut by its own clock, the second, after a wait of up to 25 ms, by the call's.
    let [first, cut, second, ended] = moments[..] else {
        panic!("{moments:?}");
    };
    assert_eq!((first, ended), (0, 300));
    assert!((137..=139).contains(&cut), "{moments:?}");
    assert!((137..=164).contains(&second), "{moments:?}");
    assert_eq!(fixture.heard.attempts(), ["first", "retry:try_timeout"]);
    assert_eq!(fixture.heard.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn scenario_2_a_cancelled_call_closes_its_connection() {
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let closed = Arc::new(Mutex::new(Some(closed)));
    let (arrived, has_arrived) = tokio::sync::oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let fixture = piped(script(move |_, mut peer| {
        let (closed, arrived) = (closed.clone(), arrived.clone());
        async move {
            peer.request().await.unwrap();
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            peer.closed().await;
            closed.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    }));
    let client = fixture.client.clone();
    let running = tokio::spawn(async move { client.fetch(exchange(get(), 1000).into()).await });
    has_arrived.await.unwrap();
    running.abort();
    let start = Instant::now();
    is_closed.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(fixture.heard.in_flight(), 0);
}

#[tokio::test]
async fn scenario_3_a_closed_port_is_tried_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let fixture = over_tcp(port);
    let start = Instant::now();
    assert_eq!(fixture.outcome(get(), 300).await, "connect_refused x2");
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(fixture.heard.attempts(), ["first", "retry:connect_refused"]);
}

/// Answers the first request of the first connection; on its second it does `then`. Other
/// connections answer everything. Counts the requests of each kind.
async fn stale_after_one(then: fn(Peer), posts: Arc<AtomicUsize>) -> u16 {
    serve(script(move |number, mut peer| {
        let posts = posts.clone();
        async move {
            let mut answered = 0;
            while let Some(request) = peer.request().await {
                if request.starts_with("POST") {
                    posts.fetch_add(1, Ordering::SeqCst);
                }
                if number == 0 && answered == 1 {
                    return then(peer);
                }
                peer.json(&format!("[{number}]")).await;
                answered += 1;
            }
        }
    }))
    .await
}

#[tokio::test]
async fn scenario_4_a_stale_connection_is_replaced_unseen() {
    let port = stale_after_one(drop, Arc::default()).await;
    let fixture = over_tcp(port);
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [0] x1");
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [1] x2");
    assert_eq!(
        fixture.heard.attempts(),
        ["first", "first", "transparent:stale_connection"]
    );
}

#[tokio::test]
async fn scenario_4_holds_with_a_reset_too() {
    let port = stale_after_one(Peer::reset, Arc::default()).await;
    let fixture = over_tcp(port);
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [0] x1");
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [1] x2");
}

#[tokio::test]
async fn scenario_5_a_write_without_a_key_is_not_sent_again() {
    for then in [drop as fn(Peer), Peer::reset] {
        let posts = Arc::new(AtomicUsize::new(0));
        let port = stale_after_one(then, posts.clone()).await;
        let fixture = over_tcp(port);
        assert_eq!(fixture.outcome(get(), 1000).await, "200 [0] x1");
        assert_eq!(fixture.outcome(post(), 1000).await, "reset x1");
        assert_eq!(posts.load(Ordering::SeqCst), 1);
        assert_eq!(fixture.heard.attempts(), ["first", "first"]);
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_6_a_cut_body_is_asked_for_again() {
    let fixture = piped(script(|number, mut peer| async move {
        peer.request().await.unwrap();
        match number {
            0 => {
                let part = "x".repeat(40);
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\"";
                peer.write(format!("{head}{part}")).await;
            }
            _ => drop(peer.json("{\"whole\":true}").await),
        }
    }));
    assert_eq!(fixture.outcome(get(), 300).await, "200 {\"whole\":true} x2");
    assert_eq!(fixture.heard.attempts(), ["first", "retry:truncated"]);
}

#[tokio::test(start_paused = true)]
async fn scenario_7_a_page_instead_of_json_is_a_bad_payload() {
    let page = answer("200 OK", "content-type: text/html", "maintenance");
    let fixture = piped(always(page));
    assert_eq!(fixture.outcome(get(), 300).await, "bad_payload x1");
}

#[tokio::test(start_paused = true)]
async fn scenario_8_a_dripping_body_is_cut_by_the_total_clock() {
    let fixture = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n[")
            .await;
        while peer.write("1").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }));
    let start = Instant::now();
    assert_eq!(fixture.outcome(in_300_ms(get()), 300).await, "timeout x2");
    assert_eq!(start.elapsed(), Duration::from_millis(300));
}

#[tokio::test]
async fn scenario_9_reading_stops_soon_after_the_limit() {
    for decode in [Decode::None, Decode::Text, Decode::Json] {
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let fixture = piped(script(move |_, mut peer| {
            let count = count.clone();
            async move {
                peer.request().await.unwrap();
                peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await;
                let chunk = format!("400\r\n{}\r\n", "1".repeat(0x400));
                while count.load(Ordering::SeqCst) < 50 << 20 && peer.write(&chunk).await {
                    count.fetch_add(0x400, Ordering::SeqCst);
                }
            }
        }));
        let call = Call { decode, ..get() };
        assert_eq!(fixture.outcome(call, 5000).await, "too_large x1");
        // What the service got rid of is what was read, and what the pipe holds.
        let most = (1 << 20) + (64 << 10) + (16 << 10);
        let written = written.load(Ordering::SeqCst);
        assert!((1 << 20..most).contains(&written), "{decode:?} {written}");
        assert_eq!(fixture.heard.in_flight(), 0);
    }
}

#[tokio::test]
async fn scenario_9_a_length_over_the_limit_is_refused_at_once() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n";
    let fixture = over_tcp(serve(always(head)).await);
    assert_eq!(fixture.outcome(get(), 5000).await, "too_large x1");
}

#[tokio::test]
async fn scenario_10_hostile_json_meets_its_limits() {
    let objects = format!("[{}0]", "{\"a\":1},".repeat(131_000));
    let brackets = "[".repeat(1 << 20);
    for body in [objects, brackets] {
        let page = answer("200 OK", "content-type: application/json", &body);
        let fixture = over_tcp(serve(always(page)).await);
        let calls = (0..16).map(|_| fixture.outcome(get(), 5000));
        for outcome in futures_util::future::join_all(calls).await {
            assert_eq!(outcome, "json_limit x1");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_12_a_retry_after_that_does_not_fit_is_handed_on() {
    let page = answer("503 Service Unavailable", "retry-after: 2", "");
    let fixture = piped(always(page));
    let start = Instant::now();
    let fetched = fixture.fetch(get(), 300).await;
    assert_eq!(shown(&fetched), "service_unavailable x1");
    let error = fetched.result.unwrap_err();
    assert_eq!((error.status, error.retry_after), (Some(503), Some(2)));
    assert!(start.elapsed() < Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn scenario_12_a_retry_after_of_zero_is_followed() {
    let page = answer("503 Service Unavailable", "retry-after: 0", "");
    let fixture = piped(always(page));
    let start = Instant::now();
    assert_eq!(fixture.outcome(get(), 300).await, "service_unavailable x2");
    assert!(start.elapsed() <= Duration::from_millis(27));
}

#[tokio::test]
async fn scenario_18_a_write_that_was_sent_is_left_to_finish() {
    let (finished, is_finished) = tokio::sync::oneshot::channel();
    let finished = Arc::new(Mutex::new(Some(finished)));
    let (arrived, has_arrived) = tokio::sync::oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let (go, may_go) = tokio::sync::watch::channel(false);
    let port = serve(script(move |_, mut peer| {
        let (finished, arrived) = (finished.clone(), arrived.clone());
        let mut may_go = may_go.clone();
        async move {
            peer.request().await.unwrap();
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            may_go.wait_for(|go| *go).await.unwrap();
            // The answer is read, and the connection stays open for the next request.
            let read = peer.json("{}").await;
            finished.lock().unwrap().take().unwrap().send(read).unwrap();
            peer.closed().await;
        }
    }))
    .await;
    let fixture = over_tcp(port);
    let client = fixture.client.clone();
    let running = tokio::spawn(async move { client.fetch(exchange(post(), 5000).into()).await });
    has_arrived.await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(fixture.process.tasks.count(), 1);
    go.send_replace(true);
    assert!(is_finished.await.unwrap());
    fixture.process.tasks.finished().await;
    assert_eq!(fixture.heard.in_flight(), 0);
}

#[tokio::test]
async fn scenario_25_only_end_to_end_headers_come_through() {
    let head = "HTTP/1.1 200 OK\r\nConnection: x-secret\r\nx-secret: 1\r\nSet-Cookie: a=b\r\n\
                x-open: 2\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}";
    let fixture = over_tcp(serve(always(head)).await);
    let answer = fixture.fetch(get(), 1000).await.result.unwrap();
    assert!(!answer.headers.contains_key("x-secret"));
    assert!(!answer.headers.contains_key("connection"));
    assert_eq!(answer.headers["x-open"], "2");
}

#[tokio::test]
async fn scenario_25_lengths_that_differ_are_a_protocol_error() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}";
    let fixture = over_tcp(serve(always(head)).await);
    assert_eq!(fixture.outcome(get(), 1000).await, "protocol_error x1");
}
