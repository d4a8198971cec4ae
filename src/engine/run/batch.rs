//! A `batch` call: few requests for many elements.
//!
//! Its elements are asked for by their keys. Keys that are not kept are cut into chunks, each one
//! request, of which at most `concurrency` are under way; where an answer has landed each element has its
//! row, or fails by itself and walks its own chain.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::engine::batch;
use crate::engine::code::Code;
use crate::engine::fetch::{
    Answer, CacheNote, CallError, Exchange, Fetched, Found, Made, Row, is_too_late,
};
use crate::engine::render;
use crate::engine::run::Run;
use crate::engine::run::flight::{Aim, Launch};
use crate::engine::run::progress::{Next, Progress, Stage};
use crate::json::{Value, write_text};
use crate::moment;
use crate::path::Frame;
use crate::plan::{Batch, CallId};
use crate::template::Failure;

/// A number of a key, by when it first appeared.
pub(super) type KeyId = usize;

/// What a `batch` call is about, and how far its requests are.
#[derive(Default)]
pub(super) struct Bulk {
    keys: Vec<Key>,
    by_text: HashMap<String, KeyId>,
    /// By element; one without a key is asked for nothing.
    of_item: HashMap<usize, KeyId>,
    /// The keys that the cache is asked for, while it is.
    looked_up: Option<Vec<KeyId>>,
    chunks: Vec<Chunk>,
    /// The first chunk that has not begun.
    next: usize,
    /// Elements whose fallback call waits for a place.
    parked: VecDeque<usize>,
}

struct Key {
    text: String,
    /// As it stands in the list that is sent.
    json: Vec<u8>,
    items: Vec<usize>,
}

/// The keys of one request.
struct Chunk {
    keys: Vec<KeyId>,
    made: Made,
    is_open: bool,
}

impl Bulk {
    fn add(&mut self, item: usize, text: String, json: Vec<u8>) {
        let next = self.keys.len();
        let id = *self.by_text.entry(text.clone()).or_insert(next);
        if id == next {
            let items = Vec::new();
            self.keys.push(Key { text, json, items });
        }
        self.keys[id].items.push(item);
        self.of_item.insert(item, id);
    }

    fn cut(&mut self, keys: &[KeyId], size: usize) {
        self.chunks
            .extend(keys.chunks(size.max(1)).map(|keys| Chunk {
                keys: keys.to_vec(),
                made: Made::default(),
                is_open: false,
            }));
    }

    /// Requests first: when all are under way, it is known how much there is to stand in for.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.next < self.chunks.len() {
            self.next += 1;
            return Some(Next::Chunk(self.next - 1));
        }
        self.parked.pop_front().map(Next::Parked)
    }

    pub(super) fn park(&mut self, item: usize) {
        self.parked.push_back(item);
    }

    /// The elements of these keys, in input order.
    fn items_of(&self, keys: &[KeyId]) -> Vec<usize> {
        let items = keys.iter().flat_map(|key| &self.keys[*key].items);
        let mut items: Vec<usize> = items.copied().collect();
        items.sort_unstable();
        items
    }

    /// What requests that have not ended have sent.
    pub(super) fn under_way(&self) -> u32 {
        let open = self.chunks.iter().filter(|chunk| chunk.is_open);
        open.map(|chunk| chunk.made.so_far()).sum()
    }

    /// Nothing is under way any more: how much was, and what it had sent.
    pub(super) fn close(&mut self) -> (usize, u32) {
        let mut closed = (usize::from(self.looked_up.take().is_some()), 0);
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.is_open) {
            chunk.is_open = false;
            closed.0 += 1;
            closed.1 += chunk.made.so_far().max(1);
        }
        closed
    }
}

