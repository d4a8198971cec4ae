//! Whether a request is taken when there is too much to do: by how hard pressed the process is, by
//! how much the route matters, and by a cohort of clients, so that the same few are turned away
//! everywhere instead of a part of everybody's page.
//!
//! Only signals of our own count: an aggregator is as slow as its slowest service, so that its own
//! latency says nothing of its load. Optional calls go first; whoever sheds knows which they are.
//! The curve is Netflix's: what matters least is cut early, what matters most only at the very end.

use std::time::Duration;

/// How much a route matters, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Critical,
    High,
    Normal,
    Bulk,
}

impl Priority {
    pub const ALL: [Priority; 4] = [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Bulk,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Priority::Critical => "critical",
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Bulk => "bulk",
        }
    }
}

/// Clients are spread over so many cohorts.
pub const COHORTS: u32 = 128;

/// Where cutting begins, as a share of the limit. What is below a limit is shed only of `bulk`.
const BEGINNING: f64 = 0.8;
/// Where everything is cut. Chosen so that the last `normal` request is cut just at the limit:
/// BEGINNING + (END − BEGINNING) · ∛½ = 1.
const END: f64 = BEGINNING + (1.0 - BEGINNING) * 1.259_921_049_894_873_2;
/// How much earlier the optional calls of a request are left out than the request itself is refused.
const BROWNOUT: f64 = 0.1;
/// How many times its limit the scheduler's lag may be at [`END`]: lag grows gradually, and what has
/// been let in shows in it only later.
const LAG_AT_END: f64 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Lag,
    InFlight,
    Memory,
}

impl Cause {
    pub const ALL: [Cause; 3] = [Cause::Lag, Cause::InFlight, Cause::Memory];

    /// The label of `anabranch_shed_total`.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Lag => "lag",
            Cause::InFlight => "in_flight",
            Cause::Memory => "memory",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// Serve, but leave out what is optional.
    Brownout,
    Refuse(Cause),
}

/// How hard pressed the process is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// How late tasks get to run, and the limit.
    pub lag: (Duration, Duration),
    /// Requests that have no answer yet, the one in question apart, and the limit.
    pub in_flight: (usize, usize),
    /// Bytes that are reserved, and the limit.
    pub memory: (usize, usize),
}

impl Pressure {
    /// What presses hardest: 1 is a limit reached.
    fn hardest(&self) -> (f64, Cause) {
        let by_cause = [
            (of_lag(self.lag), Cause::Lag),
            (share(self.in_flight), Cause::InFlight),
            (share(self.memory), Cause::Memory),
        ];
        let harder = |one: (f64, Cause), other: (f64, Cause)| match other.0 > one.0 {
            true => other,
            false => one,
        };
        by_cause.into_iter().fold((0.0, Cause::Lag), harder)
    }
}

fn share((used, limit): (usize, usize)) -> f64 {
    used as f64 / limit.max(1) as f64
}

/// At its limit lag begins to cut.
fn of_lag((lag, limit): (Duration, Duration)) -> f64 {
    let times = lag.as_secs_f64() / limit.as_secs_f64().max(1e-9);
    match times <= 1.0 {
        true => times * BEGINNING,
        false => BEGINNING + (END - BEGINNING) * (times - 1.0) / (LAG_AT_END - 1.0),
    }
}

/// What becomes of a request of this priority from a client of this cohort (below [`COHORTS`]).
pub fn judge(pressure: &Pressure, priority: Priority, cohort: u32) -> Verdict {
    let (hardest, cause) = pressure.hardest();
    // Nobody is cut below the beginning.
    if hardest < BEGINNING - BROWNOUT {
        return Verdict::Serve;
    }
    let limit = cut_at(priority, cohort);
    if hardest >= limit {
        Verdict::Refuse(cause)
    } else if hardest >= limit - BROWNOUT {
        Verdict::Brownout
    } else {
        Verdict::Serve
    }
}

/// The pressure at which a request is cut: its rank is 0 for what matters most, and a request is cut
/// where its rank is above 1 − x³, with x how far the pressure is from [`BEGINNING`] to [`END`].
fn cut_at(priority: Priority, cohort: u32) -> f64 {
    let cohort = f64::from(cohort.min(COHORTS - 1)) / f64::from(COHORTS);
    let rank = (f64::from(priority as u8) + cohort) / Priority::ALL.len() as f64;
    BEGINNING + (END - BEGINNING) * (1.0 - rank).cbrt()
}

/// The scheduler's lag, smoothed: one late task is no overload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    smoothed: Duration,
}

impl Lag {
    /// How much a new sample counts.
    const WEIGHT: f64 = 0.2;

