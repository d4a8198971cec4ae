//! The calls of a run as bars over its time.

use std::fmt::Write;
use std::time::Duration;

use crate::engine::code::Code;
use crate::engine::record::{CallRecord, Outcome, Record};
use crate::telemetry::time;

/// How many characters the time of a run is wide.
const WIDTH: u128 = 40;

/// One line for the run, one for each call, in the order in which they started.
pub(super) fn text(asked: &str, record: &Record) -> String {
    let mut text = format!("{asked} -> {}", record.status);
    match (record.failure, &record.degraded) {
        (Some(code), _) => text.push_str(&format!(" ({})", code.name())),
        (None, Some(degraded)) => text.push_str(&format!(" (degraded: {degraded})")),
        (None, None) => {}
    }
    let _ = writeln!(
        text,
        "   {}   {}",
        time::readable(record.elapsed),
        record.route.name
    );
    let mut calls: Vec<&CallRecord> = record.calls.iter().collect();
    calls.sort_by_key(|call| (call.start, call.call));
    let names = calls.iter().map(|call| name(record, call).chars().count());
    let width = names.max().unwrap_or(0);
    let whole = calls
        .iter()
        .map(|call| call.start + call.elapsed)
        .fold(record.elapsed, Duration::max);
    for call in calls {
        let _ = writeln!(
            text,
            "  {:width$}  |{}|  {:>8}  {}",
            name(record, call),
            bar(call, whole),
            time::readable(call.elapsed),
            outcome(call),
        );
    }
    text
}

fn name<'r>(record: &'r Record, call: &CallRecord) -> &'r str {
    &record.route.calls[call.call.0].name
}

fn bar(call: &CallRecord, whole: Duration) -> String {
    if call.outcome == Outcome::Skipped {
        return ".".repeat(WIDTH as usize);
    }
    let scale = |moment: Duration| {
        let share = moment.as_micros() * WIDTH / whole.as_micros().max(1);
        share.min(WIDTH) as usize
    };
    let start = scale(call.start).min(WIDTH as usize - 1);
    let end = scale(call.start + call.elapsed).max(start + 1);
    let filled = match call.outcome {
        Outcome::Failed | Outcome::Cancelled => "x",
        _ => "=",
    };
    format!(
        "{}{}{}",
        " ".repeat(start),
        filled.repeat(end - start),
        ".".repeat(WIDTH as usize - end)
    )
}

fn outcome(call: &CallRecord) -> String {
    let code = call.code.map_or("", Code::name);
    let mut text = match call.outcome {
        Outcome::Live => match call.status {
            Some(status) => status.to_string(),
            None => "live".into(),
        },
        Outcome::Cache => "cache".into(),
        Outcome::Stale if code.is_empty() => "stale".into(),
        Outcome::Stale => format!("{code}, stale"),
        Outcome::Fallback => format!("{code}, fallback"),
        Outcome::Failed => code.to_owned(),
        Outcome::Skipped => "skipped".into(),
        Outcome::Cancelled => "cancelled".into(),
    };
    match call.items {
        Some((items, 0)) => text.push_str(&format!(", {items} items")),
        Some((items, failed)) => text.push_str(&format!(", {failed} of {items} items failed")),
        None if call.attempts > 1 => text.push_str(&format!(", {} attempts", call.attempts)),
        None => {}
    }
    text
}
