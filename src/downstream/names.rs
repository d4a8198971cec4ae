//! Names to addresses: the system's resolver on the blocking pool, one lookup a name at a time, and a
//! memory of the last good answer, so that neither a slow nor a dead resolver stands in a call's way.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::engine::code::Code;

/// After this an answer is asked for anew, in the background.
const FRESH: Duration = Duration::from_secs(10);
/// After this a caller waits for the new answer; nobody has asked in the meantime.
const RECENT: Duration = Duration::from_secs(60);
/// Until then the last good answer stands in for a new one that does not come.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a failure is believed.
const FAILED: Duration = Duration::from_secs(1);

type Lookup = Box<dyn Fn(String) -> Finding + Send + Sync>;
type Finding = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// What is known of names. Bounded by the names that configurations held in the last hour.
pub struct Names {
    lookup: Lookup,
    known: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    good: Option<Good>,
    failed: Option<Instant>,
    /// The lookup under way: it is over when the channel is closed.
    running: Option<watch::Receiver<()>>,
    asked: Instant,
}

#[derive(Clone)]
struct Good {
    addresses: Arc<[IpAddr]>,
    since: Instant,
    /// When it is asked for anew, spread by a tenth so that names do not move in step.
    fresh_until: Instant,
}

/// What an entry says now.
enum Advice {
    Answer(Result<Arc<[IpAddr]>, Code>),
    /// Wait for the lookup; the last good answer stands in if it takes too long.
    Wait(watch::Receiver<()>, Option<Good>),
}

impl Names {
    /// Asks the system, as every other program on the machine does.
    pub fn of_the_system() -> Arc<Names> {
        Names::new(|host| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn new(lookup: impl Fn(String) -> Finding + Send + Sync + 'static) -> Arc<Names> {
        Arc::new(Names {
            lookup: Box::new(lookup),
            known: Mutex::default(),
        })
    }

    /// The addresses of `host`, at least one, in the resolver's order.
    pub async fn find(self: &Arc<Self>, host: &str, by: Instant) -> Result<Arc<[IpAddr]>, Code> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        loop {
            let (mut running, stand_in) = match self.advise(host, Instant::now()) {
                Advice::Answer(answer) => return answer,
                Advice::Wait(running, stand_in) => (running, stand_in),
            };
            let limit = match &stand_in {
                // Half of the time is left for connecting to the old addresses.
                Some(_) => Instant::now() + by.saturating_duration_since(Instant::now()) / 2,
                None => by,
            };
            // An error says that the lookup is over, which is what is waited for.
            if timeout_at(limit, running.changed()).await.is_err() {
                return stand_in.map(|good| good.addresses).ok_or(Code::DnsTimeout);
            }
        }
    }

    fn advise(self: &Arc<Self>, host: &str, now: Instant) -> Advice {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(host) {
            known.retain(|_, entry| now.duration_since(entry.asked) < KEPT);
        }
        let entry = known.entry(host.to_owned()).or_insert(Entry {
            good: None,
            failed: None,
            running: None,
            asked: now,
        });
        entry.asked = now;
        let good = entry
            .good
            .clone()
            .filter(|good| now.duration_since(good.since) < KEPT);
        let failed_just_now = entry
            .failed
            .is_some_and(|failed| now.duration_since(failed) < FAILED);
        match good {
            Some(good) if now < good.fresh_until || failed_just_now => {
                Advice::Answer(Ok(good.addresses))
            }
            None if failed_just_now => Advice::Answer(Err(Code::DnsFailure)),
            good => {
                // A lookup that was dropped with its runtime left a closed channel behind.
                entry.running.take_if(|over| over.has_changed().is_err());
                let running = entry
                    .running
                    .get_or_insert_with(|| self.start(host.to_owned()))
                    .clone();
                match good {
                    Some(good) if now.duration_since(good.since) < RECENT => {
                        Advice::Answer(Ok(good.addresses))
                    }
                    good => Advice::Wait(running, good),
                }
            }
        }
    }

    /// Looks `host` up in a task of its own, so that it is not lost with the call that asked.
    fn start(self: &Arc<Self>, host: String) -> watch::Receiver<()> {
        let (over, running) = watch::channel(());
        let names = self.clone();
        tokio::spawn(async move {
            let found = (names.lookup)(host.clone()).await;
            names.store(&host, found);
            drop(over);
        });
        running
    }

    fn store(&self, host: &str, found: io::Result<Vec<IpAddr>>) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.get_mut(host) else {
            return;
        };
        entry.running = None;
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                entry.failed = None;
                entry.good = Some(Good {
                    addresses: addresses.into(),
                    since: now,
                    fresh_until: now + FRESH.mul_f64(0.9 + 0.2 * fastrand::f64()),
                });
            }
            _ => entry.failed = Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::advance;

