//! Takes one mapping apart by the table of [`keys`](crate::config::keys).
//!
//! Every key is decoded by itself, so that each fault is a finding under its own value. What is said
//! of a value quotes the file, never what `${…}` gave.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use crate::config::document::{NamedFile, Spanned};
use crate::config::fill::read_small;
use crate::config::keys::{self, Object};
use crate::config::node::{Entry, Kind, Node, Text};
use crate::config::scalar::{self, Plain};
use crate::config::units::{CountOrOff, Leaf};
use crate::diagnostic::{Diagnostic, Files, Span};

/// A file that a document names may be as large as this.
const LARGEST_NAMED: u64 = 8 << 20;
/// As many unknown keys of one mapping are named.
const MOST_UNKNOWN: usize = 100;
/// As much of a value is quoted in a headline.
const LONGEST_QUOTE: usize = 60;

/// Decodes the documents of one file, and collects what is wrong with them.
pub struct Decoder<'d> {
    pub files: &'d Files,
    /// The folder of the file: relative paths start here.
    pub folder: &'d Path,
    pub findings: Vec<Diagnostic>,
    /// The files that were named, found or not.
    pub named: Vec<PathBuf>,
}

/// A mapping whose keys are all known.
#[derive(Clone, Copy)]
pub struct Fields<'n> {
    pub object: Object,
    pub entries: &'n [Entry],
    /// The key that holds it; of a document or a list's entry, its own place.
    pub key: Span,
}

impl<'n> Fields<'n> {
    pub fn entry(&self, name: &str) -> Option<&'n Entry> {
        debug_assert!(
            self.object.key(name).is_some(),
            "`{name}` stands in the table"
        );
        self.entries.iter().find(|entry| entry.key == name)
    }

    /// The entries of these names, in the order of the file.
    pub fn of(&self, names: &[&str]) -> Vec<&'n Entry> {
        self.entries
            .iter()
            .filter(|entry| names.contains(&entry.key.as_str()))
            .collect()
    }

    /// The value of a key as it stands, to be compiled later.
    pub fn node(&self, name: &str) -> Option<Spanned<Node>> {
        self.entry(name)
            .map(|entry| spanned(entry, entry.value.clone()))
    }

    fn key_of(&self, name: &str) -> &'static keys::Key {
        self.object
            .key(name)
            .expect("what is decoded stands in the table")
    }
}

pub fn spanned<T>(entry: &Entry, value: T) -> Spanned<T> {
    Spanned {
        value,
        span: place(&entry.value, entry.key_span),
        key: entry.key_span,
        is_filled: entry.value.is_filled(),
    }
}

impl<T> Spanned<T> {
    /// Something else that stands at the same place.
    pub fn with<U>(&self, value: U) -> Spanned<U> {
        Spanned {
            value,
            span: self.span,
            key: self.key,
            is_filled: self.is_filled,
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            span: self.span,
            key: self.key,
            is_filled: self.is_filled,
            value: change(self.value),
        }
    }
}

/// A value that was left empty is shown by its key.
fn place(node: &Node, key: Span) -> Span {
    match node.span.start == node.span.end {
        true => key,
        false => node.span,
    }
}

