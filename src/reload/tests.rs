//! Reloads over real folders. What is good is scripted: a file that says `broken` is not.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::watch::{Mode, watch};
use super::*;
use crate::diagnostic::{FileId, Span};
use crate::downstream::Process;
use crate::downstream::tasks::Tasks;
use crate::plan::settings;
use crate::policy::memory::Memory;
use crate::telemetry::log::{Form, Log};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "anabranch-reload-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// As an editor saves: a new file, put in the old one's place.
    fn save(&self, name: &str, text: &str) {
        let beside = self.0.join(format!(".{name}.swp"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn examine_scripted(paths: &[PathBuf]) -> Examination {
    let mut files = Files::default();
    let mut unreadable = Vec::new();
    for path in paths {
        read(path, &mut files, &mut unreadable);
    }
    let mut hasher = DefaultHasher::new();
    for file in &files.files {
        (&file.name, &file.text).hash(&mut hasher);
    }
    let mut table = empty_table();
    let mut diagnostics = Vec::new();
    for (number, file) in files.files.iter().enumerate() {
        table.files.push(file.name.clone());
        if let Some((_, address)) = file.text.split_once("listen: ") {
            table.server.listen = address.trim().parse().unwrap();
        }
        if file.text.is_empty() || file.text.contains("broken") {
            let span = Span {
                file: FileId(number as u32),
                start: 0,
                end: file.text.len() as u32,
            };
            diagnostics.push(Diagnostic::error("R0000", span, "this file is broken"));
        }
    }
    let is_good = diagnostics.is_empty() && unreadable.is_empty() && !files.files.is_empty();
    let mut watched = paths.to_vec();
    watched.extend(files.files.iter().map(|file| file.path.clone()));
    Examination {
        table: is_good.then(|| Arc::new(table)),
        files,
        diagnostics,
        unreadable,
        watched,
        fingerprint: hasher.finish(),
    }
}

fn read(path: &Path, files: &mut Files, unreadable: &mut Vec<String>) {
    let Ok(listed) = fs::read_dir(path) else {
        match fs::read_to_string(path) {
            Ok(text) => {
                files.add(path.display().to_string(), path.to_path_buf(), text);
            }
            Err(error) => unreadable.push(format!("{}: {error}", path.display())),
        }
        return;
    };
    let mut below: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    below.sort();
    for path in below {
        let is_hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if !is_hidden && (path.is_dir() || path.extension().is_some_and(|end| end == "yaml")) {
            read(&path, files, unreadable);
        }
    }
}

fn empty_table() -> Table {
    Table {
        server: settings::Server::default(),
        admin: settings::Admin::default(),
        cache: settings::Cache::default(),
        services: Vec::new(),
        routes: Vec::new(),
        matcher: Default::default(),
        files: Vec::new(),
        watched: Vec::new(),
    }
}

fn start(paths: &[&Path], log: Log) -> Arc<Generations> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let first = examine_scripted(&paths);
    let telemetry = Arc::new(Telemetry::new(log));
    let started = Generations::start(paths, examine_scripted, first, process(), telemetry);
    let (generations, _) = started.unwrap_or_else(|_| panic!("the first examination is good"));
    Arc::new(generations)
}

/// A watched configuration, and the channel on which a test waits.
struct Watched {
    generations: Arc<Generations>,
    progress: channel::Receiver<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    /// Watches, and waits until the watches stand.
    async fn start(paths: &[&Path], mode: Mode) -> Watched {
        let generations = start(paths, Log::silent());
        let progress = generations.progress();
        let task = tokio::spawn(watch(generations.clone(), mode));
        let mut watched = Watched {
            generations,
            progress,
            task,
        };
        watched.until(|progress| progress.examinations > 0).await;
        watched
    }

    async fn until(&mut self, is_reached: impl FnMut(&Progress) -> bool) -> Progress {
        let waited =
            tokio::time::timeout(Duration::from_secs(20), self.progress.wait_for(is_reached)).await;
        *waited.expect("an examination in time").unwrap()
    }

    async fn until_generation(&mut self, number: u64) {
        self.until(|progress| progress.generation >= number).await;
    }

    async fn until_refused(&mut self) {
        self.until(|progress| progress.last == ReloadResult::Refused)
            .await;
    }

    fn text(&self) -> String {
        self.generations.in_force().table.files.join(" ")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn saving_by_rename_is_seen_every_time() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    for number in 2..6 {
        folder.save("a.yaml", &format!("edit {number}"));
        watched.until_generation(number).await;
    }
}

#[tokio::test]
async fn a_single_file_is_seen_when_it_is_replaced() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let file = folder.0.join("a.yaml");
    let mut watched = Watched::start(&[&file], Mode::Auto).await;
    for number in 2..5 {
        folder.save("a.yaml", &format!("edit {number}"));
        watched.until_generation(number).await;
    }
}

#[tokio::test]
async fn the_swap_of_a_mounted_folder_is_seen_every_time() {
    // As a ConfigMap is mounted: a.yaml -> ..data/a.yaml, ..data -> ..N.
    let folder = Folder::new();
    let lay = |number: u32| {
        let data = folder.0.join(format!("..{number}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("a.yaml"), format!("edition {number}")).unwrap();
        let next = folder.0.join("..data_tmp");
        symlink(format!("..{number}"), &next).unwrap();
        fs::rename(next, folder.0.join("..data")).unwrap();
        if number > 1 {
            fs::remove_dir_all(folder.0.join(format!("..{}", number - 1))).unwrap();
        }
    };
    lay(1);
    symlink("..data/a.yaml", folder.0.join("a.yaml")).unwrap();
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    for number in 2..6 {
        lay(number);
        watched.until_generation(u64::from(number)).await;
    }
}

#[tokio::test]
async fn a_link_to_a_file_elsewhere_is_followed() {
    let (here, there) = (Folder::new(), Folder::new());
    there.write("real.yaml", "one");
    symlink(there.0.join("real.yaml"), here.0.join("a.yaml")).unwrap();
    let mut watched = Watched::start(&[&here.0], Mode::Auto).await;
    there.save("real.yaml", "two");
    watched.until_generation(2).await;
    there.write("other.yaml", "three");
    fs::remove_file(here.0.join("a.yaml")).unwrap();
    symlink(there.0.join("other.yaml"), here.0.join("a.yaml")).unwrap();
    watched.until_generation(3).await;
    there.save("other.yaml", "four");
    watched.until_generation(4).await;
}

#[tokio::test]
async fn a_file_removed_and_put_back_is_seen_both_times() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    folder.write("b.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    fs::remove_file(folder.0.join("b.yaml")).unwrap();
    watched.until_generation(2).await;
    assert!(!watched.text().contains("b.yaml"));
    folder.write("b.yaml", "one");
    watched.until_generation(3).await;
    assert!(watched.text().contains("b.yaml"));
}

#[tokio::test]
async fn a_new_folder_below_is_watched_too() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    let below = folder.0.join("team");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("b.yaml"), "one").unwrap();
    watched.until_generation(2).await;
    fs::write(below.join("b.yaml"), "two").unwrap();
    watched.until_generation(3).await;
}

#[tokio::test]
async fn a_folder_that_goes_is_refused_and_seen_when_it_is_back() {
    let folder = Folder::new();
    let routes = folder.0.join("routes");
    fs::create_dir(&routes).unwrap();
    fs::write(routes.join("a.yaml"), "one").unwrap();
    let mut watched = Watched::start(&[&routes], Mode::Auto).await;
    fs::remove_dir_all(&routes).unwrap();
    watched.until_refused().await;
    assert_eq!(watched.generations.in_force().number, 1);
    fs::create_dir(&routes).unwrap();
    fs::write(routes.join("a.yaml"), "two").unwrap();
    watched.until_generation(2).await;
    fs::write(routes.join("a.yaml"), "three").unwrap();
    watched.until_generation(3).await;
}

#[tokio::test]
async fn a_refused_edit_leaves_what_was_in_force() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    folder.save("a.yaml", "broken");
    watched.until_refused().await;
    let refused = watched.generations.refused().expect("a refused edit");
    assert!(refused.stands);
    assert_eq!(refused.findings.count(Severity::Error), 1);
    assert_eq!(watched.generations.in_force().number, 1);
    // Put right as it was: no new generation, but the files are again what is in force.
    folder.save("a.yaml", "one");
    watched
        .until(|progress| progress.last == ReloadResult::Unchanged)
        .await;
    assert_eq!(watched.generations.in_force().number, 1);
    assert!(!watched.generations.refused().expect("the same").stands);
}

#[tokio::test]
async fn a_save_that_changes_nothing_makes_no_generation() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Auto).await;
    let before = watched.progress.borrow().examinations;
    folder.save("a.yaml", "one");
    let progress = watched
        .until(|progress| progress.examinations > before)
        .await;
    assert_eq!(progress.generation, 1);
    assert_eq!(progress.last, ReloadResult::Unchanged);
}

