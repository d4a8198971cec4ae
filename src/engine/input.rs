//! A route's `input`: what a request must look like before any call is made.
//!
//! Values are typed here, spelled as in JSON, so that `$.request.query.page` is a number. All
//! violations are reported at once; none of them makes a call.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use jsonschema::error::ValidationErrorKind;

use crate::engine::code::Code;
use crate::engine::context::cookie_pairs;
use crate::engine::outcome::write_header;
use crate::engine::reply::Problem;
use crate::engine::request::{Accepted, Request, RequestBody};
use crate::json::{self, Demand, Fault, Kind, Scan, Value, write_text};
use crate::plan::{InputBody, Parameter, ParameterType, Route};

/// Types and checks everything `input` names and parses the body where the route reads it.
/// All violations are reported at once (`invalid_input`), or 415 for a body that is not JSON. In a box, since it
/// is handed on from place to place.
pub fn accept(route: &Route, request: Request) -> Result<Box<Accepted>, Problem> {
    let mut violations = Violations::default();
    let input = &route.input;
    let path = path_values(route, &request, &mut violations);
    let query = typed(&input.query, "query", &mut violations, |name| {
        let pairs = request.query.iter();
        pairs
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    });
    let headers = typed(&input.headers, "headers", &mut violations, |name| {
        header_texts(&request.headers, name)
    });
    let sent = match input.cookies.is_empty() {
        true => Vec::new(),
        false => cookie_pairs(&request.headers),
    };
    let cookies = typed(&input.cookies, "cookies", &mut violations, |name| {
        let pairs = sent.iter().filter(|(key, _)| key == name);
        pairs.map(|(_, value)| value.clone()).collect()
    });
    let body = body(route, &request, &mut violations)?;
    if !violations.found.is_empty() {
        return Err(violations.into_problem());
    }
    Ok(Box::new(Accepted {
        request,
        query,
        headers,
        cookies,
        path,
        body,
    }))
}

#[derive(Default)]
struct Violations {
    /// Where (`query`), the name, and what is wrong with it.
    found: Vec<(&'static str, String, String)>,
}

impl Violations {
    fn add(&mut self, place: &'static str, name: &str, what: impl Into<String>) {
        self.found.push((place, name.to_owned(), what.into()));
    }

