//! Writes the reply of a run that has ended: the stitched answer, a passed one, or a problem.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::boxed;
use crate::cache::rules;
use crate::engine::cache_status::{self, Tally};
use crate::engine::code::Code;
use crate::engine::computed::{self, Keeping};
use crate::engine::context::Settled;
use crate::engine::errors::{self, Entry};
use crate::engine::fetch::{
    Answer, ByteStream, CacheNote, CallError, Fetch, Head, Opened, STITCH_RESERVE, StreamedRequest,
    is_too_late,
};
use crate::engine::outcome::{Origin, Outcome};
use crate::engine::record::{self, CallRecord, Record};
use crate::engine::render::{self, Absent, Ends};
use crate::engine::reply::{Problem, Reply, ReplyBody};
use crate::engine::request::RequestBody;
use crate::engine::run::progress::{Facts, Progress};
use crate::engine::run::{RouteFailure, Run, call_error, client_status};
use crate::json::{Body, write_text};
use crate::moment::{self, alarm};
use crate::plan::{CallId, Computed, ResponseBody, Role, Status};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const DEGRADED: HeaderName = HeaderName::from_static("x-anabranch-degraded");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Ends a run whose calls are all settled, or whose route has failed. Only a call that is passed is
/// waited for.
pub async fn reply<F: Fetch>(run: &mut Run<'_>, fetch: &F) -> Box<Reply> {
    run.write_errors();
    if run.failure.is_none()
        && let ResponseBody::Pass(call) = run.route.response.body
    {
        // In a box, so that stitched answers do not carry such a call about.
        return boxed::pinned(|| pass(run, call, fetch)).await;
    }
    match run.failure.take() {
        Some(failure) => run.fail(failure),
        None => match run.stitch() {
            Ok(answer) => run.answer(answer),
            Err(failure) => run.fail(failure),
        },
    }
}

/// The stitched answer before it is sent.
struct Stitched {
    status: u16,
    headers: HeaderMap,
    body: ReplyBody,
}

impl Stitched {
    /// What is said of a body goes with it; the route's other headers may have changed (RFC 9110
    /// §15.4.5).
    fn not_modified(&mut self) {
        self.status = 304;
        self.body = ReplyBody::Bytes(Bytes::new());
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
        ] {
            self.headers.remove(name);
        }
    }
}

/// Streams one call's answer; it starts when all others are settled.
async fn pass<F: Fetch>(run: &mut Run<'_>, call: CallId, fetch: &F) -> Box<Reply> {
    let started = moment::now();
    let Opened {
        result,
        attempts,
        note,
        covered,
    } = open(run, call, fetch).await;
    let of_cache = result.is_ok() && note.is_some_and(CacheNote::is_of_cache);
    let failure = result.as_ref().err().or(covered.as_ref());
    let code = failure.map(|error| error.code);
    let status = match (&result, failure) {
        (Ok(head), None) => Some(head.status),
        (_, Some(error)) => error.status,
        (Err(_), None) => None,
    };
    run.progress[call.0] = Progress::Settled(Facts {
        outcome: match code {
            None if of_cache => record::Outcome::Cache,
            None => record::Outcome::Live,
            Some(_) if result.is_ok() => record::Outcome::Stale,
            Some(_) => record::Outcome::Failed,
        },
        code,
        status,
        attempts,
        started,
        elapsed: moment::since(started),
        items: None,
        of_cache: usize::from(of_cache),
        cache: note.map(Tally::one),
    });
    if let Some(error) = failure {
        run.entries.push(Entry {
            call,
            item: None,
            code: error.code,
            status: error.status,
            attempts,
            elapsed: moment::since(started),
            fallback: result.is_ok().then_some("stale"),
        });
    }
    match result {
        Ok(head) => run.answer_passed(call, head, note, covered),
        Err(error) => {
            run.write_errors();
            let status = client_status(&error);
            {
                let call = Some(run.route.calls[call.0].name.as_str());
                run.fail(RouteFailure {
                    call,
                    error,
                    status,
                })
            }
        }
    }
}

