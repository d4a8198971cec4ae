//! Flights: requests that are under way, and are shared by all who would send the same.
//!
//! Who comes first leads: it makes the request, in a task that is not its own. Who comes while it is
//! under way follows, and gets what it brings. A flight knows how many wait for it, so that one that
//! nobody wants any more can end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::{oneshot, watch};

use crate::cache::Key;

/// What is under way. Clones are the same.
#[derive(Debug)]
pub struct Flights<T> {
    under_way: Arc<Mutex<HashMap<Key, Flight<T>>>>,
}

/// What a flight brings. All who wait are woken in an order that does not change between runs: the
/// first of them is who leads next.
type Landed<T> = Shared<oneshot::Receiver<T>>;

#[derive(Debug)]
struct Flight<T> {
    landed: Landed<T>,
    /// How many wait.
    waiting: watch::Sender<usize>,
}

/// What a request is to do.
pub enum Role<T> {
    /// Nobody else is under way: make it, and hand `leader` what it brings.
    Lead(Leader<T>, Follower<T>),
    Follow(Follower<T>),
}

/// Has to bring what all wait for. Dropped before, it has brought nothing.
#[derive(Debug)]
pub struct Leader<T> {
    flights: Flights<T>,
    key: Key,
    landed: Landed<T>,
    /// `None` once it has landed.
    lands: Option<oneshot::Sender<T>>,
    waiting: watch::Receiver<usize>,
}

/// Waits for what a flight brings, until it is dropped.
#[derive(Debug)]
pub struct Follower<T> {
    landed: Landed<T>,
    waiting: watch::Sender<usize>,
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Flights {
            under_way: self.under_way.clone(),
        }
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights {
            under_way: Arc::default(),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// Follows the flight of this key, or leads one.
    pub fn join(&self, key: Key) -> Role<T> {
        match self.lock().entry(key) {
            Entry::Occupied(found) => Role::Follow(found.get().follower()),
            Entry::Vacant(vacant) => {
                let (lands, landed) = oneshot::channel();
                let landed = landed.shared();
                let (waiting, waits) = watch::channel(0);
                let leader = Leader {
                    flights: self.clone(),
                    key: vacant.key().clone(),
                    landed: landed.clone(),
                    lands: Some(lands),
                    waiting: waits,
                };
                let flight = vacant.insert(Flight { landed, waiting });
                Role::Lead(leader, flight.follower())
            }
        }
    }

    /// Leads a flight of this key that nobody waits for; `None` if one is under way.
    pub fn lead(&self, key: Key) -> Option<Leader<T>> {
        match self.join(key) {
            Role::Lead(leader, _) => Some(leader),
            Role::Follow(_) => None,
        }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Flight<T>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Flight<T> {
    fn follower(&self) -> Follower<T> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Follower {
            landed: self.landed.clone(),
            waiting: self.waiting.clone(),
        }
    }
}

impl<T> Leader<T> {
    /// Ends the flight: who waits has what it brought, who comes now begins another one.
    pub fn land(mut self, brought: T) {
        self.flights.lock().remove(&self.key);
        if let Some(lands) = self.lands.take() {
            // Nobody may wait.
            let _ = lands.send(brought);
        }
    }

    /// Waits until nobody waits, and then ends the flight: who comes afterwards begins another one.
    pub async fn abandoned(&mut self) {
        loop {
            if self
                .waiting
                .wait_for(|waiting| *waiting == 0)
                .await
                .is_err()
            {
                return;
            }
            let mut flights = self.flights.lock();
            if *self.waiting.borrow() == 0 {
                flights.remove(&self.key);
                return;
            }
        }
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Once it has landed, the flight under this key may be another one.
        if let Entry::Occupied(found) = flights.entry(self.key.clone())
            && found.get().landed.ptr_eq(&self.landed)
        {
            found.remove();
        }
    }
}

impl<T: Clone> Follower<T> {
    /// What the flight brings; `None` if it ended without.
    pub async fn landed(&mut self) -> Option<T> {
        self.landed.clone().await.ok()
    }
}

impl<T> Drop for Follower<T> {
    fn drop(&mut self) {
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KeyBuilder;

    fn key(name: &str) -> Key {
        let mut key = KeyBuilder::default();
        key.part(name.as_bytes());
        key.build()
    }

    fn lead(flights: &Flights<u32>, name: &str) -> (Leader<u32>, Follower<u32>) {
        match flights.join(key(name)) {
            Role::Lead(leader, follower) => (leader, follower),
            Role::Follow(_) => panic!("somebody leads already"),
        }
    }

    fn follow(flights: &Flights<u32>, name: &str) -> Follower<u32> {
        match flights.join(key(name)) {
            Role::Follow(follower) => follower,
            Role::Lead(..) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn all_who_wait_get_what_the_leader_brings() {
        let flights = Flights::default();
        let (leader, mut first) = lead(&flights, "a");
        let mut second = follow(&flights, "a");
        let (_other, _) = lead(&flights, "b");
        leader.land(7);
        assert_eq!(first.landed().await, Some(7));
        assert_eq!(second.landed().await, Some(7));
        let (_next, mut third) = lead(&flights, "a");
        assert_eq!(third.landed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_leader_that_is_gone_has_brought_nothing() {
        let flights = Flights::default();
        let (leader, mut first) = lead(&flights, "a");
        drop(leader);
        assert_eq!(first.landed().await, None);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn who_waits_is_told_in_the_order_of_coming() {
        let flights = Flights::default();
        let (leader, _) = lead(&flights, "a");
        let told = Arc::new(Mutex::new(Vec::new()));
        let waits = (0..20).map(|number| {
            let (mut follower, told) = (follow(&flights, "a"), told.clone());
            tokio::spawn(async move {
                follower.landed().await;
                told.lock().unwrap().push(number);
            })
        });
        let waits: Vec<_> = waits.collect();
        tokio::task::yield_now().await;
        drop(leader);
        for wait in waits {
            wait.await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), Vec::from_iter(0..20));
    }

    #[tokio::test]
    async fn the_end_of_one_flight_does_not_end_the_next() {
        let flights = Flights::default();
        let (mut old, follower) = lead(&flights, "a");
        drop(follower);
        old.abandoned().await;
        let (_new, mut second) = lead(&flights, "a");
        drop(old);
        assert_eq!(flights.count(), 1);
        assert_eq!(second.landed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_flight_is_abandoned_when_nobody_waits() {
        let flights = Flights::default();
        let (mut leader, first) = lead(&flights, "a");
        let second = follow(&flights, "a");
        drop(first);
        assert_eq!(leader.abandoned().now_or_never(), None);
        drop(second);
        assert_eq!(leader.abandoned().now_or_never(), Some(()));
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn who_joins_in_time_keeps_a_flight_from_being_abandoned() {
        let flights = Flights::default();
        let (mut leader, first) = lead(&flights, "a");
        drop(first);
        let mut second = follow(&flights, "a");
        assert_eq!(leader.abandoned().now_or_never(), None);
        leader.land(1);
        assert_eq!(second.landed().await, Some(1));
    }

    #[test]
    fn only_one_leads_alone() {
        let flights = Flights::<u32>::default();
        let leader = flights.lead(key("a"));
        assert!(leader.is_some() && flights.lead(key("a")).is_none());
        drop(leader);
        assert!(flights.lead(key("a")).is_some());
    }
}
