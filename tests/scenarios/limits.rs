//! What keeps a sick service from making others sick: budget, breaker, balancing, bulkhead.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Got;
use crate::faulty::behaviour::{Act, Answer, Behaviour, Gate};
use crate::faulty::{Journal, Plot};
use crate::fixture::{Page, WHOLE, well};
use crate::stage::{real, simulated};
use crate::world::World;

/// What 144 pages at once cost a debug build beside other tests, on two cores.
const RUSH: Duration = Duration::from_secs(1);

const PAGE: &str = "/page/7";
const ANN: &str = "{\"id\":7,\"name\":\"Ann\"}";

/// A route with nothing but the user.
const USER: &str = "\
---
route: GET /user/{id}
name: user
timeout: 1000ms
calls:
  user: { service: u, get: '/users/{{request.path.id}}', timeout: 300ms }
response: { body: { user: $.user.body, errors: $.errors } }
";

/// Of two endpoints.
const TWO: &str = "urls: ['http://u-a.test', 'http://u-b.test']";

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Asks for the user so often, at this pace whatever the answers take.
async fn load(world: &World, every: Duration, count: u32) -> Vec<Got> {
    let start = Instant::now();
    let asked = (0..count).map(|number| async move {
        sleep_until(start + every * number).await;
        world.get("/user/7").await
    });
    join_all(asked).await
}

/// The answers to what was asked from `from` on, in milliseconds.
fn since(answers: &[Got], from: u64) -> Vec<&Got> {
    let answers = answers.iter();
    answers
        .filter(|got| got.asked >= milliseconds(from))
        .collect()
}

/// The share of answers that are 200.
fn success(answers: &[&Got]) -> f64 {
    let good = answers.iter().filter(|got| got.status == 200).count();
    good as f64 / answers.len() as f64
}

#[test]
fn scenario_07_pages_instead_of_json_lower_the_success_rate() {
    simulated(async || {
        let page = Answer {
            headers: vec![("content-type", "text/html".into())],
            ..Answer::json("maintenance")
        };
        let r = Plot::always(Behaviour::of(Act::Answer(page)).after(10));
        let world = World::simulated(&Page::default(), &[("r", r)]);
        for number in 0..30 {
            let code = world.get(PAGE).await.error("recs")["code"].clone();
            // The rate counts from the 20th outcome on.
            assert_eq!(
                code,
                if number < 20 {
                    "bad_payload"
                } else {
                    "breaker_open"
                }
            );
        }
        assert_eq!(world.service("r").journal().seen.len(), 20);
        world.check().await
    });
}

/// 503 for so many seconds, then well.
fn heals(after: u64) -> Plot {
    Plot::by(
        move |request| match request.at < Duration::from_secs(after) {
            true => Behaviour::status(503).after(10),
            false => well(ANN),
        },
    )
}

#[test]
fn scenario_11_retries_do_not_multiply_an_outage() {
    simulated(async || {
        let page = Page {
            u: "url: 'http://u.test', breaker: false",
            more: USER,
            ..Page::default()
        };
        // 20 s in place of 60: what holds for each second, and for the bucket, shows in either.
        let world = World::simulated(&page, &[("u", heals(20))]);
        load(&world, milliseconds(5), 4000).await;
        let seen = world.service("u").journal().between(0, 20_000);
        // 10 % of 200 a second, 1 a second, and a bucket that starts with 10.
        assert!(seen <= 4000 * 11 / 10 + 20 + 10, "{seen}");
        assert!(seen > 4000, "{seen}");
        sleep(Duration::from_secs(1)).await;
        assert!(
            load(&world, milliseconds(5), 200)
                .await
                .iter()
                .all(|got| got.status == 200)
        );
        world.check().await
    });
}

