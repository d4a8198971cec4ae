//! The client's side: sockets, HTTP, limits, matching, drain.
//!
//! [`accept`] takes a connection, [`connection`] speaks HTTP on it behind a [`guard`] that lets only
//! strict messages through, [`handle`] answers one request. Calls are made by `engine` with whatever
//! [`Fetch`] the [`State`] holds; nothing here knows a service. Read [`handle`] first.

pub mod accept;
pub mod addresses;
pub mod answer;
pub mod body;
pub mod clock;
pub mod connection;
pub mod container;
pub mod detached;
pub mod drain;
pub mod guard;
pub mod handle;
pub mod holding;
pub mod host;
pub mod identity;
pub mod known;
pub mod lag;
pub mod link;
pub mod load;
pub mod plain;
pub mod query;
pub mod report;
pub mod shed;
pub mod turn;
pub mod woken;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::engine::fetch::Fetch;
use crate::plan::Table;
use crate::policy::memory::Memory;
use crate::server::addresses::Addresses;
use crate::server::detached::Queue;
use crate::server::drain::Drain;
use crate::server::load::{Counts, Load};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Meters;
use crate::worker::Workers;

/// What a request is answered from: taken once when it arrives, kept to its end.
pub struct State<F> {
    /// The number of the generation.
    pub generation: u64,
    pub table: Arc<Table>,
    pub meters: Arc<Meters>,
    pub fetch: Arc<F>,
}

/// Answers requests from the state in force. Many listeners may serve one server.
pub struct Server<F> {
    state: ArcSwap<State<F>>,
    telemetry: Arc<Telemetry>,
    drain: Drain,
    detached: Queue,
    load: Load,
    workers: Workers,
    addresses: Arc<Addresses>,
}

impl<F: Fetch + 'static> Server<F> {
    /// `memory` is what all bodies of the process share.
    pub fn new(
        state: State<F>,
        telemetry: Arc<Telemetry>,
        drain: Drain,
        memory: Memory,
        workers: Workers,
    ) -> Server<F> {
        Server {
            state: ArcSwap::from_pointee(state),
            telemetry,
            drain,
            detached: Queue::default(),
            load: Load::new(memory, workers.count()),
            workers,
            addresses: Arc::default(),
        }
    }

    /// Puts another state in force: for requests that arrive from now on. Limits and timeouts of
    /// heads count for new connections.
    pub fn swap(&self, state: State<F>) {
        self.state.store(Arc::new(state));
    }

    pub fn state(&self) -> Arc<State<F>> {
        self.state.load_full()
    }

    /// How many connections are open and how many requests have no answer yet.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.load.counts
    }

    pub fn load(&self) -> &Load {
        &self.load
    }
}
