//! How findings look, one file for each form. A renderer quotes the files and nothing else.

pub mod github;
pub mod json;
pub mod sarif;
pub mod short;
pub mod text;

use crate::diagnostic::{Diagnostic, Files, Severity};

/// The forms that findings can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Short,
    Json,
    Github,
    Sarif,
}

/// Whether the text form may use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Ansi,
}

/// The findings in the given form, with a final newline where there is anything to say.
pub fn render(format: Format, files: &Files, diagnostics: &[Diagnostic], colour: Colour) -> String {
    match format {
        Format::Text => text::render(files, diagnostics, colour),
        Format::Short => short::render(files, diagnostics),
        Format::Json => json::render(files, diagnostics),
        Format::Github => github::render(files, diagnostics),
        Format::Sarif => sarif::render(files, diagnostics),
    }
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
