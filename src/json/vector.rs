//! The masks of a block by AVX2 or AVX-512, where the processor has it: the one module of the library with
//! `unsafe`.
//!
//! Checking is most of what a route with large bodies costs, and this way it takes two thirds of the time
//! that it takes token by token, with AVX-512 three fifths (`docs/performance.md`). Without `unsafe` there are 16 bytes
//! to a vector, as every processor has them: tried with the crate `wide`, in a simpler form of `blocks.rs`, that
//! was no quicker than to go token by token.
//!
//! Each `unsafe` is one of two things, and neither depends on what the bytes are:
//!
//! - A function that needs features of the processor is called where they have been asked for.
//! - 32 or 64 borrowed bytes are loaded, without alignment.
#![allow(unsafe_code)]

mod avx2;
mod avx512;

use super::blocks::{BEFORE, Masks, Window};
use super::pass::{Expect, Pass};

/// [`Pass::by_blocks`]; `None` where the processor cannot.
// Never as part of another function, whose profile would not fit: this one is not the same while it is recorded.
#[inline(never)]
pub(super) fn by_blocks(pass: &mut Pass<'_>, at: usize) -> Option<(usize, Expect)> {
    // While a profile is recorded both are at work, whatever this processor has: `scripts/release`.
    let is_spared = cfg!(training) && fastrand::bool();
    if avx512::can() && !is_spared {
        // SAFETY: `can` asks for every feature that `by_blocks` is compiled for.
        return Some(unsafe { avx512::by_blocks(pass, at) });
    }
    // SAFETY: as above.
    avx2::can().then(|| unsafe { avx2::by_blocks(pass, at) })
}

// === Tables of sixteen bytes, to be asked by half of a byte

/// A byte may stand behind a backslash if what its high nibble finds here and what its low nibble finds in
/// [`ESCAPES_BY_LOW`] have a bit in common.
///
/// Each of the four high nibbles of those that may has a bit, and each low nibble the bits of the high ones
/// that it goes together with.
const ESCAPES_BY_HIGH: [u8; 16] = [0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0];
const ESCAPES_BY_LOW: [u8; 16] = {
    let mut table = [0; 16];
    let mut at = 0;
    let all = b"\"\\/bfnrtu";
    while at < all.len() {
        table[(all[at] & 0x0F) as usize] |= ESCAPES_BY_HIGH[(all[at] >> 4) as usize];
        at += 1;
    }
    table
};

// Whatever is wrong with two bytes of UTF-8 that follow each other shows in three nibbles: both of the first and the
// high one of the second. Each bit of three tables is one such fault, and has to be found in all of
// them. That a third or fourth byte belongs there is told by the byte two or three in front (Keiser and
// Lemire, "Validating UTF-8 in Less Than One Instruction per Byte", Software: Practice and Experience 51,
// 2021).

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

/// From these on the difference has the bit of [`FOLLOW`]: the first byte of three, and of four.
const THREE: u8 = 0xE0 - 0x80;
const FOUR: u8 = 0xF0 - 0x80;

/// A table as two halves.
fn halves(table: [u8; 16]) -> [i64; 2] {
    [0, 8].map(|at| i64::from_le_bytes(*table[at..].first_chunk().expect("half a table")))
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
        if !begins_well(window) {
            return;
        }
        let plain = plainly::masks(window);
        if avx2::can() {
            // SAFETY: `can` has said so.
            let seen = unsafe { avx2::masks(window) };
            assert_eq!(seen, plain, "{}", window.escape_ascii());
        }
        if avx512::can() {
            // SAFETY: as above.
            let seen = unsafe { avx512::masks(window) };
            assert_eq!(seen, plain, "{}", window.escape_ascii());
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
            if avx2::can() {
                // SAFETY: `can` has said so.
                prop_assert_eq!(unsafe { avx2::sums(bits) }, plainly::sums(bits));
            }
        }
    }
}
