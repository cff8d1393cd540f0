//! Uses of keys on record: what each thing that uses a key leaves there, member by member.

use super::audit::tamper;
use super::keys::{job_with, key, next_run, set};
use crate::service::*;
use crate::testing::{Act, Harness, until};
use godwit_model::failure::Code;
use godwit_model::id::SweepId;
use godwit_model::key::KeyState;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// Reads the record on from where it has come.
struct Trail<'a> {
    service: &'a Service,
    key: String,
    read: i64,
}

impl Trail<'_> {
    /// Uses that came on record since the last question, oldest first: what they say, and how they ended.
    async fn new_ones(&mut self) -> Vec<(Value, String)> {
        let filter = AuditFilter { what: Some("UseKey".into()), ..AuditFilter::default() };
        let page = Page { token: None, limit: Some(50) };
        let mut all = self.service.describe_audit_records(&filter, &page).await.unwrap().items;
        all.retain(|record| record.number > self.read);
        all.reverse();
        self.read = all.last().map_or(self.read, |record| record.number);
        all.into_iter()
            .map(|record| {
                let what = record.what;
                assert_eq!((what.caller.user.as_deref(), what.action.as_str()), (Some("godwit"), "godwit:UseKey"));
                (serde_json::from_str(&what.parameters).unwrap(), what.outcome)
            })
            .collect()
    }

    /// Since the last question exactly these came: version, purpose and outcome, all for the same.
    async fn holds(&mut self, what: &str, of: (&str, &str), uses: &[(Option<u32>, &str, &str)]) {
        let (member, user) = of;
        let expected: Vec<_> = uses
            .iter()
            .map(|(version, purpose, outcome)| {
                let said = json!({ "keyId": self.key, "version": version, "purpose": purpose, member: user });
                (said, (*outcome).to_owned())
            })
            .collect();
        assert_eq!(self.new_ones().await, expected, "{what}");
    }
}

async fn swept(h: &Harness, service: &Service) -> SweepId {
    let id = service.start_sweep(h.now()).await.unwrap();
    let one = [id.to_string()];
    let look = async || service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
    until("the end of a sweep", async || look().await.state != SweepState::Running).await;
    id
}

async fn verified(h: &Harness, service: &Service, image: &str, state: VerificationState) {
    service.start_image_verification(image, h.now()).await.unwrap();
    let state_of = async || {
        let images = service.describe_images(&ImagesFilter::default(), &Page::default()).await.unwrap().items;
        images.into_iter().find(|i| i.id.as_str() == image).unwrap().verification.state
    };
    until("the end of a verification", async || state_of().await == state).await;
}

#[tokio::test]
async fn every_use_of_a_key_is_on_record_with_what_it_was_for_and_how_it_ended() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let mut trail = Trail { service: &service, key: made.id.to_string(), read: 0 };
    let done = "OK";

    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let run = h.runs(&service, &job).await.remove(0);
    let of_run = ("replicationRunId", run.id.as_str());
    trail.holds("a run", of_run, &[(Some(1), "encrypt", done), (Some(1), "decrypt", done)]).await;

    let image = h.images(&service).await.remove(0).id;
    let (image, of_image) = (image.as_str(), ("imageId", image.as_str()));
    verified(&h, &service, image, VerificationState::Verified).await;
    trail.holds("a verification", of_image, &[(Some(1), "decrypt", done)]).await;
    h.world.script("verify", [Act::Damage]);
    verified(&h, &service, image, VerificationState::Damaged).await;
    trail.holds("one that finds damage", of_image, &[(Some(1), "decrypt", done)]).await;
    h.world.script("verify", [Act::Fail(Code::StoreCorrupt)]);
    verified(&h, &service, image, VerificationState::Failed).await;
    trail.holds("one that fails", of_image, &[(Some(1), "decrypt", "StoreCorrupt")]).await;

    for n in 0..3 {
        service.read_image(image, 0, 0, 10).await.unwrap();
        service.list_image_extents(image, n % 2, None, None).await.unwrap();
    }
    trail.holds("reads of an image", of_image, &[(Some(1), "decrypt", done)]).await;
    h.wait(Millis::MINUTE.times(15), &service);
    service.list_image_extents(image, 0, None, None).await.unwrap();
    trail.holds("a list of extents, later", of_image, &[(Some(1), "decrypt", done)]).await;

    let sweep = swept(&h, &service).await;
    trail.holds("a sweep", ("sweepId", sweep.as_str()), &[(Some(1), "decrypt", done)]).await;
    for operation in ["godwit:PreviewSweep", "godwit:DescribeStore"] {
        for _ in 0..3 {
            match operation {
                "godwit:PreviewSweep" => service.preview_sweep(h.now()).await.map(|_| ()).unwrap(),
                _ => service.describe_store(h.now()).await.map(|_| ()).unwrap(),
            }
        }
        trail.holds(operation, ("operation", operation), &[(Some(1), "decrypt", done)]).await;
    }

    service.rotate_key("alias/pay", h.now()).await.unwrap();
    h.world.script("sweep_store", [Act::Repack]);
    let sweep = swept(&h, &service).await;
    let uses = [(Some(2), "encrypt", done), (Some(1), "decrypt", done)];
    trail.holds("a sweep that repacks", ("sweepId", sweep.as_str()), &uses).await;
    let run = next_run(&h, &service, &job, 2, RunState::Completed).await;
    let of_run = ("replicationRunId", run.id.as_str());
    trail.holds("a run after a rotation", of_run, &[(Some(2), "encrypt", done), (Some(2), "decrypt", done)]).await;
    control.shutdown().await;
}

