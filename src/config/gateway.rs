//! A gateway document, taken apart into its sections.

use crate::config::document::{
    Admin, Breaker, Budget, Bulkhead, Cache, Drain, DurationRange, HttpVersion, JsonLimits, Limits,
    Memory, Percentage, Pool, Redis, Secret, Server, Service, Shared, Shed, Spanned, Timeouts, Tls,
    Url,
};
use crate::config::fields::{Decoder, Fields, shortened, spanned};
use crate::config::keys::Object;
use crate::config::node::Entry;
use crate::config::redis;
use crate::config::route::{caching, retry};
use crate::config::units::{Address, Host, Leaf, Network, Size, Time};
use crate::diagnostic::{Diagnostic, Span};

/// The sections of one document.
pub struct Gateway {
    pub server: Option<Spanned<Server>>,
    pub admin: Option<Spanned<Admin>>,
    pub cache: Option<Spanned<Cache>>,
    pub defaults: Option<Spanned<Shared>>,
    pub services: Vec<Service>,
}

/// Decodes a document that has any of the sections.
pub fn decode(decoder: &mut Decoder<'_>, entries: &[Entry], span: Span) -> Gateway {
    let fields = decoder.known(Object::GatewayDocument, entries, span);
    decoder.version(&fields);
    Gateway {
        server: section(decoder, &fields, "server", Object::Server, server),
        admin: section(decoder, &fields, "admin", Object::Admin, admin),
        cache: section(decoder, &fields, "cache", Object::Cache, cache),
        defaults: section(
            decoder,
            &fields,
            "defaults",
            Object::Defaults,
            |decoder, fields| {
                fields.map_or_else(Shared::default, |fields| shared(decoder, &fields))
            },
        ),
        services: services(decoder, &fields),
    }
}

fn section<T>(
    decoder: &mut Decoder<'_>,
    fields: &Fields<'_>,
    name: &str,
    object: Object,
    read: impl FnOnce(&mut Decoder<'_>, Option<Fields<'_>>) -> T,
) -> Option<Spanned<T>> {
    let entry = fields.entry(name)?;
    let inner = decoder.open(object, &entry.value, entry.key_span)?;
    let value = read(decoder, Some(inner));
    Some(spanned(entry, value))
}

/// A mapping inside a section, which may be left out.
fn part<'n>(
    decoder: &mut Decoder<'_>,
    fields: Option<Fields<'n>>,
    name: &str,
    object: Object,
) -> Option<Fields<'n>> {
    let entry = fields?.entry(name)?;
    decoder.open(object, &entry.value, entry.key_span)
}

// === sections ===

/// With the defaults of the contract where nothing is written.
pub fn server(decoder: &mut Decoder<'_>, fields: Option<Fields<'_>>) -> Server {
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Server,
    };
    Server {
        listen: read.leaf::<Address>("listen").0,
        server_timing: read.leaf("server_timing"),
        trusted: trusted(decoder, fields),
        limits: limits(decoder, fields),
        timeouts: timeouts(decoder, fields),
        json: json(decoder, fields),
        shed: shed(decoder, fields),
        drain: drain(decoder, fields),
    }
}

fn trusted(decoder: &mut Decoder<'_>, fields: Option<Fields<'_>>) -> Vec<ipnet::IpNet> {
    fields
        .and_then(|fields| decoder.leaves::<Network>(&fields, "trusted"))
        .map_or_else(Vec::new, |found| {
            found
                .value
                .into_iter()
                .map(|network| network.value.0)
                .collect()
        })
}

fn limits(decoder: &mut Decoder<'_>, server: Option<Fields<'_>>) -> Limits {
    let fields = part(decoder, server, "limits", Object::Limits);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Limits,
    };
    Limits {
        connections: read.count("connections"),
        header_bytes: read.leaf::<Size>("header_bytes").0,
        headers: read.count("headers"),
        uri: read.leaf::<Size>("uri").0,
        body: read.leaf::<Size>("body").0,
        streams: read.count("streams"),
        per_address: decoder.count_or_off(fields, Object::Limits, "per_address"),
    }
}

fn timeouts(decoder: &mut Decoder<'_>, server: Option<Fields<'_>>) -> Timeouts {
    let fields = part(decoder, server, "timeouts", Object::Timeouts);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Timeouts,
    };
    Timeouts {
        headers: read.leaf::<Time>("headers").0,
        idle: read.leaf::<Time>("idle").0,
        write_stall: read.leaf::<Time>("write_stall").0,
        body_rate: read.leaf::<Size>("body_rate").0,
    }
}

