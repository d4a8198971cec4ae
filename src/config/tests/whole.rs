//! What is read of right documents.

use std::time::Duration;

use super::*;
use crate::config::document::{
    FallbackSource, ForwardQuery, HttpVersion, Memory, Payload, Percentage, ResponseBody, Retry,
    RetryOn,
};

#[test]
fn a_call_is_read_whole() {
    let (_folder, reading) = read_text(
        "route: POST /x/{id}\nhost: Shop.example.com:80\ntimeout: 1.5s\nresponse: { status: $.a.status, text: hi }\ncalls:\n  a:\n    post: /p\n    service: s-1\n    query: { a: [1, $.b], c: true }\n    forward_query: '*'\n    forward_headers: [accept]\n    form: { a: b }\n    timeout: ${WAIT}\n    retry: { attempts: \"${N}\", only: [connect, 503], backoff: 1ms..2ms }\n    optional: ${YES}\n    fallback: [ { call: b, only: not_sent }, { value: null } ]\n    for_each: p in $.b\n    max_items: 3\n    pass_status: [404]\n    decode: none\n    max_body: 2KiB\n",
    );
    assert_eq!(reading.findings, []);
    let route = &reading.documents.routes[0];
    assert_eq!(route.name.value, "post-x-id");
    assert_eq!(route.host.as_ref().unwrap().value, "shop.example.com");
    assert_eq!(
        route.timeout.as_ref().unwrap().value,
        Duration::from_millis(1500)
    );
    let response = &route.response.as_ref().unwrap().value;
    assert!(matches!(
        response.body.as_ref().unwrap().value,
        ResponseBody::Text(_)
    ));
    let call = &route.calls[0];
    let target = call.target.as_ref().unwrap();
    assert_eq!(target.method.value, http::Method::POST);
    assert_eq!(target.path.text().unwrap().filled(), "/p");
    assert_eq!(call.service.as_ref().unwrap().value, "s-1");
    assert_eq!(call.query.as_ref().unwrap().value.len(), 2);
    assert!(matches!(
        call.forward_query.as_ref().unwrap().value,
        ForwardQuery::All
    ));
    assert!(matches!(
        call.payload.as_ref().unwrap().value,
        Payload::Form(_)
    ));
    assert_eq!(
        call.timeout.as_ref().unwrap().value,
        Duration::from_millis(150)
    );
    let Retry::On(retry) = &call.retry.as_ref().unwrap().value else {
        panic!("retry is on");
    };
    assert_eq!(retry.attempts.as_ref().unwrap().value, 2);
    let only: Vec<RetryOn> = retry
        .only
        .as_ref()
        .unwrap()
        .value
        .iter()
        .map(|reason| reason.value)
        .collect();
    assert_eq!(only, [RetryOn::Connect, RetryOn::Status(503)]);
    assert!(call.optional.as_ref().unwrap().value);
    let fallback = &call.fallback.as_ref().unwrap().value;
    assert!(matches!(fallback[0].source, FallbackSource::Call(_)));
    assert!(fallback[0].only_not_sent.is_some() && fallback[1].only_not_sent.is_none());
    assert_eq!(call.pass_status.as_ref().unwrap().value[0].value, 404);
    assert_eq!(call.max_body.as_ref().unwrap().value, 2048);
}

#[test]
fn a_gateway_has_the_defaults_of_the_contract() {
    let (_folder, reading) = read_text("services: { a: { url: \"${URL}\" } }\n");
    assert_eq!(reading.findings, []);
    let documents = &reading.documents;
    let server = &documents.server;
    assert_eq!(server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(documents.admin.listen.to_string(), "127.0.0.1:9901");
    assert_eq!(server.limits.connections, 10_000);
    assert_eq!(server.limits.header_bytes, 32 << 10);
    assert_eq!(server.timeouts.idle, Duration::from_secs(60));
    assert_eq!((server.json.depth, server.json.nodes), (64, 100_000));
    assert_eq!(server.drain.max, Duration::from_secs(30));
    assert_eq!(server.limits.per_address, None);
    assert_eq!(server.shed.lag, Duration::from_millis(20));
    assert_eq!(server.shed.in_flight, 4096);
    assert_eq!(server.shed.memory, Memory::Share(Percentage(2500)));
    let service = &documents.services[0];
    assert_eq!(service.http, HttpVersion::Auto);
    assert_eq!(service.connect_timeout, Duration::from_secs(1));
    assert_eq!(service.pool.max_age, Duration::from_secs(300));
    assert_eq!(service.urls[0].value.port, 1);
}

#[test]
fn a_gateway_is_read_whole() {
    let (_folder, reading) = read_text(
        "server:\n  listen: '[::]:1'\n  trusted: [10.0.0.0/8, '::1']\n  limits: { connections: 5, body: 2MiB }\n  server_timing: true\nadmin: { listen: 0.0.0.0:2 }\ndefaults: { timeout: 500ms, headers: { a: b }, retry: false }\nservices:\n  a:\n    urls: [http://b:1, https://c]\n    http: 2\n    pool: { max_idle: 0 }\n    tls: { server_name: d }\n    max_body: 1B\n",
    );
    assert_eq!(reading.findings, []);
    let documents = reading.documents;
    assert_eq!(documents.server.trusted.len(), 2);
    assert_eq!(documents.server.limits.body, 2 << 20);
    assert!(documents.server.server_timing);
    let retry = documents.defaults.retry.unwrap().value;
    assert!(matches!(retry, Retry::Off));
    let service = &documents.services[0];
    assert_eq!(service.urls.len(), 2);
    assert_eq!(service.http, HttpVersion::Two);
    assert_eq!(service.pool.max_idle, 0);
    assert_eq!(service.shared.max_body.as_ref().unwrap().value, 1);
}

#[test]
fn default_names_are_made_from_the_route() {
    for (route, name) in [
        ("GET /v1/products/{id}", "get-v1-products-id"),
        ("GET /", "get"),
        ("GET /a//B_c/{rest...}", "get-a-b-c-rest"),
    ] {
        let (_folder, reading) = read_text(&format!("route: {route}\nresponse: {{}}\n"));
        assert_eq!(reading.documents.routes[0].name.value, name);
    }
}

#[test]
fn named_files_are_read_beside_the_file_that_names_them() {
    let folder = Folder::new();
    folder.write("schemas/x.json", "{}");
    folder.write("secret", "s3cret\n");
    folder.write(
        "f.yaml",
        "route: GET /\nresponse: { text: \"${file:secret}\" }\ninput: { body: { schema: schemas/x.json } }\n",
    );
    folder.write(
        "g.yaml",
        "services: { a: { url: http://a, tls: { ca: none.pem } } }\n",
    );
    let reading = folder.read();
    assert_eq!(places(&reading), ["R0117 1:44"]);
    let input = &reading.documents.routes[0].input.as_ref().unwrap().value;
    let schema = &input.body.as_ref().unwrap().value.schema.as_ref().unwrap();
    assert_eq!(schema.value.bytes, b"{}");
    for name in [
        "schemas/x.json",
        "secret",
        "none.pem",
        "f.yaml",
        "g.yaml",
        "",
    ] {
        let path = folder.0.join(name);
        let path = match name {
            "" => folder.0.clone(),
            _ => path,
        };
        assert!(reading.documents.watched.contains(&path), "{name}");
    }
}
