//! What holds in every scenario: I1 to I12 of `resilience.md` §6. I3 and I5 are read off what the
//! services saw, I4, I6 and I9 off the metrics and the log as well. Panics (I10), memory in real time
//! (I7) and the comparison of two runs (I12) are the [`crate::stage`]'s.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use crate::client::Got;
use crate::faulty::{End, Request, Seen};
use crate::figures::Figures;
use crate::stage::Trace;
use crate::world::{Proxy, World, alive};

/// What the answer may be late by.
const LATE: Duration = Duration::from_millis(20);

/// What real moments may be apart beyond what the contract says: on a machine with two cores and
/// other work a task that is ready may have to wait for its turn this long. Virtual time has none.
pub const SLACK: Duration = Duration::from_millis(100);

/// Until pools have let go of idle connections: 4 s, and the second between two looks.
const IDLE: Duration = Duration::from_secs(10);

impl World {
    /// Ends the scenario. What it did must have ended, or be about to.
    pub async fn check(self) -> Trace {
        let is_held = || !self.held().is_empty();
        self.until("I6: something is still held", || !is_held())
            .await;
        let (figures, book) = (self.figures(), self.book.lock().unwrap().clone());
        for got in &book {
            self.check_answer(got);
        }
        let asked: BTreeMap<&str, &Got> = book.iter().map(|got| (got.id.as_str(), got)).collect();
        let told = self.told(&figures);
        let shared = self.shared();
        self.check_requests(&asked, &told, &shared);
        self.check_attempts(&figures, &asked, &told, &shared);
        check_errors(&book, &figures);
        let internal = book.iter().find(|got| got.code() == "internal");
        assert!(internal.is_none(), "I10: {internal:?}");
        let faults = "a connection ended by a fault of ours";
        assert!(
            self.log().iter().all(|line| line["message"] != faults),
            "I10"
        );
        let trace = self.trace(&book);
        self.end().await;
        trace
    }

    /// What is taken and was not given back (I6, I7): each as its name and how much.
    pub fn held(&self) -> Vec<(String, f64)> {
        let figures = self.figures();
        let gauges = ["anabranch_in_flight", "anabranch_memory_reserved_bytes"];
        let gauges = gauges.into_iter().map(|name| {
            let taken = figures.named(name).map(|series| series.value.abs());
            (name.to_owned(), taken.sum())
        });
        let (usage, flights, tasks) = match &self.proxy {
            Proxy::Simulated(simulated) => {
                let client = &simulated.server.state().fetch;
                let tasks = simulated.process.tasks.count();
                (client.usage(), client.shared_flights(), tasks)
            }
            Proxy::Real(running) => {
                let client = &running.generations.in_force().client;
                (client.usage(), client.shared_flights(), 0)
            }
        };
        let given = [
            ("places", usage.places),
            ("waiting", usage.waiting),
            ("attempts", usage.attempts),
            ("flights", flights),
            ("tasks", tasks),
        ];
        let given = given.map(|(name, taken)| (name.to_owned(), taken as f64));
        let held = gauges.chain(given);
        held.filter(|(_, taken)| *taken != 0.0).collect()
    }

    fn check_answer(&self, got: &Got) {
        assert!(got.took() <= got.limit + LATE + self.slack, "I1: {got:?}");
        assert_eq!(got.extra, 0, "I2: {got:?}");
        let stood_in = got.status < 300 && !got.errors().is_empty();
        if got.is_partial() || stood_in {
            assert_eq!(got.header("cache-control"), Some("no-store"), "I8: {got:?}");
            assert!(got.is_partial(), "I8: {got:?}");
        }
    }

