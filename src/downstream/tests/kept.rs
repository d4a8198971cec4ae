//! The last good answers: what is kept, and for whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::advance;

use super::support::*;
use crate::engine::fetch::{Exchange, Fetch};
use crate::plan::{Call, Fallback, FallbackKind};

const MINUTE: Duration = Duration::from_secs(60);

fn kept() -> Call {
    Call {
        fallback: vec![Fallback {
            only_not_sent: false,
            kind: FallbackKind::Stale(MINUTE),
        }],
        key_prefix: "users".into(),
        ..once(get())
    }
}

fn body_of(fixture: &Fixture<Piped>, exchange: &Exchange) -> Option<String> {
    let answer = fixture.client.last_good(exchange, MINUTE)?;
    let body = answer.body.map(|body| body.bytes().to_vec());
    Some(String::from_utf8(body.unwrap_or_default()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_the_same_request_only() {
    let fixture = piped(always(answer("200 OK", "", "[1]")));
    let ask = || exchange(kept(), 300);
    assert_eq!(body_of(&fixture, &ask()), None);
    fixture.client.fetch(ask().into()).await;
    assert_eq!(body_of(&fixture, &ask()).as_deref(), Some("[1]"));
    // Everything that the route file sets is a part of the key, credentials above all.
    let mut other = ask();
    other
        .headers
        .insert("x-user", HeaderValue::from_static("8"));
    assert_eq!(body_of(&fixture, &other), None);
    let mut other = ask();
    other.headers.remove("x-user");
    assert_eq!(body_of(&fixture, &other), None);
    let mut other = ask();
    other.target.push('0');
    assert_eq!(body_of(&fixture, &other), None);
    let mut other = ask();
    other.body = "1".into();
    assert_eq!(body_of(&fixture, &other), None);
    let elsewhere = Call {
        key_prefix: "others".into(),
        ..kept()
    };
    assert_eq!(body_of(&fixture, &exchange(elsewhere, 300)), None);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_for_is_kept() {
    let fixture = piped(always(answer("200 OK", "", "[1]")));
    fixture.fetch(once(get()), 300).await;
    assert_eq!(body_of(&fixture, &exchange(once(get()), 300)), None);
    assert_eq!(fixture.process.shelf.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_take_the_place_of_the_last_good_answer() {
    let bytes = Arc::new(Mutex::new(answer("200 OK", "", "[1]")));
    let now = bytes.clone();
    let fixture = piped(script(move |_, mut peer| {
        let now = now.clone();
        async move {
            while peer.request().await.is_some() {
                let bytes = now.lock().unwrap().clone();
                peer.write(bytes).await;
            }
        }
    }));
    fixture.fetch(kept(), 300).await;
    *bytes.lock().unwrap() = answer("500 Oh", "", "[2]");
    fixture.fetch(kept(), 300).await;
    let ask = exchange(kept(), 300);
    assert_eq!(body_of(&fixture, &ask).as_deref(), Some("[1]"));
    advance(MINUTE).await;
    assert_eq!(body_of(&fixture, &ask).as_deref(), Some("[1]"));
    advance(Duration::from_millis(1)).await;
    assert_eq!(body_of(&fixture, &ask), None);
}

#[tokio::test(start_paused = true)]
async fn it_survives_a_reload() {
    let fixture = piped(always(answer("200 OK", "", "[1]")));
    fixture.fetch(kept(), 300).await;
    let next = fixture
        .client
        .succeed(&table(service(80)), fixture.heard.clone())
        .unwrap();
    assert!(next.last_good(&exchange(kept(), 300), MINUTE).is_some());
}