fn json(decoder: &mut Decoder<'_>, server: Option<Fields<'_>>) -> JsonLimits {
    let fields = part(decoder, server, "json", Object::JsonLimits);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::JsonLimits,
    };
    JsonLimits {
        depth: read.count("depth"),
        nodes: read.count("nodes"),
    }
}

fn shed(decoder: &mut Decoder<'_>, server: Option<Fields<'_>>) -> Shed {
    let fields = part(decoder, server, "shed", Object::Shed);
    let written = fields.and_then(|fields| fields.entry("memory"));
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Shed,
    };
    Shed {
        lag: read.leaf::<Time>("lag").0,
        in_flight: read.count("in_flight"),
        memory: read.leaf::<Memory>("memory"),
        memory_span: written.map(|entry| entry.value.span),
    }
}

fn drain(decoder: &mut Decoder<'_>, server: Option<Fields<'_>>) -> Drain {
    let fields = part(decoder, server, "drain", Object::Drain);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Drain,
    };
    Drain {
        grace: read.leaf::<Time>("grace").0,
        max: read.leaf::<Time>("max").0,
    }
}

/// With the defaults of the contract where nothing is written.
pub fn admin(decoder: &mut Decoder<'_>, fields: Option<Fields<'_>>) -> Admin {
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Admin,
    };
    Admin {
        listen: read.leaf::<Address>("listen").0,
    }
}

/// With the defaults of the contract where nothing is written.
pub fn cache(decoder: &mut Decoder<'_>, fields: Option<Fields<'_>>) -> Cache {
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Cache,
    };
    let memory = read.leaf::<Size>("memory").0;
    let timeout = read.leaf::<Time>("redis_timeout").0;
    let url = fields.and_then(|fields| redis_url(decoder, &fields));
    Cache {
        memory,
        redis: url.map(|url| Redis { url, timeout }),
    }
}

/// What is written may hold a password, so that no headline quotes it.
fn redis_url(decoder: &mut Decoder<'_>, cache: &Fields<'_>) -> Option<Secret> {
    let timeout = cache.entry("redis_timeout");
    if let (Some(timeout), None) = (timeout, cache.entry("redis")) {
        decoder.findings.push(
            Diagnostic::error("R0109", timeout.key_span, "`redis_timeout` without `redis`")
                .help("write `redis: redis://host:6379` too, or leave it out"),
        );
    }
    let url = decoder.leaf::<String>(cache, "redis")?;
    match redis::examine(&url.value) {
        Ok(()) => Some(Secret(url.value)),
        Err(fault) => {
            let finding = Diagnostic::error("R0701", url.span, fault.headline).help(fault.help);
            decoder.findings.push(finding);
            None
        }
    }
}

/// Reads keys that have a default.
struct Reader<'r, 'd, 'n> {
    decoder: &'r mut Decoder<'d>,
    fields: Option<Fields<'n>>,
    object: Object,
}

impl Reader<'_, '_, '_> {
    fn leaf<T: Leaf>(&mut self, name: &str) -> T {
        self.decoder.leaf_or_default(self.fields, self.object, name)
    }

    fn count(&mut self, name: &str) -> u32 {
        self.decoder
            .count_or_default(self.fields, self.object, name)
    }
}

