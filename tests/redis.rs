//! Whole proxies that share a real Redis: what one keeps another gives, and what becomes of clients
//! while it is gone. In real time; `support/redis_server.rs` says which server, and what becomes of
//! these tests without one.
#![cfg(feature = "redis")]

#[allow(dead_code, reason = "only a part of it is needed here")]
#[path = "support/faulty/mod.rs"]
mod faulty;
#[path = "support/redis_server.rs"]
mod redis_server;
#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anabranch::app::{self, Options, Running};
use anabranch::reload::Trigger;
use anabranch::reload::watch::Mode;
use anabranch::telemetry::log::{Form, Log};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use faulty::behaviour::{Act, Answer, Behaviour, Gate};
use faulty::{Faulty, Plot, Request};
use redis_server::{BOUND, Server, until};
use sink::Sink;

/// What the service of all these routes does stands in [`reply`].
const ROUTES: &str = r#"
route: GET /written/{id}
calls: { main: { service: s, get: "/written/{{request.path.id}}", cache: { ttl: 60s } } }
response: { body: $.main.body }
---
route: GET /plain
calls: { main: { service: s, get: /plain } }
response: { body: $.main.body }
---
route: GET /other/{id}
calls: { main: { service: t, get: "/written/{{request.path.id}}", cache: { ttl: 60s } } }
response: { body: $.main.body }
---
route: GET /short
calls: { main: { service: s, get: /written/short, cache: { ttl: 1s, stale_while_revalidate: 1h } } }
response: { body: $.main.body }
---
route: GET /varies
calls:
  main:
    service: s
    get: /varies
    headers: { accept-language: $.request.headers.accept-language }
    cache: { ttl: from_headers }
response: { body: $.main.body }
---
route: PUT /varies
calls: { main: { service: s, put: /varies, json: {} } }
response: { body: 1 }
---
route: GET /validated
calls: { main: { service: s, get: /validated, cache: { ttl: from_headers } } }
response: { body: $.main.body }
---
route: GET /mine
calls:
  main:
    service: s
    get: /mine
    headers: { authorization: $.request.headers.authorization }
    cache: { ttl: 60s }
response: { body: $.main.body }
---
route: GET /rows
calls:
  rows:
    service: s
    for_each: id in $.request.query_list.id
    max_items: 100
    batch: { key: $.id, size: 100, rows: "$.reply.body[*]", match: $.row.id }
    get: /rows
    query: { ids: "{{join keys ','}}" }
    cache: { ttl: 60s }
response: { body: "$.rows[*].body.id" }
---
route: GET /passed
calls: { main: { service: s, get: /passed, cache: { ttl: from_headers } } }
response: { pass: main }
---
route: GET /held/{id}
calls: { main: { service: s, get: "/held/{{request.path.id}}", cache: { ttl: 60s }, retry: false } }
response: { body: $.main.body }
"#;

/// What a lookup may take over its timeout on a machine that has much else to do.
const SLACK: Duration = Duration::from_secs(1);

fn reply(request: &Request, gate: &Gate) -> Behaviour {
    let number = request.number;
    let path = request.target.split(['?', '/']).nth(1).unwrap_or_default();
    let kept = |body: String| Behaviour::json(body).header("cache-control", "max-age=60");
    match path {
        "varies" if request.method == http::Method::GET => {
            let language = request.header("accept-language").unwrap_or("-");
            kept(format!("\"{language} {number}\"")).header("vary", "accept-language")
        }
        "validated" => {
            let behaviour = match request.header("if-none-match") {
                Some("\"v1\"") => Behaviour::status(304),
                _ => Behaviour::json(format!("{number}")),
            };
            behaviour
                .header("cache-control", "max-age=1")
                .header("etag", "\"v1\"")
        }
        "mine" => Behaviour::json(format!(
            "\"{}\"",
            request.header("authorization").unwrap_or("-")
        )),
        "rows" => {
            let (_, ids) = request.target.split_once("ids=").unwrap();
            let rows = ids.split("%2C").map(|id| format!("{{\"id\":\"{id}\"}}"));
            Behaviour::json(format!("[{}]", rows.collect::<Vec<_>>().join(",")))
        }
        "passed" => kept(format!("passed {number}")),
        "held" => Behaviour::of(Act::Hold(gate.clone(), Answer::json("\"held\""))),
        _ => Behaviour::json(format!("{number}")),
    }
}

