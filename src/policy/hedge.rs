//! When a call that has not answered is asked a second time ("The Tail at Scale"): after a time that
//! is written, or at a percentile of its own times over the last half minute.

use std::time::Duration;

use tokio::time::Instant;

/// When the hedge is sent, from the call's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Fixed(Duration),
    /// In hundredths of a percent: 9500 is p95.
    Percentile(u32),
}

/// No hedge goes out earlier.
const LEAST: Duration = Duration::from_millis(1);
/// Fewer times say nothing of a percentile.
const LEAST_COUNT: u64 = 20;
/// Times are kept for one to two of these.
const TURN: Duration = Duration::from_secs(15);
/// Each bucket ends a twentieth above the one before, from [`LEAST`] to about a minute.
const STEP: f64 = 1.05;
const BUCKETS: usize = 226;

/// The times of one call: those of its successes and timeouts, since fast failures would drag every
/// percentile down.
#[derive(Clone, Debug)]
pub struct Times {
    began: Instant,
    now: Box<[u32; BUCKETS]>,
    before: Box<[u32; BUCKETS]>,
}

impl Times {
    pub fn new(now: Instant) -> Times {
        Times {
            began: now,
            now: Box::new([0; BUCKETS]),
            before: Box::new([0; BUCKETS]),
        }
    }

    pub fn count(&mut self, took: Duration, now: Instant) {
        self.turn(now);
        let count = &mut self.now[bucket(took)];
        *count = count.saturating_add(1);
    }

    /// The time that so many hundredths of a percent stayed within, a twentieth too long at most;
    /// `None` while too little is known.
    pub fn percentile(&mut self, hundredths: u32, now: Instant) -> Option<Duration> {
        self.turn(now);
        let counts = || self.now.iter().zip(self.before.iter());
        let count = |(one, other): (&u32, &u32)| u64::from(*one) + u64::from(*other);
        let all: u64 = counts().map(count).sum();
        if all < LEAST_COUNT {
            return None;
        }
        let wanted = (all * u64::from(hundredths)).div_ceil(10_000).max(1);
        let mut seen = 0;
        let found = counts().position(|pair| {
            seen += count(pair);
            seen >= wanted
        });
        found.map(upper_end)
    }

    fn turn(&mut self, now: Instant) {
        let turns = now.saturating_duration_since(self.began).as_nanos() / TURN.as_nanos();
        if turns == 0 {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.fill(0);
        if turns > 1 {
            self.before.fill(0);
        }
        self.began += TURN * u32::try_from(turns).unwrap_or(u32::MAX);
    }
}

fn bucket(took: Duration) -> usize {
    let times_least = took.as_secs_f64() / LEAST.as_secs_f64();
    if times_least <= 1.0 {
        return 0;
    }
    (times_least.log(STEP).ceil() as usize).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    LEAST.mul_f64(STEP.powi(bucket as i32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentile_needs_twenty_times() {
        let now = Instant::now();
        let mut times = Times::new(now);
        for _ in 0..19 {
            times.count(Duration::from_millis(50), now);
        }
        assert_eq!(times.percentile(9500, now), None);
        times.count(Duration::from_millis(50), now);
        let found = times.percentile(9500, now).unwrap();
        assert!((50.0..=52.5).contains(&(found.as_secs_f64() * 1000.0)));
    }

    #[test]
    fn old_times_are_forgotten() {
        let start = Instant::now();
        let mut times = Times::new(start);
        for _ in 0..20 {
            times.count(Duration::from_millis(50), start);
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(times.percentile(9500, at(29)).is_some());
        assert_eq!(times.percentile(9500, at(30)), None);
    }

    #[test]
    fn extremes_have_a_bucket() {
        let now = Instant::now();
        let mut times = Times::new(now);
        for _ in 0..20 {
            times.count(Duration::ZERO, now);
        }
        assert_eq!(times.percentile(10_000, now), Some(LEAST));
        for _ in 0..100 {
            times.count(Duration::from_secs(86_400), now);
        }
        let longest = times.percentile(9900, now).unwrap();
        assert!(longest > Duration::from_secs(55), "{longest:?}");
    }

    proptest! {
        /// The model: a sorted list.
        #[test]
        fn it_is_a_twentieth_above_the_true_one_at_most(
            mut list in prop::collection::vec(1_000u64..50_000_000, 20..200), hundredths in 1u32..=10_000
        ) {
            let now = Instant::now();
            let mut times = Times::new(now);
            for microseconds in &list {
                times.count(Duration::from_micros(*microseconds), now);
            }
            list.sort_unstable();
            let rank = (list.len() as u64 * u64::from(hundredths)).div_ceil(10_000).max(1);
            let exact = list[rank as usize - 1] as f64 / 1e6;
            let found = times.percentile(hundredths, now).unwrap().as_secs_f64();
            prop_assert!(found >= exact - 1e-9 && found <= exact * STEP + 1e-9, "{} {}", exact, found);
        }
    }
}
