//! One execution of a plan: a flat loop that starts every call whose needs are met, awaits the next
//! to finish, settles it, and starts what it unblocked.
//!
//! Everything between two awaits is synchronous and lives in [`Run`]; what is under way lives in
//! [`flight::Flights`], so that dropping the run cancels it. `resilience.md` §1 calls rendering and the
//! fallback chain layers 1 and 2 of a call: they are here, the rest is behind [`Fetch`].

mod batch;
mod chain;
mod expiry;
mod flight;
pub mod kept;
pub mod progress;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::boxed;
use crate::engine::code::Code;
use crate::engine::context::{Context, Settled, WithReply};
use crate::engine::errors::Entry;
use crate::engine::fetch::{
    Answer, CacheNote, CallError, Exchange, Fetch, Fetched, STITCH_RESERVE, is_too_late,
};
use crate::engine::outcome::Outcome;
use crate::engine::reply::Reply;
use crate::engine::request::Accepted;
use crate::engine::run::flight::{Aim, Flights, Landing, Launch, Ticket, fly};
use crate::engine::run::kept::Kept;
use crate::engine::run::progress::{List, Next, Progress, Running, Stage};
use crate::engine::{batch as answers, render, stitch};
use crate::json::{Body, Fault, Value};
use crate::moment::{self, alarm};
use crate::path::{Env, Frame};
use crate::plan::{CallId, ForEach, Role, Route};
use crate::template::json::Json;
use crate::template::{Failure, FailureKind, choice};

/// Runs `route` for one request. Ends by `accepted.request.deadline`.
pub async fn run<F: Fetch>(route: &Arc<Route>, accepted: &Accepted, fetch: &F) -> Box<Reply> {
    let mut run = Run::new(route, accepted, fetch);
    run.begin();
    // A route that only passes an answer has nothing to settle. One that has failed at once may have: what else
    // ends at that moment.
    if run.is_open() || run.failure.is_some() {
        settle(&mut run, fetch).await;
    }
    stitch::reply(&mut run, fetch).await
}

/// Until every call is settled, or the route has failed.
async fn settle<F: Fetch>(run: &mut Run<'_>, fetch: &F) {
    let mut flights = Flights::new();
    let mut end = alarm::until(run.end);
    while run.is_open() {
        let launches = run.launches.drain(..);
        // In boxes, so that they are not moved about.
        flights.add(launches.map(|launch| boxed::pinned(|| fly(fetch, launch))));
        tokio::select! {
            biased;
            Some(landing) = flights.next() => run.land(landing),
            () = &mut end => run.expire(),
        }
    }
    if run.failure.is_some() && moment::now() >= run.end {
        // What else ends at this moment does not depend on which was polled first.
        while let Some(Some(landing)) = flights.next().now_or_never() {
            run.land(landing);
        }
        run.expire();
    }
}

/// A required call has failed, and with it the route.
#[derive(Clone, Debug)]
pub struct RouteFailure<'r> {
    /// The call to name; none where a template of `response` reads no call.
    pub call: Option<&'r str>,
    pub error: CallError,
    /// The status for the client.
    pub status: u16,
}

/// The state of one run between two awaits.
pub struct Run<'r> {
    pub route: &'r Arc<Route>,
    pub context: Context<'r>,
    pub entries: Vec<Entry>,
    pub failure: Option<RouteFailure<'r>>,
    pub started: Instant,
    /// When the run last woke: what is done before it waits again is done at this moment.
    now: Instant,
    /// When every call has to be settled: the route's deadline less the time for stitching.
    pub end: Instant,
    /// By call.
    pub progress: Vec<Progress>,
    /// Calls that may start, or whose items have moved.
    work: VecDeque<CallId>,
    launches: Vec<Launch>,
    kept: &'r dyn Kept,
}

