//! One request: takes the state once, finds the route, bounds the body, sets the deadline, lets the
//! engine run the plan, and frames what it says.

use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::Either;
use futures_util::{FutureExt, TryFutureExt};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::boxed;
use crate::downstream::headers::named_by_connection;
use crate::engine::code::Code;
use crate::engine::fetch::{Fetch, Identity};
use crate::engine::record::Record;
use crate::engine::reply::{Problem, Reply, ReplyBody};
use crate::engine::request::{self, RequestBody};
use crate::engine::{input, run};
use crate::moment;
use crate::plan::Route;
use crate::plan::matcher::Match;
use crate::plan::settings;
use crate::policy::memory::Memory;
use crate::policy::shed::{Cause, Verdict};
use crate::server::answer::{self, After, Answer, Content, Manner};
use crate::server::body::{self, Bounds, Broken};
use crate::server::connection::Serve;
use crate::server::guard::head::{
    check_method, headers_too_large, is_target_text, shadows_framing,
};
use crate::server::guard::refusal::Refusal;
use crate::server::holding::holding;
use crate::server::known::Known;
use crate::server::link::Ticket;
use crate::server::report::Report;
use crate::server::{Server, State, clock, host, identity, query, shed};
use crate::telemetry::Finished;

/// The methods a route may have, for `OPTIONS *`.
const EVERY_METHOD: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// What a request ends with before it is framed.
enum Ending {
    Reply(Box<Reply>),
    Options { allow: String },
    WrongMethod { allow: String },
    Problem(Problem),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Ending {
        let mut problem = Problem::new(refusal.code, refusal.detail);
        problem.retry_after = (refusal.code == Code::Overloaded).then(shed::retry_after);
        Ending::Problem(problem)
    }
}

impl From<Problem> for Ending {
    fn from(problem: Problem) -> Ending {
        Ending::Problem(problem)
    }
}

/// What is known of a request from its head.
struct Head {
    parts: Box<Parts>,
    host: String,
    identity: Arc<Identity>,
    started: Instant,
}

impl<F: Fetch + 'static> Serve for Server<F> {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let assigned = self.load.assign();
        self.workers.get(assigned.worker).spawn(async move {
            work.await;
            drop(assigned);
        });
    }

    fn serve(
        self: Arc<Self>,
        ticket: Ticket,
        head: Box<Parts>,
        body: Option<Incoming>,
    ) -> impl Future<Output = Response<Answer>> + Send + Unpin + 'static {
        let state = self.state();
        let mut head = Head::new(head, &state.table.server, &ticket);
        let mut report = self.report(&state, &head, ticket.is_stand_in());
        let mut is_read = body.is_none();
        boxed::pinned(|| async move {
            let caught = {
                let work =
                    pin!(self.answer(&state, &ticket, &mut head, body, &mut report, &mut is_read));
                caught(work).await
            };
            let ending = caught.unwrap_or_else(|| {
                is_read = false;
                Problem::new(Code::Internal, "the request met a fault of ours").into()
            });
            let manner = Manner {
                is_head: head.parts.method == Method::HEAD,
                is_shared: head.is_shared(),
                // What is left of an unread body would be taken for the next request.
                closes: !is_read || ticket.refusal().is_some() || self.drain.is_draining(),
                write_stall: state.table.server.timeouts.write_stall,
            };
            self.respond(&state, &head, ending, &manner, ticket, report)
        })
    }
}

