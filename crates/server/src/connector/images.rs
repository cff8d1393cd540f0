//! Snapshots and images in the store: verified, registered, read, deleted.

use crate::connector::sweeps;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::diff::diff;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::pack::pack_is_complete;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::scrub::{self, PackState, Suspected};
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::Course;
use godwit_blocks::verify::{Scope, verify};
use godwit_control::replicator::{
    ExtentPage, ImageOrder, ImageStore, PackFinding, PackRange, SweepEnd, SweepOrder, SweepPlan, SweepProgress, Traced,
    VerifyResult, VerifyScope,
};
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::id::{ImageId, PackId, SnapshotId};
use godwit_model::key::NoteKeyUse;
use godwit_model::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Readers kept open: an export asks for one snapshot again and again, and few exports run at once. Each holds its
/// manifest and a few pages.
const KEPT: usize = 4;

/// Images and snapshots of one store.
pub struct Images {
    store: BlockStore,
    readers: Mutex<VecDeque<(SnapshotId, Arc<SnapshotReader>)>>,
}

impl Images {
    /// Those of `store`.
    pub fn new(store: BlockStore) -> Self {
        Self { store, readers: Mutex::default() }
    }

    async fn reader(&self, snapshot: &SnapshotId) -> Result<Arc<SnapshotReader>, Failure> {
        let found = self.locked().iter().find(|(of, _)| of == snapshot).map(|(_, reader)| reader.clone());
        if let Some(reader) = found {
            return Ok(reader);
        }
        let reader = Arc::new(SnapshotReader::open(&self.store, snapshot).await?);
        let mut readers = self.locked();
        readers.retain(|(of, _)| of != snapshot);
        if readers.len() == KEPT {
            readers.pop_front();
        }
        readers.push_back((snapshot.clone(), reader.clone()));
        Ok(reader)
    }

    /// Closes what is kept open, and with it the keys that it holds.
    pub fn let_go(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<(SnapshotId, Arc<SnapshotReader>)>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ImageStore for Images {
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        scope: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<VerifyResult, Failure> {
        let scope = match scope {
            VerifyScope::OwnBlocks => Scope::OwnBlocks,
            VerifyScope::Everything => Scope::Everything,
        };
        let found = verify(&self.store, snapshot, scope, progress, cancel).await?;
        Ok(VerifyResult {
            root_digest: found.root_digest.to_string(),
            bytes_verified: found.bytes_verified,
            is_cut_off: found.is_cut_off(),
            damaged: found.damaged,
            packs: found.packs,
            first_problem: found.first_problem,
        })
    }

    async fn register(&self, order: &ImageOrder) -> Result<(), Failure> {
        let volume = |(device, snapshot): &(String, SnapshotId)| ImageVolume {
            device: device.clone(),
            snapshot: snapshot.clone(),
        };
        let manifest = ImageManifest {
            image: order.image.clone(),
            job: order.job.clone(),
            run: order.run.clone(),
            server_name: order.server_name.clone(),
            volumes: order.volumes.iter().map(volume).collect(),
            created_at: Timestamp(order.created_at),
        };
        let store = self.store.under(&order.key).await?;
        image::register(&store, &manifest).await
    }

    async fn discard_staged(&self, packs: &[PackId]) -> Result<(), Failure> {
        self.store.discard_packs(packs).await
    }

    async fn pack_is_complete(&self, pack: &PackId) -> Result<bool, Failure> {
        pack_is_complete(&self.store, pack).await
    }

    async fn delete_image(&self, image: &ImageId) -> Result<(), Failure> {
        image::delete(&self.store, image).await
    }

    async fn delete_snapshots(&self, snapshots: &[SnapshotId]) -> Result<(), Failure> {
        self.locked().retain(|(of, _)| !snapshots.contains(of));
        for snapshot in snapshots {
            snapshot::delete(&self.store, snapshot).await?;
        }
        Ok(())
    }

    async fn packs_of(&self, snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure> {
        let manifest = snapshot::load(&self.store, snapshot).await?;
        Ok(manifest.map(|manifest| sweeps::ranges(&manifest.packs)).unwrap_or_default())
    }

    async fn plan_sweep(&self, order: &SweepOrder<'_>, cancel: &CancellationToken) -> Result<SweepPlan, Failure> {
        sweeps::plan(&self.store, order, cancel).await
    }

    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure> {
        sweeps::sweep(&self.store, order, report, cancel).await
    }

    async fn list_packs(&self) -> Result<Vec<(u128, u64)>, Failure> {
        scrub::list_packs(&self.store).await
    }

    async fn check_pack(
        &self,
        pack: &PackId,
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<PackFinding, Failure> {
        let checked = scrub::check_pack(&self.store, pack, Course { cancel, used }).await?;
        Ok(match checked.state {
            PackState::Whole => PackFinding::Whole,
            PackState::Gone => PackFinding::Gone,
            PackState::Closed => PackFinding::Closed,
            PackState::Damaged(problem) => PackFinding::Damaged(problem),
        })
    }

    async fn trace(
        &self,
        packs: Option<&[PackId]>,
        snapshots: &[SnapshotId],
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Traced>, Failure> {
        let listed = if packs.is_none() { scrub::list_packs(&self.store).await? } else { Vec::new() };
        let suspected = packs.map_or(Suspected::NotIn(&listed), Suspected::In);
        let traced = scrub::trace(&self.store, suspected, snapshots, Course { cancel, used }).await?;
        let described = |found: scrub::Traced| Traced {
            snapshot: found.snapshot,
            damaged: found.damaged,
            is_cut_off: found.is_cut_off,
            problem: found.problem,
        };
        Ok(traced.into_iter().map(described).collect())
    }

    async fn data_extents(&self, snapshot: &SnapshotId, from: u64, limit: usize) -> Result<ExtentPage, Failure> {
        let found = self.reader(snapshot).await?.data_extents(from, limit).await?;
        Ok(ExtentPage { extents: found.extents, next: found.next })
    }

    async fn changed_extents(
        &self,
        base: &SnapshotId,
        snapshot: &SnapshotId,
        from: u64,
        limit: usize,
    ) -> Result<ExtentPage, Failure> {
        let (base, snapshot) = (self.reader(base).await?, self.reader(snapshot).await?);
        let found = diff(&base, &snapshot, from, limit).await?;
        Ok(ExtentPage { extents: found.extents, next: found.next })
    }

    async fn read(&self, snapshot: &SnapshotId, extent: Extent) -> Result<Bytes, Failure> {
        self.reader(snapshot).await?.read(extent).await
    }
}