async fn open<F: Fetch>(run: &Run<'_>, call: CallId, fetch: &F) -> Opened {
    let failed = |error: CallError, attempts: u32| Opened {
        result: Err(error),
        attempts,
        note: None,
        covered: None,
    };
    let now = moment::now();
    if is_too_late(run.end, now) {
        return failed(CallError::new(Code::DeadlineExhausted), 0);
    }
    let ends = run.ends_of(call, now);
    let exchange = match render::exchange(run.route, call, &run.context, None, ends) {
        Ok(exchange) => exchange,
        Err(failure) => return failed(run.call_error(failure), 0),
    };
    let body = streamed(run).map_or(StreamedRequest::Buffered, StreamedRequest::Stream);
    let opening = pin!(fetch.open(exchange.into(), body));
    let opened = alarm::within(run.end, opening).await;
    opened.unwrap_or_else(|| failed(CallError::new(Code::Timeout), 1))
}

fn streamed(run: &Run<'_>) -> Option<ByteStream> {
    match &run.context.accepted.request.body {
        RequestBody::Read(_) => None,
        RequestBody::Stream(stream) => stream.lock().ok()?.take(),
    }
}

impl<'r> Run<'r> {
    /// Makes `errors` and `degraded` readable.
    fn write_errors(&mut self) {
        if self.failure.is_some() {
            self.add_never_started();
        }
        self.context.errors = errors::write(self.route, &mut self.entries);
        self.context.degraded = errors::degraded(&self.context).map(|text| {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            out
        });
    }

    /// A call that never started because a required one had failed is in `errors` too.
    fn add_never_started(&mut self) {
        let calls = self.route.calls.iter().zip(&self.progress).enumerate();
        let never = calls.filter(|(_, (call, progress))| match call.role {
            Role::Normal => matches!(progress, Progress::Waiting(_)),
            Role::Pass => matches!(progress, Progress::Apart),
            Role::Fallback | Role::Detached => false,
        });
        self.entries.extend(never.map(|(place, _)| Entry {
            call: CallId(place),
            item: None,
            code: Code::DependencyFailed,
            status: None,
            attempts: 0,
            elapsed: std::time::Duration::ZERO,
            fallback: None,
        }));
    }

