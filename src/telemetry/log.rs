//! The log: one line a request, one line an event, on standard output.
//!
//! Whoever logs hands the facts over and goes on; a thread of its own formats and writes them. The
//! queue between the two is bounded. A reader that is too slow costs lines, which are counted, never
//! an answer. On a terminal lines are for a person, elsewhere they are JSON.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
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
    shared: Arc<Shared>,
}

struct Shared {
    lines: SyncSender<(SystemTime, Line)>,
    queued: AtomicU64,
    lost: AtomicU64,
    written: Arc<Written>,
}

enum Line {
    Access(Box<Finished>),
    Event(Event),
}

/// How many of the queued lines are out, and a bell for whoever waits for that.
#[derive(Default)]
struct Written {
    count: Mutex<u64>,
    bell: Condvar,
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
        let (sender, receiver) = sync_channel(QUEUE);
        let written = Arc::new(Written::default());
        let shared = Arc::new(Shared {
            lines: sender,
            queued: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            written: written.clone(),
        });
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(receiver, sink, form, &written))
            .expect("a process that may start no thread cannot serve");
        Log { shared }
    }

    pub fn access(&self, finished: Box<Finished>) {
        self.queue(Line::Access(finished));
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
        self.queue(Line::Event(Event {
            level,
            message,
            fields: fields.into_iter().collect(),
            details,
        }));
    }

    /// Lines that found no room.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything queued so far is out, or `at_most`. For the end of the process; blocks.
    pub fn flush(&self, at_most: Duration) {
        let queued = self.shared.queued.load(Ordering::Acquire);
        let written = &self.shared.written;
        let count = written.count.lock().unwrap_or_else(PoisonError::into_inner);
        // A timeout and a poisoned lock come to the same: there is nothing left to wait for.
        let _ = written
            .bell
            .wait_timeout_while(count, at_most, |count| *count < queued);
    }

    fn queue(&self, line: Line) {
        match self.shared.lines.try_send((moment::wall(), line)) {
            Ok(()) => self.shared.queued.fetch_add(1, Ordering::Release),
            Err(_) => self.shared.lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// The writer's whole life: takes what is there, writes it in one go, says how far it is.
fn write_lines(
    lines: Receiver<(SystemTime, Line)>,
    mut sink: impl Write,
    form: Form,
    written: &Written,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok((moment, line)) = lines.recv() {
        let mut taken = 1;
        let mut is_drained = false;
        write_line(&mut batch, moment, &line, form);
        while batch.len() < BATCH && !is_drained {
            match lines.try_recv() {
                Ok((moment, line)) => {
                    taken += 1;
                    write_line(&mut batch, moment, &line, form);
                }
                Err(_) => is_drained = true,
            }
        }
        // A reader that has gone away is no reason to stop serving.
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
        batch.clear();
        *written.count.lock().unwrap_or_else(PoisonError::into_inner) += taken;
        written.bell.notify_all();
        if is_drained {
            std::thread::sleep(REST);
        }
    }
}

fn write_line(out: &mut Vec<u8>, moment: SystemTime, line: &Line, form: Form) {
    match (line, form) {
        (Line::Access(finished), Form::Json) => access::write_json(out, moment, finished),
        (Line::Access(finished), Form::Text) => access::write_text(out, moment, finished),
        (Line::Event(event), Form::Json) => write_event_json(out, moment, event),
        (Line::Event(event), Form::Text) => write_event_text(out, moment, event),
    }
    out.push(b'\n');
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
