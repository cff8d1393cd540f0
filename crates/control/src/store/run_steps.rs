//! The steps of a run: each takes the run from one position to the next and records what the last stage brought.

use super::damage::suspects;
use super::events::tell_of_run;
use super::forecasts::{record_actual, write_forecast};
use super::jobs::{count_failures, locked_job, step_job};
use super::key_uses::{User, note_key_use};
use super::keys::note_version;
use super::leftovers::{Leftovers, leave};
use super::packs::void_packs;
use super::query::Verbs;
use super::row::{to_json, to_sql};
use super::runs::{RunRecord, run_record, volume_record};
use super::{JobRecord, Store, StoreError, Tx};
use crate::control::Draw;
use crate::replicator::VolumeResult;
use godwit_model::event::EventKind;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, RunId, SnapshotId};
use godwit_model::job::{self, FailurePolicy, Interval};
use godwit_model::key::{KeyUse, Purpose};
use godwit_model::run::{Effect, Event, Position, RunType, Stage, step};
use godwit_model::time::Timestamp;

/// What a stage brought.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    /// Nothing but that it is done.
    Stage,
    /// The point in time.
    Point(PointRecord),
    /// What could not be done, in words.
    Notes(Vec<String>),
}

/// A point in time to record.
#[derive(Clone, Debug)]
pub(crate) struct PointRecord {
    pub point: String,
    pub consistency: Consistency,
    pub notes: Vec<String>,
    pub volumes: Vec<PointVolumeRecord>,
}

/// A volume of a point in time to record.
#[derive(Clone, Debug)]
pub(crate) struct PointVolumeRecord {
    pub device: String,
    pub size: u64,
    pub parent: Option<SnapshotId>,
    pub tracked: bool,
    pub note: Option<String>,
}

/// Also by a run at work that has not recorded its image yet, or by what one left in the store.
const IMAGE_ID_IN_USE: &str = "SELECT image_id FROM image WHERE image_id = $1 \
    UNION ALL SELECT image_id FROM run WHERE state IN ('ACTIVE', 'DELETING') AND image_id = $1 \
    UNION ALL SELECT object_id FROM leftover WHERE object_id = $1";

/// The same of snapshots: those of a job that was forgotten stay with its images.
const SNAPSHOT_ID_IN_USE: &str = "SELECT snapshot_id FROM run_volume WHERE snapshot_id = $1 \
    UNION ALL SELECT snapshot_id FROM snapshot WHERE snapshot_id = $1 \
    UNION ALL SELECT object_id FROM leftover WHERE object_id = $1";

impl Store {
    /// Starts a pending run, and with it its job. What is forecast of it now is written down.
    pub(crate) async fn start_run(&self, id: &RunId, now: Timestamp) -> Result<(), StoreError> {
        let forecast = self.forecast_of(id, now).await?;
        let mut tx = self.begin().await?;
        let was = locked_run(&mut tx, id).await?;
        let (position, _) = step(&was.position, Event::Start)?;
        let job = locked_job(&mut tx, &was.job).await?.ok_or(StoreError::Stale)?;
        step_job(&mut tx, &job, job::Event::RunStarted, None, now).await?;
        write_position(&mut tx, &was, position, now).await?;
        write_forecast(&mut tx, id, &forecast).await?;
        tx.commit().await
    }

    /// Marks a pending run as missed.
    pub(crate) async fn miss_run(&self, id: &RunId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let was = locked_run(&mut tx, id).await?;
        step_run(&mut tx, &was, Event::Miss, now).await?;
        tx.commit().await
    }

