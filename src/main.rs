//! The program: runs the verb that was asked for, and leaves with its exit code.

mod allocator;

use std::process::ExitCode;

/// A request makes some hundred small allocations, and long bodies come and go: glibc's costs a fifth more
/// in all for the first, and a third for the second, which it gives back to the system each time
/// (`docs/performance.md`). Without huge pages, with which it takes twice the memory at rest.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    anabranch::cli::run().into()
}
