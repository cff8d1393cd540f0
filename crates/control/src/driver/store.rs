//! What the driver does for the store: its sweep, its scrub, the samples of its use.

use super::{Driver, Task, millis};
use crate::store::StoreError;
use crate::{scrub, store_sweep, store_use};
use std::time::Duration;

impl Driver {
    pub(super) async fn store_sweep(&mut self) -> Result<(), StoreError> {
        if let Some(wanted) = store_sweep::wanted(&self.line).await? {
            let line = self.line.clone();
            self.ensure(Task::SweepStore, |cancel| store_sweep::sweep(line, wanted, cancel));
        }
        Ok(())
    }

    pub(super) async fn scrub(&mut self) -> Result<(), StoreError> {
        if scrub::wanted(&self.line).await? {
            let line = self.line.clone();
            self.ensure(Task::Scrub, |cancel| scrub::scrub(line, cancel));
        }
        Ok(())
    }

    /// Takes the sample that is due. Gives when the next one will be.
    pub(super) async fn store_use(&mut self) -> Result<Option<Duration>, StoreError> {
        // A sweep at work changes what the store holds all the time, and its end wakes the driver.
        if self.at_work.contains_key(&Task::SweepStore) {
            return Ok(None);
        }
        let Some(due) = store_use::wanted(&self.line).await? else { return Ok(None) };
        let now = self.line.now();
        if due > now {
            return Ok(Some(millis(due - now)));
        }
        let line = self.line.clone();
        self.ensure(Task::SampleStore, |cancel| store_use::sample(line, cancel));
        Ok(None)
    }
}
