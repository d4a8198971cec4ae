//! The context document of one run: what paths and templates read, by root.
//!
//! Nothing is built before it is read. A part of the request that has to be written as JSON first is
//! kept for the rest of the run, under the number of its root.

use std::borrow::Cow;
use std::sync::OnceLock;

use http::HeaderName;

use crate::engine::errors;
use crate::engine::outcome::{Outcome, write_header, write_headers};
use crate::engine::request::Accepted;
use crate::json::{Value, write_text};
use crate::path::{Env, Frame, Root, Scope};
use crate::plan::{CallId, CallPart, RequestPart, Route, Source};

/// How a call of the route stands.
#[derive(Debug)]
pub enum Settled {
    /// It was not a `for_each`. In a box, since it is handed on from place to place.
    One(Box<Outcome>),
    /// In input order.
    Many(Vec<Outcome>),
}

impl Settled {
    pub fn outcomes(&self) -> &[Outcome] {
        match self {
            Settled::One(outcome) => std::slice::from_ref(outcome),
            Settled::Many(outcomes) => outcomes,
        }
    }
}

pub struct Context<'r> {
    pub route: &'r Route,
    pub accepted: &'r Accepted,
    /// By call; `None` until it is settled.
    pub settled: Vec<Option<Settled>>,
    /// The JSON array `errors` and the text of `degraded`: there once every call is settled.
    pub errors: Cow<'static, [u8]>,
    pub degraded: Option<Vec<u8>>,
    built: Vec<OnceLock<Option<Box<[u8]>>>>,
}

impl<'r> Context<'r> {
    pub fn new(route: &'r Route, accepted: &'r Accepted) -> Context<'r> {
        Context {
            route,
            accepted,
            settled: route.calls.iter().map(|_| None).collect(),
            errors: errors::NONE,
            degraded: None,
            built: route.sources.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    pub fn env<'a>(&'a self, frame: Option<&'a Frame<'a>>) -> Env<'a> {
        Env { scope: self, frame }
    }

    /// The name of the call that a root reads, for problem bodies.
    pub fn call_of(&self, root: Option<Root>) -> Option<&'r str> {
        match &self.route.sources[root?.0 as usize] {
            Source::Call(call, _) | Source::Each(call, _, _) | Source::Results(call) => {
                Some(&self.route.calls[call.0].name)
            }
            Source::Variable(_, origin) => self.call_of(Some(*origin)),
            _ => None,
        }
    }

    /// Whether a value came from the client.
    pub fn is_of_request(&self, root: Option<Root>) -> bool {
        match root.map(|root| &self.route.sources[root.0 as usize]) {
            Some(Source::Request(_)) => true,
            Some(Source::Variable(_, origin)) => self.is_of_request(Some(*origin)),
            _ => false,
        }
    }

    fn call_part(&self, call: CallId, part: &CallPart) -> Option<Value<'_>> {
        match self.settled[call.0].as_ref()? {
            Settled::One(outcome) => outcome.part(part),
            Settled::Many(_) => None,
        }
    }

    fn each_part<'a>(
        &'a self,
        call: CallId,
        variable: Root,
        part: &CallPart,
        frame: Option<&'a Frame<'a>>,
    ) -> Option<Value<'a>> {
        let frame = std::iter::successors(frame, |frame| frame.outer)
            .find(|frame| frame.variable == variable)?;
        match self.settled[call.0].as_ref()? {
            // It was skipped, or failed, as a whole.
            Settled::One(outcome) => outcome.part(part),
            Settled::Many(outcomes) => outcomes.get(frame.index)?.part(part),
        }
    }

    fn keep(&self, root: Root, make: impl FnOnce() -> Option<Vec<u8>>) -> Option<Value<'_>> {
        let built = self.built[root.0 as usize].get_or_init(|| make().map(Vec::into_boxed_slice));
        built.as_deref().map(Value::trusted)
    }

    fn write_results(&self, call: CallId) -> Option<Vec<u8>> {
        let Settled::Many(outcomes) = self.settled[call.0].as_ref()? else {
            return None;
        };
        Some(array(outcomes.iter(), |out, outcome| {
            let whole = outcome.part(&CallPart::Whole);
            out.extend_from_slice(whole.unwrap_or(Value::NULL).bytes());
        }))
    }

    fn request_part(&self, root: Root, part: &RequestPart) -> Option<Value<'_>> {
        match part {
            RequestPart::Body(slot) => self.accepted.body.as_ref()?.slot(*slot),
            RequestPart::Path(Some(place)) => self
                .accepted
                .path
                .get(*place)
                .map(|text| Value::trusted(text)),
            part => self.keep(root, || write_part(self.accepted, self.route, part)),
        }
    }
}

