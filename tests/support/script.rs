//! Scripted services: a `Fetch` that answers what a case says, when it says so, and writes down what
//! it was asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use anabranch::engine::code::Code;
use anabranch::engine::fetch::{
    Answer, CacheFate, CacheNote, CallError, Exchange, Fetch, Fetched, Forward, Forwarded, Head,
    Opened, StreamedRequest,
};
use anabranch::engine::judge;
use anabranch::engine::lasting::lasting;
use anabranch::json::Body;
use anabranch::plan::{CallId, Decode};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout_at};

/// What a service answers to one call, its retries included.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    json: Option<Box<RawValue>>,
    text: Option<String>,
    #[serde(default)]
    delay: String,
    fault: Option<String>,
    #[serde(default = "once")]
    attempts: u32,
    /// What the cache did: `hit ttl=297`, or `fwd=WORD` and of `status=304 stored collapsed ttl=5`
    /// what there is.
    cache: Option<String>,
    /// What it answered last when it was well, by target, and how long ago.
    #[serde(default)]
    last: HashMap<String, Last>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    age: String,
    json: Box<RawValue>,
}

fn ok() -> u16 {
    200
}

fn once() -> u32 {
    1
}

/// By call: one answer for every time, or one for each.
pub struct Services {
    answers: HashMap<String, Answers>,
    started: Instant,
    log: Mutex<Vec<Line>>,
}

enum Answers {
    Always(Box<Scripted>),
    InTurn(Mutex<std::vec::IntoIter<Scripted>>),
}

struct Line {
    call: CallId,
    started: Duration,
    ended: Option<(Duration, &'static str)>,
    text: String,
}

impl Services {
    pub fn new(json: &str) -> Services {
        let written: HashMap<String, Box<RawValue>> =
            serde_json::from_str(json).expect("the services' script is an object");
        let answers = written.into_iter().map(|(call, answer)| {
            let text = answer.get();
            let answers = if text.starts_with('[') {
                let list: Vec<Scripted> = serde_json::from_str(text).expect("answers");
                Answers::InTurn(Mutex::new(list.into_iter()))
            } else {
                Answers::Always(serde_json::from_str(text).expect("an answer"))
            };
            (call, answers)
        });
        Services {
            answers: answers.collect(),
            started: Instant::now(),
            log: Mutex::default(),
        }
    }

    /// The calls of the script, which are the services where a case names none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.answers.keys().map(String::as_str)
    }

    /// `START-END NAME METHOD TARGET`, then header lines and a body; in the order of time.
    pub fn log(&self) -> Vec<String> {
        let mut log = self.lines();
        log.sort_by_key(|line| (line.started, line.call));
        let lines = log.iter().flat_map(|line| {
            let (ended, word) = line.ended.expect("a future that is gone has ended");
            let times = format!("{}-{}", line.started.as_millis(), ended.as_millis());
            let text = format!("{times}{word} {}", line.text);
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        lines.collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.log.lock().expect("no test goes on after a panic")
    }

    fn next(&self, call: &str) -> Scripted {
        match self.answers.get(call) {
            None => panic!("`{call}` is called, and the script does not name it"),
            Some(Answers::Always(answer)) => (**answer).clone(),
            Some(Answers::InTurn(list)) => list
                .lock()
                .expect("no test goes on after a panic")
                .next()
                .unwrap_or_else(|| panic!("`{call}` is called more often than scripted")),
        }
    }

    /// Waits as the script says, at most until the call's time is over.
    async fn answer(
        &self,
        exchange: &Exchange,
    ) -> (Result<Scripted, CallError>, u32, Option<CacheNote>) {
        let answer = self.next(&exchange.route.calls[exchange.call.0].name);
        let attempts = answer.attempts;
        let note = answer.cache.as_deref().map(note);
        let fault = answer.fault.clone();
        let talk = async {
            sleep(duration(&answer.delay)).await;
            match fault.as_deref() {
                None => Ok(answer),
                Some("timeout") => std::future::pending().await,
                Some(name) => Err(CallError::new(code(name))),
            }
        };
        let result = timeout_at(exchange.deadline, talk).await;
        let timeout = Err(CallError::new(Code::Timeout));
        (result.unwrap_or(timeout), attempts, note)
    }
}

/// Writes down a call when it begins, and its end when it is dropped, answered or not.
struct Entry<'s> {
    services: &'s Services,
    place: usize,
    is_answered: bool,
}

impl<'s> Entry<'s> {
    fn begin(services: &'s Services, exchange: &Exchange) -> Entry<'s> {
        let mut log = services.lines();
        log.push(Line {
            call: exchange.call,
            started: services.started.elapsed(),
            ended: None,
            text: describe(exchange),
        });
        Entry {
            services,
            place: log.len() - 1,
            is_answered: false,
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let word = if self.is_answered { "" } else { " cancelled" };
        let ended = self.services.started.elapsed();
        self.services.lines()[self.place].ended = Some((ended, word));
    }
}

/// What is asked: the line, the headers the route file sets, the body.
pub fn describe(exchange: &Exchange) -> String {
    let call = &exchange.route.calls[exchange.call.0];
    let mut text = format!("{} {} {}", call.name, call.method, exchange.target);
    for (name, value) in &exchange.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("\n{name}: {value}"));
    }
    if !exchange.body.is_empty() {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&exchange.body));
    }
    text
}

