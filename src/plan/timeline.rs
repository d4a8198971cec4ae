//! How long a route can take, and how many requests it can make: the figures of `resilience.md` §3.
//!
//! A bound, not a forecast: every first attempt is taken to wait for its place as long as it may, every
//! attempt to run to its clock, every backoff to its upper end. A hedge lies within the call's time, and
//! an old answer or a value takes none.

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
        requests: (0..route.calls.len())
            .map(|place| requests(route, CallId(place)))
            .fold(0, u64::saturating_add),
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

/// How long a first attempt may wait for its place.
pub fn wait(service: &Service) -> Duration {
    match service.bulkhead {
        Some(bulkhead) if bulkhead.queue > 0 => bulkhead.max_wait,
        _ => Duration::ZERO,
    }
}

/// How often a call is asked for one client request: once for each of its elements, or for `size` of
/// them where it has a `batch`; a fallback call once for each element of those that it stands in for.
pub fn asked(route: &Route, id: CallId) -> u64 {
    let call = &route.calls[id.0];
    let for_each = call.for_each.as_ref();
    if call.role != Role::Fallback {
        return for_each.map_or(1, |for_each| for_each.requests() as u64);
    }
    let items = |owner: &Call| {
        let for_each = owner.for_each.as_ref();
        for_each.map_or(1, |for_each| for_each.max_items as u64)
    };
    let owners = route.calls.iter().flat_map(|owner| {
        let named = fallback_calls(owner).filter(|called| *called == id);
        named.map(|_| items(owner))
    });
    owners.fold(0, u64::saturating_add)
}

