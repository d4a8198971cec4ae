//! The metrics of `docs/reference.md`, by name.
//!
//! A series of a route, a call or a service has its place when its generation is made, is resolved the
//! first time something is counted in it, and is an atomic addition from then on: nothing is
//! formatted for it, and a thousand routes that nobody asks for are no lines of `/metrics`. Labels
//! come from the configuration and from closed sets, never from a request.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::downstream::observe::{Kind, Observe};
use crate::engine::code::Code;
use crate::engine::fetch::STITCH_RESERVE;
use crate::engine::record::{CallRecord, Outcome, Record};
use crate::plan::{CallId, Route, ServiceId, Table, settings};
use crate::policy::breaker::State;
use crate::policy::shed::{Cause, Priority};
use crate::telemetry::Finished;

/// The label where there is nothing to name: no route, no reason.
pub const NONE: &str = "-";

/// Upper ends in seconds, 1 ms to 10 s: below is noise, above is beyond any sensible route timeout.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How many different values of a label are kept at hand; any more are looked up each time.
const STATUSES_AT_HAND: usize = 8;
const OUTCOMES_AT_HAND: usize = 12;
const ATTEMPTS_AT_HAND: usize = 12;
const CACHE_RESULTS_AT_HAND: usize = 8;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// How an examination for a reload ended: the `result` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    Accepted,
    Refused,
    Unchanged,
}

impl ReloadResult {
    pub fn name(self) -> &'static str {
        match self {
            ReloadResult::Accepted => "accepted",
            ReloadResult::Refused => "refused",
            ReloadResult::Unchanged => "unchanged",
        }
    }
}

/// All metrics of a process instance.
pub struct Metrics {
    registry: Registry,
    handle: PrometheusHandle,
    cancelled_client_gone: Counter,
    cancelled_required_failed: Counter,
    cancelled_deadline: Counter,
    generation: Gauge,
    reloads: [Counter; 3],
    last_reload_successful: Gauge,
    last_reload_success: Gauge,
    lost_lines: Counter,
    /// By priority, then by cause.
    shed: [[Counter; Cause::ALL.len()]; Priority::ALL.len()],
    connections_refused: Counter,
    memory_reserved: Gauge,
    scheduler_lag: Gauge,
    /// The series of the breakers of all generations so far.
    breakers: Mutex<Vec<Breaker>>,
}

