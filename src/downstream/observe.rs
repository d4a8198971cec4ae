//! What the ladder tells to whoever counts. `telemetry` stands above this module and implements
//! [`Observe`] with handles it has resolved beforehand.

use std::sync::Arc;

use crate::plan::ServiceId;

/// Hears of attempts as they are made.
pub trait Observe: Send + Sync + 'static {
    /// A request is about to be sent. `reason` says why: the code of the attempt that failed before,
    /// nothing for a first one.
    fn attempt(&self, service: ServiceId, kind: Kind, reason: &'static str);

    /// So many more (or fewer) attempts are under way.
    fn in_flight(&self, service: ServiceId, change: i64);
}

/// The `kind` label of `anabranch_attempts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    First,
    Retry,
    Transparent,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::First => "first",
            Kind::Retry => "retry",
            Kind::Transparent => "transparent",
        }
    }
}

/// Counts nothing.
pub struct Silent;

impl Observe for Silent {
    fn attempt(&self, _: ServiceId, _: Kind, _: &'static str) {}
    fn in_flight(&self, _: ServiceId, _: i64) {}
}

/// An attempt under way, until it is dropped.
pub struct InFlight {
    observe: Arc<dyn Observe>,
    service: ServiceId,
}

impl InFlight {
    pub fn begin(observe: &Arc<dyn Observe>, service: ServiceId) -> InFlight {
        observe.in_flight(service, 1);
        InFlight {
            observe: observe.clone(),
            service,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.observe.in_flight(self.service, -1);
    }
}
