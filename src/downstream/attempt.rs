//! One attempt on the wire: a connection, the request, the answer. What it needs of the run that it
//! belongs to is owned, so that a write which was sent can be left to finish alone.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::boxed;
use crate::downstream::connection::{Lease, Prepared};
use crate::downstream::dial::Dial;
use crate::downstream::fault::{self, Circumstances, Fault};
use crate::downstream::guards::Permit;
use crate::downstream::inbound::Inbound;
use crate::downstream::meter::{Counts, Moved};
use crate::downstream::pool::Pool;
use crate::downstream::shelf::Shelf;
use crate::engine::code::Code;
use crate::engine::fetch::{Exchange, LEAST_TIME};
use crate::moment;
use crate::policy::breaker::Verdict;
use crate::policy::retry::Known;

/// A clock that is noticed so late was not watched: the process is overloaded, not the service.
const LATE: Duration = Duration::from_millis(20);

/// What becomes of an answer once its head is there.
pub trait Finish<D: Dial>: Clone + Send + Sync + 'static {
    type Done: Send + 'static;

    fn finish(
        self,
        exchange: &Exchange,
        inbound: Inbound<D>,
    ) -> impl Future<Output = Result<Self::Done, Failed<D>>> + Send;

    /// The answer of a failed attempt, which no other attempt takes the place of.
    fn hand_on(self, exchange: &Exchange, inbound: Inbound<D>) -> Self::Done;
}

/// A failed attempt, with the answer that may be handed on if no other attempt is made.
pub struct Failed<D: Dial> {
    pub fault: Fault,
    pub answer: Option<Box<Inbound<D>>>,
}

impl<D: Dial> Failed<D> {
    /// Gives the attempt's place back, though its answer may still be handed on.
    pub fn release(&mut self) {
        if let Some(inbound) = &mut self.answer {
            inbound.flow.release();
        }
    }
}

impl<D: Dial> From<Fault> for Failed<D> {
    fn from(fault: Fault) -> Failed<D> {
        Failed {
            fault,
            answer: None,
        }
    }
}

/// An attempt under way, for all who hold a part of it.
pub struct Attempt {
    pub permit: Permit,
    /// The connection it was sent over, what had moved there before, and whether others share it.
    sent: Mutex<Option<(Arc<Counts>, Moved, bool)>>,
    cut: Notify,
    /// Its clock ended it so much too late that the delay is ours.
    ended_late: AtomicBool,
}

impl Attempt {
    pub fn new(permit: Permit) -> Arc<Attempt> {
        Arc::new(Attempt {
            permit,
            sent: Mutex::new(None),
            cut: Notify::new(),
            ended_late: AtomicBool::new(false),
        })
    }

    /// Ends it where it stands, also where it runs in a task of its own.
    pub fn cut(&self) {
        self.permit.release();
        self.cut.notify_one();
    }

    /// The failure of an attempt that its clock has ended; `by` is when that was due.
    pub fn timed_out(&self, by: Instant) -> Fault {
        if moment::since(by) > LATE {
            self.ended_late.store(true, Ordering::Relaxed);
        }
        let known = match self.may_have_arrived() {
            true => Known::Unknown,
            false => Known::NotSent,
        };
        Fault::new(Code::TryTimeout, known)
    }

    /// Some bytes were written. What was handed to a connection that others share goes out later, even
    /// if nobody waits for it any more.
    fn may_have_arrived(&self) -> bool {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.as_ref()
            .is_some_and(|(counts, start, shared)| *shared || counts.since(*start).written > 0)
    }

    fn will_be_sent_over(&self, counts: Arc<Counts>, shared: bool) -> Moved {
        let start = counts.now();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent = Some((counts, start, shared));
        start
    }
}

/// One request with its connection, to be carried to its answer.
pub struct Carriage<D: Dial, F> {
    pub exchange: Arc<Exchange>,
    pub attempt: Arc<Attempt>,
    pub pool: Arc<Pool<D>>,
    pub lease: Lease<D::Io>,
    /// A connection that lay idle and turns out to be dead may be replaced.
    pub may_replay: bool,
    /// Of a call that writes: where answers are kept, and the service's name.
    pub writes: Option<(Shelf, Box<str>)>,
    pub finish: F,
}

