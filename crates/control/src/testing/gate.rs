//! A gate that everything passes: every transaction, every call to the data line. Once it closes, nothing passes any
//! more, as if the process had been killed there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

#[derive(Clone)]
pub(crate) struct Gate {
    left: Arc<AtomicI64>,
    closed: Arc<Notify>,
}

impl Gate {
    /// A gate that never closes, as yet.
    pub fn open() -> Gate {
        Gate { left: Arc::new(AtomicI64::new(i64::MAX)), closed: Arc::new(Notify::new()) }
    }

    /// Lets `n` more pass.
    pub fn close_after(&self, n: i64) {
        self.left.store(n, Ordering::SeqCst);
    }

    pub async fn pass(&self, _place: &'static str) {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.closed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Lets everything pass again; what is held up stays so.
    pub fn reopen(&self) {
        self.close_after(i64::MAX);
        // A signal that nobody has waited for would count as one of the next closing.
        let _ = futures::FutureExt::now_or_never(self.closed.notified());
    }

    /// Waits until something was held up.
    pub async fn held(&self) {
        self.closed.notified().await;
    }
}
