//! Keeps virtual time from running away.
//!
//! With paused time, tokio goes on to the next timer whenever no task can run. The database works in a thread of its
//! own, so a task that waits for it looks idle: while one waits, time must stand still.

use std::cell::Cell;
use std::sync::mpsc::{Sender, channel};

thread_local! {
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, the virtual time of this thread stands still.
pub(crate) struct Hold(#[expect(dead_code, reason = "its end is the signal")] Option<Sender<()>>);

impl Hold {
    /// Without effect in threads whose time is real.
    pub fn new() -> Hold {
        if !VIRTUAL.get() {
            return Hold(None);
        }
        let (alive, gone) = channel::<()>();
        // tokio's clock does not advance by itself while blocking work is under way.
        tokio::task::spawn_blocking(move || gone.recv().is_err());
        Hold(Some(alive))
    }

    /// From now on this thread's time is virtual.
    pub fn in_this_thread() {
        VIRTUAL.set(true);
    }
}