impl<D: Dial, F: Finish<D>> Carriage<D, F> {
    /// Sends the request and finishes its answer. In a box: a future is copied by every layer that waits for
    /// it, and this is the large one.
    pub fn carry(
        mut self,
        request: Prepared,
    ) -> impl Future<Output = Result<F::Done, Failed<D>>> + Send {
        let shared = self.lease.version() == http::Version::HTTP_2;
        let start = self.attempt.will_be_sent_over(self.lease.counts(), shared);
        self.lease.begin(request);
        boxed::pinned(|| async move {
            let head = match poll_fn(|context| self.lease.poll_head(context)).await {
                Ok(head) => head,
                Err(broken) => {
                    let around = Circumstances {
                        reused: self.lease.is_used(),
                        shared,
                        may_replay: self.may_replay,
                        repeatable: self.exchange.call().repeatable,
                        moved: self.lease.counts().since(start),
                    };
                    return Err(fault::of_head(&broken, around).into());
                }
            };
            let finished = {
                let inbound = Inbound::accept(head, self.lease, self.pool, self.attempt)?;
                if let Some((shelf, service)) = &self.writes {
                    let status = inbound.status.as_u16();
                    shelf.invalidate(&self.exchange, service, status, &inbound.headers);
                }
                self.finish.finish(&self.exchange, inbound)
            };
            finished.await
        })
    }

    /// As [`Carriage::carry`], in a task of its own: until the call's clock or [`Attempt::cut`] ends
    /// it, and saying itself what came of it, since the run may be gone by then.
    pub async fn carry_alone(self, request: Prepared) -> Result<F::Done, Failed<D>> {
        let (exchange, attempt) = (self.exchange.clone(), self.attempt.clone());
        let by = exchange.deadline;
        // Whoever cut it before it began takes it for not sent, so that it must not be.
        let is_cut = attempt.cut.notified().now_or_never().is_some();
        let carried = match is_cut || by <= moment::now() {
            true => Err(attempt.timed_out(by.min(moment::now())).into()),
            false => tokio::select! {
                biased;
                () = attempt.cut.notified() => Err(attempt.timed_out(moment::now()).into()),
                ended = timeout_at(by, self.carry(request)) => {
                    ended.unwrap_or_else(|_| Err(attempt.timed_out(by).into()))
                }
            },
        };
        if !is_to_be_replayed(&carried) {
            attempt.permit.end(verdict(&carried, &exchange, &attempt));
        }
        carried
    }
}

/// Its idle connection was dead: the same attempt goes on over another one.
pub fn is_to_be_replayed<T, D: Dial>(ended: &Result<T, Failed<D>>) -> bool {
    matches!(ended, Err(failed) if failed.fault.code == Code::StaleConnection)
}

/// What an attempt says about its endpoint: the column "counts for the breaker" of `resilience.md`
/// §4. An answer that the call does not like is still a sign of health.
pub fn verdict<T, D: Dial>(
    ended: &Result<T, Failed<D>>,
    exchange: &Exchange,
    attempt: &Attempt,
) -> Verdict {
    let Err(failed) = ended else {
        return Verdict::Good;
    };
    match failed.fault.code {
        Code::TryTimeout if is_cut_by_others(exchange, attempt) => Verdict::Nothing,
        // We had no time to look: the service may have answered long ago.
        Code::TryTimeout if attempt.ended_late.load(Ordering::Relaxed) => Verdict::Nothing,
        Code::ConnectRefused
        | Code::ConnectUnreachable
        | Code::ConnectTimeout
        | Code::TlsFailure
        | Code::TlsCertificate
        | Code::TlsAlert
        | Code::Reset
        | Code::TryTimeout
        | Code::Timeout
        | Code::Truncated
        | Code::ProtocolError
        | Code::Service5xx
        | Code::ServiceUnavailable => Verdict::Bad,
        Code::BadPayload | Code::JsonLimit | Code::ServiceLimited => Verdict::RatioOnly,
        Code::Service4xx | Code::UnexpectedStatus => Verdict::Good,
        _ => Verdict::Nothing,
    }
}

/// The client's deadline, the route's end or our own queue left less time than the attempt's own clock:
/// neither an impatient client nor a rush is a reason to open a breaker. A moment less is rounding.
fn is_cut_by_others(exchange: &Exchange, attempt: &Attempt) -> bool {
    let own_end = attempt.permit.since() + exchange.call().attempt_timeout;
    let has_less = exchange.ends_with_route || attempt.permit.has_waited();
    has_less && moment::now() + LEAST_TIME < own_end
}
