//! How long a route can take, and how many requests it can make: the figures of `resilience.md` §3.
//!
//! A bound, not a forecast: every attempt is taken to run to its clock, every backoff to its upper end.

use std::time::Duration;

use crate::plan::settings::Service;
use crate::plan::{Call, CallId, FallbackKind, Retry, Role, Route};

/// What is known of a route before it runs.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// In the order in which they can start; fallback calls stand behind their first owner.
    pub bars: Vec<Bar>,
    /// The longest path, not cut by the route's timeout.
    pub worst: Duration,
    /// The calls of that path, in order.
    pub path: Vec<CallId>,
    /// Requests that one client request can make at most.
    pub requests: u64,
    /// How many calls stand in the longest chain of needs.
    pub depth: usize,
}

/// One call on the timeline.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub call: CallId,
    /// When it starts at the latest if nothing fails the route.
    pub start: Duration,
    /// How long it takes at most, its fallback calls included.
    pub length: Duration,
    /// How many calls stand before it in its longest chain of needs.
    pub level: usize,
}

/// The timeline of a route; `services` are those of its table.
pub fn of(route: &Route, services: &[Service]) -> Timeline {
    let mut timing = Timing {
        route,
        services,
        bars: vec![None; route.calls.len()],
        before: vec![None; route.calls.len()],
    };
    for place in 0..route.calls.len() {
        timing.place(CallId(place));
    }
    let longest = (0..route.calls.len())
        .filter(|&place| route.calls[place].role == Role::Normal)
        .max_by_key(|&place| timing.end(CallId(place)));
    let mut path = Vec::new();
    let mut next = longest.map(CallId);
    while let Some(call) = next {
        path.insert(0, call);
        next = timing.before[call.0];
    }
    let passed = (0..route.calls.len())
        .map(CallId)
        .find(|call| route.calls[call.0].role == Role::Pass);
    let mut worst = longest.map_or(Duration::ZERO, |place| timing.end(CallId(place)));
    if let Some(call) = passed {
        timing.put_last(call, worst);
        worst = timing.end(call);
        path.push(call);
    }
    let mut bars: Vec<Bar> = timing.bars.iter().flatten().copied().collect();
    bars.sort_by_key(|bar| (bar.start, bar.call));
    Timeline {
        worst,
        path,
        requests: route.calls.iter().map(requests).sum(),
        depth: bars.iter().map(|bar| bar.level + 1).max().unwrap_or(0),
        bars,
    }
}

/// The upper ends of the waits before the second and later attempts, together.
pub fn backoffs(retry: &Retry) -> Duration {
    let (first, last) = retry.backoff;
    let ends = (0..retry.attempts.saturating_sub(1)).map(|doublings| {
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(last)
    });
    ends.fold(Duration::ZERO, Duration::saturating_add)
}

/// A call's attempts, and one transparent replay, for each of its elements.
fn requests(call: &Call) -> u64 {
    let items = call
        .for_each
        .as_ref()
        .map_or(1, |for_each| for_each.max_items as u64);
    items.saturating_mul(u64::from(call.retry.attempts) + 1)
}

struct Timing<'r> {
    route: &'r Route,
    services: &'r [Service],
    bars: Vec<Option<Bar>>,
    /// The need that ends last.
    before: Vec<Option<CallId>>,
}

