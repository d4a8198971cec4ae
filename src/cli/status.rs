//! `status`: what an instance serves, and whether its files say the same.

use std::fmt::Write;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::remote::{self, Options};
use super::{Exit, Report, output, reload};

/// Tell what a running instance serves (exit 1: its files were refused since)
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let asked = remote::ask(&arguments.options, Method::GET, "/config").and_then(|config| {
        Ok((
            config,
            remote::ask(&arguments.options, Method::GET, "/readyz")?,
        ))
    });
    let (config, ready) = match asked {
        Ok(answers) => answers,
        Err(exit) => return exit,
    };
    if config.status != 200 {
        output::complain(&format!("answered {}: {}", config.status, config.body));
        return Exit::CouldNot;
    }
    let mut status = config.json();
    status["state"] = ready.body.trim().into();
    match arguments.options.format {
        Report::Text => output::data(&text(&status)),
        Report::Json => output::data(&format!("{status:#}\n")),
    }
    match status["last_refused"]["stands"] == true {
        true => Exit::Findings,
        false => Exit::Fine,
    }
}

fn text(status: &Value) -> String {
    let field = |name: &str| status[name].as_str().unwrap_or_default();
    let state = match field("state") {
        "ok" => "serving",
        other => other,
    };
    let mut text = format!(
        "anabranch {}, {state} since {}\n",
        field("version"),
        field("started"),
    );
    let files = status["files"].as_array().map_or(0, Vec::len);
    let _ = writeln!(
        text,
        "generation {} since {}: {} routes over {} services, from {files} files",
        status["generation"],
        field("since"),
        status["routes"],
        status["services"],
    );
    text.push_str(&load(&status["load"]));
    text.push_str(&resting(&status["resting"]));
    text.push_str(&reload::kept(status));
    let refused = &status["last_refused"];
    if refused["stands"] == true {
        let when = refused["when"].as_str().unwrap_or_default();
        let _ = writeln!(text, "the files were refused at {when}:");
        text.push_str(&reload::findings(refused));
    }
    text
}

/// A line for each endpoint that is not asked, or only by way of trial.
fn resting(endpoints: &Value) -> String {
    let endpoints = endpoints.as_array().into_iter().flatten();
    let lines = endpoints.map(|endpoint| {
        let service = endpoint["service"].as_str().unwrap_or_default();
        let state = match endpoint["breaker"].as_str() {
            Some("half_open") => "is tried again after failing",
            _ => "is given a rest after failing",
        };
        format!("{service}, endpoint {}, {state}\n", endpoint["endpoint"])
    });
    lines.collect()
}

fn load(load: &Value) -> String {
    let mebibytes = |name: &str| load[name].as_f64().unwrap_or_default() / (1024.0 * 1024.0);
    format!(
        "load: {} requests on {} connections, {:.1} of {:.0} MiB for bodies, lag {} ms\n",
        load["requests"],
        load["connections"],
        mebibytes("memory_reserved"),
        mebibytes("memory_limit"),
        load["lag_ms"],
    )
}
