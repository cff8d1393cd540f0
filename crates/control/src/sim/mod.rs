//! The simulator: the real decision line on a real database, through simulated months, from one seed.
//!
//! ```text
//!  dice ──► actor: API calls at random ──► Service ──► Store (SQLite on a disk that may be full) ◄── Driver, runs
//!    └────► weather: faults, slow runs, kills, clock steps ──► Storm ──► World (source and target in memory)
//!                  after each step: checks of every change in the journal, against what the promises say
//! ```
//!
//! Time is tokio's, paused: it goes on by itself when nothing can run, so a month takes a second. The wall clock is
//! that time and a skew that the weather sets. A life of the service ends by a stop or by a kill between any two steps;
//! the next one finds the same files. Nothing of the decision line is replaced.
//!
//! Each history prints its seed when it begins; `GODWIT_SEED=… cargo test -p godwit-control seed_of_the_environment` repeats it, and
//! `GODWIT_SIM_DAYS=…` makes each history longer.

mod access;
mod actor;
mod checks;
mod dice;
mod journal;
mod life;
mod storm;

use life::Sim;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Once;

/// Virtual days of one history: enough that all histories together go along every arrow. `./dev test --long` lives longer.
const DAYS: u64 = 30;

/// Histories of each kind in the usual tests.
const HISTORIES: u64 = 10;

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Whether something broke in this thread: the driver outlives a task that does.
fn is_broken() -> bool {
    PANICS.get() > 0
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = PANICS.try_with(|n| n.set(n.get() + 1));
            tell(panic);
        }));
    });
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the simulator chooses its seed")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A history is a conversation of this thread with the one of the database: on one core it takes a third less time.
/// Tests that run beside each other name different ones.
fn stay_on_core(number: u64) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let chosen = cores.get(number as usize % cores.len().max(1));
    let mut one = CpuSet::new();
    chosen.iter().for_each(|core| one.set(**core));
    // Where it is not allowed it takes longer.
    let _ = sched_setaffinity(None, &one);
}

/// One history; gives the arrows that were gone along.
fn history(seed: u64) -> BTreeSet<String> {
    count_panics();
    let days = number("GODWIT_SIM_DAYS").unwrap_or(DAYS);
    // One that hangs tells its seed, too.
    println!("the history of seed {seed}, {days} days");
    let sim = std::panic::AssertUnwindSafe(|| Sim::new(seed).run(days));
    std::panic::catch_unwind(sim).unwrap_or_else(|panic| {
        eprintln!("the history of seed {seed} broke a promise: GODWIT_SEED={seed} repeats it");
        std::panic::resume_unwind(panic)
    })
}

/// Histories that are the same every day, and together go along every arrow.
fn histories(kind: u64) {
    stay_on_core(kind);
    let seen: BTreeSet<_> = (0..HISTORIES).flat_map(|n| history(kind * 1_000 + n)).collect();
    let expected = checks::arrows::all().chain([checks::FULL.to_owned()]);
    let unseen: Vec<_> = expected.filter(|arrow| !seen.contains(arrow)).collect();
    assert!(unseen.is_empty(), "what no history came to: {unseen:?}");
}

#[test]
fn months_of_good_and_bad_weather() {
    histories(1);
}

#[test]
fn other_months_of_good_and_bad_weather() {
    histories(2);
}

#[test]
fn months_of_the_seed_of_the_environment() {
    let seed = number("GODWIT_SEED").unwrap_or(3_000);
    stay_on_core(seed);
    history(seed);
}
