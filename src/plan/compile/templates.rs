//! YAML values as templates: a [`Node`] becomes the tree that `template` renders.
//!
//! Everything found is said, not the first thing; a value with a finding is taken for null, so that the
//! rest of it is still looked at.

use crate::config::node::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::path::{self, Condition};
use crate::plan::Part;
use crate::plan::compile::names::{Names, without_spaces};
use crate::template::choice::{self, Choice};
use crate::template::json::{Json, Member};
use crate::template::{self, Mark, Place, Scalar, Text};

/// A JSON template.
pub fn json(node: &Node, names: &mut Names) -> Json {
    match &node.kind {
        Kind::Null | Kind::Broken => constant("null"),
        Kind::Boolean(true) => constant("true"),
        Kind::Boolean(false) => constant("false"),
        Kind::Number(digits) => constant(digits),
        Kind::Text(_) => match scalar(node, names, Place::Plain) {
            Some(Scalar::Choice(choice)) => Json::Choice(choice),
            Some(Scalar::Text(text)) => fold_text(text),
            None => constant("null"),
        },
        Kind::Sequence(items) => fold_array(items.iter().map(|item| json(item, names)).collect()),
        Kind::Mapping(entries) if entries.iter().any(is_directive) => {
            directive(node, entries, names)
        }
        Kind::Mapping(entries) => object(entries, names),
    }
}

/// An entry of a query, of headers or of a form; `None` where there is nothing to send.
pub fn part(node: &Node, names: &mut Names, place: Place) -> Option<Part> {
    match &node.kind {
        Kind::Null | Kind::Broken => None,
        Kind::Boolean(value) => Some(Part::Constant(value.to_string())),
        Kind::Number(digits) => Some(Part::Constant(digits.clone())),
        Kind::Text(_) => match scalar(node, names, place)? {
            Scalar::Choice(choice) => Some(Part::Choice(choice)),
            Scalar::Text(text) => Some(match text.constant() {
                Some(text) => Part::Constant(text.to_owned()),
                None => Part::Text(text),
            }),
        },
        Kind::Sequence(items) => {
            let parts = items.iter().filter_map(|item| part(item, names, place));
            Some(Part::List(parts.collect()))
        }
        Kind::Mapping(_) => {
            let found = Diagnostic::error("R0410", node.span, "an object cannot stand here");
            let help = "write text, a number, a boolean, a path, or a list of these";
            names.diagnostics.push(found.help(help));
            None
        }
    }
}

/// A text: what is no text as it is written, `42` or `true`, is taken by its letters.
pub fn text(node: &Node, names: &mut Names, place: Place) -> Option<Text> {
    let found = match &node.kind {
        Kind::Broken => return None,
        Kind::Text(_) => {
            return scalar(node, names, place).map(|scalar| match scalar {
                Scalar::Text(text) => text,
                Scalar::Choice(choice) => Text::of_choice(choice, place),
            });
        }
        Kind::Boolean(_) | Kind::Number(_) => {
            let letters = match &node.kind {
                Kind::Number(digits) => digits.clone(),
                Kind::Boolean(value) => value.to_string(),
                _ => String::new(),
            };
            return Text::parse(&letters, &[], place).ok();
        }
        _ => Diagnostic::error(
            "R0410",
            node.span,
            format!("{} cannot stand here", node.what()),
        )
        .help("write text; `{{ }}` in it is filled in"),
    };
    names.diagnostics.push(found);
    None
}

