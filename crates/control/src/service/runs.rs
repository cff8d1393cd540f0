//! Replication runs: list with live figures, start on demand.

use super::jobs::text;
use super::page::{only, paged};
use super::{Answer, ErrorCode, Job, Page, Paged, RunForecast, Service, ServiceError};
use crate::store::{DemandDenied, ForecastRecord, NewJobRecord, RunRecord, VolumeRecord};
use godwit_model::cap::{Cap, HeldBack};
use godwit_model::failure::Failure;
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, JobId, KeyId, RunId, SnapshotId};
use godwit_model::run::{Position, RunState, RunType, Stage};
use godwit_model::schedule::{ON_DEMAND_LIMIT, OnDemandDenied};
use godwit_model::time::Timestamp;

/// Which runs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RunsFilter {
    /// Exactly these, on one page.
    pub run_ids: Option<Vec<String>>,
    /// Only those of this job.
    pub job_id: Option<String>,
}

/// A replication run.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its job.
    pub job: JobId,
    /// State.
    pub state: RunState,
    /// What started it.
    pub kind: RunType,
    /// For people.
    pub description: Option<String>,
    /// The stage at work, or the one that a failed run ended in.
    pub stage: Option<Stage>,
    /// When that stage began.
    pub stage_started_at: Option<Timestamp>,
    /// How far the stage has come (transferring, verifying), 0 to 100; 100 for a completed run.
    pub percent: f64,
    /// Content bytes read (or verified) per second over the last seconds.
    pub bytes_per_second: Option<f64>,
    /// How long the stage still takes at the present pace.
    pub seconds_left: Option<f64>,
    /// When it is or was due.
    pub scheduled_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The image it made.
    pub image: Option<ImageId>,
    /// How consistent the guest was at the point in time.
    pub consistency: Option<Consistency>,
    /// Names the point in time at the source.
    pub point: Option<String>,
    /// When the point in time was taken.
    pub point_at: Option<Timestamp>,
    /// What the operator should know, oldest first.
    pub notes: Vec<String>,
    /// The failure that is being waited out before the stage is tried again.
    pub retrying_after: Option<String>,
    /// Why it failed; for an active run why it is being given up.
    pub failure: Option<Failure>,
    /// State and stage in words, or the failure with its next step.
    pub status_message: Option<String>,
    /// What its job said of that when the run began; see there.
    pub encrypted: Option<bool>,
    /// See `encrypted`.
    pub kms_key_id: Option<String>,
    /// The key that it encrypts with, once chosen.
    pub key: Option<KeyId>,
    /// The latest version of the key that a pack of it is under.
    pub key_version: Option<u32>,
    /// How fast it may read: its own cap, or else its job's.
    pub cap: Option<Cap>,
    /// What holds its reads back at the moment.
    pub held_back: Option<HeldBack>,
    /// What was forecast of it when it began, and how far off that was.
    pub forecast: Option<RunForecast>,
    /// Its volumes, boot disk first; empty before the point in time.
    pub volumes: Vec<RunVolume>,
}

