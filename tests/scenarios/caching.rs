//! What is kept of answers, and requests that are shared: a service that is sick while an answer is
//! at hand, clients that ask at once, and what makes a kept answer bad.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Ask, Got};
use crate::faulty::behaviour::{Act, Answer, Behaviour, Gate};
use crate::faulty::{End, Plot, Request};
use crate::fixture::{Page, WHOLE, well};
use crate::stage::{Trace, real, simulated};
use crate::time::gone;
use crate::world::World;

const PAGE: &str = "/page/7";
const PRICE: &str = "{\"amount\":12.10}";

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A page, and beside it `GET /price` with nothing but the price, by a call with these keys.
fn page_with(call: &str) -> Page {
    let route = format!(
        "---\nroute: GET /price\nname: price\ntimeout: 1000ms\ncalls:\n  \
         price: {{ service: p, get: /price, {call} }}\n\
         response: {{ body: {{ price: $.price.body, source: $.price.source, errors: $.errors }} }}\n"
    );
    Page {
        more: Box::leak(route.into_boxed_str()),
        ..Page::default()
    }
}

/// Asks for the price so often at this moment.
async fn at_once(world: &World, count: usize) -> Vec<Got> {
    join_all((0..count).map(|_| world.get("/price"))).await
}

/// Answers with the number of its request, 10 ms later.
fn numbered(request: &Request) -> Behaviour {
    Behaviour::json(format!("{{\"n\":{}}}", request.number)).after(10)
}

fn seen(world: &World) -> usize {
    world.service("p").journal().seen.len()
}

fn calls(world: &World, outcome: &str) -> f64 {
    let labels = [("route", "page"), ("call", "price"), ("outcome", outcome)];
    world.figures().sum("anabranch_calls_total", &labels)
}

// === of the page

#[test]
fn a_kept_price_is_given_without_asking() {
    simulated(async || {
        let world = World::simulated(&Page::default(), &[]);
        for _ in 0..5 {
            assert_eq!(world.get(PAGE).await.text(), WHOLE);
        }
        assert_eq!(seen(&world), 1);
        assert_eq!((calls(&world, "live"), calls(&world, "cache")), (1.0, 4.0));
        let attempts = [("service", "p")];
        let figures = world.figures();
        assert_eq!(figures.sum("anabranch_attempts_total", &attempts), 1.0);
        let lines = world.log();
        let attempts = |line: &Value| line["calls"][3]["attempts"].clone();
        assert_eq!(
            lines.iter().map(attempts).collect::<Vec<_>>(),
            [1, 0, 0, 0, 0]
        );
        world.check().await
    });
}

/// The service is sick from the second on; how the call fails then, and after how many attempts.
fn sick(with: Behaviour) -> Plot {
    Plot::by(move |request| match request.at < seconds(2) {
        true => well(PRICE),
        false => with.clone(),
    })
}

fn sicknesses() -> Vec<(Plot, &'static str, u64)> {
    let page = Answer {
        headers: vec![("content-type", "text/html".into())],
        ..Answer::json("maintenance")
    };
    let refused = Plot::always(well(PRICE)).refused_from(2000);
    vec![
        (refused, "connect_refused", 2),
        (sick(Behaviour::status(503)), "service_unavailable", 2),
        (sick(Behaviour::status(500)), "service_5xx", 1),
        (sick(Behaviour::status(429)), "service_limited", 1),
        (sick(Behaviour::never()), "timeout", 2),
        (sick(Behaviour::of(Act::Reset)), "reset", 2),
        (sick(Behaviour::of(Act::Answer(page))), "bad_payload", 1),
    ]
}

#[test]
fn a_stale_price_stands_in_for_a_minute() {
    for (plot, code, attempts) in sicknesses() {
        println!("{code}");
        simulated(async || stand_in(plot.clone(), code, attempts).await);
    }
}

