//! What the two ends of one connection know of each other: the guard at its socket and the requests
//! that hyper makes of its bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::server::guard::refusal::Refusal;

/// One connection.
#[derive(Debug)]
pub struct Link {
    pub peer: SocketAddr,
    begun: AtomicU64,
    finished: AtomicU64,
    /// Nothing comes after it.
    refused: OnceLock<Refused>,
    answers: Mutex<Answers>,
    /// Whoever waits at the socket for the last request to end.
    waiter: AtomicWaker,
}

/// A request that is refused.
#[derive(Debug)]
struct Refused {
    number: u64,
    refusal: Refusal,
    /// Already its head was: what hyper reads in its place is ours.
    is_stand_in: bool,
}

/// The answers that are on their way, for connections where the socket cannot tell which one stalls.
#[derive(Debug)]
struct Answers {
    last_change: Instant,
    /// Since when each waits for its client; `None` while it waits for us.
    waiting: HashMap<u64, Option<Instant>>,
}

impl Link {
    pub fn new(peer: SocketAddr) -> Arc<Link> {
        Arc::new(Link {
            peer,
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            refused: OnceLock::new(),
            answers: Mutex::new(Answers {
                last_change: Instant::now(),
                waiting: HashMap::new(),
            }),
            waiter: AtomicWaker::new(),
        })
    }

    /// Counts a request; the ticket is dropped when its answer was handed to hyper to the end.
    pub fn begin(self: &Arc<Link>) -> Ticket {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        Ticket {
            link: self.clone(),
            number,
        }
    }

    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether so many requests have ended; if not, `context` is woken when the next one does.
    pub fn poll_finished(&self, count: u64, context: &Context<'_>) -> bool {
        self.waiter.register(context.waker());
        self.finished() >= count
    }

    /// Says that the head of this request is refused; hyper is given another in its place.
    pub fn refuse_head(&self, number: u64, refusal: Refusal) {
        self.refuse(number, refusal, true);
    }

    /// Says why the body of this request breaks off.
    pub fn refuse_body(&self, number: u64, refusal: Refusal) {
        self.refuse(number, refusal, false);
    }

    fn refuse(&self, number: u64, refusal: Refusal, is_stand_in: bool) {
        // Only the first counts: nothing is read after it.
        let _ = self.refused.set(Refused {
            number,
            refusal,
            is_stand_in,
        });
    }

    pub fn has_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    fn refused(&self, number: u64) -> Option<&Refused> {
        self.refused
            .get()
            .filter(|refused| refused.number == number)
    }

    /// Since when no request is in flight.
    pub fn idle_since(&self) -> Option<Instant> {
        let answers = self.lock();
        (self.begun.load(Ordering::Acquire) == self.finished()).then_some(answers.last_change)
    }

    /// Whether some answer has waited for its client that long.
    pub fn is_stalled(&self, limit: Duration) -> bool {
        let now = Instant::now();
        self.lock()
            .waiting
            .values()
            .flatten()
            .any(|since| now.duration_since(*since) >= limit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One request on its connection.
#[derive(Debug)]
pub struct Ticket {
    link: Arc<Link>,
    number: u64,
}

impl Ticket {
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Why this request, or its body, was not let through.
    pub fn refusal(&self) -> Option<Refusal> {
        self.link
            .refused(self.number)
            .map(|refused| refused.refusal)
    }

    /// What stands in this request is ours: the client's could not be read.
    pub fn is_stand_in(&self) -> bool {
        self.link
            .refused(self.number)
            .is_some_and(|refused| refused.is_stand_in)
    }

    /// The same question, for whoever outlives the ticket.
    pub fn inquiry(&self) -> impl Fn() -> Option<Refusal> + Send + Unpin + 'static {
        let (link, number) = (self.link.clone(), self.number);
        move || link.refused(number).map(|refused| refused.refusal)
    }

    /// From now on the answer waits for its client to take what it has.
    pub fn waits_for_client(&self) {
        self.link
            .lock()
            .waiting
            .insert(self.number, Some(Instant::now()));
    }

    /// The client has taken all there is.
    pub fn waits_for_us(&self) {
        self.link.lock().waiting.insert(self.number, None);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut answers = self.link.lock();
        answers.waiting.remove(&self.number);
        answers.last_change = Instant::now();
        drop(answers);
        self.link.finished.fetch_add(1, Ordering::AcqRel);
        self.link.waiter.wake();
    }
}
