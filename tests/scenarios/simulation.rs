//! Routes and faults by chance: graphs of three to eight calls over services that change their fault
//! every second or two, and then heal. The twelve invariants hold throughout, and once the open
//! intervals then running are over, everything works again within five seconds.
//!
//! Some calls keep answers or share flights, of two clients and a few pages. Services say in each answer
//! for whom it is, and when it was made: no answer is one of another key, and none is older than it may
//! be.
//!
//! A seed that fails says how to run it alone; it becomes a test with a name below.

use std::fmt::Write;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Ask, Got};
use crate::faulty::behaviour::{Act, Answer, Behaviour};
use crate::faulty::{Plot, Request};
use crate::fixture::Page;
use crate::stage::{Trace, simulated_by};
use crate::world::World;

/// How long services are sick, and how long they may take to be whole once they may be asked again.
const SICK: Duration = Duration::from_secs(6);
const CONVALESCENCE: Duration = Duration::from_secs(5);
/// Between two requests.
const PACE: Duration = Duration::from_millis(80);
/// So many requests have to come whole at the end.
const WHOLE: u32 = 10;

/// What tells the keys of a call apart: the page that is asked for, and who asks.
const IDS: [&str; 3] = ["1", "2", "3"];
const CLIENTS: [&str; 2] = ["ann", "bob"];

/// By how much a service's word about time may differ from the proxy's: clocks go by whole
/// milliseconds, rounded up.
const ROUNDING: Duration = Duration::from_millis(2);

#[test]
fn seeds_1_to_50() {
    (1..=50).for_each(|seed| run(seed, 1));
}

#[test]
fn seeds_51_to_100() {
    (51..=100).for_each(|seed| run(seed, 1));
}

#[test]
fn seeds_101_to_150() {
    (101..=150).for_each(|seed| run(seed, 1));
}

#[test]
fn seeds_151_to_200() {
    (151..=200).for_each(|seed| run(seed, 1));
}

/// I12 of graphs by chance, and the seed that `ANABRANCH_SEED` names.
#[test]
fn a_seed_gives_the_same_trace_each_time() {
    let named = std::env::var("ANABRANCH_SEED").ok();
    let named = named.map(|seed| seed.parse().expect("a seed is a whole number"));
    run(named.unwrap_or(1), 2);
}

fn run(seed: u64, times: usize) {
    println!("seed {seed}: ANABRANCH_SEED={seed} cargo test --test scenarios a_seed_gives");
    simulated_by(seed, times, async || live_through(seed).await);
}

async fn live_through(seed: u64) -> Trace {
    let mut rng = Rng::with_seed(seed);
    let graph = Graph::draw(&mut rng);
    let page = Page {
        more: Box::leak(graph.yaml.clone().into_boxed_str()),
        ..Page::default()
    };
    let plots = graph.endpoints.iter().map(|name| {
        let faults = Faults::draw(&mut rng);
        (name.as_str(), Plot::by(move |request| faults.now(request)))
    });
    let plots: Vec<(&str, Plot)> = plots.collect();
    let mut world = World::simulated(&page, &plots);
    world.most = 4;
    ask_for(&world, &mut rng, SICK).await;
    sleep_until(world.started + SICK).await;
    // A service that rests is asked again when its open interval is over.
    ask_for(&world, &mut rng, world.rest() + CONVALESCENCE).await;
    sleep(Duration::from_secs(1)).await;
    for _ in 0..WHOLE {
        let got = world.get("/mix/1").await;
        assert_eq!(got.status, 200, "not whole again: {got:?}\n{}", graph.yaml);
        assert!(
            got.errors().is_empty(),
            "not whole again: {got:?}\n{}",
            graph.yaml
        );
        sleep(PACE).await;
    }
    for got in &*world.book.lock().unwrap() {
        for call in &graph.calls {
            call.check(got, &graph.yaml);
        }
    }
    world.check().await
}

