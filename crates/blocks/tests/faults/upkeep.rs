//! A process of the service: what goes on beside runs. Sweeps, deletions, new versions of keys, reading and verifying.

use crate::book::Tables;
use crate::chance::Chance;
use crate::ground::Step;
use crate::service::{Service, never};
use godwit_blocks::image;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::snapshot;
use godwit_blocks::sweep::{Course, Limits, Listed, execute, survey};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::ImageId;
use godwit_model::time::{Millis, Timestamp};

/// Looks at the store in one sweep.
const LOOKS: usize = 3;

pub const LIMITS: Limits =
    Limits { staging: Millis::DAY.times(7), repack_percent: 20, repack_floor: 4_000, repack_bytes: 1 << 30 };

impl Service {
    /// Removes what nobody needs and moves what is left of packs that are mostly dead.
    pub async fn sweep(&self) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            let listed = Listed::packs(&self.store).await?;
            let claims = self.book.read(Tables::claims);
            let cancel = never();
            let course = Course { cancel: &cancel, used: &|_| {} };
            let now = Timestamp(self.now);
            let found = survey(&self.store, listed, &claims, &LIMITS, now, &|_, _| {}, course).await?;
            let swept = execute(&self.store, &found, &|_| {}, course).await?;
            let emptied = swept.repacked.emptied;
            if emptied.is_empty() {
                return Ok(());
            }
            let release = |tables: &mut Tables| emptied.iter().for_each(|pack| tables.released.add(pack, 1));
            self.book.record(Step::Record, release).await;
        }
        Ok(())
    }

    /// Makes an image invisible, then removes what nothing holds any more.
    pub async fn delete(&self, image: Option<&ImageId>) -> Result<(), Failure> {
        if let Some(image) = image {
            let hide = |tables: &mut Tables| tables.images.get_mut(image).map(|row| row.is_going = true);
            self.book.record(Step::Record, hide).await;
        }
        let packs = self.book.read(Tables::unneeded_packs);
        let going: Vec<ImageId> = self.book.read(|tables| {
            let going = tables.images.iter().filter(|(_, row)| row.is_going).map(|(id, _)| id);
            going.chain(&tables.void_images).cloned().collect()
        });
        for id in going {
            image::delete(&self.store, &id).await?;
            let forget = |tables: &mut Tables| {
                tables.void_images.remove(&id);
                let row = tables.images.remove(&id);
                tables.snapshots.extend(row.into_iter().flat_map(|row| row.volumes).map(|(snapshot, ..)| snapshot));
            };
            self.book.record(Step::Record, forget).await;
        }
        self.delete_orphans().await?;
        self.store.discard_packs(&packs).await?;
        let forget = |tables: &mut Tables| tables.packs.retain(|id, _| !packs.contains(id));
        self.book.record(Step::Record, forget).await;
        Ok(())
    }

    async fn delete_orphans(&self) -> Result<(), Failure> {
        for id in self.book.read(Tables::orphans) {
            // That only spares packs a wait.
            if let Ok(Some(manifest)) = snapshot::load(&self.store, &id).await {
                let release = |tables: &mut Tables| {
                    manifest.packs.ranges().for_each(|(first, count)| tables.released.add(first, count));
                };
                self.book.record(Step::Record, release).await;
            }
            snapshot::delete(&self.store, &id).await?;
            self.book.record(Step::Record, |tables| tables.snapshots.remove(&id)).await;
        }
        Ok(())
    }

    /// Makes the next version of a job's key.
    pub async fn rotate(&self, job: usize) -> Result<(), Failure> {
        let (key, version) = self.book.read(|tables| (tables.jobs[job].key.clone(), tables.jobs[job].version + 1));
        self.store.make_key(&key, version).await?;
        self.book.record(Step::Record, |tables| tables.jobs[job].version = version).await;
        Ok(())
    }

    /// Reads an image in pieces of chance and verifies it, while whatever else goes on.
    pub async fn look_at(&self, id: &ImageId, chance: &mut Chance) -> Result<(), Failure> {
        let looked = self.look_at_all_of(id, chance).await;
        let is_there = self.book.read(|tables| tables.images.get(id).is_some_and(|row| !row.is_going));
        match looked {
            // It was deleted meanwhile.
            Err(failure) if failure.code == Code::StoreCorrupt && !is_there => Ok(()),
            looked => looked,
        }
    }

    async fn look_at_all_of(&self, id: &ImageId, chance: &mut Chance) -> Result<(), Failure> {
        let Some(image) = self.book.read(|tables| tables.images.get(id).cloned()) else { return Ok(()) };
        for (snapshot, content, digest) in &image.volumes {
            let reader = SnapshotReader::open(&self.store, snapshot).await?;
            for _ in 0..4 {
                let start = chance.below(content.len()) as u64;
                let length = (1 + chance.below(100_000) as u64).min(content.len() as u64 - start);
                let bytes = reader.read(Extent { offset: start, length }).await?;
                assert!(bytes == content[start as usize..(start + length) as usize], "{snapshot}: wrong bytes");
            }
            let found = verify(&self.store, snapshot, Scope::Everything, &|_, _| {}, &never()).await?;
            assert_eq!(found.damaged.is_empty(), found.root_digest == *digest, "{snapshot}: {found:?}");
            if let Some(problem) = found.first_problem {
                return Err(Failure::new(Code::StoreCorrupt, problem));
            }
        }
        Ok(())
    }
}
