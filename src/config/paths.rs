//! Which files the paths of the command line stand for, and their bytes.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Unreadable;
use crate::config::text::LARGEST_FILE;

/// A file as it was found.
pub struct Found {
    /// As the operator would write it: the argument, and what lies below it.
    pub path: PathBuf,
    /// As much of it as is allowed, and one byte more.
    pub bytes: Vec<u8>,
}

/// Finds files, each one once.
#[derive(Default)]
pub struct Finder {
    pub found: Vec<Found>,
    pub unreadable: Vec<Unreadable>,
    /// Folders that were looked into, as the operator would write them.
    pub folders: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
}

impl Finder {
    /// A file, or every `*.yaml` and `*.yml` below a folder, sorted by path.
    pub fn add(&mut self, path: &Path) {
        if !self.is_new(path) {
            return;
        }
        if !path.is_dir() {
            return self.read(path.to_owned());
        }
        let mut files = Vec::new();
        self.walk(path, &mut files);
        files.sort();
        let before = self.found.len() + self.unreadable.len();
        let empty = files.is_empty();
        for file in files {
            if self.is_new(&file) {
                self.read(file);
            }
        }
        if empty && before == self.found.len() + self.unreadable.len() {
            self.unreadable.push(Unreadable {
                path: path.to_owned(),
                message: format!("there is no `*.yaml` or `*.yml` in `{}`", path.display()),
            });
        }
    }

    /// Whether this file or folder was not reached before, by this path or another.
    fn is_new(&mut self, path: &Path) -> bool {
        match path.canonicalize() {
            Ok(real) => self.seen.insert(real),
            // It will be refused when it is read.
            Err(_) => true,
        }
    }

    /// Links are followed, so that a mounted ConfigMap works; its `..data` is skipped by its name.
    fn walk(&mut self, folder: &Path, files: &mut Vec<PathBuf>) {
        self.folders.push(folder.to_owned());
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(folder, &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.refuse(folder, &error),
            };
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                if self.is_new(&path) {
                    self.walk(&path, files);
                }
            } else if is_yaml(&path) && (path.is_file() || !path.exists()) {
                files.push(path);
            }
        }
    }

    fn read(&mut self, path: PathBuf) {
        let mut bytes = Vec::new();
        let most = LARGEST_FILE as u64 + 1;
        let read =
            std::fs::File::open(&path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        match read {
            Ok(_) => self.found.push(Found { path, bytes }),
            Err(error) => self.refuse(&path, &error),
        }
    }

    fn refuse(&mut self, path: &Path, error: &std::io::Error) {
        self.unreadable.push(Unreadable {
            path: path.to_owned(),
            message: format!("cannot read `{}`: {error}", path.display()),
        });
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}