    use super::*;

    /// A resolver that takes 50 ms and answers with what stands in `answers`, then with failures.
    fn scripted(answers: &[&'static str]) -> (Arc<Names>, Arc<AtomicUsize>) {
        let answers: Vec<_> = answers.to_vec();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let names = Names::new(move |_| {
            let answer = answers.get(count.fetch_add(1, Ordering::SeqCst)).copied();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let text = answer.ok_or(io::ErrorKind::NotFound)?;
                Ok(vec![text.parse().unwrap()])
            })
        });
        (names, asked)
    }

    async fn find(names: &Arc<Names>, milliseconds: u64) -> Result<String, Code> {
        let by = Instant::now() + Duration::from_millis(milliseconds);
        let found = names.find("users.internal", by).await?;
        Ok(found[0].to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_its_own_answer() {
        let (names, asked) = scripted(&[]);
        let by = Instant::now();
        let found = names.find("::1", by).await.unwrap();
        assert_eq!(found[0].to_string(), "::1");
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_one_lookup() {
        let (names, asked) = scripted(&["10.0.0.1"]);
        let (one, other) = tokio::join!(find(&names, 100), find(&names, 100));
        assert_eq!(
            (one.unwrap(), other.unwrap()),
            ("10.0.0.1".into(), "10.0.0.1".into())
        );
        find(&names, 0).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_answer_is_used_while_a_new_one_is_asked_for() {
        let (names, asked) = scripted(&["10.0.0.1", "10.0.0.2"]);
        find(&names, 100).await.unwrap();
        advance(Duration::from_secs(12)).await;
        assert_eq!(find(&names, 0).await.unwrap(), "10.0.0.1");
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(find(&names, 0).await.unwrap(), "10.0.0.2");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_survives_failures_for_an_hour() {
        let (names, _) = scripted(&["10.0.0.1"]);
        find(&names, 100).await.unwrap();
        advance(Duration::from_secs(1800)).await;
        assert_eq!(find(&names, 200).await.unwrap(), "10.0.0.1");
        // The resolver is slower than half of the time.
        advance(Duration::from_secs(10)).await;
        assert_eq!(find(&names, 20).await.unwrap(), "10.0.0.1");
        advance(Duration::from_secs(1801)).await;
        assert_eq!(find(&names, 200).await, Err(Code::DnsFailure));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_believed_for_a_second() {
        let (names, asked) = scripted(&[]);
        assert_eq!(find(&names, 100).await, Err(Code::DnsFailure));
        assert_eq!(find(&names, 100).await, Err(Code::DnsFailure));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        advance(Duration::from_secs(1)).await;
        assert_eq!(find(&names, 100).await, Err(Code::DnsFailure));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_resolver_is_a_timeout() {
        let (names, _) = scripted(&["10.0.0.1"]);
        assert_eq!(find(&names, 49).await, Err(Code::DnsTimeout));
        // The lookup went on without the caller.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(find(&names, 0).await.unwrap(), "10.0.0.1");
    }
}
