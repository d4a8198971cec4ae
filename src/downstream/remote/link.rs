//! The connection that lookups and writes share.
//!
//! What keeps a bad Redis from hurting, from the outside in: a lookup has its deadline; [`Breakers`]
//! leave a Redis alone that failed three times in a row, and let one lookup at a time try it again;
//! whoever finds no connection has it opened in the background, and waits only while that has just
//! begun; lookups under way have a bound, and one that was given up keeps its place until it is
//! answered, because the crate waits for it too; a connection on which an answer is overdue is thrown
//! away with all that waits on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, RedisResult};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::{Away, Change, Name};
use crate::policy::breaker::{self, Breakers, State, Verdict};

/// After three failures in a row it is left alone, for half a second at first. A share of failures is
/// no reason: what is heard in time is worth more than nothing.
const REST: breaker::Settings = breaker::Settings {
    consecutive: 3,
    window: Duration::from_secs(10),
    success_rate: 0,
    min_requests: u32::MAX,
    open: (Duration::from_millis(500), Duration::from_secs(10)),
};

/// There is one Redis, so that its breaker is the first.
const IT: usize = 0;

/// A connection that takes longer to open, or on which an answer takes longer, is given up.
const OVERDUE: Duration = Duration::from_secs(1);

/// Lookups that are under way at the same time, given up or not.
const LOOKUPS: usize = 1024;

type Hear = Arc<dyn Fn(Change) + Send + Sync>;

pub struct Link {
    client: Client,
    /// The longest that a lookup waits.
    timeout: Duration,
    state: Mutex<LinkState>,
    /// Told when a connection was opened, or could not be.
    settled: watch::Sender<()>,
    lookups: Arc<Semaphore>,
    hear: Mutex<Vec<Hear>>,
}

struct LinkState {
    breakers: Breakers,
    connection: Connection,
    /// Counts the connections.
    number: u64,
    /// Whoever hears of changes was told so.
    is_away: bool,
}

enum Connection {
    None,
    Opening { since: Instant },
    Open(Opened),
}

#[derive(Clone)]
struct Opened {
    number: u64,
    connection: MultiplexedConnection,
}

/// Of connections that give an answer up after `overdue`.
pub fn config(overdue: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(OVERDUE))
        .set_response_timeout(Some(overdue))
}

// === impl Link ===

