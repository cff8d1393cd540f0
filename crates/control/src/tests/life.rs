//! The life of jobs and runs when all goes well.

use crate::replicator::SettleEnd;
use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS, server, until};
use godwit_model::figures::Consistency;
use godwit_model::id::JobId;
use godwit_model::job::JobState;
use godwit_model::run::{RunState, RunType};
use godwit_model::time::Millis;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_one_time_job_makes_one_image_and_leaves_nothing_at_the_source() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.once(&service).await;
    h.until_job(&service, &job, JobState::Completed).await;

    let runs = h.runs(&service, &job).await;
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!((run.state, run.kind, run.percent), (RunState::Completed, RunType::Automatic, 100.0));
    assert_eq!(run.stage, None);
    assert_eq!(run.consistency, Some(Consistency::FileSystem));
    assert!(run.started_at.is_some() && run.completed_at.is_some() && run.point_at.is_some());
    assert!(run.notes.is_empty() && run.failure.is_none(), "{run:?}");
    assert_eq!(run.volumes.len(), 2);
    for volume in &run.volumes {
        let figures = volume.figures;
        assert_eq!((figures.bytes_total, figures.bytes_done), (PACKS * PACK, PACKS * PACK));
        assert_eq!((figures.bytes_sent, figures.bytes_resent, figures.bytes_verified), (3_000, 0, 3_000));
        assert!(volume.snapshot.is_some() && volume.root_digest.is_some());
    }

    let images = h.images(&service).await;
    assert_eq!(images.len(), 1);
    let image = &images[0];
    assert_eq!((Some(&image.id), image.size), (run.image.as_ref(), 2 * PACKS * PACK));
    assert_eq!(image.volumes.iter().map(|v| v.device.as_str()).collect::<Vec<_>>(), ["boot", "data"]);
    assert_eq!(image.verification.state, VerificationState::Unverified);
    assert_eq!(h.job(&service, &job).await.latest_image.as_ref(), Some(&image.id));

    let snapshots = h.snapshots(&service).await;
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|s| s.image.as_ref() == Some(&image.id) && s.parent.is_none()));

    assert!(h.world.nothing_at_the_source());
    assert_eq!(h.world.look().settled.last().unwrap().1, SettleEnd::Forget);
    control.shutdown().await;
}

#[tokio::test]
async fn the_second_run_goes_from_the_baseline_of_the_first() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let first = h.runs(&service, &job).await.remove(0);
    assert_eq!(h.job(&service, &job).await.state, JobState::Active);
    assert_eq!(h.job(&service, &job).await.next_start, Some(first.scheduled_at + Millis::HOUR));

    h.world.look().version += 1;
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    let second = h.runs(&service, &job).await.remove(1);
    assert!(second.volumes.iter().all(|v| v.tracked), "the tracker of the first run is used");
    assert_eq!(second.scheduled_at, first.scheduled_at + Millis::HOUR);

    let baselines = h.world.look().ordered_baselines.pop().unwrap();
    assert_eq!(baselines.len(), 2);
    for (baseline, volume) in baselines.iter().zip(&first.volumes) {
        assert_eq!((&baseline.run, Some(&baseline.snapshot)), (&first.id, volume.snapshot.as_ref()));
        assert_eq!(baseline.size, PACKS * PACK);
    }
    assert_eq!(h.world.look().trackers.get("vm-1"), Some(&second.id), "the tracker is advanced to the newest run");
    assert!(h.world.look().settled.iter().all(|(_, end)| *end == SettleEnd::Committed));
    let snapshots = h.snapshots(&service).await;
    assert_eq!(snapshots.iter().filter(|s| s.parent.is_some()).count(), 2);
    control.shutdown().await;
}