/// A volume in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunVolume {
    /// Stable name within the server.
    pub device: String,
    /// Its snapshot, once committed.
    pub snapshot: Option<SnapshotId>,
    /// Figures, live while the run is at work.
    pub figures: VolumeFigures,
    /// Digest over the whole volume, once committed.
    pub root_digest: Option<String>,
    /// Whether only tracked changes were read.
    pub tracked: bool,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Service {
    /// `GetReplicationRuns`: the job and its runs, newest first.
    pub async fn get_replication_runs(&self, job_id: &str, page: &Page) -> Answer<(Job, Paged<Run>)> {
        let job = self.job_named(job_id).await?;
        let runs = self.runs_of(Some(&job.id), page).await?;
        Ok((self.job(job).await?, runs))
    }

    /// `DescribeReplicationRuns`: newest first.
    pub async fn describe_replication_runs(&self, filter: &RunsFilter, page: &Page) -> Answer<Paged<Run>> {
        let store = &self.line.store;
        if let Some(ids) = &filter.run_ids {
            let read = async |ids: &[RunId]| store.runs_named(ids).await;
            let rows = only(ids, "replication run", "runs", page, read).await?;
            return self.with_jobs(rows).await;
        }
        match &filter.job_id {
            Some(id) => self.runs_of(Some(&self.job_named(id).await?.id), page).await,
            None => self.runs_of(None, page).await,
        }
    }

    /// `StartOnDemandReplicationRun`: two per job in any 24 hours, none while a run is active.
    pub async fn start_on_demand_replication_run(
        &self,
        job_id: &str,
        description: Option<String>,
        now: Timestamp,
    ) -> Answer<RunId> {
        let job = self.job_named(job_id).await?.id;
        let description = text(description.as_deref(), "description")?;
        match self.line.store.demand_run(&job, description, now, &self.line.draw).await? {
            Ok(run) => {
                self.line.wake.notify_one();
                Ok(run)
            }
            Err(denied) => Err(refused(&job, &denied)),
        }
    }

    async fn runs_of(&self, job: Option<&JobId>, page: &Page) -> Answer<Paged<Run>> {
        let read = |after, limit| self.line.store.runs(job, after, limit);
        let rows = paged(page, "runs", read, |r| (r.scheduled_at.0, r.id.to_string())).await?;
        self.with_jobs(rows).await
    }

    async fn with_jobs(&self, rows: Paged<RunRecord>) -> Answer<Paged<Run>> {
        let ids: Vec<JobId> = rows.items.iter().map(|run| run.job.clone()).collect();
        let jobs = self.line.store.jobs_named(&ids).await?;
        let records = rows.items.into_iter().map(|run| {
            let settings = jobs.get(&run.job).map(|job| &job.settings);
            (run, settings)
        });
        Ok(Paged { items: self.described(records.collect()).await?, next: rows.next })
    }

    /// Runs with their volumes and, while they are at work, their live figures. Each comes with what its job is set to.
    pub(super) async fn described(&self, records: Vec<(RunRecord, Option<&NewJobRecord>)>) -> Answer<Vec<Run>> {
        let ids: Vec<RunId> = records.iter().map(|(run, _)| run.id.clone()).collect();
        let volumes = self.line.store.volumes_of(&ids).await?;
        let mut forecasts = self.line.store.forecasts_of(&ids).await?;
        let described = records.into_iter().map(|(run, job)| {
            let volumes = volumes.get(&run.id).cloned().unwrap_or_default();
            let forecast = forecasts.remove(&run.id).map(run_forecast);
            Run { forecast, ..self.run(run, volumes, job) }
        });
        Ok(described.collect())
    }

    fn run(&self, record: RunRecord, volumes: Vec<VolumeRecord>, job: Option<&NewJobRecord>) -> Run {
        // Until it chooses its key, a run has what its job has.
        let (encrypted, kms_key_id) = match &record.key {
            Some(key) => (key.encrypted, key.name.clone()),
            None => job.map_or((None, None), |job| (job.encrypted, job.kms_key_id.clone())),
        };
        let active = record.position.state() == RunState::Active;
        let live = if active { self.line.progress.live(&record.id) } else { None };
        let mut rates = live.as_ref().map(|l| l.rates(record.position.stage(), self.line.now())).unwrap_or_default();
        if record.position == Position::Completed {
            rates.percent = 100.0;
        }
        let volumes =
            volumes.into_iter().map(|v| run_volume(live.as_ref().and_then(|l| l.figures(&v.device)), v)).collect();
        let trouble = live.and_then(|l| l.trouble);
        let transfers = record.position == Position::At(Stage::Transferring);
        let held_back = if transfers { self.line.replicator.held_back(&record.id) } else { None };
        let cap = record.cap.clone().or_else(|| job.and_then(|job| job.cap.clone())).filter(|cap| !cap.is_none());
        // The id is drawn before the image is written: it is told only once the image exists.
        let has_image = matches!(record.position, Position::Completed | Position::At(Stage::Cleaning));
        Run {
            status_message: status(&record, rates.percent, trouble.as_deref()),
            state: record.position.state(),
            stage: record.stage,
            stage_started_at: record.stage_started_at,
            percent: rates.percent,
            bytes_per_second: rates.bytes_per_second,
            seconds_left: rates.seconds_left,
            image: record.image.filter(|_| has_image),
            id: record.id,
            job: record.job,
            kind: record.kind,
            description: record.description,
            scheduled_at: record.scheduled_at,
            started_at: record.started_at,
            completed_at: record.completed_at,
            consistency: record.consistency,
            point: record.point,
            point_at: record.point_at,
            notes: record.notes,
            retrying_after: trouble,
            failure: record.failure,
            encrypted,
            kms_key_id,
            key_version: record.key.as_ref().map(|key| key.version),
            key: record.key.map(|key| key.id),
            cap,
            held_back,
            forecast: None,
            volumes,
        }
    }
}

