//! A VM manager and an object store in memory, with a script of what goes wrong.

mod objects;
mod source;

use super::Gate;
use crate::keys::KeyStore;
use crate::replicator::*;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_model::cap::HeldBack;
use godwit_model::connector::ConnectorConfig;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, KeyId, PackId, RunId, SnapshotId};
use godwit_model::key::{KeyUse, NoteKeyUse, Purpose, first_key};
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
    pub vm_id: String,
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
    /// Managers that do not answer.
    pub silent_at: HashMap<ConnectorConfig, Code>,
    /// Managers that answer when they are told to.
    pub waits_at: HashMap<ConnectorConfig, Arc<Notify>>,
    /// What managers say that they see and cannot offer.
    pub warnings: Vec<String>,
    script: HashMap<&'static str, VecDeque<Act>>,
    pub calls: Vec<String>,
    pub settled: Vec<(RunId, SettleEnd)>,
    /// Notes that every point in time comes with.
    pub point_notes: Vec<String>,
    pub ordered_baselines: Vec<Vec<VolumeBaseline>>,
    /// What transfers were to repair, volume by volume.
    pub ordered_repairs: Vec<(String, Vec<Extent>)>,
    /// Packs that are not what was written.
    pub rotten: BTreeSet<PackId>,
    /// Packs that were checked, in order.
    pub checked: Vec<PackId>,
    /// The newest version of each key.
    pub keys: BTreeMap<KeyId, u32>,
    /// Keys that may not be used. As in a real key ring, a restart forgets it.
    pub disabled_keys: BTreeSet<KeyId>,
    points_taken: u64,
    /// What was told of rates, one behind the other.
    pub rates: Vec<ReadRates>,
    /// What holds runs back.
    pub held_back: HashMap<RunId, HeldBack>,
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

    /// Lets the first block of a snapshot rot.
    pub fn rot(&self, snapshot: &SnapshotId) -> PackId {
        let mut state = self.look();
        let pack = state.snapshots[snapshot].blocks[0].clone();
        state.rotten.insert(pack.clone());
        pack
    }

    /// The first block of a snapshot is gone.
    pub fn lose_pack(&self, snapshot: &SnapshotId) {
        let mut state = self.look();
        let pack = state.snapshots[snapshot].blocks[0].clone();
        state.packs.remove(&pack);
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
                let until = made + order.staging;
                plan.waiting_until = Some(plan.waiting_until.map_or(until, |at| at.min(until)));
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
}

pub(crate) fn server(vm_id: &str, name: &str) -> DiscoveredServer {
    let size = PACKS * PACK;
    let volume = |device: &str| DiscoveredVolume { device: device.to_owned(), size, allocated: Some(size / 2) };
    DiscoveredServer {
        vm_id: vm_id.to_owned(),
        name: name.to_owned(),
        path: format!("/{name}"),
        volumes: vec![volume("boot"), volume("data")],
        platform: None,
    }
}
