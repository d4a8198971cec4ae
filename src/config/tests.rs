mod anything;
mod values;
mod whole;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::diagnostic::render::{Colour, Format, render};

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn read(&self) -> Reading {
        read(std::slice::from_ref(&self.0), &variable).expect("the folder can be read")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "N" => "2",
        "WAIT" => "150ms",
        "URL" => "http://a:1",
        "YES" => "true",
        "SECRET" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

fn read_text(text: &str) -> (Folder, Reading) {
    let folder = Folder::new();
    folder.write("f.yaml", text);
    let reading = folder.read();
    (folder, reading)
}

fn places(reading: &Reading) -> Vec<String> {
    reading
        .findings
        .iter()
        .map(|finding| {
            let (start, _) = reading.files.place(finding.span);
            format!("{} {}:{}", finding.code, start.line, start.column)
        })
        .collect()
}

/// The findings of one file, as `CODE line:column`.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let (_folder, reading) = read_text(text);
    assert_eq!(
        places(&reading),
        expected,
        "{text}\n{}",
        shown(&reading, Format::Short)
    );
}

fn shown(reading: &Reading, format: Format) -> String {
    render(format, &reading.files, &reading.findings, Colour::Plain)
}

/// A route with one call that has these lines besides its method.
fn call(lines: &str) -> String {
    format!("route: GET /\nresponse: {{}}\ncalls:\n  a:\n    get: /\n    {lines}\n")
}

/// The findings of one more key of a call, which stands in line 6 from column 5 on.
#[track_caller]
fn in_call(lines: &str, expected: &[&str]) {
    check(&call(lines), expected);
}

/// The headline and the help of the only finding.
#[track_caller]
fn says(text: &str, message: &str, help: &str) {
    let (_folder, reading) = read_text(text);
    let [finding] = reading.findings.as_slice() else {
        panic!("not one finding: {}", shown(&reading, Format::Short));
    };
    assert_eq!(finding.message, message);
    assert_eq!(finding.help.as_deref().unwrap_or(""), help);
}

// === documents and files ===

#[test]
fn a_document_is_of_one_kind() {
    check("route: GET /\nresponse: {}\n", &[]);
    check("services: { a: { url: http://a } }\n", &[]);
    check("version: 1\nserver: {}\nx-y: { z: 1 }\n", &[]);
    check("", &["R0106 1:1"]);
    check("# nothing\n", &["R0106 1:1"]);
    check("a: 1\n", &["R0106 1:1"]);
    check("version: 1\n", &["R0106 1:1"]);
    check("x-y: 1\n", &["R0106 1:1"]);
    check("- a\n", &["R0106 1:1"]);
    check("text\n", &["R0106 1:1"]);
    check("route: GET /\nresponse: {}\nservices: {}\n", &["R0106 3:1"]);
    check("services: {}\nroute: GET /\nresponse: {}\n", &["R0106 2:1"]);
    check("version: 1\nserver: {}\nversion: 2\n", &["R0108 3:1"]);
    check("version: 2\nserver: {}\n", &["R0111 1:10"]);
    says(
        "servces: {}\n",
        "a document that is neither route nor gateway",
        "did you mean `services`?",
    );
    says(
        "name: x\ncalls: {}\n",
        "a document that is neither route nor gateway",
        "a route document has the key `route`: `route: GET /path`",
    );
}

#[test]
fn names_stand_once_in_all_files() {
    let folder = Folder::new();
    folder.write("a.yaml", "services: { s: { url: http://a } }\nserver: {}\n");
    folder.write(
        "b/c.yml",
        "services: { s: { url: http://b } }\nserver: {}\n",
    );
    folder.write("b/d.yaml", "route: GET /x\nname: r\nresponse: {}\n");
    folder.write(
        "e.yaml",
        "route: GET /y\nname: r\nresponse: {}\n---\nroute: GET /y\nresponse: {}\n",
    );
    folder.write(".hidden.yaml", "nonsense");
    folder.write(".git/x.yaml", "nonsense");
    folder.write("notes.txt", "nonsense");
    let reading = folder.read();
    assert_eq!(places(&reading), ["R0114 1:13", "R0114 2:1", "R0114 2:7"]);
    let names: Vec<&str> = reading
        .files
        .files
        .iter()
        .map(|file| file.name.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["a.yaml", "c.yml", "d.yaml", "e.yaml"]);
    let first = &reading.findings[0];
    assert!(reading.files.get(first.span.file).name.ends_with("b/c.yml"));
    assert_eq!(first.labels[0].span.file, FileId(0));
    assert_eq!(reading.documents.services.len(), 1);
    assert_eq!(reading.documents.routes.len(), 3);
    assert!(reading.documents.complete);
}

#[test]
fn a_file_that_is_reached_twice_is_read_once() {
    let folder = Folder::new();
    let file = folder.write("real/a.yaml", "services: {}\n");
    std::os::unix::fs::symlink(&file, folder.0.join("b.yaml")).unwrap();
    std::os::unix::fs::symlink(folder.0.join("real"), folder.0.join("link")).unwrap();
    std::os::unix::fs::symlink(&folder.0, folder.0.join("real/loop")).unwrap();
    let reading = read(&[folder.0.clone(), file, folder.0.join("real")], &variable).unwrap();
    assert_eq!(reading.files.files.len(), 1);
    assert_eq!(reading.findings, []);
}