fn run_volume(live: Option<VolumeFigures>, record: VolumeRecord) -> RunVolume {
    RunVolume {
        snapshot: record.root_digest.is_some().then_some(record.snapshot),
        figures: live.unwrap_or(record.figures),
        device: record.device,
        root_digest: record.root_digest,
        tracked: record.tracked,
        notes: record.notes,
    }
}

fn run_forecast(record: ForecastRecord) -> RunForecast {
    let ForecastRecord { forecast, actual } = record;
    RunForecast { outcome: actual.map(|actual| (actual, forecast.error(&actual))), forecast }
}

/// A run in words.
fn status(run: &RunRecord, percent: f64, trouble: Option<&str>) -> Option<String> {
    let working = |what: String| match trouble {
        Some(trouble) => format!("{what}; trying again after {trouble}"),
        None => what,
    };
    match (run.position, &run.failure) {
        (Position::Pending, _) => None,
        (Position::Missed, _) => Some("it was due while another run was at work or the service was down".to_owned()),
        (Position::At(stage @ (Stage::Transferring | Stage::Verifying)), _) => {
            Some(working(format!("{} {percent:.0}%", stage.as_str())))
        }
        (Position::At(stage), _) => Some(working(stage.as_str().to_owned())),
        (Position::Abandoning, Some(failure)) => Some(format!("giving up: {}", failure.message())),
        (Position::Abandoning, None) => Some("giving up".to_owned()),
        (Position::Failed, Some(failure)) => Some(failure.message()),
        (Position::Failed, None) => Some("failed".to_owned()),
        (Position::Completed, _) => Some("Completed".to_owned()),
        (Position::Deleting, _) => Some("its job is being deleted".to_owned()),
        (Position::Deleted, _) => Some("its job was deleted".to_owned()),
    }
}

fn refused(job: &JobId, denied: &DemandDenied) -> ServiceError {
    match denied {
        DemandDenied::UnknownJob => ServiceError::invalid(format!("there is no replication job {job}")),
        DemandDenied::ByRule(OnDemandDenied::NotRunning(state)) => {
            ServiceError::not_permitted(format!("{job} is {}: it starts no runs", state.as_str()))
        }
        DemandDenied::ByRule(OnDemandDenied::RunAtWork(run)) => {
            ServiceError::not_permitted(format!("{run} of {job} is at work or about to start: wait until it has ended"))
        }
        DemandDenied::ByRule(OnDemandDenied::LimitReached { again_at }) => ServiceError::new(
            ErrorCode::ReplicationRunLimitExceeded,
            format!(
                "{job} had {ON_DEMAND_LIMIT} runs on demand within 24 hours: the next is allowed from epoch second {} on",
                again_at.as_millis().div_euclid(1_000)
            ),
        ),
    }
}
