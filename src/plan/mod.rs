//! The immutable program: what a configuration means, with every name resolved to an index.
//!
//! [`compile::compile`] is the only way to get a [`Table`]; a table is never changed afterwards. At run
//! time nothing an operator wrote is parsed again. Read [`compile`] next to see how it is made,
//! [`matcher`] for how a request finds its route, [`settings`] for what is not about routes.

pub mod compile;
pub mod matcher;
pub mod pattern;
pub mod settings;
pub mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::json::{self, Demand, Slot};
use crate::path::{Condition, Root};
use crate::policy::hedge;
use crate::policy::shed::Priority;
use crate::template::Text;
use crate::template::choice::Choice;
use crate::template::json::Json;

/// One configuration, compiled: all plans, the services they call, and the matcher.
#[derive(Debug)]
pub struct Table {
    pub server: settings::Server,
    pub admin: settings::Admin,
    pub cache: settings::Cache,
    pub services: Vec<settings::Service>,
    pub routes: Vec<Arc<Route>>,
    pub matcher: matcher::Matcher,
    /// The files that belong to the configuration, as the operator would name them.
    pub files: Vec<String>,
    /// Everything whose change may change the configuration: files and named secrets.
    pub watched: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub usize);

/// The place of a call in its route, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub usize);

/// What a client asks, compiled: the plan of one route.
#[derive(Debug)]
pub struct Route {
    /// Its place in [`Table::routes`].
    pub index: usize,
    pub name: String,
    pub method: Method,
    /// The path pattern as written, `/v1/products/{id}`.
    pub pattern: String,
    /// Lower case, without a port.
    pub host: Option<String>,
    /// The names of the path's parameters, in order; the last may be a rest parameter.
    pub parameters: Vec<String>,
    pub has_rest: bool,
    pub timeout: Duration,
    pub priority: Priority,
    pub input: Input,
    pub calls: Vec<Call>,
    pub response: Response,
    /// What each [`Root`] of this route stands for.
    pub sources: Vec<Source>,
    /// What is read of the client's body; `None` where nobody reads it as JSON.
    pub body_demand: Option<Demand>,
    /// Some call sends the client's bytes on.
    pub forwards_body: bool,
    /// The call whose request streams while the client still sends (`forward_body` beside `pass`).
    pub streams_request: bool,
    pub json_limits: json::Limits,
    /// `file:line` of the document, for status pages.
    pub place: String,
}

