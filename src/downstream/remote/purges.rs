//! What is removed for all instances, and how they hear of it: by a channel of Redis, so that each
//! can clear its memory too. A purge has a connection of its own, so does whoever listens: neither
//! stands between lookups and their answers.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, RedisResult, Value};
use tokio::time::{Instant, error::Elapsed, sleep, timeout};

use super::link::config;
use super::prefix;
use crate::policy::backoff;

pub const CHANNEL: &str = "anabranch:1:purges";

/// How long each step of a purge may take.
const OVERDUE: Duration = Duration::from_secs(5);

/// Names that Redis looks at in one step.
const STEP: usize = 500;

/// How often a connection that has nothing to say shows that it is alive, and how long it may take.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(2);

/// Between two attempts to listen.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Removes all that is kept of a service, or of one path of it, and tells who listens.
pub async fn purge(client: &Client, service: &str, path: Option<&str>) -> RedisResult<u64> {
    let config = config(OVERDUE);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await?;
    let pattern = format!("{}*", prefix(service, path));
    let removed = remove_all(&mut connection, &pattern).await;
    // Told last, so that nobody finds here what they have just forgotten; and told in any case, since a
    // part may be gone.
    let purge = serde_json::to_string(&(service, path)).expect("two texts are JSON");
    let mut command = redis::cmd("PUBLISH");
    command.arg(CHANNEL).arg(purge);
    let told: RedisResult<()> = command.query_async(&mut connection).await;
    removed.and_then(|removed| told.map(|()| removed))
}

async fn remove_all(connection: &mut MultiplexedConnection, pattern: &str) -> RedisResult<u64> {
    let mut removed = 0;
    let mut cursor = 0u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern);
        scan.arg("COUNT").arg(STEP);
        let names: Vec<Vec<u8>>;
        (cursor, names) = scan.query_async(connection).await?;
        if !names.is_empty() {
            let unlinked: u64 = redis::cmd("UNLINK")
                .arg(names)
                .query_async(connection)
                .await?;
            removed += unlinked;
        }
        if cursor == 0 {
            return Ok(removed);
        }
    }
}

/// Listens for ever, on one connection after the other.
pub async fn listen(client: &Client, hear: &(dyn Fn(&str, Option<&str>) + Send + Sync)) {
    let (first, last) = AGAIN;
    let mut failures = 0;
    loop {
        let started = Instant::now();
        // Why it ended changes nothing; whether the Redis is well is for the lookups to say.
        let _ = listen_once(client, hear).await;
        failures = match started.elapsed() > PING {
            true => 1,
            false => failures + 1,
        };
        let longest = backoff::upper_end(failures, first, last);
        sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

/// Why nothing more is heard on a connection.
enum Deaf {
    Failed,
    TimedOut,
    Closed,
}

impl From<RedisError> for Deaf {
    fn from(_: RedisError) -> Deaf {
        Deaf::Failed
    }
}

impl From<Elapsed> for Deaf {
    fn from(_: Elapsed) -> Deaf {
        Deaf::TimedOut
    }
}

async fn listen_once(
    client: &Client,
    hear: &(dyn Fn(&str, Option<&str>) + Send + Sync),
) -> Result<(), Deaf> {
    let pubsub = timeout(PONG, client.get_async_pubsub()).await??;
    let (mut sink, mut stream) = pubsub.split();
    timeout(PONG, sink.subscribe(CHANNEL)).await??;
    loop {
        match timeout(PING, stream.next()).await {
            Ok(Some(message)) => {
                // Something else in the channel is not ours.
                let purge = serde_json::from_slice(message.get_payload_bytes());
                if let Ok((service, path)) = purge {
                    let (service, path): (String, Option<String>) = (service, path);
                    hear(&service, path.as_deref());
                }
            }
            Ok(None) => return Err(Deaf::Closed),
            Err(_) => {
                timeout(PONG, sink.ping::<Value>()).await??;
            }
        }
    }
}