    fn stitch(&self) -> Result<Stitched, RouteFailure<'r>> {
        let response = &self.route.response;
        let status = self.status()?;
        let mut headers = self.response_headers()?;
        let env = self.context.env(None);
        let (content_type, bytes) = match &response.body {
            ResponseBody::None | ResponseBody::Pass(_) => (None, Bytes::new()),
            ResponseBody::Json(json) => {
                let mut out = Vec::with_capacity(self.expected_length());
                let rendered = json.render(&env, &mut out);
                if !rendered.map_err(|failure| self.response_failure(failure))? {
                    out.extend_from_slice(b"null");
                }
                (Some("application/json"), Bytes::from(out))
            }
            ResponseBody::Text(text) => {
                let mut out = String::new();
                let rendered = text.render(&env, &mut out);
                rendered.map_err(|failure| self.response_failure(failure))?;
                (Some("text/plain; charset=utf-8"), Bytes::from(out))
            }
        };
        if let Some(content_type) = content_type {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(content_type));
        }
        Ok(Stitched {
            status,
            headers,
            body: ReplyBody::Bytes(bytes),
        })
    }

    /// What the answer will hold, roughly: what was asked for of the bodies, and as much text of its
    /// own as most templates have.
    fn expected_length(&self) -> usize {
        let settled = self.context.settled.iter().flatten();
        let bodies = settled.flat_map(Settled::outcomes);
        let parts = bodies.filter_map(|outcome| outcome.body.as_ref());
        let asked_for: usize = parts.map(Body::asked_for).sum();
        512 + asked_for.min(1024 * 1024)
    }

    fn status(&self) -> Result<u16, RouteFailure<'r>> {
        let choice = match &self.route.response.status {
            Status::Constant(status) => return Ok(*status),
            Status::Choice(choice) => choice,
        };
        let mut out = Vec::new();
        choice.render(&self.context.env(None), &mut out);
        let digits = std::str::from_utf8(&out).unwrap_or_default();
        let status = digits
            .parse()
            .ok()
            .filter(|status| (200..600).contains(status));
        status
            .ok_or_else(|| self.response_failure(choice.failure("it is no status from 200 to 599")))
    }

    /// An absent value leaves its header out, an array repeats it.
    fn response_headers(&self) -> Result<HeaderMap, RouteFailure<'r>> {
        let mut headers = HeaderMap::new();
        let env = self.context.env(None);
        for (name, part) in &self.route.response.headers {
            let given = render::each_text(part, &env, Absent::LeavesOut, &mut |text| {
                headers.append(name, render::header_value(text)?);
                Ok(())
            });
            given.map_err(|failure| self.response_failure(failure))?;
        }
        Ok(headers)
    }

    /// A template of `response` that fails is 502 with the path in `detail` (the operator's text).
    fn response_failure(&self, failure: crate::template::Failure) -> RouteFailure<'r> {
        let call = self.context.call_of(failure.root);
        let error = call_error(&self.context, failure);
        let status = match error.code {
            Code::BadValue => client_status(&error),
            _ => 502,
        };
        RouteFailure {
            call,
            error,
            status,
        }
    }

    fn answer_passed(
        &mut self,
        call: CallId,
        head: Head,
        note: Option<CacheNote>,
        covered: Option<CallError>,
    ) -> Box<Reply> {
        // By a template of the answer's headers, or a call that is sent after it.
        let mut calls = self.route.calls.iter();
        let is_read = !self.route.response.headers.is_empty()
            || calls.any(|call| call.role == Role::Detached);
        if let Some(error) = covered {
            let outcome = Outcome::stood_in(Origin::Stale, None, error.code, error.status);
            self.context.settled[call.0] = Some(Settled::One(Box::new(outcome)));
            self.write_errors();
        } else if is_read {
            let answer = Answer {
                status: head.status,
                headers: head.headers.clone(),
                body: None,
                held: None,
                lasting: None,
            };
            let outcome = Outcome::answered(answer, note);
            self.context.settled[call.0] = Some(Settled::One(Box::new(outcome)));
        }
        let mut headers = head.headers;
        match self.response_headers() {
            Err(failure) => self.fail(failure),
            Ok(set) => {
                for name in set.keys() {
                    headers.remove(name);
                }
                headers.extend(set);
                self.answer(Stitched {
                    status: head.status,
                    headers,
                    body: ReplyBody::passed(head.body),
                })
            }
        }
    }

    fn answer(&self, mut stitched: Stitched) -> Box<Reply> {
        let degraded = errors::degraded(&self.context);
        if let Some(text) = &degraded {
            let value = HeaderValue::from_str(text).expect("names and codes are visible ASCII");
            stitched.headers.insert(DEGRADED, value);
            stitched.headers.insert(header::CACHE_CONTROL, NO_STORE);
        } else if let Some(computed) = &self.route.response.computed {
            self.compute(computed, &mut stitched);
        }
        self.show_failures(&mut stitched.headers, None);
        self.show_cache(&mut stitched.headers);
        let detached = self.detached();
        Box::new(Reply {
            record: self.record(stitched.status, degraded, None),
            status: stitched.status,
            headers: stitched.headers,
            body: stitched.body,
            detached,
        })
    }

    /// Says for how long and for whom the answer is good; to who has it already, that it still is.
    fn compute(&self, computed: &Computed, stitched: &mut Stitched) {
        let Keeping::May(mut terms) = computed::keeping(computed, &self.context.settled) else {
            stitched.headers.insert(header::CACHE_CONTROL, NO_STORE);
            return;
        };
        // A cookie is for whom it is set.
        if stitched.headers.contains_key(header::SET_COOKIE) {
            terms = terms.for_one_client();
        }
        terms.write(computed, &mut stitched.headers);
        let request = &self.context.accepted.request;
        let asks = matches!(request.method, Method::GET | Method::HEAD);
        if let ReplyBody::Bytes(body) = &stitched.body
            && asks
            && (200..300).contains(&stitched.status)
            && !body.is_empty()
        {
            let tag = computed::etag(body);
            stitched.headers.insert(header::ETAG, tag);
            // There is no `last-modified` that `if-modified-since` could be compared with.
            if stitched.status == 200
                && request.headers.contains_key(header::IF_NONE_MATCH)
                && rules::is_not_modified(&request.headers, 200, &stitched.headers)
            {
                stitched.not_modified();
            }
        }
    }

    fn fail(&self, failure: RouteFailure<'r>) -> Box<Reply> {
        let mut headers = HeaderMap::new();
        let problem_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_type);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        let is_to_wait = matches!(failure.status, 429 | 503);
        if let Some(seconds) = failure.error.retry_after.filter(|_| is_to_wait) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let code = failure.error.code;
        self.show_failures(&mut headers, Some(code));
        self.show_cache(&mut headers);
        let call = failure.call.map(str::to_owned);
        let problem = Problem {
            code,
            status: failure.status,
            detail: Some(detail(call.as_deref(), &failure.error)),
            call,
            errors: self.context.errors.clone(),
            retry_after: failure.error.retry_after,
        };
        let identity = &self.context.accepted.request.identity;
        let body = problem.body(&identity.request_id);
        Box::new(Reply {
            record: self.record(failure.status, None, Some(code)),
            status: failure.status,
            headers,
            body: ReplyBody::Bytes(Bytes::from(body)),
            detached: Vec::new(),
        })
    }

    fn show_failures(&self, headers: &mut HeaderMap, cause: Option<Code>) {
        if let Some(value) = errors::proxy_status(self.route, &self.entries, cause) {
            // A passed answer may bring the members of proxies behind us.
            headers.append(PROXY_STATUS, value);
        }
    }

    fn show_cache(&self, headers: &mut HeaderMap) {
        let calls = self.progress.iter().enumerate();
        let tallies = calls.filter_map(|(place, progress)| {
            let facts = match progress {
                Progress::Settled(facts) => *facts,
                Progress::Asked(asked) => asked.facts(),
                Progress::Running(_) | Progress::Waiting(_) | Progress::Apart => return None,
            };
            Some((CallId(place), facts.cache?))
        });
        if let Some(value) = cache_status::write(self.route, tallies) {
            // The caches behind a passed answer come first (RFC 9211 §2).
            headers.append(CACHE_STATUS, value);
        }
    }

    /// The calls to be sent after the answer: not those that read what failed.
    fn detached(&self) -> Vec<crate::engine::fetch::Exchange> {
        let calls = self.route.calls.iter().enumerate();
        let detached = calls.filter(|(_, call)| call.role == Role::Detached);
        let sendable = detached.filter(|(_, call)| {
            let mut needs = call.needs.iter();
            needs.all(|need| !self.has_failed(*need))
                && call
                    .when
                    .as_ref()
                    .is_none_or(|when| when.holds(&self.context.env(None)))
        });
        sendable
            .filter_map(|(place, _)| {
                let id = CallId(place);
                // Its own timeout counts, from when it is sent.
                let ends = Ends {
                    deadline: moment::now(),
                    ends_with_route: false,
                };
                render::exchange(self.route, id, &self.context, None, ends).ok()
            })
            .collect()
    }

    fn has_failed(&self, id: CallId) -> bool {
        match &self.context.settled[id.0] {
            Some(Settled::One(outcome)) => outcome.origin == Origin::Failed,
            Some(Settled::Many(_)) => false,
            None => true,
        }
    }

    fn record(&self, status: u16, degraded: Option<String>, failure: Option<Code>) -> Record {
        let mut calls = Vec::with_capacity(self.progress.len());
        for (place, progress) in self.progress.iter().enumerate() {
            let call = CallId(place);
            let role = self.route.calls[place].role;
            match progress {
                Progress::Settled(facts) => calls.push(self.call_record(call, facts)),
                Progress::Asked(asked) => calls.push(self.call_record(call, &asked.facts())),
                Progress::Running(running) => {
                    let facts = running.facts(record::Outcome::Cancelled, None);
                    calls.push(self.call_record(call, &facts));
                }
                Progress::Waiting(_) => calls.push(self.never_started(call)),
                Progress::Apart if role == Role::Pass && failure.is_some() => {
                    calls.push(self.never_started(call));
                }
                Progress::Apart => {}
            }
        }
        Record {
            route: self.route.clone(),
            status,
            started: self.started,
            elapsed: moment::since(self.started),
            allowed: self.end + STITCH_RESERVE - self.started,
            calls,
            degraded,
            failure,
            errors: self.entries.clone(),
        }
    }

    fn call_record(&self, call: CallId, facts: &Facts) -> CallRecord {
        CallRecord {
            call,
            outcome: facts.outcome,
            code: facts.code,
            status: facts.status,
            attempts: facts.attempts,
            start: facts.started.saturating_duration_since(self.started),
            elapsed: facts.elapsed,
            items: facts.items,
            of_cache: facts.of_cache,
        }
    }

    fn never_started(&self, call: CallId) -> CallRecord {
        CallRecord {
            call,
            outcome: record::Outcome::Failed,
            code: Some(Code::DependencyFailed),
            status: None,
            attempts: 0,
            start: moment::since(self.started),
            elapsed: std::time::Duration::ZERO,
            items: None,
            of_cache: 0,
        }
    }
}

/// One sentence for the client: the operator's names, nothing of a downstream.
fn detail(call: Option<&str>, error: &CallError) -> String {
    let what = match &error.detail {
        Some(detail) => detail.clone(),
        None => error.code.title().to_owned(),
    };
    match call {
        Some(call) => format!("{call}: {what}"),
        None => what,
    }
}