// === proxies ===

struct Service {
    faulty: Arc<Faulty>,
    address: SocketAddr,
    gate: Gate,
}

impl Service {
    async fn start() -> Service {
        let gate = Gate::new();
        let held = gate.clone();
        let plot = Plot::by(move |request| reply(request, &held));
        let faulty = Faulty::new("s", plot, Instant::now());
        let address = faulty.listen().await;
        Service {
            faulty,
            address,
            gate,
        }
    }

    /// How often it was asked for something whose target begins so.
    fn asked(&self, target: &str) -> usize {
        let journal = self.faulty.journal();
        let seen = journal.seen.iter();
        seen.filter(|seen| seen.request.target.starts_with(target))
            .count()
    }
}

/// A proxy with its files, in this process.
struct Instance {
    folder: PathBuf,
    service: SocketAddr,
    running: Running,
    sink: Sink,
}

impl Instance {
    /// `cache` is the text of the key.
    async fn start(service: &Service, cache: &str) -> Instance {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-shared-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("routes.yaml"), ROUTES).unwrap();
        write_gateway(&folder, service.address, cache);
        let sink = Sink::default();
        let options = Options {
            paths: vec![folder.clone()],
            watch: Mode::Off,
            log: Log::to(sink.clone(), Form::Json),
            workers: 2,
        };
        let running = match app::start(options).await {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        };
        Instance {
            folder,
            service: service.address,
            running,
            sink,
        }
    }

    async fn reload(&self, cache: &str) {
        let before = self.running.generations.in_force().number;
        write_gateway(&self.folder, self.service, cache);
        self.running.generations.examine(Trigger::Asked).await;
        let number = self.running.generations.in_force().number;
        assert!(number > before, "`{cache}` is not in force");
    }

    async fn get(&self, target: &str) -> Reply {
        self.get_as(target, "").await
    }

    /// With these header lines.
    async fn get_as(&self, target: &str, headers: &str) -> Reply {
        let reply = ask(self.running.listen, "GET", target, headers).await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        reply
    }

    async fn purge(&self, query: &str) -> (u16, Value) {
        let target = format!("/cache/purge?{query}");
        let reply = ask(self.running.admin, "POST", &target, "content-length: 0\r\n").await;
        let body = serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"));
        (reply.status, body)
    }

    /// How many lookups in the Redis ended so.
    async fn lookups(&self, result: &str) -> usize {
        let metrics = ask(self.running.admin, "GET", "/metrics", "").await.body;
        let series =
            format!("anabranch_cache_requests_total{{store=\"redis\",result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// Levels and messages of what is logged beside requests.
    fn events(&self) -> Vec<(String, String)> {
        let lines = self.log();
        let events = lines.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let (level, message) = (line["level"].as_str()?, line["message"].as_str()?);
            message
                .contains("Redis")
                .then(|| (level.to_owned(), message.to_owned()))
        });
        events.collect()
    }

    fn log(&self) -> String {
        self.running.telemetry.log().flush(Duration::from_secs(10));
        String::from_utf8(self.sink.0.lock().unwrap().clone()).unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // What is left behind in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write_gateway(folder: &std::path::Path, service: SocketAddr, cache: &str) {
    let gateway = format!(
        "server: {{ listen: 127.0.0.1:0, shed: {{ lag: 10s }} }}\nadmin: {{ listen: 127.0.0.1:0 }}\n\
         services: {{ s: {{ url: \"http://{service}\" }}, t: {{ url: \"http://{service}\" }} }}\n\
         cache: {cache}\n"
    );
    fs::write(folder.join("gateway.yaml"), gateway).unwrap();
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
    took: Duration,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value)
    }

    fn is_hit(&self) -> bool {
        self.fate().starts_with("anabranch; hit")
    }

    fn fate(&self) -> &str {
        self.header("cache-status")
    }
}

async fn ask(address: SocketAddr, method: &str, target: &str, headers: &str) -> Reply {
    let started = Instant::now();
    let asked = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(BOUND, asked).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    Reply {
        status: head[9..12].parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
        took: started.elapsed(),
    }
}

// === two of them ===

