//! The admin listener as a raw client sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Admin, serve};
use crate::check::Examination;
use crate::diagnostic::{Diagnostic, FileId, Files, Span};
use crate::downstream::Process;
use crate::downstream::tasks::Tasks;
use crate::plan::{Table, settings};
use crate::policy::memory::Memory;
use crate::reload::Generations;
use crate::server::drain::Drain;
use crate::server::load::Load;
use crate::telemetry::Telemetry;
use crate::telemetry::log::Log;

/// An admin listener over a configuration whose next examination ends as the first path says.
struct Fixture {
    address: std::net::SocketAddr,
    drain: Drain,
}

async fn start(next: &str) -> Fixture {
    let paths = vec![PathBuf::from(next)];
    let telemetry = Arc::new(Telemetry::new(Log::silent()));
    let first = examination(true, 1);
    let Ok((generations, _)) =
        Generations::start(paths, examine, first, process(), telemetry.clone())
    else {
        panic!("the first examination is good");
    };
    let drain = Drain::default();
    let admin = Admin {
        generations: Arc::new(generations),
        telemetry,
        drain: drain.clone(),
        load: Load::new(Memory::new(1 << 20), 1),
        started: SystemTime::now(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::new(admin)));
    Fixture { address, drain }
}

fn examine(paths: &[PathBuf]) -> Examination {
    match paths[0].to_str() {
        Some("same") => examination(true, 1),
        Some("good") => examination(true, 2),
        _ => examination(false, 3),
    }
}

fn examination(is_good: bool, fingerprint: u64) -> Examination {
    let mut files = Files::default();
    files.add("a.yaml".into(), "a.yaml".into(), "route: x\n".into());
    let span = Span {
        file: FileId(0),
        start: 7,
        end: 8,
    };
    let table = Table {
        server: settings::Server::default(),
        admin: settings::Admin::default(),
        cache: settings::Cache::default(),
        services: Vec::new(),
        routes: Vec::new(),
        matcher: Default::default(),
        files: vec!["a.yaml".into()],
        watched: Vec::new(),
    };
    let error = Diagnostic::error("R0000", span, "this route is broken").help("mend it");
    Examination {
        table: is_good.then(|| Arc::new(table)),
        files,
        diagnostics: if is_good { vec![] } else { vec![error] },
        unreadable: Vec::new(),
        watched: Vec::new(),
        fingerprint,
    }
}

impl Fixture {
    /// Sends a request with these header lines and reads the answer to its end.
    async fn ask(&self, line: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let status = head[9..12].parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn get(&self, target: &str) -> (u16, String, String) {
        self.ask(&format!("GET {target}"), "host: anything.example\r\n")
            .await
    }

    async fn post(&self, target: &str) -> (u16, String, String) {
        self.ask(
            &format!("POST {target}"),
            "host: localhost\r\ncontent-length: 0\r\n",
        )
        .await
    }
}

#[tokio::test]
async fn readiness_ends_with_a_drain_and_liveness_does_not() {
    let fixture = start("same").await;
    for (is_draining, ready, word) in [(false, 200, "ok\n"), (true, 503, "draining\n")] {
        if is_draining {
            fixture.drain.begin();
        }
        let (status, _, body) = fixture.get("/readyz").await;
        assert_eq!((status, body.as_str()), (ready, word));
        for target in ["/livez", "/healthz"] {
            assert_eq!(fixture.get(target).await.0, 200, "{target} {word}");
        }
        let (status, _, body) = fixture.get("/readyz?verbose").await;
        assert_eq!(status, ready);
        assert!(body.contains("generation 1"), "{body}");
        let load = "load: 0 requests on 0 connections, 0 of 1048576 bytes for bodies, lag 0.0 ms";
        assert!(body.contains(load), "{body}");
    }
}

#[tokio::test]
async fn what_is_in_force_is_told() {
    let fixture = start("same").await;
    let (status, head, body) = fixture.get("/config").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let config: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(config["generation"], 1);
    assert_eq!(config["files"][0], "a.yaml");
    assert_eq!(config["last_refused"], Value::Null);
    assert_eq!(config["load"]["memory_limit"], 1 << 20);
    let (status, head, body) = fixture.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.contains("anabranch_config_generation 1\n"), "{body}");
    let (status, _, body) = fixture.get("/routes").await;
    assert_eq!(status, 200);
    assert!(body.contains("\"routes\": []"), "{body}");
}

