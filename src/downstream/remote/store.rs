//! The shared store over the crate `redis`. `link.rs` has the one connection of lookups and writes and
//! all that keeps a bad Redis from hurting; `writes.rs` the queue of writes; `purges.rs` what is
//! removed for all instances, and how they hear of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Client;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::link::Link;
use super::writes::Writes;
use super::{Away, Change, Name, purges};
use crate::plan::settings;

/// The store that all instances share. Clones are the same; with the last one its tasks end.
#[derive(Clone)]
pub struct Remote {
    pub(super) link: Arc<Link>,
    writes: Arc<Writes>,
    /// They hold parts of this, never this.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Remote {
    /// Opens nothing yet: the first lookup does.
    pub fn new(settings: &settings::Redis) -> Result<Remote, String> {
        let settings::Redis { url, timeout } = settings;
        // What the crate says of a URL that it does not take may quote it.
        let client = Client::open(url.0.as_str())
            .map_err(|_| "the URL of the Redis is not understood".to_owned())?;
        Ok(Remote {
            link: Arc::new(Link::new(client, *timeout)),
            writes: Arc::default(),
            tasks: Arc::default(),
        })
    }

    /// Host and port, or the path of the socket: what may be shown of the URL.
    pub fn address(&self) -> String {
        self.link.client().get_connection_info().addr().to_string()
    }

    /// The values of these names, in their order, by one question. Never waits longer than until `by`,
    /// which is as far away as the timeout, or nearer where that is for several questions together.
    pub async fn get(&self, names: &[Name], by: Instant) -> Result<Vec<Option<Bytes>>, Away> {
        match names {
            [] => Ok(Vec::new()),
            names => self.link.look_up(names, by).await,
        }
    }

    /// Keeps a value for so long, from when it arrives. Never waits: what there is no room for, or what
    /// is too large, is dropped and counted.
    pub fn put(&self, name: Name, value: Bytes, keep_for: Duration) {
        self.start_writing();
        self.writes.put(name, value, keep_for);
    }

    /// Never waits either. In the order of [`Remote::put`]; a removal can be dropped just as well.
    pub fn remove(&self, name: Name) {
        self.start_writing();
        self.writes.remove(name);
    }

    /// Writes that were dropped so far: without room, too large, or while the Redis was away.
    pub fn dropped(&self) -> u64 {
        self.writes.dropped()
    }

    /// Removes what is kept of a service, or of one path of it, then tells all instances. Gives how many
    /// answers were removed. What is on its way to the Redis at this moment may arrive after it.
    pub async fn purge(&self, service: &str, path: Option<&str>) -> Result<u64, String> {
        let purged = purges::purge(self.link.client(), service, path).await;
        purged.map_err(|error| error.to_string())
    }

    /// Hears of the purges that some instance asks for from now on, this one too. To be called within a
    /// runtime. What happens while the Redis is away is not heard later.
    pub fn on_purge(&self, hear: impl Fn(&str, Option<&str>) + Send + Sync + 'static) {
        let client = self.link.client().clone();
        self.spawn(async move { purges::listen(&client, &hear).await });
    }

    /// Hears when the Redis is left alone, and when it is back; of nothing in between.
    pub fn on_change(&self, hear: impl Fn(Change) + Send + Sync + 'static) {
        self.link.on_change(Arc::new(hear));
    }

    fn start_writing(&self) {
        if let Some(receiver) = self.writes.begin() {
            let (writes, link) = (self.writes.clone(), self.link.clone());
            self.spawn(async move { writes.carry(receiver, &link).await });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn_on(task, &runtime);
        }
    }
}
