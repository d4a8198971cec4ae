//! The connections to one endpoint: which is used next, which is kept, which is opened.
//!
//! HTTP/1.1 connections lie [`idle`](super::idle) for their worker, and are looked at before they are used
//! again; HTTP/2 connections are shared by all workers, a second one is opened only while the first is
//! full or being closed. Refuses to know retries: whoever needs a connection that nobody used says so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use crate::downstream::connection::{Lease, One, Shared, Two, Wire};
use crate::downstream::dial::{Adopted, Dial};
use crate::downstream::fault::Fault;
use crate::downstream::idle::{Idle, Stacks};
use crate::downstream::tasks::Tasks;
use crate::downstream::tls::{self, Secure, Stream};
use crate::engine::code::Code;
use crate::moment;
use crate::plan::settings::{self, Endpoint, HttpVersion};
use crate::policy::retry::Known;
use crate::worker;

/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How many are closed before others have their turn.
const CLOSED_AT_ONCE: usize = 64;

/// The connections to one endpoint.
pub struct Pool<D: Dial> {
    pub endpoint: Endpoint,
    http: HttpVersion,
    connect_timeout: Duration,
    keep: settings::Pool,
    /// For an `https` endpoint.
    secure: Option<Secure>,
    dial: Arc<D>,
    tasks: Tasks,
    idle: Stacks<D::Io>,
    state: Mutex<State<D::Io>>,
    /// How many there are in `waiting` of `state` at most, for those who would not look else.
    waiting: AtomicUsize,
    /// Held while a connection is opened that many may share; keeps when and how it last failed, so
    /// that those who waited for it fail with it instead of trying one after another.
    opening: tokio::sync::Mutex<Option<(Instant, Fault)>>,
    sweeping: AtomicBool,
}

struct State<T: Wire> {
    shared: Vec<Shared>,
    /// Those who open a connection and would take one that is given back meanwhile.
    waiting: VecDeque<oneshot::Sender<Idle<T>>>,
    /// Connections that are being opened, and that nobody waits for any more.
    spare: usize,
    /// Learned by ALPN: this endpoint speaks HTTP/1.1, so that nothing is shared.
    speaks_one: bool,
    /// The service is no longer configured: nothing is kept.
    retired: bool,
}

/// Which connection will do.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    Any,
    /// One that did not lie idle: the request can be sent only once.
    NotIdle,
    /// One that was opened after this: an older one turned out to be dead.
    OpenedAfter(Instant),
}

