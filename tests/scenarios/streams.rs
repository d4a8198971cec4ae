//! Services that speak HTTP/2: what only streams do.

use crate::client::Ask;
use crate::faulty::behaviour::{Act, Answer, Behaviour};
use crate::faulty::{End, Plot};
use crate::fixture::{Page, WHOLE, healthy, well};
use crate::stage::{Trace, simulated};
use crate::world::World;

const ANN: &str = "{\"id\":7,\"name\":\"Ann\"}";

/// U speaks HTTP/2, and takes a write too, which may be sent again where it never arrived.
fn page() -> Page {
    Page {
        u: "url: 'http://u.test', http: 2",
        more: "---\nroute: POST /sign-up\nname: sign-up\ncalls:\n\
               \x20 user: { service: u, post: /users, retry: { attempts: 2, only: [connect] } }\n\
               response: { body: $.user.body }\n",
        ..Page::default()
    }
}

#[test]
fn calls_share_a_connection() {
    simulated(async || {
        let world = World::simulated(&page(), &[("u", healthy(ANN).over_two())]);
        for _ in 0..2 {
            assert_eq!(world.get("/page/7").await.text(), WHOLE);
        }
        let journal = world.service("u").journal();
        assert_eq!((journal.connections.len(), journal.seen.len()), (1, 2));
        world.check().await
    });
}

#[test]
fn a_refused_stream_is_asked_again_even_for_a_write() {
    simulated(async || {
        let refused = Behaviour::of(Act::RefuseStream);
        let u = Plot::in_turn(vec![refused, well(ANN)]).over_two();
        let world = World::simulated(&page(), &[("u", u)]);
        let got = world.ask(Ask::post("/sign-up", "{}").within(2000)).await;
        assert_eq!((got.status, got.text().as_str()), (200, ANN));
        let seen = world.service("u").journal().seen;
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].ended.unwrap().1, End::Unprocessed);
        world.check().await
    });
}

#[test]
fn a_connection_that_is_ended_under_a_write_is_a_reset() {
    simulated(async || {
        let mut trace = Trace::default();
        for act in [Act::Reset, Act::Close] {
            let u = Plot::always(Behaviour::of(act).after(10)).over_two();
            let world = World::simulated(&page(), &[("u", u)]);
            let got = world.ask(Ask::post("/sign-up", "{}").within(2000)).await;
            assert_eq!((got.status, got.code().as_str()), (502, "reset"));
            assert_eq!(world.service("u").journal().seen.len(), 1);
            trace.0.extend(world.check().await.0);
        }
        trace
    });
}

#[test]
fn a_connection_that_is_going_away_is_left_for_another() {
    simulated(async || {
        let last = Behaviour::of(Act::GoAway(Answer::json(ANN)));
        let u = Plot::in_turn(vec![last, well(ANN)]).over_two();
        let world = World::simulated(&page(), &[("u", u)]);
        for _ in 0..2 {
            assert_eq!(world.get("/page/7").await.text(), WHOLE);
        }
        let journal = world.service("u").journal();
        let connections: Vec<usize> = journal
            .seen
            .iter()
            .map(|seen| seen.request.connection)
            .collect();
        assert_eq!(connections, [0, 1]);
        world.check().await
    });
}

#[test]
fn a_stream_that_is_cancelled_leaves_its_connection() {
    simulated(async || {
        let u = Plot::in_turn(vec![Behaviour::never(), Behaviour::never(), well(ANN)]).over_two();
        let world = World::simulated(&page(), &[("u", u)]);
        let got = world.get("/page/7").await;
        assert_eq!((got.status, got.code().as_str()), (504, "timeout"));
        assert_eq!(world.get("/page/7").await.text(), WHOLE);
        let journal = world.service("u").journal();
        assert_eq!(journal.connections.len(), 1);
        let ends: Vec<End> = journal
            .seen
            .iter()
            .map(|seen| seen.ended.unwrap().1)
            .collect();
        assert_eq!(ends, [End::Gone, End::Gone, End::Answered]);
        world.check().await
    });
}
