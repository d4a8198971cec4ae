//! Deadlines, and clients that do not wait for theirs.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::client::Ask;
use crate::faulty::behaviour::{Behaviour, Gate};
use crate::faulty::{End, Plot};
use crate::fixture::{Page, well};
use crate::invariants::SLACK;
use crate::stage::{real, simulated};
use crate::world::World;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn scenario_18_a_client_that_leaves_cancels_its_calls() {
    real(async || {
        let u = Plot::always(well("{\"id\":7}").after(10_000));
        let page = Page {
            timeout: "20000ms",
            user: "timeout: 15s",
            ..Page::default()
        };
        let world = World::real(&page, &[("u", u)]).await;
        let id = leave(&world, Ask::get("/page/7"), "u").await;
        let left = world.now();
        world
            .service("u")
            .until(|journal| journal.open() == 0)
            .await;
        let seen = world.service("u").journal().seen;
        let (at, end) = seen[0].ended.unwrap();
        assert_eq!((seen.len(), end), (1, End::Gone));
        assert!(at <= left + milliseconds(50) + SLACK, "{:?}", at - left);
        gone(&world, &id).await;
        world.check().await
    });
}

#[test]
fn scenario_18_a_write_that_was_sent_is_left_to_finish() {
    real(async || {
        let gate = Gate::new();
        let u = Plot::always(gate.hold("{\"id\":8}"));
        let page = Page {
            more: "---\nroute: POST /sign-up\nname: sign-up\ncalls:\n  user: { service: u, post: /users }\n\
                   response: { body: $.user.body }\n",
            ..Page::default()
        };
        let world = World::real(&page, &[("u", u)]).await;
        let id = leave(&world, Ask::post("/sign-up", "{}"), "u").await;
        gone(&world, &id).await;
        assert_eq!(world.service("u").journal().open(), 1);
        gate.open();
        let service = world.service("u");
        service.until(|journal| journal.open() == 0).await;
        // The answer was read: its connection is kept.
        world.until("in flight", || world.held().is_empty()).await;
        let journal = service.journal();
        assert_eq!(journal.seen.len(), 1);
        assert_eq!(journal.seen[0].ended.unwrap().1, End::Answered);
        assert_eq!(journal.connections[0].closed, None);
        world.check().await
    });
}

/// Asks, and closes the connection when `service` has the request.
async fn leave(world: &World, ask: Ask, service: &str) -> String {
    let id = world.next_id();
    let mut wire = world.connect(ask.peer).await;
    wire.write_all(ask.text(&id).as_bytes()).await.unwrap();
    let arrived = world.service(service);
    arrived.until(|journal| journal.open() == 1).await;
    id
}

/// Waits until the log says that the client of `id` has gone.
pub async fn gone(world: &World, id: &str) {
    world
        .until("the client has gone", || {
            let log = world.log();
            let mut lines = log.iter().filter(|line| line["request_id"] == id);
            lines.any(|line| line["code"] == "client_gone" && line["status"] == 499)
        })
        .await;
    let by_client = [("cause", "client_gone")];
    assert_eq!(
        world.figures().sum("anabranch_cancelled_total", &by_client),
        1.0
    );
}

/// A gateway that believes its own machine.
fn trusting() -> Page {
    Page {
        server: "trusted: ['127.0.0.1/32']",
        ..Page::default()
    }
}

#[test]
fn scenario_19_a_trusted_deadline_is_kept_and_handed_on() {
    simulated(async || {
        let u = Plot::always(well("{\"id\":7}").after(200));
        let world = World::simulated(&trusting(), &[("u", u)]);
        let ask = Ask::get("/page/7").header("x-request-timeout", "50ms");
        let got = world.ask(ask.within(50)).await;
        assert_eq!((got.status, got.code().as_str()), (504, "timeout"));
        assert!(got.took() <= milliseconds(70), "{got:?}");
        let seen = world.service("u").journal().seen;
        let told = seen[0].request.header("x-request-timeout").unwrap();
        // 20 ms of the 50 are kept for stitching.
        assert_eq!(told, "30ms");
        world.check().await
    });
}

#[test]
fn scenario_19_a_deadline_of_an_untrusted_client_is_ignored() {
    simulated(async || {
        let u = Plot::always(well("{\"id\":7}").after(200));
        // Without a retry the one attempt may take all of the call's 300 ms.
        let page = Page {
            user: "timeout: 300ms, retry: false",
            ..trusting()
        };
        let world = World::simulated(&page, &[("u", u)]);
        for header in ["60s", "50ms"] {
            let mut ask = Ask::get("/page/7").header("x-request-timeout", header);
            ask.peer = "192.0.2.1:9".parse().unwrap();
            assert_eq!(world.ask(ask).await.status, 200);
        }
        world.check().await
    });
}

#[test]
fn scenario_19_a_deadline_that_is_too_near_is_refused() {
    simulated(async || {
        let world = World::simulated(&trusting(), &[]);
        let ask = Ask::get("/page/7").header("x-request-timeout", "5ms");
        let got = world.ask(ask.within(5)).await;
        assert_eq!(
            (got.status, got.code().as_str()),
            (504, "deadline_exhausted")
        );
        assert_eq!(got.took(), Duration::ZERO);
        for service in world.services.values() {
            assert!(service.journal().connections.is_empty());
        }
        world.check().await
    });
}

#[test]
fn scenario_20_a_call_that_has_no_time_left_is_not_started() {
    simulated(async || {
        let u = Plot::always(Behaviour::json("{\"id\":7}").after(295));
        let page = Page {
            timeout: "320ms",
            user: "retry: false",
            ..Page::default()
        };
        let world = World::simulated(&page, &[("u", u)]);
        let got = world.get("/page/7").await;
        assert_eq!(
            (got.status, got.code().as_str()),
            (504, "deadline_exhausted")
        );
        assert!(got.took() <= milliseconds(340), "{got:?}");
        assert_eq!(got.error("orders")["attempts"], 0);
        assert!(world.service("o").journal().connections.is_empty());
        world.check().await
    });
}
