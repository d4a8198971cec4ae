//! Says what is wrong with a text, and where.
//!
//! Everything that examines files returns [`Diagnostic`]s; how they look is decided in
//! [`render`]. A finding quotes the source text only, so what `${…}` was filled with is never shown.
//! Every code stands in [`codes`] and has a page there.

pub mod codes;
pub mod render;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use memchr::memchr_iter;

/// A file that was read, by its number in [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

/// One file as it was read. `name` is the path as the operator would write it.
#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    /// Where each line begins.
    lines: Vec<u32>,
}

/// All files of one examination, in reading order.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub files: Vec<File>,
}

/// A place as people count: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Files {
    pub fn add(&mut self, name: String, path: PathBuf, text: String) -> FileId {
        let id = u32::try_from(self.files.len()).expect("fewer files than 2^32 were read");
        let newlines = memchr_iter(b'\n', text.as_bytes());
        let lines = std::iter::once(0).chain(newlines.map(|newline| newline as u32 + 1));
        self.files.push(File {
            lines: lines.collect(),
            name,
            path,
            text,
        });
        FileId(id)
    }

    pub fn get(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    /// What stands at `span` in its file.
    pub fn text(&self, span: Span) -> &str {
        let text = &self.get(span.file).text;
        let start = boundary(text, span.start as usize);
        let end = boundary(text, span.end as usize).max(start);
        &text[start..end]
    }

    /// Where `span` begins and where it ends (exclusive).
    pub fn place(&self, span: Span) -> (Position, Position) {
        (
            self.position(span.file, span.start),
            self.position(span.file, span.end.max(span.start)),
        )
    }

    pub fn position(&self, id: FileId, offset: u32) -> Position {
        let File { text, lines, .. } = self.get(id);
        let offset = boundary(text, offset as usize);
        let line = lines.partition_point(|start| *start as usize <= offset);
        let line_start = lines[line - 1] as usize;
        Position {
            line,
            column: text[line_start..offset].chars().count() + 1,
        }
    }
}

/// The last character boundary of `text` that is not after `offset`.
fn boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A second place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// One finding about a file. `message` is a headline in lower case without a full stop, things in
/// backticks; `help` says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub span: Span,
    /// What stands under the underlined place; may be empty.
    pub label: String,
    pub labels: Vec<Label>,
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            label: String::new(),
            labels: Vec::new(),
            help: None,
        }
    }
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, span, message)
        }
    }
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.label = text.into();
        self
    }
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }
}

/// In the order they are shown: by file name, place and code, each finding once.
pub fn arrange(mut diagnostics: Vec<Diagnostic>, files: &Files) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| order(a, files).cmp(&order(b, files)));
    diagnostics.dedup();
    diagnostics
}

fn order<'a>(
    diagnostic: &'a Diagnostic,
    files: &'a Files,
) -> (&'a str, u32, &'static str, u32, &'a str) {
    let span = diagnostic.span;
    let name = &files.get(span.file).name;
    (
        name,
        span.start,
        diagnostic.code,
        span.end,
        &diagnostic.message,
    )
}

/// The nearest of `candidates` to what was written, if one is near enough to be meant.
pub fn nearest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let folded = fold(written);
    let length = folded.chars().count();
    let limit = match length {
        0..=1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &fold(candidate)),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Without what is easily mixed up: case, and `-` for `_`.
fn fold(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// `did you mean …?`, where something is near.
pub fn did_you_mean<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    nearest(written, candidates).map(|near| format!("did you mean `{near}`?"))
}
