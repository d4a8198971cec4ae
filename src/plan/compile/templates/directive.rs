//! Objects that build: `$for`, `$if`, `$first`, `$count`, `$merge`.
//!
//! Nothing else stands beside their keys. Where keys are wrong, only the wrong ones are findings, but
//! what can be looked at is looked at.

use super::{bound_choice, condition, constant, enter_loop, json};
use crate::config::node::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, nearest};
use crate::plan::compile::names::{self, Names};
use crate::template::json::Json;

/// The keys of each kind of object; the first makes it one. `$if` stands in `$for` too.
const KINDS: [&[&str]; 5] = [
    &["$for", "$each", "$if"],
    &["$if", "$then", "$else"],
    &["$first"],
    &["$count"],
    &["$merge"],
];

/// Whether a key makes its object one that builds, or would.
pub(super) fn is_one(entry: &Entry) -> bool {
    entry.key.starts_with('$') && !entry.key.starts_with("$$")
}

pub(super) fn compile(entries: &[Entry], names: &mut Names) -> Json {
    let kind = KINDS
        .into_iter()
        .find(|keys| entry(entries, keys[0]).is_some())
        .unwrap_or(&[]);
    let is_clean = refuse_keys(entries, kind, names);
    let value = |key: &str| entry(entries, key).map(|entry| &entry.value);
    let needed = |key: &str, names: &mut Names| {
        let found = value(key);
        if found.is_none() && is_clean {
            names.diagnostics.push(missing(entries, kind[0], key));
        }
        found
    };
    match kind {
        ["$for", ..] => {
            let each = needed("$each", names);
            for_loop(value("$for"), value("$if"), each, names)
        }
        ["$if", ..] => {
            let then = needed("$then", names);
            choice(value("$if"), then, value("$else"), names)
        }
        [key] => match (*key, value(key)) {
            ("$merge", Some(items)) => merge(items, names),
            (key, Some(path)) => query(path, key, names),
            (_, None) => constant("null"),
        },
        _ => constant("null"),
    }
}

fn entry<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries.iter().find(|entry| entry.key == key)
}

fn missing(entries: &[Entry], key: &str, other: &str) -> Diagnostic {
    let span = entry(entries, key).unwrap_or(&entries[0]).key_span;
    let message = format!("`{key}` needs `{other}` beside it");
    let help = format!("write `{other}: …`");
    Diagnostic::error("R0408", span, message).help(help)
}

/// Refuses every key that is not one of `kind`. Whether there was none.
fn refuse_keys(entries: &[Entry], kind: &[&str], names: &mut Names) -> bool {
    let is_known = |entry: &Entry| KINDS.iter().any(|keys| keys.contains(&entry.key.as_str()));
    let has_unknown = entries
        .iter()
        .any(|entry| is_one(entry) && !is_known(entry));
    let mut is_clean = true;
    for entry in entries {
        if kind.contains(&entry.key.as_str()) {
            continue;
        }
        is_clean = false;
        let found = match (kind, is_one(entry)) {
            (_, true) if !is_known(entry) => Some(unknown(entry)),
            ([key, ..], _) => Some(beside(entry, key, kind)),
            // What it stands beside is unknown, and said to be so.
            ([], true) => (!has_unknown).then(|| alone(entry)),
            ([], false) => None,
        };
        names.diagnostics.extend(found);
        if !is_one(entry) {
            json(&entry.value, names);
        }
    }
    is_clean
}

fn unknown(entry: &Entry) -> Diagnostic {
    let key = &entry.key;
    let literally = format!("a key that really begins with `$` is written `${key}`");
    let help = match nearest(key, KINDS.concat()) {
        Some(near) => format!("did you mean `{near}`? {literally}"),
        None => literally,
    };
    Diagnostic::error("R0408", entry.key_span, format!("unknown key `{key}`")).help(help)
}

fn beside(entry: &Entry, kind: &str, allowed: &[&str]) -> Diagnostic {
    let message = format!("`{}` cannot stand beside `{kind}`", entry.key);
    let help = match allowed {
        [_] => "put the two into objects of their own, or join them with `$merge`".to_owned(),
        allowed => format!("only {} may", names::list(allowed.iter().copied())),
    };
    Diagnostic::error("R0408", entry.key_span, message).help(help)
}

fn alone(entry: &Entry) -> Diagnostic {
    let message = format!("`{}` cannot stand alone", entry.key);
    let help = "`$each` belongs to `$for`, `$then` and `$else` to `$if`";
    Diagnostic::error("R0408", entry.key_span, message).help(help)
}

fn for_loop(
    source: Option<&Node>,
    filter: Option<&Node>,
    each: Option<&Node>,
    names: &mut Names,
) -> Json {
    let Some(source) = source else {
        return constant("null");
    };
    let entered = enter_loop(source, names);
    let filter = filter.map(|node| condition(node, names));
    let each = each.map(|node| json(node, names));
    names.leave();
    match (entered, filter, each) {
        (_, Some(None), _) => constant("null"),
        (Some((variable, source)), filter, Some(each)) => Json::For {
            variable,
            source,
            filter: filter.flatten(),
            each: Box::new(each),
        },
        _ => constant("null"),
    }
}

fn choice(
    test: Option<&Node>,
    then: Option<&Node>,
    otherwise: Option<&Node>,
    names: &mut Names,
) -> Json {
    let condition = test.and_then(|node| condition(node, names));
    let then = then.map(|node| json(node, names));
    let otherwise = otherwise.map(|node| json(node, names));
    match (condition, then) {
        (Some(condition), Some(then)) => Json::If {
            condition,
            then: Box::new(then),
            otherwise: Box::new(otherwise.unwrap_or_else(|| constant("null"))),
        },
        _ => constant("null"),
    }
}

/// `$first` or `$count`.
fn query(node: &Node, key: &str, names: &mut Names) -> Json {
    let text = match &node.kind {
        Kind::Text(text) => text,
        Kind::Broken => return constant("null"),
        _ => {
            let message = format!("`{key}` needs a path, not {}", node.what());
            let found = Diagnostic::error("R0402", node.span, message);
            let help = format!("write `{key}: $.a.body.items[*]`");
            names.diagnostics.push(found.help(help));
            return constant("null");
        }
    };
    let Some(choice) = bound_choice(node, 0, &text.source, names) else {
        return constant("null");
    };
    if key == "$first" {
        return Json::First(choice);
    }
    if choice.queries.len() > 1 || choice.literal.is_some() {
        let found = Diagnostic::error("R0402", node.span, "`??` in `$count`");
        let help = "it counts the nodes of one path, and of none there are 0";
        names.diagnostics.push(found.help(help));
    }
    Json::Count(choice)
}

fn merge(node: &Node, names: &mut Names) -> Json {
    match &node.kind {
        Kind::Sequence(items) => Json::Merge(items.iter().map(|item| json(item, names)).collect()),
        Kind::Broken => constant("null"),
        _ => {
            let message = format!("`$merge` needs a list, not {}", node.what());
            let found = Diagnostic::error("R0408", node.span, message);
            names
                .diagnostics
                .push(found.help("write `$merge: [ $.a.body, { more: 1 } ]`"));
            constant("null")
        }
    }
}
