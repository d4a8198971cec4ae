//! The engine's one seam: how a single call is made. `downstream` is the real one; tests script theirs.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use crate::cache::{Key, KeyBuilder};
use crate::engine::code::Code;
use crate::json;
use crate::plan::{Call, CallId, Route};
use crate::policy::memory::Reservation;

/// Makes one call: layers 3 to 12 of `resilience.md` §1, every retry included.
///
/// Both must end by `exchange.deadline`. Dropping the future cancels the call, but for a write that
/// was already sent, which is left to finish, unread.
pub trait Fetch: Send + Sync {
    /// Reads the whole body, checks it by `call.raw_demand`, and judges it by `success_when`.
    fn fetch(&self, exchange: Arc<Exchange>) -> impl Future<Output = Fetched> + Send;

    /// For `response: { pass: … }`: ends with the response head; any complete answer is a success.
    fn open(
        &self,
        exchange: Arc<Exchange>,
        body: StreamedRequest,
    ) -> impl Future<Output = Opened> + Send;

    /// The last good answer to an exchange like this one, for `fallback: [ { stale: … } ]`, if it is
    /// no older than `at_most`.
    fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>> {
        let _ = (exchange, at_most);
        None
    }

    /// What the cache may give in place of a failure with this code: `cache.stale_if_error`, or what
    /// the answer's own headers allow (RFC 5861 §4).
    fn stale_if_error(&self, exchange: &Exchange, code: Code) -> Option<Box<Answer>> {
        let _ = (exchange, code);
        None
    }

    /// What the cache has for these exchanges, in their order: those of a `batch` call, each
    /// rendered for one key.
    fn look_up(&self, exchanges: Vec<Exchange>) -> impl Future<Output = Vec<Option<Found>>> + Send {
        std::future::ready(exchanges.iter().map(|_| None).collect())
    }

    /// Keeps the rows of the answer to a `batch` call, for its `cache` and its `stale`.
    fn keep_rows(&self, answer: &Answer, rows: Vec<Row>) {
        let _ = (answer, rows);
    }

    /// Asks for rows that are to be renewed, in the background, and keeps them. `exchange` is the
    /// call rendered for all their keys, `rows` are those of one key each.
    fn renew_rows(&self, exchange: Exchange, rows: Vec<(String, Exchange)>) {
        let _ = (exchange, rows);
    }
}

/// One call, rendered: owned, so that it may outlive the run (a detached call, a write already sent).
#[derive(Clone, Debug)]
pub struct Exchange {
    pub route: Arc<Route>,
    pub call: CallId,
    /// Path and query as rendered, to be put behind the endpoint's prefix.
    pub target: String,
    /// What the route file sets or forwards; the headers we add ourselves are not in it.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The call's clock: its timeout from now, or the end of the route's time, whichever is first.
    pub deadline: Instant,
    /// The deadline is the route's or the client's: it comes before the call's own timeout.
    pub ends_with_route: bool,
    /// Counts the requests as they leave us.
    pub made: Made,
    pub identity: Arc<Identity>,
}

/// How many requests a call has made, also while it is under way. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Made(Arc<AtomicU32>);

