//! Killed at every step: after the first, second, third … transaction or call to the data line the process is dropped
//! as it is. The next process must bring everything to the same end, whatever was under way.

use crate::service::*;
use crate::testing::{Act, Harness, PACK, until};
use godwit_model::id::JobId;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::time::Duration;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Runs `scenario` again and again, each time killed one step later, until one comes through. `prepare` makes a job
/// and what else is needed, unharmed; `go` sets off what is to be killed; `done` says that all is at its end.
pub(super) fn at_every_step(
    prepare: impl AsyncFn(&Harness, &Service) -> JobId,
    go: impl AsyncFn(&Harness, &Service, &JobId),
    done: impl AsyncFn(&Harness, &Service, &JobId) -> bool,
    check: impl AsyncFn(&Harness, &Service, &JobId, &str),
) {
    at_every_step_of(Harness::new, prepare, go, done, check);
}

/// The same of services with other options.
pub(super) fn at_every_step_of(
    make: impl Fn() -> Harness,
    prepare: impl AsyncFn(&Harness, &Service) -> JobId,
    go: impl AsyncFn(&Harness, &Service, &JobId),
    done: impl AsyncFn(&Harness, &Service, &JobId) -> bool,
    check: impl AsyncFn(&Harness, &Service, &JobId, &str),
) {
    for step in 0.. {
        assert!(step < 500, "the scenario does not come to its end");
        let h = make();
        let first = runtime();
        let (job, killed) = first.block_on(async {
            let (_control, service) = h.serve().await;
            let job = prepare(&h, &service).await;
            h.gate().close_after(step);
            let work = async {
                go(&h, &service, &job).await;
                until("the end", async || done(&h, &service, &job).await).await;
            };
            let gate = h.gate();
            let killed = tokio::select! {
                biased;
                () = gate.held() => true,
                () = work => false,
            };
            (job, killed)
        });
        first.shutdown_timeout(Duration::ZERO);
        h.gate().close_after(i64::MAX);

        let second = runtime();
        second.block_on(async {
            let (control, service) = h.serve().await;
            // What was asked for and not answered is asked for again, as a client does.
            go(&h, &service, &job).await;
            until("the end after a kill", async || done(&h, &service, &job).await).await;
            check(&h, &service, &job, &format!("killed at step {step}")).await;
            control.shutdown().await;
        });
        if !killed {
            assert!(step > 10, "nothing was killed");
            return;
        }
    }
}

async fn scheduled(h: &Harness, service: &Service, once: bool) -> JobId {
    let server = h.one_server(service).await;
    h.until_calls("sweep", 1).await;
    let new = NewJob {
        run_once: once.then_some(true),
        frequency_hours: (!once).then_some(1),
        ..NewJob::new(server.as_str(), h.now() + Millis::HOUR)
    };
    service.create_replication_job(new, h.now()).await.unwrap()
}

pub(super) async fn it_is_due(h: &Harness, service: &Service, _: &JobId) {
    if h.now() < crate::testing::START + Millis::HOUR {
        h.wait(Millis::HOUR, service);
    }
}

async fn nothing_is_at_work(h: &Harness, service: &Service, job: &JobId, ended: usize) -> bool {
    let runs = h.runs(service, job).await;
    let busy = runs.iter().any(|r| r.state.is_at_work());
    !busy && runs.iter().filter(|r| r.completed_at.is_some()).count() >= ended
}

#[test]
fn a_first_copy_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| scheduled(h, service, true).await,
        it_is_due,
        async |h, service, job| h.job(service, job).await.state == JobState::Completed,
        async |h, service, job, when| {
            let images = h.images(service).await;
            assert_eq!(images.len(), 1, "{when}");
            let run = h.runs(service, job).await.remove(0);
            assert_eq!((run.state, run.image.as_ref()), (RunState::Completed, Some(&images[0].id)), "{when}");
            let resent: u64 = run.volumes.iter().map(|v| v.figures.bytes_resent).sum();
            assert!(resent <= PACK, "{when}: {resent} bytes resent");
            let world = h.world.look();
            assert_eq!(world.images.keys().collect::<Vec<_>>(), [&images[0].id], "{when}");
            let named: Vec<_> = images[0].volumes.iter().map(|v| &v.snapshot).collect();
            assert!(world.snapshots.keys().all(|s| named.contains(&s)), "{when}: an orphan snapshot");
            assert!(world.points.is_empty() && world.trackers.is_empty(), "{when}: left at the source");
            drop(world);
            assert_eq!(h.world.loose_packs(), 0, "{when}: a durable pack was sent again");
        },
    );
}

