//! Attempts, waits, clocks, and which connection is used.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep};

use super::support::*;
use crate::downstream::dial::{Dial, Tcp};
use crate::downstream::observe::Silent;
use crate::downstream::send::pseudonym;
use crate::downstream::tasks::Tasks;
use crate::downstream::{Client, Process};
use crate::engine::code::Code;
use crate::engine::fetch::{Fetch, Fetched, Identity};
use crate::plan::{Call, Retry, settings};
use crate::policy::memory::Memory;

/// Answers with these statuses in turn, whatever the connection, then with 200.
fn statuses(list: &'static [&'static str]) -> (Arc<AtomicUsize>, Piping) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let fixture = piped(script(move |_, mut peer| {
        let count = count.clone();
        async move {
            while peer.request().await.is_some() {
                let status = list.get(count.fetch_add(1, Ordering::SeqCst));
                let page = match status {
                    Some(status) => answer(status, "content-type: text/html", "no"),
                    None => answer("200 OK", "", "1"),
                };
                peer.write(page).await;
            }
        }
    }));
    (asked, fixture)
}

type Piping = Fixture<Piped>;

fn with_retry(change: impl FnOnce(&mut Retry)) -> Call {
    let mut call = get();
    change(&mut call.retry);
    call
}

#[tokio::test(start_paused = true)]
async fn statuses_are_retried_by_the_table() {
    async fn check(list: &'static [&'static str], call: Call, expected: &str) {
        let (_, fixture) = statuses(list);
        assert_eq!(fixture.outcome(call, 1000).await, expected, "{list:?}");
        assert_eq!(fixture.heard.in_flight(), 0);
    }
    check(&["503 x"], get(), "200 1 x2").await;
    check(&["502 x"], get(), "200 1 x2").await;
    check(&["504 x", "504 x"], get(), "service_unavailable x2").await;
    check(&["500 x"], get(), "service_5xx x1").await;
    check(&["501 x"], get(), "service_5xx x1").await;
    check(&["404 x"], get(), "service_4xx x1").await;
    check(&["429 x"], get(), "service_limited x1").await;
    check(&["429 x\r\nretry-after: 0"], get(), "200 1 x2").await;
    check(&["302 x\r\nlocation: /"], get(), "unexpected_status x1").await;
    check(&["101 x"], get(), "unexpected_status x1").await;
    // A write that was answered is not sent again.
    check(&["503 x"], post(), "service_unavailable x1").await;
    check(&["503 x"], once(get()), "service_unavailable x1").await;
    let only_500 = with_retry(|retry| retry.statuses = vec![500]);
    check(&["500 x"], only_500, "200 1 x2").await;
    let five = || with_retry(|retry| retry.attempts = 5);
    check(&["503 x"; 4], five(), "200 1 x5").await;
    check(&["503 x"; 5], five(), "service_unavailable x5").await;
}

