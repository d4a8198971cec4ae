//! What is measured. Every operation is prepared once, shows that it does what its name says, and is
//! then run over and over.
//!
//! `check`: a service's body from its bytes to the ranges that a route reads. `match`: one request
//! against a thousand routes. `render`: what one call sends. The wire: a request's head, an answer's, and
//! the line in the access log. `stitch`: an answer out of settled calls.
//! `run`: the engine from a matched request to its reply, with services that answer at once by bodies
//! that are checked already, so that what is left is what the engine itself costs.

mod bodies;
mod routes;
mod services;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anabranch::downstream::connection::{Outgoing, Prepared};
use anabranch::downstream::http1;
use anabranch::downstream::http1::answer::{Parsed, Wanted};
use anabranch::downstream::send;
use anabranch::engine::context::{Context, Settled};
use anabranch::engine::fetch::Identity;
use anabranch::engine::outcome::Outcome;
use anabranch::engine::render::{self, Ends};
use anabranch::engine::reply::{Reply, ReplyBody};
use anabranch::engine::request::Accepted;
use anabranch::engine::run::run;
use anabranch::json::{Body, Demand, Limits, Scan, Slot};
use anabranch::plan::matcher::{Match, Matcher};
use anabranch::plan::pattern::Pattern;
use anabranch::plan::settings::Endpoint;
use anabranch::plan::{CallId, ResponseBody, Route};
use anabranch::telemetry::{Finished, access};
use bytes::Bytes;
use http::{Method, Version};
use services::Services;
use tokio::runtime::Runtime;

/// One thing that a request costs.
pub struct Operation {
    pub name: &'static str,
    /// Does all that is done once. What comes out does the operation each time it is called.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

pub const ALL: &[Operation] = &[
    operation("check_0.4kb", || check(routes::FIELDS, "small")),
    operation("check_8kb", || check(routes::FIELDS, "middle")),
    operation("check_200kb", || check(routes::FIELDS, "large")),
    operation("check_200kb_moved", || check(routes::FIELDS, "moved")),
    operation("check_200kb_in_pieces", || {
        check_in_pieces(routes::FIELDS, "large")
    }),
    operation("match_1000_routes", match_among_many),
    operation("render_url", || render_call("asked", "/prices/42/EUR?")),
    operation("render_json", || render_call("told", "/orders")),
    operation("write_request", write_request),
    operation("parse_answer_head", parse_answer_head),
    operation("access_line", access_line),
    operation("stitch_moved", || stitch(routes::SIX, bodies::SIX_ANSWER)),
    operation("stitch_built", || {
        stitch(routes::BUILT, bodies::BUILT_ANSWER)
    }),
    operation("run_six_calls", || {
        run_route(routes::SIX, bodies::SIX_ANSWER)
    }),
    operation("run_chain", || {
        run_route(routes::CHAIN, bodies::CHAIN_ANSWER)
    }),
];

const fn operation(name: &'static str, prepare: fn() -> Box<dyn FnMut()>) -> Operation {
    Operation { name, prepare }
}

pub fn named(name: &str) -> Option<&'static Operation> {
    ALL.iter().find(|operation| operation.name == name)
}

// === check ===

/// A body and what a call's route reads of it.
struct Checked {
    route: Arc<Route>,
    call: CallId,
    bytes: Bytes,
}

impl Checked {
    fn of(text: &str, name: &str) -> Checked {
        let route = routes::compiled(text);
        let call = routes::call(&route, name);
        let bytes = bodies::of(name);
        let checked = Checked { route, call, bytes };
        let body = Body::check(checked.bytes.clone(), checked.demand(), checked.limits());
        let body = body.expect("the generator writes JSON");
        assert!(
            body.slot(Slot(0)).is_some(),
            "the route reads what is there"
        );
        checked
    }

    fn demand(&self) -> &Demand {
        &self.route.calls[self.call.0].raw_demand
    }

    fn limits(&self) -> Limits {
        self.route.json_limits
    }
}

fn check(text: &str, name: &str) -> Box<dyn FnMut()> {
    let checked = Checked::of(text, name);
    Box::new(move || {
        let bytes = black_box(checked.bytes.clone());
        let body = Body::check(bytes, checked.demand(), checked.limits());
        black_box(body.is_ok_and(|body| body.slot(Slot(0)).is_some()));
    })
}

/// As it comes from a socket, by reads of 16 KiB.
fn check_in_pieces(text: &str, name: &str) -> Box<dyn FnMut()> {
    let checked = Checked::of(text, name);
    Box::new(move || {
        let bytes = black_box(checked.bytes.clone());
        let mut scan = Scan::new(checked.demand(), checked.limits());
        for end in (16_384..bytes.len()).step_by(16_384) {
            black_box(scan.advance(&bytes[..end]).is_ok());
        }
        black_box(scan.finish(bytes).is_ok());
    })
}

// === match ===

/// Ten shapes below each of a hundred areas; sixteen requests by turns, as hash tables differ from
/// process to process.
fn match_among_many() -> Box<dyn FnMut()> {
    let mut matcher = Matcher::default();
    let areas = (0..100).flat_map(|area| routes::SHAPES.iter().map(move |shape| (area, shape)));
    for (index, (area, shape)) in areas.enumerate() {
        let pattern = Pattern::parse(&format!("/v1/area-{area}{shape}")).expect("a pattern");
        let inserted = matcher.insert(&Method::GET, None, &pattern, index);
        assert_eq!(inserted, Ok(()));
    }
    let paths: Vec<String> = (0..16)
        .map(|turn| format!("/v1/area-{}/things/{turn}/parts/7", turn * 6 + 3))
        .collect();
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let path = paths[turn % paths.len()].as_str();
        let found = matcher.find(&Method::GET, black_box("shop.example.com"), path);
        assert!(matches!(black_box(found), Match::Route { .. }));
    })
}

