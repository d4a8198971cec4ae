//! Breaker, budget, bulkhead and hedge around real calls, on virtual time with exact figures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::DuplexStream;
use tokio::time::{Instant, advance, sleep};

use super::support::*;
use crate::downstream::dial::Dial;
use crate::downstream::guards::Usage;
use crate::downstream::observe::Silent;
use crate::downstream::{Client, Process};
use crate::engine::code::Code;
use crate::engine::fetch::{Fetch, Fetched};
use crate::plan::{Call, settings};
use crate::policy::bulkhead;
use crate::policy::hedge::After;
use crate::policy::memory::Memory;

const DOWN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const UP: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";

/// Answers with what `answer` says at the moment, after `latency`; counts the requests.
fn switched(
    answer: Arc<Mutex<&'static str>>,
    latency: Duration,
) -> (Arc<AtomicUsize>, Fixture<Piped>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let fixture = piped(script(move |_, mut peer| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            while peer.request().await.is_some() {
                seen.fetch_add(1, Ordering::SeqCst);
                sleep(latency).await;
                let bytes = *answer.lock().unwrap();
                peer.write(bytes).await;
            }
        }
    }));
    (asked, fixture)
}

fn with(change: impl FnOnce(&mut settings::Service)) -> settings::Service {
    let mut service = service(80);
    change(&mut service);
    service
}

fn retry_after(fetched: &Fetched) -> Option<u32> {
    fetched.result.as_ref().unwrap_err().retry_after
}

// === breaker

#[tokio::test(start_paused = true)]
async fn seven_failures_open_it_and_three_good_probes_close_it() {
    let answer = Arc::new(Mutex::new(DOWN));
    let (asked, fixture) = switched(answer.clone(), Duration::from_millis(10));
    for _ in 0..7 {
        assert_eq!(fixture.outcome(get(), 300).await, "service_5xx x1");
    }
    let start = Instant::now();
    let refused = fixture.fetch(get(), 300).await;
    assert_eq!(shown(&refused), "breaker_open x0");
    assert_eq!(start.elapsed(), Duration::ZERO);
    // The opening lasts half a second to one and a half.
    assert!(matches!(retry_after(&refused), Some(1 | 2)));
    assert_eq!(asked.load(Ordering::SeqCst), 7);
    advance(Duration::from_millis(1500)).await;
    *answer.lock().unwrap() = UP;
    for _ in 0..4 {
        assert_eq!(fixture.outcome(get(), 300).await, "200 1 x1");
    }
    let attempts = fixture.heard.attempts();
    assert_eq!(attempts[7..], ["probe", "probe", "probe", "first"]);
    let states = fixture.heard.breakers.lock().unwrap().clone();
    assert_eq!(states, ["0:open", "0:half_open", "0:closed"]);
    assert_eq!(fixture.client.usage(), Usage::default());
}

