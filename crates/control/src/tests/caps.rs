//! Caps: checked, kept, and told to the data line at the moment that they change.

use crate::replicator::ReadRates;
use crate::service::*;
use crate::testing::{Act, Harness, until};
use godwit_model::cap::{HeldBack, Rate};
use godwit_model::connector::ConnectorConfig;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const MB: Rate = Rate::BytesPerSecond(1_000_000);

fn capped(cap: &str) -> ConnectorChanges {
    ConnectorChanges { cap: Some(cap.into()), ..ConnectorChanges::default() }
}

fn told(h: &Harness) -> ReadRates {
    h.world.look().rates.last().cloned().expect("told at the start")
}

#[tokio::test]
async fn caps_are_told_to_runs_at_work_and_kept() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let go_on = Arc::new(Notify::new());
    h.world.script("transfer", vec![Act::Wait(go_on.clone())]);
    let new = NewJob { frequency_hours: Some(1), cap: Some("1MB/s".into()), ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_calls("transfer", 1).await;
    let run = h.runs(&service, &job).await[0].clone();
    assert_eq!(told(&h).runs, [(run.id.clone(), MB)], "before it moves anything");
    assert_eq!(run.cap.map(|cap| cap.to_string()), Some("1MB/s".to_owned()));

    service.update_replication_run(run.id.as_str(), "none").await.unwrap();
    assert_eq!(told(&h).runs, [(run.id.clone(), Rate::Unlimited)], "its own instead of its job's");
    assert_eq!(h.run(&service, &run.id).await.cap, None);
    service.update_replication_run(run.id.as_str(), "").await.unwrap();
    assert_eq!(told(&h).runs, [(run.id.clone(), MB)]);
    let changes = JobChanges { cap: Some("0".into()), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    assert_eq!(told(&h).runs, [(run.id.clone(), Rate::HELD)]);

    let connector = h.connector(&service).await;
    service.update_connector(connector.id.as_str(), capped("1MB/s"), h.now()).await.unwrap();
    service.update_limits("1MB/s").await.unwrap();
    let config = ConnectorConfig::Qmp { socket: "/run/qmp".into() };
    assert_eq!((told(&h).total, told(&h).connectors), (MB, vec![(config, MB)]));
    service.update_limits("none").await.unwrap();
    assert_eq!(told(&h).total, Rate::Unlimited);
    assert_eq!(service.describe_limits(h.now()).await.unwrap().cap, None);
    service.update_limits("1MB/s").await.unwrap();
    control.shutdown().await;

    h.world.look().rates.clear();
    let (control, service) = h.serve().await;
    let rates = told(&h);
    assert_eq!((rates.total, rates.runs.len(), rates.connectors.len()), (MB, 1, 1), "as before");
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let refused = service.update_replication_run(run.id.as_str(), "1MB/s").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    control.shutdown().await;
}

#[tokio::test]
async fn a_window_that_begins_is_told_by_itself() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    // All days but today, by the clock of the harness, until somebody moves it.
    let now = h.now().as_millis();
    let minutes = now.div_euclid(60_000).rem_euclid(1_440);
    let clock = |minutes: i64| format!("{:02}:{:02}", minutes.rem_euclid(1_440) / 60, minutes.rem_euclid(60));
    let cap = format!("{}-{} 1MB/s; otherwise 0", clock(minutes), clock(minutes + 60));
    service.update_limits(&cap).await.unwrap();
    assert_eq!(told(&h).total, MB);
    let limits = service.describe_limits(h.now()).await.unwrap();
    let changes_at = limits.changes_at.expect("in an hour");
    assert!((59..=60).contains(&(changes_at - h.now()).0.div_euclid(60_000)));
    h.wait((changes_at + Millis(-20)) - h.now(), &service);
    // Somebody changes something: from here on it sleeps no longer than until the window ends.
    service.update_limits(&cap).await.unwrap();
    assert_eq!(told(&h).total, MB);
    h.wait(Millis(40), &service);
    until("the end of the window", async || told(&h).total == Rate::HELD).await;
    control.shutdown().await;
}

#[tokio::test]
async fn who_is_held_back_is_not_stuck_and_says_so() {
    let mut h = Harness::new();
    h.options.no_progress = Duration::from_millis(200);
    h.options.persist = Duration::from_millis(20);
    let (control, service) = h.serve().await;
    let go_on = Arc::new(Notify::new());
    h.world.script("transfer", vec![Act::Wait(go_on.clone())]);
    let server = h.one_server(&service).await;
    let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    until("the run", async || !h.runs(&service, &job).await.is_empty()).await;
    let id = h.runs(&service, &job).await[0].id.clone();
    h.world.look().held_back.insert(id.clone(), HeldBack::TotalCap);
    h.until_calls("transfer", 1).await;
    until("the figures", async || h.run(&service, &id).await.held_back == Some(HeldBack::TotalCap)).await;
    // Longer than what counts as stuck.
    tokio::time::sleep(h.options.no_progress * 3).await;
    let run = h.run(&service, &id).await;
    assert_eq!((run.state, run.retrying_after), (RunState::Active, None));
    h.world.look().held_back.clear();
    go_on.notify_one();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let volumes = h.run(&service, &id).await.volumes.len();
    assert_eq!(h.world.calls("transfer"), volumes, "none was begun anew");
    assert_eq!(h.run(&service, &id).await.held_back, None);
    control.shutdown().await;
}

#[tokio::test]
async fn what_is_no_cap_is_refused_and_changes_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let connector = h.connector(&service).await.id;
    let told_before = h.world.look().rates.len();
    let new = NewJob { run_once: Some(true), cap: Some("fast".into()), ..NewJob::new(server.as_str(), h.now()) };
    let refusals = [
        service.create_replication_job(new, h.now()).await.unwrap_err(),
        service.update_limits("Mon 08:00-07:60 1MB/s").await.unwrap_err(),
        service.update_connector(connector.as_str(), capped("20"), h.now()).await.unwrap_err(),
        service.update_connector("c-00000000000000000", capped("1MB/s"), h.now()).await.unwrap_err(),
        service.update_replication_run("sms-run-00000000", "1MB/s").await.unwrap_err(),
    ];
    for refused in &refusals {
        assert_eq!(refused.code, ErrorCode::InvalidParameter, "{}", refused.message);
    }
    assert!(refusals[0].message.contains("bandwidthCap: 'fast' is no rate"), "{}", refusals[0].message);
    assert_eq!(h.world.look().rates.len(), told_before);
    control.shutdown().await;
}
