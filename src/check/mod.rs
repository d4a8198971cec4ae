//! One door to "is this configuration good?": read, compile, lint. Nothing else reads files.
//!
//! What is blessed here is the very value that is served. Errors come from `config` and
//! `plan::compile`; the warnings are [`rules`].

mod rules;

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::diagnostic::{Diagnostic, FileId, Files, Severity, Span, arrange};
use crate::plan::Table;
use crate::plan::compile::compile;

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
    /// Of everything that counts: an examination with the same print found the same.
    pub fingerprint: u64,
}

/// Reads, compiles and lints everything below `paths`, with `${NAME}` from the process's environment.
pub fn examine(paths: &[PathBuf]) -> Examination {
    examine_with(paths, &|name| std::env::var(name).ok())
}

/// The same with another environment.
pub fn examine_with(paths: &[PathBuf], variable: &dyn Fn(&str) -> Option<String>) -> Examination {
    let reading = match config::read(paths, variable) {
        Ok(reading) => reading,
        Err(unreadable) => return nothing_read(paths, &unreadable),
    };
    let config::Reading {
        files,
        documents,
        findings,
        fingerprint,
    } = reading;
    let compiled = compile(&documents, &files);
    let mut diagnostics = findings;
    diagnostics.extend(compiled.diagnostics);
    let errors = errors_of(&diagnostics);
    let warnings = compiled.routes.iter().flat_map(|(route, reads)| {
        let document = &documents.routes[route.index];
        rules::apply(&rules::Facts {
            document,
            route,
            reads,
            services: &compiled.services,
            is_whole: !has_error_in(&errors, document.span),
        })
    });
    let mut warnings: Vec<Diagnostic> = warnings.collect();
    warnings.extend(rules::apply_to_all(
        &documents,
        &compiled.routes,
        &compiled.services,
    ));
    diagnostics.extend(warnings);
    let diagnostics = arrange(diagnostics, &files);
    let has_error = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    Examination {
        table: compiled.table.filter(|_| !has_error).map(Arc::new),
        fingerprint: whole_print(fingerprint, &files, &documents.watched, has_error),
        files,
        diagnostics,
        unreadable: Vec::new(),
        watched: documents.watched,
    }
}

/// Where errors begin, sorted.
fn errors_of(diagnostics: &[Diagnostic]) -> Vec<(FileId, u32)> {
    let errors = diagnostics.iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    let mut places: Vec<_> = errors
        .map(|found| (found.span.file, found.span.start))
        .collect();
    places.sort_unstable();
    places
}

fn has_error_in(errors: &[(FileId, u32)], document: Span) -> bool {
    let Span { file, start, end } = document;
    let next = errors.partition_point(|place| *place < (file, start));
    errors.get(next).is_some_and(|place| *place <= (file, end))
}

fn nothing_read(paths: &[PathBuf], unreadable: &[config::Unreadable]) -> Examination {
    let sentences: Vec<String> = unreadable
        .iter()
        .map(|fault| fault.message.clone())
        .collect();
    let mut hasher = DefaultHasher::new();
    sentences.hash(&mut hasher);
    Examination {
        table: None,
        files: Files::default(),
        diagnostics: Vec::new(),
        unreadable: sentences,
        watched: paths.to_vec(),
        fingerprint: hasher.finish(),
    }
}

/// The values of the documents and the bytes of the files they name. What is refused is told apart by
/// its text: its findings have places.
fn whole_print(values: u64, files: &Files, watched: &[PathBuf], has_error: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    let own: HashSet<&Path> = files.files.iter().map(|file| file.path.as_path()).collect();
    for path in watched
        .iter()
        .filter(|path| !own.contains(path.as_path()) && path.is_file())
    {
        path.hash(&mut hasher);
        std::fs::read(path).ok().hash(&mut hasher);
    }
    if has_error {
        for file in &files.files {
            (&file.name, &file.text).hash(&mut hasher);
        }
    }
    hasher.finish()
}
