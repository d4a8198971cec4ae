//! The JSON Schema of the file format, made from the table of [`keys`](crate::config::keys).
//!
//! It serves editors: completion, a sentence for each key, and a first look at its value. What the
//! product says about a file comes from reading it, not from here. A value of any kind may hold
//! `${…}`, so every type lets such text pass.

use serde_json::{Map, Value as Json, json};

use crate::config::keys::{Key, Object, Value};

/// Draft 2020-12.
pub fn schema() -> Json {
    let definitions: Map<String, Json> = Object::ALL
        .iter()
        .map(|object| (name(*object).to_owned(), definition(*object)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Anabranch",
        "description": "A route document (it has the key `route`) or a gateway document of Anabranch.",
        "type": "object",
        "if": { "required": ["route"] },
        "then": reference(Object::RouteDocument),
        "else": reference(Object::GatewayDocument),
        "$defs": definitions,
    })
}

/// The schema as it stands in the repository.
pub fn text() -> String {
    let mut text =
        serde_json::to_string_pretty(&schema()).expect("a tree of strings and numbers is JSON");
    text.push('\n');
    text
}

fn definition(object: Object) -> Json {
    let properties: Map<String, Json> = object
        .keys()
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = object
        .keys()
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut definition = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        definition["required"] = json!(required);
    }
    match object {
        Object::RouteDocument => definition["patternProperties"] = json!({ "^x-": true }),
        Object::GatewayDocument => {
            definition["patternProperties"] = json!({ "^x-": true });
            definition["anyOf"] =
                one_required(&["server", "admin", "cache", "services", "defaults"]);
        }
        Object::Call => {
            definition["oneOf"] = one_required(&["get", "head", "post", "put", "patch", "delete"]);
        }
        Object::Fallback => definition["oneOf"] = one_required(&["stale", "call", "value"]),
        Object::Service => definition["oneOf"] = one_required(&["url", "urls"]),
        _ => {}
    }
    definition
}

fn one_required(names: &[&str]) -> Json {
    names
        .iter()
        .map(|name| json!({ "required": [name] }))
        .collect()
}

fn property(key: &Key) -> Json {
    let mut schema = value(key.value);
    let doc = match key.default {
        "" => format!("{}.", capital(key.doc)),
        default => format!("{}. Default: {default}.", capital(key.doc)),
    };
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), Json::String(doc));
    }
    schema
}

fn value(kind: Value) -> Json {
    match kind {
        Value::Version => json!({ "const": 1 }),
        Value::Pattern | Value::Host | Value::Text | Value::File | Value::Target => {
            json!({ "type": "string" })
        }
        Value::Address | Value::Network | Value::Condition => json!({ "type": "string" }),
        Value::Name => text_like("^[A-Za-z_][A-Za-z0-9_.-]*$"),
        Value::Identifier => text_like("^[A-Za-z_][A-Za-z0-9_]*$"),
        Value::Url => text_like("^https?://"),
        Value::RedisUrl => text_like(r"^((redis|valkey)(s|\+unix)?|unix)://"),
        Value::ForEach => text_like("^[A-Za-z_][A-Za-z0-9_]* +in "),
        Value::Duration => text_like(r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"),
        Value::Delay => text_like(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h)|p[0-9]{1,2}(\.[0-9]{1,2})?)$"),
        Value::Ttl => text_like(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h)|from_headers)$"),
        Value::AutoOrBoolean => or_filled(json!({ "enum": ["auto", true, false] })),
        Value::Path => text_like(r"^\$[.\[]"),
        Value::DurationRange => text_like(r"^[0-9].*[a-z] *\.\. *[0-9].*[a-z]$"),
        Value::Size => text_like(r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)$"),
        Value::Percentage => text_like(r"^[0-9]+(\.[0-9]+)?%$"),
        Value::ShareOrSize => text_like(r"^[0-9]+(\.[0-9]+)?(%|B|KiB|MiB|GiB)$"),
        Value::Boolean => or_filled(json!({ "type": "boolean" })),
        Value::Count { least, most } => {
            or_filled(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Value::CountOrOff { least, most } => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "enum": ["off", false] },
            filled(),
        ] }),
        Value::Number => or_filled(json!({ "type": "number" })),
        Value::Word(words) => or_filled(json!({ "enum": spelled(words) })),
        Value::ErrorStatus => or_filled(error_status()),
        Value::RetryReason => json!({ "anyOf": [
            { "enum": ["connect", "reset", "timeout"] },
            error_status(),
            filled(),
        ] }),
        Value::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 599 },
            { "type": "string" },
        ] }),
        Value::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Value::Template | Value::Literal => json!({}),
        Value::Fields => json!({ "type": "object", "additionalProperties": {
            "type": ["string", "number", "boolean", "null", "array"],
            "items": { "type": ["string", "number", "boolean", "null"] },
        } }),
        Value::List(inner) => json!({ "type": "array", "items": value(*inner) }),
        Value::ListOrAll(inner) => json!({ "anyOf": [
            { "type": "array", "items": value(*inner) },
            { "const": "*" },
        ] }),
        Value::Of(object) => reference(object),
        Value::OrFalse(object) => json!({ "anyOf": [reference(object), { "const": false }] }),
        Value::Named(kind, object) => json!({
            "type": "object",
            "propertyNames": value(*kind),
            "additionalProperties": match object {
                // An entry of `input` may be left empty.
                Object::Parameter => json!({ "anyOf": [reference(object), { "type": "null" }] }),
                _ => reference(object),
            },
        }),
    }
}

