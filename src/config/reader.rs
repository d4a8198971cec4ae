//! YAML events as a tree of [`Node`]s.
//!
//! saphyr-parser reads; what the file format does not have (tags, merge keys, keys that are no text)
//! is refused here, `${…}` is filled in, aliases are replaced by what they stand for. After a fault
//! of syntax that concerns one line the value on it is taken out and the document is read again, so
//! that the faults after it are found too. What the findings about syntax say is in
//! [`trap`](crate::config::trap).

mod places;
mod repairs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::config::fill::{self, Sources};
use crate::config::node::{Entry, Kind, Node, Text};
use crate::config::scalar::{self, Plain};
use crate::config::trap;
use crate::diagnostic::{Diagnostic, FileId, Span};

use self::places::Places;
use self::repairs::Repairs;

/// Lists and mappings may be as deep as this in each other.
const DEEPEST: usize = 128;
/// Aliases may add as many nodes as this to a document.
const MOST_COPIES: usize = 100_000;
/// A document with more faults than this is not read to its end.
const MOST_FINDINGS: usize = 1000;

/// What reading one document came to.
pub struct Document {
    /// None if it could not be read at all; a finding was made.
    pub node: Option<Node>,
    pub findings: Vec<Diagnostic>,
    /// The files that `${file:…}` names, found or not.
    pub named: Vec<PathBuf>,
}

/// Reads the document at `range` of a file.
pub fn read(text: &str, range: Range<usize>, file: FileId, sources: &Sources<'_>) -> Document {
    let mut repairs = Repairs::new(text, range.clone());
    let mut faults = Vec::new();
    loop {
        let mut builder = Builder::new(file, &repairs, sources);
        let (at, info) = match builder.run() {
            Ok(()) => return builder.finish(faults),
            Err(Stop::Limit) => return builder.abandon(faults),
            Err(Stop::Syntax { at, info }) => (at, info),
        };
        let fault = trap::explain(&trap::Fault {
            text,
            document: range.clone(),
            // Where a value was taken out, a place may fall inside one of its characters.
            at: text.floor_char_boundary(range.start + at),
            info: &info,
            open: builder.open_since(),
            file,
        });
        let unfinished = builder.abandon(Vec::new());
        if !repairs.explain(&fault) {
            faults.push(fault.finding);
        }
        if !fault.repair.is_some_and(|repair| repairs.make(repair)) {
            let findings = unfinished.findings.into_iter().chain(faults).collect();
            return Document {
                findings,
                ..unfinished
            };
        }
    }
}

/// Why a document was not read to its end.
enum Stop {
    /// Not YAML: the byte in the document, and the parser's words.
    Syntax { at: usize, info: String },
    /// Too much: a finding was made.
    Limit,
}

struct Builder<'b> {
    file: FileId,
    /// Where the document begins in its file.
    base: usize,
    text: &'b str,
    /// Where values were taken out, in the file.
    removed: &'b [Range<usize>],
    sources: &'b Sources<'b>,
    places: Places<'b>,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchor>,
    copies: usize,
    findings: Vec<Diagnostic>,
    named: Vec<PathBuf>,
}

/// A list or mapping that is not yet complete.
struct Frame {
    start: u32,
    /// Whether it is written in brackets.
    flow: bool,
    anchor: usize,
    /// The deepest nesting below.
    depth: usize,
    content: Content,
    broken: bool,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Key },
}

/// What a mapping waits for.
enum Key {
    Awaited,
    Is(String, Span),
    /// A finding was made; the value is dropped.
    Refused,
}

struct Anchor {
    node: Node,
    size: usize,
    depth: usize,
}

