//! The connections to one endpoint that lie idle: a stack for each worker, the warmest on top.
//!
//! A worker takes its own. Where it has none it takes another's before it opens one: whoever has little
//! to do needs no more connections because there are several cores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::downstream::connection::{One, Wire};
use crate::worker;

/// What lies idle.
pub struct Stacks<T: Wire> {
    /// By worker; never empty.
    stacks: Box<[Stack<T>]>,
    is_closed: AtomicBool,
}

/// Two lines of a cache, which are fetched together, so that no other stack lies in them.
#[repr(align(128))]
struct Stack<T: Wire>(Mutex<Vec<Idle<T>>>);

struct Idle<T: Wire> {
    one: Box<One<T>>,
    since: Instant,
    until: Instant,
}

impl<T: Wire> Stacks<T> {
    pub fn new(workers: usize) -> Stacks<T> {
        let stacks = (0..workers.max(1)).map(|_| Stack(Mutex::default()));
        Stacks {
            stacks: stacks.collect(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Lays `one` down on top, to be taken before `until`; drops it if they are closed.
    pub fn put(&self, one: Box<One<T>>, since: Instant, until: Instant) {
        let mut own = self.stacks[worker::here() % self.stacks.len()].lock();
        if !self.is_closed.load(Ordering::Acquire) {
            own.push(Idle { one, since, until });
        }
    }

    /// The warmest one that can be used; of another worker only where this one has none.
    pub fn take(&self, now: Instant) -> Option<Box<One<T>>> {
        let (others, from_here) = self.stacks.split_at(worker::here() % self.stacks.len());
        from_here
            .iter()
            .chain(others)
            .find_map(|stack| take(&mut stack.lock(), now))
    }

    /// Drops all, and keeps none from now on.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for stack in &self.stacks {
            stack.lock().clear();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.stacks.iter().all(|stack| stack.lock().is_empty())
    }

    /// Drops what is too old, too long idle or closed by the peer, and takes out what is beyond `most` and
    /// has lain for `cold`.
    pub fn sweep(&self, now: Instant, most: usize, cold: Duration) -> Vec<Box<One<T>>> {
        let mut left = 0;
        for stack in &self.stacks {
            let mut stack = stack.lock();
            stack.retain_mut(|idle| now < idle.until && idle.one.is_reusable());
            left += stack.len();
        }
        let mut surplus = Vec::new();
        let mut beyond = left.saturating_sub(most);
        for stack in &self.stacks {
            let mut stack = stack.lock();
            let is_cold = |idle: &&Idle<T>| now.duration_since(idle.since) >= cold;
            let count = stack.iter().take(beyond).take_while(is_cold).count();
            surplus.extend(stack.drain(..count).map(|idle| idle.one));
            beyond -= count;
        }
        surplus
    }
}

fn take<T: Wire>(stack: &mut Vec<Idle<T>>, now: Instant) -> Option<Box<One<T>>> {
    while let Some(mut idle) = stack.pop() {
        if now < idle.until && idle.one.is_reusable() {
            return Some(idle.one);
        }
    }
    None
}

impl<T: Wire> Stack<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
