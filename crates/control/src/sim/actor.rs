//! Callers: whatever anybody may ask for, at random. Nothing that they ask is answered with "broke a rule of ours".

use super::checks;
use super::life::Sim;
use crate::service::*;
use crate::testing::server;
use godwit_model::connector::ConnectorConfig;
use godwit_model::event::delivery::DeliveryState;
use godwit_model::id::{JobId, RunId};
use godwit_model::job::JobState;
use godwit_model::key::KeyState;
use godwit_model::licence::LicenseType;
use godwit_model::server::Platform;
use godwit_model::time::{Millis, Timestamp};
use std::collections::BTreeSet;

/// Intervals of jobs in minutes, the rare ones being quick.
const INTERVALS: [i64; 8] = [20, 60, 240, 360, 720, 720, 1_440, 1_440];

/// Nobody, people, programs.
const RECIPIENTS: [&[&str]; 3] = [&[], &["ops@example.org"], &["https://example.org/hook"]];

/// One thing that somebody does.
pub(super) async fn act(sim: &mut Sim, service: &Service) {
    let now = sim.clock.now();
    if service.store().connectors(None, 1).await.unwrap().is_empty() && sim.dice.chance(400) {
        return connect(sim, service, now).await;
    }
    match sim.dice.below(100) {
        0..=19 => create(sim, service, now).await,
        20..=32 => update(sim, service, now).await,
        33..=44 => demand(sim, service, now).await,
        45..=54 => resume(sim, service, now).await,
        55..=62 => delete(sim, service, now).await,
        63..=67 => settle("import", service.import_server_catalog(now).await),
        68 => settle("clear", service.delete_server_catalog(now).await),
        69..=76 => change_image(sim, service, now).await,
        77..=81 => connect(sim, service, now).await,
        82..=86 => change_world(sim),
        _ => read(sim, service).await,
    }
}

/// What the service says to something that may be refused.
pub(super) fn settle<T>(what: &str, answer: Answer<T>) {
    if let Err(refused) = answer {
        assert_ne!(refused.code, ErrorCode::Internal, "{what}: {refused}");
        assert!(refused.message.len() > 10, "{what}: '{refused}' says nothing");
    }
}

async fn create(sim: &mut Sim, service: &Service, now: Timestamp) {
    let servers = service.get_servers(None, &Page::default()).await.unwrap().servers.items;
    let Some(server) = (!servers.is_empty()).then(|| sim.dice.pick(&servers).id.clone()) else {
        settle("import", service.import_server_catalog(now).await);
        return;
    };
    let once = sim.dice.chance(200);
    let dice = &mut sim.dice;
    let new = NewJob {
        run_once: once.then_some(true),
        interval_minutes: (!once).then(|| *dice.pick(&INTERVALS)),
        license: *dice.pick(&[None, None, Some(LicenseType::Byol), Some(LicenseType::Aws)]),
        keep_images: *dice.pick(&[None, Some(1), Some(2), Some(3), Some(5)]),
        role_name: dice.chance(60).then(|| "ours".to_owned()),
        pause_on_failure: if once { None } else { *dice.pick(&[None, Some(true), Some(false)]) },
        pause_after: if once { None } else { *dice.pick(&[None, Some(1), Some(2), Some(4)]) },
        recipients: dice.pick(&RECIPIENTS).iter().map(ToString::to_string).collect(),
        ..NewJob::new(server.as_str(), start(dice, now))
    };
    settle("create", service.create_replication_job(new, now).await);
}

fn start(dice: &mut super::dice::Dice, now: Timestamp) -> Timestamp {
    match dice.below(4) {
        0 => now + Millis(dice.below(3 * 86_400_000) as i64),
        1 => now - Millis(dice.below(86_400_000) as i64),
        _ => now,
    }
}

async fn update(sim: &mut Sim, service: &Service, now: Timestamp) {
    let Some(id) = some_job(sim, service).await else { return };
    let dice = &mut sim.dice;
    let mut changes = JobChanges::default();
    match dice.below(6) {
        0 => changes.interval_minutes = Some(*dice.pick(&INTERVALS)),
        1 => changes.next_start = Some(start(dice, now)),
        2 => changes.keep_images = Some(*dice.pick(&[0, 1, 2, 4])),
        3 => changes.pause_after = Some(*dice.pick(&[0, 1, 3])),
        4 => changes.recipients = Some(dice.pick(&RECIPIENTS).iter().map(ToString::to_string).collect()),
        _ => changes.description = Some("changed".into()),
    }
    settle("update", service.update_replication_job(id.as_str(), changes, now).await);
}

