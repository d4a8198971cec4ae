//! Whose turn it is to begin: with much to do, what is under way comes before what is new.
//!
//! A request that begins at once when it arrives is one more that lies in memory with its calls, and by
//! the time their answers are read the caches hold others. To begin only as many as are finished keeps
//! that what is worked on small (Denning, "The working set model for program behavior", 1968): with 512
//! clients on one core a request costs 0.6 of what it costs when all begin.
//!
//! It is not a limit on requests under way. Those who wait are let in a few at a time, as often as the
//! runtime has gone through all that was ready; while services take their time nothing is ready, so that
//! nobody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// With fewer calls under way nobody waits.
const FREE: usize = 48;

/// How many begin in a round.
const AT_ONCE: usize = 4;

/// Who is under way on a worker, and who waits to begin, in order of arrival.
#[derive(Debug)]
pub struct Turns {
    /// Calls of those who have begun, as their routes list them: of a `for_each` it is one.
    under_way: AtomicUsize,
    waiting: AtomicUsize,
    /// A permit is somebody's turn.
    permits: Semaphore,
    /// Whether a task lets in those who wait.
    is_led: AtomicBool,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<'t> {
    of: &'t AtomicUsize,
    counts: usize,
}

/// Counts in a number for as long as it lives.
fn count(of: &AtomicUsize, counts: usize) -> Turn<'_> {
    of.fetch_add(counts, SeqCst);
    Turn { of, counts }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.counts, SeqCst);
    }
}

impl Turns {
    /// Nobody is under way.
    pub fn new() -> Arc<Turns> {
        Arc::new(Turns {
            under_way: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            permits: Semaphore::new(0),
            is_led: AtomicBool::new(false),
        })
    }