    /// What services saw, by the requests that it was for.
    ///
    /// A flight may outlive the answer that it began for: others wait for it, or what it brings will
    /// be kept. It has its own call's time then: that of the request which began it, and from the
    /// moment of a hit on that of a call which is made anew in the background (§6, I5).
    fn check_requests(&self, asked: &BTreeMap<&str, &Got>, told: &Told, shared: &Shared) {
        let slack = self.slack;
        for (name, service) in &self.services {
            let name = configured(name);
            let mut applied: BTreeMap<String, usize> = BTreeMap::new();
            for seen in service.journal().seen {
                let request = &seen.request;
                let unprocessed = matches!(seen.ended, Some((_, End::Unprocessed)));
                if is_unsafe(request) && !unprocessed {
                    let id = request.header("x-request-id").unwrap_or_default();
                    *applied
                        .entry(format!("{id} {}", request.target))
                        .or_default() += 1;
                }
                let id = request.header("x-request-id");
                let Some(got) = id.and_then(|id| asked.get(id)) else {
                    continue;
                };
                let is_shared = shared.contains(&(name.to_owned(), request.method.clone()));
                let told = told.get(&(got.id.clone(), name.to_owned()));
                let is_hit = is_shared && told.is_some_and(|told| told.is_hit);
                // A request in the background was begun before the answer.
                let end = if is_hit { got.answered } else { got.asked } + got.limit;
                assert!(
                    request.at <= if is_shared { end } else { got.answered } + slack,
                    "I5: {request:?}"
                );
                let left = end.saturating_sub(request.at);
                assert!(timeout_of(request) <= left + slack, "I11: {request:?}");
            }
            let twice = applied.iter().find(|(_, count)| **count > 1);
            assert_eq!(twice, None, "I3: applied more than once");
        }
    }

    /// I4: what was sent is what we say, and no more than we may. Of a flight that is shared we say what
    /// was sent by the time of the answer, and of a request in the background nothing.
    fn check_attempts(
        &self,
        figures: &Figures,
        asked: &BTreeMap<&str, &Got>,
        told: &Told,
        shared: &Shared,
    ) {
        let mut saw: BTreeMap<&str, Vec<Seen>> = BTreeMap::new();
        for (name, service) in &self.services {
            saw.entry(configured(name))
                .or_default()
                .extend(service.journal().seen);
        }
        for (name, seen) in saw {
            check_figures(name, seen.len(), figures);
            // How often, and how often before the answer.
            let mut times: BTreeMap<(&str, bool), (u64, u64)> = BTreeMap::new();
            for seen in &seen {
                let request = &seen.request;
                let id = request.header("x-request-id").unwrap_or_default();
                let is_shared = shared.contains(&(name.to_owned(), request.method.clone()));
                let got = asked.get(id);
                let is_before = got.is_some_and(|got| request.at < got.answered);
                let (all, before) = times.entry((id, is_shared)).or_default();
                *all += 1;
                *before += u64::from(is_before);
            }
            for ((id, is_shared), (all, before)) in times {
                // Of a client that has gone nothing is said.
                let Some(told) = told.get(&(id.to_owned(), name.to_owned())) else {
                    continue;
                };
                let (saw, most) = match (is_shared, told.is_hit) {
                    (false, _) => (all, told.attempts),
                    (true, false) => (before, told.attempts),
                    (true, true) => (all, self.most),
                };
                assert!(saw <= most, "I4: `{name}` saw {saw} of {id}, not {most}");
                assert!(
                    !is_shared || all <= self.most,
                    "I4: `{name}` saw {all} of {id}"
                );
            }
        }
    }

    /// What the log says of each request and each service.
    fn told(&self, figures: &Figures) -> Told {
        let mut all = Told::new();
        for line in &self.log() {
            for call in line["calls"].as_array().into_iter().flatten() {
                let attempts = call["attempts"].as_u64().unwrap();
                assert!(attempts <= self.most, "I4: {line}");
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let service = service_of(figures, &text(&line["route"]), &text(&call["name"]));
                let key = (text(&line["request_id"]), service);
                let told: &mut ToldOf = all.entry(key).or_default();
                told.attempts += attempts;
                told.is_hit |= call["outcome"] == "cache";
            }
        }
        all
    }

    /// Which services are asked by calls whose flights are shared, and by which methods.
    fn shared(&self) -> Shared {
        let table = self.table();
        let calls = table.routes.iter().flat_map(|route| &route.calls);
        let shared = calls.filter(|call| call.coalesce || call.cache.is_some());
        let named = shared.map(|call| {
            let service = &table.services[call.service.0];
            (service.name.clone(), call.method.clone())
        });
        named.collect()
    }

    fn trace(&self, book: &[Got]) -> Trace {
        let mut events = Vec::new();
        for got in book {
            let Got {
                id,
                method,
                target,
                status,
                ..
            } = got;
            let line = format!("{id} {method} {target} {status} {}", got.text());
            events.push((got.answered, 0, id.clone(), line));
        }
        for (name, service) in &self.services {
            for (number, connection) in service.journal().connections.iter().enumerate() {
                let line = format!("{name} connection {number} {:?}", connection.closed);
                events.push((connection.opened, 1, name.clone(), line));
            }
            for seen in service.journal().seen {
                let Request {
                    connection,
                    turn,
                    method,
                    target,
                    headers,
                    ..
                } = &seen.request;
                let ended = seen.ended;
                let line =
                    format!("{name} {connection}.{turn} {method} {target} {headers:?} {ended:?}");
                events.push((seen.request.at, 2, name.clone(), line));
            }
        }
        // Of one moment in the order in which the services wrote it down: the sort is stable.
        events.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
        let lines = events.iter();
        let lines = lines.map(|(at, _, _, line)| format!("{at:?} {line}"));
        Trace(lines.collect())
    }

