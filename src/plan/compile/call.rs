//! One call: its keys, with what `service` and `defaults` say, as the engine and the ladder want it.

use std::time::Duration;

use http::Method;

use crate::config::document::{self, Payload, Shared, Spanned};
use crate::config::node::{Entry, Node};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::path::Condition;
use crate::plan::compile::names::{Names, Reader, list};
use crate::plan::compile::retry::LEAST_ATTEMPT;
use crate::plan::compile::services::Services;
use crate::plan::compile::{batch, cache, chain, headers, retry, templates};
use crate::plan::settings::Service;
use crate::plan::timeline::call_time;
use crate::plan::{
    Body, Call, CallId, Decode, ForEach, ForwardQuery, Part, Role, ServiceId, Source,
};
use crate::policy::hedge;
use crate::template::{Place, Text, url};

/// What a call is compiled in.
pub struct Surroundings<'s, 'd> {
    pub services: &'s mut Services<'d>,
    pub defaults: &'d Shared,
    /// The route's.
    pub timeout: Duration,
    /// Of a fallback call: the call it stands in for, if there is but one.
    pub owner: Option<&'d document::Call>,
}

const BUILT_IN_BODY: u64 = 1024 * 1024;

/// Compiles one call; `None` where it lacks what everything else needs. Its needs come later, from
/// the graph.
pub fn compile(
    id: CallId,
    call: &document::Call,
    role: Role,
    names: &mut Names,
    surroundings: &mut Surroundings<'_, '_>,
) -> Option<Call> {
    let document::Call {
        name,
        target,
        service: _,
        query,
        headers,
        forward_headers,
        forward_query,
        payload,
        timeout,
        attempt_timeout,
        retry,
        hedge,
        optional,
        fallback,
        when,
        depends_on: _,
        for_each,
        max_items,
        concurrency,
        min_ok,
        batch,
        pass_status,
        success_when,
        take,
        decode,
        max_body,
        cache,
        coalesce,
        idempotency_key,
        safe,
        detached: _,
    } = call;
    refuse_keys(call, role, names);
    names.reading(Reader::Call(id), name.span);
    let target = target.as_ref();
    let method = target.map_or(Method::GET, |target| target.method.value.clone());
    let looped = for_each.as_ref().and_then(|node| {
        names.reading(Reader::Call(id), node.span);
        templates::enter_loop(&node.value, names)
    });
    let owners_loop = owners_loop(call, surroundings.owner);
    if let Some(node) = owners_loop {
        let before = names.diagnostics.len();
        templates::enter_loop(node, names);
        // What is wrong with it is said of its owner.
        names.diagnostics.truncate(before);
    }
    let chain = chain::compile(id, fallback.as_ref(), names);
    let batch = batch
        .as_ref()
        .map(|written| batch::enter_keys(id, &written.value, looped.as_ref(), names));
    let (service, path) = match target {
        Some(target) => {
            names.reading(Reader::Call(id), target.path.span);
            let service = resolve_service(call, &target.path, names, surroundings);
            (service, compile_path(&target.path, names))
        }
        None => (None, None),
    };
    let shared = service.and_then(|service| surroundings.services.shared(service));
    let default_headers = [
        surroundings.defaults.headers.as_ref(),
        shared.and_then(|s| s.headers.as_ref()),
    ];
    let forward_headers = headers::forwarded(forward_headers.as_ref(), names);
    let query = compile_entries(id, query.as_ref(), names, Place::Query);
    let reported = &mut surroundings.services.reported;
    let headers = headers::compile(id, default_headers, headers.as_ref(), reported, names);
    let body = compile_payload(id, payload.as_ref(), names);
    let idempotency_key = idempotency_key.as_ref().and_then(|node| {
        names.reading(Reader::Call(id), node.span);
        templates::text(&node.value, names, Place::Header)
    });
    let batch = batch.map(|batch| batch::enter_row(id, call, batch, names));
    let when = when.as_ref().and_then(|node| {
        names.reading(Reader::Call(id), node.span);
        templates::condition(&node.value, names)
    });
    let when_per_element = looped.is_some()
        && when
            .as_ref()
            .is_some_and(|when| reads_loop(when.text(), for_each));
    let take = take.as_ref().map(|node| {
        names.reading(Reader::Take(id), node.span);
        templates::json(&node.value, names)
    });
    if batch.is_some() {
        names.leave();
    }
    let success_when = success_when.as_ref().and_then(|node| {
        names.reading(Reader::SuccessWhen(id), node.span);
        templates::condition(&node.value, names)
    });
    if for_each.is_some() || owners_loop.is_some() {
        names.leave();
    }
    let is_safe = safe.as_ref().is_some_and(|safe| safe.value);
    let has_key = idempotency_key.is_some();
    let asks = asks_only(&method, is_safe);
    let is_idempotent = !matches!(method, Method::POST | Method::PATCH);
    let repeatable = is_idempotent || is_safe || has_key;
    let write = !is_idempotent && !is_safe;
    let shared_of = |pick: fn(&Shared) -> Option<&Spanned<Duration>>| {
        shared
            .and_then(pick)
            .or_else(|| pick(surroundings.defaults))
            .map(|found| found.value)
    };
    let own_timeout = timeout.as_ref().map(|timeout| timeout.value);
    let timeout_value = own_timeout.or_else(|| shared_of(|shared| shared.timeout.as_ref()));
    let timeout_value = match role {
        Role::Detached => Some(timeout_value.unwrap_or(Duration::from_secs(2))),
        _ => timeout_value,
    };
    let own_attempt = attempt_timeout.as_ref();
    let attempt = own_attempt
        .map(|attempt| attempt.value)
        .or_else(|| shared_of(|shared| shared.attempt_timeout.as_ref()));
    let streams = role == Role::Pass && matches!(body, Body::Forward);
    let inherited = shared
        .and_then(|shared| shared.retry.as_ref())
        .or(surroundings.defaults.retry.as_ref());
    let mut retry_value = retry::compile(retry.as_ref(), inherited, repeatable && !streams, names);
    let time = timeout_value.unwrap_or(call_time(surroundings.timeout));
    let attempt_timeout_value = retry::attempt_clock(&mut retry_value, time, attempt);
    if let Some(span) = own_attempt
        .map(|attempt| attempt.span)
        .or(retry.as_ref().map(|retry| retry.span))
    {
        retry::warn_late_attempts(&retry_value, time, attempt_timeout_value, span, names);
    }
    let most = match role {
        Role::Detached => time,
        _ => time.min(call_time(surroundings.timeout)),
    };
    check_time(name, timeout.as_ref(), most, names);
    // PUT and DELETE may be repeated, but a fallback call is another request altogether.
    let is_write = write || matches!(method, Method::PUT | Method::DELETE);
    chain::check(call, service, is_write && !has_key, names, surroundings);
    chain::check_stale(call, asks, names);
    // A detached call has no hedge whatever it asks: `refuse_keys` says so.
    let hedge = hedge.as_ref().filter(|_| role != Role::Detached);
    let hedge = compile_hedge(hedge, name, &method, asks, names);
    let for_each = looped.map(|(variable, source)| {
        let is_optional = optional.as_ref().is_some_and(|optional| optional.value);
        let max_items = max_items.as_ref().map_or(1, |most| most.value as usize);
        ForEach {
            variable,
            source,
            max_items,
            concurrency: concurrency.as_ref().map_or(8, |most| most.value as usize),
            min_ok: match (is_optional, min_ok) {
                (true, _) => 0.0,
                (false, Some(percent)) => f64::from(percent.value.0) / 100.0,
                (false, None) => 100.0,
            },
            batch: batch.and_then(|batch| batch.finish(max_items)),
        }
    });
    let sections = [shared, Some(surroundings.defaults)];
    let kept = cache::Written {
        call,
        cache: cache.as_ref(),
        coalesce: coalesce.as_ref(),
        inherited: &sections.map(|section| section.and_then(|shared| shared.cache.as_ref())),
        inherited_coalesce: &sections
            .map(|section| section.and_then(|shared| shared.coalesce.as_ref())),
        is_passed: role == Role::Pass,
        asks: asks && role != Role::Detached,
        method: &method,
        headers: &headers,
        forward_headers: &forward_headers,
    };
    let (cache, coalesce) = cache::compile(&kept, names);
    let most_body = max_body
        .as_ref()
        .or(shared.and_then(|shared| shared.max_body.as_ref()))
        .or(surroundings.defaults.max_body.as_ref());
    let bulk = for_each
        .as_ref()
        .and_then(|for_each| for_each.batch.as_ref());
    let is_broken = |key: bool, is_compiled: bool| key && !is_compiled;
    if is_broken(call.for_each.is_some(), for_each.is_some())
        || is_broken(call.batch.is_some(), bulk.is_some())
    {
        return None;
    }
    let service = service?;
    let decode = compile_decode(decode.as_ref());
    let asked = &surroundings.services.compiled[service.0];
    let key_prefix = key_prefix(asked, decode, success_when.as_ref());
    Some(Call {
        name: name.value.clone(),
        service,
        role,
        path: path?,
        method,
        query,
        headers,
        forward_headers,
        forward_query: match forward_query.as_ref().map(|forward| &forward.value) {
            None => ForwardQuery::Names(Vec::new()),
            Some(document::ForwardQuery::All) => ForwardQuery::All,
            Some(document::ForwardQuery::Names(list)) => {
                ForwardQuery::Names(list.iter().map(|name| name.value.clone()).collect())
            }
        },
        body,
        timeout: timeout_value,
        attempt_timeout: attempt_timeout_value,
        retry: retry_value,
        hedge,
        optional: optional.as_ref().is_some_and(|optional| optional.value),
        fallback: chain,
        when,
        when_per_element,
        needs: Vec::new(),
        unblocks: Vec::new(),
        for_each,
        pass_status: pass_status
            .iter()
            .flat_map(|list| &list.value)
            .map(|one| one.value)
            .collect(),
        success_when,
        take,
        decode,
        max_body: most_body.map_or(BUILT_IN_BODY, |most| most.value) as usize,
        cache,
        coalesce,
        idempotency_key,
        repeatable,
        write,
        key_prefix,
        keeps_headers: true,
        raw_demand: Default::default(),
        taken_demand: None,
    })
}