#[tokio::test]
async fn two_images_of_a_server_are_compared_in_pieces() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    h.world.look().version += 1;
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    let images = h.images(&service).await;
    let (is, was) = (images[0].id.as_str(), images[1].id.as_str());
    let size = PACKS * PACK;
    let compare = |base, from, limit| service.list_image_changes(base, is, 1, from, limit);

    let whole = compare(was, None, None).await.unwrap();
    assert_eq!((whole.size, whole.next), (size, None));
    assert_eq!(whole.extents.iter().map(|e| e.length).sum::<u64>(), size, "the guest wrote everything anew");
    let (mut pieces, mut from) = (Vec::new(), None);
    loop {
        let piece = compare(was, from, Some(1)).await.unwrap();
        assert_eq!(piece.extents.len(), 1);
        pieces.extend(piece.extents);
        match piece.next {
            Some(next) => from = Some(next as i64),
            None => break,
        }
    }
    assert_eq!(pieces, whole.extents);
    assert_eq!(compare(is, None, None).await.unwrap().extents, [], "an image is as itself");

    let refused = |answer: Answer<ExtentList>| answer.unwrap_err();
    for (answer, word) in [
        (compare("ami-00000000000000000", None, None).await, "there is no image"),
        (compare(was, Some(size as i64 + 1), None).await, "from: give 0 to"),
        (compare(was, None, Some(0)).await, "maxResults"),
        (service.list_image_changes(was, is, 2, None, None).await, "has no volume 2: give 0 to 1"),
    ] {
        let refused = refused(answer);
        assert!(refused.code == ErrorCode::InvalidParameter && refused.message.contains(word), "{refused}");
    }
    control.shutdown().await;
}

#[tokio::test]
async fn a_stop_changes_no_state_and_the_next_start_goes_on() {
    let h = Harness::new();
    h.world.script("send", [Act::Hang]);
    let (control, service) = h.serve().await;
    let job = h.once(&service).await;
    h.until_calls("send", 1).await;
    control.shutdown().await;

    let (control, service) = h.serve().await;
    h.until_job(&service, &job, JobState::Completed).await;
    assert_eq!(h.images(&service).await.len(), 1);
    let resent: u64 = h.runs(&service, &job).await[0].volumes.iter().map(|v| v.figures.bytes_resent).sum();
    assert_eq!(resent, PACK, "the pack that was begun is sent again, and counted");
    control.shutdown().await;
}

#[tokio::test]
async fn only_the_newest_images_are_kept_if_so_told() {
    let h = Harness::new();
    h.world.look().servers.push(server("vm-2", "two"));
    let (control, service) = h.serve().await;
    let servers = h.catalog(&service).await;
    let hourly = |server: &Server, keep| NewJob {
        frequency_hours: Some(1),
        keep_images: keep,
        ..NewJob::new(server.id.as_str(), h.now())
    };
    let job = service.create_replication_job(hourly(&servers[0], Some(2)), h.now()).await.unwrap();
    let other = service.create_replication_job(hourly(&servers[1], None), h.now()).await.unwrap();
    for n in 1..=4 {
        h.until_runs(&service, &job, n, RunState::Completed).await;
        h.until_runs(&service, &other, n, RunState::Completed).await;
        h.world.look().version += 1;
        if n < 4 {
            h.wait(Millis::HOUR, &service);
        }
    }
    let of = |job: JobId| {
        let (h, service) = (&h, &service);
        async move {
            let images = h.images(service).await.into_iter().filter(|image| image.job == job);
            images.map(|image| image.run).collect::<BTreeSet<_>>()
        }
    };
    let runs = h.runs(&service, &job).await;
    assert_eq!(of(job).await, runs[2..4].iter().map(|run| run.id.clone()).collect(), "the newest two");
    assert_eq!(of(other).await.len(), 4, "another job's images are not counted");
    // Two volumes each, and no snapshot of the images that went.
    until("the removal", async || {
        let world = h.world.look();
        (world.images.len(), world.snapshots.len()) == (6, 12)
    })
    .await;
    control.shutdown().await;
}

