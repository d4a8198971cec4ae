//! How far each call of a run is: what the loop in [`super`] moves on.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::cache_status::Tally;
use crate::engine::code::Code;
use crate::engine::context::Settled;
use crate::engine::fetch::{CacheNote, CallError, Made};
use crate::engine::outcome::{Origin, Outcome};
use crate::engine::record;
use crate::engine::run::batch::Bulk;
use crate::json::Value;
use crate::moment;

/// How far one call is.
pub enum Progress {
    /// For so many calls to settle.
    Waiting(usize),
    Running(Running),
    Settled(Facts),
    /// A fallback call that was not asked, a detached or a passed call.
    Apart,
    /// A fallback call that some chain came to.
    Asked(Asked),
}

/// A fallback call, over all the chains and elements that asked it.
pub struct Asked {
    pub started: Instant,
    pub ended: Instant,
    /// Of those that have ended.
    pub attempts: u32,
    /// Of all.
    pub(super) made: Vec<Made>,
    times: usize,
    open: usize,
    failed: usize,
    /// Of the last answer or failure.
    code: Option<Code>,
    status: Option<u16>,
    notes: Vec<Option<CacheNote>>,
}

/// What a settled call leaves for the record.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub outcome: record::Outcome,
    pub code: Option<Code>,
    pub status: Option<u16>,
    pub attempts: u32,
    pub started: Instant,
    pub elapsed: Duration,
    pub items: Option<(usize, usize)>,
    /// How many elements a kept answer was given for.
    pub of_cache: usize,
    /// What the cache did for it.
    pub cache: Option<Tally>,
}

/// A call under way. One that is no `for_each` is one item.
pub struct Running {
    pub started: Instant,
    pub attempts: u32,
    pub(super) items: Vec<Item>,
    pub(super) list: Option<List>,
    /// Of a `batch`.
    pub(super) bulk: Option<Bulk>,
    next: usize,
    /// What is under way, and bounded by the concurrency: items, or requests for many and what stands
    /// in for single elements of them.
    pub(super) open: usize,
    /// Items that have not ended.
    pub(super) left: usize,
    pub(super) failed: usize,
}

/// What a call under way may begin.
pub(super) enum Next {
    Item(usize),
    /// A request of a `batch`.
    Chunk(usize),
    /// An element of a `batch` whose fallback call waited for a place.
    Parked(usize),
}

/// The elements of a `for_each`, copied out of the context document.
pub(super) struct List {
    pub(super) bytes: Vec<u8>,
    pub(super) ranges: Vec<Range<usize>>,
}

#[derive(Default)]
pub(super) struct Item {
    pub(super) stage: Stage,
    /// It counts in `open`.
    pub(super) is_open: bool,
    pub(super) started: Option<Instant>,
    pub(super) attempts: u32,
    /// Those of the call itself while it is under way.
    pub(super) made: Option<Made>,
    /// What the cache did for the call itself, whether it answered or failed.
    pub(super) note: Option<CacheNote>,
    /// Why the call itself failed, while its chain is walked, and after how long.
    pub(super) error: Option<CallError>,
    pub(super) failed_after: Duration,
    /// When the fallback call that is under way was asked.
    pub(super) asked: Option<Instant>,
}

#[derive(Default)]
pub(super) enum Stage {
    #[default]
    Waiting,
    /// The cache is asked for its key.
    LookedUp,
    /// The call itself is under way.
    Asking,
    /// The fallback call at this place of the chain waits for its own needs, or for a place.
    Parked(usize),
    /// The fallback call at this place of the chain is under way.
    AskingFallback(usize),
    Done(Box<Outcome>),
}

impl List {
    pub(super) fn element(&self, item: usize) -> Value<'_> {
        Value::trusted(&self.bytes[self.ranges[item].clone()])
    }
}

impl Item {
    /// What the call itself has sent, while it is under way.
    pub(super) fn sent(&self) -> u32 {
        self.made.as_ref().map_or(0, Made::so_far)
    }
}

impl Running {
    pub(super) fn new(started: Instant) -> Running {
        Running {
            started,
            attempts: 0,
            items: Vec::new(),
            list: None,
            bulk: None,
            next: 0,
            open: 0,
            left: 0,
            failed: 0,
        }
    }

    /// Says what there is to do.
    pub(super) fn hold(&mut self, items: usize, list: Option<List>) {
        self.items.reserve_exact(items);
        self.items.resize_with(items, Item::default);
        self.left = items;
        self.list = list;
    }

    /// What may begin now, while no more than `most` are under way.
    pub(super) fn next(&mut self, most: usize, now: Instant) -> Option<Next> {
        if self.open >= most {
            return None;
        }
        if let Some(bulk) = &mut self.bulk {
            return bulk.next();
        }
        let item = self.items.get_mut(self.next)?;
        item.started = Some(now);
        item.is_open = true;
        self.open += 1;
        self.next += 1;
        Some(Next::Item(self.next - 1))
    }

