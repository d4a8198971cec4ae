//! Layer 4: one flight for what would send the same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::support::*;
use crate::downstream::front::{Missed, share};
use crate::engine::fetch::{CacheFate, Fetch, Forward, Forwarded, Opened, StreamedRequest};
use crate::plan::{Cache, Call, Role, Ttl};

fn shared() -> Call {
    Call {
        coalesce: true,
        key_prefix: "users".into(),
        ..once(get())
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_the_same_ask_once() {
    let (fixture, asked) =
        responding(|number, _| (10, answer("200 OK", "", &format!("[{number}]"))));
    let all = (0..100).map(|_| fixture.fetch(shared(), 1000));
    let fetched = join_all(all).await;
    assert!(fetched.iter().all(|one| shown(one).starts_with("200 [1]")));
    let sent: u32 = fetched.iter().map(|one| one.attempts).sum();
    assert_eq!((sent, asked.load(Ordering::SeqCst)), (1, 1));
    let collapsed = fetched.iter().filter(|one| {
        let fate = one.note.map(|note| note.fate);
        matches!(
            fate,
            Some(CacheFate::Forwarded(Forwarded {
                collapsed: true,
                ..
            }))
        )
    });
    assert_eq!(collapsed.count(), 99);
    // Nothing was kept.
    fixture.fetch(shared(), 1000).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn every_byte_that_a_key_of_the_call_sets_counts() {
    let (fixture, asked) = responding(|_, _| (10, answer("200 OK", "", "[1]")));
    let named = |name: &'static str, value: &'static str| {
        let mut other = exchange(shared(), 1000);
        let name = HeaderName::from_static(name);
        other.headers.insert(name, HeaderValue::from_static(value));
        other
    };
    let mut other_url = exchange(shared(), 1000);
    other_url.target.push('0');
    let mut other_body = exchange(shared(), 1000);
    other_body.body = "1".into();
    let all = [
        exchange(shared(), 1000),
        exchange(shared(), 1000),
        named("authorization", "a"),
        named("authorization", "b"),
        named("x-user", "8"),
        other_url,
        other_body,
    ];
    join_all(all.map(|exchange| fixture.client.fetch(exchange.into()))).await;
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn the_leader_outlives_its_client() {
    let (fixture, asked) = responding(|_, _| (200, answer("200 OK", "", "[1]")));
    let follower = async {
        sleep(Duration::from_millis(10)).await;
        fixture.outcome(shared(), 1000).await
    };
    let leader = tokio::time::timeout(Duration::from_millis(50), fixture.fetch(shared(), 1000));
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(leader.is_err());
    assert_eq!(follower, "200 [1] x0");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.process.tasks.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_nobody_waits_for_ends_unless_it_will_be_kept() {
    let (fixture, _) = responding(|_, _| (200, answer("200 OK", "", "[1]")));
    let moment = Duration::from_millis(50);
    let gone = tokio::time::timeout(moment, fixture.fetch(shared(), 1000)).await;
    assert!(gone.is_err());
    let start = Instant::now();
    fixture.process.tasks.finished().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(fixture.client.usage(), Default::default());
    let kept = || Call {
        cache: Some(Cache {
            ttl: Ttl::For(Duration::from_secs(60)),
            stale_while_revalidate: None,
            stale_if_error: None,
            negative: None,
        }),
        ..shared()
    };
    let gone = tokio::time::timeout(moment, fixture.fetch(kept(), 1000)).await;
    assert!(gone.is_err());
    fixture.process.tasks.finished().await;
    assert_eq!(fixture.outcome(kept(), 1000).await, "200 [1] x0");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_fails_hands_over_once() {
    let (fixture, asked) = responding(|number, _| match number {
        1 => (10, answer("500 Oh", "", "")),
        _ => (10, answer("200 OK", "", "[2]")),
    });
    let fetched = join_all((0..100).map(|_| fixture.fetch(shared(), 1000))).await;
    let failed = fetched.iter().filter(|one| one.result.is_err()).count();
    assert_eq!((failed, asked.load(Ordering::SeqCst)), (1, 2));
    // And no more than once.
    let (fixture, asked) = responding(|_, _| (10, answer("500 Oh", "", "")));
    let fetched = join_all((0..100).map(|_| fixture.fetch(shared(), 1000))).await;
    assert!(fetched.iter().all(|one| one.result.is_err()));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_would_be_the_same_again_is_everybodys() {
    let (fixture, asked) = responding(|_, _| (10, answer("404 Not Found", "", "")));
    let fetched = join_all((0..10).map(|_| fixture.fetch(shared(), 1000))).await;
    assert!(fetched.iter().all(|one| one.result.is_err()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_sets_a_cookie_is_for_the_one_who_asked() {
    let (fixture, asked) = responding(|number, _| {
        let cookie = format!("set-cookie: session={number}");
        (10, answer("200 OK", &cookie, &format!("[{number}]")))
    });
    let fetched = join_all((0..3).map(|_| fixture.fetch(shared(), 1000))).await;
    let mut bodies: Vec<String> = fetched.iter().map(shown).collect();
    bodies.sort();
    assert_eq!(bodies, ["200 [1] x1", "200 [2] x1", "200 [3] x1"]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_waits_by_a_clock_of_their_own() {
    let (fixture, _) = responding(|_, _| (200, answer("200 OK", "", "[1]")));
    let hurried = async {
        let start = Instant::now();
        let outcome = fixture.outcome(shared(), 50).await;
        (outcome, start.elapsed().as_millis())
    };
    let (patient, hurried) = tokio::join!(fixture.outcome(shared(), 1000), hurried);
    assert_eq!(patient, "200 [1] x1");
    assert_eq!(hurried, ("timeout x0".to_owned(), 50));
}

// === what is passed

fn passed() -> Call {
    Call {
        role: Role::Pass,
        cache: Some(Cache {
            ttl: Ttl::FromHeaders,
            stale_while_revalidate: None,
            stale_if_error: None,
            negative: None,
        }),
        ..shared()
    }
}

async fn open(fixture: &Fixture<Piped>) -> Opened {
    let exchange = exchange(passed(), 1000);
    let opened = fixture
        .client
        .open(exchange.into(), StreamedRequest::Buffered);
    opened.await
}

async fn text(opened: Opened) -> String {
    let body = opened.result.ok().unwrap().body;
    let bytes = body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn collapses(opened: &Opened) -> bool {
    let fate = opened.note.map(|note| note.fate);
    matches!(
        fate,
        Some(CacheFate::Forwarded(Forwarded {
            collapsed: true,
            ..
        }))
    )
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_that_is_kept_is_asked_for_once() {
    let (fixture, asked) = responding(|number, _| {
        let lines = "cache-control: max-age=60";
        (10, answer("200 OK", lines, &format!("<p>{number}")))
    });
    let all = (0..50).map(|_| async {
        let opened = open(&fixture).await;
        (collapses(&opened), text(opened).await)
    });
    let all = join_all(all).await;
    assert!(all.iter().all(|(_, text)| text == "<p>1"));
    assert_eq!(all.iter().filter(|(collapsed, _)| *collapsed).count(), 49);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.process.gates.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_that_may_not_be_kept_is_for_one() {
    let (fixture, asked) = responding(|number, _| {
        let lines = "cache-control: private, max-age=60";
        (10, answer("200 OK", lines, &format!("<p>{number}")))
    });
    let all = join_all((0..5).map(|_| async { text(open(&fixture).await).await })).await;
    let mut all = all;
    all.sort();
    assert_eq!(all, ["<p>1", "<p>2", "<p>3", "<p>4", "<p>5"]);
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_client_that_reads_slowly() {
    let (fixture, asked) = responding(|number, _| {
        let lines = "cache-control: max-age=60";
        (10, answer("200 OK", lines, &format!("<p>{number}")))
    });
    // Its head has come, and it reads nothing.
    let slow = open(&fixture);
    let quick = async {
        sleep(Duration::from_millis(5)).await;
        let start = Instant::now();
        let opened = open(&fixture).await;
        (start.elapsed().as_millis(), text(opened).await)
    };
    let (slow, (waited, quick)) = tokio::join!(slow, quick);
    assert_eq!((waited, quick.as_str()), (5 + 250 + 10, "<p>2"));
    assert_eq!(text(slow).await, "<p>1");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_passed_leader_that_is_gone_is_followed_by_another() {
    let (fixture, asked) =
        responding(|_, _| (100, answer("200 OK", "cache-control: max-age=60", "<p>")));
    let leader = tokio::time::timeout(Duration::from_millis(20), open(&fixture));
    let follower = async {
        sleep(Duration::from_millis(5)).await;
        text(open(&fixture).await).await
    };
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(leader.is_err());
    assert_eq!(follower, "<p>");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_to_lead_too_late_is_given_what_was_brought() {
    let (fixture, asked) = responding(|_, _| (10, answer("200 OK", "", "[1]")));
    let kept = Call {
        cache: Some(Cache {
            ttl: Ttl::For(Duration::from_secs(60)),
            stale_while_revalidate: None,
            stale_if_error: None,
            negative: None,
        }),
        ..shared()
    };
    let exchange = exchange(kept, 1000);
    fixture.client.fetch(exchange.clone().into()).await;
    // It has looked before that one landed, and found nothing.
    let missed = Missed {
        why: Forward::Miss,
        kept: None,
    };
    let fetched = share(&fixture.client, exchange.into(), missed).await;
    assert_eq!(shown(&fetched), "200 [1] x0");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