/// Where the state of one endpoint's breaker is shown.
struct Breaker {
    service: String,
    endpoint: usize,
    state: Gauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handle = recorder.handle();
        let registry = Registry(Arc::new(recorder));
        registry.describe();
        let cancelled = |cause| registry.counter(CANCELLED, vec![Label::new("cause", cause)]);
        let reloads = [
            ReloadResult::Accepted,
            ReloadResult::Refused,
            ReloadResult::Unchanged,
        ]
        .map(|result| registry.counter(RELOADS, vec![Label::new("result", result.name())]));
        Metrics {
            cancelled_client_gone: cancelled("client_gone"),
            cancelled_required_failed: cancelled("required_failed"),
            cancelled_deadline: cancelled("deadline"),
            generation: registry.gauge(GENERATION, Vec::new()),
            reloads,
            last_reload_successful: registry.gauge(LAST_RELOAD_SUCCESSFUL, Vec::new()),
            last_reload_success: registry.gauge(LAST_RELOAD_SUCCESS, Vec::new()),
            lost_lines: registry.counter(LOST_LINES, Vec::new()),
            shed: Priority::ALL
                .map(|priority| Cause::ALL.map(|cause| shed_counter(&registry, priority, cause))),
            connections_refused: registry.counter(CONNECTIONS_REFUSED, Vec::new()),
            memory_reserved: registry.gauge(MEMORY_RESERVED, Vec::new()),
            scheduler_lag: registry.gauge(SCHEDULER_LAG, Vec::new()),
            breakers: Mutex::default(),
            registry,
            handle,
        }
    }

    /// Says which generation is in force from now on.
    pub fn in_force(&self, generation: u64, since: SystemTime) {
        self.generation.set(generation as f64);
        self.last_reload_successful.set(1.0);
        self.last_reload_success.set(unix_seconds(since));
    }

    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads[result as usize].increment(1);
        let is_good = result != ReloadResult::Refused;
        self.last_reload_successful
            .set(f64::from(u8::from(is_good)));
    }

    pub fn meters(&self, table: &Table) -> Meters {
        self.adopt_breakers(table);
        Meters {
            registry: self.registry.clone(),
            cache: Family::new(CACHE_RESULTS_AT_HAND),
            unmatched: RouteMeters::new(&self.registry, NONE.into(), Vec::new()),
            routes: table
                .routes
                .iter()
                .map(|route| route_meters(&self.registry, table, route))
                .collect(),
            services: table
                .services
                .iter()
                .map(|service| ServiceMeters::new(&self.registry, service))
                .collect(),
        }
    }

    /// Gives each new breaker a series, at 0, and lets no series tell of one that is gone. What is
    /// there already stays as it is: so does the breaker.
    fn adopt_breakers(&self, table: &Table) {
        let mut known = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|breaker| {
            let mut services = table.services.iter();
            let service = services.find(|service| breaker.service == service.name);
            let is_there = service.is_some_and(|service| breaker.endpoint < breakers_of(service));
            if !is_there {
                breaker.state.set(state_figure(State::Closed));
            }
            is_there
        });
        for service in &table.services {
            let before = known
                .iter()
                .filter(|breaker| breaker.service == service.name)
                .count();
            let name = shared(&service.name);
            known.extend((before..breakers_of(service)).map(|endpoint| Breaker {
                state: breaker_gauge(&self.registry, &name, endpoint),
                service: service.name.clone(),
                endpoint,
            }));
        }
    }

    /// Counts a request that was turned away.
    pub fn shed(&self, priority: Priority, cause: Cause) {
        self.shed[priority as usize][cause as usize].increment(1);
    }

    /// Counts a connection that was closed as soon as it was taken.
    pub fn connection_refused(&self) {
        self.connections_refused.increment(1);
    }

    /// Sets what changes all the time: for whoever is about to render.
    pub fn pressed(&self, memory_reserved: usize, scheduler_lag: Duration) {
        self.memory_reserved.set(memory_reserved as f64);
        self.scheduler_lag.set(scheduler_lag.as_secs_f64());
    }

    pub fn finished(&self, meters: &Meters, finished: &Finished) {
        let route = match &finished.route {
            Some(route) => &meters.routes[route.index],
            None => &meters.unmatched,
        };
        route.answered(finished.status, finished.elapsed);
        if finished.failure == Some(Code::ClientGone) {
            self.cancelled_client_gone.increment(1);
        }
        let Some(record) = &finished.record else {
            return;
        };
        if record.degraded.is_some() {
            route.degraded();
        }
        for call in &record.calls {
            let entries = record.errors.iter().filter(|entry| entry.call == call.call);
            route.calls[call.call.0].settled(call, entries.count(), record.failure.is_none());
        }
        for entry in &record.errors {
            let outcome = match entry.fallback {
                Some("stale") => Outcome::Stale,
                Some(_) => Outcome::Fallback,
                None => Outcome::Failed,
            };
            route.calls[entry.call.0].count(outcome, Some(entry.code), 1);
        }
        if finished.failure != Some(Code::ClientGone) {
            self.cut_short(record);
        }
    }

    /// Counts a run in which something was cut short, by what cut it.
    fn cut_short(&self, record: &Record) {
        if record
            .calls
            .iter()
            .any(|call| call.outcome == Outcome::Cancelled)
        {
            self.cancelled_required_failed.increment(1);
        } else if ended_by_the_routes_clock(record) {
            self.cancelled_deadline.increment(1);
        }
    }

    /// Sets the number of lines that the log could not take.
    pub fn lost_lines(&self, count: u64) {
        self.lost_lines.absolute(count);
    }

    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

fn ended_by_the_routes_clock(record: &Record) -> bool {
    let is_late = record.elapsed + STITCH_RESERVE >= record.allowed;
    is_late
        && record
            .calls
            .iter()
            .any(|call| matches!(call.code, Some(Code::Timeout | Code::DeadlineExhausted)))
}

