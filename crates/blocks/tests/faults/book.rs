//! The database: what is on record of runs, packs, images and keys. It is honest; a transaction is one durable step.

use crate::ground::{Call, Ground, Step};
use async_trait::async_trait;
use godwit_blocks::block::Digest;
use godwit_blocks::pack::PackSet;
use godwit_blocks::replicate::Ledger;
use godwit_blocks::sweep::Claims;
use godwit_model::failure::Failure;
use godwit_model::id::{ImageId, KeyId, PackId, RunId, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex};

/// What a volume held at a point in time: the model that everything is compared with.
pub type Content = Arc<Vec<u8>>;

/// A server that is replicated, in a key domain of its own.
#[derive(Clone, Debug)]
pub struct Job {
    pub key: KeyId,
    /// Newest version of its key that is on record.
    pub version: u32,
    pub run: Option<Run>,
    /// Of each volume: the snapshot of the last run that completed, and its content.
    pub baselines: BTreeMap<usize, (SnapshotId, Content)>,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    pub image: ImageId,
    /// Number of the point in time.
    pub point: u64,
    pub volumes: Vec<RunVolume>,
}

#[derive(Clone, Debug)]
pub struct RunVolume {
    pub snapshot: SnapshotId,
    pub content: Content,
    pub parent: Option<(SnapshotId, Content)>,
    /// On record when it is committed.
    pub digest: Option<Digest>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackState {
    Begun,
    Durable,
    /// To be removed.
    Void,
}

#[derive(Clone, Debug)]
pub struct Pack {
    pub run: RunId,
    pub volume: usize,
    pub point: u64,
    pub state: PackState,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub volumes: Vec<(SnapshotId, Content, Digest)>,
    /// It is to be deleted: nobody sees it any more.
    pub is_going: bool,
}

#[derive(Clone, Default, Debug)]
pub struct Tables {
    pub jobs: Vec<Job>,
    pub packs: BTreeMap<PackId, Pack>,
    pub images: BTreeMap<ImageId, Image>,
    /// Of images that are deleted.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Of runs that failed.
    pub void_images: BTreeSet<ImageId>,
    pub released: PackSet,
    pub n_ids: u128,
}

impl Tables {
    pub fn draw(&mut self) -> u128 {
        self.n_ids += 1;
        self.n_ids
    }

    /// Images that users see.
    pub fn visible(&self) -> Vec<(ImageId, Image)> {
        self.images.iter().filter(|(_, i)| !i.is_going).map(|(id, image)| (id.clone(), image.clone())).collect()
    }

    fn parents(&self) -> impl Iterator<Item = &SnapshotId> {
        let of_runs = self.jobs.iter().filter_map(|job| job.run.as_ref());
        let parents = of_runs.flat_map(|run| &run.volumes).filter_map(|v| v.parent.as_ref().map(|(id, _)| id));
        self.jobs.iter().flat_map(|job| job.baselines.values().map(|(id, _)| id)).chain(parents)
    }

    /// Snapshots that nothing holds any more.
    pub fn orphans(&self) -> Vec<SnapshotId> {
        let held: BTreeSet<&SnapshotId> = self.parents().collect();
        self.snapshots.iter().filter(|id| !held.contains(id)).cloned().collect()
    }

    /// Packs to be removed: while their run is at work its snapshots may name them.
    pub fn unneeded_packs(&self) -> Vec<PackId> {
        let at_work: BTreeSet<&RunId> =
            self.jobs.iter().filter_map(|job| job.run.as_ref()).map(|run| &run.id).collect();
        let void = self.packs.iter().filter(|(_, p)| p.state == PackState::Void && !at_work.contains(&p.run));
        void.map(|(id, _)| id.clone()).collect()
    }

    pub fn claims(&self) -> Claims {
        let mut claims = Claims { released: self.released.clone(), ..Claims::default() };
        self.packs.keys().for_each(|pack| claims.packs.add(pack, 1));
        for run in self.jobs.iter().filter_map(|job| job.run.as_ref()) {
            for volume in &run.volumes {
                claims.in_use.insert(volume.snapshot.clone());
                claims.in_use.extend(volume.parent.iter().map(|(id, _)| id.clone()));
            }
        }
        claims.snapshots.extend(self.images.values().flat_map(|i| i.volumes.iter().map(|v| v.0.clone())));
        claims.snapshots.extend(self.snapshots.iter().cloned());
        claims
    }
}

/// The database as one process has it open.
#[derive(Clone)]
pub struct Book {
    ground: Ground,
    epoch: u64,
    tables: Arc<Mutex<Tables>>,
}

impl Book {
    pub fn of(ground: &Ground, epoch: u64, tables: Arc<Mutex<Tables>>) -> Self {
        Self { ground: ground.clone(), epoch, tables }
    }

    pub fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.lock().unwrap())
    }

    /// One transaction.
    pub async fn record<T>(&self, step: Step, change: impl FnOnce(&mut Tables) -> T) -> T {
        for _ in 0..self.ground.turns() {
            tokio::task::yield_now().await;
        }
        match self.ground.commit(self.epoch, step, || change(&mut self.tables.lock().unwrap())) {
            Call::Dead => pending().await,
            Call::Answer(value) => value,
        }
    }
}

/// The ledger of one volume of a run.
pub struct RunLedger<'a> {
    pub book: &'a Book,
    pub run: RunId,
    pub volume: usize,
    pub point: u64,
}

#[async_trait]
impl Ledger for RunLedger<'_> {
    async fn begun(&self, pack: &PackId, _: u64) -> Result<(), Failure> {
        let row = Pack { run: self.run.clone(), volume: self.volume, point: self.point, state: PackState::Begun };
        let known = self.book.record(Step::Begun, |tables| tables.packs.insert(pack.clone(), row)).await;
        assert!(known.is_none(), "the id of {pack} is used twice");
        Ok(())
    }

    async fn durable(&self, packs: &[PackId]) -> Result<(), Failure> {
        let set = |tables: &mut Tables| {
            packs.iter().all(|pack| tables.packs.get_mut(pack).map(|row| row.state = PackState::Durable).is_some())
        };
        assert!(self.book.record(Step::Durable, set).await, "one of {packs:?} is durable before it was begun");
        Ok(())
    }
}
