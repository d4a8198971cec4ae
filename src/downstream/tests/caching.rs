//! Layer 3: what is kept, for how long, and for whom.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use tokio::time::advance;

use super::support::*;
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, CacheFate, CacheNote, Exchange, Fetch, Fetched, Forwarded, Row, StreamedRequest,
};
use crate::path::{Condition, Root};
use crate::plan::{Batch, Cache, Call, Fallback, FallbackKind, ForEach, Role, Ttl};
use crate::template::{Place, Text, choice};

fn by(ttl: Ttl) -> Cache {
    Cache {
        ttl,
        stale_while_revalidate: None,
        stale_if_error: None,
        negative: None,
    }
}

fn kept_for(milliseconds: u64) -> Cache {
    by(Ttl::For(Duration::from_millis(milliseconds)))
}

fn cached(cache: Cache) -> Call {
    Call {
        cache: Some(cache),
        coalesce: true,
        key_prefix: "users\u{1e}http://a\u{1e}auto\u{1e}".into(),
        ..once(get())
    }
}

/// `hit 200 [1]`, `miss, stored 200 [1]`, `stale 304, stored 200 [1]`, `miss service_4xx`.
fn told(fetched: &Fetched) -> String {
    let result = shown(fetched);
    let (result, _) = result.rsplit_once(" x").unwrap();
    format!("{} {result}", fate(fetched.note))
}

fn fate(note: Option<CacheNote>) -> String {
    match note.map(|note| note.fate) {
        None => "none".into(),
        Some(CacheFate::Hit) => "hit".into(),
        Some(CacheFate::Forwarded(Forwarded {
            why,
            status,
            stored,
            collapsed,
        })) => {
            let status = status.map_or(String::new(), |status| format!(" {status}"));
            let stored = if stored { ", stored" } else { "" };
            let collapsed = if collapsed { ", collapsed" } else { "" };
            format!("{}{status}{stored}{collapsed}", why.word())
        }
    }
}

async fn ask(fixture: &Fixture<Piped>, call: Call) -> String {
    told(&fixture.fetch(call, 1000).await)
}

