//! What happens when something goes wrong.

use crate::replicator::SettleEnd;
use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS, until};
use godwit_model::connector::ConnectorStatus;
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::run::{RunState, Stage};
use godwit_model::time::Millis;
use std::time::Duration;

#[tokio::test]
async fn passing_failures_are_waited_out() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    for call in ["discover", "take_point", "transfer", "send", "verify", "register", "settle"] {
        h.world.script(call, [Act::Fail(Code::SourceRead)]);
    }
    let job = h.once_of(&service, &server).await;
    h.until_job(&service, &job, JobState::Completed).await;
    let run = h.runs(&service, &job).await.remove(0);
    assert!(run.notes.is_empty(), "{:?}", run.notes);
    assert_eq!(run.volumes[0].figures.bytes_resent, PACK, "the pack whose sending failed was sent again");
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn a_full_store_fails_the_run_with_its_cause_and_the_service_goes_on() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("send", vec![Act::Fail(Code::StoreFull); 3]);
    let job = h.hourly(&service).await;
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    let failed = h.runs(&service, &job).await.remove(0);
    assert_eq!(failed.failure.as_ref().map(|f| f.code), Some(Code::StoreFull));
    assert_eq!((failed.stage, &failed.image), (Some(Stage::Transferring), &None));
    assert!(failed.status_message.unwrap().contains("free space"), "the failure says what to do");
    let now = h.job(&service, &job).await;
    assert_eq!((now.state, now.next_start), (JobState::Active, Some(failed.scheduled_at + Millis::HOUR)));
    assert!(now.status_message.unwrap().contains("StoreFull"));
    assert_eq!(h.world.look().settled, [(failed.id.clone(), SettleEnd::Abandoned)]);
    assert!(h.world.look().points.is_empty());

    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    assert_eq!(h.job(&service, &job).await.status_message, None);
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_failed_run_staged_is_not_sent_again_by_the_next() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.world.script("verify", [Act::Fail(Code::SourceRefused)]);
    let job = h.hourly_of(&service, &server).await;
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    assert!(h.world.look().snapshots.is_empty(), "unfinished snapshots are removed");
    assert_eq!(h.world.loose_packs(), (2 * PACKS) as usize, "staged packs wait for the next run");

    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let run = h.runs(&service, &job).await.remove(1);
    assert_eq!(run.volumes.iter().map(|v| v.figures.bytes_sent).sum::<u64>(), 0);
    assert_eq!(h.world.calls("send"), (2 * PACKS) as usize);
    control.shutdown().await;
}

#[tokio::test]
async fn a_one_time_job_fails_with_its_run_and_leaves_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("verify", [Act::Damage]);
    let job = h.once(&service).await;
    h.until_job(&service, &job, JobState::Failed).await;
    let run = h.runs(&service, &job).await.remove(0);
    assert_eq!((run.state, run.failure.unwrap().code), (RunState::Failed, Code::VerifyMismatch));
    assert!(h.images(&service).await.is_empty());
    assert!(h.world.nothing_at_the_source());
    assert!(h.world.look().snapshots.is_empty() && h.world.look().images.is_empty());
    let ends: Vec<_> = h.world.look().settled.iter().map(|(_, end)| *end).collect();
    assert_eq!(ends, [SettleEnd::Abandoned, SettleEnd::Forget]);
    assert_eq!(h.world.loose_packs(), 0, "staged data is discarded");
    let server = h.servers(&service).await.remove(0);
    assert!(server.job_terminated && server.job == Some(job));
    control.shutdown().await;
}

#[tokio::test]
async fn a_lost_point_in_time_is_taken_again_for_all_volumes() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    // The second volume loses the point after the first was committed.
    h.world.script("transfer", [Act::Damage, Act::LosePoint]);
    let job = h.once_of(&service, &server).await;
    h.until_job(&service, &job, JobState::Completed).await;
    let run = h.runs(&service, &job).await.remove(0);
    assert_eq!(h.world.calls("take_point"), 2);
    assert!(run.notes[0].contains("the point in time was lost"), "{:?}", run.notes);
    assert_eq!(run.point.as_deref(), Some("point-2"));
    assert_eq!(h.world.look().snapshots.len(), 2, "snapshots of the lost point are removed");
    assert_eq!(h.world.calls("send"), (2 * PACKS) as usize, "what is the same is not sent again");
    control.shutdown().await;
}

#[tokio::test]
async fn what_took_effect_though_it_failed_is_repeated_in_every_stage() {
    for call in ["take_point", "transfer", "verify", "register", "settle"] {
        let h = Harness::new();
        let (control, service) = h.serve().await;
        h.world.script(call, [Act::FailBehind(Code::SourceUnreachable)]);
        let job = h.once(&service).await;
        h.until_job(&service, &job, JobState::Completed).await;
        assert!(h.world.calls(call) >= 2, "{call}");
        assert_eq!(h.images(&service).await.len(), 1, "{call}");
        {
            let world = h.world.look();
            assert_eq!((world.images.len(), world.snapshots.len()), (1, 2), "{call}");
            assert!(world.points.is_empty(), "{call}: left at the source");
        }
        assert_eq!((h.world.calls("send"), h.world.loose_packs()), (2 * PACKS as usize, 0), "{call}: sent twice");
        control.shutdown().await;
    }
}

