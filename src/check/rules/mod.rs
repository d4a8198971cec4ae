//! What is no error and yet seldom meant: one file for each kind of question.

mod cost;
mod graph;
mod reads;
mod time;

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

/// All warnings about a route.
pub fn apply(facts: &Facts<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    found.extend(time::worst_case(facts));
    found.extend(cost::many_attempts(facts));
    found.extend(graph::redundant_waits(facts));
    if facts.is_whole {
        found.extend(reads::unread_calls(facts));
    }
    found.extend(reads::optional_needs(facts));
    found
}
