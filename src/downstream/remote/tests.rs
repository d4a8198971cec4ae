//! Against a real `redis-server`, in real time: `tests/support/redis_server.rs` says which, and what
//! becomes of these tests without one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::purges::CHANNEL;
use super::{Away, Change, LARGEST_VALUE, Name, Remote};
use crate::config::document::Secret;
use crate::plan::settings;

#[path = "../../../tests/support/redis_server.rs"]
mod redis_server;
use redis_server::{BOUND, POLL, Server, free_port, until};

const TIMEOUT: Duration = Duration::from_millis(50);
/// What a lookup may take over its timeout on such a machine.
const SLACK: Duration = Duration::from_millis(500);

const HOUR: Duration = Duration::from_secs(3600);

// === what is asked of it ===

fn remote(url: String) -> Remote {
    let settings = settings::Redis {
        url: Secret(url),
        timeout: TIMEOUT,
    };
    Remote::new(&settings).unwrap()
}

fn name(text: &str) -> Name {
    Name::new("users", "/v1", text.as_bytes())
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn remote_of(server: &Server) -> Remote {
    remote(server.url())
}

async fn get(remote: &Remote, names: &[Name]) -> Result<Vec<Option<Bytes>>, Away> {
    remote.get(names, Instant::now() + TIMEOUT).await
}

async fn find(remote: &Remote, text: &str) -> Result<Option<Bytes>, Away> {
    let mut values = get(remote, &[name(text)]).await?;
    assert_eq!(values.len(), 1);
    Ok(values.remove(0))
}

async fn until_found(remote: &Remote, text: &str, expected: &str) {
    let expected = Ok(Some(value(expected)));
    until("it is found", async || find(remote, text).await == expected).await;
}

/// Makes sure that there is a connection.
async fn until_answered(remote: &Remote) {
    until("it answers", async || find(remote, "-").await.is_ok()).await;
}

#[derive(Clone, Default)]
struct Changes(Arc<Mutex<Vec<Change>>>);

impl Changes {
    fn of(remote: &Remote) -> Changes {
        let changes = Changes::default();
        let heard = changes.0.clone();
        remote.on_change(move |change| heard.lock().unwrap().push(change));
        changes
    }

    /// `away`, `back`, in order.
    fn words(&self) -> Vec<&'static str> {
        let word = |change: &Change| match change {
            Change::Away { .. } => "away",
            Change::Back => "back",
        };
        self.0.lock().unwrap().iter().map(word).collect()
    }

    fn cause(&self) -> String {
        match self.0.lock().unwrap().first() {
            Some(Change::Away { cause }) => cause.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// Asks until it rests; none of the lookups may take longer than it has to. Gives how many were
/// waited for.
async fn until_it_rests(remote: &Remote) -> usize {
    let deadline = Instant::now() + BOUND;
    let mut asked = 0;
    loop {
        let started = Instant::now();
        let found = find(remote, "a").await;
        assert!(
            started.elapsed() < TIMEOUT + SLACK,
            "{:?}",
            started.elapsed()
        );
        match found {
            Err(Away::Resting) => return asked,
            Err(_) => asked += 1,
            Ok(_) => panic!("there is no Redis"),
        }
        assert!(Instant::now() < deadline);
    }
}

// === the tests ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_keeps_another_finds() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let (one, other) = (remote_of(&server), remote_of(&server));
    assert_eq!(one.address(), format!("127.0.0.1:{}", server.port));
    one.put(name("a"), value("1"), HOUR);
    one.put(name("c"), value("\0\r\n"), Duration::from_millis(90_500));
    one.put(name("d"), value("4"), Duration::from_micros(999));
    one.put(name("e"), value(""), Duration::MAX);
    until_found(&other, "e", "").await;
    let names = ["d", "c", "b", "a"].map(name);
    let found = get(&other, &names).await.unwrap();
    assert_eq!(found, [None, Some(value("\0\r\n")), None, Some(value("1"))]);
    assert_eq!(get(&other, &[]).await, Ok(Vec::new()));

    let mut command = redis::cmd("PTTL");
    let left: i64 = server.ask(command.arg(name("c").as_str())).await;
    assert!((30_000..=90_500).contains(&left), "{left}");

    other.remove(name("a"));
    until("it is gone", async || find(&one, "a").await == Ok(None)).await;
    assert_eq!((one.dropped(), other.dropped()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dies_is_left_alone_and_comes_back_by_itself() {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    let changes = Changes::of(&remote);
    remote.put(name("a"), value("1"), HOUR);
    until_found(&remote, "a", "1").await;
    server.kill();
    let asked = until_it_rests(&remote).await;
    assert!(asked <= 8, "{asked} lookups were made");
    assert_eq!(changes.words(), ["away"]);

    // Nothing is said while it stays away, and a write is counted, not kept for later.
    let dropped = remote.dropped();
    remote.put(name("a"), value("2"), HOUR);
    until("it is dropped", async || remote.dropped() > dropped).await;
    let mut tried = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        tried += usize::from(find(&remote, "a").await != Err(Away::Resting));
        sleep(POLL).await;
    }
    assert!(tried <= 4, "{tried} lookups were made");
    assert_eq!(changes.words(), ["away"]);

    server.up();
    until("it is back", async || {
        let _ = find(&remote, "a").await;
        changes.words() == ["away", "back"]
    })
    .await;
    assert_eq!(find(&remote, "a").await, Ok(None));
    remote.put(name("a"), value("3"), HOUR);
    until_found(&remote, "a", "3").await;
    assert_eq!(changes.words(), ["away", "back"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_restarts_between_two_lookups_costs_one_of_them() {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    let changes = Changes::of(&remote);
    until_answered(&remote).await;
    server.kill();
    server.up();
    let mut failed = 0;
    until("it answers again", async || {
        let found = find(&remote, "a").await;
        failed += usize::from(found == Err(Away::Failed));
        found.is_ok()
    })
    .await;
    assert!(failed <= 2, "{failed} lookups failed");
    assert_eq!(changes.words(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_there_yet_is_found_when_it_comes() {
    let Some(mut server) = Server::down(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    let changes = Changes::of(&remote);
    until_it_rests(&remote).await;
    server.up();
    remote.put(name("a"), value("1"), HOUR);
    until_answered(&remote).await;
    until("it is back", async || {
        let _ = find(&remote, "a").await;
        changes.words() == ["away", "back"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_costs_three_lookups_and_holds_nothing_up() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    let changes = Changes::of(&remote);
    until_answered(&remote).await;
    let free = remote.link.free_places();
    server.signal("-STOP");

    // A client that leaves does not free the place of what the crate still waits for.
    let left = tokio::time::timeout(Duration::from_millis(1), find(&remote, "a")).await;
    assert!(left.is_err());
    assert_eq!(remote.link.free_places(), free - 1);
    let asked = until_it_rests(&remote).await;
    assert_eq!(asked, 3);
    assert_eq!(changes.words(), ["away"]);
    assert!(changes.cause().contains("50 ms"), "{}", changes.cause());

    // As much as comes is taken or dropped at once.
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let started = Instant::now();
    for number in 0..200 {
        remote.put(name(&number.to_string()), large.clone(), HOUR);
    }
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    until("all are dropped", async || remote.dropped() == 200).await;
    // The connection is given up, and with it all that waited on it.
    until("all places are free", async || {
        remote.link.free_places() == free
    })
    .await;
    until_it_rests(&remote).await;

    server.signal("-CONT");
    until("it is back", async || {
        let _ = find(&remote, "a").await;
        changes.words() == ["away", "back"]
    })
    .await;
    remote.put(name("a"), value("1"), HOUR);
    until_found(&remote, "a", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_with_less_time_is_late_all_the_same() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    let changes = Changes::of(&remote);
    until_answered(&remote).await;
    server.signal("-STOP");
    for _ in 0..3 {
        let started = Instant::now();
        let by = started + TIMEOUT / 10;
        assert_eq!(remote.get(&[name("a")], by).await, Err(Away::TimedOut));
        assert!(started.elapsed() < TIMEOUT / 10 + SLACK);
    }
    assert_eq!(changes.words(), ["away"]);
    assert_eq!(find(&remote, "a").await, Err(Away::Resting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_one_that_has_just_hung_are_bounded() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    until_answered(&remote).await;
    server.signal("-STOP");
    // No lookup has found out yet, so that all of them are queued as far as there is room.
    let large = Bytes::from(vec![b'x'; 4 << 20]);
    for number in 0..100 {
        remote.put(name(&number.to_string()), large.clone(), HOUR);
    }
    let dropped = remote.dropped();
    assert!(dropped >= 90, "{dropped} were dropped");
    // The rest is given up when the first of them is overdue.
    until("all are dropped", async || remote.dropped() == 100).await;
    server.signal("-CONT");
    until_answered(&remote).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_a_failure_and_is_not_told() {
    let Some(server) = Server::start(&["--requirepass", "s3cr3t"]) else {
        return;
    };
    let with = |user: &str| remote(format!("redis://{user}127.0.0.1:{}", server.port));
    for (user, expected) in [(":wr0ng@", "authentication failed"), ("", "NOAUTH")] {
        let remote = with(user);
        let changes = Changes::of(&remote);
        until_it_rests(&remote).await;
        let cause = changes.cause();
        assert!(cause.contains(expected), "{cause}");
        assert!(
            !cause.contains("wr0ng") && !cause.contains("s3cr3t"),
            "{cause}"
        );
        assert!(remote.purge("users", None).await.is_err());
    }
    let remote = with(":s3cr3t@");
    assert!(!remote.address().contains("s3cr3t"));
    until_answered(&remote).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_too_large_is_not_put() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    until_answered(&remote).await;
    remote.put(name("a"), vec![b'x'; LARGEST_VALUE + 1].into(), HOUR);
    assert_eq!(remote.dropped(), 1);
    remote.put(name("b"), vec![b'x'; LARGEST_VALUE].into(), HOUR);
    let mut exists = redis::cmd("EXISTS");
    exists.arg(name("b").as_str());
    until("it is there", async || {
        server.ask::<u32>(&exists).await == 1
    })
    .await;
    assert_eq!(remote.dropped(), 1);
    until("it answers", async || find(&remote, "a").await == Ok(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_takes_what_it_names_and_no_more() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let remote = remote_of(&server);
    until_answered(&remote).await;
    let long = format!("/{}", "x".repeat(5000));
    let paths = [
        "/*", "/[", "/a:b", "/a", "/a:b:c", "/?", "/\\", "/a*", "", &long,
    ];
    for path in paths {
        for key in ["1", "2"] {
            for service in ["a", "ab", "http://a:80"] {
                let name = Name::new(service, path, key.as_bytes());
                remote.put(name, value("x"), HOUR);
            }
        }
    }
    let size = &redis::cmd("DBSIZE");
    until("all are there", async || {
        server.ask::<usize>(size).await == 6 * paths.len()
    })
    .await;
    for path in ["/*", "/[", "/a:b", &long] {
        assert_eq!(remote.purge("a", Some(path)).await, Ok(2), "{path}");
        assert_eq!(remote.purge("a", Some(path)).await, Ok(0), "{path}");
    }
    assert_eq!(remote.purge("*", None).await, Ok(0));
    assert_eq!(remote.purge("a", Some("")).await, Ok(2));
    assert_eq!(
        remote.purge("a", None).await,
        Ok(2 * paths.len() as u64 - 10)
    );
    assert_eq!(
        remote.purge("http://a:80", None).await,
        Ok(2 * paths.len() as u64)
    );
    assert_eq!(server.ask::<usize>(size).await, 2 * paths.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_goes_through_more_than_one_step() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let mut fill = redis::cmd("MSET");
    for number in 0..3000 {
        let service = if number % 3 == 0 { "b" } else { "a" };
        let name = Name::new(service, "/", &[number as u8, (number >> 8) as u8]);
        fill.arg(name.as_str()).arg("x");
    }
    let () = server.ask(&fill).await;
    let remote = remote_of(&server);
    assert_eq!(remote.purge("a", None).await, Ok(2000));
    assert_eq!(remote.purge("b", Some("/")).await, Ok(1000));
}

type Purges = Arc<Mutex<Vec<(String, Option<String>)>>>;

fn purges_of(remote: &Remote) -> Purges {
    let purges = Purges::default();
    let heard = purges.clone();
    remote.on_purge(move |service, path| {
        let purge = (service.to_owned(), path.map(str::to_owned));
        heard.lock().unwrap().push(purge);
    });
    purges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_hear_each_others_purges_also_after_a_restart() {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let (one, other) = (remote_of(&server), remote_of(&server));
    let purges = [purges_of(&one), purges_of(&other)];
    for round in ["first", "again"] {
        let both_hear = async || {
            let _ = one.purge(round, None).await;
            let hears = |purges: &Purges| {
                let purges = purges.lock().unwrap();
                purges.contains(&(round.to_owned(), None))
            };
            purges.iter().all(hears)
        };
        until("both hear it", both_hear).await;
        // What somebody else says there is nobody's purge.
        for nonsense in ["", "a", "[1, 2]", "\u{fffd}"] {
            let mut publish = redis::cmd("PUBLISH");
            let _: u64 = server.ask(publish.arg(CHANNEL).arg(nonsense)).await;
        }
        let strange = ("a".to_owned(), Some("/*[:\"é".to_owned()));
        assert_eq!(other.purge("a", Some("/*[:\"é")).await, Ok(0));
        for purges in &purges {
            until("it is heard", async || {
                purges.lock().unwrap().last() == Some(&strange)
            })
            .await;
            purges.lock().unwrap().clear();
        }
        server.kill();
        assert!(one.purge("a", None).await.is_err());
        server.up();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_the_machine_does_too() {
    let Some(mut server) = Server::down(&[]) else {
        return;
    };
    let socket = server.folder.join("s");
    server.arguments = vec!["--unixsocket".to_owned(), socket.display().to_string()];
    server.up();
    let remote = remote(format!("unix://{}?db=1", socket.display()));
    remote.put(name("a"), value("1"), HOUR);
    until_answered(&remote).await;
    remote.put(name("a"), value("1"), HOUR);
    until_found(&remote, "a", "1").await;
}

/// A server that speaks TLS, with its URL and the file of its certificate, which nobody vouches for.
fn with_tls() -> Option<(Server, String, String)> {
    let mut server = Server::down(&[])?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| -> String {
        let file: &Path = &server.folder.join(name);
        fs::write(file, text).unwrap();
        file.display().to_string()
    };
    let cert = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let port = free_port().to_string();
    let arguments = ["--tls-port", &port, "--tls-cert-file", &cert];
    let more = [
        "--tls-auth-clients",
        "no",
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
    ];
    let all = arguments.into_iter().chain(more);
    server.arguments = all.map(str::to_owned).collect();
    server.up();
    Some((server, format!("rediss://localhost:{port}"), cert))
}

/// Names the server to the process that trusts it.
const TRUSTED: &str = "ANABRANCH_TEST_REDISS";

/// What is trusted is read from the environment, so that a process of its own asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_it_answers_whom_trusts_it() {
    if let Ok(url) = std::env::var(TRUSTED) {
        return until_answered(&remote(url)).await;
    }
    let Some((_server, url, cert)) = with_tls() else {
        return;
    };
    let name = "downstream::remote::tests::by_tls_it_answers_whom_trusts_it";
    let asked = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(TRUSTED, url)
        .env("SSL_CERT_FILE", cert)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_unknown_issuer_is_refused() {
    let Some((_server, url, _)) = with_tls() else {
        return;
    };
    let remote = remote(url);
    let changes = Changes::of(&remote);
    until("it is left alone", async || {
        let found = find(&remote, "a").await;
        assert!(found.is_err(), "{found:?}");
        changes.words() == ["away"]
    })
    .await;
    let cause = changes.cause().to_lowercase();
    assert!(
        cause.contains("cert") || cause.contains("issuer"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_being_quoted() {
    let settings = settings::Redis {
        url: Secret("s3cr3t".to_owned()),
        timeout: TIMEOUT,
    };
    let refused = Remote::new(&settings).err().unwrap();
    assert!(!refused.contains("s3cr3t"));
    assert!(!format!("{settings:?}").contains("s3cr3t"));
}
