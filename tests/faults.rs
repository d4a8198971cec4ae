//! Runs every case of `tests/faults`: broken configurations, each fault marked where it has to be found.
//!
//! A file has a case for each `##`: a block `yaml` with `⟦…⟧` around what is at fault (the first sign
//! after `⟦` is where the finding has to stand; an empty `⟦⟧` is a place), and a block `text` with one
//! line for each finding, in the order of their places, in which `…` stands for anything:
//! `error: the headline; the help`. Nothing else may be found. Services as in `tests/corpus.rs`.

mod support;

use anabranch::check;
use anabranch::diagnostic::Severity;
use support::case::{declared, fits, one_spaced};
use support::{Folder, blocks, files_below, root};

#[test]
fn every_fault_is_found_at_its_place() {
    let folder = root().join("tests/faults");
    let mut count = 0;
    let mut failures = Vec::new();
    for file in files_below(&folder, ".md") {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        let markdown = std::fs::read_to_string(&file).unwrap();
        for part in markdown.split("\n## ").skip(1) {
            count += 1;
            let title = part.lines().next().unwrap_or_default();
            if let Some(difference) = difference(part) {
                failures.push(format!("=== {name}: {title}\n{difference}"));
            }
        }
    }
    assert!(count >= 30, "only {count} cases were found");
    assert!(
        failures.is_empty(),
        "{} of {count} cases do not hold\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn difference(part: &str) -> Option<String> {
    let blocks = blocks(part);
    let block = |info: &str| {
        let mut all = blocks.iter().filter(|block| block.info == info);
        all.next().map(|block| block.text.clone())
    };
    let marked = block("yaml").expect("a case has a block `yaml`");
    let patterns = block("text").expect("a case has a block `text`");
    let (yaml, places) = unmarked(&marked);
    let expected: Vec<String> = places
        .iter()
        .zip(patterns.lines().map(one_spaced))
        .map(|((line, column), pattern)| format!("{line}:{column} {pattern}"))
        .collect();
    assert_eq!(
        places.len(),
        patterns.lines().count(),
        "{part}: one line a mark"
    );
    let found = found(&yaml);
    let fit = expected.len() == found.len()
        && expected
            .iter()
            .zip(&found)
            .all(|(pattern, text)| fits(pattern, text));
    (!fit).then(|| {
        format!(
            "expected\n{}\nfound\n{}",
            expected.join("\n"),
            found.join("\n")
        )
    })
}

/// The text without its marks, and where they were: line and column from 1.
fn unmarked(marked: &str) -> (String, Vec<(usize, usize)>) {
    let mut text = String::new();
    let mut places = Vec::new();
    let (mut line, mut column) = (1, 1);
    for sign in marked.chars() {
        match sign {
            '⟦' => places.push((line, column)),
            '⟧' => {}
            sign => {
                text.push(sign);
                (line, column) = if sign == '\n' {
                    (line + 1, 1)
                } else {
                    (line, column + 1)
                };
            }
        }
    }
    (text, places)
}

fn found(yaml: &str) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.write("case.yaml", yaml);
    let mut paths = vec![file];
    if !yaml.lines().any(|line| line.starts_with("services:")) {
        paths.push(folder.write("services.yaml", &declared(yaml)));
    }
    let examination = check::examine(&paths);
    let findings = examination.diagnostics.iter().map(|finding| {
        let (start, _) = examination.files.place(finding.span);
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let help = finding.help.as_deref().unwrap_or_default();
        let text = format!("{severity}: {}; {help}", finding.message);
        format!("{}:{} {}", start.line, start.column, one_spaced(&text))
    });
    findings.collect()
}
