//! `check [PATH]...`: everything that is wrong, or else what the configuration comes to.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::output::{self, ColourChoice};
use super::{Exit, counted, paths};
use crate::check::{self, Examination};
use crate::diagnostic::render::{self, Format};
use crate::diagnostic::{Diagnostic, Severity};
use crate::plan::{Call, Fallback, FallbackKind, ResponseBody, Role, Route, Table, timeline};
use crate::telemetry::time;

/// Routes that are listed; more would push the first line off any screen.
const LISTED: usize = 50;

/// Examine files and folders, and report every problem at once
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and folders [default: $ANABRANCH_CONFIG, else routes/]
    path: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Exit 1 on warnings too
    #[arg(short = 'D', long)]
    deny_warnings: bool,
    #[arg(long, value_enum, default_value_t = ColourChoice::Auto, alias = "colour")]
    color: ColourChoice,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Short,
    Json,
    Github,
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let started = Instant::now();
    let examination = check::examine(&paths(&arguments.path));
    let took = started.elapsed();
    let colour = arguments.color.on(&io::stdout());
    let format = match arguments.format {
        Form::Text => Format::Text,
        Form::Short => Format::Short,
        Form::Json => Format::Json,
        Form::Github => Format::Github,
        Form::Sarif => Format::Sarif,
    };
    let findings = render::render(format, &examination.files, &examination.diagnostics, colour);
    output::data(&findings);
    for sentence in &examination.unreadable {
        output::complain(sentence);
    }
    let tally = Tally::of(&examination);
    if matches!(arguments.format, Form::Text | Form::Short) {
        output::data(&conclusion(&examination, &tally, took));
    }
    tally.exit(arguments.deny_warnings)
}

/// How many findings of each kind there are.
struct Tally {
    unreadable: usize,
    errors: usize,
    warnings: usize,
}

impl Tally {
    fn of(examination: &Examination) -> Tally {
        let count = |severity| {
            let is_meant = |diagnostic: &&Diagnostic| diagnostic.severity == severity;
            examination.diagnostics.iter().filter(is_meant).count()
        };
        Tally {
            unreadable: examination.unreadable.len(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
        }
    }

    fn exit(&self, deny_warnings: bool) -> Exit {
        if self.unreadable > 0 {
            Exit::CouldNot
        } else if self.errors > 0 || deny_warnings && self.warnings > 0 {
            Exit::Findings
        } else {
            Exit::Fine
        }
    }

    fn text(&self) -> String {
        let mut parts = Vec::new();
        if self.errors > 0 {
            parts.push(counted(self.errors, "error"));
        }
        if self.warnings > 0 {
            parts.push(counted(self.warnings, "warning"));
        }
        parts.join(", ")
    }
}

fn conclusion(examination: &Examination, tally: &Tally, took: Duration) -> String {
    let files = counted(examination.files.files.len(), "file");
    let Some(table) = &examination.table else {
        return match examination.diagnostics.first() {
            Some(first) => format!(
                "{files}, {}   run `anabranch explain {}`\n",
                tally.text(),
                first.code
            ),
            None => String::new(),
        };
    };
    let calls = table.routes.iter().map(|route| route.calls.len()).sum();
    let mut text = format!(
        "ok  {files}   {}, {}, {}   {}\n",
        counted(table.routes.len(), "route"),
        counted(calls, "call"),
        counted(table.services.len(), "service"),
        time::readable(took),
    );
    if tally.warnings > 0 {
        text.insert_str(2, &format!(", with {}", tally.text()));
    }
    if !table.routes.is_empty() {
        text.push('\n');
        text.push_str(&listing(table));
    }
    text
}

/// The routes as a table.
fn listing(table: &Table) -> String {
    let rows: Vec<[String; 6]> = table
        .routes
        .iter()
        .take(LISTED)
        .map(|route| row(table, route))
        .collect();
    let width = rows.iter().map(|row| row[0].chars().count()).max();
    let width = width.unwrap_or(0).max("route".len());
    let mut text = format!(
        "  {:width$}  calls  depth  worst case  deadline  degrades to\n",
        "route"
    );
    for [route, calls, depth, worst, deadline, degrades] in &rows {
        let _ = writeln!(
            text,
            "  {route:width$}  {calls:>5}  {depth:>5}  {worst:>10}  {deadline:>8}  {degrades}"
        );
    }
    if table.routes.len() > LISTED {
        let _ = writeln!(text, "  … and {} more", table.routes.len() - LISTED);
    }
    text
}

fn row(table: &Table, route: &Route) -> [String; 6] {
    let plan = timeline::of(route, &table.services);
    [
        format!("{} {}", route.method, route.pattern),
        route.calls.len().to_string(),
        plan.depth.to_string(),
        time::readable(plan.worst.min(timeline::call_time(route.timeout))),
        time::readable(route.timeout),
        degrades_to(route),
    ]
}

/// What is left of an answer when services are down, in a few words.
fn degrades_to(route: &Route) -> String {
    let names = |is_meant: &dyn Fn(&Call) -> bool| {
        let names: Vec<&str> = route
            .calls
            .iter()
            .filter(|call| call.role == Role::Normal && is_meant(call))
            .map(|call| call.name.as_str())
            .collect();
        listed(&names)
    };
    if let ResponseBody::Pass(call) = route.response.body {
        return format!("passes {} through", route.calls[call.0].name);
    }
    let required = names(&|call| !is_spared(call));
    let spared = names(&is_spared);
    match (required.is_empty(), spared.is_empty()) {
        (true, true) => "needs no service".into(),
        (false, true) => format!("fails if {required} fails"),
        (true, false) => format!("answers without {spared}"),
        (false, false) => format!("answers without {spared}; fails if {required} fails"),
    }
}

/// The route answers whatever becomes of this call: a fallback that is a call may fail too.
fn is_spared(call: &Call) -> bool {
    let always = |fallback: &Fallback| {
        !fallback.only_not_sent && matches!(fallback.kind, FallbackKind::Value(_))
    };
    call.optional || call.fallback.iter().any(always)
}

/// `a`, `a or b`, `a, b or c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}
