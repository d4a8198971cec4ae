//! `batch` of a call: one request for many elements of its `for_each`.
//!
//! What such a call sends is for many, so that `$.keys` stands there in place of the loop variable;
//! `match` and `take` are about one row of the answer. The three steps below bring these names into
//! force around the parts of the call that may read them.

use crate::config::document::{self, Spanned};
use crate::config::node::Node;
use crate::diagnostic::{Diagnostic, Severity};
use crate::path::Root;
use crate::plan::compile::names::{Names, Reader};
use crate::plan::compile::templates;
use crate::plan::{Batch, CallId};
use crate::template::choice::Choice;
use crate::template::{Place, Text};

/// While what the call sends is compiled.
pub struct Keys<'d> {
    written: &'d document::Batch,
    key: Option<Text>,
    keys: Root,
    /// How many findings there were before.
    found: usize,
}

/// While what is read of a row is compiled.
pub struct Rows {
    key: Option<Text>,
    keys: Root,
    size: Option<u32>,
    rows: Option<Choice>,
    /// In force until `take` is compiled.
    row: Root,
    of_row: Option<Text>,
    form: String,
}

/// Compiles `key`, which is about one element; from then on `$.keys` is in force.
pub fn enter_keys<'d>(
    id: CallId,
    written: &'d document::Batch,
    looped: Option<&(Root, Choice)>,
    names: &mut Names,
) -> Keys<'d> {
    let document::Batch {
        key,
        size: _,
        rows: _,
        of_row: _,
    } = written;
    let variable = looped.map(|(variable, _)| *variable);
    let key = key
        .as_ref()
        .and_then(|node| scalar(Reader::Call(id), "key", node, variable, names));
    // Nothing runs where the loop could not be compiled.
    let origin = looped.map_or(Root(u32::MAX), |(_, source)| source.queries[0].root());
    names.forget_read();
    Keys {
        written,
        key,
        keys: names.enter_keys(origin),
        found: names.diagnostics.len(),
    }
}

/// What the call sends is compiled: compiles `rows` and `match`; from then on `$.row` is in force.
pub fn enter_row(id: CallId, call: &document::Call, batch: Keys<'_>, names: &mut Names) -> Rows {
    let Keys {
        written,
        key,
        keys,
        found,
    } = batch;
    let document::Batch {
        key: _,
        size,
        rows,
        of_row,
    } = written;
    let is_read = names.has_read(keys);
    names.leave_keys();
    let mut fresh = names.diagnostics[found..].iter();
    // What could not be compiled may have read them.
    if !is_read && !fresh.any(|found| found.severity == Severity::Error) {
        let span = call
            .batch
            .as_ref()
            .map_or(call.name.span, |batch| batch.key);
        let message = format!(
            "`{}` does not say which elements it asks for",
            call.name.value
        );
        let help = "read `keys` in what it sends: `query: { ids: \"{{join keys ','}}\" }`, or `json: { ids: $.keys }`";
        let found = Diagnostic::error("R0218", span, message);
        names.diagnostics.push(found.help(help));
    }
    let rows = rows.as_ref().and_then(|node| {
        names.reading(Reader::Rows(id), node.span);
        templates::list(&node.value, names)
    });
    let row = names.enter_row(rows.as_ref());
    let of_row_source = of_row.as_ref().and_then(|node| node.value.text());
    let form = format!(
        "row\u{1e}{}\u{1e}{}\u{1e}",
        rows.as_ref().map_or("", |rows| rows.text()),
        of_row_source.map_or("", |text| &text.source),
    );
    let of_row = of_row
        .as_ref()
        .and_then(|node| scalar(Reader::Match(id), "match", node, Some(row), names));
    Rows {
        key,
        keys,
        size: size.map(|size| size.value),
        rows,
        row,
        of_row,
        form,
    }
}

impl Rows {
    /// `None` where a finding was made.
    pub fn finish(self, max_items: usize) -> Option<Batch> {
        Some(Batch {
            key: self.key?,
            keys: self.keys,
            size: self.size.map_or(max_items, |size| size as usize),
            rows: self.rows?,
            row: self.row,
            of_row: self.of_row?,
            form: self.form,
        })
    }
}

/// A text that differs with `variable`.
fn scalar(
    reader: Reader,
    key: &str,
    node: &Spanned<Node>,
    variable: Option<Root>,
    names: &mut Names,
) -> Option<Text> {
    names.reading(reader, node.span);
    names.forget_read();
    let text = templates::text(&node.value, names, Place::Plain)?;
    if variable.is_none_or(|variable| names.has_read(variable)) {
        return Some(text);
    }
    let (what, help) = match reader {
        Reader::Match(_) => ("row", "read the row: `match: $.row.sku`"),
        _ => ("element", "read the loop variable: `key: $.p.sku`"),
    };
    let message = format!("`{key}` is the same for every {what}");
    let found = Diagnostic::error("R0219", node.span, message);
    names.diagnostics.push(found.help(help));
    None
}
