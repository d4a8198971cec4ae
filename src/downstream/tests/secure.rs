//! TLS: whom we trust, who we are, which HTTP is chosen, and what it is called when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::support::*;
use super::workers::{Gated, Held, call};
use crate::downstream::dial::Tcp;
use crate::downstream::tls;
use crate::pem;
use crate::plan::settings::{self, HttpVersion, Tls};
use crate::worker::Workers;

/// A certificate authority and what it signs.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// PEM texts.
struct Signed {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }
}

/// A server that speaks whatever ALPN chose and answers with its name; it may ask for a client's
/// certificate.
async fn serve_tls(signed: Signed, protocols: &[&[u8]], clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(pem::roots(&authority.pem()).unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let identity = pem::identity(&signed.certificate, &signed.key).unwrap();
    let mut config = builder
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_tls(acceptor.clone(), stream));
        }
    });
    port
}

async fn answer_tls(acceptor: TlsAcceptor, stream: tokio::net::TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let mut server = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut response))) = server.accept().await {
            let mut stream = response
                .send_response(http::Response::new(()), false)
                .unwrap();
            stream
                .send_data(Bytes::from_static(b"\"h2\""), true)
                .unwrap();
        }
        return;
    }
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        stream
            .write_all(answer("200 OK", "", "\"h1\"").as_bytes())
            .await
            .unwrap();
    }
}

fn secure_service(port: u16, tls: Tls, http: HttpVersion) -> settings::Service {
    let mut service = service(port);
    service.http = http;
    service.endpoints[0].https = true;
    service.tls = Arc::new(tls);
    service
}

fn trusting(authority: &Authority, name: &str) -> Tls {
    Tls {
        ca: Some(authority.pem()),
        identity: None,
        server_name: Some(name.to_owned()),
    }
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    async fn check(protocols: &[&[u8]], http: HttpVersion, expected: &str) {
        let authority = Authority::new();
        let signed = authority.sign("users.internal", |_| ());
        let port = serve_tls(signed, protocols, None).await;
        let tls = trusting(&authority, "users.internal");
        let fixture = Fixture::new(secure_service(port, tls, http), Tcp::new());
        // Twice, so that the second goes over what was learned.
        for _ in 0..2 {
            assert_eq!(
                fixture.outcome(once(get()), 5000).await,
                expected,
                "{http:?}"
            );
        }
    }
    check(&[b"h2", b"http/1.1"], HttpVersion::Auto, "200 \"h2\" x1").await;
    check(&[b"http/1.1"], HttpVersion::Auto, "200 \"h1\" x1").await;
    check(&[], HttpVersion::Auto, "200 \"h1\" x1").await;
    check(&[b"h2", b"http/1.1"], HttpVersion::One, "200 \"h1\" x1").await;
    check(&[b"h2"], HttpVersion::Two, "200 \"h2\" x1").await;
    check(&[b"http/1.1"], HttpVersion::Two, "tls_failure x1").await;
    check(&[], HttpVersion::Two, "tls_failure x1").await;
}

/// A connection lies idle for all workers; HTTP/2's is driven on the one that opened it.
#[tokio::test]
async fn another_worker_goes_on_with_the_same_session() {
    let (workers, _threads) = Workers::start(2).unwrap();
    for (http, expected) in [
        (HttpVersion::One, "200 \"h1\" x1"),
        (HttpVersion::Two, "200 \"h2\" x1"),
    ] {
        let authority = Authority::new();
        let signed = authority.sign("users.internal", |_| ());
        let port = serve_tls(signed, &[b"h2", b"http/1.1"], None).await;
        let tls = trusting(&authority, "users.internal");
        let dial = Gated(Semaphore::new(9), AtomicUsize::new(0));
        let service = secure_service(port, tls, http);
        let fixture = Arc::new(Fixture::of_workers(2, service, dial));
        assert_eq!(call(workers.get(0), &fixture).await.unwrap(), expected);
        let held = match http {
            HttpVersion::One => Some(Held::hold(workers.get(0)).await),
            _ => None,
        };
        assert_eq!(call(workers.get(1), &fixture).await.unwrap(), expected);
        drop(held);
        assert_eq!(call(workers.get(0), &fixture).await.unwrap(), expected);
        assert_eq!(fixture.dial.1.load(Ordering::SeqCst), 1);
    }
}

async fn failure(port: u16, tls: Tls) -> String {
    let service = secure_service(port, tls, HttpVersion::Auto);
    let fetched = Fixture::new(service, Tcp::new()).fetch(get(), 5000).await;
    let text = shown(&fetched);
    let error = fetched.result.expect_err("no handshake succeeds");
    let proxy_status = error.code.proxy_status().unwrap_or_default();
    format!(
        "{text} {proxy_status}: {}",
        error.detail.unwrap_or_default()
    )
}

#[tokio::test]
async fn a_certificate_that_is_not_right_is_named_by_its_fault() {
    let authority = Authority::new();
    let signed = authority.sign("users.internal", |_| ());
    let port = serve_tls(signed, &[], None).await;
    assert_eq!(
        failure(port, trusting(&authority, "other.internal")).await,
        "tls_failure x1 tls_certificate_error: the service's certificate is for another name"
    );
    assert_eq!(
        failure(port, trusting(&Authority::new(), "users.internal")).await,
        "tls_failure x1 tls_certificate_error: the service's certificate has an unknown issuer"
    );
    let expired = authority.sign("users.internal", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let port = serve_tls(expired, &[], None).await;
    assert_eq!(
        failure(port, trusting(&authority, "users.internal")).await,
        "tls_failure x1 tls_certificate_error: the service's certificate has expired"
    );
}

#[tokio::test]
async fn a_service_may_ask_who_we_are() {
    let authority = Authority::new();
    let signed = authority.sign("users.internal", |_| ());
    let port = serve_tls(signed, &[b"http/1.1"], Some(&authority)).await;
    let nobody = trusting(&authority, "users.internal");
    assert_eq!(
        failure(port, nobody.clone()).await,
        "tls_failure x1 tls_alert_received: the service refused the TLS handshake"
    );
    let ours = authority.sign("gateway", |_| ());
    let somebody = Tls {
        identity: Some((ours.certificate, ours.key)),
        ..nobody
    };
    let service = secure_service(port, somebody, HttpVersion::Auto);
    let fixture = Fixture::new(service, Tcp::new());
    assert_eq!(fixture.outcome(get(), 5000).await, "200 \"h1\" x1");
}

#[tokio::test]
async fn a_service_without_tls_is_a_tls_failure() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let port = serve(script(move |_, mut peer| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    }))
    .await;
    let authority = Authority::new();
    let found = failure(port, trusting(&authority, "users.internal")).await;
    assert!(
        found.starts_with("tls_failure x1 tls_protocol_error: "),
        "{found}"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn texts_that_are_not_pem_are_refused() {
    let bad = Tls {
        ca: Some(b"hello".to_vec()),
        ..Tls::default()
    };
    let message = tls::validate(&bad, HttpVersion::Auto).unwrap_err();
    assert_eq!(message, "no certificate in PEM form was found");
    assert_eq!(tls::validate(&Tls::default(), HttpVersion::Auto), Ok(()));
}
