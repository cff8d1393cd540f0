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
//! A failure prints its seed; `GODWIT_SIM_SEED=… cargo test -p godwit-control sim` repeats it, and
//! `GODWIT_SIM_DAYS=…` makes each history longer.

mod access;
mod actor;
mod checks;
mod dice;
mod journal;
mod life;
mod storm;
mod telling;

use godwit_model::job::JobState;
use godwit_model::run::RunState;
use life::Sim;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Once;

/// Virtual days of one history.
const DAYS: u64 = 100;

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

fn simulate(kind: u64) {
    count_panics();
    let days = number("GODWIT_SIM_DAYS").unwrap_or(DAYS);
    let seeds = match number("GODWIT_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..HISTORIES).map(|n| kind * 1_000 + n).collect(),
    };
    let whole = seeds.len() > 1;
    let mut seen = BTreeSet::new();
    for seed in seeds {
        let sim = std::panic::AssertUnwindSafe(|| Sim::new(seed).run(days));
        match std::panic::catch_unwind(sim) {
            Ok(states) => seen.extend(states),
            Err(panic) => {
                eprintln!("the history of seed {seed} broke a promise: GODWIT_SIM_SEED={seed} repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if whole {
        let jobs = JobState::ALL.map(|state| format!("a job {}", state.as_str()));
        let runs = RunState::ALL.map(|state| format!("a run {}", state.as_str()));
        let unseen: Vec<_> = jobs
            .into_iter()
            .chain(runs)
            .chain([checks::FULL.to_owned()])
            .filter(|state| !seen.contains(state))
            .collect();
        assert!(unseen.is_empty(), "what no history came to: {unseen:?}");
    }
}

#[test]
fn months_of_good_and_bad_weather() {
    simulate(1);
}

#[test]
fn other_months_of_good_and_bad_weather() {
    simulate(2);
}