// === render ===

fn render_call(name: &'static str, begins: &str) -> Box<dyn FnMut()> {
    let route = routes::compiled(routes::SENT);
    let call = routes::call(&route, name);
    let begins = begins.to_owned();
    let runtime = runtime();
    let accepted = runtime.block_on(async { services::accepted(&route) });
    let ends = Ends {
        deadline: accepted.request.deadline,
        ends_with_route: true,
    };
    Box::new(move || {
        // Anew each time, as a context keeps what it has written for the rest of its run.
        let context = Context::new(&route, &accepted);
        let exchange = render::exchange(&route, call, &context, None, ends);
        let exchange = exchange.expect("all that the call reads is there");
        assert!(black_box(exchange).target.starts_with(&begins));
    })
}

// === the wire ===

fn write_request() -> Box<dyn FnMut()> {
    let route = routes::compiled(routes::SENT);
    let call = routes::call(&route, "asked");
    let runtime = runtime();
    let accepted = runtime.block_on(async { services::accepted(&route) });
    let ends = Ends {
        deadline: accepted.request.deadline,
        ends_with_route: true,
    };
    let context = Context::new(&route, &accepted);
    let exchange = render::exchange(&route, call, &context, None, ends);
    let exchange = exchange.expect("all that the call reads is there");
    let endpoint = Endpoint {
        https: false,
        host: "pricing".into(),
        port: 8080,
        prefix: "".into(),
        authority: "pricing:8080".into(),
    };
    Box::new(move || {
        let body = Outgoing::Whole(Bytes::new());
        let left = Duration::from_millis(250);
        let prepared = send::prepare(&exchange, &endpoint, Version::HTTP_11, left, body);
        assert!(matches!(
            black_box(prepared),
            Ok(Prepared::One(message)) if message.head.ends_with(b"\r\n\r\n")
        ));
    })
}

fn parse_answer_head() -> Box<dyn FnMut()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 420\r\n\
        date: Wed, 25 Nov 2026 12:00:00 GMT\r\nconnection: keep-alive\r\n\r\n";
    Box::new(move || {
        let parsed = http1::answer::parse(
            black_box(head),
            Wanted {
                bodiless: false,
                all_headers: true,
            },
        );
        assert!(matches!(black_box(parsed), Ok(Parsed::Final(..))));
    })
}

fn access_line() -> Box<dyn FnMut()> {
    let route = routes::compiled(routes::SIX);
    let services = Services::of(&route);
    let reply = runtime().block_on(answer(&route, &services));
    let finished = Finished {
        identity: Arc::new(Identity {
            request_id: "0123456789abcdef0123456789abcdef".into(),
            trace_id: *b"0123456789abcdef0123456789abcdef",
            trace_flags: 1,
            trace_state: None,
            client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            via: None,
        }),
        method: Some(Method::GET),
        path: "/v1/products/42".into(),
        generation: 1,
        route: Some(route),
        status: 200,
        elapsed: Duration::from_micros(1234),
        failure: None,
        record: Some(reply.record),
    };
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        access::write_json(&mut out, SystemTime::UNIX_EPOCH, black_box(&finished));
        assert!(black_box(&out).ends_with(b"\"client\":\"127.0.0.1\"}"));
    })
}

// === stitch ===

fn stitch(text: &str, expected: &str) -> Box<dyn FnMut()> {
    let route = routes::compiled(text);
    let services = Services::of(&route);
    let runtime = runtime();
    let accepted = runtime.block_on(async { services::accepted(&route) });
    let length = {
        let mut out = Vec::new();
        write_answer(&route, &settled(&route, &accepted, &services), &mut out);
        let answer = String::from_utf8(out).expect("JSON is UTF-8");
        assert!(answer.starts_with(expected), "{answer}");
        answer.len()
    };
    Box::new(move || {
        let context = settled(&route, &accepted, &services);
        let mut out = Vec::with_capacity(1024);
        write_answer(&route, &context, &mut out);
        assert_eq!(black_box(out).len(), length);
    })
}

/// The context of a run whose calls have all answered.
fn settled<'r>(route: &'r Route, accepted: &'r Accepted, services: &Services) -> Context<'r> {
    let mut context = Context::new(route, accepted);
    for (place, settled) in context.settled.iter_mut().enumerate() {
        let outcome = Outcome::answered(services.answer(CallId(place)), None);
        *settled = Some(Settled::One(Box::new(outcome)));
    }
    context
}

fn write_answer(route: &Route, context: &Context<'_>, out: &mut Vec<u8>) {
    let ResponseBody::Json(json) = &route.response.body else {
        panic!("the route answers by JSON");
    };
    let rendered = json.render(&context.env(None), out);
    assert_eq!(rendered, Ok(true));
}

// === run ===

fn run_route(text: &str, expected: &'static str) -> Box<dyn FnMut()> {
    let route = routes::compiled(text);
    let services = Services::of(&route);
    let runtime = runtime();
    let reply = runtime.block_on(answer(&route, &services));
    let ReplyBody::Bytes(bytes) = &reply.body else {
        panic!("the route answers by JSON");
    };
    let body = std::str::from_utf8(bytes).expect("JSON is UTF-8");
    assert!(reply.status == 200 && body.starts_with(expected), "{body}");
    Box::new(move || {
        let reply = runtime.block_on(answer(&route, &services));
        assert_eq!(black_box(reply).status, 200);
    })
}

async fn answer(route: &Arc<Route>, services: &Services) -> Box<Reply> {
    run(route, &services::accepted(route), services).await
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime starts")
}