/// Keys that have no place on a call of this role.
fn refuse_keys(call: &document::Call, role: Role, names: &mut Names) {
    fn key<T>(value: &Option<Spanned<T>>) -> Option<Span> {
        value.as_ref().map(|value| value.key)
    }
    let optional = call
        .optional
        .as_ref()
        .filter(|optional| optional.value)
        .map(|optional| optional.key);
    let detached = call
        .detached
        .as_ref()
        .filter(|detached| detached.value)
        .map(|detached| detached.key);
    let fallback = call
        .fallback
        .as_ref()
        .filter(|chain| !chain.value.is_empty())
        .map(|chain| chain.key);
    let refuse = |found: &[(&str, Option<Span>)], on: &str, help: &str, names: &mut Names| {
        for (name, span) in found {
            if let Some(span) = span {
                let message = format!("`{name}` has no place on {on}");
                names
                    .diagnostics
                    .push(Diagnostic::error("R0210", *span, message).help(help));
            }
        }
    };
    // A body that streams is gone when it has been sent.
    let streams = matches!(
        call.payload.as_ref().map(|payload| &payload.value),
        Some(Payload::Forward)
    );
    match role {
        Role::Pass => refuse(
            &[
                ("hedge", key(&call.hedge).filter(|_| streams)),
                ("cache", key(&call.cache).filter(|_| streams)),
                ("coalesce", key(&call.coalesce).filter(|_| streams)),
                ("max_body", key(&call.max_body)),
                ("take", key(&call.take)),
                ("decode", key(&call.decode)),
                ("success_when", key(&call.success_when)),
                ("optional", optional),
                ("fallback", fallback),
                ("when", key(&call.when)),
                ("for_each", key(&call.for_each)),
                ("pass_status", key(&call.pass_status)),
                ("detached", detached),
            ],
            "a call that is passed",
            "its status, headers and body go through as they come; take the key away",
            names,
        ),
        Role::Fallback => refuse(
            &[
                ("fallback", fallback),
                ("optional", optional),
                ("when", key(&call.when)),
                ("for_each", key(&call.for_each)),
                ("pass_status", key(&call.pass_status)),
                ("detached", detached),
            ],
            "a call that is a fallback",
            "it stands in for another call: say this on that one",
            names,
        ),
        Role::Detached => refuse(
            &[
                ("hedge", key(&call.hedge)),
                ("cache", key(&call.cache)),
                ("coalesce", key(&call.coalesce)),
                ("optional", optional),
                ("fallback", fallback),
                ("pass_status", key(&call.pass_status)),
                ("take", key(&call.take)),
                ("for_each", key(&call.for_each)),
            ],
            "a detached call",
            "nobody waits for it and nobody reads it; take the key away",
            names,
        ),
        Role::Normal => {
            let pass_status = key(&call.pass_status);
            if optional.is_some() {
                let found = [("pass_status", pass_status)];
                refuse(
                    &found,
                    "an optional call",
                    "an optional call never decides the answer",
                    names,
                );
            } else if call.for_each.is_some() {
                let found = [("pass_status", pass_status)];
                refuse(
                    &found,
                    "a `for_each` call",
                    "one element never decides the answer",
                    names,
                );
            }
        }
    }
}

