//! What a response cache is made of: a bounded store under full keys, flights that are shared, and the
//! rules of HTTP for a cache that many share (RFC 9111).
//!
//! The module knows no services and reads no clock: what an entry is, and what time it is, is said by
//! whoever asks. `downstream::shelf` puts it to use.

pub mod control;
pub mod flight;
pub mod range;
pub mod rules;

use std::sync::Arc;

use arc_swap::ArcSwap;

/// What an entry takes beside its key and its answer, roughly.
const OVERHEAD: usize = 256;

/// What an answer belongs to: every part of the request that could have changed it. Two keys are
/// equal only if all their parts are; nothing is hashed away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Joins the parts of a key, each behind its length, so that no two lists of parts are the same.
#[derive(Debug, Default)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
}

impl KeyBuilder {
    pub fn part(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&part.len().to_le_bytes());
        self.bytes.extend_from_slice(part);
    }

    pub fn build(self) -> Key {
        Key(self.bytes.into())
    }
}

/// An entry with what it takes, in bytes.
#[derive(Debug)]
struct Sized<E> {
    entry: E,
    size: usize,
}

type Entries<E> = moka::sync::Cache<Key, Arc<Sized<E>>>;

/// Entries by their keys. What is asked for seldom gives way when the room runs out (W-TinyLFU).
#[derive(Debug)]
pub struct Store<E: Send + Sync + 'static> {
    entries: ArcSwap<Entries<E>>,
}

impl<E: Clone + Send + Sync + 'static> Store<E> {
    /// Holds about so many bytes at most.
    pub fn new(bytes: u64) -> Store<E> {
        Store {
            entries: ArcSwap::from_pointee(entries(bytes)),
        }
    }

    /// Holds about so many bytes at most from now on; what is kept stays as far as there is room.
    pub fn resize(&self, bytes: u64) {
        let before = self.entries.load_full();
        if before.policy().max_capacity() == Some(bytes) {
            return;
        }
        let next = entries(bytes);
        for (key, entry) in before.iter() {
            next.insert(Key::clone(&key), entry);
        }
        self.entries.store(Arc::new(next));
    }

    /// Keeps `entry`, which takes `size` bytes, in place of the one before it.
    pub fn put(&self, key: Key, entry: E, size: usize) {
        let entry = Sized { entry, size };
        self.entries.load().insert(key, Arc::new(entry));
    }

    pub fn get(&self, key: &Key) -> Option<E> {
        let found = self.entries.load().get(key)?;
        Some(found.entry.clone())
    }

    pub fn remove(&self, key: &Key) {
        self.entries.load().invalidate(key);
    }

    /// Removes the entries that `is_gone` names, and says how many they were.
    pub fn purge(&self, is_gone: impl Fn(&E) -> bool) -> u64 {
        let entries = self.entries.load_full();
        let mut removed = 0;
        for (key, found) in entries.iter() {
            if is_gone(&found.entry) {
                entries.invalidate(&*key);
                removed += 1;
            }
        }
        removed
    }

    /// How much is kept, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        let entries = self.entries.load();
        entries.run_pending_tasks();
        entries.weighted_size()
    }
}

fn entries<E: Send + Sync + 'static>(bytes: u64) -> Entries<E> {
    let weigh = |key: &Key, entry: &Arc<Sized<E>>| {
        let whole = key.0.len() + entry.size + OVERHEAD;
        u32::try_from(whole).unwrap_or(u32::MAX)
    };
    moka::sync::Cache::builder()
        .max_capacity(bytes)
        .weigher(weigh)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> Key {
        let mut key = KeyBuilder::default();
        for part in parts {
            key.part(part.as_bytes());
        }
        key.build()
    }

    #[test]
    fn parts_that_run_together_are_not_the_same_key() {
        assert_eq!(key(&["a", "bc"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
    }

    #[test]
    fn an_entry_is_there_until_it_is_replaced_or_removed() {
        let store = Store::new(1 << 20);
        store.put(key(&["a"]), "first", 5);
        assert_eq!(store.get(&key(&["b"])), None);
        assert_eq!(store.get(&key(&["a"])), Some("first"));
        store.put(key(&["a"]), "second", 6);
        assert_eq!(store.get(&key(&["a"])), Some("second"));
        store.remove(&key(&["a"]));
        assert_eq!(store.get(&key(&["a"])), None);
    }

    #[test]
    fn a_purge_takes_what_it_names() {
        let store = Store::new(1 << 20);
        for number in 0..10u32 {
            store.put(key(&[&number.to_string()]), number, 4);
        }
        assert_eq!(store.purge(|number| number % 2 == 0), 5);
        assert_eq!(store.get(&key(&["4"])), None);
        assert_eq!(store.get(&key(&["5"])), Some(5));
    }

    #[test]
    fn the_room_is_bounded_and_may_change() {
        let store = Store::new(100_000);
        for number in 0..1000 {
            store.put(key(&[&number.to_string()]), vec![0u8; 1000], 1000);
        }
        assert!(store.bytes() <= 100_000, "{}", store.bytes());
        assert!(store.bytes() > 50_000, "{}", store.bytes());
        let before = store.bytes();
        store.resize(1_000_000);
        assert_eq!(store.bytes(), before);
        store.resize(20_000);
        assert!(store.bytes() <= 20_000, "{}", store.bytes());
        assert!(store.bytes() > 0);
    }
}
