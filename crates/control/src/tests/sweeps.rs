//! Sweeps of the store: what goes when, beside runs, once a day and on request, with what is on record.

use crate::replicator::PackRange;
use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS, until};
use godwit_model::failure::Code;
use godwit_model::id::{JobId, PackId};
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Packs of a run over both volumes.
const OF_A_RUN: usize = 2 * PACKS as usize;

async fn sweeps(service: &Service) -> Vec<Sweep> {
    service.describe_sweeps(None, &Page::default()).await.unwrap().items
}

/// Sweeps and waits for the end.
async fn swept(h: &Harness, service: &Service) -> Sweep {
    let id = service.start_sweep(h.now()).await.unwrap();
    let one = [id.to_string()];
    let look = async || service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
    until("the end of a sweep", async || look().await.state != SweepState::Running).await;
    look().await
}

/// A job whose first run failed after it had sent everything, and whose next is an hour away.
async fn failed_with_staged_packs(h: &Harness, service: &Service) -> JobId {
    h.world.script("verify", vec![Act::Fail(Code::SourceRefused); 9]);
    let job = h.hourly(service).await;
    h.until_runs(service, &job, 1, RunState::Failed).await;
    h.world.script("verify", vec![]);
    assert_eq!((h.world.n_packs(), h.world.loose_packs()), (OF_A_RUN, OF_A_RUN));
    job
}

#[tokio::test]
async fn what_a_failed_run_staged_is_kept_for_the_next_one_until_it_is_too_old() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    h.options.sweeping.staging = Millis::MINUTE.times(30);
    let (control, service) = h.serve().await;
    let job = failed_with_staged_packs(&h, &service).await;

    h.wait(Millis::MINUTE.times(29), &service);
    let preview = service.preview_sweep(h.now()).await.unwrap();
    assert_eq!((preview.plan.staged.packs, preview.expired_staged.packs), (OF_A_RUN as u64, 0));
    let sweep = swept(&h, &service).await;
    assert_eq!((sweep.state, sweep.packs_freed, h.world.n_packs()), (SweepState::Completed, 0, OF_A_RUN));

    h.wait(Millis::MINUTE, &service);
    let preview = service.preview_sweep(h.now()).await.unwrap();
    assert_eq!(preview.expired_staged.packs, OF_A_RUN as u64);
    assert_eq!(preview.bytes_to_free(), OF_A_RUN as u64 * PACK);
    assert_eq!(h.world.n_packs(), OF_A_RUN, "a preview changes nothing");
    let sweep = swept(&h, &service).await;
    assert_eq!((sweep.packs_freed, sweep.bytes_freed), (OF_A_RUN as u64, OF_A_RUN as u64 * PACK), "{sweep:?}");
    assert_eq!(h.world.n_packs(), 0);

    // The next run misses nothing.
    h.wait(Millis::MINUTE.times(30), &service);
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    assert_eq!(h.images(&service).await.len(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn what_was_handed_to_a_run_at_work_stays_however_old_it_is() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let job = failed_with_staged_packs(&h, &service).await;
    let go_on = Arc::new(Notify::new());
    h.world.script("transfer", [Act::Wait(go_on.clone())]);
    let calls = h.world.calls("transfer");
    h.wait(Millis::HOUR, &service);
    h.until_calls("transfer", calls + 1).await;
    h.wait(Millis::DAY.times(30), &service);
    let sweep = swept(&h, &service).await;
    assert_eq!((sweep.packs_freed, h.world.n_packs()), (0, OF_A_RUN), "{sweep:?}");
    go_on.notify_one();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let sent: u64 = h.runs(&service, &job).await[1].volumes.iter().map(|v| v.figures.bytes_sent).sum();
    assert_eq!(sent, 0, "everything was resumed from");
    control.shutdown().await;
}

#[tokio::test]
async fn deleting_an_image_frees_its_packs_at_the_next_sweep_and_what_nobody_knows_waits_for_its_time() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    h.world.look().version += 1;
    h.wait(Millis::MINUTE, &service);
    service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap();
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    h.world.lose_track_of_a_pack();
    assert_eq!(h.world.n_packs(), 2 * OF_A_RUN + 1);

    let oldest = h.images(&service).await.pop().unwrap();
    service.delete_image(oldest.id.as_str(), h.now()).await.unwrap();
    until("the deletion", async || h.snapshots(&service).await.len() == 2).await;
    let preview = service.preview_sweep(h.now()).await.unwrap();
    assert_eq!((preview.plan.released.packs, preview.plan.waiting.packs), (OF_A_RUN as u64, 1), "{preview:?}");
    let sweep = swept(&h, &service).await;
    assert_eq!((sweep.packs_freed, sweep.left), (OF_A_RUN as u64, 0));
    assert_eq!(h.world.n_packs(), OF_A_RUN + 1);

    h.wait(Millis::DAY.times(7), &service);
    assert_eq!(swept(&h, &service).await.packs_freed, 1);
    // The job's next run fell due: what it sends is named when it ends.
    until("the end of the run", async || h.world.loose_packs() == 0).await;
    control.shutdown().await;
}

