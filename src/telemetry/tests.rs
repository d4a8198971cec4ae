//! Lines and series as they come out, for requests that never reached a route. Those of whole runs
//! are in `tests/`, where there is a configuration to run.

use std::io::Write;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::log::{Form, Level, Log};
use super::metrics::{Meters, ReloadResult};
use super::{Finished, Telemetry};
use crate::downstream::observe::{Kind, Observe};
use crate::engine::code::Code;
use crate::engine::fetch::Identity;
use crate::plan::{ServiceId, Table, settings};
use crate::policy::breaker::{self, State};
use crate::policy::shed::{Cause, Priority};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn finished(status: u16, path: &str) -> Finished {
    Finished {
        identity: Arc::new(Identity {
            request_id: "r-1".into(),
            trace_id: *b"4bf92f3577b34da6a3ce929d0e0e4736",
            trace_flags: 1,
            trace_state: None,
            client_ip: IpAddr::from([127, 0, 0, 1]),
            via: None,
        }),
        method: Some(Method::GET),
        path: path.into(),
        generation: 3,
        route: None,
        status,
        elapsed: Duration::from_micros(41_207),
        failure: Some(Code::NoRoute),
        record: None,
    }
}

fn meters(telemetry: &Telemetry) -> Meters {
    meters_of(telemetry, Vec::new())
}

fn meters_of(telemetry: &Telemetry, services: Vec<settings::Service>) -> Meters {
    telemetry.meters(&Table {
        server: settings::Server::default(),
        admin: settings::Admin::default(),
        cache: settings::Cache::default(),
        services,
        routes: Vec::new(),
        matcher: Default::default(),
        files: Vec::new(),
        watched: Vec::new(),
    })
}

#[test]
fn a_request_is_one_json_object_on_a_line() {
    let sink = Sink::default();
    let log = Log::to(sink.clone(), Form::Json);
    log.access(&finished(404, "/nowhere"));
    log.access(&finished(404, "/\"quoted\"\n"));
    log.flush(Duration::from_secs(5));
    let text = sink.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for (field, expected) in [
        ("request_id", "\"r-1\""),
        ("trace_id", "\"4bf92f3577b34da6a3ce929d0e0e4736\""),
        ("method", "\"GET\""),
        ("path", "\"/nowhere\""),
        ("route", "null"),
        ("status", "404"),
        ("dur_ms", "41.207"),
        ("generation", "3"),
        ("degraded", "null"),
        ("code", "\"no_route\""),
        ("calls", "[]"),
        ("client", "\"127.0.0.1\""),
    ] {
        assert_eq!(line[field].to_string(), expected, "{field}");
    }
    assert!(line["ts"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_person_reads_a_request_on_one_line() {
    let sink = Sink::default();
    let log = Log::to(sink.clone(), Form::Text);
    log.access(&finished(404, "/a\u{1b}[2J"));
    log.flush(Duration::from_secs(5));
    let text = sink.text();
    let (_, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "404 GET /a\u{fffd}[2J - 41 ms  no_route\n");
}

#[test]
fn an_event_has_its_fields_and_a_person_its_details() {
    let fields = || {
        [
            ("generation", 7.into()),
            ("diagnostics", Value::Array(vec![])),
        ]
    };
    let (json, text) = (Sink::default(), Sink::default());
    for (sink, form) in [(&json, Form::Json), (&text, Form::Text)] {
        let log = Log::to(sink.clone(), form);
        log.event_with_details(Level::Warn, "refused", fields(), "one\ntwo\n".into());
        log.flush(Duration::from_secs(5));
    }
    let line: Value = serde_json::from_str(&json.text()).unwrap();
    assert_eq!(line["level"], "warn");
    assert_eq!(line["message"], "refused");
    assert_eq!(line["generation"], 7);
    assert_eq!(line["diagnostics"], Value::Array(vec![]));
    let text = text.text();
    let (_, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "WARN refused  generation 7\none\ntwo\n");
}

/// A sink that says when it is asked to write, and writes when it is told to.
struct Stuck {
    asked: Sender<()>,
    go: Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.asked.send(());
        let _ = self.go.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_is_stuck_costs_lines_and_nothing_else() {
    let (asked, is_asked) = channel();
    let (go, gone) = channel();
    let log = Log::to(Stuck { asked, go: gone }, Form::Json);
    log.event(Level::Info, "first", []);
    is_asked.recv().unwrap();
    // The writer is stuck with the first line: the queue takes so many, and no more.
    for _ in 0..super::log::QUEUE + 5 {
        log.event(Level::Info, "more", []);
    }
    assert_eq!(log.lost(), 5);
    let telemetry = Telemetry::new(log.clone());
    assert!(
        telemetry
            .render()
            .contains("anabranch_log_lines_lost_total 5"),
        "{}",
        telemetry.render()
    );
    drop(go);
    log.flush(Duration::from_secs(5));
}

/// More than fits into a batch, and more than one thread.
#[test]
fn lines_of_several_threads_are_whole_and_each_thread_s_in_order() {
    const LINES: usize = 500;
    let sink = Sink::default();
    let log = Log::to(sink.clone(), Form::Json);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..LINES {
                    let fields = [("thread", thread.into()), ("number", number.into())];
                    let details = "x".repeat(number);
                    log.event(Level::Info, "one of many", fields);
                    log.event(Level::Info, "long", [("details", details.into())]);
                }
            });
        }
    });
    log.flush(Duration::from_secs(5));
    assert_eq!(log.lost(), 0);
    let mut next = [0; 4];
    let mut long = 0;
    for line in sink.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"] == "long" {
            long += 1;
            continue;
        }
        let thread = line["thread"].as_u64().unwrap() as usize;
        assert_eq!(line["number"], next[thread], "{line}");
        next[thread] += 1;
    }
    assert_eq!((next, long), ([LINES; 4], 4 * LINES));
}

