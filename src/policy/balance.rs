//! Which of several endpoints is asked: the better of two by chance, where better means a lower peak
//! EWMA of its times, multiplied by what is under way there (Finagle's and linkerd's balancer).
//!
//! A failure counts as a slow answer, so that an endpoint which fails fast does not draw traffic. An
//! endpoint that comes back from its breaker is weighed down at first, so that it is not flooded.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a past peak fades.
const DECAY: Duration = Duration::from_secs(10);
/// What a failure counts as.
const PENALTY: Duration = Duration::from_secs(5);
/// How long an endpoint that has come back is weighed down, and the least share it has meanwhile.
const SLOW_START: Duration = Duration::from_secs(10);
const LEAST_SHARE: f64 = 0.1;
/// What an endpoint costs that is asked for the first time and has not answered yet, in seconds.
const UNKNOWN: f64 = 1.0;

#[derive(Clone, Debug)]
pub struct Balance {
    endpoints: Vec<Load>,
}

#[derive(Clone, Debug)]
struct Load {
    /// The peak EWMA at `seen`, in seconds; `None` before anything is known.
    time: Option<f64>,
    seen: Instant,
    under_way: usize,
    /// When it came back from its breaker.
    returned: Option<Instant>,
}

impl Balance {
    pub fn new(endpoints: usize, now: Instant) -> Balance {
        let load = Load {
            time: None,
            seen: now,
            under_way: 0,
            returned: None,
        };
        Balance {
            endpoints: vec![load; endpoints],
        }
    }

    /// One of `candidates`, of which there are at least two: the cheaper of two of them. `below` gives a
    /// number by chance that is below its argument.
    pub fn choose(
        &self,
        candidates: &[usize],
        now: Instant,
        mut below: impl FnMut(usize) -> usize,
    ) -> usize {
        let first = below(candidates.len());
        let mut second = below(candidates.len() - 1);
        second += usize::from(second >= first);
        let (first, second) = (candidates[first], candidates[second]);
        // On a tie the first, which came by chance.
        match self.cost(second, now) < self.cost(first, now) {
            true => second,
            false => first,
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self, endpoint: usize) {
        self.endpoints[endpoint].under_way += 1;
    }

    /// An attempt has ended after `took`. `None`: it was cut short, so that it took at least so long. Of a single
    /// endpoint only what is under way is counted: times are for choosing by.
    pub fn end(&mut self, endpoint: usize, took: Duration, is_good: Option<bool>, now: Instant) {
        let is_alone = self.endpoints.len() == 1;
        let load = &mut self.endpoints[endpoint];
        load.under_way = load.under_way.saturating_sub(1);
        if is_alone {
            return;
        }
        match is_good {
            Some(true) => load.observe(took, now),
            Some(false) => load.observe(took.max(PENALTY), now),
            None if load
                .time_at(now)
                .is_none_or(|time| took.as_secs_f64() > time) =>
            {
                load.observe(took, now);
            }
            None => {}
        }
    }

    /// An endpoint's breaker has closed after it answered a probe in `took`. What it was before says
    /// nothing any more.
    pub fn returned(&mut self, endpoint: usize, took: Duration, now: Instant) {
        let load = &mut self.endpoints[endpoint];
        load.time = Some(took.as_secs_f64());
        load.seen = now;
        load.returned = Some(now);
    }

    pub fn under_way(&self, endpoint: usize) -> usize {
        self.endpoints[endpoint].under_way
    }

    fn cost(&self, endpoint: usize, now: Instant) -> f64 {
        let load = &self.endpoints[endpoint];
        let under_way = load.under_way as f64;
        let cost = match load.time_at(now) {
            Some(time) => time * (under_way + 1.0),
            // Asked at once, by one request.
            None if load.under_way == 0 => 0.0,
            None => UNKNOWN * (under_way + 1.0),
        };
        cost / load.share(now)
    }
}

impl Load {
    fn time_at(&self, now: Instant) -> Option<f64> {
        Some(self.time? * self.fading(now))
    }

    fn fading(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.seen);
        (-passed.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }

    fn observe(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let time = match self.time {
            Some(time) if took < time => {
                let fading = self.fading(now);
                time * fading + took * (1.0 - fading)
            }
            _ => took,
        };
        self.time = Some(time);
        self.seen = now;
    }