    pub fn observe(&mut self, late_by: Duration) -> Duration {
        let before = self.smoothed.mul_f64(1.0 - Self::WEIGHT);
        self.smoothed = before + late_by.mul_f64(Self::WEIGHT);
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALM: Pressure = Pressure {
        lag: (Duration::ZERO, Duration::from_millis(20)),
        in_flight: (0, 4096),
        memory: (0, 1 << 30),
    };

    fn at(in_flight: usize, limit: usize) -> Pressure {
        Pressure {
            in_flight: (in_flight, limit),
            ..CALM
        }
    }

    #[test]
    fn a_normal_route_is_cut_at_the_limit_that_is_written() {
        for limit in [1, 2, 4, 10, 16] {
            for cohort in [0, 64] {
                let judge = |in_flight| judge(&at(in_flight, limit), Priority::Normal, cohort);
                assert_eq!(judge(limit), Verdict::Refuse(Cause::InFlight), "{limit}");
                assert!(!matches!(judge(limit - 1), Verdict::Refuse(_)), "{limit}");
            }
        }
    }

    #[test]
    fn nobody_is_cut_before_the_beginning() {
        for priority in Priority::ALL {
            for cohort in 0..COHORTS {
                assert!(
                    cut_at(priority, cohort) >= BEGINNING,
                    "{priority:?} {cohort}"
                );
            }
        }
    }

    #[test]
    fn bulk_goes_first_and_critical_last() {
        let cut = |priority| {
            let first = (0..5000).find(|in_flight| {
                let verdict = judge(&at(*in_flight, 4096), priority, 0);
                matches!(verdict, Verdict::Refuse(_))
            });
            first.unwrap()
        };
        let cuts = Priority::ALL.map(cut);
        // 4096 times 1.05198, 1.02895, 1 and 0.95874, rounded up.
        assert_eq!(cuts, [4309, 4215, 4096, 3927]);
    }

    #[test]
    fn optional_calls_go_before_the_request() {
        let judge = |in_flight| judge(&at(in_flight, 100), Priority::Normal, 0);
        assert_eq!(judge(89), Verdict::Serve);
        assert_eq!(judge(90), Verdict::Brownout);
        assert_eq!(judge(99), Verdict::Brownout);
        assert_eq!(judge(100), Verdict::Refuse(Cause::InFlight));
    }

    #[test]
    fn lag_begins_to_cut_at_its_limit_and_cuts_all_at_three_times_that() {
        let judge = |milliseconds, priority, cohort| {
            let lag = (
                Duration::from_millis(milliseconds),
                Duration::from_millis(20),
            );
            judge(&Pressure { lag, ..CALM }, priority, cohort)
        };
        assert_eq!(judge(10, Priority::Bulk, 127), Verdict::Serve);
        assert_eq!(judge(19, Priority::Bulk, 0), Verdict::Serve);
        assert_eq!(judge(32, Priority::Bulk, 127), Verdict::Refuse(Cause::Lag));
        assert_eq!(judge(20, Priority::Normal, 127), Verdict::Serve);
        assert_eq!(judge(59, Priority::Critical, 0), Verdict::Brownout);
        assert_eq!(
            judge(61, Priority::Critical, 0),
            Verdict::Refuse(Cause::Lag)
        );
    }

    #[test]
    fn what_presses_hardest_is_the_cause() {
        let pressure = Pressure {
            memory: (2 << 30, 1 << 30),
            in_flight: (5000, 4096),
            ..CALM
        };
        let found = judge(&pressure, Priority::High, 3);
        assert_eq!(found, Verdict::Refuse(Cause::Memory));
    }

    #[test]
    fn one_late_task_is_no_overload() {
        let mut lag = Lag::default();
        assert_eq!(
            lag.observe(Duration::from_millis(50)),
            Duration::from_millis(10)
        );
        for _ in 0..30 {
            lag.observe(Duration::from_millis(50));
        }
        let settled = lag.observe(Duration::from_millis(50));
        assert!((49.0..=50.0).contains(&(settled.as_secs_f64() * 1000.0)));
    }

    fn severity(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Serve => 0,
            Verdict::Brownout => 1,
            Verdict::Refuse(_) => 2,
        }
    }

    proptest! {
        /// More pressure is never milder, and what matters more is never treated worse.
        #[test]
        fn it_is_monotone(
            less in 0usize..6000, more in 0usize..6000, one in 0usize..512, other in 0usize..512
        ) {
            let (less, more) = (less.min(more), less.max(more));
            let (above, below) = (one.min(other), one.max(other));
            let judge = |in_flight, rank: usize| {
                let priority = Priority::ALL[rank / 128];
                severity(judge(&at(in_flight, 4096), priority, (rank % 128) as u32))
            };
            prop_assert!(judge(less, above) <= judge(more, above));
            prop_assert!(judge(less, above) <= judge(less, below));
        }

        /// The model: the curve as it is written, without its inverse.
        #[test]
        fn it_cuts_by_the_curve(in_flight in 0usize..6000, rank in 0usize..512) {
            let pressure = in_flight as f64 / 4096.0;
            let far = ((pressure - BEGINNING) / (END - BEGINNING)).clamp(0.0, 1.0);
            let cut = rank as f64 / 512.0 - (1.0 - far.powi(3));
            let found = judge(&at(in_flight, 4096), Priority::ALL[rank / 128], (rank % 128) as u32);
            if cut.abs() > 1e-6 {
                prop_assert_eq!(severity(found) == 2, cut > 0.0);
            }
        }
    }
}