impl<'b> Builder<'b> {
    fn new(file: FileId, repairs: &'b Repairs<'_>, sources: &'b Sources<'b>) -> Builder<'b> {
        Builder {
            file,
            base: repairs.range.start,
            text: &repairs.text,
            removed: &repairs.removed,
            sources,
            places: Places::new(&repairs.text),
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            copies: 0,
            findings: Vec::new(),
            named: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Stop> {
        let mut parser = Parser::new_from_str(self.text);
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => return self.stop(&error),
            };
            let range = self.places.byte(span.start.index())..self.places.byte(span.end.index());
            self.take(event, range)?;
            if self.findings.len() > MOST_FINDINGS {
                return Err(Stop::Limit);
            }
        }
        Ok(())
    }

    fn stop(&mut self, error: &ScanError) -> Result<(), Stop> {
        let at = self.places.byte(error.marker().index());
        match error.info() {
            "recursion limit exceeded" => self.too_deep(at),
            info => Err(Stop::Syntax {
                at,
                info: info.to_owned(),
            }),
        }
    }

    fn finish(mut self, faults: Vec<Diagnostic>) -> Document {
        self.findings.extend(faults);
        Document {
            node: self.root,
            findings: self.findings,
            named: self.named,
        }
    }

    fn abandon(mut self, faults: Vec<Diagnostic>) -> Document {
        self.root = None;
        self.finish(faults)
    }

    /// Where the outermost list or mapping in brackets begins that is not closed, in the file.
    fn open_since(&self) -> Option<usize> {
        let open = self.stack.iter().find(|frame| frame.flow);
        open.map(|frame| frame.start as usize)
    }

    fn take(&mut self, event: Event<'_>, range: Range<usize>) -> Result<(), Stop> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => self.second_document(range),
            Event::Alias(anchor) => self.alias(anchor, range)?,
            Event::Scalar(value, style, anchor, tag) => {
                let mut span = self.scalar_span(&range, style, anchor != 0 || tag.is_some());
                let tagged = tag.is_some().then(|| self.refuse_tag(&range));
                if self.awaits_key() {
                    self.scalar_key(&value, style, span, tagged.is_some());
                } else {
                    let removed = self.removed_in(span);
                    let kind = match (tagged, &removed) {
                        (None, None) => self.scalar(&value, style, span),
                        _ => Kind::Broken,
                    };
                    span.end = removed.map_or(span.end, |end| end.max(span.end));
                    self.complete(Node { span, kind }, anchor, 0);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(range, anchor, tag.is_some(), Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Mapping {
                    entries: Vec::new(),
                    key: Key::Awaited,
                };
                self.open(range, anchor, tag.is_some(), content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range),
        }
        Ok(())
    }

    /// `...` and text after it, without a `---`: the document would be dropped.
    fn second_document(&mut self, range: Range<usize>) {
        if self.root.is_some() {
            let span = self.span(range.start, range.end);
            self.findings.push(
                Diagnostic::error("R0102", span, "a second document without its `---`")
                    .help("put a line `---` before it"),
            );
        }
    }

    // === scalars ===

    fn scalar(&mut self, value: &str, style: ScalarStyle, span: Span) -> Kind {
        if style == ScalarStyle::Plain {
            if self.has_swallowed(span) {
                return Kind::Broken;
            }
            match scalar::resolve(value) {
                Plain::Null => return Kind::Null,
                Plain::Boolean(boolean) => return Kind::Boolean(boolean),
                Plain::Number => return Kind::Number(value.to_owned()),
                Plain::Text => {}
            }
        }
        let raw = self.raw(span);
        let origin = scalar::origin(value, raw, span.start, style);
        if !fill::is_needed(value) {
            return Kind::Text(Text {
                source: value.to_owned(),
                fills: Vec::new(),
                origin,
            });
        }
        let filled = fill::fill(value, &origin, self.file, self.sources);
        self.findings.extend(filled.findings);
        self.named.extend(filled.named);
        filled.text.map_or(Kind::Broken, Kind::Text)
    }

    /// The end of a value that was taken out here.
    fn removed_in(&self, span: Span) -> Option<u32> {
        let range = span.start as usize..=span.end as usize;
        self.removed
            .iter()
            .find(|value| range.contains(&value.start))
            .map(|value| value.end as u32)
    }

    fn raw(&self, span: Span) -> &'b str {
        &self.text[span.start as usize - self.base..span.end as usize - self.base]
    }

    /// Whether a comment after a plain scalar was meant to belong to it.
    fn has_swallowed(&mut self, span: Span) -> bool {
        let after = span.end as usize - self.base;
        let Some(finding) = trap::swallowed(&self.text[after..], span) else {
            return false;
        };
        self.findings.push(finding);
        true
    }

    fn scalar_key(&mut self, value: &str, style: ScalarStyle, span: Span, tagged: bool) {
        let refusal = if tagged {
            None
        } else if style == ScalarStyle::Plain && value == "<<" {
            Some(
                Diagnostic::error("R0104", span, "`<<` does not merge here").help(
                    "write the keys out, or use an alias for a whole value: `headers: *common`",
                ),
            )
        } else if style == ScalarStyle::Plain && value.is_empty() {
            Some(
                Diagnostic::error("R0102", span, "no key before this `:`")
                    .help("write `key: value`, or quote the text"),
            )
        } else if value.contains("${") {
            Some(
                Diagnostic::error("R0115", span, "`${…}` in a key")
                    .help("only values are filled in; write the key out"),
            )
        } else {
            None
        };
        let refused = tagged || refusal.is_some();
        self.findings.extend(refusal);
        let key = match refused {
            true => Key::Refused,
            false => Key::Is(value.to_owned(), span),
        };
        self.set_key(key);
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.stack.last().map(|frame| &frame.content),
            Some(Content::Mapping {
                key: Key::Awaited,
                ..
            })
        )
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame {
            content: Content::Mapping { key, .. },
            ..
        }) = self.stack.last_mut()
        {
            *key = new;
        }
    }

    fn refuse_tag(&mut self, range: &Range<usize>) {
        let finding = trap::tag(self.text, range.clone(), self.base, self.file);
        self.findings.push(finding);
    }

    // === lists and mappings ===

    fn open(
        &mut self,
        range: Range<usize>,
        anchor: usize,
        tagged: bool,
        content: Content,
    ) -> Result<(), Stop> {
        if tagged {
            self.refuse_tag(&range);
        }
        let start = match anchor != 0 || tagged {
            true => skip_properties(self.text, range.start),
            false => range.start,
        };
        if self.stack.len() >= DEEPEST {
            return self.too_deep(start);
        }
        self.stack.push(Frame {
            start: (self.base + start) as u32,
            flow: self.text[start..].starts_with(['{', '[']),
            anchor,
            depth: 0,
            content,
            broken: tagged,
        });
        Ok(())
    }

    fn too_deep<T>(&mut self, start: usize) -> Result<T, Stop> {
        let span = self.span(start, start + 1);
        let message = format!("more than {DEEPEST} lists and mappings in each other");
        self.findings
            .push(Diagnostic::error("R0105", span, message).help("make it flatter"));
        Err(Stop::Limit)
    }

    fn close(&mut self, range: Range<usize>) {
        let Some(frame) = self.stack.pop() else {
            return;
        };
        let end = match frame.flow {
            true => self.trimmed(frame.start as usize - self.base, range.end),
            false => last_end(&frame.content).unwrap_or(frame.start),
        };
        let span = Span {
            file: self.file,
            start: frame.start,
            end: end.max(frame.start),
        };
        let kind = match frame.content {
            _ if frame.broken => Kind::Broken,
            Content::Sequence(items) => Kind::Sequence(items),
            Content::Mapping { entries, .. } => Kind::Mapping(unique(entries, &mut self.findings)),
        };
        self.complete(Node { span, kind }, frame.anchor, frame.depth + 1);
    }

    /// The end of `start..end` without white space, in the file.
    fn trimmed(&self, start: usize, end: usize) -> u32 {
        (self.base + start + self.text[start..end.max(start)].trim_end().len()) as u32
    }

    // === aliases ===

    fn alias(&mut self, anchor: usize, range: Range<usize>) -> Result<(), Stop> {
        let span = self.span(range.start, range.end);
        if self.awaits_key() {
            self.findings.push(
                Diagnostic::error("R0104", span, "an alias as a key").help("write the key out"),
            );
            self.set_key(Key::Refused);
            return Ok(());
        }
        let Some(found) = self.anchors.get(&anchor) else {
            self.findings.push(
                Diagnostic::error("R0104", span, "an alias inside what it stands for")
                    .help("write the value out"),
            );
            let node = Node {
                span,
                kind: Kind::Broken,
            };
            self.complete(node, 0, 0);
            return Ok(());
        };
        let (size, depth) = (found.size, found.depth);
        self.copies += size;
        if self.copies > MOST_COPIES {
            let message = format!("aliases that stand for more than {MOST_COPIES} values");
            self.findings.push(
                Diagnostic::error("R0105", span, message)
                    .help("write some of them out in a file of their own"),
            );
            return Err(Stop::Limit);
        }
        if self.stack.len() + depth > DEEPEST {
            return self.too_deep(range.start);
        }
        let node = found.node.clone();
        self.complete(node, 0, depth);
        Ok(())
    }

    // === what is complete ===

    /// Puts a node where it belongs. `depth` is that of the lists and mappings in it.
    fn complete(&mut self, node: Node, anchor: usize, depth: usize) {
        if anchor != 0 {
            let size = count(&node);
            let node = node.clone();
            self.anchors.insert(anchor, Anchor { node, size, depth });
        }
        let Some(frame) = self.stack.last_mut() else {
            if self.root.is_none() {
                self.root = Some(node);
            }
            return;
        };
        frame.depth = frame.depth.max(depth);
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key } => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Is(name, key_span) => entries.push(Entry {
                        key: name,
                        key_span,
                        value: node,
                    }),
                    Key::Refused => {}
                    Key::Awaited => {
                        *key = Key::Refused;
                        let start = frame.start as usize - self.base;
                        let hole = frame.flow && self.text[start..].starts_with("{{");
                        // All of `{{x}}` is one fault, and so is what YAML made of it.
                        frame.broken |= hole;
                        let opening = hole.then_some(frame.start);
                        let finding = trap::complex_key(self.text, self.base, node.span, opening);
                        self.findings.push(finding);
                    }
                }
            }
        }
    }

    // === places ===

    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: (self.base + start) as u32,
            end: (self.base + end.max(start)) as u32,
        }
    }

    fn scalar_span(&self, range: &Range<usize>, style: ScalarStyle, properties: bool) -> Span {
        let start = match properties {
            true => skip_properties(self.text, range.start).min(range.end),
            false => range.start,
        };
        let raw = &self.text[start..range.end.max(start)];
        let length = match style {
            ScalarStyle::Plain if raw.starts_with([',', '}', ']', ':', '\n', '\r']) => 0,
            // The parser counts white space and a comment after the quote as well.
            ScalarStyle::SingleQuoted => closed(raw, '\''),
            ScalarStyle::DoubleQuoted => closed(raw, '"'),
            _ => raw.trim_end().len(),
        };
        self.span(start, start + length)
    }
}

