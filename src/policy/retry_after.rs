//! `Retry-After` (RFC 9110 §10.2.3): seconds or a date.

use std::time::{Duration, SystemTime};

/// The most that is handed on to a client, in seconds.
const MOST: u64 = 300;

/// How long the header asks to wait. What is neither a number nor a date is ignored, a past date is
/// zero. `now` is the answer's own date where it has one, so that clocks need not agree.
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still only "very long".
        return Some(Duration::from_secs(
            value.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// How long whoever is turned away stays away: 1 to 3 s, so that they do not come back together.
/// `chance` is in 0..1.
pub fn spread(chance: f64) -> Duration {
    Duration::from_secs(1 + (chance.clamp(0.0, 0.999) * 3.0) as u64)
}

/// What is handed on to the client: whole seconds, rounded up, at most 300.
pub fn handed_on(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.min(MOST) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tue, 15 Nov 1994 08:12:31 GMT.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_887_151)
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        fn check(value: &str, expected: Option<u64>) {
            assert_eq!(
                parse(value, now()),
                expected.map(Duration::from_secs),
                "{value:?}"
            );
        }
        check("0", Some(0));
        check("2", Some(2));
        check(" 120 ", Some(120));
        check("99999999999999999999999", Some(u64::from(u32::MAX)));
        check("Tue, 15 Nov 1994 08:13:31 GMT", Some(60));
        check("Tue, 15 Nov 1994 08:12:31 GMT", Some(0));
        check("Tue, 15 Nov 1994 08:00:00 GMT", Some(0));
        check("", None);
        check("soon", None);
        check("-1", None);
        check("+1", None);
        check("1.5", None);
        check("15 Nov 1994", None);
    }

    #[test]
    fn who_is_turned_away_stays_away_for_one_to_three_seconds() {
        let seconds = [0.0, 0.33, 0.34, 0.67, 1.0].map(|chance| spread(chance).as_secs());
        assert_eq!(seconds, [1, 1, 2, 3, 3]);
    }

    #[test]
    fn what_is_handed_on_is_rounded_up_and_capped() {
        fn check(milliseconds: u64, expected: u32) {
            assert_eq!(handed_on(Duration::from_millis(milliseconds)), expected);
        }
        check(0, 0);
        check(1, 1);
        check(2000, 2);
        check(2001, 3);
        check(300_000, 300);
        check(300_001, 300);
        check(86_400_000, 300);
    }

    proptest! {
        #[test]
        fn no_text_panics(value in "\\PC{0,40}") {
            let _ = parse(&value, now());
        }
    }
}
