//! Calls that are sent after the answer: a bounded queue of the process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::downstream::tasks::Tasks;
use crate::engine::code::Code;
use crate::engine::fetch::{Exchange, Fetch};
use crate::engine::record::{CallRecord, Outcome};
use crate::telemetry::metrics::Meters;

/// So many are sent at the same time, and so many wait for it.
const AT_ONCE: usize = 64;
const WAITING: usize = 1024;

/// What a detached call has without a timeout of its own.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The queue. What finds no room is dropped and counted.
#[derive(Clone)]
pub struct Queue {
    tasks: Tasks,
    sending: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            tasks: Tasks::new(AT_ONCE + WAITING),
            sending: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Queue {
    /// Waits until the queue is empty.
    pub async fn drained(&self) {
        self.tasks.finished().await;
    }

    /// Drops what is queued or being sent.
    pub fn abort(&self) {
        self.tasks.abort();
    }

    /// The call of `exchange`, to be queued when the answer was written.
    pub fn job<F: Fetch + 'static>(
        &self,
        fetch: Arc<F>,
        meters: Arc<Meters>,
        exchange: Exchange,
    ) -> Job {
        let route = exchange.route.index;
        let call = exchange.call;
        let dropped = meters.clone();
        Job {
            queue: self.clone(),
            send: Box::pin(send(fetch, meters, exchange)),
            dropped: Box::new(move || dropped.detached_dropped(route, call)),
        }
    }
}

/// A detached call that waits for its answer to be written.
pub struct Job {
    queue: Queue,
    send: Pin<Box<dyn Future<Output = ()> + Send>>,
    dropped: Box<dyn FnOnce() + Send>,
}

impl Job {
    pub fn queue(self) {
        let Job {
            queue,
            send,
            dropped,
        } = self;
        // Without a runtime the process ends: there is nobody to send anything.
        let has_runtime = tokio::runtime::Handle::try_current().is_ok();
        let sending = queue.sending;
        let work = async move {
            let _permit = sending.acquire_owned().await;
            send.await;
        };
        if !has_runtime || queue.tasks.spawn(work).is_err() {
            dropped();
        }
    }
}

/// The call's clock starts when it is sent.
async fn send<F: Fetch>(fetch: Arc<F>, meters: Arc<Meters>, mut exchange: Exchange) {
    let started = Instant::now();
    let route = exchange.route.clone();
    let call = exchange.call;
    exchange.deadline = started + route.calls[call.0].timeout.unwrap_or(TIMEOUT);
    let fetched = fetch.fetch(exchange.into()).await;
    let (outcome, code, status) = match &fetched.result {
        Ok(answer) => (Outcome::Live, None, Some(answer.status)),
        Err(error) => (Outcome::Failed, Some(error.code), error.status),
    };
    let record = CallRecord {
        call,
        outcome,
        code: code.filter(|code| *code != Code::ClientGone),
        status,
        attempts: fetched.attempts,
        start: Duration::ZERO,
        elapsed: started.elapsed(),
        items: None,
        of_cache: 0,
    };
    meters.detached(route.index, &record);
}
