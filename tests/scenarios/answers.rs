//! Services that answer wrongly, or not at all.

use std::time::Duration;

use crate::client::Ask;
use crate::faulty::behaviour::{Act, Answer, Behaviour};
use crate::faulty::{Door, End, Plot};
use crate::fixture::{Page, WHOLE, well};
use crate::stage::simulated;
use crate::world::World;

/// The path of a page.
const PAGE: &str = "/page/7";

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_healthy_page_is_whole() {
    simulated(async || {
        let world = World::simulated(&Page::default(), &[]);
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.text().as_str()), (200, WHOLE));
        assert!(!got.is_partial());
        // `orders` waits for `user`.
        assert_eq!(got.took(), milliseconds(20));
        world.check().await
    });
}

#[test]
fn scenario_01_a_service_that_never_answers_costs_two_attempts() {
    simulated(async || {
        let r = Plot::always(Behaviour::never());
        let world = World::simulated(&Page::default(), &[("r", r)]);
        let got = world.get(PAGE).await;
        let took = got.took();
        assert!(
            (milliseconds(300)..=milliseconds(330)).contains(&took),
            "{took:?}"
        );
        assert_eq!(
            got.text().split(",\"errors\"").next(),
            WHOLE.replace("[1,2]", "[]").split(",\"errors\"").next()
        );
        assert_eq!(got.status, 200);
        let error = got.error("recs");
        assert_eq!(
            (&error["code"], &error["fallback"]),
            (&"timeout".into(), &"value".into())
        );
        assert_eq!(error["attempts"], 2);
        // The first is cut by its own clock, the second, after a pause of up to 25 ms, by the call's.
        world
            .service("r")
            .until(|journal| journal.open() == 0)
            .await;
        let seen = world.service("r").journal().seen;
        let [first, second] = &seen[..] else {
            panic!("{seen:?}")
        };
        let cut = first.ended.unwrap().0 - got.asked;
        assert!(
            (milliseconds(137)..=milliseconds(139)).contains(&cut),
            "{cut:?}"
        );
        let again = second.request.at - got.asked;
        assert!(
            (milliseconds(137)..=milliseconds(164)).contains(&again),
            "{again:?}"
        );
        assert_eq!(
            second.ended,
            Some((got.asked + milliseconds(300), End::Gone))
        );
        world.check().await
    });
}

#[test]
fn scenario_02_a_blackhole_fails_the_page_and_cancels_the_others() {
    simulated(async || {
        let silent = Plot::always(Behaviour::never());
        let plots = [
            ("u", Plot::behind(Door::Blackhole)),
            ("r", silent.clone()),
            ("p", silent),
        ];
        let world = World::simulated(&Page::default(), &plots);
        let got = world.get(PAGE).await;
        assert!(got.took() <= milliseconds(330), "{got:?}");
        assert_eq!((got.status, got.code().as_str()), (504, "timeout"));
        assert_eq!(got.header("content-type"), Some("application/problem+json"));
        assert_eq!(got.error("user")["code"], "timeout");
        assert_eq!(got.error("orders")["code"], "dependency_failed");
        assert!(world.service("o").journal().connections.is_empty());
        // The price will be kept, so that its flight goes on: it has the time of the route, less 20 ms.
        let own = got.asked + milliseconds(980);
        for (name, by) in [("r", got.answered + milliseconds(50)), ("p", own)] {
            let service = world.service(name);
            service.until(|journal| journal.open() == 0).await;
            for seen in service.journal().seen {
                let (at, end) = seen.ended.unwrap();
                assert_eq!(end, End::Gone);
                assert!(at <= by, "{name} {at:?}");
            }
        }
        world.check().await
    });
}

#[test]
fn scenario_06_a_body_that_is_cut_is_asked_for_again() {
    simulated(async || {
        let half = "\"half a body, and a half nobody may read";
        assert_eq!(half.len(), 40);
        let said = Answer::json(format!("{half:100}"));
        let cut = Behaviour::of(Act::Truncate(said, 40)).after(10);
        let u = Plot::in_turn(vec![cut, well("{\"id\":7,\"name\":\"Ann\"}")]);
        let world = World::simulated(&Page::default(), &[("u", u)]);
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.text().as_str()), (200, WHOLE));
        assert!(!got.is_partial());
        assert_eq!(world.service("u").journal().seen.len(), 2);
        let retries = [("service", "u"), ("kind", "retry"), ("reason", "truncated")];
        assert_eq!(
            world.figures().sum("anabranch_attempts_total", &retries),
            1.0
        );
        world.check().await
    });
}

#[test]
fn scenario_07_a_page_instead_of_json_is_a_bad_payload() {
    simulated(async || {
        let r = Plot::always(maintenance());
        let world = World::simulated(&Page::default(), &[("r", r)]);
        for _ in 0..10 {
            let got = world.get(PAGE).await;
            assert_eq!(got.status, 200);
            assert_eq!(got.json()["recs"], serde_json::json!([]));
            let error = got.error("recs");
            assert_eq!(error["code"], "bad_payload");
            assert_eq!(error["attempts"], 1);
        }
        // Ten in a row: none of them was kept out.
        assert_eq!(world.service("r").journal().seen.len(), 10);
        let transitions = world
            .figures()
            .sum("anabranch_breaker_transitions_total", &[]);
        assert_eq!(transitions, 0.0);
        world.check().await
    });
}

