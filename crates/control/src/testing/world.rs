//! A VM manager and an object store in memory, with a script of what goes wrong.

use super::Gate;
use crate::keys::KeyStore;
use crate::replicator::*;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_model::connector::ConnectorConfig;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, KeyId, PackId, RunId, SnapshotId};
use godwit_model::key::first_key;
use godwit_model::server::{DiscoveredServer, DiscoveredVolume, Discovery};
use godwit_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Packs per volume of a first copy.
pub(crate) const PACKS: u64 = 3;

/// Bytes of each.
pub(crate) const PACK: u64 = 1_000;

/// What happens at a call instead of its work.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Fail(Code),
    /// Does its work, and fails all the same. Of what a run does in its stages.
    FailBehind(Code),
    Hang,
    /// Waits until it is told to go on.
    Wait(Arc<Notify>),
    /// The source forgets the run's point in time, then works on.
    LosePoint,
    /// What was stored is found to be damaged.
    Damage,
    /// A sweep finds that everything is worth repacking.
    Repack,
}

/// A pack in the store: one block of a volume's content.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Block {
    device: String,
    number: u64,
    /// The content's version.
    version: u64,
    /// What it is encrypted with.
    key: KeyId,
}

#[derive(Clone, Debug)]
pub(crate) struct StoredSnapshot {
    pub digest: String,
    pub key: KeyId,
    pub key_version: u32,
    blocks: Vec<PackId>,
}

/// A point in time at the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    vm_id: String,
    name: String,
    /// What the guest had written by then.
    version: u64,
}

#[derive(Default)]
pub(crate) struct State {
    pub servers: Vec<DiscoveredServer>,
    pub manager: String,
    /// Changes of the guest: every volume's content has this version.
    pub version: u64,
    /// By how much guests change between two points in time.
    pub busy_guests: u64,
    /// Points in time that are held at the source.
    pub points: BTreeMap<RunId, Held>,
    /// Runs that change trackers at the source are advanced to, by server.
    pub trackers: BTreeMap<String, RunId>,
    packs: HashMap<PackId, Block>,
    /// Packs that a snapshot has named once.
    named: BTreeSet<PackId>,
    /// When each was made.
    made: HashMap<PackId, Timestamp>,
    /// The clock, for what the store dates.
    pub clock: Arc<AtomicI64>,
    /// Runs whose image was registered once.
    pub registered: BTreeSet<RunId>,
    pub snapshots: BTreeMap<SnapshotId, StoredSnapshot>,
    pub images: BTreeMap<ImageId, ImageOrder>,
    /// Managers that answer elsewhere than the one; they know the same servers.
    pub manager_at: HashMap<ConnectorConfig, String>,
    script: HashMap<&'static str, VecDeque<Act>>,
    pub calls: Vec<String>,
    pub settled: Vec<(RunId, SettleEnd)>,
    /// Notes that every point in time comes with.
    pub point_notes: Vec<String>,
    pub ordered_baselines: Vec<Vec<VolumeBaseline>>,
    /// The newest version of each key.
    pub keys: BTreeMap<KeyId, u32>,
    /// Keys that may not be used. As in a real key ring, a restart forgets it.
    pub disabled_keys: BTreeSet<KeyId>,
    points_taken: u64,
    packs_drawn: u128,
}

/// The world outside.
pub(crate) struct World {
    state: Mutex<State>,
    pub gate: Gate,
}

impl World {
    pub fn new() -> Arc<World> {
        let state = State { manager: "manager-1".into(), servers: vec![server("vm-1", "one")], ..State::default() };
        let state = State { keys: [(first_key(), 1)].into(), ..state };
        Arc::new(World { state: Mutex::new(state), gate: Gate::open() })
    }

    pub fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What happens at the next calls of this name.
    pub fn script(&self, call: &'static str, acts: impl IntoIterator<Item = Act>) {
        self.look().script.insert(call, acts.into_iter().collect());
    }

    pub fn calls(&self, call: &str) -> usize {
        self.look().calls.iter().filter(|c| c.as_str() == call).count()
    }

    /// Whether nothing of ours is left at the source.
    pub fn nothing_at_the_source(&self) -> bool {
        let state = self.look();
        state.points.is_empty() && state.trackers.is_empty()
    }

    /// Packs that no snapshot names.
    pub fn loose_packs(&self) -> usize {
        let state = self.look();
        state.packs.keys().filter(|p| !state.snapshots.values().any(|s| s.blocks.contains(p))).count()
    }

    /// Packs that no snapshot has ever named and that are older than this.
    pub fn stray_packs(&self, made_before: Timestamp) -> Vec<PackId> {
        let state = self.look();
        let is_stray = |pack: &&PackId| !state.named.contains(pack) && state.made[pack] < made_before;
        state.packs.keys().filter(is_stray).cloned().collect()
    }