    /// The stage that `was` is in is done and brought `done`: the run goes to the next one. Gives the run as it is
    /// then.
    pub(crate) async fn stage_done(
        &self,
        was: &RunRecord,
        done: &Done,
        draw: &Draw,
        now: Timestamp,
    ) -> Result<RunRecord, StoreError> {
        let mut tx = self.begin().await?;
        let (position, effects) = step_run(&mut tx, was, Event::StageDone, now).await?;
        match done {
            Done::Stage => {}
            Done::Point(point) => write_point(&mut tx, was, point, draw, now).await?,
            Done::Notes(notes) => add_notes(&mut tx, &was.id, notes).await?,
        }
        if position == Position::At(Stage::Registering) && was.image.is_none() {
            let image = tx.fresh(IMAGE_ID_IN_USE, draw, ImageId::from_bits).await?;
            sqlx::query("UPDATE run SET image_id = $1 WHERE run_id = $2")
                .bind(image.to_string())
                .bind(was.id.to_string())
                .run(&mut *tx, "draw an image id")
                .await?;
        }
        for effect in effects {
            match effect {
                Effect::RecordImage => super::images::record_image(&mut tx, was, now).await?,
                Effect::JobRunCompleted => {
                    forget_packs(&mut tx, &was.id).await?;
                    tell_completed(&mut tx, was, now).await?;
                }
                _ => {}
            }
        }
        let is = locked_run(&mut tx, &was.id).await?;
        note_stage(&mut tx, was, &is, None, now).await?;
        tx.commit().await?;
        Ok(is)
    }

    /// The source does not hold the point in time any more: back to Snapshotting. Snapshots committed so far are void.
    pub(crate) async fn point_lost(
        &self,
        was: &RunRecord,
        note: &str,
        now: Timestamp,
    ) -> Result<RunRecord, StoreError> {
        let mut tx = self.begin().await?;
        step_run(&mut tx, was, Event::PointLost, now).await?;
        sqlx::query("UPDATE run_volume SET root_digest = NULL WHERE run_id = $1")
            .bind(was.id.to_string())
            .run(&mut *tx, "void snapshots")
            .await?;
        add_notes(&mut tx, &was.id, &[note.to_owned()]).await?;
        let is = locked_run(&mut tx, &was.id).await?;
        tx.commit().await?;
        Ok(is)
    }