#[tokio::test]
async fn a_file_system_that_tells_nothing_is_looked_at() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut watched = Watched::start(&[&folder.0], Mode::Poll).await;
    folder.save("a.yaml", "two!");
    watched.until_generation(2).await;
}

#[tokio::test]
async fn a_reload_that_was_asked_for_is_reported() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let generations = start(&[&folder.0], Log::silent());
    for (text, result, generation) in [
        ("one", ReloadResult::Unchanged, 1),
        ("two", ReloadResult::Accepted, 2),
        ("broken", ReloadResult::Refused, 2),
        ("", ReloadResult::Refused, 2),
        ("two", ReloadResult::Unchanged, 2),
    ] {
        folder.write("a.yaml", text);
        let report = generations.examine(Trigger::Asked).await;
        assert_eq!((report.result, report.generation), (result, generation));
    }
    let metrics = generations.telemetry.render();
    for line in [
        "anabranch_config_generation 2",
        "anabranch_config_last_reload_successful 1",
        "anabranch_config_reloads_total{result=\"accepted\"} 1",
        "anabranch_config_reloads_total{result=\"refused\"} 2",
        "anabranch_config_reloads_total{result=\"unchanged\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn keys_of_the_start_are_kept_and_told_of() {
    let folder = Folder::new();
    folder.write("a.yaml", "listen: 127.0.0.1:1000");
    let generations = start(&[&folder.0], Log::silent());
    for (address, kept) in [
        ("127.0.0.1:2000", Some(("127.0.0.1:1000", "127.0.0.1:2000"))),
        ("127.0.0.1:3000", Some(("127.0.0.1:1000", "127.0.0.1:3000"))),
        ("127.0.0.1:1000", None),
    ] {
        folder.write("a.yaml", &format!("listen: {address}"));
        let report = generations.examine(Trigger::Asked).await;
        assert_eq!(report.result, ReloadResult::Accepted);
        let expected: Vec<Kept> = kept
            .into_iter()
            .map(|(in_force, written)| Kept {
                key: "server.listen",
                in_force: in_force.into(),
                written: written.into(),
            })
            .collect();
        assert_eq!(report.kept, expected, "{address}");
    }
}

