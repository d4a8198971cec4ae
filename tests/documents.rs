//! What the documents show is true: every YAML block of every document is examined, the files of
//! `routes/` and `examples/` have no findings, links lead somewhere, and answers shown beside a
//! request are the ones that come.
//!
//! A block `yaml` is a whole file. The services of `routes/services.yaml` are there for it, unless it
//! declares some itself. `yaml fragment=call` is what stands below a call's name, `fragment=calls` what
//! stands below `calls:`; `fragment=response`, `fragment=input` and `fragment=service` likewise. In a
//! page of `docs/codes` with two blocks or more the first has to give the code of the page, and the
//! others, which come near it, must not. (What a page cannot show, bytes that are no text, it does not.)

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use anabranch::check::{self, Examination};
use anabranch::diagnostic::Severity;
use support::{Block, Folder, blocks, files_below, root};

/// Every markdown file that a reader is shown; the corpus has its own test.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    found.extend(files_below(&root().join("docs"), ".md"));
    found.extend(files_below(&root().join("examples"), ".md"));
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn every_yaml_block_is_what_its_document_says() {
    let mut count = 0;
    let mut faults = Vec::new();
    for path in documents() {
        let page = code_of_page(&path);
        let mut blocks = blocks(&fs::read_to_string(&path).unwrap());
        blocks.retain(|block| block.info.split_whitespace().next() == Some("yaml"));
        for (place, block) in blocks.iter().enumerate() {
            count += 1;
            let expected = match &page {
                None => Expected::Fine,
                Some(code) if place == 0 && blocks.len() > 1 => Expected::Bad(code),
                Some(code) => Expected::NearlyBad(code),
            };
            if let Some(fault) = fault(block, expected) {
                faults.push(format!("{}:{}: {fault}", name(&path), block.line));
            }
        }
    }
    assert!(count > 5, "only {count} blocks were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `docs/codes/R0102.md` is the page of `R0102`.
fn code_of_page(path: &Path) -> Option<String> {
    let is_page = path.parent()? == root().join("docs/codes");
    let name = path.file_stem()?.to_str()?;
    (is_page && name.starts_with('R')).then(|| name.to_owned())
}

/// What an examination of a block has to find.
enum Expected<'c> {
    Fine,
    /// This code.
    Bad(&'c str),
    /// Neither this code nor any error.
    NearlyBad(&'c str),
}

fn fault(block: &Block, expected: Expected<'_>) -> Option<String> {
    let fragment = block
        .info
        .split_whitespace()
        .find_map(|word| word.strip_prefix("fragment="));
    let text = match fragment {
        None => block.text.clone(),
        Some(kind) => whole(kind, &block.text),
    };
    let found = codes(&examined(&text));
    let has = |code: &str| found.iter().any(|(found, _)| found == code);
    let has_error = found
        .iter()
        .any(|(_, severity)| *severity == Severity::Error);
    let is_right = match expected {
        Expected::Fine => found.is_empty() || (fragment.is_some() && !has_error),
        Expected::Bad(code) => has(code),
        Expected::NearlyBad(code) => !has(code) && !has_error,
    };
    let wanted = match expected {
        Expected::Fine => "fine".to_owned(),
        Expected::Bad(code) => code.to_owned(),
        Expected::NearlyBad(code) => format!("nearly {code}"),
    };
    (!is_right).then(|| format!("it has to be {wanted}, and is {found:?}"))
}

/// A part of a file, in a file.
fn whole(kind: &str, part: &str) -> String {
    let indented = |by: usize| -> String {
        let lines = part.lines().map(|line| format!("{:by$}{line}\n", ""));
        lines.collect()
    };
    let route = "route: GET /shown/{id}\nname: shown\n";
    let response = "response: { status: 204 }\n";
    match kind {
        "call" => format!("{route}{response}calls:\n  pricing:\n{}", indented(4)),
        "calls" => format!("{route}{response}calls:\n{}", indented(2)),
        "input" => format!("{route}{response}input:\n{}", indented(2)),
        "response" => {
            let calls = "calls:\n  profile: { get: /v1/me }\n  pricing: { get: /prices/1 }\n";
            format!("{route}{calls}response:\n{}", indented(2))
        }
        "service" => format!("services:\n  shown:\n{}", indented(4)),
        _ => panic!("no fragment `{kind}`"),
    }
}

fn examined(text: &str) -> Examination {
    let folder = Folder::new();
    let mut paths = vec![folder.write("shown.yaml", text)];
    if !text.lines().any(|line| line.starts_with("services:")) {
        paths.push(root().join("routes/services.yaml"));
    }
    check::examine(&paths)
}

fn codes(examination: &Examination) -> Vec<(String, Severity)> {
    let findings = examination.diagnostics.iter();
    findings
        .map(|finding| (finding.code.to_owned(), finding.severity))
        .collect()
}

#[test]
fn routes_and_examples_have_no_findings() {
    let mut folders = vec![root().join("routes")];
    let examples = fs::read_dir(root().join("examples")).unwrap();
    folders.extend(examples.map(|entry| entry.unwrap().path()));
    assert!(folders.len() >= 5);
    for folder in folders {
        let examination = check::examine(std::slice::from_ref(&folder));
        let findings: Vec<&str> = examination
            .diagnostics
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert!(findings.is_empty(), "{}: {findings:?}", name(&folder));
        assert!(examination.table.is_some(), "{}", name(&folder));
    }
}

#[test]
fn every_yaml_file_names_its_schema() {
    // The pages of the contract stand in `routes` to the letter.
    const AS_GIVEN: [&str; 3] = ["product-page.yaml", "category-list.yaml", "checkout.yaml"];
    for folder in ["routes", "examples"] {
        for file in files_below(&root().join(folder), ".yaml") {
            let is_given = AS_GIVEN.iter().any(|given| file.ends_with(given));
            if folder == "routes" && is_given {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let schema = first
                .strip_prefix("# yaml-language-server: $schema=")
                .unwrap_or_else(|| panic!("{}: no modeline", name(&file)));
            let schema = file.parent().unwrap().join(schema);
            assert!(schema.is_file(), "{}: {schema:?} is no file", name(&file));
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for target in links(&text) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            if !path.parent().unwrap().join(file).exists() {
                faults.push(format!("{}: {target}", name(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The targets of `[text](target)`.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    let parts = markdown.split("](").skip(1);
    parts.filter_map(|part| part.split_once(')').map(|(target, _)| target))
}

#[test]
fn the_readme_shows_the_page_of_its_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = blocks(&readme)
        .into_iter()
        .find(|block| block.info == "yaml")
        .expect("the README shows a route");
    let file = root().join("examples/product-page/product-page.yaml");
    let kept = |line: &&str| !line.starts_with('#') && !line.starts_with("name:");
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(kept);
        lines
            .map(|line| {
                line.split("  #")
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(bare(&shown.text), bare(&fs::read_to_string(file).unwrap()));
}
