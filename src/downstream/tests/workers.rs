//! Calls from several workers, over real sockets: whose connections they use, and who looks after those.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use super::support::*;
use crate::downstream::dial::{Dial, Tcp};
use crate::engine::code::Code;
use crate::worker::Workers;

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

    fn adopt(io: &mut Self::Io) -> std::io::Result<()> {
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
