//! Waits that change nothing.

use crate::check::rules::Facts;
use crate::diagnostic::Diagnostic;
use crate::plan::compile::names::{Read, Reader};
use crate::plan::{CallId, Route};

/// R0211: a `depends_on` for a call that is waited for anyway.
pub fn redundant_waits(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (place, document) in facts.document.calls.iter().enumerate() {
        let entries = document
            .depends_on
            .iter()
            .flat_map(|entries| &entries.value);
        for entry in entries {
            let named = |call: &crate::plan::Call| call.name == entry.value;
            let Some(target) = facts.route.calls.iter().position(named).map(CallId) else {
                continue;
            };
            if let Some(why) = reason(facts, CallId(place), target) {
                let message = format!("`{}` is waited for anyway", entry.value);
                let diagnostic = Diagnostic::warning("R0211", entry.span, message);
                found.push(diagnostic.help(format!("take it away: {why}")));
            }
        }
    }
    found
}

fn reason(facts: &Facts<'_>, call: CallId, target: CallId) -> Option<String> {
    let name = |id: CallId| &facts.route.calls[id.0].name;
    if facts
        .reads
        .iter()
        .any(|read| read.call == target && is_by(read, call))
    {
        return Some(format!("`{}` reads it", name(call)));
    }
    let others = facts.route.calls[call.0]
        .needs
        .iter()
        .filter(|need| **need != target);
    let other = others
        .copied()
        .find(|need| waits_for(facts.route, *need, target))?;
    Some(format!(
        "`{}` waits for it, and this call waits for `{}`",
        name(other),
        name(other)
    ))
}

fn is_by(read: &Read, call: CallId) -> bool {
    matches!(read.reader, Reader::Call(reader) | Reader::Take(reader) if reader == call)
}

fn waits_for(route: &Route, call: CallId, target: CallId) -> bool {
    let mut seen = vec![false; route.calls.len()];
    let mut stack = vec![call];
    while let Some(call) = stack.pop() {
        for need in &route.calls[call.0].needs {
            if *need == target {
                return true;
            }
            if !std::mem::replace(&mut seen[need.0], true) {
                stack.push(*need);
            }
        }
    }
    false
}