    /// Waits until it is time to begin what makes so many calls.
    pub async fn begin(self: &Arc<Self>, calls: usize) -> Turn<'_> {
        let is_free = self.waiting.load(SeqCst) == 0 && self.under_way.load(SeqCst) < FREE;
        if !is_free {
            let _waiting = count(&self.waiting, 1);
            self.lead();
            let permit = self.permits.acquire().await;
            permit.expect("the semaphore is never closed").forget();
        }
        count(&self.under_way, calls.max(1))
    }

    #[cfg(test)]
    pub fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }

    fn lead(self: &Arc<Self>) {
        if !self.is_led.swap(true, SeqCst) {
            tokio::spawn(self.clone().let_in());
        }
    }

    /// Lets in those who wait, until nobody does.
    async fn let_in(self: Arc<Self>) {
        loop {
            // Comes back after a look at the sockets.
            yield_now().await;
            let waiting = self.waiting.load(SeqCst);
            let owed = waiting.min(AT_ONCE);
            // A permit of somebody who is gone is there already.
            let there = self.permits.available_permits();
            match owed.checked_sub(there) {
                Some(missing) => self.permits.add_permits(missing),
                None => {
                    self.permits.forget_permits(there - owed);
                }
            }
            if waiting == 0 {
                self.is_led.store(false, SeqCst);
                // Somebody may have come to wait before it was stored.
                if self.waiting.load(SeqCst) == 0 || self.is_led.swap(true, SeqCst) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    /// Of every request here.
    const CALLS: usize = 6;

    /// Takes turns until somebody would have to wait.
    fn crowd(turns: &Arc<Turns>) -> Vec<Turn<'_>> {
        (0..FREE / CALLS)
            .map(|_| turns.begin(CALLS).now_or_never().expect("it is free"))
            .collect()
    }

    /// What happened, in order.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<usize>>>);

    impl Log {
        fn add(&self, what: usize) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(what);
        }

        fn take(&self) -> Vec<usize> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    /// Begins `number` in a task, and keeps the turn for ever.
    fn start(turns: &Arc<Turns>, number: usize, log: &Log) -> tokio::task::JoinHandle<()> {
        let (turns, log) = (turns.clone(), log.clone());
        tokio::spawn(async move {
            let _turn = turns.begin(CALLS).await;
            log.add(number);
            std::future::pending().await
        })
    }

    /// What happens in each of the next rounds that something happens in.
    async fn rounds(log: &Log, count: usize) -> Vec<Vec<usize>> {
        let mut rounds = Vec::new();
        for _ in 0..count {
            yield_now().await;
            rounds.push(log.take());
        }
        rounds.retain(|round| !round.is_empty());
        rounds
    }

    #[tokio::test]
    async fn few_do_not_wait_and_many_begin_in_order_a_few_a_round() {
        let turns = Turns::new();
        let log = Log::default();
        let few = crowd(&turns);
        assert!(turns.begin(CALLS).now_or_never().is_none());
        for number in 0..10 {
            start(&turns, number, &log);
        }
        let begun = rounds(&log, 20).await;
        assert_eq!(begun, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        drop(few);
        assert!(
            turns.begin(CALLS).now_or_never().is_none(),
            "ten are under way"
        );
    }

    #[tokio::test]
    async fn a_turn_that_has_ended_makes_room() {
        let turns = Turns::new();
        let mut few = crowd(&turns);
        assert!(turns.begin(CALLS).now_or_never().is_none());
        rounds(&Log::default(), 5).await;
        few.pop();
        let turn = turns.begin(CALLS).now_or_never();
        assert!(turn.is_some());
        assert!(turns.begin(CALLS).now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_counts_is_their_calls() {
        let turns = Turns::new();
        let many: Vec<_> = (0..FREE).map(|_| turns.begin(1).now_or_never()).collect();
        assert!(many.iter().all(Option::is_some));
        assert!(
            turns.begin(1).now_or_never().is_none(),
            "as many as are free"
        );
        drop(many);
        rounds(&Log::default(), 5).await;
        let large = turns.begin(2 * FREE).now_or_never();
        assert!(large.is_some(), "nothing is under way");
        assert!(turns.begin(0).now_or_never().is_none());
        drop(large);
        rounds(&Log::default(), 5).await;
        let none: Vec<_> = (0..FREE).map(|_| turns.begin(0).now_or_never()).collect();
        assert!(none.iter().all(Option::is_some));
        assert!(
            turns.begin(0).now_or_never().is_none(),
            "who calls nobody counts as one"
        );
    }

    #[tokio::test]
    async fn whoever_is_gone_takes_nobodys_turn() {
        let turns = Turns::new();
        let log = Log::default();
        let _few = crowd(&turns);
        let gone: Vec<_> = (0..6).map(|number| start(&turns, number, &log)).collect();
        start(&turns, 6, &log);
        // They wait now.
        yield_now().await;
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        let begun = rounds(&log, 20).await;
        assert_eq!(begun.concat(), [6]);
        assert_eq!(turns.waiting.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn what_is_under_way_goes_on_between_rounds() {
        const WORK: usize = 100;
        let turns = Turns::new();
        let log = Log::default();
        let _few = crowd(&turns);
        let working = log.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                working.add(WORK);
                yield_now().await;
            }
        });
        for number in 0..2 * AT_ONCE {
            start(&turns, number, &log);
        }
        let happened: Vec<usize> = rounds(&log, 20).await.concat();
        let at = |number| happened.iter().position(|what| *what == number).unwrap();
        let between = &happened[at(AT_ONCE - 1)..at(AT_ONCE)];
        assert!(between.contains(&WORK), "{happened:?}");
    }

    /// With several workers nobody waits for ever, whoever else is gone, and nothing is left over.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn several_workers_lose_nobody() {
        const REQUESTS: usize = 2000;
        let turns = Turns::new();
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..REQUESTS {
            let turns = turns.clone();
            let request = async move {
                for _ in 0..4 {
                    let turn = turns.begin(CALLS).await;
                    yield_now().await;
                    drop(turn);
                }
            };
            let handle = requests.spawn(request);
            if number % 3 == 0 {
                tokio::spawn(async move {
                    yield_now().await;
                    handle.abort();
                });
            }
        }
        let all = async { while requests.join_next().await.is_some() {} };
        let within = Duration::from_secs(60);
        tokio::time::timeout(within, all).await.expect("all end");
        assert_eq!(turns.waiting.load(SeqCst), 0);
        assert_eq!(turns.under_way.load(SeqCst), 0);
        while turns.is_led.load(SeqCst) {
            yield_now().await;
        }
        assert_eq!(turns.permits.available_permits(), 0);
    }
}