/// The loop that a fallback call runs in: that of the call it stands in for.
fn owners_loop<'d>(call: &document::Call, owner: Option<&'d document::Call>) -> Option<&'d Node> {
    let node = owner?.for_each.as_ref()?;
    call.for_each.is_none().then_some(&node.value)
}

/// Whether a condition reads the variable of the call's own loop.
fn reads_loop(condition: &str, for_each: &Option<Spanned<Node>>) -> bool {
    let text = for_each.as_ref().and_then(|node| node.value.text());
    let variable = text
        .and_then(|text| text.source.split_once(" in "))
        .map(|(name, _)| name.trim());
    variable.is_some_and(|variable| {
        let names = [
            format!("$.{variable}"),
            format!("$['{variable}']"),
            format!("$[\"{variable}\"]"),
        ];
        let each = condition.contains("$.each.");
        each || names.iter().any(|name| {
            condition.match_indices(name.as_str()).any(|(place, _)| {
                let after = condition[place + name.len()..].chars().next();
                !after.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-')
            })
        })
    })
}

fn compile_path(node: &Node, names: &mut Names) -> Option<Text> {
    let source = node.text()?;
    let start = match url::origin(&source.source, &source.fills) {
        Ok(origin) => origin.map_or(0, |origin| origin.rest),
        // `resolve_service` says it.
        Err(_) => return None,
    };
    let path = match &source.source[start..] {
        "" => "/",
        path => path,
    };
    let mut text = match Text::parse(path, &source.fills, Place::Path) {
        Ok(text) => templates::bound(node, start, names, text, Text::bind)?,
        Err(error) => {
            let found = templates::placed(node, "R0403", start, error);
            names.diagnostics.push(found);
            return None;
        }
    };
    let rest = names.rest_parameter();
    let sources = &names.sources;
    text.mark_rest(|root| match &sources[root.0 as usize] {
        Source::Request(crate::plan::RequestPart::Path(Some(place))) => rest == Some(*place),
        _ => false,
    });
    Some(text)
}

