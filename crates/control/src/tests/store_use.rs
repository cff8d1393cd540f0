//! The use of the store over time: sampled each hour and behind every sweep, without a look where none is needed.

use super::kill::at_every_step_of;
use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS, START, until};
use godwit_model::failure::Code;
use godwit_model::id::JobId;
use godwit_model::run::RunState;
use godwit_model::store_use::{Pace, Sample};
use godwit_model::time::{Millis, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes of a run over both volumes.
const OF_A_RUN: u64 = 2 * PACKS * PACK;

/// A service that records the use of its store, and is swept on request only.
fn sampling() -> Harness {
    let mut h = Harness::new();
    h.options.sweeping.every = None;
    h.options.sampling = Pace::default();
    h
}

async fn samples(service: &Service) -> Vec<Sample> {
    service.describe_store_use(&StoreUseFilter::default()).await.unwrap().samples
}

async fn until_samples(service: &Service, n: usize) -> Vec<Sample> {
    until(&format!("{n} samples"), async || samples(service).await.len() >= n).await;
    let all = samples(service).await;
    assert_eq!(all.len(), n, "{all:?}");
    all
}

/// The sample of this moment.
async fn until_sampled_now(h: &Harness, service: &Service) -> Sample {
    let last = async || samples(service).await.pop();
    until("a sample", async || last().await.is_some_and(|last| last.at == h.now())).await;
    last().await.unwrap()
}

async fn swept(h: &Harness, service: &Service) -> Sweep {
    let one = [service.start_sweep(h.now()).await.unwrap().to_string()];
    let look = async || service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
    until("the end of a sweep", async || look().await.state != SweepState::Running).await;
    look().await
}

/// Nothing happens for a while in which it would have.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

/// A job that makes no more runs, with one image.
async fn one_image(h: &Harness, service: &Service) -> JobId {
    let job = h.once(service).await;
    h.until_runs(service, &job, 1, RunState::Completed).await;
    job
}

#[tokio::test]
async fn a_sample_is_taken_each_hour_and_its_parts_are_those_of_the_store() {
    let h = sampling();
    let (control, service) = h.serve().await;
    let first = until_samples(&service, 1).await[0];
    assert_eq!((first.at, first.packs, first.bytes()), (START, 0, 0), "at the start, of an empty store");
    one_image(&h, &service).await;
    h.world.lose_track_of_a_pack();
    h.wait(Millis::MINUTE.times(59), &service);
    a_moment().await;
    assert_eq!(samples(&service).await.len(), 1);
    assert_eq!(service.describe_store_use(&StoreUseFilter::default()).await.unwrap().next, Some(START + Millis::HOUR));

    h.wait(Millis::MINUTE, &service);
    let second = until_samples(&service, 2).await[1];
    let plan = service.describe_store(h.now()).await.unwrap().preview.plan;
    assert_eq!((second.at, second.packs, second.bytes()), (h.now(), plan.all.packs, plan.all.bytes));
    assert_eq!((second.live, second.staged, second.dead, second.to_free), (OF_A_RUN, PACK, 0, 0), "{second:?}");
    control.shutdown().await;
}

#[tokio::test]
async fn behind_every_sweep_there_is_a_sample_that_shows_what_it_freed() {
    let h = sampling();
    let (control, service) = h.serve().await;
    one_image(&h, &service).await;
    until_samples(&service, 1).await;
    let image = h.images(&service).await.remove(0);
    service.delete_image(image.id.as_str(), h.now()).await.unwrap();
    until("the deletion", async || h.snapshots(&service).await.is_empty()).await;
    h.wait(Millis::HOUR, &service);
    let before = until_samples(&service, 2).await[1];
    assert_eq!((before.live, before.to_free), (0, OF_A_RUN), "{before:?}");

    h.wait(Millis::MINUTE, &service);
    assert_eq!(swept(&h, &service).await.bytes_freed, OF_A_RUN);
    let behind = until_samples(&service, 3).await[2];
    assert_eq!((behind.at, behind.bytes()), (h.now(), 0));
    // The next one is an hour behind that.
    h.wait(Millis::MINUTE.times(59), &service);
    a_moment().await;
    assert_eq!(samples(&service).await.len(), 3);

    // Swept again and again, it is not looked at as often: the first of these sweeps has its sample, which is waited for,
    // as else it might come behind them all.
    for _ in 0..3 {
        h.wait(Millis::SECOND.times(2), &service);
        swept(&h, &service).await;
        until_samples(&service, 4).await;
    }
    a_moment().await;
    assert_eq!(samples(&service).await.len(), 4);
    h.wait(Millis::SECOND.times(10), &service);
    until_samples(&service, 5).await;
    control.shutdown().await;
}

#[tokio::test]
async fn where_nothing_has_changed_the_figures_are_repeated_without_a_look() {
    let h = sampling();
    let (control, service) = h.serve().await;
    until_samples(&service, 1).await;
    let mut looks = h.world.calls("plan_sweep");
    one_image(&h, &service).await;
    h.world.lose_track_of_a_pack();
    // The first of these looks, as a run was made meanwhile; the others need not.
    for n in 0..4 {
        h.wait(Millis::HOUR, &service);
        let last = until_sampled_now(&h, &service).await;
        assert_eq!((last.live, last.staged), (OF_A_RUN, PACK), "{n}");
        looks += usize::from(n == 0);
        assert_eq!(h.world.calls("plan_sweep"), looks, "{n}");
    }
    // What nobody knows goes by time alone.
    h.wait(Millis::DAY.times(7), &service);
    let last = until_sampled_now(&h, &service).await;
    assert_eq!((last.live, last.staged, last.to_free), (OF_A_RUN, 0, PACK), "{last:?}");
    assert_eq!(h.world.calls("plan_sweep"), looks + 1);
    // What somebody does is looked at.
    let image = h.images(&service).await.remove(0);
    service.delete_image(image.id.as_str(), h.now()).await.unwrap();
    until("the deletion", async || h.snapshots(&service).await.is_empty()).await;
    h.wait(Millis::HOUR, &service);
    let last = until_sampled_now(&h, &service).await;
    assert_eq!((last.live, last.to_free), (0, OF_A_RUN + PACK), "{last:?}");
    control.shutdown().await;

    // Another process knows nothing and looks.
    let looks = h.world.calls("plan_sweep");
    let (control, service) = h.serve().await;
    h.wait(Millis::HOUR, &service);
    until_sampled_now(&h, &service).await;
    assert_eq!(h.world.calls("plan_sweep"), looks + 1);
    control.shutdown().await;
}

#[tokio::test]
async fn while_the_store_cannot_be_read_there_is_a_gap_and_it_is_tried_once_an_hour() {
    let mut h = sampling();
    h.options.heartbeat = Duration::from_millis(20);
    let (control, service) = h.serve().await;
    one_image(&h, &service).await;
    until_samples(&service, 1).await;
    let looks = h.world.calls("plan_sweep");
    h.world.script("plan_sweep", vec![Act::Fail(Code::StoreUnavailable); 2]);
    for n in 1..=2 {
        h.wait(Millis::HOUR, &service);
        h.until_calls("plan_sweep", looks + n).await;
        a_moment().await;
        assert_eq!(h.world.calls("plan_sweep"), looks + n, "once an hour");
        assert_eq!(samples(&service).await.len(), 1);
    }
    h.wait(Millis::HOUR, &service);
    let last = until_samples(&service, 2).await[1];
    assert_eq!((last.at, last.live), (START + Millis::HOUR.times(3), OF_A_RUN));
    control.shutdown().await;
}

#[tokio::test]
async fn one_look_at_a_time_that_is_bounded_and_keeps_nobody_waiting() {
    const BOUND: Duration = Duration::from_secs(3);
    let mut h = sampling();
    h.options.heartbeat = Duration::from_millis(20);
    h.options.no_progress = BOUND;
    let (control, service) = h.serve().await;
    until_samples(&service, 1).await;
    let job = h.replicated(&service).await;
    let looks = h.world.calls("plan_sweep");
    let go_on = Arc::new(Notify::new());
    h.world.script("plan_sweep", [Act::Wait(go_on.clone()), Act::Hang, Act::Hang]);
    h.wait(Millis::HOUR, &service);
    h.until_calls("plan_sweep", looks + 1).await;
    // Runs go on beside it.
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 3, RunState::Completed).await;
    assert_eq!(h.world.calls("plan_sweep"), looks + 1, "never beside itself");
    go_on.notify_one();
    until_samples(&service, 2).await;
    // The next one hangs until its bound, and leaves a gap.
    h.until_calls("plan_sweep", looks + 2).await;
    tokio::time::sleep(BOUND + Duration::from_millis(300)).await;
    assert_eq!((samples(&service).await.len(), h.world.calls("plan_sweep")), (2, looks + 2));
    // One that hangs keeps no service from stopping.
    h.wait(Millis::HOUR, &service);
    h.until_calls("plan_sweep", looks + 3).await;
    control.shutdown().await;
}