impl Fetch for Services {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        let mut entry = Entry::begin(self, &exchange);
        let (scripted, attempts, note) = self.answer(&exchange).await;
        entry.is_answered = true;
        let result = scripted.and_then(|scripted| judge_answer(&exchange, &scripted));
        let keeps_headers = exchange.route.calls[exchange.call.0].keeps_headers;
        Fetched {
            result: result.map(|mut answer| {
                if !keeps_headers {
                    answer.headers.clear();
                }
                Box::new(answer)
            }),
            attempts,
            note,
        }
    }

    fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>> {
        let call = &exchange.route.calls[exchange.call.0];
        let Some(Answers::Always(scripted)) = self.answers.get(&call.name) else {
            return None;
        };
        let last = scripted.last.get(&exchange.target)?;
        if duration(&last.age) > at_most {
            return None;
        }
        let bytes = Bytes::from(last.json.get().to_owned());
        let body = Body::check(bytes, &call.raw_demand, exchange.route.json_limits);
        Some(Box::new(Answer {
            status: 200,
            headers: HeaderMap::new(),
            body: Some(body.expect("the script holds JSON")),
            held: None,
            lasting: None,
        }))
    }

    async fn open(&self, exchange: Arc<Exchange>, _: StreamedRequest) -> Opened {
        let mut entry = Entry::begin(self, &exchange);
        let (scripted, attempts, note) = self.answer(&exchange).await;
        entry.is_answered = true;
        let result = scripted.map(|scripted| Head {
            status: scripted.status,
            headers: headers(&scripted),
            body: Full::new(bytes(&scripted))
                .map_err(|never| match never {})
                .boxed_unsync(),
        });
        Opened {
            result,
            attempts,
            note,
            covered: None,
        }
    }
}