#[tokio::test(start_paused = true)]
async fn the_status_and_the_reasons_are_kept() {
    let (_, fixture) = statuses(&["504 x", "502 x"]);
    let error = fixture.fetch(get(), 1000).await.result.unwrap_err();
    assert_eq!(error.status, Some(502));
    assert_eq!(
        fixture.heard.attempts(),
        ["first", "retry:service_unavailable"]
    );
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_are_random() {
    let mut seen = HashSet::new();
    for seed in 0..20 {
        let (_, fixture) = statuses(&["503 x"; 3]);
        fastrand::seed(seed);
        let start = Instant::now();
        let call = with_retry(|retry| retry.attempts = 4);
        assert_eq!(fixture.outcome(call, 1000).await, "200 1 x4", "seed {seed}");
        let elapsed = start.elapsed();
        // 25 + 50 + 100 ms at most, and the timer's millisecond for each.
        assert!(
            elapsed <= Duration::from_millis(178),
            "seed {seed}: {elapsed:?}"
        );
        seen.insert(elapsed);
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_page_does_not_cost_its_connection() {
    let (_, fixture) = statuses(&["503 x", "404 x"]);
    assert_eq!(fixture.outcome(get(), 1000).await, "service_4xx x2");
    assert_eq!(fixture.outcome(get(), 1000).await, "200 1 x1");
    assert_eq!(fixture.dial.dialed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_opened_is_a_connect_timeout() {
    let fixture = Fixture::new(service(80), Blackhole);
    // A write may try again: nothing was sent.
    assert_eq!(fixture.outcome(post(), 5000).await, "connect_timeout x2");
    assert_eq!(fixture.outcome(get(), 5000).await, "connect_timeout x2");
    // The call's clock ends first.
    assert_eq!(fixture.outcome(get(), 500).await, "timeout x1");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_cut_by_its_own_clock() {
    let fixture = piped(script(|_, mut peer| async move {
        peer.request().await.unwrap();
        sleep(Duration::from_millis(250)).await;
        peer.json("{}").await;
    }));
    let call = Call {
        attempt_timeout: Duration::from_millis(100),
        ..post()
    };
    assert_eq!(fixture.outcome(call, 300).await, "200 {} x1");
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_with_the_clock_of_its_call() {
    let fixture = piped(script(|_, mut peer| async move { peer.closed().await }));
    let start = Instant::now();
    assert_eq!(fixture.outcome(post(), 300).await, "timeout x1");
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    fixture.process.tasks.finished().await;
    assert_eq!(fixture.heard.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_time_is_not_started() {
    let fixture = piped(always(answer("200 OK", "", "1")));
    assert_eq!(fixture.outcome(get(), 9).await, "deadline_exhausted x0");
    assert_eq!(fixture.outcome(get(), 10).await, "200 1 x1");
    assert_eq!(fixture.dial.dialed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn our_own_via_is_a_loop() {
    let fixture = piped(always(answer("200 OK", "", "1")));
    let mut exchange = exchange(get(), 300);
    exchange.identity = Arc::new(Identity {
        via: Some(format!("1.1 edge, 1.1 {}", pseudonym())),
        ..identity()
    });
    let fetched = fixture.client.fetch(exchange.into()).await;
    assert_eq!(shown(&fetched), "loop_detected x0");
    assert_eq!(fixture.dial.dialed.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leads_elsewhere_is_not_sent() {
    let fixture = piped(always(answer("200 OK", "", "1")));
    let mut exchange = exchange(get(), 300);
    exchange.target = "/users/../admin".into();
    let fetched = fixture.client.fetch(exchange.into()).await;
    assert_eq!(shown(&fetched), "bad_value x1");
}

#[tokio::test(start_paused = true)]
async fn a_full_task_set_refuses_a_write() {
    let fixture = piped(always(answer("200 OK", "", "1")));
    let full = Process::new(Tasks::new(0), Memory::new(1 << 20));
    let client = Client::new(
        &table(service(80)),
        fixture.dial.clone(),
        full,
        Arc::new(Silent),
    )
    .unwrap();
    let fetched = client.fetch(exchange(post(), 300).into()).await;
    assert_eq!(shown(&fetched), "overloaded x1");
    let fetched = client.fetch(exchange(get(), 300).into()).await;
    assert_eq!(shown(&fetched), "200 1 x1");
}

#[tokio::test]
async fn a_retry_takes_another_endpoint() {
    let bad = serve(always(answer("503 x", "", ""))).await;
    let good = serve(always(answer("200 OK", "", "1"))).await;
    let mut service = service(bad);
    service.endpoints.push(endpoint(good));
    let fixture = Fixture::new(service, Tcp::new());
    for _ in 0..10 {
        let outcome = fixture.outcome(get(), 2000).await;
        assert!(outcome == "200 1 x1" || outcome == "200 1 x2", "{outcome}");
    }
}

// === The pool

/// Tells how many requests came over each connection; answers with these header lines.
fn counting(lines: &'static str) -> (Piping, Arc<Mutex<Vec<usize>>>) {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let seen = counts.clone();
    let fixture = piped(script(move |number, mut peer| {
        let seen = seen.clone();
        async move {
            seen.lock().unwrap().push(0);
            while peer.request().await.is_some() {
                seen.lock().unwrap()[number] += 1;
                peer.write(answer("200 OK", lines, "1")).await;
            }
        }
    }));
    (fixture, counts)
}

async fn fetch_twice(lines: &'static str, pause: u64) -> Vec<usize> {
    let (fixture, counts) = counting(lines);
    fixture.fetch(get(), 1000).await.result.unwrap();
    sleep(Duration::from_millis(pause)).await;
    fixture.fetch(get(), 1000).await.result.unwrap();
    counts.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_used_again_for_a_while() {
    assert_eq!(fetch_twice("", 0).await, [2]);
    assert_eq!(fetch_twice("", 3900).await, [2]);
    assert_eq!(fetch_twice("", 4000).await, [1, 1]);
    // The service says how long it keeps it; a second is left for the way.
    assert_eq!(fetch_twice("keep-alive: timeout=3", 1900).await, [2]);
    assert_eq!(fetch_twice("keep-alive: timeout=3", 2000).await, [1, 1]);
    assert_eq!(fetch_twice("keep-alive: timeout=1", 0).await, [1, 1]);
    assert_eq!(fetch_twice("keep-alive: timeout=60", 4000).await, [1, 1]);
    assert_eq!(fetch_twice("connection: close", 0).await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_not_used_again() {
    let (fixture, counts) = counting("");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(331) {
        fixture.fetch(get(), 1000).await.result.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(counts.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_dropped_without_being_asked_for() {
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let closed = Arc::new(Mutex::new(Some(closed)));
    let fixture = piped(script(move |_, mut peer| {
        let closed = closed.clone();
        async move {
            peer.request().await.unwrap();
            peer.json("1").await;
            peer.closed().await;
            closed.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    }));
    fixture.fetch(get(), 1000).await.result.unwrap();
    let start = Instant::now();
    is_closed.await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn a_connection_that_the_service_closed_is_noticed_before_it_is_used() {
    let (close, may_close) = tokio::sync::watch::channel(false);
    let (closed, mut has_closed) = tokio::sync::watch::channel(false);
    let closed = Arc::new(closed);
    let port = serve(script(move |number, mut peer| {
        let (closed, mut may_close) = (closed.clone(), may_close.clone());
        async move {
            peer.request().await.unwrap();
            peer.json(&format!("[{number}]")).await;
            may_close.wait_for(|close| *close).await.unwrap();
            drop(peer);
            closed.send_replace(true);
        }
    }))
    .await;
    let fixture = over_tcp(port);
    assert_eq!(fixture.outcome(get(), 1000).await, "200 [0] x1");
    close.send_replace(true);
    has_closed.wait_for(|closed| *closed).await.unwrap();
    assert_eq!(fixture.outcome(post(), 1000).await, "200 [1] x1");
    assert_eq!(fixture.heard.attempts(), ["first", "first"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_no_other_connection_that_lay_idle() {
    // Both connections of the first two calls die on their second request.
    let fixture = piped(script(|number, mut peer| async move {
        let mut answered = 0;
        while peer.request().await.is_some() {
            if number < 2 && answered == 1 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
            peer.json(&format!("[{number}]")).await;
            answered += 1;
        }
    }));
    tokio::join!(fixture.fetch(get(), 1000), fixture.fetch(get(), 1000));
    assert_eq!(fixture.outcome(once(get()), 1000).await, "200 [2] x2");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_kept_than_allowed() {
    let counts = Arc::new(AtomicUsize::new(0));
    let opened = Arc::new(AtomicUsize::new(0));
    let (open, total) = (counts.clone(), opened.clone());
    let mut service = service(80);
    service.pool.max_idle = 2;
    let dial = Piped::new(script(move |_, mut peer| {
        let (open, total) = (open.clone(), total.clone());
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            total.fetch_add(1, Ordering::SeqCst);
            while peer.request().await.is_some() {
                sleep(Duration::from_millis(10)).await;
                peer.json("1").await;
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }));
    let fixture = Fixture::new(service, dial);
    // A load that wants five at a time is not made to open three of them anew each time.
    for _ in 0..2 {
        let calls = (0..5).map(|_| fixture.outcome(get(), 1000));
        futures_util::future::join_all(calls).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(counts.load(Ordering::SeqCst), 5);
        assert_eq!(opened.load(Ordering::SeqCst), 5);
    }
    // The sweep after the next, which finds that they were not wanted since.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(counts.load(Ordering::SeqCst), 2);
}

/// The first connection is there at once, any other after 100 ms.
struct Slow(Piped);

impl Dial for Slow {
    type Io = DuplexStream;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<Self::Io, Code> {
        let io = self.0.dial(host, port, by).await;
        if self.0.dialed.load(Ordering::SeqCst) > 1 {
            sleep(Duration::from_millis(100)).await;
        }
        io
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_waited_for_is_not_wasted() {
    let dial = Slow(Piped::new(script(|_, mut peer| async move {
        while peer.request().await.is_some() {
            sleep(Duration::from_millis(10)).await;
            peer.json("1").await;
        }
    })));
    let fixture = Fixture::new(service(80), dial);
    let two = || async {
        let start = Instant::now();
        tokio::join!(fixture.fetch(get(), 1000), fixture.fetch(get(), 1000));
        start.elapsed().as_millis()
    };
    // The second takes over the connection of the first.
    assert_eq!(two().await, 20);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(two().await, 10);
    assert_eq!(fixture.client.dial.0.dialed.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_closed_is_given_to_nobody() {
    let dial = Slow(Piped::new(script(|_, mut peer| async move {
        // One answer, and it says nothing of its end.
        if peer.request().await.is_some() {
            sleep(Duration::from_millis(10)).await;
            peer.json("1").await;
        }
    })));
    let fixture = Fixture::new(service(80), dial);
    let start = Instant::now();
    let (first, second) = tokio::join!(fixture.fetch(get(), 1000), fixture.fetch(get(), 1000));
    // The second waits for its own connection, and asks once.
    assert_eq!(start.elapsed().as_millis(), 110);
    for fetched in [first, second] {
        assert!(fetched.result.is_ok());
        assert_eq!(fetched.attempts, 1);
    }
    // Nor is one to whoever comes later.
    assert_eq!(fixture.fetch(get(), 1000).await.attempts, 1);
}

/// A service that sends faster than it is read: there is always one more byte of a long body.
struct Endless {
    head: &'static [u8],
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(coop::poll_proceed(context)).made_progress();
        match std::mem::take(&mut self.head) {
            [] => buffer.put_slice(b" "),
            head => buffer.put_slice(head),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct ToEndless;

impl Dial for ToEndless {
    type Io = Endless;

    async fn dial(&self, _: &str, _: u16, _: Instant) -> Result<Endless, Code> {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 400000000\r\n\r\n";
        Ok(Endless { head })
    }
}

/// In real time: as long as there is always something to read, paused time stands still.
#[tokio::test]
async fn a_body_that_never_makes_us_wait_is_ended_in_time() {
    let fixture = Fixture::new(service(80), ToEndless);
    let call = Call {
        max_body: 500_000_000,
        ..once(get())
    };
    assert_eq!(fixture.outcome(call, 50).await, "timeout x1");
}

/// A connection is there when a permit is.
struct Gated(Piped, Semaphore);

impl Dial for Gated {
    type Io = DuplexStream;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<Self::Io, Code> {
        self.1.acquire().await.unwrap().forget();
        self.0.dial(host, port, by).await
    }
}

/// The first call has its answer, and the second, which waits for a handshake, is given its connection.
async fn given_a_connection(
    fixture: &Fixture<Gated>,
    check: impl AsyncFnOnce(Pin<Box<dyn Future<Output = Fetched> + '_>>),
) {
    let mut first = Box::pin(fixture.fetch(get(), 1000));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(fixture.fetch(get(), 1000));
    assert!((&mut second).now_or_never().is_none());
    yield_now().await;
    assert!((&mut first).now_or_never().is_some());
    check(second).await;
    // Two at a time, who want both connections.
    fixture.client.dial.1.add_permits(2);
    tokio::join!(fixture.fetch(get(), 1000), fixture.fetch(get(), 1000));
}

fn gated() -> Fixture<Gated> {
    let dial = Piped::new(script(|_, mut peer| async move {
        while peer.request().await.is_some() && peer.json("1").await {}
    }));
    Fixture::new(service(80), Gated(dial, Semaphore::new(1)))
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_to_whoever_has_opened_one_is_kept() {
    let fixture = gated();
    given_a_connection(&fixture, async |second| {
        fixture.client.dial.1.add_permits(1);
        second.await;
    })
    .await;
    assert_eq!(fixture.client.dial.0.dialed.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_to_whoever_is_gone_is_kept() {
    let fixture = gated();
    given_a_connection(&fixture, async |second| drop(second)).await;
    assert_eq!(fixture.client.dial.0.dialed.load(Ordering::SeqCst), 2);
}

// === Reload

#[tokio::test(start_paused = true)]
async fn a_service_that_did_not_change_keeps_its_connections() {
    let (fixture, counts) = counting("");
    fixture.fetch(get(), 1000).await.result.unwrap();
    let next = fixture
        .client
        .succeed(&table(service(80)), Arc::new(Silent));
    let next = next.unwrap();
    next.fetch(exchange(get(), 1000).into())
        .await
        .result
        .unwrap();
    assert_eq!(*counts.lock().unwrap(), [2]);

    let changed = settings::Service {
        connect_timeout: Duration::from_secs(2),
        ..service(80)
    };
    let after = next.succeed(&table(changed), Arc::new(Silent)).unwrap();
    after
        .fetch(exchange(get(), 1000).into())
        .await
        .result
        .unwrap();
    assert_eq!(*counts.lock().unwrap(), [2, 1]);
    // What is still under way in the generation before ends as it would have, and keeps nothing.
    next.fetch(exchange(get(), 1000).into())
        .await
        .result
        .unwrap();
    next.fetch(exchange(get(), 1000).into())
        .await
        .result
        .unwrap();
    assert_eq!(*counts.lock().unwrap(), [2, 1, 1, 1]);
}

/// Lets so many connections through to the script, and refuses the rest.
struct Closing {
    open: Piped,
    connections: usize,
}

impl Dial for Closing {
    type Io = DuplexStream;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<DuplexStream, Code> {
        match self.open.dialed.load(Ordering::SeqCst) < self.connections {
            true => self.open.dial(host, port, by).await,
            false => Err(Code::ConnectRefused),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_may_have_done_is_not_forgotten() {
    for (connections, expected) in [(0, true), (1, false)] {
        let open = Piped::new(script(|_, mut peer| async move {
            peer.request().await;
        }));
        let fixture = Fixture::new(service(80), Closing { open, connections });
        let fetched = fixture.fetch(get(), 1000).await;
        let error = fetched.result.unwrap_err();
        assert_eq!(error.code, Code::ConnectRefused, "{connections}");
        assert_eq!(error.is_not_sent(), expected, "{connections}");
    }
}
