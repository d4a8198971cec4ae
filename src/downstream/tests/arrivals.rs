//! What a service's bytes become: the failure table, the body's decoding, and the request it sees.

use bytes::Bytes;
use http::Method;
use tokio::sync::mpsc;

use super::support::*;
use crate::engine::fetch::Fetch;
use crate::json::Slot;
use crate::path::{Bind, Bound, Condition, Error, Root, Rooted};
use crate::plan::{Call, CallPart, Decode, Route, Source};

/// What one answer, written as it stands before the connection ends, becomes.
async fn becomes(bytes: &'static str, call: Call) -> String {
    let fixture = piped(script(move |_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write(bytes).await;
    }));
    let outcome = fixture.outcome(once(call), 1000).await;
    assert_eq!(fixture.heard.in_flight(), 0);
    outcome
}

#[tokio::test(start_paused = true)]
async fn broken_answers_become_codes() {
    async fn check(bytes: &'static str, expected: &str) {
        let expected = format!("{expected} x1");
        assert_eq!(becomes(bytes, get()).await, expected, "{bytes:?}");
    }
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check("", "reset").await;
    check("HTTP/1.1 200 OK\r\ncontent-le", "truncated").await;
    check("H", "truncated").await;
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
        "truncated",
    )
    .await;
    check("SSH-2.0-OpenSSH_9.2\r\n\r\n", "protocol_error").await;
    check("HTTP/1.1 20x OK\r\n\r\n", "protocol_error").await;
    check("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "protocol_error").await;
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "protocol_error",
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        "protocol_error",
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "protocol_error",
    )
    .await;
    let chunk = |rest: &str| -> &'static str { format!("{CHUNKED}{rest}").leak() };
    check(chunk("zz\r\n{}\r\n0\r\n\r\n"), "protocol_error").await;
    check(chunk("2\r\n{}xx0\r\n\r\n"), "protocol_error").await;
    check(chunk("2\r\n{}\r\n"), "truncated").await;
    check(chunk("5\r\n{}"), "truncated").await;
    check(chunk("2\r\n{}\r\n0\r\n\r\n"), "200 {}").await;
    // Delimited by its end.
    check("HTTP/1.1 200 OK\r\n\r\n{}", "200 {}").await;
    check("HTTP/1.0 200 OK\r\n\r\n{}", "200 {}").await;
    // Informational heads are not answers.
    check(
        "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "200 {}",
    )
    .await;
    check("HTTP/1.1 304 Not Modified\r\n\r\n", "unexpected_status").await;
}

