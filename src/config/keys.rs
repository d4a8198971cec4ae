//! The one table of every key of every object.
//!
//! The check for unknown keys, the defaults, the JSON Schema and the tables of `docs/reference.md`
//! all come from here. A new key is a line here, a field in
//! [`document`](crate::config::document) and a line where its object is decoded.

use Value::*;

use crate::diagnostic::nearest;

/// One kind of mapping with its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    RouteDocument,
    Input,
    Parameter,
    InputBody,
    Call,
    Retry,
    Fallback,
    Response,
    GatewayDocument,
    Server,
    Limits,
    Timeouts,
    JsonLimits,
    Drain,
    Admin,
    Defaults,
    Service,
    Pool,
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
    Duration,
    DurationRange,
    Size,
    Percentage,
    Address,
    Network,
    Url,
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

const fn key(name: &'static str, value: Value, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        value,
        required: false,
        default,
        doc,
    }
}

const fn required(name: &'static str, value: Value, doc: &'static str) -> Key {
    Key {
        name,
        value,
        required: true,
        default: "",
        doc,
    }
}

const fn count(least: u32, most: u32) -> Value {
    Count { least, most }
}

const MANY: u32 = 1_000_000;

const VERSION: Key = key("version", Version, "1", "the version of the file format");

const ROUTE_DOCUMENT: &[Key] = &[
    VERSION,
    required(
        "route",
        Pattern,
        "method and path of the request; `{name}` is one segment, `{name...}` the rest",
    ),
    key(
        "name",
        Name,
        "made from `route`",
        "name of the route in logs, metrics and on the command line",
    ),
    key(
        "host",
        Host,
        "every host",
        "host the request must be for; case and port do not count",
    ),
    key(
        "timeout",
        Duration,
        "2s",
        "the client has its answer by then",
    ),
    key(
        "input",
        Of(Object::Input),
        "",
        "what the request must look like; a violation is 400 `invalid_input` and no call is made",
    ),
    key(
        "calls",
        Named(&Identifier, Object::Call),
        "",
        "the requests to services, by name; those that do not read each other run at the same time",
    ),
    required("response", Of(Object::Response), "the answer to the client"),
];

const INPUT: &[Key] = &[
    key(
        "path",
        Named(&Text, Object::Parameter),
        "",
        "parameters of the path, by name",
    ),
    key(
        "query",
        Named(&Text, Object::Parameter),
        "",
        "query parameters, by name",
    ),
    key(
        "headers",
        Named(&Text, Object::Parameter),
        "",
        "headers, by name",
    ),
    key(
        "cookies",
        Named(&Text, Object::Parameter),
        "",
        "cookies, by name",
    ),
    key("body", Of(Object::InputBody), "", "the body of the request"),
];

const PARAMETER: &[Key] = &[
    key(
        "type",
        Word(&["string", "integer", "number", "boolean", "array"]),
        "string",
        "what the text is read as; spelled as in JSON, an array by repetition",
    ),
    key("required", Boolean, "false", "whether it must be there"),
    key("default", Literal, "", "stands in where it is not given"),
    key(
        "min",
        Number,
        "",
        "the least value; of a string or an array, the least length",
    ),
    key(
        "max",
        Number,
        "",
        "the greatest value; of a string or an array, the greatest length",
    ),
    key("enum", List(&Literal), "", "the only values allowed"),
    key(
        "pattern",
        Text,
        "",
        "an I-Regexp (RFC 9485) that the whole value must match",
    ),
];

const INPUT_BODY: &[Key] = &[
    key("required", Boolean, "false", "whether there must be a body"),
    key(
        "schema",
        File,
        "",
        "file with the JSON Schema that the body must meet",
    ),
    key("max", Size, "`server.limits.body`", "the largest body"),
];

