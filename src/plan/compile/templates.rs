//! YAML values as templates: a [`Node`] becomes the tree that `template` renders.
//!
//! Everything found is said, not the first thing; a value with a finding is taken for null, so that the
//! rest of it is still looked at.

use crate::config::node::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, nearest};
use crate::path::{self, Condition, Root};
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
        // `config` has said it.
        Kind::Mapping(_) => None,
    }
}

/// A text: what is no text as it is written, `42` or `true`, is taken by its letters.
pub fn text(node: &Node, names: &mut Names, place: Place) -> Option<Text> {
    let letters = match &node.kind {
        Kind::Text(_) => {
            return scalar(node, names, place).map(|scalar| match scalar {
                Scalar::Text(text) => text,
                Scalar::Choice(choice) => Text::of_choice(choice, place),
            });
        }
        Kind::Number(digits) => digits.clone(),
        Kind::Boolean(value) => value.to_string(),
        // `config` has said it.
        Kind::Null | Kind::Broken | Kind::Sequence(_) | Kind::Mapping(_) => return None,
    };
    Text::parse(&letters, &[], place).ok()
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
    let parsed = Condition::parse(&text.source);
    let condition = parsed.map_err(|error| names.diagnostics.push(placed(node, "R0404", &error)));
    let condition = condition.ok()?;
    warn_of_patterns(node, 0, condition.warnings(), names);
    for (offset, path) in condition.bare_tests() {
        names.diagnostics.push(bare_test(node, offset, &path));
    }
    bound(
        node,
        0,
        &condition,
        |condition, names| condition.bind(names),
        names,
    )
}

/// A value whose names are bound; every name that is refused is a finding. `offset` is where the
/// value's text begins in the scalar.
pub fn bound<T: Clone>(
    node: &Node,
    offset: usize,
    unbound: &T,
    bind: impl Fn(&mut T, &mut Names) -> Result<(), path::Error>,
    names: &mut Names,
) -> Option<T> {
    match names.bind_all(unbound, bind) {
        Ok(bound) => Some(bound),
        Err(refused) => {
            for (code, error) in refused {
                names
                    .diagnostics
                    .push(placed(node, code, &shifted(error, offset)));
            }
            None
        }
    }
}

fn shifted(error: path::Error, by: usize) -> path::Error {
    path::Error {
        offset: error.offset + by,
        ..error
    }
}

/// R0410: what a path may hold and surely does not mean.
fn warn_of_patterns(node: &Node, offset: usize, warnings: &[path::Error], names: &mut Names) {
    for warning in warnings {
        let span = node.part(offset + warning.offset, warning.length);
        let found = Diagnostic::warning("R0410", span, warning.message.clone());
        names
            .diagnostics
            .push(with_help(found, warning.help.clone()));
    }
}

fn warn_of_choice(node: &Node, offset: usize, choice: &Choice, names: &mut Names) {
    for (start, query) in choice.placed() {
        warn_of_patterns(node, offset + start, query.warnings(), names);
    }
}

fn bare_test(node: &Node, offset: usize, path: &str) -> Diagnostic {
    let message = format!("`{path}` alone asks whether it exists: `false` and `null` do");
    Diagnostic::warning("R0214", node.part(offset, path.len()), message).help(format!(
        "write `present({path})`, or compare: `{path} == true`"
    ))
}

/// A loop, `p in PATH`, whose variable is in force until [`leave_loop`].
pub struct Loop {
    /// The variable and its list; `None` where a finding was made.
    pub source: Option<(Root, Choice)>,
    is_named: bool,
}

/// Reads a loop. Also after a fault its variable is in force, so that nobody who reads it is at fault.
pub fn enter_loop(node: &Node, names: &mut Names) -> Loop {
    let help = "write `p in $.catalog.body.items`";
    let fault = match &node.kind {
        Kind::Broken => None,
        Kind::Text(text) => match text.source.split_once(" in ") {
            Some((variable, path)) => return enter_variable(node, variable, path, names),
            None => Some("a loop names its variable and its path".to_owned()),
        },
        _ => Some(format!("{} is no loop", node.what())),
    };
    let finding = fault.map(|fault| Diagnostic::error("R0406", node.span, fault).help(help));
    names.diagnostics.extend(finding);
    names.begin_unsure();
    Loop {
        source: None,
        is_named: false,
    }
}

