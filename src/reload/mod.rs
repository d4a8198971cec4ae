//! Holds the generation in force; examines, swaps or refuses.
//!
//! A configuration is taken as a whole or not at all. Whoever answers a request takes
//! [`Generations::in_force`] once and keeps it to the end, so a swap never reaches into a request
//! under way. When to examine is decided in [`watch`] and by whoever calls [`Generations::examine`];
//! what is good is decided by `check`. Nothing here reads a file of the configuration itself.

mod places;
#[cfg(test)]
mod tests;
pub mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use crate::check::Examination;
use crate::diagnostic::render::{self, Colour};
use crate::diagnostic::{Diagnostic, Files, Severity};
use crate::downstream::{Client, Process};
use crate::plan::Table;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::{Meters, ReloadResult};
use crate::telemetry::time;

/// The most findings that a log line carries; `/config` has them all.
const LOGGED: usize = 20;

/// A table in force, and what stands ready for it.
pub struct Generation {
    /// From 1.
    pub number: u64,
    pub table: Arc<Table>,
    pub meters: Arc<Meters>,
    pub client: Arc<Client>,
    pub since: SystemTime,
    pub fingerprint: u64,
}

/// Why an examination is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Files have changed.
    Edit,
    /// Somebody asked: SIGHUP, `POST /reload`.
    Asked,
    /// To be sure that nothing was missed. Says nothing where there is nothing new.
    Recheck,
}

/// What came of an examination.
#[derive(Clone)]
pub struct Report {
    pub result: ReloadResult,
    /// The generation in force afterwards.
    pub generation: u64,
    pub findings: Arc<Findings>,
    pub kept: Vec<Kept>,
}

/// What was found in the files.
#[derive(Default)]
pub struct Findings {
    pub files: Files,
    pub diagnostics: Vec<Diagnostic>,
    /// What could not be read at all, one sentence each.
    pub unreadable: Vec<String>,
}

/// An edit that was not taken.
#[derive(Clone)]
pub struct Refused {
    pub when: SystemTime,
    pub fingerprint: u64,
    pub findings: Arc<Findings>,
    /// The files are still so: what is on disk is not what is in force.
    pub stands: bool,
}

/// A key that counts at start, and was changed since: what is in force, and what the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub key: &'static str,
    pub in_force: String,
    pub written: String,
}

/// How far the examinations have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub generation: u64,
    pub examinations: u64,
    pub last: ReloadResult,
}

/// How files become a table: [`crate::check::examine`].
pub type Examine = fn(&[PathBuf]) -> Examination;

/// Who wants to know of a new generation before anybody else.
type Adopt = Box<dyn Fn(&Arc<Generation>) + Send + Sync>;

/// All generations of a process: the one in force, and the way to the next.
pub struct Generations {
    paths: Vec<PathBuf>,
    examine: Examine,
    telemetry: Arc<Telemetry>,
    in_force: ArcSwap<Generation>,
    adopt: OnceLock<Adopt>,
    history: Mutex<History>,
    /// One examination at a time.
    turn: tokio::sync::Mutex<()>,
    progress: channel::Sender<Progress>,
    watched: channel::Sender<Arc<[PathBuf]>>,
}

/// What else `/config` tells.
#[derive(Default)]
struct History {
    refused: Option<Refused>,
    kept: Vec<Kept>,
}

impl Generations {
    /// The first generation: of an examination that has a table. Gives what was found beside it.
    pub fn start(
        paths: Vec<PathBuf>,
        examine: Examine,
        first: Examination,
        process: Process,
        telemetry: Arc<Telemetry>,
    ) -> Result<(Generations, Findings), Findings> {
        let mut findings = Findings {
            files: first.files,
            diagnostics: first.diagnostics,
            unreadable: first.unreadable,
        };
        let Some(table) = first.table else {
            return Err(findings);
        };
        let meters = Arc::new(telemetry.meters(&table));
        let client = match Client::over_tcp(&table, process, meters.clone()) {
            Ok(client) => Arc::new(client),
            Err(why) => {
                findings.unreadable.push(why);
                return Err(findings);
            }
        };
        let generation = Generation {
            number: 1,
            table,
            meters,
            client,
            since: SystemTime::now(),
            fingerprint: first.fingerprint,
        };
        telemetry.metrics().in_force(1, generation.since);
        let progress = Progress {
            generation: 1,
            examinations: 0,
            last: ReloadResult::Accepted,
        };
        let generations = Generations {
            paths,
            examine,
            telemetry,
            in_force: ArcSwap::from_pointee(generation),
            adopt: OnceLock::new(),
            history: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            progress: channel::Sender::new(progress),
            watched: channel::Sender::new(first.watched.into()),
        };
        Ok((generations, findings))
    }

