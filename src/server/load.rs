//! What there is to do, of the process and of each of its workers, and how hard that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::policy::memory::Memory;
use crate::server::lag::Lag;
use crate::server::turn::Turns;
use crate::worker;

/// A worker does a connection's requests by itself unless another has so many fewer: as many as run at the
/// same time on one core without one of them being felt.
const LEAD: usize = 8;

/// What the process has to do, and how hard that is. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Load {
    pub counts: Arc<Counts>,
    pub memory: Memory,
    /// By number.
    workers: Arc<[Strain]>,
}

/// What one worker has to do, and how hard that is. Two lines of a cache, which are fetched together, so that
/// no other's lies in them.
#[derive(Debug)]
#[repr(align(128))]
pub struct Strain {
    /// Somebody has to measure it there: [`Lag::measure`].
    pub lag: Lag,
    pub turns: Arc<Turns>,
    /// Requests of connections that carry many at a time.
    streams: AtomicUsize,
}

/// A request that a worker was found for, until it is dropped.
pub struct Assigned {
    workers: Arc<[Strain]>,
    pub worker: usize,
}

impl Load {
    pub fn new(memory: Memory, workers: usize) -> Load {
        let strains = (0..workers.max(1)).map(|_| Strain {
            lag: Lag::default(),
            turns: Turns::new(),
            streams: AtomicUsize::new(0),
        });
        Load {
            counts: Arc::default(),
            memory,
            workers: strains.collect(),
        }
    }

    /// That of this thread's worker.
    pub fn here(&self) -> &Strain {
        &self.workers[worker::here_of(self.workers.len())]
    }

    /// That of the worker for which it is hardest.
    pub fn lag(&self) -> Duration {
        let lags = self.workers.iter().map(|strain| strain.lag.now());
        lags.max().unwrap_or_default()
    }

    /// Finds the worker for a request of a connection of this one that carries many at a time: one client
    /// may be all clients, where something stands before us that gathers them.
    pub fn assign(&self) -> Assigned {
        let streams = |number: usize| self.workers[number].streams.load(Ordering::Relaxed);
        let here = worker::here_of(self.workers.len());
        let numbers = 0..self.workers.len();
        let least = numbers.min_by_key(|number| streams(*number));
        let worker = least
            .filter(|least| streams(*least) + LEAD <= streams(here))
            .unwrap_or(here);
        self.workers[worker].streams.fetch_add(1, Ordering::Relaxed);
        Assigned {
            workers: self.workers.clone(),
            worker,
        }
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        let streams = &self.workers[self.worker].streams;
        streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a server has under way.
#[derive(Debug, Default)]
pub struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Counts {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests whose answer was not written to its end yet.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn begin_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_a_lead_before_others_help() {
        let load = Load::new(Memory::new(0), 3);
        let assigned = |count| -> Vec<Assigned> { (0..count).map(|_| load.assign()).collect() };
        let workers = |assigned: &[Assigned]| -> Vec<usize> {
            assigned.iter().map(|one| one.worker).collect()
        };
        let first = assigned(LEAD);
        assert_eq!(workers(&first), [0; LEAD]);
        // Each time the lead is reached another one takes one, the first of those with the fewest.
        let more = assigned(6);
        assert_eq!(workers(&more), [1, 2, 0, 1, 2, 0]);
        drop(first);
        assert_eq!(workers(&assigned(1)), [0]);
    }

    #[test]
    fn the_lag_is_that_of_the_one_for_whom_it_is_hardest() {
        let load = Load::new(Memory::new(0), 3);
        assert_eq!(load.lag(), Duration::ZERO);
        load.workers[1].lag.pretend(Duration::from_millis(7));
        load.workers[2].lag.pretend(Duration::from_millis(3));
        assert_eq!(load.lag(), Duration::from_millis(7));
        assert_eq!(load.here().lag.now(), Duration::ZERO);
    }
}
