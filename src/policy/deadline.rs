//! How the time of a call is split over its attempts.

use std::time::Duration;

/// How long an attempt that starts now may take, of the `left` time of its call. It is cut by its
/// `own` clock only if `another` may start after that, with at least `least` to run; otherwise it
/// gets all that is left.
pub fn attempt_time(left: Duration, own: Duration, another: bool, least: Duration) -> Duration {
    if another && own + least <= left {
        own
    } else {
        left
    }
}

/// How long to pause before the next attempt: never shorter than what the service `asked` for,
/// beyond that as `drawn`, and shortened where the time is short. `None`: it would start with less
/// than `least`.
pub fn pause(
    drawn: Duration,
    asked: Option<Duration>,
    left: Duration,
    least: Duration,
) -> Option<Duration> {
    let asked = asked.unwrap_or(Duration::ZERO);
    let longest = left.checked_sub(least)?;
    (asked <= longest).then(|| asked.saturating_add(drawn).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(10);

    fn microseconds(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn the_last_attempt_gets_all_that_is_left() {
        fn check(left: u64, own: u64, another: bool, expected: u64) {
            let found = attempt_time(microseconds(left), microseconds(own), another, LEAST);
            assert_eq!(found, microseconds(expected), "{left} {own} {another}");
        }
        // Scenario 1: 300 ms in two attempts, with 25 ms set aside for the backoff.
        check(300_000, 137_500, true, 137_500);
        check(150_000, 137_500, false, 150_000);
        // Another could start with exactly 10 ms, but not with less.
        check(147_500, 137_500, true, 137_500);
        check(147_499, 137_500, true, 147_499);
        check(5_000, 137_500, true, 5_000);
    }

    #[test]
    fn a_pause_leaves_time_to_run() {
        fn check(drawn: u64, asked: Option<u64>, left: u64, expected: Option<u64>) {
            let found = pause(
                Duration::from_millis(drawn),
                asked.map(Duration::from_millis),
                Duration::from_millis(left),
                LEAST,
            );
            assert_eq!(found, expected.map(Duration::from_millis));
        }
        check(20, None, 100, Some(20));
        check(20, None, 25, Some(15));
        check(20, None, 10, Some(0));
        check(20, None, 9, None);
        check(20, Some(0), 100, Some(20));
        check(20, Some(50), 100, Some(70));
        check(20, Some(85), 100, Some(90));
        check(20, Some(90), 100, Some(90));
        check(20, Some(91), 100, None);
        check(0, Some(2000), 300, None);
    }
}
