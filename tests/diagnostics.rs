//! Broken configurations: every fault is found in one run, at its place, and nothing else is.
//!
//! The cases are the markdown files of `tests/broken`: each heading `##` is a case, each block a file.
//! A finding is marked where it has to stand, `«R0201 pricng»`: code, then the underlined text; a case
//! without marks has to be clean. What stands in a line `> …` has to be in the printed findings.
//!
//! A block `yaml` or `yaml NAME` is a whole file. `yaml call` is what stands below a call `a`, `yaml
//! calls`, `yaml response`, `yaml input`, `yaml service` what stands below those keys, and `yaml route`
//! is a route document; these get the services of [`SERVICES`]. `file NAME` is a file that they name.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anabranch::check::{self, Examination};
use anabranch::diagnostic::render::{Colour, Format, render};
use anabranch::diagnostic::{Severity, codes};
use support::{Folder, blocks, files_below, root};

/// What the parts of files ask.
const SERVICES: &str = "\
defaults: { timeout: 500ms }
services:
  a: { url: http://127.0.0.1:9001 }
  b: { url: http://127.0.0.1:9002 }
  c: { url: http://127.0.0.1:9003 }
  d: { url: http://127.0.0.1:9004 }
  profile: { url: http://127.0.0.1:9005 }
  pricing: { url: http://127.0.0.1:9006 }
  catalog: { url: http://127.0.0.1:9007 }
";

/// Must never be printed; it stands in every variable below.
const SECRET: &str = "s3cr3t";

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => "s3cr3t",
        "SECRET_PATH" => "$.s3cr3t.body {{s3cr3t}} ${s3cr3t}",
        "SECRET_URL" => "http://user:s3cr3t@host:80/x",
        "SECRET_LINES" => "s3cr3t\r\nx: s3cr3t",
        "SECRET_REGEX" => "[s3cr3t",
        "PORT" => "8080",
        "LIMIT" => "250ms",
        "STATUS" => "201",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

struct Case {
    place: String,
    shown: Vec<String>,
    files: Vec<(String, String)>,
    /// File, start, end, code.
    expected: BTreeSet<(String, usize, usize, String)>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in files_below(&root().join("tests/broken"), ".md") {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for part in text.split("\n## ").skip(1) {
            let title = part.lines().next().unwrap_or_default();
            cases.push(case(format!("{name}: {title}"), part));
        }
    }
    cases
}

fn case(place: String, text: &str) -> Case {
    let mut case = Case {
        place,
        shown: Vec::new(),
        files: Vec::new(),
        expected: BTreeSet::new(),
    };
    let shown = text.lines().filter_map(|line| line.strip_prefix("> "));
    case.shown.extend(shown.map(str::to_owned));
    for (number, block) in blocks(text).into_iter().enumerate() {
        let (kind, rest) = block.info.split_once(' ').unwrap_or((&block.info, ""));
        let (name, marked) = match (kind, rest) {
            ("file", name) => {
                case.files.push((name.to_owned(), block.text));
                continue;
            }
            ("yaml", "") => (format!("{number}.yaml"), block.text),
            ("yaml", name) if name.ends_with(".yaml") => (name.to_owned(), block.text),
            ("yaml", part) => {
                let services = ("services.yaml".to_owned(), SERVICES.to_owned());
                if part != "service" && !case.files.contains(&services) {
                    case.files.push(services);
                }
                (format!("{number}.yaml"), whole(part, &block.text))
            }
            _ => panic!("{}: a block of no kind", case.place),
        };
        let (text, marks) = unmarked(&marked);
        for (start, end, code) in marks {
            case.expected.insert((name.clone(), start, end, code));
        }
        case.files.push((name, text));
    }
    assert!(!case.files.is_empty(), "{}: no file", case.place);
    case
}

/// A part of a file, in a file.
fn whole(kind: &str, part: &str) -> String {
    let indented = |by: usize| -> String {
        let lines = part.lines().map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("{:by$}{line}\n", ""),
        });
        lines.collect()
    };
    let route = "route: GET /shown/{id}\n";
    let answer = "response: { body: $.a.body }\n";
    match kind {
        "call" => format!("{route}calls:\n  a:\n{}{answer}", indented(4)),
        "calls" => format!("{route}calls:\n{}{answer}", indented(2)),
        "input" => format!("{route}input:\n{}response: {{ }}\n", indented(2)),
        "response" => {
            let calls = "calls: { profile: { post: /me }, catalog: { post: /list } }\n";
            format!("{route}{calls}response:\n{}", indented(2))
        }
        "service" => format!("services:\n  shown:\n{}", indented(4)),
        "route" => part.to_owned(),
        _ => panic!("no part `{kind}`"),
    }
}

/// The text without its marks, and the marks: start, end, code.
fn unmarked(marked: &str) -> (String, Vec<(usize, usize, String)>) {
    let mut text = String::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut marks = Vec::new();
    let mut rest = marked;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '«' => {
                let (code, behind) = rest.split_at(5);
                rest = behind.strip_prefix(' ').unwrap_or(behind);
                open.push((text.len(), code.to_owned()));
            }
            '»' => {
                let (start, code) = open.pop().expect("a mark that ends has begun");
                marks.push((start, text.len(), code));
            }
            other => text.push(other),
        }
    }
    assert!(open.is_empty(), "a mark is not closed: {marked}");
    (text, marks)
}

struct Written {
    folder: Folder,
    examination: Examination,
}

fn written(case: &Case) -> Written {
    let folder = Folder::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (name, text) in &case.files {
        let path = folder.write(name, text);
        if name.ends_with(".yaml") {
            paths.push(path);
        }
    }
    let examination = check::examine_with(&paths, &variable);
    Written {
        folder,
        examination,
    }
}

/// `12:5-12:9` of a file's text.
fn place(text: &str, start: usize, end: usize) -> String {
    let position = |offset: usize| {
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{line}:{column}")
    };
    format!("{}-{}", position(start), position(end))
}

#[test]
fn every_fault_is_found_at_its_place_and_nothing_else() {
    let cases = cases();
    let mut faults = Vec::new();
    for case in &cases {
        let Written {
            folder,
            examination,
        } = written(case);
        assert_eq!(examination.unreadable, [""; 0], "{}", case.place);
        let name_of = |diagnostic: &anabranch::diagnostic::Diagnostic| {
            let path = &examination.files.get(diagnostic.span.file).path;
            let inside = path.strip_prefix(folder.path()).unwrap();
            inside.display().to_string()
        };
        let found: Vec<_> = examination
            .diagnostics
            .iter()
            .map(|found| {
                let (start, end) = (found.span.start as usize, found.span.end as usize);
                (name_of(found), start, end, found.code.to_owned())
            })
            .collect();
        let unique: BTreeSet<_> = found.iter().cloned().collect();
        if unique.len() != found.len() {
            faults.push(format!("{}: a finding stands twice", case.place));
        }
        let text_of = |name: &str| {
            let found = case.files.iter().find(|(known, _)| known == name);
            found.map_or("", |(_, text)| text.as_str())
        };
        for (name, start, end, code) in case.expected.difference(&unique) {
            let place = place(text_of(name), *start, *end);
            faults.push(format!("{}: missed {code} at {name} {place}", case.place));
        }
        for (index, one) in found.iter().enumerate() {
            if case.expected.contains(one) {
                continue;
            }
            let (name, start, end, code) = one;
            let text = text_of(name);
            let what = &examination.diagnostics[index].message;
            faults.push(format!(
                "{}: not expected {code} at {name} {} `{}`: {what}",
                case.place,
                place(text, *start, *end),
                &text[*start..*end],
            ));
        }
        let printed = printed(Format::Text, &examination);
        for shown in &case.shown {
            if !printed.contains(shown) {
                faults.push(format!("{}: `{shown}` is not in\n{printed}", case.place));
            }
        }
    }
    let broken = cases.iter().filter(|case| !case.expected.is_empty());
    let count = broken.count();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 80, "only {count} broken configurations");
}

fn printed(format: Format, examination: &Examination) -> String {
    let Examination {
        files, diagnostics, ..
    } = examination;
    render(format, files, diagnostics, Colour::Plain)
}

#[test]
fn what_comes_from_outside_is_never_printed() {
    for case in cases() {
        let examination = written(&case).examination;
        for format in [
            Format::Text,
            Format::Short,
            Format::Json,
            Format::Github,
            Format::Sarif,
        ] {
            let printed = printed(format, &examination);
            assert!(!printed.contains(SECRET), "{}: {printed}", case.place);
        }
        for found in &examination.diagnostics {
            assert!(!format!("{found:?}").contains(SECRET), "{}", case.place);
        }
    }
}

#[test]
fn every_finding_says_what_to_write_instead() {
    let mut faults = BTreeSet::new();
    for case in cases() {
        for found in written(&case).examination.diagnostics {
            let says =
                |wrong: &str| format!("{}: {} {}: {wrong}", case.place, found.code, found.message);
            if found.help.as_deref().is_none_or(str::is_empty) {
                faults.insert(says("no help"));
            }
            if found.message.ends_with('.') || found.message.starts_with(char::is_uppercase) {
                let first = found.message.split(' ').next().unwrap_or_default();
                if first != first.to_uppercase() {
                    faults.insert(says("not a headline"));
                }
            }
        }
    }
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_code_has_a_case_that_triggers_it() {
    let cases = cases();
    let expected = cases.iter().flat_map(|case| &case.expected);
    let triggered: BTreeSet<&str> = expected.map(|(_, _, _, code)| code.as_str()).collect();
    let missing: Vec<&str> = codes::ALL
        .iter()
        .map(|entry| entry.code)
        .filter(|code| !triggered.contains(code))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// What the sources name is registered, and what is registered is named by them.
#[test]
fn every_code_is_registered_and_used() {
    let mut used = BTreeSet::new();
    for path in files_below(&root().join("src"), ".rs") {
        let name = path.to_string_lossy().into_owned();
        if name.contains("tests") || name.ends_with("diagnostic/codes.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for (at, _) in text.match_indices("\"R0") {
            let code = &text[at + 1..at + 6];
            if code.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
                used.insert(code.to_owned());
            }
        }
    }
    let registered: BTreeSet<String> = codes::ALL
        .iter()
        .map(|entry| entry.code.to_owned())
        .collect();
    assert_eq!(used, registered);
    for entry in codes::ALL {
        let head = format!("# {}: {}\n", entry.code, entry.title);
        assert!(entry.page.starts_with(&head), "{}", entry.code);
    }
}

/// The exit code is the command line's: 1 for findings that are errors, 0 for none.
#[test]
fn the_exit_code_tells() {
    let cases = cases();
    for case in cases.iter().step_by(7) {
        let Written {
            folder,
            examination,
        } = written(case);
        let is_error =
            |found: &anabranch::diagnostic::Diagnostic| found.severity == Severity::Error;
        let errors = examination.diagnostics.iter().any(is_error);
        let mut command = Command::new(env!("CARGO_BIN_EXE_anabranch"));
        command
            .args(["check", "--format", "json"])
            .current_dir(folder.path());
        let names = case.files.iter().map(|(name, _)| name);
        command.args(names.filter(|name| name.ends_with(".yaml")));
        for name in [
            "SECRET",
            "SECRET_PATH",
            "SECRET_URL",
            "SECRET_LINES",
            "SECRET_REGEX",
            "PORT",
            "LIMIT",
            "STATUS",
            "EMPTY",
        ] {
            command.env(name, variable(name).unwrap_or_default());
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(i32::from(errors)),
            "{}: {text}",
            case.place
        );
        let lines = text.matches("\"code\":").count();
        assert_eq!(
            lines,
            examination.diagnostics.len(),
            "{}: {text}",
            case.place
        );
    }
}