impl<F: Fetch + 'static> Server<F> {
    fn report(&self, state: &State<F>, head: &Head, is_stand_in: bool) -> Report {
        let path = if is_stand_in {
            ""
        } else {
            head.parts.uri.path()
        };
        let finished = Box::new(Finished {
            identity: head.identity.clone(),
            method: (!is_stand_in).then(|| head.parts.method.clone()),
            path: path.to_owned(),
            generation: state.generation,
            route: None,
            status: Code::ClientGone.status(),
            elapsed: std::time::Duration::ZERO,
            failure: Some(Code::ClientGone),
            record: None,
        });
        Report::new(
            self.telemetry.clone(),
            state.meters.clone(),
            self.counts().clone(),
            head.started,
            finished,
        )
    }

    fn respond(
        &self,
        state: &State<F>,
        head: &Head,
        ending: Ending,
        manner: &Manner,
        ticket: Ticket,
        mut report: Report,
    ) -> Response<Answer> {
        let request_id = &head.identity.request_id;
        let mut detached = Vec::new();
        let mut content = match ending {
            Ending::Reply(reply) => {
                let timing = state
                    .table
                    .server
                    .server_timing
                    .then(|| timing(&reply.record));
                detached.extend(reply.detached.into_iter().map(|exchange| {
                    self.detached
                        .job(state.fetch.clone(), state.meters.clone(), exchange)
                }));
                note_record(&mut report, reply.record);
                let mut content = Content {
                    status: reply.status,
                    headers: reply.headers,
                    body: self.counted(reply.body),
                };
                if let Some(Ok(timing)) = timing.map(HeaderValue::try_from)
                    && !timing.is_empty()
                {
                    content.headers.insert(&answer::SERVER_TIMING, timing);
                }
                content
            }
            Ending::Options { allow } => {
                note_refusal(&mut report, 204, None);
                allowing(Content::empty(204), &allow)
            }
            Ending::WrongMethod { allow } => {
                let problem = Problem::new(
                    Code::MethodNotAllowed,
                    "the path has routes, but not for this method",
                );
                note_refusal(&mut report, problem.status, Some(problem.code));
                allowing(Content::problem(&problem, request_id), &allow)
            }
            Ending::Problem(problem) => {
                note_refusal(&mut report, problem.status, Some(problem.code));
                Content::problem(&problem, request_id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(request_id) {
            content.headers.insert(&answer::REQUEST_ID, id);
        }
        answer::frame(content, manner, ticket, After { report, detached })
    }

    /// A reply is there already and is not refused, but others are for it, until it is written.
    fn counted(&self, body: ReplyBody) -> ReplyBody {
        match body {
            ReplyBody::Bytes(bytes) if !bytes.is_empty() => {
                let reserved = self.load.memory.count(bytes.len());
                ReplyBody::Bytes(holding(bytes, reserved))
            }
            body => body,
        }
    }
}

impl Head {
    fn new(mut parts: Box<Parts>, settings: &settings::Server, ticket: &Ticket) -> Head {
        let started = moment::now();
        let identity = identity::read(&parts.headers, ticket.link().peer, &settings.trusted);
        let host = authority(&mut parts);
        Head {
            host,
            identity,
            started,
            parts,
        }
    }

    /// HTTP/2: several requests share the connection.
    fn is_shared(&self) -> bool {
        self.parts.version == Version::HTTP_2
    }
}

/// The host that is asked, without its port. `Host` is made to say it in HTTP/2 too.
fn authority(parts: &mut Parts) -> String {
    let authority = parts
        .uri
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority {
        parts.headers.entry(header::HOST).or_insert(authority);
    }
    parts
        .headers
        .get(header::HOST)
        .map_or_else(String::new, |value| host::name(value.as_bytes()))
}

/// Runs `work`; `None` if it panicked, which ends nothing but this request.
async fn caught<T>(work: Pin<&mut impl Future<Output = Result<T, T>>>) -> Option<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await.ok()?;
    Some(result.unwrap_or_else(|ending| ending))
}

impl<F: Fetch + 'static> Server<F> {
    /// The answer to a request, `Err` where it comes from the door. Takes headers and host out of
    /// `head`.
    async fn answer(
        &self,
        state: &State<F>,
        ticket: &Ticket,
        head: &mut Head,
        body: Option<Incoming>,
        report: &mut Report,
        is_read: &mut bool,
    ) -> Result<Ending, Ending> {
        if let Some(refusal) = ticket.refusal() {
            return Err(refusal.into());
        }
        let settings = &state.table.server;
        check(&head.parts, &settings.limits)?;
        let (route, parameters) = find(state, head)?;
        report.note(|finished| finished.route = Some(route.clone()));
        let _turn = self.load.here().turns.begin(route.calls.len()).await;
        let is_trusted = identity::is_trusted(ticket.link().peer.ip(), &settings.trusted);
        let deadline =
            clock::deadline(head.started, route.timeout, &head.parts.headers, is_trusted)
                .ok_or_else(|| {
                    Problem::new(Code::DeadlineExhausted, "the client leaves too little time")
                })?;
        let brownout = self.is_brownout(&route, head, &settings.shed)?;
        let raw_query = head.parts.uri.query();
        let query = query::pairs(raw_query.unwrap_or(""))
            .ok_or_else(|| Refusal::bad("an escape in the query is broken or is no UTF-8"))?;
        let received = receive(&route, settings, ticket, body, deadline, &self.load.memory).await;
        let received = received.inspect_err(|refusal| {
            if refusal.code == Code::Overloaded {
                self.count_shed(&route, Cause::Memory);
            }
        });
        let Received { body, broken } = received?;
        *is_read |= broken.is_none();
        let request = request::Request {
            method: head.parts.method.clone(),
            host: std::mem::take(&mut head.host),
            parameters,
            query,
            raw_query: raw_query.map(str::to_owned),
            headers: end_to_end(std::mem::take(&mut head.parts.headers)),
            body,
            client_ip: head.identity.client_ip,
            identity: head.identity.clone(),
            started: head.started,
            deadline,
            brownout,
        };
        let accepted = input::accept(&route, request)?;
        // Pinned where it is made: to await it by value moves all of it.
        let reply = pin!(run::run(&route, &accepted, &*state.fetch)).await;
        Ok(blame_client(reply, broken.as_ref()))
    }

    /// Whether what is optional of a request is left out; an error where it is not taken at all.
    fn is_brownout(
        &self,
        route: &Route,
        head: &Head,
        limits: &settings::Shed,
    ) -> Result<bool, Refusal> {
        match shed::judge(&self.load, limits, route.priority, head.identity.client_ip) {
            Verdict::Serve => Ok(false),
            Verdict::Brownout => Ok(true),
            Verdict::Refuse(cause) => {
                self.count_shed(route, cause);
                Err(Refusal::new(
                    Code::Overloaded,
                    "there is too much to do at this moment",
                ))
            }
        }
    }

    fn count_shed(&self, route: &Route, cause: Cause) {
        self.telemetry.metrics().shed(route.priority, cause);
    }
}

