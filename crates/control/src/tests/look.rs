//! What the driver reads before it decides: only what can matter, and nothing less.

use crate::store::Store;
use crate::testing::Harness;
use godwit_model::id::{JobId, RunId};
use godwit_model::job::{Interval, JobState};
use godwit_model::run::{RunState, RunType};
use godwit_model::schedule::{JobFacts, Limits, RunFacts, next_due, plan};
use godwit_model::time::{Millis, Timestamp};
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A job, and its runs as state, kind and when each was due, in minutes from now.
type Scene = Vec<(JobState, Option<u32>, Vec<(RunState, RunType, i64)>)>;

fn scene() -> impl Strategy<Value = Scene> {
    let job_states = [JobState::Pending, JobState::Active, JobState::PausedOnFailure, JobState::Deleting];
    let run_states = [
        RunState::Pending,
        RunState::Active,
        RunState::Deleting,
        RunState::Missed,
        RunState::Completed,
        RunState::Failed,
    ];
    let kinds = [RunType::Automatic, RunType::OnDemand];
    let run = (prop::sample::select(run_states.to_vec()), prop::sample::select(kinds.to_vec()), -20i64..20);
    let job_state = prop::sample::select(job_states.to_vec()).boxed();
    let run = run.boxed();
    prop::collection::vec((job_state, prop::option::of(1u32..90), prop::collection::vec(run, 0..5)), 0..6)
}

fn id(n: usize) -> u128 {
    n as u128 + 1
}

/// Everything that the database would allow: at most one run at work and one listed ahead for each job.
fn everything(scene: &Scene) -> (Vec<JobFacts>, Vec<RunFacts>) {
    let (mut jobs, mut runs) = (Vec::new(), Vec::new());
    for (n, (state, minutes, own)) in scene.iter().enumerate() {
        let job = JobId::from_bits(id(n));
        let mut kept: Vec<RunFacts> = Vec::new();
        for (m, (state, kind, due)) in own.iter().enumerate() {
            let at_work = |state: RunState| matches!(state, RunState::Active | RunState::Deleting);
            let listed = |state, kind| state == RunState::Pending && kind == RunType::Automatic;
            let taken =
                |r: &RunFacts| at_work(*state) && at_work(r.state) || listed(*state, *kind) && listed(r.state, r.kind);
            if !kept.iter().any(taken) {
                let scheduled = NOW + Millis::MINUTE.times(*due);
                let run = RunId::from_bits(id(n * 100 + m));
                kept.push(RunFacts { run, job: job.clone(), state: *state, kind: *kind, scheduled });
            }
        }
        let last_scheduled = kept.iter().filter(|r| r.kind == RunType::Automatic).map(|r| r.scheduled).max();
        let interval = minutes.map_or(Interval::Once, Interval::EveryMinutes);
        let start = NOW - Millis::HOUR;
        jobs.push(JobFacts { job, state: *state, start, interval, last_scheduled });
        runs.extend(kept);
    }
    (jobs, runs)
}

/// Writes it all to an empty database.
async fn written(h: &Harness, jobs: &[JobFacts], runs: &[RunFacts]) -> Store {
    let store = h.store().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(h.path());
    let mut connection = options.connect().await.unwrap();
    let mut sql = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        let server = format!("s-{:08x}", id(n));
        sql.push(format!(
            "INSERT INTO server VALUES ('{server}', 'm', 'vm{n}', NULL, 'm', 'n', '/n', '[]', 1, 1, 5, NULL, NULL)"
        ));
        let minutes = match job.interval {
            Interval::Once => "NULL".to_owned(),
            Interval::EveryMinutes(minutes) => minutes.to_string(),
        };
        sql.push(format!(
            "INSERT INTO job (job_id, server_id, state, start_at, interval_minutes, role_name, created_at, seed_at, fence) \
             VALUES ('{}', '{server}', '{}', {}, {minutes}, 'sms', 5, 5, 0)",
            job.job,
            job.state.as_str(),
            job.start.0
        ));
    }
    for run in runs {
        sql.push(format!(
            "INSERT INTO run (run_id, job_id, state, abandoning, kind, scheduled_at, notes, fence) \
             VALUES ('{}', '{}', '{}', 0, '{}', {}, '[]', 0)",
            run.run,
            run.job,
            run.state.as_str(),
            run.kind.as_str(),
            run.scheduled.0
        ));
    }
    for statement in sql {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    connection.close().await.unwrap();
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_plan_from_what_is_read_is_the_plan_from_everything(scene in scene(), max_active in 0usize..4) {
        let (jobs, runs) = everything(&scene);
        let limits = Limits { max_active, since: NOW - Millis::MINUTE.times(10), late_start: Millis::MINUTE.times(5) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (decisions, next) = runtime.block_on(async {
            let h = Harness::new();
            let store = written(&h, &jobs, &runs).await;
            let looked = crate::look(&store, &limits, NOW).await.unwrap();
            store.close().await;
            looked
        });
        let live: Vec<_> = jobs.into_iter().filter(|j| j.state.is_running()).collect();
        let open = [RunState::Pending, RunState::Active, RunState::Deleting];
        let (running, scheduled): (Vec<_>, Vec<_>) = (live, runs.into_iter().filter(|r| open.contains(&r.state)).collect());
        let wanted = plan(&running, &scheduled, &limits, NOW);
        // In which order jobs are looked at is left to the database.
        let sorted = |decisions: Vec<_>| {
            let mut all: Vec<String> = decisions.iter().map(|d| format!("{d:?}")).collect();
            all.sort();
            all
        };
        prop_assert_eq!(sorted(decisions), sorted(wanted));
        // Runs on demand are never waited for: they start when nothing of their job is at work.
        let listed: Vec<_> = scheduled.into_iter().filter(|r| r.kind == RunType::Automatic).collect();
        prop_assert_eq!(next, next_due(&listed, NOW));
    }
}
