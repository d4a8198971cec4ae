//! The program: runs the verb that was asked for, and leaves with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    anabranch::cli::run().into()
}
