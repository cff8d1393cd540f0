//! A process of the service, as far as the data line goes: runs, with what an earlier process left of them.

use crate::book::Content;
use crate::book::{Book, Image, Pack, PackState, Run, RunLedger, RunVolume, Tables};
use crate::chance::Chance;
use crate::ground::Step;
use crate::stage::Volume;
use godwit_blocks::block::BlockSize;
use godwit_blocks::dedup;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::pack::{PackSet, pack_is_complete};
use godwit_blocks::replicate::{Request, Staged, replicate};
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{ImageId, JobId, PackId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Attempts of a run before it waits for the next round.
const ATTEMPTS: usize = 3;

pub struct Service {
    pub store: BlockStore,
    pub book: Book,
    pub now: i64,
}

/// What the source has for a run.
pub struct Offer {
    /// The volumes now.
    pub volumes: Vec<Content>,
    /// Whether a point in time that was taken is lost.
    pub is_lost: bool,
    /// Whether changes are tracked.
    pub is_tracked: bool,
}

impl Service {
    /// Takes the job's run as far as it goes: to its end, or until it fails too often for now. What cannot be right any
    /// more fails for good; then the failure is returned.
    pub async fn run(&self, job: usize, offer: Offer, chance: &mut Chance) -> Result<(), Failure> {
        let started = self.book.read(|tables| tables.jobs[job].run.clone());
        match started {
            None => self.begin(job, &offer).await,
            // When all is committed, the source is asked no more.
            Some(run) if offer.is_lost && run.volumes.iter().any(|volume| volume.digest.is_none()) => {
                if let Err(failure) = self.lose_point(job, &run, &offer).await {
                    return if failure.code.kind().is_transient() { Ok(()) } else { Err(failure) };
                }
            }
            Some(_) => {}
        }
        for _ in 0..ATTEMPTS {
            match self.attempt(job, &offer, chance).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code.kind().is_transient() || failure.code == Code::SourceRead => {}
                Err(failure) => {
                    self.fail(job).await;
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    async fn begin(&self, job: usize, offer: &Offer) {
        let begin = |tables: &mut Tables| {
            let (id, image) = (RunId::from_bits(tables.draw()), ImageId::from_bits(tables.draw()));
            let volumes = points(tables, job, offer);
            let point = tables.draw() as u64;
            tables.jobs[job].run = Some(Run { id, image, point, volumes });
        };
        self.book.record(Step::Record, begin).await;
    }

    /// The source does not hold the point in time any more: what is committed of it is void, and another one is taken.
    async fn lose_point(&self, job: usize, run: &Run, offer: &Offer) -> Result<(), Failure> {
        // First of all: whatever becomes of the rest, nothing of it is built on.
        let void = |tables: &mut Tables| {
            let run = tables.jobs[job].run.iter_mut();
            run.flat_map(|run| &mut run.volumes).for_each(|volume| volume.digest = None);
        };
        self.book.record(Step::Record, void).await;
        for volume in &run.volumes {
            snapshot::delete(&self.store, &volume.snapshot).await?;
        }
        let take = |tables: &mut Tables| {
            let volumes = points(tables, job, offer);
            let point = tables.draw() as u64;
            tables.jobs[job].run = Some(Run { point, volumes, ..run.clone() });
        };
        self.book.record(Step::Record, take).await;
        Ok(())
    }

    async fn attempt(&self, job: usize, offer: &Offer, chance: &mut Chance) -> Result<(), Failure> {
        let (key, run) = self.book.read(|tables| (tables.jobs[job].key.clone(), tables.jobs[job].run.clone()));
        let run = run.expect("it was begun");
        for (n, volume) in run.volumes.iter().enumerate().filter(|(_, volume)| volume.digest.is_none()) {
            self.transfer(job, &run, n, volume, offer, chance).await?;
        }
        let run = self.book.read(|tables| tables.jobs[job].run.clone()).expect("it was begun");
        for volume in &run.volumes {
            let found = verify(&self.store, &volume.snapshot, Scope::OwnBlocks, &|_, _| {}, &never()).await?;
            if !found.damaged.is_empty() || Some(found.root_digest) != volume.digest {
                let problem = found.first_problem.unwrap_or_default();
                return Err(Failure::new(Code::VerifyMismatch, problem));
            }
        }
        let named =
            |(n, volume): (usize, &RunVolume)| ImageVolume { device: device(n), snapshot: volume.snapshot.clone() };
        let manifest = ImageManifest {
            image: run.image.clone(),
            job: JobId::from_bits(job as u128),
            run: run.id.clone(),
            server_name: format!("server {job}"),
            volumes: run.volumes.iter().enumerate().map(named).collect(),
            created_at: Timestamp(self.now),
        };
        let store = self.store.under(&key).await?;
        image::register(&store, &manifest).await?;
        let mut packs = PackSet::default();
        for volume in &run.volumes {
            let manifest = snapshot::load(&self.store, &volume.snapshot).await?;
            let manifest = manifest.ok_or_else(|| Failure::new(Code::StoreCorrupt, volume.snapshot.to_string()))?;
            manifest.packs.ranges().for_each(|(first, count)| packs.add(first, count));
        }
        self.book.record(Step::Record, |tables| complete(tables, job, &run, &packs)).await;
        Ok(())
    }

    /// Learns what images hold, as far as the weather lets it.
    pub async fn learn(&self) {
        let _ = dedup::learn(&self.store, &CancellationToken::new()).await;
    }

    async fn transfer(
        &self,
        job: usize,
        run: &Run,
        n: usize,
        volume: &RunVolume,
        offer: &Offer,
        chance: &mut Chance,
    ) -> Result<(), Failure> {
        let staged = self.settle_ledger(run, n).await?;
        let request = Request {
            source: "faults".to_owned(),
            damaged: Vec::new(),
            snapshot: volume.snapshot.clone(),
            run: run.id.clone(),
            device: device(n),
            size: volume.content.len() as u64,
            block_size: BlockSize::MIN,
            parent: volume.parent.as_ref().map(|(id, _)| id.clone()),
            tracked: offer.is_tracked,
            staged,
            figures: VolumeFigures::default(),
            created_at: Timestamp(self.now),
        };
        let base = volume.parent.as_ref().filter(|(_, base)| base.len() == volume.content.len());
        let source = Volume {
            content: volume.content.to_vec(),
            base: base.filter(|_| offer.is_tracked).map(|(_, base)| base.to_vec()),
            vagueness: chance.pick(&[0, 0, 40, 200]),
            fail_read: chance.percent(10).then(|| chance.below(6) as u64),
            ..Volume::default()
        };
        let key = self.book.read(|tables| tables.jobs[job].key.clone());
        let store = self.store.under(&key).await?;
        let ledger = RunLedger { book: &self.book, run: run.id.clone(), volume: n, point: run.point };
        let done = replicate(&store, &request, Arc::new(source), &ledger, &|_| {}, &never()).await?;
        let record = |tables: &mut Tables| {
            let run = tables.jobs[job].run.as_mut().expect("it is at work");
            run.volumes[n].digest = Some(done.root_digest);
        };
        self.book.record(Step::Record, record).await;
        Ok(())
    }

    /// Settles what became of packs that were begun; gives those that are durable.
    async fn settle_ledger(&self, run: &Run, n: usize) -> Result<Vec<Staged>, Failure> {
        let is_ours = |pack: &Pack| pack.run == run.id && pack.volume == n && pack.state != PackState::Void;
        let ours: Vec<(PackId, Pack)> = self.book.read(|tables| {
            tables.packs.iter().filter(|(_, pack)| is_ours(pack)).map(|(id, pack)| (id.clone(), pack.clone())).collect()
        });
        let mut staged = Vec::new();
        for (pack, row) in ours {
            if row.state == PackState::Begun {
                if !pack_is_complete(&self.store, &pack).await? {
                    self.book.record(Step::Record, |tables| tables.packs.remove(&pack)).await;
                    continue;
                }
                let set = |tables: &mut Tables| tables.packs.get_mut(&pack).map(|row| row.state = PackState::Durable);
                self.book.record(Step::Durable, set).await;
            }
            staged.push(Staged { same_point: row.point == run.point, pack });
        }
        Ok(staged)
    }

    /// The run ends badly: nothing of it is used again.
    async fn fail(&self, job: usize) {
        let fail = |tables: &mut Tables| {
            let Some(run) = tables.jobs[job].run.take() else { return };
            tables.packs.values_mut().filter(|pack| pack.run == run.id).for_each(|pack| pack.state = PackState::Void);
            tables.snapshots.extend(run.volumes.into_iter().map(|volume| volume.snapshot));
            tables.void_images.insert(run.image);
        };
        self.book.record(Step::Record, fail).await;
    }
}

/// Volumes of a point in time, with fresh snapshot ids.
fn points(tables: &mut Tables, job: usize, offer: &Offer) -> Vec<RunVolume> {
    let mut volumes = Vec::new();
    for (n, content) in offer.volumes.iter().enumerate() {
        volumes.push(RunVolume {
            snapshot: SnapshotId::from_bits(tables.draw()),
            content: content.clone(),
            parent: tables.jobs[job].baselines.get(&n).cloned(),
            digest: None,
        });
    }
    volumes
}

/// The image is there: the run is over, and its snapshots account for its packs.
fn complete(tables: &mut Tables, job: usize, run: &Run, named: &PackSet) {
    let volumes = run.volumes.iter().map(|v| {
        let digest = v.digest.expect("every volume is committed");
        (v.snapshot.clone(), v.content.clone(), digest)
    });
    let volumes: Vec<_> = volumes.collect();
    let baselines = volumes.iter().map(|(id, content, _)| (id.clone(), content.clone())).enumerate();
    tables.jobs[job].baselines = baselines.collect();
    tables.jobs[job].run = None;
    tables.images.insert(run.image.clone(), Image { volumes, is_going: false });
    tables.packs.retain(|id, pack| pack.run != run.id || !named.contains(id));
    tables.packs.values_mut().filter(|pack| pack.run == run.id).for_each(|pack| pack.state = PackState::Void);
}

pub fn device(n: usize) -> String {
    format!("vd{}", char::from(b'a' + n as u8))
}

pub fn never() -> CancellationToken {
    CancellationToken::new()
}
