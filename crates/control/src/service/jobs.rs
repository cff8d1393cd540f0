//! Replication jobs: create, change, list, delete.

mod members;

use self::members::{cap_of_job, encryption, interval, keep, pause_after, recipients, start};
use super::page::{only, paged};
use super::{Answer, ErrorCode, Page, Paged, Run, Server, Service, ServiceError};
use crate::store::{BesideJobs, CreateDenied, DeleteDenied, JobRecord, NewJobRecord, NextStart, StoreError};
use godwit_model::cap::Cap;
use godwit_model::id::{ImageId, JobId};
use godwit_model::job::{Interval, JobState};
use godwit_model::licence::{self, LicenseType, NotAllowed};
use godwit_model::role;
use godwit_model::schedule::next_on_grid;
use godwit_model::time::Timestamp;
use std::collections::HashMap;

/// Longest text that a caller may leave with a job, in characters.
const LONGEST_TEXT: usize = 1_024;

/// Attempts of a change that others keep overtaking.
const ATTEMPTS: usize = 5;

/// A job to create. Members as the caller gave them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewJob {
    /// Which server: `s-…`.
    pub server_id: String,
    /// When the first run starts; the past means now.
    pub start: Timestamp,
    /// Hours between runs, 1 to 24. Exactly one of this, `interval_minutes` and `run_once`.
    pub frequency_hours: Option<i64>,
    /// Minutes between runs, 1 to 43,200.
    pub interval_minutes: Option<i64>,
    /// One run only.
    pub run_once: Option<bool>,
    /// Whose licence; absent means automatic.
    pub license: Option<LicenseType>,
    /// Role; `sms` if absent.
    pub role_name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// How many of its newest images to keep, 1 to 270; 0 or absent means all.
    pub keep_images: Option<i64>,
    /// Whether images are encrypted with a chosen key. Everything stored is encrypted anyway.
    pub encrypted: Option<bool>,
    /// Which key: its id, an alias, or the ARN of either; the default key if absent.
    pub kms_key_id: Option<String>,
    /// Who is told what became of it: e-mail and web addresses.
    pub recipients: Vec<String>,
    /// Whether it is paused when scheduled runs fail in a row, instead of ending; yes if absent. Not for one-time jobs.
    pub pause_on_failure: Option<bool>,
    /// After how many, 1 to 100; if absent, the configured number.
    pub pause_after: Option<i64>,
    /// How fast each of its runs may read, in the language of caps; as fast as it goes if absent.
    pub cap: Option<String>,
}

impl NewJob {
    /// A job with nothing but its server and start: neither frequency nor `run_once`, which is refused as it stands.
    pub fn new(server_id: impl Into<String>, start: Timestamp) -> Self {
        Self {
            server_id: server_id.into(),
            start,
            frequency_hours: None,
            interval_minutes: None,
            run_once: None,
            license: None,
            role_name: None,
            description: None,
            keep_images: None,
            encrypted: None,
            kms_key_id: None,
            recipients: vec![],
            pause_on_failure: None,
            pause_after: None,
            cap: None,
        }
    }
}

/// Jobs on a page at most: each brings its server, its run, that run's volumes and its newest image along, and nobody
/// else's call is to wait for a long page.
const MOST_JOBS: i64 = 100;

/// What to change of a job; `None` leaves it as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JobChanges {
    /// Hours between runs, 1 to 24.
    pub frequency_hours: Option<i64>,
    /// See [`NewJob::interval_minutes`].
    pub interval_minutes: Option<i64>,
    /// When the next run starts: moves the schedule. A paused job goes on.
    pub next_start: Option<Timestamp>,
    /// Whose licence.
    pub license: Option<LicenseChange>,
    /// Role.
    pub role_name: Option<String>,
    /// For people; an empty one removes it.
    pub description: Option<String>,
    /// How many of its newest images to keep.
    pub keep_images: Option<i64>,
    /// See [`NewJob::encrypted`].
    pub encrypted: Option<bool>,
    /// See [`NewJob::kms_key_id`]; an empty one is the default key.
    pub kms_key_id: Option<String>,
    /// All of its recipients from now on.
    pub recipients: Option<Vec<String>>,
    /// See [`NewJob::pause_on_failure`].
    pub pause_on_failure: Option<bool>,
    /// See [`NewJob::pause_after`]; 0 is the configured number again.
    pub pause_after: Option<i64>,
    /// See [`NewJob::cap`]: also of its run at work, unless that has one of its own.
    pub cap: Option<String>,
}

