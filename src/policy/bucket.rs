//! A token bucket: refilled with time, holding no more than its burst. Counted in billionths of a
//! token, so that nothing is lost by rounding.

use std::time::Duration;

use tokio::time::Instant;

/// One token.
pub const TOKEN: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct Bucket {
    /// Tokens a second.
    per_second: u32,
    /// The most that it holds, in billionths.
    burst: u64,
    /// What it held at `refilled`, in billionths.
    held: u64,
    refilled: Instant,
}

impl Bucket {
    /// A full one. `burst` is in billionths of a token.
    pub fn new(per_second: u32, burst: u64, now: Instant) -> Bucket {
        Bucket {
            per_second,
            burst,
            held: burst,
            refilled: now,
        }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let is_there = self.held >= TOKEN;
        if is_there {
            self.held -= TOKEN;
        }
        is_there
    }

    /// Puts in so many billionths of a token; what is over the burst is lost.
    pub fn put(&mut self, billionths: u64, now: Instant) {
        self.refill(now);
        self.held = self.held.saturating_add(billionths).min(self.burst);
    }

    /// Holds at most so many billionths from now on.
    pub fn set_burst(&mut self, burst: u64, now: Instant) {
        self.refill(now);
        self.burst = burst;
        self.held = self.held.min(burst);
    }

    /// What it holds, in billionths.
    pub fn held(&mut self, now: Instant) -> u64 {
        self.refill(now);
        self.held
    }

    fn refill(&mut self, now: Instant) {
        if now <= self.refilled {
            return;
        }
        let passed = now.saturating_duration_since(self.refilled);
        // A token a second is a billionth a nanosecond.
        let grown = saturated(passed).saturating_mul(u64::from(self.per_second));
        self.held = self.held.saturating_add(grown).min(self.burst);
        self.refilled = now;
    }
}

fn saturated(passed: Duration) -> u64 {
    u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_refills_with_time_up_to_its_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(5, 2 * TOKEN, start);
        assert!(bucket.take(start) && bucket.take(start));
        assert!(!bucket.take(start + Duration::from_millis(199)));
        assert!(bucket.take(start + Duration::from_millis(200)));
        assert_eq!(bucket.held(start + Duration::from_secs(60)), 2 * TOKEN);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(1, TOKEN, start);
        assert!(bucket.take(start));
        assert!(!bucket.take(start - Duration::from_secs(5)));
        assert!(!bucket.take(start + Duration::from_millis(999)));
        assert!(bucket.take(start + Duration::from_secs(1)));
    }

    proptest! {
        /// The model: what was there at first and what came with time bounds what was taken.
        #[test]
        fn no_more_is_taken_than_came_in(
            per_second in 0u32..20, burst in 0u64..10, waits in prop::collection::vec(0u64..900, 1..60)
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(per_second, burst * TOKEN, start);
            let (mut now, mut taken) = (start, 0);
            for wait in waits {
                now += Duration::from_millis(wait);
                taken += u64::from(bucket.take(now));
                let came = now.duration_since(start).as_secs_f64() * f64::from(per_second);
                prop_assert!(taken as f64 <= burst as f64 + came + 1e-9);
            }
        }
    }
}
