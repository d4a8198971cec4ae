//! `drain`: an instance finishes what it has and ends.

use clap::Args;
use http::Method;

use super::remote::{self, Options};
use super::{Exit, Report, output};

/// Have a running instance finish its requests and end
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let answer = match remote::ask(&arguments.options, Method::POST, "/drain") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if answer.status != 202 {
        output::complain(&format!("answered {}: {}", answer.status, answer.body));
        return Exit::CouldNot;
    }
    match arguments.options.format {
        Report::Text => output::data("draining\n"),
        Report::Json => output::data(&answer.body),
    }
    Exit::Fine
}
