//! The response cache: what is kept, under which key, and for whom it is good. It also holds the last
//! good answers for `fallback: [ { stale: … } ]`, under keys of their own.
//!
//! With a written `ttl` an answer stands under the full key of what was asked. With `from_headers` a
//! note stands under method and URL, which says by which headers of the request answers differ
//! (`vary`), and each answer under these headers' values (RFC 9111 §4.1).
//!
//! Memory is asked first. Where a Redis is shared with other instances, it is asked about what memory
//! does not have fresh, and told of what is kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, Method};
use tokio::time::Instant;

use crate::cache::control::Control;
use crate::cache::rules::{self, Freshness, NotStored, Vary};
use crate::cache::{Key, KeyBuilder, Store};
use crate::downstream::kept::{Kept, Standing, date_of};
use crate::downstream::observe::Observe;
use crate::downstream::remote::{Away, Change, Name, Remote};
use crate::downstream::wire;
use crate::engine::fetch::{Answer, Exchange, Forward};
use crate::json;
use crate::plan::{Cache, Role, Ttl, settings};
use crate::template::escape::canonical_path;

/// What is kept. Clones are the same.
#[derive(Clone)]
pub struct Shelf {
    store: Arc<Store<Entry>>,
    purges: Arc<Purges>,
    shared: Arc<ArcSwapOption<Shared>>,
}

/// When what is kept of a service was last thrown away. What was asked for before that is not kept.
type Purges = Mutex<HashMap<Box<str>, Instant>>;

/// The store of all instances, as it is configured.
struct Shared {
    settings: settings::Redis,
    remote: Remote,
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
    known: Known,
    service: Box<str>,
    path: Box<str>,
}

/// What the shared store is known to have of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It was not heard whether it has it.
    Unheard,
    /// It has it.
    Shared,
    /// It has it no longer: another instance has seen a write, or the store has lost it. What memory has
    /// under it is good until something new is kept.
    Lost,
}

impl Varies {
    fn as_known(&self, known: Known) -> Arc<Varies> {
        Arc::new(Varies {
            names: self.names.clone(),
            epoch: self.epoch,
            known,
            service: self.service.clone(),
            path: self.path.clone(),
        })
    }
}

/// What is looked for.
pub struct Wanted<'a> {
    pub exchange: &'a Exchange,
    pub cache: Cache,
    pub service: &'a str,
}

/// A look that is under way.
struct Search<'a> {
    wanted: &'a Wanted<'a>,
    asked: Control,
    chance: f64,
    kept: Option<Arc<Kept>>,
    /// Of what is kept; if nothing is, it is stale.
    standing: Standing,
    /// What it is called if nothing is kept.
    missed: Forward,
    /// The shared store had something newer than memory.
    is_fetched: bool,
}

impl Search<'_> {
    fn has_found(&mut self, kept: Arc<Kept>) {
        self.standing = kept.standing(&self.asked, Instant::now(), self.chance);
        self.kept = Some(kept);
    }

    /// Nobody else need be asked.
    fn is_done(&self) -> bool {
        matches!(
            self.standing,
            Standing::Good | Standing::Due | Standing::Unwanted
        )
    }

    /// The label `result` of `anabranch_cache_requests_total`.
    fn result(&self) -> &'static str {
        match (&self.kept, self.standing) {
            (Some(_), Standing::Good | Standing::Due) => "hit",
            (Some(_), _) => "stale",
            (None, _) => "miss",
        }
    }

    fn end(self) -> Looked {
        Looked {
            standing: match (self.standing, &self.kept) {
                (Standing::Stale, None) if self.asked.only_if_cached => Standing::Refused,
                _ => self.standing,
            },
            why: match (self.standing, &self.kept) {
                (_, None) => self.missed,
                (Standing::Unwanted, _) => Forward::Request,
                _ => Forward::Stale,
            },
            kept: self.kept,
        }
    }
}

/// What the shared store is asked at once.
#[derive(Default)]
struct Question(Vec<Name>);

