//! Named keys: who encrypts with which, what a rotation and a change of key mean for runs, what a disabled key stops.

use crate::service::*;
use crate::testing::{Act, Harness, PACKS, until};
use godwit_model::failure::Code;
use godwit_model::id::{JobId, KeyId};
use godwit_model::key::{KeyState, first_key};
use godwit_model::run::{RunState, Stage};
use godwit_model::time::Millis;
use std::sync::Arc;
use tokio::sync::Notify;

pub(super) async fn key(h: &Harness, service: &Service, alias: &str) -> Key {
    let new = NewKey { description: None, alias: Some(alias.to_owned()) };
    service.create_key(new, h.now()).await.unwrap()
}

async fn keys(service: &Service) -> Vec<Key> {
    service.describe_keys(None, &Page::default()).await.unwrap().items
}

async fn one(service: &Service, name: &str) -> Key {
    service.describe_keys(Some(&[name.to_owned()]), &Page::default()).await.unwrap().items.remove(0)
}

pub(super) async fn set(h: &Harness, service: &Service, name: &str, state: KeyState) {
    service.set_key_state(name, state, h.now()).await.unwrap();
}

/// An hourly job that is encrypted with this key.
pub(super) async fn job_with(h: &Harness, service: &Service, key: &str) -> JobId {
    let server = h.one_server(service).await;
    let new = NewJob {
        frequency_hours: Some(1),
        encrypted: Some(true),
        kms_key_id: Some(key.to_owned()),
        ..NewJob::new(server.as_str(), h.now())
    };
    service.create_replication_job(new, h.now()).await.unwrap()
}

/// The next hour's run, when it has ended in this state; so many have then.
pub(super) async fn next_run(h: &Harness, service: &Service, job: &JobId, n: usize, state: RunState) -> Run {
    h.wait(Millis::HOUR, service);
    h.until_runs(service, job, n, state).await;
    h.runs(service, job).await.into_iter().rfind(|r| r.state == state).unwrap()
}

fn rekeyed(key: &str) -> JobChanges {
    JobChanges { kms_key_id: Some(key.to_owned()), ..JobChanges::default() }
}

