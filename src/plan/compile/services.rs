//! The services by name, and those that full URLs stand for.

use std::collections::{HashMap, HashSet};

use crate::config::document::{self, Shared};
use crate::diagnostic::{Diagnostic, Span};
use crate::plan::ServiceId;
use crate::plan::compile::service;
use crate::plan::settings::Service;
use crate::template::url;

pub struct Services<'d> {
    documents: &'d [document::Service],
    /// Some documents could not be read, so a service that is missing may be in one of them.
    pub are_incomplete: bool,
    by_name: HashMap<&'d str, ServiceId>,
    pub compiled: Vec<Service>,
    /// The service of each call of the route that is compiled, where its name says it.
    calls: HashMap<String, ServiceId>,
    /// What was said of keys that many calls inherit.
    pub reported: Reported,
}

/// The findings about keys that many calls inherit, each of which is said once.
#[derive(Default)]
pub struct Reported(HashSet<(&'static str, Span)>);

impl Reported {
    /// Those that were not said yet.
    pub fn new_ones(&mut self, mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        found.retain(|finding| self.0.insert((finding.code, finding.span)));
        found
    }
}

impl<'d> Services<'d> {
    pub fn new(all: &'d document::Documents, found: &mut Vec<Diagnostic>) -> Services<'d> {
        let documents = all.services.as_slice();
        let names = documents.iter().map(|service| service.name.value.as_str());
        Services {
            documents,
            are_incomplete: !all.complete,
            by_name: names
                .enumerate()
                .map(|(place, name)| (name, ServiceId(place)))
                .collect(),
            compiled: documents
                .iter()
                .map(|document| service::compile(document, found))
                .collect(),
            calls: HashMap::new(),
            reported: Reported::default(),
        }
    }

    /// Begins a route: remembers which service each of its calls asks.
    pub fn begin_route(&mut self, calls: &[document::Call]) {
        self.calls.clear();
        for call in calls {
            let service = match origin_of(call) {
                Some(origin) => self.of_url(&origin),
                None => self.named(&call.service.as_ref().unwrap_or(&call.name).value),
            };
            if let Some(service) = service {
                self.calls.insert(call.name.value.clone(), service);
            }
        }
    }

    /// The service that a call of this route asks.
    pub fn of_call(&self, call: &str) -> Option<ServiceId> {
        self.calls.get(call).copied()
    }

    pub fn named(&self, name: &str) -> Option<ServiceId> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &'d str> {
        self.documents
            .iter()
            .map(|service| service.name.value.as_str())
    }

    /// The keys of a call that this service holds.
    pub fn shared(&self, service: ServiceId) -> Option<&'d Shared> {
        self.documents
            .get(service.0)
            .map(|document| &document.shared)
    }

    /// The service of an origin such as `http://host:8080`, the same for the same origin.
    pub fn of_url(&mut self, origin: &str) -> Option<ServiceId> {
        if let Some(place) = self.compiled.iter().position(|known| known.name == origin) {
            return Some(ServiceId(place));
        }
        let uri: http::Uri = origin.parse().ok()?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = authority.host().to_ascii_lowercase();
        let service = service::of_origin(origin.to_owned(), https, host, port);
        self.compiled.push(service);
        Some(ServiceId(self.compiled.len() - 1))
    }
}

/// The origin of a call's full URL.
fn origin_of(call: &document::Call) -> Option<String> {
    let path = call.target.as_ref()?.path.text()?;
    let origin = url::origin(&path.source, &path.fills).ok()?;
    origin.map(|origin| origin.url)
}