/// Decodes and judges as the ladder does, so far as a case needs it.
fn judge_answer(exchange: &Exchange, scripted: &Scripted) -> Result<Answer, CallError> {
    let call = &exchange.route.calls[exchange.call.0];
    let headers = headers(scripted);
    let bytes = bytes(scripted);
    let check = |bytes: Bytes| Body::check(bytes, &call.raw_demand, exchange.route.json_limits);
    let is_json = scripted.text.is_none() || call.decode == Decode::Json;
    let decoded = match call.decode {
        _ if bytes.is_empty() => Ok(None),
        Decode::None => Ok(None),
        Decode::Text => {
            let text = String::from_utf8_lossy(&bytes);
            let quoted = serde_json::to_vec(&text).expect("a text is JSON");
            Ok(Some(check(quoted.into()).expect("a text is JSON")))
        }
        Decode::Auto | Decode::Json if is_json => check(bytes).map(Some).map_err(|_| ()),
        Decode::Auto | Decode::Json => Err(()),
    };
    let seen = decoded.as_ref().ok().and_then(Option::as_ref);
    let (route, id) = (&exchange.route, exchange.call);
    if !judge::is_success(route, id, scripted.status, &headers, seen) {
        return Err(CallError {
            status: Some(scripted.status),
            retry_after: headers
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok()),
            ..CallError::new(code_of(scripted.status))
        });
    }
    let body = decoded.map_err(|()| CallError {
        status: Some(scripted.status),
        ..CallError::new(Code::BadPayload)
    })?;
    let lasting = lasting(scripted.status, &headers, SystemTime::UNIX_EPOCH);
    Ok(Answer {
        status: scripted.status,
        headers,
        body,
        held: None,
        lasting: route.response.computed.is_some().then_some(lasting),
    })
}

fn note(text: &str) -> CacheNote {
    let words: Vec<&str> = text.split(' ').collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let fate = match value("fwd=") {
        None if words[0] == "hit" => CacheFate::Hit,
        None => panic!("`{text}` is nothing that a cache does"),
        Some(why) => CacheFate::Forwarded(Forwarded {
            why: forward(why),
            status: value("status=").map(|digits| digits.parse().expect("a status")),
            stored: words.contains(&"stored"),
            collapsed: words.contains(&"collapsed"),
        }),
    };
    let ttl = value("ttl=").map(|digits| digits.parse().expect("seconds"));
    CacheNote { fate, ttl }
}

fn forward(word: &str) -> Forward {
    [
        Forward::Miss,
        Forward::UriMiss,
        Forward::VaryMiss,
        Forward::Stale,
        Forward::Request,
        Forward::Bypass,
    ]
    .into_iter()
    .find(|why| why.word() == word)
    .unwrap_or_else(|| panic!("no reason `{word}`"))
}

fn code_of(status: u16) -> Code {
    match status {
        429 => Code::ServiceLimited,
        502..=504 => Code::ServiceUnavailable,
        500..=599 => Code::Service5xx,
        400..=499 => Code::Service4xx,
        _ => Code::UnexpectedStatus,
    }
}

fn code(name: &str) -> Code {
    [
        Code::ConnectRefused,
        Code::ConnectTimeout,
        Code::BreakerOpen,
        Code::BulkheadFull,
        Code::QueueTimeout,
        Code::Reset,
        Code::Truncated,
        Code::BadPayload,
        Code::TooLarge,
        Code::JsonLimit,
    ]
    .into_iter()
    .find(|code| code.name() == name)
    .unwrap_or_else(|| panic!("no scripted fault `{name}`"))
}

fn headers(scripted: &Scripted) -> HeaderMap {
    let pairs = scripted.headers.iter().map(|(name, value)| {
        (
            HeaderName::from_bytes(name.as_bytes()).expect("a header's name"),
            HeaderValue::from_str(value).expect("a header's value"),
        )
    });
    pairs.collect()
}

fn bytes(scripted: &Scripted) -> Bytes {
    let json = scripted.json.as_ref().map(|json| json.get());
    let text = json.or(scripted.text.as_deref()).unwrap_or_default();
    Bytes::copy_from_slice(text.as_bytes())
}

/// `30ms`, `2s`, or nothing.
fn duration(text: &str) -> Duration {
    let whole = |digits: &str| {
        digits
            .parse()
            .expect("a delay is a whole number and a unit")
    };
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => Duration::from_millis(whole(digits)),
        (_, Some(digits)) => Duration::from_secs(whole(digits)),
        _ => {
            assert!(text.is_empty(), "a delay is a whole number and a unit");
            Duration::ZERO
        }
    }
}
