//! The hot operations one by one, on prepared input and without a socket: `operations` is the list.
//!
//! `cargo bench --bench micro` measures time. `micro count NAME TIMES` runs one of them that often and
//! nothing more, for `scripts/instructions`, which counts instructions and needs no quiet machine.

mod operations;

use std::hint::black_box;
use std::process::ExitCode;

use divan::Bencher;
use operations::{Operation, named};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["names"] => operations::ALL
            .iter()
            .for_each(|operation| println!("{}", operation.name)),
        ["count", name, times] => match (named(name), times.parse()) {
            (Some(operation), Ok(times)) => count(operation, times),
            _ => return ExitCode::from(2),
        },
        _ => divan::main(),
    }
    ExitCode::SUCCESS
}

fn count(operation: &Operation, times: u32) {
    let mut once = (operation.prepare)();
    for _ in 0..times {
        once();
    }
}

#[divan::bench(args = operations::ALL.iter().map(|operation| operation.name))]
fn operation(bencher: Bencher<'_, '_>, name: &str) {
    let operation = named(name).expect("the argument is of the list");
    let mut once = (operation.prepare)();
    bencher.bench_local(|| black_box(&mut once)());
}
