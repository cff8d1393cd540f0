//! Transferring: volume by volume, with the ledger of packs.

use super::stages::bounds;
use super::{StageError, bounded, key, source_of, watched};
use crate::control::Line;
use crate::replicator::{SourceServer, StagedPack, TransferOrder, TransferReport, VolumeBaseline};
use crate::store::{Done, PackState, RunRecord, StoreError, VolumeRecord};
use async_trait::async_trait;
use godwit_model::cap::HeldBack;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::VolumeFigures;
use godwit_model::id::PackId;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// Moves all volumes whose snapshot is not committed yet.
pub(super) async fn all_volumes(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    let source = source_of(line, &run.job).await?.source;
    let baselines = line.store.baselines(&run.job).await?;
    line.tell_caps().await?;
    for volume in line.store.run_volumes(&run.id).await? {
        if volume.root_digest.is_none() {
            one_volume(line, run, &source, &baselines, volume, cancel).await?;
        }
    }
    Ok(Done::Stage)
}

async fn one_volume(
    line: &Line,
    run: &RunRecord,
    source: &SourceServer,
    baselines: &[VolumeBaseline],
    mut volume: VolumeRecord,
    cancel: &CancellationToken,
) -> Result<(), StageError> {
    let point = run.point.clone().ok_or_else(|| StoreError::unreadable("the point in time of a run", "nothing"))?;
    let key = key::usable(line, run).await?;
    let staged = settle_ledger(line, run, &mut volume, &point, cancel).await?;
    let order = TransferOrder {
        source: source.clone(),
        run: run.id.clone(),
        baselines: baselines.to_vec(),
        point,
        device: volume.device.clone(),
        snapshot: volume.snapshot.clone(),
        key,
        repairs: volume.repairs.clone(),
        staged,
        figures: volume.figures,
    };
    let report =
        Report { line, run, device: &volume.device, figures: Mutex::new(volume.figures), moved: AtomicU64::new(0) };
    let inner = cancel.child_token();
    let work = async {
        tokio::select! {
            done = line.replicator.transfer(&order, &report, &inner) => done,
            never = report.persist() => match never {},
        }
    };
    let what = format!("the transfer of {}", volume.device);
    let result = watched(&what, bounds(line), &report.moved, cancel, &inner, work).await;
    if result.is_err() {
        report.write_figures(&volume.figures).await;
    }
    let result = result.map_err(|error| error.of_volume(&volume.device))?;
    if result.snapshot != volume.snapshot {
        let evidence = format!("{} was ordered and {} was committed", volume.snapshot, result.snapshot);
        return Err(Failure::new(Code::Internal, evidence).into());
    }
    line.progress.update(&run.id, &volume.device, result.figures, line.now());
    line.store.record_volume(run, &volume.device, &result, line.now()).await?;
    Ok(())
}

/// Settles what became of packs that an earlier attempt had begun: in the store in full, then they are durable; or
/// not, then they are sent again and count as resent. Gives the packs that are durable.
async fn settle_ledger(
    line: &Line,
    run: &RunRecord,
    volume: &mut VolumeRecord,
    point: &str,
    cancel: &CancellationToken,
) -> Result<Vec<StagedPack>, StageError> {
    let mut staged = Vec::new();
    for pack in line.store.packs(&run.id, &volume.device).await? {
        if pack.state == PackState::Begun {
            let ask = line.images.pack_is_complete(&pack.pack);
            let found = bounded("looking for a pack", line.options.register, cancel, ask).await;
            if !found.map_err(|error| error.of_volume(&volume.device))? {
                volume.figures.bytes_resent += pack.bytes;
                line.store.pack_lost(run, &volume.device, &pack, &volume.figures).await?;
                continue;
            }
            let found = std::slice::from_ref(&pack.pack);
            line.store.packs_durable(run, &volume.device, found, None, line.now()).await?;
        }
        staged.push(StagedPack { same_point: pack.point == point, pack: pack.pack });
    }
    Ok(staged)
}

/// What a transfer tells, written to the ledger and to the live figures.
struct Report<'a> {
    line: &'a Line,
    run: &'a RunRecord,
    device: &'a str,
    figures: Mutex<VolumeFigures>,
    /// Grows with every sign of life.
    moved: AtomicU64,
}

impl Report<'_> {
    /// Writes live figures to the store from time to time, for ever.
    async fn persist(&self) -> Infallible {
        let mut persisted = self.figures();
        loop {
            tokio::time::sleep(self.line.options.persist).await;
            // Who waits because somebody wants it is not stuck; who waits for a slow source may be.
            let held_back = self.line.replicator.held_back(&self.run.id);
            if held_back.is_some_and(|by| by != HeldBack::SlowSource) {
                self.moved.fetch_add(1, Ordering::Relaxed);
            }
            persisted = self.write_figures(&persisted).await;
        }
    }

    /// Writes live figures unless they are what is `persisted`. Figures are a comfort: a store that cannot take them
    /// now will say so at the next pack.
    async fn write_figures(&self, persisted: &VolumeFigures) -> VolumeFigures {
        let figures = self.figures();
        if figures == *persisted {
            return figures;
        }
        if let Err(error) = self.line.store.record_figures(self.run, &[(self.device.to_owned(), figures)]).await {
            tracing::debug!(run = %self.run.id, error = %error.to_failure(), "live figures were not written");
        }
        figures
    }

    fn figures(&self) -> VolumeFigures {
        *self.figures.lock().expect("no thread panics while it holds this")
    }
}

#[async_trait]
impl TransferReport for Report<'_> {
    async fn pack_begun(&self, pack: &PackId, bytes: u64) -> Result<(), Failure> {
        self.line.store.pack_begun(self.run, self.device, pack, bytes).await.map_err(|e| e.to_failure())?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn packs_durable(&self, packs: &[PackId]) -> Result<(), Failure> {
        let figures = self.figures();
        let now = self.line.now();
        let recorded = self.line.store.packs_durable(self.run, self.device, packs, Some(&figures), now).await;
        recorded.map_err(|e| e.to_failure())?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn progress(&self, figures: VolumeFigures) {
        let mut known = self.figures.lock().expect("no thread panics while it holds this");
        if *known == figures {
            return;
        }
        *known = figures;
        drop(known);
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.line.progress.update(&self.run.id, self.device, figures, self.line.now());
    }
}
