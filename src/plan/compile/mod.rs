//! Documents to plans: the only way to get a [`Table`], and everything that can be said against one.
//!
//! Compiling is checking: there is no separate validator. It goes on after a fault, so that all of a
//! configuration's faults are found in one run; a table comes out only when none of them is an error.
//! `route.rs` and `call.rs` (with `chain.rs` and `retry.rs`) take the documents apart, `names.rs` resolves
//! what their templates read, `graph.rs` orders the calls.

mod batch;
mod cache;
mod call;
mod chain;
mod computed;
mod graph;
mod headers;
mod input;
pub mod names;
mod retry;
mod route;
mod service;
mod services;
mod templates;

use std::sync::Arc;

use crate::config::document::{self, Documents};
use crate::diagnostic::{Diagnostic, Files, Severity};
use crate::plan::matcher::Matcher;
use crate::plan::{Route, Table, settings};
use services::Services;

/// A configuration as far as it could be compiled.
pub struct Compiled {
    /// There when no finding is an error.
    pub table: Option<Table>,
    /// In no order.
    pub diagnostics: Vec<Diagnostic>,
    /// The routes that could be compiled, with what their paths read, also where there is no table.
    pub routes: Vec<(Arc<Route>, Vec<names::Read>)>,
    pub services: Vec<settings::Service>,
}

/// Compiles all documents of a configuration.
pub fn compile(documents: &Documents, files: &Files) -> Compiled {
    let mut diagnostics = Vec::new();
    let server = server(&documents.server);
    let mut services = Services::new(documents, &mut diagnostics);
    let mut matcher = Matcher::default();
    let mut routes = Vec::with_capacity(documents.routes.len());
    for (index, document) in documents.routes.iter().enumerate() {
        let mut compiled =
            route::compile(index, document, documents, &mut services, &server, files);
        let found = compiled.diagnostics.drain(..);
        diagnostics.extend(found.map(|finding| without_fill(finding, files)));
        if let Some(pattern) = &compiled.pattern {
            let host = compiled.host.as_deref();
            if let Err(other) = matcher.insert(&pattern.method, host, &pattern.path, index) {
                diagnostics.push(ambiguous(document, &documents.routes[other]));
            }
        }
        if let Some(route) = compiled.route {
            routes.push((Arc::new(route), compiled.reads));
        }
    }
    let shared = documents.services.iter().map(|service| &service.shared);
    for shared in [&documents.defaults].into_iter().chain(shared) {
        diagnostics.extend(headers::check_inherited(shared, &mut services.reported));
    }
    let has_error = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    let table = (!has_error).then(|| Table {
        server,
        admin: settings::Admin {
            listen: documents.admin.listen,
        },
        cache: cache(&documents.cache),
        services: services.compiled.clone(),
        routes: routes.iter().map(|(route, _)| Arc::clone(route)).collect(),
        matcher,
        files: files.files.iter().map(|file| file.name.clone()).collect(),
        watched: documents.watched.clone(),
    });
    Compiled {
        table,
        diagnostics,
        routes,
        services: services.compiled,
    }
}

/// A name that `${…}` gave is not to be shown: what the file says stands for it.
fn without_fill(finding: Diagnostic, files: &Files) -> Diagnostic {
    let what = match finding.code {
        "R0201" => "call",
        "R0204" => "service",
        "R0505" => "header that can be set",
        _ => return finding,
    };
    let written = files.text(finding.span);
    if !written.contains("${") {
        return finding;
    }
    let message = format!("what `{written}` gives is no {what}");
    Diagnostic { message, ..finding }
}

fn ambiguous(second: &document::Route, first: &document::Route) -> Diagnostic {
    let message = "two routes of the same method, host and shape";
    Diagnostic::error("R0206", second.route.span, message)
        .also(first.route.span, "the other one is here")
        .help("the names of parameters make no difference: give one of them another path, method or host")
}

fn cache(document: &document::Cache) -> settings::Cache {
    let document::Cache { memory, redis } = document;
    settings::Cache {
        memory: *memory,
        redis: redis.as_ref().map(|redis| {
            let document::Redis { url, timeout } = redis;
            settings::Redis {
                url: url.clone(),
                timeout: *timeout,
            }
        }),
    }
}

