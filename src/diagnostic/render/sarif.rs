//! Findings as SARIF 2.1.0, which code scanning services read.

use serde_json::{Value, json};

use super::severity;
use crate::diagnostic::{Diagnostic, Files, Label, Span, codes};

/// One run with the rules that were broken and a result for each finding.
pub fn render(files: &Files, diagnostics: &[Diagnostic]) -> String {
    let rules = broken_rules(diagnostics);
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| result(files, diagnostic, &rules))
        .collect();
    let rules: Vec<Value> = rules.iter().map(|code| rule(code)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "anabranch",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let mut out =
        serde_json::to_string_pretty(&log).expect("a tree of strings and numbers is JSON");
    out.push('\n');
    out
}

fn broken_rules(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    let mut rules: Vec<&'static str> = diagnostics.iter().map(|found| found.code).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn rule(code: &str) -> Value {
    match codes::find(code) {
        Some(found) => json!({
            "id": code,
            "shortDescription": { "text": found.title },
            "help": { "text": found.page, "markdown": found.page },
        }),
        None => json!({ "id": code }),
    }
}

fn result(files: &Files, diagnostic: &Diagnostic, rules: &[&'static str]) -> Value {
    let text = match &diagnostic.help {
        Some(help) => format!("{}\nhelp: {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let related: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| related(files, label))
        .collect();
    let mut result = json!({
        "ruleId": diagnostic.code,
        "ruleIndex": rules.binary_search(&diagnostic.code).ok(),
        "level": severity(diagnostic),
        "message": { "text": text },
        "locations": [{ "physicalLocation": location(files, diagnostic.span) }],
    });
    if !related.is_empty() {
        result["relatedLocations"] = Value::Array(related);
    }
    result
}

fn related(files: &Files, label: &Label) -> Value {
    json!({
        "physicalLocation": location(files, label.span),
        "message": { "text": label.text },
    })
}

fn location(files: &Files, span: Span) -> Value {
    let (start, end) = files.place(span);
    json!({
        "artifactLocation": { "uri": uri(&files.get(span.file).name) },
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        },
    })
}

/// A file name as a relative (or, with its `/`, absolute) URI reference.
fn uri(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