/// What was queued is written, and then the sink is let go.
#[test]
fn the_writer_ends_with_the_last_handle() {
    struct Ends(Sender<Vec<u8>>);
    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (sender, written) = channel();
    let log = Log::to(Ends(sender), Form::Json);
    let other = log.clone();
    drop(log);
    other.event(Level::Info, "last", []);
    drop(other);
    let within = Duration::from_secs(5);
    assert!(written.recv_timeout(within).is_ok());
    let end = written.recv_timeout(within);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected));
}

#[test]
fn what_matches_no_route_is_counted_under_a_dash() {
    let telemetry = Telemetry::new(Log::silent());
    let meters = meters(&telemetry);
    for status in [404, 404, 400, 431, 500, 501, 502, 503, 504, 505] {
        telemetry.finished(&meters, &finished(status, "/nowhere"));
    }
    telemetry.metrics().upkeep();
    let text = telemetry.render();
    for line in [
        "anabranch_requests_total{route=\"-\",status=\"404\"} 2",
        // More statuses than are kept at hand.
        "anabranch_requests_total{route=\"-\",status=\"505\"} 1",
        "anabranch_request_duration_seconds_bucket{route=\"-\",le=\"0.05\"} 10",
        "anabranch_request_duration_seconds_bucket{route=\"-\",le=\"0.025\"} 0",
        "anabranch_request_duration_seconds_count{route=\"-\"} 10",
        "# TYPE anabranch_request_duration_seconds histogram",
        "# TYPE anabranch_requests_total counter",
        "anabranch_cancelled_total{cause=\"client_gone\"} 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_client_that_left_is_counted() {
    let telemetry = Telemetry::new(Log::silent());
    let meters = meters(&telemetry);
    let gone = Finished {
        failure: Some(Code::ClientGone),
        ..finished(499, "/")
    };
    telemetry.finished(&meters, &gone);
    let text = telemetry.render();
    let line = "anabranch_cancelled_total{cause=\"client_gone\"} 1";
    assert!(text.contains(line), "{text}");
}

#[test]
fn the_last_reload_shows() {
    let telemetry = Telemetry::new(Log::silent());
    let metrics = telemetry.metrics();
    let when = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    metrics.in_force(4, when);
    for (result, successful) in [
        (ReloadResult::Accepted, 1),
        (ReloadResult::Refused, 0),
        (ReloadResult::Unchanged, 1),
        (ReloadResult::Refused, 0),
    ] {
        metrics.reloaded(result);
        let text = telemetry.render();
        let line = format!("anabranch_config_last_reload_successful {successful}");
        assert!(text.contains(&line), "{text}");
    }
    let text = telemetry.render();
    for line in [
        "anabranch_config_generation 4",
        "anabranch_config_last_reload_success_timestamp_seconds 1700000000",
        "anabranch_config_reloads_total{result=\"refused\"} 2",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

fn service(name: &str, endpoints: usize) -> settings::Service {
    let endpoint = settings::Endpoint {
        https: false,
        host: "127.0.0.1".into(),
        port: 1,
        prefix: String::new(),
        authority: "127.0.0.1:1".into(),
    };
    settings::Service {
        name: name.into(),
        endpoints: vec![endpoint; endpoints],
        http: settings::HttpVersion::Auto,
        connect_timeout: Duration::from_secs(1),
        pool: settings::Pool::default(),
        breaker: Some(breaker::Settings::default()),
        bulkhead: None,
        budget: Default::default(),
        tls: Default::default(),
    }
}

fn holds(telemetry: &Telemetry, lines: &[&str]) {
    telemetry.metrics().upkeep();
    let text = telemetry.render();
    for line in lines {
        let found = text.lines().any(|found| found == *line);
        assert!(found, "{line} in\n{text}");
    }
}

#[test]
fn what_stands_around_a_call_shows() {
    let telemetry = Telemetry::new(Log::silent());
    let unguarded = settings::Service {
        breaker: None,
        ..service("plain", 1)
    };
    let meters = meters_of(&telemetry, vec![service("shop", 2), unguarded]);
    let shop = ServiceId(0);
    meters.breaker(shop, 1, State::Open);
    meters.breaker(ServiceId(1), 0, State::Open);
    meters.budget_denied(shop, Kind::Hedge);
    meters.budget_tokens(shop, 7.5);
    meters.waited(shop, Duration::from_millis(20));
    holds(
        &telemetry,
        &[
            "anabranch_breaker_state{service=\"shop\",endpoint=\"0\"} 0",
            "anabranch_breaker_state{service=\"shop\",endpoint=\"1\"} 2",
            "anabranch_breaker_transitions_total{service=\"shop\",endpoint=\"1\",to=\"open\"} 1",
            "anabranch_budget_denied_total{service=\"shop\",kind=\"hedge\"} 1",
            "anabranch_budget_tokens{service=\"shop\"} 7.5",
            "anabranch_queue_wait_seconds_bucket{service=\"shop\",le=\"0.025\"} 1",
        ],
    );
    let text = telemetry.render();
    assert!(!text.contains("breaker_state{service=\"plain\""), "{text}");
}

#[test]
fn a_reload_changes_no_breaker_and_hides_those_that_are_gone() {
    let telemetry = Telemetry::new(Log::silent());
    let services = vec![service("shop", 2), service("till", 1)];
    let before = meters_of(&telemetry, services);
    for (place, endpoint) in [(0, 0), (0, 1), (1, 0)] {
        before.breaker(ServiceId(place), endpoint, State::Open);
    }
    let after = meters_of(&telemetry, vec![service("shop", 1)]);
    let shop = [
        "anabranch_breaker_state{service=\"shop\",endpoint=\"0\"} 2",
        "anabranch_breaker_state{service=\"shop\",endpoint=\"1\"} 0",
        "anabranch_breaker_state{service=\"till\",endpoint=\"0\"} 0",
    ];
    holds(&telemetry, &shop);
    after.breaker_state(ServiceId(0), 0, State::HalfOpen);
    let line = "anabranch_breaker_state{service=\"shop\",endpoint=\"0\"} 1";
    let counted =
        "anabranch_breaker_transitions_total{service=\"shop\",endpoint=\"0\",to=\"open\"} 1";
    holds(&telemetry, &[line, counted]);
}

#[test]
fn lookups_are_counted_by_store_and_result() {
    let telemetry = Telemetry::new(Log::silent());
    let meters = meters(&telemetry);
    for (store, result) in [("memory", "hit"), ("memory", "hit"), ("redis", "resting")] {
        meters.cache(store, result);
    }
    holds(
        &telemetry,
        &[
            "anabranch_cache_requests_total{store=\"memory\",result=\"hit\"} 2",
            "anabranch_cache_requests_total{store=\"redis\",result=\"resting\"} 1",
        ],
    );
}

#[test]
fn what_is_turned_away_is_counted_from_nothing_on() {
    let telemetry = Telemetry::new(Log::silent());
    let metrics = telemetry.metrics();
    metrics.shed(Priority::Bulk, Cause::InFlight);
    metrics.connection_refused();
    metrics.pressed(1024, Duration::from_millis(5));
    holds(
        &telemetry,
        &[
            "anabranch_shed_total{priority=\"bulk\",cause=\"in_flight\"} 1",
            "anabranch_shed_total{priority=\"critical\",cause=\"memory\"} 0",
            "anabranch_connections_refused_total 1",
            "anabranch_memory_reserved_bytes 1024",
            "anabranch_scheduler_lag_seconds 0.005",
        ],
    );
}

#[test]
fn the_reference_lists_every_metric() {
    let reference = include_str!("../../docs/reference.md");
    let mut listed: Vec<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `anabranch_")?.split('`').next())
        .collect();
    listed.sort_unstable();
    let mut named: Vec<&str> = super::metrics::names()
        .filter_map(|name| name.strip_prefix("anabranch_"))
        .collect();
    named.sort_unstable();
    assert_eq!(listed, named);
}