fn enter_variable(node: &Node, variable: &str, path: &str, names: &mut Names) -> Loop {
    let offset = variable.len() + " in ".len() + path.len() - path.trim_start().len();
    let start = variable.len() - variable.trim_start().len();
    let (variable, path) = (variable.trim(), path.trim());
    let source = bound_choice(node, offset, path, names);
    let query = source.as_ref().map(|source| &source.queries[0]);
    let entered = names.enter(variable, &without_spaces(path), query);
    if let Err(message) = &entered {
        let found = Diagnostic::error("R0208", node.part(start, variable.len()), message);
        names
            .diagnostics
            .push(found.help("give the variable another name"));
    }
    Loop {
        source: entered.ok().zip(source),
        is_named: true,
    }
}

pub fn leave_loop(entered: &Loop, names: &mut Names) {
    match entered.is_named {
        true => names.leave(),
        false => names.end_unsure(),
    }
}

/// A path of `$first` or `$count`, which may give many nodes.
fn bound_choice(node: &Node, offset: usize, path: &str, names: &mut Names) -> Option<Choice> {
    let choice = match choice::parse(path, true) {
        Ok(choice) => choice,
        Err(error) => {
            names
                .diagnostics
                .push(placed(node, "R0402", &shifted(error, offset)));
            return None;
        }
    };
    warn_of_choice(node, offset, &choice, names);
    bound(
        node,
        offset,
        &choice,
        |choice, names| choice.bind(names),
        names,
    )
}

fn scalar(node: &Node, names: &mut Names, place: Place) -> Option<Scalar> {
    let Kind::Text(text) = &node.kind else {
        return None;
    };
    let scalar = match template::scalar(&text.source, &text.fills, place) {
        Ok(scalar) => scalar,
        Err(error) => {
            names.diagnostics.push(at(node, &error));
            return None;
        }
    };
    if let Scalar::Choice(choice) = &scalar {
        warn_of_choice(node, 0, choice, names);
    }
    bound(node, 0, &scalar, |scalar, names| scalar.bind(names), names)
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
    let refused = entries
        .iter()
        .filter(|entry| !allowed.contains(&entry.key.as_str()));
    let mut is_whole = true;
    for entry in refused {
        is_whole = false;
        names.diagnostics.push(refuse_key(entry, allowed));
        // What is in it may be at fault as well.
        if !is_directive(entry) {
            json(&entry.value, names);
        }
    }
    let needed = match allowed {
        ["$for", ..] => "$each",
        ["$if", ..] => "$then",
        _ => "",
    };
    if is_whole && !needed.is_empty() && node.get(needed).is_none() {
        let message = format!("`{}` needs `{needed}` beside it", allowed[0]);
        let span = node
            .entry(allowed[0])
            .map_or(node.span, |entry| entry.key_span);
        let found = Diagnostic::error("R0408", span, message);
        let help = format!("write `{needed}:` with the template it gives");
        names.diagnostics.push(found.help(help));
    }
    match allowed {
        ["$for", ..] => for_loop(node, names),
        ["$if", ..] => choice_of_two(node, names),
        [key @ ("$first" | "$count")] => match node.get(key) {
            Some(value) => query(value, key, names),
            None => constant("null"),
        },
        ["$merge"] => match node.get("$merge") {
            Some(value) => merge(value, names),
            None => constant("null"),
        },
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

fn for_loop(node: &Node, names: &mut Names) -> Json {
    let Some(source) = node.get("$for") else {
        return constant("null");
    };
    let entered = enter_loop(source, names);
    let filter = node.get("$if").map(|node| condition(node, names));
    let each = node.get("$each").map(|node| json(node, names));
    leave_loop(&entered, names);
    match (entered.source, filter, each) {
        (Some((variable, source)), filter @ (None | Some(Some(_))), Some(each)) => Json::For {
            variable,
            source,
            filter: filter.flatten(),
            each: Box::new(each),
        },
        _ => constant("null"),
    }
}

fn choice_of_two(node: &Node, names: &mut Names) -> Json {
    let mut part = |key: &str| node.get(key).map(|node| json(node, names));
    let (then, otherwise) = (part("$then"), part("$else"));
    let test = node.get("$if").and_then(|node| condition(node, names));
    match (test, then) {
        (Some(condition), Some(then)) => Json::If {
            condition,
            then: Box::new(then),
            otherwise: Box::new(otherwise.unwrap_or_else(|| constant("null"))),
        },
        _ => constant("null"),
    }
}

fn query(node: &Node, key: &str, names: &mut Names) -> Json {
    let Some(text) = node.text() else {
        if !matches!(node.kind, Kind::Broken) {
            let message = format!("`{key}` needs a path, not {}", node.what());
            let found = Diagnostic::error("R0402", node.span, message);
            let help = format!("write `{key}: $.catalog.body.items[*]`");
            names.diagnostics.push(found.help(help));
        }
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
