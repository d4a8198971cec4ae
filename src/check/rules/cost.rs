//! What one client request may cost the services, and many the process.

use crate::check::rules::Facts;
use crate::config::document;
use crate::diagnostic::{Diagnostic, Span};
use crate::plan::settings::Service;
use crate::plan::{Call, Role, Route, timeline};

/// More attempts than these make an outage worse.
const MOST_ATTEMPTS: u32 = 3;

/// R0601: more than three attempts, a hedge included.
pub fn many_attempts(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (call, document) in facts.route.calls.iter().zip(&facts.document.calls) {
        let attempts = call.retry.attempts;
        let whole = attempts.saturating_add(u32::from(call.hedge.is_some()));
        if whole <= MOST_ATTEMPTS {
            continue;
        }
        let retry = document.retry.as_ref().map(|retry| retry.span);
        let hedge = document.hedge.as_ref().map(|hedge| hedge.span);
        let span = retry.or(hedge).unwrap_or(document.name.span);
        let with = if call.hedge.is_some() {
            " and a hedge"
        } else {
            ""
        };
        let message =
            format!("{attempts} attempts{with}: a service in trouble gets {whole} times its load");
        let diagnostic = Diagnostic::warning("R0601", span, message);
        found.push(diagnostic.help("two or three are enough; beyond that a `fallback` helps more"));
    }
    found
}

/// R0602: one request asks for more at a time than the service takes.
pub fn wide_loops(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (call, document) in facts.route.calls.iter().zip(&facts.document.calls) {
        let Some(for_each) = &call.for_each else {
            continue;
        };
        // What stands in is asked for each element by itself.
        let called = timeline::fallback_calls(call).map(|called| &facts.route.calls[called.0]);
        let called = called.map(|called| (called, for_each.max_items));
        for (asked, requests) in [(call, for_each.requests())].into_iter().chain(called) {
            let fan_out = requests.min(for_each.concurrency);
            let service = &facts.services[asked.service.0];
            let Some(most) = service.bulkhead.map(|bulkhead| bulkhead.max) else {
                continue;
            };
            if fan_out > most {
                let span = widest(document);
                found.push(too_wide(&call.name, fan_out, service, most, span));
                break;
            }
        }
    }
    found
}

/// Where the width of a loop is written; the built-in one stands nowhere.
fn widest(document: &document::Call) -> Span {
    let concurrency = document.concurrency.as_ref().map(|count| count.span);
    let for_each = document.for_each.as_ref().map(|node| node.key);
    concurrency.or(for_each).unwrap_or(document.name.span)
}

fn too_wide(call: &str, fan_out: usize, service: &Service, most: usize, span: Span) -> Diagnostic {
    let message = format!(
        "`{call}` makes {fan_out} requests at a time, `{}` takes {most}",
        service.name
    );
    let help =
        format!("write `concurrency: {most}` or less, or raise `max` of the service's `bulkhead`");
    Diagnostic::warning("R0602", span, message).help(help)
}

/// R0603: `shed.memory` is written as a size that the answers of one call may exceed.
pub fn little_memory<'r>(
    server: &document::Server,
    routes: impl Iterator<Item = &'r Route>,
    services: &[Service],
) -> Option<Diagnostic> {
    let (document::Memory::Size(limit), Some(span)) = (server.shed.memory, server.shed.memory_span)
    else {
        return None;
    };
    let limit = limit as usize;
    let most = |call: &Call| {
        let bulkhead = services[call.service.0].bulkhead?;
        Some(call.max_body.saturating_mul(bulkhead.max))
    };
    // What is passed through is not held.
    let calls = routes.flat_map(|route| &route.calls);
    let held = calls.filter(|call| call.role != Role::Pass);
    let (need, call) = held
        .filter_map(|call| Some((most(call)?, call)))
        .max_by_key(|(need, _)| *need)
        .filter(|(need, _)| *need > limit)?;
    let message = format!(
        "the answers of `{}` alone may take {}: `max_body` times the bulkhead of `{}`",
        call.name,
        size(need),
        services[call.service.0].name
    );
    let help = format!(
        "write `memory: {}` or more, or lower `max_body` or the bulkhead's `max`",
        size(need)
    );
    Some(Diagnostic::warning("R0603", span, message).help(help))
}

/// As it is written, in the largest unit that is whole.
fn size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .into_iter()
        .find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    match whole {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}
