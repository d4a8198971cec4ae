//! Calls from several workers, over real sockets: whose connections they use, and who looks after those.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use super::support::*;
use crate::downstream::connection::{Lease, One};
use crate::downstream::dial::{Adopted, Dial, Tcp};
use crate::downstream::idle::{Idle, Stacks};
use crate::downstream::pool::Need;
use crate::downstream::tls::Stream;
use crate::engine::code::Code;
use crate::plan::ServiceId;
use crate::worker::{self, Workers};

/// A worker whose thread does nothing else until this is dropped.
pub struct Held {
    _until: mpsc::Sender<()>,
}

impl Held {
    pub async fn hold(worker: &Handle) -> Held {
        let (sender, until) = mpsc::channel::<()>();
        let (begun, held) = tokio::sync::oneshot::channel();
        worker.spawn(async move {
            begun.send(()).unwrap();
            // An error is that the sender is gone.
            let _ = until.recv();
        });
        held.await.unwrap();
        Held { _until: sender }
    }
}

/// What comes of a call that is made on `worker`.
pub fn call<D: Dial>(worker: &Handle, fixture: &Arc<Fixture<D>>) -> JoinHandle<String> {
    let fixture = fixture.clone();
    worker.spawn(async move { fixture.outcome(once(get()), 2000).await })
}

/// Waits until `count` is so much.
async fn reached(count: &AtomicUsize, much: usize) {
    while count.load(Ordering::SeqCst) < much {
        yield_now().await;
    }
}

/// Answers with the connection's number when there is a permit, and counts who has asked.
async fn answering(permits: Arc<Semaphore>, asked: Arc<AtomicUsize>) -> u16 {
    serve(script(move |number, mut peer| {
        let (permits, asked) = (permits.clone(), asked.clone());
        async move {
            while peer.request().await.is_some() {
                asked.fetch_add(1, Ordering::SeqCst);
                permits.acquire().await.unwrap().forget();
                peer.json(&number.to_string()).await;
            }
        }
    }))
    .await
}

#[tokio::test]
async fn what_lies_idle_goes_to_the_worker_that_wants_it() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let port = answering(Arc::new(Semaphore::new(9)), Arc::default()).await;
    let fixture = Arc::new(Fixture::of_workers(2, service(port), Tcp::new()));
    assert_eq!(call(workers.get(0), &fixture).await.unwrap(), "200 0 x1");
    let held = Held::hold(workers.get(0)).await;
    let second = call(workers.get(1), &fixture).await.unwrap();
    assert_eq!(second, "200 0 x1", "the other's runtime is not needed");
    drop(held);
    for worker in [1, 0, 0, 1] {
        let outcome = call(workers.get(worker), &fixture).await.unwrap();
        assert_eq!(outcome, "200 0 x1", "on {worker}");
    }
}

#[tokio::test]
async fn each_worker_has_its_own_where_there_are_enough() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let (permits, asked) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let port = answering(permits.clone(), asked.clone()).await;
    let fixture = Arc::new(Fixture::of_workers(2, service(port), Tcp::new()));
    let first = call(workers.get(0), &fixture);
    reached(&asked, 1).await;
    let second = call(workers.get(1), &fixture);
    reached(&asked, 2).await;
    permits.add_permits(9);
    assert_eq!(first.await.unwrap(), "200 0 x1");
    assert_eq!(second.await.unwrap(), "200 1 x1");
    for worker in [1, 0, 1, 0] {
        let outcome = call(workers.get(worker), &fixture).await.unwrap();
        assert_eq!(outcome, format!("200 {worker} x1"));
    }
}

/// TCP, where a connection is there when a permit is; and how many were wanted.
pub struct Gated(pub Semaphore, pub AtomicUsize);

impl Dial for Gated {
    type Io = <Tcp as Dial>::Io;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<Self::Io, Code> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.acquire().await.unwrap().forget();
        Tcp::new().dial(host, port, by).await
    }

    fn adopt(io: &mut Self::Io) -> Adopted {
        Tcp::adopt(io)
    }
}

#[tokio::test]
async fn what_is_given_back_goes_to_a_worker_that_waits_for_one() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let (permits, asked) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let port = answering(permits.clone(), asked.clone()).await;
    let dial = Gated(Semaphore::new(1), AtomicUsize::new(0));
    let fixture = Arc::new(Fixture::of_workers(2, service(port), dial));
    let first = call(workers.get(0), &fixture);
    reached(&asked, 1).await;
    let second = call(workers.get(1), &fixture);
    reached(&fixture.dial.1, 2).await;
    permits.add_permits(1);
    assert_eq!(first.await.unwrap(), "200 0 x1");
    reached(&asked, 2).await;
    let _held = Held::hold(workers.get(0)).await;
    permits.add_permits(1);
    assert_eq!(second.await.unwrap(), "200 0 x1");
}

/// TCP of a system that moves nothing to another runtime.
struct Staying(Tcp);

impl Dial for Staying {
    type Io = <Tcp as Dial>::Io;

    async fn dial(&self, host: &str, port: u16, by: Instant) -> Result<Self::Io, Code> {
        self.0.dial(host, port, by).await
    }

    fn adopt(_io: &mut Self::Io) -> Adopted {
        Adopted::Stays
    }
}

