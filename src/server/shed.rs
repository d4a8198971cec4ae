//! The door under load: what this process knows of its load, put to `policy::shed`.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::settings;
use crate::policy::retry_after;
use crate::policy::shed::{self, COHORTS, Pressure, Priority, Verdict};
use crate::server::load::Load;

const HOUR: u64 = 3600;

/// What becomes of a request that is counted in `load` already.
pub fn judge(load: &Load, limits: &settings::Shed, priority: Priority, client: IpAddr) -> Verdict {
    let pressure = Pressure {
        lag: (load.here().lag.now(), limits.lag),
        in_flight: (load.counts.requests().saturating_sub(1), limits.in_flight),
        memory: (load.memory.reserved(), load.memory.limit()),
    };
    // Where whoever goes first is served, everybody is.
    if shed::judge(&pressure, priority, COHORTS - 1) == Verdict::Serve {
        return Verdict::Serve;
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let hour = since_1970.map_or(0, |since| since.as_secs() / HOUR);
    shed::judge(&pressure, priority, cohort(client, hour))
}

/// The same for a client in every process of a fleet, and another one every hour, so that nobody is
/// turned away for long (DAGOR).
fn cohort(client: IpAddr, hour: u64) -> u32 {
    let address = match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let hour = hour.to_be_bytes();
    let hash = fnv_1a(address.octets().into_iter().chain(hour));
    // The last bytes have not reached all bits; after this the upper ones hang on all of them.
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * u64::from(COHORTS)) >> 32) as u32
}

fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// When to come again, in seconds. Not at one time all together.
pub fn retry_after() -> u32 {
    retry_after::handed_on(retry_after::spread(fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_published_one() {
        // The vectors of the draft (draft-eastlake-fnv).
        assert_eq!(fnv_1a([].into_iter()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a((*b"a").into_iter()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a((*b"foobar").into_iter()), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_client_keeps_its_cohort_for_an_hour() {
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(cohort(client, 500_000), cohort(mapped, 500_000));
        let hours = 500_000..500_100;
        let over_hours: std::collections::HashSet<u32> =
            hours.map(|hour| cohort(client, hour)).collect();
        assert!(over_hours.len() > 50, "{}", over_hours.len());
    }

    #[test]
    fn clients_spread_over_the_cohorts() {
        let mut found = [0u32; COHORTS as usize];
        for number in 0..12_800u32 {
            let client = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            found[cohort(client, 500_000) as usize] += 1;
        }
        let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
        // A hundred each, by chance give or take forty.
        assert!(*least > 60 && *most < 140, "{least} to {most}");
    }
}
