//! Points in time of a real storage daemon.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use godwit_blocks::source::{Settle, Source};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::Consistency;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_view_holds_the_moment_while_the_guest_writes() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("raw", SIZE + 1536)]).await;
    daemon.write(0, 0x11, 0, 3 << 20).await;
    daemon.write(0, 0x12, SIZE - 512, 512).await;
    daemon.write(1, 0x21, 5 << 20, 1 << 20).await;
    daemon.write(1, 0x22, SIZE + 512, 1024).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let view = open(&source, &first(&vm, &run_id(1))).await;
    assert_eq!((view.resumed, view.consistency), (false, Consistency::Crash));
    assert_eq!(view.volumes.iter().map(|v| v.device.as_str()).collect::<Vec<_>>(), ["disk0", "disk1"]);
    let then: Vec<Vec<u8>> = daemon.disks.iter().map(|disk| disk.bytes.clone()).collect();

    for round in 0..3 {
        for (disk, truth) in then.iter().enumerate() {
            let volume = &view.volumes[disk];
            assert!(!volume.tracked && volume.note.is_none(), "a first run has nothing to explain");
            assert_same(&all_bytes(volume).await, truth, "all bytes");
            assert_same(&content(volume, None).await, truth, "by extents");
            daemon.write(disk, 0x31 + round, u64::from(round) << 20, 2 << 20).await;
            daemon.write(disk, 0, 5 << 20, 1 << 19).await;
        }
    }
    assert!(bytes_to_read(&view.volumes[0]).await <= 4 << 20, "holes are not read");
    assert!(daemon.disks[0].bytes != then[0]);
    drop(view);
    source.settle(&vm, &run_id(1), Settle::Committed).await.unwrap();
    assert_eq!(daemon.leftovers().await, [""; 0]);
    assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &run_id(1)), true)]);
    source.settle(&vm, &run_id(1), Settle::Committed).await.unwrap();
    assert_eq!(daemon.bitmaps(1).await, [(daemon.bitmap(1, &run_id(1)), true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_is_what_was_written() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("raw", SIZE)]).await;
    daemon.write(0, 0x11, 0, 8 << 20).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let mut base = run_id(1);
    drop(open(&source, &first(&vm, &base)).await);
    let mut before: Vec<Vec<u8>> = daemon.disks.iter().map(|disk| disk.bytes.clone()).collect();
    source.settle(&vm, &base, Settle::Committed).await.unwrap();
    for round in 2..5u8 {
        for block in [3, 77, 200] {
            daemon.write(0, round, block * BLOCK + 512, 1024).await;
            daemon.write(1, round, (block + u64::from(round)) * BLOCK, BLOCK).await;
        }
        daemon.write(0, 0, 4 << 20, BLOCK).await;
        let run = run_id(u128::from(round));
        let view = open(&source, &next(&daemon, &vm, &run, &base)).await;
        for (disk, volume) in view.volumes.iter().enumerate() {
            assert!(volume.tracked, "{:?}", volume.note);
            assert!(bytes_to_read(volume).await <= 4 * BLOCK);
            assert_same(&content(volume, Some(&before[disk])).await, &daemon.disks[disk].bytes, "increment");
        }
        before = daemon.disks.iter().map(|disk| disk.bytes.clone()).collect();
        drop(view);
        source.settle(&vm, &run, Settle::Committed).await.unwrap();
        assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &run), true)]);
        base = run;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_given_up_loses_no_change() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let base = run_id(1);
    drop(open(&source, &first(&vm, &base)).await);
    let before = daemon.disks[0].bytes.clone();
    source.settle(&vm, &base, Settle::Committed).await.unwrap();
    for round in 2..5u8 {
        daemon.write(0, round, u64::from(round) * BLOCK, 512).await;
        let run = run_id(u128::from(round));
        drop(open(&source, &next(&daemon, &vm, &run, &base)).await);
        daemon.write(0, round, u64::from(round + 50) * BLOCK, 512).await;
        for _ in 0..2 {
            source.settle(&vm, &run, Settle::Abandoned).await.unwrap();
            assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &base), true)]);
        }
        daemon.write(0, round, u64::from(round + 90) * BLOCK, 512).await;
    }
    let view = open(&source, &next(&daemon, &vm, &run_id(9), &base)).await;
    assert!(view.volumes[0].tracked);
    assert_same(&content(&view.volumes[0], Some(&before)).await, &daemon.disks[0].bytes, "after three runs given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_run_finds_the_same_point() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("qcow2", SIZE)]).await;
    daemon.write(0, 1, 0, BLOCK).await;
    let vm = daemon.vm_id().await;
    let base = run_id(1);
    drop(open(&daemon.source(), &first(&vm, &base)).await);
    let before = daemon.disks[0].bytes.clone();
    daemon.source().settle(&vm, &base, Settle::Committed).await.unwrap();
    daemon.write(0, 2, 9 * BLOCK, BLOCK).await;

    let mut order = next(&daemon, &vm, &run_id(2), &base);
    let view = open(&daemon.source(), &order).await;
    let then = daemon.disks[0].bytes.clone();
    daemon.write(0, 3, 9 * BLOCK, BLOCK).await;
    let again = open(&daemon.source(), &order).await;
    assert!(again.resumed && again.point == view.point);
    order.expect_point = Some(view.point.clone());
    let expected = open(&daemon.source(), &order).await;
    assert!(expected.resumed && expected.volumes[0].tracked);
    assert_same(&content(&expected.volumes[0], Some(&before)).await, &then, "resumed");

    daemon.restart().await;
    let lost = daemon.source().open(&order).await.err().unwrap();
    assert_eq!(lost.code, Code::PointInTimeLost, "{lost}");
    assert_eq!(daemon.leftovers().await.len(), 2, "the scratch files of the lost point, and nothing new");
    order.expect_point = None;
    let anew = open(&daemon.source(), &order).await;
    assert!(!anew.resumed && anew.point != view.point && anew.volumes[0].tracked);
    assert_same(&content(&anew.volumes[0], Some(&before)).await, &daemon.disks[0].bytes, "taken anew");
    let stale = view.volumes[0].reader.read(Extent::between(0, BLOCK)).await.unwrap_err();
    assert_eq!(stale.code, Code::PointInTimeLost, "a reader never moves on to another point: {stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_survives_an_orderly_end_and_not_a_kill() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("raw", SIZE)]).await;
    let vm = daemon.vm_id().await;
    let base = run_id(1);
    drop(open(&daemon.source(), &first(&vm, &base)).await);
    let before = daemon.disks[0].bytes.clone();
    daemon.source().settle(&vm, &base, Settle::Committed).await.unwrap();
    daemon.write(0, 1, 3 * BLOCK, BLOCK).await;
    daemon.restart().await;
    daemon.write(0, 2, 7 * BLOCK, BLOCK).await;

    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(2), &base)).await;
    assert!(view.volumes[0].tracked, "{:?}", view.volumes[0].note);
    assert_same(&content(&view.volumes[0], Some(&before)).await, &daemon.disks[0].bytes, "after a restart");
    assert!(!view.volumes[1].tracked, "raw images keep no bitmaps");
    assert!(view.volumes[1].note.as_ref().unwrap().contains("missing"));
    drop(view);
    daemon.source().settle(&vm, &run_id(2), Settle::Abandoned).await.unwrap();

    daemon.kill_and_restart().await;
    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(3), &base)).await;
    assert!(!view.volumes[0].tracked);
    let note = view.volumes[0].note.clone().unwrap();
    assert!(note.contains("killed"), "{note}");
    assert_same(&content(&view.volumes[0], None).await, &daemon.disks[0].bytes, "after a kill");
    assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &run_id(3)), true)], "the useless one is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resized_disk_and_another_generation_are_not_believed() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let vm = daemon.vm_id().await;
    let base = run_id(1);
    drop(open(&daemon.source(), &first(&vm, &base)).await);
    daemon.source().settle(&vm, &base, Settle::Committed).await.unwrap();
    let order = next(&daemon, &vm, &run_id(2), &base);
    let mut qmp = daemon.qmp().await;
    qmp.execute("block-export-del", json!({ "id": "guest0" })).await.unwrap();
    while qmp.execute("query-block-exports", Value::Null).await.unwrap() != json!([]) {}
    qmp.execute("block_resize", json!({ "node-name": "disk0", "size": 2 * SIZE })).await.unwrap();
    let guest = json!({ "type": "nbd", "id": "guest0", "name": "guest0", "node-name": "disk0", "writable": true });
    qmp.execute("block-export-add", guest).await.unwrap();
    drop(qmp);
    daemon.disks[0].bytes.resize(2 * SIZE as usize, 0);
    daemon.write(0, 5, SIZE + BLOCK, BLOCK).await;

    let view = open(&daemon.source(), &order).await;
    let note = view.volumes[0].note.clone().unwrap();
    assert!(!view.volumes[0].tracked && note.contains(&format!("resized from {SIZE} to {}", 2 * SIZE)), "{note}");
    assert_same(&content(&view.volumes[0], None).await, &daemon.disks[0].bytes, "resized");
    drop(view);
    daemon.source().settle(&vm, &run_id(2), Settle::Committed).await.unwrap();

    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(3), &run_id(77))).await;
    let note = view.volumes[0].note.clone().unwrap();
    assert!(!view.volumes[0].tracked && note.contains("another generation"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_come_and_go() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("qcow2", SIZE)]).await;
    let vm = daemon.vm_id().await;
    let base = run_id(1);
    let mut qmp = daemon.qmp().await;
    qmp.execute("block-export-del", json!({ "id": "guest1" })).await.unwrap();
    while qmp.execute("query-block-exports", Value::Null).await.unwrap().as_array().unwrap().len() > 1 {}
    drop(qmp);
    let view = open(&daemon.source(), &first(&vm, &base)).await;
    assert_eq!(view.volumes.len(), 1);
    drop(view);
    daemon.source().settle(&vm, &base, Settle::Committed).await.unwrap();

    let guest = json!({ "type": "nbd", "id": "guest1", "name": "guest1", "node-name": "disk1", "writable": true });
    daemon.execute("block-export-add", guest).await;
    daemon.write(1, 4, 0, BLOCK).await;
    let mut order = next(&daemon, &vm, &run_id(2), &base);
    order.baselines.truncate(1);
    let view = open(&daemon.source(), &order).await;
    assert!(view.volumes[0].tracked && !view.volumes[1].tracked && view.volumes[1].note.is_none());
    assert_same(&content(&view.volumes[1], None).await, &daemon.disks[1].bytes, "added");
    drop(view);
    daemon.source().settle(&vm, &run_id(2), Settle::Committed).await.unwrap();

    daemon.execute("block-export-del", json!({ "id": "guest0" })).await;
    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(3), &run_id(2))).await;
    assert_eq!(view.volumes.iter().map(|v| v.device.as_str()).collect::<Vec<_>>(), ["disk1"]);
    assert!(view.volumes[0].tracked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_left_alone() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE), ("qcow2", SIZE)]).await;
    daemon.write(0, 4, 0, BLOCK).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let mut qmp = daemon.qmp().await;
    let foreign = ["libvirt-1", "godwit-ffffffff-sms-run-00000001", "godwit-0a1b2c3d-notes"];
    for name in foreign {
        let bitmap = json!({ "node": "disk0", "name": name, "granularity": 65536 });
        qmp.execute("block-dirty-bitmap-add", bitmap).await.unwrap();
    }
    let target =
        json!({ "driver": "null-co", "node-name": "godwit-ffffffff-00000001-0s", "size": SIZE, "read-zeroes": true });
    qmp.execute("blockdev-add", target).await.unwrap();
    let job = json!({ "job-id": "godwit-ffffffff-sms-run-00000001-0.1", "device": "disk1",
        "target": "godwit-ffffffff-00000001-0s", "sync": "none" });
    qmp.execute("blockdev-backup", job).await.unwrap();
    drop(qmp);

    // QEMU lets two backups of a disk run side by side, each with a filter of its own.
    daemon.write(1, 5, 0, BLOCK).await;
    let view = open(&source, &first(&vm, &run_id(1))).await;
    let then = daemon.disks[1].bytes.clone();
    daemon.write(1, 6, 0, BLOCK).await;
    assert_same(&content(&view.volumes[1], None).await, &then, "beside another backup");
    drop(view);
    source.settle(&vm, &run_id(1), Settle::Forget).await.unwrap();
    sweep(&source, &[], &[]).await.unwrap();
    assert_eq!(daemon.leftovers().await, [""; 0]);
    let names: Vec<String> = daemon.bitmaps(0).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["godwit-0a1b2c3d-notes", "godwit-ffffffff-sms-run-00000001", "libvirt-1"]);
    let jobs = daemon.execute("query-block-jobs", Value::Null).await;
    assert_eq!(jobs[0]["device"], "godwit-ffffffff-sms-run-00000001-0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_spares_what_is_claimed() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let vm = daemon.vm_id().await;
    let base = run_id(1);
    drop(open(&daemon.source(), &first(&vm, &base)).await);
    let before = daemon.disks[0].bytes.clone();
    daemon.source().settle(&vm, &base, Settle::Committed).await.unwrap();
    daemon.write(0, 1, BLOCK, 512).await;

    let source = daemon.source();
    let view = open(&source, &next(&daemon, &vm, &run_id(2), &base)).await;
    daemon.write(0, 2, 5 * BLOCK, 512).await;
    let base = std::slice::from_ref(&base);
    assert_eq!(sweep(&daemon.source(), &[run_id(2)], base).await.unwrap(), [""; 0]);
    assert_eq!(all_bytes(&view.volumes[0]).await.len(), SIZE as usize);
    drop(view);

    // Before the claims come, nothing may have been decided.
    let refused = daemon.source().sweep(&|| Box::pin(async { Err(Failure::new(Code::Internal, "no claims")) })).await;
    assert_eq!(refused.unwrap_err().evidence, "no claims");
    assert_eq!(sweep(&daemon.source(), &[run_id(2)], base).await.unwrap(), [""; 0]);

    let told = sweep(&daemon.source(), &[], base).await.unwrap();
    assert!(told.iter().any(|s| s.contains("export")) && told.iter().any(|s| s.contains("bitmap")), "{told:?}");
    assert!(told.iter().any(|s| s.contains("scratch file")), "{told:?}");
    assert_eq!(daemon.leftovers().await, [""; 0]);
    assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &base[0]), true)]);
    assert_eq!(sweep(&daemon.source(), &[], base).await.unwrap(), [""; 0]);

    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(3), &base[0])).await;
    assert!(view.volumes[0].tracked);
    assert_same(&content(&view.volumes[0], Some(&before)).await, &daemon.disks[0].bytes, "swept, nothing lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_ends_the_point_of_a_run_that_is_a_baseline_but_not_at_work() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let vm = daemon.vm_id().await;
    // Committed, but never settled: the source could not be reached.
    drop(open(&daemon.source(), &first(&vm, &run_id(1))).await);
    let told = sweep(&daemon.source(), &[], &[run_id(1)]).await.unwrap();
    assert!(told.iter().any(|s| s.contains("job")) && told.iter().any(|s| s.contains("scratch file")), "{told:?}");
    assert!(told.iter().all(|s| !s.contains("bitmap")), "{told:?}");
    assert_eq!(daemon.leftovers().await, [""; 0]);
    assert_eq!(daemon.bitmaps(0).await, [(daemon.bitmap(0, &run_id(1)), true)]);
    let view = open(&daemon.source(), &next(&daemon, &vm, &run_id(2), &run_id(1))).await;
    assert!(view.volumes[0].tracked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_gone_leaves_nothing_behind() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let view = open(&source, &first(&vm, &run_id(1))).await;
    daemon.kill();
    let lost = view.volumes[0].reader.read(Extent::between(0, BLOCK)).await.unwrap_err();
    assert_eq!(lost.code, Code::SourceRead, "{lost}");
    let gone = source.open(&first(&vm, &run_id(1))).await.err().unwrap();
    assert_eq!(gone.code, Code::ServerGone, "{gone}");
    for end in [Settle::Abandoned, Settle::Committed, Settle::Forget] {
        source.settle(&vm, &run_id(1), end).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(daemon.path("scratch")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_folder_without_room_refuses_before_the_guest_suffers() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let vm = daemon.vm_id().await;
    let mut options = daemon.options();
    options.scratch_reserve = u64::MAX;
    let source = godwit_sources::qmp::source::QmpSource::new(options);
    let refused = source.open(&first(&vm, &run_id(1))).await.err().unwrap();
    assert!(refused.code == Code::SourceRefused && refused.evidence.contains("scratch folder"), "{refused}");
    let mut options = daemon.options();
    options.scratch_dir = daemon.path("nowhere");
    let source = godwit_sources::qmp::source::QmpSource::new(options);
    let refused = source.open(&first(&vm, &run_id(1))).await.err().unwrap();
    assert_eq!(refused.code, Code::SourceRefused, "{refused}");
    assert_eq!(daemon.bitmaps(0).await, []);
}