fn maintenance() -> Behaviour {
    let page = Answer {
        headers: vec![("content-type", "text/html".into())],
        ..Answer::json("maintenance")
    };
    Behaviour::of(Act::Answer(page)).after(10)
}

#[test]
fn scenario_08_a_body_that_drips_is_cut_by_the_total_clock() {
    simulated(async || {
        let r = Plot::always(Behaviour::of(Act::Drip(milliseconds(50))));
        let world = World::simulated(&Page::default(), &[("r", r)]);
        let got = world.get(PAGE).await;
        let took = got.took();
        assert!(
            (milliseconds(300)..=milliseconds(330)).contains(&took),
            "{took:?}"
        );
        assert_eq!((got.status, got.is_partial()), (200, true));
        assert_eq!(got.error("recs")["code"], "timeout");
        let seen = world.service("r").journal().seen;
        let cut = seen[0].ended.unwrap().0 - seen[0].request.at;
        // The service notices when it sends its next byte.
        assert!(
            (milliseconds(137)..=milliseconds(139)).contains(&cut),
            "{cut:?}"
        );
        world.check().await
    });
}

#[test]
fn scenario_12_a_retry_after_that_does_not_fit_is_handed_on() {
    simulated(async || {
        let u = Plot::always(Behaviour::status(503).header("retry-after", "2").after(10));
        let world = World::simulated(&Page::default(), &[("u", u)]);
        let got = world.get(PAGE).await;
        assert!(got.took() < milliseconds(30), "{got:?}");
        assert_eq!(
            (got.status, got.code().as_str()),
            (503, "service_unavailable")
        );
        assert_eq!(got.header("retry-after"), Some("2"));
        assert_eq!(world.service("u").journal().seen.len(), 1);
        world.check().await
    });
}

#[test]
fn scenario_12_a_retry_after_of_zero_is_followed() {
    simulated(async || {
        let busy = Behaviour::status(503).header("retry-after", "0");
        let u = Plot::in_turn(vec![busy, well("{\"id\":7,\"name\":\"Ann\"}")]);
        let world = World::simulated(&Page::default(), &[("u", u)]);
        let got = world.get(PAGE).await;
        assert_eq!((got.status, got.text().as_str()), (200, WHOLE));
        let seen = world.service("u").journal().seen;
        let [first, second] = &seen[..] else {
            panic!("{seen:?}")
        };
        // Clocks of the runtime go by whole milliseconds, rounded up.
        let pause = second.request.at - first.request.at;
        assert!(pause <= milliseconds(26), "{pause:?}");
        world.check().await
    });
}

/// What may stand in a path, and what the service then sees of it; `None`: it is not asked.
#[test]
fn scenario_24_a_path_does_not_lead_elsewhere() {
    let long = "a".repeat(4096);
    let long = long.as_str();
    let rows: [(&str, Option<&str>); 9] = [
        ("..%2f..%2fadmin", Some("..%2F..%2Fadmin")),
        ("@evil.example", Some("%40evil.example")),
        ("%0d%0aX:y", None),
        ("//evil", None),
        ("a?b=c", Some("a")),
        ("a#b", None),
        ("%2e%2e", None),
        ("%00", None),
        (long, Some(long)),
    ];
    simulated(async || {
        let world = World::simulated(&Page::default(), &[]);
        for (id, expected) in rows {
            let before = world.service("u").journal().seen.len();
            let got = world.get(&format!("/page/{id}")).await;
            let seen = world.service("u").journal().seen;
            match expected {
                None => {
                    assert!(matches!(got.status, 400 | 404), "{id}: {got:?}");
                    assert_eq!(seen.len(), before, "{id}");
                }
                Some(segment) => {
                    assert_eq!(got.status, 200, "{id}: {got:?}");
                    let request = &seen[before].request;
                    assert_eq!(request.target, format!("/users/{segment}"), "{id}");
                    assert_eq!(request.header("host"), Some("u.test"), "{id}");
                    assert_eq!(names_of(request), OURS, "{id}");
                }
            }
        }
        world.check().await
    });
}

/// The headers of a call that sets none.
const OURS: [&str; 7] = [
    "accept",
    "host",
    "traceparent",
    "user-agent",
    "via",
    "x-request-id",
    "x-request-timeout",
];

fn names_of(request: &crate::faulty::Request) -> Vec<&str> {
    let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_garbled_answer_is_a_protocol_error_and_not_asked_for_again() {
    simulated(async || {
        let r = Plot::always(Behaviour::raw("\u{1}\u{2} not a head\r\n\r\n"));
        let world = World::simulated(&Page::default(), &[("r", r)]);
        let got = world.get(PAGE).await;
        let error = got.error("recs");
        assert_eq!(
            (&error["code"], &error["attempts"]),
            (&"protocol_error".into(), &1.into())
        );
        world.check().await
    });
}

#[test]
fn an_answer_before_the_end_of_a_direction_counts() {
    simulated(async || {
        let r = Plot::always(Behaviour::of(Act::HalfClose(Answer::json("[1,2]"))));
        let world = World::simulated(&Page::default(), &[("r", r)]);
        for _ in 0..2 {
            let got = world.ask(Ask::get(PAGE)).await;
            assert_eq!(got.text(), WHOLE);
        }
        assert_eq!(world.service("r").journal().connections.len(), 2);
        world.check().await
    });
}