fn resolve_service(
    call: &document::Call,
    path: &Node,
    names: &mut Names,
    surroundings: &mut Surroundings<'_, '_>,
) -> Option<ServiceId> {
    let source = path.text()?;
    match url::origin(&source.source, &source.fills) {
        Ok(None) => {}
        Ok(Some(origin)) => {
            if let Some(service) = &call.service {
                let message = "a full URL beside `service`";
                let found = Diagnostic::error("R0504", path.span, message)
                    .also(service.span, "the service is named here");
                names
                    .diagnostics
                    .push(found.help("write the path only, or take `service` away"));
            }
            return match surroundings.services.of_url(&origin.url) {
                Some(service) => Some(service),
                None => {
                    let found =
                        Diagnostic::error("R0504", path.span, "a URL that is not understood");
                    names
                        .diagnostics
                        .push(found.help("write `http://host:port/path`"));
                    None
                }
            };
        }
        Err(error) => {
            let span = path.part(error.offset, error.length);
            let mut found = Diagnostic::error("R0504", span, error.message);
            found.help = error.help;
            names.diagnostics.push(found);
            return None;
        }
    }
    let written = call.service.as_ref().unwrap_or(&call.name);
    let (name, span, shown) = (written.value.as_str(), written.span, written.shown());
    let found = surroundings.services.named(name);
    if found.is_none() && !surroundings.services.are_incomplete {
        let known: Vec<&str> = surroundings.services.names().collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) if call.service.is_some() => format!("did you mean `{near}`?"),
            Some(near) => format!(
                "did you mean `{near}`? Or write `service: NAME`, by default it is the call's own name"
            ),
            None if known.is_empty() => format!(
                "write it in a document of its own: `services: {{ {shown}: {{ url: \"http://…\" }} }}`"
            ),
            None => format!(
                "the services are {}; by default a call's service is its own name",
                list(known.into_iter())
            ),
        };
        let message = format!("unknown service `{shown}`");
        names
            .diagnostics
            .push(Diagnostic::error("R0204", span, message).help(help));
    }
    found
}