#[tokio::test]
async fn a_point_that_is_lost_again_and_again_fails_the_run() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("transfer", vec![Act::LosePoint; 9]);
    let job = h.once(&service).await;
    h.until_job(&service, &job, JobState::Failed).await;
    let run = h.runs(&service, &job).await.remove(0);
    assert_eq!(run.failure.unwrap().code, Code::PointInTimeLost);
    control.shutdown().await;
}

#[tokio::test]
async fn what_hangs_reaches_its_bound() {
    for (call, stage) in [
        ("discover", Stage::Validating),
        ("take_point", Stage::Snapshotting),
        ("send", Stage::Transferring),
        ("verify", Stage::Verifying),
        ("register", Stage::Registering),
    ] {
        let mut h = Harness::new();
        let bound = Duration::from_millis(60);
        h.options.no_progress = bound;
        h.options.stop = Duration::from_millis(20);
        let (control, service) = h.serve().await;
        let server = h.one_server(&service).await;
        control.shutdown().await;
        h.options.discover = bound;
        h.options.take_point = bound;
        h.options.register = bound;
        let (control, service) = h.serve().await;
        h.world.script(call, vec![Act::Hang; 3]);
        let job = h.once_of(&service, &server).await;
        h.until_job(&service, &job, JobState::Failed).await;
        let run = h.runs(&service, &job).await.remove(0);
        assert_eq!((run.failure.unwrap().code, run.stage), (Code::TimedOut, Some(stage)), "{call}");
        control.shutdown().await;
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_cleaned_is_noted_and_swept_later() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.until_calls("sweep", 1).await;
    h.world.script("settle", vec![Act::Fail(Code::SourceUnreachable); 2]);
    let job = h.hourly_of(&service, &server).await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let runs = h.runs(&service, &job).await;
    let run = runs.iter().find(|run| run.state == RunState::Completed).unwrap();
    assert!(run.notes[0].contains("the sweep will"), "{:?}", run.notes);
    // Though the run is the next one's baseline, and though the sweep was asked for while it was at work.
    until("the sweep", async || h.world.look().points.is_empty()).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_server_that_is_gone_fails_the_run_at_once() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.world.look().servers.clear();
    let job = h.once_of(&service, &server).await;
    h.until_job(&service, &job, JobState::Failed).await;
    assert_eq!(h.runs(&service, &job).await.remove(0).failure.unwrap().code, Code::ServerGone);
    assert_eq!(h.world.calls("take_point"), 0);
    control.shutdown().await;
}

#[tokio::test]
async fn heartbeats_tell_the_health_of_a_connector() {
    let mut h = Harness::new();
    h.options.heartbeat = Duration::from_millis(10);
    let (control, service) = h.serve().await;
    h.one_server(&service).await;
    let status = async || h.connector(&service).await;
    h.world.look().manager = "another".into();
    until("an unhealthy connector", async || status().await.status == ConnectorStatus::Unhealthy).await;
    assert!(status().await.status_reason.unwrap().contains("another VM manager answers"));
    h.world.look().manager = "manager-1".into();
    until("a healthy connector", async || status().await.status == ConnectorStatus::Healthy).await;
    assert_eq!(status().await.status_reason, None);
    control.shutdown().await;
}

#[tokio::test]
async fn an_import_that_nobody_answers_leaves_the_catalog_as_it_was() {
    use godwit_model::catalog::CatalogStatus;
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let before = h.catalog(&service).await;
    h.world.script("discover", [Act::Fail(Code::SourceUnreachable)]);
    let after = h.import(&service).await;
    assert_eq!(before, after);
    let catalog = service.get_servers(None, &Page::default()).await.unwrap();
    assert_eq!(catalog.status, CatalogStatus::Available);
    control.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_under_the_state_itself_loses_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let start = h.now() + Millis::HOUR;
    let new = NewJob { run_once: Some(true), ..NewJob::new(server.as_str(), start) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    // Longer than what is free in the database's pages. SQLite ends the transaction by itself then, and the connection
    // must not be used again as if it were still open.
    h.world.look().point_notes = vec!["a long note ".repeat(4_000)];
    service.store().limit_growth().await;
    h.wait(Millis::HOUR, &service);
    h.until_calls("take_point", 2).await;
    let refused = service.start_image_verification("ami-00000000000000000", h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidParameter, "the service goes on answering");
    h.until_job(&service, &job, JobState::Completed).await;
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}
