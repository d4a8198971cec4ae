//! The YAML as typed: one struct per object, spans on names, no meaning.
//!
//! [`read`] turns paths into [`document::Documents`] and everything that is wrong with their shape.
//! What a name refers to, what a path or a template means, and whether a timeout can hold is not
//! known here: that is `plan`. The way of a file: [`text`] checks and parts it, [`reader`] makes
//! [`node`]s of each document, [`route`] and [`gateway`] take those apart by the table of [`keys`].

pub mod document;
mod fields;
mod fill;
mod gateway;
pub mod keys;
pub mod node;
mod paths;
mod reader;
mod redis;
pub mod reference;
mod route;
mod scalar;
pub mod schema;
#[cfg(test)]
mod tests;
mod text;
mod trap;
mod units;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use crate::config::document::{Admin, Cache, Documents, Route, Server, Service, Shared, Spanned};
use crate::config::fields::Decoder;
use crate::config::fill::Sources;
use crate::config::gateway::Gateway;
use crate::config::keys::Object;
use crate::config::node::{Entry, Kind, Node};
use crate::config::paths::{Finder, Found};
use crate::diagnostic::{Diagnostic, FileId, Files, Span, arrange, did_you_mean};

/// What was read: the documents as far as they could be understood, and all that is wrong with them.
pub struct Reading {
    pub files: Files,
    pub documents: Documents,
    pub findings: Vec<Diagnostic>,
    /// Of all values, with what `${…}` was filled with: comments, spaces and places are not in it.
    pub fingerprint: u64,
}

/// A path that could not be read at all: nothing can be said about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    /// One sentence in lower case, the path in it.
    pub message: String,
}

