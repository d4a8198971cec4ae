//! One line a finding, for terminals and grep.

use std::fmt::Write;

use super::severity;
use crate::diagnostic::{Diagnostic, Files};

/// `routes/home.yaml:14:7: error[R0102]: message (help)`.
pub fn render(files: &Files, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        line(&mut out, files, diagnostic).expect("a String takes all that is written");
    }
    out
}

fn line(out: &mut String, files: &Files, diagnostic: &Diagnostic) -> std::fmt::Result {
    let (start, _) = files.place(diagnostic.span);
    write!(
        out,
        "{}:{}:{}: {}[{}]: {}",
        files.get(diagnostic.span.file).name,
        start.line,
        start.column,
        severity(diagnostic),
        diagnostic.code,
        diagnostic.message,
    )?;
    if let Some(help) = &diagnostic.help {
        write!(out, " ({})", help.replace('\n', " "))?;
    }
    out.push('\n');
    Ok(())
}
