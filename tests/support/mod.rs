//! What several tests of the repository need: the blocks of a markdown file, and a folder to write to.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anabranch::check;
use anabranch::engine::fetch::Identity;
use anabranch::plan::Table;

pub mod case;
pub mod script;

/// A fenced block: what stands behind its fence, its text, and the line of its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub info: String,
    pub text: String,
    pub line: usize,
}

/// The fenced blocks of a markdown text, also those inside a list.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize, usize)> = None;
    for (number, line) in markdown.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim_start().bytes().take_while(|b| *b == b'`').count();
        match &mut open {
            None if fence >= 3 => {
                let info = line.trim().trim_start_matches('`').to_owned();
                let block = Block {
                    info,
                    text: String::new(),
                    line: number + 2,
                };
                open = Some((block, indent, fence));
            }
            None => {}
            Some((block, _, length)) if fence >= *length && line.trim().len() == fence => {
                found.push(block.clone());
                open = None;
            }
            Some((block, indent, _)) => {
                let text = line.get(*indent..).unwrap_or_else(|| line.trim_start());
                block.text.push_str(text);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends in `ending`, sorted.
pub fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|cause| panic!("{folder:?}: {cause}")) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The table of one file with this text.
pub fn table(text: &str) -> Arc<Table> {
    let folder = Folder::new();
    let examination = check::examine_with(&[folder.write("route.yaml", text)], &|_| None);
    let findings = examination.diagnostics;
    examination.table.unwrap_or_else(|| panic!("{findings:?}"))
}

/// What calls are sent with beside their own headers.
pub fn identity() -> Identity {
    Identity {
        request_id: "req-1".to_owned(),
        trace_id: *b"0af7651916cd43dd8448eb211c80319c",
        trace_flags: 1,
        trace_state: None,
        client_ip: "192.0.2.7".parse().unwrap(),
        via: None,
    }
}

/// Runs a future on a clock that goes on only where nothing else is to be done.
pub fn on_paused_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

/// A folder of its own that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("anabranch-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
