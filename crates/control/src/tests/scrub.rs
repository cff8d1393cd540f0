//! The scrub: goes its round, finds rot, says whom it harms, and the next run repairs it.

use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS, until};
use godwit_model::event::EventKind;
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use godwit_model::id::{ImageId, JobId, PackId, SnapshotId};
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;

const MAIL: &str = "ops@example.org";
const FIRST: Extent = Extent { offset: 0, length: PACK };

async fn scrubbed(service: &Service) -> Scrub {
    let round = service.start_scrub().await.unwrap();
    until("the end of the scrub", async || {
        let scrub = service.describe_scrub().await.unwrap().scrub;
        scrub.round == round && !scrub.course.is_open
    })
    .await;
    service.describe_scrub().await.unwrap().scrub
}

async fn image(h: &Harness, service: &Service, id: &ImageId) -> Image {
    h.images(service).await.into_iter().find(|image| image.id == *id).unwrap()
}

/// A job that tells somebody, with its first image and that one's boot volume.
async fn replicated(h: &Harness, service: &Service) -> (JobId, ImageId, SnapshotId) {
    let server = h.one_server(service).await;
    let recipients = vec![MAIL.to_owned()];
    let new = NewJob { frequency_hours: Some(1), recipients, ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_runs(service, &job, 1, RunState::Completed).await;
    let image = h.images(service).await.remove(0);
    (job, image.id, image.volumes[0].snapshot.clone())
}

/// The next run of the job: what it was to repair, volume by volume.
async fn next_run(h: &Harness, service: &Service, job: &JobId, n: usize) -> Vec<Vec<Extent>> {
    h.world.look().ordered_repairs.clear();
    h.wait(Millis::HOUR, service);
    h.until_runs(service, job, n, RunState::Completed).await;
    h.world.look().ordered_repairs.iter().map(|(_, repairs)| repairs.clone()).collect()
}

#[tokio::test]
async fn rot_is_found_told_and_repaired_by_the_next_run() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let (job, first, boot) = replicated(&h, &service).await;
    let whole = scrubbed(&service).await;
    assert_eq!((whole.packs, whole.course.bytes, whole.damaged_packs), (2 * PACKS, 2 * PACKS * PACK, 0));
    assert_eq!(image(&h, &service, &first).await.verification.state, VerificationState::Unverified);
    assert!(h.receivers.taken(MAIL).is_empty());

    h.world.rot(&boot);
    let rotten = scrubbed(&service).await;
    assert_eq!((rotten.round, rotten.damaged_packs, rotten.problem.as_deref()), (2, 1, Some("it is rotten")));
    let verification = image(&h, &service, &first).await.verification;
    assert_eq!(verification.state, VerificationState::Damaged);
    assert_eq!(verification.damaged, [DamagedRange { volume: 0, extent: FIRST }]);
    until("the message", async || !h.receivers.taken(MAIL).is_empty()).await;
    assert_eq!(h.receivers.taken(MAIL), [EventKind::ImageDamaged]);
    let filter = NotificationsFilter::default();
    let told = service.describe_notifications(&filter, &Page::default()).await.unwrap().items.remove(0);
    assert!(
        told.text.contains(first.as_str()) && told.text.contains("1000 bytes of boot from byte 0"),
        "{}",
        told.text
    );
    assert!(told.text.contains("The next run is due") && told.text.contains("StoreCorrupt"), "{}", told.text);

    // Found again, it is no news, and the next run repairs it once.
    scrubbed(&service).await;
    assert_eq!(next_run(&h, &service, &job, 2).await, [vec![FIRST], vec![]]);
    assert_eq!(h.world.look().ordered_baselines.pop().unwrap().len(), 2, "all else is built on");
    assert_eq!(next_run(&h, &service, &job, 3).await, [vec![], vec![]]);
    scrubbed(&service).await;
    assert_eq!(h.receivers.taken(MAIL), [EventKind::ImageDamaged]);
    assert_eq!(next_run(&h, &service, &job, 4).await, [vec![], vec![]], "it is the old image's alone");
    for newer in h.images(&service).await.iter().filter(|image| image.id != first) {
        assert_eq!(newer.verification.state, VerificationState::Unverified);
    }
    assert_eq!(image(&h, &service, &first).await.verification.state, VerificationState::Damaged);

    // Nobody needs the pack any more when the image is deleted.
    service.delete_image(first.as_str(), h.now()).await.unwrap();
    until("the deletion", async || h.rows("snapshot").await == 6).await;
    let sweep = service.start_sweep(h.now()).await.unwrap().to_string();
    until("the sweep", async || {
        let found = service.describe_sweeps(Some(std::slice::from_ref(&sweep)), &Page::default()).await.unwrap();
        found.items[0].state != SweepState::Running
    })
    .await;
    assert_eq!(scrubbed(&service).await.damaged_packs, 0);
    control.shutdown().await;
}

