//! A route document, taken apart into [`Route`].

use http::Method;

use crate::config::document::{
    Batch, CacheOptions, Caching, Call, Fallback, FallbackSource, ForwardQuery, Hedge, Input,
    InputBody, Parameter, Payload, Response, ResponseBody, Retry, RetryOptions, Route, Spanned,
    Target,
};
use crate::config::fields::{Decoder, Fields, shortened, spanned};
use crate::config::keys::Object;
use crate::config::node::{Entry, Kind, Node};
use crate::config::scalar::{self, Plain};
use crate::config::units::{ErrorStatus, Everything, Host, NotSent, Size, Time};
use crate::diagnostic::{Diagnostic, Span};

/// What the first name of a path may mean besides a call.
const RESERVED: [&str; 9] = [
    "request", "errors", "degraded", "each", "reply", "row", "keys", "item", "env",
];

const METHODS: [(&str, Method); 6] = [
    ("get", Method::GET),
    ("head", Method::HEAD),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];

/// Decodes a document that has the key `route`.
pub fn decode(decoder: &mut Decoder<'_>, entries: &[Entry], span: Span) -> Route {
    let key = entries
        .iter()
        .find(|entry| entry.key == "route")
        .map_or(span, |entry| entry.key_span);
    let fields = decoder.known(Object::RouteDocument, entries, key);
    decoder.version(&fields);
    let route = decoder.expression(&fields, "route", "GET /v1/products/{id}");
    let route = route.unwrap_or(Spanned {
        value: Node {
            span: key,
            kind: Kind::Broken,
        },
        span: key,
        key,
        is_filled: false,
    });
    let name = decoder
        .name(&fields, "name")
        .unwrap_or_else(|| default_name(&route));
    Route {
        span,
        name,
        host: decoder
            .leaf::<Host>(&fields, "host")
            .map(|found| found.map(|host| host.0)),
        timeout: decoder.time(&fields, "timeout"),
        priority: decoder.leaf(&fields, "priority"),
        input: input(decoder, &fields),
        calls: calls(decoder, &fields),
        calls_are_known: calls_are_known(&fields),
        response: response(decoder, &fields),
        route,
    }
}

/// The route in lower case, other characters than letters and digits as one `-`, none at either end.
fn default_name(route: &Spanned<Node>) -> Spanned<String> {
    let text = route
        .value
        .text()
        .map_or(String::new(), |text| text.filled());
    let words: Vec<String> = text
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    Spanned {
        value: words.join("-"),
        span: route.span,
        key: route.key,
        is_filled: route.is_filled,
    }
}

// === input ===

fn input(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Input>> {
    let entry = fields.entry("input")?;
    let inner = decoder.open(Object::Input, &entry.value, entry.key_span)?;
    let input = Input {
        path: parameters(decoder, &inner, "path"),
        query: parameters(decoder, &inner, "query"),
        headers: parameters(decoder, &inner, "headers"),
        cookies: parameters(decoder, &inner, "cookies"),
        body: input_body(decoder, &inner),
    };
    Some(spanned(entry, input))
}

fn parameters(decoder: &mut Decoder<'_>, fields: &Fields<'_>, name: &str) -> Vec<Parameter> {
    let Some(entry) = fields.entry(name) else {
        return Vec::new();
    };
    let what = format!("`{name}`");
    let entries = decoder.mapping(&what, &entry.value, entry.key_span);
    entries
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| parameter(decoder, entry))
        .collect()
}