/// The length of the quoted scalar at the start of `raw`.
fn closed(raw: &str, mark: char) -> usize {
    scalar::quoted_length(raw, mark).unwrap_or(raw.len())
}

/// How many nodes there are in `node`.
fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        Kind::Mapping(entries) => 1 + entries.iter().map(|e| count(&e.value)).sum::<usize>(),
        _ => 1,
    }
}

fn last_end(content: &Content) -> Option<u32> {
    match content {
        Content::Sequence(items) => items.last().map(|node| node.span.end),
        Content::Mapping { entries, .. } => entries
            .last()
            .map(|entry| entry.value.span.end.max(entry.key_span.end)),
    }
}

/// Without the entries whose key stood before; each is a finding.
fn unique(mut entries: Vec<Entry>, findings: &mut Vec<Diagnostic>) -> Vec<Entry> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key));
    let mut again = Vec::new();
    let mut first = 0;
    for (at, index) in order.iter().enumerate().skip(1) {
        if entries[*index].key != entries[order[first]].key {
            first = at;
            continue;
        }
        let entry = &entries[*index];
        let before = &entries[order[first]];
        findings.push(
            Diagnostic::error(
                "R0108",
                entry.key_span,
                format!("the key `{}` stands here twice", entry.key),
            )
            .also(before.key_span, "first here")
            .help("remove one of the two, or give one another name"),
        );
        again.push(*index);
    }
    if !again.is_empty() {
        again.sort_unstable();
        let mut index = 0;
        entries.retain(|_| {
            let keep = again.binary_search(&index).is_err();
            index += 1;
            keep
        });
    }
    entries
}

/// Where the value begins whose anchor or tag stands at `start`.
fn skip_properties(text: &str, start: usize) -> usize {
    let mut at = start;
    loop {
        let rest = &text[at..];
        let skipped = match rest.chars().next() {
            Some('&' | '!') => rest
                .find(|character: char| character.is_whitespace() || "{}[],".contains(character))
                .unwrap_or(rest.len()),
            Some('#') => rest.find('\n').unwrap_or(rest.len()),
            Some(space) if space.is_whitespace() => space.len_utf8(),
            _ => return at,
        };
        at += skipped.max(1);
    }
}
