//! What a fault of syntax most likely is, and what to write instead.
//!
//! The parser says what it expected; an operator needs to hear what YAML read into the line. So the
//! line is looked at again here, with the few traps in mind that templates fall into: a value that
//! begins with a sign of YAML, a comment where a hole was meant, brackets, a second colon, a tab.

use std::ops::Range;

use crate::config::scalar::quoted_length;
use crate::diagnostic::{Diagnostic, FileId, Span};

/// More of a line is not looked at, lest a file of one line is looked through again and again.
const LONGEST_LINE: usize = 1000;

/// Where and why the parser stopped. Offsets are those of the file.
pub struct Fault<'f> {
    pub text: &'f str,
    pub document: Range<usize>,
    pub at: usize,
    pub info: &'f str,
    /// Where brackets begin that are not closed.
    pub open: Option<usize>,
    pub file: FileId,
}

pub struct Explained {
    pub finding: Diagnostic,
    /// What is likely to let the rest of the document be read.
    pub repair: Option<Repair>,
    /// The line at fault.
    pub line: Range<usize>,
}

pub enum Repair {
    /// Without the value that stands here.
    TakeOut(Range<usize>),
    /// With spaces for tabs.
    Tabs,
}

pub fn explain(fault: &Fault<'_>) -> Explained {
    let line = line_at_fault(fault);
    if let Some(finding) = tab(fault, &line) {
        return Explained {
            finding,
            repair: Some(Repair::Tabs),
            line,
        };
    }
    if let Some(open) = fault.open.filter(|open| *open < line.start) {
        return across_lines(fault, open, line);
    }
    let text = &fault.text[line.clone()];
    let value = value_of(text).map(|start| {
        let length = text[start..].trim_end().len();
        line.start + start..line.start + start + length
    });
    let finding = match &value {
        Some(value) => in_value(fault, &line, value),
        None => in_line(fault, &line),
    };
    let whole = value.filter(|value| is_closed(&fault.text[value.clone()]));
    let repair = part_in_brackets(fault, &finding).or(whole);
    Explained {
        finding,
        repair: repair.map(Repair::TakeOut),
        line,
    }
}

/// The place of a finding about one value among others in brackets.
fn part_in_brackets(fault: &Fault<'_>, finding: &Diagnostic) -> Option<Range<usize>> {
    let range = finding.span.start as usize..finding.span.end as usize;
    let is_part = finding.message == NEEDS_QUOTES && !range.is_empty();
    (is_part && is_closed(&fault.text[range.clone()])).then_some(range)
}

/// A missing colon is only noticed after its line.
fn line_at_fault(fault: &Fault<'_>) -> Range<usize> {
    let at = fault.at.min(fault.document.end);
    let line = line_around(fault.text, at);
    if !fault.info.starts_with("simple key expect") {
        return line;
    }
    let before = fault.text[fault.document.start..line.start].trim_end();
    match before.is_empty() {
        true => line,
        false => line_around(fault.text, fault.document.start + before.len()),
    }
}

fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..start + text[start..end].trim_end_matches('\r').len()
}

/// Where the value of a line `key: value` or `- value` begins.
fn value_of(line: &str) -> Option<usize> {
    let mut at = line.len() - line.trim_start_matches(' ').len();
    let mut in_list = false;
    while let Some(rest) = line[at..].strip_prefix("- ") {
        in_list = true;
        at = line.len() - rest.trim_start_matches(' ').len();
    }
    let rest = &line[at..];
    match key_length(rest) {
        Some(length) => {
            let value = rest[length..].trim_start_matches([' ', '\t']);
            (!value.is_empty() && !value.starts_with('#')).then(|| line.len() - value.len())
        }
        None => (in_list && !rest.trim_end().is_empty()).then_some(at),
    }
}

/// The length of `key:` at the start of `text`.
fn key_length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let after = match first {
        '"' | '\'' => 1 + text[1..].find(first)? + 1,
        '{' | '[' | '#' | '&' | '*' | '!' | '%' | '@' | '`' => return None,
        _ => 0,
    };
    let (colon, _) = text[after..].match_indices(':').find(|(at, _)| {
        let rest = &text[after + at + 1..];
        rest.is_empty() || rest.starts_with([' ', '\t'])
    })?;
    let colon = after + colon;
    let key = &text[..colon];
    (after == 0 && !key.contains(" #") || key[after..].trim().is_empty()).then_some(colon + 1)
}

