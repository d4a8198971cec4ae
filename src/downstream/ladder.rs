//! The ladder: what stands around one call, from the cache down to the bytes, in the order of
//! `resilience.md` §1. [`climb`] is that order, to be read from top to bottom; [`Attempt`] is one turn
//! of its loop. Layers 1 and 2, rendering and fallbacks, are the engine's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::downstream::connection::{Lease, Outgoing};
use crate::downstream::dial::Dial;
use crate::downstream::fault::{self, Circumstances, Fault};
use crate::downstream::inbound::Inbound;
use crate::downstream::observe::{InFlight, Kind};
use crate::downstream::pool::{Need, Pool};
use crate::downstream::send;
use crate::downstream::service::Service;
use crate::downstream::{Client, decode, pass};
use crate::engine::code::Code;
use crate::engine::fetch::{Answer, ByteStream, CallError, Exchange, Head, LEAST_TIME};
use crate::plan::{Call, Retry};
use crate::policy::retry::{Allowed, Known};
use crate::policy::{backoff, deadline, retry};

/// What becomes of an answer once its head is there.
pub trait Finish<D: Dial>: Clone + Send + 'static {
    type Done: Send + 'static;

    fn finish(
        self,
        exchange: &Exchange,
        inbound: Inbound<D>,
    ) -> impl Future<Output = Result<Self::Done, Failed<Self::Done>>> + Send;
}

/// A failed attempt, with the answer that may be handed on if no other attempt is made.
pub struct Failed<T> {
    fault: Fault,
    answer: Option<T>,
}

/// How a call went, and how many requests it took.
pub struct Climbed<T> {
    pub result: Result<T, CallError>,
    pub attempts: u32,
}

/// Makes one call. `body` is a request body that streams, and so can be sent only once.
pub async fn climb<D: Dial, F: Finish<D>>(
    client: &Client<D>,
    exchange: Exchange,
    body: Option<ByteStream>,
    finish: F,
) -> Climbed<F::Done> {
    let mut climb = Climb::new(client, exchange, body, finish);
    if let Some(fault) = climb.refusal() {
        return climb.end(Err(fault.into()));
    }
    // 3 cache: not built yet; a fresh hit would return here.
    // 4 coalesce: not built yet; a flight under way would be joined here.
    // 5 call clock: `exchange.deadline` bounds everything below.
    let mut kind = Kind::First;
    let mut reason = "";
    let mut number = 1;
    loop {
        // 6 retry: this loop. The budget and hedging are not built yet.
        let pool = climb.next_endpoint(); // 7 endpoint: P2C is not built yet.
        // 8 breaker: not built yet; a permit of this endpoint would be taken here.
        // 9 bulkhead: not built yet; a permit of the service would be waited for here.
        climb.count(kind, reason);
        // 10 attempt clock, 11 connection, 12 decode.
        let failed = match climb.attempt(&pool, number).await {
            Ok(done) => return climb.end(Ok(done)),
            Err(failed) => failed,
        };
        let Some(wait) = climb.wait_before_retry(number, &failed.fault) else {
            let error = CallError {
                may_have_arrived: climb.may_have_arrived,
                ..failed.fault.into()
            };
            return climb.end(failed.answer.ok_or(error));
        };
        climb.may_have_arrived |= failed.fault.known != Known::NotSent;
        kind = Kind::Retry;
        reason = failed.fault.code.name();
        drop(failed);
        sleep(wait).await;
        number += 1;
    }
}

/// A call on its way.
struct Climb<'c, D: Dial, F> {
    client: &'c Client<D>,
    service: &'c Service<D>,
    exchange: Arc<Exchange>,
    body: Option<ByteStream>,
    /// The body streams, so there is one attempt.
    streams: bool,
    finish: F,
    made: u32,
    /// When a connection that had lain idle turned out to be dead, and the request was sent again.
    replayed: Option<Instant>,
    /// The endpoints that were tried.
    tried: Vec<usize>,
    /// Bytes of an attempt may have reached the service.
    may_have_arrived: bool,
}

impl<'c, D: Dial, F: Finish<D>> Climb<'c, D, F> {
    fn new(client: &'c Client<D>, exchange: Exchange, body: Option<ByteStream>, finish: F) -> Self {
        let id = exchange.route.calls[exchange.call.0].service;
        Climb {
            client,
            service: client.service(id),
            exchange: Arc::new(exchange),
            streams: body.is_some(),
            body,
            finish,
            made: 0,
            replayed: None,
            tried: Vec::new(),
            may_have_arrived: false,
        }
    }

