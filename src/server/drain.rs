//! How the server stops: readiness off at once, a grace in which everything is still served, then no
//! new connections, then the end. Whoever hears of a signal or of `POST /drain` holds a [`Drain`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;
use tokio::task::unconstrained;

use crate::server::woken::Woken;

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Not ready any more. Connections are still taken; each answer ends its connection.
    Grace,
    /// No new connections; idle ones are closed, the others end with their answer.
    Closing,
    /// What is still there is cut.
    Cut,
}

/// The handle on a drain; every clone is the same one.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            phase: watch::Sender::new(Phase::Serving),
        }
    }
}

impl Drain {
    /// Begins the drain (the first signal, or `POST /drain`); a second time changes nothing.
    pub fn begin(&self) {
        self.advance(Phase::Grace);
    }

    /// Ends at once (the second signal).
    pub fn end_now(&self) {
        self.advance(Phase::Cut);
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// From the first moment of a drain on the process is not ready.
    pub fn is_draining(&self) -> bool {
        self.phase() > Phase::Serving
    }

    /// Goes on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let is_later = phase > *current;
            if is_later {
                *current = phase;
            }
            is_later
        });
    }

    /// Waits until the drain has come as far as `phase`. Connections ask at their every turn; until a
    /// drain begins, the wait itself is asked again only when somebody else is to be woken.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // Asked so seldom, it may not put off its answer.
        let mut wait = pin!(unconstrained(
            receiver.wait_for(|current| *current >= phase)
        ));
        let mut woken = Woken::default();
        poll_fn(|context| {
            if woken.is_still(context) && !self.is_draining() {
                return Poll::Pending;
            }
            // The sender is `self`, so it outlives the wait.
            wait.as_mut().poll(context).map(|_| ())
        })
        .await;
    }
}
