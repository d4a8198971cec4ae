//! What stands in for a call that fails: its chain of fallbacks.

use crate::config::document::{self, FallbackSource, Spanned};
use crate::diagnostic::{Diagnostic, nearest};
use crate::plan::compile::call::Surroundings;
use crate::plan::compile::names::{Names, Reader, list};
use crate::plan::compile::templates;
use crate::plan::{CallId, Fallback, FallbackKind, ServiceId};

/// What a chain names; faults of it are found by [`check`].
pub fn compile(
    id: CallId,
    chain: Option<&Spanned<Vec<document::Fallback>>>,
    names: &mut Names,
) -> Vec<Fallback> {
    let mut compiled = Vec::new();
    for entry in chain.iter().flat_map(|chain| &chain.value) {
        let kind = match &entry.source {
            FallbackSource::Stale(age) => Some(FallbackKind::Stale(age.value)),
            FallbackSource::Value(node) => {
                names.reading(Reader::Call(id), node.span);
                Some(FallbackKind::Value(templates::json(&node.value, names)))
            }
            FallbackSource::Call(name) => match names.call_named(&name.value) {
                Some(called) => Some(FallbackKind::Call(called)),
                None => {
                    let known: Vec<&str> = names.call_names().collect();
                    let help = match nearest(&name.value, known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the calls of this route are {}", list(known.into_iter())),
                    };
                    let message = format!("unknown call `{}`", name.shown());
                    names
                        .diagnostics
                        .push(Diagnostic::error("R0201", name.span, message).help(help));
                    None
                }
            },
        };
        if let Some(kind) = kind {
            compiled.push(Fallback {
                only_not_sent: entry.only_not_sent.is_some(),
                kind,
            });
        }
    }
    compiled
}

/// What `resilience.md` §3 forbids of a fallback call.
pub fn check(
    call: &document::Call,
    service: Option<ServiceId>,
    is_unkeyed_write: bool,
    names: &mut Names,
    surroundings: &Surroundings<'_, '_>,
) {
    for entry in call.fallback.iter().flat_map(|chain| &chain.value) {
        let FallbackSource::Call(called) = &entry.source else {
            continue;
        };
        if is_unkeyed_write && entry.only_not_sent.is_none() {
            let message = format!(
                "`{}` may have written before `{}` is asked",
                call.name.value, called.value
            );
            let found = Diagnostic::error("R0502", called.span, message);
            let help = "write `only: not_sent` beside it, or give the call an `idempotency_key`";
            names.diagnostics.push(found.help(help));
        }
        let theirs = surroundings.services.of_call(&called.value);
        if theirs.is_some() && theirs == service {
            let message = format!("`{}` asks the service that has just failed", called.value);
            let found = Diagnostic::error("R0503", called.span, message);
            names
                .diagnostics
                .push(found.help("let the fallback ask another service, or give a `value`"));
        }
    }
}

/// An old answer says nothing of what is written now.
pub fn check_stale(call: &document::Call, asks: bool, names: &mut Names) {
    if asks {
        return;
    }
    for entry in call.fallback.iter().flat_map(|chain| &chain.value) {
        let FallbackSource::Stale(age) = &entry.source else {
            continue;
        };
        let message = format!(
            "`{}` writes: an old answer does not say that this write was made",
            call.name.value
        );
        let help =
            "take `stale` away and give a `value`, or write `safe: true` if the call only asks";
        names
            .diagnostics
            .push(Diagnostic::error("R0509", age.key, message).help(help));
    }
}