#[tokio::test]
async fn a_refusal_is_logged_once_with_its_place() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let generations = start(&[&folder.0], Log::to(Sink(lines.clone()), Form::Json));
    folder.write("a.yaml", "broken");
    generations.examine(Trigger::Edit).await;
    generations.examine(Trigger::Edit).await;
    generations.log().flush(Duration::from_secs(5));
    let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["level"], "warn");
    assert_eq!(line["errors"], 1);
    assert_eq!(line["diagnostics"][0]["code"], "R0000");
    assert_eq!(line["diagnostics"][0]["line"], 1);
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_folder_above_that_is_moved_away_is_seen() {
    let folder = Folder::new();
    let routes = folder.0.join("current/routes");
    let lay = |text: &str| {
        fs::create_dir_all(&routes).unwrap();
        fs::write(routes.join("a.yaml"), text).unwrap();
    };
    lay("one");
    let mut watched = Watched::start(&[&routes], Mode::Auto).await;
    for (number, text) in [(2, "two"), (3, "three")] {
        let old = folder.0.join(format!("old-{number}"));
        fs::rename(folder.0.join("current"), old).unwrap();
        lay(text);
        watched.until_generation(number).await;
    }
    fs::write(routes.join("a.yaml"), "four").unwrap();
    watched.until_generation(4).await;
}

/// Room for one task, and as much memory as there is.
fn process() -> Process {
    Process::new(Tasks::new(1), Memory::new(usize::MAX))
}
