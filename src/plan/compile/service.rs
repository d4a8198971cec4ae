//! Services: endpoints, pools, and the files of their TLS settings.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::document::{self, NamedFile, Spanned};
use crate::diagnostic::Diagnostic;
use crate::plan::settings::{Endpoint, HttpVersion, Pool, Service, Tls};

/// One service as the downstream side wants it.
pub fn compile(service: &document::Service, diagnostics: &mut Vec<Diagnostic>) -> Service {
    let document::Service {
        name,
        urls,
        http,
        connect_timeout,
        pool,
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
        tls: Arc::new(Tls::default()),
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
    let ca = ca.as_ref().and_then(|file| certificates(file, diagnostics));
    let cert = cert
        .as_ref()
        .and_then(|file| certificates(file, diagnostics));
    let key = key.as_ref().and_then(|file| private_key(file, diagnostics));
    Tls {
        ca,
        identity: cert.zip(key),
        server_name: server_name.as_ref().map(|name| name.value.clone()),
    }
}

fn certificates(file: &Spanned<NamedFile>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<u8>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.value.bytes).collect();
    if found.is_ok_and(|found| !found.is_empty()) {
        return Some(file.value.bytes.clone());
    }
    diagnostics.push(not_pem(file, "certificate", "-----BEGIN CERTIFICATE-----"));
    None
}

fn private_key(file: &Spanned<NamedFile>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<u8>> {
    if PrivateKeyDer::from_pem_slice(&file.value.bytes).is_ok() {
        return Some(file.value.bytes.clone());
    }
    diagnostics.push(not_pem(file, "private key", "-----BEGIN PRIVATE KEY-----"));
    None
}

fn not_pem(file: &Spanned<NamedFile>, what: &str, begins: &str) -> Diagnostic {
    let message = format!("`{}` has no {what} in it", file.value.path.display());
    Diagnostic::error("R0506", file.span, message)
        .help(format!("name a PEM file: it begins with `{begins}`"))
}