#[tokio::test]
async fn a_reload_is_answered_with_what_came_of_it() {
    for (next, status, result, generation) in [
        ("same", 200, "unchanged", 1),
        ("good", 200, "accepted", 2),
        ("broken", 422, "refused", 1),
    ] {
        let fixture = start(next).await;
        let (answered, _, body) = fixture.post("/reload").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answered, status, "{body}");
        assert_eq!(body["result"], result);
        assert_eq!(body["generation"], generation);
    }
}

#[tokio::test]
async fn a_refused_edit_stands_in_the_configuration_with_its_findings() {
    let fixture = start("broken").await;
    fixture.post("/reload").await;
    let (_, _, body) = fixture.get("/config").await;
    let config: Value = serde_json::from_str(&body).unwrap();
    let refused = &config["last_refused"];
    assert_eq!(refused["stands"], true);
    let finding = &refused["diagnostics"][0];
    assert_eq!(finding["file"], "a.yaml");
    assert_eq!(finding["line"], 1);
    assert_eq!(finding["column"], 8);
    assert_eq!(finding["help"], "mend it");
    assert_eq!(config["generation"], 1);
}

#[tokio::test]
async fn draining_is_set_going() {
    let fixture = start("same").await;
    let (status, _, _) = fixture.post("/drain").await;
    assert_eq!(status, 202);
    assert!(fixture.drain.is_draining());
}

#[tokio::test]
async fn reading_changes_nothing_and_other_sites_may_not() {
    let fixture = start("good").await;
    let empty = "content-length: 0\r\n";
    for (line, headers, status, allow) in [
        (
            "GET /reload",
            "host: localhost\r\n",
            405,
            Some("allow: post"),
        ),
        (
            "GET /drain",
            "host: localhost\r\n",
            405,
            Some("allow: post"),
        ),
        ("HEAD /livez", "host: localhost\r\n", 200, None),
        (
            "POST /livez",
            "host: localhost\r\n",
            405,
            Some("allow: get, head"),
        ),
        (
            "DELETE /config",
            "host: localhost\r\n",
            405,
            Some("allow: get, head"),
        ),
        ("GET /", "host: localhost\r\n", 404, None),
        ("GET /console/", "host: localhost\r\n", 404, None),
        ("POST /cache/purge", "host: localhost\r\n", 400, None),
        (
            "POST /cache/purge?service=nobody",
            "host: localhost\r\n",
            404,
            None,
        ),
        (
            "GET /cache/purge?service=a",
            "host: localhost\r\n",
            405,
            Some("allow: post"),
        ),
        (
            "POST /cache/purge?service=a",
            "host: rebound.example\r\n",
            403,
            None,
        ),
        ("POST /reload", "host: rebound.example\r\n", 403, None),
        (
            "POST /drain",
            "host: localhost\r\norigin: http://evil.example\r\n",
            403,
            None,
        ),
    ] {
        let (answered, head, body) = fixture.ask(line, &format!("{headers}{empty}")).await;
        assert_eq!(answered, status, "{line}");
        if let Some(allow) = allow {
            assert!(head.contains(allow), "{line}: {head}");
        }
        if status >= 400 {
            assert!(head.contains("application/problem+json"), "{line}: {head}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], status);
        }
    }
    let (_, _, body) = fixture.get("/config").await;
    assert!(body.contains("\"generation\": 1"), "{body}");
}

/// Room for one task, and as much memory as there is.
fn process() -> Process {
    Process::new(Tasks::new(1), Memory::new(usize::MAX))
}
