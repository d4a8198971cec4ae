//! What the ladder tells to whoever counts. `telemetry` stands above this module and implements
//! [`Observe`] with handles it has resolved beforehand.

use std::time::Duration;

use crate::plan::ServiceId;
use crate::policy::breaker::State;

/// Hears of attempts as they are made, and of what stands around them.
pub trait Observe: Send + Sync + 'static {
    /// A request is about to be sent. `reason` says why: the code of the attempt that failed before,
    /// nothing for a first one.
    fn attempt(&self, service: ServiceId, kind: Kind, reason: &'static str);

    /// So many more (or fewer) attempts are under way.
    fn in_flight(&self, service: ServiceId, change: i64);

    /// An endpoint's breaker has entered this state.
    fn breaker(&self, service: ServiceId, endpoint: usize, to: State);

    /// An endpoint's breaker is in this state, as it was before.
    fn breaker_state(&self, service: ServiceId, endpoint: usize, state: State);

    /// A retry or a hedge was not made for want of a token.
    fn budget_denied(&self, service: ServiceId, kind: Kind);

    /// A first attempt waited so long for its place.
    fn waited(&self, service: ServiceId, time: Duration);

    /// What the budget holds, told from time to time.
    fn budget_tokens(&self, service: ServiceId, tokens: f64);

    /// A store of the cache was asked for an answer. `memory` gives `hit`, `stale` or `miss`, `redis`
    /// `hit`, `miss`, or why it was not heard: `timeout`, `error`, `resting`.
    fn cache(&self, store: &'static str, result: &'static str);
}

/// The `kind` label of `anabranch_attempts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    First,
    Retry,
    Hedge,
    /// The same request once more, on a new connection, because an idle one turned out to be dead.
    Transparent,
    /// A half-open endpoint is asked whether it is well again.
    Probe,
    /// The first attempt of a fallback call.
    Alternate,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::First => "first",
            Kind::Retry => "retry",
            Kind::Hedge => "hedge",
            Kind::Transparent => "transparent",
            Kind::Probe => "probe",
            Kind::Alternate => "alternate",
        }
    }
}

/// Counts nothing.
pub struct Silent;

impl Observe for Silent {
    fn attempt(&self, _: ServiceId, _: Kind, _: &'static str) {}
    fn in_flight(&self, _: ServiceId, _: i64) {}
    fn breaker(&self, _: ServiceId, _: usize, _: State) {}
    fn breaker_state(&self, _: ServiceId, _: usize, _: State) {}
    fn budget_denied(&self, _: ServiceId, _: Kind) {}
    fn waited(&self, _: ServiceId, _: Duration) {}
    fn budget_tokens(&self, _: ServiceId, _: f64) {}
    fn cache(&self, _: &'static str, _: &'static str) {}
}