    /// The run is given up because of `failure`; it fails once what it created is removed. What proved damaged of it and
    /// of what it was built on is on record already, for the next run.
    pub(crate) async fn give_up(
        &self,
        was: &RunRecord,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<RunRecord, StoreError> {
        let mut tx = self.begin().await?;
        step_run(&mut tx, was, Event::GiveUp, now).await?;
        sqlx::query("UPDATE run SET failure_code = $1, failure_evidence = $2 WHERE run_id = $3")
            .bind(failure.code.as_str())
            .bind(failure.evidence.clone())
            .bind(was.id.to_string())
            .run(&mut *tx, "record a failure")
            .await?;
        if failure.code == Code::VerifyMismatch {
            // They may be what is damaged: sent again, not used again.
            void_packs(&mut tx, &was.id).await?;
        }
        let is = locked_run(&mut tx, &was.id).await?;
        note_stage(&mut tx, was, &is, Some(failure.code), now).await?;
        tx.commit().await?;
        Ok(is)
    }

    /// What a given-up run created is removed, but for `left`: it has failed. Its staged packs wait for the next run.
    /// `pause_after`: see [`super::NewJobRecord::failure_policy`].
    pub(crate) async fn abandoned(
        &self,
        was: &RunRecord,
        left: &Leftovers,
        notes: &[String],
        pause_after: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        leave(&mut tx, left).await?;
        step_run(&mut tx, was, Event::Abandoned, now).await?;
        add_notes(&mut tx, &was.id, notes).await?;
        tell_failed(&mut tx, was, pause_after, now).await?;
        tx.commit().await
    }

    /// Writes live figures.
    pub(crate) async fn record_figures(
        &self,
        was: &RunRecord,
        figures: &[(String, VolumeFigures)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        for (device, figures) in figures {
            write_figures(&mut tx, &was.id, device, figures).await?;
        }
        tx.commit().await
    }

    /// Records that a volume's snapshot is committed.
    pub(crate) async fn record_volume(
        &self,
        was: &RunRecord,
        device: &str,
        result: &VolumeResult,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        let what = "record a committed volume";
        let volume = sqlx::query("SELECT * FROM run_volume WHERE run_id = $1 AND device = $2")
            .bind(was.id.to_string())
            .bind(device.to_owned())
            .one(&mut *tx, what, volume_record)
            .await?;
        let mut all = volume.notes;
        all.extend(result.notes.iter().filter(|n| !all.contains(n)).cloned().collect::<Vec<_>>());
        sqlx::query("UPDATE run_volume SET root_digest = $1, notes = $2 WHERE run_id = $3 AND device = $4")
            .bind(result.root_digest.clone())
            .bind(to_json(&all))
            .bind(was.id.to_string())
            .bind(device.to_owned())
            .run(&mut *tx, what)
            .await?;
        write_figures(&mut tx, &was.id, device, &result.figures).await?;
        note_version(&mut tx, was, result.key_version, now).await?;
        tx.commit().await
    }
}

/// Puts on record what a stage that is over has used its key for, or was not allowed to.
async fn note_stage(
    tx: &mut Tx,
    was: &RunRecord,
    is: &RunRecord,
    failure: Option<Code>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let purpose = match was.position.stage() {
        Some(Stage::Transferring) => Purpose::Encrypt,
        Some(Stage::Verifying) => Purpose::Decrypt,
        // Elsewhere nothing is encrypted: worth a record only if the key was asked for in vain.
        Some(_) if failure == Some(Code::KeyDisabled) => Purpose::Encrypt,
        _ => return Ok(()),
    };
    let Some(key) = &is.key else { return Ok(()) };
    let user = User::Run(is.id.clone());
    let used = KeyUse { failure, ..KeyUse::of(&key.id, key.version, purpose) };
    note_key_use(tx, &user, &used, now).await
}

/// Takes a run one step.
pub(super) async fn step_run(
    tx: &mut Tx,
    was: &RunRecord,
    event: Event,
    now: Timestamp,
) -> Result<(Position, Vec<Effect>), StoreError> {
    let (position, effects) = step(&was.position, event)?;
    write_position(tx, was, position, now).await?;
    if position == Position::Completed {
        record_actual(tx, was, now).await?;
    }
    Ok((position, effects))
}

/// Writes a run's position, if its fence is still the one of the record. Times follow from it.
async fn write_position(tx: &mut Tx, was: &RunRecord, position: Position, now: Timestamp) -> Result<(), StoreError> {
    let ended = matches!(position, Position::Failed | Position::Completed | Position::Deleted | Position::Missed);
    let completed = (ended && was.started_at.is_some()).then_some(now.0);
    let stage_changed = position.stage().is_some();
    // What did not end well keeps the stage that it ended in.
    let stage = position.stage().or(was.stage).filter(|_| position != Position::Completed);
    sqlx::query(
        "UPDATE run SET state = $1, stage = $2, abandoning = $3, stage_started_at = $4, started_at = $5, \
         completed_at = $6, fence = fence + 1 WHERE run_id = $7 AND fence = $8",
    )
    .bind(position.state().as_str())
    .bind(stage.map(Stage::as_str))
    .bind(i64::from(position == Position::Abandoning))
    .bind(if stage_changed { Some(now.0) } else { was.stage_started_at.map(|t| t.0) })
    .bind(was.started_at.map_or(stage_changed.then_some(now.0), |t| Some(t.0)))
    .bind(completed)
    .bind(was.id.to_string())
    .bind(was.fence)
    .run_fenced(&mut **tx, "take a run one step")
    .await
}

pub(super) async fn check_fence(tx: &mut Tx, was: &RunRecord) -> Result<(), StoreError> {
    let is = locked_run(tx, &was.id).await?;
    if is.fence == was.fence { Ok(()) } else { Err(StoreError::Stale) }
}

pub(super) async fn write_figures(
    tx: &mut Tx,
    run: &RunId,
    device: &str,
    figures: &VolumeFigures,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE run_volume SET bytes_done = $1, bytes_read = $2, bytes_sent = $3, bytes_stored = $4, \
         bytes_resent = $5, bytes_verified = $6 WHERE run_id = $7 AND device = $8",
    )
    .bind(to_sql(figures.bytes_done))
    .bind(to_sql(figures.bytes_read))
    .bind(to_sql(figures.bytes_sent))
    .bind(to_sql(figures.bytes_stored))
    .bind(to_sql(figures.bytes_resent))
    .bind(to_sql(figures.bytes_verified))
    .bind(run.to_string())
    .bind(device.to_owned())
    .run(&mut **tx, "write figures")
    .await?;
    Ok(())
}

pub(super) async fn locked_run(tx: &mut Tx, id: &RunId) -> Result<RunRecord, StoreError> {
    sqlx::query("SELECT * FROM run WHERE run_id = $1")
        .bind(id.to_string())
        .find(&mut **tx, "read a run", run_record)
        .await?
        .ok_or(StoreError::Stale)
}

async fn add_notes(tx: &mut Tx, run: &RunId, notes: &[String]) -> Result<(), StoreError> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut all = locked_run(tx, run).await?.notes;
    for note in notes {
        if !all.contains(note) {
            all.push(note.clone());
        }
    }
    sqlx::query("UPDATE run SET notes = $1 WHERE run_id = $2")
        .bind(to_json(&all))
        .bind(run.to_string())
        .run(&mut **tx, "add a note to a run")
        .await?;
    Ok(())
}

