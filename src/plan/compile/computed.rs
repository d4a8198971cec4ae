//! `response: { cache: computed }`: what of the client's request the answer depends on, read off what
//! the route reads. How long the answer may be kept is known only when it is made.

use http::{HeaderName, HeaderValue, header};

use crate::plan::compile::names::{Names, Reader};
use crate::plan::{Body, Call, CallId, Computed, Input, RequestPart, Role};

/// What `vary` has to name, and for whom the answer is.
#[derive(Default)]
struct Dependence {
    names: Vec<HeaderName>,
    /// On what no header names.
    on_all: bool,
    is_private: bool,
    with_credentials: Vec<CallId>,
}

/// Must be called after everything of the route is compiled.
pub fn compile(calls: &[Call], input: &Input, names: &Names) -> Computed {
    let mut found = Dependence::default();
    for (reader, part) in &names.request_reads {
        match reader {
            Reader::Call(id) if is_part(&calls[id.0]) => found.add_read(part, Some(*id)),
            Reader::Take(id) if is_part(&calls[id.0]) => found.add_read(part, None),
            Reader::Response => found.add_read(part, None),
            Reader::Call(_)
            | Reader::Take(_)
            | Reader::SuccessWhen(_)
            | Reader::Rows(_)
            | Reader::Match(_) => {}
        }
    }
    for (place, call) in calls.iter().enumerate() {
        if is_part(call) {
            found.add_call(CallId(place), call);
        }
    }
    found.add_input(input);
    found.names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    found.names.dedup();
    found.with_credentials.sort();
    found.with_credentials.dedup();
    Computed {
        vary: found.vary(),
        is_private: found.is_private,
        with_credentials: found.with_credentials,
    }
}

/// An answer with a fallback's part is never kept, and a detached call has no part in it.
fn is_part(call: &Call) -> bool {
    call.role == Role::Normal
}

impl Dependence {
    /// `call` is the one that sends what it reads; else the route itself reads it.
    fn add_read(&mut self, part: &RequestPart, call: Option<CallId>) {
        match part {
            RequestPart::Whole => {
                self.on_all = true;
                self.is_private = true;
            }
            RequestPart::Headers(None) => {
                self.on_all = true;
                self.add_credentials(call);
            }
            RequestPart::Headers(Some(name)) => self.add_header(name, call),
            RequestPart::Cookies(_) => self.add_header(&header::COOKIE, call),
            // A cache does not look into bodies.
            RequestPart::Body(_) => self.on_all = true,
            RequestPart::Client | RequestPart::ClientIp => self.is_private = true,
            // Caches keep answers by method and URL; a request's id is no reason to ask again.
            RequestPart::Method
            | RequestPart::Host
            | RequestPart::Path(_)
            | RequestPart::Query(_)
            | RequestPart::QueryList(_)
            | RequestPart::Id => {}
        }
    }

    fn add_header(&mut self, name: &HeaderName, call: Option<CallId>) {
        if is_credential(name) {
            self.add_credentials(call);
        }
        self.names.push(name.clone());
    }

    fn add_credentials(&mut self, call: Option<CallId>) {
        match call {
            Some(call) => self.with_credentials.push(call),
            None => self.is_private = true,
        }
    }

    fn add_call(&mut self, id: CallId, call: &Call) {
        for name in &call.forward_headers {
            self.add_header(name, Some(id));
        }
        // Also where it is the same for every client: whom the service lets see it is not known.
        if call.headers.iter().any(|(name, _)| is_credential(name)) {
            self.add_credentials(Some(id));
        }
        if matches!(call.body, Body::Forward) {
            self.on_all = true;
        }
    }

    /// Who is refused is not who is answered.
    fn add_input(&mut self, input: &Input) {
        for parameter in &input.headers {
            if let Ok(name) = HeaderName::try_from(parameter.name.as_str()) {
                self.add_header(&name, None);
            }
        }
        if !input.cookies.is_empty() {
            self.add_header(&header::COOKIE, None);
        }
        if input.body.is_some() {
            self.on_all = true;
        }
    }

    fn vary(&self) -> Option<HeaderValue> {
        if self.on_all {
            return Some(HeaderValue::from_static("*"));
        }
        let names: Vec<&str> = self.names.iter().map(HeaderName::as_str).collect();
        let value = HeaderValue::try_from(names.join(", ")).expect("names are visible ASCII");
        (!names.is_empty()).then_some(value)
    }
}

fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE
}