    /// Has `adopt` told of each new generation, before [`Generations::in_force`] gives it. Only the
    /// first who asks for this is told.
    pub fn tell(&self, adopt: impl Fn(&Arc<Generation>) + Send + Sync + 'static) {
        let _ = self.adopt.set(Box::new(adopt));
    }

    /// The generation in force. Taken once for a request and kept to its end.
    pub fn in_force(&self) -> Arc<Generation> {
        self.in_force.load_full()
    }

    /// The last edit that was refused.
    pub fn refused(&self) -> Option<Refused> {
        self.history().refused.clone()
    }

    /// Keys that count at start and say something else in the files.
    pub fn kept(&self) -> Vec<Kept> {
        self.history().kept.clone()
    }

    /// Tells of each examination that has ended.
    pub fn progress(&self) -> channel::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn watched(&self) -> channel::Receiver<Arc<[PathBuf]>> {
        self.watched.subscribe()
    }

    fn log(&self) -> &Log {
        self.telemetry.log()
    }

    /// Examines the whole set again, and takes it if it is good and new.
    pub async fn examine(&self, trigger: Trigger) -> Report {
        let turn = self.turn.lock().await;
        let started = Instant::now();
        let (examine, paths) = (self.examine, self.paths.clone());
        let (before, telemetry) = (self.in_force(), self.telemetry.clone());
        let examined = tokio::task::spawn_blocking(move || {
            let mut examination = examine(&paths);
            // With the certificates that its services trust, hundreds perhaps.
            let verdict = before.weigh(&mut examination, &telemetry);
            (examination, verdict)
        });
        let report = match examined.await {
            Ok((examination, verdict)) => self.judge(examination, verdict, trigger, started),
            Err(_) => self.not_examined(),
        };
        if trigger != Trigger::Recheck || report.result != ReloadResult::Unchanged {
            self.telemetry.metrics().reloaded(report.result);
        }
        self.progress.send_modify(|progress| {
            progress.generation = report.generation;
            progress.examinations += 1;
            progress.last = report.result;
        });
        drop(turn);
        report
    }

    fn judge(
        &self,
        examination: Examination,
        verdict: Verdict,
        trigger: Trigger,
        started: Instant,
    ) -> Report {
        let Examination {
            table: _,
            files,
            diagnostics,
            unreadable,
            watched,
            fingerprint,
        } = examination;
        let mut findings = Findings {
            files,
            diagnostics,
            unreadable,
        };
        let watched: Arc<[PathBuf]> = watched.into();
        self.watched.send_if_modified(|before| {
            let is_new = *before != watched;
            *before = watched;
            is_new
        });
        match verdict {
            Verdict::Next(next) => self.take(*next, findings.into(), started),
            Verdict::Unchanged => {
                if let Some(refused) = &mut self.history().refused {
                    refused.stands = false;
                }
                self.report(ReloadResult::Unchanged, findings.into())
            }
            Verdict::Refused(why) => {
                findings.unreadable.extend(why);
                self.refuse(findings, fingerprint, trigger)
            }
        }
    }

    fn take(&self, next: Generation, findings: Arc<Findings>, started: Instant) -> Report {
        let next = Arc::new(next);
        let kept = self.carry_over(&next.table);
        self.telemetry.metrics().in_force(next.number, next.since);
        self.log().event(
            Level::Info,
            "reload accepted",
            [
                ("generation", next.number.into()),
                ("files", findings.files.files.len().into()),
                ("routes", next.table.routes.len().into()),
                ("warnings", findings.count(Severity::Warning).into()),
                ("took_ms", time::milliseconds(started.elapsed()).into()),
            ],
        );
        if let Some(adopt) = self.adopt.get() {
            adopt(&next);
        }
        self.in_force.store(next);
        for kept in &kept {
            self.log().event(
                Level::Warn,
                "a key counts at start only, so what was in force stays until the next one",
                [
                    ("key", kept.key.into()),
                    ("in_force", kept.in_force.clone().into()),
                    ("written", kept.written.clone().into()),
                ],
            );
        }
        self.report(ReloadResult::Accepted, findings)
    }

    /// Notes which keys of the start `table` changes; gives those that nobody was told of.
    fn carry_over(&self, table: &Table) -> Vec<Kept> {
        let before = self.in_force();
        let mut history = self.history();
        if let Some(refused) = &mut history.refused {
            refused.stands = false;
        }
        let known = std::mem::take(&mut history.kept);
        history.kept = kept(&known, &before.table, table);
        let new = history.kept.iter().filter(|kept| !known.contains(kept));
        new.cloned().collect()
    }

    fn refuse(&self, findings: Findings, fingerprint: u64, trigger: Trigger) -> Report {
        let findings = Arc::new(findings);
        let refused = Refused {
            when: SystemTime::now(),
            fingerprint,
            findings: findings.clone(),
            stands: true,
        };
        let before = self.history().refused.replace(refused);
        let is_known =
            before.is_some_and(|before| before.stands && before.fingerprint == fingerprint);
        if !is_known || trigger == Trigger::Asked {
            self.log_refusal(&findings);
        }
        self.report(ReloadResult::Refused, findings)
    }

