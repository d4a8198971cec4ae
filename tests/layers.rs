//! The order of the modules in `src/lib.rs` holds: a module imports only modules above it, and
//! nobody climbs out of a module by `super`. Read from the source's words, so that a path written in
//! the middle of a function counts as much as a `use`.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_module_imports_one_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = order_of(&fs::read_to_string(source.join("lib.rs")).unwrap());
    assert!(
        order.len() > 10,
        "src/lib.rs lists its modules as `pub mod NAME;`"
    );
    let mut findings = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let path = module_path(relative);
        if path.is_empty() {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let found = examine(&order, &path, &text);
        findings.extend(
            found
                .into_iter()
                .map(|finding| format!("src/{}:{finding}", relative.display())),
        );
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn wrong_imports_are_found_and_right_ones_are_not() {
    let order = order_of("pub mod low;\n// a layer\npub mod middle;\npub mod high;\n");
    assert_eq!(order, ["low", "middle", "high"]);
    let check = |path: &str, text: &str, expected: &[&str]| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        assert_eq!(examine(&order, &path, text), expected, "{text}");
    };
    check("middle", "use crate::low::Thing;", &[]);
    check("middle", "use crate::middle::part::Thing;", &[]);
    check(
        "middle",
        "use crate::high::Thing;",
        &["1: `middle` imports `high`, which stands below it"],
    );
    check(
        "middle",
        "\nfn f() -> u8 { crate :: high::f() }",
        &["2: `middle` imports `high`, which stands below it"],
    );
    check(
        "middle",
        "use crate::{low::{a, high}, high::b, middle};",
        &["1: `middle` imports `high`, which stands below it"],
    );
    check(
        "low",
        "use crate::lost::Thing;",
        &["1: `lost` is no module of src/lib.rs"],
    );
    check(
        "low",
        "use crate::Thing;",
        &["1: `Thing` is no module of src/lib.rs"],
    );
    // What is not code is not read.
    check("low", "// use crate::high;\n/* crate::high /* x */ */", &[]);
    check(
        "low",
        r####"const A: &str = "crate::high"; const B: &str = r##"crate::high"##;"####,
        &[],
    );
    check(
        "low",
        r#"const Q: char = '"'; fn f<'a>(x: &'a str) { crate::high::f(x) } const E: char = '\'';"#,
        &["1: `low` imports `high`, which stands below it"],
    );
    // `super` stays within its module.
    check("low::part", "use super::Thing;", &[]);
    check("low", "mod tests { use super::*; }", &[]);
    check(
        "low",
        "use super::high;",
        &["1: `super` climbs out of `low`"],
    );
    check(
        "low::part",
        "use super::super::high;",
        &["1: `super` climbs out of `low`"],
    );
    check(
        "low",
        "mod tests { use super::super::high; } mod more { }",
        &["1: `super` climbs out of `low`"],
    );
    check(
        "low",
        "mod tests { fn f() {} } use super::high;",
        &["1: `super` climbs out of `low`"],
    );
}

/// The names in the `pub mod NAME;` lines, from the top.
fn order_of(lib: &str) -> Vec<String> {
    let lines = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    lines
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `json/scan.rs` is `json::scan`, `json/mod.rs` is `json`; the two roots are nothing.
fn module_path(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let parts = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod");
    let parts: Vec<String> = parts.collect();
    match parts.as_slice() {
        [root] if root == "lib" || root == "main" => Vec::new(),
        _ => parts,
    }
}

/// `LINE: what is wrong`, for every wrong import of the module at `path`.
fn examine(order: &[String], path: &[String], text: &str) -> Vec<String> {
    let own = &path[0];
    let place = |name: &str| order.iter().position(|module| module == name);
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    let mut findings = Vec::new();
    let mut depth = 0;
    // The brace depths at which inline modules were opened.
    let mut inline = Vec::new();
    for at in 0..tokens.len() {
        let line = tokens[at].line;
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|opened| *opened < depth);
            }
            "mod" if word(at + 2) == "{" => inline.push(depth),
            "super" if word(at.wrapping_sub(2)) != "super" => {
                let climbs = (at..).step_by(2).take_while(|at| word(*at) == "super");
                if climbs.count() >= path.len() + inline.len() {
                    findings.push(format!("{line}: `super` climbs out of `{own}`"));
                }
            }
            "crate" if word(at + 1) == "::" => {
                for name in targets(&tokens, at + 2) {
                    match place(&name) {
                        None => {
                            findings.push(format!("{line}: `{name}` is no module of src/lib.rs"));
                        }
                        Some(target) if Some(target) > place(own) => findings.push(format!(
                            "{line}: `{own}` imports `{name}`, which stands below it"
                        )),
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// What follows `crate::`: one name, or the first name of each path of a group.
fn targets(tokens: &[Token], from: usize) -> Vec<String> {
    let Some(first) = tokens.get(from) else {
        return Vec::new();
    };
    if first.word != "{" {
        return vec![first.word.clone()];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for pair in tokens[from..].windows(2) {
        match pair[0].word.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let begins = depth == 1 && matches!(pair[0].word.as_str(), "{" | ",");
        if begins && pair[1].word != "}" {
            names.push(pair[1].word.clone());
        }
    }
    names
}

struct Token {
    word: String,
    line: usize,
}

/// Words, `::` and single signs; comments, texts and characters are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let next = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while at < chars.len() {
        let from = at;
        at = match (chars[at], next(at + 1)) {
            ('/', '/') => end(&chars, at, |at| next(at) == '\n'),
            ('/', '*') => end_of_block(&chars, at),
            ('"', _) => end_of_text(&chars, at),
            ('r', '"' | '#') => end_of_raw_text(&chars, at),
            ('\'', '\\') => end(&chars, at + 3, |at| next(at) == '\'') + 1,
            ('\'', _) if next(at + 2) == '\'' => at + 3,
            (':', ':') => at + 2,
            (sign, _) if is_word(sign) => end(&chars, at, |at| !is_word(next(at))),
            _ => at + 1,
        };
        let at_end = at.min(chars.len());
        let word: String = chars[from..at_end].iter().collect();
        let code = is_word(chars[from]) || at == from + 1 || word == "::";
        if code && !chars[from].is_whitespace() && !word.contains('"') {
            tokens.push(Token { word, line });
        }
        line += chars[from..at_end].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

fn end(chars: &[char], from: usize, over: impl Fn(usize) -> bool) -> usize {
    (from..chars.len())
        .find(|at| over(*at))
        .unwrap_or(chars.len())
}

fn end_of_block(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Of `r"…"` and `r#"…"#`; an `r#name` is a word.
fn end_of_raw_text(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let open = from + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return end(chars, open, |at| !is_word(chars[at]));
    }
    let closes = |at: usize| {
        chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take_while(|c| **c == '#')
                .take(hashes)
                .count()
                == hashes
    };
    end(chars, open + 1, closes) + 1 + hashes
}
