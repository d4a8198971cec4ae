//! With AVX2: two vectors of 32 bytes.

use std::arch::x86_64::*;

use super::{
    BEFORE, BY_FIRST_HIGH, BY_FIRST_LOW, BY_SECOND_HIGH, ESCAPES_BY_HIGH, ESCAPES_BY_LOW, Expect,
    FOLLOW, FOUR, Masks, Pass, THREE, Window, halves,
};

/// Whether the processor has all that is asked for below. The answers are kept by `std`.
pub(super) fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq")
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
pub(super) fn by_blocks(pass: &mut Pass<'_>, at: usize) -> (usize, Expect) {
    pass.by_blocks(at, |window| masks(window), |bits| sums(bits))
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
pub(super) fn masks(window: &Window) -> Masks {
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
    let [low, high] = halves(bytes);
    _mm256_setr_epi64x(low, high, low, high)
}

/// The four high bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn high_nibbles(bytes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0F))
}

/// All bits for a byte that may not stand behind a backslash.
#[inline]
#[target_feature(enable = "avx2")]
fn not_escapes(bytes: __m256i) -> __m256i {
    // A byte of 0x80 and more finds nothing in the second table.
    let high = _mm256_shuffle_epi8(table(ESCAPES_BY_HIGH), high_nibbles(bytes));
    let low = _mm256_shuffle_epi8(table(ESCAPES_BY_LOW), bytes);
    _mm256_cmpeq_epi8(_mm256_and_si256(high, low), _mm256_setzero_si256())
}

/// Has bits where the half of a block at `at` cannot be characters of UTF-8.
#[inline]
#[target_feature(enable = "avx2")]
fn not_utf8(window: &Window, at: usize) -> __m256i {
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
    let three = _mm256_subs_epu8(second, _mm256_set1_epi8(THREE as i8));
    let four = _mm256_subs_epu8(third, _mm256_set1_epi8(FOUR as i8));
    let follow = _mm256_and_si256(_mm256_or_si256(three, four), _mm256_set1_epi8(FOLLOW as i8));
    _mm256_xor_si256(faults, follow)
}

/// Each bit is the sum of all bits up to it, by a multiplication without carries.
#[inline]
#[target_feature(enable = "pclmulqdq")]
pub(super) fn sums(bits: u64) -> u64 {
    let bits = _mm_set_epi64x(0, bits as i64);
    let sums = _mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1));
    _mm_cvtsi128_si64(sums) as u64
}
