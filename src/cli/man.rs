//! `man`: the manual page, all verbs in one.

use std::io;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Exit, output};

/// Print the manual page (read it with `anabranch man | man -l -`)
#[derive(Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> Exit {
    match page() {
        Ok(page) => {
            output::bytes(&page);
            Exit::Fine
        }
        Err(error) => {
            output::complain(&format!("the manual page cannot be written: {error}"));
            Exit::CouldNot
        }
    }
}

fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let whole = Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH VERBS\n");
    for verb in command.get_subcommands() {
        if verb.get_name() != "help" {
            page.extend_from_slice(&section(verb)?);
        }
    }
    page.extend_from_slice(EXITS.as_bytes());
    Ok(page)
}

/// A verb as a part of a section: what clap writes for it as a page of its own, without headings.
fn section(verb: &Command) -> io::Result<Vec<u8>> {
    let mut section = format!(".SS {}\n", verb.get_name()).into_bytes();
    let man = Man::new(verb.clone());
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    man.render_synopsis_section(&mut parts[0])?;
    man.render_description_section(&mut parts[1])?;
    man.render_options_section(&mut parts[2])?;
    for part in parts {
        section.extend_from_slice(b".PP\n");
        let is_text = |line: &&[u8]| {
            let headings: [&[u8]; 3] = [b".SH ", b".ie ", b".el "];
            !headings.iter().any(|heading| line.starts_with(heading))
        };
        for line in part.split_inclusive(|byte| *byte == b'\n').filter(is_text) {
            section.extend_from_slice(line);
        }
    }
    Ok(section)
}

const EXITS: &str = "\
.SH EXIT STATUS
0: fine. 1: findings. 2: could not run. 78: serve refused its configuration at start.
.SH SIGNALS
SIGHUP reloads. SIGTERM and SIGINT drain, a second one ends at once.
.SH ENVIRONMENT
ANABRANCH_CONFIG: the files and folders to read where none is named. ANABRANCH_ADMIN: the admin \
listener to ask. NO_COLOR: no colours.
";
