//! One route document: its pattern, its calls and their graph, its response.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderName, Method, header};

use crate::config::document::{self, Documents, ResponseBody as Written};
use crate::config::node::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, Files, nearest};
use crate::json::Demand;
use crate::plan::compile::call::{self, Surroundings};
use crate::plan::compile::computed;
use crate::plan::compile::graph;
use crate::plan::compile::headers::header_name;
use crate::plan::compile::input;
use crate::plan::compile::names::{self, Names, Read, Reader, list};
use crate::plan::compile::services::Services;
use crate::plan::compile::templates;
use crate::plan::pattern;
use crate::plan::settings;
use crate::plan::{Body, Call, CallId, Response, ResponseBody, Role, Route, Status};
use crate::policy::shed::Priority;
use crate::template::Place;

const BUILT_IN_TIMEOUT: Duration = Duration::from_secs(2);

pub struct CompiledRoute {
    /// There when every call and the response could be compiled, and the pattern.
    pub route: Option<Route>,
    pub pattern: Option<Pattern>,
    pub host: Option<String>,
    pub reads: Vec<Read>,
    pub diagnostics: Vec<Diagnostic>,
}

/// `GET /v1/products/{id}` taken apart.
#[derive(Clone)]
pub struct Pattern {
    pub method: Method,
    pub path: pattern::Pattern,
}

pub fn compile<'d>(
    index: usize,
    document: &'d document::Route,
    documents: &'d Documents,
    services: &mut Services<'d>,
    server: &settings::Server,
    files: &Files,
) -> CompiledRoute {
    let document::Route {
        span,
        route,
        name,
        host,
        timeout,
        priority,
        input,
        calls,
        calls_are_known,
        response,
    } = document;
    let mut found = Vec::new();
    let pattern = parse_pattern(&route.value, &mut found);
    let host = host.as_ref().map(|host| plain_host(&host.value));
    let parameters = pattern
        .as_ref()
        .map_or(Vec::new(), |pattern| pattern.path.parameters());
    let has_rest = pattern
        .as_ref()
        .is_some_and(|pattern| pattern.path.has_rest());
    let roles = roles(calls, response.as_ref());
    let known = names::known(calls, &roles);
    let mut names = Names::new(known, parameters.clone(), has_rest, *span);
    names.any_parameter = pattern.is_none();
    names.any_name = !calls_are_known;
    names.diagnostics.append(&mut found);
    let timeout = timeout
        .as_ref()
        .map_or(BUILT_IN_TIMEOUT, |timeout| timeout.value);
    services.begin_route(calls);
    let compiled: Vec<Option<Call>> = calls
        .iter()
        .zip(&roles)
        .enumerate()
        .map(|(place, (call, role))| {
            let mut surroundings = Surroundings {
                services,
                defaults: &documents.defaults,
                timeout,
                owner: match role {
                    Role::Fallback => only_owner(calls, &call.name.value),
                    _ => None,
                },
            };
            call::compile(CallId(place), call, *role, &mut names, &mut surroundings)
        })
        .collect();
    let is_computed = response
        .as_ref()
        .is_some_and(|response| response.value.cache.is_some());
    let response = response.as_ref().and_then(|response| {
        names.reading(Reader::Response, response.span);
        compile_response(&response.value, &mut names)
    });
    let shape = pattern.as_ref().map(|pattern| &pattern.path);
    let input = input::compile(input.as_ref(), shape, server, &mut names);
    let graph = graph::build(calls, &mut names);
    let calls: Option<Vec<Call>> = compiled.into_iter().collect();
    let whole = calls.zip(response).zip(pattern.clone());
    let route = whole.map(|((calls, response), pattern)| {
        let mut calls = connect(calls, graph, &mut names);
        for (place, call) in calls.iter_mut().enumerate() {
            let is_read = is_computed || names.headers_read.contains(&CallId(place));
            call.keeps_headers = is_read || may_be_read_later(call);
        }
        let streams_request = streams_request(&calls, &names, &input);
        let computed = is_computed.then(|| computed::compile(&calls, &input, &names));
        Route {
            index,
            name: name.value.clone(),
            method: pattern.method,
            pattern: written_path(&route.value),
            host: host.clone(),
            parameters,
            has_rest,
            timeout,
            priority: priority
                .as_ref()
                .map_or(Priority::Normal, |priority| priority.value),
            body_demand: body_demand(&mut names, &input),
            input,
            forwards_body: calls.iter().any(|call| matches!(call.body, Body::Forward)),
            calls,
            response: Response {
                computed,
                ..response
            },
            sources: std::mem::take(&mut names.sources),
            streams_request,
            json_limits: server.json,
            place: format!(
                "{}:{}",
                files.get(route.span.file).name,
                files.position(route.span.file, route.span.start).line
            ),
        }
    });
    CompiledRoute {
        route,
        pattern,
        host,
        reads: names.reads,
        diagnostics: names.diagnostics,
    }
}

