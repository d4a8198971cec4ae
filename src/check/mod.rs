//! One door to "is this configuration good?": read, compile, lint. Nothing else reads files.

use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Files};
use crate::plan::Table;

/// What an examination found. `table` is there when no finding is an error: it is the very value
/// that is served.
pub struct Examination {
    pub table: Option<Arc<Table>>,
    pub files: Files,
    /// Sorted by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// What could not be read at all (exit 2), one sentence each.
    pub unreadable: Vec<String>,
    /// Files and folders to watch, also when there are errors.
    pub watched: Vec<PathBuf>,
    /// Of everything that was read: an examination with the same print found the same.
    pub fingerprint: u64,
}

/// Reads, compiles and lints everything below `paths`, with `${NAME}` from the process's environment.
pub fn examine(_paths: &[PathBuf]) -> Examination {
    unimplemented!()
}
