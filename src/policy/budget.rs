//! The budget of one service for what is sent beside first attempts: retries and hedges together, so
//! that a service in trouble gets a little more load and never a multiple of it. Counted by rate, as
//! Finagle does: a budget by concurrency shrinks just when a mass failure drains what is under way.

use std::time::Duration;

use tokio::time::Instant;

use crate::policy::bucket::{Bucket, TOKEN};
use crate::policy::window::Window;

/// What the bucket holds at most is what so many seconds bring.
const SPAN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of first attempts, in hundredths of a percent.
    pub ratio: u32,
    /// Beside it, tokens a second.
    pub per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ratio: 1000,
            per_second: 1,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Budget {
    settings: Settings,
    bucket: Bucket,
    firsts: Window<1>,
}

impl Budget {
    /// Starts with `per_second` × 10 tokens.
    pub fn new(settings: Settings, now: Instant) -> Budget {
        Budget {
            settings,
            bucket: Bucket::new(settings.per_second, floor(settings), now),
            firsts: Window::new(SPAN, now),
        }
    }

    /// A first attempt is about to be sent. Counted before it is, so that what it earns is there when
    /// it fails.
    pub fn first(&mut self, now: Instant) {
        self.firsts.count(0, now);
        self.bound(now);
        self.bucket.put(self.share(), now);
    }

    /// Takes the token of a retry or a hedge.
    pub fn take(&mut self, now: Instant) -> bool {
        self.bound(now);
        self.bucket.take(now)
    }

    /// A token that was taken, but whose attempt was not made.
    pub fn give_back(&mut self, now: Instant) {
        self.bound(now);
        self.bucket.put(TOKEN, now);
    }

    pub fn tokens(&mut self, now: Instant) -> f64 {
        self.bound(now);
        self.bucket.held(now) as f64 / TOKEN as f64
    }

    /// What one first attempt earns, in billionths of a token.
    fn share(&self) -> u64 {
        u64::from(self.settings.ratio) * (TOKEN / 10_000)
    }

    fn bound(&mut self, now: Instant) {
        let [firsts] = self.firsts.sums(now);
        let earned = firsts.saturating_mul(self.share());
        let burst = floor(self.settings).saturating_add(earned);
        self.bucket.set_burst(burst, now);
    }
}

/// What the bucket holds without a single first attempt, in billionths of a token.
fn floor(settings: Settings) -> u64 {
    u64::from(settings.per_second) * SPAN.as_secs() * TOKEN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(budget: &mut Budget, now: Instant) -> usize {
        let mut count = 0;
        while budget.take(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn it_starts_with_ten_seconds_of_its_floor() {
        let start = Instant::now();
        let mut budget = Budget::new(Settings::default(), start);
        assert_eq!(taken(&mut budget, start), 10);
        assert_eq!(taken(&mut budget, start + Duration::from_millis(3500)), 3);
        // Nothing beyond ten seconds of it is saved up.
        assert_eq!(taken(&mut budget, start + Duration::from_secs(3600)), 10);
    }

    #[test]
    fn ten_first_attempts_earn_one_retry() {
        let start = Instant::now();
        let mut budget = Budget::new(Settings::default(), start);
        taken(&mut budget, start);
        for _ in 0..9 {
            budget.first(start);
        }
        assert!(!budget.take(start));
        budget.first(start);
        assert!(budget.take(start) && !budget.take(start));
    }

    #[test]
    fn what_was_earned_is_lost_after_ten_seconds() {
        let start = Instant::now();
        let settings = Settings {
            per_second: 0,
            ..Settings::default()
        };
        let mut budget = Budget::new(settings, start);
        for _ in 0..100 {
            budget.first(start);
        }
        assert_eq!(budget.tokens(start + Duration::from_secs(9)), 10.0);
        assert_eq!(budget.tokens(start + Duration::from_secs(10)), 0.0);
    }

    #[test]
    fn a_token_that_was_not_used_comes_back() {
        let start = Instant::now();
        let mut budget = Budget::new(Settings::default(), start);
        assert_eq!(taken(&mut budget, start), 10);
        budget.give_back(start);
        assert_eq!(budget.tokens(start), 1.0);
    }

    proptest! {
        /// `resilience.md` §3: in the long run no more than the ratio and the floor, and what was
        /// there at first.
        #[test]
        fn retries_stay_within_the_bound(
            events in prop::collection::vec((0u64..400, 0usize..4, 0usize..4), 1..200)
        ) {
            let start = Instant::now();
            let mut budget = Budget::new(Settings::default(), start);
            let (mut now, mut firsts, mut retries) = (start, 0, 0);
            for (wait, first, retry) in events {
                now += Duration::from_millis(wait);
                for _ in 0..first {
                    budget.first(now);
                    firsts += 1;
                }
                for _ in 0..retry {
                    retries += usize::from(budget.take(now));
                }
                let seconds = now.duration_since(start).as_secs_f64();
                let bound = 10.0 + 0.1 * f64::from(firsts) + seconds;
                prop_assert!(retries as f64 <= bound + 1e-6, "{} > {}", retries, bound);
            }
        }

        /// A naive model: tokens as a fraction, the cap from a list of all first attempts.
        #[test]
        fn it_holds_what_the_model_holds(
            events in prop::collection::vec((0u64..3000, any::<bool>()), 1..120)
        ) {
            let start = Instant::now();
            let mut budget = Budget::new(Settings::default(), start);
            let (mut now, mut firsts, mut held) = (0u64, Vec::new(), 10.0f64);
            for (wait, is_first) in events {
                let cap = |now: u64, firsts: &[u64]| {
                    let recent = firsts.iter().filter(|at| now / 1000 - **at / 1000 < 10);
                    10.0 + 0.1 * recent.count() as f64
                };
                now += wait;
                held = (held + wait as f64 / 1000.0).min(cap(now, &firsts));
                let moment = start + Duration::from_millis(now);
                if is_first {
                    firsts.push(now);
                    held = (held + 0.1).min(cap(now, &firsts));
                    budget.first(moment);
                } else if (held - held.round()).abs() > 1e-6 {
                    // At a whole number the fraction may stand a hair to either side.
                    let is_there = held >= 1.0;
                    held -= f64::from(u8::from(is_there));
                    prop_assert_eq!(budget.take(moment), is_there);
                }
                prop_assert!((budget.tokens(moment) - held).abs() < 1e-6);
            }
        }
    }
}