#[test]
fn an_incremental_run_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| {
            let job = h.hourly(service).await;
            h.until_runs(service, &job, 1, RunState::Completed).await;
            h.until_calls("sweep", 1).await;
            h.world.look().version += 1;
            job
        },
        it_is_due,
        async |h, service, job| nothing_is_at_work(h, service, job, 2).await,
        async |h, service, job, when| {
            let runs = h.runs(service, job).await;
            assert!(runs[..2].iter().all(|r| r.state == RunState::Completed), "{when}: {runs:?}");
            assert_eq!(h.images(service).await.len(), 2, "{when}");
            let world = h.world.look();
            assert_eq!((world.images.len(), world.snapshots.len()), (2, 4), "{when}");
            assert!(world.points.is_empty(), "{when}");
            let tracker = world.trackers.get("vm-1");
            assert!(tracker.is_none_or(|t| *t == runs[1].id), "{when}: the tracker belongs to an older run");
        },
    );
}

/// A run that gives up for good at this call.
fn a_run_that_fails_at(call: &'static str) {
    at_every_step(
        async |h, service| scheduled(h, service, false).await,
        async |h, service, job| {
            h.world.script(call, vec![Act::Fail(godwit_model::failure::Code::SourceRefused); 9]);
            it_is_due(h, service, job).await;
        },
        async |h, service, job| nothing_is_at_work(h, service, job, 1).await,
        async |h, service, job, when| {
            let run = h.runs(service, job).await.remove(0);
            assert_eq!(run.state, RunState::Failed, "{when}");
            assert!(run.failure.is_some() && run.image.is_none(), "{when}");
            assert_eq!(h.job(service, job).await.state, JobState::Active, "{when}");
            assert!(h.images(service).await.is_empty(), "{when}");
            let world = h.world.look();
            assert!(world.images.is_empty() && world.snapshots.is_empty(), "{when}");
            assert!(world.points.is_empty(), "{when}");
        },
    );
}

#[test]
fn a_run_that_finds_no_server_survives_a_kill_at_every_step() {
    a_run_that_fails_at("discover");
}

#[test]
fn a_run_that_gets_no_point_survives_a_kill_at_every_step() {
    a_run_that_fails_at("take_point");
}

#[test]
fn a_run_that_transfers_nothing_survives_a_kill_at_every_step() {
    a_run_that_fails_at("transfer");
}

#[test]
fn a_run_that_cannot_verify_survives_a_kill_at_every_step() {
    a_run_that_fails_at("verify");
}

#[test]
fn a_failing_run_survives_a_kill_at_every_step() {
    a_run_that_fails_at("register");
}

/// The image is there: what the source keeps is left to a sweep.
#[test]
fn a_run_that_cannot_clean_up_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| scheduled(h, service, false).await,
        async |h, service, job| {
            h.world.script("settle", vec![Act::Fail(godwit_model::failure::Code::SourceRefused); 2]);
            it_is_due(h, service, job).await;
        },
        async |h, service, job| nothing_is_at_work(h, service, job, 1).await,
        async |h, service, job, when| {
            let run = h.runs(service, job).await.remove(0);
            assert_eq!(run.state, RunState::Completed, "{when}");
            assert_eq!(h.images(service).await.len(), 1, "{when}");
            until("the sweep", async || h.world.look().points.is_empty()).await;
        },
    );
}

#[test]
fn a_deletion_during_a_transfer_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| {
            let job = scheduled(h, service, false).await;
            h.world.script("send", [Act::LosePoint, Act::Hang]);
            it_is_due(h, service, &job).await;
            h.until_calls("send", 2).await;
            job
        },
        async |h, service, job| {
            // A second request may find the job deleted already.
            let _ = service.delete_replication_job(job.as_str(), h.now()).await;
        },
        async |h, service, job| h.job(service, job).await.state == JobState::Deleted,
        async |h, service, job, when| {
            let runs = h.runs(service, job).await;
            let over = |r: &Run| matches!(r.state, RunState::Deleted | RunState::Completed);
            assert!(runs.iter().all(over), "{when}");
            let images = h.images(service).await.len();
            assert_eq!(images, runs.iter().filter(|r| r.state == RunState::Completed).count(), "{when}");
            let world = h.world.look();
            assert!(world.points.is_empty() && world.trackers.is_empty(), "{when}");
            assert_eq!((world.images.len(), world.snapshots.len()), (images, 2 * images), "{when}");
            drop(world);
            assert_eq!(h.world.loose_packs(), 0, "{when}: staged data is left");
        },
    );
}

