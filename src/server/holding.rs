//! Bytes that keep something alive: what is reserved for them, or the request they belong to.

use bytes::Bytes;

struct Holding<T> {
    bytes: Bytes,
    _held: T,
}

impl<T> AsRef<[u8]> for Holding<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same bytes; `held` is dropped with their last part, wherever that has got to.
pub fn holding<T: Send + 'static>(bytes: Bytes, held: T) -> Bytes {
    Bytes::from_owner(Holding { bytes, _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::memory::Memory;

    #[test]
    fn the_last_part_lets_go() {
        let memory = Memory::new(100);
        let bytes = holding(Bytes::from_static(b"abc"), memory.count(3));
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((&part[..], memory.reserved()), (&b"b"[..], 3));
        drop(part);
        assert_eq!(memory.reserved(), 0);
    }
}
