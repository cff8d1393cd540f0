//! Points in time that are taken while the guest writes to all disks.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::writer::{WRITTEN, Writer};
use common::*;
use futures::{StreamExt, stream};
use godwit_blocks::source::{ExtentKind, Settle, Source, VolumeView};
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use std::collections::BTreeSet;

const HUGE: u64 = 4 << 30;
const ROUNDS: u128 = 6;

/// Of the blocks from `from` to `to`: those that the view says may have changed, and those that it shows as written.
async fn changed_and_written(volume: &VolumeView, from: u64, to: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let mut changed = BTreeSet::new();
    for window in Extent::between(from * BLOCK, to * BLOCK).pieces(64 << 20) {
        for known in volume.reader.extents(window).await.unwrap() {
            if known.kind != ExtentKind::Unchanged {
                changed.extend(known.extent.offset / BLOCK..known.extent.end() / BLOCK);
            }
        }
    }
    let is_written = |block: u64| async move {
        let bytes = volume.reader.read(Extent::between(block * BLOCK, block * BLOCK + WRITTEN)).await.unwrap();
        (bytes[0] != 0).then_some(block)
    };
    let written = stream::iter(from..to).map(is_written).buffered(32).filter_map(std::future::ready).collect().await;
    (changed, written)
}

/// What a view shows and the one before did not, it must report: what it does not report is taken from the one before.
async fn every_change_is_reported(mut daemon: Daemon) {
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let disks = daemon.disks.len();
    // For each disk: up to where it is written, and which of those blocks the view before did not show.
    let mut next_block = vec![0; disks];
    let mut unseen: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); disks];
    let mut found = 0;
    for round in 1..=ROUNDS {
        let begin = |disk: usize| {
            Writer::start(&daemon.path("g.sock"), &format!("guest{disk}"), BLOCK, next_block[disk]..HUGE / BLOCK)
        };
        let writers: Vec<Writer> = (0..disks).map(begin).collect();
        let order = match round {
            1 => first(&vm, &run_id(round)),
            _ => next(&daemon, &vm, &run_id(round), &run_id(round - 1)),
        };
        let view = open(&source, &order).await;
        for (disk, writer) in writers.into_iter().enumerate() {
            let volume = &view.volumes[disk];
            assert_eq!(volume.tracked, round > 1, "{:?}", volume.note);
            let from = unseen[disk].first().copied().unwrap_or(next_block[disk]);
            unseen[disk].extend(next_block[disk]..writer.stop());
            next_block[disk] = unseen[disk].last().map_or(from, |last| last + 1);
            let (changed, written) = changed_and_written(volume, from, next_block[disk]).await;
            let fresh: BTreeSet<u64> = unseen[disk].intersection(&written).copied().collect();
            let lost: Vec<&u64> = fresh.difference(&changed).collect();
            assert!(lost.is_empty(), "round {round}, disk {disk}: {lost:?} of {} blocks are lost", fresh.len());
            unseen[disk].retain(|block| !written.contains(block));
            found += fresh.len();
        }
        drop(view);
        source.settle(&vm, &run_id(round), Settle::Committed).await.unwrap();
    }
    println!("{found} found");
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_around_a_point_is_reported() {
    every_change_is_reported(Daemon::start(&[("qcow2", HUGE), ("raw", HUGE)]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_around_a_point_is_reported_by_a_daemon_of_two_threads() {
    let daemon = Daemon::start_with(&[("raw", HUGE), ("qcow2", HUGE)], true).await;
    if daemon.qmp().await.version() >= "9" || daemon.qmp().await.version().starts_with("10") {
        return every_change_is_reported(daemon).await;
    }
    // This one would break down, and a guest with it.
    let (source, vm) = (daemon.source(), daemon.vm_id().await);
    let refused = source.open(&first(&vm, &run_id(1))).await.err().unwrap();
    assert!(refused.code == Code::SourceRefused && refused.evidence.contains("iothreads"), "{refused}");
    let found = source.discover().await.unwrap();
    assert!(found.warnings.iter().any(|warning| warning.contains("iothreads")), "{:?}", found.warnings);
    assert_eq!(daemon.leftovers().await, [""; 0]);
}
