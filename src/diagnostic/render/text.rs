//! Findings for people: the look of rustc, by annotate-snippets.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::Colour;
use crate::diagnostic::{Diagnostic, FileId, Files, Severity, Span};

/// A line longer than this is quoted in part, lest one file of a single line fills the screen.
const LONGEST_QUOTE: usize = 4096;

/// Each finding with its source line, underlined, and an empty line after it.
pub fn render(files: &Files, diagnostics: &[Diagnostic], colour: Colour) -> String {
    let renderer = match colour {
        Colour::Plain => Renderer::plain(),
        Colour::Ansi => Renderer::styled(),
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(files, diagnostic)]));
        out.push_str("\n\n");
    }
    out
}

fn group<'a>(files: &'a Files, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(&diagnostic.message)
        .id(diagnostic.code)
        .element(snippet(files, diagnostic, diagnostic.span.file));
    for other in other_files(diagnostic) {
        group = group.element(snippet(files, diagnostic, other));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

/// The files of the labels, without the one of the finding itself.
fn other_files(diagnostic: &Diagnostic) -> Vec<FileId> {
    let mut others = Vec::new();
    for label in &diagnostic.labels {
        let file = label.span.file;
        if file != diagnostic.span.file && !others.contains(&file) {
            others.push(file);
        }
    }
    others
}

/// The lines of one file that a finding speaks of. Only those lines are handed over: a file is
/// large, and a label far away is folded anyway.
fn snippet<'a>(
    files: &'a Files,
    diagnostic: &'a Diagnostic,
    file: FileId,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let source = files.get(file);
    let mut marks = Vec::new();
    if diagnostic.span.file == file {
        marks.push((
            AnnotationKind::Primary,
            diagnostic.span,
            diagnostic.label.as_str(),
        ));
    }
    for label in diagnostic.labels.iter().filter(|l| l.span.file == file) {
        marks.push((AnnotationKind::Context, label.span, label.text.as_str()));
    }
    let ranges: Vec<Range<usize>> = marks
        .iter()
        .map(|(_, span, _)| first_line(&source.text, *span))
        .collect();
    let quoted = quoted(&source.text, &ranges);
    let line = files.position(file, quoted.start as u32).line;
    let mut snippet = Snippet::source(&source.text[quoted.clone()])
        .path(&source.name)
        .line_start(line);
    for ((kind, _, text), range) in marks.into_iter().zip(ranges) {
        let label = (!text.is_empty()).then_some(text);
        let range = range.start - quoted.start..range.end - quoted.start;
        snippet = snippet.annotation(kind.span(range).label(label));
    }
    snippet
}

/// The part of `span` on its first line, which is what gets underlined.
fn first_line(text: &str, span: Span) -> Range<usize> {
    let start = text.floor_char_boundary(span.start as usize);
    let end = text.floor_char_boundary(span.end as usize).max(start);
    let line = text[start..end]
        .find(['\n', '\r'])
        .map_or(end, |newline| start + newline);
    start..line.min(text.floor_char_boundary(start + LONGEST_QUOTE))
}

/// From the start of the first line that is marked to the end of the last.
fn quoted(text: &str, ranges: &[Range<usize>]) -> Range<usize> {
    let first = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[last..]
        .find(['\n', '\r'])
        .map_or(text.len(), |newline| last + newline);
    // A line of megabytes: the column is then wrong in the picture, and only there.
    let start = start.max(text.ceil_char_boundary(first.saturating_sub(LONGEST_QUOTE)));
    start..end.min(text.ceil_char_boundary(last + LONGEST_QUOTE))
}