#[tokio::test]
async fn a_key_is_found_by_its_id_its_aliases_and_their_arns() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let first = keys(&service).await.remove(0);
    assert_eq!((&first.id, first.is_default, first.version), (&first_key(), true, 1));
    assert_eq!(first.created_at, h.now(), "the first key is dated at the first start");
    let new = NewKey { description: Some("payroll".into()), alias: Some("alias/pay".into()) };
    let made = service.create_key(new, h.now()).await.unwrap();
    assert_eq!((made.state, made.is_default, made.version), (KeyState::Enabled, false, 1));
    assert_eq!(h.world.look().keys[&made.id], 1, "its material is durable");
    service.create_alias("alias/other", made.id.as_str(), h.now()).await.unwrap();
    service.create_alias("alias/other", made.id.as_str(), h.now()).await.unwrap();
    for name in [made.id.as_str(), made.arn.as_str(), "alias/pay", "arn:aws:kms:eu-west-1:123456789012:alias/other"] {
        let found = one(&service, name).await;
        assert_eq!((&found.id, found.aliases.len(), found.description.as_deref()), (&made.id, 2, Some("payroll")));
    }
    assert_eq!(one(&service, "alias/aws/ebs").await.id, first_key());
    service.update_key("alias/pay", Some(""), h.now()).await.unwrap();
    service.delete_alias("alias/other", h.now()).await.unwrap();
    let found = one(&service, "alias/pay").await;
    assert_eq!((found.description, found.aliases), (None, vec!["alias/pay".to_owned()]));
    let page = Page { token: None, limit: Some(1) };
    let page = service.describe_keys(None, &page).await.unwrap();
    let rest = service.describe_keys(None, &Page { token: page.next, limit: None }).await.unwrap();
    assert_eq!([page.items, rest.items].concat().len(), 2);
    control.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_done_with_a_key_is_refused_with_a_next_step() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let job = job_with(&h, &service, "arn:aws:kms:us-east-1:1:alias/pay").await;
    let new = |alias: &str| NewKey { description: None, alias: Some(alias.to_owned()) };
    let before = h.world.look().keys.len();
    let refusals = [
        (service.create_key(new("alias/pay"), h.now()).await.map(|_| ()), made.id.as_str()),
        (service.create_key(new("pay"), h.now()).await.map(|_| ()), "alias/pay"),
        (service.create_key(new("alias/aws/x"), h.now()).await.map(|_| ()), "alias/aws/"),
        (service.create_alias("alias/pay", first_key().as_str(), h.now()).await, "delete it there first"),
        (service.delete_alias("alias/none", h.now()).await, "godwit keys list"),
        (service.delete_alias("alias/pay", h.now()).await, job.as_str()),
        (service.rotate_key("alias/none", h.now()).await.map(|_| ()), "no key 'alias/none'"),
        (service.rotate_key("nonsense", h.now()).await.map(|_| ()), "expected a key's id"),
        (service.set_key_state("alias/aws/ebs", KeyState::Disabled, h.now()).await, "default key"),
    ];
    for (refused, part) in refusals {
        let refused = refused.unwrap_err();
        assert!(refused.message.contains(part), "{part}: {refused}");
        let codes = [ErrorCode::InvalidParameter, ErrorCode::OperationNotPermitted];
        assert!(codes.contains(&refused.code), "{refused:?}");
    }
    assert_eq!(h.world.look().keys.len(), before, "what is refused makes nothing");
    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    for refused in [
        service.rotate_key("alias/pay", h.now()).await.map(|_| ()),
        service.set_default_key("alias/pay", h.now()).await,
    ] {
        assert!(refused.unwrap_err().message.contains("enable it first"));
    }
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    service.delete_alias("alias/pay", h.now()).await.unwrap();
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_is_encrypted_with_the_key_that_it_names_and_shows_it_as_named() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let run = h.runs(&service, &job).await.remove(0);
    assert_eq!((run.key.as_ref(), run.key_version), (Some(&made.id), Some(1)));
    assert_eq!((run.encrypted, run.kms_key_id.as_deref()), (Some(true), Some("alias/pay")));
    let image = h.images(&service).await.remove(0);
    assert_eq!((&image.key, image.key_version), (&made.id, 1));
    assert!(h.snapshots(&service).await.iter().all(|s| s.key == made.id));
    assert!(h.world.look().snapshots.values().all(|s| s.key == made.id));
    assert!(h.world.look().images.values().all(|i| i.key == made.id));

    // What a run was encrypted with does not change with its job.
    service.update_replication_job(job.as_str(), rekeyed(""), h.now()).await.unwrap();
    let shown = h.job(&service, &job).await;
    assert_eq!((shown.encrypted, shown.kms_key_id), (Some(true), None));
    assert_eq!(h.runs(&service, &job).await[0].kms_key_id.as_deref(), Some("alias/pay"));

    // Digests are keyed: under another key all is different, and nothing has changed.
    next_run(&h, &service, &job, 2, RunState::Completed).await;
    let next = h.images(&service).await.remove(0);
    let refused = service.list_image_changes(image.id.as_str(), next.id.as_str(), 0, None, None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    assert!(refused.message.contains("under one key only") && refused.message.contains(made.id.as_str()), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_wish_for_a_key_that_cannot_be_met_is_refused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    key(&h, &service, "alias/off").await;
    set(&h, &service, "alias/off", KeyState::Disabled).await;
    let server = h.one_server(&service).await;
    let new = |encrypted, key: &str| NewJob {
        run_once: Some(true),
        encrypted,
        kms_key_id: Some(key.to_owned()),
        ..NewJob::new(server.as_str(), h.now() + Millis::HOUR)
    };
    for (wanted, part) in [
        (new(None, "alias/none"), "there is no key 'alias/none'"),
        (new(None, "my key"), "does not name a key"),
        (new(Some(true), "alias/off"), "is disabled: enable it"),
        (new(Some(false), "alias/aws/ebs"), "encrypted is false"),
    ] {
        let refused = service.create_replication_job(wanted, h.now()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter);
        assert!(refused.message.contains("kmsKeyId") && refused.message.contains(part), "{refused}");
    }
    let job = service.create_replication_job(new(None, "alias/aws/ebs"), h.now()).await.unwrap();
    let shown = h.job(&service, &job).await;
    assert_eq!((shown.encrypted, shown.kms_key_id.as_deref()), (Some(true), Some("alias/aws/ebs")));
    let refused = service.update_replication_job(job.as_str(), rekeyed("alias/off"), h.now()).await.unwrap_err();
    assert!(refused.message.contains("disabled"), "{refused}");
    let off = JobChanges { encrypted: Some(false), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), off, h.now()).await.unwrap();
    let shown = h.job(&service, &job).await;
    assert_eq!((shown.encrypted, shown.kms_key_id), (Some(false), None));
    control.shutdown().await;
}