/// Whether the headers of its answers matter to somebody but the paths of the route: to the client, to
/// a cache, to whoever is to judge the answer.
fn may_be_read_later(call: &Call) -> bool {
    call.role == Role::Pass
        || call.cache.is_some()
        || call.coalesce
        || call.keeps_answers()
        || call.success_when.is_some()
        || !call.method.is_safe()
}

/// Only the passed call sends the client's body on, and nobody has to look at it before.
fn streams_request(calls: &[Call], names: &Names, input: &crate::plan::Input) -> bool {
    let mut forwarding = calls
        .iter()
        .filter(|call| matches!(call.body, Body::Forward));
    let body = input.body.as_ref();
    forwarding
        .next()
        .is_some_and(|call| call.role == Role::Pass)
        && forwarding.next().is_none()
        && names.request_demand.is_none()
        && body.is_none_or(|body| body.schema.is_none() && !body.required)
}

/// In a request duplicate keys are refused everywhere.
fn body_demand(names: &mut Names, input: &crate::plan::Input) -> Option<Demand> {
    let has_schema = input
        .body
        .as_ref()
        .is_some_and(|body| body.schema.is_some());
    let demand = names.request_demand.take();
    let demand = demand.or_else(|| has_schema.then(Demand::default));
    demand.map(Demand::strict)
}

/// Puts the graph and the demands into the calls.
fn connect(mut calls: Vec<Call>, graph: graph::Graph, names: &mut Names) -> Vec<Call> {
    for (place, needs) in graph.needs.into_iter().enumerate() {
        let demands = std::mem::take(&mut names.demands[place]);
        calls[place].raw_demand = demands.raw;
        if names.has_body_of_its_own(CallId(place)) {
            calls[place].taken_demand = Some(demands.taken);
        }
        if calls[place].role == Role::Normal {
            for need in &needs {
                calls[need.0].unblocks.push(CallId(place));
            }
        }
        calls[place].needs = needs;
    }
    calls
}

/// A call named in a chain is a fallback, the one that is passed starts last.
fn roles(
    calls: &[document::Call],
    response: Option<&document::Spanned<document::Response>>,
) -> Vec<Role> {
    let body = response.and_then(|response| response.value.body.as_ref());
    let passed = body.and_then(|body| match &body.value {
        Written::Pass(name) => Some(name.as_str()),
        _ => None,
    });
    let in_chains: HashSet<&str> = calls
        .iter()
        .flat_map(|call| {
            call.fallback_calls()
                .filter(|named| named.value != call.name.value)
        })
        .map(|named| named.value.as_str())
        .collect();
    let role = |call: &document::Call| {
        let name = call.name.value.as_str();
        if passed == Some(name) {
            Role::Pass
        } else if in_chains.contains(name) {
            Role::Fallback
        } else if call
            .detached
            .as_ref()
            .is_some_and(|detached| detached.value)
        {
            Role::Detached
        } else {
            Role::Normal
        }
    };
    calls.iter().map(role).collect()
}

/// The call that a fallback call stands in for, if there is but one.
fn only_owner<'d>(calls: &'d [document::Call], name: &str) -> Option<&'d document::Call> {
    let mut owners = calls
        .iter()
        .filter(|call| call.fallback_calls().any(|named| named.value == name));
    owners.next().filter(|_| owners.next().is_none())
}

fn parse_pattern(node: &Node, found: &mut Vec<Diagnostic>) -> Option<Pattern> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let text = node.text()?;
    let written = text.filled();
    let help = "write a method and a path: `route: GET /v1/products/{id}`";
    let Some((method, path)) = written.split_once(' ') else {
        let message = "a route is a method and a path";
        found.push(Diagnostic::error("R0215", node.span, message).help(help));
        return None;
    };
    if !METHODS.contains(&method) {
        let span = node.part(0, method.len());
        let upper = method.to_ascii_uppercase();
        let help = match METHODS.contains(&upper.as_str()) {
            true => format!("write `{upper}`"),
            false => match nearest(method, METHODS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the methods are {}", list(METHODS.into_iter())),
            },
        };
        let message = if text.fills.is_empty() {
            format!("`{method}` is no method a route can have")
        } else {
            "this is no method a route can have".to_owned()
        };
        found.push(Diagnostic::error("R0215", span, message).help(help));
        return None;
    }
    let offset = written.len() - path.trim_start().len();
    match pattern::Pattern::parse(path.trim()) {
        Ok(path) => Some(Pattern {
            method: method.parse().expect("it is one of the methods"),
            path,
        }),
        Err(error) => {
            let span = match text.fills.is_empty() {
                true => node.part(offset + error.offset, error.length),
                false => node.span,
            };
            let message = match text.fills.is_empty() {
                true => error.message,
                false => "what `${…}` gives here is no path of a route".to_owned(),
            };
            let mut diagnostic = Diagnostic::error("R0215", span, message);
            diagnostic.help = error.help;
            found.push(diagnostic);
            None
        }
    }
}

