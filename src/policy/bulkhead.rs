//! The bulkhead of one service: so many attempts under way, so many that wait for a place. Whoever
//! leaves hands its place to who has waited longest, so that nobody who comes later takes it.

use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Under way at the same time.
    pub max: usize,
    /// Waiting at the same time.
    pub queue: usize,
    /// How long one waits.
    pub max_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max: 256,
            queue: 64,
            max_wait: Duration::from_millis(100),
        }
    }
}

/// Waiters are known by what wakes them.
#[derive(Debug)]
pub struct Bulkhead<W> {
    settings: Settings,
    under_way: usize,
    waiting: VecDeque<(Place, W)>,
    next: u64,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Entered,
    Waits(Place),
    /// No place, neither inside nor in the queue.
    Full,
}

impl<W> Bulkhead<W> {
    pub fn new(settings: Settings) -> Bulkhead<W> {
        Bulkhead {
            settings,
            under_way: 0,
            waiting: VecDeque::new(),
            next: 0,
        }
    }

    /// Enters if there is a place now: for retries and hedges, which never wait.
    pub fn try_enter(&mut self) -> bool {
        let has_place = self.has_place();
        self.under_way += usize::from(has_place);
        has_place
    }

    /// Enters, or waits until [`Bulkhead::leave`] gives out what `waiter` made.
    pub fn enter(&mut self, waiter: impl FnOnce() -> W) -> Entry {
        if self.try_enter() {
            return Entry::Entered;
        }
        if self.waiting.len() >= self.settings.queue {
            return Entry::Full;
        }
        let place = Place(self.next);
        self.next += 1;
        self.waiting.push_back((place, waiter()));
        Entry::Waits(place)
    }

    /// One that was inside leaves. Its place belongs to the waiter that is given, if there is one: it
    /// is inside now.
    pub fn leave(&mut self) -> Option<W> {
        match self.waiting.pop_front() {
            Some((_, waiter)) => Some(waiter),
            None => {
                self.under_way -= 1;
                None
            }
        }
    }

    /// One waits no longer. `false`: it was called in already, and has to leave.
    pub fn give_up(&mut self, place: Place) -> bool {
        let found = self.waiting.iter().position(|(known, _)| *known == place);
        found.and_then(|index| self.waiting.remove(index)).is_some()
    }

    pub fn max_wait(&self) -> Duration {
        self.settings.max_wait
    }

    pub fn has_place(&self) -> bool {
        self.under_way < self.settings.max
    }

    pub fn under_way(&self) -> usize {
        self.under_way
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(max: usize, queue: usize) -> Bulkhead<u32> {
        Bulkhead::new(Settings {
            max,
            queue,
            ..Settings::default()
        })
    }

    #[test]
    fn who_waited_longest_comes_next() {
        let mut bulkhead = small(1, 2);
        assert_eq!(bulkhead.enter(|| 1), Entry::Entered);
        let Entry::Waits(second) = bulkhead.enter(|| 2) else {
            panic!("there is a place in the queue");
        };
        assert!(matches!(bulkhead.enter(|| 3), Entry::Waits(_)));
        assert_eq!(bulkhead.enter(|| 4), Entry::Full);
        assert!(!bulkhead.try_enter());
        assert_eq!(bulkhead.leave(), Some(2));
        assert!(!bulkhead.give_up(second), "it was called in");
        assert_eq!(bulkhead.leave(), Some(3));
        assert_eq!(bulkhead.leave(), None);
        assert_eq!((bulkhead.under_way(), bulkhead.waiting()), (0, 0));
    }

    #[test]
    fn who_gives_up_is_not_called() {
        let mut bulkhead = small(1, 2);
        bulkhead.enter(|| 1);
        let Entry::Waits(second) = bulkhead.enter(|| 2) else {
            panic!("there is a place in the queue");
        };
        bulkhead.enter(|| 3);
        assert!(bulkhead.give_up(second) && !bulkhead.give_up(second));
        assert_eq!(bulkhead.leave(), Some(3));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Enter,
        Try,
        Leave,
        GiveUp(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            5 => Just(Act::Enter),
            2 => Just(Act::Try),
            4 => Just(Act::Leave),
            2 => (0usize..4).prop_map(Act::GiveUp),
        ]
    }

    proptest! {
        /// The model: two lists of names.
        #[test]
        fn it_does_what_two_lists_do(acts in prop::collection::vec(act(), 1..200)) {
            let mut bulkhead = small(3, 2);
            let (mut inside, mut queue): (usize, Vec<(Place, u32)>) = (0, Vec::new());
            for (name, act) in acts.into_iter().enumerate() {
                let name = name as u32;
                match act {
                    Act::Try => {
                        let may = inside < 3;
                        inside += usize::from(may);
                        prop_assert_eq!(bulkhead.try_enter(), may);
                    }
                    Act::Enter => match bulkhead.enter(|| name) {
                        Entry::Entered => {
                            prop_assert!(inside < 3);
                            inside += 1;
                        }
                        Entry::Waits(place) => {
                            prop_assert!(inside == 3 && queue.len() < 2);
                            queue.push((place, name));
                        }
                        Entry::Full => prop_assert!(inside == 3 && queue.len() == 2),
                    },
                    Act::Leave if inside == 0 => {}
                    Act::Leave if queue.is_empty() => {
                        inside -= 1;
                        prop_assert_eq!(bulkhead.leave(), None);
                    }
                    Act::Leave => prop_assert_eq!(bulkhead.leave(), Some(queue.remove(0).1)),
                    Act::GiveUp(nth) if nth < queue.len() => {
                        prop_assert!(bulkhead.give_up(queue.remove(nth).0));
                    }
                    Act::GiveUp(_) => {}
                }
                prop_assert_eq!((bulkhead.under_way(), bulkhead.waiting()), (inside, queue.len()));
            }
        }
    }
}