/// What a root stands for in the context document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Request(RequestPart),
    Call(CallId, CallPart),
    /// The element of a `for_each` call that belongs to the loop variable in force.
    Each(CallId, Root, CallPart),
    /// The array of results of a `for_each` call.
    Results(CallId),
    Errors,
    Degraded,
    /// A loop variable, by its name, with what its list was read from: its value is found in the
    /// frames, never in the scope.
    Variable(String, Root),
    /// `$.reply` in `success_when` and `take`: the parts `Whole`, `Body`, `Status` and `Headers`.
    Reply(CallPart),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestPart {
    Whole,
    Method,
    Host,
    /// All parameters, or the one of this place.
    Path(Option<usize>),
    Query(Option<String>),
    QueryList(Option<String>),
    Headers(Option<HeaderName>),
    Cookies(Option<String>),
    Body(Slot),
    Id,
    Client,
    ClientIp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallPart {
    Whole,
    Body(Slot),
    Status,
    Headers(Option<HeaderName>),
    Source,
    Error,
    ErrorCode,
    ErrorStatus,
}

/// One downstream request of a route.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    pub service: ServiceId,
    pub role: Role,
    pub method: Method,
    /// The path on the service, to be put behind the endpoint's own.
    pub path: Text,
    pub query: Vec<(String, Part)>,
    pub headers: Vec<(HeaderName, Part)>,
    pub forward_headers: Vec<HeaderName>,
    pub forward_query: ForwardQuery,
    pub body: Body,
    /// For all attempts together; `None`: what the route has left.
    pub timeout: Option<Duration>,
    /// For one attempt, derived when the file is read.
    pub attempt_timeout: Duration,
    pub retry: Retry,
    /// When it is asked a second time while the first is silent; only of safe methods.
    pub hedge: Option<hedge::After>,
    pub optional: bool,
    pub fallback: Vec<Fallback>,
    pub when: Option<Condition>,
    /// `when` reads the loop variable, so it is asked for each element.
    pub when_per_element: bool,
    /// The calls that must be settled before this one starts.
    pub needs: Vec<CallId>,
    /// The calls that wait for this one.
    pub unblocks: Vec<CallId>,
    pub for_each: Option<ForEach>,
    pub pass_status: Vec<u16>,
    pub success_when: Option<Condition>,
    pub take: Option<Json>,
    pub decode: Decode,
    pub max_body: usize,
    /// Only of calls that ask.
    pub cache: Option<Cache>,
    /// One request at a time for calls that would send the same; only of calls that ask.
    pub coalesce: bool,
    pub idempotency_key: Option<Text>,
    /// The bytes may be sent again after an unknown outcome: idempotent by method, key or `safe`.
    pub repeatable: bool,
    /// A POST or PATCH without `safe: true`.
    pub write: bool,
    /// What the key of its answers begins with, so that two calls share one only if they would take
    /// the same answer for a success: the service's origin, `decode` and `success_when`.
    pub key_prefix: String,
    /// All headers of its answers are kept: somebody reads them, or they may be read later. Else only
    /// those that say how to take the body.
    pub keeps_headers: bool,
    /// What is read of the service's body as it came (and, without `take` and `batch`, of `.body`).
    pub raw_demand: Demand,
    /// With `take` or `batch`: what is read of what `take` gives, or of a row.
    pub taken_demand: Option<Demand>,
}

impl Call {
    /// Its good answers are kept for `stale`.
    pub fn keeps_answers(&self) -> bool {
        let mut chain = self.fallback.iter();
        chain.any(|fallback| matches!(fallback.kind, FallbackKind::Stale(_)))
    }

    /// Which service it asks, and where: the part of `key_prefix` that is not about the answer.
    pub fn origin(&self) -> &str {
        let mut ends = self.key_prefix.match_indices('\u{1e}').map(|(at, _)| at);
        match ends.nth(1) {
            Some(end) => &self.key_prefix[..end],
            None => &self.key_prefix,
        }
    }

    /// One request is for many elements.
    pub fn batch(&self) -> Option<&Batch> {
        self.for_each.as_ref()?.batch.as_ref()
    }

    /// It is asked and nothing more: a GET, a HEAD, or a POST or PATCH that is `safe`.
    pub fn asks(&self) -> bool {
        !self.write && !matches!(self.method, Method::PUT | Method::DELETE)
    }

    /// What is read of `.body`, whether it came from the service or from a fallback.
    pub fn body_demand(&self) -> &Demand {
        self.taken_demand.as_ref().unwrap_or(&self.raw_demand)
    }
}

/// When a call starts, and who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts as soon as its needs are met.
    Normal,
    /// Named only in `fallback`s: starts only when a chain comes to it, within its owner.
    Fallback,
    /// Sent after a successful answer.
    Detached,
    /// `response: { pass: … }`: starts when all others are settled.
    Pass,
}

