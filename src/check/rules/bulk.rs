//! Many requests where one would do.

use std::sync::Arc;

use crate::config::document;
use crate::diagnostic::Diagnostic;
use crate::plan::compile::names::Read;
use crate::plan::settings::Service;
use crate::plan::{Call, Route};

/// R0604: one request for each element, to a service that another call asks in bulk.
pub fn one_by_one(
    documents: &[document::Route],
    routes: &[(Arc<Route>, Vec<Read>)],
    services: &[Service],
) -> Vec<Diagnostic> {
    let routes = || routes.iter().map(|(route, _)| route.as_ref());
    let calls = routes().flat_map(|route| route.calls.iter().map(move |call| (route, call)));
    // The first for each service.
    let mut in_bulk: Vec<Option<(&Route, &Call)>> = vec![None; services.len()];
    for (route, call) in calls.filter(|(_, call)| call.batch().is_some() && call.asks()) {
        in_bulk[call.service.0].get_or_insert((route, call));
    }
    let mut found = Vec::new();
    for route in routes() {
        let written = &documents[route.index].calls;
        for (call, document) in route.calls.iter().zip(written) {
            let other = in_bulk[call.service.0].filter(|_| is_one_by_one(call));
            let Some((other_route, other)) = other else {
                continue;
            };
            let service = &services[call.service.0].name;
            let whose = match std::ptr::eq(other_route, route) {
                true => format!("`{}`", other.name),
                false => format!("`{}` of `{}`", other.name, other_route.name),
            };
            let message = format!(
                "`{}` asks `{service}` for one element at a time, and {whose} asks it for many",
                call.name
            );
            let span = document.for_each.as_ref().map(|node| node.key);
            let span = span.unwrap_or(document.name.span);
            let diagnostic = Diagnostic::warning("R0604", span, message);
            found.push(diagnostic.help(
                "ask in bulk too: write `batch: { key: …, rows: …, match: … }` and read `keys`",
            ));
        }
    }
    found
}

fn is_one_by_one(call: &Call) -> bool {
    let for_each = call.for_each.as_ref();
    call.asks()
        && for_each.is_some_and(|for_each| for_each.batch.is_none() && for_each.max_items > 1)
}
