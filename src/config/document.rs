//! The documents as typed: one struct per object, a place on everything a later error may point at.
//!
//! Only shapes are decided here: which keys there are, what kind of value each holds, which of them
//! exclude each other. What a name refers to and what a template means is for `plan`, so everything
//! that may hold a path or a hole stays a [`Node`]. Take the structs apart without `..`: a new key is
//! then a compile error until someone uses it.
//!
//! A document with findings is still given, as far as it could be understood, so that one fault does
//! not hide another: a key whose value was at fault reads as if it had not been written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::node::{Entry, Node};
use crate::diagnostic::Span;
use crate::policy::hedge;
use crate::policy::shed::Priority;

/// A value with its place. `key` is the place of the key that holds it; in a list, of itself.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
    pub key: Span,
    /// Whether `${…}` stands in it: then it may be secret.
    pub is_filled: bool,
}

impl Spanned<String> {
    /// The value as a finding may show it.
    pub fn shown(&self) -> &str {
        match self.is_filled {
            true => "${…}",
            false => &self.value,
        }
    }
}

/// All documents of all files, as one configuration.
#[derive(Clone, Debug)]
pub struct Documents {
    /// In the order of the files, then of the documents.
    pub routes: Vec<Route>,
    pub server: Server,
    pub admin: Admin,
    pub cache: Cache,
    pub defaults: Shared,
    /// In the order of the files; no name stands twice.
    pub services: Vec<Service>,
    /// Every file and folder that was read or looked for: the configuration's own files, the folders
    /// they were found in, and the files that documents name, also those that are missing.
    pub watched: Vec<PathBuf>,
    /// Whether every document could be read. If not, a name may be missing through no fault of who
    /// uses it.
    pub complete: bool,
}

/// A file that a document names (a schema, a certificate), as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for NamedFile {
    /// Its content may be a private key, so it is not shown.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NamedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

// === a route document ===

#[derive(Clone, Debug)]
pub struct Route {
    /// The whole document.
    pub span: Span,
    /// `GET /v1/products/{id}`: a text node, or a broken one.
    pub route: Spanned<Node>,
    /// As written, or made from `route` (then with its place); empty if `route` is broken.
    pub name: Spanned<String>,
    pub host: Option<Spanned<String>>,
    pub timeout: Option<Spanned<Duration>>,
    pub priority: Option<Spanned<Priority>>,
    pub input: Option<Spanned<Input>>,
    /// In the order of the file.
    pub calls: Vec<Call>,
    /// False where a finding was made about `calls` itself, so that there may be more of them.
    pub calls_are_known: bool,
    /// None only where a finding was made: the key is required.
    pub response: Option<Spanned<Response>>,
}

#[derive(Clone, Debug, Default)]
pub struct Input {
    pub path: Vec<Parameter>,
    pub query: Vec<Parameter>,
    /// Names as written, in any case.
    pub headers: Vec<Parameter>,
    pub cookies: Vec<Parameter>,
    pub body: Option<Spanned<InputBody>>,
}

#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: Spanned<String>,
    /// Default: string.
    pub kind: Option<Spanned<ParameterKind>>,
    pub required: Option<Spanned<bool>>,
    pub default: Option<Spanned<Node>>,
    /// A JSON number, digit by digit.
    pub min: Option<Spanned<String>>,
    pub max: Option<Spanned<String>>,
    pub one_of: Option<Spanned<Vec<Node>>>,
    pub pattern: Option<Spanned<Node>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

#[derive(Clone, Debug, Default)]
pub struct InputBody {
    pub required: Option<Spanned<bool>>,
    pub schema: Option<Spanned<NamedFile>>,
    pub max: Option<Spanned<u64>>,
}

#[derive(Clone, Debug)]
pub struct Response {
    /// A number or a text node.
    pub status: Option<Spanned<Node>>,
    pub headers: Option<Spanned<Vec<Entry>>>,
    pub body: Option<Spanned<ResponseBody>>,
    /// `cache: computed`.
    pub cache: Option<Spanned<Computed>>,
}

/// The answer's `cache-control`, `age`, `etag` and `vary` come from its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computed;