impl Question {
    /// The place of its value among the answers.
    fn add(&mut self, wanted: &Wanted<'_>, key: &Key) -> usize {
        let path = path_of(wanted.exchange);
        self.0.push(Name::new(wanted.service, &path, key.bytes()));
        self.0.len() - 1
    }

    async fn ask(self, shared: &Shared, by: Instant) -> Result<Vec<Option<Bytes>>, Away> {
        shared.remote.get(&self.0, by).await
    }
}

/// What a note of the shared store means.
enum Heeded {
    /// It is the one that memory has.
    Agreed,
    /// It has taken the place of the one that memory had, if it had one.
    Adopted(Arc<Varies>),
    /// There is none.
    Gone,
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
    /// By the words of the call, or, if it is passed, by its status.
    pub is_failure: bool,
    /// End-to-end headers.
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// When its head came.
    pub received: Instant,
    pub took: Duration,
}

impl<'a> Arrived<'a> {
    /// A success whose request began at `started`, as yet without its body.
    pub fn success(answer: &'a Answer, started: Instant) -> Arrived<'a> {
        Arrived {
            status: answer.status,
            is_failure: false,
            headers: &answer.headers,
            body: Bytes::new(),
            received: Instant::now(),
            took: started.elapsed(),
        }
    }
}

impl Shelf {
    /// Holds about so many bytes at most.
    pub fn new(bytes: u64) -> Shelf {
        Shelf {
            store: Arc::new(Store::new(bytes)),
            purges: Arc::default(),
            shared: Arc::default(),
        }
    }

    /// Takes on what a configuration says. What is kept stays, as far as there is room. `hear` is told
    /// when the Redis goes away, and when it is back.
    pub fn configure(
        &self,
        settings: &settings::Cache,
        hear: impl Fn(Change) + Send + Sync + 'static,
    ) -> Result<(), String> {
        self.store.resize(settings.memory);
        let before = self.shared.load();
        if before.as_ref().map(|shared| &shared.settings) == settings.redis.as_ref() {
            return Ok(());
        }
        let shared = settings.redis.as_ref().map(|settings| {
            let remote = Remote::new(settings)?;
            remote.on_change(hear);
            let store = Arc::downgrade(&self.store);
            let purges = self.purges.clone();
            remote.on_purge(move |service, path| {
                if let Some(store) = store.upgrade() {
                    purge(&store, &purges, service, path);
                }
            });
            Ok::<_, String>(Arc::new(Shared {
                settings: settings.clone(),
                remote,
            }))
        });
        self.shared.store(shared.transpose()?);
        Ok(())
    }

    /// How much is kept, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    // === the response cache

