//! What stands between the calls and one service: its budget, its breakers, the balance of its
//! endpoints, its bulkhead. The machines are those of `policy`; here they stand behind locks, and
//! what they give out comes back when it is dropped, however an attempt ends.
//!
//! A reload keeps each machine whose own settings and endpoints did not change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::downstream::observe::Observe;
use crate::engine::code::Code;
use crate::moment;
use crate::plan::ServiceId;
use crate::plan::settings;
use crate::policy::balance::Balance;
use crate::policy::breaker::{self, Breakers, State, Verdict};
use crate::policy::budget::Budget;
use crate::policy::bulkhead::{Bulkhead, Entry};

/// The machines around one service.
pub struct Guards {
    budget: Arc<Mutex<Budget>>,
    endpoints: Arc<Endpoints>,
    bulkhead: Option<Arc<Places>>,
}

/// What is known of the endpoints of a service.
pub struct Endpoints {
    count: usize,
    /// `None`: `breaker: false`.
    breakers: Option<Mutex<Breakers>>,
    balance: Mutex<Balance>,
}

type Places = Mutex<Bulkhead<oneshot::Sender<Place>>>;

/// Whom to tell about a service.
#[derive(Clone)]
pub struct Told {
    pub observe: Arc<dyn Observe>,
    pub service: ServiceId,
}

/// What is given out at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Attempts that have a place in a bulkhead, and those that wait for one.
    pub places: usize,
    pub waiting: usize,
    /// Attempts that are under way at an endpoint.
    pub attempts: usize,
}

/// No endpoint may be asked. `rest`: for how long, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Resting {
    pub rest: Duration,
}

/// How a first attempt gets its place: retries and hedges take one that is free, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Waits as long as the bulkhead says, but not beyond this.
    Until(Instant),
    None,
}

/// What an attempt wants that asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Another one may follow it.
    pub is_repeatable: bool,
    pub patience: Patience,
    pub now: Instant,
}

impl Guards {
    pub fn new(service: &settings::Service, now: Instant) -> Guards {
        let count = service.endpoints.len();
        let breakers = service.breaker.map(|settings| {
            let breakers = Breakers::new(settings, count, now);
            Mutex::new(breakers)
        });
        Guards {
            budget: Arc::new(Mutex::new(Budget::new(service.budget, now))),
            endpoints: Arc::new(Endpoints {
                count,
                breakers,
                balance: Mutex::new(Balance::new(count, now)),
            }),
            bulkhead: service
                .bulkhead
                .map(|settings| Arc::new(Mutex::new(Bulkhead::new(settings)))),
        }
    }

    /// Those of the next generation: `before` are these, of a service with the same endpoints.
    pub fn succeed(
        &self,
        before: &settings::Service,
        service: &settings::Service,
        now: Instant,
    ) -> Guards {
        let mut guards = Guards::new(service, now);
        if before.budget == service.budget {
            guards.budget = self.budget.clone();
        }
        if before.breaker == service.breaker {
            guards.endpoints = self.endpoints.clone();
        }
        if before.bulkhead == service.bulkhead {
            guards.bulkhead = self.bulkhead.clone();
        }
        guards
    }