    /// I10: everything ends, and no task is left.
    async fn end(self) {
        if !self.is_real() {
            tokio::time::sleep(IDLE).await;
            assert_eq!(alive(), self.baseline, "I10: tasks are left");
            return;
        }
        for service in self.services.values() {
            service.stop();
        }
        let World {
            proxy, baseline, ..
        } = self;
        drop(proxy);
        let ended = tokio::time::timeout(IDLE, async {
            while alive() > baseline {
                tokio::task::yield_now().await;
            }
        });
        assert!(
            ended.await.is_ok(),
            "I10: {} tasks, not {baseline}",
            alive()
        );
    }
}

/// By request and service.
type Told = BTreeMap<(String, String), ToldOf>;

#[derive(Default)]
struct ToldOf {
    attempts: u64,
    /// A kept answer was given.
    is_hit: bool,
}

/// By service and method.
type Shared = HashSet<(String, http::Method)>;

/// The service of a faulty one: endpoints of one service are `NAME-a`, `NAME-b`.
fn configured(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// The counted attempts bear out that `saw` requests came, and are within their bounds.
fn check_figures(name: &str, saw: usize, figures: &Figures) {
    const ATTEMPTS: &str = "anabranch_attempts_total";
    let of = |kind| figures.sum(ATTEMPTS, &[("service", name), ("kind", kind)]);
    // A probe is a first attempt or a retry.
    let first = of("first") + of("alternate") + of("probe");
    let (retry, transparent) = (of("retry"), of("transparent"));
    let retry = retry + of("hedge");
    let sent = figures.sum(ATTEMPTS, &[("service", name)]);
    assert!(saw as f64 <= sent, "I4: `{name}` saw {saw} of {sent}");
    assert!(
        retry <= first,
        "I4: `{name}`: {retry} retries and hedges of {first}"
    );
    assert!(
        transparent <= first + retry,
        "I4: `{name}`: {transparent} replays"
    );
}

/// Sending it twice does it twice.
fn is_unsafe(request: &Request) -> bool {
    let writes = [http::Method::POST, http::Method::PATCH];
    writes.contains(&request.method) && request.header("idempotency-key").is_none()
}

fn timeout_of(request: &Request) -> Duration {
    let text = request.header("x-request-timeout").unwrap_or("0ms");
    let digits = text.strip_suffix("ms").expect("milliseconds");
    Duration::from_millis(digits.parse().unwrap())
}

fn service_of(figures: &Figures, route: &str, call: &str) -> String {
    let mut series = figures.named("anabranch_calls_total");
    let found =
        series.find(|series| series.label("route") == route && series.label("call") == call);
    let found = found.unwrap_or_else(|| panic!("I9: nothing is counted of `{call}`"));
    found.label("service").to_owned()
}

/// I9: as many entries in `errors` as the metrics count, by call, code and what stood in.
fn check_errors(book: &[Got], figures: &Figures) {
    let mut told: BTreeMap<(String, String, &str), f64> = BTreeMap::new();
    for error in book.iter().flat_map(Got::errors) {
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let outcome = match text("fallback").as_str() {
            "" => "failed",
            "stale" => "stale",
            _ => "fallback",
        };
        let key = (text("call"), text("code"), outcome);
        *told.entry(key).or_default() += 1.0;
    }
    let mut counted: BTreeMap<(String, String, &str), f64> = BTreeMap::new();
    for series in figures.named("anabranch_calls_total") {
        let outcomes = ["failed", "stale", "fallback"];
        let outcome = outcomes
            .into_iter()
            .find(|name| *name == series.label("outcome"));
        let Some(outcome) = outcome else { continue };
        let key = (
            series.label("call").to_owned(),
            series.label("reason").to_owned(),
            outcome,
        );
        *counted.entry(key).or_default() += series.value;
    }
    assert_eq!(told, counted, "I9: what answers tell, and what is counted");
}
