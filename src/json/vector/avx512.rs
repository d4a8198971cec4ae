//! With AVX-512: one vector of 64 bytes, of which a comparison is a mask at once.

use std::arch::x86_64::*;

use super::avx2::{self, sums};
use super::{
    BEFORE, BY_FIRST_HIGH, BY_FIRST_LOW, BY_SECOND_HIGH, ESCAPES_BY_HIGH, ESCAPES_BY_LOW, Expect,
    FOLLOW, FOUR, Masks, Pass, THREE, Window, halves,
};

/// Whether the processor has all that is asked for below, and is of those that do not slow down for vectors of this
/// size: the first that had them, up to 2019, did, and lack the last one here (as simdjson tells them apart).
pub(super) fn can() -> bool {
    avx2::can()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi2")
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
pub(super) fn by_blocks(pass: &mut Pass<'_>, at: usize) -> (usize, Expect) {
    pass.by_blocks(at, |window| masks(window), |bits| sums(bits))
}

/// At the low nibble of each white space that byte, and elsewhere one that no byte is equal to: one of 0x80 and more
/// finds 0.
const SPACES: [u8; 16] = {
    let mut table = [0xFF; 16];
    let all = b" \t\n\r";
    let mut at = 0;
    while at < all.len() {
        table[(all[at] & 0x0F) as usize] = all[at];
        at += 1;
    }
    table
};

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
pub(super) fn masks(window: &Window) -> Masks {
    let bytes = load(window, BEFORE);
    let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, every(byte));
    // A bracket and its brace differ in the bit 0x20 only.
    let folded = _mm512_or_si512(bytes, every(0x20));
    let folds = |byte: u8| _mm512_cmpeq_epi8_mask(folded, every(byte));
    Masks {
        quotes: is(b'"'),
        backslashes: is(b'\\'),
        controls: _mm512_cmplt_epu8_mask(bytes, every(0x20)),
        spaces: _mm512_cmpeq_epi8_mask(bytes, _mm512_shuffle_epi8(table(SPACES), bytes)),
        opens: folds(b'{'),
        closes: folds(b'}'),
        commas: is(b','),
        colons: is(b':'),
        escapes: escapes(bytes),
        code_units: is(b'u'),
        is_utf8: not_utf8(window) == 0,
    }
}

/// The 64 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(window: &Window, at: usize) -> __m512i {
    let bytes: &[u8; 64] = window[at..].first_chunk().expect("a block");
    // SAFETY: 64 borrowed bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn every(byte: u8) -> __m512i {
    _mm512_set1_epi8(byte as i8)
}

/// A table of sixteen bytes, four times.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn table(bytes: [u8; 16]) -> __m512i {
    let [low, high] = halves(bytes);
    _mm512_set_epi64(high, low, high, low, high, low, high, low)
}

/// The four high bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn high_nibbles(bytes: __m512i) -> __m512i {
    _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), every(0x0F))
}

/// What may stand behind a backslash.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn escapes(bytes: __m512i) -> u64 {
    // A byte of 0x80 and more finds nothing in the second table.
    let high = _mm512_shuffle_epi8(table(ESCAPES_BY_HIGH), high_nibbles(bytes));
    let low = _mm512_shuffle_epi8(table(ESCAPES_BY_LOW), bytes);
    _mm512_test_epi8_mask(high, low)
}

/// Where the block cannot be characters of UTF-8.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn not_utf8(window: &Window) -> u64 {
    let bytes = load(window, BEFORE);
    let [first, second, third] = [load(window, 2), load(window, 1), load(window, 0)];
    let by_first = _mm512_and_si512(
        _mm512_shuffle_epi8(table(BY_FIRST_HIGH), high_nibbles(first)),
        _mm512_shuffle_epi8(table(BY_FIRST_LOW), _mm512_and_si512(first, every(0x0F))),
    );
    let by_second = _mm512_shuffle_epi8(table(BY_SECOND_HIGH), high_nibbles(bytes));
    let faults = _mm512_and_si512(by_first, by_second);
    let three = _mm512_subs_epu8(second, every(THREE));
    let four = _mm512_subs_epu8(third, every(FOUR));
    let follow = _mm512_and_si512(_mm512_or_si512(three, four), every(FOLLOW));
    _mm512_cmpneq_epi8_mask(faults, follow)
}
