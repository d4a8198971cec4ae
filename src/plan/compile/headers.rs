//! The headers that a call sends: its own, its service's, those of `defaults`, those of the client.

use http::HeaderName;

use crate::config::document::{Shared, Spanned};
use crate::config::node::Entry;
use crate::diagnostic::{Diagnostic, Span};
use crate::plan::compile::names::{Names, Reader};
use crate::plan::compile::services::Reported;
use crate::plan::compile::templates;
use crate::plan::{CallId, Part};
use crate::template::Place;

/// `defaults`, then the service's, then the call's own: joined by name, the nearest wins. A fault of
/// what is inherited is one, however many calls inherit it.
pub fn compile(
    id: CallId,
    inherited: [Option<&Spanned<Vec<Entry>>>; 2],
    own: Option<&Spanned<Vec<Entry>>>,
    reported: &mut Reported,
    names: &mut Names,
) -> Vec<(HeaderName, Part)> {
    let mut parts: Vec<(HeaderName, Part)> = Vec::new();
    let before = names.diagnostics.len();
    for entry in inherited.into_iter().flatten().flat_map(|list| &list.value) {
        compile_header(id, entry, &mut parts, names);
    }
    let found = names.diagnostics.split_off(before);
    names.diagnostics.extend(reported.new_ones(found));
    for entry in own.iter().flat_map(|list| &list.value) {
        compile_header(id, entry, &mut parts, names);
    }
    parts
}

fn compile_header(
    id: CallId,
    entry: &Entry,
    parts: &mut Vec<(HeaderName, Part)>,
    names: &mut Names,
) {
    names.reading(Reader::Call(id), entry.value.span);
    let name = header_name(&entry.key, &entry.key, entry.key_span, names);
    let part = templates::part(&entry.value, names, Place::Header);
    if let Some(part) = &part {
        check_constant(part, entry.value.span, names);
    }
    let Some(name) = name else {
        return;
    };
    parts.retain(|(known, _)| *known != name);
    parts.extend(part.map(|part| (name, part)));
}

/// Examines the headers of `defaults` or of a service, which perhaps no call uses. What names in them
/// mean is up to the calls.
pub fn check_inherited(shared: &Shared, reported: &mut Reported) -> Vec<Diagnostic> {
    let Some(headers) = &shared.headers else {
        return Vec::new();
    };
    let mut names = Names::new(Vec::new(), Vec::new(), false, headers.span);
    names.any_parameter = true;
    names.any_name = true;
    compile(CallId(0), [Some(headers), None], None, reported, &mut names);
    names.diagnostics
}

fn check_constant(part: &Part, span: Span, names: &mut Names) {
    if let Part::Constant(text) = part
        && http::HeaderValue::from_str(text).is_err()
        && http::HeaderValue::from_bytes(text.as_bytes()).is_err()
    {
        let message = "a control character cannot stand in a header";
        names
            .diagnostics
            .push(Diagnostic::error("R0505", span, message));
    }
}

/// The name of a header that a route file may set (`resilience.md` §5).
/// `shown` is how a finding quotes it.
pub fn header_name(
    written: &str,
    shown: &str,
    span: Span,
    names: &mut Names,
) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(written) else {
        let message = format!("`{shown}` is not the name of a header");
        let found = Diagnostic::error("R0505", span, message);
        names
            .diagnostics
            .push(found.help("letters, digits and `-`; it cannot be a template"));
        return None;
    };
    let refused = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    ];
    if refused.contains(&name.as_str()) {
        let message = format!("`{shown}` cannot be set");
        let found = Diagnostic::error("R0505", span, message);
        names
            .diagnostics
            .push(found.help("it belongs to the connection, which is ours: take it away"));
        return None;
    }
    Some(name)
}

pub fn forwarded(
    list: Option<&Spanned<Vec<Spanned<String>>>>,
    names: &mut Names,
) -> Vec<HeaderName> {
    let written = list.iter().flat_map(|list| &list.value);
    written
        .filter_map(|name| header_name(&name.value, name.shown(), name.span, names))
        .collect()
}
