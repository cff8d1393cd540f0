//! What proved damaged is trusted by nobody, and what is kept is the newest.

use crate::service::*;
use crate::testing::{Act, Harness, PACKS, until};
use godwit_model::connector::ConnectorConfig;
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

#[tokio::test]
async fn what_could_not_be_read_is_not_built_on() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let image = h.images(&service).await.remove(0).id;
    let read = Extent { offset: 0, length: 10 };
    for (code, completed, repairs) in [(Code::StoreUnavailable, 2, vec![]), (Code::StoreCorrupt, 3, vec![read])] {
        h.world.script("read", [Act::Fail(code)]);
        service.read_image(image.as_str(), 0, 0, 10).await.unwrap_err();
        h.world.look().ordered_repairs.clear();
        h.wait(Millis::HOUR, &service);
        h.until_runs(&service, &job, completed, RunState::Completed).await;
        assert_eq!(h.world.look().ordered_repairs[0], ("boot".to_owned(), repairs), "{code:?}");
        assert_eq!(h.world.look().ordered_baselines.pop().unwrap().len(), 2, "{code:?}");
    }
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_run_sent_that_proved_damaged_is_sent_again() {
    let mut h = Harness::new();
    h.options.heartbeat = Duration::from_millis(30);
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.world.script("verify", [Act::Damage]);
    // Not removed at the first attempt.
    h.world.script("discard_staged", [Act::Fail(Code::StoreUnavailable)]);
    let job = h.hourly_of(&service, &server).await;
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    assert_eq!(h.world.calls("send"), (4 * PACKS) as usize);
    until("the removal", async || h.world.loose_packs() == 0).await;
    control.shutdown().await;
}

#[tokio::test]
async fn staged_data_of_an_ended_job_is_removed_even_if_that_fails_at_first() {
    let mut h = Harness::new();
    h.options.heartbeat = Duration::from_millis(30);
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.world.script("verify", [Act::Fail(Code::SourceRefused)]);
    h.world.script("discard_staged", vec![Act::Fail(Code::StoreUnavailable); 3]);
    let job = h.hourly_of(&service, &server).await;
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    assert_eq!(h.world.loose_packs(), (2 * PACKS) as usize);
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    until("the removal", async || h.world.loose_packs() == 0).await;
    assert_eq!(h.world.calls("discard_staged"), 4);
    control.shutdown().await;
}

#[tokio::test]
async fn the_newest_image_is_kept_though_the_clock_goes_backwards() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let new = NewJob { frequency_hours: Some(1), keep_images: Some(1), ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    h.wait(Millis(-7 * Millis::HOUR.0), &service);
    let second = service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap();
    until("the second run", async || h.run(&service, &second).await.state == RunState::Completed).await;
    let kept: Vec<_> = h.images(&service).await.into_iter().map(|image| image.run).collect();
    assert_eq!(kept, [second]);
    assert_eq!(h.job(&service, &job).await.latest_image, Some(h.images(&service).await[0].id.clone()));
    control.shutdown().await;
}

#[tokio::test]
async fn a_machine_is_listed_through_one_connector_only() {
    let h = Harness::new();
    let uuid = "6f1c2b1e-7a55-4a30-9d8e-0f8b8f3c2d11";
    h.world.look().servers[0].vm_id = uuid.into();
    let mut named = h.world.look().servers[0].clone();
    named.vm_id = "name-guest".into();
    h.world.look().servers.push(named);
    let (control, service) = h.serve().await;
    let first = h.catalog(&service).await;
    let config = ConnectorConfig::Qmp { socket: "/run/other".into() };
    h.world.look().manager_at.insert(config.clone(), "manager-2".into());
    let second = NewConnector { name: "there".into(), config };
    service.associate_connector(second, h.now()).await.unwrap();
    let both = h.import(&service).await;
    let listed = |vm_id: &str| both.iter().filter(|server| server.address.vm_id == vm_id).count();
    assert_eq!((listed(uuid), listed("name-guest")), (1, 2), "names may be given twice");
    assert!(first.iter().all(|server| both.iter().any(|other| other.id == server.id)), "who has it keeps it");

    let connectors = service.describe_connectors(None, &Page::default()).await.unwrap().items;
    let here = connectors.iter().find(|connector| connector.name == "here").unwrap();
    service.disassociate_connector(here.id.as_str(), h.now()).await.unwrap();
    let left = h.import(&service).await;
    assert_eq!(left.iter().map(|server| server.address.manager_id.as_str()).collect::<Vec<_>>(), ["manager-2"; 2]);
    control.shutdown().await;
}

#[tokio::test]
async fn packs_of_a_job_that_ends_meanwhile_stay_as_long_as_what_names_them() {
    let mut h = Harness::new();
    h.options.heartbeat = Duration::from_millis(30);
    h.world.look().servers.push(crate::testing::server("vm-2", "two"));
    let (control, service) = h.serve().await;
    let servers = h.catalog(&service).await;
    let told = Arc::new(Notify::new());
    let down = || Act::Fail(Code::StoreUnavailable);
    // Twice when the first run ends; the removal of what it left waits; twice when the second job ends.
    h.world.script("delete_snapshots", [down(), down(), Act::Wait(told.clone()), down(), down()]);
    h.world.script("verify", [Act::Fail(Code::SourceRefused), Act::Wait(Arc::new(Notify::new()))]);
    let first = h.hourly_of(&service, &servers[0].id).await;
    h.until_runs(&service, &first, 1, RunState::Failed).await;
    h.until_calls("delete_snapshots", 3).await;

    let second = h.once_of(&service, &servers[1].id).await;
    h.until_calls("verify", 2).await;
    service.delete_replication_job(second.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &second, JobState::Deleted).await;
    assert_eq!(h.world.calls("delete_snapshots"), 5);
    told.notify_one();
    // What the first run staged waits for the next one.
    until("the removal", async || h.world.n_packs() == (2 * PACKS) as usize).await;
    assert!(h.world.look().snapshots.is_empty());
    control.shutdown().await;
}

#[tokio::test]
async fn an_image_stays_whole_if_its_job_is_deleted_while_its_run_cleans_up() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("settle", [Act::Wait(Arc::new(Notify::new()))]);
    let job = h.hourly(&service).await;
    h.until_calls("settle", 1).await;
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    until("the end of the ledger", async || h.rows("pack_ledger").await == 0).await;
    assert_eq!(h.images(&service).await.len(), 1);
    assert!(h.world.every_snapshot_is_whole());
    assert_eq!((h.world.n_packs(), h.world.loose_packs()), ((2 * PACKS) as usize, 0));
    control.shutdown().await;
}
