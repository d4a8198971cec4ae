//! Whatever the guard lets through is read as the guard did, by us and by hyper; and nothing makes anybody
//! panic.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::server::guard::framing::{Framing, Limits};
use crate::server::tests::wire::{Seen, Wire};

const SEED: [u8; 32] = [7; 32];

pub fn runner(cases: u32) -> TestRunner {
    println!("seed {SEED:?}");
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

fn request_line() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => ("(GET|POST|PUT|DELETE|OPTIONS)", "/[a-z%0-9./?&=\\[\\]{}|\"^`<>~!$'()*,;:@-]{0,12}")
            .prop_map(|(method, target)| format!("{method} {target} HTTP/1.1\r\n")),
        1 => Just("OPTIONS * HTTP/1.1\r\n".to_owned()),
        1 => Just("POST http://h/x HTTP/1.1\r\n".to_owned()),
        1 => Just("POST / HTTP/1.0\r\n".to_owned()),
        1 => Just("\r\nGET / HTTP/1.1\r\n".to_owned()),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-zA-Z!#$%&'*+.^_`|~0-9-]{1,6}:[ \t]{0,2}[ -~]{0,8}[ \t]{0,2}\r\n",
        1 => Just("connection: keep-alive\r\n".to_owned()),
        1 => Just("connection: close\r\n".to_owned()),
        1 => Just("connection: upgrade\r\nupgrade: h2c\r\n".to_owned()),
        1 => Just("expect: 100-continue\r\n".to_owned()),
        1 => Just("te: trailers\r\n".to_owned()),
    ]
}

/// The lines that frame a body, and the body.
fn body() -> impl Strategy<Value = (String, String)> {
    let chunk = ("[a-z]{1,9}", "(|;a|;a=b| ;c=\"d\"|;\\\\)", "(|0|00)").prop_map(
        |(data, extension, zeros)| format!("{zeros}{:X}{extension}\r\n{data}\r\n", data.len()),
    );
    let trailers = prop::collection::vec(field(), 0..3).prop_map(|fields| fields.concat());
    prop_oneof![
        Just((String::new(), String::new())),
        "[a-z\r\n]{0,20}".prop_map(|data| (format!("content-length: {}\r\n", data.len()), data)),
        (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{}0\r\n{trailers}\r\n", chunks.concat()),
        )),
    ]
}

fn message() -> impl Strategy<Value = String> {
    (request_line(), prop::collection::vec(field(), 0..4), body()).prop_map(
        |(line, fields, (framing, body))| {
            format!("{line}host: h\r\n{}{framing}\r\n{body}", fields.concat())
        },
    )
}

/// Where, which byte, and whether it is put in, put over another, or takes one away.
fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    let byte = prop_oneof![
        Just(b'\r'),
        Just(b'\n'),
        Just(b' '),
        Just(b':'),
        Just(b','),
        Just(0),
        Just(b'0'),
        any::<u8>(),
    ];
    let mutation = (any::<prop::sample::Index>(), byte, 0u8..3);
    prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(mutation, 1..3)]
}

pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(message(), 1..4), mutations()).prop_map(|(messages, mutations)| {
        let mut bytes = messages.concat().into_bytes();
        for (place, byte, kind) in mutations {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 => bytes[at] = byte,
                _ => {
                    bytes.remove(at);
                }
            }
        }
        bytes
    })
}

/// What the guard passes, as the messages that it takes it for.
fn passed(bytes: &[u8]) -> Vec<Seen> {
    let mut framing = Framing::new(Limits {
        header_bytes: 32 * 1024,
        headers: 64,
        uri: 8 * 1024,
    });
    let mut rest = bytes;
    let mut messages: Vec<Seen> = Vec::new();
    let mut is_complete = true;
    loop {
        let was_head = framing.is_at_head();
        let unexamined = framing.unexamined() as usize;
        let Ok(count @ 1..) = framing.advance(rest) else {
            break;
        };
        if was_head {
            messages.push(parse(&rest[..count]));
        } else if unexamined > 0 {
            let body = &mut messages.last_mut().unwrap().body;
            body.extend_from_slice(&rest[..count]);
        }
        rest = &rest[count..];
        is_complete = framing.is_at_head();
    }
    if !is_complete {
        messages.pop();
    }
    messages
}

/// A head that is known to be strict, read in the plainest way.
fn parse(head: &[u8]) -> Seen {
    let head: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.trim_start_matches("\r\n").split("\r\n");
    let mut line = lines.next().unwrap().split(' ');
    let mut headers: Vec<(String, Vec<u8>)> = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim_matches([' ', '\t']);
            (
                name.to_ascii_lowercase().replace("upgrade", "trailer"),
                value.chars().map(|character| character as u8).collect(),
            )
        })
        .collect();
    headers.sort();
    Seen {
        method: line.next().unwrap().to_owned(),
        target: line.next().unwrap().to_owned(),
        headers,
        body: Vec::new(),
    }
}

/// A message after which hyper reads no other.
fn is_last(message: &Seen) -> bool {
    message
        .headers
        .iter()
        .any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case(b"close"))
}

/// What the service sees of a connection that brings `bytes` and ends.
async fn seen(bytes: &[u8]) -> Vec<Seen> {
    let mut wire = Wire::open();
    wire.send(bytes).await;
    // A message that is not complete is waited for.
    let _ = timeout(Duration::from_secs(100), wire.rest()).await;
    drop(wire.client);
    wire.task.await.expect("nothing panics");
    let mut seen = wire.echo.seen.lock().unwrap().clone();
    for message in &mut seen {
        message.headers.sort();
    }
    seen
}

#[test]
fn what_the_guard_passes_is_read_in_the_same_way() {
    let compared = std::cell::Cell::new(0);
    let result = runner(3000).run(&stream(), |bytes| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let seen = runtime.block_on(seen(&bytes));
        let mut expected = passed(&bytes);
        if let Some(last) = expected.iter().position(is_last) {
            expected.truncate(last + 1);
        }
        // HTTP/1.0 ends with its answer, unless it says otherwise.
        prop_assert!(seen.len() <= expected.len());
        prop_assert_eq!(&expected[..seen.len()], &seen[..]);
        compared.set(compared.get() + seen.len());
        let ends_early = bytes.windows(8).any(|part| part == b"HTTP/1.0");
        prop_assert!(
            seen.len() == expected.len() || ends_early,
            "{} of {}",
            seen.len(),
            expected.len()
        );
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(compared.get() > 2000, "{} messages", compared.get());
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let result = runner(2000).run(&prop::collection::vec(any::<u8>(), 0..300), |bytes| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut wire = Wire::open();
            wire.send(&bytes).await;
            let _ = wire.client.shutdown().await;
            wire.rest().await;
            wire.task.await.expect("nothing panics");
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
