//! Schedules, runs on demand, changes and deletions of jobs.

use crate::replicator::SettleEnd;
use crate::service::*;
use crate::testing::{Act, Harness, until};
use godwit_model::job::JobState;
use godwit_model::run::{RunState, RunType};
use godwit_model::time::Millis;
use std::time::Duration;

#[tokio::test]
async fn a_run_that_is_due_while_another_works_is_missed() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("send", [Act::Hang]);
    let job = h.hourly(&service).await;
    h.until_calls("send", 1).await;
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Missed).await;
    let runs = h.runs(&service, &job).await;
    let states: Vec<_> = runs.iter().map(|r| r.state).collect();
    assert_eq!(states, [RunState::Active, RunState::Missed, RunState::Pending]);
    assert_eq!(runs[2].scheduled_at, runs[0].scheduled_at + Millis::HOUR.times(2), "the grid stays");
    assert!(runs[1].status_message.is_some());
    control.shutdown().await;
}

#[tokio::test]
async fn what_fell_due_in_an_outage_is_missed_and_the_grid_stays() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let first = h.runs(&service, &job).await.remove(0);
    control.shutdown().await;
    h.wait(Millis::MINUTE.times(5 * 60 + 30), &service);

    let (control, service) = h.serve().await;
    h.until_runs(&service, &job, 1, RunState::Missed).await;
    until("the next run", async || h.job(&service, &job).await.next_start.is_some()).await;
    assert_eq!(h.job(&service, &job).await.next_start, Some(first.scheduled_at + Millis::HOUR.times(6)));
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn two_runs_on_demand_a_day_and_none_while_one_works() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.hourly(&service).await;
    let id = job.as_str();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let next = h.job(&service, &job).await.next_start;
    for n in 2..=3 {
        let run = service.start_on_demand_replication_run(id, Some("extra".into()), h.now()).await.unwrap();
        h.until_runs(&service, &job, n, RunState::Completed).await;
        let run = h.run(&service, &run).await;
        assert_eq!((run.kind, run.description.as_deref()), (RunType::OnDemand, Some("extra")));
    }
    assert_eq!(h.job(&service, &job).await.next_start, next, "the schedule does not move");
    let refused = service.start_on_demand_replication_run(id, None, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReplicationRunLimitExceeded);

    h.world.script("send", [Act::Hang]);
    h.world.look().version += 1;
    h.wait(Millis::DAY, &service);
    h.until_calls("send", 7).await;
    let refused = service.start_on_demand_replication_run(id, None, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    control.shutdown().await;
}

#[tokio::test]
async fn deleting_a_job_stops_its_transfer_and_leaves_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("send", [Act::LosePoint, Act::Hang]);
    let job = h.hourly(&service).await;
    h.until_calls("send", 2).await;
    assert_eq!(h.world.loose_packs(), 1);
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    service.delete_replication_job(job.as_str(), h.now()).await.ok();
    h.until_job(&service, &job, JobState::Deleted).await;
    let states: Vec<_> = h.runs(&service, &job).await.iter().map(|r| r.state).collect();
    assert_eq!(states, [RunState::Deleted, RunState::Deleted]);
    assert_eq!(h.world.loose_packs(), 0, "staged data is discarded");
    assert_eq!(h.world.look().settled.last().map(|(_, end)| *end), Some(SettleEnd::Forget));
    assert!(h.world.nothing_at_the_source());
    let again = service.delete_replication_job(job.as_str(), h.now()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::ReplicationJobNotFound);

    let server = h.import(&service).await.remove(0);
    assert!(server.job_terminated);
    let next = h.once_of(&service, &server.id).await;
    h.until_job(&service, &next, JobState::Completed).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_deleted_job_keeps_its_images_and_forgets_the_source() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    assert_eq!(h.world.look().trackers.len(), 1);
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    assert_eq!(h.images(&service).await.len(), 1);
    assert_eq!(h.world.look().images.len(), 1);
    assert!(h.world.look().trackers.is_empty());
    let all = service.get_replication_jobs(None, &Page::default()).await.unwrap().items;
    assert_eq!(all.len(), 1, "deleted jobs are still listed");
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_is_deleted_even_if_its_source_is_gone() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    h.world.script("settle", vec![Act::Fail(godwit_model::failure::Code::SourceUnreachable); 9]);
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    until("the sweep", async || h.world.look().trackers.is_empty()).await;
    control.shutdown().await;
}