/// Asks at a steady pace for as long as `length`; some clients go away before they have an answer.
async fn ask_for(world: &World, rng: &mut Rng, length: Duration) {
    let start = Instant::now();
    let count = (length.as_millis() / PACE.as_millis()) as u32;
    let asks = (0..count).map(|number| {
        let patience = (rng.u32(..20) == 0).then(|| Duration::from_millis(rng.u64(1..400)));
        let asks: Vec<Ask> = (0..=rng.usize(..12) / 10 * 3).map(|_| page(rng)).collect();
        async move {
            sleep_until(start + PACE * number).await;
            // Now and then some ask at once; the patience is the first one's.
            let asks = asks.into_iter().enumerate();
            let asks =
                asks.map(|(number, what)| ask(world, what, patience.filter(|_| number == 0)));
            join_all(asks).await
        }
    });
    join_all(asks.collect::<Vec<_>>()).await;
}

/// A page by chance.
fn page(rng: &mut Rng) -> Ask {
    let id = IDS[rng.usize(..IDS.len())];
    let client = CLIENTS[rng.usize(..CLIENTS.len())];
    Ask::get(format!("/mix/{id}")).header("authorization", client)
}

async fn ask(world: &World, ask: Ask, patience: Option<Duration>) -> Option<Got> {
    let Some(patience) = patience else {
        return Some(world.ask(ask).await);
    };
    let mut asked = pin!(world.ask(ask));
    if let Ok(got) = timeout(patience, &mut asked).await {
        return Some(got);
    }
    // What is answered at this very moment is told before the client goes.
    for _ in 0..100 {
        yield_now().await;
        if let Some(got) = asked.as_mut().now_or_never() {
            return Some(got);
        }
    }
    None
}

/// A route by chance.
struct Graph {
    yaml: String,
    /// The faulty services: of a service with two endpoints `NAME-a` and `NAME-b`.
    endpoints: Vec<String>,
    calls: Vec<Drawn>,
}

/// What is to hold of a call's answers.
struct Drawn {
    number: usize,
    /// Its URL names the page, its headers the client.
    by_page: bool,
    by_client: bool,
    /// Answers are kept for so long.
    ttl: Option<Duration>,
    while_revalidated: Duration,
    /// For so long an answer may stand in, beyond its `ttl`; `None` where nothing says so.
    if_error: Option<Duration>,
}

impl Drawn {
    /// That what an answer has of this call is of its own key, and no older than it may be.
    fn check(&self, got: &Got, yaml: &str) {
        let told = &got.json()[format!("c{}", self.number)];
        let source = told["source"].as_str().unwrap_or_default();
        let Some(of) = told["of"].as_str().filter(|_| source != "fallback") else {
            return;
        };
        let id = got.target.rsplit('/').next().filter(|_| self.by_page);
        let client = got.sent("authorization").filter(|_| self.by_client);
        let (id, client) = (id.unwrap_or("0"), client.unwrap_or_default());
        let expected = format!("/c{}/{id} {client}", self.number);
        assert_eq!(of, expected, "of another key: {got:?}\n{yaml}");
        let made = Duration::from_millis(told["made"].as_u64().expect("a moment"));
        let Some(allowed) = self.allowed(source) else {
            return;
        };
        let oldest = got.asked.saturating_sub(allowed + ROUNDING);
        assert!(made >= oldest, "too old: {source} {got:?}\n{yaml}");
    }

    /// How old an answer from there may be; `None`: as old as it likes.
    fn allowed(&self, source: &str) -> Option<Duration> {
        let fresh = self.ttl.unwrap_or_default().mul_f64(1.05);
        match source {
            "live" => Some(Duration::ZERO),
            "cache" => Some(fresh + self.while_revalidated),
            "stale" => Some(fresh + self.if_error?),
            _ => panic!("`{source}` has no body of a service"),
        }
    }
}

