//! The response cache: what is kept, under which key, and for whom it is good. It also holds the last
//! good answers for `fallback: [ { stale: … } ]`, under keys of their own.
//!
//! With a written `ttl` an answer stands under the full key of what was asked. With `from_headers` a
//! note stands under method and URL, which says by which headers of the request answers differ
//! (`vary`), and each answer under these headers' values (RFC 9111 §4.1).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use tokio::time::Instant;

use crate::cache::control::Control;
use crate::cache::rules::{self, Freshness, NotStored, Vary};
use crate::cache::{Key, KeyBuilder, Store};
use crate::downstream::kept::{Kept, Standing};
use crate::engine::fetch::{Answer, Exchange, Forward};
use crate::json;
use crate::plan::{Cache, Role, Ttl};

/// What is kept. Clones are the same.
#[derive(Clone)]
pub struct Shelf {
    store: Arc<Store<Entry>>,
}

#[derive(Clone)]
enum Entry {
    Answer(Arc<Kept>),
    Varies(Arc<Varies>),
}

/// How the answers of one URL differ.
#[derive(Debug)]
struct Varies {
    names: Vec<HeaderName>,
    /// A part of the keys of its answers: without this note they are out of reach.
    epoch: u64,
    service: Box<str>,
    path: Box<str>,
}

/// What was found for a request.
pub struct Looked {
    pub standing: Standing,
    /// Also one that has to be validated first.
    pub kept: Option<Arc<Kept>>,
    /// Why the service is asked, if it is.
    pub why: Forward,
}

/// What an answer was, before it is kept.
pub struct Arrived<'a> {
    pub status: u16,
    /// End-to-end headers.
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    pub took: Duration,
}

impl Shelf {
    /// Holds about so many bytes at most.
    pub fn new(bytes: u64) -> Shelf {
        Shelf {
            store: Arc::new(Store::new(bytes)),
        }
    }

    /// How much is kept, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    // === the response cache

    pub async fn look(&self, exchange: &Exchange, cache: Cache) -> Looked {
        let now = Instant::now();
        let (kept, missed) = match self.place(exchange, cache) {
            Ok(key) => (self.answer(&key), self.missed(cache)),
            Err(why) => (None, why),
        };
        let asked = asked(exchange, cache);
        let Some(kept) = kept else {
            return Looked {
                standing: match asked.only_if_cached {
                    true => Standing::Refused,
                    false => Standing::Stale,
                },
                kept: None,
                why: missed,
            };
        };
        let standing = kept.standing(&asked, now, 1.0 - fastrand::f64());
        Looked {
            standing,
            kept: Some(kept),
            why: match standing {
                Standing::Unwanted => Forward::Request,
                _ => Forward::Stale,
            },
        }
    }

    /// What may stand in for a failure of this call.
    pub fn stands_in(&self, exchange: &Exchange, cache: Cache) -> Option<Arc<Kept>> {
        let kept = self.answer(&self.place(exchange, cache).ok()?)?;
        let asked = asked(exchange, cache);
        kept.stands_in(&asked, Instant::now()).then_some(kept)
    }

    /// Keeps an answer if it may be kept: what is kept then.
    pub fn keep(
        &self,
        exchange: &Exchange,
        cache: Cache,
        service: &str,
        arrived: Arrived<'_>,
    ) -> Option<Arc<Kept>> {
        let freshness = freshness(exchange, cache, &arrived)?;
        let kept = Arc::new(kept(exchange, service, arrived, freshness));
        let key = match cache.ttl {
            Ttl::For(_) => full_key(exchange),
            Ttl::FromHeaders => {
                let Vary::Names(names) = rules::vary(&kept.headers) else {
                    return None;
                };
                self.variant_key(exchange, &self.varies(exchange, names, &kept))
            }
        };
        self.put(key, kept.clone());
        Some(kept)
    }

    /// A 304 has come for `kept`: it is good anew. `None` if the 304 is about another answer.
    pub fn freshen(
        &self,
        exchange: &Exchange,
        cache: Cache,
        kept: &Kept,
        not_modified: Arrived<'_>,
    ) -> Option<Arc<Kept>> {
        if !rules::confirms(&kept.headers, not_modified.headers) {
            return None;
        }
        let mut headers = kept.headers.clone();
        rules::freshen(&mut headers, not_modified.headers);
        let arrived = Arrived {
            status: kept.status,
            headers: &headers,
            body: kept.body.clone(),
            took: not_modified.took,
        };
        let body = kept.body.clone();
        let again = self.keep(exchange, cache, &kept.service, arrived);
        Some(again.unwrap_or_else(|| {
            // It may not be kept any longer, but it is the answer of this moment.
            self.forget(exchange, cache);
            Arc::new(Kept {
                headers,
                body,
                received: Instant::now(),
                ..kept.clone()
            })
        }))
    }