/// `when`, `success_when`, `$if`.
pub fn condition(node: &Node, names: &mut Names) -> Option<Condition> {
    let text = match &node.kind {
        Kind::Broken => return None,
        Kind::Text(text) if text.fills.is_empty() => text,
        Kind::Text(_) => {
            let message = "`${` cannot stand in a condition";
            let found = Diagnostic::error("R0405", node.span, message);
            let help =
                "what it is filled with is only text: compare in the service, or write the value";
            names.diagnostics.push(found.help(help));
            return None;
        }
        _ => {
            let message = format!("{} is no condition", node.what());
            let found = Diagnostic::error("R0404", node.span, message);
            let help =
                "write a comparison such as `$.request.query.page > 1`, or `present($.a.body)`";
            names.diagnostics.push(found.help(help));
            return None;
        }
    };
    let parsed = Condition::parse(&text.source).map_err(|error| ("R0404", error));
    let bound = parsed.and_then(|mut condition| {
        let bound = condition.bind(names).map_err(|error| ("R0201", error));
        bound.map(|()| condition)
    });
    match bound {
        Ok(condition) => {
            for (offset, path) in condition.bare_tests() {
                names.diagnostics.push(bare_test(node, offset, &path));
            }
            Some(condition)
        }
        Err((code, error)) => {
            names.diagnostics.push(placed(node, code, &error));
            None
        }
    }
}

fn bare_test(node: &Node, offset: usize, path: &str) -> Diagnostic {
    let message = format!("`{path}` alone asks whether it exists: `false` and `null` do");
    Diagnostic::warning("R0214", node.part(offset, path.len()), message).help(format!(
        "write `present({path})`, or compare: `{path} == true`"
    ))
}

/// The list of a loop: `p in PATH`. Gives the variable's name, its place, and the bound path.
pub struct Loop {
    pub variable: String,
    pub variable_span: Span,
    pub source: Choice,
    /// As loops over the same path are compared.
    pub list: String,
}

pub fn loop_over(node: &Node, names: &mut Names) -> Option<Loop> {
    let help = "write `p in $.catalog.body.items`";
    let text = match &node.kind {
        Kind::Broken => return None,
        Kind::Text(text) => text,
        _ => {
            let message = format!("{} is no loop", node.what());
            names
                .diagnostics
                .push(Diagnostic::error("R0406", node.span, message).help(help));
            return None;
        }
    };
    let Some((variable, path)) = text.source.split_once(" in ") else {
        let found = Diagnostic::error("R0406", node.span, "a loop names its variable and its path");
        names.diagnostics.push(found.help(help));
        return None;
    };
    let offset = text.source.len() - path.trim_start().len();
    let path = path.trim();
    let variable_offset = variable.len() - variable.trim_start().len();
    let variable = variable.trim().to_owned();
    let variable_span = node.part(variable_offset, variable.len());
    let source = bound_choice(node, offset, path, names)?;
    Some(Loop {
        variable_span,
        variable,
        source,
        list: without_spaces(path),
    })
}

/// A path of `$first` or `$count`, which may give many nodes.
fn bound_choice(node: &Node, offset: usize, path: &str, names: &mut Names) -> Option<Choice> {
    let shift = |error: path::Error| path::Error {
        offset: error.offset + offset,
        ..error
    };
    let parsed = choice::parse(path, true).map_err(|error| ("R0402", shift(error)));
    let bound = parsed.and_then(|mut choice| {
        let bound = choice.bind(names).map_err(|error| ("R0201", shift(error)));
        bound.map(|()| choice)
    });
    match bound {
        Ok(choice) => Some(choice),
        Err((code, error)) => {
            names.diagnostics.push(placed(node, code, &error));
            None
        }
    }
}

fn scalar(node: &Node, names: &mut Names, place: Place) -> Option<Scalar> {
    let Kind::Text(text) = &node.kind else {
        return None;
    };
    let parsed = template::scalar(&text.source, &text.fills, place);
    let found = match parsed {
        Ok(mut scalar) => match scalar.bind(names) {
            Ok(()) => return Some(scalar),
            Err(error) => placed(node, "R0201", &error),
        },
        Err(error) => at(node, &error),
    };
    names.diagnostics.push(found);
    None
}

/// A value that is a path with `??`, or nothing else: for `status`.
pub fn choice(node: &Node, names: &mut Names) -> Option<Choice> {
    match scalar(node, names, Place::Plain)? {
        Scalar::Choice(choice) => Some(choice),
        Scalar::Text(_) => {
            let found = Diagnostic::error("R0402", node.span, "a path is needed here");
            names
                .diagnostics
                .push(found.help("write a path such as `$.order.status`, or a number"));
            None
        }
    }
}

