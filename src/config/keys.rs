//! The one table of every key of every object.
//!
//! The check for unknown keys, the defaults, the JSON Schema and the tables of `docs/reference.md`
//! all come from here. A new key is a line here, a field in
//! [`document`](crate::config::document) and a line where its object is decoded.

mod table;

use crate::diagnostic::nearest;

/// One kind of mapping with its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    RouteDocument,
    Input,
    Parameter,
    InputBody,
    Call,
    Batch,
    Caching,
    Retry,
    Hedge,
    Fallback,
    Response,
    GatewayDocument,
    Server,
    Limits,
    Timeouts,
    JsonLimits,
    Shed,
    Drain,
    Admin,
    Cache,
    Defaults,
    Service,
    Pool,
    Breaker,
    Bulkhead,
    Budget,
    Tls,
}

/// One key of an object.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub value: Value,
    pub required: bool,
    /// As it would be written; empty if there is none.
    pub default: &'static str,
    /// One sentence, without its full stop.
    pub doc: &'static str,
}

/// The kind of value that a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Version,
    /// `GET /v1/products/{id}`.
    Pattern,
    Host,
    /// Of a route or service.
    Name,
    /// Of a call or variable.
    Identifier,
    Text,
    Boolean,
    Count {
        least: u32,
        most: u32,
    },
    Number,
    /// A number, or `off`.
    CountOrOff {
        least: u32,
        most: u32,
    },
    Duration,
    DurationRange,
    /// `90ms`, or a percentile: `p95`.
    Delay,
    /// `5m`, or `from_headers`.
    Ttl,
    /// `auto`, `true` or `false`.
    AutoOrBoolean,
    /// A path alone.
    Path,
    Size,
    Percentage,
    /// A share above zero, or a size.
    ShareOrSize,
    Address,
    Network,
    Url,
    RedisUrl,
    File,
    Word(&'static [&'static str]),
    ErrorStatus,
    RetryReason,
    /// A status or a path to one.
    Status,
    /// One scalar with paths or holes.
    Scalar,
    /// The path of a call.
    Target,
    Condition,
    /// `p in PATH`.
    ForEach,
    /// Any JSON with paths and holes.
    Template,
    /// Any JSON as it is.
    Literal,
    /// A mapping of scalars, or lists of them, with paths and holes.
    Fields,
    List(&'static Value),
    /// A list, or `*`.
    ListOrAll(&'static Value),
    Of(Object),
    /// An object, or `false`.
    OrFalse(Object),
    /// A mapping of names of the first kind to objects.
    Named(&'static Value, Object),
}

// === impl Object ===

impl Object {
    /// In the order of the reference.
    pub const ALL: &[Object] = &[
        Object::RouteDocument,
        Object::Input,
        Object::Parameter,
        Object::InputBody,
        Object::Call,
        Object::Batch,
        Object::Caching,
        Object::Retry,
        Object::Hedge,
        Object::Fallback,
        Object::Response,
        Object::GatewayDocument,
        Object::Server,
        Object::Limits,
        Object::Timeouts,
        Object::JsonLimits,
        Object::Shed,
        Object::Drain,
        Object::Admin,
        Object::Cache,
        Object::Defaults,
        Object::Service,
        Object::Pool,
        Object::Breaker,
        Object::Bulkhead,
        Object::Budget,
        Object::Tls,
    ];

    pub fn keys(self) -> &'static [Key] {
        match self {
            Object::RouteDocument => table::ROUTE_DOCUMENT,
            Object::Input => table::INPUT,
            Object::Parameter => table::PARAMETER,
            Object::InputBody => table::INPUT_BODY,
            Object::Call => table::CALL,
            Object::Batch => table::BATCH,
            Object::Caching => table::CACHING,
            Object::Retry => table::RETRY,
            Object::Hedge => table::HEDGE,
            Object::Fallback => table::FALLBACK,
            Object::Response => table::RESPONSE,
            Object::GatewayDocument => table::GATEWAY_DOCUMENT,
            Object::Server => table::SERVER,
            Object::Limits => table::LIMITS,
            Object::Timeouts => table::TIMEOUTS,
            Object::JsonLimits => table::JSON_LIMITS,
            Object::Shed => table::SHED,
            Object::Drain => table::DRAIN,
            Object::Admin => table::ADMIN,
            Object::Cache => table::CACHE,
            Object::Defaults => table::DEFAULTS,
            Object::Service => table::SERVICE,
            Object::Pool => table::POOL,
            Object::Breaker => table::BREAKER,
            Object::Bulkhead => table::BULKHEAD,
            Object::Budget => table::BUDGET,
            Object::Tls => table::TLS,
        }
    }

    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// The key that was meant, for one that does not exist.
    pub fn nearest(self, written: &str) -> Option<&'static str> {
        nearest(written, self.keys().iter().map(|key| key.name))
    }

    /// What it is called in findings.
    pub fn what(self) -> &'static str {
        match self {
            Object::RouteDocument => "a route document",
            Object::Input => "`input`",
            Object::Parameter => "an entry of `input`",
            Object::InputBody => "`input.body`",
            Object::Call => "a call",
            Object::Batch => "`batch`",
            Object::Caching => "`cache` of a call",
            Object::Retry => "`retry`",
            Object::Hedge => "`hedge`",
            Object::Fallback => "an entry of `fallback`",
            Object::Response => "`response`",
            Object::GatewayDocument => "a gateway document",
            Object::Server => "`server`",
            Object::Limits => "`limits`",
            Object::Timeouts => "`timeouts`",
            Object::JsonLimits => "`json`",
            Object::Shed => "`shed`",
            Object::Drain => "`drain`",
            Object::Admin => "`admin`",
            Object::Cache => "`cache`",
            Object::Defaults => "`defaults`",
            Object::Service => "a service",
            Object::Pool => "`pool`",
            Object::Breaker => "`breaker`",
            Object::Bulkhead => "`bulkhead`",
            Object::Budget => "`budget`",
            Object::Tls => "`tls`",
        }
    }

    /// Where it stands in a document.
    pub fn place(self) -> &'static str {
        match self {
            Object::RouteDocument => "a document with `route`",
            Object::Input => "`input`",
            Object::Parameter => {
                "`input.path.NAME`, `input.query.NAME`, `input.headers.NAME`, `input.cookies.NAME`"
            }
            Object::InputBody => "`input.body`",
            Object::Call => "`calls.NAME`",
            Object::Batch => "`calls.NAME.batch`",
            Object::Caching => "`cache` of a call, a service or `defaults`",
            Object::Retry => "`retry`",
            Object::Hedge => "`calls.NAME.hedge`",
            Object::Fallback => "`calls.NAME.fallback[]`",
            Object::Response => "`response`",
            Object::GatewayDocument => {
                "a document with `server`, `admin`, `cache`, `services` or `defaults`"
            }
            Object::Server => "`server`",
            Object::Limits => "`server.limits`",
            Object::Timeouts => "`server.timeouts`",
            Object::JsonLimits => "`server.json`",
            Object::Shed => "`server.shed`",
            Object::Drain => "`server.drain`",
            Object::Admin => "`admin`",
            Object::Cache => "`cache`",
            Object::Defaults => "`defaults`",
            Object::Service => "`services.NAME`",
            Object::Pool => "`services.NAME.pool`",
            Object::Breaker => "`services.NAME.breaker`",
            Object::Bulkhead => "`services.NAME.bulkhead`",
            Object::Budget => "`services.NAME.budget`",
            Object::Tls => "`services.NAME.tls`",
        }
    }

    /// What to write instead of a key that is often meant but does not exist.
    pub fn instead(self, written: &str) -> Option<&'static str> {
        let pairs: &[(&str, &str)] = match self {
            Object::Call => &[
                ("body", "write `json`, `form`, `text` or `forward_body`"),
                ("method", "the method is the key of the path: `get: /path`"),
                ("path", "the path is the value of its method: `get: /path`"),
                ("url", "the path is the value of its method: `get: /path`"),
                ("if", "write `when`"),
                ("params", "write `query`"),
                ("needs", "write `depends_on`"),
                ("retries", "write `retry: { attempts: 3 }`"),
                (
                    "required",
                    "a call is required unless it says `optional: true`",
                ),
            ],
            Object::Response => &[("json", "write `body`"), ("code", "write `status`")],
            Object::Fallback => &[("default", "write `value`")],
            Object::RouteDocument => &[
                ("path", "write `route: GET /path`"),
                ("method", "write `route: GET /path`"),
                ("steps", "write `calls`"),
            ],
            Object::Service => &[("address", "write `url`"), ("host", "write `url`")],
            _ => &[],
        };
        pairs
            .iter()
            .find(|(name, _)| *name == written)
            .map(|(_, help)| *help)
    }
}
