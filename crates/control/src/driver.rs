//! The loop that makes things happen. Woken by a signal or a timer, it takes no input: it reads the store, asks
//! `model::schedule::plan` what is due, and sees to it that everything that the store says is at work has a task.
//!
//! A task that ended without changing what the store says is started again after a pause, so nothing is lost because
//! a single attempt failed. Exactly one task works on one thing: the table of tasks holds that.

mod store;

use crate::control::Line;
use crate::store::{Facts, StoreError};
use crate::{images, import, notify, recover, run};
use godwit_model::catalog::CatalogStatus;
use godwit_model::id::{ConnectorId, ImageId, JobId, RunId};
use godwit_model::job::JobState;
use godwit_model::retention::due_before;
use godwit_model::run::RunState;
use godwit_model::schedule::{Decision, Limits, plan};
use godwit_model::time::{Millis, Timestamp};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Rounds of planning behind each other; the plan comes to rest after two.
const ROUNDS: usize = 4;

/// Longest sleep when the store cannot be read.
const TROUBLE: Duration = Duration::from_secs(5);

/// Recipients that one look considers: more than are at work or rest at a time.
const LOOKED_AT: usize = 64;
/// How often the audit trail is pruned: what is a little too old harms nobody.
const PRUNE_EVERY: Millis = Millis::HOUR;

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// There is nothing left to do.
    Done,
    /// Something outside refused; trying again soon would not help.
    Later,
}

/// Something that one task works on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Task {
    Run(RunId),
    EndJob(JobId),
    Import(i64),
    Verify(ImageId),
    RemoveUnneeded,
    SweepStore,
    Scrub,
    SampleStore,
    Sweep(ConnectorId),
    Heartbeat(ConnectorId),
    /// What is due to this recipient.
    Tell(String),
}

/// The loop and its tasks.
pub(crate) struct Driver {
    line: Arc<Line>,
    stop: CancellationToken,
    /// Since when the service runs without a gap.
    since: Timestamp,
    /// When it looked last.
    looked: Timestamp,
    /// When the audit trail was pruned.
    pruned: Option<Timestamp>,
    tasks: JoinSet<Result<Ended, StoreError>>,
    names: HashMap<tokio::task::Id, Task>,
    at_work: HashMap<Task, CancellationToken>,
    /// Tasks that are not started again before this.
    resting: HashMap<Task, Instant>,
    connectors: HashMap<ConnectorId, Rounds>,
}

/// When a connector's next turns are.
#[derive(Clone, Copy)]
struct Rounds {
    heartbeat: Instant,
    sweep: Instant,
}

impl Driver {
    pub fn new(line: Arc<Line>, stop: CancellationToken, since: Timestamp) -> Driver {
        Driver {
            line,
            stop,
            since,
            looked: since,
            pruned: None,
            tasks: JoinSet::new(),
            names: HashMap::new(),
            at_work: HashMap::new(),
            resting: HashMap::new(),
            connectors: HashMap::new(),
        }
    }

