//! What is under way in a run: what was asked, and what came of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::{Instant, timeout_at};

use crate::engine::fetch::{Exchange, Fetch, Fetched, Found};
use crate::plan::CallId;

/// What is to be asked.
pub(super) enum Launch {
    Call(Ticket, Arc<Exchange>),
    /// What the cache has for the keys of a `batch` call, until its clock ends.
    LookUp(CallId, Vec<Exchange>, Instant),
}

/// What came of it.
pub(super) enum Landing {
    Call(Ticket, Fetched),
    Found(CallId, Vec<Option<Found>>),
}

/// Which call was made, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) call: CallId,
    pub(super) aim: Aim,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// The call itself, or one element of it.
    Item(usize),
    /// One request of a `batch`.
    Chunk(usize),
    /// The fallback call at this place of the item's chain.
    Fallback { item: usize, place: usize },
}

/// Calls that are under way. One alone is polled as it is; several lie in a set that knows which of them was
/// woken, until none of those is left.
pub(super) struct Flights<F> {
    alone: Option<F>,
    /// Made when it is needed.
    several: Option<FuturesUnordered<F>>,
}

impl<F: Future + Unpin> Flights<F> {
    pub(super) fn new() -> Flights<F> {
        Flights {
            alone: None,
            several: None,
        }
    }

    /// Adds what begins at the same time.
    pub(super) fn add(&mut self, flights: impl ExactSizeIterator<Item = F>) {
        let others = self.several.as_ref().map_or(0, FuturesUnordered::len);
        let before = self.alone.take().into_iter();
        let all = before.len() + others + flights.len();
        let mut new = before.chain(flights);
        match (all, others) {
            (0, _) => {}
            (1, 0) => self.alone = new.next(),
            _ => self.several.get_or_insert_default().extend(new),
        }
    }
}

impl<F: Future + Unpin> Stream for Flights<F> {
    type Item = F::Output;

    /// What has ended; `None` where nothing is under way.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if let Some(flight) = &mut self.alone {
            let landing = ready!(Pin::new(flight).poll(context));
            self.alone = None;
            return Poll::Ready(Some(landing));
        }
        match &mut self.several {
            Some(several) => Pin::new(several).poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

pub(super) async fn fly<F: Fetch>(fetch: &F, launch: Launch) -> Landing {
    match launch {
        Launch::Call(ticket, exchange) => Landing::Call(ticket, fetch.fetch(exchange).await),
        Launch::LookUp(call, exchanges, until) => {
            // In a box, so that calls do not carry it about.
            let found = Box::pin(fetch.look_up(exchanges));
            // A cache that is late has nothing.
            let found = timeout_at(until, found).await;
            Landing::Found(call, found.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use tokio::sync::oneshot;

    use super::*;

    type Awaited = oneshot::Receiver<usize>;

    /// What lands next, if something has ended.
    fn landed(flights: &mut Flights<Awaited>) -> Option<Option<usize>> {
        let landed = flights.next().now_or_never()?;
        Some(landed.map(|number| number.expect("nobody is dropped")))
    }

    fn add(flights: &mut Flights<Awaited>, count: usize) -> Vec<oneshot::Sender<usize>> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| oneshot::channel()).unzip();
        flights.add(receivers.into_iter());
        senders
    }

    #[test]
    fn whatever_ends_lands_once_however_many_there_are() {
        let mut flights = Flights::new();
        assert_eq!(landed(&mut flights), Some(None));
        let mut number = 0;
        // So many are added each time while the others are under way.
        for additions in [
            vec![1],
            vec![2],
            vec![1, 1],
            vec![1, 0, 2],
            vec![3, 1],
            vec![0],
            vec![1],
        ] {
            let mut senders = Vec::new();
            for count in additions {
                senders.extend(add(&mut flights, count));
                assert_eq!(landed(&mut flights), senders.is_empty().then_some(None));
            }
            // The last one first.
            while let Some(sender) = senders.pop() {
                number += 1;
                sender.send(number).unwrap();
                assert_eq!(landed(&mut flights), Some(Some(number)));
                assert_eq!(landed(&mut flights), senders.is_empty().then_some(None));
            }
        }
    }

    /// Whoever was alone wakes the run also after another one has come.
    #[tokio::test]
    async fn each_of_them_wakes() {
        let mut flights = Flights::new();
        let first = add(&mut flights, 1).remove(0);
        assert_eq!(landed(&mut flights), None);
        let second = add(&mut flights, 1).remove(0);
        for (sender, number) in [(first, 1), (second, 2)] {
            let landing = async { flights.next().await };
            let sending = async {
                tokio::task::yield_now().await;
                sender.send(number).unwrap();
            };
            let (landing, ()) = tokio::join!(landing, sending);
            assert_eq!(landing.unwrap().unwrap(), number);
        }
    }
}
