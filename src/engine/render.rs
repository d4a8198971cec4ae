//! Layer 1 of a call: its templates become the bytes that will be sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::Instant;

use crate::engine::context::Context;
use crate::engine::fetch::Exchange;
use crate::engine::request::RequestBody;
use crate::json::{Kind, Value};
use crate::path::{Env, Frame};
use crate::plan::{Body, CallId, ForwardQuery, Part, Route};
use crate::template::choice::Choice;
use crate::template::escape::{push_form, push_query as push_pair};
use crate::template::{Failure, FailureKind};

/// Renders one call, or one element of it.
pub fn exchange(
    route: &Arc<Route>,
    id: CallId,
    context: &Context<'_>,
    frame: Option<&Frame<'_>>,
    deadline: Instant,
) -> Result<Exchange, Failure> {
    let call = &route.calls[id.0];
    let env = context.env(frame);
    let mut target = String::with_capacity(64);
    call.path.render(&env, &mut target)?;
    push_query(&mut target, route, id, context, &env)?;
    let mut headers = HeaderMap::with_capacity(8);
    let body = body(route, id, context, &env, &mut headers)?;
    for name in &call.forward_headers {
        for value in context.accepted.request.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    set_headers(&mut headers, &call.headers, &env)?;
    if let Some(key) = &call.idempotency_key {
        let mut text = String::new();
        key.render(&env, &mut text)?;
        let name = HeaderName::from_static("idempotency-key");
        headers.insert(name, header_value(&text, key_path())?);
    }
    Ok(Exchange {
        route: Arc::clone(route),
        call: id,
        target,
        headers,
        body,
        deadline,
        identity: Arc::clone(&context.accepted.request.identity),
    })
}

fn key_path() -> &'static str {
    "idempotency_key"
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
        each_text(part, env, |text| {
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

/// Sets `headers` on top: each name replaces what stood under it, an array repeats it.
fn set_headers(
    headers: &mut HeaderMap,
    parts: &[(HeaderName, Part)],
    env: &Env<'_>,
) -> Result<(), Failure> {
    for (name, part) in parts {
        let mut is_first = true;
        each_text(part, env, |text| {
            let value = header_value(text, name.as_str())?;
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
                each_text(part, env, |text| {
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

/// Gives each text that a part stands for: none if it is absent, several for an array.
pub fn each_text(
    part: &Part,
    env: &Env<'_>,
    mut give: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    give_texts(part, env, &mut give)
}

fn give_texts(
    part: &Part,
    env: &Env<'_>,
    give: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match part {
        Part::Constant(text) => give(text),
        Part::List(parts) => parts
            .iter()
            .try_for_each(|part| give_texts(part, env, give)),
        Part::Text(text) => {
            let mut out = String::new();
            text.render(env, &mut out)?;
            give(&out)
        }
        Part::Choice(choice) => {
            let mut out = Vec::new();
            if !choice.render(env, &mut out) {
                return Ok(());
            }
            let value = Value::trusted(&out);
            if value.kind() != Kind::Array {
                return give(&scalar(value, choice)?);
            }
            for element in value.elements().filter(|element| !element.is_null()) {
                give(&scalar(element, choice)?)?;
            }
            Ok(())
        }
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
pub fn header_value(text: &str, path: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Failure {
        kind: FailureKind::Bad,
        path: path.to_owned(),
        root: None,
        message: "it has a control character, which may not stand in a header".to_owned(),
    })
}