    /// What is kept for each of these. The shared store is asked about all of them together.
    pub async fn look(&self, wanted: &[Wanted<'_>], observe: &dyn Observe) -> Vec<Looked> {
        let mut searches: Vec<Search<'_>> = wanted.iter().map(|it| self.search(it)).collect();
        for search in &searches {
            observe.cache("memory", search.result());
        }
        let open = searches.iter_mut().filter(|search| !search.is_done());
        let mut open: Vec<&mut Search<'_>> = open.collect();
        if !open.is_empty()
            && let Some(shared) = self.shared.load_full()
        {
            let heard = self.fetch(&mut open, &shared).await;
            for search in open {
                let result = match heard {
                    _ if search.is_fetched => "hit",
                    Ok(()) => "miss",
                    Err(away) => away.name(),
                };
                observe.cache("redis", result);
            }
        }
        searches.into_iter().map(Search::end).collect()
    }

    /// Looks in memory.
    fn search<'w>(&self, wanted: &'w Wanted<'w>) -> Search<'w> {
        let (kept, missed) = match self.place(wanted.exchange, wanted.cache) {
            Ok(key) => {
                let missed = match wanted.cache.ttl {
                    Ttl::For(_) => Forward::Miss,
                    Ttl::FromHeaders => Forward::VaryMiss,
                };
                (self.answer(&key), missed)
            }
            Err(missed) => (None, missed),
        };
        let mut search = Search {
            wanted,
            asked: asked(wanted.exchange, wanted.cache),
            chance: 1.0 - fastrand::f64(),
            kept: None,
            standing: Standing::Stale,
            missed,
            is_fetched: false,
        };
        if let Some(kept) = kept {
            search.has_found(kept);
        }
        search
    }

    /// Brings what the shared store has, where that is newer than what memory has. Two questions at
    /// most, in the time of one: for notes, and answers whose place is known; then for those that a note
    /// has led to.
    async fn fetch(&self, searches: &mut [&mut Search<'_>], shared: &Shared) -> Result<(), Away> {
        let by = Instant::now() + shared.settings.timeout;
        let mut question = Question::default();
        let asked: Vec<_> = searches
            .iter()
            .map(|search| {
                let wanted = search.wanted;
                let note = matches!(wanted.cache.ttl, Ttl::FromHeaders);
                let note = note.then(|| question.add(wanted, &url_key_of(wanted.exchange)));
                let place = self.place(wanted.exchange, wanted.cache).ok();
                (note, place.map(|key| (question.add(wanted, &key), key)))
            })
            .collect();
        let mut values = question.ask(shared, by).await?;
        let mut question = Question::default();
        let mut led_on = Vec::new();
        for (search, (note, place)) in searches.iter_mut().zip(asked) {
            let wanted = search.wanted;
            let place = place.map(|(at, key)| (values[at].take(), key));
            let note = note.map(|at| values[at].take().and_then(wire::read_note));
            match note.map(|heard| self.heed(wanted, heard)) {
                Some(Heeded::Adopted(varies)) => {
                    let key = variant_key(wanted.exchange, &varies);
                    led_on.push((search, question.add(wanted, &key), key));
                }
                Some(Heeded::Gone) => {}
                Some(Heeded::Agreed) | None => {
                    if let Some((Some(value), key)) = place {
                        self.bring(search, key, value);
                    }
                }
            }
        }
        let mut values = question.ask(shared, by).await?;
        for (search, at, key) in led_on {
            if let Some(value) = values[at].take() {
                self.bring(search, key, value);
            }
        }
        Ok(())
    }

    /// Compares the note that the shared store has of a URL with the one that memory has.
    fn heed(&self, wanted: &Wanted<'_>, heard: Option<wire::Note>) -> Heeded {
        let key = url_key_of(wanted.exchange);
        let before = match self.store.get(&key) {
            Some(Entry::Varies(varies)) => Some(varies),
            _ => None,
        };
        match (before, heard) {
            (Some(before), Some((names, epoch)))
                if before.epoch == epoch && before.names == names =>
            {
                if before.known != Known::Shared {
                    self.put_note(key, before.as_known(Known::Shared));
                }
                Heeded::Agreed
            }
            (_, Some((names, epoch))) => {
                let varies = Arc::new(Varies {
                    names,
                    epoch,
                    known: Known::Shared,
                    service: wanted.service.into(),
                    path: path_of(wanted.exchange).into(),
                });
                self.put_note(key, varies.clone());
                Heeded::Adopted(varies)
            }
            (Some(before), None) if before.known == Known::Shared => {
                self.put_note(key, before.as_known(Known::Lost));
                Heeded::Gone
            }
            (_, None) => Heeded::Gone,
        }
    }

    /// Takes on what the shared store has, if it is newer.
    fn bring(&self, search: &mut Search<'_>, key: Key, value: Bytes) {
        let now = Instant::now();
        let Some(kept) = wire::read_answer(value, now, SystemTime::now()) else {
            return;
        };
        let before = self.answer(&key);
        if before.is_none_or(|before| before.age(now) > kept.age(now)) {
            let kept = Arc::new(kept);
            self.put_in_memory(key, kept.clone());
            search.has_found(kept);
            search.is_fetched = true;
        }
    }

    /// What memory has that may be given at this moment.
    pub fn peek(&self, exchange: &Exchange, cache: Cache) -> Option<Arc<Kept>> {
        let kept = self.answer(&self.place(exchange, cache).ok()?)?;
        let standing = kept.standing(&asked(exchange, cache), Instant::now(), 1.0);
        matches!(standing, Standing::Good | Standing::Due).then_some(kept)
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
        let freshness = promise(exchange, cache, &arrived)?;
        self.keep_promised(exchange, cache, service, arrived, freshness)
    }

    /// Keeps an answer of which it is known what it promises.
    pub fn keep_promised(
        &self,
        exchange: &Exchange,
        cache: Cache,
        service: &str,
        arrived: Arrived<'_>,
        freshness: Freshness,
    ) -> Option<Arc<Kept>> {
        if self.was_purged_since(service, arrived.received - arrived.took) {
            return None;
        }
        let kept = Arc::new(kept(exchange, service, arrived, freshness));
        let key = match cache.ttl {
            Ttl::For(_) => full_key(exchange),
            Ttl::FromHeaders => {
                let Vary::Names(names) = rules::vary(&kept.headers) else {
                    return None;
                };
                variant_key(exchange, &self.varies(exchange, names, &kept))
            }
        };
        self.share(&key, &kept);
        self.put_in_memory(key, kept.clone());
        Some(kept)
    }

    fn was_purged_since(&self, service: &str, begun: Instant) -> bool {
        let purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        purges.get(service).is_some_and(|purged| *purged > begun)
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
            is_failure: kept.is_failure,
            headers: &headers,
            body: kept.body.clone(),
            received: not_modified.received,
            took: not_modified.took,
        };
        let again = self.keep(exchange, cache, &kept.service, arrived);
        Some(again.unwrap_or_else(|| {
            // It may not be kept any longer, but it is the answer of this moment.
            self.forget(exchange, cache, kept);
            Arc::new(Kept {
                headers,
                received: Instant::now(),
                ..kept.clone()
            })
        }))
    }

    fn forget(&self, exchange: &Exchange, cache: Cache, kept: &Kept) {
        let Ok(key) = self.place(exchange, cache) else {
            return;
        };
        if let Some(shared) = &*self.shared.load() {
            let name = Name::new(&kept.service, &kept.path, key.bytes());
            shared.remote.remove(name);
        }
        self.store.remove(&key);
    }

    /// A write has been answered: what was kept of its URL, and of the URLs that the answer names, is
    /// good no longer (RFC 9111 §4.4).
    pub fn invalidate(&self, exchange: &Exchange, service: &str, status: u16, answer: &HeaderMap) {
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
                let key = url_key(call.origin(), &method, target);
                if let Some(shared) = &*self.shared.load() {
                    let name = Name::new(service, &path_in(target), key.bytes());
                    shared.remote.remove(name);
                }
                self.store.remove(&key);
            }
        }
    }

