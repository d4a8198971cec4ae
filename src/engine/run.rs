//! One execution of a plan: a flat loop that starts every call whose needs are met, awaits the next
//! to finish, settles it, and starts what it unblocked.
//!
//! Everything between two awaits is synchronous and lives in [`Run`]; what is under way lives in one
//! set of futures, so that dropping the run cancels it. `resilience.md` §1 calls rendering and the
//! fallback chain layers 1 and 2 of a call: they are here, the rest is behind [`Fetch`].

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::engine::code::Code;
use crate::engine::context::{Context, Settled, WithReply};
use crate::engine::errors::Entry;
use crate::engine::fetch::{
    Answer, CallError, Exchange, Fetch, Fetched, LEAST_TIME, STITCH_RESERVE,
};
use crate::engine::outcome::{Origin, Outcome};
use crate::engine::reply::Reply;
use crate::engine::request::Accepted;
use crate::engine::{record, render, stitch};
use crate::json::{Body, Kind, Value};
use crate::path::{Env, Frame};
use crate::plan::{CallId, FallbackKind, ForEach, Role, Route};
use crate::template::{Failure, FailureKind};

/// Runs `route` for one request. Ends by `accepted.request.deadline`.
pub async fn run<F: Fetch>(route: &Arc<Route>, accepted: Accepted, fetch: &F) -> Reply {
    let mut run = Run::new(route, &accepted);
    run.begin();
    let mut flights = FuturesUnordered::new();
    let end = sleep_until(run.end);
    tokio::pin!(end);
    while run.is_open() {
        for launch in run.launches.drain(..) {
            flights.push(fly(fetch, launch));
        }
        tokio::select! {
            biased;
            Some((ticket, fetched)) = flights.next() => run.land(ticket, fetched),
            () = &mut end => run.expire(),
        }
    }
    drop(flights);
    stitch::reply(run, fetch).await
}

async fn fly<F: Fetch>(fetch: &F, launch: Launch) -> (Ticket, Fetched) {
    (launch.ticket, fetch.fetch(launch.exchange).await)
}

/// A call to be made, and what it is made for.
struct Launch {
    ticket: Ticket,
    exchange: Exchange,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    call: CallId,
    item: usize,
    /// `None`: the call itself. Else the place in its chain of the fallback call that is asked.
    fallback: Option<usize>,
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
    /// When every call has to be settled: the route's deadline less the time for stitching.
    pub end: Instant,
    /// By call.
    pub progress: Vec<Progress>,
    /// Calls that may start, or whose items have moved.
    work: VecDeque<CallId>,
    launches: Vec<Launch>,
}

/// How far one call is.
pub enum Progress {
    /// For so many calls to settle.
    Waiting(usize),
    Running(Running),
    Settled(Facts),
    /// A fallback call that was not asked, a detached or a passed call.
    Apart,
}

/// What a settled call leaves for the record.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub outcome: record::Outcome,
    pub code: Option<Code>,
    pub status: Option<u16>,
    pub attempts: u32,
    pub started: Instant,
    pub elapsed: Duration,
    pub items: Option<(usize, usize)>,
}

/// A call under way. One that is no `for_each` is one item.
pub struct Running {
    pub started: Instant,
    pub attempts: u32,
    items: Vec<Item>,
    list: Option<List>,
    next: usize,
    open: usize,
    failed: usize,
}

/// The elements of a `for_each`, copied out of the context document.
struct List {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

#[derive(Default)]
struct Item {
    stage: Stage,
    started: Option<Instant>,
    attempts: u32,
    /// Why the call itself failed, while its chain is walked.
    error: Option<CallError>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Waiting,
    /// The call itself is under way.
    Asking,
    /// The fallback call at this place of the chain waits for its own needs.
    Parked(usize),
    /// The fallback call at this place of the chain is under way.
    AskingFallback(usize),
    Done(Outcome),
}

impl<'r> Run<'r> {
    fn new(route: &'r Arc<Route>, accepted: &'r Accepted) -> Run<'r> {
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
            end: accepted.request.deadline - STITCH_RESERVE,
            progress: progress.collect(),
            work: VecDeque::new(),
            launches: Vec::new(),
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
        self.progress[id.0] = Progress::Running(Running::new(Instant::now()));
        if let Some(when) = &call.when
            && !call.when_per_element
            && !when.holds(&self.context.env(None))
        {
            return self.settle(id, Settled::One(Outcome::skipped()));
        }
        let list = match call.for_each.as_ref().map(|for_each| self.list(for_each)) {
            None => None,
            Some(Ok(list)) => Some(list),
            Some(Err(error)) => return self.fail_list(id, error),
        };
        let items = list.as_ref().map_or(1, |list| list.ranges.len());
        let running = self.running(id);
        running.items.resize_with(items, Item::default);
        running.list = list;
        self.go_on(id);
    }