#[test]
fn scenario_11_an_outage_ends_soon_after_its_cause() {
    simulated(async || {
        let page = Page {
            more: USER,
            ..Page::default()
        };
        let world = World::simulated(&page, &[("u", heals(60))]);
        load(&world, milliseconds(5), 12_000).await;
        let seen = world.service("u").journal().between(0, 60_000);
        assert!(seen <= 200 * 60 * 11 / 10 + 70, "{seen}");
        // The longest interval is 30 s, plus half of it. Ten a second are enough to probe with.
        load(&world, milliseconds(100), 500).await;
        assert!(world.now() >= Duration::from_secs(60 + 5 + 45 - 1));
        sleep(Duration::from_secs(1)).await;
        assert!(
            load(&world, milliseconds(5), 400)
                .await
                .iter()
                .all(|got| got.status == 200)
        );
        world.check().await
    });
}

/// Fails so often in a row, then is well.
fn fails(times: usize) -> Plot {
    Plot::by(move |request| match request.number < times {
        true => Behaviour::status(500).after(10),
        false => well(ANN),
    })
}

fn at(journal: &Journal, number: usize) -> Duration {
    journal.seen[number].request.at
}

fn ended(journal: &Journal, number: usize) -> Duration {
    journal.seen[number].ended.expect("it has ended").0
}

#[test]
fn scenario_13_seven_failures_in_a_row_shut_the_way() {
    simulated(async || {
        let page = Page {
            more: USER,
            ..Page::default()
        };
        let world = World::simulated(&page, &[("u", fails(8))]);
        // Never two at a time, so that each is judged before the next.
        let answers = load(&world, milliseconds(20), 300).await;
        let journal = world.service("u").journal();
        // 1 s and 2 s, plus or minus half, and the pace of the requests.
        let first = at(&journal, 7) - ended(&journal, 6);
        assert!(
            (milliseconds(500)..=milliseconds(1520)).contains(&first),
            "{first:?}"
        );
        let second = at(&journal, 8) - ended(&journal, 7);
        assert!(
            (milliseconds(1000)..=milliseconds(3020)).contains(&second),
            "{second:?}"
        );
        let is_shut = |got: &&Got| {
            [(6, 7), (7, 8)].iter().any(|(last, next)| {
                got.asked > ended(&journal, *last) && got.asked < at(&journal, *next)
            })
        };
        let shut: Vec<&Got> = answers.iter().filter(is_shut).collect();
        assert!(shut.len() > 50, "{}", shut.len());
        for got in shut {
            assert_eq!((got.status, got.code().as_str()), (503, "breaker_open"));
            assert!(got.took() < milliseconds(1), "{got:?}");
            let seconds: u64 = got.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=3).contains(&seconds), "{got:?}");
            assert_eq!(got.error("user")["attempts"], 0);
        }
        let from = (ended(&journal, 8).as_millis() as u64) + 1;
        assert_eq!(success(&since(&answers, from)), 1.0);
        let figures = world.figures();
        let of = |to| {
            figures.sum(
                "anabranch_breaker_transitions_total",
                &[("service", "u"), ("to", to)],
            )
        };
        assert_eq!((of("open"), of("closed")), (2.0, 1.0));
        assert_eq!(
            figures.sum("anabranch_breaker_state", &[("service", "u")]),
            0.0
        );
        world.check().await
    });
}

#[test]
fn scenario_14_one_probe_goes_where_a_hundred_want_to() {
    simulated(async || {
        let page = Page {
            more: USER,
            ..Page::default()
        };
        let world = World::simulated(&page, &[("u", fails(7))]);
        load(&world, milliseconds(20), 7).await;
        // More than the interval and half of it.
        sleep(milliseconds(1600)).await;
        let answers = load(&world, Duration::ZERO, 100).await;
        assert_eq!(world.service("u").journal().seen.len(), 8);
        let good = answers.iter().filter(|got| got.status == 200).count();
        let shut = answers
            .iter()
            .filter(|got| got.code() == "breaker_open")
            .count();
        assert_eq!((good, shut), (1, 99));
        world.check().await
    });
}

/// How many requests an endpoint got, of all, from `from` on.
fn share(world: &World, endpoint: &str, from: u64) -> f64 {
    let count = |name: &str| world.service(name).journal().between(from, u64::MAX) as f64;
    count(endpoint) / (count("u-a") + count("u-b"))
}