#[tokio::test]
async fn the_store_is_swept_once_a_day_from_the_first_run_on() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.replicated(&service).await;
    h.wait(Millis::HOUR.times(23), &service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(sweeps(&service).await.is_empty());
    for n in 1..3 {
        h.wait(Millis::HOUR.times(24), &service);
        until("a daily sweep", async || {
            let all = sweeps(&service).await;
            all.len() == n && all[0].state == SweepState::Completed
        })
        .await;
    }
    let all = sweeps(&service).await;
    assert!(all.iter().all(|sweep| !sweep.on_demand && sweep.ended_at.is_some()));
    let store = service.describe_store(h.now()).await.unwrap();
    assert_eq!(store.last_sweep.as_ref(), Some(&all[0]));
    assert_eq!(store.next_sweep, Some(all[0].started_at + Millis::DAY));
    control.shutdown().await;
}

#[tokio::test]
async fn one_sweep_at_a_time_and_a_second_request_means_the_first() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let go_on = Arc::new(Notify::new());
    h.world.script("sweep_store", [Act::Wait(go_on.clone())]);
    let first = service.start_sweep(h.now()).await.unwrap();
    h.until_calls("sweep_store", 1).await;
    assert_eq!(service.start_sweep(h.now()).await.unwrap(), first);
    go_on.notify_one();
    until("the end", async || sweeps(&service).await[0].state == SweepState::Completed).await;
    assert_eq!(h.world.calls("sweep_store"), 1);
    assert_ne!(service.start_sweep(h.now()).await.unwrap(), first);
    control.shutdown().await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_tried_again_and_then_the_sweep_has_failed_and_says_why() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("sweep_store", [Act::Fail(Code::StoreUnavailable)]);
    assert_eq!(swept(&h, &service).await.state, SweepState::Completed);
    h.world.script("sweep_store", vec![Act::Fail(Code::StoreUnavailable); 9]);
    let sweep = swept(&h, &service).await;
    assert_eq!(sweep.state, SweepState::Failed);
    assert!(sweep.message.unwrap().contains("scripted failure of sweep_store"));
    control.shutdown().await;
}

/// A disk so full that not even the sweep can be written down.
#[tokio::test]
async fn a_sweep_that_is_due_comes_even_if_the_database_cannot_grow() {
    let mut h = Harness::new();
    h.options.heartbeat = Duration::from_millis(50);
    let (control, service) = h.serve().await;
    h.replicated(&service).await;
    h.world.lose_track_of_a_pack();
    let job = h.runs(&service, &h.images(&service).await[0].job).await[0].job.clone();
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, godwit_model::job::JobState::Deleted).await;
    service.store().limit_growth().await;
    let before = h.world.n_packs();
    h.wait(Millis::DAY.times(8), &service);
    until("the sweep", async || h.world.n_packs() == before - 1).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_parent_stays_while_a_run_builds_on_it_though_its_baseline_is_forgotten() {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    let image = h.images(&service).await.remove(0);
    let go_on = Arc::new(Notify::new());
    h.world.script("transfer", [Act::Wait(go_on.clone())]);
    let calls = h.world.calls("transfer");
    service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap();
    h.until_calls("transfer", calls + 1).await;
    service.store().forget_baseline_of(&image.id).await.unwrap();
    service.delete_image(image.id.as_str(), h.now()).await.unwrap();
    until("the deletion", async || h.images(&service).await.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let parents: Vec<_> = image.volumes.iter().map(|v| v.snapshot.clone()).collect();
    assert!(parents.iter().all(|p| h.world.look().snapshots.contains_key(p)), "a parent is gone");
    let claims = service.store().store_claims().await.unwrap();
    assert!(parents.iter().all(|p| claims.in_use.contains(p)), "{claims:?}");
    go_on.notify_one();
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    until("the removal of the parents", async || parents.iter().all(|p| !h.world.look().snapshots.contains_key(p)))
        .await;
    control.shutdown().await;
}

#[tokio::test]
async fn the_ledger_is_claimed_in_ranges() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    failed_with_staged_packs(&h, &service).await;
    let claims = service.store().store_claims().await.unwrap();
    let first = PackId::from_bits(1);
    assert_eq!(claims.packs, [PackRange { first, count: OF_A_RUN as u64 }]);
    control.shutdown().await;
}

#[tokio::test]
async fn a_sweep_that_is_stopped_goes_on_at_the_next_start() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.replicated(&service).await;
    h.world.lose_track_of_a_pack();
    h.wait(Millis::DAY.times(7), &service);
    until("the daily sweep", async || {
        let sweeps = service.describe_sweeps(None, &Page::default()).await.unwrap().items;
        h.world.loose_packs() == 0 && sweeps.iter().all(|sweep| sweep.state != SweepState::Running)
    })
    .await;
    h.world.script("sweep_store", [Act::Hang]);
    let calls = h.world.calls("sweep_store");
    let id = service.start_sweep(h.now()).await.unwrap();
    h.until_calls("sweep_store", calls + 1).await;
    control.shutdown().await;

    let (control, service) = h.serve().await;
    let one = [id.to_string()];
    until("the end of the sweep", async || {
        let sweep = service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
        sweep.state == SweepState::Completed && sweep.on_demand
    })
    .await;
    control.shutdown().await;
}
