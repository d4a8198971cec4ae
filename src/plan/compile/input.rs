//! `input`: parameters with their types, and the JSON Schema of the body.

use crate::config::document::{self, ParameterKind, Spanned};
use crate::config::node::{Kind, Node};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::json::{Kind as JsonKind, Value, write_text};
use crate::plan::compile::names::{Names, list};
use crate::plan::pattern::Pattern;
use crate::plan::settings::Server;
use crate::plan::{Input, InputBody, Parameter, ParameterType};

pub fn compile(
    input: Option<&Spanned<document::Input>>,
    pattern: Option<&Pattern>,
    server: &Server,
    names: &mut Names,
) -> Input {
    let Some(input) = input else {
        return Input::default();
    };
    let document::Input {
        path,
        query,
        headers,
        cookies,
        body,
    } = &input.value;
    let parameters = pattern.map(Pattern::parameters);
    for parameter in path {
        let name = &parameter.name;
        if let Some(parameters) = &parameters
            && !parameters.contains(&name.value)
        {
            let known = parameters.iter().map(String::as_str);
            let help = match nearest(&name.value, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its parameters are {}", list(known)),
            };
            let message = format!("the route's path has no `{}`", name.value);
            names
                .diagnostics
                .push(Diagnostic::error("R0202", name.span, message).help(help));
        }
    }
    let mut all = |list: &[document::Parameter], is_header: bool| -> Vec<Parameter> {
        list.iter()
            .filter_map(|one| parameter(one, is_header, names))
            .collect()
    };
    Input {
        path: all(path, false),
        query: all(query, false),
        headers: all(headers, true),
        cookies: all(cookies, false),
        body: body
            .as_ref()
            .map(|body| compile_body(&body.value, server, names)),
    }
}

fn parameter(
    parameter: &document::Parameter,
    is_header: bool,
    names: &mut Names,
) -> Option<Parameter> {
    let document::Parameter {
        name,
        kind,
        required,
        default,
        min,
        max,
        one_of,
        pattern,
    } = parameter;
    let kind = match kind.as_ref().map(|kind| kind.value) {
        None | Some(ParameterKind::String) => ParameterType::Text,
        Some(ParameterKind::Integer) => ParameterType::Integer,
        Some(ParameterKind::Number) => ParameterType::Number,
        Some(ParameterKind::Boolean) => ParameterType::Boolean,
        Some(ParameterKind::Array) => ParameterType::Array,
    };
    let is_required = required.as_ref().is_some_and(|required| required.value);
    if let (true, Some(default)) = (is_required, default) {
        let found = Diagnostic::warning(
            "R0207",
            default.span,
            "the default of a required value is never used",
        );
        names
            .diagnostics
            .push(found.help("take `required` or `default` away"));
    }
    let default = default
        .as_ref()
        .and_then(|node| typed(&node.value, node.span, kind, names));
    let element = match kind {
        ParameterType::Array => ParameterType::Text,
        kind => kind,
    };
    let allowed = one_of.iter().flat_map(|nodes| &nodes.value);
    let allowed = allowed
        .filter_map(|node| typed(node, node.span, element, names))
        .collect();
    check_bounds(kind, min.as_ref(), max.as_ref(), names);
    Some(Parameter {
        name: match is_header {
            true => name.value.to_ascii_lowercase(),
            false => name.value.clone(),
        },
        kind,
        required: is_required,
        default,
        min: min.as_ref().and_then(|min| min.value.parse().ok()),
        max: max.as_ref().and_then(|max| max.value.parse().ok()),
        allowed,
        pattern: pattern
            .as_ref()
            .and_then(|node| compile_pattern(&node.value, kind, names)),
    })
}

