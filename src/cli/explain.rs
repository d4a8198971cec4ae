//! `explain CODE`: the page of a diagnostic.

use clap::Args;
use serde_json::json;

use super::{Exit, Report, output};
use crate::diagnostic::{codes, nearest};

/// Explain a diagnostic: what it means, and what to write instead
#[derive(Args)]
pub(super) struct Arguments {
    /// A code, such as R0203; without one, all of them are listed
    code: Option<String>,
    #[arg(long, value_enum, default_value_t = Report::Text)]
    format: Report,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Some(code) = &arguments.code else {
        list(arguments.format);
        return Exit::Fine;
    };
    let Some(found) = codes::find(code) else {
        output::complain(&unknown(code));
        return Exit::CouldNot;
    };
    match arguments.format {
        Report::Text => output::data(found.page),
        Report::Json => output::data(&format!(
            "{:#}\n",
            json!({ "code": found.code, "title": found.title, "page": found.page })
        )),
    }
    Exit::Fine
}

fn list(format: Report) {
    match format {
        Report::Text => {
            let lines = codes::ALL
                .iter()
                .map(|entry| format!("{}  {}\n", entry.code, entry.title));
            output::data(&lines.collect::<String>());
        }
        Report::Json => {
            let codes: Vec<_> = codes::ALL
                .iter()
                .map(|entry| json!({ "code": entry.code, "title": entry.title }))
                .collect();
            output::data(&format!("{:#}\n", json!({ "codes": codes })));
        }
    }
}

fn unknown(code: &str) -> String {
    let upper = code.to_ascii_uppercase();
    match nearest(&upper, codes::ALL.iter().map(|entry| entry.code)) {
        Some(near) => format!("unknown code `{code}`; did you mean `{near}`?"),
        None => format!("unknown code `{code}`; `anabranch explain` lists all of them"),
    }
}
