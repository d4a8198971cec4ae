//! Where to look so that no change to the configuration goes unseen.
//!
//! Files are never watched themselves: an editor that saves by renaming, and a ConfigMap whose
//! `..data` link is swapped, put a new file in the old one's place, and a watch on the old one is
//! dead from then on. So every path is followed from the root, link by link, and what is watched are
//! the folders on the way, with the names that count in each.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Links that are followed on one path before it is taken for a circle, as the kernel does.
const MOST_LINKS: usize = 40;

/// Folders, and what counts in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    folders: BTreeMap<PathBuf, Interest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Interest {
    /// A folder that belongs to the configuration.
    Everything,
    /// A folder that only holds some names of it, among things that change all the time.
    Names(BTreeSet<OsString>),
}

impl Places {
    /// The folders that `paths` depend on. What does not exist is awaited in the nearest folder that
    /// does.
    pub fn of(paths: &[PathBuf]) -> Places {
        let mut places = Places::default();
        for path in paths {
            // Only a process without a current folder fails here, and it can name no file either.
            if let Ok(absolute) = std::path::absolute(path) {
                places.follow(&absolute);
            }
        }
        places
    }

    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// The folders that are at `path` or below it.
    pub fn folders_in(&self, path: &Path) -> impl Iterator<Item = &Path> {
        self.folders()
            .filter(move |folder| folder.starts_with(path))
    }

    /// Whether a change at `path`, a folder or something in it, may change the configuration.
    pub fn concern(&self, path: &Path) -> bool {
        if self.folders.contains_key(path) {
            return true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        self.folders
            .get(folder)
            .is_some_and(|interest| interest.covers(name))
    }

    /// A print of everything that counts: names, sizes, times, link targets. For file systems that
    /// tell nobody of their changes.
    pub fn stamp(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (folder, interest) in &self.folders {
            folder.hash(&mut hasher);
            for entry in entries(folder, interest) {
                entry.hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn follow(&mut self, absolute: &Path) {
        let mut resolved = PathBuf::new();
        let mut ahead: Vec<OsString> = reversed(absolute);
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == OsStr::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            let Ok(metadata) = fs::symlink_metadata(&next) else {
                self.name(&resolved, part);
                return;
            };
            // Every folder above counts too: one of them may be moved away with all that is in it.
            self.name(&resolved, part);
            if metadata.is_symlink() {
                links += 1;
                let Ok(target) = fs::read_link(&next) else {
                    return;
                };
                if links > MOST_LINKS {
                    return;
                }
                if target.is_absolute() {
                    resolved = PathBuf::new();
                }
                ahead.extend(reversed(&target));
                continue;
            }
            if ahead.is_empty() && metadata.is_dir() {
                self.folders.insert(next.clone(), Interest::Everything);
            }
            resolved = next;
        }
    }

    fn name(&mut self, folder: &Path, name: OsString) {
        if folder.as_os_str().is_empty() {
            return;
        }
        let interest = self
            .folders
            .entry(folder.to_path_buf())
            .or_insert_with(|| Interest::Names(BTreeSet::new()));
        if let Interest::Names(names) = interest {
            names.insert(name);
        }
    }
}

impl Interest {
    fn covers(&self, name: &OsStr) -> bool {
        match self {
            Interest::Everything => true,
            Interest::Names(names) => names.contains(name),
        }
    }
}

/// The parts of a path, the last first, without those that say nothing.
fn reversed(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| component.as_os_str().to_os_string())
        .collect()
}

type Entry = (OsString, u64, Option<SystemTime>, Option<PathBuf>);

fn entries(folder: &Path, interest: &Interest) -> BTreeSet<Entry> {
    let Ok(listed) = fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    listed
        .flatten()
        .filter(|entry| interest.covers(&entry.file_name()))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((
                entry.file_name(),
                metadata.len(),
                metadata.modified().ok(),
                fs::read_link(entry.path()).ok(),
            ))
        })
        .collect()
}