#[derive(Clone, Debug)]
pub enum ResponseBody {
    Json(Node),
    /// A scalar.
    Text(Node),
    /// The name of a call.
    Pass(String),
}

// === a call ===

#[derive(Clone, Debug)]
pub struct Call {
    pub name: Spanned<String>,
    /// None only where a finding was made: exactly one method key is required.
    pub target: Option<Target>,
    pub service: Option<Spanned<String>>,
    pub query: Option<Spanned<Vec<Entry>>>,
    pub headers: Option<Spanned<Vec<Entry>>>,
    pub forward_headers: Option<Spanned<Vec<Spanned<String>>>>,
    pub forward_query: Option<Spanned<ForwardQuery>>,
    pub payload: Option<Spanned<Payload>>,
    pub timeout: Option<Spanned<Duration>>,
    pub attempt_timeout: Option<Spanned<Duration>>,
    pub retry: Option<Spanned<Retry>>,
    /// `None` also where it is switched off.
    pub hedge: Option<Spanned<Hedge>>,
    pub optional: Option<Spanned<bool>>,
    pub fallback: Option<Spanned<Vec<Fallback>>>,
    pub when: Option<Spanned<Node>>,
    pub depends_on: Option<Spanned<Vec<Spanned<String>>>>,
    /// `p in PATH`: a text node.
    pub for_each: Option<Spanned<Node>>,
    pub max_items: Option<Spanned<u32>>,
    pub concurrency: Option<Spanned<u32>>,
    pub min_ok: Option<Spanned<Percentage>>,
    pub batch: Option<Spanned<Batch>>,
    pub pass_status: Option<Spanned<Vec<Spanned<u16>>>>,
    pub success_when: Option<Spanned<Node>>,
    pub take: Option<Spanned<Node>>,
    pub decode: Option<Spanned<Decode>>,
    pub max_body: Option<Spanned<u64>>,
    pub cache: Option<Spanned<Caching>>,
    pub coalesce: Option<Spanned<Coalesce>>,
    pub idempotency_key: Option<Spanned<Node>>,
    pub safe: Option<Spanned<bool>>,
    pub detached: Option<Spanned<bool>>,
}

impl Call {
    /// The calls that its chain names.
    pub fn fallback_calls(&self) -> impl Iterator<Item = &Spanned<String>> {
        let chain = self.fallback.iter().flat_map(|chain| &chain.value);
        chain.filter_map(|entry| match &entry.source {
            FallbackSource::Call(name) => Some(name),
            FallbackSource::Stale(_) | FallbackSource::Value(_) => None,
        })
    }
}

/// The method key of a call and the path under it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its place is the key's.
    pub method: Spanned<http::Method>,
    /// A text node.
    pub path: Node,
}

#[derive(Clone, Debug)]
pub enum ForwardQuery {
    All,
    Names(Vec<Spanned<String>>),
}

#[derive(Clone, Debug)]
pub enum Payload {
    Json(Node),
    Form(Vec<Entry>),
    /// A scalar.
    Text(Node),
    /// `forward_body: true` (`false` is as if it were not written).
    Forward,
}

#[derive(Clone, Debug)]
pub enum Retry {
    Off,
    On(RetryOptions),
}

#[derive(Clone, Debug, Default)]
pub struct RetryOptions {
    /// The first included; at least 1.
    pub attempts: Option<Spanned<u32>>,
    pub only: Option<Spanned<Vec<Spanned<RetryOn>>>>,
    pub backoff: Option<Spanned<DurationRange>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryOn {
    Connect,
    Reset,
    Timeout,
    /// 400 to 599.
    Status(u16),
}

#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    pub after: Spanned<hedge::After>,
}

/// `25ms..250ms`; the first is not above the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationRange {
    pub from: Duration,
    pub to: Duration,
}

/// One request for many elements of a `for_each`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the service knows an element by: a scalar over the loop variable. None only where a
    /// finding was made, like the two below.
    pub key: Option<Spanned<Node>>,
    /// The most keys of one request.
    pub size: Option<Spanned<u32>>,
    /// A path over `$.reply` to the rows.
    pub rows: Option<Spanned<Node>>,
    /// The key of a row: a scalar over `$.row`.
    pub of_row: Option<Spanned<Node>>,
}