/// Whether the brackets of `value` are all closed in it, as far as one can tell.
fn is_closed(value: &str) -> bool {
    let mut depth = 0i32;
    for character in value.chars() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    depth == 0 || !value.starts_with(['{', '['])
}

// === a fault in a value ===

fn in_value(fault: &Fault<'_>, line: &Range<usize>, value: &Range<usize>) -> Diagnostic {
    let written = uncommented(&fault.text[value.clone()]);
    let span = fault.span(value.start, value.start + written.len());
    let first = written.chars().next().unwrap_or(' ');
    if written.starts_with("{{") {
        return hole(span, written);
    }
    if fault.at < value.start {
        return in_line(fault, line);
    }
    match first {
        '*' => trap(span, "`*` at the start of a value is an alias", written)
            .label("there is no anchor of this name"),
        '&' => trap(span, "`&` at the start of a value is an anchor", written),
        '!' => trap(span, "`!` at the start of a value is a tag", written),
        '@' | '`' | '%' => {
            let message = format!("a value may not begin with `{first}`");
            trap(span, &message, written)
        }
        '>' | '|' => {
            let message = format!("`{first}` at the start of a value begins a block of text");
            trap(span, &message, written)
        }
        '?' if written.starts_with("? ") => {
            trap(span, "`? ` at the start of a value is a key", written)
        }
        '-' if written.starts_with("- ") => {
            Diagnostic::error("R0102", span, "a list may not begin on the line of its key")
                .help("put each `- …` on a line of its own, or write `[a, b]`")
        }
        '"' | '\'' => in_quotes(fault, span, written, first),
        '{' | '[' => in_brackets(fault, value.start, written),
        _ if second_colon(written).is_some() => trap(span, "a second `: ` in one value", written),
        _ => at_parser(fault),
    }
}

/// A value that must be quoted as a whole.
fn trap(span: Span, message: &str, written: &str) -> Diagnostic {
    Diagnostic::error("R0103", span, message).help(format!("quote it: `{}`", quote(written)))
}

fn hole(span: Span, written: &str) -> Diagnostic {
    trap(
        span,
        "`{{` at the start of a value is a mapping in YAML",
        written,
    )
}

fn in_quotes(fault: &Fault<'_>, span: Span, written: &str, mark: char) -> Diagnostic {
    let Some(length) = quoted_length(written, mark) else {
        let span = Span {
            end: span.start + 1,
            ..span
        };
        return Diagnostic::error("R0102", span, format!("this `{mark}` is not closed")).help(
            format!("write `{mark}` after the last character of the text"),
        );
    };
    if length < written.len() {
        return Diagnostic::error("R0103", span, "text after the closing quote")
            .help(format!("quote the value as a whole: `{}`", quote(written)));
    }
    if fault.info.contains("escape") || fault.info.contains("hexadecimal") {
        let inner = &written[1..length - 1];
        return Diagnostic::error("R0102", span, "an escape that YAML does not know").help(
            format!(
                "in single quotes `\\` means itself: `'{}'`",
                inner.replace('\'', "''")
            ),
        );
    }
    at_parser(fault)
}

const NEEDS_QUOTES: &str =
    "inside `{ }` and `[ ]` a value with brackets, commas, quotes or `?` needs quotes";

/// `{ a: $.x[0] }`: the value in which the parser stopped.
fn in_brackets(fault: &Fault<'_>, start: usize, written: &str) -> Diagnostic {
    let stop = fault.at.clamp(start, start + written.len()) - start;
    let stop = written.floor_char_boundary(stop);
    let before = &written[..stop];
    let from = ["{ ", "[ ", ", ", ": "]
        .iter()
        .filter_map(|sign| before.rfind(sign).map(|at| at + sign.len()))
        .chain(before.strip_prefix(['{', '[']).map(|_| 1))
        .max()
        .unwrap_or(0);
    let part = written[from..][..length_in_brackets(&written[from..])].trim_end();
    if part.is_empty() || !part.contains(['[', ']', '{', '}', '?', ',', '"', '\'']) {
        return at_parser(fault).help("check the brackets and commas of this line");
    }
    let span = fault.span(start + from, start + from + part.len());
    trap(span, NEEDS_QUOTES, part)
}

