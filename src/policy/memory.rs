//! The memory that bodies may take, of all requests together: reserved before it is filled, given
//! back when what holds it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be reserved. Clones are the same.
#[derive(Clone, Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: AtomicUsize,
    reserved: AtomicUsize,
}

/// There is not so much left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Memory {
    pub fn new(limit: usize) -> Memory {
        Memory {
            shared: Arc::new(Shared {
                limit: AtomicUsize::new(limit),
                reserved: AtomicUsize::new(0),
            }),
        }
    }

    /// Changes the limit; what is reserved already stays so.
    pub fn set_limit(&self, limit: usize) {
        self.shared.limit.store(limit, Ordering::Relaxed);
    }

    pub fn limit(&self) -> usize {
        self.shared.limit.load(Ordering::Relaxed)
    }

    pub fn reserved(&self) -> usize {
        self.shared.reserved.load(Ordering::Relaxed)
    }

    /// A reservation of nothing, to be grown.
    pub fn reservation(&self) -> Reservation {
        Reservation {
            memory: self.clone(),
            bytes: 0,
        }
    }

    /// Counts what is there already and can no longer be refused.
    pub fn count(&self, bytes: usize) -> Reservation {
        self.shared.reserved.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            memory: self.clone(),
            bytes,
        }
    }
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    bytes: usize,
}

impl Reservation {
    /// Reserves so many more, or none of them.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let limit = self.memory.limit();
        let reserved = &self.memory.shared.reserved;
        let before = reserved.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > limit {
            reserved.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refused);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        drop(self.take());
    }

    /// Moves what is reserved to a reservation of its own.
    pub fn take(&mut self) -> Reservation {
        Reservation {
            memory: self.memory.clone(),
            bytes: std::mem::take(&mut self.bytes),
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let reserved = &self.memory.shared.reserved;
        reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_over_the_limit_is_refused_and_changes_nothing() {
        let memory = Memory::new(100);
        let mut first = memory.reservation();
        assert_eq!(first.grow(60), Ok(()));
        let mut second = memory.reservation();
        assert_eq!(second.grow(41), Err(Refused));
        assert_eq!((second.bytes(), memory.reserved()), (0, 60));
        assert_eq!(second.grow(40), Ok(()));
        drop(first);
        assert_eq!(memory.reserved(), 40);
    }

    #[test]
    fn what_is_there_already_counts_over_the_limit_too() {
        let memory = Memory::new(10);
        let counted = memory.count(30);
        assert_eq!(memory.reservation().grow(1), Err(Refused));
        drop(counted);
        assert_eq!(memory.reserved(), 0);
    }

    proptest! {
        /// The model: a list of numbers.
        #[test]
        fn it_holds_the_sum(acts in prop::collection::vec((0usize..4, 0usize..50), 1..100)) {
            let memory = Memory::new(120);
            let mut held: Vec<Reservation> = Vec::new();
            for (act, bytes) in acts {
                let sum: usize = held.iter().map(Reservation::bytes).sum();
                match act {
                    0 => held.push(memory.reservation()),
                    _ if held.is_empty() => {}
                    1 => drop(held.remove(0)),
                    _ => {
                        let last = held.last_mut().unwrap();
                        prop_assert_eq!(last.grow(bytes).is_ok(), sum + bytes <= 120);
                    }
                }
                let sum: usize = held.iter().map(Reservation::bytes).sum();
                prop_assert_eq!(memory.reserved(), sum);
            }
        }
    }
}
