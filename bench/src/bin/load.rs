//! Loads a server on loopback and prints what came of it, as JSON.

use std::io;

use anabranch_bench::load::{Plan, run};
use clap::Parser;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(flatten)]
    plan: Plan,
}

fn main() -> io::Result<()> {
    let outcome = run(&Arguments::parse().plan)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