/// The length of the value at the start of `rest`, up to the comma or bracket that ends it.
fn length_in_brackets(rest: &str) -> usize {
    let mut depth = 0;
    for (at, character) in rest.char_indices() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' if depth == 0 => return at,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => return at,
            _ => {}
        }
    }
    rest.len()
}

fn second_colon(written: &str) -> Option<usize> {
    written
        .find(": ")
        .or_else(|| written.strip_suffix(':').map(str::len))
}

// === a fault of the line ===

fn in_line(fault: &Fault<'_>, line: &Range<usize>) -> Diagnostic {
    let text = &fault.text[line.clone()];
    let indent = text.len() - text.trim_start().len();
    let content = text.trim();
    let span = fault.span(line.start + indent, line.start + indent + content.len());
    if content.starts_with("{{") {
        return hole(span, content);
    }
    if fault.info.starts_with("simple key expect") {
        if content.starts_with('-') && !content.starts_with("- ") {
            return Diagnostic::error("R0102", span, "no space after `-`")
                .help(format!("write `- {}`", content.trim_start_matches('-')));
        }
        let message = format!("no `:` after `{}`", clipped(content));
        return Diagnostic::error("R0102", span, message)
            .help("write `key: value`; more lines of a text stand deeper than its key");
    }
    if fault
        .info
        .contains("block mapping, did not find expected key")
        || fault.info.contains("expected '-' indicator")
        || fault.info.contains("invalid indentation")
    {
        return indentation(span);
    }
    if fault.info.contains("mapping values are not allowed") {
        return Diagnostic::error("R0102", span, "a key inside the text of the line above").help(
            "put it in the column of the keys it belongs to: \
             a key that has a value on its line has no keys below it",
        );
    }
    if content.starts_with(['"', '\'']) && fault.info.contains("quoted scalar") {
        let mark = &content[..1];
        return Diagnostic::error("R0102", span, format!("this `{mark}` is not closed")).help(
            format!("write `{mark}` after the last character of the text"),
        );
    }
    at_parser(fault)
}

fn indentation(span: Span) -> Diagnostic {
    Diagnostic::error("R0102", span, "this line stands in a column of its own").help(
        "indent it like the line it belongs beside: keys of one mapping share a column, \
         and so do the `-` of one list",
    )
}

fn tab(fault: &Fault<'_>, line: &Range<usize>) -> Option<Diagnostic> {
    let text = &fault.text[line.clone()];
    if !text.contains('\t') || !(fault.info.contains("tab") || fault.info.contains("whitespace")) {
        return None;
    }
    let at = line.start + text.find('\t')?;
    Some(
        Diagnostic::error(
            "R0103",
            fault.span(at, at + 1),
            "a tab where YAML wants spaces",
        )
        .help("replace it by spaces"),
    )
}

/// Brackets that were opened on a line above, at `open`.
fn across_lines(fault: &Fault<'_>, open: usize, line: Range<usize>) -> Explained {
    let text = &fault.text[line.clone()];
    let content = text.trim();
    let opening = line_around(fault.text, open);
    let is_inside =
        indent(text) > indent(&fault.text[opening.clone()]) || content.starts_with(['}', ']']);
    if !is_inside {
        return unclosed(fault, open, opening, line);
    }
    let finding = in_brackets(fault, line.start + indent(text), content);
    match part_in_brackets(fault, &finding) {
        Some(part) => Explained {
            finding,
            repair: Some(Repair::TakeOut(part)),
            line,
        },
        None => Explained {
            finding: finding.also(fault.span(open, open + 1), "this is still open"),
            repair: None,
            line,
        },
    }
}