#[tokio::test]
async fn what_proved_damaged_is_read_again_and_all_else_built_on() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let image = h.images(&service).await.remove(0).id;

    h.world.script("verify", [Act::Damage]);
    service.start_image_verification(image.as_str(), h.now()).await.unwrap();
    let verification = async || h.images(&service).await[0].verification.clone();
    until("a verification", async || verification().await.state == VerificationState::Damaged).await;
    let damaged = verification().await;
    assert_eq!((damaged.damaged.len(), damaged.damaged[0].volume, damaged.damaged[0].extent.offset), (1, 0, 64));
    let baselines = || h.world.look().ordered_baselines.pop().unwrap().len();
    let repairs = || std::mem::take(&mut h.world.look().ordered_repairs).into_iter().map(|(_, repairs)| repairs);
    let again = [vec![damaged.damaged[0].extent], vec![]];
    h.world.look().ordered_repairs.clear();
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    assert_eq!((baselines(), repairs().collect::<Vec<_>>()), (2, again.to_vec()), "after a damaged image");

    h.world.script("verify", [Act::Damage]);
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    assert_eq!((baselines(), repairs().flatten().count()), (2, 0), "the second run was whole");
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 3, RunState::Completed).await;
    assert_eq!((baselines(), repairs().collect::<Vec<_>>()), (2, again.to_vec()), "after a run that proved damaged");
    control.shutdown().await;
}

#[tokio::test]
async fn what_is_asked_for_by_its_ids_is_as_it_is_listed_and_in_their_order() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    for runs in [2, 3] {
        h.wait(Millis::HOUR, &service);
        h.until_runs(&service, &job, runs, RunState::Completed).await;
    }
    let listed = h.images(&service).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|image| image.volumes.iter().map(|v| v.volume).eq([0, 1])), "{listed:?}");
    let wanted: Vec<_> = [1, 0, 2, 1].map(|n| listed[n].clone()).into();
    let ids = |wanted: &[Image]| Some(wanted.iter().map(|image| image.id.to_string()).collect());
    let filter = ImagesFilter { image_ids: ids(&wanted), ..Default::default() };
    assert_eq!(service.describe_images(&filter, &Page::default()).await.unwrap().items, wanted);

    let snapshots = h.snapshots(&service).await;
    let wanted: Vec<_> = snapshots.into_iter().rev().collect();
    let ids = Some(wanted.iter().map(|snapshot| snapshot.id.to_string()).collect());
    let filter = SnapshotsFilter { snapshot_ids: ids, ..Default::default() };
    assert_eq!(service.describe_snapshots(&filter, &Page::default()).await.unwrap().items, wanted);
    control.shutdown().await;
}

#[tokio::test]
async fn images_are_verified_read_and_deleted() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let image = h.images(&service).await.remove(0);
    let id = image.id.as_str();

    service.start_image_verification(id, h.now()).await.unwrap();
    let verification = async || h.images(&service).await[0].verification.clone();
    until("a verification", async || verification().await.state != VerificationState::Running).await;
    assert_eq!(verification().await.state, VerificationState::Verified);
    assert_eq!(verification().await.bytes_verified, Some(2 * PACKS * PACK));

    let bytes = service.read_image(id, 1, 100, 50).await.unwrap();
    assert_eq!(bytes.len(), 50);
    let extents = service.list_image_extents(id, 0, None, Some(2)).await.unwrap();
    assert_eq!((extents.size, extents.extents.len(), extents.next), (PACKS * PACK, 2, Some(2 * PACK)));

    service.delete_image(id, h.now()).await.unwrap();
    assert!(h.images(&service).await.is_empty());
    assert!(service.read_image(id, 0, 0, 1).await.is_err());
    until("the removal", async || h.world.look().images.is_empty()).await;
    until("the end of the removal", async || {
        let all = h.snapshots(&service).await;
        all.iter().all(|s| s.image.is_none())
    })
    .await;
    assert_eq!(h.world.look().snapshots.len(), 2, "the baseline of a live job stays");

    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Deleted).await;
    until("the removal", async || h.world.look().snapshots.is_empty()).await;
    assert_eq!(h.world.loose_packs(), (2 * PACKS) as usize, "blocks are freed by the store's own sweep, not by us");
    control.shutdown().await;
}
