//! Services: endpoints, pools, and the files of their TLS settings.

use std::sync::Arc;

use crate::config::document;
use crate::diagnostic::{Diagnostic, Span};
use crate::pem;
use crate::plan::settings::{Endpoint, HttpVersion, Pool, Service, Tls};
use crate::policy::{breaker, budget, bulkhead};

/// One service as the downstream side wants it.
pub fn compile(service: &document::Service, diagnostics: &mut Vec<Diagnostic>) -> Service {
    let document::Service {
        name,
        urls,
        http,
        connect_timeout,
        pool,
        breaker,
        bulkhead,
        budget,
        tls,
        shared: _,
    } = service;
    Service {
        name: name.value.clone(),
        endpoints: urls.iter().map(|url| endpoint(&url.value)).collect(),
        http: match http {
            document::HttpVersion::Auto => HttpVersion::Auto,
            document::HttpVersion::One => HttpVersion::One,
            document::HttpVersion::Two => HttpVersion::Two,
        },
        connect_timeout: *connect_timeout,
        pool: Pool {
            idle: pool.idle,
            max_idle: pool.max_idle as usize,
            max_age: pool.max_age,
        },
        breaker: breaker.map(compile_breaker),
        bulkhead: bulkhead.map(compile_bulkhead),
        budget: compile_budget(*budget),
        tls: Arc::new(match tls {
            Some(tls) => compile_tls(&tls.value, diagnostics),
            None => Tls::default(),
        }),
    }
}

/// A service that nobody named: the origin of a call's full URL.
pub fn of_origin(name: String, https: bool, host: String, port: u16) -> Service {
    let url = document::Url {
        tls: https,
        host,
        port,
        path: String::new(),
    };
    Service {
        name,
        endpoints: vec![endpoint(&url)],
        http: HttpVersion::Auto,
        connect_timeout: std::time::Duration::from_secs(1),
        pool: Pool::default(),
        breaker: Some(breaker::Settings::default()),
        bulkhead: Some(bulkhead::Settings::default()),
        budget: budget::Settings::default(),
        tls: Arc::new(Tls::default()),
    }
}

fn compile_breaker(breaker: document::Breaker) -> breaker::Settings {
    let document::Breaker {
        consecutive,
        window,
        success_rate,
        min_requests,
        open,
    } = breaker;
    breaker::Settings {
        consecutive,
        window,
        success_rate: success_rate.0.into(),
        min_requests,
        open: (open.from, open.to),
    }
}

fn compile_bulkhead(bulkhead: document::Bulkhead) -> bulkhead::Settings {
    let document::Bulkhead {
        max,
        queue,
        max_wait,
    } = bulkhead;
    bulkhead::Settings {
        max: max as usize,
        queue: queue as usize,
        max_wait,
    }
}

fn compile_budget(budget: document::Budget) -> budget::Settings {
    let document::Budget { ratio, per_second } = budget;
    budget::Settings {
        ratio: ratio.0.into(),
        per_second,
    }
}

fn endpoint(url: &document::Url) -> Endpoint {
    let is_default = url.port == if url.tls { 443 } else { 80 };
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    Endpoint {
        https: url.tls,
        host: host.to_owned(),
        port: url.port,
        prefix: url.path.clone(),
        authority: match is_default {
            true => url.host.clone(),
            false => format!("{}:{}", url.host, url.port),
        },
    }
}

fn compile_tls(tls: &document::Tls, diagnostics: &mut Vec<Diagnostic>) -> Tls {
    let document::Tls {
        ca,
        cert,
        key,
        server_name,
    } = tls;
    let mut refuse = |span: Span, fault: String, help: &str| {
        diagnostics.push(Diagnostic::error("R0506", span, fault).help(help));
    };
    if let Some(file) = ca
        && let Err(fault) = pem::roots(&file.value.bytes)
    {
        let help = "name a PEM file: it begins with `-----BEGIN CERTIFICATE-----`";
        refuse(file.span, fault, help);
    }
    let identity = cert.as_ref().zip(key.as_ref());
    if let Some((cert, key)) = identity
        && let Err(fault) = pem::identity(&cert.value.bytes, &key.value.bytes)
    {
        let help =
            "`cert` is the certificate chain, the leaf first, `key` the private key of the leaf";
        refuse(cert.span, fault, help);
    }
    if let Some(name) = server_name
        && let Err(fault) = pem::server_name(&name.value)
    {
        refuse(
            name.span,
            fault,
            "write the name that the service's certificate is for",
        );
    }
    Tls {
        ca: ca.as_ref().map(|file| file.value.bytes.clone()),
        identity: identity.map(|(cert, key)| (cert.value.bytes.clone(), key.value.bytes.clone())),
        server_name: server_name.as_ref().map(|name| name.value.clone()),
    }
}