#[test]
fn a_lost_point_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| {
            h.world.script("transfer", [Act::Damage, Act::LosePoint]);
            scheduled(h, service, true).await
        },
        it_is_due,
        async |h, service, job| h.job(service, job).await.state == JobState::Completed,
        async |h, service, _, when| {
            let images = h.images(service).await;
            assert_eq!(images.len(), 1, "{when}");
            let world = h.world.look();
            assert_eq!((world.images.len(), world.snapshots.len()), (1, 2), "{when}");
            assert!(world.points.is_empty(), "{when}");
        },
    );
}

#[test]
fn imports_verifications_and_removals_survive_a_kill_at_every_step() {
    use godwit_model::catalog::CatalogStatus;
    at_every_step(
        async |h, service| {
            let job = h.once(service).await;
            h.until_job(service, &job, JobState::Completed).await;
            job
        },
        async |h, service, _| {
            service.import_server_catalog(h.now()).await.unwrap();
            if let Some(image) = h.images(service).await.first()
                && image.verification.state == VerificationState::Unverified
            {
                service.start_image_verification(image.id.as_str(), h.now()).await.unwrap();
            }
        },
        async |h, service, _| {
            let imported = service.get_servers(None, &Page::default()).await.unwrap().status;
            let images = h.images(service).await;
            if imported == CatalogStatus::Available
                && let Some(image) = images.first()
                && image.verification.state == VerificationState::Verified
            {
                service.delete_image(image.id.as_str(), h.now()).await.unwrap();
            }
            images.is_empty() && imported == CatalogStatus::Available && h.world.look().snapshots.is_empty()
        },
        async |h, service, _, when| {
            assert!(h.world.look().images.is_empty(), "{when}");
            assert_eq!(h.servers(service).await.len(), 1, "{when}");
        },
    );
}

/// What failed runs staged is old, an image is deleted, a pack is in no record, and a run begins meanwhile.
#[test]
fn a_sweep_beside_a_run_survives_a_kill_at_every_step() {
    at_every_step(
        async |h, service| {
            let job = h.hourly(service).await;
            h.until_runs(service, &job, 1, RunState::Completed).await;
            h.world.lose_track_of_a_pack();
            h.world.look().version += 1;
            h.world.script("verify", vec![Act::Fail(godwit_model::failure::Code::SourceRefused); 9]);
            h.wait(Millis::HOUR, service);
            h.until_runs(service, &job, 1, RunState::Failed).await;
            h.world.script("verify", vec![]);
            h.wait(Millis::DAY.times(7) + Millis::MINUTE, service);
            until("the run of that day", async || nothing_is_at_work(h, service, &job, 3).await).await;
            until("the sweep of that day", async || {
                let sweeps = service.describe_sweeps(None, &Page::default()).await.unwrap().items;
                !sweeps.is_empty() && sweeps.iter().all(|sweep| sweep.state != SweepState::Running)
            })
            .await;
            job
        },
        async |h, service, job| {
            let first = h.runs(service, job).await.remove(0);
            if let Some(image) = h.images(service).await.iter().find(|image| image.run == first.id) {
                service.delete_image(image.id.as_str(), h.now()).await.unwrap();
            }
            let _ = service.start_on_demand_replication_run(job.as_str(), None, h.now()).await;
            service.start_sweep(h.now()).await.unwrap();
        },
        async |h, service, job| {
            let sweeps = service.describe_sweeps(None, &Page::default()).await.unwrap().items;
            sweeps.len() > 1
                && sweeps.iter().all(|sweep| sweep.state != SweepState::Running)
                && h.snapshots(service).await.len() == 2 * h.images(service).await.len()
                && nothing_is_at_work(h, service, job, 4).await
        },
        async |h, service, _, when| {
            // What the deletion released is seen by the sweep behind it.
            let last = service.start_sweep(h.now()).await.unwrap();
            let one = [last.to_string()];
            until("the last sweep", async || {
                let sweep = service.describe_sweeps(Some(&one), &Page::default()).await.unwrap().items.remove(0);
                sweep.state == SweepState::Completed
            })
            .await;
            assert_eq!(h.world.loose_packs(), 0, "{when}");
            let images = h.images(service).await.len();
            let world = h.world.look();
            assert_eq!((world.images.len(), world.snapshots.len()), (images, 2 * images), "{when}");
            drop(world);
            assert!(h.world.every_snapshot_is_whole(), "{when}");
        },
    );
}
