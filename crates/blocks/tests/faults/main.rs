//! Faults: processes that are killed at every durable step, stores that fail, lie and rot; and what must hold all the same.
//!
//! A history is decided by its seed but for one thing: which block of a volume reaches a pack first is up to the
//! processor's threads. A history that breaks a promise tells its seed and the last kill;
//! `GODWIT_SEED=… GODWIT_KILLS=… cargo test -p godwit-blocks --test faults seed_of_the_environment` repeats it.
#![allow(clippy::unwrap_used)] // Tests: a panic is the report.

mod book;
mod chance;
mod ground;
mod history;
mod promises;
mod service;
mod session;
#[allow(dead_code, reason = "what these tests do not use of it, others do")]
#[path = "../line/stage.rs"]
mod stage;
mod step;
mod upkeep;

use ground::{Ground, Lies, MISHAPS, STEPS};
use history::{History, Tale};
use step::n_aimed;

/// Nothing that returned is lost.
const HONEST: Lies = Lies { unsynced: 0, torn: 0 };
/// A disk without a working flush.
const LYING: Lies = Lies { unsynced: 8, torn: 30 };

/// Kills of a history.
const KILLS: u64 = 8;

/// Says where a history was when it broke.
struct Place(u64, Ground);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.1.state().last_kill.clone();
            eprintln!("the history of seed {} broke a promise after {last}: GODWIT_SEED={} repeats it", self.0, self.0);
        }
    }
}

fn play(seed: u64, lies: Lies, kills: u64) -> Tale {
    // Where the history of the seed before ends, one goes on aiming at what comes next.
    let history = History::new(seed, lies, (seed % STEPS.len() as u64) * n_aimed(KILLS));
    let _place = Place(history.seed(), history.ground());
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_time().build().unwrap();
    runtime.block_on(history.play(kills))
}

/// Plays the histories of many seeds, and checks that they were what they are meant to be.
fn play_all(seeds: std::ops::Range<u64>, lies: Lies) {
    let mut all = Tale::default();
    let n = seeds.end - seeds.start;
    for seed in seeds {
        all.add(&play(seed, lies, KILLS));
    }
    eprintln!("{all:?}");
    assert_eq!(all.n_kills(), n * KILLS);
    if lies.unsynced == 0 {
        all.check_aims(n * n_aimed(KILLS));
    }
    assert!(all.volumes as u64 > n * KILLS, "hardly anything was read: {all:?}");
    assert_eq!(all.spoilt > 0, lies.unsynced > 0);
    let told: &[&str] = if lies.unsynced > 0 { &["torn", "unsynced"] } else { &[] };
    for mishap in MISHAPS.iter().chain(told) {
        assert!(all.mishaps.contains_key(mishap), "nothing was {mishap}: {all:?}");
    }
}

#[test]
fn killed_at_every_durable_step_first_seeds() {
    play_all(0..13, HONEST);
}

#[test]
fn killed_at_every_durable_step_second_seeds() {
    play_all(13..26, HONEST);
}

#[test]
fn killed_on_a_disk_that_lies_first_seeds() {
    play_all(100..112, LYING);
}

#[test]
fn killed_on_a_disk_that_lies_second_seeds() {
    play_all(112..124, LYING);
}

#[test]
fn killed_by_the_seed_of_the_environment() {
    let seed = number("GODWIT_SEED").unwrap_or(4_711);
    // With twelve seeds, as in `./dev test --long`, more than five hundred.
    let kills = number("GODWIT_KILLS").unwrap_or(24);
    for lies in [HONEST, LYING] {
        let tale = play(seed, lies, kills);
        assert!(tale.n_kills() >= kills, "{tale:?}");
        if lies.unsynced == 0 {
            tale.check_aims(n_aimed(kills));
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "tests of chance take their seed from the environment")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
