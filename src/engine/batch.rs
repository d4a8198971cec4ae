//! The answer to a `batch` call, taken apart: which row belongs to which key.
//!
//! Of the context document only `$.reply` and `$.row` are read here, so that who fetches rows in the
//! background, without a run, can do it too.

use std::collections::HashSet;

use bytes::Bytes;

use crate::engine::fetch::{Answer, Exchange};
use crate::engine::judge::ReplyScope;
use crate::engine::outcome::Outcome;
use crate::json::{Body, Value};
use crate::path::{Env, Frame};
use crate::plan::{CallId, Route};

/// The rows of an answer to this exchange, by the text of the key that each belongs to.
pub fn rows(exchange: &Exchange, answer: &Answer) -> Vec<(String, Bytes)> {
    rows_of(&exchange.route, exchange.call, answer)
}

/// In the order of the answer. Of two rows of one key the first counts; a row without a key is none, and
/// what is no list has no rows.
pub fn rows_of(route: &Route, call: CallId, answer: &Answer) -> Vec<(String, Bytes)> {
    let Some(batch) = route.calls[call.0].batch() else {
        return Vec::new();
    };
    let reply = Outcome::answered(answer.clone(), None);
    let scope = ReplyScope {
        route,
        reply: &reply,
    };
    let env = Env {
        scope: &scope,
        frame: None,
    };
    let elements = batch.rows.elements(&env).ok().flatten();
    let mut known = HashSet::new();
    let mut rows = Vec::new();
    for (index, value) in elements.unwrap_or_default().into_iter().enumerate() {
        let frame = Frame {
            variable: batch.row,
            index,
            value,
            outer: None,
        };
        let env = Env {
            scope: &scope,
            frame: Some(&frame),
        };
        let mut key = String::new();
        let has_key = batch.of_row.render_present(&env, &mut key) == Ok(true);
        if has_key && known.insert(key.clone()) {
            rows.push((key, slice(reply.body.as_ref(), value)));
        }
    }
    rows
}

/// The bytes of a value: of the body's own, where it stands there.
pub fn slice(body: Option<&Body>, value: Value<'_>) -> Bytes {
    let part = value.bytes();
    match body.map(Body::bytes) {
        Some(whole) if whole.as_ptr_range().contains(&part.as_ptr()) => whole.slice_ref(part),
        _ => Bytes::copy_from_slice(part),
    }
}