/// Whose licence a job is to have from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LicenseChange {
    /// Godwit chooses by the server's platform.
    Automatic,
    /// This one.
    To(LicenseType),
}

/// A replication job.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its server.
    pub server: Server,
    /// When its first run was to start. The schedule may have been moved since.
    pub seed: Timestamp,
    /// How often it runs.
    pub interval: Interval,
    /// When the next run starts, if one is scheduled.
    pub next_start: Option<Timestamp>,
    /// Whose licence: what was asked for, or what was chosen; absent while the platform is not known.
    pub license: Option<LicenseType>,
    /// Whether somebody asked for that licence.
    pub license_asked: bool,
    /// Role.
    pub role_name: String,
    /// For people.
    pub description: Option<String>,
    /// How many of its newest images to keep.
    pub keep_images: Option<u32>,
    /// See [`NewJob::encrypted`].
    pub encrypted: Option<bool>,
    /// See [`NewJob::kms_key_id`].
    pub kms_key_id: Option<String>,
    /// Who is told what became of it.
    pub recipients: Vec<String>,
    /// See [`NewJob::pause_on_failure`].
    pub pause_on_failure: bool,
    /// Scheduled runs that may fail in a row before it is paused or ends.
    pub pause_after: u32,
    /// See [`NewJob::cap`].
    pub cap: Option<Cap>,
    /// Scheduled runs that have failed in a row.
    pub failures: u32,
    /// Since when it is in its state.
    pub state_since: Timestamp,
    /// State.
    pub state: JobState,
    /// The state in words, with the last run's failure if that failed.
    pub status_message: Option<String>,
    /// Its newest image.
    pub latest_image: Option<ImageId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The run at work; else the one that ended last; else the one scheduled. At most one.
    pub latest_runs: Vec<Run>,
}

impl Job {
    /// The interval as the API's `frequency`; `None` for one-time jobs and intervals that are not whole hours.
    pub fn frequency_hours(&self) -> Option<i64> {
        match self.interval {
            Interval::EveryMinutes(m) if m % 60 == 0 => Some(i64::from(m / 60)),
            _ => None,
        }
    }
}

impl Service {
    /// `CreateReplicationJob`.
    pub async fn create_replication_job(&self, new: NewJob, now: Timestamp) -> Answer<JobId> {
        let record = checked(&new, now)?;
        if let Some(key) = &record.kms_key_id {
            self.check_key(key).await?;
        }
        let server = &record.server;
        match self.line.store.create_job(&record, &self.line.draw, now).await? {
            Ok(id) => {
                self.line.wake.notify_one();
                Ok(id)
            }
            Err(CreateDenied::UnknownServer) => Err(ServiceError::invalid(format!(
                "the catalog has no server {server}: import the server catalog and take an id from there"
            ))),
            Err(CreateDenied::AlreadyReplicated(job)) => Err(ServiceError::new(
                ErrorCode::ReplicationJobAlreadyExists,
                format!("{server} is replicated by {job}: change or delete that job"),
            )),
            Err(CreateDenied::NoConnector) => Err(ServiceError::new(
                ErrorCode::NoConnectorsAvailable,
                format!("the connector of {server} is not associated any more: associate it again"),
            )),
            Err(CreateDenied::NoVolumes) => Err(ServiceError::new(
                ErrorCode::ServerCannotBeReplicated,
                format!("{server} has no disk that could be replicated"),
            )),
            Err(CreateDenied::Licence(denied)) => Err(licence_refused(&denied)),
            Err(CreateDenied::UnknownRole) => Err(unknown_role(&record.role_name)),
            Err(CreateDenied::Role(denied)) => Err(role_refused(&record.role_name, &denied)),
        }
    }