    /// Starts items as far as the concurrency allows; settles the call when none is left.
    fn go_on(&mut self, id: CallId) {
        let for_each = self.route.calls[id.0].for_each.as_ref();
        let most = for_each.map_or(1, |for_each| for_each.concurrency);
        while self.failure.is_none() {
            let Progress::Running(running) = &mut self.progress[id.0] else {
                return;
            };
            if running.next == running.items.len() || running.open >= most {
                break;
            }
            let item = running.next;
            running.next += 1;
            running.open += 1;
            running.items[item].started = Some(Instant::now());
            self.start_item(id, item);
        }
        self.settle_if_done(id);
    }

    fn list(&self, for_each: &ForEach) -> Result<List, CallError> {
        let mut bytes = Vec::new();
        if !for_each.source.render(&self.context.env(None), &mut bytes) {
            return Ok(List {
                bytes,
                ranges: Vec::new(),
            });
        }
        let value = Value::trusted(&bytes);
        if value.kind() != Kind::Array {
            return Err(self.call_error(for_each.source.failure("it is no list")));
        }
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
        let call = &self.route.calls[id.0];
        if call.when_per_element
            && let Some(when) = &call.when
            && !self.with_env(id, item, |env| when.holds(env))
        {
            return self.finish_item(id, item, Outcome::skipped());
        }
        match self.exchange(id, id, item) {
            Ok(exchange) => {
                let ticket = Ticket {
                    call: id,
                    item,
                    fallback: None,
                };
                self.launch(ticket, Stage::Asking, exchange);
            }
            Err(error) => self.fail_item(id, item, error),
        }
    }

    fn launch(&mut self, ticket: Ticket, stage: Stage, exchange: Exchange) {
        self.running(ticket.call).items[ticket.item].stage = stage;
        self.launches.push(Launch { ticket, exchange });
    }

    /// Renders `called`, which is `owner` itself or a call of its chain.
    fn exchange(&self, owner: CallId, called: CallId, item: usize) -> Result<Exchange, CallError> {
        let now = Instant::now();
        if self.end.saturating_duration_since(now) < LEAST_TIME {
            return Err(CallError::new(Code::DeadlineExhausted));
        }
        let timeout = self.route.calls[called.0].timeout;
        let deadline = timeout.map_or(self.end, |timeout| self.end.min(now + timeout));
        let frame = self.frame(owner, item);
        render::exchange(self.route, called, &self.context, frame.as_ref(), deadline)
            .map_err(|failure| self.call_error(failure))
    }

    /// A call has answered or failed, all its attempts included.
    fn land(&mut self, ticket: Ticket, fetched: Fetched) {
        let Ticket {
            call: id,
            item,
            fallback,
        } = ticket;
        match fallback {
            None => {
                let running = self.running(id);
                running.attempts += fetched.attempts;
                running.items[item].attempts = fetched.attempts;
                let taken = fetched
                    .result
                    .and_then(|answer| self.take(id, id, item, answer));
                match taken {
                    Ok(answer) => self.finish_item(id, item, Outcome::live(answer)),
                    Err(error) => self.fail_item(id, item, error),
                }
            }
            Some(place) => self.land_fallback(id, item, place, fetched),
        }
        self.advance();
    }

    fn land_fallback(&mut self, id: CallId, item: usize, place: usize, fetched: Fetched) {
        let FallbackKind::Call(called) = self.route.calls[id.0].fallback[place].kind else {
            unreachable!("only a fallback that is a call is launched");
        };
        let stood_in = fetched
            .result
            .and_then(|answer| self.take(id, called, item, answer))
            .and_then(|answer| self.as_body_of(id, answer.body));
        match stood_in {
            Ok(body) => self.stand_in(id, item, body, "call"),
            Err(error) => {
                self.add_fallback_entry(id, called, item, &error, fetched.attempts);
                self.walk_chain(id, item, place + 1);
            }
        }
    }