    fn call(&self) -> &Call {
        &self.exchange.route.calls[self.exchange.call.0]
    }

    fn left(&self) -> Duration {
        let deadline = self.exchange.deadline;
        deadline.saturating_duration_since(Instant::now())
    }

    /// Why no attempt is made at all.
    fn refusal(&self) -> Option<Fault> {
        let via = self.exchange.identity.via.as_deref();
        if via.is_some_and(send::came_through_us) {
            return Some(Fault::not_sent(Code::LoopDetected));
        }
        (self.left() < LEAST_TIME).then(|| Fault::not_sent(Code::DeadlineExhausted))
    }

    /// One that was not tried yet, by chance; any when all were.
    fn next_endpoint(&mut self) -> Arc<Pool<D>> {
        let pools = &self.service.pools;
        let untried = pools.len() - self.tried.len();
        if untried == 0 {
            self.tried.clear();
        }
        let nth = fastrand::usize(..pools.len() - self.tried.len());
        let mut candidates = (0..pools.len()).filter(|index| !self.tried.contains(index));
        let index = candidates.nth(nth).expect("`nth` counts the untried");
        self.tried.push(index);
        pools[index].clone()
    }

    fn count(&mut self, kind: Kind, reason: &'static str) {
        self.made += 1;
        let service = self.call().service;
        self.client.observe.attempt(service, kind, reason);
    }

    /// One attempt within its clock; a dead connection is replaced once.
    async fn attempt(
        &mut self,
        pool: &Arc<Pool<D>>,
        number: u32,
    ) -> Result<F::Done, Failed<F::Done>> {
        let own = self.call().attempt_timeout;
        let time = deadline::attempt_time(self.left(), own, self.may_follow(number), LEAST_TIME);
        let end = Instant::now() + time;
        let first = self.exchange_once(pool, end).await;
        match first {
            Err(failed) if failed.fault.code == Code::StaleConnection => {
                self.may_have_arrived |= failed.fault.known != Known::NotSent;
            }
            ended => return ended,
        }
        self.replayed = Some(Instant::now());
        self.count(Kind::Transparent, Code::StaleConnection.name());
        self.exchange_once(pool, end).await
    }

    /// Whether an attempt that is cut now could be followed by another.
    fn may_follow(&self, number: u32) -> bool {
        let retry = &self.call().retry;
        let cut = Fault::new(Code::TryTimeout, Known::Unknown);
        number < self.most_attempts()
            && retry::may_try_again(allowed(self.call(), retry), cut.known, cut.word(), false)
    }

    fn most_attempts(&self) -> u32 {
        match self.streams {
            true => 1,
            false => self.call().retry.attempts,
        }
    }

    /// How long to wait before the next attempt; `None` if `fault` is final.
    fn wait_before_retry(&self, number: u32, fault: &Fault) -> Option<Duration> {
        let retry = &self.call().retry;
        let told_when = fault.retry_after.is_some();
        let allowed = allowed(self.call(), retry);
        if number >= self.most_attempts()
            || !retry::may_try_again(allowed, fault.known, fault.word(), told_when)
        {
            return None;
        }
        let (first, last) = retry.backoff;
        let drawn = backoff::wait(number, first, last, fastrand::f64());
        deadline::pause(drawn, fault.retry_after, self.left(), LEAST_TIME)
    }

    /// One request on the wire: a connection, the request, the answer.
    async fn exchange_once(
        &mut self,
        pool: &Arc<Pool<D>>,
        end: Instant,
    ) -> Result<F::Done, Failed<F::Done>> {
        let in_flight = InFlight::begin(&self.client.observe, self.call().service);
        let lease = match timeout_at(end, pool.checkout(self.need())).await {
            Ok(lease) => lease?,
            Err(_) => return Err(Fault::not_sent(Code::TryTimeout).into()),
        };
        let body = match self.body.take() {
            Some(stream) => Outgoing::Streamed(stream),
            None => Outgoing::Whole(self.exchange.body.clone()),
        };
        let (endpoint, version) = (&pool.endpoint, lease.version());
        let request = send::request(&self.exchange, endpoint, version, self.left(), body)?;
        let carriage = Carriage {
            exchange: self.exchange.clone(),
            pool: pool.clone(),
            lease,
            may_replay: self.replayed.is_none() && !self.streams,
            in_flight,
            finish: self.finish.clone(),
        };
        if self.streams || !changes_something(self.call()) {
            return carriage.carry(request, end).await;
        }
        // In the process's set before its first byte, so that dropping the run cannot cut it.
        match self.client.tasks.spawn(carriage.carry(request, end)) {
            Ok(carried) => carried
                .await
                .unwrap_or_else(|_| Err(cut_at_the_end().into())),
            Err(_) => Err(Fault::not_sent(Code::Overloaded).into()),
        }
    }