impl Scope for Context<'_> {
    fn value<'a>(&'a self, root: Root, frame: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
        match &self.route.sources[root.0 as usize] {
            Source::Request(part) => self.request_part(root, part),
            Source::Call(call, part) => self.call_part(*call, part),
            Source::Each(call, variable, part) => self.each_part(*call, *variable, part, frame),
            Source::Results(call) => self.keep(root, || self.write_results(*call)),
            Source::Errors => Some(Value::trusted(&self.errors)),
            Source::Degraded => self.degraded.as_deref().map(Value::trusted),
            Source::Variable(..) | Source::Reply(_) => None,
        }
    }
}

/// The context with `$.reply` in it, for `take`.
pub struct WithReply<'a, 'r> {
    pub context: &'a Context<'r>,
    pub reply: &'a Outcome,
}

impl Scope for WithReply<'_, '_> {
    fn value<'a>(&'a self, root: Root, frame: Option<&'a Frame<'a>>) -> Option<Value<'a>> {
        match &self.context.route.sources[root.0 as usize] {
            Source::Reply(part) => self.reply.part(part),
            _ => self.context.value(root, frame),
        }
    }
}

fn write_part(accepted: &Accepted, route: &Route, part: &RequestPart) -> Option<Vec<u8>> {
    let request = &accepted.request;
    let mut out = Vec::new();
    match part {
        RequestPart::Whole => write_whole(&mut out, accepted, route),
        RequestPart::Method => write_text(&mut out, request.method.as_str()),
        RequestPart::Host => write_text(&mut out, &request.host),
        RequestPart::Path(None) => {
            let names = route.parameters.iter().map(String::as_str);
            write_object(&mut out, names.zip(accepted.path.iter().map(Vec::as_slice)));
        }
        RequestPart::Query(Some(name)) => return query_value(accepted, name),
        RequestPart::Query(None) => write_query(&mut out, accepted),
        RequestPart::QueryList(Some(name)) => return query_values(accepted, name),
        RequestPart::QueryList(None) => {
            // A name that only a default gives was sent no values.
            let lists: Vec<_> = query_names(accepted)
                .into_iter()
                .filter_map(|name| Some((name, query_values(accepted, name)?)))
                .collect();
            let members = lists.iter().map(|(name, list)| (*name, list.as_slice()));
            write_object(&mut out, members);
        }
        RequestPart::Headers(Some(name)) => return header_value(accepted, name),
        RequestPart::Headers(None) => write_all_headers(&mut out, accepted),
        RequestPart::Cookies(name) => return cookies(accepted, name.as_deref()),
        // They are JSON already: `request_part`.
        RequestPart::Body(_) | RequestPart::Path(Some(_)) => return None,
        RequestPart::Id => write_text(&mut out, &request.identity.request_id),
        RequestPart::ClientIp => write_text(&mut out, &request.client_ip.to_string()),
        RequestPart::Client => {
            out.extend_from_slice(b"{\"ip\":");
            write_text(&mut out, &request.client_ip.to_string());
            out.push(b'}');
        }
    }
    Some(out)
}

fn write_whole(out: &mut Vec<u8>, accepted: &Accepted, route: &Route) {
    let parts = [
        ("method", RequestPart::Method),
        ("host", RequestPart::Host),
        ("path", RequestPart::Path(None)),
        ("query", RequestPart::Query(None)),
        ("query_list", RequestPart::QueryList(None)),
        ("headers", RequestPart::Headers(None)),
        ("cookies", RequestPart::Cookies(None)),
        ("id", RequestPart::Id),
        ("client", RequestPart::Client),
    ];
    let mut members: Vec<(&str, Vec<u8>)> = parts
        .into_iter()
        .filter_map(|(name, part)| Some((name, write_part(accepted, route, &part)?)))
        .collect();
    let body = accepted
        .body
        .as_ref()
        .map_or(Value::NULL, |body| body.whole());
    members.push(("body", body.bytes().to_vec()));
    write_object(
        out,
        members
            .iter()
            .map(|(name, value)| (*name, value.as_slice())),
    );
}

