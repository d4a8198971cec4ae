//! `errors`, `degraded` and Proxy-Status: how a run tells what went wrong.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;

use crate::engine::code::Code;
use crate::engine::context::{Context, Settled};
use crate::engine::outcome::{Origin, Outcome};
use crate::json::write_text;
use crate::plan::{CallId, Role, Route};

/// One failed call, or one failed element of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub call: CallId,
    pub item: Option<usize>,
    pub code: Code,
    /// The status the service answered with.
    pub status: Option<u16>,
    pub attempts: u32,
    pub elapsed: Duration,
    /// What stood in: `stale`, `call` or `value`.
    pub fallback: Option<&'static str>,
}

/// The JSON array `errors` when all is well.
pub const NONE: Cow<'static, [u8]> = Cow::Borrowed(b"[]");

/// The JSON array `errors`, in the order of the file, then of the elements.
pub fn write(route: &Route, entries: &mut [Entry]) -> Cow<'static, [u8]> {
    if entries.is_empty() {
        return NONE;
    }
    entries.sort_by_key(|entry| (entry.call, entry.item));
    let mut out = b"[".to_vec();
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_entry(&mut out, &route.calls[entry.call.0].name, entry);
    }
    out.push(b']');
    out.into()
}

fn write_entry(out: &mut Vec<u8>, name: &str, entry: &Entry) {
    out.extend_from_slice(b"{\"call\":");
    write_text(out, name);
    out.extend_from_slice(format!(",\"code\":\"{}\"", entry.code.name()).as_bytes());
    if let Some(status) = entry.status {
        out.extend_from_slice(format!(",\"status\":{status}").as_bytes());
    }
    let elapsed = entry.elapsed.as_millis();
    let figures = format!(",\"attempts\":{},\"elapsed_ms\":{elapsed}", entry.attempts);
    out.extend_from_slice(figures.as_bytes());
    if let Some(fallback) = entry.fallback {
        out.extend_from_slice(format!(",\"fallback\":\"{fallback}\"").as_bytes());
    }
    if let Some(item) = entry.item {
        out.extend_from_slice(format!(",\"item\":{item}").as_bytes());
    }
    out.push(b'}');
}

/// `NAME=stale`, `NAME=fallback` or `NAME=CODE`, joined by `, `; `None` when all is well.
pub fn degraded(context: &Context<'_>) -> Option<String> {
    let calls = context.route.calls.iter().zip(&context.settled);
    let words = calls.filter(|(call, _)| matches!(call.role, Role::Normal | Role::Pass));
    let words = words.filter_map(|(call, settled)| {
        let word = match settled.as_ref()? {
            Settled::One(outcome) => word(outcome)?,
            Settled::Many(outcomes) => worst(outcomes)?,
        };
        Some(format!("{}={word}", call.name))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn word(outcome: &Outcome) -> Option<&'static str> {
    match (outcome.origin, outcome.error) {
        (Origin::Failed, Some((code, _))) => Some(code.name()),
        (Origin::Stale, _) => Some("stale"),
        (Origin::Fallback, _) => Some("fallback"),
        _ => None,
    }
}

/// Failed goes before stale, stale before fallback.
fn worst(outcomes: &[Outcome]) -> Option<&'static str> {
    [Origin::Failed, Origin::Stale, Origin::Fallback]
        .iter()
        .find_map(|origin| outcomes.iter().find(|outcome| outcome.origin == *origin))
        .and_then(word)
}

/// `proxy-status` (RFC 9209): one member for each entry, the call's name in `details`. `cause` is
/// why the route failed, and so why some calls never started.
pub fn proxy_status(route: &Route, entries: &[Entry], cause: Option<Code>) -> Option<HeaderValue> {
    // A header of a long list helps nobody; `errors` has all of them.
    const MOST: usize = 16;
    let members = entries.iter().take(MOST).map(|entry| {
        let mut member = "anabranch".to_owned();
        if let Some(error) = error_of(entry, cause) {
            member.push_str(&format!("; error={error}"));
        }
        if let Some(status) = entry.status {
            member.push_str(&format!("; received-status={status}"));
        }
        let name = &route.calls[entry.call.0].name;
        member.push_str(&format!("; details=\"{name}: {}\"", entry.code.name()));
        member
    });
    let text = Vec::from_iter(members).join(", ");
    HeaderValue::from_str(&text)
        .ok()
        .filter(|value| !value.is_empty())
}

fn error_of(entry: &Entry, cause: Option<Code>) -> Option<&'static str> {
    match entry.code {
        Code::DependencyFailed => cause?.proxy_status(),
        // Without a status its head was too large, or nothing was asked because of a long list.
        Code::TooLarge if entry.status.is_none() && entry.attempts > 0 => {
            Some("http_response_header_section_size")
        }
        code => code.proxy_status(),
    }
}