struct Received {
    body: RequestBody,
    /// Of a body that is still to come.
    broken: Option<Broken>,
}

impl Received {
    fn whole(bytes: Bytes) -> Received {
        Received {
            body: RequestBody::Read(bytes),
            broken: None,
        }
    }
}

/// The body as far as this route needs it. Only one that is to come is waited for.
fn receive(
    route: &Route,
    settings: &settings::Server,
    ticket: &Ticket,
    body: Option<Incoming>,
    deadline: Instant,
    memory: &Memory,
) -> impl Future<Output = Result<Received, Refusal>> + Send {
    let Some(body) = body else {
        return Either::Left(ready(Ok(Received::whole(Bytes::new()))));
    };
    let input_most = route.input.body.as_ref().map(|body| body.max);
    let most = input_most.unwrap_or(usize::MAX).min(settings.limits.body);
    if route.streams_request {
        if body::is_too_large(&body, most) {
            return Either::Left(ready(Err(body::too_large())));
        }
        let (stream, broken) = body::stream(body, most, &settings.timeouts, ticket.inquiry());
        return Either::Left(ready(Ok(Received {
            body: RequestBody::Stream(Mutex::new(Some(stream))),
            broken: Some(broken),
        })));
    }
    let bounds = Bounds {
        most,
        rate: settings.timeouts.body_rate,
        deadline,
    };
    let read = body::read(body, bounds, memory.reservation(), ticket.inquiry());
    Either::Right(Box::pin(read).map_ok(Received::whole))
}

/// A streamed body that the client broke off fails the call, but it is not the service's fault.
fn blame_client(reply: Box<Reply>, broken: Option<&Broken>) -> Ending {
    match broken.and_then(|broken| broken.get()) {
        Some(refusal) if reply.record.failure.is_some() => (*refusal).into(),
        _ => Ending::Reply(reply),
    }
}

