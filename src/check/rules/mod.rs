//! What is no error and yet seldom meant: one file for each kind of question.

mod bulk;
mod chain;
mod cost;
mod graph;
mod reads;
mod time;

use std::sync::Arc;

use crate::config::document;
use crate::diagnostic::Diagnostic;
use crate::plan::Route;
use crate::plan::compile::names::Read;
use crate::plan::settings::Service;

/// One compiled route, with the document it came from.
pub struct Facts<'f> {
    pub document: &'f document::Route,
    pub route: &'f Route,
    pub reads: &'f [Read],
    pub services: &'f [Service],
    /// No error was found in the document, so that everything it reads is known.
    pub is_whole: bool,
}

/// The warnings that are about no route by itself.
pub fn apply_to_all(
    documents: &document::Documents,
    routes: &[(Arc<Route>, Vec<Read>)],
    services: &[Service],
) -> Vec<Diagnostic> {
    let mut found = bulk::one_by_one(&documents.routes, routes, services);
    let routes = routes.iter().map(|(route, _)| route.as_ref());
    found.extend(cost::little_memory(&documents.server, routes, services));
    found
}

/// All warnings about a route.
pub fn apply(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    found.extend(time::worst_case(facts));
    found.extend(time::late_hedges(facts));
    found.extend(cost::many_attempts(facts));
    found.extend(cost::wide_loops(facts));
    found.extend(graph::redundant_waits(facts));
    if facts.is_whole {
        found.extend(reads::unread_calls(facts));
        found.extend(chain::never_asked(facts));
    }
    found.extend(reads::optional_needs(facts));
    found
}