impl Link {
    pub fn new(client: Client, timeout: Duration) -> Link {
        Link {
            client,
            timeout,
            state: Mutex::new(LinkState {
                breakers: Breakers::new(REST, 1, Instant::now()),
                connection: Connection::None,
                number: 0,
                is_away: false,
            }),
            settled: watch::Sender::new(()),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            hear: Mutex::default(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn on_change(&self, hear: Hear) {
        lock(&self.hear).push(hear);
    }

    /// Whoever cut this from outside when the time is over would hide a Redis that hangs from the
    /// breaker.
    pub async fn look_up(
        self: &Arc<Link>,
        names: &[Name],
        deadline: Instant,
    ) -> Result<Vec<Option<Bytes>>, Away> {
        let opened = self.opened(deadline).await?;
        let place = self.lookups.clone().try_acquire_owned();
        let place = place.map_err(|_| Away::Resting)?;
        let permit = self.permit().ok_or(Away::Resting)?;
        let mut command = redis::cmd("MGET");
        for name in names {
            command.arg(name.as_str());
        }
        let link = self.clone();
        let mut lookup = Lookup(Some(Box::pin(async move {
            let _place = place;
            let mut connection = opened.connection;
            let values = command.query_async(&mut connection).await;
            link.discard_if_dead(opened.number, &values);
            values
        })));
        let (verdict, answer) = match timeout_at(deadline, lookup.answer()).await {
            Ok(Ok(values)) if values.len() == names.len() => (None, Ok(values)),
            Ok(Ok(_)) => (Some("another number of values".into()), Err(Away::Failed)),
            Ok(Err(error)) if error.is_timeout() => (Some(self.late()), Err(Away::TimedOut)),
            Ok(Err(error)) => (Some(error.to_string()), Err(Away::Failed)),
            Err(_) => (Some(self.late()), Err(Away::TimedOut)),
        };
        permit.settle(verdict);
        answer
    }

    #[cfg(test)]
    pub fn free_places(&self) -> usize {
        self.lookups.available_permits()
    }

    /// Sends these writes in one go, and waits for their answers; false where some may not have been
    /// applied. A Redis that is left alone gets none.
    pub async fn write(self: &Arc<Link>, writes: &Pipeline) -> bool {
        if lock(&self.state).breakers.state(IT) != State::Closed {
            return false;
        }
        let Ok(opened) = self.opened(Instant::now() + OVERDUE).await else {
            return false;
        };
        let mut connection = opened.connection;
        let written: RedisResult<()> = writes.query_async(&mut connection).await;
        self.discard_if_dead(opened.number, &written);
        written.is_ok()
    }

    /// The connection, if there is one soon enough; if there is none it is opened in the background.
    async fn opened(self: &Arc<Link>, deadline: Instant) -> Result<Opened, Away> {
        let now = Instant::now();
        let (mut settled, until) = {
            let mut state = lock(&self.state);
            let until = match &state.connection {
                Connection::Open(opened) => return Ok(opened.clone()),
                // Only one lookup tries a Redis that was left alone.
                Connection::Opening { .. } if state.breakers.state(IT) != State::Closed => {
                    return Err(Away::Resting);
                }
                // Whoever comes later than that does not wait for what has been waited for already.
                Connection::Opening { since } => (*since + self.timeout).min(deadline),
                Connection::None => {
                    let admitted = state.breakers.admit(IT, now).ok_or(Away::Resting)?;
                    state.connection = Connection::Opening { since: now };
                    let opening = Opening {
                        permit: Some(self.hold(admitted.permit)),
                        link: self.clone(),
                    };
                    tokio::spawn(opening.open());
                    deadline
                }
            };
            // Under the lock, so that nothing is missed.
            (self.settled.subscribe(), until)
        };
        if until <= now {
            return Err(Away::Resting);
        }
        let heard = timeout_at(until, settled.changed()).await;
        heard.map_err(|_| Away::TimedOut)?.ok();
        match &lock(&self.state).connection {
            Connection::Open(opened) => Ok(opened.clone()),
            Connection::Opening { .. } | Connection::None => Err(Away::Failed),
        }
    }

    fn permit(self: &Arc<Link>) -> Option<Permit> {
        let admitted = lock(&self.state).breakers.admit(IT, Instant::now())?;
        Some(self.hold(admitted.permit))
    }

    fn hold(self: &Arc<Link>, permit: breaker::Permit) -> Permit {
        Permit {
            link: self.clone(),
            permit,
            verdict: Verdict::Nothing,
            cause: String::new(),
        }
    }

    fn late(&self) -> String {
        format!("no answer within {} ms", self.timeout.as_millis())
    }

    /// Throws a connection away that is closed, or on which an answer is overdue; whatever else waits on
    /// it fails with it.
    fn discard_if_dead<T>(&self, number: u64, answer: &RedisResult<T>) {
        let is_dead = |error: &RedisError| error.is_timeout() || error.is_unrecoverable_error();
        if !answer.as_ref().err().is_some_and(is_dead) {
            return;
        }
        let mut state = lock(&self.state);
        if matches!(&state.connection, Connection::Open(opened) if opened.number == number) {
            state.connection = Connection::None;
        }
    }

    fn settle(&self, permit: breaker::Permit, verdict: Verdict, cause: String) {
        let change = {
            let mut state = lock(&self.state);
            let (now, chance) = (Instant::now(), fastrand::f64());
            let moved = state.breakers.settle(IT, permit, verdict, now, chance);
            match moved {
                Some(State::Open) if !state.is_away => {
                    state.is_away = true;
                    Change::Away { cause }
                }
                Some(State::Closed) if state.is_away => {
                    state.is_away = false;
                    Change::Back
                }
                _ => return,
            }
        };
        let hear = lock(&self.hear).clone();
        for hear in hear {
            hear(change.clone());
        }
    }
}

// === permits, openings, lookups ===

/// Leave to ask once. What nobody has judged by the time it is dropped says nothing.
struct Permit {
    link: Arc<Link>,
    permit: breaker::Permit,
    verdict: Verdict,
    cause: String,
}

impl Permit {
    /// With the cause of a failure.
    fn settle(mut self, failure: Option<String>) {
        self.verdict = match failure {
            None => Verdict::Good,
            Some(_) => Verdict::Bad,
        };
        self.cause = failure.unwrap_or_default();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let cause = std::mem::take(&mut self.cause);
        self.link.settle(self.permit, self.verdict, cause);
    }
}

/// A connection that is being opened; however this ends, no other is waited for.
struct Opening {
    link: Arc<Link>,
    permit: Option<Permit>,
}

impl Opening {
    async fn open(mut self) {
        let config = config(self.link.timeout.max(OVERDUE));
        let client = self.link.client.clone();
        let opened = client.get_multiplexed_async_connection_with_config(&config);
        let opened = opened.await;
        let permit = self.permit.take().expect("it is opened once");
        match opened {
            Ok(connection) => {
                let mut state = lock(&self.link.state);
                state.number += 1;
                state.connection = Connection::Open(Opened {
                    number: state.number,
                    connection,
                });
                drop(state);
                permit.settle(None);
            }
            Err(error) => permit.settle(Some(error.to_string())),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = lock(&self.link.state);
        if matches!(state.connection, Connection::Opening { .. }) {
            state.connection = Connection::None;
        }
        drop(state);
        self.link.settled.send_replace(());
    }
}

type Values = RedisResult<Vec<Option<Bytes>>>;

/// A lookup on the wire. The crate waits for its answer whether we do or not, so that it is not over,
/// and keeps its place, when nobody waits any more.
struct Lookup(Option<BoxFuture<'static, Values>>);

impl Lookup {
    async fn answer(&mut self) -> Values {
        let under_way = self.0.as_mut().expect("it is asked once");
        let answer = under_way.await;
        self.0 = None;
        answer
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let (Some(under_way), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(under_way);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