impl Graph {
    fn draw(rng: &mut Rng) -> Graph {
        let count = rng.usize(3..=8);
        let mut services = String::from("---\nservices:\n");
        let mut calls =
            String::from("---\nroute: GET /mix/{id}\nname: mix\ntimeout: 1000ms\ncalls:\n");
        let mut body = String::from("response:\n  body:\n    errors: $.errors\n");
        let mut endpoints = Vec::new();
        let mut drawn = Vec::new();
        for number in 0..count {
            let name = format!("s{number}");
            let urls: Vec<String> = match rng.u8(..3) {
                0 => ["a", "b"].map(|end| format!("{name}-{end}")).to_vec(),
                _ => vec![name.clone()],
            };
            let listed = urls.iter().map(|url| format!("'http://{url}.test'"));
            let listed: Vec<String> = listed.collect();
            let bulkhead = match rng.u8(..3) {
                0 => ", bulkhead: { max: 2, queue: 1, max_wait: 20ms }",
                _ => "",
            };
            let listed = listed.join(", ");
            writeln!(services, "  {name}: {{ urls: [{listed}]{bulkhead} }}").unwrap();
            endpoints.extend(urls);
            let has_spare = calls.contains("call: spare");
            let (text, what) = call(rng, number, has_spare);
            calls.push_str(&text);
            drawn.push(what);
            let name = format!("$.c{number}");
            writeln!(
                body,
                "    c{number}: {{ v: {name}.body.v, of: {name}.body.of, made: {name}.body.made, source: {name}.source }}"
            )
            .unwrap();
        }
        services.push_str("  spare: { url: 'http://spare.test' }\n");
        endpoints.push("spare".to_owned());
        calls.push_str("  spare: { get: /spare, timeout: 100ms }\n");
        // Nobody may fall back on it; then it is no fallback call.
        if !calls.contains("call: spare") {
            body.push_str("    spare: $.spare.body.v\n");
        }
        Graph {
            yaml: services + &calls + &body,
            endpoints,
            calls: drawn,
        }
    }
}

/// One call, which reads some of those before it.
fn call(rng: &mut Rng, number: usize, has_spare: bool) -> (String, Drawn) {
    let timeout = rng.u32(8..30) * 10;
    let mut keys = vec![
        format!("service: s{number}"),
        format!("timeout: {timeout}ms"),
    ];
    let (by_page, by_client) = (rng.bool(), rng.bool());
    let id = if by_page { "{{request.path.id}}" } else { "0" };
    let path = format!("'/c{number}/{id}'");
    let is_write = match rng.u8(..8) {
        0 => {
            keys.push(format!("post: {path}, json: {{ a: 1 }}"));
            true
        }
        1 => {
            keys.push(format!(
                "post: {path}, idempotency_key: 'k{number}-{{{{request.id}}}}'"
            ));
            true
        }
        _ => {
            keys.push(format!("get: {path}"));
            false
        }
    };
    if by_client {
        keys.push("headers: { authorization: $.request.headers.authorization }".to_owned());
    }
    let mut drawn = Drawn {
        number,
        by_page,
        by_client,
        ttl: None,
        while_revalidated: Duration::ZERO,
        if_error: None,
    };
    if !is_write {
        keys.extend(keeping(rng, &mut drawn));
    }
    let read = (0..number).filter(|_| rng.u8(..3) == 0);
    let read: Vec<String> = read
        .map(|other| format!("c{other}: $.c{other}.body.v"))
        .collect();
    if !read.is_empty() {
        keys.push(format!("query: {{ {} }}", read.join(", ")));
    }
    if rng.bool() {
        keys.push("optional: true".to_owned());
    }
    if !is_write && rng.u8(..4) == 0 {
        keys.push("hedge: { after: 40ms }".to_owned());
    }
    let mut chain = Vec::new();
    if !is_write && rng.u8(..3) == 0 {
        chain.push("{ stale: 60s }");
        // By then the scenario is over.
        drawn.if_error = None;
    }
    if rng.u8(..3) == 0 && !has_spare {
        chain.push("{ call: spare, only: not_sent }");
    }
    if rng.u8(..3) == 0 {
        chain.push("{ value: { v: 0 } }");
    }
    if !chain.is_empty() {
        keys.push(format!("fallback: [ {} ]", chain.join(", ")));
    }
    (format!("  c{number}: {{ {} }}\n", keys.join(", ")), drawn)
}

