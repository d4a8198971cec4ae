//! The bounded task set of the process: what must outlive the run it began in. A write that was sent
//! is left to finish here; detached calls live here too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, oneshot, watch};

/// A set of at most so many tasks. Clones are the same set.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    most: usize,
    running: AtomicUsize,
    one_ended: Notify,
    ended: watch::Sender<bool>,
}

/// There is no room for another task, or the set was ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

impl Tasks {
    pub fn new(most: usize) -> Tasks {
        let shared = Shared {
            most,
            running: AtomicUsize::new(0),
            one_ended: Notify::new(),
            ended: watch::Sender::new(false),
        };
        Tasks {
            shared: Arc::new(shared),
        }
    }

    /// Runs `future` to its end whatever becomes of the receiver, which gets its output; nothing
    /// comes if the set was ended first.
    pub fn spawn<F>(&self, future: F) -> Result<oneshot::Receiver<F::Output>, Refused>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let place = self.take_place()?;
        let mut ended = self.shared.ended.subscribe();
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => {}
                // Whoever waited may have gone: the output is then read by nobody.
                output = future => { let _ = sender.send(output); }
            }
        });
        Ok(receiver)
    }

    /// How many are running.
    pub fn count(&self) -> usize {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Waits until none is running.
    pub async fn finished(&self) {
        loop {
            let one_ended = self.shared.one_ended.notified();
            if self.count() == 0 {
                return;
            }
            one_ended.await;
        }
    }

    /// Drops every task where it stands, and takes no more: for the forced end of the process.
    pub fn abort(&self) {
        self.shared.ended.send_replace(true);
    }

    fn take_place(&self) -> Result<Place, Refused> {
        let shared = &self.shared;
        if *shared.ended.borrow() {
            return Err(Refused);
        }
        shared
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < shared.most).then_some(running + 1)
            })
            .map_err(|_| Refused)?;
        Ok(Place(shared.clone()))
    }
}

/// A task's place in the set, given back when it is dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.one_ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_task_outlives_its_receiver() {
        let tasks = Tasks::new(1);
        let (go, gone) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel::<()>();
        let receiver = tasks.spawn(async move {
            gone.await.unwrap();
            done.send(()).unwrap();
        });
        drop(receiver);
        assert_eq!(tasks.count(), 1);
        go.send(()).unwrap();
        is_done.await.unwrap();
        tasks.finished().await;
        assert_eq!(tasks.count(), 0);
    }

    #[tokio::test]
    async fn a_full_set_refuses() {
        let tasks = Tasks::new(1);
        let first = tasks.spawn(pending::<()>()).unwrap();
        assert_eq!(tasks.spawn(async {}).err(), Some(Refused));
        tasks.abort();
        assert!(first.await.is_err());
        tasks.finished().await;
        assert_eq!(tasks.spawn(async {}).err(), Some(Refused));
    }

    #[tokio::test]
    async fn the_output_arrives() {
        let tasks = Tasks::new(1);
        assert_eq!(tasks.spawn(async { 7 }).unwrap().await, Ok(7));
    }
}