/// The keys of a call that a section holds for many.
fn shared(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Shared {
    Shared {
        timeout: decoder.time(fields, "timeout"),
        attempt_timeout: decoder.time(fields, "attempt_timeout"),
        retry: retry(decoder, fields),
        headers: decoder.template_fields(fields, "headers"),
        cache: caching(decoder, fields),
        coalesce: decoder.leaf(fields, "coalesce"),
        max_body: decoder.size(fields, "max_body"),
    }
}

// === services ===

fn services(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Vec<Service> {
    let Some(entry) = fields.entry("services") else {
        return Vec::new();
    };
    let entries = decoder.mapping("`services`", &entry.value, entry.key_span);
    entries
        .unwrap_or_default()
        .iter()
        .map(|entry| service(decoder, entry))
        .collect()
}

/// A service whose value is at fault is still one: calls may name it.
fn service(decoder: &mut Decoder<'_>, entry: &Entry) -> Service {
    let shown = format!("`{}`", shortened(&entry.key));
    decoder.check_name(&entry.key, &shown, entry.key_span);
    let fields = decoder.open(Object::Service, &entry.value, entry.key_span);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Service,
    };
    Service {
        name: Spanned {
            value: entry.key.clone(),
            span: entry.key_span,
            key: entry.key_span,
            is_filled: false,
        },
        http: read.leaf::<HttpVersion>("http"),
        connect_timeout: read.leaf::<Time>("connect_timeout").0,
        urls: fields.map_or_else(Vec::new, |fields| urls(decoder, &fields)),
        pool: pool(decoder, fields),
        breaker: breaker(decoder, fields),
        bulkhead: bulkhead(decoder, fields),
        budget: budget(decoder, fields),
        tls: fields.and_then(|fields| tls(decoder, &fields)),
        shared: fields.map_or_else(Shared::default, |fields| shared(decoder, &fields)),
    }
}

fn urls(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Vec<Spanned<Url>> {
    let Some(entry) = decoder.one_of(fields, &["url", "urls"]) else {
        let is_meant = |entry: &Entry| {
            Object::Service.key(&entry.key).is_none()
                && (Object::Service.instead(&entry.key).is_some()
                    || matches!(Object::Service.nearest(&entry.key), Some("url" | "urls")))
        };
        if !fields.entries.iter().any(is_meant) {
            decoder.findings.push(
                Diagnostic::error("R0109", fields.key, "a service without `url`")
                    .help("write `url: http://host:port`"),
            );
        }
        return Vec::new();
    };
    if entry.key == "url" {
        return decoder.leaf(fields, "url").into_iter().collect();
    }
    let Some(found) = decoder.leaves::<Url>(fields, "urls") else {
        return Vec::new();
    };
    if matches!(&entry.value.kind, crate::config::node::Kind::Sequence(items) if items.is_empty()) {
        decoder.findings.push(
            Diagnostic::error("R0111", found.span, "`urls` is empty")
                .help("write `url: http://host:port`"),
        );
    }
    found.value
}

fn pool(decoder: &mut Decoder<'_>, service: Option<Fields<'_>>) -> Pool {
    let fields = part(decoder, service, "pool", Object::Pool);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Pool,
    };
    Pool {
        idle: read.leaf::<Time>("idle").0,
        max_idle: read.count("max_idle"),
        max_age: read.leaf::<Time>("max_age").0,
    }
}

/// `None`: `false`.
fn breaker(decoder: &mut Decoder<'_>, service: Option<Fields<'_>>) -> Option<Breaker> {
    let help = "write `breaker: { consecutive: 7 }`, or leave it out: it is on by default";
    let fields = switched(decoder, service, "breaker", Object::Breaker, help)?;
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Breaker,
    };
    Some(Breaker {
        consecutive: read.count("consecutive"),
        window: read.leaf::<Time>("window").0,
        success_rate: read.leaf::<Percentage>("success_rate"),
        min_requests: read.count("min_requests"),
        open: read.leaf::<DurationRange>("open"),
    })
}

/// `None`: `false`.
fn bulkhead(decoder: &mut Decoder<'_>, service: Option<Fields<'_>>) -> Option<Bulkhead> {
    let help = "write `bulkhead: { max: 256 }`, or leave it out: it is on by default";
    let fields = switched(decoder, service, "bulkhead", Object::Bulkhead, help)?;
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Bulkhead,
    };
    Some(Bulkhead {
        max: read.count("max"),
        queue: read.count("queue"),
        max_wait: read.leaf::<Time>("max_wait").0,
    })
}

fn budget(decoder: &mut Decoder<'_>, service: Option<Fields<'_>>) -> Budget {
    let fields = part(decoder, service, "budget", Object::Budget);
    let mut read = Reader {
        decoder,
        fields,
        object: Object::Budget,
    };
    Budget {
        ratio: read.leaf::<Percentage>("ratio"),
        per_second: read.count("per_second"),
    }
}

/// A mapping inside a section that is on by default: `None` where it is switched off.
fn switched<'n>(
    decoder: &mut Decoder<'_>,
    service: Option<Fields<'n>>,
    name: &str,
    object: Object,
    help: &str,
) -> Option<Option<Fields<'n>>> {
    match service.and_then(|service| decoder.or_false(&service, name, object, help)) {
        Some(None) => None,
        Some(inner) => Some(inner),
        None => Some(None),
    }
}

fn tls(decoder: &mut Decoder<'_>, service: &Fields<'_>) -> Option<Spanned<Tls>> {
    let entry = service.entry("tls")?;
    let fields = decoder.open(Object::Tls, &entry.value, entry.key_span)?;
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let (Some(found), None) = (fields.entry(one), fields.entry(other)) {
            decoder.findings.push(
                Diagnostic::error(
                    "R0109",
                    found.key_span,
                    format!("`{one}` without `{other}`"),
                )
                .help("a certificate and its key stand together"),
            );
        }
    }
    let tls = Tls {
        ca: decoder.named_file(&fields, "ca"),
        cert: decoder.named_file(&fields, "cert"),
        key: decoder.named_file(&fields, "key"),
        server_name: decoder
            .leaf::<Host>(&fields, "server_name")
            .map(|found| found.map(|host| host.0)),
    };
    Some(spanned(entry, tls))
}
