//! Jobs whose scheduled runs fail one behind the other: paused, ended, resumed.

use crate::service::*;
use crate::testing::{Act, Harness};
use godwit_model::failure::Code;
use godwit_model::id::JobId;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::time::Duration;

/// An hourly job whose runs fail while `failing` says so.
async fn failing_job(h: &Harness, service: &Service, new: impl FnOnce(NewJob) -> NewJob) -> JobId {
    let server = h.one_server(service).await;
    h.world.script("register", vec![Act::Fail(Code::SourceRefused); 100]);
    let job = NewJob { frequency_hours: Some(1), ..NewJob::new(server.as_str(), h.now()) };
    service.create_replication_job(new(job), h.now()).await.unwrap()
}

/// Lets the scheduled runs of `n` more hours fail.
async fn fail_on(h: &Harness, service: &Service, job: &JobId, n: usize) {
    let before = h.runs(service, job).await.iter().filter(|r| r.state == RunState::Failed).count();
    for failed in before + 1..=before + n {
        h.until_runs(service, job, failed, RunState::Failed).await;
        if failed < before + n {
            h.wait(Millis::HOUR, service);
        }
    }
}

#[tokio::test]
async fn the_third_failure_in_a_row_pauses_the_job() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = failing_job(&h, &service, |new| new).await;
    fail_on(&h, &service, &job, 1).await;
    let first = h.job(&service, &job).await;
    assert_eq!((first.state, first.failures), (JobState::Active, 1));
    assert!(first.status_message.unwrap().contains("2 more that fail in a row pause the job: SourceRefused"));
    h.wait(Millis::HOUR, &service);
    fail_on(&h, &service, &job, 2).await;
    h.until_job(&service, &job, JobState::PausedOnFailure).await;
    let paused = h.job(&service, &job).await;
    assert_eq!((paused.failures, paused.next_start), (3, None), "nothing is listed ahead");
    assert!(paused.status_message.unwrap().contains("the last 3 scheduled runs failed"));

    h.wait(Millis::DAY, &service);
    let refused = service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap_err();
    assert!(refused.message.contains("PAUSED_ON_FAILURE"), "{refused}");
    let again = h.runs(&service, &job).await;
    assert!(again.iter().all(|r| r.state == RunState::Failed) && again.len() == 3, "it starts nothing");
    control.shutdown().await;
}

#[tokio::test]
async fn a_resumed_job_goes_on_with_its_grid_and_counts_anew() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = failing_job(&h, &service, |new| NewJob { pause_after: Some(1), ..new }).await;
    let id = job.as_str();
    h.until_job(&service, &job, JobState::PausedOnFailure).await;
    let refused = service.resume_replication_job("sms-job-00000000", None, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReplicationJobNotFound);

    h.world.script("register", []);
    h.wait(Millis::MINUTE.times(5 * 60 + 20), &service);
    service.resume_replication_job(id, None, h.now()).await.unwrap();
    crate::testing::until("the next run", async || h.job(&service, &job).await.next_start.is_some()).await;
    let resumed = h.job(&service, &job).await;
    assert_eq!((resumed.state, resumed.failures, resumed.status_message), (JobState::Active, 0, None));
    assert_eq!(resumed.next_start, Some(resumed.seed + Millis::HOUR.times(6)), "the grid did not move");
    let refused = service.resume_replication_job(id, None, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    h.wait(Millis::MINUTE.times(40), &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_is_resumed_by_its_next_start_time_too() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = failing_job(&h, &service, |new| NewJob { pause_after: Some(1), ..new }).await;
    h.until_job(&service, &job, JobState::PausedOnFailure).await;
    h.world.script("register", []);
    let changes = JobChanges { description: Some("looked at".into()), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await.state, JobState::PausedOnFailure, "other changes do not resume it");

    let at = h.now() + Millis::MINUTE.times(7);
    let changes = JobChanges { next_start: Some(at), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    let resumed = h.job(&service, &job).await;
    assert_eq!((resumed.state, resumed.next_start, resumed.failures), (JobState::Active, Some(at), 0));
    h.wait(Millis::MINUTE.times(7), &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    assert_eq!(h.job(&service, &job).await.next_start, Some(at + Millis::HOUR));
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_that_is_not_to_be_paused_fails_instead() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let no_pause = |new| NewJob { pause_on_failure: Some(false), pause_after: Some(2), ..new };
    let job = failing_job(&h, &service, no_pause).await;
    fail_on(&h, &service, &job, 2).await;
    h.until_job(&service, &job, JobState::Failed).await;
    assert!(h.world.nothing_at_the_source());
    assert!(h.job(&service, &job).await.status_message.unwrap().contains("the last 2 scheduled runs failed"));
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_is_deleted_while_its_failure_is_cleaned_up() {
    let mut h = Harness::new();
    h.options.settle = Duration::from_millis(300);
    let (control, service) = h.serve().await;
    let no_pause = |new| NewJob { pause_on_failure: Some(false), pause_after: Some(1), ..new };
    let job = failing_job(&h, &service, no_pause).await;
    // The run's own end goes through, that of the job does not come back.
    h.world.script("settle", [Act::Damage, Act::Hang]);
    fail_on(&h, &service, &job, 1).await;
    h.until_job(&service, &job, JobState::Failing).await;
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await.state, JobState::Deleting);
    h.until_job(&service, &job, JobState::Deleted).await;
    assert!(h.world.nothing_at_the_source());
    control.shutdown().await;
}

#[tokio::test]
async fn success_and_runs_on_demand_keep_a_job_from_being_paused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = failing_job(&h, &service, |new| NewJob { pause_after: Some(2), ..new }).await;
    fail_on(&h, &service, &job, 1).await;
    service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap();
    h.until_runs(&service, &job, 2, RunState::Failed).await;
    assert_eq!((h.job(&service, &job).await.failures, h.job(&service, &job).await.state), (1, JobState::Active));

    h.world.script("register", []);
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    assert_eq!(h.job(&service, &job).await.failures, 0);
    control.shutdown().await;
}

#[tokio::test]
async fn a_pause_is_not_offered_to_one_time_jobs() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let once = || NewJob { run_once: Some(true), ..NewJob::new(server.as_str(), h.now()) };
    for new in [NewJob { pause_on_failure: Some(true), ..once() }, NewJob { pause_after: Some(3), ..once() }] {
        let refused = service.create_replication_job(new, h.now()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter);
        assert!(refused.message.contains("one-time"), "{refused}");
    }
    let new = NewJob { pause_on_failure: Some(false), ..once() };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    assert!(!h.job(&service, &job).await.pause_on_failure);
    control.shutdown().await;
}
