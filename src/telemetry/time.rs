//! Moments as text. The only calendar in the program, so that no crate is needed for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::json::write_number;

/// RFC 3339 in UTC with milliseconds: `2026-11-24T07:13:31.042Z`.
pub fn rfc3339(moment: SystemTime) -> String {
    let mut out = Vec::with_capacity(24);
    write_rfc3339(&mut out, moment);
    String::from_utf8(out).expect("digits are ASCII")
}

pub fn write_rfc3339(out: &mut Vec<u8>, moment: SystemTime) {
    let (year, month, day) = civil(since_epoch(moment).as_secs() / 86_400);
    let ([y0, y1], [y2, y3]) = (two_digits(year / 100 % 100), two_digits(year % 100));
    let ([m0, m1], [d0, d1]) = (two_digits(month), two_digits(day));
    out.extend_from_slice(&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T']);
    write_clock(out, moment);
    out.push(b'Z');
}

/// The time of day in UTC with milliseconds: `07:13:31.042`.
pub fn clock(moment: SystemTime) -> String {
    let mut out = Vec::with_capacity(12);
    write_clock(&mut out, moment);
    String::from_utf8(out).expect("digits are ASCII")
}

fn write_clock(out: &mut Vec<u8>, moment: SystemTime) {
    let since = since_epoch(moment);
    let second = since.as_secs() % 86_400;
    let ([h0, h1], [m0, m1]) = (two_digits(second / 3600), two_digits(second / 60 % 60));
    let ([s0, s1], [f0, f1, f2]) = (two_digits(second % 60), three_digits(since.subsec_millis()));
    out.extend_from_slice(&[h0, h1, b':', m0, m1, b':', s0, s1, b'.', f0, f1, f2]);
}

/// Of a number below 100.
fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// Of a number below 1000.
fn three_digits(number: u32) -> [u8; 3] {
    let [tens, ones] = two_digits(u64::from(number % 100));
    [b'0' + (number / 100) as u8, tens, ones]
}

/// Milliseconds for a machine: `41.207`.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The same as JSON, to the microsecond: `41.207`, `41.0`.
pub fn write_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.subsec_micros();
    let whole = duration.as_secs().saturating_mul(1_000);
    write_number(out, whole.saturating_add(u64::from(micros / 1_000)));
    let [hundreds, tens, ones] = three_digits(micros % 1_000);
    match (tens, ones) {
        (b'0', b'0') => out.extend_from_slice(&[b'.', hundreds]),
        (_, b'0') => out.extend_from_slice(&[b'.', hundreds, tens]),
        _ => out.extend_from_slice(&[b'.', hundreds, tens, ones]),
    }
}

/// A duration for a person: `0.4 ms`, `41 ms`, `2 s`, `12.3 s`.
pub fn readable(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        _ if micros > 0 && micros.is_multiple_of(1_000_000) => format!("{} s", micros / 1_000_000),
        0..1_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        1_000..10_000_000 => format!("{} ms", (micros + 500) / 1_000),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// A clock set before 1970 is shown as 1970.
fn since_epoch(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March, so that
/// the leap day is a year's last and the lengths of the months repeat every five.
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let day = day + 719_468;
    let era = day / DAYS_OF_400_YEARS;
    let day_of_era = day % DAYS_OF_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_has_it() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_001, "2000-03-01T00:00:00.001Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_500, "2024-12-31T23:59:59.500Z"),
            (1_795_504_411_042, "2026-11-24T07:13:31.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let moment = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(rfc3339(moment), expected, "{millis}");
        }
    }

    #[test]
    fn a_machine_reads_milliseconds_without_the_zeros_at_their_end() {
        for (micros, expected) in [
            (0, "0.0"),
            (7, "0.007"),
            (41_207, "41.207"),
            (41_120, "41.12"),
            (41_500, "41.5"),
            (2_000_000, "2000.0"),
            (61_000_010, "61000.01"),
        ] {
            let mut out = Vec::new();
            write_milliseconds(&mut out, Duration::from_micros(micros));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_person_reads_durations_in_fitting_units() {
        for (micros, expected) in [
            (0, "0.0 ms"),
            (449, "0.4 ms"),
            (1_000, "1 ms"),
            (41_499, "41 ms"),
            (41_500, "42 ms"),
            (1_000_000, "1 s"),
            (9_999_000, "9999 ms"),
            (12_345_000, "12.3 s"),
        ] {
            assert_eq!(readable(Duration::from_micros(micros)), expected);
        }
    }
}
