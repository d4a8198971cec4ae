//! What becomes of a call that has failed: its chain of fallbacks, its entry in `errors`, and whether
//! the route fails with it.

use std::time::Duration;

use crate::engine::context::Settled;
use crate::engine::errors::Entry;
use crate::engine::fetch::{CallError, Fetched};
use crate::engine::outcome::{Origin, Outcome};
use crate::engine::record;
use crate::engine::run::flight::Aim;
use crate::engine::run::progress::{Asked, Progress, Stage};
use crate::engine::run::{RouteFailure, Run, client_status};
use crate::json::Body;
use crate::moment;
use crate::plan::{CallId, FallbackKind};

impl Run<'_> {
    pub(super) fn land_fallback(
        &mut self,
        id: CallId,
        item: usize,
        place: usize,
        fetched: Fetched,
    ) {
        let FallbackKind::Call(called) = self.route.calls[id.0].fallback[place].kind else {
            unreachable!("only a fallback that is a call is launched");
        };
        self.asked(called).note(fetched.note);
        let stood_in = fetched
            .result
            .and_then(|answer| self.take(id, called, item, answer))
            .and_then(|answer| Ok((answer.status, self.as_body_of(id, answer.body)?)));
        match stood_in {
            Ok((status, body)) => {
                self.asked(called).end(Ok(status), fetched.attempts);
                self.stand_in(id, item, body, Origin::Fallback, "call");
            }
            Err(error) => {
                self.add_fallback_entry(id, called, item, &error, fetched.attempts);
                self.walk_chain(id, item, place + 1);
            }
        }
    }

    /// A fallback call's body, with the parts that are read of its owner's.
    fn as_body_of(&self, owner: CallId, body: Option<Body>) -> Result<Option<Body>, CallError> {
        body.map(|body| self.check_bytes(owner, body.bytes().clone()))
            .transpose()
    }

    /// The call itself has failed: a final answer by `pass_status`, or its chain is asked.
    pub(super) fn fail_item(&mut self, id: CallId, item: usize, error: CallError) {
        let call = &self.route.calls[id.0];
        let passed = error
            .status
            .filter(|status| call.pass_status.contains(status));
        let state = &mut self.running(id).items[item];
        state.error = Some(error.clone());
        state.failed_after = state.started.map_or(Duration::ZERO, moment::since);
        match passed {
            Some(status) => {
                self.add_entry(id, item, None);
                self.fail_route(id, error, status);
            }
            None => match self.stale_if_error(id, item, error.code) {
                Some(body) => self.stand_in(id, item, body, Origin::Stale, "stale"),
                None => self.walk_chain(id, item, 0),
            },
        }
    }

    /// Asks the fallbacks from `place` on; the first that answers stands in.
    pub(super) fn walk_chain(&mut self, id: CallId, item: usize, place: usize) {
        let chain = &self.route.calls[id.0].fallback;
        for (place, fallback) in chain.iter().enumerate().skip(place) {
            if fallback.only_not_sent && !self.error_of(id, item).is_not_sent() {
                continue;
            }
            match &fallback.kind {
                FallbackKind::Stale(at_most) => {
                    if let Some(body) = self.last_good(id, item, *at_most) {
                        return self.stand_in(id, item, body, Origin::Stale, "stale");
                    }
                }
                FallbackKind::Value(json) => {
                    let mut out = Vec::new();
                    let written = self.with_env(id, item, |env| json.render(env, &mut out));
                    let body = match written {
                        Ok(true) => self.check_built(id, out).map(Some),
                        Ok(false) => Ok(None),
                        Err(failure) => Err(self.call_error(failure)),
                    };
                    if let Ok(body) = body {
                        return self.stand_in(id, item, body, Origin::Fallback, "value");
                    }
                }
                FallbackKind::Call(_) if self.is_left_out(id) => {}
                FallbackKind::Call(called) => {
                    if !self.needs_are_met(*called) || !self.has_place(id, item) {
                        let state = &mut self.running(id).items[item];
                        state.stage = Stage::Parked(place);
                        state.asked = None;
                        return;
                    }
                    self.asked(*called).begin();
                    self.running(id).items[item].asked = Some(moment::now());
                    match self.exchange(id, *called, item) {
                        Ok(exchange) => {
                            self.running(id).items[item].stage = Stage::AskingFallback(place);
                            self.asked(*called).made.push(exchange.made.clone());
                            return self.launch(id, Aim::Fallback { item, place }, exchange);
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

    /// Whether a fallback call of this item may be under way now.
    fn has_place(&mut self, id: CallId, item: usize) -> bool {
        let for_each = self.route.calls[id.0].for_each.as_ref();
        let most = for_each.map_or(1, |for_each| for_each.concurrency);
        let running = self.running(id);
        let has_place = running.has_place(item, most);
        if let (false, Some(bulk)) = (has_place, &mut running.bulk) {
            bulk.park(item);
        }
        has_place
    }

    /// Goes on with a chain that waited for a place.
    pub(super) fn resume(&mut self, id: CallId, item: usize) {
        if let Stage::Parked(place) = self.running(id).items[item].stage {
            self.walk_chain(id, item, place);
        }
    }

    fn stand_in(
        &mut self,
        id: CallId,
        item: usize,
        body: Option<Body>,
        origin: Origin,
        word: &'static str,
    ) {
        self.add_entry(id, item, Some(word));
        let error = self.error_of(id, item);
        let outcome = Outcome::stood_in(origin, body, error.code, error.status);
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
    pub(super) fn fail_list(&mut self, id: CallId, error: CallError) {
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
            let outcome = Outcome::failed(error.code, None);
            self.settle(id, Settled::One(Box::new(outcome)));
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

    /// Goes on with chains that wait for the needs of a fallback call.
    pub(super) fn resume_parked(&mut self) {
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
            elapsed: state.failed_after,
            fallback,
        });
    }

    /// The fallback call `called` has failed too: it has an entry of its own.
    pub(super) fn add_fallback_entry(
        &mut self,
        owner: CallId,
        called: CallId,
        item: usize,
        error: &CallError,
        attempts: u32,
    ) {
        let asked = self.running(owner).items[item].asked;
        self.asked(called).end(Err(error), attempts);
        self.entries.push(Entry {
            call: called,
            item: self.item_of(owner, item),
            code: error.code,
            status: error.status,
            attempts,
            elapsed: asked.map_or(Duration::ZERO, moment::since),
            fallback: None,
        });
    }

    pub(super) fn asked(&mut self, called: CallId) -> &mut Asked {
        let progress = &mut self.progress[called.0];
        if matches!(progress, Progress::Apart) {
            *progress = Progress::Asked(Asked::new());
        }
        match progress {
            Progress::Asked(asked) => asked,
            _ => unreachable!("a fallback call starts only where a chain asks it"),
        }
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
}