    /// Applies `take` of `called`.
    fn take(
        &self,
        owner: CallId,
        called: CallId,
        item: usize,
        answer: Answer,
    ) -> Result<Answer, CallError> {
        let call = &self.route.calls[called.0];
        let Some(take) = &call.take else {
            return Ok(answer);
        };
        let reply = Outcome::live(answer);
        let scope = WithReply {
            context: &self.context,
            reply: &reply,
        };
        let frame = self.frame(owner, item);
        let env = Env {
            scope: &scope,
            frame: frame.as_ref(),
        };
        let mut out = Vec::new();
        let is_present = take
            .render(&env, &mut out)
            .map_err(|failure| self.call_error(failure))?;
        let body = match is_present {
            true => Some(self.check_built(called, out)?),
            false => None,
        };
        Ok(Answer {
            status: reply.status.unwrap_or_default(),
            headers: reply.headers,
            body,
        })
    }

    /// A fallback call's body, with the parts that are read of its owner's.
    fn as_body_of(&self, owner: CallId, body: Option<Body>) -> Result<Option<Body>, CallError> {
        body.map(|body| self.check_bytes(owner, body.bytes().clone()))
            .transpose()
    }

    fn check_built(&self, id: CallId, bytes: Vec<u8>) -> Result<Body, CallError> {
        self.check_bytes(id, Bytes::from(bytes))
    }

    fn check_bytes(&self, id: CallId, bytes: Bytes) -> Result<Body, CallError> {
        let demand = self.route.calls[id.0].body_demand();
        Body::check(bytes, demand, self.route.json_limits)
            .map_err(|_| CallError::new(Code::JsonLimit))
    }

    /// The call itself has failed: a final answer by `pass_status`, or its chain is asked.
    fn fail_item(&mut self, id: CallId, item: usize, error: CallError) {
        let call = &self.route.calls[id.0];
        let passed = error
            .status
            .filter(|status| call.pass_status.contains(status));
        self.running(id).items[item].error = Some(error.clone());
        match passed {
            Some(status) => {
                self.add_entry(id, item, None);
                self.fail_route(id, error, status);
            }
            None => self.walk_chain(id, item, 0),
        }
    }

    /// Asks the fallbacks from `place` on; the first that answers stands in.
    fn walk_chain(&mut self, id: CallId, item: usize, place: usize) {
        let chain = &self.route.calls[id.0].fallback;
        for (place, fallback) in chain.iter().enumerate().skip(place) {
            if fallback.only_not_sent && !self.error_of(id, item).is_not_sent() {
                continue;
            }
            match &fallback.kind {
                FallbackKind::Value(json) => {
                    let mut out = Vec::new();
                    let written = self.with_env(id, item, |env| json.render(env, &mut out));
                    let body = match written {
                        Ok(true) => self.check_built(id, out).map(Some),
                        Ok(false) => Ok(None),
                        Err(failure) => Err(self.call_error(failure)),
                    };
                    if let Ok(body) = body {
                        return self.stand_in(id, item, body, "value");
                    }
                }
                FallbackKind::Call(called) => {
                    if !self.needs_are_met(*called) {
                        self.running(id).items[item].stage = Stage::Parked(place);
                        return;
                    }
                    match self.exchange(id, *called, item) {
                        Ok(exchange) => {
                            let ticket = Ticket {
                                call: id,
                                item,
                                fallback: Some(place),
                            };
                            return self.launch(ticket, Stage::AskingFallback(place), exchange);
                        }
                        Err(error) => self.add_fallback_entry(id, *called, item, &error, 0),
                    }
                }
            }
        }
        self.give_up_item(id, item);
    }

    fn needs_are_met(&self, id: CallId) -> bool {
        let mut needs = self.route.calls[id.0].needs.iter();
        needs.all(|need| self.context.settled[need.0].is_some())
    }

    fn stand_in(&mut self, id: CallId, item: usize, body: Option<Body>, word: &'static str) {
        self.add_entry(id, item, Some(word));
        let error = self.error_of(id, item);
        let outcome = Outcome::stood_in(body, error.code, error.status);
        self.finish_item(id, item, outcome);
    }