    /// Works until it is stopped, then stops its tasks.
    pub async fn drive(mut self) {
        while !self.stop.is_cancelled() {
            let sleep = match self.act().await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(error = %error.to_failure(), "the driver cannot read the state; trying again");
                    self.line.options.tick.min(TROUBLE)
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
                () = self.line.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        // Tasks hold children of the token and stop by themselves, each within its own bound; the set drops the rest.
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.line.options.stop.saturating_mul(2), all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// Does what is to be done now. Gives how long to sleep at most.
    async fn act(&mut self) -> Result<Duration, StoreError> {
        self.notice_gaps();
        let facts = self.obey_the_plan().await?;
        self.runs(&facts);
        self.ending_jobs(&facts).await?;
        self.time_over().await?;
        self.prune_audit().await;
        self.catalog().await?;
        self.images().await?;
        self.store_sweep().await?;
        self.scrub().await?;
        let sampling = self.store_use().await?;
        let heartbeat = self.connectors(&facts).await?;
        let telling = self.notifications().await?;
        self.resting.retain(|_, until| *until > Instant::now());
        let now = self.line.now();
        let due = self.line.store.next_due(now).await?.map(|at| millis(at - now));
        let rested = self.resting.values().min().map(|at| at.saturating_duration_since(Instant::now()));
        let mut sleep = self.line.options.tick;
        for wake in [due, rested, heartbeat, telling, sampling].into_iter().flatten() {
            sleep = sleep.min(wake);
        }
        Ok(sleep.max(Duration::from_millis(1)))
    }

    /// A look that comes much later than the last one, by the clock, means that the machine slept or the clock was set:
    /// what fell due between fell into an outage, as if the service had been down.
    fn notice_gaps(&mut self) {
        let now = self.line.now();
        if now - self.looked > span(self.line.options.longest_gap) {
            tracing::warn!("the clock went on by more than the service was awake: what was due meanwhile is missed");
            self.since = now;
        }
        self.looked = now;
    }

    /// Ends what has been kept long enough.
    async fn time_over(&self) -> Result<(), StoreError> {
        let (kept, now, store) = (self.line.options.retention, self.line.now(), &self.line.store);
        if let Some(before) = due_before(kept.paused_jobs, now) {
            for job in store.jobs_since(JobState::PausedOnFailure, before).await? {
                tracing::info!(%job, "the job was paused for longer than such jobs are kept: it is deleted");
                let _ = store.delete_overdue_job(&job, now).await?;
            }
        }
        if let Some(before) = due_before(kept.deleted_jobs, now) {
            for job in store.jobs_since(JobState::Deleted, before).await? {
                store.forget_job(&job).await?;
            }
        }
        if let Some(before) = due_before(self.line.options.notify.keep, now) {
            store.forget_events(before).await?;
        }
        Ok(())
    }

    async fn prune_audit(&mut self) {
        let now = self.line.now();
        // Set back, the clock must not stop it for ever.
        if self.pruned.is_none_or(|pruned| now < pruned || now - pruned >= PRUNE_EVERY) {
            match self.line.store.prune_audit(&self.line.options.audit, now).await {
                Ok(0) => {}
                Ok(records) => tracing::info!(records, "the audit trail was pruned"),
                // Runs go on whatever has happened to it.
                Err(error) => tracing::error!(error = %error.to_failure(), "the audit trail cannot be pruned"),
            }
            self.pruned = Some(now);
        }
    }

    async fn obey_the_plan(&mut self) -> Result<Facts, StoreError> {
        let limits = Limits {
            max_active: self.line.options.max_active_runs,
            since: self.since,
            late_start: span(self.line.options.late_start),
        };
        let mut facts = self.line.store.facts(&limits, self.looked).await?;
        for _ in 0..ROUNDS {
            // The time of the look: what the clock does while we act is for the next one to judge.
            let decisions = plan(&facts.jobs, &facts.runs, &limits, self.looked);
            if decisions.is_empty() {
                break;
            }
            for decision in decisions {
                self.obey(&decision).await?;
            }
            facts = self.line.store.facts(&limits, self.looked).await?;
        }
        Ok(facts)
    }

    async fn obey(&self, decision: &Decision) -> Result<(), StoreError> {
        let now = self.line.now();
        let done = match decision {
            Decision::Start { run } => self.line.store.start_run(run, now).await,
            Decision::Miss { run } => {
                tracing::info!(%run, "the run was due while it could not run");
                self.line.store.miss_run(run, now).await
            }
            Decision::Schedule { job, at } => self.line.store.schedule_run(job, *at, &self.line.draw).await,
        };
        match done {
            // The state moved on between the look and the act, for example by a deletion: the next look tells.
            Err(StoreError::Stale | StoreError::RunStep(_) | StoreError::JobStep(_)) => Ok(()),
            other => other,
        }
    }

    fn runs(&mut self, facts: &Facts) {
        for run in facts.runs.iter().filter(|r| r.state == RunState::Active) {
            let (line, id) = (self.line.clone(), run.run.clone());
            self.ensure(Task::Run(run.run.clone()), |cancel| run::execute(line, id, cancel));
        }
        for (task, cancel) in &self.at_work {
            let Task::Run(id) = task else { continue };
            if !facts.runs.iter().any(|r| r.run == *id && r.state == RunState::Active) {
                cancel.cancel();
            }
        }
    }

    async fn ending_jobs(&mut self, facts: &Facts) -> Result<(), StoreError> {
        for job in self.line.store.ending_jobs().await? {
            let busy = facts.runs.iter().any(|r| r.job == job && self.at_work.contains_key(&Task::Run(r.run.clone())));
            if !busy {
                let (line, id) = (self.line.clone(), job.clone());
                self.ensure(Task::EndJob(job), |cancel| run::end_job(line, id, cancel));
            }
        }
        Ok(())
    }

    async fn catalog(&mut self) -> Result<(), StoreError> {
        let now = self.line.now();
        let mut catalog = self.line.store.catalog().await?;
        let overdue = due_before(self.line.options.retention.catalog, now).filter(|at| catalog.modified_at <= *at);
        if let (CatalogStatus::Available, Some(before)) = (catalog.status, overdue) {
            self.line.store.expire_catalog(before, now).await?;
            catalog = self.line.store.catalog().await?;
        }
        if catalog.status == CatalogStatus::Importing {
            let line = self.line.clone();
            self.ensure(Task::Import(catalog.import), |cancel| import::import(line, catalog.import, cancel));
        }
        Ok(())
    }

    async fn images(&mut self) -> Result<(), StoreError> {
        let wanted = self.line.store.running_verifications().await?;
        for (task, cancel) in &self.at_work {
            if matches!(task, Task::Verify(image) if !wanted.contains(image)) {
                cancel.cancel();
            }
        }
        for image in wanted.into_iter().take(self.line.options.max_verifications) {
            let (line, id) = (self.line.clone(), image.clone());
            self.ensure(Task::Verify(image), |cancel| images::verify(line, id, cancel));
        }
        let unneeded = !self.line.store.images_to_delete().await?.is_empty()
            || !self.line.store.orphan_snapshots().await?.is_empty()
            || !self.line.store.leftovers().await?.is_empty()
            || !self.line.store.unneeded_packs().await?.is_empty();
        if unneeded {
            let line = self.line.clone();
            self.ensure(Task::RemoveUnneeded, |cancel| images::remove_unneeded(line, cancel));
        }
        Ok(())
    }

    /// Heartbeats and sweeps. Gives when the next heartbeat is due.
    async fn connectors(&mut self, facts: &Facts) -> Result<Option<Duration>, StoreError> {
        let connectors = self.line.store.connectors(None, usize::MAX).await?;
        self.connectors.retain(|id, _| connectors.iter().any(|c| c.id == *id));
        let (now, heartbeat, sweep) = (Instant::now(), self.line.options.heartbeat, self.line.options.sweep_sources);
        for connector in connectors {
            let id = connector.id;
            let next = Rounds { heartbeat: now + heartbeat, sweep: now + sweep };
            let due = self.connectors.entry(id.clone()).or_insert(next);
            if due.sweep <= now {
                due.sweep = next.sweep;
                self.line.sweep_behind(id.clone(), []);
            }
            if due.heartbeat <= now {
                due.heartbeat = next.heartbeat;
                let (line, beat) = (self.line.clone(), id.clone());
                self.ensure(Task::Heartbeat(id.clone()), |cancel| import::heartbeat(line, beat, cancel));
            }
            let is_at_work = |run: &RunId| facts.runs.iter().any(|r| r.run == *run);
            if self.line.wants_sweep(&id, is_at_work) {
                let (line, swept) = (self.line.clone(), id.clone());
                self.ensure(Task::Sweep(id), |cancel| {
                    // At once: what is asked for from here on, by a run that is at work yet, is another sweep.
                    let behind = line.begin_sweep(&swept);
                    recover::sweep(line, swept, behind, cancel)
                });
            }
        }
        Ok(self.connectors.values().map(|due| due.heartbeat.saturating_duration_since(now)).min())
    }

    /// Tells recipients what is due to them. Gives when the next one will be.
    async fn notifications(&mut self) -> Result<Option<Duration>, StoreError> {
        let (now, bound) = (self.line.now(), self.line.options.notify.in_flight);
        let mut at_work = self.at_work.keys().filter(|task| matches!(task, Task::Tell(_))).count();
        for recipient in self.line.store.recipients_due(now, LOOKED_AT).await? {
            let task = Task::Tell(recipient.clone());
            if at_work >= bound {
                break;
            }
            if !self.at_work.contains_key(&task) {
                let line = self.line.clone();
                self.ensure(task.clone(), |cancel| notify::tell(line, recipient, cancel));
                at_work += usize::from(self.at_work.contains_key(&task));
            }
        }
        Ok(self.line.store.next_notification(now).await?.map(|at| millis(at - now)))
    }

    /// Starts a task for something unless one is at work on it, or rests after an attempt.
    fn ensure<F>(&mut self, task: Task, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<Ended, StoreError>> + Send + 'static,
    {
        let rests = self.resting.get(&task).is_some_and(|until| *until > Instant::now());
        if rests || self.at_work.contains_key(&task) || self.stop.is_cancelled() {
            return;
        }
        let cancel = self.stop.child_token();
        let handle = self.tasks.spawn(start(cancel.clone()));
        self.names.insert(handle.id(), task.clone());
        self.at_work.insert(task, cancel);
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Result<Ended, StoreError>), tokio::task::JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome.map_err(|e| e.to_failure().to_string())),
            Err(error) => (error.id(), Err(format!("a task broke: {error}"))),
        };
        let Some(task) = self.names.remove(&id) else { return };
        self.at_work.remove(&task);
        let rest = match outcome {
            Ok(Ended::Done) => self.line.options.retry.first,
            Ok(Ended::Later) => self.line.options.heartbeat,
            Err(why) => {
                tracing::error!(?task, "work was interrupted and is tried again: {why}");
                self.line.options.retry.first
            }
        };
        self.resting.insert(task, Instant::now() + rest);
    }
}

fn span(duration: Duration) -> Millis {
    Millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn millis(span: Millis) -> Duration {
    Duration::from_millis(u64::try_from(span.0).unwrap_or(0))
}