async fn ask_with(fixture: &Fixture<Piped>, call: Call, lines: &[(&'static str, &str)]) -> String {
    told(&fixture.client.fetch(with(call, lines).into()).await)
}

fn with(call: Call, lines: &[(&'static str, &str)]) -> Exchange {
    let mut exchange = exchange(call, 1000);
    for (name, value) in lines {
        let name = HeaderName::from_static(name);
        exchange
            .headers
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    exchange
}

fn numbered(
    lines: &'static str,
) -> (
    Fixture<Piped>,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    responding(move |number, _| (10, answer("200 OK", lines, &format!("[{number}]"))))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// === with a written time to live

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_while_it_is_fresh() {
    let (fixture, asked) = numbered("");
    let call = || cached(kept_for(1000));
    assert_eq!(ask(&fixture, call()).await, "miss, stored 200 [1]");
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    advance(Duration::from_millis(900)).await;
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    // Expiry is spread by 5 %.
    advance(Duration::from_millis(160)).await;
    assert_eq!(ask(&fixture, call()).await, "stale, stored 200 [2]");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hit_takes_no_permit_and_feeds_no_breaker() {
    let (fixture, _) = numbered("");
    let call = || cached(kept_for(1000));
    ask(&fixture, call()).await;
    let before = fixture.heard.attempts();
    let fetched = fixture.fetch(call(), 1000).await;
    assert_eq!(fetched.attempts, 0);
    assert_eq!(fixture.heard.attempts(), before);
    assert_eq!(fixture.client.usage(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn two_clients_with_credentials_of_their_own_share_nothing() {
    let (fixture, asked) = numbered("");
    let call = || cached(kept_for(1000));
    let (anna, ben) = ([("authorization", "a")], [("authorization", "b")]);
    let (first, second) = tokio::join!(
        ask_with(&fixture, call(), &anna),
        ask_with(&fixture, call(), &ben)
    );
    assert_ne!(first, second);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let again = ask_with(&fixture, call(), &anna).await;
    assert_eq!(again.replace("hit", "miss, stored"), first);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_never_kept() {
    for ttl in [Ttl::For(seconds(1)), Ttl::FromHeaders] {
        let (fixture, _) = numbered("set-cookie: a=1\r\ncache-control: max-age=9");
        let told = ask(&fixture, cached(by(ttl))).await;
        assert!(told.ends_with("miss 200 [1]"), "{told}");
        let told = ask(&fixture, cached(by(ttl))).await;
        assert!(told.ends_with("miss 200 [2]"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_only_where_it_is_asked_for() {
    let failing = |status: &'static str| responding(move |_, _| (10, answer(status, "", "")));
    let (fixture, _) = failing("404 Not Found");
    let call = || cached(kept_for(1000));
    assert_eq!(ask(&fixture, call()).await, "miss service_4xx");
    assert_eq!(ask(&fixture, call()).await, "miss service_4xx");
    let negative = || {
        cached(Cache {
            negative: Some(seconds(5)),
            ..kept_for(60_000)
        })
    };
    assert_eq!(ask(&fixture, negative()).await, "miss, stored service_4xx");
    assert_eq!(ask(&fixture, negative()).await, "hit service_4xx");
    let fetched = fixture.fetch(negative(), 1000).await;
    assert_eq!(fetched.result.unwrap_err().status, Some(404));
    advance(Duration::from_millis(5300)).await;
    assert_eq!(ask(&fixture, negative()).await, "stale, stored service_4xx");
    for status in ["400 Bad", "500 Oh"] {
        let (fixture, _) = failing(status);
        let told = ask(&fixture, negative()).await;
        assert!(told.starts_with("miss service_"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_while_a_new_one_is_fetched() {
    let (fixture, asked) = numbered("");
    let call = || {
        cached(Cache {
            stale_while_revalidate: Some(seconds(10)),
            ..kept_for(1000)
        })
    };
    ask(&fixture, call()).await;
    advance(seconds(5)).await;
    for _ in 0..3 {
        assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    }
    fixture.process.tasks.finished().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(ask(&fixture, call()).await, "hit 200 [2]");
    advance(seconds(12)).await;
    assert_eq!(ask(&fixture, call()).await, "stale, stored 200 [3]");
}

#[tokio::test(start_paused = true)]
async fn shortly_before_its_end_an_answer_is_fetched_anew_by_chance() {
    // A fetch takes a second, so of those who ask in the last second about 1 − 1/e each begin one.
    let (fixture, asked) =
        responding(|number, _| (1000, answer("200 OK", "", &format!("[{number}]"))));
    let call = || cached(kept_for(10_000));
    fixture.fetch(call(), 5000).await;
    advance(Duration::from_millis(2000)).await;
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    advance(Duration::from_millis(7000)).await;
    for _ in 0..40 {
        assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    }
    fixture.process.tasks.finished().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(ask(&fixture, call()).await, "hit 200 [2]");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_stands_in_for_a_failure_where_it_may() {
    let (fixture, _) = responding(|number, _| match number {
        1 => (10, answer("200 OK", "", "[1]")),
        2 => (10, answer("500 Oh", "", "")),
        _ => (10, answer("404 Not Found", "", "")),
    });
    let call = || {
        cached(Cache {
            stale_if_error: Some(seconds(60)),
            ..kept_for(1000)
        })
    };
    let stand_in = |code| {
        let answer = fixture
            .client
            .stale_if_error(&exchange(call(), 1000), code)?;
        Some(answer.body.unwrap().bytes().clone())
    };
    ask(&fixture, call()).await;
    advance(seconds(30)).await;
    // The failure is the engine's to cover, so that it is told of.
    assert_eq!(ask(&fixture, call()).await, "stale service_5xx");
    assert_eq!(stand_in(Code::Service5xx).as_deref(), Some(&b"[1]"[..]));
    assert_eq!(stand_in(Code::ConnectRefused).as_deref(), Some(&b"[1]"[..]));
    // What the service says of the request itself stays said.
    assert_eq!(stand_in(Code::Service4xx), None);
    advance(seconds(32)).await;
    assert_eq!(stand_in(Code::Service5xx), None);
}

// === by the headers of the answer

#[tokio::test(start_paused = true)]
async fn the_headers_say_for_how_long() {
    async fn check(lines: &'static str, first: &str, second: &str) {
        let (fixture, _) = numbered(lines);
        let call = || cached(by(Ttl::FromHeaders));
        assert_eq!(
            ask(&fixture, call()).await,
            format!("uri-miss{first} 200 [1]"),
            "{lines}"
        );
        assert_eq!(ask(&fixture, call()).await, second, "{lines}");
    }
    check("cache-control: max-age=60", ", stored", "hit 200 [1]").await;
    check("cache-control: s-maxage=60", ", stored", "hit 200 [1]").await;
    check("", "", "uri-miss 200 [2]").await;
    check("cache-control: max-age=60, private", "", "uri-miss 200 [2]").await;
    check("cache-control: no-store", "", "uri-miss 200 [2]").await;
    check(
        "cache-control: max-age=60\r\nvary: *",
        "",
        "uri-miss 200 [2]",
    )
    .await;
    check(
        "cache-control: max-age=60\r\nage: 70",
        ", stored",
        "stale, stored 200 [2]",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_differ_by_what_they_vary_by() {
    let (fixture, asked) = numbered("cache-control: max-age=60\r\nvary: Accept-Language");
    let call = || cached(by(Ttl::FromHeaders));
    let (de, fr) = ([("accept-language", "de")], [("accept-language", "fr")]);
    assert_eq!(
        ask_with(&fixture, call(), &de).await,
        "uri-miss, stored 200 [1]"
    );
    assert_eq!(
        ask_with(&fixture, call(), &fr).await,
        "vary-miss, stored 200 [2]"
    );
    assert_eq!(ask(&fixture, call()).await, "vary-miss, stored 200 [3]");
    assert_eq!(ask_with(&fixture, call(), &de).await, "hit 200 [1]");
    let other = [("accept-language", "fr"), ("x-other", "1")];
    assert_eq!(ask_with(&fixture, call(), &other).await, "hit 200 [2]");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_for_one_client_unless_the_service_says_otherwise() {
    let user = [("authorization", "a")];
    let call = || cached(by(Ttl::FromHeaders));
    let (fixture, _) = numbered("cache-control: max-age=60");
    assert_eq!(ask_with(&fixture, call(), &user).await, "uri-miss 200 [1]");
    let (fixture, _) = numbered("cache-control: max-age=60, public");
    assert_eq!(
        ask_with(&fixture, call(), &user).await,
        "uri-miss, stored 200 [1]"
    );
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_asked_about_by_its_tag() {
    let (fixture, _) = responding(|_, request| {
        let lines = "etag: \"v1\"\r\ncache-control: max-age=5";
        match request.contains("if-none-match: \"v1\"") {
            true => (10, answer("304 Not Modified", lines, "")),
            false => (10, answer("200 OK", lines, "[1]")),
        }
    });
    let call = || cached(by(Ttl::FromHeaders));
    assert_eq!(ask(&fixture, call()).await, "uri-miss, stored 200 [1]");
    advance(seconds(6)).await;
    let fetched = fixture.fetch(call(), 1000).await;
    assert_eq!(told(&fetched), "stale 304, stored 200 [1]");
    assert_eq!(fetched.attempts, 1);
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
}

#[tokio::test(start_paused = true)]
async fn a_304_about_another_answer_is_not_believed() {
    let (fixture, asked) = responding(|number, _| match number {
        1 => (
            10,
            answer("200 OK", "etag: \"v1\"\r\ncache-control: max-age=0", "[1]"),
        ),
        2 => (10, answer("304 Not Modified", "etag: \"v9\"", "")),
        _ => (10, answer("200 OK", "etag: \"v9\"", "[9]")),
    });
    let call = || cached(by(Ttl::FromHeaders));
    ask(&fixture, call()).await;
    let fetched = fixture.fetch(call(), 1000).await;
    assert_eq!(told(&fetched), "stale, stored 200 [9]");
    assert_eq!(fetched.attempts, 2);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_validated_is_never_given_stale() {
    let (fixture, _) = responding(|number, _| match number {
        1 => (
            10,
            answer("200 OK", "cache-control: max-age=1, must-revalidate", "[1]"),
        ),
        _ => (10, answer("503 Oh", "", "")),
    });
    let call = || {
        cached(Cache {
            stale_while_revalidate: Some(seconds(60)),
            stale_if_error: Some(seconds(60)),
            ..by(Ttl::FromHeaders)
        })
    };
    ask(&fixture, call()).await;
    advance(seconds(2)).await;
    assert_eq!(ask(&fixture, call()).await, "stale service_unavailable");
    let stand_in = fixture
        .client
        .stale_if_error(&exchange(call(), 1000), Code::ServiceUnavailable);
    assert!(stand_in.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_write_makes_what_is_kept_of_its_url_bad() {
    let (fixture, _) = responding(|number, request| {
        let status = match request.contains("x-fails") {
            true => "500 Oh",
            false => "200 OK",
        };
        let lines = "cache-control: max-age=60\r\nvary: x-user";
        (10, answer(status, lines, &format!("[{number}]")))
    });
    let call = || cached(by(Ttl::FromHeaders));
    let write = || Call {
        key_prefix: call().key_prefix,
        ..post()
    };
    assert_eq!(ask(&fixture, call()).await, "uri-miss, stored 200 [1]");
    ask_with(&fixture, write(), &[("x-fails", "1")]).await;
    assert_eq!(ask(&fixture, call()).await, "hit 200 [1]");
    ask(&fixture, write()).await;
    assert_eq!(ask(&fixture, call()).await, "uri-miss, stored 200 [4]");
}

#[tokio::test(start_paused = true)]
async fn answers_that_differ_by_something_else_than_before_have_a_new_note() {
    let (fixture, _) = responding(|number, _| {
        let by = if number == 1 { "x-user" } else { "x-tenant" };
        let lines = format!("cache-control: max-age=60\r\nvary: {by}");
        (10, answer("200 OK", &lines, &format!("[{number}]")))
    });
    let call = || cached(by(Ttl::FromHeaders));
    let as_user = async |user, tenant| {
        let lines = [("x-user", user), ("x-tenant", tenant)];
        ask_with(&fixture, call(), &lines).await
    };
    assert_eq!(as_user("a", "1").await, "uri-miss, stored 200 [1]");
    assert_eq!(as_user("a", "2").await, "hit 200 [1]");
    assert_eq!(as_user("b", "1").await, "vary-miss, stored 200 [2]");
    // What was kept under the old note is out of reach, whomever it was for.
    assert_eq!(as_user("a", "1").await, "hit 200 [2]");
    assert_eq!(as_user("a", "2").await, "vary-miss, stored 200 [3]");
    assert_eq!(as_user("b", "2").await, "hit 200 [3]");
}

#[tokio::test(start_paused = true)]
async fn a_purge_finds_a_path_however_it_is_written() {
    let (fixture, _) = numbered("cache-control: max-age=60");
    let shelf = &fixture.process.shelf;
    for ttl in [Ttl::For(seconds(60)), Ttl::FromHeaders] {
        for written in ["/p%20%c3%a9/@1", "/p é/@1", "/p%20%C3%A9/%401"] {
            let mut exchange = exchange(cached(by(ttl)), 1000);
            exchange.target = "/p%20%c3%a9/@1?x=1".into();
            let first = told(&fixture.client.fetch(exchange.clone().into()).await);
            assert!(first.contains("stored"), "{first}");
            assert_eq!(shelf.purge("users", Some("/p%2520%c3%a9/@1")), 0);
            assert!(shelf.purge("users", Some(written)) > 0, "{written}");
            let again = told(&fixture.client.fetch(exchange.into()).await);
            assert!(again.contains("stored"), "{again}");
            shelf.purge("users", None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_removes_a_path_or_a_service() {
    let (fixture, _) = numbered("cache-control: max-age=60");
    let shelf = &fixture.process.shelf;
    for ttl in [Ttl::For(seconds(60)), Ttl::FromHeaders] {
        let call = || cached(by(ttl));
        ask(&fixture, call()).await;
        assert_eq!(shelf.purge("users", Some("/other")), 0);
        assert_eq!(shelf.purge("orders", None), 0);
        let is_kept = |told: String| told.starts_with("hit");
        assert!(is_kept(ask(&fixture, call()).await));
        assert!(shelf.purge("users", Some("/me")) > 0);
        assert!(!is_kept(ask(&fixture, call()).await));
        assert!(shelf.purge("users", None) > 0);
        assert!(!is_kept(ask(&fixture, call()).await));
        shelf.purge("users", None);
    }
}

// === what is passed

fn passed(cache: Cache) -> Call {
    Call {
        role: Role::Pass,
        ..cached(cache)
    }
}

/// `hit 200 age=3: [1]`.
async fn pass(fixture: &Fixture<Piped>, call: Call, lines: &[(&'static str, &str)]) -> String {
    let opened = fixture
        .client
        .open(with(call, lines).into(), StreamedRequest::Buffered)
        .await;
    let told = fate(opened.note);
    let head = opened.result.ok().unwrap();
    let age = head.headers.get("age").map_or(String::new(), |age| {
        format!(" age={}", age.to_str().unwrap())
    });
    let status = head.status;
    let bytes = head.body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    format!("{told} {status}{age}: {text}")
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_is_kept_when_it_has_come_to_its_end() {
    let (fixture, asked) = responding(|number, _| {
        let lines = "cache-control: max-age=60\r\netag: \"a\"\r\ncontent-type: text/html";
        (10, answer("200 OK", lines, &format!("<p>{number}")))
    });
    let call = || passed(by(Ttl::FromHeaders));
    assert_eq!(
        pass(&fixture, call(), &[]).await,
        "uri-miss, stored 200: <p>1"
    );
    advance(seconds(3)).await;
    assert_eq!(pass(&fixture, call(), &[]).await, "hit 200 age=3: <p>1");
    let known = [("if-none-match", "W/\"a\"")];
    assert_eq!(pass(&fixture, call(), &known).await, "hit 304 age=3: ");
    let known = [("if-none-match", "\"b\"")];
    assert_eq!(pass(&fixture, call(), &known).await, "hit 200 age=3: <p>1");
    let none = [("cache-control", "no-cache")];
    assert_eq!(
        pass(&fixture, call(), &none).await,
        "request, stored 200: <p>2"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_or_is_too_long_is_not_kept() {
    let (fixture, _) = responding(|number, _| match number {
        1 => (
            10,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncache-control: max-age=60\r\n\r\n<p>".into(),
        ),
        _ => (
            10,
            answer("200 OK", "cache-control: max-age=60", "<p>0123456789"),
        ),
    });
    let call = || Call {
        max_body: 12,
        ..passed(by(Ttl::FromHeaders))
    };
    let opened = fixture
        .client
        .open(exchange(call(), 1000).into(), StreamedRequest::Buffered)
        .await;
    // The head has come; of the body only a part is read, and the rest is dropped.
    drop(opened);
    for _ in 0..2 {
        let told = pass(&fixture, call(), &[]).await;
        assert_eq!(told, "uri-miss 200: <p>0123456789");
    }
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_is_validated_too() {
    let (fixture, _) = responding(|_, request| {
        let lines = "last-modified: Tue, 15 Nov 1994 08:12:31 GMT\r\ncache-control: max-age=5";
        match request.contains("if-modified-since: Tue, 15 Nov 1994 08:12:31 GMT") {
            true => (10, answer("304 Not Modified", lines, "")),
            false => (10, answer("200 OK", lines, "<p>")),
        }
    });
    let call = || passed(by(Ttl::FromHeaders));
    assert_eq!(
        pass(&fixture, call(), &[]).await,
        "uri-miss, stored 200: <p>"
    );
    advance(seconds(6)).await;
    let told = pass(&fixture, call(), &[]).await;
    assert_eq!(told, "stale 304, stored 200 age=0: <p>");
    assert_eq!(pass(&fixture, call(), &[]).await, "hit 200 age=0: <p>");
}

#[tokio::test(start_paused = true)]
async fn a_part_is_cut_out_of_what_is_kept() {
    let (fixture, asked) = responding(|_, request| {
        let lines = "etag: \"a\"\r\ncache-control: max-age=5\r\nx-n: 1";
        match request.contains("if-none-match: \"a\"") {
            true => (10, answer("304 Not Modified", "x-n: 2", "")),
            false => (10, answer("200 OK", lines, "0123456789")),
        }
    });
    let call = || passed(by(Ttl::FromHeaders));
    pass(&fixture, call(), &[]).await;
    let range = |range| [("range", range)];
    let some = pass(&fixture, call(), &range("bytes=2-4")).await;
    assert_eq!(some, "hit 206 age=0: 234");
    let none = pass(&fixture, call(), &range("bytes=10-")).await;
    assert_eq!(none, "hit 416: ");
    let several = pass(&fixture, call(), &range("bytes=0-1, 4-5")).await;
    assert_eq!(several, "hit 200 age=0: 0123456789");
    let other = [("range", "bytes=2-4"), ("if-range", "\"b\"")];
    let whole = pass(&fixture, call(), &other).await;
    assert_eq!(whole, "hit 200 age=0: 0123456789");
    // Who has it already needs no part of it.
    let known = [("range", "bytes=2-4"), ("if-none-match", "\"a\"")];
    assert_eq!(pass(&fixture, call(), &known).await, "hit 304 age=0: ");
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // The whole is validated, and the part is cut out of what holds then.
    advance(seconds(6)).await;
    let opened = fixture
        .client
        .open(
            with(call(), &range("bytes=-3")).into(),
            StreamedRequest::Buffered,
        )
        .await;
    assert_eq!(fate(opened.note), "stale 304, stored");
    let head = opened.result.ok().unwrap();
    assert_eq!(head.status, 206);
    assert_eq!(head.headers["content-range"], "bytes 7-9/10");
    assert_eq!(head.headers["x-n"], "2");
    assert!(!head.headers.contains_key("content-length"));
    assert_eq!(head.body.collect().await.unwrap().to_bytes(), "789");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_is_passed_and_not_kept() {
    let (fixture, _) = responding(|_, request| {
        let lines = "cache-control: max-age=60\r\ncontent-range: bytes 0-1/10";
        match request.contains("range: bytes=0-1") {
            true => (10, answer("206 Partial Content", lines, "01")),
            false => (
                10,
                answer("200 OK", "cache-control: max-age=60", "0123456789"),
            ),
        }
    });
    let call = || passed(by(Ttl::FromHeaders));
    let range = [("range", "bytes=0-1")];
    for _ in 0..2 {
        let told = pass(&fixture, call(), &range).await;
        assert_eq!(told, "uri-miss 206: 01");
    }
    let told = pass(&fixture, call(), &[]).await;
    assert_eq!(told, "uri-miss, stored 200: 0123456789");
}

/// Answers once, with these lines, and cuts every connection after that.
fn cut_off(lines: String) -> Fixture<Piped> {
    piped(script(move |number, mut peer| {
        let answer = answer("200 OK", &lines, "[1]");
        async move {
            if number == 0 && peer.request().await.is_some() {
                peer.write(answer).await;
            }
            peer.request().await;
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn nothing_stale_is_given_against_the_word_of_the_service_when_it_is_cut_off() {
    let cache = || Cache {
        stale_while_revalidate: Some(seconds(60)),
        stale_if_error: Some(seconds(60)),
        ..by(Ttl::FromHeaders)
    };
    let lines = |word: &str| format!("etag: \"a\"\r\ncache-control: max-age=2{word}");
    for word in [
        "must-revalidate",
        "proxy-revalidate",
        "no-cache",
        "s-maxage=2",
    ] {
        let fixture = cut_off(lines(&format!(", {word}")));
        let call = || cached(cache());
        let told = ask(&fixture, call()).await;
        assert_eq!(told, "uri-miss, stored 200 [1]", "{word}");
        advance(seconds(3)).await;
        let told = ask(&fixture, call()).await;
        assert_eq!(told, "stale reset", "{word}");
        let stand_in = fixture
            .client
            .stale_if_error(&exchange(call(), 1000), Code::Reset);
        assert!(stand_in.is_none(), "{word}");

        let fixture = cut_off(lines(&format!(", {word}")));
        let call = || passed(cache());
        let told = pass(&fixture, call(), &[]).await;
        assert_eq!(told, "uri-miss, stored 200: [1]", "{word}");
        advance(seconds(3)).await;
        let opened = fixture
            .client
            .open(exchange(call(), 1000).into(), StreamedRequest::Buffered)
            .await;
        let error = opened.result.err().map(|error| error.code);
        assert_eq!(error, Some(Code::Reset), "{word}");
    }
    // Without such a word it is given.
    let fixture = cut_off(lines(""));
    pass(&fixture, passed(cache()), &[]).await;
    advance(seconds(3)).await;
    let told = pass(&fixture, passed(cache()), &[]).await;
    assert_eq!(told, "hit 200 age=3: [1]");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_only_what_is_kept_is_wanted() {
    let (fixture, asked) = numbered("cache-control: max-age=60");
    let only = [("cache-control", "only-if-cached")];
    let told = pass(&fixture, passed(by(Ttl::FromHeaders)), &only).await;
    assert_eq!(told, "none 504: ");
    let told = ask_with(&fixture, cached(by(Ttl::FromHeaders)), &only).await;
    assert_eq!(told, "none service_unavailable");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_passed_in_place_of_a_failure_where_it_may_be() {
    let (fixture, _) = responding(|number, _| match number {
        1 => (10, answer("200 OK", "cache-control: max-age=1", "<p>")),
        2 => (10, answer("503 Oh", "", "sorry")),
        3 => (10, "HTTP/1.1 nonsense\r\n\r\n".into()),
        _ => (10, answer("404 Not Found", "", "no")),
    });
    let call = || {
        passed(Cache {
            stale_if_error: Some(seconds(60)),
            ..by(Ttl::FromHeaders)
        })
    };
    assert_eq!(
        pass(&fixture, call(), &[]).await,
        "uri-miss, stored 200: <p>"
    );
    advance(seconds(5)).await;
    for covered in [Code::ServiceUnavailable, Code::ProtocolError] {
        let opened = fixture
            .client
            .open(exchange(call(), 1000).into(), StreamedRequest::Buffered)
            .await;
        let error = opened.covered.as_ref().unwrap();
        assert_eq!(error.code, covered);
        let head = opened.result.ok().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers["age"], "5");
        let bytes = head.body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes, "<p>");
    }
    assert_eq!(pass(&fixture, call(), &[]).await, "stale 404: no");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_as_a_success_is_given_as_one_and_failures_only_where_asked_for() {
    let answers_with = |status: &'static str| {
        responding(move |number, _| (10, answer(status, "", &format!("[{number}]"))))
    };
    // The call takes 404 for a success; what else is no 2xx stays a failure, and is not kept.
    let call = || Call {
        success_when: Some(Condition::parse("$.reply.status == 404").unwrap()),
        ..passed(kept_for(60_000))
    };
    let (fixture, _) = answers_with("404 Not Found");
    // Judging is for what is read whole; what is passed goes by its status.
    assert_eq!(pass(&fixture, call(), &[]).await, "miss 404: [1]");
    let (fixture, _) = answers_with("400 Bad");
    let call = || cached(kept_for(60_000));
    assert_eq!(ask(&fixture, call()).await, "miss service_4xx");
    assert_eq!(ask(&fixture, call()).await, "miss service_4xx");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_streams_for_long_has_grown_old_meanwhile() {
    let (fixture, _) =
        responding(|_, _| (10, answer("200 OK", "cache-control: max-age=60", "<p>")));
    let call = || passed(by(Ttl::FromHeaders));
    let opened = fixture
        .client
        .open(exchange(call(), 1000).into(), StreamedRequest::Buffered)
        .await;
    let body = opened.result.ok().unwrap().body;
    advance(seconds(5)).await;
    body.collect().await.unwrap();
    assert_eq!(pass(&fixture, call(), &[]).await, "hit 200 age=5: <p>");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_by_what_it_says_of_itself() {
    // One language is not there; the others stay kept.
    let (fixture, asked) = responding(|_, request| {
        let lines = "vary: accept-language\r\ncache-control: max-age=60";
        match request.contains("accept-language: xx") {
            true => (10, answer("404 Not Found", lines, "")),
            false => (10, answer("200 OK", lines, "[1]")),
        }
    });
    let negative = || {
        cached(Cache {
            negative: Some(seconds(5)),
            ..by(Ttl::FromHeaders)
        })
    };
    let (en, xx) = ([("accept-language", "en")], [("accept-language", "xx")]);
    ask_with(&fixture, negative(), &en).await;
    let told = ask_with(&fixture, negative(), &xx).await;
    assert_eq!(told, "vary-miss, stored service_4xx");
    assert_eq!(ask_with(&fixture, negative(), &xx).await, "hit service_4xx");
    assert_eq!(ask_with(&fixture, negative(), &en).await, "hit 200 [1]");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let lines = "cache-control: private, no-store";
    let (fixture, _) = responding(move |_, _| (10, answer("404 Not Found", lines, "")));
    for _ in 0..2 {
        let told = ask(&fixture, negative()).await;
        assert_eq!(told, "uri-miss service_4xx");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_purge_is_not_kept() {
    let (fixture, _) = responding(|number, _| (100, answer("200 OK", "", &format!("[{number}]"))));
    let call = || cached(kept_for(60_000));
    let purge = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        fixture.process.shelf.purge("users", None)
    };
    let (told, _) = tokio::join!(ask(&fixture, call()), purge);
    assert_eq!(told, "miss 200 [1]");
    assert_eq!(ask(&fixture, call()).await, "miss, stored 200 [2]");
    assert_eq!(ask(&fixture, call()).await, "hit 200 [2]");
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_came_to_nothing_counts_as_an_attempt() {
    let (fixture, asked) = responding(|number, _| match number {
        1 => (
            10,
            answer("200 OK", "etag: \"a\"\r\ncache-control: max-age=0", "[1]"),
        ),
        2 | 4.. => (10, answer("503 Oh", "", "")),
        3 => (10, answer("304 Not Modified", "etag: \"b\"", "")),
        0 => unreachable!("from 1"),
    });
    let call = || Call {
        retry: get().retry,
        ..cached(by(Ttl::FromHeaders))
    };
    ask(&fixture, call()).await;
    let fetched = fixture.fetch(call(), 1000).await;
    assert_eq!(shown(&fetched), "service_unavailable x3");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_row_is_no_answer_and_no_row_of_another_match() {
    let bulk = |of_row: &str| Call {
        for_each: Some(ForEach {
            variable: Root(0),
            source: choice::parse("$.a.body", true).unwrap(),
            max_items: 9,
            concurrency: 1,
            min_ok: 100.0,
            batch: Some(Batch {
                key: Text::parse("{{p}}", &[], Place::Plain).unwrap(),
                keys: Root(1),
                size: 9,
                rows: choice::parse("$.reply.body[*]", true).unwrap(),
                row: Root(2),
                of_row: Text::parse("{{row}}", &[], Place::Plain).unwrap(),
                form: format!("row {of_row}"),
            }),
        }),
        ..kept_in_both_ways()
    };
    let (fixture, _) = numbered("");
    let client = &fixture.client;
    let answer = client
        .fetch(exchange(kept_in_both_ways(), 1000).into())
        .await;
    let found = client.look_up(vec![exchange(bulk("a"), 1000)]).await;
    assert!(found[0].is_none());
    let row = Row {
        exchange: exchange(bulk("a"), 1000),
        body: "7".into(),
    };
    client.keep_rows(&answer.result.unwrap(), vec![row]);
    let body = |answer: &Answer| answer.body.as_ref().unwrap().bytes().clone();
    let exchanges = vec![exchange(bulk("a"), 1000), exchange(bulk("b"), 1000)];
    let found = client.look_up(exchanges).await;
    assert_eq!(body(&found[0].as_ref().unwrap().answer), "7");
    assert!(found[1].is_none());
    let last = |call| client.last_good(&exchange(call, 1000), seconds(60));
    assert_eq!(body(&last(bulk("a")).unwrap()), "7");
    assert!(last(bulk("b")).is_none());
    assert_eq!(body(&last(kept_in_both_ways()).unwrap()), "[1]");
    assert_eq!(ask(&fixture, kept_in_both_ways()).await, "hit 200 [1]");
}

fn kept_in_both_ways() -> Call {
    Call {
        fallback: vec![Fallback {
            only_not_sent: false,
            kind: FallbackKind::Stale(seconds(60)),
        }],
        ..cached(kept_for(60_000))
    }
}

#[tokio::test(start_paused = true)]
async fn no_row_is_renewed_twice_at_once() {
    let (fixture, asked) = responding(|_, _| (10, answer("500 Oh", "", "")));
    let row = |name: &str| {
        let mut row = exchange(cached(kept_for(1000)), 1000);
        row.target = format!("/rows?ids={name}");
        (name.to_owned(), row)
    };
    let renew = |names: &[&str]| {
        let rows = names.iter().map(|name| row(name)).collect();
        let whole = row(&names.join(",")).1;
        fixture.client.renew_rows(whole, rows);
    };
    renew(&["a", "b"]);
    renew(&["b", "c"]);
    renew(&["d"]);
    fixture.process.tasks.finished().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    renew(&["b", "c"]);
    fixture.process.tasks.finished().await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(fixture.process.renewals.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_a_written_ttl_too_conditions_and_ranges_are_answered_from_the_whole() {
    let (fixture, asked) = responding(|_, request| match request.contains("range: ") {
        true => (
            10,
            answer("206 Partial Content", "content-range: bytes 0-0/3", "<"),
        ),
        false => (10, answer("200 OK", "etag: \"a\"", "<p>")),
    });
    let call = || passed(kept_for(60_000));
    let part = [("range", "bytes=0-0")];
    // A part that the service sends is nobody else's.
    assert_eq!(pass(&fixture, call(), &part).await, "miss 206: <");
    assert_eq!(pass(&fixture, call(), &[]).await, "miss, stored 200: <p>");
    assert_eq!(pass(&fixture, call(), &part).await, "hit 206 age=0: <");
    let known = [("if-none-match", "\"a\"")];
    assert_eq!(pass(&fixture, call(), &known).await, "hit 304 age=0: ");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