const CALL: &[Key] = &[
    key("get", Target, "", "GET this path of the service"),
    key("head", Target, "", "HEAD this path of the service"),
    key("post", Target, "", "POST to this path of the service"),
    key("put", Target, "", "PUT to this path of the service"),
    key("patch", Target, "", "PATCH this path of the service"),
    key("delete", Target, "", "DELETE this path of the service"),
    key(
        "service",
        Name,
        "the name of the call",
        "which of `services` is asked",
    ),
    key(
        "query",
        Fields,
        "",
        "query parameters; an absent value leaves its entry out, an array repeats it",
    ),
    key(
        "headers",
        Fields,
        "",
        "headers; an absent value leaves its entry out, an array repeats it",
    ),
    key(
        "forward_headers",
        List(&Text),
        "",
        "headers of the client that are copied",
    ),
    key(
        "forward_query",
        ListOrAll(&Text),
        "",
        "query parameters of the client that are copied; `*` for all",
    ),
    key("json", Template, "", "JSON body"),
    key("form", Fields, "", "form body, by the rules of `query`"),
    key("text", Scalar, "", "text body"),
    key(
        "forward_body",
        Boolean,
        "false",
        "send the client's body with its content type",
    ),
    key(
        "timeout",
        Duration,
        "what the route has left",
        "for all attempts together",
    ),
    key(
        "attempt_timeout",
        Duration,
        "derived from `timeout`",
        "for one attempt",
    ),
    key(
        "retry",
        OrFalse(Object::Retry),
        "on for idempotent methods",
        "when and how often to try again; `false` for never",
    ),
    key(
        "optional",
        Boolean,
        "false",
        "when it fails, its body is null and the route goes on",
    ),
    key(
        "fallback",
        List(&Of(Object::Fallback)),
        "",
        "what stands in when the call fails, in this order",
    ),
    key(
        "when",
        Condition,
        "",
        "the call is skipped unless this holds",
    ),
    key(
        "depends_on",
        List(&Identifier),
        "",
        "calls to wait for although nothing is read from them",
    ),
    key(
        "for_each",
        ForEach,
        "",
        "one call for each element of a list",
    ),
    key(
        "max_items",
        count(1, 100_000),
        "",
        "the longest list for `for_each`; required beside it",
    ),
    key(
        "concurrency",
        count(1, 10_000),
        "8",
        "how many elements of `for_each` are asked for at the same time",
    ),
    key(
        "min_ok",
        Percentage,
        "100%",
        "the share of the elements that must be answered, fallbacks included",
    ),
    key(
        "pass_status",
        List(&ErrorStatus),
        "",
        "statuses of the service that become the client's",
    ),
    key(
        "success_when",
        Condition,
        "status 2xx",
        "condition over `$.reply`",
    ),
    key(
        "take",
        Template,
        "",
        "template over `$.reply` that becomes the body",
    ),
    key(
        "decode",
        Word(&["auto", "json", "text", "none"]),
        "auto",
        "how the body is read",
    ),
    key("max_body", Size, "1MiB", "the largest body of the service"),
    key(
        "idempotency_key",
        Scalar,
        "",
        "sent as `Idempotency-Key`, the same for all attempts",
    ),
    key(
        "safe",
        Boolean,
        "false",
        "a POST that only asks and may be sent again",
    ),
    key(
        "detached",
        Boolean,
        "false",
        "sent after a successful answer; nobody waits for it",
    ),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        count(1, 100),
        "2",
        "how often it is tried, the first time included",
    ),
    key(
        "only",
        List(&RetryReason),
        "[connect, reset, timeout, 502, 503, 504]",
        "what is tried again",
    ),
    key(
        "backoff",
        DurationRange,
        "25ms..250ms",
        "the wait before the second attempt, doubled each time up to the end of the range",
    ),
];

const FALLBACK: &[Key] = &[
    key("call", Identifier, "", "a call that runs only then"),
    key("value", Template, "", "a fixed value"),
    key(
        "only",
        Word(&["not_sent"]),
        "",
        "only when the request surely never arrived",
    ),
];

const RESPONSE: &[Key] = &[
    key("status", Status, "200", "a number, or a path to one"),
    key(
        "headers",
        Fields,
        "",
        "headers; an absent value leaves its entry out, an array repeats it",
    ),
    key("body", Template, "", "JSON body"),
    key("text", Scalar, "", "text body"),
    key(
        "pass",
        Identifier,
        "",
        "the call whose status, headers and body are streamed through",
    ),
];

const GATEWAY_DOCUMENT: &[Key] = &[
    VERSION,
    key("server", Of(Object::Server), "", "the listener for clients"),
    key("admin", Of(Object::Admin), "", "the listener for operators"),
    key(
        "defaults",
        Of(Object::Defaults),
        "",
        "keys of calls that hold where neither call nor service say otherwise",
    ),
    key(
        "services",
        Named(&Name, Object::Service),
        "",
        "the services that calls may ask, by name",
    ),
];