/// A VM manager that was restarted may have kept an old tracker and lost the point of the run that would have ended it.
#[tokio::test]
async fn what_a_source_kept_behind_our_back_is_swept() {
    let mut h = Harness::new();
    h.options.sweep_sources = Duration::from_millis(100);
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let old = h.runs(&service, &job).await.remove(0).id;
    h.world.look().trackers.insert("vm-1".to_owned(), "sms-run-0badcafe".parse().unwrap());
    h.world.look().trackers.insert("vm-2".to_owned(), old.clone());
    until("the sweep", async || !h.world.look().trackers.contains_key("vm-1")).await;
    assert_eq!(h.world.look().trackers.get("vm-2"), Some(&old), "what a baseline needs stays");
    control.shutdown().await;
}

#[tokio::test]
async fn changes_move_the_schedule() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.hourly(&service).await;
    let id = job.as_str();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let seed = h.job(&service, &job).await.seed;

    let changes = JobChanges { frequency_hours: Some(6), description: Some("new".into()), ..JobChanges::default() };
    service.update_replication_job(id, changes, h.now()).await.unwrap();
    let changed = h.job(&service, &job).await;
    assert_eq!((changed.frequency_hours(), changed.description.as_deref()), (Some(6), Some("new")));
    assert_eq!(changed.next_start, Some(seed + Millis::HOUR.times(6)));

    let at = h.now() + Millis::MINUTE.times(10);
    let changes = JobChanges { next_start: Some(at), ..JobChanges::default() };
    service.update_replication_job(id, changes, h.now()).await.unwrap();
    let moved = h.job(&service, &job).await;
    assert_eq!((moved.next_start, moved.seed, moved.description.as_deref()), (Some(at), seed, Some("new")));
    let changes = JobChanges { description: Some(String::new()), keep_images: Some(0), ..JobChanges::default() };
    service.update_replication_job(id, changes, h.now()).await.unwrap();
    let cleared = h.job(&service, &job).await;
    assert_eq!((cleared.next_start, cleared.description, cleared.keep_images), (Some(at), None, Some(0)));
    h.wait(Millis::MINUTE.times(10), &service);
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    assert_eq!(h.job(&service, &job).await.next_start, Some(at + Millis::HOUR.times(6)), "the grid moved along");
    assert_eq!(h.images(&service).await.len(), 2, "0 keeps all");

    service.delete_replication_job(id, h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    let changes = JobChanges { frequency_hours: Some(6), ..JobChanges::default() };
    let refused = service.update_replication_job(id, changes, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    assert!(refused.message.contains("DELETED"), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn no_more_runs_work_than_there_are_slots() {
    let mut h = Harness::new();
    h.options.max_active_runs = 1;
    h.world.look().servers.push(crate::testing::server("vm-2", "two"));
    h.world.script("send", [Act::Hang]);
    let (control, service) = h.serve().await;
    let mut jobs = Vec::new();
    for server in h.catalog(&service).await {
        jobs.push(h.once_of(&service, &server.id).await);
        h.until_calls("send", 1).await;
    }
    assert_eq!(h.job(&service, &jobs[1]).await.state, JobState::Pending);
    service.delete_replication_job(jobs[0].as_str(), h.now()).await.unwrap();
    h.until_job(&service, &jobs[1], JobState::Completed).await;
    control.shutdown().await;
}