/// What the guard has checked of HTTP/1, once more for HTTP/2.
fn check(parts: &Parts, limits: &settings::Limits) -> Result<(), Refusal> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    if target.len() > limits.uri {
        return Err(Refusal::new(
            Code::UriTooLong,
            "the target is longer than `server.limits.uri`",
        ));
    }
    if target != "*" && !is_target_text(target.as_bytes()) {
        return Err(Refusal::bad(
            "the target has a character that may not stand there",
        ));
    }
    // One more than was sent: the `host` that was made of the authority.
    if parts.headers.len() > limits.headers + 1 || field_bytes(&parts.headers) > limits.header_bytes
    {
        return Err(headers_too_large());
    }
    check_host(parts)?;
    if parts
        .headers
        .keys()
        .any(|name| shadows_framing(name.as_str().as_bytes()))
    {
        return Err(Refusal::bad(
            "a header's name is a framing header's, but for `_`",
        ));
    }
    if parts.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refusal::bad("there are two Content-Lengths"));
    }
    check_method(parts.method.as_str().as_bytes())
}

/// What the fields would be as the lines of an HTTP/1 head, so that one limit means the same in both.
fn field_bytes(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    headers.iter().map(line).sum()
}

fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let host = identity::single(&parts.headers, &header::HOST)
        .map(HeaderValue::as_bytes)
        .filter(|host| host::is_valid(host))
        .ok_or_else(|| Refusal::bad("the authority or Host is missing or not valid"))?;
    match parts.uri.authority() {
        Some(authority) if !host::same(authority.as_str().as_bytes(), host, b"80") => {
            Err(Refusal::bad("the target's authority is not the Host"))
        }
        _ => Ok(()),
    }
}

fn find<F>(state: &State<F>, head: &Head) -> Result<(Arc<Route>, Vec<String>), Ending> {
    let (method, path) = (&head.parts.method, head.parts.uri.path());
    if path == "*" {
        return Err(Ending::Options {
            allow: EVERY_METHOD.to_owned(),
        });
    }
    match state.table.matcher.find(method, &head.host, path) {
        Match::Route { index, parameters } => Ok((state.table.routes[index].clone(), parameters)),
        Match::Options { allow } => Err(Ending::Options { allow }),
        Match::MethodNotAllowed { allow } => Err(Ending::WrongMethod { allow }),
        Match::NotFound => Err(Problem::new(Code::NoRoute, "no route has this path").into()),
        Match::BadPath => {
            Err(Refusal::bad("an escape in the path is broken or is no UTF-8").into())
        }
    }
}

/// The headers that are for the other end, not for this connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let known = Known::of(&headers);
    if known.has(Known::CONNECTION) {
        for name in named_by_connection(&headers) {
            headers.remove(name);
        }
    }
    known.remove_hop_by_hop(&mut headers);
    // For us, and framed anew.
    for (name, kind) in [
        (header::CONTENT_LENGTH, Known::CONTENT_LENGTH),
        (header::PROXY_AUTHORIZATION, Known::PROXY_AUTHORIZATION),
    ] {
        if known.has(kind) {
            headers.remove(name);
        }
    }
    if known.has(Known::COOKIE) {
        join_cookies(&mut headers);
    }
    headers
}

/// HTTP/2 may split cookies over lines; together they are one list (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

fn allowing(mut content: Content, allow: &str) -> Content {
    if let Ok(allow) = HeaderValue::from_str(allow) {
        content.headers.insert(header::ALLOW, allow);
    }
    content
}

/// The calls of a run as `server-timing` has them, in milliseconds.
fn timing(record: &Record) -> String {
    let mut out = String::new();
    for call in &record.calls {
        if !out.is_empty() {
            out.push_str(", ");
        }
        let name = &record.route.calls[call.call.0].name;
        let milliseconds = call.elapsed.as_secs_f64() * 1000.0;
        out.push_str(&format!("{name};dur={milliseconds:.1}"));
    }
    out
}

fn note_record(report: &mut Report, record: Record) {
    report.note(|finished| {
        finished.status = record.status;
        finished.failure = record.failure;
        finished.record = Some(record);
    });
}

fn note_refusal(report: &mut Report, status: u16, failure: Option<Code>) {
    report.note(|finished| {
        finished.status = status;
        finished.failure = failure;
    });
}