fn route_meters(registry: &Registry, table: &Table, route: &Route) -> RouteMeters {
    let name = shared(&route.name);
    let calls = route
        .calls
        .iter()
        .map(|call| {
            let service = shared(&table.services[call.service.0].name);
            CallMeters::new(registry, name.clone(), shared(&call.name), service)
        })
        .collect();
    RouteMeters::new(registry, name, calls)
}

fn shed_counter(registry: &Registry, priority: Priority, cause: Cause) -> Counter {
    let labels = vec![
        Label::new("priority", priority.name()),
        Label::new("cause", cause.name()),
    ];
    registry.counter(SHED, labels)
}

fn breakers_of(service: &settings::Service) -> usize {
    match service.breaker {
        Some(_) => service.endpoints.len(),
        None => 0,
    }
}

fn breaker_labels(service: &SharedString, endpoint: usize) -> Vec<Label> {
    vec![
        Label::new("service", service.clone()),
        Label::new("endpoint", endpoint.to_string()),
    ]
}

fn breaker_gauge(registry: &Registry, service: &SharedString, endpoint: usize) -> Gauge {
    registry.gauge(BREAKER_STATE, breaker_labels(service, endpoint))
}

/// What `anabranch_breaker_state` shows.
fn state_figure(state: State) -> f64 {
    match state {
        State::Closed => 0.0,
        State::HalfOpen => 1.0,
        State::Open => 2.0,
    }
}

/// A label's value that is copied for free.
fn shared(text: &str) -> SharedString {
    SharedString::from(Arc::<str>::from(text))
}

/// The counters of one table: routes, calls and services by their indices.
pub struct Meters {
    registry: Registry,
    /// By store and result.
    cache: Family<(&'static str, &'static str)>,
    routes: Vec<RouteMeters>,
    services: Vec<ServiceMeters>,
    unmatched: RouteMeters,
}

impl Observe for Meters {
    fn attempt(&self, service: ServiceId, kind: Kind, reason: &'static str) {
        self.services[service.0].attempt(kind, reason);
    }

    fn in_flight(&self, service: ServiceId, change: i64) {
        self.services[service.0].in_flight.increment(change as f64);
    }

    fn breaker(&self, service: ServiceId, endpoint: usize, to: State) {
        self.breaker_state(service, endpoint, to);
        self.services[service.0].transition(endpoint, to);
    }

    fn breaker_state(&self, service: ServiceId, endpoint: usize, state: State) {
        if let Some(gauge) = self.services[service.0].breakers.get(endpoint) {
            gauge.set(state_figure(state));
        }
    }

    fn budget_denied(&self, service: ServiceId, kind: Kind) {
        self.services[service.0].denied(kind);
    }

    fn waited(&self, service: ServiceId, time: Duration) {
        self.services[service.0].waited(time);
    }

    fn budget_tokens(&self, service: ServiceId, tokens: f64) {
        self.services[service.0].has_tokens(tokens);
    }

    fn cache(&self, store: &'static str, result: &'static str) {
        self.cache.increment((store, result), 1, || {
            let labels = vec![Label::new("store", store), Label::new("result", result)];
            self.registry.counter(CACHE_REQUESTS, labels)
        });
    }
}

impl Meters {
    /// Counts a call that is in no record of a run, because it was made after the answer.
    pub fn detached(&self, route: usize, record: &CallRecord) {
        let meters = &self.routes[route].calls[record.call.0];
        meters.settled(record, 0, true);
        if record.outcome == Outcome::Failed {
            meters.count(record.outcome, record.code, 1);
        }
    }

    /// Counts a detached call that found no room in its queue and was never sent.
    pub fn detached_dropped(&self, route: usize, call: CallId) {
        self.routes[route].calls[call.0].count(Outcome::Failed, Some(Code::Overloaded), 1);
    }
}

struct RouteMeters {
    registry: Registry,
    route: SharedString,
    by_status: Family<u16>,
    duration: OnceLock<Histogram>,
    degraded: OnceLock<Counter>,
    calls: Vec<CallMeters>,
}