    /// A place for an item among what is under way: it has one, or there is room, or it has to wait.
    pub(super) fn has_place(&mut self, item: usize, most: usize) -> bool {
        let is_open = self.items[item].is_open;
        if !is_open && self.open >= most {
            return false;
        }
        self.items[item].is_open = true;
        self.open += usize::from(!is_open);
        true
    }

    pub(super) fn finish(&mut self, item: usize, outcome: Outcome) {
        let item = &mut self.items[item];
        item.stage = Stage::Done(Box::new(outcome));
        self.open -= usize::from(std::mem::take(&mut item.is_open));
        self.left -= 1;
    }

    /// What the record says of a call that settled.
    pub(super) fn facts_of(&self, settled: &Settled, now: Instant) -> Facts {
        let outcomes = settled.outcomes();
        let worst = outcomes.iter().max_by_key(|outcome| match outcome.origin {
            Origin::Skipped => 0,
            Origin::Cache => 1,
            Origin::Live => 2,
            Origin::Fallback => 3,
            Origin::Stale => 4,
            Origin::Failed => 5,
        });
        let failed = outcomes.iter().filter(|outcome| outcome.error.is_some());
        let outcome = match worst.map_or(Origin::Live, |outcome| outcome.origin) {
            Origin::Live => record::Outcome::Live,
            Origin::Cache => record::Outcome::Cache,
            Origin::Stale => record::Outcome::Stale,
            Origin::Fallback => record::Outcome::Fallback,
            Origin::Skipped => record::Outcome::Skipped,
            Origin::Failed => record::Outcome::Failed,
        };
        let error = worst.and_then(|outcome| outcome.error);
        Facts {
            outcome,
            code: error.map(|(code, _)| code),
            status: error.map_or_else(|| worst?.status, |(_, status)| status),
            attempts: self.attempts,
            started: self.started,
            elapsed: now.saturating_duration_since(self.started),
            items: matches!(settled, Settled::Many(_)).then(|| (outcomes.len(), failed.count())),
            of_cache: outcomes
                .iter()
                .filter(|outcome| outcome.origin == Origin::Cache)
                .count(),
            cache: Tally::of(outcomes.iter().map(|outcome| outcome.note)),
        }
    }

    /// What items that have not ended have sent.
    fn under_way(&self) -> u32 {
        if let Some(bulk) = &self.bulk {
            return bulk.under_way();
        }
        let items = self.items.iter();
        let asking = items.filter(|item| matches!(item.stage, Stage::Asking));
        asking.map(|item| item.sent()).sum()
    }

    /// What the record says of a call that ended with the run.
    pub fn facts(&self, outcome: record::Outcome, error: Option<&CallError>) -> Facts {
        Facts {
            outcome,
            code: error.map(|error| error.code),
            status: error.and_then(|error| error.status),
            attempts: self.attempts + self.under_way(),
            started: self.started,
            elapsed: moment::since(self.started),
            items: self
                .list
                .as_ref()
                .map(|list| (list.ranges.len(), self.failed)),
            of_cache: 0,
            cache: Tally::of(self.items.iter().map(|item| item.note)),
        }
    }
}

impl Asked {
    /// What was sent so far, by those that have ended and those that have not.
    fn sent(&self) -> u32 {
        let made = self.made.iter().map(Made::so_far);
        made.sum::<u32>().max(self.attempts)
    }

    pub(super) fn new() -> Asked {
        let now = moment::now();
        Asked {
            started: now,
            ended: now,
            attempts: 0,
            made: Vec::new(),
            times: 0,
            open: 0,
            failed: 0,
            code: None,
            status: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.times += 1;
        self.open += 1;
    }

    pub(super) fn end(&mut self, result: Result<u16, &CallError>, attempts: u32) {
        self.open -= 1;
        self.attempts += attempts;
        self.ended = moment::now();
        match result {
            Ok(status) => self.status = Some(status),
            Err(error) => {
                self.failed += 1;
                self.code = Some(error.code);
                self.status = error.status;
            }
        }
    }

    pub(super) fn note(&mut self, note: Option<CacheNote>) {
        self.notes.push(note);
    }

    pub fn facts(&self) -> Facts {
        let outcome = match (self.failed, self.open) {
            (0, 0) => record::Outcome::Live,
            (0, _) => record::Outcome::Cancelled,
            _ => record::Outcome::Failed,
        };
        let ended = match self.open {
            0 => self.ended,
            _ => moment::now(),
        };
        Facts {
            outcome,
            code: self.code,
            status: self.status,
            attempts: self.sent(),
            started: self.started,
            elapsed: ended - self.started,
            items: (self.times > 1).then_some((self.times, self.failed)),
            of_cache: 0,
            cache: Tally::of(self.notes.iter().copied()),
        }
    }
}
