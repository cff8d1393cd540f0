//! What is left when the weather has been good for hours.

use super::{Record, id, ids, rows};
use crate::service::Service;
use crate::testing::{PACK, World};
use godwit_model::id::{ImageId, PackId, SnapshotId};
use godwit_model::key::KeyState;
use godwit_model::store_use::superfluous;
use godwit_model::time::{Millis, Timestamp};
use sqlx::Row;
use std::collections::BTreeSet;

impl Record {
    /// The weather has been good since `calm`, for hours: everything that is anywhere is needed by something on record.
    pub async fn look_at_rest(&mut self, service: &Service, world: &World, calm: Timestamp, now: Timestamp) {
        self.counts.rests += 1;
        let store = service.store();
        let claims = store.claims().await.unwrap();
        let at_work: BTreeSet<SnapshotId> = ids(
            service,
            "SELECT snapshot_id FROM run_volume WHERE run_id IN (SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING'))",
        )
        .await;
        let known: BTreeSet<SnapshotId> = ids(service, "SELECT snapshot_id FROM snapshot").await;
        let images: BTreeSet<ImageId> = ids(service, "SELECT image_id FROM image").await;
        let drawn: BTreeSet<ImageId> =
            ids(service, "SELECT image_id FROM run WHERE state = 'ACTIVE' AND image_id IS NOT NULL").await;
        let packs: BTreeSet<PackId> = ids(service, "SELECT pack_id FROM pack_ledger").await;
        let connected = !rows(service, "SELECT connector_id FROM connector").await.is_empty();
        {
            let state = world.look();
            if connected {
                assert!(
                    state.points.keys().all(|run| claims.all_of(run)),
                    "left at the source: {:?}, {claims:?}",
                    state.points
                );
                // A run that cleans up has its image, and is about to end the tracker of the one before.
                let is_at_work = |vm: &String| state.points.values().any(|held| held.vm_id == *vm);
                assert!(
                    state.trackers.iter().all(|(vm, run)| claims.trackers_of(run) || is_at_work(vm)),
                    "trackers left: {:?}, {claims:?}",
                    state.trackers
                );
            }
            let unneeded: Vec<_> =
                state.snapshots.keys().filter(|s| !known.contains(s) && !at_work.contains(s)).collect();
            assert!(unneeded.is_empty(), "snapshots that nothing needs: {unneeded:?}");
            assert!(known.iter().all(|s| state.snapshots.contains_key(s)), "a snapshot on record is not in the store");
            let unneeded: Vec<_> = state.images.keys().filter(|i| !images.contains(i) && !drawn.contains(i)).collect();
            assert!(unneeded.is_empty(), "images that nothing needs: {unneeded:?}");
            assert!(images.iter().all(|i| state.images.contains_key(i)), "an image on record is not in the store");
        }
        // The driver looks once in a tick whether a sweep is due.
        let overdue = now - Millis::DAY - Millis(2 * self.options.tick.as_millis() as i64);
        look_at_sweeps(service, world, &packs, overdue, calm).await;
        // A sample that could not be taken before it was calm is tried again when the next one would be due.
        let longest =
            self.options.sampling.every.unwrap_or(Millis(0)) + Millis(2 * self.options.tick.as_millis() as i64);
        look_at_use(service, now - longest, now).await;
        let ending = rows(service, "SELECT job_id FROM job WHERE state IN ('FAILING', 'DELETING')").await;
        assert!(ending.is_empty(), "a job does not come to its end in good weather");
        look_at_keys(service, world).await;
        self.nothing_is_kept_too_long(service, now, true).await;
        self.look_at_letters_at_rest(now);
        let unwell = rows(service, "SELECT connector_id FROM connector WHERE status <> 'HEALTHY'").await;
        assert!(unwell.is_empty(), "a connector stays unhealthy in good weather");
    }
}