const SERVER: &[Key] = &[
    key("listen", Address, "127.0.0.1:8080", "counts at start only"),
    key(
        "trusted",
        List(&Network),
        "[]",
        "peers whose `x-request-timeout` and `x-forwarded-for` are believed",
    ),
    key("limits", Of(Object::Limits), "", "the most that is taken"),
    key(
        "timeouts",
        Of(Object::Timeouts),
        "",
        "the longest that is waited",
    ),
    key(
        "json",
        Of(Object::JsonLimits),
        "",
        "limits of JSON bodies, in both directions",
    ),
    key("drain", Of(Object::Drain), "", "how a stop goes"),
    key(
        "server_timing",
        Boolean,
        "false",
        "list the calls in `server-timing`",
    ),
];

const LIMITS: &[Key] = &[
    key(
        "connections",
        count(1, MANY),
        "10000",
        "open connections; counts at start only",
    ),
    key(
        "header_bytes",
        Size,
        "32KiB",
        "all headers of a request together",
    ),
    key("headers", count(1, 10_000), "64", "headers of a request"),
    key("uri", Size, "8KiB", "path and query of a request"),
    key("body", Size, "1MiB", "body of a request"),
    key(
        "streams",
        count(1, 10_000),
        "100",
        "requests at a time on one HTTP/2 connection",
    ),
];

const TIMEOUTS: &[Key] = &[
    key(
        "headers",
        Duration,
        "10s",
        "until the head of a request is complete",
    ),
    key(
        "idle",
        Duration,
        "60s",
        "between two requests of a connection",
    ),
    key(
        "write_stall",
        Duration,
        "10s",
        "while the client takes nothing of its answer",
    ),
    key(
        "body_rate",
        Size,
        "1KiB",
        "the least of a body that must arrive in a second",
    ),
];

const JSON_LIMITS: &[Key] = &[
    key(
        "depth",
        count(1, 127),
        "64",
        "arrays and objects in each other",
    ),
    key(
        "nodes",
        count(1, 100_000_000),
        "100000",
        "values in one body",
    ),
];

const DRAIN: &[Key] = &[
    key(
        "grace",
        Duration,
        "5s",
        "new connections are still served after readiness is off",
    ),
    key(
        "max",
        Duration,
        "30s",
        "after this what is still running is cut",
    ),
];

const ADMIN: &[Key] = &[key(
    "listen",
    Address,
    "127.0.0.1:9901",
    "counts at start only",
)];

const DEFAULTS: &[Key] = &[
    key(
        "timeout",
        Duration,
        "what the route has left",
        "for all attempts together",
    ),
    key(
        "attempt_timeout",
        Duration,
        "derived from `timeout`",
        "for one attempt",
    ),
    key(
        "retry",
        OrFalse(Object::Retry),
        "on for idempotent methods",
        "when and how often to try again; `false` for never",
    ),
    key(
        "headers",
        Fields,
        "",
        "headers of every call; joined with those of service and call by name",
    ),
    key("max_body", Size, "1MiB", "the largest body of a service"),
];

const SERVICE: &[Key] = &[
    key(
        "url",
        Url,
        "",
        "where the service is: `http://host:port/path`",
    ),
    key("urls", List(&Url), "", "its addresses, if it has several"),
    key(
        "http",
        Word(&["auto", "1", "2"]),
        "auto",
        "version of HTTP; `2` without TLS is prior knowledge",
    ),
    key(
        "connect_timeout",
        Duration,
        "1s",
        "to connect, TLS included",
    ),
    key("pool", Of(Object::Pool), "", "connections that are kept"),
    key("tls", Of(Object::Tls), "", "certificates for `https`"),
    key(
        "timeout",
        Duration,
        "that of `defaults`",
        "for all attempts together",
    ),
    key(
        "attempt_timeout",
        Duration,
        "that of `defaults`",
        "for one attempt",
    ),
    key(
        "retry",
        OrFalse(Object::Retry),
        "that of `defaults`",
        "when and how often to try again; `false` for never",
    ),
    key("headers", Fields, "", "headers of every call to it"),
    key("max_body", Size, "that of `defaults`", "the largest body"),
];

const POOL: &[Key] = &[
    key(
        "idle",
        Duration,
        "4s",
        "how long a connection is kept unused",
    ),
    key(
        "max_idle",
        count(0, 100_000),
        "64",
        "unused connections kept for each address",
    ),
    key(
        "max_age",
        Duration,
        "5m",
        "after this a connection is not used again",
    ),
];

