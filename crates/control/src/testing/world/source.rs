//! The VM manager.

use super::*;

impl World {
    /// Staged packs that the snapshot does not use go with its commit, as the connector has it.
    fn discard_unused(&self, order: &TransferOrder, snapshot: &StoredSnapshot) {
        let mut state = self.look();
        for staged in order.staged.iter().filter(|staged| !snapshot.blocks.contains(&staged.pack)) {
            if !state.named.contains(&staged.pack) {
                state.packs.remove(&staged.pack);
            }
        }
    }

    async fn send(
        &self,
        block: &Block,
        figures: &mut VolumeFigures,
        report: &dyn TransferReport,
    ) -> Result<PackId, Failure> {
        let pack = {
            let mut state = self.look();
            state.packs_drawn += 1;
            PackId::from_bits(state.packs_drawn)
        };
        report.pack_begun(&pack, PACK).await?;
        self.call("send").await?;
        self.key(&block.key)?;
        {
            let mut state = self.look();
            let now = Timestamp(state.clock.load(Ordering::SeqCst));
            state.made.insert(pack.clone(), now);
            state.packs.insert(pack.clone(), block.clone());
        }
        self.gate.pass("sent").await;
        figures.bytes_read += PACK;
        figures.bytes_sent += PACK;
        figures.bytes_stored += PACK;
        report.progress(*figures);
        report.packs_durable(std::slice::from_ref(&pack)).await?;
        Ok(pack)
    }
}

#[async_trait]
impl Replicator for World {
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure> {
        self.call("discover").await?;
        let waits = self.look().waits_at.get(config).cloned();
        if let Some(told) = waits {
            told.notified().await;
        }
        let state = self.look();
        if let Some(code) = state.silent_at.get(config) {
            let ConnectorConfig::Qmp { socket } = config;
            return Err(Failure::new(*code, format!("nobody answers at the socket {socket}")));
        }
        Ok(Discovery {
            manager_id: state.manager_at.get(config).unwrap_or(&state.manager).clone(),
            manager_name: "a VM manager".into(),
            manager_version: "1.0".into(),
            servers: state.servers.clone(),
            warnings: state.warnings.clone(),
        })
    }

    async fn take_point(&self, order: &PointOrder) -> Result<Point, Failure> {
        let act = self.call("take_point").await?;
        let (point, tracker, volumes) = {
            let mut state = self.look();
            state.ordered_baselines.push(order.baselines.clone());
            state.version += state.busy_guests;
            let version = state.version;
            state.points_taken += 1;
            let name = format!("point-{}", state.points_taken);
            let new = Held { vm_id: order.source.vm_id.clone(), name, version };
            let point = state.points.entry(order.run.clone()).or_insert(new).name.clone();
            let tracker = state.trackers.get(&order.source.vm_id).cloned();
            let volumes = state.servers.iter().find(|s| s.vm_id == order.source.vm_id).map(|s| s.volumes.clone());
            (point, tracker, volumes)
        };
        self.gate.pass("point taken").await;
        let taken = Point {
            point,
            consistency: Consistency::FileSystem,
            volumes: volumes
                .unwrap_or_default()
                .into_iter()
                .map(|v| PointVolume {
                    tracked: order.baselines.iter().any(|b| b.device == v.device && Some(&b.run) == tracker.as_ref()),
                    device: v.device,
                    size: v.size,
                    note: None,
                })
                .collect(),
            notes: self.look().point_notes.clone(),
        };
        World::answer(act, taken)
    }

    fn set_rates(&self, rates: &ReadRates) {
        self.look().rates.push(rates.clone());
    }

    fn held_back(&self, run: &RunId) -> Option<HeldBack> {
        self.look().held_back.get(run).copied()
    }

    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        let act = self.call("transfer").await?;
        self.look().ordered_repairs.push((order.device.clone(), order.repairs.clone()));
        let mut figures = VolumeFigures { bytes_total: PACKS * PACK, ..order.figures };
        let key_version = self.key(&order.key)?;
        let result = |digest: String, key_version, figures| VolumeResult {
            snapshot: order.snapshot.clone(),
            root_digest: digest,
            key_version,
            figures,
            notes: vec![],
        };
        let done = self.look().snapshots.get(&order.snapshot).cloned();
        if let Some(done) = done {
            self.discard_unused(order, &done);
            return Ok(result(done.digest, done.key_version, figures));
        }
        if matches!(act, Some(Act::LosePoint)) {
            self.look().points.remove(&order.run);
        }
        let version = match self.look().points.get(&order.run) {
            Some(held) if held.name == order.point => held.version,
            _ => return Err(Failure::new(Code::PointInTimeLost, "the source holds no such point")),
        };
        let mut blocks = Vec::new();
        for number in 0..PACKS {
            if cancel.is_cancelled() {
                return Err(Failure::new(Code::Cancelled, "told to stop"));
            }
            let wanted = Block { device: order.device.clone(), number, version, key: order.key.clone() };
            let staged = {
                let state = self.look();
                let staged = order.staged.iter().find(|s| state.packs.get(&s.pack) == Some(&wanted));
                staged.map(|s| s.pack.clone())
            };
            blocks.push(match staged {
                Some(pack) => pack,
                None => self.send(&wanted, &mut figures, report).await?,
            });
            figures.bytes_done = figures.bytes_done.max((number + 1) * PACK);
            report.progress(figures);
        }
        self.gate.pass("commit of a snapshot").await;
        let digest = format!("digest of {} version {version}", order.device);
        let snapshot = StoredSnapshot { digest: digest.clone(), key: order.key.clone(), key_version, blocks };
        {
            let mut state = self.look();
            assert!(
                snapshot.blocks.iter().all(|p| state.packs.contains_key(p)),
                "a snapshot names what is not durable"
            );
            state.named.extend(snapshot.blocks.iter().cloned());
            state.snapshots.insert(order.snapshot.clone(), snapshot.clone());
        }
        self.discard_unused(order, &snapshot);
        self.gate.pass("snapshot committed").await;
        World::answer(act, result(digest, key_version, figures))
    }

    async fn settle(&self, source: &SourceServer, run: &RunId, end: SettleEnd) -> Result<(), Failure> {
        let act = self.call("settle").await?;
        {
            let mut state = self.look();
            let had = state.points.remove(run).is_some();
            match end {
                SettleEnd::Committed if had => {
                    assert!(state.registered.contains(run), "a tracker is advanced though {run} has no image");
                    state.trackers.insert(source.vm_id.clone(), run.clone());
                }
                SettleEnd::Forget => {
                    state.trackers.remove(&source.vm_id);
                    state.points.retain(|_, held| held.vm_id != source.vm_id);
                }
                _ => {}
            }
            state.settled.push((run.clone(), end));
        }
        self.gate.pass("settled").await;
        World::answer(act, ())
    }

    async fn sweep_source(&self, _: &ConnectorConfig, ask_claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        self.call("sweep").await?;
        let claims = ask_claims().await?;
        let mut state = self.look();
        let before = state.points.len() + state.trackers.len();
        state.points.retain(|run, _| claims.all_of(run));
        state.trackers.retain(|_, run| claims.trackers_of(run));
        let after = state.points.len() + state.trackers.len();
        Ok((after..before).map(|_| "something".to_owned()).collect())
    }
}