/// Reads the files and folders at `paths` as one configuration. `variable` gives what `${NAME}`
/// stands for.
pub fn read(
    paths: &[PathBuf],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Reading, Vec<Unreadable>> {
    let mut finder = Finder::default();
    for path in paths {
        finder.add(path);
    }
    if !finder.unreadable.is_empty() {
        return Err(finder.unreadable);
    }
    let mut joined = Joined::new(finder.folders);
    for found in finder.found {
        joined.read_file(found, variable);
    }
    Ok(joined.finish())
}

/// One value as a node, for tests of those who compile nodes.
#[cfg(test)]
pub fn node_of(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> node::Node {
    let sources = fill::Sources {
        variable,
        folder: std::path::Path::new("."),
    };
    let file = crate::diagnostic::FileId(0);
    let document = reader::read(text, 0..text.len(), file, &sources);
    assert!(document.findings.is_empty(), "{:?}", document.findings);
    document.node.expect("a value")
}

/// The configuration as it grows, file by file.
struct Joined {
    files: Files,
    findings: Vec<Diagnostic>,
    fingerprint: DefaultHasher,
    watched: Vec<PathBuf>,
    complete: bool,
    routes: Vec<Route>,
    services: Vec<Service>,
    server: Option<Spanned<Server>>,
    admin: Option<Spanned<Admin>>,
    cache: Option<Spanned<Cache>>,
    defaults: Option<Spanned<Shared>>,
    /// Where each route and each service was defined; of a route, its place in `routes` as well.
    route_names: HashMap<String, (Span, usize)>,
    service_names: HashMap<String, Span>,
}

impl Joined {
    fn new(watched: Vec<PathBuf>) -> Joined {
        Joined {
            files: Files::default(),
            findings: Vec::new(),
            fingerprint: DefaultHasher::new(),
            watched,
            complete: true,
            routes: Vec::new(),
            services: Vec::new(),
            server: None,
            admin: None,
            cache: None,
            defaults: None,
            route_names: HashMap::new(),
            service_names: HashMap::new(),
        }
    }

    fn read_file(&mut self, found: Found, variable: &dyn Fn(&str) -> Option<String>) {
        let Found { path, bytes } = found;
        let id = FileId(self.files.files.len() as u32);
        let (text, refusal) = text::decode(bytes, id);
        self.files
            .add(path.display().to_string(), path.clone(), text);
        self.watched.push(path.clone());
        if let Some(refusal) = refusal {
            self.findings.push(refusal);
            self.complete = false;
            return;
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let sources = Sources { variable, folder };
        let text = &self.files.get(id).text;
        let ranges = text::documents(text);
        if ranges.is_empty() {
            self.findings.push(
                Diagnostic::error("R0106", start_of(id), "there is no document in this file")
                    .help("write a route or a gateway document, or remove the file"),
            );
            self.complete = false;
        }
        for range in ranges {
            let text = &self.files.get(id).text;
            let document = reader::read(text, range, id, &sources);
            self.findings.extend(document.findings);
            self.watched.extend(document.named);
            match document.node {
                Some(node) => {
                    node.fingerprint(&mut self.fingerprint);
                    self.read_document(&node, folder);
                }
                None => self.complete = false,
            }
        }
    }

    fn read_document(&mut self, node: &Node, folder: &Path) {
        let Kind::Mapping(entries) = &node.kind else {
            self.complete = false;
            if !matches!(node.kind, Kind::Broken) {
                let message = format!("a document is a mapping, not {}", node.what());
                self.findings.push(
                    Diagnostic::error("R0106", node.span, message)
                        .help("write `route: GET /path`, or `services:`"),
                );
            }
            return;
        };
        let kinds = Kinds::of(entries);
        self.findings.extend(kinds.finding(node));
        let mut decoder = Decoder {
            files: &self.files,
            folder,
            findings: Vec::new(),
            named: Vec::new(),
        };
        let route = kinds
            .route
            .map(|_| route::decode(&mut decoder, &kinds.entries_of_route(entries), node.span));
        let gateway = kinds
            .gateway
            .map(|_| gateway::decode(&mut decoder, &kinds.entries_of_gateway(entries), node.span));
        let Decoder {
            findings, named, ..
        } = decoder;
        self.findings.extend(findings);
        self.watched.extend(named);
        self.complete &= route.is_some() || gateway.is_some();
        self.complete &= route.is_some() || services_are_known(entries);
        if let Some(route) = route {
            self.join_route(route);
        }
        if let Some(gateway) = gateway {
            self.join_gateway(gateway);
        }
    }

    fn join_route(&mut self, route: Route) {
        let Spanned { value, span, .. } = &route.name;
        if !value.is_empty() {
            if let Some((first, place)) = self.route_names.get(value) {
                if !is_same_request(&route, &self.routes[*place]) {
                    let finding = twice("the route", route.name.shown(), *span, *first);
                    self.findings
                        .push(finding.help("give one of them another `name`"));
                }
            } else {
                let place = self.routes.len();
                self.route_names.insert(value.clone(), (*span, place));
            }
        }
        self.routes.push(route);
    }

    fn join_gateway(&mut self, gateway: Gateway) {
        let Gateway {
            server,
            admin,
            cache,
            defaults,
            services,
        } = gateway;
        let findings = &mut self.findings;
        join_section("server", &mut self.server, server, findings);
        join_section("admin", &mut self.admin, admin, findings);
        join_section("cache", &mut self.cache, cache, findings);
        join_section("defaults", &mut self.defaults, defaults, findings);
        for service in services {
            let Spanned { value, span, .. } = &service.name;
            if let Some(first) = self.service_names.get(value) {
                let finding = twice("the service", value, *span, *first);
                findings.push(finding.help("remove one of them, or give it another name"));
                continue;
            }
            self.service_names.insert(value.clone(), *span);
            self.services.push(service);
        }
    }

    fn finish(self) -> Reading {
        // What is left out has the defaults of the table.
        let mut decoder = Decoder {
            files: &self.files,
            folder: Path::new(""),
            findings: Vec::new(),
            named: Vec::new(),
        };
        let server = self.server.map(|found| found.value);
        let admin = self.admin.map(|found| found.value);
        let cache = self.cache.map(|found| found.value);
        let documents = Documents {
            routes: self.routes,
            server: server.unwrap_or_else(|| gateway::server(&mut decoder, None)),
            admin: admin.unwrap_or_else(|| gateway::admin(&mut decoder, None)),
            cache: cache.unwrap_or_else(|| gateway::cache(&mut decoder, None)),
            defaults: self
                .defaults
                .map_or_else(Shared::default, |found| found.value),
            services: self.services,
            watched: self.watched,
            complete: self.complete,
        };
        let findings = arrange(self.findings, &self.files);
        Reading {
            files: self.files,
            documents,
            findings,
            fingerprint: self.fingerprint.finish(),
        }
    }
}

/// Whether `services` could be read, if this is what the document has.
fn services_are_known(entries: &[Entry]) -> bool {
    match entries.iter().find(|entry| entry.key == "services") {
        Some(entry) => matches!(entry.value.kind, Kind::Mapping(_) | Kind::Null),
        None => {
            let is_meant =
                |entry: &Entry| Object::GatewayDocument.nearest(&entry.key) == Some("services");
            !entries.iter().any(is_meant)
        }
    }
}

/// Two routes without names for the same requests: that is one fault, and `plan` finds it.
fn is_same_request(one: &Route, other: &Route) -> bool {
    let is_unnamed = |route: &Route| route.name.span == route.route.span;
    let pattern = |route: &Route| route.route.value.text().map(|text| text.filled());
    let host = |route: &Route| {
        route
            .host
            .as_ref()
            .map(|host| host.value.to_ascii_lowercase())
    };
    is_unnamed(one)
        && is_unnamed(other)
        && pattern(one).is_some_and(|text| !text.is_empty())
        && pattern(one) == pattern(other)
        && host(one) == host(other)
}

fn join_section<T>(
    name: &str,
    known: &mut Option<Spanned<T>>,
    new: Option<Spanned<T>>,
    findings: &mut Vec<Diagnostic>,
) {
    let Some(new) = new else {
        return;
    };
    match known {
        None => *known = Some(new),
        Some(first) => findings.push(
            twice("the section", name, new.key, first.key)
                .help("all files are one configuration: put the keys together in one place"),
        ),
    }
}

fn twice(what: &str, name: &str, second: Span, first: Span) -> Diagnostic {
    Diagnostic::error("R0114", second, format!("{what} `{name}` stands twice"))
        .label("again here")
        .also(first, "first here")
}

fn start_of(file: FileId) -> Span {
    Span {
        file,
        start: 0,
        end: 0,
    }
}

// === the two kinds of documents ===

/// The first key of each kind that a document has.
struct Kinds<'k> {
    route: Option<&'k Entry>,
    gateway: Option<&'k Entry>,
}

/// The keys that make a gateway document.
const SECTIONS: [&str; 5] = ["server", "admin", "cache", "services", "defaults"];

impl<'k> Kinds<'k> {
    fn of(entries: &'k [Entry]) -> Kinds<'k> {
        Kinds {
            route: entries.iter().find(|entry| entry.key == "route"),
            gateway: entries.iter().find(|entry| is_section(entry)),
        }
    }

    fn finding(&self, node: &Node) -> Option<Diagnostic> {
        match (self.route, self.gateway) {
            (Some(route), Some(gateway)) => {
                let (first, second) = match route.key_span < gateway.key_span {
                    true => (route, gateway),
                    false => (gateway, route),
                };
                let message = format!("`{}` and `{}` in one document", first.key, second.key);
                Some(
                    Diagnostic::error("R0106", second.key_span, message)
                        .also(first.key_span, "the document begins as another kind")
                        .help("put a line `---` between them"),
                )
            }
            (None, None) => Some(of_no_kind(node)),
            _ => None,
        }
    }

    /// Where both kinds stand in one document, each gets its own keys.
    fn entries_of_route<'e>(&self, entries: &'e [Entry]) -> Cow<'e, [Entry]> {
        match self.gateway {
            None => Cow::Borrowed(entries),
            Some(_) => select(entries, |entry| !is_section(entry)),
        }
    }

    fn entries_of_gateway<'e>(&self, entries: &'e [Entry]) -> Cow<'e, [Entry]> {
        match self.route {
            None => Cow::Borrowed(entries),
            Some(_) => select(entries, is_section),
        }
    }
}