/// Two instances over one service and one Redis.
struct Pair {
    redis: Server,
    service: Service,
    a: Instance,
    b: Instance,
}

impl Pair {
    /// `None`: there is no `redis-server`. Lookups may take so long.
    async fn start(redis_timeout: &str) -> Option<Pair> {
        let redis = Server::start(&[])?;
        let service = Service::start().await;
        let cache = shared(&redis, redis_timeout);
        let (a, b) = (
            Instance::start(&service, &cache).await,
            Instance::start(&service, &cache).await,
        );
        Some(Pair {
            redis,
            service,
            a,
            b,
        })
    }
}

fn shared(redis: &Server, redis_timeout: &str) -> String {
    format!(
        "{{ redis: \"{}\", redis_timeout: {redis_timeout} }}",
        redis.url()
    )
}

/// Waits until the Redis has so many values: writes are waited for by nobody.
async fn until_held(redis: &Server, count: usize) {
    until("it is in the Redis", async || {
        redis.ask::<usize>(&redis::cmd("DBSIZE")).await == count
    })
    .await;
}

/// Waits until so many listen for purges.
async fn until_heard(redis: &Server, count: usize) {
    let mut listeners = redis::cmd("PUBSUB");
    listeners.arg("NUMSUB").arg("anabranch:1:purges");
    until("they listen", async || {
        let (_, listening): (String, usize) = redis.ask(&listeners).await;
        listening == count
    })
    .await;
}

