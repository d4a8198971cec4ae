//! Runs every case of `tests/corpus`: markdown that says what a route has to do, in virtual time.
//!
//! A file is one case, or one for each `##`; blocks before the first `##` hold for all of them. The
//! blocks, by what stands behind their fence:
//!
//! - `yaml`: the route. Services that it does not declare are declared for it, by its calls' names.
//! - `json file NAME`: a file beside it.
//! - `json services`: by call, `{ status, headers, json | text, delay, fault, attempts, cache }`, or
//!   a list of these, one for each time. A call that is made and not named fails the case.
//! - `http request`: the line, headers, a body.
//! - `http reply`: `200` or `200 after 420ms`, headers that have to be there (`!name`: must not), the
//!   body to the letter, but for white space between the parts of JSON (`http reply exact`: with it).
//!   `…` stands for anything.
//! - `text calls`: every call that was made, `START-END NAME METHOD TARGET` in milliseconds, with the
//!   headers its keys set and its body; `cancelled` behind the times of one that was cut, and `after`
//!   for them where it is sent when the answer is out.
//! - `text record`: `NAME OUTCOME` for every call, as `anabranch_calls_total` has it; behind a list of
//!   which some were kept, `N kept`.

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anabranch::check;
use anabranch::engine::fetch::Identity;
use anabranch::engine::record::Record;
use anabranch::engine::reply::{Reply, ReplyBody};
use anabranch::engine::request::{Request, RequestBody};
use anabranch::engine::{input, run};
use anabranch::plan::Table;
use anabranch::plan::matcher::Match;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use support::case::{Case, Message, cases, compact, declared, fits, one_spaced};
use support::script::{Services, describe};
use support::{Folder, files_below, root};
use tokio::time::Instant;

#[test]
fn every_case_of_the_corpus_holds() {
    let folder = root().join("tests/corpus");
    let mut count = 0;
    let mut failures = Vec::new();
    for file in files_below(&folder, ".md") {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        let markdown = std::fs::read_to_string(&file).unwrap();
        for case in cases(&name, &markdown) {
            count += 1;
            if let Err(difference) = hold(&case) {
                failures.push(format!("=== {}\n{difference}", case.name));
            }
        }
    }
    assert!(count >= 40, "only {count} cases were found");
    assert!(
        failures.is_empty(),
        "{} of {count} cases do not hold\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What came out, in the form in which a case expects it.
struct Outcome {
    status: u16,
    after: Duration,
    headers: HeaderMap,
    body: String,
    calls: Vec<String>,
    record: Vec<String>,
}

fn hold(case: &Case) -> Result<(), String> {
    let table = compiled(case)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let outcome = runtime.block_on(perform(&table, case));
    let faults = faults(case, &outcome);
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\n--- it was\n{}",
        faults.join("\n"),
        shown(&outcome)
    ))
}

fn compiled(case: &Case) -> Result<Arc<Table>, String> {
    let folder = Folder::new();
    for (name, text) in &case.files {
        folder.write(name, text);
    }
    let route = folder.write("route.yaml", &case.yaml);
    let mut paths = vec![route];
    if !case.yaml.lines().any(|line| line.starts_with("services:")) {
        paths.push(folder.write("services.yaml", &declared(&case.yaml)));
    }
    let examination = check::examine(&paths);
    examination.table.ok_or_else(|| {
        let findings = examination.diagnostics.iter().map(|finding| {
            let at = finding.span.start as usize;
            let file = &examination.files.files[finding.span.file.0 as usize];
            let line = file.text[..at].matches('\n').count() + 1;
            format!("{}: {} ({line})", finding.code, finding.message)
        });
        findings.collect::<Vec<_>>().join("\n")
    })
}

async fn perform(table: &Table, case: &Case) -> Outcome {
    let services = Services::new(&case.services);
    let started = Instant::now();
    let (method, target) = case.request.start.split_once(' ').expect("METHOD TARGET");
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = target.split('?').next().unwrap_or_default();
    let headers = header_map(&case.request.headers);
    let host = headers
        .get("host")
        .map_or("", |host| host.to_str().unwrap());
    let (index, parameters) = match table.matcher.find(&method, host, path) {
        Match::Route { index, parameters } => (index, parameters),
        Match::Options { allow } => return door(204, Some(allow)),
        Match::MethodNotAllowed { allow } => return door(405, Some(allow)),
        Match::NotFound => return door(404, None),
        Match::BadPath => return door(400, None),
    };
    let route = &table.routes[index];
    let request = Request {
        method,
        host: host.to_owned(),
        parameters,
        query: query(target),
        raw_query: target.split_once('?').map(|(_, query)| query.to_owned()),
        headers,
        body: RequestBody::Read(Bytes::from(case.request.body.clone())),
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        identity: Arc::new(identity()),
        started,
        deadline: started + route.timeout,
        brownout: false,
    };
    let accepted = match input::accept(route, request) {
        Ok(accepted) => accepted,
        Err(problem) => {
            let body = problem.body("req-1");
            return Outcome {
                status: problem.status,
                after: Duration::ZERO,
                headers: HeaderMap::new(),
                body: String::from_utf8(body).unwrap(),
                calls: Vec::new(),
                record: Vec::new(),
            };
        }
    };
    let reply = run::run(route, &accepted, &services).await;
    finished(reply, &services, started).await
}

async fn finished(reply: Box<Reply>, services: &Services, started: Instant) -> Outcome {
    let after = started.elapsed();
    let body = match reply.body {
        ReplyBody::Bytes(bytes) => bytes,
        ReplyBody::Stream(stream) => stream.collect().await.unwrap().to_bytes(),
    };
    let mut calls = services.log();
    for exchange in &reply.detached {
        let text = format!("after {}", describe(exchange));
        calls.extend(text.lines().map(str::to_owned));
    }
    Outcome {
        record: recorded(&reply.record),
        status: reply.status,
        after,
        headers: reply.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        calls,
    }
}