    /// `UpdateReplicationJob`.
    pub async fn update_replication_job(&self, id: &str, changes: JobChanges, now: Timestamp) -> Answer<()> {
        for _ in 0..ATTEMPTS {
            let was = self.known_job(id).await?;
            if was.state.is_terminated() || was.state == JobState::Completed {
                let what = format!("{id} is {}: it cannot be changed any more", was.state.as_str());
                return Err(ServiceError::not_permitted(what));
            }
            let listed = self.line.store.next_start(&was.id).await?;
            let (changed, next) = apply(was, &changes, listed, now)?;
            if let Some(key) = changes.kms_key_id.as_deref().filter(|key| !key.is_empty()) {
                self.check_key(key).await?;
            }
            if changes.license.is_some() {
                self.check_licence(&changed).await?;
            }
            if changes.role_name.is_some() || changes.kms_key_id.is_some() {
                self.check_role(&changed).await?;
            }
            if self.written(&changed, next, now).await? {
                if changes.cap.is_some() {
                    self.line.tell_caps().await?;
                }
                return Ok(());
            }
        }
        Err(StoreError::Stale.into())
    }

    /// `ResumeReplicationJob`: a job that is paused on failure goes on, its failures forgotten: with the next point of
    /// its schedule, or at `start`, which moves the schedule.
    pub async fn resume_replication_job(&self, id: &str, next_start: Option<Timestamp>, now: Timestamp) -> Answer<()> {
        for _ in 0..ATTEMPTS {
            let mut job = self.known_job(id).await?;
            if job.state != JobState::PausedOnFailure {
                let what = format!("{id} is {}: only a job that is paused can be resumed", job.state.as_str());
                return Err(ServiceError::not_permitted(what));
            }
            let at = next_start.map(|at| start(at, "nextReplicationRunStartTime", now)).transpose()?;
            job.settings.start = at.unwrap_or(job.settings.start);
            if self.written(&job, NextStart::Resume(at), now).await? {
                return Ok(());
            }
        }
        Err(StoreError::Stale.into())
    }

    /// Writes a changed job; false if something else has changed it meanwhile.
    async fn written(&self, changed: &JobRecord, next: NextStart, now: Timestamp) -> Answer<bool> {
        match self.line.store.update_job(changed, next, &self.line.draw, now).await {
            Err(StoreError::Stale) => Ok(false),
            other => {
                other?;
                self.line.wake.notify_one();
                Ok(true)
            }
        }
    }

    async fn check_licence(&self, job: &JobRecord) -> Answer<()> {
        let server = self.line.store.server(&job.settings.server).await?;
        let platform = server.and_then(|(server, _)| server.platform);
        licence::choose(platform, job.settings.license).map(|_| ()).map_err(|denied| licence_refused(&denied))
    }

    /// A role that is made automatically need not be there yet.
    async fn check_role(&self, job: &JobRecord) -> Answer<()> {
        let name = &job.settings.role_name;
        match self.line.store.role_policy(name).await? {
            None if role::is_automatic(name) => Ok(()),
            None => Err(unknown_role(name)),
            Some(policy) => {
                role::suffices(&policy, job.settings.kms_key_id.is_some()).map_err(|denied| role_refused(name, &denied))
            }
        }
    }

    /// `GetReplicationJobs`: all jobs, deleted ones too, newest first; or the one named.
    pub async fn get_replication_jobs(&self, id: Option<&str>, page: &Page) -> Answer<Paged<Job>> {
        if let Some(id) = id {
            page.check("jobs")?;
            return Ok(Paged { items: vec![self.job(self.job_named(id).await?).await?], next: None });
        }
        let read = |after, limit| self.line.store.jobs(after, limit);
        let rows = paged(&page.at_most(MOST_JOBS), "jobs", read, |j| (j.created_at.0, j.id.to_string())).await?;
        Ok(Paged { items: self.jobs(rows.items).await?, next: rows.next })
    }

    /// `DescribeReplicationJobs`: the same. If `ids` are given: exactly these, on one page.
    pub async fn describe_replication_jobs(&self, ids: Option<&[String]>, page: &Page) -> Answer<Paged<Job>> {
        let Some(ids) = ids else { return self.get_replication_jobs(None, page).await };
        let read = async |ids: &[JobId]| self.line.store.jobs_named(ids).await;
        let rows = only(ids, "replication job", "jobs", page, read).await?;
        Ok(Paged { items: self.jobs(rows.items).await?, next: None })
    }

    /// `DeleteReplicationJob`: stops it; what it left at the source and staged is removed in the background.
    pub async fn delete_replication_job(&self, id: &str, now: Timestamp) -> Answer<()> {
        let id = self.known_job(id).await?.id;
        let gone = |what| Err(ServiceError::new(ErrorCode::ReplicationJobNotFound, what));
        match self.line.store.delete_job(&id, now).await? {
            Ok(()) => {
                self.line.wake.notify_one();
                Ok(())
            }
            Err(DeleteDenied::Unknown) => gone(format!("there is no replication job {id}")),
            Err(DeleteDenied::Deleted) => gone(format!("the replication job {id} is deleted already")),
        }
    }