    /// No fallback answered.
    fn give_up_item(&mut self, id: CallId, item: usize) {
        self.add_entry(id, item, None);
        let error = self.error_of(id, item).clone();
        let call = &self.route.calls[id.0];
        let is_below_floor = match &call.for_each {
            None => !call.optional,
            Some(for_each) => {
                let running = self.running(id);
                running.failed += 1;
                let good = (running.items.len() - running.failed) as f64;
                good * 100.0 < for_each.min_ok * running.items.len() as f64
            }
        };
        if is_below_floor {
            let error = self.first_error(id).unwrap_or(error);
            return self.fail_required(id, error);
        }
        let outcome = Outcome::failed(error.code, error.status);
        self.finish_item(id, item, outcome);
    }

    /// The error of the first element, in input order, that has failed for good.
    fn first_error(&self, id: CallId) -> Option<CallError> {
        let Progress::Running(running) = &self.progress[id.0] else {
            return None;
        };
        let entry = self
            .entries
            .iter()
            .filter(|entry| entry.call == id && entry.fallback.is_none())
            .min_by_key(|entry| entry.item)?;
        running.items[entry.item.unwrap_or(0)].error.clone()
    }

    /// A `for_each` that cannot begin: its list is too long, or no list.
    fn fail_list(&mut self, id: CallId, error: CallError) {
        self.entries.push(Entry {
            call: id,
            item: None,
            code: error.code,
            status: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            fallback: None,
        });
        if self.route.calls[id.0].optional {
            self.settle(id, Settled::One(Outcome::failed(error.code, None)));
        } else {
            self.fail_required(id, error);
        }
    }

    fn fail_required(&mut self, id: CallId, error: CallError) {
        let status = client_status(&error);
        self.fail_route(id, error, status);
    }

    /// The first required failure decides; everything under way is cancelled.
    fn fail_route(&mut self, id: CallId, error: CallError, status: u16) {
        if let Progress::Running(running) = &self.progress[id.0] {
            let facts = running.facts(record::Outcome::Failed, Some(&error));
            self.progress[id.0] = Progress::Settled(facts);
        }
        let call = Some(self.route.calls[id.0].name.as_str());
        self.failure.get_or_insert(RouteFailure {
            call,
            error,
            status,
        });
    }

    fn finish_item(&mut self, id: CallId, item: usize, outcome: Outcome) {
        let running = self.running(id);
        running.items[item].stage = Stage::Done(outcome);
        running.open -= 1;
        self.work.push_back(id);
    }

    fn settle_if_done(&mut self, id: CallId) {
        let Progress::Running(running) = &mut self.progress[id.0] else {
            return;
        };
        if running.open > 0 || running.next < running.items.len() {
            return;
        }
        let is_list = running.list.is_some();
        let items = std::mem::take(&mut running.items).into_iter();
        let mut outcomes = items.filter_map(|item| match item.stage {
            Stage::Done(outcome) => Some(outcome),
            _ => None,
        });
        let settled = match is_list {
            true => Settled::Many(outcomes.collect()),
            false => Settled::One(outcomes.next().expect("the one item is done")),
        };
        self.settle(id, settled);
    }