async fn stand_in(plot: Plot, code: &str, attempts: u64) -> Trace {
    let world = World::simulated(&Page::default(), &[("p", plot)]);
    assert_eq!(world.get(PAGE).await.text(), WHOLE);
    // No connection is kept so long. The answer is fresh for a second, give or take 5 %, and after
    // that it may stand in for a minute, up to the moment of the failure, which takes up to a second.
    for moment in [seconds(6), milliseconds(59_900)] {
        sleep_until(world.started + moment).await;
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.is_partial()), (200, true), "{got:?}");
        assert_eq!(got.header("x-anabranch-degraded"), Some("price=stale"));
        assert_eq!(got.header("cache-control"), Some("no-store"));
        assert_eq!(got.json()["price"], json!({ "amount": 12.1 }));
        let error = got.error("price");
        assert_eq!(error["code"], code);
        assert_eq!(
            (&error["fallback"], &error["attempts"]),
            (&json!("stale"), &json!(attempts))
        );
    }
    sleep_until(world.started + milliseconds(61_100)).await;
    let got = world.get(PAGE).await;
    assert_eq!((got.status, &got.json()["price"]), (200, &Value::Null));
    let degraded = format!("price={code}");
    assert_eq!(got.header("x-anabranch-degraded"), Some(degraded.as_str()));
    assert_eq!(got.error("price")["fallback"], Value::Null);
    assert_eq!(
        (calls(&world, "stale"), calls(&world, "failed")),
        (2.0, 1.0)
    );
    world.check().await
}

#[test]
fn what_is_stale_says_so() {
    simulated(async || {
        let page = page_with("cache: { ttl: 1s, stale_if_error: 60s }");
        let world = World::simulated(&page, &[("p", sick(Behaviour::status(503)))]);
        for (moment, source) in [(0, "live"), (500, "cache"), (2000, "stale")] {
            sleep_until(world.started + milliseconds(moment)).await;
            let got = world.get("/price").await;
            assert_eq!((got.status, &got.json()["source"]), (200, &json!(source)));
            assert_eq!(got.json()["price"], json!({ "amount": 12.1 }));
        }
        world.check().await
    });
}

#[test]
fn a_price_that_is_no_more_is_not_covered() {
    simulated(async || {
        let p = sick(Behaviour::status(404));
        let world = World::simulated(&Page::default(), &[("p", p)]);
        assert_eq!(world.get(PAGE).await.text(), WHOLE);
        sleep_until(world.started + seconds(2)).await;
        let got = world.get(PAGE).await;
        assert_eq!((got.status, &got.json()["price"]), (200, &Value::Null));
        let degraded = got.header("x-anabranch-degraded");
        assert_eq!(degraded, Some("price=service_4xx"));
        assert_eq!(got.error("price")["fallback"], Value::Null);
        world.check().await
    });
}

#[test]
fn an_outage_is_covered_from_its_first_request_to_its_last() {
    let (ill, healed) = (seconds(2), seconds(12));
    simulated(async || {
        let p = Plot::by(move |request| match request.at {
            at if at < ill => well("{\"v\":1}"),
            at if at < healed => Behaviour::status(503).after(10),
            _ => well("{\"v\":2}"),
        });
        let page = page_with("cache: { ttl: 1s, stale_if_error: 60s }");
        let world = World::simulated(&page, &[("p", p)]);
        let load = |count: u32| {
            let start = Instant::now();
            let world = &world;
            join_all((0..count).map(move |number| async move {
                sleep_until(start + milliseconds(10) * number).await;
                world.get("/price").await
            }))
        };
        let mut answers = load(1200).await;
        sleep_until(world.started + healed).await;
        let open = world.rest();
        answers.extend(load(4000).await);
        let bad = answers.iter().find(|got| got.status != 200);
        assert!(bad.is_none(), "{bad:?}");
        let states = [("service", "p"), ("to", "open")];
        let opened = world
            .figures()
            .sum("anabranch_breaker_transitions_total", &states);
        assert!(opened >= 1.0, "{opened}");
        let stale = answers.iter().filter(|got| got.json()["source"] == "stale");
        assert!(stale.count() > 800);
        // 50 ms are what a second may be longer by, 20 the probe and what waits for it.
        let fresh_from = healed + open + milliseconds(1070);
        for got in answers.iter().filter(|got| got.asked >= fresh_from) {
            assert_eq!(got.json()["price"], json!({ "v": 2 }), "{got:?}");
            assert!(!got.is_partial(), "{got:?}");
        }
        assert!(answers.iter().filter(|got| got.asked >= fresh_from).count() > 300);
        // 7 in a row, and probes: next to nothing of 1000 requests.
        let asked = world.service("p").journal().between(2000, 12_000);
        assert!(asked < 30, "{asked}");
        world.check().await
    });
}

