//! The order of two JSON numbers by their mathematical value, exactly, however long they are.
//!
//! A number is 0.d₁d₂d₃… × 10^e with d₁ ≠ 0. Nothing is materialised: digits are compared where they
//! stand, and exponents as digits too, so `1e999999999999999999999` costs no more than it is long.

use std::cmp::Ordering;

/// The order of two valid JSON numbers.
pub(super) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let one = Decimal::of(one);
    let other = Decimal::of(other);
    let order = one.sign().cmp(&other.sign());
    if order.is_ne() || one.sign() == 0 {
        return order;
    }
    let order = one.compare_magnitude(&other);
    if one.negative { order.reverse() } else { order }
}

struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// How many zeros lead the digits; as many as there are digits if the number is zero.
    leading: usize,
    /// How many digits there are without the zeros that trail.
    length: usize,
    exponent: Exponent<'a>,
}

/// The exponent as it is written.
struct Exponent<'a> {
    negative: bool,
    digits: &'a [u8],
}

impl<'a> Decimal<'a> {
    fn of(text: &'a [u8]) -> Decimal<'a> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (text, exponent) = split(text, |byte| byte == b'e' || byte == b'E');
        let (whole, fraction) = split(text, |byte| byte == b'.');
        let mut decimal = Decimal {
            negative,
            whole,
            fraction,
            leading: 0,
            length: whole.len() + fraction.len(),
            exponent: Exponent::of(exponent),
        };
        decimal.leading = decimal.digits().take_while(|digit| **digit == b'0').count();
        let trailing = decimal.digits().rev().take_while(|digit| **digit == b'0');
        decimal.length -= trailing.count();
        decimal
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = &u8> {
        self.whole.iter().chain(self.fraction)
    }

    /// The digits from the first to the last that is not zero.
    fn significant(&self) -> impl Iterator<Item = &u8> {
        self.digits().take(self.length).skip(self.leading)
    }

    fn sign(&self) -> i8 {
        match (self.length, self.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    /// By how much the point stands behind the first significant digit, before the exponent.
    fn point(&self) -> i128 {
        self.whole.len() as i128 - self.leading as i128
    }

    fn compare_magnitude(&self, other: &Decimal<'_>) -> Ordering {
        let exponents = self.exponent.minus(&other.exponent);
        let scale = (exponents + self.point() - other.point()).cmp(&0);
        scale.then_with(|| self.significant().cmp(other.significant()))
    }
}

impl<'a> Exponent<'a> {
    fn of(text: &'a [u8]) -> Exponent<'a> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        Exponent { negative, digits }
    }

    /// The signed digit at the place `from_end`, counted from 1 at the last.
    fn digit(&self, from_end: usize) -> i128 {
        let digit = match self.digits.len().checked_sub(from_end) {
            Some(at) => i128::from(self.digits[at] - b'0'),
            None => 0,
        };
        if self.negative { -digit } else { digit }
    }

    /// The difference, exact unless it is beyond what the length of a text could make up for.
    fn minus(&self, other: &Exponent<'_>) -> i128 {
        const BEYOND: i128 = 10i128.pow(25);
        let places = self.digits.len().max(other.digits.len());
        let mut difference = 0i128;
        for place in (1..=places).rev() {
            difference = difference * 10 + self.digit(place) - other.digit(place);
            // The places that are left add less than two units of this one: the sign is settled.
            if difference.abs() > BEYOND {
                return difference;
            }
        }
        difference
    }
}

/// What stands before and behind the first byte that `is_mark`.
fn split(text: &[u8], is_mark: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| is_mark(*byte)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, expected: Ordering) {
        let (a, b) = (one.as_bytes(), other.as_bytes());
        assert_eq!(compare(a, b), expected, "{one} and {other}");
        assert_eq!(compare(b, a), expected.reverse(), "{other} and {one}");
    }

    #[test]
    fn numbers_are_ordered_by_their_value() {
        use Ordering::{Equal, Less};
        let rows = [
            ("1e400", "10e399", Equal),
            ("1.10", "1.1", Equal),
            ("-0", "0", Equal),
            ("-0.0e5", "0e-9", Equal),
            ("100", "1e2", Equal),
            ("0.001", "1E-3", Equal),
            ("0.0010", "0.1e-2", Equal),
            ("1e-0", "1e+000", Equal),
            ("12345678901234567890123", "12345678901234567890124", Less),
            ("1152921504606846976", "1152921504606846977", Less),
            ("1152921504606846976", "1.152921504606846976e18", Equal),
            ("-2", "-1", Less),
            ("-1", "0", Less),
            ("-1", "1", Less),
            ("0", "1e-999999999", Less),
            ("-1e999999999", "-1e999999998", Less),
            ("9", "10", Less),
            ("0.9", "0.91", Less),
            ("99e0", "1e2", Less),
            ("1e999999999", "10e999999998", Equal),
            (
                "1e99999999999999999999999999999999999999999",
                "10e99999999999999999999999999999999999999998",
                Equal,
            ),
            (
                "1e99999999999999999999999999999999999999998",
                "1e99999999999999999999999999999999999999999",
                Less,
            ),
            (
                "1e-99999999999999999999999999999999999999999",
                "1e99999999999999999999999999999999999999999",
                Less,
            ),
            (
                "1e-99999999999999999999999999999999999999999",
                "0.1e-99999999999999999999999999999999999999998",
                Equal,
            ),
            (
                "1e9999999999999999999999999999999999999999",
                "1e10000000000000000000000000000000000000000",
                Less,
            ),
            (
                "10e9999999999999999999999999999999999999999",
                "1e10000000000000000000000000000000000000000",
                Equal,
            ),
        ];
        for (one, other, expected) in rows {
            check(one, other, expected);
        }
    }
}
