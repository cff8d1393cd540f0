//! Makes the database take no time where time is virtual.
//!
//! With paused time, tokio goes on to the next timer whenever no task can run. The database works in a thread of its
//! own, so a task that waits for it looks idle and time would run away; and which of two tasks gets its answer first would
//! be decided by the machine. In a thread with a [`Database`] of its own, whoever asks the database waits for it on
//! the spot: no other task runs meanwhile, and a seed decides everything.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tokio::runtime::{Builder, Handle, Runtime};

thread_local! {
    static APART: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// While it lives, the database's own tasks run beside this thread's runtime, which may stand still.
pub(crate) struct Database(#[expect(dead_code, reason = "its threads do the work")] Runtime);

impl Database {
    pub fn apart() -> Database {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        APART.set(Some(runtime.handle().clone()));
        Database(runtime)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        APART.set(None);
    }
}

/// Work of the database: awaited, or waited for on the spot.
pub(crate) async fn at_once<F: Future>(work: F) -> F::Output {
    let Some(apart) = APART.with_borrow(Clone::clone) else { return work.await };
    let _apart = apart.enter();
    // Nobody could wake this thread to give it a new budget.
    wait_for(tokio::task::unconstrained(work))
}

/// Polls until it is done, on this thread; may be nested.
fn wait_for<F: Future>(work: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut work = std::pin::pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Lets go of something of the database: what that sets off runs where the database runs.
pub(crate) fn let_go<T>(thing: T) {
    // Without a runtime, as at the end of a thread, nothing is set off.
    let apart = APART.try_with(|apart| apart.borrow().clone()).ok().flatten();
    let _apart = apart.as_ref().map(Handle::enter);
    drop(thing);
}