fn written_path(node: &Node) -> String {
    let text = node.text().map(|text| text.filled()).unwrap_or_default();
    text.split_once(' ')
        .map_or(text.clone(), |(_, path)| path.trim().to_owned())
}

/// Case and port do not count.
pub fn plain_host(host: &str) -> String {
    let lower = host.to_ascii_lowercase();
    match lower.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name.to_owned()
        }
        _ => lower,
    }
}

fn compile_response(response: &document::Response, names: &mut Names) -> Option<Response> {
    let document::Response {
        status,
        headers,
        body,
        cache,
    } = response;
    let status = match status {
        None => Some(Status::Constant(200)),
        Some(status) => compile_status(&status.value, names),
    };
    let mut parts = Vec::new();
    for entry in headers.iter().flat_map(|headers| &headers.value) {
        names.reading(Reader::Response, entry.value.span);
        let name = header_name(&entry.key, &entry.key, entry.key_span, names);
        if let (Some(name), Some(_)) = (&name, cache) {
            refuse_computed_header(name, entry, names);
        }
        let part = templates::part(&entry.value, names, Place::Header);
        if let (Some(name), Some(part)) = (name, part) {
            parts.push((name, part));
        }
    }
    let body = match body {
        None => Some(ResponseBody::None),
        Some(body) => {
            names.reading(Reader::Response, body.span);
            match &body.value {
                Written::Json(node) => Some(ResponseBody::Json(templates::json(node, names))),
                Written::Text(node) => {
                    templates::text(node, names, Place::Plain).map(ResponseBody::Text)
                }
                Written::Pass(name) => compile_pass(&body.with(name.clone()), response, names),
            }
        }
    };
    Some(Response {
        status: status?,
        headers: parts,
        body: body?,
        computed: None,
    })
}

/// What is computed cannot be set too.
fn refuse_computed_header(name: &HeaderName, entry: &Entry, names: &mut Names) {
    let computed = [
        header::CACHE_CONTROL,
        header::AGE,
        header::ETAG,
        header::VARY,
        header::EXPIRES,
    ];
    if computed.contains(name) {
        let message = format!("`{name}` has no place beside `cache: computed`");
        let help = "it comes from the parts of the answer; take one of the two away";
        names
            .diagnostics
            .push(Diagnostic::error("R0210", entry.key_span, message).help(help));
    }
}

fn compile_pass(
    written: &document::Spanned<String>,
    response: &document::Response,
    names: &mut Names,
) -> Option<ResponseBody> {
    if let Some(status) = &response.status {
        let found = Diagnostic::error("R0210", status.key, "`status` has no place beside `pass`");
        names
            .diagnostics
            .push(found.help("the status of the call goes through; take it away"));
    }
    if let Some(cache) = &response.cache {
        let found = Diagnostic::error("R0210", cache.key, "`cache` has no place beside `pass`");
        names
            .diagnostics
            .push(found.help("the headers of the call go through as they come; take it away"));
    }
    let name = written.value.as_str();
    if let Some(call) = names.call_named(name) {
        return Some(ResponseBody::Pass(call));
    }
    let known: Vec<&str> = names.call_names().collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the calls of this route are {}", list(known.into_iter())),
    };
    let message = format!("unknown call `{}`", written.shown());
    names
        .diagnostics
        .push(Diagnostic::error("R0201", written.span, message).help(help));
    None
}

fn compile_status(node: &Node, names: &mut Names) -> Option<Status> {
    let written = match &node.kind {
        Kind::Number(digits) => digits.clone(),
        Kind::Text(text) if !text.fills.is_empty() => text.filled(),
        Kind::Broken => return None,
        _ => return templates::choice(node, names).map(Status::Choice),
    };
    match written.parse() {
        Ok(status @ 200..=599) => Some(Status::Constant(status)),
        _ => {
            let message = "no status that can be answered with";
            let found = Diagnostic::error("R0216", node.span, message);
            names
                .diagnostics
                .push(found.help("write a number from 200 to 599, or a path to one"));
            None
        }
    }
}
