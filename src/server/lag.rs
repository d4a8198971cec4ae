//! How late tasks get to run: the first sign of too much to do, whatever it is that is too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::policy::shed;
use crate::server::turn::Turns;

/// Often enough to notice a burst, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(20);
/// The timer's own grain: so late is on time.
const GRAIN: Duration = Duration::from_millis(1);
/// How often a request goes through the queue of what is ready: when it begins, when its calls have
/// answered, when it ends. The wait for a turn is what it would wait each time, at once.
const PASSES: u32 = 3;
/// A sample counts for at most so many times the limit: with the weight that a sample has, one alone
/// reaches the limit and no more. A process that was stopped for a second is not overloaded.
const MOST: u32 = 5;

/// The lag, smoothed; 0 until it is measured.
#[derive(Debug, Default)]
pub struct Lag {
    nanoseconds: AtomicU64,
}

impl Lag {
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Measures for as long as it runs: how late it is woken, and how long it waits for its turn as a
    /// request does. `limit` is the one in force.
    pub async fn measure(&self, limit: impl Fn() -> Duration, turns: &Arc<Turns>) {
        let mut lag = shed::Lag::default();
        loop {
            let due = Instant::now() + EVERY;
            sleep_until(due).await;
            let woken = Instant::now();
            drop(turns.begin(1).await);
            let late_by = woken.saturating_duration_since(due) + woken.elapsed() / PASSES;
            let late_by = late_by.saturating_sub(GRAIN).min(MOST * limit());
            self.set(lag.observe(late_by));
        }
    }

    /// For tests, which have no busy machine.
    #[cfg(test)]
    pub fn pretend(&self, lag: Duration) {
        self.set(lag);
    }

    fn set(&self, lag: Duration) {
        let nanoseconds = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::yield_now;
    use tokio::time::{advance, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn measured(turns: Arc<Turns>) -> Arc<Lag> {
        let lag = Arc::new(Lag::default());
        let measuring = lag.clone();
        tokio::spawn(async move { measuring.measure(|| LIMIT, &turns).await });
        lag
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wakes_in_time_has_no_lag() {
        let lag = measured(Turns::new());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(lag.now(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wakes_late_has() {
        let lag = measured(Turns::new());
        yield_now().await;
        advance(Duration::from_millis(71)).await;
        yield_now().await;
        // A fifth of 50 ms.
        assert_eq!(lag.now(), Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn one_pause_is_no_overload_and_many_are() {
        let lag = measured(Turns::new());
        yield_now().await;
        advance(Duration::from_secs(3600)).await;
        yield_now().await;
        assert_eq!(lag.now(), LIMIT);
        for _ in 0..10 {
            advance(Duration::from_millis(300)).await;
            yield_now().await;
        }
        assert!(lag.now() > 4 * LIMIT, "{:?}", lag.now());
    }

    #[tokio::test(start_paused = true)]
    async fn to_wait_for_a_turn_is_lag() {
        let turns = Turns::new();
        let lag = measured(turns.clone());
        yield_now().await;
        for _ in 0..100 {
            let turns = turns.clone();
            tokio::spawn(async move {
                let _turn = turns.begin(1).await;
                pending::<()>().await;
            });
        }
        advance(EVERY).await;
        assert_eq!(lag.now(), Duration::ZERO);
        for _ in 0..30 {
            advance(Duration::from_millis(10)).await;
        }
        // Some 25 rounds of 10 ms, of which a third is a sample of at most five times the limit.
        assert!(lag.now() >= LIMIT / 4, "{:?}", lag.now());
    }
}