fn query_value(accepted: &Accepted, name: &str) -> Option<Vec<u8>> {
    if let Some(typed) = typed(&accepted.query, name) {
        return Some(typed.to_vec());
    }
    let mut pairs = accepted.request.query.iter();
    let (_, value) = pairs.find(|(key, _)| key == name)?;
    let mut out = Vec::new();
    write_text(&mut out, value);
    Some(out)
}

fn query_values(accepted: &Accepted, name: &str) -> Option<Vec<u8>> {
    let pairs = accepted.request.query.iter();
    let values: Vec<&String> = pairs
        .filter(|(key, _)| key == name)
        .map(|(_, v)| v)
        .collect();
    (!values.is_empty()).then(|| array(values.into_iter(), |out, value| write_text(out, value)))
}

fn query_names(accepted: &Accepted) -> Vec<&str> {
    let typed = accepted.query.iter().map(|(name, _)| name.as_str());
    let sent = accepted.request.query.iter().map(|(name, _)| name.as_str());
    let mut names = Vec::new();
    for name in sent.chain(typed) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_query(out: &mut Vec<u8>, accepted: &Accepted) {
    let names = query_names(accepted);
    let values: Vec<Vec<u8>> = names
        .iter()
        .map(|name| query_value(accepted, name).unwrap_or_default())
        .collect();
    write_object(out, names.into_iter().zip(values.iter().map(Vec::as_slice)));
}

fn header_value(accepted: &Accepted, name: &HeaderName) -> Option<Vec<u8>> {
    if let Some(typed) = typed(&accepted.headers, name.as_str()) {
        return Some(typed.to_vec());
    }
    let headers = &accepted.request.headers;
    headers.contains_key(name).then(|| {
        let mut out = Vec::new();
        write_header(&mut out, headers, name);
        out
    })
}

fn write_all_headers(out: &mut Vec<u8>, accepted: &Accepted) {
    if accepted.headers.is_empty() {
        return write_headers(out, &accepted.request.headers);
    }
    let mut names: Vec<HeaderName> = accepted.request.headers.keys().cloned().collect();
    for (name, _) in &accepted.headers {
        if let Ok(name) = HeaderName::try_from(name.as_str())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    let values: Vec<Vec<u8>> = names
        .iter()
        .map(|name| header_value(accepted, name).unwrap_or_default())
        .collect();
    let names = names.iter().map(HeaderName::as_str);
    write_object(out, names.zip(values.iter().map(Vec::as_slice)));
}

fn cookies(accepted: &Accepted, name: Option<&str>) -> Option<Vec<u8>> {
    let mut members: Vec<(&str, Vec<u8>)> = accepted
        .cookies
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let sent = cookie_pairs(&accepted.request.headers);
    for (name, value) in &sent {
        if !members.iter().any(|(known, _)| known == name) {
            let mut text = Vec::new();
            write_text(&mut text, value);
            members.push((name, text));
        }
    }
    match name {
        Some(name) => members
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value),
        None => {
            let mut out = Vec::new();
            write_object(
                &mut out,
                members
                    .iter()
                    .map(|(name, value)| (*name, value.as_slice())),
            );
            Some(out)
        }
    }
}

/// The pairs of `cookie` (RFC 6265 §4.2.1), quotes around a value taken off.
pub fn cookie_pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(http::header::COOKIE).iter();
    let mut pairs = Vec::new();
    for line in lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()) {
        for pair in line.split(';') {
            if let Some((name, value)) = pair.trim().split_once('=') {
                let value = value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap_or(value);
                pairs.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    pairs
}

fn typed<'a>(values: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    let (_, value) = values.iter().find(|(known, _)| known == name)?;
    Some(value)
}

fn write_object<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a str, &'a [u8])>) {
    out.push(b'{');
    for (place, (name, value)) in members.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(out, name);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

fn array<T>(items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(&mut out, item);
    }
    out.push(b']');
    out
}
