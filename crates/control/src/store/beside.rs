//! What is shown beside the rows of a page: one statement for each kind of it, however long the page is.

use super::catalog::{SERVER_WITH_JOB, server};
use super::jobs::job_record;
use super::query::{MOST_VALUES, Read, Verbs, What, bind_all, places};
use super::row::Fields;
use super::runs::{run_record, volume_record};
use super::{JobRecord, RunRecord, Store, StoreError, VolumeRecord};
use crate::service::Server;
use godwit_model::id::{ImageId, JobId, RunId, ServerId};
use godwit_model::time::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;

/// The newest run of each of some jobs: the one at work; else the one that ended last; else the one listed ahead. Each
/// part is answered by an index, because a job may have tens of thousands of runs.
const LATEST_RUN: &str = "SELECT run.* FROM run WHERE run.run_id IN (SELECT COALESCE(\
    (SELECT r.run_id FROM run r WHERE r.job_id = job.job_id AND r.state IN ('ACTIVE', 'DELETING')), \
    (SELECT r.run_id FROM run r WHERE r.job_id = job.job_id AND r.completed_at IS NOT NULL \
     ORDER BY r.completed_at DESC, r.scheduled_at DESC LIMIT 1), \
    (SELECT r.run_id FROM run r WHERE r.job_id = job.job_id ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT 1)) \
    FROM job WHERE job.job_id IN ";

/// The newest image of each of some jobs.
const LATEST_IMAGE: &str = "SELECT job_id, image_id FROM image WHERE image_id IN (SELECT \
    (SELECT i.image_id FROM image i WHERE i.job_id = job.job_id AND i.deleting = 0 ORDER BY i.number DESC LIMIT 1) \
    FROM job WHERE job.job_id IN ";

/// When the runs that are listed ahead are due. Asked job by job: SQLite would rather read all that are pending than
/// look for each of fifty jobs.
const NEXT_START: &str = "SELECT job.job_id AS job_id, (SELECT run.scheduled_at FROM run \
    WHERE run.job_id = job.job_id AND run.state = 'PENDING' AND run.kind = 'AUTOMATIC') AS next_start \
    FROM job WHERE job.job_id IN ";

/// What belongs to each of some jobs.
pub(crate) struct BesideJobs {
    pub servers: HashMap<ServerId, Server>,
    pub next_starts: HashMap<JobId, Timestamp>,
    pub images: HashMap<JobId, ImageId>,
    pub runs: HashMap<JobId, RunRecord>,
}

impl Store {
    /// What belongs to these jobs.
    pub(crate) async fn beside_jobs(&self, jobs: &[JobRecord]) -> Result<BesideJobs, StoreError> {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let servers: Vec<ServerId> = jobs.iter().map(|job| job.settings.server.clone()).collect();
        let servers = self.servers_named(&servers);
        let next_starts = self.of_all(NEXT_START, &ids, "", "read the next runs", |row| {
            Ok((Fields(row).id("job_id")?, Fields(row).opt_time("next_start")?))
        });
        let images = self.of_all(LATEST_IMAGE, &ids, ")", "read the newest images of jobs", |row| {
            Ok((Fields(row).id("job_id")?, Fields(row).id("image_id")?))
        });
        let runs = self.of_all(LATEST_RUN, &ids, ")", "read the latest runs", run_record);
        Ok(BesideJobs {
            servers: servers.await?,
            next_starts: next_starts.await?.into_iter().filter_map(|(job, at)| Some((job, at?))).collect(),
            images: images.await?.into_iter().collect(),
            runs: runs.await?.into_iter().map(|run| (run.job.clone(), run)).collect(),
        })
    }

    /// The jobs of these ids, as far as they exist.
    pub(crate) async fn jobs_named(&self, ids: &[JobId]) -> Result<HashMap<JobId, JobRecord>, StoreError> {
        self.named("SELECT * FROM job WHERE job_id IN ", ids, "read jobs", job_record, |job| &job.id).await
    }

    /// The runs of these ids, as far as they exist.
    pub(crate) async fn runs_named(&self, ids: &[RunId]) -> Result<HashMap<RunId, RunRecord>, StoreError> {
        self.named("SELECT * FROM run WHERE run_id IN ", ids, "read runs", run_record, |run| &run.id).await
    }

    /// The servers of these ids, as far as they exist.
    pub(crate) async fn servers_named(&self, ids: &[ServerId]) -> Result<HashMap<ServerId, Server>, StoreError> {
        let head = format!("{SERVER_WITH_JOB} WHERE server.server_id IN ");
        self.named(&head, ids, "read servers", server, |server| &server.id).await
    }

    /// The volumes of these runs, boot disk first.
    pub(crate) async fn volumes_of(&self, runs: &[RunId]) -> Result<HashMap<RunId, Vec<VolumeRecord>>, StoreError> {
        let head = "SELECT * FROM run_volume WHERE run_id IN ";
        let rows = self.of_all(head, runs, " ORDER BY run_id, place", "read the volumes of runs", |row| {
            Ok((Fields(row).id("run_id")?, volume_record(row)?))
        });
        let mut volumes: HashMap<RunId, Vec<VolumeRecord>> = HashMap::with_capacity(runs.len());
        for (run, volume) in rows.await? {
            volumes.entry(run).or_default().push(volume);
        }
        Ok(volumes)
    }

    /// The listed servers whose VM managers call them one of these.
    pub(crate) async fn servers_called(&self, vm_ids: &[String]) -> Result<Vec<Server>, StoreError> {
        let head = format!("{SERVER_WITH_JOB} WHERE server.listed = 1 AND server.vm_id IN ");
        self.of_all(&head, vm_ids, "", "read servers", server).await
    }

    /// Rows of a statement that is `head` and a list of `ids`, each under its id, as far as they exist.
    pub(super) async fn named<K: ToString + Clone + Eq + Hash, T>(
        &self,
        head: &str,
        ids: &[K],
        what: What,
        read: Read<T>,
        id: fn(&T) -> &K,
    ) -> Result<HashMap<K, T>, StoreError> {
        let rows = self.of_all(head, ids, "", what, read).await?;
        Ok(rows.into_iter().map(|row| (id(&row).clone(), row)).collect())
    }

    /// Rows of a statement that is `head`, a list of `keys` in parentheses, and `tail`. Each key is asked for once.
    pub(super) async fn of_all<K: ToString + Clone + Eq + Hash, T>(
        &self,
        head: &str,
        keys: &[K],
        tail: &str,
        what: What,
        read: Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut seen = std::collections::HashSet::with_capacity(keys.len());
        let keys: Vec<K> = keys.iter().filter(|key| seen.insert((*key).clone())).cloned().collect();
        for some in keys.chunks(MOST_VALUES) {
            let sql = format!("{head}{}{tail}", places(1, some.len()));
            let statement = bind_all(sqlx::query(sqlx::AssertSqlSafe(sql)), some);
            found.extend(statement.all(self.reader(), what, read).await?);
        }
        Ok(found)
    }
}
