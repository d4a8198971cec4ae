//! The threads that requests are answered on: one for each core, each with a runtime of its own.
//!
//! A task ends on the worker that it began on. So what it holds stays in the caches of one core, and cores
//! hardly ever wake each other; `docs/performance.md` has what that is worth. With one core the runtime that
//! is there already does all.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker whose thread this is, less than their count; 0 on every other thread.
pub fn here() -> usize {
    HERE.get()
}

/// The same for whoever knows of so many workers: less than `count`, also where this thread is one of more.
pub fn here_of(count: usize) -> usize {
    here() % count
}

/// Makes this thread one of that number, for tests that have no runtime there.
#[cfg(test)]
pub fn pretend(number: usize) {
    HERE.set(number);
}

/// The runtimes of all workers, by number; never empty. Clones are the same.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[Handle]>);

/// What workers run on. To drop it ends their tasks where they stand.
pub struct Threads(Vec<Thread>);

struct Thread {
    /// Ends it when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// One, which is the runtime that this is called in.
    pub fn alone() -> Workers {
        Workers([Handle::current()].into())
    }

    /// So many, each on a thread of its own; one needs none. Must be called in a runtime. Fails where the
    /// system has no thread to give, or no file for what it waits with.
    pub fn start(count: usize) -> io::Result<(Workers, Threads)> {
        if count <= 1 {
            return Ok((Workers::alone(), Threads(Vec::new())));
        }
        let started: io::Result<Vec<_>> = (0..count).map(Thread::start).collect();
        let (handles, threads): (Vec<_>, Vec<_>) = started?.into_iter().unzip();
        Ok((Workers(handles.into()), Threads(threads)))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, number: usize) -> &Handle {
        &self.0[number]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter()
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<(Handle, Thread)> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (sender, started) = mpsc::channel();
        let work = move || {
            HERE.set(number);
            // Made here: where no thread can be had, one of an asynchronous caller must not drop it.
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let _ = sender.send(Ok(runtime.handle().clone()));
            // An error is that the sender is gone, which is how it is told.
            let _ = runtime.block_on(stopped);
            // A lookup of a name that hangs keeps nobody.
            runtime.shutdown_background();
        };
        let name = format!("worker-{number}");
        let thread = Thread {
            stop: Some(stop),
            thread: Some(thread::Builder::new().name(name).spawn(work)?),
        };
        let handle = started.recv().map_err(io::Error::other)??;
        Ok((handle, thread))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // All are told before one is waited for.
        for thread in &mut self.0 {
            thread.stop = None;
        }
        for thread in &mut self.0 {
            // One that panicked has ended too.
            let _ = thread.thread.take().map(JoinHandle::join);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[tokio::test]
    async fn each_has_a_number_and_a_thread_of_its_own() {
        let (workers, _threads) = Workers::start(3).unwrap();
        assert_eq!(workers.count(), 3);
        let mut threads = vec![thread::current().id()];
        for (number, worker) in workers.iter().enumerate() {
            let place = || (here(), thread::current().id());
            let first = worker.spawn(async move { place() }).await.unwrap();
            let nested = async move { tokio::spawn(async move { place() }).await.unwrap() };
            assert_eq!(worker.spawn(nested).await.unwrap(), first);
            assert_eq!(first.0, number);
            assert!(!threads.contains(&first.1));
            threads.push(first.1);
        }
    }

    #[tokio::test]
    async fn one_is_the_runtime_that_is_there() {
        let (workers, _threads) = Workers::start(1).unwrap();
        assert_eq!(workers.count(), 1);
        assert_eq!(workers.get(0).id(), Handle::current().id());
    }

    #[tokio::test]
    async fn with_the_threads_their_tasks_end() {
        let (workers, threads) = Workers::start(2).unwrap();
        let (sender, mut receiver) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let task = workers.get(1).spawn(async move {
            let _held = sender;
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        has_begun.await.unwrap();
        drop(threads);
        assert_eq!(
            receiver.try_recv(),
            Err(TryRecvError::Closed),
            "what it held is dropped"
        );
        assert!(task.await.unwrap_err().is_cancelled());
        let late = workers.get(1).spawn(async {});
        assert!(late.await.unwrap_err().is_cancelled());
    }
}