/// The line at fault stands no deeper than the one with the bracket: it does not belong to it.
fn unclosed(
    fault: &Fault<'_>,
    open: usize,
    opening: Range<usize>,
    line: Range<usize>,
) -> Explained {
    let (bracket, closing) = match fault.text[open..].starts_with('{') {
        true => ('{', '}'),
        false => ('[', ']'),
    };
    let rest = &fault.text[line.start..fault.document.end];
    if rest
        .lines()
        .any(|later| later.trim_start().starts_with(closing))
    {
        let text = &fault.text[line.clone()];
        let start = line.start + indent(text);
        let message = format!("inside `{bracket} {closing}` a line stands deeper than the first");
        return Explained {
            finding: Diagnostic::error("R0102", fault.span(start, line.end), message)
                .also(fault.span(open, open + 1), "opened here")
                .help(format!("indent it, and the line of the `{closing}` too")),
            repair: None,
            line,
        };
    }
    let end = open + fault.text[open..line.start].trim_end().len();
    let span = fault.span(open, open + 1);
    Explained {
        finding: Diagnostic::error("R0102", span, format!("this `{bracket}` is not closed"))
            .help(format!("write `{closing}` after its last entry")),
        repair: Some(Repair::TakeOut(open..end)),
        line: opening,
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// What the parser said, at its place.
fn at_parser(fault: &Fault<'_>) -> Diagnostic {
    let at = fault
        .text
        .floor_char_boundary(fault.at.min(fault.document.end));
    let length = fault.text[at..]
        .chars()
        .next()
        .filter(|character| !character.is_whitespace())
        .map_or(0, char::len_utf8);
    let info = fault.info.replace("double-quoted", "quoted");
    Diagnostic::error(
        "R0102",
        fault.span(at, at + length),
        format!("not YAML: {info}"),
    )
}

impl Fault<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: start as u32,
            end: end as u32,
        }
    }
}

// === what the parser takes, but not as it was meant ===

/// `#{{x}}` after a plain scalar, which YAML takes for a comment. `rest` is what follows the scalar.
pub fn swallowed(rest: &str, scalar: Span) -> Option<Diagnostic> {
    let comment = rest.trim_start_matches([' ', '\t']);
    let holds = ["#{{", "#${", "#$."]
        .iter()
        .any(|sign| comment.starts_with(sign));
    if comment.len() == rest.len() || !holds {
        return None;
    }
    let start = scalar.end + (rest.len() - comment.len()) as u32;
    let span = Span {
        start,
        end: start + line_of(comment).trim_end().len() as u32,
        ..scalar
    };
    Some(
        Diagnostic::error("R0103", span, "`#` after a space begins a comment")
            .label("YAML does not read this")
            .help("quote the value as a whole, or put a space after the `#` of a real comment"),
    )
}

/// A key that is a list or a mapping; `hole` is where `{{` opens, if that is what happened.
pub fn complex_key(text: &str, base: usize, key: Span, hole_at: Option<u32>) -> Diagnostic {
    let Some(start) = hole_at else {
        return Diagnostic::error("R0104", key, "a key that is no text")
            .help("write a plain key; a value that begins with `{` or `[` needs quotes");
    };
    let offset = start as usize - base;
    let line = line_of(&text[offset..]);
    let written = match line.find("}}") {
        // In a list or mapping of one line the value ends before the rest of it.
        Some(end) if line[end + 2..].trim_start().starts_with(['}', ']', ',']) => &line[..end + 2],
        _ => uncommented(line),
    };
    let span = Span {
        start,
        end: start + written.len() as u32,
        ..key
    };
    hole(span, written)
}

/// A tag: `!present($.x)` is one as far as YAML is concerned.
pub fn tag(text: &str, range: Range<usize>, base: usize, file: FileId) -> Diagnostic {
    let line = line_of(&text[range.start..]);
    let written = uncommented(line);
    let length = match written.find(char::is_whitespace) {
        Some(space) => space,
        None => written.len(),
    };
    let start = (base + range.start) as u32;
    let span = Span {
        file,
        start,
        end: start + length as u32,
    };
    Diagnostic::error(
        "R0104",
        span,
        "`!` at the start of a value is a tag, and there are none",
    )
    .help(format!("quote it: `{}`", quote(written)))
}

// === words ===

/// The rest of the line, or as much of it as is quoted.
fn line_of(rest: &str) -> &str {
    let part = &rest[..rest.floor_char_boundary(LONGEST_LINE)];
    part.lines().next().unwrap_or("")
}

/// Without the comment at the end and the white space before it.
fn uncommented(value: &str) -> &str {
    value.split(" #").next().unwrap_or(value).trim_end()
}

/// The text in the quotes that need the fewest escapes.
fn quote(written: &str) -> String {
    match written.contains(['"', '\\']) {
        true => format!("'{}'", written.replace('\'', "''")),
        false => format!("\"{written}\""),
    }
}

fn clipped(text: &str) -> &str {
    match text.char_indices().nth(40) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