    pub fn budget(&self) -> MutexGuard<'_, Budget> {
        lock(&self.budget)
    }

    /// The token of a retry or a hedge.
    pub fn token(&self) -> Option<Token> {
        let is_there = self.budget().take(moment::now());
        is_there.then(|| Token {
            budget: Some(self.budget.clone()),
        })
    }

    /// Whether another attempt could be made now in place of one that is cut for it, whose place in
    /// the bulkhead goes to whoever waits there.
    pub fn could_go_on(&self) -> bool {
        let has_place = self.bulkhead.as_deref().is_none_or(|places| {
            let places = lock(places);
            places.has_place() || places.waiting() == 0
        });
        has_place && self.endpoints.is_some_admissible(moment::now())
    }

    /// Layers 7, 8 and 9: an endpoint by balance among those whose breaker lets one ask, its permit,
    /// and a place. `tried` are left out while there are others.
    pub async fn admit(&self, tried: &[usize], wish: Wish, told: &Told) -> Result<Permit, Refused> {
        let Wish {
            is_repeatable,
            patience,
            now,
        } = wish;
        let choose = |now| {
            let chosen = self.endpoints.choose(tried, is_repeatable, told, now);
            chosen.map_err(Refused::Resting)
        };
        let mut permit = choose(now)?;
        let line = match self.enter(patience).map_err(Refused::Code)? {
            Entered::Now(place) => {
                permit.begin(place, now);
                return Ok(permit);
            }
            Entered::InLine(line) => line,
        };
        // In a box: few wait, and nobody else is to carry that about.
        let waits = async move {
            let place = line.wait(told).await.map_err(Refused::Code)?;
            let now = moment::now();
            if !permit.is_current() {
                // Its endpoint has opened or closed meanwhile.
                drop(permit);
                permit = choose(now)?;
            }
            permit.begin(Some(place), now);
            Ok(permit)
        };
        Box::pin(waits).await
    }

    /// Layer 9.
    fn enter(&self, patience: Patience) -> Result<Entered<'_>, Code> {
        let Some(places) = &self.bulkhead else {
            return Ok(Entered::Now(None));
        };
        let Patience::Until(deadline) = patience else {
            let entered = lock(places).try_enter();
            return match entered {
                true => Ok(Entered::Now(Some(Place::new(places, false)))),
                false => Err(Code::BulkheadFull),
            };
        };
        // Made only for those who wait.
        let mut receiver = None;
        let (entry, max_wait) = {
            let mut bulkhead = lock(places);
            let entry = bulkhead.enter(|| {
                let (sender, given) = oneshot::channel();
                receiver = Some(given);
                sender
            });
            (entry, bulkhead.max_wait())
        };
        let queued = match entry {
            Entry::Entered => return Ok(Entered::Now(Some(Place::new(places, false)))),
            Entry::Full => return Err(Code::BulkheadFull),
            Entry::Waits(queued) => Queued { places, queued },
        };
        let since = moment::now();
        Ok(Entered::InLine(Line {
            queued,
            given: receiver.expect("who waits has made it"),
            since,
            until: deadline.min(since + max_wait),
        }))
    }

    /// Tells the states that nothing but time changes, or that whoever is told does not know yet.
    pub fn tell(&self, told: &Told) {
        let tokens = self.budget().tokens(moment::now());
        told.observe.budget_tokens(told.service, tokens);
        if let Some(breakers) = &self.endpoints.breakers {
            let breakers = lock(breakers);
            for endpoint in 0..self.endpoints.count {
                let state = breakers.state(endpoint);
                told.observe.breaker_state(told.service, endpoint, state);
            }
        }
    }

    /// The state of each endpoint's breaker.
    pub fn states(&self) -> Vec<State> {
        let breakers = self.endpoints.breakers.as_ref().map(lock);
        let state = |endpoint| {
            breakers
                .as_ref()
                .map_or(State::Closed, |all| all.state(endpoint))
        };
        (0..self.endpoints.count).map(state).collect()
    }

    /// How long until an endpoint may be asked.
    pub fn rest(&self) -> Duration {
        self.endpoints.rest(moment::now())
    }

    pub fn usage(&self) -> Usage {
        let bulkhead = self.bulkhead.as_deref().map(lock);
        let balance = lock(&self.endpoints.balance);
        Usage {
            places: bulkhead.as_ref().map_or(0, |places| places.under_way()),
            waiting: bulkhead.as_ref().map_or(0, |places| places.waiting()),
            attempts: (0..self.endpoints.count)
                .map(|endpoint| balance.under_way(endpoint))
                .sum(),
        }
    }
}

