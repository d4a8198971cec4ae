//! By when a client has its answer.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::engine::fetch::LEAST_TIME;
use crate::server::identity::single;

static REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// The route's timeout, lowered by the header if whoever sent it is trusted. `None`: so little is
/// left that nothing is begun.
pub fn deadline(
    started: Instant,
    timeout: Duration,
    headers: &HeaderMap,
    is_trusted: bool,
) -> Option<Instant> {
    let asked = is_trusted.then(|| asked(headers)).flatten();
    let left = asked.map_or(timeout, |asked| asked.min(timeout));
    (left >= LEAST_TIME).then(|| started + left)
}

/// What the header says; one that cannot be read says nothing.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    duration(single(headers, &REQUEST_TIMEOUT)?.to_str().ok()?.trim())
}

/// A duration as the route files write it: `200ms`, `1.5s`, `5m`.
fn duration(text: &str) -> Option<Duration> {
    let unit_start = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_start);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let is_plain = number.starts_with(|first: char| first.is_ascii_digit())
        && number.ends_with(|last: char| last.is_ascii_digit());
    let number = number.parse::<f64>().ok().filter(|_| is_plain)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(header: Option<&str>, is_trusted: bool) -> Option<u128> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(&REQUEST_TIMEOUT, header.parse().unwrap());
        }
        let now = Instant::now();
        deadline(now, Duration::from_secs(1), &headers, is_trusted)
            .map(|deadline| deadline.duration_since(now).as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_header_may_only_lower_the_timeout() {
        let rows = [
            (None, true, Some(1000)),
            (Some("50ms"), true, Some(50)),
            (Some("50ms"), false, Some(1000)),
            (Some("60s"), true, Some(1000)),
            (Some("0.5s"), true, Some(500)),
            (Some("5ms"), true, None),
            (Some("0ms"), true, None),
            (Some("10ms"), true, Some(10)),
            (Some("50"), true, Some(1000)),
            (Some("-50ms"), true, Some(1000)),
            (Some(".5s"), true, Some(1000)),
            (Some("1e400s"), true, Some(1000)),
            (Some("soon"), true, Some(1000)),
        ];
        for (header, is_trusted, expected) in rows {
            assert_eq!(
                left(header, is_trusted),
                expected,
                "{header:?} {is_trusted}"
            );
        }
    }
}
