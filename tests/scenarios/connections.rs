//! What only sockets do: refused and reset connections, bodies without end, hostile answers.

use std::time::Duration;

use futures_util::future::join_all;

use crate::client::Ask;
use crate::faulty::behaviour::{Act, Behaviour};
use crate::faulty::{Door, Plot};
use crate::fixture::{Page, WHOLE, well};
use crate::invariants::SLACK;
use crate::stage::{Peak, real};
use crate::world::World;

const PAGE: &str = "/page/7";
const ATTEMPTS: &str = "anabranch_attempts_total";

/// The user, whom U knows.
const ANN: &str = "{\"id\":7,\"name\":\"Ann\"}";

/// Answers; the second request on the first connection ends it as `act` says.
fn stale(act: Act) -> Plot {
    Plot::by(move |request| match (request.connection, request.turn) {
        (0, 1) => Behaviour::of(act.clone()),
        _ => well(ANN),
    })
}

#[test]
fn scenario_03_a_closed_port_is_tried_twice() {
    real(async || {
        let world = World::real(&Page::default(), &[("u", Plot::behind(Door::Refused))]).await;
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.code().as_str()), (502, "connect_refused"));
        assert!(got.took() < Duration::from_millis(100) + SLACK, "{got:?}");
        assert_eq!(got.error("user")["attempts"], 2);
        let figures = world.figures();
        let again = [
            ("service", "u"),
            ("kind", "retry"),
            ("reason", "connect_refused"),
        ];
        assert_eq!(figures.sum(ATTEMPTS, &again), 1.0);
        assert_eq!(figures.sum(ATTEMPTS, &[("service", "u")]), 2.0);
        world.check().await
    });
}

#[test]
fn scenario_04_a_stale_connection_is_replaced_unseen() {
    real(async || {
        let world = World::real(&Page::default(), &[("u", stale(Act::Close))]).await;
        for _ in 0..2 {
            let got = world.get(PAGE).await;
            assert_eq!((got.status, got.text().as_str()), (200, WHOLE));
        }
        let seen = world.service("u").journal().seen;
        let places: Vec<_> = seen
            .iter()
            .map(|seen| (seen.request.connection, seen.request.turn))
            .collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0)]);
        let figures = world.figures();
        let transparent = [
            ("service", "u"),
            ("kind", "transparent"),
            ("reason", "stale_connection"),
        ];
        assert_eq!(figures.sum(ATTEMPTS, &transparent), 1.0);
        assert_eq!(
            figures.sum(ATTEMPTS, &[("service", "u"), ("kind", "retry")]),
            0.0
        );
        assert_eq!(figures.sum("anabranch_breaker_transitions_total", &[]), 0.0);
        world.check().await
    });
}

#[test]
fn scenario_05_a_write_without_a_key_is_not_sent_again() {
    real(async || {
        let page = Page {
            more: "---\nroute: POST /sign-up\nname: sign-up\ncalls:\n  user: { service: u, post: /users }\n\
                   response: { body: $.user.body }\n",
            ..Page::default()
        };
        let world = World::real(&page, &[("u", stale(Act::Reset))]).await;
        assert_eq!(world.get(PAGE).await.status, 200);
        let got = world.ask(Ask::post("/sign-up", "{}").within(2000)).await;
        assert_eq!((got.status, got.code().as_str()), (502, "reset"));
        let seen = world.service("u").journal().seen;
        let posts = seen.iter().filter(|seen| seen.request.method == "POST");
        assert_eq!(posts.count(), 1);
        assert_eq!(seen[1].request.turn, 1, "on the connection of the page");
        world.check().await
    });
}

