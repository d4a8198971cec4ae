//! Exact counts of the last so many seconds, in ten buckets. An average weighed by arrivals would
//! hide a dense burst.

use std::time::Duration;

use tokio::time::Instant;

const BUCKETS: usize = 10;

/// Counts of `LANES` kinds over a span: a bucket is forgotten as a whole, so what is counted is of
/// the last nine to ten tenths of it.
#[derive(Clone, Debug)]
pub struct Window<const LANES: usize> {
    /// Of one bucket.
    width: Duration,
    origin: Instant,
    /// The number of the newest bucket, from `origin`, and when it ends.
    newest: u64,
    ends: Instant,
    buckets: [[u32; LANES]; BUCKETS],
    /// Of all buckets.
    sums: [u64; LANES],
}

impl<const LANES: usize> Window<LANES> {
    pub fn new(span: Duration, now: Instant) -> Window<LANES> {
        let width = (span / BUCKETS as u32).max(Duration::from_nanos(1));
        Window {
            width,
            origin: now,
            newest: 0,
            ends: now + width,
            buckets: [[0; LANES]; BUCKETS],
            sums: [0; LANES],
        }
    }

    pub fn count(&mut self, lane: usize, now: Instant) {
        self.forget(now);
        let place = place(self.newest);
        let count = &mut self.buckets[place][lane];
        if *count < u32::MAX {
            *count += 1;
            self.sums[lane] += 1;
        }
    }

    /// By lane.
    pub fn sums(&mut self, now: Instant) -> [u64; LANES] {
        self.forget(now);
        self.sums
    }

    pub fn clear(&mut self) {
        self.buckets = [[0; LANES]; BUCKETS];
        self.sums = [0; LANES];
    }

    fn forget(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let passed = now.saturating_duration_since(self.origin);
        let number = (passed.as_nanos() / self.width.as_nanos()) as u64;
        let stale = (number - self.newest).min(BUCKETS as u64);
        for step in 1..=stale {
            let bucket = &mut self.buckets[place(number - stale + step)];
            for (sum, count) in self
                .sums
                .iter_mut()
                .zip(std::mem::replace(bucket, [0; LANES]))
            {
                *sum -= u64::from(count);
            }
        }
        self.newest = number;
        let begins = number.saturating_mul(self.width.as_nanos() as u64);
        self.ends = self.origin + Duration::from_nanos(begins) + self.width;
    }
}

fn place(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_older_than_the_span_is_forgotten() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut window: Window<2> = Window::new(Duration::from_secs(10), start);
        window.count(0, at(0));
        window.count(1, at(999));
        window.count(0, at(1000));
        assert_eq!(window.sums(at(9999)), [2, 1]);
        assert_eq!(window.sums(at(10_000)), [1, 0]);
        assert_eq!(window.sums(at(11_000)), [0, 0]);
        window.count(0, at(500_000));
        assert_eq!(window.sums(at(500_000)), [1, 0]);
    }

    proptest! {
        /// The model keeps every event and counts those whose tenth is among the last ten.
        #[test]
        fn it_counts_as_a_list_would(events in prop::collection::vec((0usize..2, 0u64..4000), 1..120)) {
            let start = Instant::now();
            let mut window: Window<2> = Window::new(Duration::from_secs(10), start);
            let (mut now, mut list) = (0, Vec::new());
            for (lane, wait) in events {
                now += wait;
                window.count(lane, start + Duration::from_millis(now));
                list.push((lane, now));
                let of = |wanted| {
                    let of_lane = list.iter().filter(|(lane, at)| {
                        *lane == wanted && now / 1000 - at / 1000 < BUCKETS as u64
                    });
                    of_lane.count() as u64
                };
                let sums = window.sums(start + Duration::from_millis(now));
                prop_assert_eq!(sums, [of(0), of(1)]);
            }
        }
    }
}