fn compile_entries(
    id: CallId,
    entries: Option<&Spanned<Vec<Entry>>>,
    names: &mut Names,
    place: Place,
) -> Vec<(String, Part)> {
    let mut parts = Vec::new();
    for entry in entries.iter().flat_map(|entries| &entries.value) {
        names.reading(Reader::Call(id), entry.value.span);
        if let Some(part) = templates::part(&entry.value, names, place) {
            parts.push((entry.key.clone(), part));
        }
    }
    parts
}

fn compile_payload(id: CallId, payload: Option<&Spanned<Payload>>, names: &mut Names) -> Body {
    let Some(payload) = payload else {
        return Body::None;
    };
    names.reading(Reader::Call(id), payload.span);
    match &payload.value {
        Payload::Json(node) => Body::Json(templates::json(node, names)),
        Payload::Text(node) => match templates::text(node, names, Place::Plain) {
            Some(text) => Body::Text(text),
            None => Body::None,
        },
        Payload::Form(entries) => {
            let mut parts = Vec::new();
            for entry in entries {
                names.reading(Reader::Call(id), entry.value.span);
                if let Some(part) = templates::part(&entry.value, names, Place::Query) {
                    parts.push((entry.key.clone(), part));
                }
            }
            Body::Form(parts)
        }
        Payload::Forward => Body::Forward,
    }
}

/// A GET or HEAD, or a POST or PATCH that says so: asked twice it does no harm, and an old answer to it
/// is still an answer.
fn asks_only(method: &Method, is_safe: bool) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        Method::PUT | Method::DELETE => false,
        _ => is_safe,
    }
}

fn compile_hedge(
    hedge: Option<&Spanned<document::Hedge>>,
    name: &Spanned<String>,
    method: &Method,
    asks: bool,
    names: &mut Names,
) -> Option<hedge::After> {
    let hedge = hedge?;
    if asks {
        return Some(hedge.value.after.value);
    }
    let message = format!("`{}` writes, and a hedge would write twice", name.value);
    let help = match *method {
        Method::PUT | Method::DELETE => "take `hedge` away",
        _ => "take `hedge` away, or write `safe: true` if the call only asks",
    };
    names
        .diagnostics
        .push(Diagnostic::error("R0508", hedge.key, message).help(help));
    None
}

fn compile_decode(decode: Option<&Spanned<document::Decode>>) -> Decode {
    match decode.map(|decode| decode.value) {
        None | Some(document::Decode::Auto) => Decode::Auto,
        Some(document::Decode::Json) => Decode::Json,
        Some(document::Decode::Text) => Decode::Text,
        Some(document::Decode::None) => Decode::None,
    }
}

/// What two calls must have in common to share an answer. The parts end with control characters,
/// which neither names nor URLs hold; the condition, which may hold anything, comes last.
fn key_prefix(service: &Service, decode: Decode, success_when: Option<&Condition>) -> String {
    let mut prefix = format!("{}\u{1e}", service.name);
    for endpoint in &service.endpoints {
        let scheme = if endpoint.https { "https" } else { "http" };
        let (authority, path) = (&endpoint.authority, &endpoint.prefix);
        prefix.push_str(&format!("{scheme}://{authority}{path}\u{1f}"));
    }
    let decode = match decode {
        Decode::Auto => "auto",
        Decode::Json => "json",
        Decode::Text => "text",
        Decode::None => "none",
    };
    let condition = success_when.map_or("", Condition::text);
    prefix.push_str(&format!("\u{1e}{decode}\u{1e}{condition}"));
    prefix
}

fn check_time(
    name: &Spanned<String>,
    timeout: Option<&Spanned<Duration>>,
    time: Duration,
    names: &mut Names,
) {
    if time < LEAST_ATTEMPT {
        let span = timeout.map_or(name.span, |timeout| timeout.span);
        let message = format!("no attempt of `{}` can ever start", name.value);
        let help =
            "a call needs at least 10 ms, and a route keeps 20 ms for stitching: raise the timeout";
        names
            .diagnostics
            .push(Diagnostic::error("R0301", span, message).help(help));
    }
}