    /// The job of this id; refused as Update and Delete do it.
    async fn known_job(&self, id: &str) -> Answer<JobRecord> {
        let unknown = || ServiceError::new(ErrorCode::ReplicationJobNotFound, no_such_job(id));
        let id: JobId = id.parse().map_err(|_| unknown())?;
        self.line.store.job(&id).await?.ok_or_else(unknown)
    }

    /// The job of this id; refused as all other operations do it.
    pub(super) async fn job_named(&self, id: &str) -> Answer<JobRecord> {
        let id: JobId = id.parse()?;
        let found = self.line.store.job(&id).await?;
        found.ok_or_else(|| ServiceError::invalid(no_such_job(id.as_str())))
    }

    /// A job with its server and latest run.
    pub(super) async fn job(&self, record: JobRecord) -> Answer<Job> {
        let mut jobs = self.jobs(vec![record]).await?;
        Ok(jobs.pop().expect("a job for each record"))
    }

    /// Jobs with their servers and latest runs: as many statements for a whole page as for one.
    async fn jobs(&self, records: Vec<JobRecord>) -> Answer<Vec<Job>> {
        let beside = self.line.store.beside_jobs(&records).await?;
        let latest = records.iter().filter_map(|job| {
            let run = beside.runs.get(&job.id)?;
            Some((run.clone(), Some(&job.settings)))
        });
        let latest = self.described(latest.collect()).await?;
        let latest: HashMap<JobId, Run> = latest.into_iter().map(|run| (run.job.clone(), run)).collect();
        let configured = self.line.options.pause_after;
        records.into_iter().map(|record| described(record, &beside, &latest, configured)).collect()
    }
}

fn described(record: JobRecord, beside: &BesideJobs, latest: &HashMap<JobId, Run>, configured: u32) -> Answer<Job> {
    let settings = record.settings;
    let server = beside.servers.get(&settings.server).cloned();
    let server = server.ok_or_else(|| StoreError::unreadable("the server of a job", "nothing"))?;
    let pause_after = settings.failure_policy(configured).after;
    let license = licence::choose(server.platform, settings.license).unwrap_or(settings.license);
    Ok(Job {
        next_start: beside.next_starts.get(&record.id).copied(),
        latest_image: beside.images.get(&record.id).cloned(),
        latest_runs: latest.get(&record.id).cloned().into_iter().collect(),
        id: record.id,
        server,
        seed: record.seed,
        interval: settings.interval,
        license,
        license_asked: settings.license.is_some(),
        role_name: settings.role_name,
        description: settings.description,
        keep_images: settings.keep_images,
        encrypted: settings.encrypted,
        kms_key_id: settings.kms_key_id,
        recipients: settings.recipients,
        pause_on_failure: settings.pause_on_failure,
        pause_after,
        cap: settings.cap,
        failures: record.failures,
        state_since: record.state_since,
        state: record.state,
        status_message: record.status_message,
        created_at: record.created_at,
    })
}

fn no_such_job(id: &str) -> String {
    let id: String = id.chars().take(64).collect();
    format!("there is no replication job '{id}'")
}

/// What a caller sent, as a record, if it is in order.
fn checked(new: &NewJob, now: Timestamp) -> Answer<NewJobRecord> {
    let interval = match (interval(new.frequency_hours, new.interval_minutes)?, new.run_once) {
        (Some(_), Some(true)) => {
            return Err(ServiceError::invalid("an interval and runOnce are both given: a job has one or the other"));
        }
        (Some(interval), _) => interval,
        (None, Some(true)) => Interval::Once,
        (None, _) => {
            return Err(ServiceError::missing("give frequency (hours between runs, 1 to 24) or runOnce = true"));
        }
    };
    refuse_policy_of_one_time_job(interval, new.pause_on_failure, new.pause_after)?;
    let (encrypted, kms_key_id) = encryption((None, None), new.encrypted, new.kms_key_id.as_deref())?;
    Ok(NewJobRecord {
        server: new.server_id.parse()?,
        start: start(new.start, "seedReplicationTime", now)?,
        interval,
        license: new.license,
        role_name: text(new.role_name.as_deref(), "roleName")?.unwrap_or_else(|| role::DEFAULT.to_owned()),
        description: text(new.description.as_deref(), "description")?,
        keep_images: new.keep_images.map(keep).transpose()?,
        encrypted,
        kms_key_id,
        recipients: recipients(&new.recipients)?,
        pause_on_failure: interval != Interval::Once && new.pause_on_failure.unwrap_or(true),
        pause_after: new.pause_after.map(pause_after).transpose()?.flatten(),
        cap: cap_of_job(new.cap.as_deref(), None)?,
    })
}