#[test]
fn a_mounted_config_map_is_read_through_its_links() {
    let folder = Folder::new();
    folder.write("..2024/a.yaml", "services: {}\n");
    std::os::unix::fs::symlink("..2024", folder.0.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", folder.0.join("a.yaml")).unwrap();
    let reading = folder.read();
    assert_eq!(reading.files.files[0].path, folder.0.join("a.yaml"));
    assert_eq!(reading.files.files.len(), 1);
}

#[test]
fn what_cannot_be_read_is_no_finding() {
    let folder = Folder::new();
    let missing = folder.0.join("missing");
    let empty = folder.0.clone();
    let unreadable = read(&[missing.clone(), empty.clone()], &variable)
        .err()
        .unwrap();
    let paths: Vec<&PathBuf> = unreadable.iter().map(|found| &found.path).collect();
    assert_eq!(paths, [&missing, &empty]);
    assert!(unreadable[0].message.contains("cannot read"));
}

#[test]
fn a_file_that_is_no_text_hides_no_other() {
    let folder = Folder::new();
    folder.write("a.yaml", b"a: \xff\n");
    folder.write("b.yaml", "services: { s: {} }\n");
    let reading = folder.read();
    assert_eq!(places(&reading), ["R0101 1:4", "R0109 1:13"]);
    assert!(!reading.documents.complete);
}

// === keys ===

#[test]
fn unknown_keys_are_refused_with_the_near_miss() {
    says(
        &call("timout: 1s"),
        "unknown key `timout` in a call",
        "did you mean `timeout`?",
    );
    says(
        &call("Depends-On: [b]"),
        "unknown key `Depends-On` in a call",
        "did you mean `depends_on`?",
    );
    says(
        &call("body: { a: 1 }"),
        "unknown key `body` in a call",
        "write `json`, `form`, `text` or `forward_body`",
    );
    says(
        "route: GET /\nreponse: {}\n",
        "unknown key `reponse` in a route document",
        "did you mean `response`?",
    );
    says(
        "route: GET /\nresponse: {}\ncalls:\n  a: { gte: / }\n",
        "unknown key `gte` in a call",
        "did you mean `get`?",
    );
    in_call("retry: { attempt: 2 }", &["R0107 6:14"]);
    in_call("x-note: a", &["R0107 6:5"]);
    check("server: { limits: { conections: 1 } }\n", &["R0107 1:21"]);
    check(
        "services: { a: { url: http://a, pol: {} } }\n",
        &["R0107 1:33"],
    );
    check("tests: []\nroute: GET /\nresponse: {}\n", &["R0107 1:1"]);
}

#[test]
fn what_later_issues_bring_is_an_unknown_key_now() {
    check("server: {}\ntelemetry: {}\n", &["R0107 2:1"]);
}

#[test]
fn required_keys_are_missed_at_the_key_above() {
    check("route: GET /\n", &["R0109 1:1"]);
    check(
        "route: GET /\nresponse: {}\ncalls: { a: {} }\n",
        &["R0109 3:10"],
    );
    check("route: GET /\nresponse: {}\ncalls:\n  a:\n", &["R0109 4:3"]);
    check("services:\n  a: { http: 1 }\n", &["R0109 2:3"]);
    in_call("for_each: p in $.b.body", &["R0109 6:5"]);
    in_call("fallback: [ { only: not_sent } ]", &["R0109 6:17"]);
    in_call("hedge: {}", &["R0109 6:5"]);
    in_call("cache: {}", &["R0109 6:5"]);
    check(
        "services:\n  a: { url: https://a, tls: { cert: f.yaml } }\n",
        &["R0109 2:31"],
    );
}

#[test]
fn keys_that_exclude_each_other() {
    in_call("post: /", &["R0112 6:5"]);
    in_call("json: {}\n    text: x", &["R0112 7:5"]);
    in_call("forward_body: true\n    form: {}", &["R0112 7:5"]);
    in_call(
        "max_items: 3\n    concurrency: 2\n    min_ok: 50%",
        &["R0112 6:5", "R0112 7:5", "R0112 8:5"],
    );
    in_call("fallback: [ { call: b, value: 1 } ]", &["R0112 6:28"]);
    check(
        "route: GET /\nresponse: { body: 1, text: a, pass: b }\n",
        &["R0112 2:22", "R0112 2:31"],
    );
    check(
        "services: { a: { url: http://a, urls: [http://b] } }\n",
        &["R0112 1:33"],
    );
}

#[test]
fn names_are_checked() {
    let named =
        |name: &str| format!("route: GET /\nresponse: {{}}\ncalls:\n  {name}: {{ get: / }}\n");
    for name in ["a", "A_1", "_x"] {
        check(&named(name), &[]);
    }
    for name in [
        "a-b", "1a", "a.b", "é", "\"\"", "request", "each", "env", "keys",
    ] {
        check(&named(name), &["R0113 4:3"]);
    }
    says(
        &named("user-list"),
        "`user-list` is not the name of a call",
        "a name has letters, digits and `_`, and begins with no digit: `user_list`",
    );
    check("services: { a-b.c: { url: http://a } }\n", &[]);
    check("services: { a b: { url: http://a } }\n", &["R0113 1:13"]);
    check("route: GET /\nname: a/b\nresponse: {}\n", &["R0113 2:7"]);
    in_call("service: a b", &["R0113 6:14"]);
    in_call("service: 1", &["R0110 6:14"]);
}

// === secrets ===

#[test]
fn what_was_filled_in_is_never_shown() {
    let folder = Folder::new();
    folder.write("secret", "hunter2\n");
    let mut lines = String::new();
    let keys = [
        "timeout",
        "attempt_timeout",
        "optional",
        "service",
        "max_items",
        "concurrency",
        "min_ok",
        "decode",
        "max_body",
        "safe",
        "pass_status",
        "depends_on",
        "retry",
        "hedge",
        "fallback",
        "when",
        "for_each",
        "query",
        "headers",
        "forward_query",
        "forward_headers",
    ];
    for (index, key) in keys.iter().enumerate() {
        lines.push_str(&format!(
            "  c{index}:\n    get: \"/${{SECRET}}\"\n    {key}: ${{SECRET}}\n"
        ));
        lines.push_str(&format!(
            "  d{index}:\n    get: /\n    {key}: [\"x${{file:secret}}\"]\n"
        ));
    }
    folder.write(
        "f.yaml",
        format!(
            "route: ${{SECRET}} x\nname: \"${{SECRET}} x\"\nhost: \"${{SECRET}} x\"\ntimeout: ${{SECRET}}\nresponse: {{ status: \"${{SECRET}}\" }}\ninput: {{ body: {{ schema: \"${{SECRET}}\", max: \"${{SECRET}}\" }}, query: {{ a: {{ min: \"${{SECRET}}\" }} }} }}\ncalls:\n{lines}"
        ),
    );
    folder.write(
        "g.yaml",
        "server: { listen: '${SECRET}', trusted: ['${SECRET}'], limits: { body: '${SECRET}', streams: '${SECRET}', per_address: '${SECRET}' }, shed: { memory: '${SECRET}' } }\nservices: { a: { url: '${SECRET}', http: '${SECRET}', breaker: '${SECRET}', bulkhead: { max: '${SECRET}' }, budget: { ratio: '${SECRET}' }, tls: { ca: '${SECRET}', server_name: '${SECRET} ' } } }\n",
    );
    let reading = folder.read();
    assert!(reading.findings.len() > 40, "{}", reading.findings.len());
    for format in [
        Format::Text,
        Format::Short,
        Format::Json,
        Format::Github,
        Format::Sarif,
    ] {
        let shown = shown(&reading, format);
        assert!(!shown.contains("hunter2"), "{format:?}: {shown}");
    }
    assert!(!format!("{:?}", reading.documents.routes[0].calls).contains("get: \"/hunter2"));
    says(
        &call("timeout: ${SECRET}"),
        "what `${SECRET}` gives is not a duration",
        "set it to a duration",
    );
}

// === large files ===

#[test]
fn a_thousand_routes_are_read_in_no_time() {
    let mut text = String::new();
    for index in 0..1000 {
        text.push_str(&format!(
            "---\nroute: GET /v1/products/{index}/{{id}}\ntimeout: 700ms\ncalls:\n  profile:\n    get: /v1/me\n    headers: {{ authorization: $.request.headers.authorization }}\n    timeout: 120ms\n    fallback:\n      - value: {{ id: anonymous, segment: standard }}\n  pricing:\n    get: /prices/{{{{request.path.id}}}}\n    query: {{ segment: $.profile.body.segment }}\n    retry: {{ attempts: 2 }}\nresponse:\n  body:\n    id: $.request.path.id\n    price: $.pricing.body.amount\n"
        ));
    }
    let folder = Folder::new();
    folder.write("f.yaml", text);
    let start = std::time::Instant::now();
    let reading = folder.read();
    let took = start.elapsed();
    assert_eq!(reading.findings, []);
    assert_eq!(reading.documents.routes.len(), 1000);
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!("{took:?}");
}

// === the pages of the codes ===

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_pages_show_what_triggers_a_code_and_what_mends_it() {
    for code in crate::diagnostic::codes::ALL {
        if !code.code.starts_with("R01") {
            continue;
        }
        let mut blocks = blocks(code.page);
        let good = blocks.pop().expect("a page shows how to mend it");
        let (_folder, reading) = read_text(good);
        assert_eq!(places(&reading), [""; 0], "{}: {good}", code.code);
        // No page can show bytes that are no text.
        let bad = match (blocks.pop(), code.code) {
            (None, "R0101") => continue,
            (bad, _) => bad.expect("a page shows what triggers it"),
        };
        let (_folder, reading) = read_text(bad);
        let codes: Vec<&str> = reading.findings.iter().map(|found| found.code).collect();
        assert_eq!(codes, [code.code], "{bad}");
    }
}
