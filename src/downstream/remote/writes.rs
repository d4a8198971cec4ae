//! What is to be written, in a queue that nobody waits for: bounded by number and by bytes, carried to
//! the Redis by one task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Pipeline;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::link::Link;
use super::{LARGEST_VALUE, Name};

/// What may wait.
const QUEUE: usize = 1024;
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// What is written in one go; of bytes, about so many.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1024 * 1024;

/// What a write takes beside its name and its value, roughly.
const OVERHEAD: usize = 128;

/// No value is kept longer: Redis refuses times that it cannot add to its clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub struct Writes {
    sender: Sender<Write>,
    /// Until somebody carries.
    receiver: Mutex<Option<Receiver<Write>>>,
    room: Arc<Semaphore>,
    dropped: AtomicU64,
}

pub struct Write {
    name: Name,
    /// `None`: to be removed.
    value: Option<(Bytes, Duration)>,
    size: usize,
    _room: OwnedSemaphorePermit,
}

impl Default for Writes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Writes {
            sender,
            receiver: Mutex::new(Some(receiver)),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Writes {
    pub fn put(&self, name: Name, value: Bytes, keep_for: Duration) {
        if value.len() > LARGEST_VALUE {
            return self.drop_some(1);
        }
        // Less than Redis's unit is nothing.
        if keep_for.as_millis() > 0 {
            self.queue(name, Some((value, keep_for.min(LONGEST))));
        }
    }

    pub fn remove(&self, name: Name) {
        self.queue(name, None);
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What is to be carried, for the first who asks.
    pub fn begin(&self) -> Option<Receiver<Write>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.take()
    }

    /// Carries what comes, for ever.
    pub async fn carry(&self, mut receiver: Receiver<Write>, link: &Arc<Link>) {
        while let Some(first) = receiver.recv().await {
            let mut bytes = first.size;
            let mut batch = vec![first];
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Ok(next) = receiver.try_recv() else {
                    break;
                };
                bytes += next.size;
                batch.push(next);
            }
            if !link.write(&pipeline(&batch)).await {
                self.drop_some(batch.len());
            }
        }
    }

    fn queue(&self, name: Name, value: Option<(Bytes, Duration)>) {
        let bytes = value.as_ref().map_or(0, |(value, _)| value.len());
        let size = OVERHEAD + name.as_str().len() + bytes;
        let taken = u32::try_from(size).expect("no value is larger than the largest");
        let Ok(room) = self.room.clone().try_acquire_many_owned(taken) else {
            return self.drop_some(1);
        };
        let write = Write {
            name,
            value,
            size,
            _room: room,
        };
        if self.sender.try_send(write).is_err() {
            self.drop_some(1);
        }
    }

    fn drop_some(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

fn pipeline(batch: &[Write]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for Write { name, value, .. } in batch {
        let command = match value {
            Some((value, keep_for)) => {
                let milliseconds = u64::try_from(keep_for.as_millis()).unwrap_or(u64::MAX);
                let command = pipeline.cmd("SET").arg(name.as_str()).arg(value.as_ref());
                command.arg("PX").arg(milliseconds)
            }
            None => pipeline.cmd("UNLINK").arg(name.as_str()),
        };
        command.ignore();
    }
    pipeline
}
