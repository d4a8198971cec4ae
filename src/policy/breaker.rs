//! The breakers of one service, one for each endpoint: closed, open, half-open with one probe.
//!
//! An endpoint opens by so many failures in a row, or by its share of successes over a window of
//! exact counts (linkerd's unified breaker). Of several endpoints at most half are open by their
//! share, so that a fault they have in common does not take them all; a row of failures has no such
//! bound. What is judged comes with the permit it was made under: a result that arrives after the
//! breaker has moved on counts for nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::policy::backoff;
use crate::policy::window::Window;

/// Good probes in a row that close a breaker.
const PROBES: u32 = 3;

const GOOD: usize = 0;
const BAD: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row.
    pub consecutive: u32,
    pub window: Duration,
    /// Below it the endpoint opens, in hundredths of a percent.
    pub success_rate: u32,
    /// Fewer in the window say nothing.
    pub min_requests: u32,
    /// The first opening lasts so long, each one after it twice as long, up to the second; each plus
    /// or minus half.
    pub open: (Duration, Duration),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            consecutive: 7,
            window: Duration::from_secs(10),
            success_rate: 5000,
            min_requests: 20,
            open: (Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

/// What an attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
    /// Lowers the share of successes; neither adds to a row of failures nor ends it. Fails a probe.
    RatioOnly,
    /// Says nothing: cut short by us, or never sent.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    /// The label `to` of `anabranch_breaker_transitions_total`.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half_open",
            State::Open => "open",
        }
    }
}

/// Leave to ask an endpoint once. To be given back with [`Breakers::settle`], whatever came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    era: u64,
    pub is_probe: bool,
}

/// What [`Breakers::admit`] gives; `moved`: the state that the endpoint has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub permit: Permit,
    pub moved: Option<State>,
}

#[derive(Clone, Debug)]
pub struct Breakers {
    settings: Settings,
    endpoints: Vec<Breaker>,
}

#[derive(Clone, Debug)]
struct Breaker {
    phase: Phase,
    /// Counts the openings and closings: a permit of another era is out of date.
    era: u64,
    /// Failures in a row.
    row: u32,
    counts: Window<2>,
    /// Openings since it was last closed.
    openings: u32,
    /// Why it is not closed.
    by_share: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probed: bool, good: u32 },
}

impl Breakers {
    pub fn new(settings: Settings, endpoints: usize, now: Instant) -> Breakers {
        let breaker = Breaker {
            phase: Phase::Closed,
            era: 0,
            row: 0,
            counts: Window::new(settings.window, now),
            openings: 0,
            by_share: false,
        };
        Breakers {
            settings,
            endpoints: vec![breaker; endpoints],
        }
    }

    /// Whether the endpoint may be asked now.
    pub fn is_admissible(&self, endpoint: usize, now: Instant) -> bool {
        match self.endpoints[endpoint].phase {
            Phase::Closed => true,
            _ => self.is_due(endpoint, now),
        }
    }

    /// Whether whoever asks the endpoint next is a probe.
    pub fn is_due(&self, endpoint: usize, now: Instant) -> bool {
        match self.endpoints[endpoint].phase {
            Phase::Closed => false,
            Phase::Open { until } => until <= now,
            Phase::HalfOpen { is_probed, .. } => !is_probed,
        }
    }

    /// Whether the endpoint has neither opened nor closed since the permit was given.
    pub fn is_current(&self, endpoint: usize, permit: Permit) -> bool {
        self.endpoints[endpoint].era == permit.era
    }

