//! One request as one line.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::engine::code::Code;
use crate::engine::record::{CallRecord, Outcome, Record};
use crate::json::{self, write_number};
use crate::plan::Route;
use crate::telemetry::log::printable;
use crate::telemetry::{Finished, time};

/// The line as a machine reads it. Every field is always there, so that queries need no guards.
/// Written piece by piece: one is written for every request, and a serializer took three times as long.
pub fn write_json(out: &mut Vec<u8>, moment: SystemTime, finished: &Finished) {
    put(out, "{\"ts\":\"");
    time::write_rfc3339(out, moment);
    put(
        out,
        "\",\"level\":\"info\",\"message\":\"request\",\"request_id\":",
    );
    json::write_text(out, &finished.identity.request_id);
    put(out, ",\"trace_id\":\"");
    out.extend_from_slice(&finished.identity.trace_id);
    put(out, "\",\"method\":");
    let method = finished.method.as_ref();
    word_or_null(out, method.map(|method| method.as_str()));
    put(out, ",\"path\":");
    json::write_text(out, &finished.path);
    put(out, ",\"route\":");
    let route = finished.route.as_ref();
    text_or_null(out, route.map(|route| route.name.as_str()));
    put(out, ",\"status\":");
    write_number(out, u64::from(finished.status));
    put(out, ",\"dur_ms\":");
    time::write_milliseconds(out, finished.elapsed);
    put(out, ",\"generation\":");
    write_number(out, finished.generation);
    put(out, ",\"degraded\":");
    text_or_null(out, degraded(finished));
    put(out, ",\"code\":");
    word_or_null(out, failure(finished).map(Code::name));
    put(out, ",\"calls\":");
    write_calls(out, calls(finished));
    put(out, ",\"client\":\"");
    write_address(out, finished.identity.client_ip);
    put(out, "\"}");
}

/// The calls of a run as the line has them.
pub fn calls_json(record: &Record) -> serde_json::Value {
    let mut out = Vec::new();
    let calls = record.calls.iter().map(|call| (&*record.route, call));
    write_calls(&mut out, calls);
    serde_json::from_slice(&out).expect("it is JSON that was written here")
}

fn write_calls<'f>(out: &mut Vec<u8>, calls: impl Iterator<Item = (&'f Route, &'f CallRecord)>) {
    put(out, "[");
    for (place, (route, call)) in calls.enumerate() {
        put(
            out,
            if place == 0 {
                "{\"name\":"
            } else {
                ",{\"name\":"
            },
        );
        json::write_text(out, &route.calls[call.call.0].name);
        put(out, ",\"outcome\":\"");
        put(out, call.outcome.name());
        put(out, "\",\"status\":");
        match call.status {
            Some(status) => write_number(out, u64::from(status)),
            None => put(out, "null"),
        }
        put(out, ",\"code\":");
        word_or_null(out, call.code.map(Code::name));
        put(out, ",\"attempts\":");
        write_number(out, u64::from(call.attempts));
        put(out, ",\"start_ms\":");
        time::write_milliseconds(out, call.start);
        put(out, ",\"dur_ms\":");
        time::write_milliseconds(out, call.elapsed);
        if let Some((items, failed)) = call.items {
            put(out, ",\"items\":");
            write_number(out, items as u64);
            put(out, ",\"failed_items\":");
            write_number(out, failed as u64);
        }
        put(out, "}");
    }
    put(out, "]");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn text_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => json::write_text(out, text),
        None => put(out, "null"),
    }
}

/// A word that has nothing to be escaped: a name of ours, or a method.
fn word_or_null(out: &mut Vec<u8>, word: Option<&str>) {
    match word {
        Some(word) => {
            out.push(b'"');
            put(out, word);
            out.push(b'"');
        }
        None => put(out, "null"),
    }
}

fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                write_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(address) => put(out, &address.to_string()),
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