/// Records a point in time: its volumes with fresh snapshot ids. Figures of an earlier, lost point are carried on,
/// apart from how far the walk came. Packs that failed runs of the job left are this run's from now on.
async fn write_point(
    tx: &mut Tx,
    was: &RunRecord,
    point: &PointRecord,
    draw: &Draw,
    now: Timestamp,
) -> Result<(), StoreError> {
    let what = "record a point in time";
    sqlx::query("UPDATE run SET point = $1, point_at = $2, consistency = $3 WHERE run_id = $4")
        .bind(point.point.clone())
        .bind(now.0)
        .bind(point.consistency.as_str())
        .bind(was.id.to_string())
        .run(&mut **tx, what)
        .await?;
    add_notes(tx, &was.id, &point.notes).await?;
    let lost = sqlx::query("SELECT * FROM run_volume WHERE run_id = $1")
        .bind(was.id.to_string())
        .all(&mut **tx, what, volume_record)
        .await?;
    sqlx::query("DELETE FROM run_volume WHERE run_id = $1").bind(was.id.to_string()).run(&mut **tx, what).await?;
    for (place, volume) in point.volumes.iter().enumerate() {
        let carried = lost.iter().find(|v| v.device == volume.device).map(|v| v.figures).unwrap_or_default();
        let snapshot = tx.fresh(SNAPSHOT_ID_IN_USE, draw, SnapshotId::from_bits).await?;
        // Those of this moment: what proves damaged from here on is for the run behind.
        let repairs = suspects(tx, &was.job, &volume.device).await?;
        sqlx::query(
            "INSERT INTO run_volume (run_id, device, place, snapshot_id, parent_id, tracked, notes, root_digest, \
             bytes_total, bytes_done, bytes_read, bytes_sent, bytes_stored, bytes_resent, bytes_verified, repairs) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, 0, $9, $10, $11, $12, 0, $13)",
        )
        .bind(was.id.to_string())
        .bind(volume.device.clone())
        .bind(to_sql(place))
        .bind(snapshot.to_string())
        .bind(volume.parent.as_ref().map(ToString::to_string))
        .bind(i64::from(volume.tracked))
        .bind(to_json(&volume.note.iter().collect::<Vec<_>>()))
        .bind(to_sql(volume.size))
        .bind(to_sql(carried.bytes_read))
        .bind(to_sql(carried.bytes_sent))
        .bind(to_sql(carried.bytes_stored))
        .bind(to_sql(carried.bytes_resent))
        .bind(to_json(&repairs))
        .run(&mut **tx, what)
        .await?;
    }
    sqlx::query(
        "UPDATE pack_ledger SET run_id = $1 WHERE state = 'DURABLE' AND run_id IN \
         (SELECT run_id FROM run WHERE job_id = $2 AND state = 'FAILED')",
    )
    .bind(was.id.to_string())
    .bind(was.job.to_string())
    .run(&mut **tx, what)
    .await?;
    Ok(())
}