#[tokio::test]
async fn a_reset_is_judged_by_when_it_comes() {
    async fn check(bytes: &'static str, expected: &str) {
        let port = serve(script(move |_, mut peer| async move {
            peer.request().await.unwrap();
            peer.write(bytes).await;
            peer.reset();
        }))
        .await;
        assert_eq!(over_tcp(port).outcome(once(get()), 1000).await, expected);
    }
    check("", "reset x1").await;
    check("HTTP/1.1 2", "truncated x1").await;
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
        "truncated x1",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn heads_have_limits() {
    let lines = |count| "x-a: b\r\n".repeat(count);
    let many = |count| {
        format!(
            "HTTP/1.1 200 OK\r\n{}content-length: 1\r\n\r\n1",
            lines(count)
        )
    };
    let long = |count| {
        let value = "v".repeat(count);
        format!("HTTP/1.1 200 OK\r\nx-a: {value}\r\ncontent-length: 1\r\n\r\n1")
    };
    async fn check(bytes: String, expected: &str) {
        let fixture = piped(always(bytes));
        assert_eq!(fixture.outcome(get(), 1000).await, expected);
    }
    check(many(127), "200 1 x1").await;
    check(many(128), "too_large x1").await;
    check(long(60_000), "200 1 x1").await;
    check(long(66_000), "too_large x1").await;
    check(long(65_500), "too_large x1").await;
}

#[tokio::test(start_paused = true)]
async fn bodies_are_decoded_as_the_call_says() {
    async fn check(decode: Decode, status: &str, lines: &str, body: &str, expected: &str) {
        let page = answer(status, lines, body);
        let fixture = piped(always(page));
        let call = Call { decode, ..get() };
        let outcome = fixture.outcome(call, 1000).await;
        assert_eq!(
            outcome,
            format!("{expected} x1"),
            "{decode:?} {lines} {body}"
        );
    }
    const HTML: &str = "content-type: text/html";
    const JSON: &str = "content-type: application/json";
    check(Decode::Auto, "200 OK", JSON, "[1]", "200 [1]").await;
    check(Decode::Auto, "200 OK", "", "[1]", "200 [1]").await;
    check(
        Decode::Auto,
        "200 OK",
        "content-type: application/hal+json",
        "1e400",
        "200 1e400",
    )
    .await;
    check(Decode::Auto, "201 Created", JSON, "", "201 ").await;
    check(Decode::Auto, "204 No Content", HTML, "", "204 ").await;
    check(Decode::Auto, "200 OK", HTML, "", "200 ").await;
    check(Decode::Auto, "200 OK", HTML, "[1]", "bad_payload").await;
    check(Decode::Auto, "200 OK", JSON, "[1", "bad_payload").await;
    check(Decode::Auto, "200 OK", JSON, "[1] x", "bad_payload").await;
    check(Decode::Auto, "200 OK", JSON, "  ", "bad_payload").await;
    check(Decode::Auto, "200 OK", JSON, "\u{feff}[1]", "bad_payload").await;
    check(Decode::Auto, "200 OK", JSON, &"[".repeat(65), "json_limit").await;
    check(
        Decode::Auto,
        "200 OK",
        "content-encoding: gzip",
        "x",
        "bad_payload",
    )
    .await;
    check(
        Decode::Auto,
        "200 OK",
        "content-encoding: identity",
        "1",
        "200 1",
    )
    .await;
    check(Decode::Json, "200 OK", HTML, "[1]", "200 [1]").await;
    check(Decode::Json, "200 OK", HTML, "<p>", "bad_payload").await;
    check(
        Decode::Text,
        "200 OK",
        HTML,
        "a \"b\"\n",
        "200 \"a \\\"b\\\"\\n\"",
    )
    .await;
    check(Decode::Text, "200 OK", HTML, "", "200 ").await;
    check(Decode::None, "200 OK", HTML, "<p>", "200 ").await;
    check(
        Decode::None,
        "200 OK",
        "content-encoding: gzip",
        "x",
        "200 ",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_text_must_be_utf_8() {
    let fixture = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe")
            .await;
    }));
    let call = Call {
        decode: Decode::Text,
        ..get()
    };
    assert_eq!(fixture.outcome(call, 1000).await, "bad_payload x1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_no_body_and_keeps_the_connection() {
    let fixture = piped(always("HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n"));
    let head = || Call {
        method: Method::HEAD,
        ..get()
    };
    let answer = fixture.fetch(head(), 1000).await.result.unwrap();
    assert!(answer.body.is_none());
    assert_eq!(answer.headers["content-length"], "5000000");
    assert_eq!(fixture.outcome(head(), 1000).await, "200  x1");
    assert_eq!(
        fixture
            .dial
            .dialed
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_an_answer_cost_its_connection() {
    let fixture = piped(script(|number, mut peer| async move {
        peer.request().await.unwrap();
        let page = answer("200 OK", "", &format!("[{number}]"));
        peer.write(format!("{page}{}", answer("200 OK", "", "[\"poison\"]")))
            .await;
        peer.closed().await;
    }));
    assert_eq!(fixture.outcome(get(), 1000).await, "200 [0] x1");
    assert_eq!(fixture.outcome(get(), 1000).await, "200 [1] x1");
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_framing_costs_its_connection() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n\
                2\r\n{}\r\n0\r\n\r\n";
    let fixture = piped(always(page));
    for _ in 0..2 {
        assert_eq!(fixture.outcome(get(), 1000).await, "200 {} x1");
    }
    assert_eq!(
        fixture
            .dial
            .dialed
            .load(std::sync::atomic::Ordering::SeqCst),
        2
    );
}

// === `success_when`

/// Binds `$.reply.body` to root 0 and `$.reply.status` to root 1.
struct Reply;

impl Bind for Reply {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, Error> {
        let root = match rooted.text.contains("status") {
            true => Root(1),
            false => Root(0),
        };
        Ok(Bound { root, consumed: 2 })
    }
}

fn judged(route: &mut Route, condition: &str) {
    let mut condition = Condition::parse(condition).unwrap();
    condition.bind(&mut Reply).unwrap();
    let call = &mut route.calls[0];
    let slot = call.raw_demand.slot(&[]);
    assert_eq!(slot, Slot(0));
    call.success_when = Some(condition);
    route.sources = vec![
        Source::Reply(CallPart::Body(slot)),
        Source::Reply(CallPart::Status),
    ];
}

#[tokio::test(start_paused = true)]
async fn success_when_is_asked_of_any_answer() {
    async fn check(condition: &str, decode: Decode, page: String, expected: &str) {
        let fixture = piped(always(page.clone()));
        let mut exchange = exchange(once(Call { decode, ..get() }), 1000);
        let route = std::sync::Arc::get_mut(&mut exchange.route).unwrap();
        judged(route, condition);
        let found = shown(&fixture.client.fetch(exchange.into()).await);
        assert_eq!(found, format!("{expected} x1"), "{condition} {page}");
    }
    let page = |status: &str, body: &str| answer(status, "", body);
    let html = |status: &str, body: &str| answer(status, "content-type: text/html", body);
    const OK: &str = "$.reply.body.ok == true";
    const MISSING: &str = "$.reply.status == 404";
    let auto = Decode::Auto;
    check(
        OK,
        auto,
        page("200 OK", "{\"ok\":true}"),
        "200 {\"ok\":true}",
    )
    .await;
    check(
        OK,
        auto,
        page("200 OK", "{\"ok\":false}"),
        "unexpected_status",
    )
    .await;
    check(OK, auto, page("200 OK", ""), "unexpected_status").await;
    check(
        OK,
        auto,
        page("200 OK", "{\"ok\":true"),
        "unexpected_status",
    )
    .await;
    check(
        OK,
        auto,
        page("500 x", "{\"ok\":true}"),
        "500 {\"ok\":true}",
    )
    .await;
    check(OK, auto, page("500 x", "{\"ok\":false}"), "service_5xx").await;
    check(OK, auto, page("503 x", "oh"), "service_unavailable").await;
    check(OK, auto, html("200 OK", "{\"ok\":true}"), "bad_payload").await;
    check(MISSING, auto, page("404 x", "{}"), "404 {}").await;
    check(MISSING, auto, html("404 x", "<p>"), "bad_payload").await;
    check(MISSING, auto, html("404 x", ""), "404 ").await;
    check(MISSING, Decode::None, html("404 x", "<p>"), "404 ").await;
    check(MISSING, Decode::Text, html("404 x", "<p>"), "404 \"<p>\"").await;
    check(
        MISSING,
        Decode::Text,
        html("200 OK", "<p>"),
        "unexpected_status",
    )
    .await;
    check(
        OK,
        Decode::Text,
        page("500 x", "{\"ok\":true}"),
        "500 \"{\\\"ok\\\":true}\"",
    )
    .await;
}

// === The request

#[tokio::test(start_paused = true)]
async fn the_service_sees_what_the_file_says_and_what_we_add() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let fixture = piped(script(move |_, mut peer| {
        let sender = sender.clone();
        async move {
            while let Some(request) = peer.request().await {
                sender.send(request).unwrap();
                peer.json("1").await;
            }
        }
    }));
    let mut exchange = exchange(get(), 250);
    for (name, value) in [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("host", "evil.example"),
        ("content-length", "5"),
        ("via", "1.1 other"),
    ] {
        exchange.headers.insert(name, value.parse().unwrap());
    }
    fixture.client.fetch(exchange.into()).await.result.unwrap();
    let request = requests.recv().await.unwrap();
    let mut lines: Vec<&str> = request.trim_end().lines().collect();
    assert_eq!(lines.remove(0), "GET /base/me?page=1 HTTP/1.1");
    lines.sort_unstable();
    let via = format!(
        "via: 1.1 edge, 1.1 {}",
        crate::downstream::send::pseudonym()
    );
    let traceparent = lines.iter().find(|line| line.starts_with("traceparent"));
    let (start, end) = ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-", "-01");
    let span = traceparent.unwrap().strip_prefix(start).unwrap();
    let span = span.strip_suffix(end).unwrap();
    assert!(span.len() == 16 && span != "0000000000000000", "{span}");
    lines.retain(|line| !line.starts_with("traceparent"));
    assert_eq!(
        lines,
        [
            "accept: application/json",
            "host: 127.0.0.1:80",
            "tracestate: a=b",
            "user-agent: anabranch",
            via.as_str(),
            "x-request-id: req-1",
            "x-request-timeout: 250ms",
            "x-user: 7",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_is_framed_by_its_length() {
    async fn check(call: Call, body: &'static str, expected: &str) {
        let (sender, mut requests) = mpsc::unbounded_channel();
        let fixture = piped(script(move |_, mut peer| {
            let sender = sender.clone();
            async move {
                sender.send(peer.request().await.unwrap()).unwrap();
                peer.json("1").await;
            }
        }));
        let mut exchange = exchange(call, 250);
        exchange.body = Bytes::from_static(body.as_bytes());
        fixture.client.fetch(exchange.into()).await.result.unwrap();
        let request = requests.recv().await.unwrap();
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let length = lines.find(|line| line.starts_with("content-length"));
        assert_eq!(format!("{} {sent}", length.unwrap_or("-")), expected);
        assert!(!head.contains("transfer-encoding"));
    }
    check(post(), "{\"a\":1}", "content-length: 7 {\"a\":1}").await;
    check(post(), "", "content-length: 0 ").await;
    check(get(), "", "- ").await;
    check(get(), "{}", "content-length: 2 {}").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_file_sets_wins_over_what_we_add() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let fixture = piped(script(move |_, mut peer| {
        let sender = sender.clone();
        async move {
            sender.send(peer.request().await.unwrap()).unwrap();
            peer.json("1").await;
        }
    }));
    let mut exchange = exchange(get(), 250);
    exchange
        .headers
        .insert("accept", "text/plain".parse().unwrap());
    exchange
        .headers
        .insert("user-agent", "mine".parse().unwrap());
    fixture.client.fetch(exchange.into()).await.result.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.contains("\r\naccept: text/plain\r\n"), "{request}");
    assert!(request.contains("\r\nuser-agent: mine\r\n"), "{request}");
}