    /// A pack that an earlier process sent and nobody wrote down.
    pub fn lose_track_of_a_pack(&self) {
        let mut state = self.look();
        state.packs_drawn += 1;
        let pack = PackId::from_bits(state.packs_drawn);
        let now = Timestamp(state.clock.load(Ordering::SeqCst));
        state.made.insert(pack.clone(), now);
        state.packs.insert(pack, Block { device: "boot".into(), number: 99, version: 99, key: first_key() });
    }

    /// Whether all that snapshots name is there.
    pub fn every_snapshot_is_whole(&self) -> bool {
        let state = self.look();
        state.snapshots.values().flat_map(|s| &s.blocks).all(|pack| state.packs.contains_key(pack))
    }

    /// Packs in the store.
    pub fn n_packs(&self) -> usize {
        self.look().packs.len()
    }

    /// The same decisions as the data line's, on packs of one block. Packs were listed before claims were asked for.
    fn doomed(&self, listed: &[PackId], claims: &SweepClaims, order: &SweepOrder<'_>) -> (SweepPlan, Vec<PackId>) {
        let state = self.look();
        let (mut plan, mut doomed) = (SweepPlan::default(), Vec::new());
        for pack in listed {
            let made = state.made[pack];
            let add = |to: &mut PackCount| {
                to.packs += 1;
                to.bytes += PACK;
                to.oldest = Some(to.oldest.map_or(made, |at| at.min(made)));
            };
            add(&mut plan.all);
            if state.snapshots.values().any(|s| s.blocks.contains(pack)) {
                add(&mut plan.named);
            } else if claims.packs.iter().any(|range| range.holds(pack)) {
                add(&mut plan.staged);
            } else if claims.released.iter().any(|range| range.holds(pack)) {
                add(&mut plan.released);
                doomed.push(pack.clone());
            } else if made + order.staging <= order.now {
                add(&mut plan.expired);
                doomed.push(pack.clone());
            } else {
                add(&mut plan.waiting);
            }
        }
        (plan, doomed)
    }

    fn listed(&self) -> Vec<PackId> {
        self.look().packs.keys().cloned().collect()
    }

