//! The verbs of the command line, one file each.
//!
//! Standard output is data, standard error is talk. A verb says how it ended with an [`Exit`]; only
//! `main` leaves the process. No verb but those whose job it is touches the network.

mod call;
mod check;
mod completions;
mod demo;
mod drain;
mod explain;
mod health;
mod man;
mod output;
mod plan;
mod reload;
mod remote;
mod schema;
mod serve;
mod status;
mod waterfall;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};

use self::output::ColourChoice;
use crate::diagnostic::render;
use crate::plan::Table;

/// What `serve` reads where nothing else is said.
const DEFAULT_PATH: &str = "routes";

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine,
    /// The verb did its work and found something.
    Findings,
    /// The verb could not do its work.
    CouldNot,
    /// `serve` refused its configuration at start (`EX_CONFIG`).
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Findings => 1,
            Exit::CouldNot => 2,
            Exit::Configuration => 78,
        })
    }
}

/// A config-driven API aggregation proxy: one request branches out to many services and rejoins as
/// one answer
#[derive(Parser)]
#[command(name = "anabranch", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Arguments),
    Check(check::Arguments),
    Plan(plan::Arguments),
    Call(call::Arguments),
    Demo(demo::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    Health(health::Arguments),
    Status(status::Arguments),
    Reload(reload::Arguments),
    Drain(drain::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the verb that was asked for.
pub fn run() -> Exit {
    let exit = run_verb();
    match output::is_lost() {
        true => Exit::CouldNot,
        false => exit,
    }
}

fn run_verb() -> Exit {
    match Cli::parse().verb {
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Call(arguments) => call::run(arguments),
        Verb::Demo(arguments) => demo::run(arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Schema(arguments) => schema::run(&arguments),
        Verb::Health(arguments) => health::run(&arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Reload(arguments) => reload::run(&arguments),
        Verb::Drain(arguments) => drain::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
    }
}

/// The forms in which most verbs report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Report {
    Text,
    Json,
}

/// The files and folders that were named, or else `ANABRANCH_CONFIG`, or else `routes/`.
fn paths(named: &[PathBuf]) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named.to_vec();
    }
    match std::env::var_os("ANABRANCH_CONFIG") {
        Some(paths) if !paths.is_empty() => std::env::split_paths(&paths).collect(),
        _ => vec![PathBuf::from(DEFAULT_PATH)],
    }
}

/// The table of a configuration that is good, or its findings on standard error.
fn table(named: &[PathBuf]) -> Result<Arc<Table>, Exit> {
    let examination = crate::check::examine(&paths(named));
    if let Some(table) = examination.table {
        return Ok(table);
    }
    let colour = ColourChoice::Auto.on(&io::stderr());
    let findings = render::text::render(&examination.files, &examination.diagnostics, colour);
    output::talk(&findings);
    for sentence in &examination.unreadable {
        output::complain(sentence);
    }
    Err(Exit::CouldNot)
}

/// `1 route`, `2 routes`.
fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// How many cores the process may use, as its cgroup has it.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The runtime of the thread that the verb runs on; whoever serves has workers beside it.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