/// Whether a call keeps its answers or shares its flights, and for how long.
fn keeping(rng: &mut Rng, drawn: &mut Drawn) -> Option<String> {
    match rng.u8(..6) {
        0 => return Some("coalesce: true".to_owned()),
        1..3 => {}
        _ => return None,
    }
    let mut seconds = |tenths: std::ops::Range<u64>| Duration::from_millis(rng.u64(tenths) * 100);
    let ttl = seconds(1..20);
    let (revalidated, if_error) = (seconds(1..20), seconds(1..40));
    drawn.ttl = Some(ttl);
    let mut cache = format!("ttl: {}ms", ttl.as_millis());
    if rng.u8(..3) == 0 {
        drawn.while_revalidated = revalidated;
        write!(
            cache,
            ", stale_while_revalidate: {}ms",
            revalidated.as_millis()
        )
        .unwrap();
    }
    if rng.bool() {
        drawn.if_error = Some(if_error);
        write!(cache, ", stale_if_error: {}ms", if_error.as_millis()).unwrap();
    }
    let coalesce = if rng.u8(..4) == 0 {
        ", coalesce: false"
    } else {
        ""
    };
    Some(format!("cache: {{ {cache} }}{coalesce}"))
}

/// What is wrong with a service, and when.
struct Faults {
    /// Each holds until its moment.
    phases: Vec<(Duration, Behaviour)>,
    healthy: Duration,
}

impl Faults {
    fn draw(rng: &mut Rng) -> Faults {
        let mut phases = Vec::new();
        let mut until = Duration::ZERO;
        while until < SICK {
            until += Duration::from_millis(rng.u64(500..2500));
            phases.push((until.min(SICK), fault(rng)));
        }
        Faults {
            phases,
            healthy: Duration::from_millis(rng.u64(1..20)),
        }
    }

    fn now(&self, request: &Request) -> Behaviour {
        let mut phases = self.phases.iter();
        let fault = phases.find(|(until, _)| request.at < *until);
        let behaviour = match fault {
            Some((_, behaviour)) => behaviour.clone(),
            None => Behaviour {
                after: self.healthy,
                ..Behaviour::json("")
            },
        };
        signed(behaviour, request)
    }
}

/// A good answer says what was asked, by whom, and when it was given.
fn signed(mut behaviour: Behaviour, request: &Request) -> Behaviour {
    if let Act::Answer(answer) | Act::Truncate(answer, _) = &mut behaviour.act
        && answer.status == 200
        && answer.body.is_empty()
    {
        let path = request.target.split('?').next().unwrap_or_default();
        let client = request.header("authorization").unwrap_or_default();
        let made = (request.at + behaviour.after).as_millis();
        answer.body = format!("{{\"v\":7,\"of\":\"{path} {client}\",\"made\":{made}}}").into();
    }
    behaviour
}

fn fault(rng: &mut Rng) -> Behaviour {
    let late = rng.u64(1..50);
    match rng.u8(..14) {
        0 | 1 => Behaviour::json("").after(late),
        2 => Behaviour::json("").after(rng.u64(100..400)),
        3 => Behaviour::never(),
        4 => Behaviour::of(Act::Reset).after(late),
        5 => Behaviour::of(Act::Close).after(late),
        6 => Behaviour::of(Act::Truncate(Answer::json(""), 9)),
        7 => Behaviour::of(Act::Drip(Duration::from_millis(50))),
        8 => Behaviour::status(503).after(late),
        9 => Behaviour::status(500).after(late),
        10 => Behaviour::status(429).header("retry-after", "0"),
        11 => Behaviour::raw("HTTP/1.1 2OO\r\n\r\n"),
        12 => Behaviour::json("<html>maintenance</html>").after(late),
        _ => Behaviour::status(404).after(late),
    }
}