/// `cache` of a call, a service or the defaults.
#[derive(Clone, Debug)]
pub enum Caching {
    Off,
    On(CacheOptions),
}

#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// None only where a finding was made.
    pub ttl: Option<Spanned<Ttl>>,
    pub stale_while_revalidate: Option<Spanned<Duration>>,
    pub stale_if_error: Option<Spanned<Duration>>,
    pub negative: Option<Spanned<Duration>>,
}

/// How long an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    For(Duration),
    FromHeaders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesce {
    /// Where `cache` is on.
    Auto,
    On,
    Off,
}

#[derive(Clone, Debug)]
pub struct Fallback {
    /// The whole entry.
    pub span: Span,
    pub source: FallbackSource,
    /// `only: not_sent`.
    pub only_not_sent: Option<Span>,
}

#[derive(Clone, Debug)]
pub enum FallbackSource {
    Stale(Spanned<Duration>),
    Call(Spanned<String>),
    Value(Spanned<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    Auto,
    Json,
    Text,
    None,
}

/// In hundredths of a percent, 0 to 10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(pub u16);

// === the gateway document ===

/// The keys of a call that `defaults` and a service may hold.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    pub timeout: Option<Spanned<Duration>>,
    pub attempt_timeout: Option<Spanned<Duration>>,
    pub retry: Option<Spanned<Retry>>,
    pub headers: Option<Spanned<Vec<Entry>>>,
    pub cache: Option<Spanned<Caching>>,
    pub coalesce: Option<Spanned<Coalesce>>,
    pub max_body: Option<Spanned<u64>>,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub name: Spanned<String>,
    /// At least one, unless a finding was made.
    pub urls: Vec<Spanned<Url>>,
    pub http: HttpVersion,
    pub connect_timeout: Duration,
    pub pool: Pool,
    /// `None`: `false`.
    pub breaker: Option<Breaker>,
    /// `None`: `false`.
    pub bulkhead: Option<Bulkhead>,
    pub budget: Budget,
    pub tls: Option<Spanned<Tls>>,
    pub shared: Shared,
}

/// `http://host:port/path`: no user, no query, no fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    pub tls: bool,
    /// In lower case; an IPv6 address has its brackets.
    pub host: String,
    pub port: u16,
    /// Without a final `/`; may be empty.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    Auto,
    One,
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub idle: Duration,
    pub max_idle: u32,
    pub max_age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    pub consecutive: u32,
    pub window: Duration,
    pub success_rate: Percentage,
    pub min_requests: u32,
    pub open: DurationRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    pub max: u32,
    pub queue: u32,
    pub max_wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub ratio: Percentage,
    pub per_second: u32,
}

#[derive(Clone, Debug)]
pub struct Tls {
    pub ca: Option<Spanned<NamedFile>>,
    /// Stands with `key`, or neither does.
    pub cert: Option<Spanned<NamedFile>>,
    pub key: Option<Spanned<NamedFile>>,
    pub server_name: Option<Spanned<String>>,
}

/// Holds the defaults of the contract where nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub trusted: Vec<ipnet::IpNet>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub json: JsonLimits,
    pub shed: Shed,
    pub drain: Drain,
    pub server_timing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: u32,
    pub header_bytes: u64,
    pub headers: u32,
    pub uri: u64,
    pub body: u64,
    pub streams: u32,
    /// `None`: `off`.
    pub per_address: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub headers: Duration,
    pub idle: Duration,
    pub write_stall: Duration,
    /// Bytes a second.
    pub body_rate: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    pub depth: u32,
    pub nodes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    pub lag: Duration,
    pub in_flight: u32,
    pub memory: Memory,
    /// Where `memory` is written.
    pub memory_span: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Above zero.
    Share(Percentage),
    /// Bytes.
    Size(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    pub grace: Duration,
    pub max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes.
    pub memory: u64,
    pub redis: Option<Redis>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub url: Secret,
    pub timeout: Duration,
}

/// Text that is not to be shown, such as a URL with a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