impl RouteMeters {
    fn new(registry: &Registry, route: SharedString, calls: Vec<CallMeters>) -> RouteMeters {
        RouteMeters {
            by_status: Family::new(STATUSES_AT_HAND),
            duration: OnceLock::new(),
            degraded: OnceLock::new(),
            registry: registry.clone(),
            route,
            calls,
        }
    }

    fn answered(&self, status: u16, elapsed: Duration) {
        let duration = self.duration.get_or_init(|| {
            let labels = vec![Label::new("route", self.route.clone())];
            self.registry.histogram(REQUEST_DURATION, labels)
        });
        duration.record(elapsed.as_secs_f64());
        self.by_status.increment(status, 1, || {
            let labels = vec![
                Label::new("route", self.route.clone()),
                Label::new("status", status.to_string()),
            ];
            self.registry.counter(REQUESTS, labels)
        });
    }

    fn degraded(&self) {
        let degraded = self.degraded.get_or_init(|| {
            let labels = vec![Label::new("route", self.route.clone())];
            self.registry.counter(DEGRADED, labels)
        });
        degraded.increment(1);
    }
}

struct CallMeters {
    registry: Registry,
    route: SharedString,
    call: SharedString,
    service: SharedString,
    by_outcome: Family<(Outcome, Option<Code>)>,
    duration: OnceLock<Histogram>,
}

impl CallMeters {
    fn new(
        registry: &Registry,
        route: SharedString,
        call: SharedString,
        service: SharedString,
    ) -> CallMeters {
        CallMeters {
            by_outcome: Family::new(OUTCOMES_AT_HAND),
            duration: OnceLock::new(),
            registry: registry.clone(),
            route,
            call,
            service,
        }
    }

    /// Counts what did not fail of a settled call: it once, or, of a `for_each`, each element without
    /// an entry in `errors`. What failed is counted by its entry.
    fn settled(&self, record: &CallRecord, entries: usize, is_whole: bool) {
        if record.attempts > 0 {
            self.took(record.elapsed);
        }
        match (record.outcome, record.items) {
            (Outcome::Skipped | Outcome::Cancelled, _) => self.count(record.outcome, None, 1),
            (Outcome::Live | Outcome::Cache, None) => self.count(record.outcome, None, 1),
            // Nothing had failed: it was allowed to be stale.
            (Outcome::Stale, None) if entries == 0 => self.count(Outcome::Stale, None, 1),
            (
                Outcome::Live | Outcome::Cache | Outcome::Stale | Outcome::Fallback,
                Some((items, _)),
            ) => self.count_answered(items.saturating_sub(entries), record.of_cache),
            // Where the run failed, the other elements may have been cut short.
            (Outcome::Failed, Some((items, failed))) if is_whole && failed < items => {
                self.count_answered(items.saturating_sub(entries), record.of_cache);
            }
            (Outcome::Stale | Outcome::Fallback | Outcome::Failed, _) => {}
        }
    }

    /// Elements that were answered, so many of them by the cache.
    fn count_answered(&self, times: usize, of_cache: usize) {
        let live = times.saturating_sub(of_cache);
        for (outcome, times) in [(Outcome::Live, live), (Outcome::Cache, of_cache)] {
            if times > 0 {
                self.count(outcome, None, times as u64);
            }
        }
    }

    fn took(&self, elapsed: Duration) {
        let duration = self.duration.get_or_init(|| {
            let labels = vec![
                Label::new("route", self.route.clone()),
                Label::new("call", self.call.clone()),
            ];
            self.registry.histogram(CALL_DURATION, labels)
        });
        duration.record(elapsed.as_secs_f64());
    }

    fn count(&self, outcome: Outcome, code: Option<Code>, times: u64) {
        self.by_outcome.increment((outcome, code), times, || {
            let reason = code.map_or(NONE, Code::name);
            let labels = vec![
                Label::new("route", self.route.clone()),
                Label::new("call", self.call.clone()),
                Label::new("service", self.service.clone()),
                Label::new("outcome", outcome.name()),
                Label::new("reason", reason),
            ];
            self.registry.counter(CALLS, labels)
        });
    }
}

