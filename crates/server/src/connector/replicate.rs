//! Discovers servers, takes points in time, moves volumes into the store.

use crate::connector::guards::Guards;
use crate::connector::views::Views;
use async_trait::async_trait;
use godwit_blocks::block::BlockSize;
use godwit_blocks::replicate::{Ledger, Request, Staged, replicate};
use godwit_blocks::source::{Baseline, OpenRequest, Settle, Source, View};
use godwit_blocks::store::BlockStore;
use godwit_blocks::turns::Rates;
use godwit_control::Clock;
use godwit_control::replicator::{
    AskClaims, Point, PointOrder, PointVolume, ReadRates, Replicator, SettleEnd, SourceServer, TransferOrder,
    TransferReport, VolumeBaseline, VolumeResult,
};
use godwit_model::cap::HeldBack;
use godwit_model::connector::ConnectorConfig;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{PackId, RunId};
use godwit_model::server::Discovery;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Makes a source of a configuration; nothing is contacted by it.
pub type MakeSource = Box<dyn Fn(&ConnectorConfig) -> Arc<dyn Source> + Send + Sync>;

/// What a connector is made of.
pub struct ConnectorParts {
    /// Makes sources.
    pub make_source: MakeSource,
    /// Where volumes go.
    pub store: BlockStore,
    /// Tells the time.
    pub clock: Clock,
}

/// The embedded connector.
pub struct Connector {
    parts: ConnectorParts,
    /// One source for each VM manager: they order the conversations of this process among themselves. As many as there
    /// are connectors.
    sources: Mutex<HashMap<String, Arc<dyn Source>>>,
    views: Views,
    guards: Guards,
}

impl Connector {
    /// A connector; nothing is contacted.
    pub fn new(parts: ConnectorParts) -> Self {
        Self { parts, sources: Mutex::default(), views: Views::default(), guards: Guards::default() }
    }

    fn source(&self, config: &ConnectorConfig) -> Arc<dyn Source> {
        let ConnectorConfig::Qmp { socket } = config;
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.entry(socket.clone()).or_insert_with(|| (self.parts.make_source)(config)).clone()
    }

    async fn open(
        &self,
        source: &SourceServer,
        run: &RunId,
        baselines: &[VolumeBaseline],
        expect_point: Option<String>,
    ) -> Result<Arc<View>, Failure> {
        let request = OpenRequest {
            vm_id: source.vm_id.clone(),
            run: run.clone(),
            baselines: baselines.iter().map(baseline).collect(),
            expect_point,
        };
        let at = self.source(&source.config);
        let (guarded, vm_id, of) = (at.clone(), source.vm_id.clone(), run.clone());
        self.guards.begin(run, async move { guarded.guard(&vm_id, &of).await });
        let view = Arc::new(at.open(&request).await?);
        self.views.put(run, view.clone());
        Ok(view)
    }

    async fn view(&self, order: &TransferOrder) -> Result<Arc<View>, Failure> {
        if let Some(view) = self.views.get(&order.run, &order.point) {
            return Ok(view);
        }
        let view = self.open(&order.source, &order.run, &order.baselines, Some(order.point.clone())).await?;
        if view.point == order.point {
            return Ok(view);
        }
        self.views.forget(&order.run);
        let what =
            format!("the source of {} gave the point in time {} instead of {}", order.run, view.point, order.point);
        Err(Failure::new(Code::PointInTimeLost, what))
    }

