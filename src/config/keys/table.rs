//! The lines of the table.

use super::Value::*;
use super::{Key, Object, Value};

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

const fn cache(default: &'static str) -> Key {
    key(
        "cache",
        OrFalse(Object::Caching),
        default,
        "keep answers and give them again while they are fresh; only of calls that ask",
    )
}

const fn coalesce(default: &'static str) -> Key {
    key(
        "coalesce",
        AutoOrBoolean,
        default,
        "one request at a time for calls that would send the same; `auto`: where `cache` is on",
    )
}

const MANY: u32 = 1_000_000;

const VERSION: Key = key("version", Version, "1", "the version of the file format");

pub const ROUTE_DOCUMENT: &[Key] = &[
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
        "priority",
        Word(&["critical", "high", "normal", "bulk"]),
        "normal",
        "how long its requests are still taken when there is too much to do",
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

pub const INPUT: &[Key] = &[
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

pub const PARAMETER: &[Key] = &[
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

pub const INPUT_BODY: &[Key] = &[
    key("required", Boolean, "false", "whether there must be a body"),
    key(
        "schema",
        File,
        "",
        "file with the JSON Schema that the body must meet",
    ),
    key("max", Size, "`server.limits.body`", "the largest body"),
];

pub const CALL: &[Key] = &[
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
        "hedge",
        OrFalse(Object::Hedge),
        "off",
        "ask a second time while the first is silent; the first answer counts",
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
        "batch",
        Of(Object::Batch),
        "",
        "with `for_each`: one request for many elements",
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
    cache("off"),
    coalesce("`auto`"),
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

pub const BATCH: &[Key] = &[
    required(
        "key",
        Scalar,
        "what the service knows an element by, over the loop variable; `keys` is their list in templates",
    ),
    key(
        "size",
        count(1, 100_000),
        "`max_items`",
        "the most keys of one request; more make more requests",
    ),
    required("rows", Path, "where in `$.reply` the rows are"),
    required(
        "match",
        Scalar,
        "the key that a row belongs to, over `$.row`",
    ),
];

pub const CACHING: &[Key] = &[
    required(
        "ttl",
        Ttl,
        "how long an answer is fresh, or by its own headers (RFC 9111)",
    ),
    key(
        "stale_while_revalidate",
        Duration,
        "what the headers say, else none",
        "after `ttl`, how long an answer is still given while a new one is fetched",
    ),
    key(
        "stale_if_error",
        Duration,
        "what the headers say, else none",
        "after `ttl`, how long an answer still stands in for a failure",
    ),
    key("negative", Duration, "off", "how long a 404 or 410 is kept"),
];

pub const RETRY: &[Key] = &[
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

pub const HEDGE: &[Key] = &[required(
    "after",
    Delay,
    "a duration from the start of the call, or a percentile of its times, such as `p95`",
)];

pub const FALLBACK: &[Key] = &[
    key(
        "stale",
        Duration,
        "",
        "the last good answer to the same request, if it is no older",
    ),
    key("call", Identifier, "", "a call that runs only then"),
    key("value", Template, "", "a fixed value"),
    key(
        "only",
        Word(&["not_sent"]),
        "",
        "only when the request surely never arrived",
    ),
];

pub const RESPONSE: &[Key] = &[
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
    key(
        "cache",
        Word(&["computed"]),
        "",
        "`cache-control`, `age`, `etag` and `vary` come from the parts of the answer",
    ),
];

pub const GATEWAY_DOCUMENT: &[Key] = &[
    VERSION,
    key("server", Of(Object::Server), "", "the listener for clients"),
    key("admin", Of(Object::Admin), "", "the listener for operators"),
    key(
        "cache",
        Of(Object::Cache),
        "",
        "where good answers are kept",
    ),
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

pub const SERVER: &[Key] = &[
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
    key(
        "shed",
        Of(Object::Shed),
        "",
        "when requests are turned away",
    ),
    key("drain", Of(Object::Drain), "", "how a stop goes"),
    key(
        "server_timing",
        Boolean,
        "false",
        "list the calls in `server-timing`",
    ),
];

pub const LIMITS: &[Key] = &[
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
    key(
        "per_address",
        CountOrOff {
            least: 1,
            most: MANY,
        },
        "off",
        "open connections of one client address that is not `trusted`; counts for new ones",
    ),
];

pub const TIMEOUTS: &[Key] = &[
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

pub const JSON_LIMITS: &[Key] = &[
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

pub const SHED: &[Key] = &[
    key(
        "lag",
        Duration,
        "20ms",
        "how late the core that serves a connection may get to its work",
    ),
    key(
        "in_flight",
        count(1, MANY),
        "4096",
        "requests that have no answer yet",
    ),
    key(
        "memory",
        ShareOrSize,
        "25%",
        "what all bodies together may take: a share of the container's memory, else of the machine's, \
         or a size",
    ),
];

pub const DRAIN: &[Key] = &[
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

pub const ADMIN: &[Key] = &[key(
    "listen",
    Address,
    "127.0.0.1:9901",
    "counts at start only",
)];

pub const CACHE: &[Key] = &[
    key(
        "memory",
        Size,
        "64MiB",
        "what kept answers may take in this process",
    ),
    key(
        "redis",
        RedisUrl,
        "",
        "a Redis that keeps them for all instances: `redis://host:6379`, `rediss://…` by TLS, or \
         `unix:///path`",
    ),
    key(
        "redis_timeout",
        Duration,
        "20ms",
        "how long a request waits for what the Redis has; only with `redis`",
    ),
];

pub const DEFAULTS: &[Key] = &[
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
    cache("off"),
    coalesce("`auto`"),
    key("max_body", Size, "1MiB", "the largest body of a service"),
];

pub const SERVICE: &[Key] = &[
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
    key(
        "breaker",
        OrFalse(Object::Breaker),
        "on",
        "when an address is left alone for a while; `false` for never",
    ),
    key(
        "bulkhead",
        OrFalse(Object::Bulkhead),
        "on",
        "how much it is asked at the same time; `false` for any number",
    ),
    key(
        "budget",
        Of(Object::Budget),
        "",
        "how many retries and hedges it is sent beside first attempts",
    ),
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
    cache("that of `defaults`"),
    coalesce("that of `defaults`"),
    key("max_body", Size, "that of `defaults`", "the largest body"),
];

pub const POOL: &[Key] = &[
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
        "unused connections kept for each address; what a burst leaves beyond is closed within two seconds",
    ),
    key(
        "max_age",
        Duration,
        "5m",
        "after this a connection is not used again",
    ),
];

pub const BREAKER: &[Key] = &[
    key(
        "consecutive",
        count(1, MANY),
        "7",
        "failures in a row that open it",
    ),
    key(
        "window",
        Duration,
        "10s",
        "the time over which successes are counted",
    ),
    key(
        "success_rate",
        Percentage,
        "50%",
        "a share of successes below it opens it too",
    ),
    key(
        "min_requests",
        count(1, MANY),
        "20",
        "with fewer in the window the share says nothing",
    ),
    key(
        "open",
        DurationRange,
        "1s..30s",
        "how long it is open the first time, doubled each time up to the end of the range",
    ),
];

pub const BULKHEAD: &[Key] = &[
    key(
        "max",
        count(1, MANY),
        "256",
        "attempts under way at the same time",
    ),
    key(
        "queue",
        count(0, MANY),
        "64",
        "first attempts that may wait for a place",
    ),
    key("max_wait", Duration, "100ms", "how long one waits"),
];

pub const BUDGET: &[Key] = &[
    key(
        "ratio",
        Percentage,
        "10%",
        "retries and hedges, as a share of first attempts",
    ),
    key(
        "per_second",
        count(0, MANY),
        "1",
        "retries and hedges a second beside that share",
    ),
];

pub const TLS: &[Key] = &[
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