/// What the ladder counts of a service. The same series for the same name, whichever generation.
struct ServiceMeters {
    registry: Registry,
    service: SharedString,
    attempts: Family<(Kind, &'static str)>,
    in_flight: Gauge,
    /// By endpoint; none without a breaker.
    breakers: Vec<Gauge>,
    transitions: Family<(usize, State)>,
    budget_denied: Family<Kind>,
    budget_tokens: OnceLock<Gauge>,
    queue_wait: OnceLock<Histogram>,
}

impl ServiceMeters {
    fn new(registry: &Registry, service: &settings::Service) -> ServiceMeters {
        let name = shared(&service.name);
        let breakers = breakers_of(service);
        ServiceMeters {
            attempts: Family::new(ATTEMPTS_AT_HAND),
            in_flight: registry.gauge(IN_FLIGHT, vec![Label::new("service", name.clone())]),
            breakers: (0..breakers)
                .map(|endpoint| breaker_gauge(registry, &name, endpoint))
                .collect(),
            transitions: Family::new(3 * breakers),
            budget_denied: Family::new(2),
            budget_tokens: OnceLock::new(),
            queue_wait: OnceLock::new(),
            registry: registry.clone(),
            service: name,
        }
    }

    fn labels(&self) -> Vec<Label> {
        vec![Label::new("service", self.service.clone())]
    }

    fn transition(&self, endpoint: usize, to: State) {
        self.transitions.increment((endpoint, to), 1, || {
            let mut labels = breaker_labels(&self.service, endpoint);
            labels.push(Label::new("to", to.name()));
            self.registry.counter(BREAKER_TRANSITIONS, labels)
        });
    }

    fn denied(&self, kind: Kind) {
        self.budget_denied.increment(kind, 1, || {
            let mut labels = self.labels();
            labels.push(Label::new("kind", kind.name()));
            self.registry.counter(BUDGET_DENIED, labels)
        });
    }

    fn waited(&self, time: Duration) {
        let queue_wait = self
            .queue_wait
            .get_or_init(|| self.registry.histogram(QUEUE_WAIT, self.labels()));
        queue_wait.record(time.as_secs_f64());
    }

    fn has_tokens(&self, tokens: f64) {
        let budget_tokens = self
            .budget_tokens
            .get_or_init(|| self.registry.gauge(BUDGET_TOKENS, self.labels()));
        budget_tokens.set(tokens);
    }

    fn attempt(&self, kind: Kind, reason: &'static str) {
        self.attempts.increment((kind, reason), 1, || {
            let reason = if reason.is_empty() { NONE } else { reason };
            let labels = vec![
                Label::new("service", self.service.clone()),
                Label::new("kind", kind.name()),
                Label::new("reason", reason),
            ];
            self.registry.counter(ATTEMPTS, labels)
        });
    }
}

/// Counters of one name that differ in what came of a request. A value of that label takes the next
/// free place the first time it comes and keeps it, so that reading needs no lock.
struct Family<K> {
    places: Box<[OnceLock<(K, Counter)>]>,
}

impl<K: Copy + PartialEq> Family<K> {
    fn new(at_hand: usize) -> Family<K> {
        Family {
            places: (0..at_hand).map(|_| OnceLock::new()).collect(),
        }
    }

    fn increment(&self, key: K, times: u64, register: impl Fn() -> Counter) {
        for place in &self.places {
            let (taken_by, counter) = place.get_or_init(|| (key, register()));
            if *taken_by == key {
                return counter.increment(times);
            }
        }
        register().increment(times);
    }
}

/// Where series are resolved. The same name and labels give the same series.
#[derive(Clone)]
struct Registry(Arc<PrometheusRecorder>);

impl Registry {
    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.0
            .register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.0
            .register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.0
            .register_histogram(&Key::from_parts(name, labels), &METADATA)
    }

    fn describe(&self) {
        for (name, help) in HELP_COUNTERS {
            self.0
                .describe_counter(KeyName::from(name), None, help.into());
        }
        for (name, help) in HELP_GAUGES {
            self.0
                .describe_gauge(KeyName::from(name), None, help.into());
        }
        for (name, help) in HELP_HISTOGRAMS {
            self.0
                .describe_histogram(KeyName::from(name), Some(Unit::Seconds), help.into());
        }
    }
}