async fn demand(sim: &mut Sim, service: &Service, now: Timestamp) {
    let Some(id) = some_job(sim, service).await else { return };
    settle("demand", service.start_on_demand_replication_run(id.as_str(), None, now).await);
}

async fn resume(sim: &mut Sim, service: &Service, now: Timestamp) {
    let jobs = service.store().jobs(None, 1_000).await.unwrap();
    let Some(job) = jobs.iter().find(|j| j.state == JobState::PausedOnFailure) else { return };
    let at = sim.dice.chance(300).then(|| start(&mut sim.dice, now));
    settle("resume", service.resume_replication_job(job.id.as_str(), at, now).await);
}

async fn delete(sim: &mut Sim, service: &Service, now: Timestamp) {
    let id = match sim.dice.chance(500) {
        true => some_busy_job(sim, service).await,
        false => some_job(sim, service).await,
    };
    let Some(id) = id else { return };
    let is_first = sim.record.unwanted_job(&id);
    let answer = service.delete_replication_job(id.as_str(), now).await;
    if answer.is_err() && is_first {
        sim.record.wanted_job(&id);
    }
    settle("delete", answer);
}

async fn change_image(sim: &mut Sim, service: &Service, now: Timestamp) {
    let images = service.store().images(None, None, 40).await.unwrap();
    let Some(image) = (!images.is_empty()).then(|| sim.dice.pick(&images).id.clone()) else { return };
    if sim.dice.chance(600) {
        let is_first = sim.record.unwanted_image(&image);
        let answer = service.delete_image(image.as_str(), now).await;
        if answer.is_err() && is_first {
            sim.record.wanted_image(&image);
        }
        settle("delete an image", answer);
    } else {
        settle("verify", service.start_image_verification(image.as_str(), now).await);
    }
}

/// Connectors come and go.
async fn connect(sim: &mut Sim, service: &Service, now: Timestamp) {
    let connectors = service.describe_connectors(None, &Page::default()).await.unwrap().items;
    match connectors.first() {
        Some(connector) if sim.dice.chance(150) => {
            settle("disassociate", service.disassociate_connector(connector.id.as_str(), now).await);
        }
        Some(_) => {}
        None => {
            let config = ConnectorConfig::Qmp { socket: "/run/qmp".into() };
            let new = NewConnector { name: "here".into(), config };
            settle("associate", service.associate_connector(new, now).await);
            settle("import", service.import_server_catalog(now).await);
        }
    }
}

/// Keys are made, given to jobs, rotated, disabled, and mostly enabled again.
pub(super) async fn change_key(sim: &mut Sim, service: &Service) {
    let now = sim.clock.now();
    let dice = &mut sim.key_dice;
    let alias = *dice.pick(&["alias/a", "alias/b"]);
    let keys = service.store().keys(None, 100).await.unwrap();
    let name = dice.pick(&keys).id.to_string();
    match dice.below(14) {
        0 | 1 => settle(
            "create a key",
            service.create_key(NewKey { description: None, alias: Some(alias.into()) }, now).await,
        ),
        2 | 3 => settle("rotate", service.rotate_key(&name, now).await),
        4 => settle("disable", service.set_key_state(&name, KeyState::Disabled, now).await),
        5..=7 => {
            for key in keys.iter().filter(|key| key.state == KeyState::Disabled) {
                settle("enable", service.set_key_state(key.id.as_str(), KeyState::Enabled, now).await);
            }
        }
        8 => settle("choose the default", service.set_default_key(&name, now).await),
        9..=12 => {
            let jobs = service.store().jobs(None, 30).await.unwrap();
            let Some(job) = (!jobs.is_empty()).then(|| dice.pick(&jobs).id.clone()) else { return };
            let key = *dice.pick(&["", "alias/a", "alias/b", "alias/aws/ebs"]);
            let changes = JobChanges { kms_key_id: Some(key.to_owned()), ..JobChanges::default() };
            settle("give a job a key", service.update_replication_job(job.as_str(), changes, now).await);
        }
        _ => settle("take an alias", service.delete_alias(alias, now).await),
    }
}