    fn forget(&self, exchange: &Exchange, cache: Cache) {
        if let Ok(key) = self.place(exchange, cache) {
            self.store.remove(&key);
        }
    }

    /// A write has been answered: what was kept of its URL, and of the URLs that the answer names, is
    /// good no longer (RFC 9111 §4.4).
    pub fn invalidate(&self, exchange: &Exchange, status: u16, answer: &HeaderMap) {
        let call = exchange.call();
        if !rules::invalidates(&call.method, status) {
            return;
        }
        let named = [http::header::LOCATION, http::header::CONTENT_LOCATION];
        let named = named.iter().filter_map(|name| {
            let value = answer.get(name)?.to_str().ok()?;
            value.starts_with('/').then_some(value)
        });
        for target in std::iter::once(exchange.target.as_str()).chain(named) {
            for method in [Method::GET, Method::HEAD] {
                self.store.remove(&url_key(call.origin(), &method, target));
            }
        }
    }

    /// Removes what is kept of a service, or of one path of it: how many entries that were.
    pub fn purge(&self, service: &str, path: Option<&str>) -> u64 {
        self.store.purge(|entry| {
            let (of_service, of_path) = match entry {
                Entry::Answer(kept) => (&kept.service, &kept.path),
                Entry::Varies(varies) => (&varies.service, &varies.path),
            };
            **of_service == *service && path.is_none_or(|path| **of_path == *path)
        })
    }

    /// The key of the answers to this exchange; why nothing can stand there.
    fn place(&self, exchange: &Exchange, cache: Cache) -> Result<Key, Forward> {
        match cache.ttl {
            Ttl::For(_) => Ok(full_key(exchange)),
            Ttl::FromHeaders => {
                let call = exchange.call();
                let key = url_key(call.origin(), &call.method, &exchange.target);
                match self.store.get(&key) {
                    Some(Entry::Varies(varies)) => Ok(self.variant_key(exchange, &varies)),
                    _ => Err(Forward::UriMiss),
                }
            }
        }
    }

    fn missed(&self, cache: Cache) -> Forward {
        match cache.ttl {
            Ttl::For(_) => Forward::Miss,
            Ttl::FromHeaders => Forward::VaryMiss,
        }
    }

    /// The note about a URL whose answers differ by `names`: the one that is there, or a new one.
    fn varies(&self, exchange: &Exchange, names: Vec<HeaderName>, kept: &Kept) -> Arc<Varies> {
        let call = exchange.call();
        let key = url_key(call.origin(), &call.method, &exchange.target);
        if let Some(Entry::Varies(varies)) = self.store.get(&key)
            && varies.names == names
        {
            return varies;
        }
        let varies = Arc::new(Varies {
            names,
            epoch: fastrand::u64(..),
            service: kept.service.clone(),
            path: kept.path.clone(),
        });
        let size = varies.service.len() + varies.path.len() + 16 * varies.names.len();
        self.store.put(key, Entry::Varies(varies.clone()), size);
        varies
    }

    fn variant_key(&self, exchange: &Exchange, varies: &Varies) -> Key {
        let call = exchange.call();
        let mut key = KeyBuilder::default();
        key.part(b"variant");
        key.part(call.origin().as_bytes());
        key.part(call.method.as_str().as_bytes());
        key.part(exchange.target.as_bytes());
        key.part(&varies.epoch.to_le_bytes());
        key.part(form(exchange).as_bytes());
        for name in &varies.names {
            let lines = exchange.headers.get_all(name).iter();
            let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
            // Absent is another value than empty.
            key.part(&[u8::from(!lines.is_empty())]);
            key.part(&lines.join(&b", "[..]));
        }
        key.build()
    }

    fn answer(&self, key: &Key) -> Option<Arc<Kept>> {
        match self.store.get(key)? {
            Entry::Answer(kept) => Some(kept),
            Entry::Varies(_) => None,
        }
    }

    fn put(&self, key: Key, kept: Arc<Kept>) {
        let size = kept.size();
        self.store.put(key, Entry::Answer(kept), size);
    }

    // === the last good answers

    pub fn keep_last_good(&self, exchange: &Exchange, service: &str, arrived: Arrived<'_>) {
        let kept = kept(exchange, service, arrived, for_ever());
        self.put(last_key(exchange), Arc::new(kept));
    }