const REQUESTS: &str = "anabranch_requests_total";
const REQUEST_DURATION: &str = "anabranch_request_duration_seconds";
const DEGRADED: &str = "anabranch_degraded_total";
const CALLS: &str = "anabranch_calls_total";
const CALL_DURATION: &str = "anabranch_call_duration_seconds";
const ATTEMPTS: &str = "anabranch_attempts_total";
const IN_FLIGHT: &str = "anabranch_in_flight";
const BREAKER_STATE: &str = "anabranch_breaker_state";
const BREAKER_TRANSITIONS: &str = "anabranch_breaker_transitions_total";
const BUDGET_TOKENS: &str = "anabranch_budget_tokens";
const BUDGET_DENIED: &str = "anabranch_budget_denied_total";
const QUEUE_WAIT: &str = "anabranch_queue_wait_seconds";
const CACHE_REQUESTS: &str = "anabranch_cache_requests_total";
const SHED: &str = "anabranch_shed_total";
const CONNECTIONS_REFUSED: &str = "anabranch_connections_refused_total";
const SCHEDULER_LAG: &str = "anabranch_scheduler_lag_seconds";
const MEMORY_RESERVED: &str = "anabranch_memory_reserved_bytes";
const CANCELLED: &str = "anabranch_cancelled_total";
const GENERATION: &str = "anabranch_config_generation";
const RELOADS: &str = "anabranch_config_reloads_total";
const LAST_RELOAD_SUCCESSFUL: &str = "anabranch_config_last_reload_successful";
const LAST_RELOAD_SUCCESS: &str = "anabranch_config_last_reload_success_timestamp_seconds";
const LOST_LINES: &str = "anabranch_log_lines_lost_total";

const HELP_COUNTERS: [(&str, &str); 12] = [
    (REQUESTS, "Requests answered, by route and status."),
    (DEGRADED, "Answers that are partial or stood in for."),
    (CALLS, "Calls settled, by outcome and reason."),
    (
        ATTEMPTS,
        "Requests sent to services, by why they were sent.",
    ),
    (
        CANCELLED,
        "Runs in which something was cut short, by cause.",
    ),
    (RELOADS, "Examinations of the configuration, by result."),
    (LOST_LINES, "Log lines that could not be written in time."),
    (
        BREAKER_TRANSITIONS,
        "Breakers that entered a state, by endpoint.",
    ),
    (
        BUDGET_DENIED,
        "Retries and hedges not made for want of a token.",
    ),
    (CACHE_REQUESTS, "Answers looked up, by store."),
    (SHED, "Requests turned away under load."),
    (
        CONNECTIONS_REFUSED,
        "Connections closed at once: too many of one client address.",
    ),
];
const HELP_GAUGES: [(&str, &str); 8] = [
    (IN_FLIGHT, "Attempts under way, by service."),
    (
        BREAKER_STATE,
        "An endpoint's breaker: 0 closed, 1 half-open, 2 open.",
    ),
    (
        BUDGET_TOKENS,
        "Retries and hedges that may be made at this moment.",
    ),
    (
        SCHEDULER_LAG,
        "How late tasks get to run, of several cores on the latest.",
    ),
    (MEMORY_RESERVED, "What bodies take at this moment."),
    (GENERATION, "The generation in force."),
    (
        LAST_RELOAD_SUCCESSFUL,
        "Whether the files are what is in force (0: the last edit was refused).",
    ),
    (
        LAST_RELOAD_SUCCESS,
        "When the generation in force was taken.",
    ),
];
const HELP_HISTOGRAMS: [(&str, &str); 3] = [
    (REQUEST_DURATION, "From a request's head to its answer."),
    (CALL_DURATION, "From a call's start to its settling."),
    (QUEUE_WAIT, "How long first attempts wait for their place."),
];

/// Every metric there is.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    let counters_and_gauges = HELP_COUNTERS.into_iter().chain(HELP_GAUGES);
    counters_and_gauges
        .chain(HELP_HISTOGRAMS)
        .map(|(name, _)| name)
}

fn unix_seconds(moment: SystemTime) -> f64 {
    moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
