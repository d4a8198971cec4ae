//! Where a scenario runs: on virtual time or in real time, each at least twice. It ends with
//! [`crate::world::World::check`], whose trace the two runs have in common (I12) if time is virtual;
//! in real time a second run must need no more memory than the one before (I7).

use std::cell::Cell;
use std::fs;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, PoisonError, RwLock};
use std::thread;

use tokio::runtime::Builder;

/// What every virtual scenario draws its chances from.
pub const SEED: u64 = 7;

/// What a run of a scenario may need beyond the one before, in KiB, and how many runs may exceed it.
const GROWTH: usize = 4 * 1024;
const MOST_RUNS: usize = 4;

/// Scenarios in real time measure moments and memory, so nothing runs beside them.
static TURN: RwLock<()> = RwLock::new(());

/// The name of the threads that serve a scenario in real time.
const WORKER: &str = "scenario";

/// What happened in a run, in the order of time.
#[derive(Default)]
pub struct Trace(pub Vec<String>);

/// Runs `scenario` twice on virtual time.
pub fn simulated(scenario: impl AsyncFn() -> Trace) {
    simulated_by(SEED, 2, scenario);
}

/// Runs `scenario` so often on virtual time, each time with chances drawn from `seed`.
pub fn simulated_by(seed: u64, times: usize, scenario: impl AsyncFn() -> Trace) {
    let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
    watch_panics();
    println!("seed {seed}");
    // Drawn once a process: not in the first run only.
    anabranch::downstream::send::pseudonym();
    let run = || {
        fastrand::seed(seed);
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        let trace = runtime.block_on(scenario());
        assert_eq!(panics(), 0, "I10: something panicked");
        trace.0
    };
    let first = run();
    for _ in 1..times {
        let second = run();
        for (line, (first, second)) in first.iter().zip(&second).enumerate() {
            assert_eq!(first, second, "I12: line {line} of the trace");
        }
        assert_eq!(first.len(), second.len(), "I12: the length of the trace");
    }
}

/// Runs `scenario` in real time, alone, until a run has left the memory as the one before it did. The
/// first runs may grow the allocator's arenas, one for each thread; what leaks grows with every run.
pub fn real<T>(scenario: impl AsyncFn() -> T) {
    alone(|| {
        watch_panics();
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(2).thread_name(WORKER).enable_all();
        let runtime = builder.build().unwrap();
        let run = || {
            runtime.block_on(scenario());
            assert_eq!(panics(), 0, "I10: something panicked");
            memory("VmRSS")
        };
        let mut before = run();
        for _ in 1..MOST_RUNS {
            let after = run();
            if after <= before + GROWTH {
                return;
            }
            before = after;
        }
        panic!("I7: {before} KiB, and more with every run");
    });
}

/// Runs `test` with no other scenario beside it.
pub fn alone<T>(test: impl FnOnce() -> T) -> T {
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    test()
}

/// A figure of this process's memory, in KiB.
pub fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of its processes");
    let line = status.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("`{name}` in {status}"));
    let figure = line.split_whitespace().nth(1).unwrap();
    figure.parse().unwrap()
}

/// How far the memory of this process rises above what it is when this is made.
pub struct Peak(usize);

impl Peak {
    pub fn begin() -> Peak {
        // Forgets the peak so far (proc(5), `clear_refs`).
        fs::write("/proc/self/clear_refs", "5").expect("a process may forget its own peak");
        Peak(memory("VmRSS"))
    }

    /// In KiB.
    pub fn growth(&self) -> usize {
        memory("VmHWM").saturating_sub(self.0)
    }
}

thread_local! {
    static PANICS_HERE: Cell<usize> = const { Cell::new(0) };
}

static PANICS_OF_WORKERS: AtomicUsize = AtomicUsize::new(0);

/// Panics that a runtime has caught, as far as they belong to the scenario of this thread.
fn panics() -> usize {
    PANICS_HERE.get() + PANICS_OF_WORKERS.load(Ordering::Relaxed)
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let show = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            match thread::current().name() {
                Some(WORKER) => drop(PANICS_OF_WORKERS.fetch_add(1, Ordering::Relaxed)),
                _ => PANICS_HERE.set(PANICS_HERE.get() + 1),
            }
            show(info);
        }));
    });
}
