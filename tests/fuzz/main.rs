//! Bytes by chance at the four doors at which bytes come in that others wrote: requests, answers of
//! services, values that become part of a URL, route files.
//!
//! A target is one function of bytes, which panics where a property does not hold. Beside it lies its
//! corpus, an input a file: each is held as it is, then all of them are changed by chance, so many
//! times and from a seed that is fixed. An input that fails is written down, to be kept in the corpus
//! under a name that says what it is. `fuzz/` runs the same functions guided by coverage.

mod request;
mod response;
#[path = "../support/mod.rs"]
mod support;
mod url;
mod yaml;

use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use fastrand::Rng;
use support::{files_below, root};

const SEED: u64 = 20_261_125;

/// The most bytes of an input that is made here.
const MOST_BYTES: usize = 8 * 1024;

struct Target {
    name: &'static str,
    hold: fn(&[u8]),
    /// What is put in by chance, beside single bytes.
    tokens: &'static [&'static str],
    /// So many that a debug build needs a few seconds.
    cases: usize,
}

#[test]
fn requests_reach_a_call_only_where_they_are_whole() {
    run(&Target {
        name: "request",
        hold: request::hold,
        tokens: &request::TOKENS,
        cases: 800,
    });
}

#[test]
fn answers_of_a_service_are_json_or_failures_in_time() {
    run(&Target {
        name: "response",
        hold: response::hold,
        tokens: &response::TOKENS,
        cases: 400,
    });
}

#[test]
fn values_in_a_url_stay_where_they_are_put() {
    run(&Target {
        name: "url",
        hold: url::hold,
        tokens: &url::TOKENS,
        cases: 4000,
    });
}

#[test]
fn route_files_are_examined_whatever_is_in_them() {
    run(&Target {
        name: "yaml",
        hold: yaml::hold,
        tokens: &yaml::TOKENS,
        cases: 400,
    });
}

fn run(target: &Target) {
    count_panics();
    let seeds: Vec<Vec<u8>> = seed_files(target.name)
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            hold(target, &path.display().to_string(), &bytes);
            bytes
        })
        .collect();
    println!("seed {SEED}");
    let mut random = Rng::with_seed(SEED);
    for number in 0..target.cases {
        let bytes = changed(&mut random, &seeds, target.tokens);
        hold(target, &format!("case {number}"), &bytes);
    }
}

/// The corpus of a target; route files are also those that the repository has.
fn seed_files(name: &str) -> Vec<PathBuf> {
    let corpus = root().join("tests/fuzz").join(name).join("corpus");
    let mut files = files_below(&corpus, "");
    assert!(files.len() >= 10, "only {} seeds for {name}", files.len());
    if name == "yaml" {
        files.extend(files_below(&root().join("routes"), ".yaml"));
        files.extend(files_below(&root().join("examples"), ".yaml"));
    }
    files
}

thread_local! {
    /// Panics of this thread, also those that are caught on their way.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            report(panic);
        }));
    });
}

fn hold(target: &Target, name: &str, bytes: &[u8]) {
    // The server answers a panic with 500, the runtime drops it with its task: so they are counted.
    let _ = catch_unwind(|| (target.hold)(bytes));
    if PANICS.take() > 0 {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        std::fs::write(&path, bytes).unwrap();
        panic!("{name} does not hold; it is in {}", path.display());
    }
}

/// One of the seeds after a few edits.
fn changed(random: &mut Rng, seeds: &[Vec<u8>], tokens: &[&str]) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    edit(random, &mut bytes, seeds, tokens);
    while random.u8(..3) == 0 {
        edit(random, &mut bytes, seeds, tokens);
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn edit(random: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], tokens: &[&str]) {
    let start = random.usize(..=bytes.len());
    let most = (bytes.len() - start).min(random.usize(..=40));
    let end = start + random.usize(..=most);
    let token = tokens[random.usize(..tokens.len())].bytes();
    match random.u8(..6) {
        0 => drop(bytes.splice(start..start, token)),
        1 => drop(bytes.splice(start..end, token)),
        2 => drop(bytes.drain(start..end)),
        3 => {
            let again = bytes[start..end].repeat(random.usize(1..5));
            bytes.splice(end..end, again);
        }
        4 => drop(bytes.splice(start..(start + 1).min(end), [random.u8(..)])),
        _ => {
            let other = &seeds[random.usize(..seeds.len())];
            bytes.truncate(start);
            bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
        }
    }
}