// === who shares

/// Says who asked.
fn echo(request: &Request) -> Behaviour {
    let who = request.header("authorization").unwrap_or_default();
    Behaviour::json(format!("{{\"who\":\"{who}\"}}")).after(10)
}

#[test]
fn clients_with_credentials_of_their_own_share_nothing() {
    for keys in [
        "cache: { ttl: 1s }",
        "coalesce: true",
        "cache: { ttl: from_headers }",
    ] {
        simulated(async || {
            let call =
                format!("headers: {{ authorization: $.request.headers.authorization }}, {keys}");
            let world = World::simulated(&page_with(&call), &[("p", Plot::by(echo))]);
            let names = ["ann", "bob", "ann", "bob", "ann"];
            let ask = |name| world.ask(Ask::get("/price").header("authorization", name));
            for _ in 0..2 {
                for (got, name) in join_all(names.map(ask)).await.iter().zip(names) {
                    assert_eq!(got.json()["price"], json!({ "who": name }), "{keys}");
                }
            }
            // One flight for each; then they have it, if it is kept.
            let rounds = if keys == "cache: { ttl: 1s }" { 1 } else { 2 };
            assert_eq!(seen(&world), 2 * rounds, "{keys}");
            world.check().await
        });
    }
}

#[test]
fn a_stampede_is_one_request() {
    simulated(async || {
        let world = World::simulated(
            &page_with("cache: { ttl: 1s }"),
            &[("p", Plot::by(numbered))],
        );
        at_once(&world, 1).await;
        sleep_until(world.started + milliseconds(1100)).await;
        for got in at_once(&world, 200).await {
            assert_eq!(got.json()["price"], json!({ "n": 1 }));
            assert_eq!(got.took(), milliseconds(10));
        }
        assert_eq!(seen(&world), 2);
        world.check().await
    });
}