#[tokio::test]
async fn while_a_sweep_is_at_work_no_sample_is_begun() {
    let h = sampling();
    let (control, service) = h.serve().await;
    one_image(&h, &service).await;
    until_samples(&service, 1).await;
    let go_on = Arc::new(Notify::new());
    h.world.script("sweep_store", [Act::Wait(go_on.clone())]);
    let looks = h.world.calls("plan_sweep");
    service.start_sweep(h.now()).await.unwrap();
    h.until_calls("sweep_store", 1).await;
    h.wait(Millis::HOUR.times(3), &service);
    a_moment().await;
    assert_eq!((samples(&service).await.len(), h.world.calls("plan_sweep")), (1, looks));
    go_on.notify_one();
    until_samples(&service, 2).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_leaves_a_gap_and_nothing_else() {
    let mut h = sampling();
    h.options.heartbeat = Duration::from_millis(20);
    let (control, service) = h.serve().await;
    one_image(&h, &service).await;
    until_samples(&service, 1).await;
    let disk = service.store().probe.disk.clone();
    disk.set(crate::testing::Room::None);
    let looks = h.world.calls("plan_sweep");
    h.wait(Millis::HOUR, &service);
    h.until_calls("plan_sweep", looks + 1).await;
    a_moment().await;
    disk.set(crate::testing::Room::Plenty);
    a_moment().await;
    assert_eq!((samples(&service).await.len(), h.world.calls("plan_sweep")), (1, looks + 1), "not tried at once");
    h.wait(Millis::HOUR, &service);
    until_samples(&service, 2).await;
    control.shutdown().await;
}

#[tokio::test]
async fn samples_of_a_year_are_thinned_and_given_from_to_and_as_many_as_wanted() {
    let h = sampling();
    let (control, service) = h.serve().await;
    until_samples(&service, 1).await;
    let store = service.store();
    let at = |hours: i64| START - Millis::HOUR.times(hours);
    let sample = |hours: i64| Sample { at: at(hours), packs: 1, live: hours as u64, dead: 0, staged: 0, to_free: 0 };
    // Written as they would have been: each forgets what is old by its time.
    for hours in (1..=24 * 20).rev() {
        store.record_use(&sample(hours)).await.unwrap();
    }
    let describe = async |filter| service.describe_store_use(&filter).await.unwrap();
    for _ in 0..2 {
        until_sampled_now(&h, &service).await;
        h.wait(if h.now() == START { Millis::HOUR } else { Millis::MINUTE }, &service);
    }
    let all = describe(StoreUseFilter::default()).await;
    let week = all.samples.iter().filter(|sample| h.now() - sample.at < Millis::DAY.times(7)).count();
    assert_eq!(week, 7 * 24, "a week is whole");
    assert!((13..=15).contains(&(all.taken - week)), "and one a day of the days before: {}", all.taken - week);
    assert_eq!((all.samples.len(), all.every), (all.taken, Some(Millis::HOUR)));

    let filter = StoreUseFilter { from: Some(at(100)), to: Some(at(10)), most: Some(4) };
    let some = describe(filter).await;
    assert_eq!(some.taken, 91, "both ends are in it");
    let hours: Vec<u64> = some.samples.iter().map(|sample| sample.live).collect();
    assert_eq!(hours, [100, 70, 40, 10]);
    for (filter, words) in [
        (StoreUseFilter { from: Some(at(1)), to: Some(at(2)), most: None }, "from is later"),
        (StoreUseFilter { most: Some(1), ..StoreUseFilter::default() }, "from 2 to 2000"),
        (StoreUseFilter { most: Some(2_001), ..StoreUseFilter::default() }, "from 2 to 2000"),
    ] {
        let refused = service.describe_store_use(&filter).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let nothing = StoreUseFilter { to: Some(Timestamp(0)), ..StoreUseFilter::default() };
    assert_eq!(describe(nothing).await.samples, []);
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_left_goes() {
    let h = sampling();
    let (control, service) = h.serve().await;
    until_samples(&service, 1).await;
    let ahead = Sample { at: START + Millis::DAY, packs: 1, live: 1, dead: 0, staged: 0, to_free: 0 };
    service.store().record_use(&ahead).await.unwrap();
    h.wait(Millis::HOUR, &service);
    let at = async || samples(&service).await.iter().map(|sample| sample.at).collect::<Vec<_>>();
    until("a sample", async || at().await == [START, START + Millis::HOUR]).await;
    control.shutdown().await;
}

/// The store is swept and an hour is over: whatever is cut off, there is one sample of each hour.
#[test]
fn samples_survive_a_kill_at_every_step() {
    at_every_step_of(
        sampling,
        async |h, service| {
            until_samples(service, 1).await;
            one_image(h, service).await
        },
        async |h, service, _| {
            if h.now() < START + Millis::HOUR {
                h.wait(Millis::HOUR, service);
            }
            service.start_sweep(h.now()).await.unwrap();
        },
        async |_, service, _| {
            let sweeps = service.describe_sweeps(None, &Page::default()).await.unwrap().items;
            let is_swept = !sweeps.is_empty() && sweeps.iter().all(|sweep| sweep.state != SweepState::Running);
            is_swept && samples(service).await.len() >= 2
        },
        async |h, service, _, when| {
            h.wait(Millis::MINUTE.times(59), service);
            a_moment().await;
            let times = async || samples(service).await.iter().map(|sample| sample.at).collect::<Vec<_>>();
            assert_eq!(times().await, [START, START + Millis::HOUR], "{when}");
            h.wait(Millis::MINUTE, service);
            until("the sample of the next hour", async || samples(service).await.len() == 3).await;
            assert_eq!(times().await[2], START + Millis::HOUR.times(2), "{when}");
            assert_eq!(samples(service).await[2].live, OF_A_RUN, "{when}");
        },
    );
}
