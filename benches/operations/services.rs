//! The client's request and the services of the benches: a `Fetch` that answers at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anabranch::engine::fetch::{
    Answer, Exchange, Fetch, Fetched, Identity, Opened, StreamedRequest,
};
use anabranch::engine::input;
use anabranch::engine::request::{Accepted, Request, RequestBody};
use anabranch::json::Body;
use anabranch::plan::{CallId, Route};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::time::Instant;

use super::bodies;

/// By call: its answer, whose body is checked already.
pub struct Services {
    answers: Vec<Answer>,
}

impl Services {
    pub fn of(route: &Route) -> Services {
        let answers = route.calls.iter().map(|call| {
            let bytes = bodies::of(&call.name);
            let body = Body::check(bytes, &call.raw_demand, route.json_limits);
            Answer {
                status: 200,
                headers: headers(),
                body: Some(body.expect("the generator writes JSON")),
                held: None,
                lasting: None,
            }
        });
        Services {
            answers: answers.collect(),
        }
    }

    pub fn answer(&self, call: CallId) -> Answer {
        self.answers[call.0].clone()
    }
}

fn headers() -> HeaderMap {
    let pairs = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_LENGTH, "1024"),
        (header::DATE, "Wed, 25 Nov 2026 16:00:00 GMT"),
    ];
    let pairs = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
    HeaderMap::from_iter(pairs)
}

impl Fetch for Services {
    async fn fetch(&self, exchange: Arc<Exchange>) -> Fetched {
        Fetched {
            result: Ok(Box::new(self.answer(exchange.call))),
            attempts: 1,
            note: None,
        }
    }

    async fn open(&self, _: Arc<Exchange>, _: StreamedRequest) -> Opened {
        unreachable!("no route of the benches passes an answer")
    }
}

/// `GET /…/42`, as the server hands it over.
pub fn accepted(route: &Route) -> Accepted {
    let started = Instant::now();
    let request = Request {
        method: Method::GET,
        host: "shop.example.com".to_owned(),
        parameters: vec!["42".to_owned()],
        query: vec![("currency".to_owned(), "EUR".to_owned())],
        raw_query: Some("currency=EUR".to_owned()),
        headers: asked_with(),
        body: RequestBody::Read(Bytes::new()),
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        identity: Arc::new(identity()),
        started,
        // Under a profiler time goes by as well.
        deadline: started + Duration::from_secs(3600),
        brownout: false,
    };
    let accepted = input::accept(route, request);
    *accepted.unwrap_or_else(|problem| panic!("the request fits the route: {problem:?}"))
}

fn asked_with() -> HeaderMap {
    let pairs = [
        (header::HOST, "shop.example.com"),
        (header::ACCEPT, "application/json"),
        (header::AUTHORIZATION, "Bearer ada"),
        (header::USER_AGENT, "bench"),
    ];
    let pairs = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
    HeaderMap::from_iter(pairs)
}

fn identity() -> Identity {
    Identity {
        request_id: "0190f3a4c2b87d1e9a5b6c7d8e9f0a1b".to_owned(),
        trace_id: *b"0af7651916cd43dd8448eb211c80319c",
        trace_flags: 1,
        trace_state: None,
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        via: None,
    }
}