impl<D: Dial> Pool<D> {
    pub fn new(
        service: &settings::Service,
        endpoint: &Endpoint,
        secure: Option<Secure>,
        dial: Arc<D>,
        tasks: Tasks,
        workers: usize,
    ) -> Arc<Pool<D>> {
        Arc::new(Pool {
            endpoint: endpoint.clone(),
            http: service.http,
            connect_timeout: service.connect_timeout,
            keep: service.pool.clone(),
            secure,
            dial,
            tasks,
            idle: Stacks::new(workers),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State {
                shared: Vec::new(),
                waiting: VecDeque::new(),
                spare: 0,
                speaks_one: false,
                retired: false,
            }),
            opening: tokio::sync::Mutex::default(),
            sweeping: AtomicBool::new(false),
        })
    }

    /// A connection, where [`Pool::take`] has none: a new one, or one that others make room on. In a
    /// box, so that who finds one does not carry a handshake about.
    pub fn open_or_share(
        self: &Arc<Self>,
        need: Need,
    ) -> Pin<Box<impl Future<Output = Result<Lease<D::Io>, Fault>> + Send>> {
        Box::pin(self.open_or_wait(need))
    }

    async fn open_or_wait(self: &Arc<Self>, need: Need) -> Result<Lease<D::Io>, Fault> {
        if !self.may_share() {
            return self.open_or_take_over(need).await;
        }
        let asked = moment::now();
        let mut last_failure = self.opening.lock().await;
        if let Some(lease) = self.take(need, moment::now()) {
            return Ok(lease);
        }
        if let Some((at, fault)) = &*last_failure
            && *at > asked
        {
            return Err(fault.clone());
        }
        if !self.may_share() {
            drop(last_failure);
            return self.open_or_take_over(need).await;
        }
        let opened = self.open().await;
        *last_failure = match &opened {
            Ok(_) => None,
            Err(fault) => Some((moment::now(), fault.clone())),
        };
        opened
    }

    /// A new connection, or one that somebody gives back before the new one is open: in a rush many
    /// are opened at once, and a handshake that the service had no room for is tried again late.
    async fn open_or_take_over(self: &Arc<Self>, need: Need) -> Result<Lease<D::Io>, Fault> {
        if !matches!(need, Need::Any) {
            return self.open().await;
        }
        let mut waiting = Waiting::new(self);
        // One may have been given back before anybody could know of this one's waiting.
        if let Some(lease) = self.take_idle(moment::now()) {
            return Ok(lease);
        }
        let pool = self.clone();
        let mut opening = Box::pin(async move { pool.open().await });
        tokio::select! {
            biased;
            opened = &mut opening => return opened,
            Ok(idle) = &mut waiting.given => if let Some(one) = adopted::<D>(idle.one) {
                self.clone().keep_later(opening);
                return Ok(Lease::One(one));
            }
        }
        opening.await
    }

    /// Lets a handshake go on that is not waited for any more: as many connections were wanted at the
    /// same time, and will be again. To give it up would be to begin another one soon, and so on.
    fn keep_later(self: Arc<Self>, opening: impl Future<Output = Opened<D>> + Send + 'static) {
        {
            let mut state = self.state();
            if state.retired || state.spare >= self.keep.max_idle {
                return;
            }
            state.spare += 1;
        }
        let spare = Spare(self);
        let tasks = spare.0.tasks.clone();
        // With no room in the set the handshake is given up.
        let _ = tasks.spawn(async move {
            if let Ok(Lease::One(one)) = opening.await {
                spare.0.give_back(one, None);
            }
        });
    }

    /// Keeps a connection whose exchange is complete, if it can be used again.
    /// `keep_alive` is what the service said about how long it keeps it.
    pub fn give_back(self: &Arc<Self>, mut one: Box<One<D::Io>>, keep_alive: Option<Duration>) {
        // A second less than the service's own limit: it counts from when it sent, we from now.
        let theirs = keep_alive.map(|limit| limit.saturating_sub(Duration::from_secs(1)));
        let limit = theirs.map_or(self.keep.idle, |theirs| theirs.min(self.keep.idle));
        let now = moment::now();
        let until = one.retire_at.min(now + limit);
        if until <= now || !one.is_at_rest() {
            return;
        }
        one.mark_used();
        if self.keep.max_idle > 0 {
            let since = now;
            self.lay_down(Idle { one, since, until });
        }
    }

    /// Keeps a connection for whoever waits for one, or comes to want one.
    fn lay_down(self: &Arc<Self>, idle: Idle<D::Io>) {
        // More than `max_idle` for now: under load the next request wants it before the sweep comes.
        self.idle.put(idle);
        // Whoever begins to wait after this look finds it there.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.give_away();
        }
        self.sweep_later();
    }

    /// Gives what lies idle to those who wait, beginning with who has waited for the longest time.
    fn give_away(&self) {
        let now = moment::now();
        let mut state = self.state();
        while let Some(waiter) = state.waiting.pop_front() {
            let Some(idle) = self.idle.take(now) else {
                state.waiting.push_front(waiter);
                break;
            };
            if let Err(back) = waiter.send(idle) {
                self.idle.put(back);
            }
        }
        self.waiting.store(state.waiting.len(), Ordering::SeqCst);
    }

    /// Keeps nothing from now on. Requests under way end as they would have.
    pub fn retire(&self) {
        let mut state = self.state();
        state.retired = true;
        state.shared.clear();
        drop(state);
        self.idle.close();
    }

    /// A connection that is kept.
    pub fn take(&self, need: Need, now: Instant) -> Option<Lease<D::Io>> {
        if let Some(two) = self.take_stream(need, now) {
            return Some(Lease::Two(Box::new(two)));
        }
        if !matches!(need, Need::Any) {
            return None;
        }
        self.take_idle(now)
    }

    fn take_idle(&self, now: Instant) -> Option<Lease<D::Io>> {
        loop {
            let idle = self.idle.take(now)?;
            if let Some(one) = adopted::<D>(idle.one) {
                return Some(Lease::One(one));
            }
        }
    }

    /// A stream of a connection that is shared.
    fn take_stream(&self, need: Need, now: Instant) -> Option<Two> {
        if self.never_shares() {
            return None;
        }
        let mut state = self.state();
        state.shared.retain(|shared| shared.is_open(now));
        let usable = |shared: &&Shared| match need {
            Need::OpenedAfter(moment) => shared.was_opened_after(moment),
            Need::Any | Need::NotIdle => true,
        };
        let mut usable = state.shared.iter().filter(usable);
        usable.find_map(|shared| shared.lease(true))
    }

    /// Whether no connection to this endpoint can be HTTP/2.
    fn never_shares(&self) -> bool {
        match self.http {
            HttpVersion::One => true,
            HttpVersion::Two => false,
            HttpVersion::Auto => self.secure.is_none(),
        }
    }

    /// Whether a connection that is opened now may turn out to be HTTP/2.
    fn may_share(&self) -> bool {
        match self.http {
            HttpVersion::Two => true,
            HttpVersion::One | HttpVersion::Auto => {
                !self.never_shares() && !self.state().speaks_one
            }
        }
    }

    async fn open(self: &Arc<Self>) -> Result<Lease<D::Io>, Fault> {
        let by = moment::now() + self.connect_timeout;
        let stream = self.connect(by).await?;
        let two = match self.http {
            HttpVersion::One => false,
            HttpVersion::Two => self.secure.is_none() || stream.chose_h2(),
            HttpVersion::Auto => stream.chose_h2(),
        };
        if self.http == HttpVersion::Two && !two {
            return Err(tls_failure("no common HTTP version by ALPN"));
        }
        // Ages differ by a tenth either way, so that connections do not end in step.
        let age = self.keep.max_age.mul_f64(0.9 + 0.2 * fastrand::f64());
        let retire_at = moment::now() + age;
        match two {
            true => self.share(stream, retire_at, by).await,
            false => {
                if !self.never_shares() {
                    self.state().speaks_one = true;
                }
                Ok(Lease::One(Box::new(One::new(stream, retire_at))))
            }
        }
    }

    async fn connect(&self, by: Instant) -> Result<Stream<D::Io>, Fault> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let io = self
            .dial
            .dial(host, *port, by)
            .await
            .map_err(Fault::not_sent)?;
        let Some(secure) = &self.secure else {
            return Ok(Stream::Plain(io));
        };
        match timeout_at(by, secure.connect(io)).await {
            Ok(Ok(stream)) => Ok(Stream::Secure(stream)),
            Ok(Err(error)) => {
                let fault = Fault::new(tls::code(&error), Known::NotSent);
                Err(fault.with_detail(tls::detail(&error)))
            }
            Err(_) => Err(Fault::not_sent(Code::ConnectTimeout)),
        }
    }

    /// Opens an HTTP/2 connection, hands out its first stream, and keeps it for others.
    async fn share(
        self: &Arc<Self>,
        stream: Stream<D::Io>,
        retire_at: Instant,
        by: Instant,
    ) -> Result<Lease<D::Io>, Fault> {
        let shared = timeout_at(by, Shared::open(stream, retire_at, self.tasks.clone()))
            .await
            .map_err(|_| Fault::not_sent(Code::ConnectTimeout))?
            .map_err(no_handshake)?;
        let two = shared
            .lease(false)
            .ok_or_else(|| Fault::not_sent(Code::RefusedStream))?;
        let mut state = self.state();
        if !state.retired {
            state.shared.push(shared);
            drop(state);
            self.sweep_later();
        }
        Ok(Lease::Two(Box::new(two)))
    }

    /// Starts looking at what is idle, until nothing is.
    fn sweep_later(self: &Arc<Self>) {
        // Mostly it is on, and reading that takes it from no other core.
        if !self.sweeping.load(Ordering::SeqCst) && !self.sweeping.swap(true, Ordering::SeqCst) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Drops what is too old, too long idle or closed by the peer, and takes out what is beyond
    /// `max_idle` unless it was wanted since the last time. Says whether to come again.
    fn drop_dead(&self) -> (bool, Vec<Box<One<D::Io>>>) {
        let now = moment::now();
        let surplus = self.idle.sweep(now, self.keep.max_idle, SWEEP_EVERY);
        let limit = self.keep.idle;
        self.state()
            .shared
            .retain(|shared| shared.is_open(now) && !shared.is_idle(now, limit));
        if self.keeps_any() {
            return (true, surplus);
        }
        self.sweeping.store(false, Ordering::SeqCst);
        // Who kept one before it was stored has started no sweep.
        let again = self.keeps_any() && !self.sweeping.swap(true, Ordering::SeqCst);
        (again, surplus)
    }

    fn keeps_any(&self) -> bool {
        !self.idle.is_empty() || !self.state().shared.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State<D::Io>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a connection that somebody gives back. What is given at the moment when it is wanted no
/// longer goes back to the pool, where it would else be closed.
struct Waiting<'p, D: Dial> {
    pool: &'p Arc<Pool<D>>,
    given: oneshot::Receiver<Idle<D::Io>>,
}

impl<'p, D: Dial> Waiting<'p, D> {
    fn new(pool: &'p Arc<Pool<D>>) -> Waiting<'p, D> {
        let (sender, given) = oneshot::channel();
        let mut state = pool.state();
        state.waiting.retain(|waiter| !waiter.is_closed());
        state.waiting.push_back(sender);
        pool.waiting.store(state.waiting.len(), Ordering::SeqCst);
        drop(state);
        Waiting { pool, given }
    }
}

impl<D: Dial> Drop for Waiting<'_, D> {
    fn drop(&mut self) {
        self.given.close();
        if let Ok(idle) = self.given.try_recv() {
            self.pool.lay_down(idle);
        }
    }
}

/// A connection with its socket at this worker's runtime, if it is open and the system allows that.
fn adopted<D: Dial>(mut one: Box<One<D::Io>>) -> Option<Box<One<D::Io>>> {
    if one.worker == worker::here() {
        return Some(one);
    }
    match D::adopt(one.io_mut().io_mut()) {
        Adopted::Moved => one.worker = worker::here(),
        Adopted::Stays => {}
        Adopted::Closed => return None,
    }
    Some(one)
}

/// What opening a connection brings.
type Opened<D> = Result<Lease<<D as Dial>::Io>, Fault>;

/// Counts a handshake that nobody waits for.
struct Spare<D: Dial>(Arc<Pool<D>>);

impl<D: Dial> Drop for Spare<D> {
    fn drop(&mut self) {
        self.0.state().spare -= 1;
    }
}

async fn sweep<D: Dial>(pool: Weak<Pool<D>>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let Some((is_left, surplus)) = pool.upgrade().map(|pool| pool.drop_dead()) else {
            return;
        };
        // To close thousands at once would keep everybody else waiting.
        let mut surplus = surplus.into_iter();
        while surplus.by_ref().take(CLOSED_AT_ONCE).map(drop).count() == CLOSED_AT_ONCE {
            yield_now().await;
        }
        if !is_left {
            return;
        }
    }
}

fn tls_failure(detail: &'static str) -> Fault {
    Fault::new(Code::TlsFailure, Known::NotSent).with_detail(detail)
}

fn no_handshake(_: hyper::Error) -> Fault {
    Fault::new(Code::Reset, Known::NotSent)
}