    async fn transfer_volume(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        let view = self.view(order).await?;
        let volume = view.volumes.iter().find(|volume| volume.device == order.device).ok_or_else(|| {
            // The run's record and the point in time disagree: only a new point helps.
            Failure::new(Code::PointInTimeLost, format!("the point in time has no volume {}", order.device))
        })?;
        let request = Request {
            snapshot: order.snapshot.clone(),
            run: order.run.clone(),
            source: name_of(&order.source.config),
            device: order.device.clone(),
            size: volume.size,
            block_size: BlockSize::DEFAULT,
            // Nothing is compared across keys.
            parent: baseline_of(order).filter(|b| b.key == order.key).map(|b| b.snapshot.clone()),
            tracked: volume.tracked,
            damaged: order.repairs.clone(),
            staged: order.staged.iter().map(|s| Staged { pack: s.pack.clone(), same_point: s.same_point }).collect(),
            figures: order.figures,
            created_at: (self.parts.clock)(),
        };
        let progress = |figures| report.progress(figures);
        let ledger = Reported(report);
        let store = self.parts.store.under(&order.key).await?;
        let moved = replicate(&store, &request, volume.reader.clone(), &ledger, &progress, cancel).await?;
        // Behind the last read and before anybody records the snapshot. If somebody ended the copy job, its export goes
        // on to answer, with what the guest has written since: then this snapshot is void, and is removed as such.
        self.source(&order.source.config).still_holds(&order.source.vm_id, &order.run, &order.point).await?;
        // They are named by nothing: what stays behind costs space only, so the run does not fail for it.
        if let Err(failure) = self.parts.store.discard_packs(&moved.unused).await {
            tracing::warn!(run = %order.run, device = order.device, %failure, "staged packs without use stay in the store");
        }
        Ok(VolumeResult {
            snapshot: moved.snapshot,
            root_digest: moved.root_digest.to_string(),
            key_version: moved.key_version,
            figures: moved.figures,
            notes: moved.notes,
        })
    }
}

#[async_trait]
impl Replicator for Connector {
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure> {
        self.source(config).discover().await
    }

    async fn take_point(&self, order: &PointOrder) -> Result<Point, Failure> {
        // Whatever was open of this run may be lost: that can be why a point is taken again.
        self.views.forget(&order.run);
        self.guards.end(&order.run);
        let view = self.open(&order.source, &order.run, &order.baselines, None).await?;
        Ok(Point {
            point: view.point.clone(),
            consistency: view.consistency,
            volumes: view
                .volumes
                .iter()
                .map(|volume| PointVolume {
                    device: volume.device.clone(),
                    size: volume.size,
                    tracked: volume.tracked,
                    note: volume.note.clone(),
                })
                .collect(),
            notes: view.notes.clone(),
        })
    }

    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        Box::pin(self.transfer_volume(order, report, cancel)).await.map_err(|failure| {
            // Its connections may be what failed: the next attempt makes new ones.
            self.views.forget(&order.run);
            let is_loss = matches!(failure.code, Code::PointInTimeLost | Code::SourceRead);
            self.guards.why_ended(&order.run).filter(|_| is_loss).unwrap_or(failure)
        })
    }

    fn set_rates(&self, rates: &ReadRates) {
        self.parts.store.turns().set_rates(Rates {
            total: rates.total,
            sources: rates.connectors.iter().map(|(config, rate)| (name_of(config), *rate)).collect(),
            runs: rates.runs.iter().cloned().collect(),
        });
    }

    fn held_back(&self, run: &RunId) -> Option<HeldBack> {
        self.parts.store.turns().held_back(run)
    }

    async fn settle(&self, source: &SourceServer, run: &RunId, end: SettleEnd) -> Result<(), Failure> {
        self.views.forget(run);
        self.guards.end(run);
        let end = match end {
            SettleEnd::Committed => Settle::Committed,
            SettleEnd::Abandoned => Settle::Abandoned,
            SettleEnd::Forget => Settle::Forget,
        };
        self.source(&source.config).settle(&source.vm_id, run, end).await
    }

    async fn sweep_source(&self, config: &ConnectorConfig, claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        self.source(config).sweep(claims).await
    }
}

/// The ledger of packs is kept by whoever ordered the transfer.
struct Reported<'a>(&'a dyn TransferReport);

#[async_trait]
impl Ledger for Reported<'_> {
    async fn begun(&self, pack: &PackId, bytes: u64) -> Result<(), Failure> {
        self.0.pack_begun(pack, bytes).await
    }

    async fn durable(&self, packs: &[PackId]) -> Result<(), Failure> {
        self.0.packs_durable(packs).await
    }
}

/// The last committed state of the volume that is wanted.
fn baseline_of(order: &TransferOrder) -> Option<&VolumeBaseline> {
    order.baselines.iter().find(|baseline| baseline.device == order.device)
}

/// What the turns of a store call a source.
fn name_of(config: &ConnectorConfig) -> String {
    let ConnectorConfig::Qmp { socket } = config;
    socket.clone()
}

fn baseline(baseline: &VolumeBaseline) -> Baseline {
    Baseline { device: baseline.device.clone(), run: baseline.run.clone(), size: baseline.size }
}