impl Run<'_> {
    /// Says who is to be asked for, and asks the cache first where there is one.
    pub(super) fn begin_batch(&mut self, id: CallId) {
        self.running(id).bulk = Some(Bulk::default());
        for item in 0..self.running(id).items.len() {
            self.running(id).items[item].started = Some(moment::now());
            if self.is_wanted(id, item) {
                match self.render_key(id, item) {
                    Ok(Some((text, json))) => self.bulk(id).add(item, text, json),
                    Ok(None) => self.fail_item(id, item, missing_row("the element has no key")),
                    Err(failure) => self.fail_item(id, item, self.call_error(failure)),
                }
            }
            if self.failure.is_some() {
                return;
            }
        }
        let keys: Vec<KeyId> = (0..self.bulk(id).keys.len()).collect();
        match self.route.calls[id.0].cache {
            Some(_) if !keys.is_empty() => self.look_up(id, keys),
            _ => self.ask_for(id, &keys),
        }
    }

    fn ask_for(&mut self, id: CallId, keys: &[KeyId]) {
        let size = self.batch(id).size;
        self.bulk(id).cut(keys, size);
    }

    /// A key as text and as JSON: a path keeps its type. `None`: it is absent.
    fn render_key(&self, id: CallId, item: usize) -> Result<Option<(String, Vec<u8>)>, Failure> {
        let key = &self.batch(id).key;
        self.with_env(id, item, |env| {
            let mut text = String::new();
            if !key.render_present(env, &mut text)? {
                return Ok(None);
            }
            let mut json = Vec::new();
            if !key.choice().is_some_and(|path| path.render(env, &mut json)) {
                write_text(&mut json, &text);
            }
            Ok(Some((text, json)))
        })
    }

    fn look_up(&mut self, id: CallId, keys: Vec<KeyId>) {
        let mut exchanges = Vec::new();
        let mut looked_up = Vec::new();
        for key in keys {
            match self.exchange_of(id, &[key]) {
                Ok(exchange) => {
                    self.set_stage(id, &[key], || Stage::LookedUp);
                    exchanges.push(exchange);
                    looked_up.push(key);
                }
                Err(error) => self.fail_keys(id, &[key], &error),
            }
            if self.failure.is_some() {
                return;
            }
        }
        if looked_up.is_empty() {
            return;
        }
        self.bulk(id).looked_up = Some(looked_up);
        self.running(id).open += 1;
        let until = self.ends_of(id, moment::now()).deadline;
        self.launches.push(Launch::LookUp(id, exchanges, until));
    }

    /// What the cache has is given; the rest is asked for, and what is due is renewed meanwhile.
    pub(super) fn land_found(&mut self, id: CallId, found: Vec<Option<Found>>) {
        let Progress::Running(running) = &mut self.progress[id.0] else {
            return;
        };
        let Some(keys) = running.bulk.as_mut().and_then(|bulk| bulk.looked_up.take()) else {
            return;
        };
        running.open -= 1;
        let (mut due, mut missing) = (Vec::new(), Vec::new());
        let found = found.into_iter().chain(std::iter::repeat_with(|| None));
        for (key, found) in keys.into_iter().zip(found) {
            let Some(found) = found else {
                missing.push(key);
                continue;
            };
            if found.is_due {
                due.push(key);
            }
            for item in self.bulk(id).items_of(&[key]) {
                let taken = self.take(id, id, item, found.answer.clone());
                self.end_item(id, item, taken, Some(found.note));
                if self.failure.is_some() {
                    return;
                }
            }
        }
        self.set_stage(id, &missing, || Stage::Waiting);
        self.ask_for(id, &missing);
        self.renew(id, &due);
        self.work.push_back(id);
    }

    fn renew(&mut self, id: CallId, due: &[KeyId]) {
        for keys in due.chunks(self.batch(id).size.max(1)) {
            let Ok(exchange) = self.rendered_of(id, keys) else {
                continue;
            };
            let texts = keys.iter().map(|&key| {
                let text = self.bulk_of(id)?.keys[key].text.clone();
                Some((text, self.exchange_of_one(id, key).ok()?))
            });
            self.kept.renew_rows(exchange, texts.flatten().collect());
        }
    }

    pub(super) fn start_chunk(&mut self, id: CallId, number: usize) {
        let keys = self.bulk(id).chunks[number].keys.clone();
        let exchange = match self.exchange_of(id, &keys) {
            Ok(exchange) => exchange,
            Err(error) => return self.fail_keys(id, &keys, &error),
        };
        let chunk = &mut self.bulk(id).chunks[number];
        chunk.is_open = true;
        chunk.made = exchange.made.clone();
        self.running(id).open += 1;
        for item in self.bulk(id).items_of(&keys) {
            let state = &mut self.running(id).items[item];
            state.stage = Stage::Asking;
            state.started = Some(moment::now());
            state.made = Some(exchange.made.clone());
        }
        self.launch(id, Aim::Chunk(number), exchange);
    }

    /// An answer for many has come, or none has.
    pub(super) fn land_chunk(&mut self, id: CallId, number: usize, fetched: Fetched) {
        let chunk = &mut self.bulk(id).chunks[number];
        if !std::mem::take(&mut chunk.is_open) {
            return;
        }
        let keys = chunk.keys.clone();
        let running = self.running(id);
        running.open -= 1;
        running.attempts += fetched.attempts;
        for item in self.bulk(id).items_of(&keys) {
            let state = &mut self.running(id).items[item];
            state.attempts = fetched.attempts;
            state.note = fetched.note;
            state.made = None;
        }
        match fetched.result {
            Ok(answer) => self.give_rows(id, &keys, &answer, fetched.note),
            Err(error) => self.fail_keys(id, &keys, &error),
        }
        self.work.push_back(id);
    }

    fn give_rows(&mut self, id: CallId, keys: &[KeyId], answer: &Answer, note: Option<CacheNote>) {
        let rows: HashMap<KeyId, Bytes> = batch::rows_of(self.route, id, answer)
            .into_iter()
            .filter_map(|(text, row)| Some((*self.bulk_of(id)?.by_text.get(&text)?, row)))
            .collect();
        self.keep_rows(id, keys, answer, &rows);
        for item in self.bulk(id).items_of(keys) {
            let row = self.key_of(id, item).and_then(|key| rows.get(&key));
            let taken = match row {
                Some(row) => self.take_row(id, item, Box::new(answer.clone()), row.clone()),
                None => Err(missing_row("the answer has no row for the element's key")),
            };
            self.end_item(id, item, taken, note);
            if self.failure.is_some() {
                return;
            }
        }
    }

    fn keep_rows(&self, id: CallId, keys: &[KeyId], answer: &Answer, rows: &HashMap<KeyId, Bytes>) {
        let call = &self.route.calls[id.0];
        if call.cache.is_none() && !call.keeps_answers() {
            return;
        }
        let kept = keys.iter().filter_map(|key| {
            Some(Row {
                body: rows.get(key)?.clone(),
                exchange: self.exchange_of_one(id, *key).ok()?,
            })
        });
        self.kept.keep_rows(answer, kept.collect());
    }

    /// The answer for one element: its row, or what `take` makes of it.
    pub(super) fn take_row(
        &self,
        id: CallId,
        item: usize,
        mut answer: Box<Answer>,
        row: Bytes,
    ) -> Result<Box<Answer>, CallError> {
        answer.body = None;
        let Some(take) = &self.route.calls[id.0].take else {
            answer.body = Some(self.check_bytes(id, row)?);
            return Ok(answer);
        };
        let element = self.frame(id, item);
        let frame = Frame {
            variable: self.batch(id).row,
            index: item,
            value: Value::trusted(&row),
            outer: element.as_ref(),
        };
        self.reshaped(id, take, answer, Some(&frame))
    }

    fn fail_keys(&mut self, id: CallId, keys: &[KeyId], error: &CallError) {
        for item in self.bulk(id).items_of(keys) {
            if self.failure.is_none() {
                self.fail_item(id, item, error.clone());
            }
        }
    }

    fn set_stage(&mut self, id: CallId, keys: &[KeyId], stage: fn() -> Stage) {
        for item in self.bulk(id).items_of(keys) {
            self.running(id).items[item].stage = stage();
        }
    }

    /// The call, rendered for these keys, if there is time to make it.
    fn exchange_of(&self, id: CallId, keys: &[KeyId]) -> Result<Exchange, CallError> {
        if is_too_late(self.end, moment::now()) {
            return Err(CallError::new(Code::DeadlineExhausted));
        }
        self.rendered_of(id, keys)
            .map_err(|failure| self.call_error(failure))
    }

    /// The request that a row is kept under: the call's own, for this key alone.
    pub(super) fn exchange_of_one(&self, id: CallId, key: KeyId) -> Result<Exchange, Failure> {
        self.rendered_of(id, &[key])
    }

    fn rendered_of(&self, id: CallId, keys: &[KeyId]) -> Result<Exchange, Failure> {
        let bulk = self.bulk_of(id).expect("keys belong to a call under way");
        let texts: Vec<&[u8]> = keys.iter().map(|key| &*bulk.keys[*key].json).collect();
        let list = [b"[", &*texts.join(&b','), b"]"].concat();
        let frame = Frame {
            variable: self.batch(id).keys,
            index: 0,
            value: Value::trusted(&list),
            outer: None,
        };
        let ends = self.ends_of(id, moment::now());
        render::exchange(self.route, id, &self.context, Some(&frame), ends)
    }

    pub(super) fn key_of(&self, id: CallId, item: usize) -> Option<KeyId> {
        self.bulk_of(id)?.of_item.get(&item).copied()
    }

    fn batch(&self, id: CallId) -> &Batch {
        let batch = self.route.calls[id.0].batch();
        batch.expect("only a call with `batch` comes here")
    }

    fn bulk(&mut self, id: CallId) -> &mut Bulk {
        let bulk = self.running(id).bulk.as_mut();
        bulk.expect("it was put there when the call began")
    }

    fn bulk_of(&self, id: CallId) -> Option<&Bulk> {
        match &self.progress[id.0] {
            Progress::Running(running) => running.bulk.as_ref(),
            _ => None,
        }
    }
}

fn missing_row(detail: &str) -> CallError {
    CallError {
        detail: Some(detail.to_owned()),
        ..CallError::new(Code::MissingRow)
    }
}