fn server(document: &document::Server) -> settings::Server {
    let document::Server {
        listen,
        trusted,
        limits,
        timeouts,
        json,
        shed,
        drain,
        server_timing,
    } = document;
    let document::Limits {
        connections,
        header_bytes,
        headers,
        uri,
        body,
        streams,
        per_address,
    } = *limits;
    let document::Timeouts {
        headers: head_timeout,
        idle,
        write_stall,
        body_rate,
    } = *timeouts;
    let document::Shed {
        lag,
        in_flight,
        memory,
        memory_span: _,
    } = *shed;
    settings::Server {
        listen: *listen,
        trusted: trusted.clone(),
        limits: settings::Limits {
            connections: connections as usize,
            header_bytes: header_bytes as usize,
            headers: headers as usize,
            uri: uri as usize,
            body: body as usize,
            streams,
            per_address: per_address.map(|most| most as usize),
        },
        timeouts: settings::Timeouts {
            headers: head_timeout,
            idle,
            write_stall,
            body_rate: body_rate as usize,
        },
        json: crate::json::Limits {
            depth: json.depth,
            nodes: json.nodes,
        },
        shed: settings::Shed {
            lag,
            in_flight: in_flight as usize,
            memory: match memory {
                document::Memory::Share(share) => settings::MemoryLimit::Share(share.0.into()),
                document::Memory::Size(bytes) => settings::MemoryLimit::Size(bytes as usize),
            },
        },
        drain: settings::Drain {
            grace: drain.grace,
            max: drain.max,
        },
        server_timing: *server_timing,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::plan::FallbackKind;
    use crate::policy::hedge::After;
    use crate::policy::shed::Priority;
    use crate::policy::{breaker, budget, bulkhead};

    fn compiled(name: &str, text: &str) -> Table {
        let file = format!("anabranch-compile-{}-{name}.yaml", std::process::id());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, text).unwrap();
        let reading = config::read(std::slice::from_ref(&file), &|_| None);
        std::fs::remove_file(&file).unwrap();
        let reading = reading.unwrap_or_else(|_| panic!("the file is readable"));
        assert!(reading.findings.is_empty(), "{:?}", reading.findings);
        let compiled = compile(&reading.documents, &reading.files);
        let table = compiled.table;
        table.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics))
    }

    #[test]
    fn what_is_not_written_is_the_default() {
        let table = compiled(
            "defaults",
            "services: { a: { url: http://a } }\n---\nroute: GET /\ncalls: { a: { get: http://b/x } }\nresponse: { body: $.a.body }\n",
        );
        assert_eq!(table.server, settings::Server::default());
        assert_eq!(table.cache, settings::Cache::default());
        assert_eq!(table.services.len(), 2);
        for service in &table.services {
            assert_eq!(service.breaker, Some(breaker::Settings::default()));
            assert_eq!(service.bulkhead, Some(bulkhead::Settings::default()));
            assert_eq!(service.budget, budget::Settings::default());
        }
        assert_eq!(table.routes[0].priority, Priority::Normal);
        assert_eq!(table.routes[0].calls[0].hedge, None);
    }

    #[test]
    fn every_figure_arrives() {
        let table = compiled(
            "figures",
            "server:
  limits: { per_address: 7 }
  shed: { lag: 5ms, in_flight: 9, memory: 512MiB }
cache: { memory: 3MiB }
services:
  a:
    url: http://a
    breaker: { consecutive: 3, window: 5s, success_rate: 12.5%, min_requests: 4, open: 2s..8s }
    bulkhead: { max: 2, queue: 0, max_wait: 30ms }
    budget: { ratio: 0%, per_second: 0 }
  b: { url: http://b, breaker: false, bulkhead: false, budget: { ratio: 100% } }
---
route: GET /
priority: bulk
calls:
  a: { get: /, hedge: { after: p99.9 }, fallback: [ { stale: 60s, only: not_sent }, { stale: 10s } ] }
  b: { get: /, hedge: { after: 90ms } }
response: { body: [ $.a.body, $.b.body ] }
",
        );
        assert_eq!(table.server.limits.per_address, Some(7));
        let shed = settings::Shed {
            lag: Duration::from_millis(5),
            in_flight: 9,
            memory: settings::MemoryLimit::Size(512 << 20),
        };
        assert_eq!(table.server.shed, shed);
        assert_eq!(table.cache.memory, 3 << 20);
        let [a, b] = table.services.as_slice() else {
            panic!("two services");
        };
        let shut = breaker::Settings {
            consecutive: 3,
            window: Duration::from_secs(5),
            success_rate: 1250,
            min_requests: 4,
            open: (Duration::from_secs(2), Duration::from_secs(8)),
        };
        let places = bulkhead::Settings {
            max: 2,
            queue: 0,
            max_wait: Duration::from_millis(30),
        };
        assert_eq!((a.breaker, a.bulkhead), (Some(shut), Some(places)));
        assert_eq!((a.budget.ratio, a.budget.per_second), (0, 0));
        assert_eq!((b.breaker, b.bulkhead), (None, None));
        assert_eq!((b.budget.ratio, b.budget.per_second), (10_000, 1));
        let route = &table.routes[0];
        assert_eq!(route.priority, Priority::Bulk);
        assert_eq!(route.calls[0].hedge, Some(After::Percentile(9990)));
        let after = After::Fixed(Duration::from_millis(90));
        assert_eq!(route.calls[1].hedge, Some(after));
        let chain = &route.calls[0].fallback;
        assert!(matches!(chain[0].kind, FallbackKind::Stale(age) if age.as_secs() == 60));
        assert!(chain[0].only_not_sent && !chain[1].only_not_sent);
        assert!(route.calls[0].keeps_answers() && !route.calls[1].keeps_answers());
    }

    #[test]
    fn headers_are_kept_where_somebody_may_read_them() {
        let check = |number: usize, calls: &str, response: &str, expected: &str| {
            let text = format!(
                "services: {{ s: {{ url: http://s }} }}\n---\nroute: GET /\n\
                 calls: {{ {calls} }}\nresponse: {{ {response} }}\n"
            );
            let table = compiled(&format!("headers-{number}"), &text);
            let kept = table.routes[0].calls.iter();
            let kept = kept.filter(|call| call.keeps_headers);
            let kept: Vec<&str> = kept.map(|call| call.name.as_str()).collect();
            assert_eq!(kept.join(" "), expected, "{calls:?} {response}");
        };
        let two = "a: { service: s, get: /a }, b: { service: s, get: '/{{a.body.id}}' }";
        let list = "a: { service: s, get: /a }, b: { service: s, get: '/{{x.id}}', \
                    for_each: 'x in $.a.body', max_items: 9 }";
        let of_a = |keys: &str| format!("a: {{ service: s, get: /a, {keys} }}");
        let rows: &[(&str, &str, &str)] = &[
            (two, "body: { a: $.a.body, s: $.b.status }", ""),
            (two, "body: [ $.a.headers, $.b.body ]", "a"),
            (two, "body: $.b.body, headers: { x: $.b.headers.etag }", "b"),
            (two, "body: $.b", "b"),
            (two, "body: '{{#if a.headers.x}}1{{else}}2{{/if}}'", "a"),
            (two, "body: $.b.body, cache: computed", "a b"),
            (two, "pass: b", "b"),
            (list, "body: $.a.body", ""),
            (list, "body: '$.b[*].body'", "b"),
            (
                list,
                "body: { $for: 'x in $.a.body', $each: $.each.b.body }",
                "",
            ),
            (
                list,
                "body: { $for: 'x in $.a.body', $each: $.each.b.headers }",
                "b",
            ),
            (&of_a("take: $.reply.body.x"), "body: $.a.body", ""),
            (&of_a("take: $.reply.headers.etag"), "body: $.a.body", "a"),
            (&of_a("take: { r: $.reply }"), "body: $.a.body", "a"),
            (
                &of_a("success_when: $.reply.body.ok"),
                "body: $.a.body",
                "a",
            ),
            (&of_a("fallback: [ { stale: 9s } ]"), "body: $.a.body", "a"),
            (&of_a("cache: { ttl: 9s }"), "body: $.a.body", "a"),
            (&of_a("coalesce: true"), "body: $.a.body", "a"),
            ("a: { service: s, put: /a }", "body: $.a.body", "a"),
        ];
        for (number, (calls, response, expected)) in rows.iter().enumerate() {
            check(number, calls, response, expected);
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn the_url_of_a_redis_arrives_and_is_not_shown() {
        let table = compiled(
            "redis",
            "cache: { redis: 'redis://:s3cr3t@cache/2', redis_timeout: 5ms }\n",
        );
        let redis = table.cache.redis.as_ref().unwrap();
        assert_eq!(redis.url.0, "redis://:s3cr3t@cache/2");
        assert_eq!(redis.timeout, Duration::from_millis(5));
        assert!(!format!("{table:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_computed_answer_depends_on_what_the_route_reads() {
        let check = |number: usize, route: &str, expected: &str| {
            let text = format!(
                "services: {{ s: {{ url: http://s, headers: {{ x-key: '1' }} }}, \
                 t: {{ url: http://t, headers: {{ authorization: 'Bearer {{{{request.headers.x-t}}}}' }} }} }}\n\
                 ---\nroute: GET /{{p}}\n{route}"
            );
            let table = compiled(&format!("computed-{number}"), &text);
            let computed = table.routes[0].response.computed.as_ref();
            let computed = computed.expect("the answer is computed");
            let vary = computed.vary.as_ref().map(|vary| vary.to_str().unwrap());
            let mut said = vary.unwrap_or("nothing").to_owned();
            if computed.is_private {
                said.push_str("; private");
            }
            for call in &computed.with_credentials {
                said.push_str(&format!("; {}", table.routes[0].calls[call.0].name));
            }
            assert_eq!(said, expected, "{route}");
        };
        let rows = [
            (
                "response: { cache: computed, body: $.request.path.p }",
                "nothing",
            ),
            (
                "response: { cache: computed, body: [ $.request.query.a, $.request.method, $.request.id ] }",
                "nothing",
            ),
            (
                "response: { cache: computed, body: '{{request.headers.b}}', headers: { x: [ $.request.headers.a, $.request.headers.b ] } }",
                "a, b",
            ),
            (
                "response: { cache: computed, status: '$.request.headers.a ?? 200' }",
                "a",
            ),
            (
                "response: { cache: computed, body: $.request.cookies.a }",
                "cookie; private",
            ),
            (
                "response: { cache: computed, body: $.request.headers.authorization }",
                "authorization; private",
            ),
            (
                "response: { cache: computed, body: $.request.client.ip }",
                "nothing; private",
            ),
            (
                "response: { cache: computed, body: $.request.headers }",
                "*; private",
            ),
            (
                "response: { cache: computed, body: $.request }",
                "*; private",
            ),
            ("response: { cache: computed, body: $.request.body.a }", "*"),
            (
                "input: { headers: { X-A: { } }, query: { q: { } } }\nresponse: { cache: computed }",
                "x-a",
            ),
            (
                "input: { cookies: { a: { } } }\nresponse: { cache: computed }",
                "cookie; private",
            ),
            ("input: { body: { } }\nresponse: { cache: computed }", "*"),
            (
                "calls: { s: { get: '/{{request.path.p}}', headers: { accept-language: $.request.headers.accept-language } } }\nresponse: { cache: computed, body: $.s.body }",
                "accept-language",
            ),
            (
                "calls: { s: { get: /, forward_headers: [ Accept-Language, authorization ] } }\nresponse: { cache: computed, body: $.s.body }",
                "accept-language, authorization; s",
            ),
            (
                "calls: { s: { get: /, query: { u: $.request.cookies.u }, when: $.request.headers.x == 'y' } }\nresponse: { cache: computed, body: $.s.body }",
                "cookie, x; s",
            ),
            (
                "calls: { s: { get: /, take: { a: $.request.cookies.u, b: $.reply.body } } }\nresponse: { cache: computed, body: $.s.body }",
                "cookie; private",
            ),
            (
                "calls: { s: { get: /, headers: { authorization: Bearer of-all } } }\nresponse: { cache: computed, body: $.s.body }",
                "nothing; s",
            ),
            (
                "calls: { t: { get: / } }\nresponse: { cache: computed, body: $.t.body }",
                "x-t; t",
            ),
            (
                "calls: { s: { get: /, forward_body: true } }\nresponse: { cache: computed, body: $.s.body }",
                "*",
            ),
            // What is never part of an answer that is kept.
            (
                "calls: { s: { get: / }, t: { post: /, detached: true, json: $.request.cookies } }\nresponse: { cache: computed, body: $.s.body }",
                "nothing",
            ),
            (
                "calls: { s: { get: /, fallback: [ { call: t } ] }, t: { get: / } }\nresponse: { cache: computed, body: $.s.body }",
                "nothing",
            ),
        ];
        for (number, (route, expected)) in rows.into_iter().enumerate() {
            check(number, route, expected);
        }
    }

    #[test]
    fn an_answer_is_shared_only_by_calls_that_would_take_it_for_the_same() {
        let table = compiled(
            "prefix",
            "services: { s: { url: http://s/x }, t: { urls: [ http://s/x, https://t ] } }
---
route: GET /
timeout: 9s
calls:
  a: { service: s, get: /a }
  b: { service: s, post: /b, timeout: 1s }
  c: { service: s, get: /c, decode: text }
  d: { service: s, get: /d, success_when: $.reply.status == 404 }
  e: { service: t, get: /e }
  f: { get: http://s/x }
response: { body: [ $.a.body, $.b.body, $.c.body, $.d.body, $.e.body, $.f.body ] }
",
        );
        let prefixes = table.routes[0].calls.iter().map(|call| &call.key_prefix);
        let prefixes: Vec<&String> = prefixes.collect();
        assert_eq!(prefixes[0], prefixes[1]);
        assert_eq!(prefixes[0], "s\u{1e}http://s/x\u{1f}\u{1e}auto\u{1e}");
        for (place, one) in prefixes.iter().enumerate().skip(1) {
            let others = &prefixes[place + 1..];
            assert!(!others.contains(one), "{one}");
        }
    }
}
