//! What a chain of fallbacks never comes to.

use crate::check::rules::Facts;
use crate::diagnostic::Diagnostic;
use crate::plan::{Fallback, FallbackKind};
use crate::template::Mark;
use crate::template::json::Json;

/// R0217: a fallback behind one that always answers.
pub fn never_asked(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (call, document) in facts.route.calls.iter().zip(&facts.document.calls) {
        let chain = document.fallback.iter().flat_map(|chain| &chain.value);
        let written: Vec<_> = chain.collect();
        let Some(last) = call.fallback.iter().position(always_answers) else {
            continue;
        };
        for entry in &written[last + 1..] {
            let message = "a fallback that is never asked: the value before it always answers";
            let diagnostic = Diagnostic::warning("R0217", entry.span, message)
                .also(written[last].span, "this one answers")
                .help("put the value last, or take what stands behind it away");
            found.push(diagnostic);
        }
    }
    found
}

fn always_answers(fallback: &Fallback) -> bool {
    match &fallback.kind {
        FallbackKind::Value(json) => !fallback.only_not_sent && cannot_fail(json),
        FallbackKind::Stale(_) | FallbackKind::Call(_) => false,
    }
}

/// What is built or required may fail, and then the next entry is asked.
fn cannot_fail(json: &Json) -> bool {
    match json {
        Json::Constant(_) | Json::Choice(_) => true,
        Json::Object(members) => members
            .iter()
            .all(|member| member.mark != Mark::Require && cannot_fail(&member.value)),
        Json::Array(items) => items.iter().all(cannot_fail),
        Json::Text(_)
        | Json::For { .. }
        | Json::If { .. }
        | Json::First(_)
        | Json::Count(_)
        | Json::Merge(_) => false,
    }
}
