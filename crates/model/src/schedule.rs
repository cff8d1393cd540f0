//! What is due, decided from values alone.
//!
//! A repeating job runs at `start + k × interval`, exactly on that grid whatever happened before. At most one run is
//! listed ahead (PENDING). When it is due it starts; if another run of the job is at work, it is MISSED and the next
//! grid point counts. A run that waits only for a free slot waits on. What fell due while the service was down is
//! MISSED unless it is hardly late, is the job's first run, or its only one. Runs on demand do not move the grid.

use crate::id::{JobId, RunId};
use crate::job::{Interval, JobState};
use crate::run::{RunState, RunType};
use crate::time::{Millis, Timestamp};
use std::collections::HashMap;

/// Runs on demand that a job may have in any [`ON_DEMAND_WINDOW`].
pub const ON_DEMAND_LIMIT: usize = 2;

/// See [`ON_DEMAND_LIMIT`].
pub const ON_DEMAND_WINDOW: Millis = Millis::DAY;

/// How far ahead a job may start.
pub const LONGEST_LEAD: Millis = Millis(30 * Millis::DAY.0);

/// What the plan needs to know of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobFacts {
    /// Which.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Where its grid begins.
    pub start: Timestamp,
    /// Its grid's step.
    pub interval: Interval,
    /// The latest time that one of its automatic runs was scheduled for, whatever became of it.
    pub last_scheduled: Option<Timestamp>,
}

/// What the plan needs to know of a run that is PENDING, ACTIVE or DELETING; others need not be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunFacts {
    /// Which.
    pub run: RunId,
    /// Of which job.
    pub job: JobId,
    /// Its state.
    pub state: RunState,
    /// What started it.
    pub kind: RunType,
    /// When it is or was due.
    pub scheduled: Timestamp,
}

/// What bounds the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Runs at work at the same time, over all jobs.
    pub max_active: usize,
    /// Since when the service runs: what was due before that fell into an outage.
    pub since: Timestamp,
    /// How late a run that fell into an outage may still start.
    pub late_start: Millis,
}

impl Limits {
    /// What was due before this, and did not run, fell into an outage.
    pub fn outage(&self) -> Timestamp {
        self.since - self.late_start
    }
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The run becomes active.
    Start {
        /// Which.
        run: RunId,
    },
    /// The run is marked as missed.
    Miss {
        /// Which.
        run: RunId,
    },
    /// The next run is listed ahead.
    Schedule {
        /// Of which job.
        job: JobId,
        /// When it is due.
        at: Timestamp,
    },
}

/// Why a run on demand is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OnDemandDenied {
    /// The job has ended, is paused or is being deleted.
    #[error("the job is {}", .0.as_str())]
    NotRunning(JobState),
    /// A run is at work or about to start.
    #[error("the run {0} is at work")]
    RunAtWork(RunId),
    /// There were enough of them.
    #[error("the job had its runs on demand for this day")]
    LimitReached {
        /// From then on it would be allowed.
        again_at: Timestamp,
    },
}

/// What to do now. Decisions are in the order in which to do them; doing them and asking again gives nothing new.
pub fn plan(jobs: &[JobFacts], runs: &[RunFacts], limits: &Limits, now: Timestamp) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut due: Vec<(&JobFacts, &RunFacts)> = Vec::new();
    let mut of_job: HashMap<&JobId, Vec<&RunFacts>> = HashMap::with_capacity(jobs.len());
    for run in runs {
        of_job.entry(&run.job).or_default().push(run);
    }
    for job in jobs.iter().filter(|j| j.state.is_running()) {
        let own = || of_job.get(&job.job).into_iter().flatten().copied();
        let at_work = own().any(|r| r.state.is_at_work());
        let pending = |kind| own().filter(move |r| r.state == RunState::Pending && r.kind == kind);
        let demanded = pending(RunType::OnDemand).min_by_key(|r| (r.scheduled, r.run.clone()));
        let Some(next) = pending(RunType::Automatic).min_by_key(|r| (r.scheduled, r.run.clone())) else {
            decisions.extend(next_start(job, now).map(|at| Decision::Schedule { job: job.job.clone(), at }));
            due.extend(demanded.filter(|_| !at_work).map(|r| (job, r)));
            continue;
        };
        let is_due = next.scheduled <= now;
        if is_due && is_missed(job, next, at_work, limits) {
            decisions.push(Decision::Miss { run: next.run.clone() });
            decisions.extend(next_start(job, now).map(|at| Decision::Schedule { job: job.job.clone(), at }));
            due.extend(demanded.filter(|_| !at_work).map(|r| (job, r)));
        } else if !at_work {
            due.extend(Some(next).filter(|_| is_due).or(demanded).map(|r| (job, r)));
        }
    }
    due.sort_by(|(_, a), (_, b)| (a.scheduled, &a.run).cmp(&(b.scheduled, &b.run)));
    let busy = runs.iter().filter(|r| r.state.is_at_work()).count();
    for (job, run) in due.into_iter().take(limits.max_active.saturating_sub(busy)) {
        decisions.push(Decision::Start { run: run.run.clone() });
        if run.kind == RunType::Automatic {
            decisions.extend(next_start(job, now).map(|at| Decision::Schedule { job: job.job.clone(), at }));
        }
    }
    decisions
}