/// Rare wishes: sweeps, notifications once more, and whatever else may be changed of a job, several members at once.
/// Besides, somebody brings a server back as it was before we knew of it, with a tracker of a run that nobody knows.
pub(super) async fn wish(sim: &mut Sim, service: &Service) {
    let now = sim.clock.now();
    match sim.wish_dice.below(10) {
        0 => settle("preview a sweep", service.preview_sweep(now).await),
        1 => settle("sweep", service.start_sweep(now).await),
        2 => {
            settle("preview a sweep", service.preview_sweep(now).await);
            settle("sweep", service.start_sweep(now).await);
        }
        3 | 4 => tell_again(sim, service, now).await,
        5 => {
            let (vm, run) = (sim.wish_dice.within(1, 4), RunId::from_bits(sim.wish_dice.roll().into()));
            sim.world.look().trackers.insert(format!("vm-{vm}"), run);
        }
        _ => change_much(sim, service, now).await,
    }
}

/// Mostly what was given up, and sometimes what arrived.
async fn tell_again(sim: &mut Sim, service: &Service, now: Timestamp) {
    let state = if sim.wish_dice.chance(850) { DeliveryState::GivenUp } else { DeliveryState::Delivered };
    let letters = service.store().notifications(None, Some(state), None, 40).await.unwrap();
    let Some(id) = (!letters.is_empty()).then(|| sim.wish_dice.pick(&letters).id.clone()) else { return };
    sim.record.wanted_again(&id);
    let answer = service.redeliver_notification(id.as_str(), now).await;
    if answer.is_err() {
        sim.record.refused_again(&id);
    }
    settle("redeliver", answer);
}

async fn change_much(sim: &mut Sim, service: &Service, now: Timestamp) {
    let jobs = service.store().jobs(None, 30).await.unwrap();
    let dice = &mut sim.wish_dice;
    let Some(job) = (!jobs.is_empty()).then(|| dice.pick(&jobs).id.clone()) else { return };
    let mut changes = JobChanges::default();
    for _ in 0..dice.within(1, 4) {
        match dice.below(9) {
            0 => changes.role_name = Some((*dice.pick(&["sms", "sms", "ours"])).to_owned()),
            1 => {
                let all = [
                    LicenseChange::To(LicenseType::Byol),
                    LicenseChange::To(LicenseType::Aws),
                    LicenseChange::Automatic,
                ];
                changes.license = Some(*dice.pick(&all));
            }
            2 => changes.encrypted = Some(dice.chance(500)),
            3 => changes.pause_on_failure = Some(dice.chance(800)),
            4 => changes.frequency_hours = Some(*dice.pick(&[1, 6, 12, 24])),
            5 => changes.interval_minutes = Some(*dice.pick(&INTERVALS)),
            6 => changes.next_start = Some(start(dice, now)),
            7 => changes.keep_images = Some(*dice.pick(&[0, 1, 3])),
            _ => changes.recipients = Some(RECIPIENTS.concat().iter().map(ToString::to_string).collect()),
        }
    }
    settle("change much", service.update_replication_job(job.as_str(), changes, now).await);
}

/// Servers vanish, come back and become others.
fn change_world(sim: &mut Sim) {
    let n = sim.dice.within(1, 4);
    let vm = format!("vm-{n}");
    let platform = *sim.dice.pick(&[None, Some(Platform::Linux), Some(Platform::WindowsServer)]);
    let mut state = sim.world.look();
    match state.servers.iter().position(|s| s.vm_id == vm) {
        Some(at) if sim.dice.chance(300) => drop(state.servers.remove(at)),
        Some(at) => state.servers[at].platform = platform,
        None => state.servers.push(server(&vm, &format!("server {n}"))),
    }
}

/// Lists are read to their ends.
async fn read(sim: &mut Sim, service: &Service) {
    let limit = Some(sim.dice.within(1, 20) as i64);
    let (mut seen, mut token) = (0, None);
    loop {
        let page = service.get_replication_jobs(None, &Page { token, limit }).await.unwrap();
        seen += page.items.len();
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, service.store().jobs(None, 10_000).await.unwrap().len());
}

async fn some_job(sim: &mut Sim, service: &Service) -> Option<JobId> {
    let jobs = service.store().jobs(None, 30).await.unwrap();
    (!jobs.is_empty()).then(|| sim.dice.pick(&jobs).id.clone())
}

/// One that is being stopped, or else one whose run is at work.
async fn some_busy_job(sim: &mut Sim, service: &Service) -> Option<JobId> {
    let ending = "SELECT job_id FROM run WHERE abandoning = 1 UNION SELECT job_id FROM job WHERE state = 'FAILING'";
    let mut busy: BTreeSet<JobId> = checks::ids(service, ending).await;
    if busy.is_empty() {
        busy = checks::ids(service, "SELECT job_id FROM run WHERE state = 'ACTIVE'").await;
    }
    let busy: Vec<JobId> = busy.into_iter().collect();
    (!busy.is_empty()).then(|| sim.dice.pick(&busy).clone())
}
