//! YAML values as templates: a [`Node`] becomes the tree that `template` renders.
//!
//! Everything found is said, not the first thing; a value with a finding is taken for null, so that the
//! rest of it is still looked at. Objects that build, `$for` and the like, are in `directive.rs`.

mod directive;
#[cfg(test)]
mod tests;

use crate::config::node::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, Severity};
use crate::path::{self, Bind, Bound, Condition, Root, Rooted};
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
        Kind::Mapping(entries) if entries.iter().any(directive::is_one) => {
            directive::compile(entries, names)
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
            match Text::parse(&letters, &[], place) {
                Ok(text) => return Some(text),
                Err(error) => at(node, error),
            }
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
    let condition = match Condition::parse(&text.source) {
        Ok(condition) => condition,
        Err(error) => {
            names.diagnostics.push(placed(node, "R0404", 0, error));
            return None;
        }
    };
    warn_of_patterns(node, 0, condition.warnings(), names);
    let condition = bound(node, 0, names, condition, Condition::bind)?;
    for (offset, path) in condition.bare_tests() {
        names.diagnostics.push(bare_test(node, offset, &path));
    }
    Some(condition)
}

fn bare_test(node: &Node, offset: usize, path: &str) -> Diagnostic {
    let message = format!("`{path}` alone asks whether it exists: `false` and `null` do");
    Diagnostic::warning("R0214", node.part(offset, path.len()), message).help(format!(
        "write `present({path})`, or compare: `{path} == true`"
    ))
}

/// Enters the loop `p in PATH`; `names.leave()` has to follow, whatever was found: the variable is
/// known all the same, so that what reads it is no further finding.
pub fn enter_loop(node: &Node, names: &mut Names) -> Option<(Root, Choice)> {
    let text = match &node.kind {
        Kind::Text(text) => text,
        kind => {
            if !matches!(kind, Kind::Broken) {
                refuse_loop(node, format!("{} is no loop", node.what()), names);
            }
            names.enter_unknown("", "");
            return None;
        }
    };
    let Some((written, path)) = text.source.split_once(" in ") else {
        refuse_loop(node, "a loop names its variable and its path", names);
        let first = text.source.split_whitespace().next();
        let first = first.filter(|word| !word.starts_with('$'));
        names.enter_unknown(first.unwrap_or_default(), "");
        return None;
    };
    let variable = written.trim();
    let list = without_spaces(path);
    let offset = text.source.len() - path.trim_start().len();
    let Some(source) = bound_choice(node, offset, path.trim(), names) else {
        names.enter_unknown(variable, &list);
        return None;
    };
    match names.enter(variable, &list, &source.queries[0]) {
        Ok(root) => Some((root, source)),
        Err(message) => {
            let offset = written.len() - written.trim_start().len();
            let span = node.part(offset, variable.len());
            let found = Diagnostic::error("R0208", span, message);
            names
                .diagnostics
                .push(found.help("give the variable another name"));
            names.enter_unknown(variable, &list);
            None
        }
    }
}

fn refuse_loop(node: &Node, message: impl Into<String>, names: &mut Names) {
    let found = Diagnostic::error("R0406", node.span, message);
    names
        .diagnostics
        .push(found.help("write `p in $.catalog.body.items`"));
}

/// A path that may give many nodes, of `$for`, `$first` or `$count`; it stands at `offset`.
fn bound_choice(node: &Node, offset: usize, path: &str, names: &mut Names) -> Option<Choice> {
    match choice::parse(path, true) {
        Ok(choice) => {
            warn_of_choice(node, offset, &choice, names);
            bound(node, offset, names, choice, Choice::bind)
        }
        Err(error) => {
            names.diagnostics.push(placed(node, "R0402", offset, error));
            None
        }
    }
}

fn scalar(node: &Node, names: &mut Names, place: Place) -> Option<Scalar> {
    let text = node.text()?;
    match template::scalar(&text.source, &text.fills, place) {
        Ok(scalar) => {
            if let Scalar::Choice(choice) = &scalar {
                warn_of_choice(node, 0, choice, names);
            }
            bound(node, 0, names, scalar, Scalar::bind)
        }
        Err(error) => {
            names.diagnostics.push(at(node, error));
            None
        }
    }
}

/// R0411: what a path may hold and surely does not mean.
fn warn_of_patterns(node: &Node, offset: usize, warnings: &[path::Error], names: &mut Names) {
    for warning in warnings {
        let found = placed(node, "R0411", offset, warning.clone());
        names.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            ..found
        });
    }
}

fn warn_of_choice(node: &Node, offset: usize, choice: &Choice, names: &mut Names) {
    for (start, query) in choice.placed() {
        warn_of_patterns(node, offset + start, query.warnings(), names);
    }
}

/// Binds what is read in the part of a scalar that begins at `offset`; each name that means nothing
/// is a finding.
pub fn bound<T>(
    node: &Node,
    offset: usize,
    names: &mut Names,
    mut value: T,
    bind: impl FnOnce(&mut T, &mut dyn Bind) -> Result<(), path::Error>,
) -> Option<T> {
    let mut thorough = Thorough {
        names,
        faults: Vec::new(),
    };
    let last = bind(&mut value, &mut thorough);
    let mut faults = thorough.faults;
    faults.extend(last.err());
    let is_good = faults.is_empty();
    let found = faults
        .into_iter()
        .map(|error| placed(node, "R0201", offset, error));
    names.diagnostics.extend(found);
    is_good.then_some(value)
}

/// Goes on after a name that means nothing.
struct Thorough<'n> {
    names: &'n mut Names,
    faults: Vec<path::Error>,
}

impl Bind for Thorough<'_> {
    fn bind(&mut self, rooted: &Rooted<'_>) -> Result<Bound, path::Error> {
        self.names.bind(rooted).or_else(|fault| {
            self.faults.push(fault);
            // Never asked for: a value with a fault is dropped.
            Ok(Bound {
                root: Root(u32::MAX),
                consumed: 1,
            })
        })
    }
}

/// A path that may give many nodes, and nothing else: for `rows`.
pub fn list(node: &Node, names: &mut Names) -> Option<Choice> {
    let text = node.text()?;
    match text.source.starts_with('$') {
        true => bound_choice(node, 0, &text.source, names),
        false => {
            refuse_no_path(node, "write a path such as `$.reply.body.items[*]`", names);
            None
        }
    }
}

fn refuse_no_path(node: &Node, help: &str, names: &mut Names) {
    let found = Diagnostic::error("R0402", node.span, "a path is needed here");
    names.diagnostics.push(found.help(help));
}

/// A value that is a path with `??`, or nothing else: for `status`.
pub fn choice(node: &Node, names: &mut Names) -> Option<Choice> {
    match scalar(node, names, Place::Plain)? {
        Scalar::Choice(choice) => Some(choice),
        Scalar::Text(_) => {
            let help = "write a path such as `$.order.status`, or a number";
            refuse_no_path(node, help, names);
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
fn at(node: &Node, error: path::Error) -> Diagnostic {
    let starts_path = node.text().is_some_and(|text| text.source.starts_with('$'));
    placed(node, if starts_path { "R0402" } else { "R0401" }, 0, error)
}

/// A fault in the part of a scalar that begins at `offset`.
pub fn placed(node: &Node, code: &'static str, offset: usize, error: path::Error) -> Diagnostic {
    let span = node.part(offset + error.offset, error.length);
    with_help(Diagnostic::error(code, span, error.message), error.help)
}

fn with_help(diagnostic: Diagnostic, help: Option<String>) -> Diagnostic {
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
