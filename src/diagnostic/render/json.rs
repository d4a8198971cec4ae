//! Findings for programs.

use serde_json::{Value, json};

use super::severity;
use crate::diagnostic::{Diagnostic, Files};

/// `{ "diagnostics": [ … ] }`, on several lines.
pub fn render(files: &Files, diagnostics: &[Diagnostic]) -> String {
    let mut out = serde_json::to_string_pretty(&value(files, diagnostics))
        .expect("a tree of strings and numbers is JSON");
    out.push('\n');
    out
}

/// The same as a value, for answers that hold more than the findings.
pub fn value(files: &Files, diagnostics: &[Diagnostic]) -> Value {
    let entries: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| entry(files, diagnostic))
        .collect();
    json!({ "diagnostics": entries })
}

fn entry(files: &Files, diagnostic: &Diagnostic) -> Value {
    let (start, end) = files.place(diagnostic.span);
    json!({
        "code": diagnostic.code,
        "severity": severity(diagnostic),
        "file": files.get(diagnostic.span.file).name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}