impl Record {
    /// The driver looks once in a tick what is over: what was over for two of them before this is gone, or has changed,
    /// unless there was an excuse. In bad weather a job waits until what it staged is removed.
    pub(super) async fn nothing_is_kept_too_long(&self, service: &Service, now: Timestamp, is_at_rest: bool) {
        let kept = self.options.retention;
        let looked = now - Millis(2 * self.options.tick.as_millis() as i64);
        if self.is_excused(looked, now) {
            return;
        }
        let deleted = match is_at_rest {
            true => "SELECT job_id FROM job WHERE state = 'DELETED' AND state_since",
            false => {
                "SELECT job_id FROM job WHERE state = 'DELETED' AND NOT EXISTS (SELECT 1 FROM pack_ledger JOIN run \
                 ON run.run_id = pack_ledger.run_id WHERE run.job_id = job.job_id) AND state_since"
            }
        };
        let all = [
            (kept.paused_jobs, "SELECT job_id FROM job WHERE state = 'PAUSED_ON_FAILURE' AND state_since"),
            (kept.deleted_jobs, deleted),
            (kept.catalog, "SELECT status FROM catalog WHERE status = 'AVAILABLE' AND modified_at"),
            (
                self.options.notify.keep,
                "SELECT event_id FROM job_event WHERE NOT EXISTS (SELECT 1 FROM notification WHERE \
                 notification.event_id = job_event.event_id AND state = 'PENDING') AND happened_at",
            ),
        ];
        for (kept, what) in all {
            let Some(kept) = kept else { continue };
            let overdue = rows(service, format!("{what} <= {}", (looked - kept).0)).await;
            let first: Option<String> = overdue.first().map(|row| row.get(0));
            assert_eq!(first, None, "kept for too long, the first of {}: {what}", overdue.len());
        }
    }
}

/// The store is swept every day, in good weather with success, and nothing that nobody knows is older than a sweep allows.
async fn look_at_sweeps(
    service: &Service,
    world: &World,
    ledger: &BTreeSet<PackId>,
    overdue: Timestamp,
    calm: Timestamp,
) {
    let sweeps = rows(service, "SELECT started_at, state, left_behind FROM store_sweep ORDER BY started_at DESC").await;
    let began = |row: &sqlx::any::AnyRow| Timestamp(row.get(0));
    let is_done = |row: &&sqlx::any::AnyRow| row.get::<&str, _>(1) == "COMPLETED" && row.get::<i64, _>(2) == 0;
    let Some(last) = sweeps.first() else { return };
    assert!(began(last) > overdue, "not swept since {:?}", began(last));
    assert!(began(last) <= calm || is_done(&last), "a sweep fails in good weather: {}", last.get::<&str, _>(1));
    // What a later sweep looked at is older by that time alone, so the last one decides.
    if let Some(swept) = sweeps.iter().find(is_done).map(began) {
        let old = swept - Millis::DAY.times(7);
        let stray: Vec<_> = world.stray_packs(old).into_iter().filter(|pack| !ledger.contains(pack)).collect();
        assert!(stray.is_empty(), "packs that nobody knows are not swept: {stray:?}");
        let staged = "SELECT pack_id, durable_at FROM pack_ledger WHERE durable_at IS NOT NULL AND run_id IN \
                      (SELECT run_id FROM run WHERE state = 'FAILED')";
        for row in rows(service, staged).await {
            assert!(Timestamp(row.get(1)) > old, "staged for too long: {}", id::<PackId>(&row, 0));
        }
    }
}

/// What the store holds is recorded in time; nothing is kept that is to go, none lies ahead of the clock, and the
/// parts of every sample are parts of what was there.
async fn look_at_use(service: &Service, overdue: Timestamp, now: Timestamp) {
    let samples = service.store().samples(Timestamp(i64::MIN), Timestamp(i64::MAX)).await.unwrap();
    let last = samples.last().expect("a sample is taken at the first start").at;
    assert!(last > overdue && last <= now, "sampled last at {last:?}, and it is {now:?}");
    let times: Vec<Timestamp> = samples.iter().map(|sample| sample.at).collect();
    assert_eq!(superfluous(&times, last), [], "samples are kept for too long");
    assert!(samples.iter().all(|sample| sample.bytes() == sample.packs * PACK), "{samples:?}");
}

/// One key is the default, and may be used; names and material agree; every image is under the key that it says.
async fn look_at_keys(service: &Service, world: &World) {
    let keys = service.store().keys(None, 10_000).await.unwrap();
    let images = service.store().images(None, None, 10_000).await.unwrap();
    let state = world.look();
    let defaults: Vec<_> = keys.iter().filter(|key| key.is_default).collect();
    assert!(defaults.len() == 1 && defaults[0].state == KeyState::Enabled, "{defaults:?}");
    for key in &keys {
        assert!(state.keys.get(&key.id).is_some_and(|made| *made >= key.version), "{key:?} has no material");
        assert_eq!(state.disabled_keys.contains(&key.id), key.state == KeyState::Disabled, "{key:?}");
    }
    for image in &images {
        assert_eq!(state.images[&image.id].key, image.key, "{}", image.id);
        let snapshots = image.volumes.iter().map(|volume| &state.snapshots[&volume.snapshot]);
        assert!(snapshots.into_iter().all(|snapshot| snapshot.key == image.key), "{}", image.id);
        assert!(keys.iter().any(|key| key.id == image.key && key.version >= image.key_version), "{image:?}: {keys:?}");
    }
}