#[test]
fn a_stampede_on_sockets_is_one_request() {
    real(async || {
        let gate = Gate::new();
        let p = Plot::always(gate.hold(PRICE));
        let mut world = World::real(&page_with("cache: { ttl: 60s }"), &[("p", p)]).await;
        // 200 new connections keep both cores of a debug build busy for as long.
        world.slack = seconds(1);
        let opened = async {
            world
                .service("p")
                .until(|journal| journal.open() == 1)
                .await;
            sleep(milliseconds(50)).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(at_once(&world, 200), opened);
        for got in answers {
            assert_eq!(got.json()["price"], json!({ "amount": 12.1 }));
        }
        assert_eq!(seen(&world), 1);
        world.check().await
    });
}

#[test]
fn nobody_waits_for_what_is_fetched_meanwhile() {
    simulated(async || {
        let call = "cache: { ttl: 1s, stale_while_revalidate: 10s }";
        let world = World::simulated(&page_with(call), &[("p", Plot::by(numbered))]);
        at_once(&world, 1).await;
        sleep_until(world.started + milliseconds(1100)).await;
        for got in at_once(&world, 200).await {
            assert_eq!(got.json()["price"], json!({ "n": 0 }));
            assert_eq!(got.json()["source"], "cache");
            assert_eq!(got.took(), Duration::ZERO);
        }
        sleep(milliseconds(20)).await;
        assert_eq!(
            at_once(&world, 1).await[0].json()["price"],
            json!({ "n": 1 })
        );
        assert_eq!(seen(&world), 2);
        world.check().await
    });
}

#[test]
fn a_steady_load_asks_once_an_expiry() {
    simulated(async || {
        let world = World::simulated(
            &page_with("cache: { ttl: 1s }"),
            &[("p", Plot::by(numbered))],
        );
        let start = world.started;
        let asks = (0..1500).map(|number| {
            let world = &world;
            async move {
                sleep_until(start + milliseconds(1) * number).await;
                world.get("/price").await
            }
        });
        let answers = join_all(asks).await;
        assert!(answers.iter().all(|got| got.status == 200));
        assert_eq!(seen(&world), 2);
        world.check().await
    });
}

/// A client asks, `waiting` others ask 10 ms later, and after 20 ms the first one goes. The service
/// answers after 100.
async fn lead_and_go(call: &str, waiting: usize) -> (World, Vec<Got>) {
    let gate = Gate::new();
    let p = Plot::always(gate.hold(PRICE));
    let world = World::simulated(&page_with(call), &[("p", p)]);
    let lead = async {
        let (ask, id) = (Ask::get("/price"), world.next_id());
        let mut wire = world.connect(ask.peer).await;
        wire.write_all(ask.text(&id).as_bytes()).await.unwrap();
        sleep(milliseconds(20)).await;
        drop(wire);
        gone(&world, &id).await;
    };
    let follow = async {
        sleep(milliseconds(10)).await;
        at_once(&world, waiting).await
    };
    let answer = async {
        sleep(milliseconds(100)).await;
        gate.open();
        sleep(milliseconds(1)).await;
    };
    let ((), answers, ()) = tokio::join!(lead, follow, answer);
    (world, answers)
}

#[test]
fn a_flight_outlives_the_client_that_began_it() {
    for call in ["cache: { ttl: 1s }", "coalesce: true"] {
        simulated(async || {
            let (world, answers) = lead_and_go(call, 3).await;
            for got in answers {
                assert_eq!(got.json()["price"], json!({ "amount": 12.1 }), "{got:?}");
                assert_eq!(got.took(), milliseconds(90));
            }
            assert_eq!(seen(&world), 1, "{call}");
            world.check().await
        });
    }
}

#[test]
fn what_will_be_kept_is_fetched_to_its_end() {
    simulated(async || {
        let (world, _) = lead_and_go("cache: { ttl: 1s }", 0).await;
        assert_eq!(at_once(&world, 1).await[0].json()["source"], "cache");
        assert_eq!(seen(&world), 1);
        world.check().await
    });
}

#[test]
fn what_nobody_waits_for_and_nobody_keeps_ends() {
    simulated(async || {
        let (world, _) = lead_and_go("coalesce: true", 0).await;
        let seen = world.service("p").journal().seen;
        assert_eq!((seen.len(), seen[0].ended.unwrap().1), (1, End::Gone));
        assert!(seen[0].ended.unwrap().0 < milliseconds(50), "{seen:?}");
        world.check().await
    });
}

#[test]
fn a_flight_that_fails_is_led_once_more() {
    for call in ["cache: { ttl: 1s }", "coalesce: true"] {
        simulated(async || {
            let p = Plot::always(Behaviour::status(500).after(10));
            let call = format!("optional: true, retry: false, {call}");
            let world = World::simulated(&page_with(&call), &[("p", p)]);
            let answers = at_once(&world, 10).await;
            let attempts = answers
                .iter()
                .map(|got| got.error("price")["attempts"].clone());
            // The first leader, the second, and those who followed both.
            let mut attempts: Vec<Value> = attempts.collect();
            attempts.sort_by_key(|attempts| attempts.as_u64());
            assert_eq!(attempts, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
            assert_eq!(seen(&world), 2);
            world.check().await
        });
    }
}

#[test]
fn one_bad_moment_is_one_clients() {
    simulated(async || {
        let p = Plot::in_turn(vec![Behaviour::status(500).after(10), well(PRICE)]);
        let call = "optional: true, retry: false, cache: { ttl: 1s }";
        let world = World::simulated(&page_with(call), &[("p", p)]);
        let answers = at_once(&world, 10).await;
        assert_eq!(answers.iter().filter(|got| got.is_partial()).count(), 1);
        assert_eq!(seen(&world), 2);
        world.check().await
    });
}

// === what makes a kept answer bad

/// A price that is good for a minute, and a way to write it, which fails the first time.
fn writable() -> (Page, Plot) {
    let route = "---\nroute: GET /price\nname: price\ntimeout: 1000ms\ncalls:\n  \
                 price: { service: p, get: /price, cache: { ttl: from_headers } }\n\
                 response: { body: { price: $.price.body, source: $.price.source, errors: $.errors } }\n\
                 ---\nroute: POST /price\nname: set\ntimeout: 1000ms\ncalls:\n  \
                 set: { service: p, post: /price }\nresponse: { body: $.set.body }\n";
    let page = Page {
        more: route,
        ..Page::default()
    };
    let p = Plot::by(|request| match (request.method.as_str(), request.number) {
        ("GET", _) => numbered(request).header("cache-control", "max-age=60"),
        (_, 1) => Behaviour::status(500).after(10),
        _ => well("{}"),
    });
    (page, p)
}

#[test]
fn a_write_makes_what_is_kept_of_its_url_bad() {
    simulated(async || {
        let (page, p) = writable();
        let world = World::simulated(&page, &[("p", p)]);
        let price = async || at_once(&world, 1).await[0].json();
        assert_eq!(price().await["price"], json!({ "n": 0 }));
        let failed = world.ask(Ask::post("/price", "{}")).await;
        assert_eq!(failed.status, 502);
        assert_eq!(price().await["source"], "cache");
        assert_eq!(world.ask(Ask::post("/price", "{}")).await.status, 200);
        // The two writes were the second and the third request.
        assert_eq!(price().await["price"], json!({ "n": 3 }));
        world.check().await
    });
}

#[test]
fn a_purge_takes_what_is_kept() {
    simulated(async || {
        let call = "cache: { ttl: 60s, stale_if_error: 60s }";
        let world = World::simulated(&page_with(call), &[("p", Plot::by(numbered))]);
        at_once(&world, 2).await;
        let shelf = &world.parts().process.shelf;
        assert_eq!(shelf.purge("p", Some("/prices")), 0);
        assert_eq!(shelf.purge("u", None), 0);
        assert_eq!(at_once(&world, 1).await[0].json()["source"], "cache");
        assert_eq!(shelf.purge("p", Some("/price")), 1);
        assert_eq!(
            at_once(&world, 1).await[0].json()["price"],
            json!({ "n": 1 })
        );
        assert_eq!(seen(&world), 2);
        world.check().await
    });
}

#[test]
fn a_reload_keeps_what_is_kept_of_a_service_that_did_not_change() {
    simulated(async || {
        let page = page_with("cache: { ttl: 60s }");
        let plots = [("p", Plot::by(numbered)), ("p-b", Plot::by(numbered))];
        let world = World::simulated(&page, &plots);
        at_once(&world, 1).await;
        let elsewhere = Page {
            u: "url: 'http://u.test', breaker: false",
            ..page.clone()
        };
        world.reload(&elsewhere);
        assert_eq!(at_once(&world, 1).await[0].json()["source"], "cache");
        assert_eq!(seen(&world), 1);
        let moved = Page {
            p: "url: 'http://p-b.test'",
            ..page.clone()
        };
        world.reload(&moved);
        assert_eq!(at_once(&world, 1).await[0].json()["source"], "live");
        assert_eq!(seen(&world), 1);
        world.reload(&page);
        assert_eq!(at_once(&world, 1).await[0].json()["source"], "cache");
        world.check().await
    });
}