/// When the driver must look again: the earliest time that something pending is due after `now`.
pub fn next_due(runs: &[RunFacts], now: Timestamp) -> Option<Timestamp> {
    runs.iter().filter(|r| r.state == RunState::Pending && r.scheduled > now).map(|r| r.scheduled).min()
}

/// Whether a run on demand may be asked for. `runs`: all of the job that are pending, at work, or were asked for within
/// [`ON_DEMAND_WINDOW`].
pub fn may_run_on_demand(state: JobState, runs: &[RunFacts], now: Timestamp) -> Result<(), OnDemandDenied> {
    if !state.is_running() {
        return Err(OnDemandDenied::NotRunning(state));
    }
    let occupies = |r: &&RunFacts| {
        r.state.is_at_work() || (r.state == RunState::Pending && (r.kind == RunType::OnDemand || r.scheduled <= now))
    };
    if let Some(run) = runs.iter().find(occupies) {
        return Err(OnDemandDenied::RunAtWork(run.run.clone()));
    }
    let mut recent: Vec<Timestamp> = runs
        .iter()
        .filter(|r| r.kind == RunType::OnDemand && r.scheduled > now - ON_DEMAND_WINDOW)
        .map(|r| r.scheduled)
        .collect();
    if recent.len() < ON_DEMAND_LIMIT {
        return Ok(());
    }
    recent.sort_unstable();
    Err(OnDemandDenied::LimitReached { again_at: recent[recent.len() - ON_DEMAND_LIMIT] + ON_DEMAND_WINDOW })
}

/// The first point of the grid behind `after`.
pub fn next_on_grid(start: Timestamp, every_minutes: u32, after: Timestamp) -> Timestamp {
    if after < start {
        return start;
    }
    let step = Millis::MINUTE.times(i64::from(every_minutes.max(1)));
    let passed = (after - start).0 / step.0;
    start + step.times(passed.saturating_add(1))
}

/// When the job's next automatic run is due, if it is to have one and none is listed.
fn next_start(job: &JobFacts, now: Timestamp) -> Option<Timestamp> {
    match (job.interval, job.last_scheduled) {
        (_, None) => Some(job.start),
        (Interval::Once, Some(_)) => None,
        (Interval::EveryMinutes(minutes), Some(last)) => Some(next_on_grid(job.start, minutes, now.max(last))),
    }
}