    pub fn state(&self, endpoint: usize) -> State {
        match self.endpoints[endpoint].phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// How long until some endpoint is due; zero where only a probe under way is waited for.
    pub fn rest(&self, now: Instant) -> Duration {
        let rests = self.endpoints.iter().map(|breaker| match breaker.phase {
            Phase::Open { until } => until.saturating_duration_since(now),
            Phase::Closed | Phase::HalfOpen { .. } => Duration::ZERO,
        });
        rests.min().unwrap_or(Duration::ZERO)
    }

    /// Leave to ask the endpoint, if it is admissible.
    pub fn admit(&mut self, endpoint: usize, now: Instant) -> Option<Admitted> {
        if !self.is_admissible(endpoint, now) {
            return None;
        }
        let breaker = &mut self.endpoints[endpoint];
        let (good, moved) = match breaker.phase {
            Phase::Closed => {
                let permit = breaker.permit(false);
                return Some(Admitted {
                    permit,
                    moved: None,
                });
            }
            Phase::Open { .. } => (0, Some(State::HalfOpen)),
            Phase::HalfOpen { good, .. } => (good, None),
        };
        breaker.phase = Phase::HalfOpen {
            is_probed: true,
            good,
        };
        let permit = breaker.permit(true);
        Some(Admitted { permit, moved })
    }

    /// Takes a permit back with what came of it; gives the state that the endpoint has entered.
    /// `chance` in 0..1 spreads the openings, so that instances do not probe in step.
    pub fn settle(
        &mut self,
        endpoint: usize,
        permit: Permit,
        verdict: Verdict,
        now: Instant,
        chance: f64,
    ) -> Option<State> {
        if permit.era != self.endpoints[endpoint].era {
            return None;
        }
        match permit.is_probe {
            true => self.settle_probe(endpoint, verdict, now, chance),
            false => self.settle_closed(endpoint, verdict, now, chance),
        }
    }

    fn settle_closed(
        &mut self,
        endpoint: usize,
        verdict: Verdict,
        now: Instant,
        chance: f64,
    ) -> Option<State> {
        let breaker = &mut self.endpoints[endpoint];
        match verdict {
            Verdict::Nothing => return None,
            Verdict::Good => {
                breaker.row = 0;
                breaker.counts.count(GOOD, now);
                return None;
            }
            Verdict::Bad => {
                breaker.row += 1;
                breaker.counts.count(BAD, now);
            }
            Verdict::RatioOnly => breaker.counts.count(BAD, now),
        }
        let by_row = breaker.row >= self.settings.consecutive;
        if by_row || (self.is_below_share(endpoint, now) && self.may_open_by_share()) {
            return Some(self.open(endpoint, !by_row, now, chance));
        }
        None
    }

    fn settle_probe(
        &mut self,
        endpoint: usize,
        verdict: Verdict,
        now: Instant,
        chance: f64,
    ) -> Option<State> {
        let breaker = &mut self.endpoints[endpoint];
        let Phase::HalfOpen { good, .. } = breaker.phase else {
            return None;
        };
        let good = match verdict {
            Verdict::Bad | Verdict::RatioOnly => {
                let by_share = breaker.by_share;
                return Some(self.open(endpoint, by_share, now, chance));
            }
            Verdict::Good if good + 1 == PROBES => {
                breaker.close();
                return Some(State::Closed);
            }
            Verdict::Good => good + 1,
            Verdict::Nothing => good,
        };
        breaker.phase = Phase::HalfOpen {
            is_probed: false,
            good,
        };
        None
    }

    fn is_below_share(&mut self, endpoint: usize, now: Instant) -> bool {
        let [good, bad] = self.endpoints[endpoint].counts.sums(now);
        let all = good + bad;
        all >= u64::from(self.settings.min_requests)
            && good * 10_000 < all * u64::from(self.settings.success_rate)
    }

    /// A single endpoint opens by its share too; of several, half of them at most.
    fn may_open_by_share(&self) -> bool {
        let is_ejected =
            |breaker: &&Breaker| breaker.by_share && !matches!(breaker.phase, Phase::Closed);
        let ejected = self.endpoints.iter().filter(is_ejected).count();
        self.endpoints.len() == 1 || ejected < self.endpoints.len() / 2
    }

    fn open(&mut self, endpoint: usize, by_share: bool, now: Instant, chance: f64) -> State {
        let (first, last) = self.settings.open;
        let breaker = &mut self.endpoints[endpoint];
        breaker.openings = breaker.openings.saturating_add(1);
        let middle = backoff::upper_end(breaker.openings, first, last);
        breaker.phase = Phase::Open {
            until: now + middle.mul_f64(0.5 + chance.clamp(0.0, 1.0)),
        };
        breaker.by_share = by_share;
        breaker.start_anew();
        State::Open
    }
}

impl Breaker {
    fn permit(&self, is_probe: bool) -> Permit {
        Permit {
            era: self.era,
            is_probe,
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.openings = 0;
        self.start_anew();
    }

    /// Only fresh evidence counts from here on.
    fn start_anew(&mut self) {
        self.era += 1;
        self.row = 0;
        self.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// No jitter: an opening lasts as long as it says.
    const MIDDLE: f64 = 0.5;

    struct Clock {
        breakers: Breakers,
        now: Instant,
    }

    impl Clock {
        fn new(endpoints: usize) -> Clock {
            let now = Instant::now();
            Clock {
                breakers: Breakers::new(Settings::default(), endpoints, now),
                now,
            }
        }

        fn wait(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
        }

        /// Asks once; `None` where nobody may.
        fn ask(&mut self, endpoint: usize, verdict: Verdict) -> Option<State> {
            let admitted = self.breakers.admit(endpoint, self.now)?;
            let permit = admitted.permit;
            self.breakers
                .settle(endpoint, permit, verdict, self.now, MIDDLE);
            Some(self.breakers.state(endpoint))
        }

        fn repeat(&mut self, endpoint: usize, verdict: Verdict, times: usize) -> State {
            for _ in 0..times {
                self.ask(endpoint, verdict);
            }
            self.breakers.state(endpoint)
        }
    }

    /// Scenario 13.
    #[test]
    fn seven_failures_in_a_row_open_it_and_three_good_probes_close_it() {
        let mut clock = Clock::new(1);
        assert_eq!(clock.repeat(0, Verdict::Bad, 6), State::Closed);
        assert_eq!(clock.ask(0, Verdict::Bad), Some(State::Open));
        assert_eq!(clock.breakers.rest(clock.now), Duration::from_secs(1));
        clock.wait(999);
        assert_eq!(clock.ask(0, Verdict::Good), None);
        clock.wait(1);
        assert_eq!(clock.ask(0, Verdict::Bad), Some(State::Open));
        clock.wait(1999);
        assert_eq!(clock.ask(0, Verdict::Good), None);
        clock.wait(1);
        assert_eq!(clock.ask(0, Verdict::Good), Some(State::HalfOpen));
        assert_eq!(clock.ask(0, Verdict::Good), Some(State::HalfOpen));
        assert_eq!(clock.ask(0, Verdict::Good), Some(State::Closed));
        // Once closed, the first opening is a short one again.
        assert_eq!(clock.repeat(0, Verdict::Bad, 7), State::Open);
        assert_eq!(clock.breakers.rest(clock.now), Duration::from_secs(1));
    }

    #[test]
    fn openings_double_up_to_the_last_plus_or_minus_half() {
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::Bad, 7);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let rest = clock.breakers.rest(clock.now);
            assert_eq!(rest, Duration::from_secs(seconds));
            clock.now += rest;
            clock.ask(0, Verdict::Bad);
        }
        for (chance, seconds) in [(0.0, 15.0), (1.0, 45.0)] {
            clock.now += clock.breakers.rest(clock.now);
            let permit = clock.breakers.admit(0, clock.now).unwrap().permit;
            let now = clock.now;
            clock.breakers.settle(0, permit, Verdict::Bad, now, chance);
            assert_eq!(clock.breakers.rest(now).as_secs_f64(), seconds);
        }
    }

