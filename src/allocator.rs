//! mimalloc, which is told of an alignment only where it has to know it. It takes `unsafe` to be asked for memory.
//!
//! The crate's own allocator says the alignment of every block. Of small ones that takes twice the
//! instructions, and blocks of more than a kilobyte are made larger than they need to be and searched for an
//! aligned place (`docs/performance.md`). A request of the benchmark makes 40 blocks (W3) or 95 (W2).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

pub struct Allocator;

/// Whether any block of `size` bytes is aligned enough: what `malloc` gives may hold whatever fits into it
/// and has a fundamental alignment (C11 §7.22.3), as `u64` has everywhere.
const fn is_aligned_anyway(layout: Layout, size: usize) -> bool {
    layout.align() <= align_of::<u64>() && layout.align() <= size
}

// SAFETY: all is done by mimalloc, of which `MiMalloc` is an allocator. `mi_malloc`, `mi_zalloc` and
// `mi_realloc` differ from what it calls in the alignment alone, which is the one that is asked for, by
// `is_aligned_anyway`; blocks of either kind may be given to `mi_free` and to either kind of `realloc`. That
// blocks and layouts belong together is promised by who calls, to us as to it. Null is no memory to both.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_aligned_anyway(layout, layout.size()) {
            true => unsafe { mi_malloc(layout.size()).cast() },
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_aligned_anyway(layout, layout.size()) {
            true => unsafe { mi_zalloc(layout.size()).cast() },
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match is_aligned_anyway(layout, size) {
            true => unsafe { mi_realloc(block.cast(), size).cast() },
            false => unsafe { MiMalloc.realloc(block, layout, size) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of every size and alignment: aligned, zeroed where that was asked for, and moved with what
    /// they hold.
    #[test]
    fn blocks_are_as_they_were_asked_for() {
        for size in (1..=600).chain([1024, 1025, 4096, 10_000, 1 << 20]) {
            for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let check = |block: *mut u8, size: usize, filled: u8| {
                    assert!(
                        !block.is_null() && block.addr().is_multiple_of(align),
                        "{layout:?}"
                    );
                    // SAFETY: the block has at least so many bytes, and they have been written.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
                    assert!(bytes.iter().all(|byte| *byte == filled), "{layout:?}");
                    bytes.fill(7);
                };
                let (more, less) = (size + size / 2 + 1, size.div_ceil(3));
                // SAFETY: no layout is empty, and each block is given back once, with its own.
                unsafe {
                    let block = Allocator.alloc_zeroed(layout);
                    check(block, size, 0);
                    let block = Allocator.realloc(block, layout, more);
                    check(block, size, 7);
                    let block = Allocator.realloc(block, with_size(layout, more), less);
                    check(block, less, 7);
                    Allocator.dealloc(block, with_size(layout, less));
                    let block = Allocator.alloc(layout);
                    block.write_bytes(7, size);
                    check(block, size, 7);
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }

    fn with_size(layout: Layout, size: usize) -> Layout {
        Layout::from_size_align(size, layout.align()).unwrap()
    }
}