    fn need(&self) -> Need {
        match self.replayed {
            Some(moment) => Need::OpenedAfter(moment),
            None if self.streams => Need::NotIdle,
            None => Need::Any,
        }
    }

    fn end<T>(self, result: Result<T, CallError>) -> Climbed<T> {
        Climbed {
            result,
            attempts: self.made,
        }
    }
}

/// Everything that one request on the wire needs, so that it can be left to finish alone.
struct Carriage<D: Dial, F> {
    exchange: Arc<Exchange>,
    pool: Arc<Pool<D>>,
    lease: Lease<D::Io>,
    may_replay: bool,
    in_flight: InFlight,
    finish: F,
}

impl<D: Dial, F: Finish<D>> Carriage<D, F> {
    async fn carry(
        self,
        request: http::Request<Outgoing>,
        end: Instant,
    ) -> Result<F::Done, Failed<F::Done>> {
        let counts = self.lease.counts();
        let start = counts.now();
        match timeout_at(end, self.send(request)).await {
            Ok(ended) => ended,
            Err(_) if counts.since(start).written == 0 => {
                Err(Fault::not_sent(Code::TryTimeout).into())
            }
            Err(_) => Err(Fault::new(Code::TryTimeout, Known::Unknown).into()),
        }
    }

    async fn send(mut self, request: http::Request<Outgoing>) -> Result<F::Done, Failed<F::Done>> {
        let counts = self.lease.counts();
        let start = counts.now();
        let response = match self.lease.send(request).await {
            Ok(response) => response,
            Err(broken) => {
                let around = Circumstances {
                    reused: self.lease.is_used(),
                    shared: self.lease.version() == http::Version::HTTP_2,
                    may_replay: self.may_replay,
                    repeatable: self.exchange.route.calls[self.exchange.call.0].repeatable,
                    moved: counts.since(start),
                };
                return Err(fault::of_head(&broken.error, broken.unsent, around).into());
            }
        };
        let inbound = Inbound::accept(response, self.lease, self.pool, self.in_flight)?;
        self.finish.finish(&self.exchange, inbound).await
    }
}

/// Cutting such a request leaves it open whether something was changed.
fn changes_something(call: &Call) -> bool {
    call.write || matches!(call.method, http::Method::PUT | http::Method::DELETE)
}

fn allowed<'r>(call: &Call, retry: &'r Retry) -> Allowed<'r> {
    Allowed {
        connect: retry.connect,
        reset: retry.reset,
        timeout: retry.timeout,
        statuses: &retry.statuses,
        repeatable: call.repeatable,
    }
}

fn cut_at_the_end() -> Fault {
    Fault::new(Code::Internal, Known::Unknown).with_detail("the process ended")
}

impl<T> From<Fault> for Failed<T> {
    fn from(fault: Fault) -> Failed<T> {
        Failed {
            fault,
            answer: None,
        }
    }
}

/// [`crate::engine::fetch::Fetch::fetch`]: the whole answer, decoded.
#[derive(Clone)]
pub struct Whole {
    pub tasks: crate::downstream::tasks::Tasks,
}

impl<D: Dial> Finish<D> for Whole {
    type Done = Answer;

    async fn finish(
        self,
        exchange: &Exchange,
        inbound: Inbound<D>,
    ) -> Result<Answer, Failed<Answer>> {
        Ok(decode::answer(exchange, inbound, &self.tasks).await?)
    }
}

/// [`crate::engine::fetch::Fetch::open`]: the head, and the body as it arrives.
#[derive(Clone)]
pub struct HeadOnly {
    pub stall: Duration,
}

impl<D: Dial> Finish<D> for HeadOnly {
    type Done = Head;

    /// Any complete answer is handed on; one that is no 2xx only if no retry takes its place.
    async fn finish(self, exchange: &Exchange, inbound: Inbound<D>) -> Result<Head, Failed<Head>> {
        let method = &exchange.route.calls[exchange.call.0].method;
        if inbound.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(inbound.status_fault().into());
        }
        let fault = (!inbound.status.is_success()).then(|| inbound.status_fault());
        let head = pass::head(inbound, method, self.stall);
        match fault {
            None => Ok(head),
            Some(fault) => Err(Failed {
                fault,
                answer: Some(head),
            }),
        }
    }
}
