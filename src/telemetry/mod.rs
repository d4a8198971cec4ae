//! Turns what happened into metrics and log lines.
//!
//! A request that was answered arrives here as [`Finished`], once. Nothing in here may slow an
//! answer down: counters are resolved before the first request ([`metrics::Meters`]), and lines are
//! formatted and written by a thread of their own ([`log::Log`]). This module knows no socket and no
//! file; who serves `/metrics` and when a reload happens is decided above.

pub mod access;
pub mod log;
pub mod metrics;
#[cfg(test)]
mod tests;
pub mod time;

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::engine::code::Code;
use crate::engine::fetch::Identity;
use crate::engine::record::Record;
use crate::plan::{Route, Table};

/// How often histogram samples are folded into their buckets. Nobody else does it: without it they
/// pile up until somebody asks for `/metrics`.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// A request that has its answer, as the server saw it.
#[derive(Debug)]
pub struct Finished {
    pub identity: Arc<Identity>,
    /// Absent where the head could not be read.
    pub method: Option<Method>,
    /// As sent, without the query.
    pub path: String,
    /// The generation that answered.
    pub generation: u64,
    /// Absent where no route was found.
    pub route: Option<Arc<Route>>,
    pub status: u16,
    /// From the first byte of the head to the last of the answer.
    pub elapsed: Duration,
    /// Why the request failed, if it did; the run's own reason where there was a run.
    pub failure: Option<Code>,
    /// Absent where no call was made: refused at the door, or cut off by its client.
    pub record: Option<Record>,
}

/// One process instance's metrics and log. Several may stand in one process, as tests do.
pub struct Telemetry {
    metrics: metrics::Metrics,
    log: log::Log,
}

impl Telemetry {
    pub fn new(log: log::Log) -> Telemetry {
        Telemetry {
            metrics: metrics::Metrics::new(),
            log,
        }
    }

    pub fn log(&self) -> &log::Log {
        &self.log
    }

    pub fn metrics(&self) -> &metrics::Metrics {
        &self.metrics
    }

    /// The counters of a table, ready to be incremented. Made once for each generation.
    pub fn meters(&self, table: &Table) -> metrics::Meters {
        self.metrics.meters(table)
    }

    /// Counts a request and queues its line. Never blocks.
    pub fn finished(&self, meters: &metrics::Meters, finished: &Finished) {
        self.metrics.finished(meters, finished);
        self.log.access(finished);
    }

    /// What Prometheus scrapes. Takes its time with many series: not for a worker of the runtime.
    pub fn render(&self) -> String {
        self.metrics.lost_lines(self.log.lost());
        self.metrics.render()
    }
}
