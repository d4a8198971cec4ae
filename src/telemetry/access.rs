//! One request as one line.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;

use crate::engine::code::Code;
use crate::engine::record::{CallRecord, Outcome, Record};
use crate::plan::Route;
use crate::telemetry::log::printable;
use crate::telemetry::{Finished, time};

/// The line as a machine reads it. Every field is always there, so that queries need no guards.
#[derive(Serialize)]
struct Access<'f> {
    ts: String,
    level: &'static str,
    message: &'static str,
    request_id: &'f str,
    trace_id: &'f str,
    method: Option<&'f str>,
    path: &'f str,
    route: Option<&'f str>,
    status: u16,
    dur_ms: f64,
    generation: u64,
    degraded: Option<&'f str>,
    code: Option<&'static str>,
    calls: Vec<AccessCall<'f>>,
    client: IpAddr,
}

#[derive(Serialize)]
struct AccessCall<'f> {
    name: &'f str,
    outcome: &'static str,
    status: Option<u16>,
    code: Option<&'static str>,
    attempts: u32,
    start_ms: f64,
    dur_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_items: Option<usize>,
}

pub fn write_json(out: &mut Vec<u8>, moment: SystemTime, finished: &Finished) {
    let line = Access {
        ts: time::rfc3339(moment),
        level: "info",
        message: "request",
        request_id: &finished.request_id,
        trace_id: &finished.trace_id,
        method: finished.method.as_ref().map(|method| method.as_str()),
        path: &finished.path,
        route: finished.route.as_ref().map(|route| route.name.as_str()),
        status: finished.status,
        dur_ms: time::milliseconds(finished.elapsed),
        generation: finished.generation,
        degraded: degraded(finished),
        code: failure(finished).map(Code::name),
        calls: calls(finished)
            .map(|(route, call)| access_call(route, call))
            .collect(),
        client: finished.client,
    };
    serde_json::to_writer(out, &line).expect("plain fields are written to memory");
}

/// The calls of a run as the line has them.
pub fn calls_json(record: &Record) -> serde_json::Value {
    let calls = record.calls.iter();
    let calls: Vec<AccessCall<'_>> = calls.map(|call| access_call(&record.route, call)).collect();
    serde_json::to_value(calls).expect("plain fields are a tree")
}

fn access_call<'f>(route: &'f Route, call: &CallRecord) -> AccessCall<'f> {
    AccessCall {
        name: &route.calls[call.call.0].name,
        outcome: call.outcome.name(),
        status: call.status,
        code: call.code.map(Code::name),
        attempts: call.attempts,
        start_ms: time::milliseconds(call.start),
        dur_ms: time::milliseconds(call.elapsed),
        items: call.items.map(|(items, _)| items),
        failed_items: call.items.map(|(_, failed)| failed),
    }
}

/// `12:03:04.567 200 GET /v1/products/42 product-page 41 ms  pricing 12 ms · recs timeout→fallback 180 ms`
pub fn write_text(out: &mut Vec<u8>, moment: SystemTime, finished: &Finished) {
    let mut text = format!(
        "{} {} {} {} {} {}",
        time::clock(moment),
        finished.status,
        finished
            .method
            .as_ref()
            .map_or("-", |method| method.as_str()),
        printable(&finished.path),
        finished.route.as_ref().map_or("-", |route| &route.name),
        time::readable(finished.elapsed),
    );
    if let Some(code) = failure(finished) {
        text.push_str("  ");
        text.push_str(code.name());
    }
    for (place, (route, call)) in calls(finished).enumerate() {
        text.push_str(if place == 0 { "  " } else { " · " });
        write_call(&mut text, route, call);
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_call(text: &mut String, route: &Route, call: &CallRecord) {
    let name = &route.calls[call.call.0].name;
    let code = call.code.map_or("", Code::name);
    let elapsed = time::readable(call.elapsed);
    let written = match call.outcome {
        Outcome::Live => write!(text, "{name} {elapsed}"),
        Outcome::Cache => write!(text, "{name} cache {elapsed}"),
        Outcome::Stale => write!(text, "{name} {code}→stale {elapsed}"),
        Outcome::Fallback => write!(text, "{name} {code}→fallback {elapsed}"),
        Outcome::Failed => write!(text, "{name} {code} {elapsed}"),
        Outcome::Skipped => write!(text, "{name} skipped"),
        Outcome::Cancelled => write!(text, "{name} cancelled {elapsed}"),
    };
    written.expect("a string takes everything");
    if let Some((items, failed)) = call.items {
        let _ = match failed {
            0 => write!(text, " ({items})"),
            _ => write!(text, " ({failed} of {items} failed)"),
        };
    }
    if call.attempts > 1 && call.items.is_none() {
        let _ = write!(text, " ×{}", call.attempts);
    }
}

fn degraded(finished: &Finished) -> Option<&str> {
    finished.record.as_ref()?.degraded.as_deref()
}

fn failure(finished: &Finished) -> Option<Code> {
    finished
        .failure
        .or_else(|| finished.record.as_ref().and_then(|record| record.failure))
}

fn calls(finished: &Finished) -> impl Iterator<Item = (&Route, &CallRecord)> {
    finished
        .record
        .iter()
        .flat_map(|record| record.calls.iter().map(|call| (&*record.route, call)))
}
