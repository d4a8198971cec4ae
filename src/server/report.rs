//! What is told of a request when it is over, however it ends.

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::code::Code;
use crate::moment;
use crate::server::load::Counts;
use crate::telemetry::metrics::Meters;
use crate::telemetry::{Finished, Telemetry};

/// Tells telemetry of a request when it is dropped. Until it is said how the request was answered,
/// its end means that the client went away.
pub struct Report {
    telemetry: Arc<Telemetry>,
    meters: Arc<Meters>,
    counts: Arc<Counts>,
    started: Instant,
    finished: Box<Finished>,
}

impl Report {
    pub fn new(
        telemetry: Arc<Telemetry>,
        meters: Arc<Meters>,
        counts: Arc<Counts>,
        started: Instant,
        finished: Box<Finished>,
    ) -> Report {
        counts.begin_request();
        Report {
            telemetry,
            meters,
            counts,
            started,
            finished,
        }
    }

    /// Says how the request is answered, or what else is known of it.
    pub fn note(&mut self, note: impl FnOnce(&mut Finished)) {
        note(&mut self.finished);
    }

    /// The answer could not be written to its end. The first reason counts.
    pub fn failed(&mut self, code: Code) {
        self.note(|finished| {
            finished.failure.get_or_insert(code);
        });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.counts.end_request();
        self.finished.elapsed = moment::since(self.started);
        self.telemetry.finished(&self.meters, &self.finished);
    }
}