/// A job with changes applied, and where the listed run moves, if it does.
fn apply(
    mut job: JobRecord,
    changes: &JobChanges,
    listed: Option<Timestamp>,
    now: Timestamp,
) -> Answer<(JobRecord, NextStart)> {
    refuse_policy_of_one_time_job(job.settings.interval, changes.pause_on_failure, changes.pause_after)?;
    let settings = &mut job.settings;
    let mut next = NextStart::Stay;
    if let Some(interval) = interval(changes.frequency_hours, changes.interval_minutes)? {
        if settings.interval == Interval::Once {
            return Err(ServiceError::invalid("frequency: the job runs once only, it has no frequency to change"));
        }
        settings.interval = interval;
        // A first run that has not begun keeps its time: the grid starts there.
        if let (Interval::EveryMinutes(minutes), JobState::Active, Some(_)) = (settings.interval, job.state, listed) {
            next = NextStart::Move(next_on_grid(settings.start, minutes, now));
        }
    }
    if let Some(at) = changes.next_start {
        let at = start(at, "nextReplicationRunStartTime", now)?;
        if settings.interval == Interval::Once && listed.is_none() {
            return Err(ServiceError::not_permitted("the only run of this one-time job has begun already"));
        }
        settings.start = at;
        next = match job.state {
            JobState::PausedOnFailure => NextStart::Resume(Some(at)),
            _ => NextStart::Move(at),
        };
    }
    settings.license = match changes.license {
        Some(LicenseChange::Automatic) => None,
        Some(LicenseChange::To(license)) => Some(license),
        None => settings.license,
    };
    if let Some(role) = text(changes.role_name.as_deref(), "roleName")? {
        settings.role_name = role;
    }
    if let Some(description) = &changes.description {
        settings.description = text(Some(description), "description")?;
    }
    settings.keep_images = changes.keep_images.map(keep).transpose()?.or(settings.keep_images);
    let was = (settings.encrypted, settings.kms_key_id.take());
    (settings.encrypted, settings.kms_key_id) = encryption(was, changes.encrypted, changes.kms_key_id.as_deref())?;
    if let Some(all) = &changes.recipients {
        settings.recipients = recipients(all)?;
    }
    settings.pause_on_failure = changes.pause_on_failure.unwrap_or(settings.pause_on_failure);
    settings.pause_after = changes.pause_after.map(pause_after).transpose()?.unwrap_or(settings.pause_after);
    settings.cap = cap_of_job(changes.cap.as_deref(), settings.cap.take())?;
    Ok((job, next))
}

fn refuse_policy_of_one_time_job(interval: Interval, pause: Option<bool>, after: Option<i64>) -> Answer<()> {
    match interval == Interval::Once && (pause == Some(true) || after.is_some()) {
        true => Err(ServiceError::invalid("pauseOnFailure: a one-time job is not paused, it fails with its run")),
        false => Ok(()),
    }
}

fn unknown_role(name: &str) -> ServiceError {
    let name: String = name.chars().take(64).collect();
    ServiceError::invalid(format!(
        "roleName: there is no role '{name}'; create it (godwit roles create), or leave roleName out for the default one"
    ))
}

fn role_refused(name: &str, denied: &role::Insufficient) -> ServiceError {
    ServiceError::not_permitted(format!("roleName '{name}': {denied}; change the role, or name another one"))
}

fn licence_refused(denied: &NotAllowed) -> ServiceError {
    ServiceError::new(ErrorCode::ServerCannotBeReplicated, format!("licenseType: {denied}"))
}

/// A text that a caller leaves; an empty one is none.
pub(super) fn text(given: Option<&str>, member: &str) -> Answer<Option<String>> {
    match given {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > LONGEST_TEXT => {
            Err(ServiceError::invalid(format!("{member} is longer than {LONGEST_TEXT} characters")))
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}