fn object(entries: &[Entry], names: &mut Names) -> Json {
    let mut members: Vec<(String, Member)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = json(&entry.value, names);
        let (key, mark) = match template::key(&entry.key) {
            Ok(key) => key,
            Err(error) => {
                let found = Diagnostic::error("R0407", entry.key_span, error.message);
                names.diagnostics.push(with_help(found, error.help));
                continue;
            }
        };
        if members.iter().any(|(known, _)| *known == key) {
            let message = format!("the key `{key}` stands twice, with different marks");
            let found = Diagnostic::error("R0407", entry.key_span, message);
            names.diagnostics.push(found.help("keep one of them"));
            continue;
        }
        let mut written = Vec::new();
        crate::json::write_text(&mut written, &key);
        written.push(b':');
        let member = Member {
            key: written.into_boxed_slice(),
            mark,
            value,
        };
        members.push((key, member));
    }
    fold_object(members.into_iter().map(|(_, member)| member).collect())
}

fn is_directive(entry: &Entry) -> bool {
    entry.key.starts_with('$') && !entry.key.starts_with("$$")
}

const DIRECTIVES: [&str; 8] = [
    "$for", "$each", "$if", "$then", "$else", "$first", "$count", "$merge",
];

/// An object that builds: which one decides the first of its keys that may begin one.
fn directive(node: &Node, entries: &[Entry], names: &mut Names) -> Json {
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    let allowed: &[&str] = if has("$for") {
        &["$for", "$each", "$if"]
    } else if has("$if") {
        &["$if", "$then", "$else"]
    } else if has("$first") {
        &["$first"]
    } else if has("$count") {
        &["$count"]
    } else if has("$merge") {
        &["$merge"]
    } else {
        &[]
    };
    let mut is_whole = true;
    for entry in entries
        .iter()
        .filter(|entry| !allowed.contains(&entry.key.as_str()))
    {
        is_whole = false;
        names.diagnostics.push(refuse_key(entry, allowed));
    }
    let mut need = |key: &'static str| {
        let found = node.get(key);
        if found.is_none() && is_whole {
            let message = format!("`{}` needs `{key}` beside it", allowed[0]);
            let span = entries[0].key_span;
            names
                .diagnostics
                .push(Diagnostic::error("R0408", span, message));
        }
        found
    };
    match allowed {
        ["$for", ..] => match (node.get("$for"), need("$each")) {
            (Some(source), Some(each)) => for_loop(source, node.get("$if"), each, names),
            _ => constant("null"),
        },
        ["$if", ..] => match (node.get("$if"), need("$then")) {
            (Some(test), Some(then)) => {
                let then = json(then, names);
                let otherwise = node.get("$else").map(|node| json(node, names));
                match condition(test, names) {
                    Some(condition) => Json::If {
                        condition,
                        then: Box::new(then),
                        otherwise: Box::new(otherwise.unwrap_or_else(|| constant("null"))),
                    },
                    None => constant("null"),
                }
            }
            _ => constant("null"),
        },
        [key @ ("$first" | "$count")] => query(&entries[0].value, key, names),
        ["$merge"] => merge(&entries[0].value, names),
        _ => constant("null"),
    }
}

fn refuse_key(entry: &Entry, allowed: &[&str]) -> Diagnostic {
    let key = &entry.key;
    let is_known = DIRECTIVES.contains(&key.as_str());
    let (message, help) = match (allowed, is_directive(entry)) {
        ([], true) if is_known => (
            format!("`{key}` cannot stand alone"),
            "`$each` belongs to `$for`, `$then` and `$else` to `$if`".to_owned(),
        ),
        (_, true) if !is_known => {
            let help = match nearest(key, DIRECTIVES) {
                Some(near) => {
                    format!("did you mean `{near}`? A key that begins with `$` is written `${key}`")
                }
                None => format!("a key that really begins with `$` is written `${key}`"),
            };
            (format!("unknown key `{key}`"), help)
        }
        ([], _) => (
            format!("`{key}` cannot stand beside a key that builds"),
            "put the two into objects of their own".to_owned(),
        ),
        (allowed, _) => (
            format!("`{key}` cannot stand beside `{}`", allowed[0]),
            format!(
                "only {} may",
                crate::plan::compile::names::list(allowed.iter().copied())
            ),
        ),
    };
    Diagnostic::error("R0408", entry.key_span, message).help(help)
}

