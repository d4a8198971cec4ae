//! The tables of keys in `docs/reference.md`, made from the table of [`keys`](crate::config::keys).

use std::fmt::Write;

use crate::config::keys::{Key, Object, Value};

/// The generated block stands between these two lines.
pub const BEGIN: &str = "<!-- keys: begin (written by `UPDATE=1 cargo test config::`) -->";
pub const END: &str = "<!-- keys: end -->";

/// A table for each object.
pub fn tables() -> String {
    let mut out = String::new();
    for object in Object::ALL {
        table(&mut out, *object).expect("a String takes all that is written");
    }
    out
}

/// `document` with its generated block up to date; `None` if it has no markers.
pub fn update(document: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", tables()))
}

fn table(out: &mut String, object: Object) -> std::fmt::Result {
    writeln!(out, "\n### {}\n", heading(object))?;
    writeln!(out, "Stands at: {}.\n", object.place())?;
    writeln!(out, "| key | value | default | meaning |")?;
    writeln!(out, "|---|---|---|---|")?;
    for key in object.keys() {
        writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            key.name,
            value(key.value),
            default(key),
            key.doc.replace('|', "\\|"),
        )?;
    }
    if matches!(object, Object::RouteDocument | Object::GatewayDocument) {
        writeln!(out, "| `x-…` | anything | | ignored; a place for anchors |")?;
    }
    Ok(())
}

fn heading(object: Object) -> String {
    let what = object
        .what()
        .trim_start_matches("a ")
        .trim_start_matches("an ");
    let mut characters = what.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn default(key: &Key) -> String {
    match key.default {
        "" if key.required => "**required**".to_owned(),
        "" => String::new(),
        default if default.contains([' ', '`']) => default.to_owned(),
        default => format!("`{default}`"),
    }
}

/// The kind of value, in words.
fn value(kind: Value) -> String {
    match kind {
        Value::Version => "`1`".to_owned(),
        Value::Pattern => "`METHOD /path`".to_owned(),
        Value::Host => "host name".to_owned(),
        Value::Name | Value::Identifier => "name".to_owned(),
        Value::Text => "text".to_owned(),
        Value::Boolean => "`true` or `false`".to_owned(),
        Value::Count { least, most } => format!("number, {least} to {most}"),
        Value::CountOrOff { least, most } => format!("number, {least} to {most}, or `off`"),
        Value::Number => "number".to_owned(),
        Value::Duration => "duration".to_owned(),
        Value::DurationRange => "range of durations".to_owned(),
        Value::Delay => "duration or percentile".to_owned(),
        Value::Ttl => "duration or `from_headers`".to_owned(),
        Value::AutoOrBoolean => "`auto`, `true` or `false`".to_owned(),
        Value::Path => "path".to_owned(),
        Value::Size => "size".to_owned(),
        Value::Percentage => "share".to_owned(),
        Value::ShareOrSize => "share or size".to_owned(),
        Value::Address => "address and port".to_owned(),
        Value::Network => "CIDR".to_owned(),
        Value::Url | Value::RedisUrl => "URL".to_owned(),
        Value::File => "file".to_owned(),
        Value::Word(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Value::ErrorStatus => "status, 400 to 599".to_owned(),
        Value::RetryReason => "`connect`, `reset`, `timeout` or status".to_owned(),
        Value::Status => "status or path".to_owned(),
        Value::Scalar => "text with paths and holes".to_owned(),
        Value::Target => "path on the service, with holes".to_owned(),
        Value::Condition => "condition".to_owned(),
        Value::ForEach => "`p in PATH`".to_owned(),
        Value::Template => "JSON with paths and holes".to_owned(),
        Value::Literal => "JSON".to_owned(),
        Value::Fields => "mapping of text, numbers, booleans".to_owned(),
        Value::List(inner) => format!("list of: {}", value(*inner)),
        Value::ListOrAll(inner) => format!("list of: {}; or `*`", value(*inner)),
        Value::Of(object) => format!("{} below", object.what()),
        Value::OrFalse(object) => format!("{} below, or `false`", object.what()),
        Value::Named(_, object) => format!("by name: {} below", object.what()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE=1` writes the block anew.
    #[test]
    fn the_reference_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
        let found = std::fs::read_to_string(&path).expect("docs/reference.md is there");
        let updated = update(&found).expect("docs/reference.md has its markers");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &updated).unwrap();
            return;
        }
        assert!(
            found == updated,
            "docs/reference.md is not up to date: run the tests with UPDATE=1"
        );
    }

    #[test]
    fn only_the_block_is_written_anew() {
        let text = format!("before\n{BEGIN}\noutdated\n{END}\nafter\n");
        let updated = update(&text).unwrap();
        assert!(updated.starts_with("before\n") && updated.ends_with("\nafter\n"));
        assert!(updated.contains("| `timeout` |") && !updated.contains("outdated"));
        assert_eq!(update(&updated), Some(updated.clone()));
        assert_eq!(update("no markers"), None);
    }
}