#[tokio::test(start_paused = true)]
async fn an_opening_breaker_ends_the_retries() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (asked, fixture) = switched(Arc::new(Mutex::new(busy)), Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(fixture.outcome(get(), 300).await, "service_unavailable x2");
    }
    // The seventh failure opens it: what the attempt failed with stands.
    assert_eq!(fixture.outcome(get(), 300).await, "service_unavailable x1");
    assert_eq!(asked.load(Ordering::SeqCst), 7);
    assert!(fixture.heard.denied.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_at_once_one_probes() {
    let answer = Arc::new(Mutex::new(DOWN));
    let (asked, fixture) = switched(answer.clone(), Duration::from_millis(10));
    for _ in 0..7 {
        fixture.fetch(get(), 300).await;
    }
    advance(Duration::from_millis(1500)).await;
    *answer.lock().unwrap() = UP;
    let all = join_all((0..100).map(|_| fixture.outcome(get(), 300))).await;
    let good = all.iter().filter(|outcome| *outcome == "200 1 x1").count();
    let refused = all
        .iter()
        .filter(|outcome| *outcome == "breaker_open x0")
        .count();
    assert_eq!((good, refused, asked.load(Ordering::SeqCst)), (1, 99, 8));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_makes_room_for_the_next() {
    let answer = Arc::new(Mutex::new(DOWN));
    let (_, fixture) = switched(answer.clone(), Duration::from_millis(10));
    for _ in 0..7 {
        fixture.fetch(get(), 300).await;
    }
    advance(Duration::from_millis(1500)).await;
    *answer.lock().unwrap() = UP;
    let dropped = tokio::time::timeout(Duration::from_millis(5), fixture.fetch(get(), 300)).await;
    assert!(dropped.is_err());
    assert_eq!(fixture.client.usage(), Usage::default());
    assert_eq!(fixture.outcome(get(), 300).await, "200 1 x1");
}

/// Ten timeouts of a call whose clock is 300 ms; `ends_with_route`: the client leaves only 200 ms.
async fn after_ten_timeouts(ends_with_route: bool) -> Vec<String> {
    let fixture = piped(script(|_, mut peer| async move { peer.closed().await }));
    for _ in 0..10 {
        let mut exchange = exchange(
            Call {
                attempt_timeout: Duration::from_millis(300),
                ..once(get())
            },
            200,
        );
        exchange.ends_with_route = ends_with_route;
        fixture.client.fetch(exchange.into()).await;
    }
    fixture.heard.breakers.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_impatient_client_opens_no_breaker() {
    assert!(after_ten_timeouts(true).await.is_empty());
    assert_eq!(after_ten_timeouts(false).await, ["0:open"]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_known_of_a_service() {
    let (_, fixture) = switched(Arc::new(Mutex::new(DOWN)), Duration::ZERO);
    for _ in 0..7 {
        fixture.fetch(get(), 300).await;
    }
    let next = |service: settings::Service| {
        let next = fixture.client.succeed(&table(service), Arc::new(Silent));
        next.unwrap()
    };
    // What it waits for to connect is no part of its state, its breaker's figures are.
    let same = next(with(|service| {
        service.bulkhead = None;
        service.budget.per_second = 3;
    }));
    let shown_of = async |client: Client<Piped>| {
        let fetched = client.fetch(exchange(get(), 300).into()).await;
        shown(&fetched)
    };
    assert_eq!(shown_of(same).await, "breaker_open x0");
    let other = next(with(|service| {
        service.breaker.as_mut().unwrap().consecutive = 3;
    }));
    assert_eq!(shown_of(other).await, "service_5xx x1");
    let elsewhere = next(with(|service| service.endpoints = vec![endpoint(81)]));
    assert_eq!(shown_of(elsewhere).await, "service_5xx x1");
}

// === bulkhead

fn narrow(queue: usize) -> settings::Service {
    with(|service| {
        service.bulkhead = Some(bulkhead::Settings {
            max: 1,
            queue,
            ..bulkhead::Settings::default()
        });
    })
}

/// Answers each request after 150 ms.
fn slow() -> Piped {
    Piped::new(script(|_, mut peer| async move {
        while peer.request().await.is_some() {
            sleep(Duration::from_millis(150)).await;
            peer.write(UP).await;
        }
    }))
}

async fn timed(fixture: &Fixture<Piped>, call: Call) -> (String, u128) {
    let start = Instant::now();
    let fetched = fixture.fetch(call, 1000).await;
    if let Err(error) = &fetched.result
        && error.is_not_sent()
    {
        assert!(matches!(error.retry_after, Some(1..=3)));
    }
    (shown(&fetched), start.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn one_is_inside_one_waits_and_the_rest_is_turned_away() {
    let fixture = Fixture::new(narrow(1), slow());
    let found = join_all((0..3).map(|_| timed(&fixture, get()))).await;
    let expected = [
        ("200 1 x1", 150),
        ("queue_timeout x0", 100),
        ("bulkhead_full x0", 0),
    ];
    let expected = expected.map(|(outcome, elapsed)| (outcome.to_owned(), elapsed));
    assert_eq!(found, expected);
    let waits = fixture.heard.waits.lock().unwrap().clone();
    assert_eq!(waits, [Duration::from_millis(100)]);
    assert_eq!(fixture.client.usage(), Usage::default());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_place_of_who_leaves() {
    let fixture = Fixture::new(narrow(1), slow());
    let later = async {
        sleep(Duration::from_millis(100)).await;
        timed(&fixture, get()).await
    };
    let (first, second) = tokio::join!(timed(&fixture, get()), later);
    assert_eq!(first, ("200 1 x1".to_owned(), 150));
    // 50 ms in the queue, 150 ms inside.
    assert_eq!(second, ("200 1 x1".to_owned(), 200));
}

#[tokio::test(start_paused = true)]
async fn who_is_cancelled_in_the_queue_leaves_no_hole() {
    let fixture = Fixture::new(narrow(2), slow());
    let cancelled = tokio::time::timeout(Duration::from_millis(20), fixture.fetch(get(), 1000));
    let third = async {
        sleep(Duration::from_millis(90)).await;
        timed(&fixture, get()).await
    };
    let (first, cancelled, third) = tokio::join!(timed(&fixture, get()), cancelled, third);
    assert_eq!(first.1, 150);
    assert!(cancelled.is_err());
    assert_eq!(third, ("200 1 x1".to_owned(), 60 + 150));
    assert_eq!(fixture.client.usage(), Usage::default());
}

/// The first request is answered by a 503 after 50 ms, every other after 200 ms.
#[tokio::test(start_paused = true)]
async fn a_retry_does_not_wait_for_a_place() {
    let number = Arc::new(AtomicUsize::new(0));
    let dial = Piped::new(script(move |_, mut peer| {
        let number = number.clone();
        async move {
            while peer.request().await.is_some() {
                if number.fetch_add(1, Ordering::SeqCst) == 0 {
                    sleep(Duration::from_millis(50)).await;
                    peer.write("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
                        .await;
                } else {
                    sleep(Duration::from_millis(200)).await;
                    peer.write(UP).await;
                }
            }
        }
    }));
    let fixture = Fixture::new(narrow(1), dial);
    let (first, second) = tokio::join!(timed(&fixture, get()), timed(&fixture, get()));
    // The place of the first went to the second, which had waited for it.
    assert_eq!(first.0, "service_unavailable x1");
    assert_eq!(second, ("200 1 x1".to_owned(), 250));
    assert_eq!(fixture.client.usage(), Usage::default());
}

// === budget and the attempt's clock

#[tokio::test(start_paused = true)]
async fn without_a_token_an_attempt_is_not_cut_by_its_own_clock() {
    let service = with(|service| {
        service.budget.per_second = 0;
        service.budget.ratio = 0;
    });
    // Slower than one attempt's clock of 137.5 ms, faster than the call's.
    let fixture = Fixture::new(service, slow());
    let call = Call {
        attempt_timeout: Duration::from_micros(137_500),
        ..get()
    };
    let start = Instant::now();
    assert_eq!(fixture.outcome(call, 300).await, "200 1 x1");
    assert_eq!(start.elapsed(), Duration::from_millis(150));
    assert_eq!(*fixture.heard.denied.lock().unwrap(), ["retry"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_in_trouble_gets_a_tenth_more_than_its_load() {
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    let service = with(|service| service.breaker = None);
    let dial = Piped::new(always(busy));
    let fixture = Fixture::new(service, dial);
    let start = Instant::now();
    for number in 0..1000u32 {
        tokio::time::sleep_until(start + Duration::from_millis(10) * number).await;
        fixture.fetch(get(), 300).await;
    }
    let retries = fixture.heard.attempts().len() - 1000;
    // Ten at the start, one a second, one for each ten calls.
    assert!((115..=120).contains(&retries), "{retries}");
}

// === hedging

fn hedged(milliseconds: u64) -> Call {
    Call {
        hedge: Some(After::Fixed(Duration::from_millis(milliseconds))),
        attempt_timeout: Duration::from_millis(200),
        ..get()
    }
}

/// Answers the first request after `first`, the second after `second`; as the statuses say.
fn two(first: (u64, &'static str), second: (u64, &'static str)) -> Fixture<Piped> {
    let number = Arc::new(AtomicUsize::new(0));
    piped(script(move |_, mut peer| {
        let number = number.clone();
        async move {
            while peer.request().await.is_some() {
                let (wait, bytes) = match number.fetch_add(1, Ordering::SeqCst) {
                    0 => first,
                    _ => second,
                };
                sleep(Duration::from_millis(wait)).await;
                peer.write(bytes).await;
            }
        }
    }))
}

async fn race(fixture: &Fixture<Piped>, call: Call) -> (String, u128, Vec<String>) {
    let start = Instant::now();
    let outcome = fixture.outcome(call, 1000).await;
    let elapsed = start.elapsed().as_millis();
    assert_eq!(fixture.client.usage(), Usage::default());
    (outcome, elapsed, fixture.heard.attempts())
}

#[tokio::test(start_paused = true)]
async fn a_silent_call_is_asked_once_more_and_the_first_answer_wins() {
    let found = race(&two((500, UP), (20, UP)), hedged(90)).await;
    assert_eq!(found.0, "200 1 x2");
    assert_eq!(
        (found.1, found.2),
        (110, vec!["first".into(), "hedge".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_its_time_needs_no_hedge() {
    let found = race(&two((89, UP), (0, UP)), hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x1", 89));
    // A failure neither: it is retried.
    let found = race(&two((50, DOWN), (0, UP)), hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("service_5xx x1", 50));
}

#[tokio::test(start_paused = true)]
async fn who_fails_first_waits_for_the_other() {
    let found = race(&two((150, UP), (20, DOWN)), hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x2", 150));
    let found = race(&two((120, DOWN), (100, UP)), hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x2", 190));
}

#[tokio::test(start_paused = true)]
async fn beside_a_hedge_no_attempt_is_cut_by_its_own_clock() {
    // Its own clock is 200 ms.
    let found = race(&two((250, UP), (500, UP)), hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x2", 250));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_needs_a_token_and_a_place() {
    let without_token = with(|service| {
        service.budget.per_second = 0;
        service.budget.ratio = 0;
    });
    let fixture = Fixture::new(without_token, slow());
    let found = race(&fixture, hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x1", 150));
    assert_eq!(*fixture.heard.denied.lock().unwrap(), ["hedge"]);
    let fixture = Fixture::new(narrow(5), slow());
    let found = race(&fixture, hedged(90)).await;
    assert_eq!((found.0.as_str(), found.1), ("200 1 x1", 150));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_by_percentile_goes_by_the_times_of_its_call() {
    let waits = Arc::new(Mutex::new(vec![10u64; 30]));
    waits.lock().unwrap().insert(0, 400);
    let list = waits.clone();
    let fixture = piped(script(move |_, mut peer| {
        let list = list.clone();
        async move {
            while peer.request().await.is_some() {
                let wait = list.lock().unwrap().pop().unwrap_or(10);
                sleep(Duration::from_millis(wait)).await;
                peer.write(UP).await;
            }
        }
    }));
    let call = || Call {
        hedge: Some(After::Percentile(9500)),
        ..get()
    };
    let route_table = |call: Call| {
        let mut table = table(service(80));
        table.routes = vec![exchange(call, 1).route];
        table
    };
    let client = fixture
        .client
        .succeed(&route_table(call()), fixture.heard.clone())
        .unwrap();
    for _ in 0..30 {
        client.fetch(exchange(call(), 1000).into()).await;
    }
    let start = Instant::now();
    let fetched = client.fetch(exchange(call(), 1000).into()).await;
    assert_eq!(shown(&fetched), "200 1 x2");
    // At 10 ms and at most a twentieth, to the next millisecond, then 10 ms.
    let elapsed = start.elapsed().as_millis();
    assert!((20..=22).contains(&elapsed), "{elapsed}");
}

// === memory

#[tokio::test(start_paused = true)]
async fn an_answer_is_counted_for_as_long_as_it_is_there() {
    let fixture = piped(always(answer("200 OK", "", "[1,2,3]")));
    let memory = &fixture.process.memory;
    let fetched = fixture.fetch(get(), 300).await;
    assert_eq!(memory.reserved(), 7);
    let other = fixture.fetch(get(), 300).await;
    assert_eq!(memory.reserved(), 14);
    drop(fetched);
    drop(other);
    assert_eq!(memory.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_memory_is_shed() {
    let fixture = piped(always(answer("200 OK", "", "[1,2,3]")));
    let process = Process::new(fixture.process.tasks.clone(), Memory::new(6));
    let client = Client::new(
        &table(service(80)),
        fixture.dial.clone(),
        process.clone(),
        fixture.heard.clone(),
    );
    let fetched = client.unwrap().fetch(exchange(get(), 300).into()).await;
    assert_eq!(shown(&fetched), "memory_shed x1");
    assert_eq!(process.memory.reserved(), 0);
}

/// The process stands still while its calls' clocks run out: that tells nothing of the service.
#[tokio::test(start_paused = true)]
async fn our_own_delay_opens_no_breaker() {
    let fixture = piped(script(|_, mut peer| async move { peer.closed().await }));
    let calls = (0..10).map(|_| fixture.client.fetch(exchange(once(get()), 200).into()));
    let stand_still = async {
        sleep(Duration::from_millis(100)).await;
        // One step of the clock, as if no task had run meanwhile.
        advance(Duration::from_millis(150)).await;
    };
    let (fetched, ()) = tokio::join!(join_all(calls), stand_still);
    assert!(fetched.iter().all(|fetched| shown(fetched) == "timeout x1"));
    assert!(fixture.heard.breakers.lock().unwrap().is_empty());
}

/// Always 150 ms, one at a time; a call has 200 ms. Whoever waits 100 ms for a place has too little
/// left, and that is no fault of the service.
#[tokio::test(start_paused = true)]
async fn our_own_queue_opens_no_breaker() {
    let service = with(|service| {
        service.bulkhead = Some(bulkhead::Settings {
            max: 1,
            queue: 64,
            max_wait: Duration::from_secs(1),
        });
    });
    let fixture = Fixture::new(service, slow());
    let call = || Call {
        attempt_timeout: Duration::from_millis(200),
        ..once(get())
    };
    for _ in 0..10 {
        let second = async {
            sleep(Duration::from_millis(50)).await;
            fixture.outcome(call(), 200).await
        };
        let (first, second) = tokio::join!(fixture.outcome(call(), 200), second);
        assert_eq!(first, "200 1 x1");
        assert_eq!(second, "timeout x1");
    }
    assert!(fixture.heard.breakers.lock().unwrap().is_empty());
}

/// The first endpoint opens while a call that was meant for it waits for its place.
#[tokio::test(start_paused = true)]
async fn who_waited_asks_an_endpoint_that_is_well() {
    let service = with(|service| {
        service.endpoints = vec![endpoint(80), endpoint(81)];
        service.breaker.as_mut().unwrap().consecutive = 1;
        service.bulkhead = Some(bulkhead::Settings {
            max: 1,
            queue: 64,
            max_wait: Duration::from_secs(60),
        });
    });
    let fixture = Fixture::new(service, ByPort);
    let calls = (0..20).map(|_| fixture.outcome(once(get()), 60_000));
    let outcomes = join_all(calls).await;
    let failed = outcomes
        .iter()
        .filter(|outcome| *outcome == "service_5xx x1");
    assert_eq!(failed.count(), 1);
    let good = outcomes.iter().filter(|outcome| *outcome == "200 1 x1");
    assert_eq!(good.count(), 19, "{outcomes:?}");
}

/// Port 80 is ill, all others are well; each answer takes 10 ms.
struct ByPort;

impl Dial for ByPort {
    type Io = DuplexStream;

    async fn dial(&self, _: &str, port: u16, _: Instant) -> Result<DuplexStream, Code> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let bytes = if port == 80 { DOWN } else { UP };
        tokio::spawn(async move {
            let mut peer = Peer::Pipe(far);
            while peer.request().await.is_some() {
                sleep(Duration::from_millis(10)).await;
                peer.write(bytes).await;
            }
        });
        Ok(near)
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_not_cut_where_too_little_time_is_left_for_another() {
    let fixture = Fixture::new(
        service(80),
        Piped::new(script(|_, mut peer| async move {
            while peer.request().await.is_some() {
                sleep(Duration::from_millis(295)).await;
                peer.write(UP).await;
            }
        })),
    );
    let call = Call {
        attempt_timeout: Duration::from_millis(290),
        ..get()
    };
    assert_eq!(fixture.outcome(call, 299).await, "200 1 x1");
}
