//! What must not be believed: disks that changed places, points that somebody ended.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use godwit_blocks::source::{Settle, Source};
use godwit_model::failure::Code;
use godwit_sources::qmp::source::QmpSource;
use serde_json::{Value, json};
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_changed_places_are_compared() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("qcow2", SIZE)]).await;
    daemon.write(0, 1, 0, 4 << 20).await;
    daemon.write(1, 2, 0, 4 << 20).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    drop(open(&source, &first(&vm, &run_id(1))).await);
    source.settle(&vm, &run_id(1), Settle::Committed).await.unwrap();
    daemon.exchange(0, 1).await;
    daemon.write(0, 3, 5 * BLOCK, 512).await;

    let view = open(&source, &next(&daemon, &vm, &run_id(2), &run_id(1))).await;
    for (disk, volume) in view.volumes.iter().enumerate() {
        let note = volume.note.clone().unwrap_or_default();
        assert!(!volume.tracked && note.contains("disks were exchanged"), "{note}");
        assert_same(&content(volume, None).await, &daemon.disks[disk].bytes, "all of it is read");
    }
    drop(view);
    source.settle(&vm, &run_id(2), Settle::Committed).await.unwrap();
    let before = daemon.disks[0].bytes.clone();
    daemon.write(0, 4, 9 * BLOCK, 512).await;
    let view = open(&source, &next(&daemon, &vm, &run_id(3), &run_id(2))).await;
    assert!(view.volumes[0].tracked, "{:?}", view.volumes[0].note);
    assert_eq!(bytes_to_read(&view.volumes[0]).await, BLOCK);
    assert_same(&content(&view.volumes[0], Some(&before)).await, &daemon.disks[0].bytes, "increments go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_whose_copy_job_somebody_ended_does_not_hold() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("raw", SIZE)]).await;
    daemon.write(0, 1, 0, BLOCK).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let view = open(&source, &first(&vm, &run_id(1))).await;
    source.still_holds(&vm, &run_id(1), &view.point).await.unwrap();
    assert_eq!(source.still_holds(&vm, &run_id(1), "another").await.unwrap_err().code, Code::PointInTimeLost);

    let jobs = daemon.execute("query-jobs", Value::Null).await;
    let job = jobs.as_array().unwrap().iter().find(|job| job["type"] == "backup").unwrap();
    daemon.execute("block-job-cancel", json!({ "device": job["id"], "force": true })).await;
    daemon.write(0, 2, 0, BLOCK).await;
    // Nobody who reads is told: only the job's absence tells.
    let failure = source.still_holds(&vm, &run_id(1), &view.point).await.unwrap_err();
    assert_eq!(failure.code, Code::PointInTimeLost, "{failure}");
    let expected = first(&vm, &run_id(1));
    let expected = godwit_blocks::source::OpenRequest { expect_point: Some(view.point.clone()), ..expected };
    assert_eq!(source.open(&expected).await.err().unwrap().code, Code::PointInTimeLost);
    drop(view);
    let again = open(&source, &first(&vm, &run_id(1))).await;
    assert!(!again.resumed);
    assert_same(&all_bytes(&again.volumes[0]).await, &daemon.disks[0].bytes, "a new point");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_is_ended_before_its_scratch_folder_is_full() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let view = open(&source, &first(&vm, &run_id(1))).await;
    let scratch = std::fs::read_dir(daemon.path("scratch")).unwrap().count();
    assert_eq!(scratch, 1);
    // The same folder, seen by one who wants more room than there is.
    let mut options = daemon.options();
    options.scratch_reserve = u64::MAX;
    let anxious = QmpSource::new(options);
    let why = anxious.guard(&vm, &run_id(1)).await;
    assert_eq!(why.code, Code::PointInTimeLost, "{why}");
    assert!(why.evidence.contains("--scratch-dir") && why.evidence.contains("guest's writes"), "{why}");
    assert_eq!(source.still_holds(&vm, &run_id(1), &view.point).await.unwrap_err().code, Code::PointInTimeLost);
    assert_eq!(daemon.leftovers().await, [""; 0]);
    daemon.write(0, 1, 0, SIZE).await;
    let refused = anxious.open(&first(&vm, &run_id(1))).await.err().unwrap();
    assert_eq!(refused.code, Code::SourceRefused, "{refused}");
    assert!(refused.evidence.contains("bytes are free"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_in_an_image_that_became_read_only_is_left_there() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    daemon.write(0, 1, 0, BLOCK).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    drop(open(&source, &first(&vm, &run_id(1))).await);
    source.settle(&vm, &run_id(1), Settle::Committed).await.unwrap();
    // As somebody does who takes a snapshot of the guest by hand.
    run(Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(daemon.path("o.qcow2"))
        .arg(SIZE.to_string()));
    let file = json!({ "driver": "file", "filename": "o.qcow2" });
    let overlay = json!({ "driver": "qcow2", "node-name": "overlay", "file": file, "backing": null });
    daemon.execute("blockdev-add", overlay).await;
    daemon.execute("blockdev-snapshot", json!({ "node": "disk0", "overlay": "overlay" })).await;
    daemon.write(0, 2, BLOCK, BLOCK).await;

    let view = open(&source, &next(&daemon, &vm, &run_id(2), &run_id(1))).await;
    assert!(!view.volumes[0].tracked, "the overlay has no tracker");
    assert_same(&content(&view.volumes[0], None).await, &daemon.disks[0].bytes, "through the overlay");
    drop(view);
    for end in [Settle::Abandoned, Settle::Forget] {
        source.settle(&vm, &run_id(2), end).await.unwrap();
        assert_eq!(daemon.leftovers().await, [""; 0]);
        assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &run_id(1)), true)]);
    }
    assert_eq!(sweep(&source, &[], &[]).await.unwrap(), [""; 0]);
}