    /// The last good answer to an exchange like this one, if it is no older than `at_most`.
    pub fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Answer> {
        let kept = self.answer(&last_key(exchange))?;
        let age = Instant::now().saturating_duration_since(kept.received);
        (age <= at_most).then(|| kept.answer_to(exchange)).flatten()
    }
}

/// The body of an answer, to be kept: a copy, for what arrived may be a part of a larger buffer.
pub fn bytes_of(answer: &Answer) -> Bytes {
    let body = answer.body.as_ref().map(json::Body::bytes);
    body.map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes))
}

fn kept(exchange: &Exchange, service: &str, arrived: Arrived<'_>, freshness: Freshness) -> Kept {
    let path = exchange.target.split('?').next().unwrap_or_default();
    let mut headers = arrived.headers.clone();
    rules::trim(&mut headers);
    Kept {
        status: arrived.status,
        headers,
        body: arrived.body,
        service: service.into(),
        path: path.into(),
        received: Instant::now(),
        took: arrived.took,
        freshness,
    }
}

/// How long an answer that came now would be fresh; `None` if it may not be kept.
pub fn would_keep(exchange: &Exchange, cache: Cache, arrived: &Arrived<'_>) -> Option<Duration> {
    let freshness = freshness(exchange, cache, arrived)?;
    let varies = matches!(cache.ttl, Ttl::FromHeaders)
        .then(|| rules::vary(arrived.headers))
        .is_some_and(|vary| vary == Vary::Anything);
    let left = freshness.lifetime.saturating_sub(freshness.initial_age);
    (!varies).then_some(left)
}

/// What an answer that came now promises; `None` if it may not be kept.
fn freshness(exchange: &Exchange, cache: Cache, arrived: &Arrived<'_>) -> Option<Freshness> {
    let is_gone = matches!(arrived.status, 404 | 410);
    let negative = cache.negative.filter(|_| is_gone);
    match cache.ttl {
        // What the operator writes is said in place of the service.
        Ttl::For(ttl) => {
            let is_good = arrived.status < 400 || exchange.call().success_when.is_some();
            let ttl = negative.or((is_good && !is_gone).then_some(ttl))?;
            if arrived.headers.contains_key(http::header::SET_COOKIE) {
                return None;
            }
            Some(Freshness {
                lifetime: ttl.mul_f64(0.95 + 0.1 * fastrand::f64()),
                initial_age: Duration::ZERO,
                stale_while_revalidate: cache.stale_while_revalidate,
                stale_if_error: cache.stale_if_error,
                may_serve_stale: true,
                always_validate: false,
            })
        }
        Ttl::FromHeaders => {
            let method = &exchange.call().method;
            let mut found = rules::freshness(arrived.headers, SystemTime::now(), arrived.took);
            match rules::may_store(method, &exchange.headers, arrived.status, arrived.headers) {
                Ok(()) => {}
                Err(NotStored::NoFreshness) => found.lifetime = negative?,
                Err(_) => return None,
            }
            Some(Freshness {
                // Never longer than the service says.
                lifetime: found.lifetime.mul_f64(1.0 - 0.05 * fastrand::f64()),
                stale_while_revalidate: cache
                    .stale_while_revalidate
                    .or(found.stale_while_revalidate),
                stale_if_error: cache.stale_if_error.or(found.stale_if_error),
                ..found
            })
        }
    }
}

/// Of an answer that is no part of the cache.
fn for_ever() -> Freshness {
    Freshness {
        lifetime: Duration::MAX,
        initial_age: Duration::ZERO,
        stale_while_revalidate: None,
        stale_if_error: None,
        may_serve_stale: true,
        always_validate: false,
    }
}

/// What the request says to caches: of a call by `from_headers` that sends `cache-control`.
fn asked(exchange: &Exchange, cache: Cache) -> Control {
    match cache.ttl {
        Ttl::For(_) => Control::default(),
        Ttl::FromHeaders => Control::of_request(&exchange.headers),
    }
}

/// In which form bodies are kept: as they came, or judged and decoded by the words of the call.
fn form(exchange: &Exchange) -> &str {
    match exchange.call().role {
        Role::Pass => "passed",
        _ => &exchange.call().key_prefix,
    }
}

/// The full key, with the form of the body: what is passed is kept as it came.
fn full_key(exchange: &Exchange) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"answer");
    key.part(form(exchange).as_bytes());
    key.part(exchange.key().bytes());
    key.build()
}

fn last_key(exchange: &Exchange) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"last");
    key.part(exchange.key().bytes());
    key.build()
}

fn url_key(origin: &str, method: &Method, target: &str) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"url");
    key.part(origin.as_bytes());
    key.part(method.as_str().as_bytes());
    key.part(target.as_bytes());
    key.build()
}
