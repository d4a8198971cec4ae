//! What the repository says about itself is so: the map names modules and files that are there, in
//! their order, and nothing in it belongs to one machine.

mod support;

use std::fs;
use std::path::PathBuf;

use support::{files_below, root};

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// The modules of `src/lib.rs`, from the top.
fn modules() -> Vec<String> {
    let lib = read("src/lib.rs");
    let lines = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    lines
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_map_lists_every_module_in_its_order() {
    let map = read("ARCHITECTURE.md");
    let rows = map.lines().filter(|line| line.starts_with("| "));
    let listed: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(quoted)
        .collect();
    assert_eq!(listed, modules());
}

#[test]
fn the_map_names_what_is_there() {
    let map = read("ARCHITECTURE.md");
    let modules = modules();
    let mut named = 0;
    for path in quoted(&map).filter(|path| path.contains("::") && !path.contains(' ')) {
        let mut parts = path.split("::");
        let module = parts.next().unwrap_or_default();
        assert!(
            modules.iter().any(|known| known == module),
            "`{path}`: no such module"
        );
        let rest: Vec<&str> = parts.filter(|part| !part.starts_with('<')).collect();
        for part in rest {
            named += 1;
            assert!(is_in(module, part), "`{path}`: `{module}` has no `{part}`");
        }
    }
    assert!(named >= 10, "only {named} names were found");
}

/// Whether a module has a file of this name, or an item.
fn is_in(module: &str, name: &str) -> bool {
    let folder = root().join("src").join(module);
    let mut files: Vec<PathBuf> = vec![folder.with_extension("rs")];
    files.retain(|file| file.is_file());
    if folder.is_dir() {
        files.extend(files_below(&folder, ".rs"));
        if folder.join(name).is_dir() {
            return true;
        }
    }
    files.iter().any(|file| {
        let text = fs::read_to_string(file).unwrap();
        let declared = |word: &str| text.contains(&format!("pub {word} {name}"));
        file.file_stem().is_some_and(|stem| stem == name)
            || ["fn", "async fn", "struct", "enum", "trait"]
                .into_iter()
                .any(declared)
    })
}

#[test]
fn paths_that_documents_name_are_there() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let paths = quoted(&text).filter(|path| {
            let begins = [
                "src/",
                "tests/",
                "docs/",
                "routes/",
                "examples/",
                "scripts/",
                ".ci/",
            ];
            begins.iter().any(|folder| path.starts_with(folder)) && !path.contains('*')
        });
        for path in paths {
            assert!(
                root().join(path).exists(),
                "{document}: `{path}` is not there"
            );
        }
    }
}

#[test]
fn the_version_has_its_place_in_the_changelog() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").contains(&format!("\n## [{version}] - ")));
    assert!(read("Dockerfile").contains(&format!("ARG VERSION={version}\n")));
}

#[test]
fn no_file_is_of_one_machine() {
    let mut files = vec![root().join("Dockerfile"), root().join(".ci/run")];
    for folder in [
        "src",
        "docs",
        "routes",
        "examples",
        "scripts",
        "tests/corpus",
    ] {
        files.extend(files_below(&root().join(folder), ""));
    }
    for ending in [".md", ".toml"] {
        let entries = fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.to_string_lossy().ends_with(ending)));
    }
    assert!(files.len() > 100);
    let paths = ["root", "work", "home"].map(|folder| format!("/{folder}/"));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for path in &paths {
            let found = text.lines().position(|line| line.contains(path.as_str()));
            assert_eq!(
                found,
                None,
                "{}: a path of a machine, `{path}`",
                file.display()
            );
        }
    }
}
