//! `response: { pass: … }`: any complete answer as it comes, and the client's body as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::support::*;
use crate::engine::code::Code;
use crate::engine::fetch::{ByteStream, Fetch, Head, Opened, StreamError, StreamedRequest};
use crate::plan::Call;

async fn open(fixture: &Fixture<Piped>, call: Call) -> Opened {
    let exchange = exchange(call, 1000);
    fixture
        .client
        .open(exchange.into(), StreamedRequest::Buffered)
        .await
}

/// The body as text, and how it ended.
async fn read(head: Head) -> (String, Option<String>) {
    let mut body = head.body;
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap()),
            Err(error) => return (text, Some(error.to_string())),
        }
    }
    (text, None)
}

#[tokio::test(start_paused = true)]
async fn any_complete_answer_is_passed() {
    async fn check(status: &str, call: Call, attempts: u32) {
        let fixture = piped(always(answer(status, "content-type: text/html", "<p>")));
        let opened = open(&fixture, call).await;
        assert_eq!(opened.attempts, attempts, "{status}");
        let head = opened.result.ok().unwrap();
        assert_eq!(head.status.to_string(), status[..3]);
        assert_eq!(head.headers["content-type"], "text/html");
        assert!(!head.headers.contains_key("content-length"));
        assert_eq!(head.body.size_hint().exact(), Some(3));
        assert_eq!(read(head).await, ("<p>".into(), None));
        assert_eq!(fixture.heard.in_flight(), 0);
    }
    use http_body::Body;
    check("200 OK", get(), 1).await;
    check("404 Not Found", get(), 1).await;
    check("302 Found", get(), 1).await;
    check("500 Oh", get(), 1).await;
    // After the retries.
    check("503 Oh", get(), 2).await;
    check("503 Oh", post(), 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_takes_the_place_of_an_unavailable_answer() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let fixture = piped(script(move |_, mut peer| {
        let count = count.clone();
        async move {
            while peer.request().await.is_some() {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => peer.write(answer("502 x", "", "bad")).await,
                    _ => peer.write(answer("200 OK", "", "good")).await,
                };
            }
        }
    }));
    let opened = open(&fixture, get()).await;
    assert_eq!(opened.attempts, 2);
    assert_eq!(read(opened.result.ok().unwrap()).await.0, "good");
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_back_with_the_last_byte_of_a_known_length() {
    use http_body::Body;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let fixture = piped(script(move |_, mut peer| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            while peer.request().await.is_some() {
                peer.write(answer("200 OK", "", "abc")).await;
            }
        }
    }));
    for _ in 0..3 {
        let mut head = open(&fixture, get()).await.result.ok().unwrap();
        let frame = head.body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(head.body.is_end_stream());
        // As hyper does: it has counted along, and does not ask for the end.
        drop(head);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_body_may_last_longer_than_the_call() {
    let fixture = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..5 {
            sleep(Duration::from_secs(8)).await;
            peer.write("1\r\nx\r\n").await;
        }
        peer.write("0\r\n\r\n").await;
    }));
    let head = open(&fixture, get()).await.result.ok().unwrap();
    let start = Instant::now();
    assert_eq!(read(head).await, ("xxxxx".into(), None));
    assert_eq!(start.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_or_stands_still_ends_with_an_error() {
    let broken = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            .await;
    }));
    let head = open(&broken, get()).await.result.ok().unwrap();
    assert_eq!(read(head).await, ("abc".into(), Some("truncated".into())));

    let standing = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            .await;
        peer.closed().await;
    }));
    let head = open(&standing, get()).await.result.ok().unwrap();
    let start = Instant::now();
    let (text, error) = read(head).await;
    assert_eq!((text.as_str(), error.is_some()), ("abc", true));
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(standing.heard.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_head_must_come_in_time() {
    let fixture = piped(script(|_, mut peer| async move { peer.closed().await }));
    let start = Instant::now();
    let error = open(&fixture, get()).await.result.err().unwrap();
    assert_eq!((error.code, start.elapsed().as_secs()), (Code::Timeout, 1));
}

// === A request that streams

/// A body of these parts, then an error if `breaks`.
fn streamed(parts: &'static [&'static str], breaks: bool) -> StreamedRequest {
    let parts = parts
        .iter()
        .map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
    let end = breaks.then(|| Err(StreamError::from("gone")));
    let body: ByteStream = StreamBody::new(stream::iter(parts.chain(end))).boxed_unsync();
    StreamedRequest::Stream(body)
}

/// Sends each head with all that follows until a chunked body ends.
fn recording() -> (Fixture<Piped>, mpsc::UnboundedReceiver<String>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let fixture = piped(script(move |_, mut peer| {
        let sender = sender.clone();
        async move {
            let mut text = peer.request().await.unwrap();
            while !text.ends_with("0\r\n\r\n") {
                let Some(()) = peer.more(&mut text).await else {
                    return;
                };
            }
            sender.send(text).unwrap();
            peer.write(answer("503 x", "", "no")).await;
        }
    }));
    (fixture, requests)
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_is_sent_once() {
    for method in [Method::POST, Method::GET] {
        let (fixture, mut requests) = recording();
        let call = Call { method, ..get() };
        let exchange = exchange(call, 1000);
        let body = streamed(&["ab", "c"], false);
        let opened = fixture.client.open(exchange.into(), body).await;
        assert_eq!(opened.attempts, 1);
        assert_eq!(opened.result.ok().unwrap().status, 503);
        let request = requests.recv().await.unwrap();
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert_eq!(sent, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_that_breaks_cuts_the_call() {
    let (fixture, mut requests) = recording();
    let exchange = exchange(post(), 1000);
    let opened = fixture
        .client
        .open(exchange.into(), streamed(&["ab"], true))
        .await;
    assert_eq!(opened.result.err().unwrap().code, Code::BadRequest);
    // The service saw no end of the body.
    drop(fixture);
    assert!(requests.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_takes_a_new_connection() {
    let fixture = piped(always(answer("200 OK", "", "1")));
    assert_eq!(fixture.outcome(get(), 1000).await, "200 1 x1");
    let body = streamed(&[], false);
    let opened = fixture
        .client
        .open(exchange(post(), 1000).into(), body)
        .await;
    assert_eq!(read(opened.result.ok().unwrap()).await.0, "1");
    assert_eq!(fixture.dial.dialed.load(Ordering::SeqCst), 2);
}
