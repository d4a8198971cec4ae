//! What a run waits for: the set of futures in [`super::run`] is made of these.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::engine::fetch::{Exchange, Fetch, Fetched, Found};
use crate::plan::CallId;

/// What is to be asked.
pub(super) enum Launch {
    Call(Ticket, Arc<Exchange>),
    /// What the cache has for the keys of a `batch` call, until its clock ends.
    LookUp(CallId, Vec<Exchange>, Instant),
}

/// What came of it.
pub(super) enum Landing {
    Call(Ticket, Fetched),
    Found(CallId, Vec<Option<Found>>),
}

/// Which call was made, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) call: CallId,
    pub(super) aim: Aim,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// The call itself, or one element of it.
    Item(usize),
    /// One request of a `batch`.
    Chunk(usize),
    /// The fallback call at this place of the item's chain.
    Fallback { item: usize, place: usize },
}

pub(super) async fn fly<F: Fetch>(fetch: &F, launch: Launch) -> Landing {
    match launch {
        Launch::Call(ticket, exchange) => Landing::Call(ticket, fetch.fetch(exchange).await),
        Launch::LookUp(call, exchanges, until) => {
            // In a box, so that calls do not carry it about.
            let found = Box::pin(fetch.look_up(exchanges));
            // A cache that is late has nothing.
            let found = timeout_at(until, found).await;
            Landing::Found(call, found.unwrap_or_default())
        }
    }
}
