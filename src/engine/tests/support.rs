//! A route from its text, a scripted [`Fetch`], and what a run of the one against the other shows.
//!
//! A script has a line for each time a call is made, in that order; the last one of a call stands for
//! all that follow: `NAME MILLISECONDS STATUS [retry-after=N] [BODY]`, `NAME MILLISECONDS !CODE`, or
//! `NAME stuck` for a call that forgets its deadline.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config;
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, CallError, Exchange, Fetch, Fetched, Head, Identity, Made, Opened, StreamedRequest,
};
use crate::engine::reply::{Reply, ReplyBody};
use crate::engine::request::{Request, RequestBody};
use crate::engine::{input, judge, run};
use crate::json;
use crate::plan::compile::compile;
use crate::plan::{CallId, Role, Route};

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

const SERVICES: &str = "
---
services:
  a: { url: http://a }
  b: { url: http://b }
  c: { url: http://c }
  d: { url: http://d }
  e: { url: http://e }
  f: { url: http://f }
";

/// The plan of one route document; its services are `a` to `f`.
pub fn route(text: &str) -> Arc<Route> {
    route_with(text, &[])
}

/// The same with files beside it.
pub fn route_with(text: &str, files: &[(&str, &str)]) -> Arc<Route> {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let name = format!("anabranch-engine-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join("routes.yaml");
    std::fs::write(&file, format!("{text}{SERVICES}")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let reading = config::read(&[file], &|_| None);
    std::fs::remove_dir_all(&folder).unwrap();
    let reading = reading.unwrap_or_else(|_| panic!("the file is readable"));
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    let compiled = compile(&reading.documents, &reading.files);
    let table = compiled.table;
    let table = table.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    Arc::clone(&table.routes[0])
}

// === Services

#[derive(Clone)]
struct Line {
    name: String,
    /// `None`: stuck.
    delay: Option<u64>,
    result: Result<(u16, Option<u32>, String), Code>,
}

pub struct Scripted {
    lines: Mutex<Vec<Line>>,
    started: Instant,
    /// `0 +a` when it was made, `100 -a` when it ended, `100 xa` when it was dropped before.
    trace: Arc<Mutex<Vec<String>>>,
    /// `METHOD TARGET BODY` and the headers, sorted, of each call in the order they were made.
    sent: Mutex<Vec<String>>,
}

const CODES: [Code; 6] = [
    Code::ConnectRefused,
    Code::Reset,
    Code::Timeout,
    Code::BadPayload,
    Code::DnsFailure,
    Code::TooLarge,
];

impl Scripted {
    fn new(script: &str) -> Scripted {
        let lines = script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        Scripted {
            lines: Mutex::new(lines.map(line).collect()),
            started: Instant::now(),
            trace: Arc::default(),
            sent: Mutex::default(),
        }
    }

    fn next(&self, name: &str) -> Line {
        let mut lines = self.lines.lock().unwrap();
        let mut places = (0..lines.len()).filter(|place| lines[*place].name == name);
        let first = places
            .next()
            .unwrap_or_else(|| panic!("`{name}` is not in the script"));
        match places.next() {
            Some(_) => lines.remove(first),
            None => lines[first].clone(),
        }
    }

    async fn ask(&self, exchange: &Exchange) -> Result<(u16, HeaderMap, Bytes), CallError> {
        let call = &exchange.route.calls[exchange.call.0];
        let mut headers: Vec<String> = exchange
            .headers
            .iter()
            .map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let body = String::from_utf8_lossy(&exchange.body);
        let sent = format!(
            "{} {} {body}{}",
            call.method,
            exchange.target,
            headers.concat()
        );
        self.sent.lock().unwrap().push(sent);
        let mut watch = Watch {
            name: call.name.clone(),
            started: self.started,
            trace: Arc::clone(&self.trace),
            sign: 'x',
        };
        watch.write('+');
        let line = self.next(&call.name);
        let Some(delay) = line.delay else {
            std::future::pending::<()>().await;
            unreachable!("nothing wakes it");
        };
        let due = Instant::now() + Duration::from_millis(delay);
        let is_late = timeout_at(exchange.deadline, sleep_until(due))
            .await
            .is_err();
        watch.sign = '-';
        if is_late {
            return Err(CallError::new(Code::Timeout));
        }
        let (status, retry_after, body) = line.result.map_err(CallError::new)?;
        let body = Bytes::from(body);
        let limits = exchange.route.json_limits;
        let seen = json::Body::check(body.clone(), &call.raw_demand, limits).ok();
        let mut headers = HeaderMap::new();
        headers.insert("x-service", HeaderValue::from_str(&call.name).unwrap());
        let judged = judge::is_success(
            &exchange.route,
            exchange.call,
            status,
            &headers,
            seen.as_ref(),
        );
        if !judged && call.role != Role::Pass {
            return Err(CallError {
                status: Some(status),
                retry_after,
                ..CallError::new(code_of(status))
            });
        }
        Ok((status, headers, body))
    }
}

fn line(text: &str) -> Line {
    let mut words = text.splitn(4, ' ');
    let name = words.next().unwrap().to_owned();
    let delay = words.next().unwrap().parse().ok();
    let what = words.next().unwrap_or("200");
    let rest = words.next().unwrap_or("");
    let (after, body) = match rest.strip_prefix("retry-after=") {
        Some(rest) => {
            let (after, body) = rest.split_once(' ').unwrap_or((rest, ""));
            (Some(after.parse().unwrap()), body)
        }
        None => (None, rest),
    };
    let result = match what.strip_prefix('!') {
        Some(word) => {
            let code = CODES.into_iter().find(|code| code.name() == word);
            Err(code.unwrap_or_else(|| panic!("{word} is no code of a script")))
        }
        None => Ok((what.parse().unwrap(), after, body.to_owned())),
    };
    Line {
        name,
        delay,
        result,
    }
}

fn code_of(status: u16) -> Code {
    match status {
        429 => Code::ServiceLimited,
        400..=499 => Code::Service4xx,
        502..=504 => Code::ServiceUnavailable,
        500..=599 => Code::Service5xx,
        _ => Code::UnexpectedStatus,
    }
}

/// Writes down when a call ends, also when it is dropped.
struct Watch {
    name: String,
    started: Instant,
    trace: Arc<Mutex<Vec<String>>>,
    sign: char,
}

impl Watch {
    fn write(&self, sign: char) {
        let at = self.started.elapsed().as_millis();
        let line = format!("{at} {sign}{}", self.name);
        self.trace.lock().unwrap().push(line);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.write(self.sign);
    }
}

impl Fetch for Scripted {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        let call = &exchange.route.calls[exchange.call.0];
        let result = self.ask(&exchange).await.map(|(status, headers, body)| {
            let limits = exchange.route.json_limits;
            let checked = || json::Body::check(body.clone(), &call.raw_demand, limits);
            Box::new(Answer {
                status,
                // As over HTTP/1.1.
                headers: match call.keeps_headers {
                    true => headers,
                    false => HeaderMap::new(),
                },
                body: (!body.is_empty()).then(|| checked().expect("the script holds JSON")),
                held: None,
                lasting: None,
            })
        });
        let was_sent = !matches!(&result, Err(error) if error.is_not_sent());
        Fetched {
            attempts: u32::from(was_sent),
            result,
            note: None,
        }
    }

    async fn open(&self, exchange: Arc<Exchange>, _: StreamedRequest) -> Opened {
        let result = self
            .ask(&exchange)
            .await
            .map(|(status, headers, body)| Head {
                status,
                headers,
                body: Full::new(body)
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            });
        Opened {
            result,
            attempts: 1,
            note: None,
            covered: None,
        }
    }
}

// === Runs

/// What a client asks.
#[derive(Clone, Copy, Default)]
pub struct Asked {
    pub parameters: &'static [&'static str],
    pub query: &'static [(&'static str, &'static str)],
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
    pub brownout: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Seen {
    pub status: u16,
    pub body: String,
    pub headers: HeaderMap,
    /// In milliseconds.
    pub took: u128,
    pub trace: String,
    pub sent: Vec<String>,
    /// `NAME=OUTCOME` of the record, in the order of the file.
    pub calls: String,
    /// Of each call of the record.
    pub attempts: Vec<u32>,
    /// The names of the calls that are to be sent afterwards.
    pub detached: Vec<String>,
}

impl Seen {
    pub fn answer(&self) -> String {
        format!("{} {}", self.status, self.body)
    }

    pub fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        let values: Vec<&str> = values.map(|value| value.to_str().unwrap()).collect();
        values.join(" | ")
    }
}

fn request(route: &Route, asked: Asked) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in asked.headers {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_static(value));
    }
    let started = Instant::now();
    Request {
        method: Method::GET,
        host: "shop.example".into(),
        parameters: asked
            .parameters
            .iter()
            .map(|text| text.to_string())
            .collect(),
        query: Vec::from_iter(
            asked
                .query
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string())),
        ),
        raw_query: None,
        headers,
        body: RequestBody::Read(Bytes::from_static(asked.body.as_bytes())),
        client_ip: "192.0.2.7".parse().unwrap(),
        identity: Arc::new(Identity {
            request_id: "req-1".into(),
            trace_id: *b"0af7651916cd43dd8448eb211c80319c",
            trace_flags: 1,
            trace_state: None,
            client_ip: "192.0.2.7".parse().unwrap(),
            via: None,
        }),
        started,
        deadline: started + route.timeout,
        brownout: asked.brownout,
    }
}

/// Runs a plan; a request that does not fit its input is answered with the problem.
pub async fn ask(route: &Arc<Route>, script: &str, asked: Asked) -> Seen {
    let (seen, scripted) = ask_of(route, Scripted::new(script), asked).await;
    let trace = scripted.trace.lock().unwrap().join(", ");
    Seen {
        trace,
        sent: scripted.sent.into_inner().unwrap(),
        ..seen
    }
}

/// The same with other services, which are given back for what they were told.
pub async fn ask_of<F: Fetch>(route: &Arc<Route>, services: F, asked: Asked) -> (Seen, F) {
    let began = Instant::now();
    let seen = match input::accept(route, request(route, asked)) {
        Ok(accepted) => {
            let reply = run::run(route, &accepted, &services).await;
            seen(reply, began.elapsed().as_millis()).await
        }
        Err(problem) => Seen {
            status: problem.status,
            body: String::from_utf8(problem.body("req-1")).unwrap(),
            ..Seen::default()
        },
    };
    (seen, services)
}

/// A call of a route, as if it were sent with nothing in it.
pub fn exchange_of(route: &Arc<Route>, call: usize) -> Exchange {
    let asked = request(route, Asked::default());
    Exchange {
        route: Arc::clone(route),
        call: CallId(call),
        target: String::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        deadline: asked.deadline,
        ends_with_route: true,
        made: Made::default(),
        identity: asked.identity,
    }
}

async fn seen(reply: Box<Reply>, took: u128) -> Seen {
    let body = match reply.body {
        ReplyBody::Bytes(bytes) => bytes,
        ReplyBody::Stream(stream) => stream.collect().await.unwrap().to_bytes(),
    };
    let name = |call: crate::plan::CallId| reply.record.route.calls[call.0].name.as_str();
    let calls = reply.record.calls.iter();
    let calls = calls.map(|call| format!("{}={}", name(call.call), call.outcome.name()));
    Seen {
        status: reply.status,
        body: String::from_utf8(body.to_vec()).unwrap(),
        took,
        trace: String::new(),
        sent: Vec::new(),
        attempts: reply
            .record
            .calls
            .iter()
            .map(|call| call.attempts)
            .collect(),
        calls: Vec::from_iter(calls).join(" "),
        detached: reply
            .detached
            .iter()
            .map(|one| name(one.call).to_owned())
            .collect(),
        headers: reply.headers,
    }
}

/// Runs the route of `text`, which asks for nothing of the request.
pub async fn run_of(text: &str, script: &str) -> Seen {
    ask(&route(text), script, Asked::default()).await
}
