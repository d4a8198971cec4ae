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

/// A connection that lies idle.
pub struct Idle<T: Wire> {
    pub one: Box<One<T>>,
    pub since: Instant,
    /// After this it is not taken any more.
    pub until: Instant,
}

impl<T: Wire> Stacks<T> {
    pub fn new(workers: usize) -> Stacks<T> {
        let stacks = (0..workers.max(1)).map(|_| Stack(Mutex::default()));
        Stacks {
            stacks: stacks.collect(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Lays `idle` down on top; drops it if they are closed.
    pub fn put(&self, idle: Idle<T>) {
        let mut own = self.stacks[worker::here_of(self.stacks.len())].lock();
        if !self.is_closed.load(Ordering::Acquire) {
            own.push(idle);
        }
    }

    /// The warmest one that can be used; of another worker only where this one has none.
    pub fn take(&self, now: Instant) -> Option<Idle<T>> {
        let (others, from_here) = self.stacks.split_at(worker::here_of(self.stacks.len()));
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

    /// Drops what is too old, too long idle or closed by the peer, and takes out what is beyond `most` in
    /// all and has lain for `cold`, the coldest first.
    pub fn sweep(&self, now: Instant, most: usize, cold: Duration) -> Vec<Box<One<T>>> {
        let mut since = Vec::new();
        for stack in &self.stacks {
            let mut stack = stack.lock();
            stack.retain_mut(|idle| now < idle.until && idle.one.is_reusable());
            since.extend(stack.iter().map(|idle| idle.since));
        }
        let mut beyond = since.len().saturating_sub(most);
        since.retain(|since| now.duration_since(*since) >= cold);
        since.sort_unstable();
        let Some(last) = beyond
            .checked_sub(1)
            .and_then(|last| since.get(last).or(since.last()))
        else {
            return Vec::new();
        };
        let mut surplus = Vec::new();
        for stack in &self.stacks {
            let mut stack = stack.lock();
            let is_cold = |idle: &&Idle<T>| idle.since <= *last;
            let count = stack.iter().take(beyond).take_while(is_cold).count();
            surplus.extend(stack.drain(..count).map(|idle| idle.one));
            beyond -= count;
        }
        surplus
    }
}

fn take<T: Wire>(stack: &mut Vec<Idle<T>>, now: Instant) -> Option<Idle<T>> {
    while let Some(mut idle) = stack.pop() {
        if now < idle.until && idle.one.is_reusable() {
            return Some(idle);
        }
    }
    None
}

impl<T: Wire> Stack<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
