//! The end of the calls' time, 20 ms before the route's.

use crate::engine::code::Code;
use crate::engine::fetch::CallError;
use crate::engine::run::Run;
use crate::engine::run::progress::{Progress, Stage};
use crate::moment;
use crate::plan::{CallId, FallbackKind};

impl Run<'_> {
    /// What is under way ends as `timeout`, what has not started never will. All that is under way
    /// ends at this one moment, so it is told of every call, also of those after the one that decides.
    pub(super) fn expire(&mut self) {
        self.now = moment::now();
        loop {
            let running: Vec<CallId> = (0..self.progress.len())
                .map(CallId)
                .filter(|id| matches!(self.progress[id.0], Progress::Running(_)))
                .collect();
            for &id in &running {
                self.expire_call(id);
                self.settle_if_done(id);
            }
            if running.is_empty() || self.failure.is_some() {
                break;
            }
            self.advance();
        }
        self.launches.clear();
    }

    fn expire_call(&mut self, id: CallId) {
        let Progress::Running(running) = &mut self.progress[id.0] else {
            return;
        };
        if let Some(bulk) = &mut running.bulk {
            let (closed, sent) = bulk.close();
            running.open -= closed;
            running.attempts += sent;
        }
        for item in 0..running.items.len() {
            let Progress::Running(running) = &self.progress[id.0] else {
                return;
            };
            match running.items[item].stage {
                Stage::Asking => {
                    // It should have ended by itself, and told how often it was sent.
                    let state = &mut self.running(id).items[item];
                    state.attempts = state.sent().max(1);
                    self.fail_item(id, item, CallError::new(Code::Timeout));
                }
                // Nothing was sent.
                Stage::LookedUp => {
                    self.fail_item(id, item, CallError::new(Code::DeadlineExhausted));
                }
                Stage::Parked(place) => {
                    self.end_fallback(id, item, place, Code::DeadlineExhausted, 0);
                }
                Stage::AskingFallback(place) => {
                    self.end_fallback(id, item, place, Code::Timeout, 1);
                }
                Stage::Waiting | Stage::Done(_) => {}
            }
        }
    }

    fn end_fallback(&mut self, id: CallId, item: usize, place: usize, code: Code, attempts: u32) {
        if let FallbackKind::Call(called) = self.route.calls[id.0].fallback[place].kind {
            if attempts == 0 {
                self.asked(called).begin();
            }
            let error = CallError::new(code);
            self.add_fallback_entry(id, called, item, &error, attempts);
        }
        self.walk_chain(id, item, place + 1);
    }
}