    fn into_problem(self) -> Problem {
        let sentences = self
            .found
            .iter()
            .map(|(place, name, what)| match name.as_str() {
                "" => format!("{place} {what}"),
                name => format!("{place}.{name} {what}"),
            });
        let mut problem = Problem::new(Code::InvalidInput, Vec::from_iter(sentences).join("; "));
        let mut errors = b"[".to_vec();
        for (index, (place, name, what)) in self.found.iter().enumerate() {
            errors.extend_from_slice(if index > 0 { b",{\"in\":" } else { b"{\"in\":" });
            write_text(&mut errors, place);
            errors.extend_from_slice(b",\"name\":");
            write_text(&mut errors, name);
            errors.extend_from_slice(b",\"detail\":");
            write_text(&mut errors, what);
            errors.push(b'}');
        }
        errors.push(b']');
        problem.errors = errors.into();
        problem
    }
}

fn path_values(route: &Route, request: &Request, violations: &mut Violations) -> Vec<Vec<u8>> {
    let pairs = route.parameters.iter().zip(&request.parameters);
    let values = pairs.map(|(name, text)| {
        let declared = route
            .input
            .path
            .iter()
            .find(|parameter| parameter.name == *name);
        let typed = declared.map(|parameter| check_value(parameter, text));
        match typed {
            Some(Ok(value)) => value,
            Some(Err(what)) => {
                violations.add("path", name, what);
                Vec::new()
            }
            None => text_value(text),
        }
    });
    values.collect()
}

/// The values of `parameters`, with defaults; what is absent and not required is left out.
fn typed(
    parameters: &[Parameter],
    place: &'static str,
    violations: &mut Violations,
    texts: impl Fn(&str) -> Vec<String>,
) -> Vec<(String, Vec<u8>)> {
    let mut values = Vec::new();
    for parameter in parameters {
        let texts = texts(&parameter.name);
        let value = match (texts.as_slice(), &parameter.default) {
            ([], Some(default)) => default.to_vec(),
            ([], None) => {
                if parameter.required {
                    violations.add(place, &parameter.name, "is required");
                }
                continue;
            }
            (texts, _) => match check_texts(parameter, texts) {
                Ok(value) => value,
                Err(what) => {
                    violations.add(place, &parameter.name, what);
                    continue;
                }
            },
        };
        values.push((parameter.name.clone(), value));
    }
    values
}

/// The value of a header: its lines joined, as `$.request.headers` shows it.
fn header_texts(headers: &HeaderMap, name: &str) -> Vec<String> {
    let Ok(name) = HeaderName::try_from(name) else {
        return Vec::new();
    };
    if !headers.contains_key(&name) {
        return Vec::new();
    }
    let mut out = Vec::new();
    write_header(&mut out, headers, &name);
    let text = Value::trusted(&out).text();
    text.map(|text| text.into_owned()).into_iter().collect()
}

fn check_texts(parameter: &Parameter, texts: &[String]) -> Result<Vec<u8>, String> {
    match (parameter.kind, texts) {
        (ParameterType::Array, texts) => check_array(parameter, texts),
        // Of several the first counts; `query_list` has all of them.
        (_, [text, ..]) => check_value(parameter, text),
        (_, []) => Err("is required".to_owned()),
    }
}

fn check_array(parameter: &Parameter, texts: &[String]) -> Result<Vec<u8>, String> {
    check_bounds(parameter, texts.len() as f64, "have", "elements")?;
    let mut out = b"[".to_vec();
    for (place, text) in texts.iter().enumerate() {
        check_allowed(parameter, &text_value(text))?;
        check_pattern(parameter, text)?;
        if place > 0 {
            out.push(b',');
        }
        write_text(&mut out, text);
    }
    out.push(b']');
    Ok(out)
}

/// One value, typed: JSON bytes, or what is wrong with it.
fn check_value(parameter: &Parameter, text: &str) -> Result<Vec<u8>, String> {
    let value = match parameter.kind {
        ParameterType::Text | ParameterType::Array => text_value(text),
        ParameterType::Boolean if matches!(text, "true" | "false") => text.as_bytes().to_vec(),
        ParameterType::Boolean => return Err("must be `true` or `false`".to_owned()),
        ParameterType::Integer if is_integer(text) => text.as_bytes().to_vec(),
        ParameterType::Integer => return Err("must be an integer".to_owned()),
        ParameterType::Number if is_number(text) => text.as_bytes().to_vec(),
        ParameterType::Number => return Err("must be a number".to_owned()),
    };
    match parameter.kind {
        ParameterType::Text => {
            check_bounds(parameter, text.chars().count() as f64, "have", "characters")?;
        }
        ParameterType::Integer | ParameterType::Number => {
            check_bounds(parameter, text.parse().unwrap_or(f64::NAN), "be", "")?;
        }
        ParameterType::Boolean | ParameterType::Array => {}
    }
    check_allowed(parameter, &value)?;
    check_pattern(parameter, text)?;
    Ok(value)
}

fn check_bounds(parameter: &Parameter, figure: f64, verb: &str, unit: &str) -> Result<(), String> {
    let bound = |word: &str, limit: f64| {
        format!("must {verb} {word} {limit} {unit}")
            .trim_end()
            .to_owned()
    };
    match (parameter.min, parameter.max) {
        (Some(min), _) if figure < min => Err(bound("at least", min)),
        (_, Some(max)) if figure > max => Err(bound("at most", max)),
        _ => Ok(()),
    }
}

fn check_allowed(parameter: &Parameter, value: &[u8]) -> Result<(), String> {
    let allowed = &parameter.allowed;
    let value = Value::trusted(value);
    if allowed.is_empty() || allowed.iter().any(|one| Value::trusted(one).equals(value)) {
        return Ok(());
    }
    let words = allowed.iter().map(|one| String::from_utf8_lossy(one));
    Err(format!(
        "must be one of {}",
        Vec::from_iter(words).join(", ")
    ))
}

fn check_pattern(parameter: &Parameter, text: &str) -> Result<(), String> {
    match &parameter.pattern {
        Some((written, pattern)) if !pattern.is_match(text) => Err(format!("must match {written}")),
        _ => Ok(()),
    }
}

/// Spelled as in JSON, with a value that is whole: no fraction, no exponent.
fn is_integer(text: &str) -> bool {
    is_number(text) && !text.contains(['.', 'e', 'E'])
}

fn is_number(text: &str) -> bool {
    let limits = json::Limits { depth: 1, nodes: 1 };
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    json::Body::check(bytes, &Demand::default(), limits).is_ok_and(|body| {
        body.whole().kind() == Kind::Number && body.whole().bytes().len() == text.len()
    })
}

fn text_value(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_text(&mut out, text);
    out
}

fn body(
    route: &Route,
    request: &Request,
    violations: &mut Violations,
) -> Result<Option<json::Body>, Problem> {
    let RequestBody::Read(bytes) = &request.body else {
        return Ok(None);
    };
    let rule = route.input.body.as_ref();
    let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
    if is_empty && rule.is_some_and(|rule| rule.required) {
        violations.add("body", "", "is required");
    }
    let Some(demand) = &route.body_demand else {
        return Ok(None);
    };
    if is_empty {
        return Ok(None);
    }
    if !is_json(&request.headers) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body must be JSON: send `content-type: application/json`",
        ));
    }
    let mut scan = Scan::new(demand, route.json_limits);
    let checked = match scan.advance(bytes) {
        Ok(()) => scan.finish(bytes.clone()),
        Err(fault) => Err(fault),
    };
    match checked {
        Ok(body) => {
            if let Some(rule) = rule {
                check_schema(rule, &body, violations);
            }
            Ok(Some(body))
        }
        Err(fault) => {
            violations.add("body", "", describe(&fault));
            Ok(None)
        }
    }
}