#[tokio::test]
async fn what_cannot_be_moved_is_used_where_it_is() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let port = answering(Arc::new(Semaphore::new(9)), Arc::default()).await;
    let dial = Staying(Tcp::new());
    let fixture = Arc::new(Fixture::of_workers(2, service(port), dial));
    for worker in [0, 1, 1, 0] {
        let outcome = call(workers.get(worker), &fixture).await.unwrap();
        assert_eq!(outcome, "200 0 x1", "on {worker}");
    }
}

/// Its runtime would have to say so, and has not come to it.
#[tokio::test]
async fn what_is_closed_is_not_taken_from_a_worker_that_does_not_know() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let (close, closed) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (closing, has_closed) = (close.clone(), closed.clone());
    let port = serve(script(move |number, mut peer| {
        let (closing, has_closed) = (closing.clone(), has_closed.clone());
        async move {
            peer.request().await.unwrap();
            peer.json(&number.to_string()).await;
            closing.acquire().await.unwrap().forget();
            drop(peer);
            has_closed.add_permits(1);
        }
    }))
    .await;
    let fixture = Arc::new(Fixture::of_workers(2, service(port), Tcp::new()));
    assert_eq!(call(workers.get(0), &fixture).await.unwrap(), "200 0 x1");
    let _held = Held::hold(workers.get(0)).await;
    close.add_permits(1);
    closed.acquire().await.unwrap().forget();
    assert_eq!(call(workers.get(1), &fixture).await.unwrap(), "200 1 x1");
}

/// Whoever gives one back and whoever begins to wait at the same moment find each other.
#[tokio::test]
async fn nobody_waits_while_one_lies_idle() {
    const ROUNDS: usize = 2000;
    let (workers, _threads) = Workers::start(2).unwrap();
    let port = answering(Arc::new(Semaphore::new(3 * ROUNDS)), Arc::default()).await;
    // There is one, and there will be no other.
    let dial = Gated(Semaphore::new(1), AtomicUsize::new(0));
    let fixture = Arc::new(Fixture::of_workers(2, service(port), dial));
    assert_eq!(call(workers.get(0), &fixture).await.unwrap(), "200 0 x1");
    for round in 0..ROUNDS {
        let both = [0, 1].map(|worker| call(workers.get(worker), &fixture));
        for outcome in both {
            assert_eq!(outcome.await.unwrap(), "200 0 x1", "in round {round}");
        }
    }
}

#[tokio::test]
async fn what_was_moved_belongs_to_its_new_worker() {
    let (workers, _threads) = Workers::start(2).unwrap();
    let port = answering(Arc::new(Semaphore::new(9)), Arc::default()).await;
    let fixture = Arc::new(Fixture::of_workers(2, service(port), Tcp::new()));
    assert_eq!(call(workers.get(0), &fixture).await.unwrap(), "200 0 x1");
    let pool = fixture.client.service(ServiceId(0)).pools[0].clone();
    let taken = workers
        .get(1)
        .spawn(async move { pool.take(Need::Any, Instant::now()) });
    let Some(Lease::One(one)) = taken.await.unwrap() else {
        panic!("it lies idle");
    };
    assert_eq!(one.worker, 1);
}

/// Over pipes, so that time is virtual. Each worker gives back what it has used.
#[test]
fn a_sweep_takes_the_coldest_of_all_workers() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let stacks = Arc::new(Stacks::<DuplexStream>::new(2));
    let (mut far, base) = (Vec::new(), runtime.block_on(async { Instant::now() }));
    let seconds = move |number: u64| base + Duration::from_secs(number);
    // Worker 0 has those of seconds 0, 2, 4 and 6, worker 1 those of 0, 3, 5 and 7.
    for (worker, since) in [(0, [0, 2, 4, 6]), (1, [0, 3, 5, 7])] {
        let (stacks, runtime) = (stacks.clone(), runtime.handle().clone());
        let pipes = since.map(|since| (since, tokio::io::duplex(64)));
        let (near, kept): (Vec<_>, Vec<_>) = pipes
            .into_iter()
            .map(|(since, (near, far))| ((since, near), far))
            .unzip();
        far.extend(kept);
        let lay_down = move || {
            worker::pretend(worker);
            let _in_runtime = runtime.enter();
            for (since, near) in near {
                let one = Box::new(One::new(Stream::Plain(near), seconds(since)));
                let (since, until) = (seconds(since), seconds(100));
                stacks.put(Idle { one, since, until });
            }
        };
        std::thread::spawn(lay_down).join().unwrap();
    }
    let _in_runtime = runtime.enter();
    let sweep = |most| -> Vec<u64> {
        let surplus = stacks.sweep(seconds(8), most, Duration::from_secs(3));
        let since = surplus.iter().map(|one| one.retire_at - base);
        let mut since: Vec<_> = since.map(|since| since.as_secs()).collect();
        since.sort_unstable();
        since
    };
    assert_eq!(sweep(8), [0; 0]);
    assert_eq!(sweep(7), [0], "one of two");
    assert_eq!(sweep(5), [0, 2]);
    assert_eq!(sweep(0), [3, 4, 5], "6 and 7 are warm");
    assert!(!stacks.is_empty());
}
