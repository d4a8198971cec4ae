//! Waits to within the timer slack of the kernel (50 µs), by a thread that sleeps. tokio's own timer rounds
//! up to whole milliseconds, and a millisecond is what the benchmark wants to see.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

#[derive(Clone)]
pub struct Alarm(mpsc::Sender<Wake>);

struct Wake {
    at: Instant,
    wake: oneshot::Sender<()>,
}

impl Alarm {
    pub fn start() -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || keep_watch(&receiver));
        Alarm(sender)
    }

    pub async fn until(&self, at: Instant) {
        let (wake, woken) = oneshot::channel();
        self.0
            .send(Wake { at, wake })
            .expect("the watch ends with the last alarm");
        woken.await.expect("the watch wakes whom it knows");
    }
}

fn keep_watch(receiver: &mpsc::Receiver<Wake>) {
    let mut waiting = BTreeMap::new();
    let mut count: u64 = 0;
    loop {
        let now = Instant::now();
        while let Some(first) = waiting
            .first_entry()
            .filter(|entry| entry.key() <= &(now, u64::MAX))
        {
            // Who waited may have been dropped.
            let wake: oneshot::Sender<()> = first.remove();
            let _ = wake.send(());
        }
        let pause = waiting
            .first_key_value()
            .map_or(Duration::from_secs(3600), |((at, _), _)| {
                at.saturating_duration_since(now)
            });
        match receiver.recv_timeout(pause) {
            Ok(Wake { at, wake }) => {
                count += 1;
                waiting.insert((at, count), wake);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