    /// Removes what is kept of a service, or of one path of it, in memory: how many entries that were.
    /// The path may be written in any way that means the same.
    pub fn purge(&self, service: &str, path: Option<&str>) -> u64 {
        purge(&self.store, &self.purges, service, path)
    }

    /// As [`Shelf::purge`], in the store that all instances share, and in their memories. `None`: there
    /// is none.
    pub async fn purge_shared(
        &self,
        service: &str,
        path: Option<&str>,
    ) -> Option<Result<u64, String>> {
        let shared = self.shared.load_full()?;
        let path = path.map(canonical_path);
        Some(shared.remote.purge(service, path.as_deref()).await)
    }

    /// The key of the answers to this exchange; why nothing can stand there.
    fn place(&self, exchange: &Exchange, cache: Cache) -> Result<Key, Forward> {
        match cache.ttl {
            Ttl::For(_) => Ok(full_key(exchange)),
            Ttl::FromHeaders => match self.store.get(&url_key_of(exchange)) {
                Some(Entry::Varies(varies)) => Ok(variant_key(exchange, &varies)),
                _ => Err(Forward::UriMiss),
            },
        }
    }

    /// The note about a URL whose answers differ by `names`: the one that is there, or a new one.
    fn varies(&self, exchange: &Exchange, names: Vec<HeaderName>, kept: &Kept) -> Arc<Varies> {
        let key = url_key_of(exchange);
        let varies = match self.store.get(&key) {
            Some(Entry::Varies(varies)) if varies.names == names => match varies.known {
                Known::Shared => return varies,
                Known::Unheard => Some(varies),
                Known::Lost => None,
            },
            _ => None,
        };
        let varies = varies.unwrap_or_else(|| {
            let varies = Arc::new(Varies {
                names,
                epoch: fastrand::u64(..),
                known: Known::Unheard,
                service: kept.service.clone(),
                path: kept.path.clone(),
            });
            self.put_note(key.clone(), varies.clone());
            varies
        });
        // Again and again until it is known to have arrived: without it nobody finds the answers.
        if let Some(shared) = &*self.shared.load() {
            let name = Name::new(&kept.service, &kept.path, key.bytes());
            let note = wire::write_note(&varies.names, varies.epoch);
            shared.remote.put(name, note, NOTE_KEPT_FOR);
        }
        varies
    }

