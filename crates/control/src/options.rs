//! The bounds of everything that waits, with defaults that suit real disks and real hypervisors.

use crate::audit::AuditLimits;
use crate::notify::NotifyOptions;
use crate::service::SessionLimits;
use crate::store_sweep::Sweeping;
use godwit_model::retention::Retention;
use godwit_model::store_use::Pace;
use godwit_model::time::Millis;
use std::time::Duration;

/// How often a step that failed for a passing reason is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Attempts without any progress between them before the step fails.
    pub attempts: u32,
    /// Pause behind the first failure; it doubles from there.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Retry {
    /// Pause behind the `n`th failure in a row, counted from 1.
    pub fn pause(&self, n: u32) -> Duration {
        self.first.saturating_mul(1u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX)).min(self.longest)
    }
}

/// Bounds and limits of the decision line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Runs at work at the same time. Each holds a pipeline's buffers, so this bounds memory.
    pub max_active_runs: usize,
    /// Verifications of images at work at the same time: they only compete with runs for the disk.
    pub max_verifications: usize,
    /// The driver looks at the store at least this often, even if nobody wakes it.
    pub tick: Duration,
    /// A run that fell due while the service was down is still started if it is no later than this.
    pub late_start: Duration,
    /// Two looks further apart by the clock, though not by the process' own time, have an outage between them.
    pub longest_gap: Duration,
    /// How often a connector is asked whether it is well.
    pub heartbeat: Duration,
    /// How often a source is looked through for things of ours that nothing needs. A start, and whatever could not be
    /// cleaned up, ask for it besides; what a source lost or kept behind our back is found by this one alone.
    pub sweep_sources: Duration,
    /// Bound of asking a VM manager what it offers: imports, associations, heartbeats.
    pub discover: Duration,
    /// Bound of taking a point in time.
    pub take_point: Duration,
    /// Bound of moving or verifying without a byte of progress.
    pub no_progress: Duration,
    /// Bound of writing or deleting an image, its snapshots, its staged packs.
    pub register: Duration,
    /// Bound of ending a point in time, and of a sweep of a source.
    pub settle: Duration,
    /// Bound of one read of an image.
    pub read: Duration,
    /// How long something that was told to stop may take to do so before it is dropped.
    pub stop: Duration,
    /// How often live figures are written to the store.
    pub persist: Duration,
    /// How long an access key goes on after it was rotated, unless the caller says otherwise.
    pub key_grace: Millis,
    /// How long sessions of the console live.
    pub sessions: SessionLimits,
    /// Scheduled runs that may fail in a row before their job is paused (or ends), unless the job says otherwise.
    pub pause_after: u32,
    /// Telling recipients.
    pub notify: NotifyOptions,
    /// How long what has done its work is kept.
    pub retention: Retention,
    /// When and how the store is swept.
    pub sweeping: Sweeping,
    /// How often it is recorded what the store holds.
    pub sampling: Pace,
    /// Within which time the store is looked through for rot once; `None`: only on request.
    pub scrub_every: Option<Millis>,
    /// How much of the audit trail is kept.
    pub audit: AuditLimits,
    /// Retries of the stages of a run.
    pub retry: Retry,
    /// Retries of removing what a given-up run left: afterwards it is left to the sweep.
    pub clean_retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let seconds = Duration::from_secs;
        Self {
            max_active_runs: 2,
            max_verifications: 1,
            tick: seconds(30),
            late_start: minutes(5),
            longest_gap: minutes(10),
            heartbeat: minutes(1),
            sweep_sources: minutes(6 * 60),
            discover: seconds(45),
            take_point: minutes(5),
            no_progress: minutes(10),
            register: minutes(2),
            settle: minutes(2),
            read: minutes(2),
            stop: seconds(10),
            persist: seconds(1),
            key_grace: Millis::DAY,
            sessions: SessionLimits::default(),
            pause_after: 3,
            notify: NotifyOptions::default(),
            retention: Retention {
                paused_jobs: None,
                deleted_jobs: Some(Millis::DAY.times(90)),
                catalog: Some(Millis::DAY.times(7)),
            },
            sweeping: Sweeping::default(),
            sampling: Pace::default(),
            scrub_every: Some(Millis::DAY.times(30)),
            audit: AuditLimits::default(),
            retry: Retry { attempts: 6, first: seconds(2), longest: minutes(2) },
            clean_retry: Retry { attempts: 3, first: seconds(1), longest: seconds(10) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry { attempts: 9, first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let pauses: Vec<u64> = (1..6).map(|n| retry.pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert_eq!(retry.pause(u32::MAX), retry.longest);
    }
}