impl<'r> Run<'r> {
    fn new(route: &'r Arc<Route>, accepted: &'r Accepted, kept: &'r dyn Kept) -> Run<'r> {
        let progress = route.calls.iter().map(|call| match call.role {
            Role::Normal => Progress::Waiting(call.needs.len()),
            Role::Fallback | Role::Detached | Role::Pass => Progress::Apart,
        });
        Run {
            route,
            context: Context::new(route, accepted),
            entries: Vec::new(),
            failure: None,
            started: accepted.request.started,
            now: moment::now(),
            end: accepted.request.deadline - STITCH_RESERVE,
            progress: progress.collect(),
            work: VecDeque::new(),
            launches: Vec::new(),
            kept,
        }
    }

    fn begin(&mut self) {
        for (place, progress) in self.progress.iter().enumerate() {
            if matches!(progress, Progress::Waiting(0)) {
                self.work.push_back(CallId(place));
            }
        }
        self.advance();
    }

    fn is_open(&self) -> bool {
        let is_open = |progress| matches!(progress, &Progress::Waiting(_) | &Progress::Running(_));
        self.failure.is_none() && self.progress.iter().any(is_open)
    }

    /// Does all that can be done without waiting. A loop and no recursion: a list may be long.
    fn advance(&mut self) {
        while self.failure.is_none()
            && let Some(id) = self.work.pop_front()
        {
            match &self.progress[id.0] {
                Progress::Waiting(0) => self.start(id),
                Progress::Running(_) => self.go_on(id),
                _ => {}
            }
        }
    }

    fn start(&mut self, id: CallId) {
        let call = &self.route.calls[id.0];
        self.progress[id.0] = Progress::Running(Running::new(self.now));
        if let Some(when) = &call.when
            && !call.when_per_element
            && !when.holds(&self.context.env(None))
        {
            return self.settle(id, Settled::One(Box::new(Outcome::skipped())));
        }
        let list = match call.for_each.as_ref().map(|for_each| self.list(for_each)) {
            None => None,
            Some(Ok(list)) => Some(list),
            Some(Err(error)) => return self.fail_list(id, error),
        };
        let items = list.as_ref().map_or(1, |list| list.ranges.len());
        self.running(id).hold(items, list);
        if call.batch().is_some() {
            self.begin_batch(id);
        }
        self.go_on(id);
    }

    /// Starts what is next as far as the concurrency allows; settles the call when nothing is left.
    fn go_on(&mut self, id: CallId) {
        let for_each = self.route.calls[id.0].for_each.as_ref();
        let most = for_each.map_or(1, |for_each| for_each.concurrency);
        let now = self.now;
        while self.failure.is_none() {
            let Progress::Running(running) = &mut self.progress[id.0] else {
                return;
            };
            match running.next(most, now) {
                Some(Next::Item(item)) => self.start_item(id, item),
                Some(Next::Chunk(number)) => self.start_chunk(id, number),
                Some(Next::Parked(item)) => self.resume(id, item),
                None => break,
            }
        }
        self.settle_if_done(id);
    }

    fn list(&self, for_each: &ForEach) -> Result<List, CallError> {
        let env = self.context.env(None);
        let elements = for_each.source.elements(&env);
        let elements = elements.map_err(|failure| self.call_error(failure))?;
        let mut bytes = Vec::new();
        choice::write_array(&mut bytes, &elements.unwrap_or_default());
        let value = Value::trusted(&bytes);
        let origin = bytes.as_ptr() as usize;
        let ranges: Vec<Range<usize>> = value
            .elements()
            .map(|element| {
                let start = element.bytes().as_ptr() as usize - origin;
                start..start + element.bytes().len()
            })
            .collect();
        if ranges.len() > for_each.max_items {
            return Err(CallError {
                detail: Some(format!(
                    "`{}` has {} elements, more than the {} of `max_items`",
                    for_each.source.text(),
                    ranges.len(),
                    for_each.max_items
                )),
                ..CallError::new(Code::TooLarge)
            });
        }
        Ok(List { bytes, ranges })
    }

    fn start_item(&mut self, id: CallId, item: usize) {
        if !self.is_wanted(id, item) {
            return;
        }
        match self.exchange(id, id, item) {
            Ok(exchange) => {
                let state = &mut self.running(id).items[item];
                state.stage = Stage::Asking;
                state.made = Some(exchange.made.clone());
                self.launch(id, Aim::Item(item), exchange);
            }
            Err(error) => self.fail_item(id, item, error),
        }
    }

    /// Whether an item is to be asked for at all; one that is not has ended.
    fn is_wanted(&mut self, id: CallId, item: usize) -> bool {
        let call = &self.route.calls[id.0];
        if call.when_per_element
            && let Some(when) = &call.when
            && !self.with_env(id, item, |env| when.holds(env))
        {
            self.finish_item(id, item, Outcome::skipped());
            return false;
        }
        if self.is_left_out(id) {
            self.fail_item(id, item, CallError::new(Code::Overloaded));
            return false;
        }
        true
    }

    /// A brownout spares the services what is optional.
    fn is_left_out(&self, id: CallId) -> bool {
        let call = &self.route.calls[id.0];
        let is_brownout = self.context.accepted.request.brownout;
        is_brownout && call.optional && call.role == Role::Normal
    }

    fn launch(&mut self, call: CallId, aim: Aim, exchange: Exchange) {
        let ticket = Ticket { call, aim };
        self.launches.push(Launch::Call(ticket, Arc::new(exchange)));
    }

    /// Renders `called`, which is `owner` itself or a call of its chain.
    fn exchange(&self, owner: CallId, called: CallId, item: usize) -> Result<Exchange, CallError> {
        let now = moment::now();
        if is_too_late(self.end, now) {
            return Err(CallError::new(Code::DeadlineExhausted));
        }
        self.rendered(owner, called, item, now)
            .map_err(|failure| self.call_error(failure))
    }

    fn rendered(
        &self,
        owner: CallId,
        called: CallId,
        item: usize,
        now: Instant,
    ) -> Result<Exchange, Failure> {
        let frame = self.frame(owner, item);
        let ends = self.ends_of(called, now);
        render::exchange(self.route, called, &self.context, frame.as_ref(), ends)
    }

    /// By when a call that starts at `now` has to end.
    pub fn ends_of(&self, called: CallId, now: Instant) -> render::Ends {
        let own = self.route.calls[called.0].timeout;
        let own = own.map(|timeout| now + timeout);
        let of_route = own.is_none_or(|own| self.end < own);
        render::Ends {
            deadline: own.map_or(self.end, |own| self.end.min(own)),
            ends_with_route: of_route,
        }
    }

    fn land(&mut self, landing: Landing) {
        self.now = moment::now();
        let (Landing::Call(Ticket { call: id, .. }, _) | Landing::Found(id, _)) = &landing;
        // A list that has failed as a whole has elements under way.
        if !matches!(self.progress[id.0], Progress::Running(_)) {
            return;
        }
        match landing {
            Landing::Found(id, found) => self.land_found(id, found),
            Landing::Call(Ticket { call: id, aim }, fetched) => match aim {
                Aim::Item(item) => self.land_item(id, item, fetched),
                Aim::Chunk(number) => self.land_chunk(id, number, fetched),
                Aim::Fallback { item, place } => self.land_fallback(id, item, place, fetched),
            },
        }
        // At the end of the time what else ends is told before anything else is looked at: `expire`.
        if self.now < self.end {
            self.advance();
        }
    }

    /// A call has answered or failed, all its attempts included.
    fn land_item(&mut self, id: CallId, item: usize, fetched: Fetched) {
        let running = self.running(id);
        running.attempts += fetched.attempts;
        running.items[item].attempts = fetched.attempts;
        running.items[item].made = None;
        let note = fetched.note;
        running.items[item].note = note;
        let taken = fetched
            .result
            .and_then(|answer| self.take(id, id, item, answer));
        self.end_item(id, item, taken, note);
    }

    /// Applies `take` of `called`.
    fn take(
        &self,
        owner: CallId,
        called: CallId,
        item: usize,
        answer: Box<Answer>,
    ) -> Result<Box<Answer>, CallError> {
        let call = &self.route.calls[called.0];
        if call.batch().is_some() {
            // What is kept of such a call is a row.
            let body = answer.body.as_ref();
            let row = body.map_or(Value::NULL, |body| body.whole());
            let row = answers::slice(body, row);
            return self.take_row(owner, item, answer, row);
        }
        let Some(take) = &call.take else {
            return Ok(answer);
        };
        self.reshaped(called, take, answer, self.frame(owner, item).as_ref())
    }

    /// What `take` makes of an answer.
    fn reshaped(
        &self,
        called: CallId,
        take: &Json,
        answer: Box<Answer>,
        frame: Option<&Frame<'_>>,
    ) -> Result<Box<Answer>, CallError> {
        let reply = Outcome::answered(*answer, None);
        let scope = WithReply {
            context: &self.context,
            reply: &reply,
        };
        let env = Env {
            scope: &scope,
            frame,
        };
        let mut out = Vec::new();
        let is_present = take
            .render(&env, &mut out)
            .map_err(|failure| self.call_error(failure))?;
        let body = match is_present {
            true => Some(self.check_built(called, out)?),
            false => None,
        };
        Ok(Box::new(Answer {
            status: reply.status.unwrap_or_default(),
            headers: reply.headers,
            body,
            held: reply.held,
            lasting: reply.lasting,
        }))
    }

    fn check_built(&self, id: CallId, bytes: Vec<u8>) -> Result<Body, CallError> {
        self.check_bytes(id, Bytes::from(bytes))
    }

    fn check_bytes(&self, id: CallId, bytes: Bytes) -> Result<Body, CallError> {
        let demand = self.route.calls[id.0].body_demand();
        Body::check(bytes, demand, self.route.json_limits).map_err(|fault| {
            CallError::new(match fault {
                Fault::TooDeep { .. } | Fault::TooManyNodes { .. } => Code::JsonLimit,
                Fault::Syntax { .. } | Fault::ByteOrderMark | Fault::Duplicate { .. } => {
                    Code::BadPayload
                }
            })
        })
    }

    /// The item has answered, or what came has no place in it.
    fn end_item(
        &mut self,
        id: CallId,
        item: usize,
        taken: Result<Box<Answer>, CallError>,
        note: Option<CacheNote>,
    ) {
        match taken {
            Ok(answer) => self.finish_item(id, item, Outcome::answered(*answer, note)),
            Err(error) => self.fail_item(id, item, error),
        }
    }

    fn finish_item(&mut self, id: CallId, item: usize, mut outcome: Outcome) {
        let running = self.running(id);
        // Also where it failed, or something stood in: the cache was asked all the same.
        outcome.note = outcome.note.or(running.items[item].note);
        running.finish(item, outcome);
        self.work.push_back(id);
    }

    fn settle_if_done(&mut self, id: CallId) {
        let Progress::Running(running) = &mut self.progress[id.0] else {
            return;
        };
        if running.left > 0 {
            return;
        }
        let is_list = running.list.is_some();
        let items = std::mem::take(&mut running.items).into_iter();
        let mut outcomes = items.filter_map(|item| match item.stage {
            Stage::Done(outcome) => Some(outcome),
            _ => None,
        });
        let settled = match is_list {
            true => Settled::Many(outcomes.map(|outcome| *outcome).collect()),
            false => Settled::One(outcomes.next().expect("the one item is done")),
        };
        self.settle(id, settled);
    }

    /// The call is final, and what waits for it may start.
    fn settle(&mut self, id: CallId, settled: Settled) {
        if let Progress::Running(running) = &self.progress[id.0] {
            self.progress[id.0] = Progress::Settled(running.facts_of(&settled, self.now));
        }
        self.context.settled[id.0] = Some(settled);
        for &waiting in &self.route.calls[id.0].unblocks {
            if let Progress::Waiting(unmet) = &mut self.progress[waiting.0] {
                *unmet -= 1;
                if *unmet == 0 {
                    self.work.push_back(waiting);
                }
            }
        }
        self.resume_parked();
    }

    fn running(&mut self, id: CallId) -> &mut Running {
        match &mut self.progress[id.0] {
            Progress::Running(running) => running,
            _ => unreachable!("items belong to calls under way"),
        }
    }

    fn frame(&self, id: CallId, item: usize) -> Option<Frame<'_>> {
        let for_each = self.route.calls[id.0].for_each.as_ref()?;
        let Progress::Running(running) = &self.progress[id.0] else {
            return None;
        };
        Some(Frame {
            variable: for_each.variable,
            index: item,
            value: running.list.as_ref()?.element(item),
            outer: None,
        })
    }

    fn with_env<T>(&self, id: CallId, item: usize, use_it: impl FnOnce(&Env<'_>) -> T) -> T {
        let frame = self.frame(id, item);
        use_it(&self.context.env(frame.as_ref()))
    }

    pub fn call_error(&self, failure: Failure) -> CallError {
        call_error(&self.context, failure)
    }
}

/// What a template's failure is as a call's: 400 where the client is at fault, else 502.
pub fn call_error(context: &Context<'_>, failure: Failure) -> CallError {
    let code = match failure.kind {
        FailureKind::Missing => Code::MissingValue,
        FailureKind::Bad => Code::BadValue,
    };
    CallError {
        is_of_client: context.is_of_request(failure.root),
        detail: Some(format!("`{}`: {}", failure.path, failure.message)),
        ..CallError::new(code)
    }
}

/// The client's status when this failure decides the answer (`resilience.md` §4).
pub fn client_status(error: &CallError) -> u16 {
    match error.code {
        Code::MissingValue | Code::BadValue if error.is_of_client => 400,
        Code::MissingValue | Code::BadValue => 502,
        Code::ServiceUnavailable => error.status.unwrap_or(503),
        code => code.status(),
    }
}
