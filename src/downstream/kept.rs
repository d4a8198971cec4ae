//! The last good answers, for `fallback: [ { stale: … } ]`: kept as they came, before `take`, and
//! looked at anew by whoever asks for them.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::cache::{Key, Store};
use crate::downstream::headers;
use crate::engine::fetch::{Answer, Exchange};
use crate::json;

/// An answer as it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    status: u16,
    headers: HeaderMap,
    /// Valid JSON; `None` is null.
    body: Option<Bytes>,
}

pub fn keep(store: &Store<Kept>, key: Key, answer: &Answer) {
    let body = answer.body.as_ref().map(json::Body::bytes);
    let size = headers::written_size(&answer.headers) + body.map_or(0, Bytes::len);
    let kept = Kept {
        status: answer.status,
        headers: answer.headers.clone(),
        // A copy: what arrived may be a part of a larger buffer.
        body: body.map(|bytes| Bytes::copy_from_slice(bytes)),
    };
    store.keep(key, kept, size, Instant::now());
}

/// The last good answer to an exchange like this one, if it is no older than `at_most`.
pub fn find(store: &Store<Kept>, exchange: &Exchange, at_most: Duration) -> Option<Answer> {
    let kept = store.find(&exchange.key(), at_most, Instant::now())?;
    let demand = &exchange.call().raw_demand;
    let check = |bytes| json::Body::check(bytes, demand, exchange.route.json_limits);
    Some(Answer {
        status: kept.status,
        headers: kept.headers,
        // Another call's limits may be narrower than those it was kept under.
        body: kept.body.map(check).transpose().ok()?,
        held: None,
        lasting: None,
    })
}
