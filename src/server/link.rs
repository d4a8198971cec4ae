//! What the two ends of one connection know of each other: the guard at its socket and the requests
//! that are made of its bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::moment;
use crate::server::guard::refusal::Refusal;

/// One connection.
#[derive(Debug)]
pub struct Link {
    pub peer: SocketAddr,
    opened: Instant,
    begun: AtomicU64,
    finished: AtomicU64,
    /// When the last request ended, in nanoseconds since `opened`.
    last_end: AtomicU64,
    /// Nothing comes after it.
    refused: OnceLock<Refused>,
    /// The answers that are on their way, for connections where the socket cannot tell which one
    /// stalls: since when each waits for its client; `None` while it waits for us.
    waiting: Mutex<HashMap<u64, Option<Instant>>>,
}

/// A request that is refused.
#[derive(Debug)]
struct Refused {
    number: u64,
    refusal: Refusal,
    /// Already its head was: what hyper reads in its place is ours.
    is_stand_in: bool,
}

impl Link {
    pub fn new(peer: SocketAddr) -> Arc<Link> {
        Arc::new(Link {
            peer,
            opened: moment::now(),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            last_end: AtomicU64::new(0),
            refused: OnceLock::new(),
            waiting: Mutex::default(),
        })
    }

    /// Counts a request; the ticket is dropped when its answer was handed over to the end, to be written.
    pub fn begin(self: &Arc<Link>) -> Ticket {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        Ticket {
            link: self.clone(),
            number,
            has_waited: AtomicBool::new(false),
        }
    }

    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// When the last of so many requests ended, if all have.
    pub fn ended(&self, count: u64) -> Option<Instant> {
        (self.finished() >= count).then(|| {
            let since_opened = self.last_end.load(Ordering::Relaxed);
            self.opened + Duration::from_nanos(since_opened)
        })
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
        self.ended(self.begun.load(Ordering::Acquire))
    }

    /// Whether some answer has waited for its client that long.
    pub fn is_stalled(&self, limit: Duration) -> bool {
        let now = moment::now();
        self.lock()
            .values()
            .flatten()
            .any(|since| now.duration_since(*since) >= limit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Option<Instant>>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One request on its connection.
#[derive(Debug)]
pub struct Ticket {
    link: Arc<Link>,
    number: u64,
    /// It has a place in `Link::waiting`.
    has_waited: AtomicBool,
}

impl Ticket {
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Which one of its connection it is, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
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
        self.waits_since(Some(moment::now()));
    }

    /// The client has taken all there is.
    pub fn waits_for_us(&self) {
        self.waits_since(None);
    }

    fn waits_since(&self, since: Option<Instant>) {
        self.has_waited.store(true, Ordering::Relaxed);
        self.link.lock().insert(self.number, since);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let link = &self.link;
        if *self.has_waited.get_mut() {
            link.lock().remove(&self.number);
        }
        let since_opened = moment::since(link.opened).as_nanos();
        let since_opened = u64::try_from(since_opened).unwrap_or(u64::MAX);
        link.last_end.fetch_max(since_opened, Ordering::Relaxed);
        link.finished.fetch_add(1, Ordering::AcqRel);
    }
}