/// Whether a run that is due is skipped. The only run of a one-time job never is: it waits.
fn is_missed(job: &JobFacts, run: &RunFacts, at_work: bool, limits: &Limits) -> bool {
    if job.interval == Interval::Once {
        return false;
    }
    let fell_into_outage = run.scheduled < limits.outage() && job.state != JobState::Pending;
    at_work || fell_into_outage
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { max_active: 2, since: Timestamp(0), late_start: Millis(300_000) };

    /// A world that obeys the plan, with everything that can happen to it.
    #[derive(Clone, Debug)]
    enum Happening {
        Wait(i64),
        Outage(i64),
        EndRun(usize),
        Demand(usize),
        Delete(usize),
    }

    struct World {
        now: Timestamp,
        limits: Limits,
        jobs: Vec<JobFacts>,
        runs: BTreeMap<RunId, RunFacts>,
        drawn: u128,
    }

    impl World {
        fn new(jobs: Vec<(i64, Interval)>) -> World {
            let jobs = jobs
                .into_iter()
                .enumerate()
                .map(|(i, (start, interval))| JobFacts {
                    job: JobId::from_bits(i as u128),
                    state: JobState::Pending,
                    start: Timestamp(start),
                    interval,
                    last_scheduled: None,
                })
                .collect();
            World { now: Timestamp(0), limits: LIMITS, jobs, runs: BTreeMap::new(), drawn: 0 }
        }

        fn insert(&mut self, job: &JobId, kind: RunType, at: Timestamp) {
            self.drawn += 1;
            let run = RunId::from_bits(self.drawn);
            let facts = RunFacts { run: run.clone(), job: job.clone(), state: RunState::Pending, kind, scheduled: at };
            self.runs.insert(run, facts);
        }

        fn open_runs(&self) -> Vec<RunFacts> {
            let open = |r: &&RunFacts| r.state == RunState::Pending || r.state.is_at_work();
            self.runs.values().filter(open).cloned().collect()
        }

        fn settle(&mut self) -> Vec<Decision> {
            let mut all = Vec::new();
            for round in 0.. {
                let decisions = plan(&self.jobs, &self.open_runs(), &self.limits, self.now);
                if decisions.is_empty() {
                    return all;
                }
                assert!(round < 3, "the plan does not come to rest: {decisions:?}");
                for decision in decisions {
                    self.obey(&decision);
                    all.push(decision);
                }
            }
            all
        }

        fn obey(&mut self, decision: &Decision) {
            match decision {
                Decision::Start { run } => {
                    let facts = self.runs.get_mut(run).unwrap();
                    assert_eq!(facts.state, RunState::Pending);
                    assert!(facts.scheduled <= self.now, "started early");
                    facts.state = RunState::Active;
                    let job = self.jobs.iter_mut().find(|j| j.job == facts.job).unwrap();
                    assert!(job.state.is_running());
                    job.state = JobState::Active;
                }
                Decision::Miss { run } => self.runs.get_mut(run).unwrap().state = RunState::Missed,
                Decision::Schedule { job, at } => {
                    let facts = self.jobs.iter_mut().find(|j| j.job == *job).unwrap();
                    assert!(facts.last_scheduled.is_none_or(|last| last < *at), "the same grid point twice");
                    facts.last_scheduled = Some(*at);
                    self.insert(job, RunType::Automatic, *at);
                }
            }
        }

        fn happen(&mut self, happening: Happening) {
            match happening {
                Happening::Wait(ms) => self.now = self.now + Millis(ms),
                Happening::Outage(ms) => {
                    self.now = self.now + Millis(ms);
                    self.limits.since = self.now;
                }
                Happening::EndRun(i) => {
                    let active: Vec<RunId> =
                        self.runs.values().filter(|r| r.state.is_at_work()).map(|r| r.run.clone()).collect();
                    if !active.is_empty() {
                        let run = self.runs.get_mut(&active[i % active.len()]).unwrap();
                        run.state = RunState::Completed;
                        let job = self.jobs.iter_mut().find(|j| j.job == run.job).unwrap();
                        if job.interval == Interval::Once && run.kind == RunType::Automatic {
                            job.state = JobState::Completed;
                        }
                    }
                }
                Happening::Demand(i) => {
                    let job = self.jobs[i % self.jobs.len()].clone();
                    let own: Vec<RunFacts> = self.runs.values().filter(|r| r.job == job.job).cloned().collect();
                    if may_run_on_demand(job.state, &own, self.now).is_ok() {
                        self.insert(&job.job, RunType::OnDemand, self.now);
                    }
                }
                Happening::Delete(i) => {
                    let n = self.jobs.len();
                    let job = &mut self.jobs[i % n];
                    job.state = JobState::Deleted;
                    for run in self.runs.values_mut().filter(|r| r.job == job.job) {
                        if run.state == RunState::Pending || run.state.is_at_work() {
                            run.state = RunState::Deleted;
                        }
                    }
                }
            }
        }

        fn check(&self) -> Result<(), TestCaseError> {
            let active: Vec<&RunFacts> = self.runs.values().filter(|r| r.state.is_at_work()).collect();
            prop_assert!(active.len() <= self.limits.max_active);
            for job in &self.jobs {
                let own: Vec<&RunFacts> = self.runs.values().filter(|r| r.job == job.job).collect();
                prop_assert!(own.iter().filter(|r| r.state.is_at_work()).count() <= 1, "two active runs");
                let automatic = own.iter().filter(|r| r.kind == RunType::Automatic);
                prop_assert!(automatic.clone().filter(|r| r.state == RunState::Pending).count() <= 1);
                for run in automatic {
                    match job.interval {
                        Interval::Once => prop_assert_eq!(run.scheduled, job.start),
                        Interval::EveryMinutes(m) => {
                            let off = (run.scheduled - job.start).0 % (i64::from(m) * 60_000);
                            prop_assert_eq!(off, 0, "off the grid");
                        }
                    }
                }
                let mut demanded: Vec<Timestamp> =
                    own.iter().filter(|r| r.kind == RunType::OnDemand).map(|r| r.scheduled).collect();
                demanded.sort_unstable();
                for window in demanded.windows(ON_DEMAND_LIMIT + 1) {
                    prop_assert!(window[ON_DEMAND_LIMIT] - window[0] >= ON_DEMAND_WINDOW, "three on demand in a day");
                }
                let waits = own.iter().any(|r| r.kind == RunType::Automatic && r.state == RunState::Pending);
                if job.state.is_running() && matches!(job.interval, Interval::EveryMinutes(_)) {
                    prop_assert!(waits, "no run listed ahead");
                }
            }
            Ok(())
        }
    }

    fn happenings() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => (1i64..4 * 3_600_000).prop_map(Happening::Wait),
            1 => (1i64..100 * 3_600_000).prop_map(Happening::Outage),
            3 => (0usize..8).prop_map(Happening::EndRun),
            2 => (0usize..8).prop_map(Happening::Demand),
            1 => (0usize..40).prop_map(Happening::Delete),
        ]
    }

    fn intervals() -> impl Strategy<Value = Interval> {
        prop_oneof![1 => Just(Interval::Once), 4 => (1u32..=1_440).prop_map(Interval::EveryMinutes)]
    }

    proptest! {
        #[test]
        fn random_histories_keep_every_promise(
            jobs in proptest::collection::vec((0i64..7_200_000, intervals()), 1..5),
            history in proptest::collection::vec(happenings(), 1..80),
        ) {
            let mut world = World::new(jobs);
            world.settle();
            for happening in history {
                world.happen(happening);
                world.settle();
                world.check()?;
            }
        }

        #[test]
        fn the_next_grid_point_is_the_first_behind(start: i32, minutes in 1u32..2_000, after: i32) {
            let (start, after) = (Timestamp(i64::from(start)), Timestamp(i64::from(after)));
            let next = next_on_grid(start, minutes, after);
            prop_assert!(next >= start && next > after.min(next - Millis(1)));
            prop_assert_eq!((next - start).0 % (i64::from(minutes) * 60_000), 0);
            prop_assert!(next == start || next - Millis::MINUTE.times(i64::from(minutes)) <= after);
        }
    }

    fn hourly() -> World {
        let mut world = World::new(vec![(0, Interval::EveryMinutes(60))]);
        world.settle();
        world
    }

    fn states(world: &World) -> Vec<(RunState, i64)> {
        world.runs.values().map(|r| (r.state, r.scheduled.0 / 3_600_000)).collect()
    }

    #[test]
    fn a_run_due_while_another_works_is_missed_and_the_grid_stays() {
        let mut world = hourly();
        assert_eq!(states(&world), [(RunState::Active, 0), (RunState::Pending, 1)]);
        world.happen(Happening::Wait(3_600_000));
        world.settle();
        assert_eq!(states(&world), [(RunState::Active, 0), (RunState::Missed, 1), (RunState::Pending, 2)]);
    }

    #[test]
    fn what_fell_due_in_an_outage_is_missed_but_a_first_run_is_not() {
        let mut world = hourly();
        world.happen(Happening::EndRun(0));
        world.happen(Happening::Outage(5 * 3_600_000 + 1));
        world.settle();
        assert_eq!(states(&world), [(RunState::Completed, 0), (RunState::Missed, 1), (RunState::Pending, 6)]);

        let mut world = World::new(vec![(3_600_000, Interval::EveryMinutes(60))]);
        world.settle();
        world.happen(Happening::Outage(5 * 3_600_000 + 1));
        world.settle();
        assert_eq!(states(&world), [(RunState::Active, 1), (RunState::Pending, 6)]);
    }

    #[test]
    fn a_run_hardly_late_after_an_outage_starts() {
        let mut world = hourly();
        world.happen(Happening::EndRun(0));
        world.happen(Happening::Outage(3_600_000 + 200_000));
        world.settle();
        assert_eq!(states(&world), [(RunState::Completed, 0), (RunState::Active, 1), (RunState::Pending, 2)]);
    }

    #[test]
    fn a_one_time_job_waits_for_the_run_on_demand_and_then_runs() {
        let mut world = World::new(vec![(3_600_000, Interval::Once)]);
        world.settle();
        world.happen(Happening::Demand(0));
        world.settle();
        world.happen(Happening::Wait(3_600_000));
        world.settle();
        assert_eq!(states(&world), [(RunState::Pending, 1), (RunState::Active, 0)]);
        world.happen(Happening::EndRun(0));
        world.settle();
        assert_eq!(states(&world), [(RunState::Active, 1), (RunState::Completed, 0)]);
    }

    #[test]
    fn the_third_run_on_demand_is_told_when_it_may_come() {
        let day = ON_DEMAND_WINDOW;
        let demanded = |n: u128, at| RunFacts {
            run: RunId::from_bits(n),
            job: JobId::from_bits(0),
            state: RunState::Failed,
            kind: RunType::OnDemand,
            scheduled: Timestamp(at),
        };
        let runs = [demanded(1, 10), demanded(2, 20)];
        let denied = may_run_on_demand(JobState::Active, &runs, Timestamp(30)).unwrap_err();
        assert_eq!(denied, OnDemandDenied::LimitReached { again_at: Timestamp(10) + day });
        assert!(may_run_on_demand(JobState::Active, &runs, Timestamp(10) + day).is_ok());
        assert_eq!(
            may_run_on_demand(JobState::Deleting, &[], Timestamp(0)),
            Err(OnDemandDenied::NotRunning(JobState::Deleting))
        );
    }
}