#[tokio::test]
async fn a_rotation_keeps_runs_incremental_and_counts_from_the_next_run_on() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    assert_eq!(service.rotate_key(first_key().as_str(), h.now()).await.unwrap(), 2);
    let rotated = keys(&service).await.remove(0);
    assert_eq!((rotated.version, rotated.rotated_at), (2, Some(h.now())));
    let run = next_run(&h, &service, &job, 2, RunState::Completed).await;
    assert_eq!((run.key.as_ref(), run.key_version), (Some(&first_key()), Some(2)));
    assert!(run.volumes.iter().all(|v| v.tracked && v.notes.is_empty()), "{run:?}");
    let versions: Vec<u32> = h.images(&service).await.iter().map(|i| i.key_version).collect();
    assert_eq!(versions, [2, 1]);
    assert!(h.snapshots(&service).await[..2].iter().all(|s| s.parent.is_some()));
    control.shutdown().await;
}

#[tokio::test]
async fn after_a_change_of_key_everything_is_read_once_and_the_run_says_why() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let job = h.replicated(&service).await;
    let mut completed = 1;
    for change_by_default in [false, true] {
        if change_by_default {
            // The job names no key: it follows the default.
            service.update_replication_job(job.as_str(), rekeyed(""), h.now()).await.unwrap();
            let other = key(&h, &service, "alias/new-default").await;
            service.set_default_key(other.id.as_str(), h.now()).await.unwrap();
            assert!(one(&service, "alias/new-default").await.is_default);
            assert!(!one(&service, first_key().as_str()).await.is_default);
        } else {
            service.update_replication_job(job.as_str(), rekeyed("alias/pay"), h.now()).await.unwrap();
        }
        completed += 1;
        let run = next_run(&h, &service, &job, completed, RunState::Completed).await;
        for volume in &run.volumes {
            assert!(!volume.tracked, "{run:?}");
            assert!(volume.notes[0].contains("everything is read, nothing is compared across keys"), "{run:?}");
        }
        let newest = h.snapshots(&service).await;
        assert!(newest[..2].iter().all(|s| s.parent.is_none() && Some(&s.key) == run.key.as_ref()));
        completed += 1;
        let run = next_run(&h, &service, &job, completed, RunState::Completed).await;
        assert!(run.volumes.iter().all(|v| v.tracked && v.notes.is_empty()), "{run:?}");
    }
    let images = h.images(&service).await;
    assert_eq!(images.iter().filter(|i| i.key == made.id).count(), 2);
    assert_eq!(images.iter().filter(|i| i.key == first_key()).count(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn a_disabled_key_fails_runs_and_bars_its_images_until_it_is_enabled() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let image = h.images(&service).await.remove(0).id;
    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    set(&h, &service, "alias/pay", KeyState::Disabled).await;

    let calls = h.world.calls("take_point");
    let run = next_run(&h, &service, &job, 1, RunState::Failed).await;
    let failure = run.failure.clone().unwrap();
    assert_eq!((failure.code, run.stage), (Code::KeyDisabled, Some(Stage::Validating)));
    assert!(failure.evidence.contains(made.id.as_str()) && failure.evidence.contains("alias/pay"), "{failure}");
    assert!(failure.message().contains("Next step: enable the key"), "{}", failure.message());
    assert_eq!(h.world.calls("take_point"), calls, "the source is not touched");
    assert!(h.job(&service, &job).await.status_message.unwrap().contains("KeyDisabled"));

    let id = image.as_str();
    for refused in [
        service.start_image_verification(id, h.now()).await,
        service.read_image(id, 0, 0, 10).await.map(|_| ()),
        service.list_image_extents(id, 0, None, None).await.map(|_| ()),
        service.list_image_changes(id, id, 0, None, None).await.map(|_| ()),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
        assert!(refused.message.contains("KeyDisabled") && refused.message.contains("enable the key"), "{refused}");
    }

    set(&h, &service, "alias/pay", KeyState::Enabled).await;
    service.read_image(id, 0, 0, 10).await.unwrap();
    service.start_image_verification(id, h.now()).await.unwrap();
    let run = next_run(&h, &service, &job, 2, RunState::Completed).await;
    assert!(run.volumes.iter().all(|v| v.tracked), "nothing was forgotten meanwhile: {run:?}");

    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    service.delete_image(id, h.now()).await.unwrap();
    until("the removal", async || h.images(&service).await.len() == 1 && h.world.look().images.len() == 1).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_key_that_is_disabled_while_a_run_is_at_work_fails_it_at_once() {
    for call in ["send", "verify", "register"] {
        let h = Harness::new();
        let (control, service) = h.serve().await;
        key(&h, &service, "alias/pay").await;
        let told = Arc::new(Notify::new());
        h.world.script(call, [Act::Wait(told.clone())]);
        let job = job_with(&h, &service, "alias/pay").await;
        h.until_calls(call, 1).await;
        set(&h, &service, "alias/pay", KeyState::Disabled).await;
        told.notify_one();
        h.until_runs(&service, &job, 1, RunState::Failed).await;
        let run = h.runs(&service, &job).await.remove(0);
        assert_eq!(run.failure.unwrap().code, Code::KeyDisabled, "{call}");
        assert!(h.images(&service).await.is_empty() && h.world.look().snapshots.is_empty(), "{call}");
        assert_eq!(h.world.calls(call), 1, "{call}: it is not tried again");

        set(&h, &service, "alias/pay", KeyState::Enabled).await;
        next_run(&h, &service, &job, 1, RunState::Completed).await;
        assert!(h.world.calls("send") <= (2 * PACKS) as usize + 1, "{call}: what was durable is not sent again");
        control.shutdown().await;
    }
}

#[tokio::test]
async fn a_verification_that_meets_a_disabled_key_says_so() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    key(&h, &service, "alias/pay").await;
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let image = h.images(&service).await.remove(0).id;
    let told = Arc::new(Notify::new());
    h.world.script("verify", [Act::Wait(told.clone())]);
    service.start_image_verification(image.as_str(), h.now()).await.unwrap();
    h.until_calls("verify", 3).await;
    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    told.notify_one();
    until("the end", async || h.images(&service).await[0].verification.state == VerificationState::Failed).await;
    let message = h.images(&service).await.remove(0).verification.message.unwrap();
    assert!(message.starts_with("KeyDisabled"), "{message}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_restart_changes_nothing_about_keys() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    key(&h, &service, "alias/pay").await;
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    let before = keys(&service).await;
    control.shutdown().await;

    let (control, service) = h.serve().await;
    assert_eq!(keys(&service).await, before);
    assert!(h.world.look().disabled_keys.contains(&before[1].id), "the key store is told again");
    let run = next_run(&h, &service, &job, 1, RunState::Failed).await;
    assert_eq!(run.failure.unwrap().code, Code::KeyDisabled);
    control.shutdown().await;
}

#[tokio::test]
async fn keys_of_a_lost_database_are_listed_again_and_no_version_is_lost() {
    let h = Harness::new();
    let (control, _) = h.serve().await;
    control.shutdown().await;
    let lost = KeyId::from_bits(0xABC);
    h.world.look().keys.extend([(lost.clone(), 4), (first_key(), 3)]);
    let (control, service) = h.serve().await;
    let found = one(&service, lost.as_str()).await;
    assert_eq!((found.state, found.version, found.is_default), (KeyState::Disabled, 4, false));
    assert_eq!(keys(&service).await[0].version, 3, "a version that was made and not recorded");
    assert!(h.world.look().disabled_keys.contains(&lost));
    set(&h, &service, lost.as_str(), KeyState::Enabled).await;
    assert_eq!(service.rotate_key(lost.as_str(), h.now()).await.unwrap(), 5);
    control.shutdown().await;

    // A store that cannot be listed keeps nothing from starting.
    h.world.script("all keys", [Act::Fail(Code::StoreUnavailable)]);
    let (control, service) = h.serve().await;
    assert_eq!(keys(&service).await.len(), 2);
    control.shutdown().await;
}

#[tokio::test]
async fn a_key_store_that_fails_makes_no_half_key() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    for code in [Code::StoreFull, Code::StoreUnavailable] {
        h.world.script("make key", [Act::Fail(code), Act::Fail(code)]);
        let new = NewKey { description: None, alias: Some("alias/pay".into()) };
        let refused = service.create_key(new, h.now()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "{refused}");
        service.rotate_key(first_key().as_str(), h.now()).await.unwrap_err();
    }
    assert_eq!(keys(&service).await.len(), 1);
    assert_eq!(keys(&service).await[0].version, 1);
    assert_eq!(service.rotate_key(first_key().as_str(), h.now()).await.unwrap(), 2);
    control.shutdown().await;
}

/// Each operation on keys is killed after every one of its steps; the next process comes to the same end.
#[test]
fn every_change_of_a_key_survives_a_kill_at_every_step() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for operation in ["create", "rotate", "disable", "enable", "default", "alias", "unalias"] {
        for step in 0.. {
            assert!(step < 60, "{operation} does not come to its end");
            let h = Harness::new();
            let go = async |service: &Service| match operation {
                "create" => service.create_key(NewKey::default(), h.now()).await.map(|_| ()),
                "rotate" => service.rotate_key("alias/pay", h.now()).await.map(|_| ()),
                "disable" => service.set_key_state("alias/pay", KeyState::Disabled, h.now()).await,
                "enable" => service.set_key_state("alias/pay", KeyState::Enabled, h.now()).await,
                "default" => service.set_default_key("alias/pay", h.now()).await,
                "alias" => service.create_alias("alias/more", "alias/pay", h.now()).await,
                _ => service.delete_alias("alias/less", h.now()).await,
            };
            let first = runtime();
            let killed = first.block_on(async {
                let (_control, service) = h.serve().await;
                key(&h, &service, "alias/pay").await;
                service.create_alias("alias/less", "alias/pay", h.now()).await.unwrap();
                if operation == "enable" {
                    set(&h, &service, "alias/pay", KeyState::Disabled).await;
                }
                h.gate().close_after(step);
                let gate = h.gate();
                tokio::select! {
                    biased;
                    () = gate.held() => true,
                    done = go(&service) => done.map(|()| false).unwrap(),
                }
            });
            first.shutdown_timeout(std::time::Duration::ZERO);
            h.gate().close_after(i64::MAX);
            let second = runtime();
            second.block_on(async {
                let (control, service) = h.serve().await;
                let when = format!("{operation} killed at step {step}");
                let before = keys(&service).await;
                for key in &before {
                    let world = h.world.look();
                    assert_eq!(world.keys[&key.id], key.version, "{when}: names and material agree");
                    assert_eq!(world.disabled_keys.contains(&key.id), key.state == KeyState::Disabled, "{when}");
                }
                assert_eq!(before.len(), h.world.look().keys.len(), "{when}: no material without a name");
                assert_eq!(before.iter().filter(|k| k.is_default).count(), 1, "{when}");
                // The client had no answer and asks again.
                if operation != "unalias" || one(&service, "alias/pay").await.aliases.len() == 2 {
                    go(&service).await.unwrap();
                }
                let after = one(&service, "alias/pay").await;
                match operation {
                    "rotate" => assert!(matches!(after.version, 2 | 3), "{when}"),
                    "disable" => assert_eq!(after.state, KeyState::Disabled, "{when}"),
                    "enable" => assert_eq!(after.state, KeyState::Enabled, "{when}"),
                    "default" => assert!(after.is_default, "{when}"),
                    "alias" => assert_eq!(after.aliases, ["alias/less", "alias/more", "alias/pay"], "{when}"),
                    "unalias" => assert_eq!(after.aliases, ["alias/pay"], "{when}"),
                    _ => assert!(matches!(keys(&service).await.len(), 3 | 4), "{when}"),
                }
                control.shutdown().await;
            });
            if !killed {
                assert!(step > 2, "{operation}: nothing was killed");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_version_that_seemed_not_to_be_made_is_known_once_a_run_has_used_it() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    // The answer was lost, and with it the second step of the rotation.
    h.world.look().keys.insert(first_key(), 2);
    next_run(&h, &service, &job, 2, RunState::Completed).await;
    assert_eq!(h.images(&service).await[0].key_version, 2);
    let known = one(&service, first_key().as_str()).await;
    assert_eq!((known.version, known.rotated_at), (2, Some(h.now())));
    assert_eq!(service.rotate_key(first_key().as_str(), h.now()).await.unwrap(), 3);
    control.shutdown().await;
}
