//! Futures in boxes.

use std::pin::Pin;

/// What `make` makes, in a box. `Box::pin(make())` makes it on the stack and copies it, all of its size
/// however little of that is in use yet; with the place there first it is mostly made where it will lie.
#[inline(always)]
pub fn pinned<T>(make: impl FnOnce() -> T) -> Pin<Box<T>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