/// Text of this form, or with `${…}` in it.
fn text_like(pattern: &str) -> Json {
    json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": r"\$\{" }] })
}

fn or_filled(schema: Json) -> Json {
    json!({ "anyOf": [schema, filled()] })
}

fn filled() -> Json {
    json!({ "type": "string", "pattern": r"\$\{" })
}

fn error_status() -> Json {
    json!({ "type": "integer", "minimum": 400, "maximum": 599 })
}

/// The words, those that are numbers also as numbers.
fn spelled(words: &[&str]) -> Vec<Json> {
    let numbers = words
        .iter()
        .filter_map(|word| word.parse::<u32>().ok())
        .map(Json::from);
    let words = words.iter().map(|word| Json::from(*word));
    words.chain(numbers).collect()
}

fn reference(object: Object) -> Json {
    json!({ "$ref": format!("#/$defs/{}", name(object)) })
}

fn name(object: Object) -> &'static str {
    match object {
        Object::RouteDocument => "route",
        Object::Input => "input",
        Object::Parameter => "parameter",
        Object::InputBody => "input_body",
        Object::Call => "call",
        Object::Batch => "batch",
        Object::Caching => "caching",
        Object::Retry => "retry",
        Object::Hedge => "hedge",
        Object::Fallback => "fallback",
        Object::Response => "response",
        Object::GatewayDocument => "gateway",
        Object::Server => "server",
        Object::Limits => "limits",
        Object::Timeouts => "timeouts",
        Object::JsonLimits => "json",
        Object::Shed => "shed",
        Object::Drain => "drain",
        Object::Admin => "admin",
        Object::Cache => "cache",
        Object::Defaults => "defaults",
        Object::Service => "service",
        Object::Pool => "pool",
        Object::Breaker => "breaker",
        Object::Bulkhead => "bulkhead",
        Object::Budget => "budget",
        Object::Tls => "tls",
    }
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::fill::Sources;
    use crate::config::node::{Kind, Node};
    use crate::config::{reader, text as texts};
    use crate::diagnostic::FileId;

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    /// As an editor sees it: `${…}` is text.
    fn plain(node: &Node) -> Json {
        match &node.kind {
            Kind::Null | Kind::Broken => Json::Null,
            Kind::Boolean(boolean) => Json::Bool(*boolean),
            Kind::Number(digits) => serde_json::from_str(digits).unwrap(),
            Kind::Text(text) => Json::String(text.filled()),
            Kind::Sequence(items) => items.iter().map(plain).collect(),
            Kind::Mapping(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), plain(&entry.value)))
                .collect::<Map<String, Json>>()
                .into(),
        }
    }

    fn documents(text: &str) -> Vec<Json> {
        let sources = Sources {
            variable: &|name| Some(format!("${{{name}}}")),
            folder: Path::new(""),
        };
        texts::documents(text)
            .into_iter()
            .map(|range| reader::read(text, range, FileId(0), &sources))
            .map(|document| plain(&document.node.expect("the document can be read")))
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for document in documents(text) {
            let errors: Vec<String> = validator
                .iter_errors(&document)
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect();
            assert_eq!(errors.is_empty(), expected, "{text}\n{errors:#?}");
        }
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::meta::is_valid(&schema()));
    }

    #[test]
    fn the_schema_takes_what_is_right() {
        check(
            "route: GET /\nresponse: {}\nx-a: 1\ninput: { query: { a: , b: { type: integer, min: 1 } } }\n",
            true,
        );
        check(
            "route: GET /\ntimeout: ${T}\nresponse: { status: $.a.status }\ncalls:\n  a:\n    get: /\n    retry: false\n    optional: ${O}\n    query: { a: [1, b], c: null }\n    fallback: [ { value: null } ]\n    forward_query: '*'\n    for_each: p in $.b\n    max_items: 3\n    min_ok: 50%\n",
            true,
        );
        check(
            "services: { a-b: { url: 'http://${H}', http: 2, pool: { idle: 1.5s } } }\nserver: { limits: { body: 2MiB } }\n",
            true,
        );
    }

    #[test]
    fn the_schema_refuses_what_is_wrong() {
        check("route: GET /\n", false);
        check("a: 1\n", false);
        for line in [
            "post: /",
            "timout: 1s",
            "timeout: 200",
            "timeout: 1d",
            "retry: true",
            "retry: { attempts: 0 }",
            "query: { a: { b: 1 } }",
            "decode: xml",
            "pass_status: [200]",
        ] {
            let text =
                format!("route: GET /\nresponse: {{}}\ncalls: {{ a: {{ get: /, {line} }} }}\n");
            check(&text, false);
        }
    }

    #[test]
    fn the_files_of_the_repository_meet_the_schema() {
        let mut files = Vec::new();
        for folder in ["routes", "examples"] {
            collect(&root().join(folder), &mut files);
        }
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            println!("{}", file.display());
            check(&text, true);
        }
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                files.push(path);
            }
        }
    }

    /// `UPDATE=1` writes the file anew.
    #[test]
    fn the_schema_of_the_repository_is_this_one() {
        let path = root().join("schema/anabranch.schema.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text(),
            "schema/anabranch.schema.json is not up to date: run the tests with UPDATE=1"
        );
    }
}