#[tokio::test]
async fn packs_that_are_gone_are_missed() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let (job, first, boot) = replicated(&h, &service).await;
    h.world.lose_pack(&boot);
    let scrub = scrubbed(&service).await;
    assert_eq!((scrub.packs, scrub.damaged_packs), (2 * PACKS - 1, 0), "what is not there is no damaged pack");
    let verification = image(&h, &service, &first).await.verification;
    assert_eq!(verification.damaged, [DamagedRange { volume: 0, extent: FIRST }]);
    assert_eq!(next_run(&h, &service, &job, 2).await, [vec![FIRST], vec![]]);
    control.shutdown().await;
}

#[tokio::test]
async fn a_scrub_goes_on_where_it_was_and_checks_no_pack_twice() {
    let mut h = Harness::new();
    h.options.heartbeat = std::time::Duration::from_millis(20);
    let (control, service) = h.serve().await;
    replicated(&h, &service).await;
    // The service is stopped in the midst of the third pack, which cannot be read for a while when it goes on.
    let waits = Act::Wait(Arc::new(Notify::new()));
    h.world.script("check_pack", [Act::Repack, Act::Repack, waits, Act::Fail(Code::StoreUnavailable)]);
    let round = service.start_scrub().await.unwrap();
    h.until_calls("check_pack", 3).await;
    assert_eq!(service.start_scrub().await.unwrap(), round, "one at a time");
    control.shutdown().await;

    let (control, service) = h.serve().await;
    let over = || async {
        let scrub = service.describe_scrub().await.unwrap().scrub;
        scrub.round == round && !scrub.course.is_open
    };
    until("the end of the scrub", async || over().await).await;
    let checked = h.world.look().checked.clone();
    let distinct: BTreeSet<&PackId> = checked.iter().collect();
    assert_eq!((checked.len(), distinct.len()), (2 * PACKS as usize, 2 * PACKS as usize));
    assert!(checked.windows(2).all(|pair| pair[0] < pair[1]), "in the order of ids");
    assert_eq!(service.describe_scrub().await.unwrap().scrub.message, None);
    control.shutdown().await;
}

#[tokio::test]
async fn rounds_are_made_when_they_are_due_and_take_their_time() {
    let mut h = Harness::new();
    h.options.scrub_every = Some(Millis::HOUR.times(720));
    let (control, service) = h.serve().await;
    // The first round finds an empty store.
    let job = h.once(&service).await;
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let image_of_job = h.images(&service).await.remove(0);
    let (first, boot) = (image_of_job.id, image_of_job.volumes[0].snapshot.clone());
    until("the first round", async || service.describe_scrub().await.unwrap().scrub.ended_at.is_some()).await;
    assert_eq!(service.describe_scrub().await.unwrap().scrub.round, 1);
    let next = service.describe_scrub().await.unwrap().next.unwrap();
    h.world.look().checked.clear();
    h.world.rot(&boot);
    h.wait(next - h.now(), &service);
    until("the second round", async || service.describe_scrub().await.unwrap().scrub.round == 2).await;
    // Each slice is a small part: with one pack a time, it takes some.
    for n in 1..=100 {
        until("a slice", async || service.describe_scrub().await.unwrap().scrub.course.looked_at == Some(h.now()))
            .await;
        let scrub = service.describe_scrub().await.unwrap().scrub;
        if !scrub.course.is_open {
            assert!(n > 10, "the round took {n} slices");
            break;
        }
        h.wait(Millis::HOUR.times(12), &service);
    }
    assert!(!service.describe_scrub().await.unwrap().scrub.course.is_open);
    assert_eq!(image(&h, &service, &first).await.verification.state, VerificationState::Damaged);
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_verification_found_is_repaired_also_if_a_run_was_at_work_meanwhile() {
    let mut h = Harness::new();
    h.options.register = std::time::Duration::from_secs(60);
    let (control, service) = h.serve().await;
    let (job, first, boot) = replicated(&h, &service).await;
    let told = Arc::new(Notify::new());
    h.world.script("register", [Act::Wait(told.clone())]);
    h.wait(Millis::HOUR, &service);
    h.until_calls("register", 2).await;
    // The run is verified by now, and it shares blocks with this image.
    h.world.rot(&boot);
    h.world.script("verify", [Act::Damage]);
    service.start_image_verification(first.as_str(), h.now()).await.unwrap();
    until("the verification", async || {
        image(&h, &service, &first).await.verification.state == VerificationState::Damaged
    })
    .await;
    told.notify_one();
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    let found = Extent { offset: 64, length: 8 };
    assert_eq!(next_run(&h, &service, &job, 3).await, [vec![found], vec![]]);
    assert_eq!(next_run(&h, &service, &job, 4).await, [vec![], vec![]]);
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_run_met_is_repaired_by_the_next_one() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let (job, ..) = replicated(&h, &service).await;
    h.world.script("verify", [Act::Damage]);
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    let met = Extent { offset: 64, length: 8 };
    assert_eq!(next_run(&h, &service, &job, 2).await, [vec![met], vec![]]);
    assert_eq!(h.world.look().ordered_baselines.pop().unwrap().len(), 2);
    control.shutdown().await;
}