fn parameter(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Parameter> {
    let fields = decoder.open(Object::Parameter, &entry.value, entry.key_span)?;
    Some(Parameter {
        name: key_name(entry),
        kind: decoder.leaf(&fields, "type"),
        required: decoder.leaf(&fields, "required"),
        default: fields.node("default"),
        min: decoder.number(&fields, "min"),
        max: decoder.number(&fields, "max"),
        one_of: one_of(decoder, &fields),
        pattern: decoder.expression(&fields, "pattern", "'[a-z]+'"),
    })
}

fn one_of(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Vec<Node>>> {
    let entry = fields.entry("enum")?;
    let items = decoder.list("enum", &entry.value, entry.key_span)?;
    Some(spanned(entry, items.to_vec()))
}

fn input_body(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<InputBody>> {
    let entry = fields.entry("body")?;
    let inner = decoder.open(Object::InputBody, &entry.value, entry.key_span)?;
    let body = InputBody {
        required: decoder.leaf(&inner, "required"),
        schema: decoder.named_file(&inner, "schema"),
        max: decoder.size(&inner, "max"),
    };
    Some(spanned(entry, body))
}

// === response ===

fn response(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Response>> {
    let entry = fields.entry("response")?;
    let inner = decoder.open(Object::Response, &entry.value, entry.key_span)?;
    let response = Response {
        status: status(decoder, &inner),
        headers: decoder.template_fields(&inner, "headers"),
        body: response_body(decoder, &inner),
        cache: decoder.leaf(&inner, "cache"),
    };
    Some(spanned(entry, response))
}

/// A number, or text that is a path to one.
fn status(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Node>> {
    let mut found = decoder.text_node(fields, "status")?;
    if let Kind::Text(text) = &found.value.kind
        && !text.fills.is_empty()
        && scalar::resolve(&text.filled()) == Plain::Number
    {
        found.value.kind = Kind::Number(text.filled());
    }
    let fine = match &found.value.kind {
        Kind::Number(digits) => digits
            .parse::<u16>()
            .is_ok_and(|status| (200..=599).contains(&status)),
        Kind::Boolean(_) => false,
        _ => true,
    };
    if fine {
        return Some(found);
    }
    let entry = fields.entry("status")?;
    let source = decoder
        .source(&entry.value)
        .map(|source| format!("what {source} gives is not a status"))
        .unwrap_or_else(|| format!("`{}` is not a status", decoder.quoted(&entry.value)));
    decoder.findings.push(
        Diagnostic::error("R0111", found.span, source)
            .help("write a number from 200 to 599, or a path to one"),
    );
    None
}

fn response_body(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<ResponseBody>> {
    let entry = decoder.one_of(fields, &["body", "text", "pass"])?;
    match entry.key.as_str() {
        "body" => Some(spanned(entry, ResponseBody::Json(entry.value.clone()))),
        "text" => decoder
            .text_node(fields, "text")
            .map(|found| found.map(ResponseBody::Text)),
        _ => decoder
            .leaf::<String>(fields, "pass")
            .map(|found| found.map(ResponseBody::Pass)),
    }
}

// === calls ===

fn calls(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Vec<Call> {
    let Some(entry) = fields.entry("calls") else {
        return Vec::new();
    };
    let entries = decoder.mapping("`calls`", &entry.value, entry.key_span);
    entries
        .unwrap_or_default()
        .iter()
        .map(|entry| call(decoder, entry))
        .collect()
}

fn calls_are_known(fields: &Fields<'_>) -> bool {
    match fields.entry("calls") {
        Some(entry) => matches!(entry.value.kind, Kind::Mapping(_) | Kind::Null),
        None => {
            let is_meant =
                |entry: &Entry| Object::RouteDocument.nearest(&entry.key) == Some("calls");
            !fields.entries.iter().any(is_meant)
        }
    }
}

/// A call whose value is at fault is still one: others may read it.
fn call(decoder: &mut Decoder<'_>, entry: &Entry) -> Call {
    call_name(decoder, entry);
    let opened = decoder.open(Object::Call, &entry.value, entry.key_span);
    let is_open = opened.is_some();
    let fields = opened.unwrap_or(Fields {
        object: Object::Call,
        entries: &[],
        key: entry.key_span,
    });
    let call = Call {
        name: key_name(entry),
        target: is_open.then(|| target(decoder, &fields)).flatten(),
        service: decoder.name(&fields, "service"),
        query: decoder.template_fields(&fields, "query"),
        headers: decoder.template_fields(&fields, "headers"),
        forward_headers: decoder.leaves(&fields, "forward_headers"),
        forward_query: forward_query(decoder, &fields),
        payload: payload(decoder, &fields),
        timeout: decoder.time(&fields, "timeout"),
        attempt_timeout: decoder.time(&fields, "attempt_timeout"),
        retry: retry(decoder, &fields),
        hedge: hedge(decoder, &fields),
        optional: decoder.leaf(&fields, "optional"),
        fallback: fallbacks(decoder, &fields),
        when: decoder.expression(&fields, "when", "present($.profile.body.id)"),
        depends_on: decoder.leaves(&fields, "depends_on"),
        for_each: decoder.expression(&fields, "for_each", "p in $.catalog.body.items"),
        max_items: decoder.count(&fields, "max_items"),
        concurrency: decoder.count(&fields, "concurrency"),
        min_ok: decoder.leaf(&fields, "min_ok"),
        batch: batch(decoder, &fields),
        pass_status: pass_status(decoder, &fields),
        success_when: decoder.expression(&fields, "success_when", "$.reply.status == 200"),
        take: fields.node("take"),
        decode: decoder.leaf(&fields, "decode"),
        max_body: decoder.size(&fields, "max_body"),
        cache: caching(decoder, &fields),
        coalesce: decoder.leaf(&fields, "coalesce"),
        idempotency_key: decoder.text_node(&fields, "idempotency_key"),
        safe: decoder.leaf(&fields, "safe"),
        detached: decoder.leaf(&fields, "detached"),
    };
    keys_of_loops(decoder, &fields);
    call
}

fn call_name(decoder: &mut Decoder<'_>, entry: &Entry) {
    let name = shortened(&entry.key);
    if RESERVED.contains(&entry.key.as_str()) {
        decoder.findings.push(
            Diagnostic::error(
                "R0113",
                entry.key_span,
                format!("`{name}` is a reserved name"),
            )
            .help(format!("paths use it already; write `{name}_call`")),
        );
    } else if !is_identifier(&entry.key) {
        decoder.findings.push(
            Diagnostic::error(
                "R0113",
                entry.key_span,
                format!("`{name}` is not the name of a call"),
            )
            .help(format!(
                "a name has letters, digits and `_`, and begins with no digit: `{}`",
                identifier(name)
            )),
        );
    }
}

fn target(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Target> {
    let names = METHODS.map(|(name, _)| name);
    let Some(entry) = decoder.one_of(fields, &names) else {
        no_target(decoder, fields, &names);
        return None;
    };
    let (_, method) = METHODS.iter().find(|(name, _)| *name == entry.key)?;
    let path = decoder.expression(fields, &entry.key, "/products/{{request.path.id}}")?;
    Some(Target {
        method: Spanned {
            value: method.clone(),
            span: entry.key_span,
            key: entry.key_span,
            is_filled: false,
        },
        path: path.value,
    })
}

fn no_target(decoder: &mut Decoder<'_>, fields: &Fields<'_>, names: &[&str]) {
    let is_meant = |entry: &Entry| {
        Object::Call.key(&entry.key).is_none()
            && (Object::Call
                .nearest(&entry.key)
                .is_some_and(|near| names.contains(&near))
                || Object::Call.instead(&entry.key).is_some())
    };
    if fields.entries.iter().any(is_meant) {
        return;
    }
    decoder.findings.push(
        Diagnostic::error("R0109", fields.key, "a call without a method")
            .help("write `get: /path`, or `head`, `post`, `put`, `patch`, `delete`"),
    );
}

fn forward_query(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<ForwardQuery>> {
    let entry = fields.entry("forward_query")?;
    if matches!(entry.value.kind, Kind::Text(_)) {
        return decoder
            .leaf::<Everything>(fields, "forward_query")
            .map(|found| found.map(|_| ForwardQuery::All));
    }
    decoder
        .leaves::<String>(fields, "forward_query")
        .map(|found| found.map(ForwardQuery::Names))
}

fn payload(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Payload>> {
    let entry = decoder.one_of(fields, &["json", "form", "text", "forward_body"])?;
    match entry.key.as_str() {
        "json" => Some(spanned(entry, Payload::Json(entry.value.clone()))),
        "form" => decoder
            .template_fields(fields, "form")
            .map(|found| found.map(Payload::Form)),
        "text" => decoder
            .text_node(fields, "text")
            .map(|found| found.map(Payload::Text)),
        _ => decoder
            .leaf::<bool>(fields, "forward_body")
            .filter(|forward| forward.value)
            .map(|found| found.map(|_| Payload::Forward)),
    }
}

/// `retry`, of a call, a service or the defaults.
pub fn retry(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Retry>> {
    let entry = fields.entry("retry")?;
    let help = "write `retry: { attempts: 2 }`, or leave it out: it is on by default";
    let Some(inner) = decoder.or_false(fields, "retry", Object::Retry, help)? else {
        return Some(spanned(entry, Retry::Off));
    };
    let options = RetryOptions {
        attempts: decoder.count(&inner, "attempts"),
        only: decoder.leaves(&inner, "only"),
        backoff: decoder.leaf(&inner, "backoff"),
    };
    Some(spanned(entry, Retry::On(options)))
}

fn batch(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Batch>> {
    let entry = fields.entry("batch")?;
    let inner = decoder.open(Object::Batch, &entry.value, entry.key_span)?;
    let batch = Batch {
        key: decoder.text_node(&inner, "key"),
        size: decoder.count(&inner, "size"),
        rows: decoder.expression(&inner, "rows", "$.reply.body.prices[*]"),
        of_row: decoder.text_node(&inner, "match"),
    };
    Some(spanned(entry, batch))
}

/// `cache`, of a call, a service or the defaults.
pub fn caching(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Caching>> {
    let entry = fields.entry("cache")?;
    let help = "write `cache: { ttl: 5m }` or `cache: { ttl: from_headers }`";
    let Some(inner) = decoder.or_false(fields, "cache", Object::Caching, help)? else {
        return Some(spanned(entry, Caching::Off));
    };
    let options = CacheOptions {
        ttl: decoder.leaf(&inner, "ttl"),
        stale_while_revalidate: decoder.time(&inner, "stale_while_revalidate"),
        stale_if_error: decoder.time(&inner, "stale_if_error"),
        negative: decoder.time(&inner, "negative"),
    };
    Some(spanned(entry, Caching::On(options)))
}

fn hedge(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Hedge>> {
    let entry = fields.entry("hedge")?;
    let help = "write `hedge: { after: 90ms }`, or `hedge: { after: p95 }`";
    let inner = decoder.or_false(fields, "hedge", Object::Hedge, help)??;
    let after = decoder.leaf(&inner, "after")?;
    Some(spanned(entry, Hedge { after }))
}

fn fallbacks(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Option<Spanned<Vec<Fallback>>> {
    let entry = fields.entry("fallback")?;
    let items = decoder.list("fallback", &entry.value, entry.key_span)?;
    let chain = items
        .iter()
        .filter_map(|item| fallback(decoder, item))
        .collect();
    Some(spanned(entry, chain))
}

fn fallback(decoder: &mut Decoder<'_>, node: &Node) -> Option<Fallback> {
    let fields = decoder.open(Object::Fallback, node, node.span)?;
    let only = decoder.leaf::<NotSent>(&fields, "only");
    let Some(entry) = decoder.one_of(&fields, &["stale", "call", "value"]) else {
        let all_known = |entry: &Entry| Object::Fallback.key(&entry.key).is_some();
        if fields.entries.iter().all(all_known) {
            decoder.findings.push(
                Diagnostic::error(
                    "R0109",
                    node.span,
                    "a fallback without `stale`, `call` or `value`",
                )
                .help("write `{ stale: 60s }`, `{ call: NAME }` or `{ value: … }`"),
            );
        }
        return None;
    };
    let source = match entry.key.as_str() {
        "stale" => FallbackSource::Stale(decoder.time(&fields, "stale")?),
        "call" => FallbackSource::Call(decoder.leaf(&fields, "call")?),
        _ => FallbackSource::Value(spanned(entry, entry.value.clone())),
    };
    Some(Fallback {
        span: node.span,
        source,
        only_not_sent: only.map(|found| found.span),
    })
}

fn pass_status(
    decoder: &mut Decoder<'_>,
    fields: &Fields<'_>,
) -> Option<Spanned<Vec<Spanned<u16>>>> {
    let found = decoder.leaves::<ErrorStatus>(fields, "pass_status")?;
    Some(found.map(|statuses| {
        statuses
            .into_iter()
            .map(|status| status.map(|status| status.0))
            .collect()
    }))
}

/// The keys that say something about `for_each` only.
fn keys_of_loops(decoder: &mut Decoder<'_>, fields: &Fields<'_>) {
    let Some(entry) = fields.entry("for_each") else {
        for entry in fields.of(&["max_items", "concurrency", "min_ok", "batch"]) {
            let message = format!("`{}` without `for_each`", entry.key);
            decoder.findings.push(
                Diagnostic::error("R0112", entry.key_span, message)
                    .help("remove it, or write `for_each: p in PATH`"),
            );
        }
        return;
    };
    if fields.entry("max_items").is_none() {
        decoder.findings.push(
            Diagnostic::error("R0109", entry.key_span, "`for_each` without `max_items`")
                .help("write `max_items: 40`: the longest list that may fan out"),
        );
    }
}

// === names ===

fn key_name(entry: &Entry) -> Spanned<String> {
    Spanned {
        value: entry.key.clone(),
        span: entry.key_span,
        key: entry.key_span,
        is_filled: false,
    }
}

/// Whether this may name a call or a variable.
pub fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The nearest identifier.
fn identifier(name: &str) -> String {
    let mut out: String = name
        .chars()
        .map(|character| match character.is_ascii_alphanumeric() {
            true => character,
            false => '_',
        })
        .collect();
    if !out.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        out.insert(0, '_');
    }
    out
}

impl Decoder<'_> {
    pub fn time(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> Option<Spanned<std::time::Duration>> {
        self.leaf::<Time>(fields, name)
            .map(|found| found.map(|time| time.0))
    }

    pub fn size(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<u64>> {
        self.leaf::<Size>(fields, name)
            .map(|found| found.map(|size| size.0))
    }

    /// A JSON number, digit by digit.
    fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<String>> {
        let entry = fields.entry(name)?;
        let digits = match &entry.value.kind {
            Kind::Number(digits) => digits.clone(),
            Kind::Text(text) if !text.fills.is_empty() && scalar::is_number(&text.filled()) => {
                text.filled()
            }
            Kind::Broken => return None,
            _ => {
                let message = match self.source(&entry.value) {
                    Some(source) => format!("what {source} gives is not a number"),
                    None => format!("`{name}` is a number, not {}", entry.value.what()),
                };
                let found = spanned(entry, ());
                self.findings.push(
                    Diagnostic::error("R0110", found.span, message)
                        .help("write it like `1` or `0.5`"),
                );
                return None;
            }
        };
        Some(spanned(entry, digits))
    }

    /// The name of a route or a service.
    pub fn name(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<String>> {
        let found = self.leaf::<String>(fields, name)?;
        let entry = fields.entry(name)?;
        let source = self.source(&entry.value);
        let shown = source.unwrap_or_else(|| format!("`{}`", shortened(&found.value)));
        self.check_name(&found.value, &shown, found.span)
            .then_some(found)
    }

    /// Whether `name` may name a route or a service; `shown` is how a finding calls it.
    pub fn check_name(&mut self, name: &str, shown: &str, span: Span) -> bool {
        let fine = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !fine {
            self.findings.push(
                Diagnostic::error("R0113", span, format!("{shown} is not a name")).help(
                    "a name has letters, digits, `_`, `-` and `.`, and begins with a letter or `_`",
                ),
            );
        }
        fine
    }

    /// The first of these keys; a second one is a finding.
    pub fn one_of<'n>(&mut self, fields: &Fields<'n>, names: &[&str]) -> Option<&'n Entry> {
        let found = fields.of(names);
        let first = *found.first()?;
        for more in &found[1..] {
            let message = format!("`{}` beside `{}`", more.key, first.key);
            self.findings.push(
                Diagnostic::error("R0112", more.key_span, message)
                    .also(first.key_span, "first here")
                    .help("only one of them may stand here"),
            );
        }
        Some(first)
    }

    /// `version: 1`, the only one there is.
    pub fn version(&mut self, fields: &Fields<'_>) {
        let Some(found) = self.leaf::<u32>(fields, "version") else {
            return;
        };
        if found.value != 1 {
            self.findings.push(
                Diagnostic::error("R0111", found.span, "there is only version 1 of the format")
                    .help("write `version: 1`, or leave the key out"),
            );
        }
    }
}