    fn put_note(&self, key: Key, varies: Arc<Varies>) {
        let size = varies.service.len() + varies.path.len() + 16 * varies.names.len();
        self.store.put(key, Entry::Varies(varies), size);
    }

    fn answer(&self, key: &Key) -> Option<Arc<Kept>> {
        match self.store.get(key)? {
            Entry::Answer(kept) => Some(kept),
            Entry::Varies(_) => None,
        }
    }

    fn put_in_memory(&self, key: Key, kept: Arc<Kept>) {
        let size = kept.size();
        self.store.put(key, Entry::Answer(kept), size);
    }

    fn share(&self, key: &Key, kept: &Kept) {
        if let Some(shared) = &*self.shared.load() {
            let now = Instant::now();
            let name = Name::new(&kept.service, &kept.path, key.bytes());
            let value = wire::write_answer(kept, now, SystemTime::now());
            shared.remote.put(name, value, kept.useful_for(now));
        }
    }

    // === the last good answers

    pub fn keep_last_good(&self, exchange: &Exchange, service: &str, arrived: Arrived<'_>) {
        let kept = kept(exchange, service, arrived, for_ever());
        self.put_in_memory(last_key(exchange), Arc::new(kept));
    }

    /// The last good answer to an exchange like this one, if it is no older than `at_most`.
    pub fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>> {
        let kept = self.answer(&last_key(exchange))?;
        let age = Instant::now().saturating_duration_since(kept.received);
        (age <= at_most).then(|| kept.answer_to(exchange)).flatten()
    }
}

/// How long the shared store keeps a note of how answers differ: longer than most answers.
const NOTE_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

fn purge(store: &Store<Entry>, purges: &Purges, service: &str, path: Option<&str>) -> u64 {
    let mut purged = purges.lock().unwrap_or_else(PoisonError::into_inner);
    purged.insert(service.into(), Instant::now());
    drop(purged);
    let path = path.map(canonical_path);
    store.purge(|entry| {
        let (of_service, of_path) = match entry {
            Entry::Answer(kept) => (&kept.service, &kept.path),
            Entry::Varies(varies) => (&varies.service, &varies.path),
        };
        **of_service == *service && path.as_ref().is_none_or(|path| **of_path == **path)
    })
}

/// The path that is asked, without the query, in the form that purges go by.
fn path_of(exchange: &Exchange) -> Cow<'_, str> {
    path_in(&exchange.target)
}

fn path_in(target: &str) -> Cow<'_, str> {
    canonical_path(target.split('?').next().unwrap_or_default())
}

