//! Waits for a moment that hardly ever comes: the end of a call's time, or of a request's.
//!
//! Nearly all that is waited for beside such a moment is there long before it, and a timer that is
//! entered and taken out again costs 750 instructions and its neighbours in the runtime's list
//! (`docs/performance.md`). So a timer stays where it is when nobody waits for it any more, and whoever
//! waits next takes it over: it rings for that one too, too early, and is then set to the moment that is
//! meant. What rings is set anew at most once in each time that somebody waits for, however many come and
//! go in it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::runtime::{self, Handle};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// So many are kept for each thread, and with each the memory of the task that it would have woken.
const KEPT: usize = 256;

/// A timer, and the runtime that it belongs to.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    runtime: runtime::Id,
}

thread_local! {
    /// The last one that was used lies on top: it is the one that the processor still knows.
    static KEPT_TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// Ready at its moment, to the millisecond as all timers of tokio are.
pub struct Alarm {
    moment: Instant,
    /// Taken when it has to be waited for.
    timer: Option<Timer>,
}

/// Ready at `moment`, at once if that is past.
pub fn until(moment: Instant) -> Alarm {
    Alarm {
        moment,
        timer: None,
    }
}

/// What `work` comes to; `None` if it has not ended by `moment`. Whoever ends at that moment has ended.
pub async fn within<W: Future + Unpin>(moment: Instant, mut work: W) -> Option<W::Output> {
    let mut alarm = until(moment);
    poll_fn(|context| match Pin::new(&mut work).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut alarm).poll(context).map(|()| None),
    })
    .await
}

impl Timer {
    fn of(moment: Instant) -> Timer {
        let runtime = Handle::current().id();
        let kept = KEPT_TIMERS.with_borrow_mut(Vec::pop);
        // One of another runtime would never ring, or panic if that one has ended.
        kept.filter(|timer| timer.runtime == runtime)
            .unwrap_or_else(|| Timer {
                sleep: Box::pin(sleep_until(moment)),
                runtime,
            })
    }

    fn keep(self) {
        // What finds no room is dropped out here: it may be the last to hold a task, and with it an alarm. A
        // thread that ends keeps nothing.
        let _surplus = KEPT_TIMERS.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            match kept.len() < KEPT {
                true => {
                    kept.push(self);
                    None
                }
                false => Some(self),
            }
        });
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let moment = this.moment;
        let sleep = &mut this.timer.get_or_insert_with(|| Timer::of(moment)).sleep;
        if sleep.deadline() > moment {
            sleep.as_mut().reset(moment);
        }
        loop {
            // What stands beside it may use up the task's budget each time, and must end all the same.
            let ringing = poll_fn(|context| sleep.as_mut().poll(context));
            ready!(pin!(unconstrained(ringing)).poll(context));
            if sleep.deadline() == moment {
                return Poll::Ready(());
            }
            // It rang for somebody who waited before.
            sleep.as_mut().reset(moment);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    fn kept() -> usize {
        KEPT_TIMERS.with_borrow(Vec::len)
    }

    /// Waits until somebody else's alarm would ring, and gives up.
    fn give_up(within: Duration) {
        let mut alarm = until(Instant::now() + within);
        assert!((&mut alarm).now_or_never().is_none());
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn rings_at_its_moment_whoever_had_its_timer_before() {
        let began = Instant::now();
        for (before, own) in [(1, 5), (5, 1), (3, 3), (1, 60)] {
            let (before, own) = (before * SECOND, own * SECOND);
            give_up(before);
            assert_eq!(kept(), 1, "the same one each time");
            let started = Instant::now();
            until(started + own).await;
            assert_eq!(started.elapsed(), own, "after {before:?}");
        }
        assert_eq!(began.elapsed(), 69 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_rang_for_nobody_rings_again() {
        give_up(SECOND);
        advance(2 * SECOND).await;
        let started = Instant::now();
        let mut alarm = until(started + SECOND);
        assert!((&mut alarm).now_or_never().is_none());
        alarm.await;
        assert_eq!(started.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_is_past_is_there_at_once() {
        give_up(SECOND);
        assert!(until(Instant::now()).now_or_never().is_some());
        advance(SECOND).await;
        let past = Instant::now() - SECOND;
        assert!(until(past).now_or_never().is_some());
        assert!(until(past).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn several_at_once_have_a_timer_each_and_so_many_are_kept() {
        let started = Instant::now();
        let mut alarms: Vec<_> = (0..KEPT as u32 + 10)
            .map(|number| until(started + (number % 7 + 1) * SECOND))
            .collect();
        for alarm in &mut alarms {
            assert!(alarm.now_or_never().is_none());
        }
        assert_eq!(kept(), 0);
        drop(alarms);
        assert_eq!(kept(), KEPT);
        let waiting = (1..=20).map(|number| async move {
            until(started + number * SECOND).await;
            assert_eq!(started.elapsed(), number * SECOND);
        });
        futures_util::future::join_all(waiting).await;
        assert_eq!(kept(), KEPT);
    }

    #[test]
    fn a_timer_does_not_outlive_its_runtime() {
        for _ in 0..3 {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                give_up(SECOND);
                give_up(SECOND);
                let started = Instant::now();
                until(started + SECOND).await;
                assert_eq!(started.elapsed(), SECOND);
            });
        }
    }

    /// Work that could always go on is ended too.
    #[tokio::test]
    async fn rings_for_who_has_used_up_the_task_s_budget() {
        let started = Instant::now();
        let work = pin!(async {
            while started.elapsed() < 20 * SECOND {
                tokio::task::consume_budget().await;
            }
        });
        let soon = started + Duration::from_millis(50);
        assert_eq!(within(soon, work).await, None, "it was not ended");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_or_in_the_same_moment_has_ended() {
        for (takes, expected) in [(0, Some(())), (4, Some(())), (5, Some(())), (6, None)] {
            let started = Instant::now();
            let work = Box::pin(tokio::time::sleep(takes * SECOND));
            let ended = within(started + 5 * SECOND, work).await;
            assert_eq!(ended, expected, "{takes} s");
            assert_eq!(started.elapsed(), takes.min(5) * SECOND);
        }
    }

    /// Whoever takes a timer over is woken by it, not the one who had it.
    #[tokio::test(start_paused = true)]
    async fn another_task_is_woken() {
        tokio::spawn(async { give_up(SECOND) }).await.unwrap();
        let started = Instant::now();
        let waiting = tokio::spawn(async move {
            until(started + 2 * SECOND).await;
            started.elapsed()
        });
        assert_eq!(waiting.await.unwrap(), 2 * SECOND);
    }
}