    /// What an endpoint that has come back gets of what it would get.
    fn share(&self, now: Instant) -> f64 {
        let Some(returned) = self.returned else {
            return 1.0;
        };
        let passed = now.saturating_duration_since(returned);
        (passed.as_secs_f64() / SLOW_START.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Both of two are looked at; `first` is which of them first.
    fn choose(balance: &Balance, now: Instant, first: usize) -> usize {
        let mut draws = [first, 0].into_iter();
        balance.choose(&[0, 1], now, |below| {
            draws.next().unwrap_or_default() % below
        })
    }

    fn of_two() -> (Balance, Instant) {
        let now = Instant::now();
        (Balance::new(2, now), now)
    }

    #[test]
    fn the_faster_of_two_is_asked() {
        let (mut balance, now) = of_two();
        for (endpoint, took) in [(0, 20 * MS), (1, 10 * MS)] {
            balance.begin(endpoint);
            balance.end(endpoint, took, Some(true), now);
        }
        assert_eq!((choose(&balance, now, 0), choose(&balance, now, 1)), (1, 1));
        // With two under way the faster one costs 30 ms.
        balance.begin(1);
        balance.begin(1);
        assert_eq!((choose(&balance, now, 0), choose(&balance, now, 1)), (0, 0));
    }

    #[test]
    fn a_single_endpoint_is_counted_and_not_weighed() {
        let now = Instant::now();
        let mut balance = Balance::new(1, now);
        balance.begin(0);
        balance.begin(0);
        balance.end(0, 10 * MS, Some(true), now);
        assert_eq!((balance.under_way(0), balance.endpoints[0].time), (1, None));
    }

    #[test]
    fn on_a_tie_chance_decides() {
        let (balance, now) = of_two();
        assert_eq!((choose(&balance, now, 0), choose(&balance, now, 1)), (0, 1));
    }

    #[test]
    fn an_endpoint_that_nobody_knows_is_asked_once_at_first() {
        let (mut balance, now) = of_two();
        balance.begin(0);
        balance.end(0, 10 * MS, Some(true), now);
        assert_eq!(choose(&balance, now, 0), 1);
        balance.begin(1);
        assert_eq!(choose(&balance, now, 1), 0);
    }

    /// Scenario 16.
    #[test]
    fn a_fast_failure_counts_as_five_seconds() {
        let (mut balance, mut now) = of_two();
        balance.end(1, MS, Some(false), now);
        balance.end(0, 20 * MS, Some(true), now);
        now += Duration::from_secs(50);
        balance.end(0, 20 * MS, Some(true), now);
        assert_eq!(choose(&balance, now, 1), 0);
        // It fades: after a minute it is tried again.
        now += Duration::from_secs(10);
        balance.end(0, 20 * MS, Some(true), now);
        assert_eq!(choose(&balance, now, 1), 1);
    }

    #[test]
    fn a_peak_is_believed_at_once_and_a_fast_answer_slowly() {
        let (mut balance, now) = of_two();
        balance.end(0, 10 * MS, Some(true), now);
        balance.end(0, 100 * MS, Some(true), now);
        balance.end(0, 10 * MS, Some(true), now + Duration::from_secs(10));
        let time = balance.endpoints[0].time.unwrap();
        let faded = (-1.0f64).exp();
        assert!((time - (0.1 * faded + 0.01 * (1.0 - faded))).abs() < 1e-9);
    }

    #[test]
    fn what_was_cut_short_only_ever_raises_the_cost() {
        let (mut balance, now) = of_two();
        balance.end(0, 100 * MS, Some(true), now);
        balance.end(0, 5 * MS, None, now);
        assert_eq!(balance.endpoints[0].time, Some(0.1));
        balance.end(0, 200 * MS, None, now);
        assert_eq!(balance.endpoints[0].time, Some(0.2));
    }

    #[test]
    fn one_that_has_come_back_starts_slowly() {
        let (mut balance, now) = of_two();
        balance.end(0, 10 * MS, Some(true), now);
        balance.returned(1, 10 * MS, now);
        let shares = [0, 5, 10, 60].map(|seconds| {
            let at = now + Duration::from_secs(seconds);
            balance.endpoints[1].share(at)
        });
        assert_eq!(shares, [0.1, 0.5, 1.0, 1.0]);
        assert_eq!((choose(&balance, now, 0), choose(&balance, now, 1)), (0, 0));
    }

    proptest! {
        /// The model: the cost of each endpoint from its whole history.
        #[test]
        fn the_cost_is_that_of_the_history(
            events in prop::collection::vec((0u64..3000, 1u64..2000, 0u8..3), 1..60)
        ) {
            let start = Instant::now();
            let mut balance = Balance::new(2, start);
            let (mut now, mut model): (u64, Option<(f64, u64)>) = (0, None);
            for (wait, took, kind) in events {
                now += wait;
                let moment = start + Duration::from_millis(now);
                let is_good = [Some(true), Some(false), None][kind as usize];
                balance.begin(0);
                balance.end(0, Duration::from_millis(took), is_good, moment);
                let took = took as f64 / 1000.0;
                let took = if kind == 1 { took.max(5.0) } else { took };
                let faded = model.map(|(time, at)| time * (-((now - at) as f64) / 10_000.0).exp());
                model = match (model, faded) {
                    (Some(known), Some(faded)) if kind == 2 && took <= faded => Some(known),
                    (Some((time, at)), Some(faded)) if took < time => {
                        let kept = (-((now - at) as f64) / 10_000.0).exp();
                        Some((faded + took * (1.0 - kept), now))
                    }
                    _ => Some((took, now)),
                };
                let (time, at) = model.unwrap();
                let expected = time * (-((now - at) as f64) / 10_000.0).exp();
                prop_assert!((balance.cost(0, moment) - expected).abs() < 1e-9);
                prop_assert_eq!(balance.under_way(0), 0);
            }
        }

        /// Whatever the draws, it is a candidate, and never the dearer of the two that were drawn.
        #[test]
        fn a_candidate_is_chosen(
            times in prop::collection::vec(1u64..1000, 2..6), first in 0usize..6, second in 0usize..6
        ) {
            let now = Instant::now();
            let mut balance = Balance::new(times.len(), now);
            for (endpoint, time) in times.iter().enumerate() {
                balance.end(endpoint, Duration::from_millis(*time), Some(true), now);
            }
            let candidates: Vec<usize> = (0..times.len()).rev().collect();
            let mut draws = [first, second].into_iter();
            let mut drawn = Vec::new();
            let chosen = balance.choose(&candidates, now, |below| {
                let draw = draws.next().unwrap() % below;
                drawn.push(draw);
                draw
            });
            let (first, mut second) = (drawn[0], drawn[1]);
            second += usize::from(second >= first);
            let pair = [candidates[first], candidates[second]];
            prop_assert!(pair[0] != pair[1] && pair.contains(&chosen));
            prop_assert_eq!(times[chosen], times[pair[0]].min(times[pair[1]]));
        }
    }
}
