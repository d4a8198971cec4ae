//! What is read, and what is not.

use http::Method;

use crate::check::rules::Facts;
use crate::diagnostic::{Diagnostic, Span};
use crate::path::Root;
use crate::plan::compile::names::Reader;
use crate::plan::{Body, Call, CallId, CallPart, FallbackKind, Part, Role, Source};
use crate::template::choice::Choice;
use crate::template::json::Json;

/// R0212: a GET or HEAD whose answer nobody looks at.
pub fn unread_calls(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let calls = facts
        .route
        .calls
        .iter()
        .zip(&facts.document.calls)
        .enumerate();
    let unread = calls.filter(|(place, (call, _))| {
        let id = CallId(*place);
        call.role == Role::Normal
            && matches!(call.method, Method::GET | Method::HEAD)
            && call.unblocks.is_empty()
            && facts.reads.iter().all(|read| read.call != id)
    });
    unread
        .map(|(_, (call, document))| {
            let message = format!("nobody reads `{}`", call.name);
            let help = match call.optional {
                true => "it is sent all the same: read it, or take the call away",
                false => {
                    "it is sent all the same, and can fail the route: read it, let a call \
                          `depends_on` it, or take it away"
                }
            };
            Diagnostic::warning("R0212", document.name.span, message).help(help)
        })
        .collect()
}

/// R0213: a required call needs the body of an optional one, which may be null.
pub fn optional_needs(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (place, call) in facts.route.calls.iter().enumerate() {
        if call.optional || call.role == Role::Detached {
            continue;
        }
        let mut seen: Vec<CallId> = Vec::new();
        for root in unguarded(call) {
            let Source::Call(target, CallPart::Body(_)) = &facts.route.sources[root.0 as usize]
            else {
                continue;
            };
            if seen.contains(target)
                || !may_be_null(facts, *target)
                || asks_first(facts, call, *target)
            {
                continue;
            }
            seen.push(*target);
            found.push(describe(facts, CallId(place), *target));
        }
    }
    found
}

fn describe(facts: &Facts<'_>, reader: CallId, target: CallId) -> Diagnostic {
    let name = |id: CallId| &facts.route.calls[id.0].name;
    let (reader_name, target_name) = (name(reader), name(target));
    let message =
        format!("`{reader_name}` is required and reads `{target_name}`, which is optional");
    let help = format!(
        "give it something else to go on with (`$.{target_name}.body.x ?? \"…\"`), write `when: \
         present($.{target_name}.body)`, or make `{reader_name}` optional too"
    );
    let read = facts.reads.iter().find(|read| {
        let by = matches!(read.reader, Reader::Call(call) | Reader::Take(call) if call == reader);
        by && read.call == target
    });
    let span: Span = read.map_or(facts.document.calls[reader.0].name.span, |read| read.span);
    Diagnostic::warning("R0213", span, message).help(help)
}

/// Optional, and no fallback that always answers.
fn may_be_null(facts: &Facts<'_>, id: CallId) -> bool {
    let call = &facts.route.calls[id.0];
    let always = call
        .fallback
        .iter()
        .any(|fallback| !fallback.only_not_sent && matches!(fallback.kind, FallbackKind::Value(_)));
    call.optional && !always
}

/// Its `when` looks at the other call first.
fn asks_first(facts: &Facts<'_>, call: &Call, target: CallId) -> bool {
    let name = &facts.route.calls[target.0].name;
    let when = call.when.as_ref();
    when.is_some_and(|when| when.text().contains(&format!("$.{name}.")))
}

/// The roots that a call reads without anything to go on with.
fn unguarded(call: &Call) -> Vec<Root> {
    let mut roots = call.path.required_roots();
    for (_, part) in &call.query {
        of_part(part, &mut roots);
    }
    for (_, part) in &call.headers {
        of_part(part, &mut roots);
    }
    match &call.body {
        Body::Json(json) => of_json(json, &mut roots),
        Body::Text(text) => roots.extend(text.required_roots()),
        Body::Form(fields) => fields
            .iter()
            .for_each(|(_, part)| of_part(part, &mut roots)),
        Body::None | Body::Forward => {}
    }
    if let Some(key) = &call.idempotency_key {
        roots.extend(key.required_roots());
    }
    roots
}

fn of_part(part: &Part, roots: &mut Vec<Root>) {
    match part {
        Part::Constant(_) => {}
        Part::Choice(choice) => of_choice(choice, roots),
        Part::Text(text) => roots.extend(text.required_roots()),
        Part::List(parts) => parts.iter().for_each(|part| of_part(part, roots)),
    }
}

fn of_choice(choice: &Choice, roots: &mut Vec<Root>) {
    if let ([query], None) = (choice.queries.as_slice(), &choice.literal) {
        roots.push(query.root());
    }
}

fn of_json(json: &Json, roots: &mut Vec<Root>) {
    match json {
        Json::Choice(choice) => of_choice(choice, roots),
        Json::Text(text) => roots.extend(text.required_roots()),
        Json::Object(members) => members
            .iter()
            .for_each(|member| of_json(&member.value, roots)),
        Json::Array(items) | Json::Merge(items) => {
            items.iter().for_each(|item| of_json(item, roots))
        }
        // A condition, a loop over nothing and a count ask before they read.
        Json::Constant(_)
        | Json::For { .. }
        | Json::If { .. }
        | Json::First(_)
        | Json::Count(_) => {}
    }
}
