//! How long to wait before a retry: exponential, with full jitter, so that callers that failed
//! together do not come back together.

use std::time::Duration;

/// The wait before retry `nth` (from 1): a random share of min(`first` · 2ⁿ⁻¹, `last`).
/// `chance` is in 0..1.
pub fn wait(nth: u32, first: Duration, last: Duration, chance: f64) -> Duration {
    upper_end(nth, first, last).mul_f64(chance.clamp(0.0, 1.0))
}

/// The longest that [`wait`] can give.
pub fn upper_end(nth: u32, first: Duration, last: Duration) -> Duration {
    let doublings = nth.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_upper_end_doubles_up_to_the_last() {
        fn check(nth: u32, expected: u64) {
            let found = upper_end(nth, milliseconds(25), milliseconds(250));
            assert_eq!(found, milliseconds(expected), "retry {nth}");
        }
        check(1, 25);
        check(2, 50);
        check(3, 100);
        check(4, 200);
        check(5, 250);
        check(40, 250);
        check(u32::MAX, 250);
    }

    #[test]
    fn the_wait_is_a_share_of_the_upper_end() {
        let at = |chance| wait(2, milliseconds(25), milliseconds(250), chance);
        assert_eq!(at(0.0), Duration::ZERO);
        assert_eq!(at(0.5), milliseconds(25));
        assert_eq!(at(1.0), milliseconds(50));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_last(
            nth in 0u32..100, first in 0u64..10_000, last in 0u64..10_000, chance in 0.0f64..1.0
        ) {
            let found = wait(nth, milliseconds(first), milliseconds(last), chance);
            prop_assert!(found <= milliseconds(last));
        }
    }
}