#[tokio::test]
async fn every_use_that_a_disabled_key_refuses_is_on_record() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let mut trail = Trail { service: &service, key: made.id.to_string(), read: 0 };
    let disabled = "KeyDisabled";
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let image = h.images(&service).await.remove(0).id;
    let (image, of_image) = (image.as_str(), ("imageId", image.as_str()));

    // While it is at work.
    let told = Arc::new(Notify::new());
    h.world.script("verify", [Act::Wait(told.clone())]);
    let calls = h.world.calls("verify");
    service.start_image_verification(image, h.now()).await.unwrap();
    h.until_calls("verify", calls + 1).await;
    trail.new_ones().await;
    set(&h, &service, "alias/pay", KeyState::Disabled).await;
    told.notify_one();
    until("the end", async || h.images(&service).await[0].verification.state == VerificationState::Failed).await;
    trail.holds("a verification at work", of_image, &[(Some(1), "decrypt", disabled)]).await;

    for (n, call) in ["StartImageVerification", "ReadImage", "ListImageExtents", "ListImageChanges"].iter().enumerate()
    {
        if n > 0 {
            h.wait(Millis::MINUTE.times(15), &service);
        }
        for _ in 0..2 {
            match *call {
                "StartImageVerification" => service.start_image_verification(image, h.now()).await,
                "ReadImage" => service.read_image(image, 0, 0, 10).await.map(|_| ()),
                "ListImageExtents" => service.list_image_extents(image, 0, None, None).await.map(|_| ()),
                _ => service.list_image_changes(image, image, 0, None, None).await.map(|_| ()),
            }
            .unwrap_err();
        }
        trail.holds(call, of_image, &[(Some(1), "decrypt", disabled)]).await;
    }

    let sweep = swept(&h, &service).await;
    trail.holds("a sweep", ("sweepId", sweep.as_str()), &[(None, "decrypt", disabled)]).await;
    service.preview_sweep(h.now()).await.unwrap();
    let of_look = ("operation", "godwit:PreviewSweep");
    trail.holds("a look", of_look, &[(None, "decrypt", disabled)]).await;

    let run = next_run(&h, &service, &job, 1, RunState::Failed).await;
    let of_run = ("replicationRunId", run.id.as_str());
    trail.holds("a run", of_run, &[(Some(1), "encrypt", disabled)]).await;

    // At the end of a run: what it used by then, and what it was refused.
    for (call, uses) in [
        ("send", &[(Some(1), "encrypt", disabled)][..]),
        ("verify", &[(Some(1), "encrypt", "OK"), (Some(1), "decrypt", disabled)][..]),
    ] {
        set(&h, &service, "alias/pay", KeyState::Enabled).await;
        let told = Arc::new(Notify::new());
        h.world.look().version += 1;
        h.world.script(call, [Act::Wait(told.clone())]);
        let calls = h.world.calls(call);
        let failed = h.runs(&service, &job).await.iter().filter(|r| r.state == RunState::Failed).count();
        h.wait(Millis::HOUR, &service);
        h.until_calls(call, calls + 1).await;
        set(&h, &service, "alias/pay", KeyState::Disabled).await;
        told.notify_one();
        h.until_runs(&service, &job, failed + 1, RunState::Failed).await;
        let run = h.runs(&service, &job).await.into_iter().rfind(|r| r.state == RunState::Failed).unwrap();
        trail.holds(call, ("replicationRunId", run.id.as_str()), uses).await;
    }
    control.shutdown().await;
}

/// What a sweep used before it failed, or was stopped, is on record once, however often it was tried.
#[tokio::test]
async fn the_uses_of_a_sweep_that_fails_or_is_stopped_are_on_record() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let mut trail = Trail { service: &service, key: made.id.to_string(), read: 0 };
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    trail.new_ones().await;
    h.world.script("sweep_end", vec![Act::Fail(Code::StoreUnavailable); 9]);
    let sweep = swept(&h, &service).await;
    assert_eq!(h.world.calls("sweep_end"), 3, "it was tried again");
    trail.holds("one that failed", ("sweepId", sweep.as_str()), &[(Some(1), "decrypt", "OK")]).await;

    h.world.script("sweep_end", [Act::Hang]);
    let sweep = service.start_sweep(h.now()).await.unwrap();
    h.until_calls("sweep_end", 4).await;
    let read = trail.read;
    control.shutdown().await;
    let (control, service) = h.serve().await;
    let one = [sweep.to_string()];
    until("the end of the sweep", async || {
        let sweep = service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
        sweep.state == SweepState::Completed
    })
    .await;
    let mut trail = Trail { service: &service, key: made.id.to_string(), read };
    let uses = [(Some(1), "decrypt", "OK"), (Some(1), "decrypt", "OK")];
    trail.holds("one that was stopped, and made again", ("sweepId", sweep.as_str()), &uses).await;
    control.shutdown().await;
}

#[tokio::test]
async fn an_image_is_not_read_while_the_use_of_its_key_cannot_be_put_on_record() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let made = key(&h, &service, "alias/pay").await;
    let mut trail = Trail { service: &service, key: made.id.to_string(), read: 0 };
    let job = job_with(&h, &service, "alias/pay").await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    trail.new_ones().await;
    let image = h.images(&service).await.remove(0).id;
    tamper(&h, "ALTER TABLE audit RENAME TO away; UPDATE audit_chain SET chain = 1").await;
    for _ in 0..2 {
        let refused = service.read_image(image.as_str(), 0, 0, 10).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "nor does a second attempt get through");
        assert_eq!(h.world.calls("read"), 0);
    }
    tamper(&h, "ALTER TABLE away RENAME TO audit; UPDATE audit_chain SET chain = 1").await;
    service.read_image(image.as_str(), 0, 0, 10).await.unwrap();
    trail.holds("a read", ("imageId", image.as_str()), &[(Some(1), "decrypt", "OK")]).await;
    control.shutdown().await;
}