fn is_section(entry: &Entry) -> bool {
    SECTIONS.contains(&entry.key.as_str())
}

fn select(entries: &[Entry], ours: impl Fn(&Entry) -> bool) -> Cow<'_, [Entry]> {
    Cow::Owned(
        entries
            .iter()
            .filter(|entry| ours(entry))
            .cloned()
            .collect(),
    )
}

fn of_no_kind(node: &Node) -> Diagnostic {
    let entries: &[Entry] = match &node.kind {
        Kind::Mapping(entries) => entries,
        _ => &[],
    };
    let sections = SECTIONS.into_iter().chain(["route"]);
    let near = entries.iter().find_map(|entry| {
        did_you_mean(&entry.key, sections.clone()).map(|help| (entry.key_span, help))
    });
    let of_route = entries
        .iter()
        .find(|entry| Object::RouteDocument.key(&entry.key).is_some());
    let (span, help) = match (near, of_route) {
        (Some(near), _) => near,
        (None, Some(entry)) if entry.key != "version" => (
            entry.key_span,
            "a route document has the key `route`: `route: GET /path`".to_owned(),
        ),
        _ => (
            entries.first().map_or(node.span, |entry| entry.key_span),
            "a route document has the key `route`; a gateway document has `server`, `admin`, \
             `cache`, `services` or `defaults`"
                .to_owned(),
        ),
    };
    Diagnostic::error(
        "R0106",
        span,
        "a document that is neither route nor gateway",
    )
    .help(help)
}
