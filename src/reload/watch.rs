//! Watches the configuration's files and asks for an examination when they have come to rest.
//!
//! What an event says is not looked at: systems differ in what they call a swap. Only events of
//! reading are left out, because we read too and would wake ourselves.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::reload::places::Places;
use crate::reload::{Generations, Trigger};
use crate::telemetry::log::{Level, Log};

/// Files that have been still for this long are read.
const QUIET: Duration = Duration::from_millis(100);
/// Files that never rest are read after this long all the same.
const AT_MOST: Duration = Duration::from_secs(1);
/// How often file systems that tell nothing are looked at.
const POLL: Duration = Duration::from_secs(2);

/// How changes of files are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the system's events; by looking, where there are none to be had.
    Auto,
    /// By looking every two seconds.
    Poll,
    /// Not at all: SIGHUP and `POST /reload` remain.
    Off,
}

/// Watches until it is dropped.
pub async fn watch(generations: Arc<Generations>, mode: Mode) {
    if mode == Mode::Off {
        return;
    }
    let mut watched = generations.watched();
    let mut eyes = Eyes::open(mode, generations.log());
    loop {
        let paths = watched.borrow_and_update().clone();
        let places = off_the_workers(move || Places::of(&paths)).await;
        if eyes.look_at(places, generations.log()) {
            // What changed between the reading and the watching was seen by nobody.
            generations.examine(Trigger::Recheck).await;
        }
        tokio::select! {
            () = eyes.changed() => {
                eyes.rest().await;
                generations.examine(Trigger::Edit).await;
            }
            // Somebody else's reload found other files. The sender lives as long as `generations`.
            _ = watched.changed() => {}
        }
    }
}

/// What sees changes.
struct Eyes {
    /// `None`: nothing is told, so it must be looked at.
    watcher: Option<RecommendedWatcher>,
    places: Arc<ArcSwap<Places>>,
    watched: BTreeSet<PathBuf>,
    /// Watched folders to which something happened: one that was removed, even if there is another
    /// of its name by now, has taken its watch with it.
    suspects: Arc<Mutex<BTreeSet<PathBuf>>>,
    woken: Arc<Notify>,
    stamp: u64,
}

impl Eyes {
    fn open(mode: Mode, log: &Log) -> Eyes {
        let places = Arc::new(ArcSwap::from_pointee(Places::default()));
        let woken = Arc::new(Notify::new());
        let suspects = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let watcher = match mode {
            Mode::Auto => match watcher(places.clone(), suspects.clone(), woken.clone()) {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    tell_of_polling(log, &error);
                    None
                }
            },
            Mode::Poll | Mode::Off => None,
        };
        Eyes {
            watcher,
            places,
            watched: BTreeSet::new(),
            suspects,
            woken,
            stamp: 0,
        }
    }

    /// Watches these places from now on. Says whether anything in them is new: a folder, or a name
    /// that did not count before.
    fn look_at(&mut self, places: Places, log: &Log) -> bool {
        let folders = places.folders().map(Path::to_path_buf).collect();
        let places = Arc::new(places);
        let known = self.places.swap(places.clone());
        let before = std::mem::replace(&mut self.watched, folders);
        let has_new_watches = match self.renew(before) {
            Ok(has_new_watches) => has_new_watches,
            Err(error) => {
                tell_of_polling(log, &error);
                self.watcher = None;
                true
            }
        };
        let is_new = has_new_watches || *known != *places;
        if is_new && self.watcher.is_none() {
            self.stamp = places.stamp();
        }
        is_new
    }

    /// Says whether any watch had to be made.
    fn renew(&mut self, before: BTreeSet<PathBuf>) -> notify::Result<bool> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(false);
        };
        let suspects = {
            let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *suspects)
        };
        let is_alive = |folder: &&PathBuf| before.contains(*folder) && !suspects.contains(*folder);
        let dead = before
            .iter()
            .filter(|folder| !self.watched.contains(*folder) || suspects.contains(*folder));
        for folder in dead {
            // A folder that is gone has no watch to be taken off.
            let _ = watcher.unwatch(folder);
        }
        let mut is_new = false;
        for folder in self.watched.iter().filter(|folder| !is_alive(folder)) {
            is_new = true;
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                // Gone since it was listed, or nothing to be read there: what is above it tells.
                Err(error) if is_unreachable(&error) => {}
                result => result?,
            }
        }
        Ok(is_new)
    }

    async fn changed(&mut self) {
        if self.watcher.is_some() {
            return self.woken.notified().await;
        }
        loop {
            tokio::time::sleep(POLL).await;
            let places = self.places.load_full();
            let stamp = off_the_workers(move || places.stamp()).await;
            if std::mem::replace(&mut self.stamp, stamp) != stamp {
                return;
            }
        }
    }

    /// Waits until nothing has changed for a while, but not for ever.
    async fn rest(&mut self) {
        let latest = Instant::now() + AT_MOST;
        loop {
            let quiet = latest.min(Instant::now() + QUIET);
            match timeout_at(quiet, self.woken.notified()).await {
                Ok(()) if Instant::now() < latest => {}
                _ => return,
            }
        }
    }
}

fn watcher(
    places: Arc<ArcSwap<Places>>,
    suspects: Arc<Mutex<BTreeSet<PathBuf>>>,
    woken: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let counts = match event {
            Ok(event) if is_reading(event.kind) => false,
            Ok(event) => {
                let places = places.load();
                let mut suspects = suspects.lock().unwrap_or_else(PoisonError::into_inner);
                for path in &event.paths {
                    suspects.extend(places.folders_in(path).map(Path::to_path_buf));
                }
                event.need_rescan()
                    || event.paths.is_empty()
                    || event.paths.iter().any(|path| places.concern(path))
            }
            // Something was lost: look again.
            Err(_) => true,
        };
        if counts {
            woken.notify_one();
        }
    })
}

fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

fn tell_of_polling(log: &Log, error: &notify::Error) {
    log.event(
        Level::Warn,
        "files are looked at every 2 s: the system does not tell of changes",
        [("error", error.to_string().into())],
    );
}

fn is_unreachable(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        ),
        _ => false,
    }
}

/// Runs something that reads files where it may block.
async fn off_the_workers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
