//! What a run leaves behind for logs and metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::code::Code;
use crate::engine::errors::Entry;
use crate::plan::{CallId, Route};

/// One execution of a plan, finished.
#[derive(Debug)]
pub struct Record {
    pub route: Arc<Route>,
    pub status: u16,
    pub started: Instant,
    pub elapsed: Duration,
    /// What the route's timeout, or the client, allowed.
    pub allowed: Duration,
    /// In the order of the file; a call that had no part in the run is not in it.
    pub calls: Vec<CallRecord>,
    /// The text of `degraded`.
    pub degraded: Option<String>,
    /// Why the request failed, if it did.
    pub failure: Option<Code>,
    /// The entries of `errors`: one for each failed call, and for each failed element of one.
    pub errors: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct CallRecord {
    pub call: CallId,
    pub outcome: Outcome,
    /// Why it failed, also where a fallback answered.
    pub code: Option<Code>,
    /// The service's status, if it answered.
    pub status: Option<u16>,
    /// The requests that left us.
    pub attempts: u32,
    /// When it started, from the start of the run.
    pub start: Duration,
    pub elapsed: Duration,
    /// Of a `for_each`: how many elements, and how many of them failed.
    pub items: Option<(usize, usize)>,
    /// Of a `for_each`: how many elements a kept answer was given for.
    pub of_cache: usize,
}

/// The `outcome` label of `anabranch_calls_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Live,
    Cache,
    Stale,
    Fallback,
    Failed,
    Skipped,
    Cancelled,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Live => "live",
            Outcome::Cache => "cache",
            Outcome::Stale => "stale",
            Outcome::Fallback => "fallback",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Cancelled => "cancelled",
        }
    }
}
