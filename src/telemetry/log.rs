//! The log: one line a request, one line an event, on standard output.
//!
//! Whoever logs formats the line and goes on; a thread of its own writes what there is. The facts stay with the
//! thread that made them: given to another one, their memory would come back when no cache knows it any more
//! (`docs/performance.md`). What waits for the writer is bounded. A reader that is too slow costs lines, which are
//! counted, never an answer. On a terminal lines are for a person, elsewhere they are JSON.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::moment;
use crate::telemetry::{Finished, access, time};

/// Lines that may wait for the writer. At some 1 KiB each, a few megabytes at worst.
pub(super) const QUEUE: usize = 4096;

/// What is written in one go, at most about this much.
const BATCH: usize = 64 * 1024;

/// How long the writer rests after it has written all there was. Lines that come meanwhile are written together, and
/// whoever queues one need not wake it: that would cost a request more than the line itself.
const REST: Duration = Duration::from_millis(5);

thread_local! {
    /// Where the next line is formatted.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// `Warn` means that an operator should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Something that happened to the process: a short fixed message, and fields.
#[derive(Debug)]
pub struct Event {
    pub level: Level,
    pub message: &'static str,
    pub fields: Vec<(&'static str, Value)>,
    /// Lines that only a person needs, because the fields say the same.
    pub details: String,
}

/// A handle to the writer. Clones share it.
#[derive(Clone)]
pub struct Log {
    form: Form,
    lines: Arc<Lines>,
    /// The writer ends when nobody can log any more.
    _open: Arc<Open>,
}

/// What there is to write. The two bells are for the writer, and for whoever waits until lines are out.
#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    has_come: Condvar,
    is_out: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// In order; to the last one lines are added until it is full.
    batches: VecDeque<Batch>,
    /// A batch that was written, to be filled again.
    spare: Vec<u8>,
    /// In all batches.
    count: usize,
    queued: u64,
    written: u64,
    /// The writer has nothing to do and waits for a bell.
    is_idle: bool,
    is_closed: bool,
}

#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: usize,
}

/// Tells the writer when the last handle is gone.
struct Open(Arc<Lines>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.has_come.notify_all();
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.count == QUEUE {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.count += 1;
        waiting.queued += 1;
        let batch = waiting.open_batch();
        batch.text.extend_from_slice(line);
        batch.lines += 1;
        if std::mem::take(&mut waiting.is_idle) {
            drop(waiting);
            self.has_come.notify_one();
        }
    }

    /// The next batch to write, and whether it was the last; `None` when there will be none.
    fn take(&self) -> Option<(Batch, bool)> {
        let mut waiting = self.lock();
        loop {
            if let Some(batch) = waiting.batches.pop_front() {
                waiting.count -= batch.lines;
                return Some((batch, waiting.batches.is_empty()));
            }
            if waiting.is_closed {
                return None;
            }
            waiting.is_idle = true;
            let woken = self.has_come.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn have_written(&self, mut batch: Batch) {
        let mut waiting = self.lock();
        waiting.written += batch.lines as u64;
        batch.text.clear();
        waiting.spare = batch.text;
        drop(waiting);
        self.is_out.notify_all();
    }
}

impl Waiting {
    /// The batch that the next line belongs into.
    fn open_batch(&mut self) -> &mut Batch {
        let has_room = |batch: &Batch| batch.text.len() < BATCH;
        if !self.batches.back().is_some_and(has_room) {
            self.batches.push_back(Batch {
                text: std::mem::take(&mut self.spare),
                lines: 0,
            });
        }
        self.batches.back_mut().expect("there is one now")
    }
}

impl Log {
    /// Writes to standard output, in the form that fits it.
    pub fn stdout() -> Log {
        let form = match io::stdout().is_terminal() {
            true => Form::Text,
            false => Form::Json,
        };
        Log::to(io::stdout(), form)
    }

    /// Writes nowhere.
    pub fn silent() -> Log {
        Log::to(io::sink(), Form::Json)
    }

    pub fn to(sink: impl Write + Send + 'static, form: Form) -> Log {
        let lines = Arc::<Lines>::default();
        let written = lines.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&written, sink))
            .expect("a process that may start no thread cannot serve");
        let _open = Arc::new(Open(lines.clone()));
        Log { form, lines, _open }
    }

    pub fn access(&self, finished: &Finished) {
        self.queue(|out, moment| match self.form {
            Form::Json => access::write_json(out, moment, finished),
            Form::Text => access::write_text(out, moment, finished),
        });
    }

    pub fn event(
        &self,
        level: Level,
        message: &'static str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        self.event_with_details(level, message, fields, String::new());
    }

    pub fn event_with_details(
        &self,
        level: Level,
        message: &'static str,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
        details: String,
    ) {
        let event = Event {
            level,
            message,
            fields: fields.into_iter().collect(),
            details,
        };
        self.queue(|out, moment| match self.form {
            Form::Json => write_event_json(out, moment, &event),
            Form::Text => write_event_text(out, moment, &event),
        });
    }

    /// Lines that found no room.
    pub fn lost(&self) -> u64 {
        self.lines.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything queued so far is out, or `at_most`. For the end of the process; blocks.
    pub fn flush(&self, at_most: Duration) {
        let waiting = self.lines.lock();
        let queued = waiting.queued;
        // A timeout and a poisoned lock come to the same: there is nothing left to wait for.
        let _ = self
            .lines
            .is_out
            .wait_timeout_while(waiting, at_most, |waiting| waiting.written < queued);
    }

    /// `format` is given where to write the line to, and when it is.
    fn queue(&self, format: impl FnOnce(&mut Vec<u8>, SystemTime)) {
        // A thread that ends keeps nothing.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        format(&mut line, moment::wall());
        line.push(b'\n');
        self.lines.add(&line);
        let _ = LINE.try_with(|kept| kept.set(line));
    }
}

/// The writer's whole life.
fn write_lines(lines: &Lines, mut sink: impl Write) {
    while let Some((batch, is_last)) = lines.take() {
        // A reader that has gone away is no reason to stop serving.
        let _ = sink.write_all(&batch.text).and_then(|()| sink.flush());
        lines.have_written(batch);
        if is_last {
            std::thread::sleep(REST);
        }
    }
}

fn write_event_json(out: &mut Vec<u8>, moment: SystemTime, event: &Event) {
    let mut object = Map::new();
    object.insert("ts".into(), time::rfc3339(moment).into());
    object.insert("level".into(), event.level.name().into());
    object.insert("message".into(), event.message.into());
    for (name, value) in &event.fields {
        object.insert((*name).into(), value.clone());
    }
    serde_json::to_writer(out, &object).expect("a tree of values is written to memory");
}

fn write_event_text(out: &mut Vec<u8>, moment: SystemTime, event: &Event) {
    let level = match event.level {
        Level::Info => "",
        Level::Warn => "WARN ",
        Level::Error => "ERROR ",
    };
    let mut text = format!("{} {level}{}", time::clock(moment), event.message);
    for (name, value) in &event.fields {
        match value {
            Value::String(value) => text.push_str(&format!("  {name} {}", printable(value))),
            Value::Null => {}
            // Structure is for machines; a person reads the details.
            Value::Array(_) | Value::Object(_) => {}
            other => text.push_str(&format!("  {name} {other}")),
        }
    }
    if !event.details.is_empty() {
        text.push('\n');
        text.push_str(event.details.trim_end());
    }
    out.extend_from_slice(text.as_bytes());
}

/// Text that cannot move a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => character,
        })
        .collect()
}
