//! Good answers that are kept, in bounded memory, under the full key of what was asked.
//!
//! Today they serve `fallback: [ { stale: … } ]`. The module knows neither HTTP nor clocks: what an
//! answer is, when it was kept and how old it may be is said by whoever asks.

pub mod control;
pub mod rules;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// What an entry takes beside its key and its answer, roughly.
const OVERHEAD: usize = 256;

/// What an answer belongs to: every part of the request that could have changed it. Two keys are
/// equal only if all their parts are; nothing is hashed away.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

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

/// An answer as it is kept.
#[derive(Debug)]
struct Entry<A> {
    answer: A,
    kept_at: Instant,
    size: usize,
}

/// Answers by their keys. What is asked for seldom gives way when the room runs out (W-TinyLFU).
#[derive(Debug)]
pub struct Store<A: Send + Sync + 'static> {
    entries: moka::sync::Cache<Key, Arc<Entry<A>>>,
}

impl<A: Clone + Send + Sync + 'static> Store<A> {
    /// Holds about so many bytes at most.
    pub fn new(bytes: u64) -> Store<A> {
        let weigh = |key: &Key, entry: &Arc<Entry<A>>| {
            let whole = key.0.len() + entry.size + OVERHEAD;
            u32::try_from(whole).unwrap_or(u32::MAX)
        };
        Store {
            entries: moka::sync::Cache::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .build(),
        }
    }

    /// Keeps `answer`, which takes `size` bytes, in place of the one before it.
    pub fn keep(&self, key: Key, answer: A, size: usize, now: Instant) {
        let entry = Entry {
            answer,
            kept_at: now,
            size,
        };
        self.entries.insert(key, Arc::new(entry));
    }

    /// The answer of this key, if it is no older than `at_most`.
    pub fn find(&self, key: &Key, at_most: Duration, now: Instant) -> Option<A> {
        let entry = self.entries.get(key)?;
        let age = now.saturating_duration_since(entry.kept_at);
        (age <= at_most).then(|| entry.answer.clone())
    }

    /// How much is kept, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }
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
    fn an_answer_is_there_until_it_is_too_old() {
        let store = Store::new(1 << 20);
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        store.keep(key(&["a"]), "first", 5, now);
        assert_eq!(store.find(&key(&["b"]), minute, now), None);
        assert_eq!(
            store.find(&key(&["a"]), minute, now + minute),
            Some("first")
        );
        let later = now + minute + Duration::from_millis(1);
        assert_eq!(store.find(&key(&["a"]), minute, later), None);
        store.keep(key(&["a"]), "second", 6, later);
        assert_eq!(store.find(&key(&["a"]), minute, later), Some("second"));
    }

    #[test]
    fn the_room_is_bounded() {
        let store = Store::new(100_000);
        let now = Instant::now();
        for number in 0..1000 {
            let name = number.to_string();
            store.keep(key(&[&name]), vec![0u8; 1000], 1000, now);
        }
        assert!(store.bytes() <= 100_000, "{}", store.bytes());
        assert!(store.bytes() > 50_000, "{}", store.bytes());
    }
}
