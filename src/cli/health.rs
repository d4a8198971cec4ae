//! `health`: whether an instance takes requests. The container's health check.

use clap::Args;
use http::Method;
use serde_json::json;

use super::remote::{self, Options};
use super::{Exit, Report, output};

/// Ask a running instance whether it takes requests (exit 1: it does not, 2: nobody answers)
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let answer = match remote::ask(&arguments.options, Method::GET, "/readyz") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let is_ready = answer.status == 200;
    match arguments.options.format {
        Report::Text => output::data(&answer.body),
        Report::Json => {
            let word = answer.body.trim();
            output::data(&format!(
                "{:#}\n",
                json!({ "ready": is_ready, "state": word })
            ));
        }
    }
    match is_ready {
        true => Exit::Fine,
        false => Exit::Findings,
    }
}