impl Made {
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn so_far(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Exchange {
    pub fn call(&self) -> &Call {
        &self.route.calls[self.call.0]
    }

    /// The full key of its answers: service, method, URL, body, and every header that the route file
    /// sets or forwards, credentials included.
    pub fn key(&self) -> Key {
        let call = self.call();
        let mut key = KeyBuilder::default();
        key.part(call.key_prefix.as_bytes());
        key.part(call.method.as_str().as_bytes());
        key.part(self.target.as_bytes());
        key.part(&self.body);
        for (name, value) in &self.headers {
            key.part(name.as_str().as_bytes());
            key.part(value.as_bytes());
        }
        key.build()
    }
}

/// What every call of a run sends beside its own headers. Each text may stand in one: its maker has
/// taken it from a header, or made it of digits.
#[derive(Clone, Debug)]
pub struct Identity {
    pub request_id: String,
    /// 32 hex digits.
    pub trace_id: [u8; 32],
    /// The flags of the client's `traceparent`, or 01.
    pub trace_flags: u8,
    pub trace_state: Option<String>,
    pub client_ip: IpAddr,
    /// The `via` that the client sent, to which ours is added.
    pub via: Option<String>,
}

/// A request's body for `open`.
pub enum StreamedRequest {
    /// What `exchange.body` holds.
    Buffered,
    /// The client's, as it arrives; sent once.
    Stream(ByteStream),
}

/// Why a streamed body broke off.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;
pub type ByteStream = UnsyncBoxBody<Bytes, StreamError>;

/// How a call went.
#[derive(Debug)]
pub struct Fetched {
    pub result: Result<Box<Answer>, CallError>,
    /// The requests that left us, transparent replays included.
    pub attempts: u32,
    /// Of a call with `cache` or `coalesce`.
    pub note: Option<CacheNote>,
}

/// How a passed call's head came.
pub struct Opened {
    pub result: Result<Head, CallError>,
    pub attempts: u32,
    pub note: Option<CacheNote>,
    /// The failure that the answer stands in for: it is a kept one (RFC 5861 §4).
    pub covered: Option<CallError>,
}

/// An answer that the cache had.
#[derive(Debug)]
pub struct Found {
    pub answer: Box<Answer>,
    pub note: CacheNote,
    /// It may be given, but a new one is to be fetched meanwhile.
    pub is_due: bool,
}

/// A row of the answer to a `batch` call.
#[derive(Debug)]
pub struct Row {
    /// The call, rendered for this row's key alone.
    pub exchange: Exchange,
    /// JSON, as it came.
    pub body: Bytes,
}

/// What the cache did for a call: a member of `cache-status` (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheNote {
    pub fate: CacheFate,
    /// How long the answer stays fresh, in seconds; below zero: how long it has been stale.
    pub ttl: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFate {
    /// Nothing was sent.
    Hit,
    /// The service was asked.
    Forwarded(Forwarded),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub why: Forward,
    /// What the service answered to a request that was made for the cache's sake, if it was another
    /// status than the one that is given: 304.
    pub status: Option<u16>,
    /// The answer is kept.
    pub stored: bool,
    /// Another request, which was under way, brought it.
    pub collapsed: bool,
}

impl Forwarded {
    /// And nothing more is to be said of it.
    pub fn because(why: Forward) -> Forwarded {
        Forwarded {
            why,
            status: None,
            stored: false,
            collapsed: false,
        }
    }
}

impl CacheNote {
    /// The body is one that was kept, also where the service has said that it is good still.
    pub fn is_of_cache(self) -> bool {
        match self.fate {
            CacheFate::Hit => true,
            CacheFate::Forwarded(forwarded) => forwarded.status == Some(304),
        }
    }
}

/// Why the service was asked: the words of `fwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is kept under this key.
    Miss,
    UriMiss,
    VaryMiss,
    /// What is kept is no longer fresh.
    Stale,
    /// The request wants no kept answer.
    Request,
    /// The cache was not to be asked.
    Bypass,
}

impl Forward {
    pub fn word(self) -> &'static str {
        match self {
            Forward::Miss => "miss",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Stale => "stale",
            Forward::Request => "request",
            Forward::Bypass => "bypass",
        }
    }
}

/// How long an answer is good for those who keep what it becomes a part of; there where the route's
/// `response` is `cache: computed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// Since it was made.
    pub age: Duration,
    /// How long it is fresh in all, for one client's cache.
    pub max_age: Duration,
    /// The same for caches that clients share.
    pub shared_max_age: Duration,
    pub no_store: bool,
    /// For one client only.
    pub private: bool,
    /// For all, also where credentials were sent: the service says `public` or `s-maxage`.
    pub public: bool,
    pub must_revalidate: bool,
}

impl Lasting {
    /// By a `ttl` that the operator has written.
    pub fn written(age: Duration, ttl: Duration) -> Lasting {
        Lasting {
            age,
            max_age: ttl,
            shared_max_age: ttl,
            no_store: false,
            private: false,
            public: false,
            must_revalidate: false,
        }
    }
}

/// A success: its body is decoded and checked.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    /// `None` is null (an empty body, or `decode: none`).
    pub body: Option<json::Body>,
    /// Keeps what the body takes counted for as long as the answer is there.
    pub held: Option<Arc<Reservation>>,
    pub lasting: Option<Lasting>,
}

/// The head of a passed answer, and its body as it arrives.
pub struct Head {
    pub status: u16,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    pub body: ByteStream,
}

/// Why a call failed, for the engine to act on.
#[derive(Clone, Debug)]
pub struct CallError {
    pub code: Code,
    /// The status the service answered with, if it answered.
    pub status: Option<u16>,
    /// What is to be handed on to the client as `retry-after`, in seconds (at most 300).
    pub retry_after: Option<u32>,
    /// Of a 404 or 410: what the answer says of itself, for the cache.
    pub headers: Option<Arc<HeaderMap>>,
    /// For operators and problem bodies: nothing of a downstream's body or address.
    pub detail: Option<String>,
    /// The client sent what was at fault (only `missing_value` and `bad_value`).
    pub is_of_client: bool,
    /// An attempt before the last one may have reached the service, whatever the code says of the last.
    pub may_have_arrived: bool,
}

impl CallError {
    pub fn new(code: Code) -> CallError {
        CallError {
            code,
            status: None,
            retry_after: None,
            headers: None,
            detail: None,
            is_of_client: false,
            may_have_arrived: false,
        }
    }

    /// The request surely never arrived: what `only: not_sent` asks.
    pub fn is_not_sent(&self) -> bool {
        self.code.is_not_sent() && !self.may_have_arrived
    }
}

/// The time a route keeps back for stitching, and the least that a call is started with.
pub const STITCH_RESERVE: Duration = Duration::from_millis(20);
pub const LEAST_TIME: Duration = Duration::from_millis(10);

/// Whether less than that is left.
pub fn is_too_late(end: Instant, now: Instant) -> bool {
    end < now + LEAST_TIME
}