impl Timing<'_> {
    /// Places a call behind its needs; a stack instead of recursion, because a chain may be long. A
    /// call that waits for itself through a chain was refused, but its route is still looked at: who
    /// waits for the call in hand is not waited for again.
    fn place(&mut self, call: CallId) {
        let mut waiting = vec![false; self.bars.len()];
        let mut stack = vec![call];
        while let Some(&call) = stack.last() {
            let waits = self.waits(call);
            waiting[call.0] = true;
            let is_missing = |need: &&CallId| self.bars[need.0].is_none() && !waiting[need.0];
            let missing: Vec<CallId> = waits.iter().filter(is_missing).copied().collect();
            if self.bars[call.0].is_some() || missing.is_empty() {
                self.put(call, &waits);
                stack.pop();
            } else {
                stack.extend(missing);
            }
        }
    }

    /// What a call waits for, and what its fallback calls wait for.
    fn waits(&self, call: CallId) -> Vec<CallId> {
        let own = &self.route.calls[call.0];
        let mut waits = own.needs.clone();
        for called in fallback_calls(own) {
            waits.push(called);
        }
        waits
    }

    fn put(&mut self, call: CallId, waits: &[CallId]) {
        if self.bars[call.0].is_some() {
            return;
        }
        let own = &self.route.calls[call.0];
        let is_need = |need: &&CallId| own.needs.contains(need);
        let last = waits
            .iter()
            .filter(is_need)
            .max_by_key(|need| self.end(**need));
        let start = last.map_or(Duration::ZERO, |need| self.end(*need));
        let level = waits
            .iter()
            .filter(is_need)
            .map(|need| self.level(*need) + 1)
            .max();
        self.before[call.0] = last.copied();
        self.bars[call.0] = Some(Bar {
            call,
            start,
            length: self.length(own, start),
            level: level.unwrap_or(0),
        });
    }

    fn put_last(&mut self, call: CallId, start: Duration) {
        let length = self.length(&self.route.calls[call.0], start);
        let level = self.bars.iter().flatten().map(|bar| bar.level + 1).max();
        self.bars[call.0] = Some(Bar {
            call,
            start,
            length,
            level: level.unwrap_or(0),
        });
    }

    fn end(&self, call: CallId) -> Duration {
        self.bars[call.0].map_or(Duration::ZERO, |bar| bar.start.saturating_add(bar.length))
    }

    fn level(&self, call: CallId) -> usize {
        self.bars[call.0].map_or(0, |bar| bar.level)
    }

    fn length(&self, call: &Call, start: Duration) -> Duration {
        let once = self.once(call, start);
        let rounds = match &call.for_each {
            Some(for_each) => for_each.max_items.div_ceil(for_each.concurrency.max(1)),
            None => 1,
        };
        once.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// min(timeout, attempts and backoffs), and what its fallback calls add.
    fn once(&self, call: &Call, start: Duration) -> Duration {
        let own = self.own(call);
        let mut whole = own;
        let mut asked = own;
        for fallback in &call.fallback {
            let FallbackKind::Call(called) = fallback.kind else {
                continue;
            };
            let before = match fallback.only_not_sent {
                true => asked.min(self.not_sent(call)),
                false => asked,
            };
            // It starts when its own needs are met, which may be later than its owner's failure.
            let ready = self.bars[called.0].map_or(Duration::ZERO, |bar| bar.start);
            let before = before.max(ready.saturating_sub(start));
            asked = before.saturating_add(self.own(&self.route.calls[called.0]));
            whole = whole.max(asked);
        }
        whole
    }

    fn own(&self, call: &Call) -> Duration {
        let attempts = call.attempt_timeout.saturating_mul(call.retry.attempts);
        let all = attempts.saturating_add(backoffs(&call.retry));
        all.min(self.timeout(call))
    }

    /// Until it is known that a request never arrived.
    fn not_sent(&self, call: &Call) -> Duration {
        let connect = self.services[call.service.0].connect_timeout;
        let all = connect.saturating_mul(call.retry.attempts);
        all.saturating_add(backoffs(&call.retry))
            .min(self.timeout(call))
    }

    fn timeout(&self, call: &Call) -> Duration {
        call.timeout.unwrap_or(call_time(self.route.timeout))
    }
}

/// What a route's timeout leaves for its calls.
pub fn call_time(timeout: Duration) -> Duration {
    timeout.saturating_sub(Duration::from_millis(20))
}

/// The calls that a call's chain may ask.
pub fn fallback_calls(call: &Call) -> impl Iterator<Item = CallId> {
    call.fallback
        .iter()
        .filter_map(|fallback| match fallback.kind {
            FallbackKind::Call(called) => Some(called),
            FallbackKind::Value(_) => None,
        })
}
