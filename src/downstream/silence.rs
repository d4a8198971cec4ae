//! How long somebody who is waited for says nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::moment;

/// The silence of one who sends piece by piece. It counts while that one is waited for: what others take for
/// the pieces is not part of it.
#[derive(Default)]
pub struct Silence {
    /// Made when it is first needed.
    clock: Option<Pin<Box<Sleep>>>,
    is_on: bool,
}

impl Silence {
    /// Ready when it has lasted for `most`; begins if it had ended.
    pub fn poll(&mut self, most: Duration, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(most)));
        if !std::mem::replace(&mut self.is_on, true) {
            clock.as_mut().reset(moment::now() + most);
        }
        clock.as_mut().poll(context)
    }

    /// Something came.
    pub fn end(&mut self) {
        self.is_on = false;
    }
}
