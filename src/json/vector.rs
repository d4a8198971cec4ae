//! The masks of a block by AVX2, where the processor has it: the one module of the library with `unsafe`.
//!
//! Checking is most of what a route with large bodies costs, and this way it takes two thirds of the time
//! that it takes token by token (`docs/performance.md`). Without `unsafe` there are 16 bytes to a vector, as
//! every processor has them: tried with the crate `wide`, in a simpler form of `blocks.rs`, that was no
//! quicker than to go token by token.
//!
//! Each `unsafe` is one of two things, and neither depends on what the bytes are:
//!
//! - A function that needs features of the processor is called where they have been asked for.
//! - 32 borrowed bytes are loaded, without alignment.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::blocks::{BEFORE, Masks, Window};
use super::pass::{Expect, Pass};

/// [`Pass::by_blocks`]; `None` where the processor cannot.
pub(super) fn by_blocks(pass: &mut Pass<'_>, at: usize) -> Option<(usize, Expect)> {
    // SAFETY: `can` asks for every feature that `with_avx2` is compiled for.
    can().then(|| unsafe { with_avx2(pass, at) })
}

/// Whether the processor has all that the functions below are compiled for. The answers are kept by `std`.
fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq")
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
fn with_avx2(pass: &mut Pass<'_>, at: usize) -> (usize, Expect) {
    pass.by_blocks(at, |window| masks(window), |bits| sums(bits))
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
fn masks(window: &Window) -> Masks {
    let (low, high) = (load(window, BEFORE), load(window, BEFORE + HALF));
    let is = |byte: u8| mask(equal(low, byte), equal(high, byte));
    // A bracket and its brace differ in the bit 0x20 only.
    let (low_folded, high_folded) = (folded(low), folded(high));
    let folds = |byte: u8| mask(equal(low_folded, byte), equal(high_folded, byte));
    let wrong = _mm256_or_si256(not_utf8(window, 0), not_utf8(window, HALF));
    Masks {
        quotes: is(b'"'),
        backslashes: is(b'\\'),
        controls: mask(controls(low), controls(high)),
        spaces: mask(spaces(low), spaces(high)),
        opens: folds(b'{'),
        closes: folds(b'}'),
        commas: is(b','),
        colons: is(b':'),
        escapes: !mask(not_escapes(low), not_escapes(high)),
        code_units: is(b'u'),
        is_utf8: _mm256_testz_si256(wrong, wrong) == 1,
    }
}

const HALF: usize = 32;

/// The 32 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
fn load(window: &Window, at: usize) -> __m256i {
    let bytes: &[u8; HALF] = window[at..].first_chunk().expect("half a block");
    // SAFETY: 32 borrowed bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// A bit for each byte that is all bits.
#[inline]
#[target_feature(enable = "avx2")]
fn mask(low: __m256i, high: __m256i) -> u64 {
    let low = _mm256_movemask_epi8(low) as u32;
    let high = _mm256_movemask_epi8(high) as u32;
    u64::from(low) | u64::from(high) << 32
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))
}

#[inline]
#[target_feature(enable = "avx2")]
fn folded(bytes: __m256i) -> __m256i {
    _mm256_or_si256(bytes, _mm256_set1_epi8(0x20))
}

#[inline]
#[target_feature(enable = "avx2")]
fn controls(bytes: __m256i) -> __m256i {
    let most = _mm256_min_epu8(bytes, _mm256_set1_epi8(0x1F));
    _mm256_cmpeq_epi8(most, bytes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn spaces(bytes: __m256i) -> __m256i {
    let blanks = _mm256_or_si256(equal(bytes, b' '), equal(bytes, b'\t'));
    let breaks = _mm256_or_si256(equal(bytes, b'\n'), equal(bytes, b'\r'));
    _mm256_or_si256(blanks, breaks)
}

/// A table of sixteen bytes, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn table(bytes: [u8; 16]) -> __m256i {
    let [low, high] =
        [0, 8].map(|at| i64::from_le_bytes(*bytes[at..].first_chunk().expect("half a table")));
    _mm256_setr_epi64x(low, high, low, high)
}

/// The four high bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn high_nibbles(bytes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0F))
}

