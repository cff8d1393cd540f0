//! Caps as they are at the moment, told to the data line.
//!
//! What counts is in the store; windows of time make it change by itself. Told again are all of them: after every change,
//! before a run begins to move data, and whenever a window begins or ends. Telling the same twice changes nothing.

use crate::control::Line;
use crate::replicator::ReadRates;
use crate::store::StoreError;
use godwit_model::cap::{Cap, Rate};
use godwit_model::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

/// Longest sleep before a window: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Pause before another try if the store could not be read.
const AGAIN: Duration = Duration::from_secs(5);

/// What is shared about caps.
#[derive(Default)]
pub(crate) struct Caps {
    /// One at a time: what was read later is told later.
    telling: Mutex<()>,
    /// Something has changed: windows are looked at anew.
    changed: Notify,
}

impl Line {
    /// A cap was changed, or a run wants to know that its own is told: when this returns, it counts.
    pub(crate) async fn tell_caps(&self) -> Result<(), StoreError> {
        self.tell_rates().await?;
        self.caps.changed.notify_one();
        Ok(())
    }

    /// Gives when a window begins or ends next.
    async fn tell_rates(&self) -> Result<Option<Timestamp>, StoreError> {
        let _telling = self.caps.telling.lock().await;
        let caps = self.store.caps().await?;
        let now = self.now();
        let mut next: Option<Timestamp> = None;
        let mut rate = |cap: &Cap| {
            let change = cap.next_change(now);
            next = next.into_iter().chain(change).min();
            cap.rate(now)
        };
        let rates = ReadRates {
            total: caps.total.as_ref().map_or(Rate::Unlimited, &mut rate),
            connectors: caps.connectors.iter().map(|(config, cap)| (config.clone(), rate(cap))).collect(),
            runs: caps.runs.iter().map(|(run, cap)| (run.clone(), rate(cap))).collect(),
        };
        self.replicator.set_rates(&rates);
        Ok(next)
    }
}

/// Tells of windows that begin and end, until the token is cancelled.
pub(crate) async fn keep(line: Arc<Line>, stop: CancellationToken) {
    loop {
        let pause = match line.tell_rates().await {
            Ok(None) => None,
            Ok(Some(next)) => Some(until(next, line.now())),
            Err(error) => {
                tracing::warn!(error = %error.to_failure(), "the caps could not be read: those of before stay");
                Some(AGAIN)
            }
        };
        let asleep = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = line.caps.changed.notified() => {}
            () = asleep => {}
        }
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from((next - now).0).unwrap_or(0)).min(LONGEST_SLEEP)
}
