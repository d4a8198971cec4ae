//! For what is polled at every turn of a connection and is hardly ever ready: to poll it costs more than
//! to know that it need not be.

use std::task::{Context, Waker};

/// Who will be woken when a future that was polled gets ready.
#[derive(Default)]
pub struct Woken(Option<Waker>);

impl Woken {
    /// Whether it is the one who asks. If not, it is from now on: the future has to be polled.
    pub fn is_still(&mut self, context: &Context<'_>) -> bool {
        let asks = context.waker();
        let is_still = self.0.as_ref().is_some_and(|woken| woken.will_wake(asks));
        if !is_still {
            self.0 = Some(asks.clone());
        }
        is_still
    }

    /// Nobody will be.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}
