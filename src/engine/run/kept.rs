//! What is kept of earlier answers, asked without waiting: the part of [`Fetch`] that a run, which has
//! no type parameter, holds on to.

use std::time::Duration;

use crate::engine::code::Code;
use crate::engine::fetch::{Answer, Exchange, Fetch, Row};
use crate::engine::run::Run;
use crate::json::Body;
use crate::moment;
use crate::plan::CallId;

pub trait Kept: Sync {
    fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>>;
    fn stale_if_error(&self, exchange: &Exchange, code: Code) -> Option<Box<Answer>>;
    fn keep_rows(&self, answer: &Answer, rows: Vec<Row>);
    fn renew_rows(&self, exchange: Exchange, rows: Vec<(String, Exchange)>);
}

impl<F: Fetch> Kept for F {
    fn last_good(&self, exchange: &Exchange, at_most: Duration) -> Option<Box<Answer>> {
        Fetch::last_good(self, exchange, at_most)
    }

    fn stale_if_error(&self, exchange: &Exchange, code: Code) -> Option<Box<Answer>> {
        Fetch::stale_if_error(self, exchange, code)
    }

    fn keep_rows(&self, answer: &Answer, rows: Vec<Row>) {
        Fetch::keep_rows(self, answer, rows);
    }

    fn renew_rows(&self, exchange: Exchange, rows: Vec<(String, Exchange)>) {
        Fetch::renew_rows(self, exchange, rows);
    }
}

impl Run<'_> {
    /// The body of the last good answer to the same request, if it is no older than `at_most`.
    pub(super) fn last_good(
        &self,
        id: CallId,
        item: usize,
        at_most: Duration,
    ) -> Option<Option<Body>> {
        let exchange = self.own_exchange(id, item)?;
        self.old_body(id, item, self.kept.last_good(&exchange, at_most)?)
    }

    /// The body of what the cache gives in place of a failure.
    pub(super) fn stale_if_error(
        &self,
        id: CallId,
        item: usize,
        code: Code,
    ) -> Option<Option<Body>> {
        self.route.calls[id.0].cache?;
        let exchange = self.own_exchange(id, item)?;
        self.old_body(id, item, self.kept.stale_if_error(&exchange, code)?)
    }

    /// The request whose answer is kept for this item.
    fn own_exchange(&self, id: CallId, item: usize) -> Option<Exchange> {
        match self.route.calls[id.0].batch() {
            None => self.rendered(id, id, item, moment::now()).ok(),
            Some(_) => self.exchange_of_one(id, self.key_of(id, item)?).ok(),
        }
    }

    fn old_body(&self, id: CallId, item: usize, answer: Box<Answer>) -> Option<Option<Body>> {
        let taken = self.take(id, id, item, answer).ok()?;
        Some(taken.body)
    }
}