/// A call's attempts, one transparent replay and its hedge, as often as it is asked.
fn requests(route: &Route, id: CallId) -> u64 {
    let call = &route.calls[id.0];
    let each = u64::from(call.retry.attempts) + 1 + u64::from(call.hedge.is_some());
    asked(route, id).saturating_mul(each)
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
        let all = match &call.for_each {
            Some(for_each) => {
                let rounds = |count: usize| {
                    let rounds = count.div_ceil(for_each.concurrency.max(1));
                    u32::try_from(rounds).unwrap_or(u32::MAX)
                };
                let asked = rounds(for_each.requests());
                // Behind a `batch` each element has fallback calls of its own; the first is in `once`.
                let more = rounds(for_each.max_items).saturating_sub(asked);
                let stood_in = fallback_calls(call).map(|called| {
                    let own = self.own(&self.route.calls[called.0]);
                    own.saturating_mul(more)
                });
                stood_in.fold(once.saturating_mul(asked), Duration::saturating_add)
            }
            None => once,
        };
        match call.timeout {
            Some(_) => all,
            // What the route has left, whenever it starts.
            None => all.min(call_time(self.route.timeout).saturating_sub(start)),
        }
    }

    /// min(timeout, wait, attempts and backoffs), and what its fallback calls add.
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
            let called = &self.route.calls[called.0];
            asked = before.saturating_add(self.own(called));
            if called.timeout.is_none() {
                let left = call_time(self.route.timeout).saturating_sub(start);
                asked = asked.min(left.max(before));
            }
            whole = whole.max(asked);
        }
        whole
    }

    fn own(&self, call: &Call) -> Duration {
        self.tried(call, call.attempt_timeout)
    }

    /// Until it is known that a request never arrived.
    fn not_sent(&self, call: &Call) -> Duration {
        self.tried(call, self.services[call.service.0].connect_timeout)
    }

    /// With attempts that take so long.
    fn tried(&self, call: &Call, attempt: Duration) -> Duration {
        let attempts = attempt.saturating_mul(call.retry.attempts);
        wait(&self.services[call.service.0])
            .saturating_add(attempts)
            .saturating_add(backoffs(&call.retry))
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
            FallbackKind::Stale(_) | FallbackKind::Value(_) => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::compile::compile;

    const SERVICES: &str = "
---
services:
  a: { url: http://a }
  b: { url: http://b, connect_timeout: 100ms }
  c: { url: http://c }
  d: { url: http://d }
  e: { url: http://e, bulkhead: false }
  f: { url: http://f, bulkhead: { max: 9, queue: 0 } }
  g: { url: http://g, bulkhead: { max_wait: 40ms } }
";

    fn timed(text: &str, name: &str) -> (Vec<String>, Timeline) {
        let file = format!("anabranch-timeline-{}-{name}.yaml", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, format!("{text}{SERVICES}")).unwrap();
        let reading = config::read(std::slice::from_ref(&file), &|_| None);
        std::fs::remove_file(&file).unwrap();
        let reading = reading.unwrap_or_else(|_| panic!("the file is readable"));
        assert!(reading.findings.is_empty(), "{:?}", reading.findings);
        let compiled = compile(&reading.documents, &reading.files);
        let table = compiled.table;
        let table = table.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
        let timeline = of(&table.routes[0], &table.services);
        let names = table.routes[0].calls.iter().map(|call| call.name.clone());
        (names.collect(), timeline)
    }

    /// `NAME START..END` of each bar, the worst case, its path, and the requests.
    fn check(name: &str, timeout: &str, calls: &str, pass: &str, expected: &str) {
        let response = match pass {
            "" => "body: 1".to_owned(),
            pass => format!("pass: {pass}"),
        };
        let text = format!(
            "route: GET /\ntimeout: {timeout}\ncalls:\n{calls}\nresponse: {{ {response} }}\n"
        );
        let (names, timeline) = timed(&text, name);
        let bars = timeline.bars.iter().map(|bar| {
            let (start, end) = (bar.start.as_millis(), (bar.start + bar.length).as_millis());
            format!("{} {start}..{end}", names[bar.call.0])
        });
        let path: Vec<&str> = timeline
            .path
            .iter()
            .map(|call| names[call.0].as_str())
            .collect();
        let found = format!(
            "{} = {} by {}, {} requests",
            Vec::from_iter(bars).join(", "),
            timeline.worst.as_millis(),
            path.join(" "),
            timeline.requests
        );
        assert_eq!(found, expected, "{name}");
    }

    /// `resilience.md` §3.
    #[test]
    fn the_worst_case_is_the_longest_path_of_clocks() {
        check(
            "chain",
            "2s",
            "  a: { get: /, timeout: 300ms }\n  b: { get: /, timeout: 100ms, depends_on: [a] }\n  c: { get: /, timeout: 350ms }",
            "",
            "a 0..300, c 0..350, b 300..400 = 400 by a b, 9 requests",
        );
        // Without a `timeout`: what the route leaves. Two attempts and one backoff of 25 ms.
        check(
            "whole",
            "1s",
            "  a: { get: / }",
            "",
            "a 0..980 = 980 by a, 3 requests",
        );
        // The attempts end before the call's clock: 100 ms for a place, 3 × 100, backoffs of 10 and 15.
        check(
            "attempts",
            "1s",
            "  a: { get: /, timeout: 500ms, attempt_timeout: 100ms, retry: { attempts: 3, backoff: 10ms..15ms } }",
            "",
            "a 0..425 = 425 by a, 4 requests",
        );
        check(
            "rounds",
            "2s",
            "  a: { get: /, timeout: 100ms, retry: false, for_each: \"p in $.b.body\", max_items: 20, concurrency: 8 }\n  b: { get: /, timeout: 50ms, retry: false }",
            "",
            "b 0..50, a 50..350 = 350 by b a, 42 requests",
        );
        check(
            "pass",
            "2s",
            "  a: { get: /, timeout: 100ms, retry: false }\n  b: { get: /, timeout: 50ms, retry: false }",
            "b",
            "a 0..100, b 100..150 = 150 by a b, 4 requests",
        );
    }

    /// Three attempts of 100 ms and backoffs of 10 and 15 ms, behind the wait for a place.
    #[test]
    fn a_first_attempt_may_wait_for_its_place() {
        let tried = "get: /, attempt_timeout: 100ms, retry: { attempts: 3, backoff: 10ms..15ms }";
        let row = |name: &str, expected: &str| {
            let calls = format!("  {name}: {{ {tried} }}");
            check(&format!("wait-{name}"), "2s", &calls, "", expected);
        };
        row("a", "a 0..425 = 425 by a, 4 requests");
        row("e", "e 0..325 = 325 by e, 4 requests");
        row("f", "f 0..325 = 325 by f, 4 requests");
        row("g", "g 0..365 = 365 by g, 4 requests");
        // The wait is within the call's clock: a derived attempt clock leaves nothing beside it.
        check(
            "within",
            "2s",
            "  a: { get: /, timeout: 500ms }",
            "",
            "a 0..500 = 500 by a, 3 requests",
        );
        // Each element waits for itself: ten rounds of 100 + 50 ms.
        check(
            "each",
            "2s",
            "  a: { get: /, timeout: 400ms, attempt_timeout: 50ms, retry: false, for_each: \"p in $.request.query_list.p\", max_items: 20, concurrency: 2 }",
            "",
            "a 0..1500 = 1500 by a, 40 requests",
        );
    }

    /// 120 elements are three requests of at most 50 keys; what stands in for an element is one request
    /// for each, of which two are under way.
    #[test]
    fn a_batch_is_few_requests_and_a_fallback_call_of_it_is_many() {
        let bulk = "get: /, timeout: 100ms, retry: false, for_each: \"p in $.request.query_list.p\", max_items: 120, query: { k: $.keys }";
        let batch = |size: &str| {
            format!("batch: {{ key: $.p, {size}rows: \"$.reply.body[*]\", match: $.row.k }}")
        };
        let row = |name: &str, keys: &str, expected: &str| {
            let calls = format!(
                "  a: {{ {bulk}, {keys} }}\n  c: {{ get: /, timeout: 70ms, retry: false }}"
            );
            check(&format!("batch-{name}"), "60s", &calls, "", expected);
        };
        let whole = batch("");
        row("whole", &whole, "a 0..100, c 0..70 = 100 by a, 4 requests");
        let cut = format!("{}, concurrency: 2", batch("size: 50, "));
        row("cut", &cut, "a 0..200, c 0..70 = 200 by a, 8 requests");
        // Two rounds of 100 + 70 ms, and what 58 more rounds of 70 ms take.
        row(
            "calls",
            &format!("{cut}, fallback: [ {{ call: c }} ]"),
            "a 0..4400, c 0..70 = 4400 by a, 246 requests",
        );
    }

    #[test]
    fn a_hedge_is_a_request_more_and_takes_no_time() {
        check(
            "hedge",
            "2s",
            "  a: { get: /, timeout: 300ms, hedge: { after: 90ms } }\n  b: { get: /, timeout: 100ms, hedge: { after: p95 }, retry: false, for_each: \"p in $.a.body\", max_items: 3 }",
            "",
            "a 0..300, b 300..400 = 400 by a b, 13 requests",
        );
    }

    #[test]
    fn old_answers_and_values_take_no_time() {
        check(
            "stale",
            "2s",
            "  a: { get: /, timeout: 300ms, fallback: [ { stale: 60s }, { value: 1 } ] }",
            "",
            "a 0..300 = 300 by a, 3 requests",
        );
        // One that stands before a call adds nothing to it.
        check(
            "stale-call",
            "2s",
            "  a: { get: /, timeout: 300ms, fallback: [ { stale: 60s }, { call: c } ] }\n  c: { get: /, timeout: 70ms }",
            "",
            "a 0..370, c 0..70 = 370 by a, 6 requests",
        );
    }

    /// It is asked for each element of those that it stands in for: 4 + 1 times, of two requests each.
    #[test]
    fn a_fallback_call_is_asked_for_each_element() {
        check(
            "elements",
            "2s",
            "  a: { get: /, timeout: 100ms, retry: false, for_each: \"p in $.request.query_list.p\", max_items: 4, fallback: [ { call: c } ] }
  b: { get: /, timeout: 100ms, retry: false, fallback: [ { call: c } ] }
  c: { get: /, timeout: 70ms, retry: false }",
            "",
            "a 0..170, b 0..170, c 0..70 = 170 by b, 20 requests",
        );
    }

    #[test]
    fn a_fallback_call_comes_behind_its_owner() {
        check(
            "fallback",
            "2s",
            "  a: { get: /, timeout: 100ms, retry: false, fallback: [ { call: c } ] }\n  c: { get: /, timeout: 70ms, retry: false }",
            "",
            "a 0..170, c 0..70 = 170 by a, 4 requests",
        );
        // Only what never arrived: 100 ms for a place and as many to connect, before the fallback's 450.
        check(
            "not_sent",
            "2s",
            "  b: { get: /, timeout: 500ms, retry: false, fallback: [ { call: c, only: not_sent } ] }\n  c: { get: /, timeout: 450ms, retry: false }",
            "",
            "b 0..650, c 0..450 = 650 by b, 4 requests",
        );
        // It waits for needs of its own.
        check(
            "late",
            "2s",
            "  a: { get: /, timeout: 100ms, retry: false, fallback: [ { call: c } ] }\n  b: { get: /, timeout: 300ms, retry: false }\n  c: { get: /, timeout: 70ms, retry: false, depends_on: [b] }",
            "",
            "a 0..370, b 0..300, c 300..370 = 370 by a, 6 requests",
        );
        // The checkout of the examples: charge waits 100 ms for a place, has two attempts to connect,
        // one second each, and a backoff of 25 ms, before its three seconds of a fallback.
        check(
            "checkout",
            "8s",
            "  a: { get: /, timeout: 300ms }
  b: { post: /, timeout: 800ms, idempotency_key: k, json: $.a.body }
  charge: { service: a, post: /, timeout: 3s, idempotency_key: k, depends_on: [b], fallback: [ { call: c, only: not_sent } ] }
  c: { post: /, timeout: 3s, idempotency_key: k, json: $.a.body }
  d: { post: /, timeout: 1s, idempotency_key: k, json: $.charge.body.id }",
            "",
            "a 0..300, b 300..1100, c 300..3300, charge 1100..6225, d 6225..7225 = 7225 by a b charge d, 15 requests",
        );
    }
}
