//! The time, read once in each turn of a task. A turn lasts some microseconds, and a request asks for the
//! time some twenty times in each; a look at the clock takes 25 to 55 ns. Outside of [`by_turns`] every
//! question is a look at the clock.
//!
//! Not for what measures how long a turn takes.

pub mod alarm;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

#[derive(Clone, Copy)]
enum Reading<T> {
    /// No turn is on.
    Off,
    Unread,
    Read(T),
}

struct Clocks {
    now: Cell<Reading<Instant>>,
    wall: Cell<Reading<SystemTime>>,
}

thread_local! {
    static CLOCKS: Clocks = const {
        Clocks { now: Cell::new(Reading::Off), wall: Cell::new(Reading::Off) }
    };
}

/// Now, or a little before: in this turn.
pub fn now() -> Instant {
    CLOCKS.with(|clocks| read(&clocks.now, Instant::now))
}

/// The same by the calendar.
pub fn wall() -> SystemTime {
    CLOCKS.with(|clocks| read(&clocks.wall, SystemTime::now))
}

/// How long ago `moment` was in this turn; zero where that was later.
pub fn since(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}

fn read<T: Copy>(clock: &Cell<Reading<T>>, look: fn() -> T) -> T {
    match clock.get() {
        Reading::Read(time) => time,
        Reading::Off => look(),
        Reading::Unread => {
            let time = look();
            clock.set(Reading::Read(time));
            time
        }
    }
}

/// Does `work`, with the clocks read at most once each time it is polled. It is polled where it lies: what is large
/// comes in a box.
pub fn by_turns<W: Future + Unpin>(mut work: W) -> impl Future<Output = W::Output> {
    poll_fn(move |context| {
        let _turn = Turn::begin();
        Pin::new(&mut work).poll(context)
    })
}

/// Ends the turn also when what is polled panics.
struct Turn;

impl Turn {
    /// `None` within a turn, which goes on.
    fn begin() -> Option<Turn> {
        CLOCKS.with(|clocks| {
            let is_on = !matches!(clocks.now.get(), Reading::Off);
            (!is_on).then(|| {
                clocks.now.set(Reading::Unread);
                clocks.wall.set(Reading::Unread);
                Turn
            })
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CLOCKS.with(|clocks| {
            clocks.now.set(Reading::Off);
            clocks.wall.set(Reading::Off);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::task::yield_now;

    use super::*;

    /// Until the clock says something else than `moment`.
    fn pass(moment: Instant) {
        while Instant::now() <= moment + Duration::from_micros(1) {}
    }

    #[tokio::test]
    async fn a_turn_has_one_time_and_the_next_another() {
        by_turns(Box::pin(async {
            let (first, date) = (now(), wall());
            pass(first);
            by_turns(Box::pin(async { assert_eq!(now(), first) })).await;
            assert_eq!((now(), wall(), since(first)), (first, date, Duration::ZERO));
            yield_now().await;
            assert!(now() > first && wall() > date && since(first) > Duration::ZERO);
        }))
        .await;
    }

    #[test]
    fn outside_of_a_turn_time_goes_on() {
        let first = now();
        pass(first);
        assert!(now() > first);
        let turn = by_turns(Box::pin(async { panic!("in its turn") }));
        let caught = catch_unwind(AssertUnwindSafe(|| turn.now_or_never()));
        assert!(caught.is_err());
        let second = now();
        pass(second);
        assert!(now() > second, "the turn that panicked has ended");
    }
}