impl Decoder<'_> {
    // === mappings ===

    /// The keys of an object: the unknown and the missing ones are findings.
    pub fn open<'n>(&mut self, object: Object, node: &'n Node, key: Span) -> Option<Fields<'n>> {
        let entries = self.mapping(object.what(), node, key)?;
        Some(self.known(object, entries, key))
    }

    pub fn known<'n>(&mut self, object: Object, entries: &'n [Entry], key: Span) -> Fields<'n> {
        let unknown =
            |entry: &&Entry| object.key(&entry.key).is_none() && !is_extension(object, &entry.key);
        for entry in entries.iter().filter(unknown).take(MOST_UNKNOWN) {
            self.unknown_key(object, entry);
        }
        for wanted in object.keys().iter().filter(|key| key.required) {
            let is_meant = |entry: &&Entry| {
                entry.key == wanted.name || object.nearest(&entry.key) == Some(wanted.name)
            };
            if entries.iter().find(is_meant).is_none() {
                let message = format!("{} without `{}`", object.what(), wanted.name);
                self.findings.push(
                    Diagnostic::error("R0109", key, message)
                        .help(format!("write `{}:`: {}", wanted.name, wanted.doc)),
                );
            }
        }
        Fields {
            object,
            entries,
            key,
        }
    }

    fn unknown_key(&mut self, object: Object, entry: &Entry) {
        let names = object.keys().iter().map(|key| key.name);
        let help = object
            .instead(&entry.key)
            .map(str::to_owned)
            .or_else(|| {
                object
                    .nearest(&entry.key)
                    .map(|near| format!("did you mean `{near}`?"))
            })
            .unwrap_or_else(|| match names.len() {
                // More than that is no help.
                13.. => "remove it; `docs/reference.md` lists the keys".to_owned(),
                _ => {
                    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                    format!("{} has the keys {}", object.what(), names.join(", "))
                }
            });
        self.findings.push(
            Diagnostic::error(
                "R0107",
                entry.key_span,
                format!(
                    "unknown key `{}` in {}",
                    shortened(&entry.key),
                    object.what()
                ),
            )
            .help(help),
        );
    }

    /// The entries of a mapping; one that was left empty has none.
    pub fn mapping<'n>(&mut self, what: &str, node: &'n Node, key: Span) -> Option<&'n [Entry]> {
        match &node.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Null => Some(&[]),
            Kind::Broken => None,
            _ => {
                self.findings.push(
                    Diagnostic::error(
                        "R0110",
                        place(node, key),
                        format!("{what} is a mapping, not {}", node.what()),
                    )
                    .help("write `key: value` below it, or `{ key: value }`"),
                );
                None
            }
        }
    }

    /// The nodes of a list; anything else is a finding.
    pub fn list<'n>(&mut self, name: &str, node: &'n Node, key: Span) -> Option<&'n [Node]> {
        match &node.kind {
            Kind::Sequence(items) => Some(items),
            Kind::Broken => None,
            _ => {
                let written = self.quoted(node);
                let help = match node.kind {
                    Kind::Null => "write `[…]`, or leave the key out".to_owned(),
                    Kind::Mapping(_) => "put `- ` before it".to_owned(),
                    _ => format!("write `[{written}]`"),
                };
                self.findings.push(
                    Diagnostic::error(
                        "R0110",
                        place(node, key),
                        format!("`{name}` is a list, not {}", node.what()),
                    )
                    .help(help),
                );
                None
            }
        }
    }

    // === values of keys ===

    pub fn leaf<T: Leaf>(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<T>> {
        let entry = fields.entry(name)?;
        let value = self.scalar::<T>(name, &entry.value, entry.key_span)?;
        Some(spanned(entry, value))
    }

    /// A value that has its default in the table.
    pub fn leaf_or_default<T: Leaf>(
        &mut self,
        fields: Option<Fields<'_>>,
        object: Object,
        name: &str,
    ) -> T {
        fields
            .and_then(|fields| self.leaf::<T>(&fields, name))
            .map_or_else(|| default(object, name), |found| found.value)
    }

    pub fn count(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<u32>> {
        let found = self.leaf::<u32>(fields, name)?;
        self.is_within(fields, name, found).then_some(found)
    }

    /// A count, or `off`.
    pub fn count_or_off(
        &mut self,
        fields: Option<Fields<'_>>,
        object: Object,
        name: &str,
    ) -> Option<u32> {
        let found = fields.and_then(|fields| {
            let found = self.leaf::<CountOrOff>(&fields, name)?;
            let count = found.value.0.map(|count| found.with(count));
            count
                .is_none_or(|count| self.is_within(&fields, name, count))
                .then_some(found.value)
        });
        found.unwrap_or_else(|| default(object, name)).0
    }

    /// Whether a count is within the bounds of its key.
    fn is_within(&mut self, fields: &Fields<'_>, name: &str, count: Spanned<u32>) -> bool {
        let (keys::Value::Count { least, most } | keys::Value::CountOrOff { least, most }) =
            fields.key_of(name).value
        else {
            return true;
        };
        if (least..=most).contains(&count.value) {
            return true;
        }
        let source = fields
            .entry(name)
            .and_then(|entry| self.source(&entry.value));
        let message = match source {
            Some(source) => format!("what {source} gives is out of bounds"),
            None => format!("`{}` is out of bounds", count.value),
        };
        self.findings.push(
            Diagnostic::error("R0111", count.span, message)
                .help(format!("write a number from {least} to {most}")),
        );
        false
    }

    /// A mapping, or `false`: `Some(None)` where it is switched off, `None` where it is not written or
    /// at fault.
    pub fn or_false<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        object: Object,
        help: &str,
    ) -> Option<Option<Fields<'n>>> {
        let entry = fields.entry(name)?;
        match &entry.value.kind {
            Kind::Boolean(false) => return Some(None),
            Kind::Mapping(_) | Kind::Null | Kind::Broken => {}
            _ => {
                let message = format!(
                    "`{name}` is a mapping or `false`, not {}",
                    entry.value.what()
                );
                self.findings
                    .push(Diagnostic::error("R0110", entry.value.span, message).help(help));
                return None;
            }
        }
        self.open(object, &entry.value, entry.key_span).map(Some)
    }

    pub fn count_or_default(
        &mut self,
        fields: Option<Fields<'_>>,
        object: Object,
        name: &str,
    ) -> u32 {
        fields
            .and_then(|fields| self.count(&fields, name))
            .map_or_else(|| default(object, name), |found| found.value)
    }

    pub fn leaves<T: Leaf>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> Option<Spanned<Vec<Spanned<T>>>> {
        let entry = fields.entry(name)?;
        let items = self.list(name, &entry.value, entry.key_span)?;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            if let Some(value) = self.scalar::<T>(name, item, item.span) {
                values.push(Spanned {
                    value,
                    span: item.span,
                    key: item.span,
                    is_filled: item.is_filled(),
                });
            }
        }
        Some(spanned(entry, values))
    }

    /// A scalar with paths or holes.
    pub fn text_node(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<Node>> {
        let found = fields.node(name)?;
        match found.value.kind {
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Null => {
                let message = format!("`{name}` is text, not {}", found.value.what());
                self.findings.push(
                    Diagnostic::error("R0110", found.span, message)
                        .help("write one text; `{{ }}` in it is filled in"),
                );
                None
            }
            Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) | Kind::Broken => Some(found),
        }
    }

    /// A scalar that must be text, because it is a language of its own.
    pub fn expression(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        example: &str,
    ) -> Option<Spanned<Node>> {
        let found = fields.node(name)?;
        match found.value.kind {
            Kind::Text(_) | Kind::Broken => Some(found),
            _ => {
                let message = format!("`{name}` is text, not {}", found.value.what());
                self.findings.push(
                    Diagnostic::error("R0110", found.span, message)
                        .help(format!("write it like `{name}: {example}`")),
                );
                None
            }
        }
    }

    /// A mapping of scalars, or of lists of them, with paths and holes.
    pub fn template_fields(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> Option<Spanned<Vec<Entry>>> {
        let entry = fields.entry(name)?;
        let what = format!("`{name}`");
        let entries = self.mapping(&what, &entry.value, entry.key_span)?;
        for inner in entries {
            self.field_value(name, inner);
        }
        Some(spanned(entry, entries.to_vec()))
    }

    fn field_value(&mut self, name: &str, entry: &Entry) {
        // An object is for the compiler to refuse.
        let wrong = match &entry.value.kind {
            Kind::Sequence(items) => items
                .iter()
                .find(|item| matches!(item.kind, Kind::Sequence(_))),
            _ => None,
        };
        if let Some(node) = wrong {
            let message = format!(
                "a value of `{name}` is text, a number or a boolean, not {}",
                node.what()
            );
            self.findings.push(
                Diagnostic::error("R0110", place(node, entry.key_span), message)
                    .help("write JSON as text by `{{json …}}`; a list repeats the entry"),
            );
        }
    }

    /// The file that a key names, read.
    pub fn named_file(&mut self, fields: &Fields<'_>, name: &str) -> Option<Spanned<NamedFile>> {
        let entry = fields.entry(name)?;
        let written = self.scalar::<String>(name, &entry.value, entry.key_span)?;
        let path = self.folder.join(&written);
        self.named.push(path.clone());
        match read_small(&path, LARGEST_NAMED) {
            Ok(bytes) => Some(spanned(entry, NamedFile { path, bytes })),
            Err(reason) => {
                let place = place(&entry.value, entry.key_span);
                // The path may hold what `${…}` gave.
                let message = match self.source(&entry.value) {
                    Some(source) => format!("cannot read the file that {source} names"),
                    None => reason,
                };
                self.findings.push(
                    Diagnostic::error("R0117", place, message)
                        .help("a relative path starts at the folder of this file"),
                );
                None
            }
        }
    }

    // === one scalar ===

    /// Decodes a scalar; what it is not is a finding.
    pub fn scalar<T: Leaf>(&mut self, name: &str, node: &Node, key: Span) -> Option<T> {
        let value = match &node.kind {
            Kind::Broken => return None,
            Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) => {
                self.findings.push(wrong_kind::<T>(name, node, key));
                return None;
            }
            kind => value(kind),
        };
        let found = serde_yaml::from_value(value).or_else(|error| match &node.kind {
            // Text, although what was filled in looks like a number.
            Kind::Text(text) if !text.fills.is_empty() => {
                serde_yaml::from_value(Value::String(text.filled()))
            }
            _ => Err(error),
        });
        if found.is_err() {
            let finding = self.not_understood::<T>(node);
            self.findings.push(finding);
        }
        found.ok()
    }

    fn not_understood<T: Leaf>(&self, node: &Node) -> Diagnostic {
        let what = T::WHAT;
        if let Some(source) = self.source(node) {
            return Diagnostic::error(
                "R0111",
                node.span,
                format!("what {source} gives is not {what}"),
            )
            .help(format!("set it to {what}"));
        }
        let quoted = self.quoted(node);
        let (written, bare) = match &node.kind {
            Kind::Text(text) => (text.source.clone(), resolved(&text.source)),
            Kind::Number(digits) => (digits.clone(), Value::Null),
            Kind::Boolean(boolean) => (boolean.to_string(), Value::Null),
            _ => (String::new(), Value::Null),
        };
        if serde_yaml::from_value::<T>(bare).is_ok() {
            return Diagnostic::error(
                "R0110",
                node.span,
                format!("`{quoted}` is text, not {what}"),
            )
            .help(format!("write `{written}` without quotes"));
        }
        if !matches!(node.kind, Kind::Text(_))
            && serde_yaml::from_value::<T>(Value::String(written.clone())).is_ok()
        {
            return Diagnostic::error(
                "R0110",
                node.span,
                format!("`{quoted}` is {}, not {what}", node.what()),
            )
            .help(format!("quote it: `\"{written}\"`"));
        }
        let finding = Diagnostic::error("R0111", node.span, format!("`{quoted}` is not {what}"));
        match T::help(&written) {
            Some(help) => finding.help(help),
            None => finding,
        }
    }

    /// What stands in the file where `${…}` was filled in: the value itself is not to be shown.
    pub fn source(&self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Text(Text { fills, .. }) if !fills.is_empty() => {
                Some(format!("`{}`", self.quoted(node)))
            }
            _ => None,
        }
    }

    /// The value as it stands in the file, cut short.
    pub fn quoted(&self, node: &Node) -> String {
        shortened(self.files.text(node.span)).to_owned()
    }
}