#[test]
fn scenario_15_an_endpoint_that_fails_often_is_hardly_asked() {
    simulated(async || {
        let page = Page {
            u: TWO,
            more: USER,
            ..Page::default()
        };
        let good = Plot::always(well(ANN));
        let bad = Plot::by(|request| match request.number % 10 < 7 {
            true => Behaviour::status(500).after(10),
            false => well(ANN),
        });
        let world = World::simulated(&page, &[("u-a", good), ("u-b", bad)]);
        let answers = load(&world, milliseconds(10), 3000).await;
        let share = share(&world, "u-b", 5000);
        assert!(share < 0.02, "{share}");
        let success = success(&since(&answers, 5000));
        assert!(success >= 0.99, "{success}");
        // Never both: somebody is always asked.
        assert!(answers.iter().all(|got| got.code() != "breaker_open"));
        world.check().await
    });
}

#[test]
fn scenario_16_failing_fast_does_not_attract() {
    simulated(async || {
        let page = Page {
            u: "urls: ['http://u-a.test', 'http://u-b.test'], breaker: false",
            more: USER,
            ..Page::default()
        };
        let slow = Plot::always(Behaviour::json(ANN).after(20));
        let fast = Plot::always(Behaviour::status(500).after(1));
        let world = World::simulated(&page, &[("u-a", slow), ("u-b", fast)]);
        load(&world, milliseconds(10), 1000).await;
        let share = share(&world, "u-b", 2000);
        assert!(share < 0.10, "{share}");
        world.check().await
    });
}

#[test]
fn scenario_17_a_service_that_hangs_holds_no_more_than_its_own() {
    real(async || {
        let page = Page {
            // A test's build on two busy cores is late without being overloaded.
            u: "url: 'http://u.test', bulkhead: false",
            o: "url: 'http://o.test', bulkhead: false",
            p: "url: 'http://p.test', bulkhead: false",
            // R hangs for as long as the others are looked at.
            timeout: "25000ms",
            user: "timeout: 24s",
            orders: "timeout: 24s",
            recs: "timeout: 24s, retry: false",
            more: USER,
            ..Page::default()
        };
        let gate = Gate::new();
        let mut world = World::real(&page, &[("r", Plot::always(gate.hold("[1,2]")))]).await;
        // A rush of 256 pages keeps both cores of a debug build busy for as long.
        world.slack = Duration::from_secs(1);
        let before = p99(&world).await;
        let r = world.service("r");
        let held = join_all((0..256).map(|_| world.get(PAGE)));
        let looked = async {
            r.until(|journal| journal.open() == 256).await;
            let refused = join_all((0..144).map(|_| world.get(PAGE))).await;
            assert_eq!(r.journal().seen.len(), 256);
            // What disturbs a measurement only adds to it.
            let mut grown = Duration::MAX;
            for _ in 0..3 {
                grown = grown.min(p99(&world).await.saturating_sub(before));
            }
            assert_eq!(r.journal().open(), 256);
            gate.open();
            (refused, grown)
        };
        let (held, (refused, grown)) = tokio::join!(held, looked);
        let other = held.iter().find(|got| got.text() != WHOLE);
        assert!(other.is_none(), "{other:?}");
        assert!(grown < milliseconds(5), "{grown:?}");
        let mut waited = 0;
        for got in &refused {
            assert_eq!(got.status, 200);
            let error = got.error("recs");
            let took = milliseconds(error["elapsed_ms"].as_u64().unwrap());
            if error["code"] == "queue_timeout" {
                waited += 1;
                assert!(
                    (milliseconds(100)..=milliseconds(100) + RUSH).contains(&took),
                    "{took:?}"
                );
            } else {
                assert_eq!(error["code"], "bulkhead_full");
                assert!(took < RUSH, "{took:?}");
            }
        }
        // 64 at a time; the last of 144 may come when the first have waited their 100 ms.
        assert!((1..=128).contains(&waited), "{waited}");
        world.check().await
    });
}

/// Of a route that does not use R.
async fn p99(world: &World) -> Duration {
    let mut times = Vec::new();
    for _ in 0..100 {
        let got = world.get("/user/7").await;
        assert_eq!(got.status, 200);
        times.push(got.took());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100 - 1]
}