/// All bits for a byte that may not stand behind a backslash.
///
/// Each of the four high nibbles of those that may has a bit, and each low nibble the bits of the high ones
/// that it goes together with.
#[inline]
#[target_feature(enable = "avx2")]
fn not_escapes(bytes: __m256i) -> __m256i {
    const BY_HIGH: [u8; 16] = [0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    const BY_LOW: [u8; 16] = {
        let mut table = [0; 16];
        let mut at = 0;
        let all = b"\"\\/bfnrtu";
        while at < all.len() {
            table[(all[at] & 0x0F) as usize] |= BY_HIGH[(all[at] >> 4) as usize];
            at += 1;
        }
        table
    };
    // A byte of 0x80 and more finds nothing in the second table.
    let high = _mm256_shuffle_epi8(table(BY_HIGH), high_nibbles(bytes));
    let low = _mm256_shuffle_epi8(table(BY_LOW), bytes);
    _mm256_cmpeq_epi8(_mm256_and_si256(high, low), _mm256_setzero_si256())
}

/// Has bits where the half of a block at `at` cannot be characters of UTF-8.
///
/// Whatever is wrong with two bytes that follow each other shows in three nibbles: both of the first and the
/// high one of the second. Each bit of the three tables is one such fault, and has to be found in all of
/// them. That a third or fourth byte belongs there is told by the byte two or three in front (Keiser and
/// Lemire, "Validating UTF-8 in Less Than One Instruction per Byte", Software: Practice and Experience 51,
/// 2021).
#[inline]
#[target_feature(enable = "avx2")]
fn not_utf8(window: &Window, at: usize) -> __m256i {
    /// A first byte without what has to follow; what follows without a first byte.
    const SHORT: u8 = 1 << 0;
    const LONG: u8 = 1 << 1;
    /// A character in more bytes than it needs.
    const OVER_2: u8 = 1 << 2;
    const OVER_3: u8 = 1 << 3;
    const OVER_4: u8 = 1 << 4;
    /// Half of a pair of UTF-16.
    const SURROGATE: u8 = 1 << 5;
    /// Beyond U+10FFFF: by the second byte, or by the first alone (which with a second byte of 0x8_ shares its
    /// bit with `OVER_4`).
    const LARGE: u8 = 1 << 6;
    const LARGER: u8 = OVER_4;
    /// Two bytes that follow: right if it is the third or fourth of a character.
    const FOLLOW: u8 = 1 << 7;
    const BY_FIRST_HIGH: [u8; 16] = [
        LONG,
        LONG,
        LONG,
        LONG,
        LONG,
        LONG,
        LONG,
        LONG,
        FOLLOW,
        FOLLOW,
        FOLLOW,
        FOLLOW,
        SHORT | OVER_2,
        SHORT,
        SHORT | OVER_3 | SURROGATE,
        SHORT | OVER_4 | LARGE | LARGER,
    ];
    const ANY: u8 = SHORT | LONG | FOLLOW;
    const BY_FIRST_LOW: [u8; 16] = [
        ANY | OVER_2 | OVER_3 | OVER_4,
        ANY | OVER_2,
        ANY,
        ANY,
        ANY | LARGE,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER | SURROGATE,
        ANY | LARGE | LARGER,
        ANY | LARGE | LARGER,
    ];
    const BY_SECOND_HIGH: [u8; 16] = [
        SHORT,
        SHORT,
        SHORT,
        SHORT,
        SHORT,
        SHORT,
        SHORT,
        SHORT,
        LONG | FOLLOW | OVER_2 | OVER_3 | OVER_4 | LARGER,
        LONG | FOLLOW | OVER_2 | OVER_3 | LARGE,
        LONG | FOLLOW | OVER_2 | SURROGATE | LARGE,
        LONG | FOLLOW | OVER_2 | SURROGATE | LARGE,
        SHORT,
        SHORT,
        SHORT,
        SHORT,
    ];
    let bytes = load(window, at + BEFORE);
    let [first, second, third] = [load(window, at + 2), load(window, at + 1), load(window, at)];
    let by_first = _mm256_and_si256(
        _mm256_shuffle_epi8(table(BY_FIRST_HIGH), high_nibbles(first)),
        _mm256_shuffle_epi8(
            table(BY_FIRST_LOW),
            _mm256_and_si256(first, _mm256_set1_epi8(0x0F)),
        ),
    );
    let by_second = _mm256_shuffle_epi8(table(BY_SECOND_HIGH), high_nibbles(bytes));
    let faults = _mm256_and_si256(by_first, by_second);
    // From these on, the difference has the high bit.
    let three = _mm256_subs_epu8(second, _mm256_set1_epi8((0xE0_u8 - 0x80) as i8));
    let four = _mm256_subs_epu8(third, _mm256_set1_epi8((0xF0_u8 - 0x80) as i8));
    let follow = _mm256_and_si256(_mm256_or_si256(three, four), _mm256_set1_epi8(FOLLOW as i8));
    _mm256_xor_si256(faults, follow)
}

/// Each bit is the sum of all bits up to it, by a multiplication without carries.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn sums(bits: u64) -> u64 {
    let bits = _mm_set_epi64x(0, bits as i64);
    let sums = _mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1));
    _mm_cvtsi128_si64(sums) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::blocks::BLOCK;
    use crate::json::blocks::tests as plainly;

    /// Whether what stands in front of the block is no fault that the block before has shown.
    fn begins_well(window: &Window) -> bool {
        match str::from_utf8(&window[plainly::rest_of_character(window)..BEFORE]) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        }
    }

    fn check(window: &Window) {
        if can() && begins_well(window) {
            // SAFETY: `can` has said so.
            let seen = unsafe { masks(window) };
            assert_eq!(seen, plainly::masks(window), "{}", window.escape_ascii());
        }
    }

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for place in 0..BLOCK {
            for byte in 0..=0xFF {
                let mut window = [b'a'; BEFORE + BLOCK];
                window[BEFORE + place] = byte;
                check(&window);
            }
        }
    }

    /// At the borders of every range of RFC 3629, section 4.
    #[test]
    fn whatever_is_no_character_is_seen() {
        let seconds = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xF0, 0xFF,
        ];
        let others = [b'a', 0x80, 0xBF, 0xC2];
        let others = || {
            others
                .iter()
                .flat_map(|third| others.map(|fourth| (*third, fourth)))
        };
        for first in 0x7F..=0xFF {
            for second in seconds {
                for (third, fourth) in others() {
                    for place in [0, 1, 2, 3, 33, 35, BLOCK] {
                        let mut window = [b'a'; BEFORE + BLOCK];
                        let end = window.len().min(place + 4);
                        let character = [first, second, third, fourth];
                        window[place..end].copy_from_slice(&character[..end - place]);
                        check(&window);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_loop(bits in any::<u64>()) {
            if can() {
                // SAFETY: `can` has said so.
                prop_assert_eq!(unsafe { sums(bits) }, plainly::sums(bits));
            }
        }
    }
}
