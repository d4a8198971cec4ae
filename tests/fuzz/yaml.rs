//! A route file of any bytes: examined without a panic and in time, and every finding has a place in
//! the file.

use std::time::{Duration, Instant};

use anabranch::check::{self, Examination};
use anabranch::diagnostic::render::{Colour, Format, render};
use anabranch::diagnostic::{Severity, Span};

use crate::support::Folder;

/// Far more than a file of a few KiB needs where all else is busy.
const LONGEST: Duration = Duration::from_secs(10);

const FORMATS: [Format; 5] = [
    Format::Text,
    Format::Short,
    Format::Json,
    Format::Github,
    Format::Sarif,
];

#[allow(dead_code, reason = "guided by coverage the fuzzer finds its own")]
pub const TOKENS: [&str; 64] = [
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    ": ",
    "{ ",
    " }",
    "[ ",
    " ]",
    ", ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "&x ",
    "*x",
    "!t ",
    "? ",
    " # ",
    "{{",
    "}}",
    "{{#each p in ",
    "{{/each}}",
    "{{#if ",
    "{{else}}",
    "{{/if}}",
    "${NAME}",
    "$${",
    "$.",
    "$.request.query.q",
    "$.request.path.id",
    "$.request.body",
    ".body",
    "[*]",
    "[?@.a == 1]",
    "..",
    "?? ",
    "$merge: ",
    "$if: ",
    "$for: ",
    "\n---\n",
    "\n...\n",
    "<<: *x\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "é",
    "😀",
    "\u{85}",
    "null",
    "true",
    "1e400",
    "12.10",
    "99999999999999999999",
    "route: GET /{a}/{b...}",
    "calls:\n  a: ",
    "get: /x",
    "fallback: [ { value: 1 } ]",
    "for_each: p in $.request.query_list.p",
    "when: present($.request.query.q)",
    "depends_on: [ a ]",
    "timeout: 5s",
    "services:\n  s: { url: http://s }",
    "response: { pass: a }",
];

pub fn hold(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.path().join("route.yaml");
    std::fs::write(&path, bytes).unwrap();
    let began = Instant::now();
    let examination = check::examine_with(&[path], &|_| None);
    let took = began.elapsed();
    assert!(took < LONGEST, "it took {took:?}");
    check_places(&examination);
    check_verdict(&examination);
    for format in FORMATS {
        let (files, diagnostics) = (&examination.files, &examination.diagnostics);
        render(format, files, diagnostics, Colour::Plain);
    }
}

fn check_places(examination: &Examination) {
    for finding in &examination.diagnostics {
        let labels = finding.labels.iter().map(|label| label.span);
        for span in labels.chain([finding.span]) {
            assert!(is_inside(examination, span), "{finding:?}");
        }
    }
}

fn is_inside(examination: &Examination, span: Span) -> bool {
    let text = &examination.files.get(span.file).text;
    text.get(span.start as usize..span.end as usize).is_some()
}

/// There is a table, or a reason why there is none.
fn check_verdict(examination: &Examination) {
    let mut findings = examination.diagnostics.iter();
    let has_error = findings.any(|finding| finding.severity == Severity::Error);
    let is_refused = has_error || !examination.unreadable.is_empty();
    assert_eq!(examination.table.is_none(), is_refused);
}