/// A value in a query, a header or a form.
#[derive(Clone, Debug)]
pub enum Part {
    Constant(String),
    /// Keeps arrays (each element is one entry); absent leaves the entry out.
    Choice(Choice),
    Text(Text),
    /// Several entries under one name.
    List(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardQuery {
    Names(Vec<String>),
    All,
}

#[derive(Clone, Debug)]
pub enum Body {
    None,
    Json(Json),
    Form(Vec<(String, Part)>),
    Text(Text),
    /// The client's bytes with their content type.
    Forward,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Counts the first.
    pub attempts: u32,
    pub connect: bool,
    pub reset: bool,
    pub timeout: bool,
    pub statuses: Vec<u16>,
    /// Before retry n: a random wait in 0..min(first · 2ⁿ⁻¹, last).
    pub backoff: (Duration, Duration),
}

#[derive(Debug)]
pub struct Fallback {
    pub only_not_sent: bool,
    pub kind: FallbackKind,
}

#[derive(Debug)]
pub enum FallbackKind {
    /// The last good answer by the same key, if it is no older.
    Stale(Duration),
    Value(Json),
    Call(CallId),
}

#[derive(Debug)]
pub struct ForEach {
    pub variable: Root,
    pub source: Choice,
    pub max_items: usize,
    pub concurrency: usize,
    /// In percent, 0 to 100. An optional call has no floor: 0.
    pub min_ok: f64,
    pub batch: Option<Batch>,
}

impl ForEach {
    /// The requests that its elements take at most, without what stands in for them.
    pub fn requests(&self) -> usize {
        match &self.batch {
            Some(batch) => self.max_items.div_ceil(batch.size.max(1)),
            None => self.max_items,
        }
    }
}

/// One request for many elements of a `for_each`.
#[derive(Debug)]
pub struct Batch {
    /// What the service knows an element by, over the loop variable; absent: nothing is asked for it.
    pub key: Text,
    /// The list of keys that a request is for: in force where the call itself is rendered.
    pub keys: Root,
    /// The most keys of one request.
    pub size: usize,
    /// The rows, over `$.reply`.
    pub rows: Choice,
    /// A row: in force in `of_row` and `take`.
    pub row: Root,
    /// The key that a row belongs to.
    pub of_row: Text,
    /// What tells kept rows from answers, and from the rows of a call that takes answers apart in
    /// another way: `rows` and `match` as they are written.
    pub form: String,
}

/// How answers of a call are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    pub ttl: Ttl,
    /// `None`: what the headers say, where the time to live is theirs; else none.
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// How long a 404 or 410 is kept.
    pub negative: Option<Duration>,
}

/// How long an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    For(Duration),
    /// By RFC 9111.
    FromHeaders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    Auto,
    Json,
    Text,
    None,
}

#[derive(Debug)]
pub struct Response {
    pub status: Status,
    pub headers: Vec<(HeaderName, Part)>,
    pub body: ResponseBody,
    /// With `cache: computed`: `cache-control`, `age`, `etag` and `vary` come from the parts of the
    /// answer.
    pub computed: Option<Computed>,
}

/// What is known of a computed answer before it is made.
#[derive(Debug)]
pub struct Computed {
    /// What of the client's request it depends on, as `vary` has it.
    pub vary: Option<HeaderValue>,
    /// It depends on who asks: on the address, or on credentials that the route itself reads.
    pub is_private: bool,
    /// The calls that send credentials: what they are answered is for one client, unless the service
    /// says otherwise.
    pub with_credentials: Vec<CallId>,
}

#[derive(Debug)]
pub enum Status {
    Constant(u16),
    Choice(Choice),
}

#[derive(Debug)]
pub enum ResponseBody {
    None,
    Json(Json),
    Text(Text),
    Pass(CallId),
}

/// What a request must look like before any call is made.
#[derive(Debug, Default)]
pub struct Input {
    pub path: Vec<Parameter>,
    pub query: Vec<Parameter>,
    pub headers: Vec<Parameter>,
    pub cookies: Vec<Parameter>,
    pub body: Option<InputBody>,
}

#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    pub kind: ParameterType,
    pub required: bool,
    /// JSON bytes.
    pub default: Option<Box<[u8]>>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// JSON bytes of each allowed value.
    pub allowed: Vec<Box<[u8]>>,
    /// The I-Regexp (RFC 9485) as written, and compiled to match the whole value.
    pub pattern: Option<(String, regex::Regex)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    Text,
    Integer,
    Number,
    Boolean,
    Array,
}

#[derive(Debug)]
pub struct InputBody {
    pub required: bool,
    pub schema: Option<jsonschema::Validator>,
    /// Bytes; at most `server.limits.body`.
    pub max: usize,
}