/// Of what takes its time where nothing else is amiss.
const PATIENT: &str = "5s";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_keeps_the_other_gives() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair {
        redis,
        service,
        a,
        b,
    } = &pair;
    let mut held = 0;
    for (target, asks, values) in [
        ("/written/1", "/written/1", 1),
        // A note and a variant.
        ("/varies", "/varies", 2),
        ("/passed", "/passed", 2),
    ] {
        let first = a.get_as(target, "accept-language: en\r\n").await;
        assert!(first.fate().contains("; stored"), "{first:?}");
        held += values;
        until_held(redis, held).await;
        let second = b.get_as(target, "accept-language: en\r\n").await;
        assert!(second.is_hit(), "{second:?}");
        assert_eq!(second.body, first.body);
        assert_eq!(service.asked(asks), 1);
    }
    let other = b.get_as("/varies", "accept-language: fr\r\n").await;
    assert!(other.fate().contains("fwd=vary-miss; stored"), "{other:?}");
    until_held(redis, held + 1).await;
    let other = a.get_as("/varies", "accept-language: fr\r\n").await;
    assert!(other.is_hit(), "{other:?}");
    assert_eq!(service.asked("/varies"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_looked_up_all_at_once() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair {
        redis,
        service,
        a,
        b,
    } = &pair;
    let rows = |numbers: std::ops::Range<u32>| {
        let ids = numbers.map(|number| format!("id=r{number}"));
        format!("/rows?{}", ids.collect::<Vec<_>>().join("&"))
    };
    let first = a.get(&rows(0..40)).await;
    until_held(redis, 40).await;
    let () = redis.ask(redis::cmd("CONFIG").arg("RESETSTAT")).await;
    let second = b.get(&rows(0..40)).await;
    assert!(second.is_hit(), "{second:?}");
    assert_eq!(second.body, first.body);
    let stats: String = redis.ask(redis::cmd("INFO").arg("commandstats")).await;
    assert!(stats.contains("cmdstat_mget:calls=1,"), "{stats}");
    assert_eq!(b.lookups("hit").await, 40);
    // Those that nobody has are asked for together.
    b.get(&rows(38..42)).await;
    assert_eq!(service.asked("/rows"), 2);
    assert_eq!(service.asked("/rows?ids=r40%2Cr41"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn age_goes_on_and_validators_serve_the_other() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair {
        redis,
        service,
        a,
        b,
    } = &pair;
    a.get("/short").await;
    a.get("/passed").await;
    a.get("/validated").await;
    let kept = Instant::now();
    until_held(redis, 5).await;
    // Time itself is what this is about.
    sleep_until(kept + Duration::from_millis(2200)).await;

    let short = b.get("/short").await;
    assert!(
        short.fate().starts_with("anabranch; hit; ttl=-"),
        "{short:?}"
    );
    let passed = b.get("/passed").await;
    assert!(passed.is_hit(), "{passed:?}");
    assert!(passed.header("age").parse::<u32>().unwrap() >= 2);

    let validated = b.get("/validated").await;
    let fate = "anabranch; fwd=stale; fwd-status=304; stored";
    assert!(validated.fate().starts_with(fate), "{validated:?}");
    assert_eq!(service.asked("/validated"), 2);
    let journal = service.faulty.journal();
    let with_tag = journal.seen.iter().filter(|seen| {
        seen.request.target == "/validated" && seen.request.header("if-none-match").is_some()
    });
    assert_eq!(with_tag.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_answers_differ_is_agreed_on_again_after_a_loss_and_after_a_write() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair {
        redis,
        service,
        a,
        b,
    } = &pair;
    let get = async |instance: &Instance, language: &str| {
        let headers = format!("accept-language: {language}\r\n");
        instance.get_as("/varies", &headers).await
    };
    get(a, "en").await;
    until_held(redis, 2).await;
    assert!(get(b, "en").await.is_hit());

    // All is lost; memories are not.
    let () = redis.ask(&redis::cmd("FLUSHALL")).await;
    assert!(get(a, "en").await.is_hit());
    get(a, "fr").await;
    until_held(redis, 2).await;
    assert!(get(b, "fr").await.is_hit());
    get(b, "de").await;
    until_held(redis, 3).await;
    assert!(get(a, "de").await.is_hit());
    assert_eq!(service.asked("/varies"), 3);

    // What has been read before a write is given by nobody who knows of it.
    let written = ask(a.running.listen, "PUT", "/varies", "content-length: 0\r\n").await;
    assert_eq!(written.status, 200);
    until_held(redis, 2).await;
    let fresh = get(a, "de").await;
    assert!(fresh.fate().contains("fwd=uri-miss; stored"), "{fresh:?}");
    until_held(redis, 4).await;
    // It has to ask for this one, and hears of the rest.
    assert!(!get(b, "es").await.is_hit());
    let heard = get(b, "de").await;
    assert!(heard.is_hit(), "{heard:?}");
    assert_eq!(heard.body, fresh.body);
    assert!(!get(b, "fr").await.is_hit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_different_credentials_share_nothing() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair {
        redis,
        service,
        a,
        b,
    } = &pair;
    let (anna, ben) = (
        "authorization: Bearer s3cr3t-anna\r\n",
        "authorization: Bearer s3cr3t-ben\r\n",
    );
    assert_eq!(a.get_as("/mine", anna).await.body, "\"Bearer s3cr3t-anna\"");
    until_held(redis, 1).await;
    let other = b.get_as("/mine", ben).await;
    assert!(!other.is_hit(), "{other:?}");
    assert_eq!(other.body, "\"Bearer s3cr3t-ben\"");
    until_held(redis, 2).await;
    assert!(!b.get("/mine").await.is_hit());
    until_held(redis, 3).await;
    for (instance, client, expected) in [(b, anna, "anna"), (a, ben, "ben")] {
        let again = instance.get_as("/mine", client).await;
        assert!(again.is_hit(), "{again:?}");
        assert!(again.body.contains(expected), "{again:?}");
    }
    assert_eq!(service.asked("/mine"), 3);
    let names: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*")).await;
    for name in names {
        assert!(name.starts_with("anabranch:1:s:/mine:"), "{name}");
        let hash = name.rsplit(':').next().unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

// === a Redis that is gone ===

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Killed,
    Hung,
}

/// What a lookup may add to an answer.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Who ask at the same time: where the machine has no time they ask less often, so that nothing piles
/// up.
const ASKERS: usize = 6;

/// Sends three hundred requests that are looked up, a hundred a second where there is time for it, and
/// takes the Redis away after the first fifty.
async fn one_that_goes_away_under_load(gone: Gone) {
    // The two of them do not load each other.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let Some(mut pair) = Pair::start("50ms").await else {
        return;
    };
    // The first connection is no part of this.
    until("it is used", async || {
        let target = format!("/written/{}", fastrand::u64(..));
        pair.a.get(&target).await;
        pair.b.get(&target).await;
        pair.a.lookups("miss").await > 0 && pair.b.lookups("hit").await > 0
    })
    .await;
    let before = [
        pair.a.lookups("timeout").await,
        pair.a.lookups("error").await,
        pair.a.lookups("resting").await,
    ];
    let asked = Arc::new(AtomicU32::new(0));
    let askers: Vec<_> = (0..ASKERS)
        .map(|_| {
            let (asked, address) = (asked.clone(), pair.a.running.listen);
            tokio::spawn(async move { keep_asking(address, &asked).await })
        })
        .collect();
    until("fifty are asked", async || {
        asked.load(Ordering::Relaxed) >= 50
    })
    .await;
    match gone {
        Gone::Killed => pair.redis.kill(),
        Gone::Hung => pair.redis.signal("-STOP"),
    }
    let (mut looked_up, mut others) = (Vec::new(), Vec::new());
    for asker in askers {
        for [one, other] in asker.await.unwrap() {
            assert_eq!((one.status, other.status), (200, 200), "{one:?} {other:?}");
            looked_up.push(one.took);
            others.push(other.took);
        }
    }
    looked_up.sort();
    others.sort();
    let worst = (looked_up.last().unwrap(), others.last().unwrap());
    assert!(*worst.0 < *worst.1 + TIMEOUT + SLACK, "{worst:?}");
    // Most found it resting, and paid nothing.
    let middle = (looked_up[150], others[150]);
    assert!(middle.0 < middle.1 + TIMEOUT, "{middle:?}");
    let a = &pair.a;
    let after = [
        a.lookups("timeout").await - before[0],
        a.lookups("error").await - before[1],
        a.lookups("resting").await - before[2],
    ];
    let [late, failed, resting] = after;
    // Those that were under way when it went, and a few that tried it again.
    assert!(late + failed >= 3, "{after:?}");
    assert!(late + failed <= 25, "{after:?}");
    assert!(resting >= 150, "{after:?}");
    match gone {
        Gone::Killed => assert!(failed > 0, "{after:?}"),
        Gone::Hung => assert!(late > 0, "{after:?}"),
    }
    let away = "the Redis of the cache is away, answers are kept in memory alone";
    assert_eq!(a.events(), [("warn".to_owned(), away.to_owned())]);

    match gone {
        Gone::Killed => pair.redis.up(),
        Gone::Hung => pair.redis.signal("-CONT"),
    }
    let (a, b, redis) = (&pair.a, &pair.b, &pair.redis);
    let mut number = 0;
    until("what one keeps the other gives again", async || {
        number += 1;
        let target = format!("/written/back-{number}");
        let size = &redis::cmd("DBSIZE");
        let before: usize = redis.ask(size).await;
        a.get(&target).await;
        // A write that finds it away still is dropped.
        let deadline = Instant::now() + Duration::from_millis(100);
        while redis.ask::<usize>(size).await == before && Instant::now() < deadline {}
        b.get(&target).await.is_hit()
    })
    .await;
    let back = (
        "info".to_owned(),
        "the Redis of the cache is back".to_owned(),
    );
    until("it is said", async || {
        a.get(&format!("/written/{}", fastrand::u64(..))).await;
        a.events().len() == 2
    })
    .await;
    assert_eq!(a.events()[1], back);
}

/// One of each pair is looked up; the other one shows what the machine needs at that moment.
async fn keep_asking(address: SocketAddr, asked: &AtomicU32) -> Vec<[Reply; 2]> {
    let mut pace = tokio::time::interval(Duration::from_millis(10 * ASKERS as u64));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut replies = Vec::new();
    loop {
        pace.tick().await;
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if number >= 300 {
            return replies;
        }
        let target = format!("/written/load-{number}");
        replies.push([
            ask(address, "GET", &target, "").await,
            ask(address, "GET", "/plain", "").await,
        ]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_under_load_costs_a_moment_and_comes_back() {
    one_that_goes_away_under_load(Gone::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_under_load_costs_a_moment_and_comes_back() {
    one_that_goes_away_under_load(Gone::Hung).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_once_and_answers_go_on() {
    let Some(redis) = Server::start(&["--requirepass", "r1ght"]) else {
        return;
    };
    let service = Service::start().await;
    let url = format!("redis://:wr0ng@127.0.0.1:{}", redis.port);
    let cache = format!("{{ redis: \"{url}\", redis_timeout: 50ms }}");
    let a = Instance::start(&service, &cache).await;
    let mut number = 0;
    until("it rests", async || {
        number += 1;
        let reply = a.get(&format!("/written/{number}")).await;
        assert!(reply.took < TIMEOUT + SLACK, "{reply:?}");
        a.lookups("resting").await >= 10
    })
    .await;
    assert!(a.get("/written/1").await.is_hit());
    let log = a.log();
    assert!(!log.contains("wr0ng"), "{log}");
    let events = a.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "warn");
    let (status, body) = a.purge("service=s").await;
    assert_eq!(status, 503, "{body}");
    assert!(!body.to_string().contains("wr0ng"), "{body}");
    assert!(body["memory"].as_u64().unwrap() > 0, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_full_takes_nothing_and_costs_nothing() {
    let full = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"];
    let Some(redis) = Server::start(&full) else {
        return;
    };
    let service = Service::start().await;
    let a = Instance::start(&service, &shared(&redis, PATIENT)).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // It counts what its connections take too, so that one refusal is not the last word.
    let mut refused = 0;
    for number in 0.. {
        let mut set = redis::cmd("SET");
        set.arg(number).arg([b'x'; 500].as_slice());
        refused += usize::from(set.query_async::<()>(&mut connection).await.is_err());
        if refused == 100 {
            break;
        }
    }
    let () = redis.ask(redis::cmd("CONFIG").arg("RESETSTAT")).await;
    for language in ["en", "fr", "de"] {
        let headers = format!("accept-language: {language}\r\n");
        assert!(!a.get_as("/varies", &headers).await.is_hit());
    }
    for number in 0..50 {
        a.get(&format!("/written/{number}")).await;
    }
    // Memory has all of it; also what differs, though the note is not taken.
    for language in ["en", "fr", "de"] {
        let headers = format!("accept-language: {language}\r\n");
        assert!(a.get_as("/varies", &headers).await.is_hit());
    }
    for number in 0..50 {
        assert!(a.get(&format!("/written/{number}")).await.is_hit());
    }
    assert_eq!(a.lookups("miss").await, 53);
    assert_eq!(a.events(), []);
    let refused: String = redis.ask(redis::cmd("INFO").arg("errorstats")).await;
    assert!(refused.contains("errorstat_OOM:"), "{refused}");
    let (status, body) = a.purge("service=s&path=/written/7").await;
    assert_eq!((status, &body["memory"]), (200, &1.into()), "{body}");
}

// === purges ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_everybodys() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair { redis, a, b, .. } = &pair;
    until_heard(redis, 2).await;
    let targets = ["/written/1", "/written/2", "/other/1"];
    for (number, target) in targets.into_iter().enumerate() {
        a.get(target).await;
        until_held(redis, number + 1).await;
        assert!(b.get(target).await.is_hit());
    }
    let (status, body) = a.purge("service=s&path=/written/1").await;
    assert_eq!(status, 200);
    assert_eq!((&body["memory"], &body["redis"]), (&1.into(), &1.into()));
    until_held(redis, 2).await;
    until("the other forgets it", async || {
        !b.get("/written/1").await.is_hit()
    })
    .await;
    until_held(redis, 3).await;
    assert!(a.get("/written/1").await.is_hit());
    for target in &targets[1..] {
        assert!(a.get(target).await.is_hit(), "{target}");
        assert!(b.get(target).await.is_hit(), "{target}");
    }

    let (status, body) = b.purge("service=s").await;
    assert_eq!((status, &body["redis"]), (200, &2.into()), "{body}");
    until_held(redis, 1).await;
    until("the other forgets them", async || {
        !a.get("/written/2").await.is_hit()
    })
    .await;
    for instance in [a, b] {
        assert!(instance.get("/other/1").await.is_hit());
    }
    assert_eq!(a.purge("service=u").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_finds_strange_paths_in_all_their_forms() {
    let Some(pair) = Pair::start(PATIENT).await else {
        return;
    };
    let Pair { redis, a, .. } = &pair;
    until_heard(redis, 2).await;
    for (asked, forms) in [
        ("p%20q", ["/written/p+q", "/written/p%2520q"]),
        (
            "caf%C3%A9",
            ["/written/caf%C3%A9", "/written/caf%25c3%25a9"],
        ),
        ("*", ["/written/*", "/written/%252A"]),
        ("[a-z]", ["/written/[a-z]", "/written/%255Ba-z%255D"]),
        ("100%25", ["/written/100%25", "/written/100%2525"]),
        ("a:b@c", ["/written/a:b@c", "/written/a%253ab%2540c"]),
        ("%5C", ["/written/%5C", "/written/%255c"]),
    ] {
        let near = format!("/written/{asked}x");
        for form in forms {
            // What is under way while an instance hears of the purge before is not kept.
            until("both are in the Redis", async || {
                a.get(&near).await;
                a.get(&format!("/written/{asked}")).await;
                redis.ask::<usize>(&redis::cmd("DBSIZE")).await == 2
            })
            .await;
            let (status, body) = a.purge(&format!("service=s&path={form}")).await;
            assert_eq!((status, &body["redis"]), (200, &1.into()), "{form}: {body}");
            assert!(a.get(&near).await.is_hit(), "{form}");
            assert!(
                !a.get(&format!("/written/{asked}")).await.is_hit(),
                "{form}"
            );
        }
        a.purge("service=s").await;
        until_held(redis, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_without_the_redis_says_so_and_clears_memory() {
    let Some(mut pair) = Pair::start("50ms").await else {
        return;
    };
    pair.a.get("/written/1").await;
    pair.redis.signal("-STOP");
    pair.a.get("/written/2").await;
    for (hangs, path) in [(true, "/written/1"), (false, "/written/2")] {
        if !hangs {
            pair.redis.kill();
        }
        let started = Instant::now();
        let (status, body) = pair.a.purge(&format!("service=s&path={path}")).await;
        assert_eq!(status, 503, "{body}");
        assert_eq!(body["memory"], 1, "{body}");
        assert_eq!(body["redis"], Value::Null, "{body}");
        assert!(body["error"].is_string(), "{body}");
        assert!(started.elapsed() < Duration::from_secs(8), "{body}");
        assert!(!pair.a.get(path).await.is_hit());
    }
}

// === reloads ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_store_and_loses_nothing() {
    let (Some(first), Some(second)) = (Server::start(&[]), Server::start(&[])) else {
        return;
    };
    let service = Service::start().await;
    let a = Instance::start(&service, "{ memory: 8MiB }").await;
    a.get("/written/1").await;
    let address = a.running.listen;
    let mut held = Vec::new();
    let caches = [
        shared(&first, PATIENT),
        shared(&first, "4s"),
        shared(&second, "4s"),
        format!("{{ memory: 4MiB, {}", &shared(&second, "4s")[1..]),
        "{ memory: 4MiB }".to_owned(),
        "{ memory: 16MiB }".to_owned(),
    ];
    for (number, cache) in caches.iter().enumerate() {
        let target = format!("/held/{number}");
        held.push(tokio::spawn(async move {
            ask(address, "GET", &target, "").await
        }));
        service
            .faulty
            .until(|journal| journal.open() > number)
            .await;
        a.reload(cache).await;
        assert!(a.get("/written/1").await.is_hit(), "after `{cache}`");
        let fresh = format!("/written/fresh-{number}");
        assert!(!a.get(&fresh).await.is_hit());
        match number {
            0 => until_held(&first, 1).await,
            1 => until_held(&first, 2).await,
            2 => until_held(&second, 1).await,
            3 => until_held(&second, 2).await,
            _ => {}
        }
        assert!(a.get(&fresh).await.is_hit(), "after `{cache}`");
    }
    service.gate.open();
    for (number, reply) in held.into_iter().enumerate() {
        let reply = reply.await.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "\"held\""));
        // It is kept by whatever was in force when it came.
        assert!(a.get(&format!("/held/{number}")).await.is_hit());
    }
    for number in 0..caches.len() {
        let fresh = format!("/written/fresh-{number}");
        assert!(a.get(&fresh).await.is_hit(), "{fresh}");
    }
    // Nobody holds on to a Redis that is configured no more: who asks is alone there.
    for redis in [&first, &second] {
        until("it is left", async || {
            let clients: String = redis.ask(redis::cmd("CLIENT").arg("LIST")).await;
            clients.lines().count() == 1
        })
        .await;
    }
    assert_eq!(
        (a.lookups("timeout").await, a.lookups("error").await),
        (0, 0)
    );
}