/// What became of asking for a place.
enum Entered<'g> {
    /// `None`: there is no bulkhead.
    Now(Option<Place>),
    InLine(Line<'g>),
}

/// Somebody who waits for a place.
struct Line<'g> {
    queued: Queued<'g>,
    given: oneshot::Receiver<Place>,
    since: Instant,
    until: Instant,
}

impl Line<'_> {
    async fn wait(self, told: &Told) -> Result<Place, Code> {
        let called = timeout_at(self.until, self.given).await;
        drop(self.queued);
        told.observe.waited(told.service, moment::since(self.since));
        match called {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Code::QueueTimeout),
        }
    }
}

/// Why there is no permit.
pub enum Refused {
    Resting(Resting),
    /// `bulkhead_full` or `queue_timeout`.
    Code(Code),
}

impl Endpoints {
    fn is_some_admissible(&self, now: Instant) -> bool {
        let Some(breakers) = &self.breakers else {
            return true;
        };
        let breakers = lock(breakers);
        (0..self.count).any(|endpoint| breakers.is_admissible(endpoint, now))
    }

    fn rest(&self, now: Instant) -> Duration {
        let breakers = self.breakers.as_ref().map(lock);
        breakers.map_or(Duration::ZERO, |breakers| breakers.rest(now))
    }

    fn choose(
        self: &Arc<Self>,
        tried: &[usize],
        is_repeatable: bool,
        told: &Told,
        now: Instant,
    ) -> Result<Permit, Resting> {
        let mut breakers = self.breakers.as_ref().map(lock);
        let is_admissible = |endpoint: &usize| {
            let breakers = breakers.as_ref();
            breakers.is_none_or(|breakers| breakers.is_admissible(*endpoint, now))
        };
        // Most services have one endpoint, for which no list need be made.
        let mut list = Vec::new();
        let candidates = match self.count {
            1 if is_admissible(&0) => &[0][..],
            1 => &[],
            _ => {
                list.extend((0..self.count).filter(is_admissible));
                if list.iter().any(|endpoint| !tried.contains(endpoint)) {
                    list.retain(|endpoint| !tried.contains(endpoint));
                }
                &list
            }
        };
        if candidates.is_empty() {
            let rest = breakers.map_or(Duration::ZERO, |breakers| breakers.rest(now));
            return Err(Resting { rest });
        }
        // A probe goes with a call that may be tried again elsewhere: by balance alone an endpoint
        // that failed would be asked last, and so never be found to be well again.
        let due = candidates.iter().copied().find(|endpoint| {
            let breakers = breakers.as_ref();
            breakers.is_some_and(|breakers| breakers.is_due(*endpoint, now))
        });
        let endpoint = match (due, candidates) {
            (Some(due), _) if is_repeatable => due,
            (_, [only]) => *only,
            _ => lock(&self.balance).choose(candidates, now, |below| fastrand::usize(..below)),
        };
        let admitted = breakers
            .as_mut()
            .and_then(|breakers| breakers.admit(endpoint, now));
        drop(breakers);
        if let Some(state) = admitted.and_then(|admitted| admitted.moved) {
            told.observe.breaker(told.service, endpoint, state);
        }
        Ok(Permit {
            endpoint,
            endpoints: self.clone(),
            breaker: admitted.map(|admitted| admitted.permit),
            since: None,
            has_ended: AtomicBool::new(false),
            held: Mutex::default(),
            has_waited: false,
            told: told.clone(),
        })
    }
}

/// Leave to make one attempt: the breaker's permit, a place in the bulkhead, a share of the
/// endpoint's load. Whatever was not given back by [`Permit::end`] comes back when it is dropped.
pub struct Permit {
    pub endpoint: usize,
    endpoints: Arc<Endpoints>,
    breaker: Option<breaker::Permit>,
    /// When the attempt began; `None` while it waits for its place.
    since: Option<Instant>,
    has_ended: AtomicBool,
    /// From when it begins until it is given back.
    held: Mutex<Option<Held>>,
    has_waited: bool,
    told: Told,
}

