//! The guard alone: what it lets through, what it refuses, and with which code.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

use crate::engine::code::Code;
use crate::plan::settings;
use crate::server::guard::Guard;
use crate::server::guard::framing::{Framing, Limits};
use crate::server::guard::refusal::Refusal;
use crate::server::link::Link;

fn limits() -> Limits {
    Limits {
        header_bytes: 1024,
        headers: 8,
        uri: 256,
    }
}

/// Feeds `bytes` in pieces of `size`: how many were passed, how many heads, and the refusal.
fn feed(bytes: &[u8], size: usize) -> (usize, u64, Option<Refusal>) {
    let mut framing = Framing::new(limits());
    let mut passed = 0;
    let mut arrived = 0;
    loop {
        match framing.advance(&bytes[passed..arrived]) {
            Ok(0) if arrived == bytes.len() => return (passed, framing.heads(), None),
            Ok(0) => arrived = (arrived + size).min(bytes.len()),
            Ok(count) => passed += count,
            Err(refusal) => return (passed, framing.heads(), Some(refusal)),
        }
    }
}

/// The code a message is refused with, or `None` where all of it goes through as one message.
/// However the bytes arrive, the outcome is the same.
fn refused(bytes: &[u8]) -> Option<Code> {
    let whole = feed(bytes, bytes.len());
    for size in [1, 2, 7] {
        let pieces = feed(bytes, size);
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(pieces.1, whole.1, "{shown:?} by {size}");
        assert_eq!(
            pieces.2.map(|refusal| refusal.code),
            whole.2.map(|refusal| refusal.code),
            "{shown:?} by {size}"
        );
    }
    if whole.2.is_none() {
        assert_eq!(whole.0, bytes.len(), "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(whole.1, 1, "{:?}", String::from_utf8_lossy(bytes));
    }
    whole.2.map(|refusal| refusal.code)
}

const BAD: Option<Code> = Some(Code::BadRequest);

#[test]
fn a_request_line_is_method_target_version_and_nothing_else() {
    let long = format!("/{}", "x".repeat(255));
    let longer = format!("/{}", "x".repeat(256));
    let rows: Vec<(String, Option<Code>)> = vec![
        ("GET / HTTP/1.1".into(), None),
        ("GET / HTTP/1.0".into(), None),
        ("TRACE / HTTP/1.1".into(), None),
        ("DELETE /a/b%20c?d=e[f]&g={h} HTTP/1.1".into(), None),
        ("OPTIONS * HTTP/1.1".into(), None),
        ("GET http://h/x HTTP/1.1".into(), None),
        ("GET HTTP://H:80/x HTTP/1.1".into(), None),
        ("GET https://h:443 HTTP/1.1".into(), None),
        ("GET http://h?x HTTP/1.1".into(), None),
        (format!("GET {long} HTTP/1.1"), None),
        (format!("GET {longer} HTTP/1.1"), Some(Code::UriTooLong)),
        (
            format!("GET /{} HTTP/1.1", "x".repeat(9000)),
            Some(Code::UriTooLong),
        ),
        ("GET  / HTTP/1.1".into(), BAD),
        (" GET / HTTP/1.1".into(), BAD),
        ("GET / HTTP/1.1 ".into(), BAD),
        ("GET\t/ HTTP/1.1".into(), BAD),
        ("GET /".into(), BAD),
        ("GET / x HTTP/1.1".into(), BAD),
        ("GET /a#b HTTP/1.1".into(), BAD),
        ("GET /a\x00b HTTP/1.1".into(), BAD),
        ("GET /ä HTTP/1.1".into(), BAD),
        ("GET x HTTP/1.1".into(), BAD),
        ("GET * HTTP/1.1".into(), BAD),
        ("GET ftp://h/ HTTP/1.1".into(), BAD),
        ("GET http://other/ HTTP/1.1".into(), BAD),
        ("GET http://h:81/ HTTP/1.1".into(), BAD),
        ("GET http://user@h/ HTTP/1.1".into(), BAD),
        ("GET http:///x HTTP/1.1".into(), BAD),
        ("GET h:80 HTTP/1.1".into(), BAD),
        ("get / HTTP/1.1".into(), BAD),
        ("G(T / HTTP/1.1".into(), BAD),
        ("CONNECT h:80 HTTP/1.1".into(), Some(Code::UnknownMethod)),
        ("BREW / HTTP/1.1".into(), Some(Code::UnknownMethod)),
        ("GET / HTTP/1.2".into(), Some(Code::VersionNotSupported)),
        ("GET / HTTP/2.0".into(), Some(Code::VersionNotSupported)),
        ("GET / HTTP/1.10".into(), Some(Code::VersionNotSupported)),
        ("GET / http/1.1".into(), Some(Code::VersionNotSupported)),
        ("GET / HTP/1.1".into(), BAD),
        ("\r\nGET / HTTP/1.1".into(), None),
        ("\r\n\r\nGET / HTTP/1.1".into(), BAD),
    ];
    for (line, expected) in rows {
        let message = format!("{line}\r\nhost: h\r\n\r\n");
        assert_eq!(refused(message.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn header_lines_are_strict() {
    let value = "v".repeat(900);
    let rows: Vec<(String, Option<Code>)> = vec![
        ("host: h\r\n".into(), None),
        ("host:h\r\nx:\r\ny: \t a b \t\r\n".into(), None),
        ("host: h\r\nx_y: 1\r\n".into(), None),
        (
            "host: h\r\nconnection: keep-alive, TE\r\nte: trailers\r\n".into(),
            None,
        ),
        (format!("host: h\r\nx: {value}\r\n"), None),
        (
            format!("host: h\r\nx: {value}\r\ny: {value}\r\n"),
            Some(Code::HeadersTooLarge),
        ),
        (
            format!("host: h\r\nx: {}\r\n", "v".repeat(9000)),
            Some(Code::HeadersTooLarge),
        ),
        (format!("host: h\r\n{}", "a: b\r\n".repeat(7)), None),
        (
            format!("host: h\r\n{}", "a: b\r\n".repeat(8)),
            Some(Code::HeadersTooLarge),
        ),
        (String::new(), BAD),
        ("host:\r\n".into(), BAD),
        ("host: a b\r\n".into(), BAD),
        ("host: a, b\r\n".into(), BAD),
        ("host: h\r\nhost: h\r\n".into(), BAD),
        ("host: h\r\nHost: other\r\n".into(), BAD),
        ("host : h\r\n".into(), BAD),
        ("host: h\nx: y\r\n".into(), BAD),
        ("host: h\r\nx: a\rb\r\n".into(), BAD),
        ("host: h\r\nx: a\r\n b\r\n".into(), BAD),
        ("host: h\r\nx: a\r\n\tb\r\n".into(), BAD),
        ("host: h\r\nx\r\n".into(), BAD),
        ("host: h\r\n: x\r\n".into(), BAD),
        ("host: h\r\nx y: z\r\n".into(), BAD),
        ("host: h\r\nx: a\x00b\r\n".into(), BAD),
        ("host: h\r\nx: a\x7fb\r\n".into(), BAD),
        ("host: h\r\ncontent_length: 5\r\n".into(), BAD),
        ("host: h\r\nTransfer_Encoding: chunked\r\n".into(), BAD),
        ("host: h\r\nHOST_: h\r\n".into(), None),
        ("host: h\r\nconnection: close, Host\r\n".into(), BAD),
        ("host: h\r\nconnection: authorization\r\n".into(), BAD),
    ];
    for (fields, expected) in rows {
        let message = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(message.as_bytes()), expected, "{fields:?}");
    }
    assert_eq!(
        refused(b"GET / HTTP/1.1\r\nhost: h\r\nx: \xe4\xff\r\n\r\n"),
        None
    );
    assert_eq!(refused(b"GET / HTTP/1.0\r\n\r\n"), None);
}

#[test]
fn a_body_has_one_framing() {
    let rows: Vec<(&str, Option<Code>)> = vec![
        ("content-length: 3\r\n\r\nabc", None),
        ("content-length: 003\r\n\r\nabc", None),
        ("transfer-encoding: Chunked\r\n\r\n0\r\n\r\n", None),
        (
            "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            BAD,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            BAD,
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            BAD,
        ),
        ("transfer-encoding: xchunked\r\n\r\n", BAD),
        ("transfer-encoding: gzip, chunked\r\n\r\n", BAD),
        ("transfer-encoding: chunked,\r\n\r\n", BAD),
        ("transfer-encoding: , chunked\r\n\r\n", BAD),
        ("transfer-encoding: identity\r\n\r\n", BAD),
        ("transfer-encoding:\r\n\r\n", BAD),
        ("transfer-encoding: \x0bchunked\r\n\r\n", BAD),
        ("content-length: 3\r\ncontent-length: 4\r\n\r\n", BAD),
        ("content-length: 3\r\ncontent-length: 3\r\n\r\n", BAD),
        ("content-length: 3, 3\r\n\r\n", BAD),
        ("content-length: +3\r\n\r\n", BAD),
        ("content-length: -3\r\n\r\n", BAD),
        ("content-length: 0x3\r\n\r\n", BAD),
        ("content-length: 3 4\r\n\r\n", BAD),
        ("content-length:\r\n\r\n", BAD),
        (
            "content-length: 99999999999999999999\r\n\r\n",
            Some(Code::BodyTooLarge),
        ),
    ];
    for (rest, expected) in rows {
        let message = format!("POST / HTTP/1.1\r\nhost: h\r\n{rest}");
        assert_eq!(refused(message.as_bytes()), expected, "{rest:?}");
    }
    let old = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(old), BAD);
}

#[test]
fn chunks_are_strict() {
    let long = "x".repeat(1100);
    let rows: Vec<(String, Option<Code>)> = vec![
        ("0\r\n\r\n".into(), None),
        ("3\r\nabc\r\n0\r\n\r\n".into(), None),
        ("A\r\n0123456789\r\n00\r\n\r\n".into(), None),
        ("3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n".into(), None),
        ("3 ;a\r\nabc\r\n0\r\n\r\n".into(), None),
        ("3\r\nabc\r\n0\r\nx: y\r\nz: \r\n\r\n".into(), None),
        ("\r\n".into(), BAD),
        (" 3\r\nabc\r\n".into(), BAD),
        ("3 \r\nabc\r\n".into(), BAD),
        ("0x3\r\nabc\r\n".into(), BAD),
        ("+3\r\nabc\r\n".into(), BAD),
        ("-3\r\nabc\r\n".into(), BAD),
        ("g\r\nabc\r\n".into(), BAD),
        ("3\nabc\r\n".into(), BAD),
        ("3\r\nabcd\r\n".into(), BAD),
        ("3\r\nabc\n".into(), BAD),
        ("3\r\nabc\rx".into(), BAD),
        ("3;a\x00\r\nabc\r\n".into(), BAD),
        ("3;a\rb\r\nabc\r\n".into(), BAD),
        ("fffffffffffffffff\r\n".into(), BAD),
        ("0\r\nx\r\n\r\n".into(), BAD),
        ("0\r\nx: y\r\n z\r\n\r\n".into(), BAD),
        ("0\r\nx: y\n\r\n".into(), BAD),
        ("0\r\nx : y\r\n\r\n".into(), BAD),
        (format!("3;{long}\r\nabc\r\n"), Some(Code::HeadersTooLarge)),
        (format!("3;{long}"), Some(Code::HeadersTooLarge)),
        (
            format!("0\r\nx: {long}\r\n\r\n"),
            Some(Code::HeadersTooLarge),
        ),
        (
            format!("0\r\n{}\r\n", "x: y\r\n".repeat(7)),
            Some(Code::HeadersTooLarge),
        ),
        (
            format!("{}0\r\n\r\n", "1;0123456789abcdef\r\nx\r\n".repeat(80)),
            Some(Code::HeadersTooLarge),
        ),
    ];
    for (chunks, expected) in rows {
        let message =
            format!("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(refused(message.as_bytes()), expected, "{chunks:?}");
    }
}

#[test]
fn messages_follow_each_other() {
    let first = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n";
    let second = "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab";
    let third = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let all = [first, second, third].concat();
    for size in [1, 3, 1000] {
        assert_eq!(feed(all.as_bytes(), size), (all.len(), 3, None));
    }
    let bad = [first, second, "GET / HTTP/1.1\nhost: h\r\n\r\n"].concat();
    let (passed, heads, refusal) = feed(bad.as_bytes(), 5);
    assert_eq!((passed, heads), (first.len() + second.len(), 2));
    assert_eq!(refusal.map(|refusal| refusal.code), BAD);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_holds_no_buffer() {
    let (mut client, io) = duplex(1024);
    let settings = settings::Server::default();
    let link = Link::new("127.0.0.1:9".parse().unwrap());
    let mut guard = Guard::new(io, link, &settings.limits, &settings.timeouts);
    let message = b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab";
    let mut out = vec![0; message.len()];
    client.write_all(message).await.unwrap();
    guard.read_exact(&mut out).await.unwrap();
    assert_eq!(out, message);
    let more = guard.read(&mut out);
    assert!(timeout(settings.timeouts.headers / 2, more).await.is_err());
    assert_eq!(guard.buffer.capacity(), 0);
}
