//! Layer 1 of a call: its templates become the bytes that will be sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;

use crate::engine::context::Context;
use crate::engine::fetch::{Exchange, Made};
use crate::engine::request::{Request, RequestBody};
use crate::json::{Kind, Value};
use crate::path::{Env, Frame, Root};
use crate::plan::{Body, Call, CallId, ForwardQuery, Part, Route};
use crate::template::choice::Choice;
use crate::template::escape::{push_form, push_query as push_pair};
use crate::template::{Failure, FailureKind};

/// By when an exchange has to end, and whether that is the route's end or the call's own.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub deadline: Instant,
    pub ends_with_route: bool,
}

/// Renders one call, or one element of it.
pub fn exchange(
    route: &Arc<Route>,
    id: CallId,
    context: &Context<'_>,
    frame: Option<&Frame<'_>>,
    ends: Ends,
) -> Result<Exchange, Failure> {
    let call = &route.calls[id.0];
    let env = context.env(frame);
    let mut target = String::with_capacity(64);
    call.path.render(&env, &mut target)?;
    push_query(&mut target, route, id, context, &env)?;
    let mut headers = HeaderMap::new();
    let body = body(route, id, context, &env, &mut headers)?;
    forward_headers(&mut headers, call, &context.accepted.request);
    set_headers(&mut headers, &call.headers, &env)?;
    if let Some(key) = &call.idempotency_key {
        let mut text = String::new();
        key.render(&env, &mut text)?;
        let name = HeaderName::from_static("idempotency-key");
        let refuse = |refusal| bad("idempotency_key", None, refusal);
        headers.insert(name, header_value(&text).map_err(refuse)?);
    }
    Ok(Exchange {
        route: Arc::clone(route),
        call: id,
        target,
        headers,
        body,
        deadline: ends.deadline,
        ends_with_route: ends.ends_with_route,
        made: Made::default(),
        identity: Arc::clone(&context.accepted.request.identity),
    })
}

fn push_query(
    target: &mut String,
    route: &Route,
    id: CallId,
    context: &Context<'_>,
    env: &Env<'_>,
) -> Result<(), Failure> {
    let call = &route.calls[id.0];
    let mut query = String::new();
    let is_set = |name: &str| call.query.iter().any(|(key, _)| key == name);
    let is_forwarded = |name: &str| match &call.forward_query {
        ForwardQuery::All => !is_set(name),
        ForwardQuery::Names(names) => !is_set(name) && names.iter().any(|known| known == name),
    };
    for (name, value) in &context.accepted.request.query {
        if is_forwarded(name) {
            push_pair(&mut query, name, value);
        }
    }
    for (name, part) in &call.query {
        each_text(part, env, Absent::Fails, &mut |text| {
            push_pair(&mut query, name, text);
            Ok(())
        })?;
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    Ok(())
}

/// Copies from the client what no other key of the call speaks of, be it with an absent value. The range
/// of a HEAD means nothing (RFC 9110 §14.2), but would if it were sent with a GET.
fn forward_headers(headers: &mut HeaderMap, call: &Call, request: &Request) {
    for name in &call.forward_headers {
        let is_set = headers.contains_key(name) || call.headers.iter().any(|(set, _)| set == name);
        let is_void = request.method == Method::HEAD && name == header::RANGE;
        if !is_set && !is_void {
            for value in request.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Sets `headers` on top: each name replaces what stood under it, an array repeats it.
fn set_headers(
    headers: &mut HeaderMap,
    parts: &[(HeaderName, Part)],
    env: &Env<'_>,
) -> Result<(), Failure> {
    for (name, part) in parts {
        let mut is_first = true;
        each_text(part, env, Absent::Fails, &mut |text| {
            let value = header_value(text)?;
            if std::mem::take(&mut is_first) {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn body(
    route: &Route,
    id: CallId,
    context: &Context<'_>,
    env: &Env<'_>,
    headers: &mut HeaderMap,
) -> Result<Bytes, Failure> {
    let (content_type, bytes) = match &route.calls[id.0].body {
        Body::None => return Ok(Bytes::new()),
        Body::Json(json) => {
            let mut out = Vec::with_capacity(256);
            if !json.render(env, &mut out)? {
                out.extend_from_slice(b"null");
            }
            ("application/json", Bytes::from(out))
        }
        Body::Form(fields) => {
            let mut out = String::new();
            for (name, part) in fields {
                each_text(part, env, Absent::Fails, &mut |text| {
                    push_form(&mut out, name, text);
                    Ok(())
                })?;
            }
            ("application/x-www-form-urlencoded", Bytes::from(out))
        }
        Body::Text(text) => {
            let mut out = String::new();
            text.render(env, &mut out)?;
            ("text/plain; charset=utf-8", Bytes::from(out))
        }
        Body::Forward => {
            let request = &context.accepted.request;
            if let Some(value) = request.headers.get(header::CONTENT_TYPE) {
                headers.insert(header::CONTENT_TYPE, value.clone());
            }
            return Ok(match &request.body {
                RequestBody::Read(bytes) => bytes.clone(),
                RequestBody::Stream(_) => Bytes::new(),
            });
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(bytes)
}

/// What an absent value in a text of a [`Part`] means. A path that is absent always leaves its entry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is a failure: in all that is sent to a service.
    Fails,
    /// The entry is left out: in the headers of the answer.
    LeavesOut,
}

/// Gives each text that a part stands for: none if it is absent, several for an array. What `give`
/// refuses is a bad value of the part.
pub fn each_text(
    part: &Part,
    env: &Env<'_>,
    absent: Absent,
    give: &mut dyn FnMut(&str) -> Result<(), &'static str>,
) -> Result<(), Failure> {
    match part {
        Part::Constant(text) => give(text).map_err(|refusal| bad(text, None, refusal)),
        Part::List(parts) => parts
            .iter()
            .try_for_each(|part| each_text(part, env, absent, give)),
        Part::Text(text) => {
            let mut out = String::new();
            match absent {
                Absent::Fails => text.render(env, &mut out)?,
                Absent::LeavesOut if !text.render_present(env, &mut out)? => return Ok(()),
                Absent::LeavesOut => {}
            }
            let root = text.required_roots().first().copied();
            give(&out).map_err(|refusal| bad("a text", root, refusal))
        }
        Part::Choice(choice) => {
            let mut out = Vec::new();
            if !choice.render(env, &mut out) {
                return Ok(());
            }
            let mut give_one = |value: Value<'_>| {
                let refuse = |refusal| bad(choice.text(), choice.root(), refusal);
                give(&scalar(value, choice)?).map_err(refuse)
            };
            let value = Value::trusted(&out);
            if value.kind() != Kind::Array {
                return give_one(value);
            }
            let mut present = value.elements().filter(|element| !element.is_null());
            present.try_for_each(&mut give_one)
        }
    }
}

fn bad(path: &str, root: Option<Root>, refusal: &str) -> Failure {
    Failure {
        kind: FailureKind::Bad,
        path: path.to_owned(),
        root,
        message: refusal.to_owned(),
    }
}

/// A text, number or boolean as text.
fn scalar<'a>(value: Value<'a>, choice: &Choice) -> Result<std::borrow::Cow<'a, str>, Failure> {
    if let Some(text) = value.text() {
        return Ok(text);
    }
    match value.kind() {
        Kind::Array | Kind::Object => {
            Err(choice
                .failure("it is an object or a list, where a text, number or boolean is needed"))
        }
        _ => Ok(String::from_utf8_lossy(value.bytes())),
    }
}

/// Refuses what may not stand in a header (`resilience.md` §5).
pub fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| "it has a control character, which may not stand in a header")
}