    fn log_refusal(&self, findings: &Findings) {
        let logged = &findings.diagnostics[..findings.diagnostics.len().min(LOGGED)];
        self.log().event_with_details(
            Level::Warn,
            "reload refused, what was in force stays in force",
            [
                ("generation", self.in_force.load().number.into()),
                ("errors", findings.count(Severity::Error).into()),
                ("first", findings.first().into()),
                ("unreadable", findings.unreadable.clone().into()),
                (
                    "diagnostics",
                    render::json::value(&findings.files, logged)["diagnostics"].take(),
                ),
            ],
            findings.text(logged, Colour::Plain),
        );
    }

    /// The examination itself broke down. That is our fault and no reason to stop serving.
    fn not_examined(&self) -> Report {
        let findings = Arc::new(Findings {
            unreadable: vec!["the examination broke down: this is a bug".into()],
            ..Findings::default()
        });
        self.log()
            .event(Level::Error, "the examination broke down", []);
        self.report(ReloadResult::Refused, findings)
    }

    fn report(&self, result: ReloadResult, findings: Arc<Findings>) -> Report {
        Report {
            result,
            generation: self.in_force.load().number,
            findings,
            kept: self.kept(),
        }
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to become of an examination.
enum Verdict {
    Next(Box<Generation>),
    /// The files say what is in force.
    Unchanged,
    /// With a reason where the findings have none.
    Refused(Option<String>),
}

impl Generation {
    /// Makes the next one of an examination if it has a table that says something else, which it loses.
    fn weigh(&self, examination: &mut Examination, telemetry: &Telemetry) -> Verdict {
        let fingerprint = examination.fingerprint;
        match examination.table.take() {
            None => Verdict::Refused(None),
            Some(_) if fingerprint == self.fingerprint => Verdict::Unchanged,
            Some(table) => match self.succeed(table, fingerprint, telemetry) {
                Ok(next) => Verdict::Next(Box::new(next)),
                Err(why) => Verdict::Refused(Some(why)),
            },
        }
    }

    /// The next one: services that did not change keep their connections.
    fn succeed(
        &self,
        table: Arc<Table>,
        fingerprint: u64,
        telemetry: &Telemetry,
    ) -> Result<Generation, String> {
        let meters = Arc::new(telemetry.meters(&table));
        let client = Arc::new(self.client.succeed(&table, meters.clone())?);
        Ok(Generation {
            number: self.number + 1,
            table,
            meters,
            client,
            since: SystemTime::now(),
            fingerprint,
        })
    }
}

impl Findings {
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// The array `diagnostics` of `check --format json`.
    pub fn json(&self) -> Value {
        render::json::value(&self.files, &self.diagnostics)["diagnostics"].take()
    }

    /// The first error on one line.
    pub fn first(&self) -> String {
        let first = self
            .diagnostics
            .iter()
            .find(|diagnostic| diagnostic.severity == Severity::Error);
        match first {
            Some(first) => {
                let line = render::short::render(&self.files, std::slice::from_ref(first));
                line.trim_end().to_owned()
            }
            None => self.unreadable.first().cloned().unwrap_or_default(),
        }
    }

    /// The given ones of its diagnostics for a person, and what could not be read.
    pub fn text(&self, logged: &[Diagnostic], colour: Colour) -> String {
        let mut text = render::text::render(&self.files, logged, colour);
        for sentence in &self.unreadable {
            text.push_str("error: ");
            text.push_str(sentence);
            text.push('\n');
        }
        text
    }
}

impl Kept {
    pub fn json(&self) -> Value {
        json!({ "key": self.key, "in_force": self.in_force, "written": self.written })
    }
}

/// The keys that count at start: their names, and what a table says of them.
fn keys_of_the_start(table: &Table) -> [(&'static str, String); 3] {
    [
        ("server.listen", table.server.listen.to_string()),
        (
            "server.limits.connections",
            table.server.limits.connections.to_string(),
        ),
        ("admin.listen", table.admin.listen.to_string()),
    ]
}

/// What is in force was set by the first table; `known` holds it for each key that a table since then
/// has changed, so that a key that is put back is forgotten.
fn kept(known: &[Kept], before: &Table, after: &Table) -> Vec<Kept> {
    keys_of_the_start(before)
        .into_iter()
        .zip(keys_of_the_start(after))
        .filter_map(|((key, before), (_, written))| {
            let in_force = known
                .iter()
                .find(|kept| kept.key == key)
                .map_or(before, |kept| kept.in_force.clone());
            (in_force != written).then_some(Kept {
                key,
                in_force,
                written,
            })
        })
        .collect()
}
