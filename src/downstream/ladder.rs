//! The ladder: what stands around one call, down to the bytes, in the order of `resilience.md` §1.
//! [`climb`] is that order, to be read from top to bottom. Layers 1 and 2, rendering and fallbacks,
//! are the engine's; 3 and 4 are [`crate::downstream::front`], 7 to 9 are [`crate::downstream::guards`], 11 and 12
//! are [`crate::downstream::attempt`] and what lies below it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use crate::downstream::attempt::{Attempt, Carriage, Failed, Finish, verdict};
use crate::downstream::connection::Outgoing;
use crate::downstream::dial::Dial;
use crate::downstream::fault::Fault;
use crate::downstream::guards::{Patience, Permit, Refused, Resting, Token, Told, Wish};
use crate::downstream::inbound::Inbound;
use crate::downstream::observe::Kind;
use crate::downstream::pool::Need;
use crate::downstream::send;
use crate::downstream::service::Service;
use crate::downstream::shelf::Shelf;
use crate::downstream::{Client, Process, decode, pass};
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, ByteStream, CallError, Exchange, Head, LEAST_TIME, is_too_late,
};
use crate::moment::{self, alarm};
use crate::plan::{Call, Retry, Role};
use crate::policy::hedge::After;
use crate::policy::retry::{Allowed, Known};
use crate::policy::{backoff, deadline, retry, retry_after};

/// How a call went, and how many requests it took.
pub struct Climbed<T> {
    pub result: Result<T, CallError>,
    pub attempts: u32,
}

/// Makes one call. `body` is a request body that streams, and so can be sent only once.
pub async fn climb<D: Dial, F: Finish<D>>(
    client: &Client<D>,
    exchange: Arc<Exchange>,
    body: Option<ByteStream>,
    finish: F,
) -> Climbed<F::Done> {
    let climb = Climb::new(client, exchange, body, finish);
    // 3 cache and 4 coalesce are behind us: `front`.
    let now = moment::now();
    if let Some(fault) = climb.refusal(now) {
        return climb.end(Err(fault.into()));
    }
    // 5 call clock: `exchange.deadline` bounds everything below.
    let mut turn = match climb.first(now).await {
        // 7 endpoint, 8 breaker, 9 bulkhead.
        Ok(permit) => Turn::first(&climb, permit),
        Err(fault) => return climb.end(Err(fault.into())),
    };
    loop {
        // 10 attempt clock, 11 connection, 12 decode; hedging beside the first.
        let failed = match climb.take(&turn).await {
            Ok(done) => return climb.end(Ok(done)),
            Err(failed) => failed,
        };
        // 6 retry: this loop; 7, 8 and 9 again, without waiting.
        turn = match Box::pin(climb.again(turn, failed)).await {
            Ok(next) => next,
            Err(failed) => return climb.give_up(failed),
        };
    }
}

/// One turn of the loop: an attempt that has its permit.
struct Turn {
    /// From 1.
    number: u32,
    kind: Kind,
    /// Why it is made: the code of the one before.
    reason: &'static str,
    attempt: Arc<Attempt>,
}

/// A call on its way. Two of its attempts may be under way at the same time.
struct Climb<'c, D: Dial, F> {
    client: &'c Client<D>,
    service: &'c Service<D>,
    told: Told,
    exchange: Arc<Exchange>,
    /// The body streams, so there is one attempt.
    streams: bool,
    sent_before: u32,
    finish: F,
    state: Mutex<State>,
    /// A hedge is under way beside the first attempt.
    is_hedged: AtomicBool,
    /// Bytes of an attempt before the last may have reached the service.
    may_have_arrived: AtomicBool,
}

#[derive(Default)]
struct State {
    body: Option<ByteStream>,
    /// The endpoints that were tried.
    tried: Vec<usize>,
    /// When a connection that had lain idle turned out to be dead, and the request was sent again.
    replayed: Option<Instant>,
    /// Taken when an attempt was cut, for the one that follows it.
    token: Option<Token>,
}