#[test]
fn scenario_09_reading_stops_soon_after_the_limit() {
    real(async || {
        // What lies between service and proxy is the kernel's, so that nobody sees from outside what
        // was read. A service that sends 64 KiB too much and then waits is answered only if no more
        // was needed.
        let enough = Behaviour::of(Act::Stream {
            said: None,
            sent: (1 << 20) + (64 << 10),
        });
        let all = Behaviour::of(Act::Stream {
            said: None,
            sent: 50 << 20,
        });
        let r = Plot::in_turn(vec![well("[1,2]"), enough, all]);
        // A test's build reads some megabytes a second, and the limit is what is to end it.
        let page = Page {
            timeout: "6000ms",
            recs: "timeout: 5s",
            ..Page::default()
        };
        let world = World::real(&page, &[("r", r)]).await;
        assert_eq!(world.get(PAGE).await.text(), WHOLE);
        let peak = Peak::begin();
        for _ in 0..2 {
            let got = world.get(PAGE).await;
            assert_eq!(got.status, 200);
            let error = got.error("recs");
            assert_eq!(
                (&error["code"], &error["attempts"]),
                (&"too_large".into(), &1.into())
            );
        }
        assert!(peak.growth() < 8 << 10, "{} KiB", peak.growth());
        world.check().await
    });
}

#[test]
fn scenario_10_hostile_json_meets_its_limits() {
    // 1 MiB each, brackets included.
    let objects = "{\"a\":1},".repeat((1 << 20) / 8 - 1);
    let objects = format!("[{objects}{:5}0]", "");
    let brackets = "[".repeat(1 << 20);
    assert_eq!(objects.len(), brackets.len());
    let bodies = [objects, brackets].map(bytes::Bytes::from);
    real(async || {
        // A test's build takes its time over 16 MiB, and the limit is what is to end each.
        let page = Page {
            timeout: "12000ms",
            user: "timeout: 10s",
            orders: "timeout: 10s",
            recs: "timeout: 10s",
            ..Page::default()
        };
        for body in &bodies {
            let r = Plot::always(Behaviour::json(body.clone()));
            let mut world = World::real(&page, &[("r", r)]).await;
            // While both cores scan, whoever sends or reads waits.
            world.slack = Duration::from_secs(2);
            let peak = Peak::begin();
            for got in join_all((0..16).map(|_| world.get(PAGE))).await {
                assert_eq!(got.status, 200);
                let error = got.error("recs");
                assert_eq!(
                    (&error["code"], &error["attempts"]),
                    (&"json_limit".into(), &1.into())
                );
            }
            assert!(peak.growth() < 32 << 10, "{} KiB", peak.growth());
            world.check().await;
        }
    });
}

/// A head of U, and what stands in it for the proxy alone.
fn secretive(lengths: &str) -> Plot {
    let head = "HTTP/1.1 200 OK\r\nConnection: x-secret\r\nx-secret: 1\r\nSet-Cookie: a=b\r\n";
    Plot::always(Behaviour::raw(format!("{head}{lengths}\r\n{ANN}")))
}

#[test]
fn scenario_25_what_belongs_to_a_connection_stays_there() {
    real(async || {
        let page = Page {
            more: "---\nroute: GET /user\nname: user\ncalls:\n  user: { service: u, get: /users/7 }\n\
                   response: { pass: user }\n",
            ..Page::default()
        };
        let twice = format!("Content-Length: {0}\r\nContent-Length: {0}\r\n", ANN.len());
        let world = World::real(&page, &[("u", secretive(&twice))]).await;
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.text().as_str()), (200, WHOLE));
        assert_eq!(
            (got.header("x-secret"), got.header("set-cookie")),
            (None, None)
        );
        let passed = world.ask(Ask::get("/user").within(2000)).await;
        assert_eq!((passed.status, passed.text().as_str()), (200, ANN));
        for got in [got, passed] {
            assert_eq!(
                (got.header("x-secret"), got.header("connection")),
                (None, None)
            );
            let framings = got.headers.get_all("content-length").iter().count()
                + got.headers.get_all("transfer-encoding").iter().count();
            assert_eq!(framings, 1, "{got:?}");
        }
        world.check().await
    });
}

#[test]
fn scenario_25_lengths_that_differ_are_a_protocol_error() {
    real(async || {
        let differing = format!("Content-Length: {}\r\nContent-Length: 3\r\n", ANN.len());
        let world = World::real(&Page::default(), &[("u", secretive(&differing))]).await;
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.code().as_str()), (502, "protocol_error"));
        assert_eq!(got.error("user")["attempts"], 1);
        world.check().await
    });
}
