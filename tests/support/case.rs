//! A case of the corpus as it is written. `tests/corpus.rs` says what may stand in it.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Block, blocks};

/// One case: a configuration, what the services answer, a request, and what has to come of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub yaml: String,
    /// Files beside it, by their names.
    pub files: Vec<(String, String)>,
    /// JSON.
    pub services: String,
    pub request: Message,
    pub reply: Message,
    /// White space in the expected body counts.
    pub is_exact: bool,
    /// Lines without needless spaces; `None` where a case does not look.
    pub calls: Option<Vec<String>>,
    /// Likewise.
    pub record: Option<Vec<String>>,
}

/// The first line, the header lines and the body of a request or a reply.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub start: String,
    pub headers: Vec<String>,
    pub body: String,
}

/// The cases of one file: one for each `##`, with what stands before the first of them in common.
pub fn cases(file: &str, markdown: &str) -> Vec<Case> {
    let mut parts = markdown.split("\n## ");
    let common = parts.next().expect("a split has a first part");
    let common = parsed(blocks(common));
    let rest: Vec<&str> = parts.collect();
    if rest.is_empty() {
        return vec![case(file.to_owned(), common)];
    }
    rest.into_iter()
        .map(|part| {
            let title = part.lines().next().unwrap_or_default();
            let mut all = common.clone();
            all.extend(parsed(blocks(part)));
            case(format!("{file}: {title}"), all)
        })
        .collect()
}

/// Blocks by what they are; several of a kind are one with `---` between them.
fn parsed(blocks: Vec<Block>) -> HashMap<String, String> {
    let mut found: HashMap<String, String> = HashMap::new();
    for block in blocks {
        match found.get_mut(&block.info) {
            None => {
                found.insert(block.info, block.text);
            }
            Some(text) => *text = format!("{text}---\n{}", block.text),
        }
    }
    found
}

fn case(name: String, mut blocks: HashMap<String, String>) -> Case {
    let files = blocks
        .iter()
        .filter_map(|(info, text)| Some((info.strip_prefix("json file ")?, text)))
        .map(|(name, text)| (name.to_owned(), text.clone()))
        .collect();
    blocks.retain(|info, _| !info.starts_with("json file "));
    let mut take = |info: &str| blocks.remove(info);
    let missing = |info: &str| panic!("{name}: no block `{info}`");
    let exact = take("http reply exact");
    let case = Case {
        files,
        yaml: take("yaml").unwrap_or_else(|| missing("yaml")),
        services: take("json services").unwrap_or_else(|| "{}".to_owned()),
        request: message(&take("http request").unwrap_or_else(|| missing("http request"))),
        is_exact: exact.is_some(),
        reply: message(
            &exact
                .or_else(|| take("http reply"))
                .unwrap_or_else(|| missing("http reply")),
        ),
        calls: take("text calls").map(|text| text.lines().map(one_spaced).collect()),
        record: take("text record").map(|text| text.lines().map(one_spaced).collect()),
        name: name.clone(),
    };
    let left: Vec<&String> = blocks.keys().collect();
    assert!(left.is_empty(), "{name}: unknown blocks {left:?}");
    case
}

fn message(text: &str) -> Message {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    Message {
        start: lines.next().unwrap_or_default().trim().to_owned(),
        headers: lines.map(str::to_owned).collect(),
        body: body.to_owned(),
    }
}

/// A service for each call, and for each that a call names.
pub fn declared(yaml: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut in_calls = false;
    for line in yaml.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            in_calls = line.trim_end() == "calls:";
        }
        let name = line
            .strip_prefix("  ")
            .and_then(|rest| rest.split_once(':'));
        if let Some((name, _)) = name
            && in_calls
            && !name.starts_with([' ', '#'])
        {
            names.push(name);
        }
        if let Some((_, named)) = line.split_once(" service: ") {
            names.push(named.split([' ', ',', '}', '#']).next().unwrap_or_default());
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut text = "services:\n  nobody: { url: \"http://nobody.test\" }\n".to_owned();
    for name in names {
        writeln!(text, "  {name}: {{ url: \"http://service.test\" }}").unwrap();
    }
    text
}

/// Columns may be set by spaces.
pub fn one_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON without the white space between its parts, so that a case can be read.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_text = false;
    let mut escaped = false;
    for sign in json.chars() {
        if in_text || !sign.is_whitespace() {
            out.push(sign);
        }
        in_text = in_text != (sign == '"' && !escaped);
        escaped = in_text && sign == '\\' && !escaped;
    }
    out
}

/// Whether `text` is `pattern`, in which `…` stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().expect("a split has a first part");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