/// None is taken for JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Syntax { offset, message } => format!("is not JSON at byte {offset}: {message}"),
        Fault::ByteOrderMark => "begins with a byte order mark".to_owned(),
        Fault::Duplicate { offset, key } => format!("has the key {key:?} twice, at byte {offset}"),
        Fault::TooDeep { offset } => format!("is too deep at byte {offset}"),
        Fault::TooManyNodes { offset } => format!("has too many values at byte {offset}"),
    }
}

fn check_schema(rule: &InputBody, body: &json::Body, violations: &mut Violations) {
    /// More would say nothing new, and a hostile body could have very many.
    const MOST: usize = 20;
    /// However `server.json` is set: the tree and the validator recurse.
    const DEEPEST: usize = 128;
    let Some(schema) = &rule.schema else {
        return;
    };
    // The one place where a tree is built: the validator needs one.
    let Some(instance) = tree(body.whole(), DEEPEST) else {
        return violations.add("body", "", "is too deep for its schema");
    };
    for error in schema.iter_errors(&instance).take(MOST) {
        let pointer = error.instance_path().as_str();
        let name = pointer.trim_start_matches('/').replace('/', ".");
        violations.add("body", &name, sentence(error.kind()));
    }
}

/// The value for the validator, or `None` if it is nested deeper than `depth`.
fn tree(value: Value<'_>, depth: usize) -> Option<serde_json::Value> {
    let inner = |value| tree(value, depth.checked_sub(1)?);
    Some(match value.kind() {
        Kind::Number => serde_json::Value::Number(number(value.bytes())?),
        Kind::Array => {
            serde_json::Value::Array(value.elements().map(inner).collect::<Option<_>>()?)
        }
        Kind::Object => {
            let members = value.members();
            let members =
                members.map(|(name, value)| Some((name.text()?.into_owned(), inner(value)?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
        Kind::Null | Kind::Boolean(_) | Kind::Text => serde_json::from_slice(value.bytes()).ok()?,
    })
}

/// A number beyond what a double holds is the largest one to the validator; the body keeps it.
fn number(digits: &[u8]) -> Option<serde_json::Number> {
    if let Ok(number) = serde_json::from_slice(digits) {
        return Some(number);
    }
    let number: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    serde_json::Number::from_f64(number.clamp(f64::MIN, f64::MAX))
}

/// Our own words: the validator's name every alternative and quote the client's value.
fn sentence(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Is;
    match kind {
        Is::Type { kind } => format!("has the wrong type, {} is needed", types(kind)),
        Is::Required { property } => format!("lacks {property}"),
        Is::Enum { options } => format!("must be one of {options}"),
        Is::Constant { expected_value } => format!("must be {expected_value}"),
        Is::Minimum { limit } => format!("must be at least {limit}"),
        Is::Maximum { limit } => format!("must be at most {limit}"),
        Is::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Is::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Is::MinLength { limit } => format!("must have at least {limit} characters"),
        Is::MaxLength { limit } => format!("must have at most {limit} characters"),
        Is::MinItems { limit } => format!("must have at least {limit} elements"),
        Is::MaxItems { limit } => format!("must have at most {limit} elements"),
        Is::UniqueItems => "has the same element twice".to_owned(),
        Is::Pattern { pattern } => format!("must match {pattern}"),
        Is::AdditionalProperties { unexpected } | Is::UnevaluatedProperties { unexpected } => {
            format!("has unknown members: {}", unexpected.join(", "))
        }
        other => format!("does not fit `{}` of its schema", other.keyword()),
    }
}

fn types(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(kind) => kind.to_string(),
        jsonschema::error::TypeKind::Multiple(kinds) => {
            Vec::from_iter(kinds.iter().map(|kind| kind.to_string())).join(" or ")
        }
    }
}
