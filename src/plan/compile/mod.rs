//! Documents to plans: the only way to get a [`Table`], and everything that can be said against one.
//!
//! Compiling is checking: there is no separate validator. It goes on after a fault, so that all of a
//! configuration's faults are found in one run; a table comes out only when none of them is an error.
//! `route.rs` and `call.rs` (with `chain.rs` and `retry.rs`) take the documents apart, `names.rs` resolves
//! what their templates read, `graph.rs` orders the calls.

mod call;
mod chain;
mod graph;
mod input;
pub mod names;
mod retry;
mod route;
mod service;
mod services;
mod templates;

use std::sync::Arc;

use crate::config::document::{self, Documents};
use crate::diagnostic::{Diagnostic, Files, Severity};
use crate::plan::matcher::Matcher;
use crate::plan::{Route, Table, settings};
use services::Services;

/// A configuration as far as it could be compiled.
pub struct Compiled {
    /// There when no finding is an error.
    pub table: Option<Table>,
    /// In no order.
    pub diagnostics: Vec<Diagnostic>,
    /// The routes that could be compiled, with what their paths read, also where there is no table.
    pub routes: Vec<(Arc<Route>, Vec<names::Read>)>,
    pub services: Vec<settings::Service>,
}

/// Compiles all documents of a configuration.
pub fn compile(documents: &Documents, files: &Files) -> Compiled {
    let mut diagnostics = Vec::new();
    let server = server(&documents.server);
    let mut services = Services::new(documents, &mut diagnostics);
    let mut matcher = Matcher::default();
    let mut routes = Vec::with_capacity(documents.routes.len());
    for (index, document) in documents.routes.iter().enumerate() {
        let mut compiled =
            route::compile(index, document, documents, &mut services, &server, files);
        let found = compiled.diagnostics.drain(..);
        diagnostics.extend(found.map(|finding| without_fill(finding, files)));
        if let Some(pattern) = &compiled.pattern {
            let host = compiled.host.as_deref();
            if let Err(other) = matcher.insert(&pattern.method, host, &pattern.path, index) {
                diagnostics.push(ambiguous(document, &documents.routes[other]));
            }
        }
        if let Some(route) = compiled.route {
            routes.push((Arc::new(route), compiled.reads));
        }
    }
    let shared = documents.services.iter().map(|service| &service.shared);
    for shared in [&documents.defaults].into_iter().chain(shared) {
        diagnostics.extend(call::check_inherited(shared, &mut services.reported));
    }
    let has_error = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    let table = (!has_error).then(|| Table {
        server,
        admin: settings::Admin {
            listen: documents.admin.listen,
        },
        services: services.compiled.clone(),
        routes: routes.iter().map(|(route, _)| Arc::clone(route)).collect(),
        matcher,
        files: files.files.iter().map(|file| file.name.clone()).collect(),
        watched: documents.watched.clone(),
    });
    Compiled {
        table,
        diagnostics,
        routes,
        services: services.compiled,
    }
}

/// A name that `${…}` gave is not to be shown: what the file says stands for it.
fn without_fill(finding: Diagnostic, files: &Files) -> Diagnostic {
    let what = match finding.code {
        "R0201" => "call",
        "R0204" => "service",
        "R0505" => "header that can be set",
        _ => return finding,
    };
    let written = files.text(finding.span);
    if !written.contains("${") {
        return finding;
    }
    let message = format!("what `{written}` gives is no {what}");
    Diagnostic { message, ..finding }
}

fn ambiguous(second: &document::Route, first: &document::Route) -> Diagnostic {
    let message = "two routes of the same method, host and shape";
    Diagnostic::error("R0206", second.route.span, message)
        .also(first.route.span, "the other one is here")
        .help("the names of parameters make no difference: give one of them another path, method or host")
}

fn server(document: &document::Server) -> settings::Server {
    let document::Server {
        listen,
        trusted,
        limits,
        timeouts,
        json,
        drain,
        server_timing,
    } = document;
    let document::Limits {
        connections,
        header_bytes,
        headers,
        uri,
        body,
        streams,
    } = *limits;
    let document::Timeouts {
        headers: head_timeout,
        idle,
        write_stall,
        body_rate,
    } = *timeouts;
    settings::Server {
        listen: *listen,
        trusted: trusted.clone(),
        limits: settings::Limits {
            connections: connections as usize,
            header_bytes: header_bytes as usize,
            headers: headers as usize,
            uri: uri as usize,
            body: body as usize,
            streams,
            per_address: None,
        },
        timeouts: settings::Timeouts {
            headers: head_timeout,
            idle,
            write_stall,
            body_rate: body_rate as usize,
        },
        json: crate::json::Limits {
            depth: json.depth,
            nodes: json.nodes,
        },
        shed: settings::Server::default().shed,
        drain: settings::Drain {
            grace: drain.grace,
            max: drain.max,
        },
        server_timing: *server_timing,
    }
}