/// What an attempt holds while it is under way: its place, where there is a bulkhead.
struct Held {
    place: Option<Place>,
}

impl Permit {
    pub fn is_probe(&self) -> bool {
        self.breaker.is_some_and(|permit| permit.is_probe)
    }

    /// When the attempt began: once it had its place.
    pub fn since(&self) -> Instant {
        self.since.unwrap_or_else(moment::now)
    }

    /// It waited for its place, which left it less time than its own clock.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Gives the place back before the attempt has ended: nobody waits for it any more.
    pub fn release(&self) {
        let held = lock(&self.held).take();
        self.give_back(held);
    }

    fn give_back(&self, held: Option<Held>) {
        if let Some(Held { place }) = held {
            self.told.observe.in_flight(self.told.service, -1);
            drop(place);
        }
    }

    fn held_mut(&mut self) -> &mut Option<Held> {
        let held = self.held.get_mut();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt has ended: says what that tells of the endpoint. Only the first time counts.
    pub fn end(&self, verdict: Verdict) {
        if self.has_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = moment::now();
        let took = self.since.map(|since| now.saturating_duration_since(since));
        if let Some(took) = took {
            let is_good = match verdict {
                Verdict::Good => Some(true),
                Verdict::Bad | Verdict::RatioOnly => Some(false),
                Verdict::Nothing => None,
            };
            lock(&self.endpoints.balance).end(self.endpoint, took, is_good, now);
        }
        let Some((breakers, permit)) = self.endpoints.breakers.as_ref().zip(self.breaker) else {
            return;
        };
        let chance = fastrand::f64();
        let entered = lock(breakers).settle(self.endpoint, permit, verdict, now, chance);
        let Some(state) = entered else {
            return;
        };
        if state == State::Closed {
            let took = took.unwrap_or_default();
            lock(&self.endpoints.balance).returned(self.endpoint, took, now);
        }
        let Told { observe, service } = &self.told;
        observe.breaker(*service, self.endpoint, state);
    }

    /// It has its place: the attempt begins.
    fn begin(&mut self, place: Option<Place>, since: Instant) {
        lock(&self.endpoints.balance).begin(self.endpoint);
        self.since = Some(since);
        self.has_waited = place.as_ref().is_some_and(|place| place.has_waited);
        self.told.observe.in_flight(self.told.service, 1);
        *self.held_mut() = Some(Held { place });
    }

    /// Whether the breaker has stood still since it gave its permit.
    fn is_current(&self) -> bool {
        let both = self.endpoints.breakers.as_ref().zip(self.breaker);
        both.is_none_or(|(breakers, permit)| lock(breakers).is_current(self.endpoint, permit))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end(Verdict::Nothing);
        let held = self.held_mut().take();
        self.give_back(held);
    }
}

/// A place inside the bulkhead. Who leaves hands it to who waits.
struct Place {
    places: Arc<Places>,
    has_waited: bool,
}

impl Place {
    fn new(places: &Arc<Places>, has_waited: bool) -> Place {
        Place {
            places: places.clone(),
            has_waited,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let called = lock(&self.places).leave();
        if let Some(waiter) = called {
            // A waiter that has gone drops its place, which calls the next one.
            let _ = waiter.send(Place::new(&self.places, true));
        }
    }
}

/// A place in the queue, given up when it is dropped.
struct Queued<'p> {
    places: &'p Places,
    queued: crate::policy::bulkhead::Place,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        lock(self.places).give_up(self.queued);
    }
}

/// A token of the budget, put back unless it is spent.
pub struct Token {
    budget: Option<Arc<Mutex<Budget>>>,
}

impl Token {
    pub fn spend(mut self) {
        self.budget = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            lock(budget).give_back(moment::now());
        }
    }
}

/// No machine is left half changed by a panic: each step of theirs is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
