//! `schema`: the JSON Schema of the file format, for editors.

use clap::Args;

use super::{Exit, output};
use crate::config::schema;

/// Print the JSON Schema of the file format, for editors
#[derive(Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> Exit {
    output::data(&schema::text());
    Exit::Fine
}