fn for_loop(source: &Node, filter: Option<&Node>, each: &Node, names: &mut Names) -> Json {
    let Some(over) = loop_over(source, names) else {
        return constant("null");
    };
    let entered = names.enter(&over.variable, &over.list, &over.source.queries[0]);
    let variable = match entered {
        Ok(variable) => variable,
        Err(message) => {
            let found = Diagnostic::error("R0208", over.variable_span, message);
            names
                .diagnostics
                .push(found.help("give the variable another name"));
            return constant("null");
        }
    };
    let filter = filter.map(|node| condition(node, names));
    let each = json(each, names);
    names.leave();
    match filter {
        Some(None) => constant("null"),
        filter => Json::For {
            variable,
            source: over.source,
            filter: filter.flatten(),
            each: Box::new(each),
        },
    }
}

fn query(node: &Node, key: &str, names: &mut Names) -> Json {
    let Some(text) = node.text() else {
        let message = format!("`{key}` needs a path, not {}", node.what());
        names
            .diagnostics
            .push(Diagnostic::error("R0402", node.span, message));
        return constant("null");
    };
    let Some(choice) = bound_choice(node, 0, &text.source.clone(), names) else {
        return constant("null");
    };
    match key {
        "$first" => Json::First(choice),
        _ => Json::Count(choice),
    }
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

fn fold_text(text: Text) -> Json {
    let Some(constant) = text.constant() else {
        return Json::Text(text);
    };
    let mut out = Vec::new();
    crate::json::write_text(&mut out, constant);
    Json::Constant(out.into_boxed_slice())
}

fn fold_array(items: Vec<Json>) -> Json {
    let constants: Option<Vec<&[u8]>> = items.iter().map(as_constant).collect();
    match constants {
        Some(constants) => {
            let inner = constants.join(&b','.to_owned());
            Json::Constant([b"[", inner.as_slice(), b"]"].concat().into_boxed_slice())
        }
        None => Json::Array(items),
    }
}

/// An object without holes is one constant; a null under `key?` or `key!` is absent, so it stays.
fn fold_object(members: Vec<Member>) -> Json {
    let constants: Option<Vec<Vec<u8>>> = members
        .iter()
        .map(|member| {
            let value = as_constant(&member.value)?;
            let is_plain = member.mark == Mark::Null || value != b"null";
            is_plain.then(|| [&member.key, value].concat())
        })
        .collect();
    match constants {
        Some(constants) => {
            let inner = constants.join(&b',');
            Json::Constant([b"{", inner.as_slice(), b"}"].concat().into_boxed_slice())
        }
        None => Json::Object(members),
    }
}

fn as_constant(json: &Json) -> Option<&[u8]> {
    match json {
        Json::Constant(bytes) => Some(bytes),
        _ => None,
    }
}

fn constant(text: &str) -> Json {
    Json::Constant(text.as_bytes().into())
}

/// A fault of a template or path, at its place in the scalar.
pub fn at(node: &Node, error: &path::Error) -> Diagnostic {
    let starts_path = node.text().is_some_and(|text| text.source.starts_with('$'));
    placed(node, if starts_path { "R0402" } else { "R0401" }, error)
}

/// The same with its code; what is unknown or not to be read has codes of its own.
fn placed(node: &Node, code: &'static str, error: &path::Error) -> Diagnostic {
    let span = node.part(error.offset, error.length);
    with_help(
        Diagnostic::error(code, span, error.message.clone()),
        error.help.clone(),
    )
}

fn with_help(diagnostic: Diagnostic, help: Option<String>) -> Diagnostic {
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