const TLS: &[Key] = &[
    key(
        "ca",
        File,
        "the system's",
        "file with the certificates to trust (PEM)",
    ),
    key(
        "cert",
        File,
        "",
        "file with our certificate (PEM); together with `key`",
    ),
    key("key", File, "", "file with its private key (PEM)"),
    key(
        "server_name",
        Host,
        "the host of the URL",
        "the name in the service's certificate",
    ),
];

/// The help for keys of the format that are not built.
const NOT_YET: &str = "remove it: this version does not have it";

// === impl Object ===

impl Object {
    /// In the order of the reference.
    pub const ALL: &[Object] = &[
        Object::RouteDocument,
        Object::Input,
        Object::Parameter,
        Object::InputBody,
        Object::Call,
        Object::Retry,
        Object::Fallback,
        Object::Response,
        Object::GatewayDocument,
        Object::Server,
        Object::Limits,
        Object::Timeouts,
        Object::JsonLimits,
        Object::Drain,
        Object::Admin,
        Object::Defaults,
        Object::Service,
        Object::Pool,
        Object::Tls,
    ];

    pub fn keys(self) -> &'static [Key] {
        match self {
            Object::RouteDocument => ROUTE_DOCUMENT,
            Object::Input => INPUT,
            Object::Parameter => PARAMETER,
            Object::InputBody => INPUT_BODY,
            Object::Call => CALL,
            Object::Retry => RETRY,
            Object::Fallback => FALLBACK,
            Object::Response => RESPONSE,
            Object::GatewayDocument => GATEWAY_DOCUMENT,
            Object::Server => SERVER,
            Object::Limits => LIMITS,
            Object::Timeouts => TIMEOUTS,
            Object::JsonLimits => JSON_LIMITS,
            Object::Drain => DRAIN,
            Object::Admin => ADMIN,
            Object::Defaults => DEFAULTS,
            Object::Service => SERVICE,
            Object::Pool => POOL,
            Object::Tls => TLS,
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
            Object::Retry => "`retry`",
            Object::Fallback => "an entry of `fallback`",
            Object::Response => "`response`",
            Object::GatewayDocument => "a gateway document",
            Object::Server => "`server`",
            Object::Limits => "`limits`",
            Object::Timeouts => "`timeouts`",
            Object::JsonLimits => "`json`",
            Object::Drain => "`drain`",
            Object::Admin => "`admin`",
            Object::Defaults => "`defaults`",
            Object::Service => "a service",
            Object::Pool => "`pool`",
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
            Object::Retry => "`retry`",
            Object::Fallback => "`calls.NAME.fallback[]`",
            Object::Response => "`response`",
            Object::GatewayDocument => {
                "a document with `server`, `admin`, `services` or `defaults`"
            }
            Object::Server => "`server`",
            Object::Limits => "`server.limits`",
            Object::Timeouts => "`server.timeouts`",
            Object::JsonLimits => "`server.json`",
            Object::Drain => "`server.drain`",
            Object::Admin => "`admin`",
            Object::Defaults => "`defaults`",
            Object::Service => "`services.NAME`",
            Object::Pool => "`services.NAME.pool`",
            Object::Tls => "`services.NAME.tls`",
        }
    }

    /// What to write instead of a key that is often meant but does not exist.
    pub fn instead(self, written: &str) -> Option<&'static str> {
        let pairs: &[(&str, &str)] = match self {
            Object::Call => &[
                ("batch", NOT_YET),
                ("cache", NOT_YET),
                ("coalesce", NOT_YET),
                ("hedge", NOT_YET),
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
            Object::Fallback => &[("default", "write `value`"), ("stale", NOT_YET)],
            Object::RouteDocument => &[
                ("path", "write `route: GET /path`"),
                ("method", "write `route: GET /path`"),
                ("steps", "write `calls`"),
            ],
            Object::Service => &[
                ("address", "write `url`"),
                ("host", "write `url`"),
                ("breaker", NOT_YET),
                ("budget", NOT_YET),
                ("bulkhead", NOT_YET),
            ],
            _ => &[],
        };
        pairs
            .iter()
            .find(|(name, _)| *name == written)
            .map(|(_, help)| *help)
    }
}
