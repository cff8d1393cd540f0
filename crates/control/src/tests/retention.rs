//! What has done its work is kept for as long as it is configured, and not longer.

use crate::service::*;
use crate::testing::{Act, Harness, server, until};
use godwit_model::catalog::CatalogStatus;
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::time::Duration;

#[tokio::test]
async fn a_deleted_job_is_forgotten_and_its_images_stay() {
    let mut h = Harness::new();
    h.options.retention.deleted_jobs = Some(Millis::DAY);
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    let jobs = async || service.get_replication_jobs(None, &Page::default()).await.unwrap().items.len();
    h.wait(Millis::HOUR.times(23), &service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(jobs().await, 1, "it is still listed");
    h.wait(Millis::HOUR, &service);
    until("the end of its time", async || jobs().await == 0).await;
    assert_eq!(h.images(&service).await.len(), 1);
    let runs = service.describe_replication_runs(&RunsFilter::default(), &Page::default()).await.unwrap();
    assert!(runs.items.is_empty());
    assert_eq!(h.servers(&service).await[0].job, None);
    control.shutdown().await;
}

#[tokio::test]
async fn a_paused_job_stays_unless_it_is_configured_otherwise() {
    for (kept, end) in [(None, JobState::PausedOnFailure), (Some(Millis::DAY.times(4)), JobState::Deleted)] {
        let mut h = Harness::new();
        h.options.retention.paused_jobs = kept;
        let (control, service) = h.serve().await;
        let server = h.one_server(&service).await;
        h.world.script("register", vec![Act::Fail(Code::SourceRefused); 9]);
        let new = NewJob { frequency_hours: Some(1), pause_after: Some(1), ..NewJob::new(server.as_str(), h.now()) };
        let job = service.create_replication_job(new, h.now()).await.unwrap();
        h.until_job(&service, &job, JobState::PausedOnFailure).await;
        h.wait(Millis::DAY.times(4), &service);
        tokio::time::sleep(Duration::from_millis(50)).await;
        h.until_job(&service, &job, end).await;
        control.shutdown().await;
    }
}

#[tokio::test]
async fn a_catalog_that_is_too_old_expires_and_an_import_brings_it_back() {
    let mut h = Harness::new();
    h.options.retention.catalog = Some(Millis::DAY);
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let catalog = async || service.get_servers(None, &Page::default()).await.unwrap();
    h.wait(Millis(Millis::DAY.0 - 1), &service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(catalog().await.status, CatalogStatus::Available);
    h.wait(Millis(1), &service);
    until("the expiry", async || catalog().await.status == CatalogStatus::Expired).await;
    assert!(catalog().await.servers.items.is_empty());
    let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.as_str(), h.now()) };
    let refused = service.create_replication_job(new, h.now()).await.unwrap_err();
    assert!(refused.message.contains("import the server catalog"), "{refused}");
    assert_eq!(h.import(&service).await[0].id, server, "the same id");
    control.shutdown().await;
}

#[tokio::test]
async fn a_server_that_vanished_is_marked_and_comes_back() {
    let h = Harness::new();
    h.world.look().servers.push(server("vm-2", "two"));
    let (control, service) = h.serve().await;
    assert_eq!(h.catalog(&service).await.len(), 2);
    let gone = h.world.look().servers.pop().unwrap();
    h.wait(Millis::HOUR, &service);
    let listed = h.import(&service).await;
    assert_eq!(listed.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["one"]);
    let described = async || {
        let all = service.describe_servers(None, &Page::default()).await.unwrap().servers.items;
        all.into_iter().find(|s| s.name == "two").expect("it is not forgotten")
    };
    let (marked, since) = (described().await, h.now());
    assert_eq!(marked.missing_since, Some(since));
    h.wait(Millis::HOUR, &service);
    h.import(&service).await;
    assert_eq!(described().await.missing_since, Some(since), "since it was missed first");
    h.world.look().servers.push(gone);
    let listed = h.import(&service).await;
    assert!(listed.iter().any(|s| s.id == marked.id && s.missing_since.is_none()), "the same id");
    control.shutdown().await;
}

#[tokio::test]
async fn a_machine_that_slept_misses_what_was_due_and_keeps_the_grid() {
    let mut h = Harness::new();
    h.options.longest_gap = Duration::from_secs(600);
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let seed = h.job(&service, &job).await.seed;
    h.wait(Millis::MINUTE.times(150), &service);
    h.until_runs(&service, &job, 1, RunState::Missed).await;
    until("the next run", async || h.job(&service, &job).await.next_start.is_some()).await;
    assert_eq!(h.job(&service, &job).await.next_start, Some(seed + Millis::HOUR.times(3)));
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}