impl Turn {
    fn first<D: Dial, F>(climb: &Climb<'_, D, F>, permit: Permit) -> Turn {
        let kind = match climb.exchange.call().role {
            _ if permit.is_probe() => Kind::Probe,
            Role::Fallback => Kind::Alternate,
            _ => Kind::First,
        };
        Turn {
            number: 1,
            kind,
            reason: "",
            attempt: Attempt::new(permit),
        }
    }
}

impl<'c, D: Dial, F: Finish<D>> Climb<'c, D, F> {
    fn new(
        client: &'c Client<D>,
        exchange: Arc<Exchange>,
        body: Option<ByteStream>,
        finish: F,
    ) -> Self {
        let id = exchange.call().service;
        Climb {
            client,
            service: client.service(id),
            told: client.told(id),
            sent_before: exchange.made.so_far(),
            exchange,
            streams: body.is_some(),
            finish,
            state: Mutex::new(State {
                body,
                ..State::default()
            }),
            is_hedged: AtomicBool::new(false),
            may_have_arrived: AtomicBool::new(false),
        }
    }

    fn call(&self) -> &Call {
        self.exchange.call()
    }

    fn left(&self) -> Duration {
        self.left_at(moment::now())
    }

    fn left_at(&self, now: Instant) -> Duration {
        self.exchange.deadline.saturating_duration_since(now)
    }

