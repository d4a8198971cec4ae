//! The command line as a person sees it: exit codes, standard output, standard error.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

const GATEWAY: &str = "\
server: { listen: 127.0.0.1:0, drain: { grace: 10ms, max: 2s } }
admin: { listen: 127.0.0.1:0 }
";

const HELLO: &str = "\
route: GET /hello/{name}
response:
  body: { hello: $.request.path.name }
";

/// A folder of its own, removed at the end. Verbs run in it.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-cli-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("routes")).unwrap();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anabranch"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env_remove("ANABRANCH_CONFIG")
            .env_remove("ANABRANCH_ADMIN")
            .env_remove("GITHUB_ACTIONS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().expect("an end without a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A `serve` under way, killed at the end.
struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
    listen: String,
    admin: String,
}

impl Serving {
    fn start(folder: &Folder) -> Serving {
        let mut child = folder
            .command(&["serve", "--watch", "off"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let mut urls = line
            .split_whitespace()
            .filter(|word| word.starts_with("http://"))
            .map(|url| url.trim_end_matches(',').to_owned());
        let (Some(listen), Some(admin)) = (urls.next(), urls.next()) else {
            panic!("no addresses in {line:?}");
        };
        Serving {
            child,
            stderr,
            listen,
            admin,
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().expect("no signal");
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a GET, by the plainest client there is.
fn get(url: &str, path: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    body.to_owned()
}

fn hello() -> Folder {
    Folder::new(&[
        ("routes/gateway.yaml", GATEWAY),
        ("routes/hello.yaml", HELLO),
    ])
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn a_mistyped_verb_is_answered_with_the_one_that_was_meant() {
    let ran = hello().run(&["sevre"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("'serve'"), "{}", ran.err);
}

#[test]
fn the_version_is_told() {
    let ran = hello().run(&["--version"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.out,
        format!("anabranch {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_code_is_explained_and_an_unknown_one_is_not() {
    let folder = hello();
    let ran = folder.run(&["explain", "r0101"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("# R0101"), "{}", ran.out);
    let ran = folder.run(&["explain", "R01O1"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(
        ran.err,
        "error: unknown code `R01O1`; did you mean `R0101`?\n"
    );
    let ran = folder.run(&["explain"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.lines().count() > 10, "{}", ran.out);
    let ran = folder.run(&["explain", "R0101", "--format", "json"]);
    assert_eq!(json(&ran.out)["code"], "R0101");
}

#[test]
fn completions_the_manual_page_and_the_schema_are_printed() {
    let folder = hello();
    for (arguments, expected) in [
        (&["completions", "bash"][..], "_anabranch"),
        (&["completions", "fish"], "complete -c anabranch"),
        (&["man"], ".SH NAME"),
        (&["man"], ".SS serve"),
        (&["schema"], "\"$schema\""),
    ] {
        let ran = folder.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.out.contains(expected), "{arguments:?}");
    }
}

#[test]
fn a_good_configuration_is_summed_up() {
    let ran = hello().run(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let first = ran.out.lines().next().unwrap();
    assert!(
        first.starts_with("ok  2 files   1 route, 0 calls, 0 services"),
        "{first}"
    );
    assert!(ran.out.contains("GET /hello/{name}"), "{}", ran.out);
}

#[test]
fn every_problem_is_reported_in_every_form() {
    let folder = hello();
    folder.write(
        "routes/bad.yaml",
        "route: GET /a\ntimout: 1s\ntimeout: 200\nresponse: { text: hi }\n",
    );
    let ran = folder.run(&["check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("--> routes/bad.yaml:2:1"), "{}", ran.out);
    assert!(ran.out.contains("--> routes/bad.yaml:3:10"), "{}", ran.out);
    let ran = folder.run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 1);
    let found = json(&ran.out);
    let found = found["diagnostics"].as_array().unwrap();
    assert_eq!(found.len(), 2, "{}", ran.out);
    assert_eq!(found[0]["file"], "routes/bad.yaml");
    assert_eq!(
        (&found[0]["line"], &found[0]["column"]),
        (&2.into(), &1.into())
    );
    let ran = folder.run(&["check", "--format", "short"]);
    assert!(
        ran.out.starts_with("routes/bad.yaml:2:1: error["),
        "{}",
        ran.out
    );
    let ran = folder.run(&["check", "--format", "github"]);
    assert!(
        ran.out.starts_with("::error file=routes/bad.yaml,line=2,"),
        "{}",
        ran.out
    );
    let ran = folder.run(&["check", "--format", "sarif"]);
    assert_eq!(json(&ran.out)["version"], "2.1.0");
}

#[test]
fn warnings_fail_only_where_they_are_denied() {
    let folder = hello();
    folder.write(
        "routes/warned.yaml",
        "route: GET /w\ncalls: { a: { get: /a } }\nresponse: { text: hi }\n---\n\
         services: { a: { url: \"http://127.0.0.1:1\" } }\n",
    );
    let ran = folder.run(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("warning["), "{}", ran.out);
    assert_eq!(folder.run(&["check", "--deny-warnings"]).code, 1);
}

#[test]
fn what_cannot_be_read_could_not_be_checked() {
    let ran = hello().run(&["check", "nowhere.yaml"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("nowhere.yaml"), "{}", ran.err);
}

#[test]
fn the_configuration_may_be_named_by_the_environment() {
    let folder = hello();
    let mut command = folder.command(&["check"]);
    command
        .current_dir(std::env::temp_dir())
        .env("ANABRANCH_CONFIG", folder.0.join("routes"));
    let ran = ran(command);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_route_is_planned_by_name_by_pattern_and_by_path() {
    let folder = hello();
    for route in ["get-hello-name", "GET /hello/{name}", "get /hello/bob"] {
        let ran = folder.run(&["plan", route]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{route}");
        assert!(
            ran.out.starts_with("GET /hello/{name}   get-hello-name"),
            "{}",
            ran.out
        );
    }
    let ran = folder.run(&["plan", "get-hello-name", "--format", "json"]);
    assert_eq!(json(&ran.out)["requests"], 0);
    let ran = folder.run(&["plan", "get-hello-nam"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(
        ran.err.contains("did you mean `get-hello-name`?"),
        "{}",
        ran.err
    );
}

#[test]
fn a_plan_says_what_bounds_the_load_of_each_service() {
    let folder = Folder::new(&[(
        "f.yaml",
        "services:
  shop: { url: 'http://127.0.0.1:1' }
  other:
    url: http://127.0.0.1:2
    breaker: false
    bulkhead: { max: 16, queue: 0 }
    budget: { ratio: 12.5%, per_second: 0 }
---
route: GET /a
name: a
priority: high
calls:
  shop: { get: /a, hedge: { after: p99.9 }, timeout: 500ms, fallback: [ { stale: 60s }, { value: 1 } ] }
  other: { get: /b, timeout: 300ms, hedge: { after: 90ms }, cache: { ttl: 5m }, for_each: p in $.shop.body, max_items: 40, optional: true }
response: { body: [ $.shop.body, $.other ] }
",
    )]);
    let ran = folder.run(&["plan", "a", "f.yaml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for shown in [
        "asked again at its p99.9;\n         else the last answer, up to 60 s old, else a value\n",
        "asked again after 90 ms;",
        "kept for 300 s",
        "  shop         1  1.1 n + 1 t  7 in a row, <50% of 20 in 10 s, 1 s..30 s  256, 64 wait 100 ms\n",
        "  other       40  45 n         off                                        16\n",
        "priority    high\n",
    ] {
        assert!(ran.out.contains(shown), "{shown}\n{}", ran.out);
    }
    let widest = ran.out.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{}", ran.out);
    let plan = json(&folder.run(&["plan", "a", "f.yaml", "--format", "json"]).out);
    assert_eq!(plan["priority"], "high");
    assert_eq!(plan["calls"][0]["hedge"]["after_percentile"], 99.9);
    assert_eq!(plan["calls"][1]["hedge"]["after_ms"], 90.0);
    let [shop, other] = [&plan["services"][0], &plan["services"][1]];
    assert_eq!(shop["wait_ms"], 100.0);
    assert_eq!(shop["breaker"]["success_rate"], 50.0);
    assert_eq!(other["long_run"]["per_request"], 45.0);
    assert_eq!(other["breaker"], serde_json::Value::Null);
    assert_eq!(
        (&other["wait_ms"], &other["bulkhead"]["max"]),
        (&0.0.into(), &16.into())
    );
    // What the plan counts is what `check` warns of: 1 × (2 + 1 + 1) + 40 × (2 + 1 + 1).
    assert_eq!(plan["requests"], 164);
    let ran = folder.run(&["check", "f.yaml"]);
    assert!(ran.out.contains("ok"), "{}", ran.out);
}

#[test]
fn a_request_is_made_without_a_server() {
    let folder = hello();
    let ran = folder.run(&["call", "GET", "/hello/bob"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "{\"hello\":\"bob\"}"),
        "{ran:?}"
    );
    assert!(ran.err.starts_with("GET /hello/bob -> 200"), "{}", ran.err);
    let ran = folder.run(&["call", "GET", "/hello/bob", "-i"]);
    assert!(ran.out.starts_with("HTTP/1.1 200 OK\n"), "{}", ran.out);
    let ran = folder.run(&["call", "GET", "/hello/bob", "--format", "json"]);
    let answer = json(&ran.out);
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["body"], "{\"hello\":\"bob\"}");
    for (arguments, expected) in [
        (
            &["call", "GET", "/nowhere"][..],
            "no route has the path `/nowhere`",
        ),
        (&["call", "POST", "/hello/bob"], "allow: GET, HEAD, OPTIONS"),
        (&["call", "GET", "hello"], "`hello` is no path"),
        (
            &["call", "GET", "/hello/bob", "-H", "x"],
            "`x` is no header",
        ),
        (&["call", "GET", "/hello/bob", "-d", "@nowhere"], "nowhere"),
    ] {
        let ran = folder.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn a_bad_configuration_is_not_served() {
    let folder = hello();
    folder.write(
        "routes/bad.yaml",
        "route: GET /a\ntimout: 1s\nresponse: { text: hi }\n",
    );
    let ran = folder.run(&["serve"]);
    assert_eq!((ran.code, ran.out.as_str()), (78, ""));
    assert!(ran.err.contains("routes/bad.yaml:2:1"), "{}", ran.err);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = hello();
    folder.write(
        "routes/gateway.yaml",
        &format!("server: {{ listen: {address} }}\nadmin: {{ listen: 127.0.0.1:0 }}\n"),
    );
    let ran = folder.run(&["serve"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let expected = format!("error: `server.listen`: cannot listen on {address}: ");
    assert!(ran.err.starts_with(&expected), "{}", ran.err);
}

#[test]
fn a_running_instance_is_asked_reloaded_and_drained() {
    let folder = hello();
    let serving = Serving::start(&folder);
    assert_eq!(get(&serving.listen, "/hello/bob"), "{\"hello\":\"bob\"}");
    let ask = |verb: &str| folder.run(&[verb, "--admin", &serving.admin]);
    let ran = ask("health");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "ok\n", "")
    );
    let ran = ask("status");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("generation 1"), "{}", ran.out);

    let ran = ask("reload");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "unchanged: generation 1 is in force\n")
    );
    folder.write("routes/hello.yaml", &HELLO.replace("hello:", "servus:"));
    let ran = ask("reload");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "accepted: generation 2 is in force\n")
    );
    assert_eq!(get(&serving.listen, "/hello/bob"), "{\"servus\":\"bob\"}");

    folder.write(
        "routes/hello.yaml",
        "route: GET /a\ntimout: 1s\nresponse: { text: hi }\n",
    );
    let ran = ask("reload");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out
            .starts_with("refused: generation 2 is in force\nroutes/hello.yaml:2:1: error["),
        "{}",
        ran.out
    );
    let ran = ask("status");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("routes/hello.yaml:2:1: error["),
        "{}",
        ran.out
    );
    assert_eq!(get(&serving.listen, "/hello/bob"), "{\"servus\":\"bob\"}");

    let ran = ask("drain");
    assert_eq!((ran.code, ran.out.as_str()), (0, "draining\n"));
    let admin = serving.admin.clone();
    assert_eq!(serving.end(), (0, String::new()));
    let ran = folder.run(&["health", "--admin", &admin]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
}

#[test]
fn a_signal_ends_it_and_a_second_one_ends_it_at_once() {
    let folder = hello();
    let serving = Serving::start(&folder);
    serving.signal("TERM");
    assert_eq!(serving.end().0, 0);

    folder.write(
        "routes/gateway.yaml",
        &GATEWAY.replace("grace: 10ms, max: 2s", "grace: 10m, max: 20m"),
    );
    let serving = Serving::start(&folder);
    serving.signal("TERM");
    // Readiness is off as soon as the first one was heard.
    while folder.run(&["health", "--admin", &serving.admin]).code == 0 {}
    serving.signal("INT");
    assert_eq!(serving.end().0, 0);
}

#[test]
fn a_signal_reloads() {
    let folder = hello();
    let serving = Serving::start(&folder);
    folder.write("routes/hello.yaml", &HELLO.replace("hello:", "servus:"));
    serving.signal("HUP");
    while get(&serving.listen, "/hello/bob") != "{\"servus\":\"bob\"}" {}
    let ran = folder.run(&["status", "--admin", &serving.admin, "--format", "json"]);
    assert_eq!(json(&ran.out)["generation"], 2);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = hello();
    let mut child = folder
        .command(&["man"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn what_is_filled_in_is_not_told_where_a_name_is_wanted() {
    let call = |keys: &str| {
        format!("calls: {{ a: {{ get: /a, {keys} }} }}\nresponse: {{ body: $.a.body }}")
    };
    let rows = [
        ("R0204", call(r#"service: "${NAME}""#)),
        ("R0201", call(r#"service: shop, depends_on: ["${NAME}"]"#)),
        (
            "R0201",
            call(r#"service: shop, fallback: [{ call: "${NAME}" }]"#),
        ),
        (
            "R0505",
            call(r#"service: shop, forward_headers: ["${NAME} x"]"#),
        ),
        ("R0201", r#"response: { pass: "${NAME}" }"#.to_owned()),
        (
            "R0114",
            "name: \"${NAME}\"\nresponse: { body: 1 }\n---\nroute: GET /b\nname: \"${NAME}\"\n\
             response: { body: 1 }"
                .to_owned(),
        ),
    ];
    for (code, keys) in rows {
        let text = format!(
            "services: {{ shop: {{ url: 'http://127.0.0.1:1' }} }}\n---\nroute: GET /a\n{keys}\n"
        );
        let folder = Folder::new(&[("routes/a.yaml", &text)]);
        for form in ["text", "short", "json", "github", "sarif"] {
            let mut command = folder.command(&["check", "--format", form]);
            command.env("NAME", "s3cr3t");
            let ran = ran(command);
            let told = ran.out + &ran.err;
            assert!(told.contains(code), "{keys}: {told}");
            assert!(!told.contains("s3cr3t"), "{keys}: {told}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn data_that_a_full_disk_loses_is_a_failure() {
    let folder = hello();
    for arguments in [vec!["schema"], vec!["check", "routes"], vec!["man"]] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut child = folder
            .command(&arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut error = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut error).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2), "{arguments:?}");
        let told = error.matches("standard output cannot be written").count();
        assert_eq!(told, 1, "{arguments:?}: {error}");
    }
}

#[test]
fn a_wrong_admin_address_is_told_how_it_is_spelled() {
    let folder = hello();
    for admin in [
        "localhost",
        "https://localhost:1",
        "http://localhost:1/x",
        "http://[",
    ] {
        let ran = folder.run(&["health", "--admin", admin]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{admin}");
        assert!(ran.err.contains("http://127.0.0.1:9901"), "{}", ran.err);
    }
}