fn wrong_kind<T: Leaf>(name: &str, node: &Node, key: Span) -> Diagnostic {
    let what = T::WHAT;
    match node.kind {
        Kind::Null => {
            Diagnostic::error("R0110", place(node, key), format!("`{name}` has no value"))
                .help(format!("write {what}, or leave the key out"))
        }
        _ => Diagnostic::error(
            "R0110",
            place(node, key),
            format!("`{name}` is {what}, not {}", node.what()),
        ),
    }
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Boolean(boolean) => Value::Bool(*boolean),
        Kind::Number(digits) => number(digits),
        Kind::Text(text) if text.fills.is_empty() => Value::String(text.source.clone()),
        // What was filled in is what the key wants it to be.
        Kind::Text(text) => resolved(&text.filled()),
        _ => Value::Null,
    }
}

fn resolved(text: &str) -> Value {
    match scalar::resolve(text) {
        Plain::Boolean(boolean) => Value::Bool(boolean),
        Plain::Number => number(text),
        Plain::Null | Plain::Text => Value::String(text.to_owned()),
    }
}

/// A number that no integer holds becomes a float: no setting is as large as that.
fn number(digits: &str) -> Value {
    if let Ok(number) = digits.parse::<u64>() {
        return Value::Number(number.into());
    }
    match digits.parse::<f64>() {
        Ok(number) => Value::Number(number.into()),
        Err(_) => Value::String(digits.to_owned()),
    }
}

fn default<T: Leaf>(object: Object, name: &str) -> T {
    let written = object
        .key(name)
        .expect("what is decoded stands in the table")
        .default;
    serde_yaml::from_value(resolved(written)).expect("a default of the table is what its key wants")
}

/// `x-…` at the top of a document.
fn is_extension(object: Object, key: &str) -> bool {
    matches!(object, Object::RouteDocument | Object::GatewayDocument) && key.starts_with("x-")
}

/// The first line of a text, cut short.
pub fn shortened(text: &str) -> &str {
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => &line[..end],
        None => line,
    }
}