    /// The call is final, and what waits for it may start.
    fn settle(&mut self, id: CallId, settled: Settled) {
        if let Progress::Running(running) = &self.progress[id.0] {
            self.progress[id.0] = Progress::Settled(running.facts_of(&settled));
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

    /// Goes on with chains that wait for the needs of a fallback call.
    fn resume_parked(&mut self) {
        let mut parked = Vec::new();
        for (place, progress) in self.progress.iter().enumerate() {
            if let Progress::Running(running) = progress {
                let items = running.items.iter().enumerate();
                parked.extend(items.filter_map(|(item, state)| match state.stage {
                    Stage::Parked(place_in_chain) => Some((CallId(place), item, place_in_chain)),
                    _ => None,
                }));
            }
        }
        for (id, item, place) in parked {
            if self.failure.is_none() {
                self.walk_chain(id, item, place);
            }
        }
    }

    /// The calls' time is over: what is under way ends as `timeout`, what has not started never will.
    fn expire(&mut self) {
        let is_running = |progress: &Progress| matches!(progress, Progress::Running(_));
        while let Some(place) = self.progress.iter().position(is_running)
            && self.failure.is_none()
        {
            self.expire_call(CallId(place));
            self.advance();
        }
        self.launches.clear();
    }

    fn expire_call(&mut self, id: CallId) {
        for item in 0..self.running(id).items.len() {
            let Progress::Running(running) = &self.progress[id.0] else {
                return;
            };
            match running.items[item].stage {
                Stage::Asking => self.fail_item(id, item, CallError::new(Code::Timeout)),
                Stage::Parked(place) => self.walk_chain(id, item, place + 1),
                Stage::AskingFallback(place) => {
                    if let FallbackKind::Call(called) = self.route.calls[id.0].fallback[place].kind
                    {
                        let error = CallError::new(Code::Timeout);
                        self.add_fallback_entry(id, called, item, &error, 1);
                    }
                    self.walk_chain(id, item, place + 1);
                }
                Stage::Waiting | Stage::Done(_) => {}
            }
        }
    }

    fn add_entry(&mut self, id: CallId, item: usize, fallback: Option<&'static str>) {
        let place = self.item_of(id, item);
        let Progress::Running(running) = &self.progress[id.0] else {
            return;
        };
        let state = &running.items[item];
        let error = state.error.as_ref().expect("an entry is made of an error");
        self.entries.push(Entry {
            call: id,
            item: place,
            code: error.code,
            status: error.status,
            attempts: state.attempts,
            elapsed: state
                .started
                .map_or(Duration::ZERO, |started| started.elapsed()),
            fallback,
        });
    }

    fn add_fallback_entry(
        &mut self,
        owner: CallId,
        called: CallId,
        item: usize,
        error: &CallError,
        attempts: u32,
    ) {
        let started = self.running(owner).items[item].started;
        self.entries.push(Entry {
            call: called,
            item: self.item_of(owner, item),
            code: error.code,
            status: error.status,
            attempts,
            elapsed: started.map_or(Duration::ZERO, |started| started.elapsed()),
            fallback: None,
        });
    }

    /// The index that `errors` shows: only a `for_each` has one.
    fn item_of(&self, id: CallId, item: usize) -> Option<usize> {
        self.route.calls[id.0].for_each.as_ref().map(|_| item)
    }

    fn error_of(&mut self, id: CallId, item: usize) -> CallError {
        let state = &self.running(id).items[item];
        state
            .error
            .clone()
            .expect("a chain is walked after a failure")
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

impl List {
    fn element(&self, item: usize) -> Value<'_> {
        Value::trusted(&self.bytes[self.ranges[item].clone()])
    }
}

impl Running {
    fn new(started: Instant) -> Running {
        Running {
            started,
            attempts: 0,
            items: Vec::new(),
            list: None,
            next: 0,
            open: 0,
            failed: 0,
        }
    }

    /// What the record says of a call that settled.
    fn facts_of(&self, settled: &Settled) -> Facts {
        let outcomes = match settled {
            Settled::One(outcome) => std::slice::from_ref(outcome),
            Settled::Many(outcomes) => outcomes,
        };
        let worst = outcomes.iter().max_by_key(|outcome| match outcome.origin {
            Origin::Skipped => 0,
            Origin::Live => 1,
            Origin::Fallback => 2,
            Origin::Failed => 3,
        });
        let failed = outcomes.iter().filter(|outcome| outcome.error.is_some());
        let outcome = match worst.map_or(Origin::Live, |outcome| outcome.origin) {
            Origin::Live => record::Outcome::Live,
            Origin::Fallback => record::Outcome::Fallback,
            Origin::Skipped => record::Outcome::Skipped,
            Origin::Failed => record::Outcome::Failed,
        };
        let error = worst.and_then(|outcome| outcome.error);
        Facts {
            outcome,
            code: error.map(|(code, _)| code),
            status: error.map_or_else(|| worst?.status, |(_, status)| status),
            attempts: self.attempts,
            started: self.started,
            elapsed: self.started.elapsed(),
            items: matches!(settled, Settled::Many(_)).then(|| (outcomes.len(), failed.count())),
        }
    }

    /// What the record says of a call that ended with the run.
    pub fn facts(&self, outcome: record::Outcome, error: Option<&CallError>) -> Facts {
        Facts {
            outcome,
            code: error.map(|error| error.code),
            status: error.and_then(|error| error.status),
            attempts: self.attempts,
            started: self.started,
            elapsed: self.started.elapsed(),
            items: self
                .list
                .as_ref()
                .map(|list| (list.ranges.len(), self.failed)),
        }
    }
}