/// A `default` or a value of `enum` as JSON bytes, if it has the parameter's type.
fn typed(node: &Node, span: Span, kind: ParameterType, names: &mut Names) -> Option<Box<[u8]>> {
    let bytes = literal(node)?;
    let value = Value::trusted(&bytes);
    let fits = match kind {
        ParameterType::Text => value.kind() == JsonKind::Text,
        ParameterType::Number => value.kind() == JsonKind::Number,
        ParameterType::Integer => {
            value.kind() == JsonKind::Number && !bytes.iter().any(|byte| b".eE".contains(byte))
        }
        ParameterType::Boolean => matches!(value.kind(), JsonKind::Boolean(_)),
        ParameterType::Array => value.kind() == JsonKind::Array,
    };
    if fits {
        return Some(bytes.into_boxed_slice());
    }
    // Text that YAML reads as something else is meant as text.
    if kind == ParameterType::Text
        && let Kind::Number(letters) = &node.kind
    {
        let mut out = Vec::new();
        write_text(&mut out, letters);
        return Some(out.into_boxed_slice());
    }
    let word = match kind {
        ParameterType::Text => "a string",
        ParameterType::Number => "a number",
        ParameterType::Integer => "an integer",
        ParameterType::Boolean => "`true` or `false`",
        ParameterType::Array => "a list",
    };
    let message = format!("{} where the type wants {word}", node.what());
    names.diagnostics.push(
        Diagnostic::error("R0111", span, message).help(format!("write {word}, or another `type`")),
    );
    None
}

/// A value without holes as JSON; `None` where a finding was made before.
fn literal(node: &Node) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match &node.kind {
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Kind::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        Kind::Text(text) => write_text(&mut out, &text.filled()),
        Kind::Sequence(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend(literal(item)?);
            }
            out.push(b']');
        }
        Kind::Mapping(_) => out.extend_from_slice(b"{}"),
        Kind::Broken => return None,
    }
    Some(out)
}

fn check_bounds(
    kind: ParameterType,
    min: Option<&Spanned<String>>,
    max: Option<&Spanned<String>>,
    names: &mut Names,
) {
    if kind == ParameterType::Boolean {
        for bound in [min, max].into_iter().flatten() {
            let message = "a boolean has no `min` and no `max`";
            names
                .diagnostics
                .push(Diagnostic::error("R0210", bound.key, message).help("take it away"));
        }
    }
    if let (Some(min), Some(max)) = (min, max) {
        let order =
            Value::trusted(min.value.as_bytes()).compare(Value::trusted(max.value.as_bytes()));
        if order.is_some_and(std::cmp::Ordering::is_gt) {
            let found = Diagnostic::error("R0111", max.span, "`max` is below `min`");
            names.diagnostics.push(
                found
                    .also(min.span, "`min` is here")
                    .help("exchange the two"),
            );
        }
    }
}

fn compile_pattern(
    node: &Node,
    kind: ParameterType,
    names: &mut Names,
) -> Option<(String, regex::Regex)> {
    let text = node.text()?;
    if !matches!(kind, ParameterType::Text | ParameterType::Array) {
        let message = "only a string has a `pattern`";
        names.diagnostics.push(
            Diagnostic::error("R0210", node.span, message)
                .help("take it away, or write `min` and `max`"),
        );
        return None;
    }
    let written = text.filled();
    match crate::path::whole_pattern(&written) {
        Ok(pattern) => Some((written, pattern)),
        Err(error) => {
            let (span, message) = match text.fills.is_empty() {
                true => (node.part(error.offset, error.length), error.message),
                false => (node.span, "what `${…}` gives is no I-Regexp".to_owned()),
            };
            let mut found = Diagnostic::error("R0409", span, message);
            found.help = error.help;
            names.diagnostics.push(found);
            None
        }
    }
}

fn compile_body(body: &document::InputBody, server: &Server, names: &mut Names) -> InputBody {
    let document::InputBody {
        required,
        schema,
        max,
    } = body;
    InputBody {
        required: required.as_ref().is_some_and(|required| required.value),
        schema: schema.as_ref().and_then(|file| compile_schema(file, names)),
        max: max
            .as_ref()
            .map_or(server.limits.body, |max| max.value as usize)
            .min(server.limits.body),
    }
}

fn compile_schema(
    file: &Spanned<document::NamedFile>,
    names: &mut Names,
) -> Option<jsonschema::Validator> {
    let refuse =
        |message: String, help: &str| Diagnostic::error("R0507", file.span, message).help(help);
    let path = file.value.path.display();
    let schema: serde_json::Value = match serde_json::from_slice(&file.value.bytes) {
        Ok(schema) => schema,
        Err(error) => {
            let message = format!("`{path}` is not JSON: {error}");
            names
                .diagnostics
                .push(refuse(message, "name a file with a JSON Schema"));
            return None;
        }
    };
    match jsonschema::validator_for(&schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            let message = format!("`{path}` is no JSON Schema: {}", error.masked());
            let help = "mend the schema; a `$ref` may only point into the same file";
            names.diagnostics.push(refuse(message, help));
            None
        }
    }
}