/// The body of an answer, to be kept: a copy, for what arrived may be a part of a larger buffer.
pub fn bytes_of(answer: &Answer) -> Bytes {
    let body = answer.body.as_ref().map(json::Body::bytes);
    body.map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes))
}

fn kept(exchange: &Exchange, service: &str, arrived: Arrived<'_>, freshness: Freshness) -> Kept {
    let mut headers = arrived.headers.clone();
    rules::trim(&mut headers);
    Kept {
        status: arrived.status,
        headers,
        body: arrived.body,
        service: service.into(),
        path: path_of(exchange).into(),
        is_failure: arrived.is_failure,
        received: arrived.received,
        took: arrived.took,
        freshness,
    }
}

/// What an answer promises whose head has come; `None` if it may not be kept.
pub fn promise(exchange: &Exchange, cache: Cache, arrived: &Arrived<'_>) -> Option<Freshness> {
    let is_gone = matches!(arrived.status, 404 | 410);
    let negative = cache.negative.filter(|_| is_gone);
    match cache.ttl {
        // What the operator writes is said in place of the service.
        Ttl::For(ttl) => {
            // These answer a condition or a range, and so one request alone.
            let is_of_one = matches!(arrived.status, 206 | 304);
            if is_of_one && exchange.call().role == Role::Pass {
                return None;
            }
            let ttl = match arrived.is_failure {
                true => negative?,
                false => ttl,
            };
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
            let received = date_of(arrived.received);
            let mut found = rules::freshness(arrived.headers, received, arrived.took);
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

/// In which form bodies are kept: as they came, judged and decoded by the words of the call, or, of a
/// bulk call, one row.
fn push_form(key: &mut KeyBuilder, exchange: &Exchange) {
    let call = exchange.call();
    key.part(call.batch().map_or("", |batch| &batch.form).as_bytes());
    key.part(match call.role {
        Role::Pass => b"passed",
        _ => call.key_prefix.as_bytes(),
    });
}

/// The full key, with the form of the body: what is passed is kept as it came.
fn full_key(exchange: &Exchange) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"answer");
    push_form(&mut key, exchange);
    match exchange.call().role {
        Role::Pass => key.part(unconditional(exchange).key().bytes()),
        _ => key.part(exchange.key().bytes()),
    }
    key.build()
}

/// Without what asks for a part of an answer, or for none if it is known: such requests are answered
/// from the whole.
fn unconditional(exchange: &Exchange) -> Cow<'_, Exchange> {
    let names = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE];
    if !names.iter().any(|name| exchange.headers.contains_key(name)) {
        return Cow::Borrowed(exchange);
    }
    let mut whole = exchange.clone();
    for name in names {
        whole.headers.remove(name);
    }
    Cow::Owned(whole)
}

fn variant_key(exchange: &Exchange, varies: &Varies) -> Key {
    let call = exchange.call();
    let mut key = KeyBuilder::default();
    key.part(b"variant");
    key.part(call.origin().as_bytes());
    key.part(call.method.as_str().as_bytes());
    key.part(exchange.target.as_bytes());
    key.part(&varies.epoch.to_le_bytes());
    push_form(&mut key, exchange);
    for name in &varies.names {
        let lines = exchange.headers.get_all(name).iter();
        let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
        // Absent is another value than empty.
        key.part(&[u8::from(!lines.is_empty())]);
        key.part(&lines.join(&b", "[..]));
    }
    key.build()
}

fn last_key(exchange: &Exchange) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"last");
    push_form(&mut key, exchange);
    key.part(exchange.key().bytes());
    key.build()
}

fn url_key_of(exchange: &Exchange) -> Key {
    let call = exchange.call();
    url_key(call.origin(), &call.method, &exchange.target)
}

fn url_key(origin: &str, method: &Method, target: &str) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"url");
    key.part(origin.as_bytes());
    key.part(method.as_str().as_bytes());
    key.part(target.as_bytes());
    key.build()
}