    fn is_too_late(&self, now: Instant) -> bool {
        is_too_late(self.exchange.deadline, now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why no attempt is made at all.
    fn refusal(&self, now: Instant) -> Option<Fault> {
        let via = self.exchange.identity.via.as_deref();
        if via.is_some_and(send::came_through_us) {
            return Some(Fault::not_sent(Code::LoopDetected));
        }
        self.is_too_late(now)
            .then(|| Fault::not_sent(Code::DeadlineExhausted))
    }

    // === 7 endpoint, 8 breaker, 9 bulkhead

    /// The permit of the first attempt, which may wait for its place.
    async fn first(&self, now: Instant) -> Result<Permit, Fault> {
        let patience = Patience::Until(self.exchange.deadline);
        let permit = self.admit(patience, now).await.map_err(fault_of)?;
        if permit.has_waited() && self.is_too_late(moment::now()) {
            return Err(Fault::not_sent(Code::DeadlineExhausted));
        }
        self.service.guards.budget().first(permit.since());
        Ok(permit)
    }

    async fn admit(&self, patience: Patience, now: Instant) -> Result<Permit, Refused> {
        let guards = &self.service.guards;
        let wish = Wish {
            is_repeatable: self.call().repeatable,
            patience,
            now,
        };
        if let [_] = self.service.pools.as_slice() {
            return guards.admit(&[], wish, &self.told).await;
        }
        // In a box: most services have one endpoint.
        let among_many = async {
            let mut tried = std::mem::take(&mut self.state().tried);
            if tried.len() >= self.service.pools.len() {
                tried.clear();
            }
            let admitted = guards.admit(&tried, wish, &self.told).await;
            tried.extend(admitted.as_ref().map(|permit| permit.endpoint));
            self.state().tried = tried;
            admitted
        };
        Box::pin(among_many).await
    }

    // === 6 retry

    /// The turn after one that failed; what it failed with if there is none.
    async fn again(&self, turn: Turn, mut failed: Failed<D>) -> Result<Turn, Failed<D>> {
        let Turn {
            number, attempt, ..
        } = turn;
        let Some(wait) = self.wait_before_retry(number, &failed.fault) else {
            return Err(failed);
        };
        // No permit is held while backing off.
        drop(attempt);
        failed.release();
        if !self.service.guards.could_go_on() {
            return Err(failed);
        }
        let Some(token) = self.token(Kind::Retry) else {
            return Err(failed);
        };
        sleep(wait).await;
        let Ok(permit) = self.admit(Patience::None, moment::now()).await else {
            return Err(failed);
        };
        token.spend();
        self.note(&failed.fault);
        Ok(Turn {
            number: number + 1,
            kind: match permit.is_probe() {
                true => Kind::Probe,
                false => Kind::Retry,
            },
            reason: failed.fault.code.name(),
            attempt: Attempt::new(permit),
        })
    }

    fn most_attempts(&self) -> u32 {
        match self.streams {
            true => 1,
            // What the same exchange has sent before (a condition that came to nothing) counts.
            false => self
                .call()
                .retry
                .attempts
                .saturating_sub(self.sent_before)
                .max(1),
        }
    }

    /// How long to wait before the next attempt; `None` if `fault` is final.
    fn wait_before_retry(&self, number: u32, fault: &Fault) -> Option<Duration> {
        if !self.may_follow(number, fault) {
            return None;
        }
        let (first, last) = self.call().retry.backoff;
        let drawn = backoff::wait(number, first, last, fastrand::f64());
        deadline::pause(drawn, fault.retry_after, self.left(), LEAST_TIME)
    }

    /// Whether another attempt may follow one that ended so, by the words of the call.
    fn may_follow(&self, number: u32, fault: &Fault) -> bool {
        let told_when = fault.retry_after.is_some();
        let allowed = allowed(self.call(), &self.call().retry);
        number < self.most_attempts()
            && retry::may_try_again(allowed, fault.known, fault.word(), told_when)
    }

    /// The token of an attempt beside the first; that it is missing is counted.
    fn token(&self, kind: Kind) -> Option<Token> {
        let kept = self.state().token.take();
        let token = kept.or_else(|| self.service.guards.token());
        if token.is_none() {
            self.told.observe.budget_denied(self.told.service, kind);
        }
        token
    }

    /// An attempt that is not the last has failed.
    fn note(&self, fault: &Fault) {
        if fault.known != Known::NotSent {
            self.may_have_arrived.store(true, Ordering::Relaxed);
        }
    }

    // === 6 hedging

    /// The attempt of a turn; beside a first one that stays silent, a hedge. The first success counts;
    /// whoever fails first waits for the other.
    async fn take(&self, turn: &Turn) -> Result<F::Done, Failed<D>> {
        self.count(turn.kind, turn.reason);
        match self.hedge_at(turn) {
            None => self.attempt(turn.attempt.clone(), turn.number).await,
            // In a box, so that calls without a hedge do not carry the second attempt about.
            Some(moment) => Box::pin(self.take_hedged(turn, moment)).await,
        }
    }

    async fn take_hedged(&self, turn: &Turn, moment: Instant) -> Result<F::Done, Failed<D>> {
        let first = self.attempt(turn.attempt.clone(), turn.number);
        tokio::pin!(first);
        tokio::select! {
            biased;
            ended = &mut first => return ended,
            () = sleep_until(moment) => {}
        }
        let Some(hedge) = self.hedge().await else {
            return first.await;
        };
        let second = self.attempt(hedge, turn.number);
        tokio::pin!(second);
        self.is_hedged.store(true, Ordering::Relaxed);
        let (ended, other) = match select(first, second).await {
            Either::Left(pair) | Either::Right(pair) => pair,
        };
        self.is_hedged.store(false, Ordering::Relaxed);
        match ended {
            Ok(done) => Ok(done),
            Err(failed) => {
                self.note(&failed.fault);
                other.await
            }
        }
    }

    /// When the hedge of a first attempt goes out.
    fn hedge_at(&self, turn: &Turn) -> Option<Instant> {
        let after = match self.call().hedge? {
            _ if turn.number > 1 => return None,
            After::Fixed(after) => after,
            After::Percentile(hundredths) => {
                let mut times = self.client.times(&self.exchange)?;
                times.percentile(hundredths, moment::now())?
            }
        };
        let moment = turn.attempt.permit.since() + after;
        (moment + LEAST_TIME <= self.exchange.deadline).then_some(moment)
    }

    /// The hedge's attempt, if the budget, a breaker and the bulkhead have room for it now.
    async fn hedge(&self) -> Option<Arc<Attempt>> {
        let token = self.token(Kind::Hedge)?;
        let permit = self.admit(Patience::None, moment::now()).await.ok()?;
        token.spend();
        let kind = match permit.is_probe() {
            true => Kind::Probe,
            false => Kind::Hedge,
        };
        self.count(kind, "");
        Some(Attempt::new(permit))
    }

    // === 10 attempt clock

    /// One attempt, and what it says about its endpoint.
    async fn attempt(&self, attempt: Arc<Attempt>, number: u32) -> Result<F::Done, Failed<D>> {
        let ended = self.within_clock(&attempt, number).await;
        self.count_time(&attempt, &ended);
        let verdict = verdict(&ended, &self.exchange, &attempt);
        attempt.permit.end(verdict);
        ended
    }

    /// Its own clock ends it only if another may start now; otherwise it runs to the call's.
    async fn within_clock(
        &self,
        attempt: &Arc<Attempt>,
        number: u32,
    ) -> Result<F::Done, Failed<D>> {
        let mut work = pin!(self.exchange(attempt));
        let own_end = attempt.permit.since() + self.call().attempt_timeout;
        let deadline = self.exchange.deadline;
        if number < self.most_attempts() && own_end + LEAST_TIME <= deadline {
            if let Some(ended) = alarm::within(own_end, &mut work).await {
                return ended;
            }
            if self.may_cut(number, attempt) {
                attempt.cut();
                return Err(attempt.timed_out(own_end).into());
            }
        }
        let ended = alarm::within(deadline, work).await;
        ended.unwrap_or_else(|| Err(attempt.timed_out(deadline).into()))
    }

    /// Whether another attempt may start in place of this one: by the words of the call, with a
    /// token, an endpoint and a place. Beside a hedge none may.
    fn may_cut(&self, number: u32, attempt: &Attempt) -> bool {
        if self.is_hedged.load(Ordering::Relaxed)
            || self.is_too_late(moment::now())
            || !self.may_follow(number, &attempt.timed_out(moment::now()))
            || !self.service.guards.could_go_on()
        {
            return false;
        }
        let token = self.token(Kind::Retry);
        let is_there = token.is_some();
        self.state().token = token;
        is_there
    }

    /// Keeps the times of a call whose hedge goes by them: those of successes and timeouts, since
    /// fast failures would drag a percentile down.
    fn count_time(&self, attempt: &Attempt, ended: &Result<F::Done, Failed<D>>) {
        let tells = match ended {
            Ok(_) => true,
            Err(failed) => failed.fault.code == Code::TryTimeout,
        };
        if tells && let Some(mut times) = self.client.times(&self.exchange) {
            let now = moment::now();
            times.count(now.saturating_duration_since(attempt.permit.since()), now);
        }
    }

    // === 11 connection, 12 decode

    /// The exchange of an attempt; a connection that lay idle and is dead is replaced once.
    async fn exchange(&self, attempt: &Arc<Attempt>) -> Result<F::Done, Failed<D>> {
        match self.exchange_once(attempt).await {
            Err(mut failed) if failed.fault.code == Code::StaleConnection => {
                self.note(&failed.fault);
                // The one replay of a call may have gone to the attempt beside this one.
                if self.state().replayed.is_some() {
                    failed.fault.code = Code::Reset;
                    return Err(failed);
                }
            }
            ended => return ended,
        }
        self.state().replayed = Some(moment::now());
        self.count(Kind::Transparent, Code::StaleConnection.name());
        self.exchange_once(attempt).await
    }

    async fn exchange_once(&self, attempt: &Arc<Attempt>) -> Result<F::Done, Failed<D>> {
        let pool = &self.service.pools[attempt.permit.endpoint];
        let (replayed, body) = {
            let mut state = self.state();
            (state.replayed, state.body.take())
        };
        let need = match replayed {
            Some(moment) => Need::OpenedAfter(moment),
            None if self.streams => Need::NotIdle,
            None => Need::Any,
        };
        // The attempt begins at this moment, unless this is its second exchange.
        let now = match replayed {
            None => attempt.permit.since(),
            Some(_) => moment::now(),
        };
        let (lease, now) = match pool.take(need, now) {
            Some(lease) => (lease, now),
            None => (pool.open_or_share(need).await?, moment::now()),
        };
        let body = match body {
            Some(stream) => Outgoing::Streamed(stream),
            None => Outgoing::Whole(self.exchange.body.clone()),
        };
        let (endpoint, version) = (&pool.endpoint, lease.version());
        let left = self.left_at(now);
        let request = send::prepare(&self.exchange, endpoint, version, left, body)?;
        let carriage = Carriage {
            exchange: self.exchange.clone(),
            attempt: attempt.clone(),
            pool: pool.clone(),
            lease,
            may_replay: replayed.is_none() && !self.streams,
            writes: self.writes(),
            finish: self.finish.clone(),
        };
        if self.streams || !changes_something(self.call()) {
            return carriage.carry(request).await;
        }
        // In the process's set before its first byte, so that dropping the run cannot cut it.
        match self
            .client
            .process
            .tasks
            .spawn(carriage.carry_alone(request))
        {
            Ok(carried) => carried
                .await
                .unwrap_or_else(|_| Err(cut_at_the_end().into())),
            Err(_) => Err(turned_away(Code::Overloaded).into()),
        }
    }

    /// What a write makes bad, and whose it is.
    fn writes(&self) -> Option<(Shelf, Box<str>)> {
        let writes = !self.call().method.is_safe();
        writes.then(|| {
            let shelf = self.client.process.shelf.clone();
            (shelf, self.service.settings.name.as_str().into())
        })
    }

    fn count(&self, kind: Kind, reason: &'static str) {
        self.exchange.made.count();
        self.told.observe.attempt(self.told.service, kind, reason);
    }

    // === the end

    /// No further attempt: the answer of the last one where it may be handed on, else its failure.
    fn give_up(self, failed: Failed<D>) -> Climbed<F::Done> {
        let error = CallError {
            may_have_arrived: self.may_have_arrived.load(Ordering::Relaxed),
            ..failed.fault.into()
        };
        let finish = self.finish.clone();
        let answer = failed.answer;
        let done = answer.map(|inbound| finish.hand_on(&self.exchange, *inbound));
        self.end(done.ok_or(error))
    }

    fn end<T>(self, result: Result<T, CallError>) -> Climbed<T> {
        Climbed {
            result,
            attempts: self.exchange.made.so_far(),
        }
    }
}

/// The failure of a call that gets no permit. How long to stay away is handed on to the client.
fn fault_of(refused: Refused) -> Fault {
    match refused {
        Refused::Code(code) => turned_away(code),
        Refused::Resting(Resting { rest }) => Fault {
            retry_after: Some(rest.max(Duration::from_secs(1))),
            ..Fault::not_sent(Code::BreakerOpen)
        },
    }
}

/// There is no room for the call at this moment.
fn turned_away(code: Code) -> Fault {
    Fault {
        retry_after: Some(retry_after::spread(fastrand::f64())),
        ..Fault::not_sent(code)
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

/// [`crate::engine::fetch::Fetch::fetch`]: the whole answer, decoded.
#[derive(Clone)]
pub struct Whole {
    pub process: Arc<Process>,
    /// The request asks whether a kept answer is good still, so that 304 is an answer to it.
    pub validates: bool,
}

impl<D: Dial> Finish<D> for Whole {
    type Done = Box<Answer>;

    fn finish(
        self,
        exchange: &Exchange,
        mut inbound: Inbound<D>,
    ) -> impl Future<Output = Result<Box<Answer>, Failed<D>>> + Send {
        let Whole { process, validates } = self;
        async move {
            if validates && inbound.status == StatusCode::NOT_MODIFIED {
                return Ok(decode::not_modified(inbound, &process));
            }
            let answer = decode::answer(exchange, &mut inbound, &process).await;
            answer.map_err(|fault| {
                inbound.flow.discard(&process.leftovers);
                fault.into()
            })
        }
    }

    fn hand_on(self, _: &Exchange, _: Inbound<D>) -> Box<Answer> {
        unreachable!("an answer that fails is never kept undecoded")
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
    fn finish(
        self,
        exchange: &Exchange,
        inbound: Inbound<D>,
    ) -> impl Future<Output = Result<Head, Failed<D>>> + Send {
        std::future::ready(match inbound.status {
            StatusCode::SWITCHING_PROTOCOLS => Err(inbound.status_fault().into()),
            status if status.is_success() => Ok(self.hand_on(exchange, inbound)),
            _ => Err(Failed {
                fault: inbound.status_fault(),
                answer: Some(Box::new(inbound)),
            }),
        })
    }

    fn hand_on(self, exchange: &Exchange, inbound: Inbound<D>) -> Head {
        pass::head(inbound, &exchange.call().method, self.stall)
    }
}
