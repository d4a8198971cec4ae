//! `reload`: an instance examines its files now, and says what came of it.

use std::fmt::Write;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::remote::{self, Options};
use super::{Exit, Report, output};

/// Have a running instance read its files again (exit 1: they were refused)
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let answer = match remote::ask(&arguments.options, Method::POST, "/reload") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if !matches!(answer.status, 200 | 422) {
        output::complain(&format!("answered {}: {}", answer.status, answer.body));
        return Exit::CouldNot;
    }
    match arguments.options.format {
        Report::Text => output::data(&text(&answer.json())),
        Report::Json => output::data(&answer.body),
    }
    match answer.status {
        200 => Exit::Fine,
        _ => Exit::Findings,
    }
}

fn text(report: &Value) -> String {
    let result = report["result"].as_str().unwrap_or_default();
    let mut text = format!(
        "{result}: generation {} is in force\n",
        report["generation"]
    );
    text.push_str(&findings(report));
    text.push_str(&kept(report));
    text
}

/// The findings of a report, one line each.
pub(super) fn findings(report: &Value) -> String {
    let mut text = String::new();
    for finding in list(&report["diagnostics"]) {
        let field = |name: &str| finding[name].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "{}:{}:{}: {}[{}]: {}",
            field("file"),
            finding["line"],
            finding["column"],
            field("severity"),
            field("code"),
            field("message"),
        );
        if let Some(help) = finding["help"].as_str() {
            let _ = writeln!(text, "  help: {help}");
        }
    }
    for sentence in list(&report["unreadable"]) {
        let _ = writeln!(text, "error: {}", sentence.as_str().unwrap_or_default());
    }
    text
}

/// The keys that count at start only.
pub(super) fn kept(report: &Value) -> String {
    let mut text = String::new();
    for kept in list(&report["kept"]) {
        let field = |name: &str| kept[name].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "{} counts at start only: {} stays in force until then, the files say {}",
            field("key"),
            field("in_force"),
            field("written"),
        );
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