fn recorded(record: &Record) -> Vec<String> {
    let lines = record.calls.iter().map(|call| {
        let name = &record.route.calls[call.call.0].name;
        let line = format!("{name} {}", call.outcome.name());
        match call.items {
            Some(_) if call.of_cache > 0 => format!("{line} {} kept", call.of_cache),
            _ => line,
        }
    });
    lines.collect()
}

/// What the server answers without a run.
fn door(status: u16, allow: Option<String>) -> Outcome {
    let mut headers = HeaderMap::new();
    if let Some(allow) = allow {
        headers.insert("allow", allow.parse().unwrap());
    }
    Outcome {
        status,
        after: Duration::ZERO,
        headers,
        body: String::new(),
        calls: Vec::new(),
        record: Vec::new(),
    }
}

fn identity() -> Identity {
    Identity {
        request_id: "req-1".to_owned(),
        trace_id: *b"0af7651916cd43dd8448eb211c80319c",
        trace_flags: 1,
        trace_state: None,
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        via: None,
    }
}

fn header_map(lines: &[String]) -> HeaderMap {
    let pairs = lines.iter().map(|line| {
        let (name, value) = line.split_once(':').expect("a header has a colon");
        (
            HeaderName::from_bytes(name.trim().as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        )
    });
    let mut map = HeaderMap::new();
    pairs.for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

/// Decoded pairs, as the server reads them.
fn query(target: &str) -> Vec<(String, String)> {
    let (_, query) = target.split_once('?').unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.replace('+', " ").into_bytes().into_iter();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let hex: String = rest.by_ref().take(2).map(char::from).collect();
        out.push(u8::from_str_radix(&hex, 16).expect("a case encodes its query"));
    }
    String::from_utf8(out).unwrap()
}

fn faults(case: &Case, outcome: &Outcome) -> Vec<String> {
    let Message {
        start,
        headers,
        body,
    } = &case.reply;
    let mut faults = Vec::new();
    let (status, after) = start.split_once(" after ").unwrap_or((start, ""));
    if status != outcome.status.to_string() {
        faults.push(format!("the status was to be {status}"));
    }
    if !after.is_empty() && after != format!("{}ms", outcome.after.as_millis()) {
        faults.push(format!("the answer was to come after {after}"));
    }
    let present = header_lines(&outcome.headers);
    for line in headers {
        let is_there = match line.strip_prefix('!') {
            Some(name) => !outcome.headers.contains_key(name),
            None => present.iter().any(|header| fits(line, header)),
        };
        if !is_there {
            faults.push(format!("of the headers: {line}"));
        }
    }
    let is_json = body.starts_with(['{', '[']) && !case.is_exact;
    let (expected, got) = match is_json {
        true => (compact(body), compact(&outcome.body)),
        false => (body.clone(), outcome.body.clone()),
    };
    if !fits(&expected, &got) {
        faults.push(format!("the body was to be\n{expected}"));
    }
    if let Some(calls) = &case.calls {
        let made: Vec<String> = outcome.calls.iter().map(|line| one_spaced(line)).collect();
        let fit = calls.len() == made.len()
            && calls
                .iter()
                .zip(&made)
                .all(|(expected, line)| fits(expected, line));
        if !fit {
            faults.push(format!("the calls were to be\n{}", calls.join("\n")));
        }
    }
    if let Some(record) = &case.record
        && *record != outcome.record
    {
        faults.push(format!("the record was to be\n{}", record.join("\n")));
    }
    faults
}

fn header_lines(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {value}")
    });
    lines.collect()
}

fn shown(outcome: &Outcome) -> String {
    format!(
        "{} after {}ms\n{}\n\n{}\n\n{}\n\n{}",
        outcome.status,
        outcome.after.as_millis(),
        header_lines(&outcome.headers).join("\n"),
        outcome.body,
        outcome.calls.join("\n"),
        outcome.record.join("\n")
    )
}

#[test]
fn a_case_can_fail() {
    let outcome = Outcome {
        status: 200,
        after: Duration::from_millis(5),
        headers: header_map(&["x-a: 1".to_owned()]),
        body: r#"{"a":"b c"}"#.to_owned(),
        calls: vec!["0-5 a GET /a".to_owned()],
        record: Vec::new(),
    };
    let check = |reply: &str, calls: &str, expected: usize| {
        let markdown = format!(
            "```yaml\nroute: GET /\n```\n```http request\nGET /\n```\n```http reply\n{reply}\n```\n\
             ```text calls\n{calls}\n```\n"
        );
        let case = &cases("a case", &markdown)[0];
        let faults = faults(case, &outcome);
        assert_eq!(faults.len(), expected, "{reply}: {faults:?}");
    };
    let body = "\n\n{ \"a\": \"b c\" }";
    let call = "0-5   a GET /a";
    check(&format!("200 after 5ms\nx-a: 1\n!x-b{body}"), call, 0);
    check(&format!("200{body}"), "…-5 a GET …", 0);
    check(&format!("201{body}"), call, 1);
    check(&format!("200 after 6ms{body}"), call, 1);
    check(&format!("200\nx-a: 2\n!x-a{body}"), call, 2);
    check("200\n\n{ \"a\": \"bc\" }", call, 1);
    check("200", call, 1);
    check(&format!("200{body}"), "0-5 a GET /b", 1);
    check(&format!("200{body}"), "0-5 a GET /a\n5-9 b GET /b", 1);
}