/// From now on the image and its snapshots account for the packs of the run.
async fn forget_packs(tx: &mut Tx, run: &RunId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pack_ledger WHERE run_id = $1")
        .bind(run.to_string())
        .run(&mut **tx, "close a ledger")
        .await?;
    Ok(())
}

/// Tells the job that its run made an image: failures count anew.
async fn tell_completed(tx: &mut Tx, run: &RunRecord, now: Timestamp) -> Result<(), StoreError> {
    let Some(job) = told(tx, run).await? else { return Ok(()) };
    step_job(tx, &job, job::Event::RunCompleted { last: is_last(&job, run) }, Some(None), now).await?;
    count_failures(tx, &job.id, 0).await?;
    tell_of_run(tx, &job, run, EventKind::RunCompleted, None, now).await
}

/// Tells the job that its run failed. Scheduled runs that fail in a row pause or end it; runs on demand do not count.
async fn tell_failed(tx: &mut Tx, run: &RunRecord, pause_after: u32, now: Timestamp) -> Result<(), StoreError> {
    let Some(job) = told(tx, run).await? else { return Ok(()) };
    let cause = run.failure.as_ref().map(Failure::message).unwrap_or_default();
    let last = is_last(&job, run);
    if last || run.kind == RunType::OnDemand {
        let message = format!("the last run failed: {cause}");
        step_job(tx, &job, job::Event::RunFailed { last }, Some(Some(message)), now).await?;
        return tell_of_run(tx, &job, run, EventKind::RunFailed, None, now).await;
    }
    let failures = job.failures.saturating_add(1);
    let policy = job.settings.failure_policy(pause_after);
    let message = failed_in_a_row(failures, policy, &cause);
    step_job(tx, &job, job::Event::RunFailed { last }, Some(Some(message)), now).await?;
    count_failures(tx, &job.id, failures).await?;
    if let (Some(event), Some(job)) = (policy.decide(failures), told(tx, run).await?)
        && job.state == job::JobState::Active
    {
        step_job(tx, &job, event, None, now).await?;
    }
    tell_of_run(tx, &job, run, EventKind::RunFailed, Some(policy.left(failures)), now).await
}

/// The run's job, if it is one that is told how its runs end.
async fn told(tx: &mut Tx, run: &RunRecord) -> Result<Option<JobRecord>, StoreError> {
    let job = locked_job(tx, &run.job).await?.ok_or(StoreError::Stale)?;
    Ok(Some(job).filter(|j| j.state.is_running() || j.state == job::JobState::PausedOnFailure))
}

/// Whether the run is the one that its job exists for.
fn is_last(job: &JobRecord, run: &RunRecord) -> bool {
    job.settings.interval == Interval::Once && run.kind == RunType::Automatic
}

fn failed_in_a_row(failures: u32, policy: FailurePolicy, cause: &str) -> String {
    let (what, plural) = if policy.pause { ("pauses", "pause") } else { ("ends", "end") };
    match (policy.left(failures), failures) {
        (0, 1) => format!("the last run failed: {cause}"),
        (0, n) => format!("the last {n} scheduled runs failed, the last one: {cause}"),
        (1, _) => format!("the last run failed, and one more that fails {what} the job: {cause}"),
        (left, _) => format!("the last run failed, and {left} more that fail in a row {plural} the job: {cause}"),
    }
}