    #[test]
    fn one_success_ends_a_row_of_failures() {
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::Bad, 6);
        clock.ask(0, Verdict::Good);
        assert_eq!(clock.repeat(0, Verdict::Bad, 6), State::Closed);
    }

    /// Scenario 7.
    #[test]
    fn what_counts_for_the_share_only_neither_adds_to_a_row_nor_ends_it() {
        let mut clock = Clock::new(1);
        assert_eq!(clock.repeat(0, Verdict::RatioOnly, 10), State::Closed);
        clock.repeat(0, Verdict::Bad, 6);
        clock.repeat(0, Verdict::RatioOnly, 3);
        assert_eq!(clock.ask(0, Verdict::Bad), Some(State::Open));
    }

    #[test]
    fn a_share_below_half_of_twenty_opens_it() {
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::Good, 9);
        assert_eq!(clock.repeat(0, Verdict::RatioOnly, 10), State::Closed);
        assert_eq!(clock.ask(0, Verdict::RatioOnly), Some(State::Open));
        // Exactly half is not below.
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::Good, 10);
        assert_eq!(clock.repeat(0, Verdict::RatioOnly, 10), State::Closed);
    }

    #[test]
    fn a_window_forgets() {
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::RatioOnly, 19);
        clock.wait(10_000);
        assert_eq!(clock.ask(0, Verdict::RatioOnly), Some(State::Closed));
    }

    /// Scenario 14.
    #[test]
    fn a_half_open_endpoint_has_one_probe_at_a_time() {
        let mut clock = Clock::new(1);
        clock.repeat(0, Verdict::Bad, 7);
        clock.wait(1000);
        let probe = clock.breakers.admit(0, clock.now).unwrap();
        assert_eq!(probe.moved, Some(State::HalfOpen));
        assert!(probe.permit.is_probe);
        assert_eq!(clock.breakers.admit(0, clock.now), None);
        // One that comes back without a result makes room for the next.
        let now = clock.now;
        clock
            .breakers
            .settle(0, probe.permit, Verdict::Nothing, now, MIDDLE);
        assert!(clock.breakers.admit(0, clock.now).is_some());
    }

    #[test]
    fn a_result_from_before_it_opened_counts_for_nothing() {
        let mut clock = Clock::new(1);
        let early = clock.breakers.admit(0, clock.now).unwrap().permit;
        clock.repeat(0, Verdict::Bad, 7);
        clock.wait(1000);
        let probe = clock.breakers.admit(0, clock.now).unwrap().permit;
        let now = clock.now;
        for verdict in [Verdict::Good, Verdict::Bad] {
            assert_eq!(clock.breakers.settle(0, early, verdict, now, MIDDLE), None);
        }
        assert_eq!(clock.breakers.state(0), State::HalfOpen);
        let opened = clock.breakers.settle(0, probe, Verdict::Bad, now, MIDDLE);
        assert_eq!(opened, Some(State::Open));
    }

    #[test]
    fn of_several_endpoints_half_are_open_by_their_share_and_all_by_a_row() {
        let mut clock = Clock::new(5);
        for endpoint in 0..5 {
            clock.repeat(endpoint, Verdict::RatioOnly, 30);
        }
        let states = |clock: &Clock| {
            let all = (0..5).map(|endpoint| clock.breakers.state(endpoint));
            all.filter(|state| *state == State::Open).count()
        };
        assert_eq!(states(&clock), 2);
        for endpoint in 0..5 {
            clock.repeat(endpoint, Verdict::Bad, 7);
        }
        assert_eq!(states(&clock), 5);
    }

    /// Scenario 15 with round robin in place of balancing: 100 requests a second, the second endpoint
    /// fails 70 of 100.
    #[test]
    fn in_turn_an_endpoint_that_fails_often_is_ejected_within_five_seconds_and_the_other_never() {
        let mut rng = fastrand::Rng::with_seed(15);
        let mut clock = Clock::new(2);
        for number in 0..500 {
            let verdict = match number % 2 == 1 && rng.u8(..100) < 70 {
                true => Verdict::Bad,
                false => Verdict::Good,
            };
            clock.ask(number % 2, verdict);
            assert_eq!(clock.breakers.state(0), State::Closed);
            if clock.breakers.state(1) == State::Open {
                return;
            }
            clock.wait(10);
        }
        panic!("it was not ejected");
    }

    /// The same rules over the whole history, kept as a list and counted anew each time.
    struct Model {
        /// Verdicts since the last opening or closing, with their times.
        fresh: Vec<(u64, Verdict)>,
        open_until: Option<u64>,
        openings: u32,
        probes: u32,
    }

    impl Model {
        fn may_ask(&self, now: u64) -> bool {
            self.open_until.is_none_or(|until| until <= now)
        }

        fn ask(&mut self, now: u64, verdict: Verdict) {
            if self.open_until.is_some() {
                match verdict {
                    Verdict::Nothing => {}
                    Verdict::Good => self.probes += 1,
                    Verdict::Bad | Verdict::RatioOnly => self.open(now),
                }
                if self.probes == 3 {
                    (self.open_until, self.openings, self.probes) = (None, 0, 0);
                    self.fresh.clear();
                }
                return;
            }
            self.fresh.push((now, verdict));
            let hard = self.fresh.iter().rev().map(|(_, verdict)| *verdict);
            let hard = hard.filter(|verdict| matches!(verdict, Verdict::Good | Verdict::Bad));
            let row = hard.take_while(|verdict| *verdict == Verdict::Bad).count();
            let recent = self.fresh.iter().filter(|(at, verdict)| {
                now / 1000 - at / 1000 < 10 && *verdict != Verdict::Nothing
            });
            let (mut good, mut all) = (0, 0);
            for (_, verdict) in recent {
                all += 1;
                good += usize::from(*verdict == Verdict::Good);
            }
            let fails = matches!(verdict, Verdict::Bad | Verdict::RatioOnly);
            if fails && (row >= 7 || (all >= 20 && 2 * good < all)) {
                self.open(now);
            }
        }

        fn open(&mut self, now: u64) {
            self.openings += 1;
            self.probes = 0;
            self.fresh.clear();
            let length = 1000u64 << (self.openings - 1).min(5);
            self.open_until = Some(now + length.min(30_000));
        }
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            4 => Just(Verdict::Good),
            6 => Just(Verdict::Bad),
            3 => Just(Verdict::RatioOnly),
            1 => Just(Verdict::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(
            events in prop::collection::vec((0u64..700, verdict()), 1..300)
        ) {
            let mut clock = Clock::new(1);
            let mut model = Model { fresh: Vec::new(), open_until: None, openings: 0, probes: 0 };
            let mut now = 0;
            for (wait, verdict) in events {
                clock.wait(wait);
                now += wait;
                let may = model.may_ask(now);
                if may {
                    model.ask(now, verdict);
                }
                prop_assert_eq!(clock.ask(0, verdict).is_some(), may);
                let is_closed = clock.breakers.state(0) == State::Closed;
                prop_assert_eq!(is_closed, model.open_until.is_none());
            }
        }

        /// However permits are held and given back: one probe at a time, and none is lost.
        #[test]
        fn permits_come_back(events in prop::collection::vec((0u64..900, 0usize..3, verdict()), 1..200)) {
            let mut clock = Clock::new(2);
            let mut held: Vec<(usize, Permit)> = Vec::new();
            for (wait, act, verdict) in events {
                clock.wait(wait);
                let now = clock.now;
                if act < 2 {
                    if let Some(admitted) = clock.breakers.admit(act, now) {
                        held.push((act, admitted.permit));
                    }
                } else if let Some((endpoint, permit)) = held.pop() {
                    clock.breakers.settle(endpoint, permit, verdict, now, MIDDLE);
                }
                for endpoint in 0..2 {
                    let era = clock.breakers.endpoints[endpoint].era;
                    let is_current = |(of, permit): &&(usize, Permit)| {
                        *of == endpoint && permit.is_probe && permit.era == era
                    };
                    prop_assert!(held.iter().filter(is_current).count() <= 1);
                }
            }
            let now = clock.now;
            for (endpoint, permit) in held {
                clock.breakers.settle(endpoint, permit, Verdict::Nothing, now, MIDDLE);
            }
            clock.wait(100_000);
            prop_assert!((0..2).all(|endpoint| clock.breakers.is_admissible(endpoint, clock.now)));
        }
    }
}
