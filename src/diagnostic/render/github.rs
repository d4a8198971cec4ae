//! Findings as workflow commands, which GitHub Actions shows beside the changed lines.

use std::fmt::Write;

use super::severity;
use crate::diagnostic::{Diagnostic, Files};

/// `::error file=…,line=…,col=…,endLine=…,endColumn=…,title=CODE::message`, one line each.
pub fn render(files: &Files, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        line(&mut out, files, diagnostic).expect("a String takes all that is written");
    }
    out
}

fn line(out: &mut String, files: &Files, diagnostic: &Diagnostic) -> std::fmt::Result {
    let (start, end) = files.place(diagnostic.span);
    let message = match &diagnostic.help {
        Some(help) => format!("{}\nhelp: {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    writeln!(
        out,
        "::{} file={},line={},col={},endLine={},endColumn={},title={}::{}",
        severity(diagnostic),
        property(&files.get(diagnostic.span.file).name),
        start.line,
        start.column,
        end.line,
        end.column,
        property(diagnostic.code),
        data(&message),
    )
}

/// The escapes of a message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The escapes of a property, which may not end the property or the list.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