    /// One call: through the gate, by the script.
    async fn call(&self, name: &'static str) -> Result<Option<Act>, Failure> {
        self.gate.pass(name).await;
        let act = {
            let mut state = self.look();
            state.calls.push(name.to_owned());
            state.script.get_mut(name).and_then(VecDeque::pop_front)
        };
        match act {
            Some(Act::Fail(code)) => Err(Failure::new(code, format!("scripted failure of {name}"))),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Wait(told)) => {
                told.notified().await;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// The end of a call that has done its work.
    fn answer<T>(act: Option<Act>, done: T) -> Result<T, Failure> {
        match act {
            Some(Act::FailBehind(code)) => Err(Failure::new(code, "scripted failure behind the work")),
            _ => Ok(done),
        }
    }

    /// The newest version of a key, if it may be used.
    fn key(&self, key: &KeyId) -> Result<u32, Failure> {
        let state = self.look();
        if state.disabled_keys.contains(key) {
            return Err(Failure::new(Code::KeyDisabled, "the key is disabled in the world"));
        }
        let version = state.keys.get(key).copied();
        version.ok_or_else(|| Failure::new(Code::KeyUnavailable, "the world holds no such key"))
    }

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
        report.pack_durable(&pack).await?;
        Ok(pack)
    }
}

#[async_trait]
impl Replicator for World {
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure> {
        self.call("discover").await?;
        let state = self.look();
        Ok(Discovery {
            manager_id: state.manager_at.get(config).unwrap_or(&state.manager).clone(),
            manager_name: "a VM manager".into(),
            manager_version: "1.0".into(),
            servers: state.servers.clone(),
            warnings: vec![],
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

    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        let act = self.call("transfer").await?;
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

#[async_trait]
impl ImageStore for World {
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        _: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        _: &CancellationToken,
    ) -> Result<VerifyResult, Failure> {
        let act = self.call("verify").await?;
        progress(PACKS * PACK, PACKS * PACK);
        let stored = self.look().snapshots.get(snapshot).cloned();
        let stored = stored.ok_or_else(|| Failure::new(Code::StoreCorrupt, "no such snapshot"))?;
        self.key(&stored.key)?;
        let damaged = matches!(act, Some(Act::Damage)).then_some(Extent { offset: 64, length: 8 });
        let found = VerifyResult {
            root_digest: stored.digest.clone(),
            bytes_verified: PACKS * PACK,
            first_problem: damaged.map(|_| "a block differs".to_owned()),
            damaged: damaged.into_iter().collect(),
        };
        World::answer(act, found)
    }

    async fn register(&self, order: &ImageOrder) -> Result<(), Failure> {
        let act = self.call("register").await?;
        self.key(&order.key)?;
        {
            let mut state = self.look();
            assert!(order.volumes.iter().all(|(_, s)| state.snapshots[s].key == order.key), "an image mixes keys");
            assert!(order.volumes.iter().all(|(_, s)| state.snapshots.contains_key(s)), "an image names no snapshot");
            let versions: BTreeSet<_> = order
                .volumes
                .iter()
                .map(|(_, s)| state.snapshots[s].digest.rsplit(' ').next().map(str::to_owned))
                .collect();
            assert_eq!(versions.len(), 1, "an image mixes points in time: {versions:?}");
            state.registered.insert(order.run.clone());
            let known = state.images.insert(order.image.clone(), order.clone());
            assert!(known.is_none_or(|known| known == *order), "the same image, but another content");
        }
        self.gate.pass("registered").await;
        World::answer(act, ())
    }

    async fn discard_staged(&self, packs: &[PackId]) -> Result<(), Failure> {
        self.call("discard_staged").await?;
        let mut state = self.look();
        for pack in packs {
            assert!(!state.snapshots.values().any(|s| s.blocks.contains(pack)), "a pack that is named is discarded");
            state.packs.remove(pack);
        }
        Ok(())
    }

    async fn pack_is_complete(&self, pack: &PackId) -> Result<bool, Failure> {
        self.call("pack_is_complete").await?;
        Ok(self.look().packs.contains_key(pack))
    }

    async fn delete_image(&self, image: &ImageId) -> Result<(), Failure> {
        self.call("delete_image").await?;
        self.look().images.remove(image);
        Ok(())
    }

    async fn delete_snapshots(&self, snapshots: &[SnapshotId]) -> Result<(), Failure> {
        self.call("delete_snapshots").await?;
        let mut state = self.look();
        for snapshot in snapshots {
            let named = state.images.values().any(|i| i.volumes.iter().any(|(_, s)| s == snapshot));
            assert!(!named, "a snapshot that an image names is deleted");
            state.snapshots.remove(snapshot);
        }
        Ok(())
    }

    async fn packs_of(&self, snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure> {
        self.call("packs_of").await?;
        let state = self.look();
        let blocks = state.snapshots.get(snapshot).map(|s| s.blocks.clone()).unwrap_or_default();
        Ok(blocks.into_iter().map(|first| PackRange { first, count: 1 }).collect())
    }

    async fn plan_sweep(&self, order: &SweepOrder<'_>, _: &CancellationToken) -> Result<SweepPlan, Failure> {
        self.call("plan_sweep").await?;
        let listed = self.listed();
        let claims = (order.claims)().await?;
        self.tell_uses(order, false);
        Ok(self.doomed(&listed, &claims, order).0)
    }

    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure> {
        let act = self.call("sweep_store").await?;
        let listed = self.listed();
        self.gate.pass("packs listed").await;
        let claims = (order.claims)().await?;
        self.gate.pass("claims asked for").await;
        self.tell_uses(order, matches!(act, Some(Act::Repack)));
        let (_, doomed) = self.doomed(&listed, &claims, order);
        let mut end = SweepEnd::default();
        for pack in &doomed {
            if cancel.is_cancelled() {
                return Err(Failure::new(Code::Cancelled, "told to stop"));
            }
            self.gate.pass("a pack swept").await;
            self.look().packs.remove(pack);
            end.packs_freed += 1;
            end.bytes_freed += PACK;
            report(SweepProgress {
                packs_to_free: doomed.len() as u64,
                packs_freed: end.packs_freed,
                ..Default::default()
            });
        }
        self.call("sweep_end").await?;
        Ok(end)
    }

    async fn data_extents(&self, _: &SnapshotId, from: u64, limit: usize) -> Result<ExtentPage, Failure> {
        self.call("data_extents").await?;
        let all = (0..PACKS).map(|n| Extent { offset: n * PACK, length: PACK / 2 });
        let extents: Vec<Extent> = all.filter(|e| e.offset >= from).take(limit).collect();
        let next = extents.last().map(|e| e.offset + PACK).filter(|n| *n < PACKS * PACK);
        Ok(ExtentPage { extents, next })
    }

    async fn read(&self, _: &SnapshotId, extent: Extent) -> Result<Bytes, Failure> {
        self.call("read").await?;
        Ok(Bytes::from(vec![7; extent.length as usize]))
    }
}

#[async_trait]
impl KeyStore for World {
    async fn make(&self, key: &KeyId, version: u32) -> Result<(), Failure> {
        self.call("make key").await?;
        {
            let mut state = self.look();
            let newest = state.keys.entry(key.clone()).or_insert(0);
            assert!(version <= *newest + 1, "a version is left out");
            *newest = version.max(*newest);
        }
        self.gate.pass("key made").await;
        Ok(())
    }

    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        self.call("all keys").await?;
        Ok(self.look().keys.clone())
    }

    fn set_enabled(&self, key: &KeyId, enabled: bool) {
        let mut state = self.look();
        if enabled {
            state.disabled_keys.remove(key)
        } else {
            state.disabled_keys.insert(key.clone())
        };
    }
}

pub(crate) fn server(vm_id: &str, name: &str) -> DiscoveredServer {
    let volume = |device: &str| DiscoveredVolume { device: device.to_owned(), size: PACKS * PACK };
    DiscoveredServer {
        vm_id: vm_id.to_owned(),
        name: name.to_owned(),
        path: format!("/{name}"),
        volumes: vec![volume("boot"), volume("data")],
        platform: None,
    }
}
