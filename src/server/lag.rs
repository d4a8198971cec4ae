//! How late tasks get to run: the first sign of too much to do, whatever it is that is too much.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::policy::shed;

/// Often enough to notice a burst, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(20);
/// The timer's own grain: so late is on time.
const GRAIN: Duration = Duration::from_millis(1);

/// The lag, smoothed; 0 until it is measured.
#[derive(Debug, Default)]
pub struct Lag {
    nanoseconds: AtomicU64,
}

impl Lag {
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Measures for as long as it runs.
    pub async fn measure(&self) {
        let mut lag = shed::Lag::default();
        loop {
            let due = Instant::now() + EVERY;
            sleep_until(due).await;
            let late_by = Instant::now().saturating_duration_since(due);
            self.set(lag.observe(late_by.saturating_sub(GRAIN)));
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
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_wakes_in_time_has_no_lag() {
        let lag = Arc::new(Lag::default());
        let measured = lag.clone();
        let measuring = tokio::spawn(async move { measured.measure().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lag.now(), Duration::ZERO);
        measuring.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wakes_late_has() {
        let lag = Arc::new(Lag::default());
        let measured = lag.clone();
        let measuring = tokio::spawn(async move { measured.measure().await });
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(121)).await;
        tokio::task::yield_now().await;
        // A fifth of the 100 ms.
        assert_eq!(lag.now(), Duration::from_millis(20));
        measuring.abort();
    }
}
