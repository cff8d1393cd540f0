//! Histories: rounds of everything at once, with a kill in most of them.

use crate::book::{Book, Content, Job, Tables};
use crate::chance::Chance;
use crate::ground::{Ground, Lies, STEPS, Step, Trap, Weather};
use crate::promises;
use crate::service::{Offer, Service};
use crate::session::Session;
use crate::stage::{entropy, noise};
use crate::step::aim_of;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::store::{BlockStore, Options};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, KeyId};
use godwit_model::key::first_key;
use godwit_model::time::Millis;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Sizes of the volumes of each server. The last one of the first has two leaves and is mostly empty.
const SERVERS: [&[usize]; 2] = [&[250_001, 4_500_000], &[180_000]];

/// Packs so small that small volumes make several.
const PACK: usize = 60_000;

/// Images of a server above this are deleted.
const IMAGES: usize = 2;

/// Rounds without a kill that mean that the histories are no longer what they were.
const IDLE: usize = 60;

/// What a history was like.
#[derive(Default, Debug)]
pub struct Tale {
    pub kills: BTreeMap<Step, u64>,
    /// How often which thing went wrong without a kill, and what a disk lied about.
    pub mishaps: BTreeMap<&'static str, u64>,
    /// Volumes that were compared with their source.
    pub volumes: usize,
    /// Objects that were spoilt.
    pub spoilt: usize,
}

impl Tale {
    pub fn add(&mut self, other: &Tale) {
        other.kills.iter().for_each(|(step, n)| *self.kills.entry(*step).or_default() += n);
        other.mishaps.iter().for_each(|(mishap, n)| *self.mishaps.entry(mishap).or_default() += n);
        self.volumes += other.volumes;
        self.spoilt += other.spoilt;
    }

    pub fn n_kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Checks that kills which aimed at one kind of step after the other so often have hit each in its turn.
    pub fn check_aims(&self, n_aimed: u64) {
        let turns = n_aimed / STEPS.len() as u64;
        for step in STEPS {
            let hits = self.kills.get(&step).copied().unwrap_or_default();
            assert!(hits >= turns, "{hits} processes of {turns} were killed at {step:?}: {self:?}");
        }
    }
}

pub struct History {
    seed: u64,
    /// Number of the kind of step that the first kill aims at.
    first_aim: u64,
    /// Rounds since the last kill.
    idle: usize,
    ground: Ground,
    tables: Arc<Mutex<Tables>>,
    guests: Vec<Vec<Content>>,
    chance: Chance,
    service: Option<Service>,
    volumes: usize,
}

impl History {
    pub fn new(seed: u64, lies: Lies, first_aim: u64) -> Self {
        let mut chance = Chance::new(seed);
        let job = |key| Job { key, version: 0, run: None, baselines: BTreeMap::new() };
        let jobs = vec![Job { version: 1, ..job(first_key()) }, job(KeyId::from_bits(70))];
        let mut history = Self {
            seed,
            first_aim,
            idle: 0,
            ground: Ground::new(chance.fork(), lies),
            tables: Arc::new(Mutex::new(Tables { jobs, ..Tables::default() })),
            guests: SERVERS.iter().map(|sizes| sizes.iter().map(|size| Arc::new(vec![0; *size])).collect()).collect(),
            chance,
            service: None,
            volumes: 0,
        };
        for _ in 0..3 {
            history.change_guests();
        }
        history
    }

    /// Plays until so many kills have happened, then brings everything to rest.
    pub async fn play(mut self, kills: u64) -> Tale {
        while self.n_kills() < kills {
            let before = self.n_kills();
            self.round().await;
            self.idle = if self.n_kills() == before { self.idle + 1 } else { 0 };
            if self.idle == IDLE {
                let mut state = self.ground.state();
                // One snapshot that a lying disk spoilt keeps all sweeps from deleting, as it should: the step may not
                // come again.
                assert!(state.lies.unsynced > 0, "nothing comes to {:?} any more", state.trap);
                state.trap = Some(Trap::Any(0));
            }
            assert!(self.idle < 2 * IDLE, "nothing durable is done any more");
        }
        self.rest().await;
        let state = self.ground.state();
        let (kills, mishaps) = (state.kills.clone(), state.mishaps.clone());
        Tale { kills, mishaps, volumes: self.volumes, spoilt: state.spoilt.len() }
    }

    /// What tells a failure's place.
    pub fn ground(&self) -> Ground {
        self.ground.clone()
    }

    fn n_kills(&self) -> u64 {
        self.ground.state().kills.values().sum()
    }

    fn is_honest(&self) -> bool {
        self.ground.state().spoilt.is_empty()
    }

    async fn round(&mut self) {
        self.change_guests();
        let hours = self.chance.pick(&[1, 5, 30, 24 * 9]);
        self.set_the_scene(hours);
        let (ground, before) = (self.ground.clone(), self.n_kills());
        let work = self.work();
        let survivor = tokio::select! {
            biased;
            () = ground.killed() => None,
            service = work => service,
        };
        self.service = survivor;
        let is_killed = self.n_kills() > before;
        if is_killed || self.chance.percent(10) {
            self.check().await;
        }
    }

    /// Time passes, things go wrong, a trap is set.
    fn set_the_scene(&mut self, hours: i64) {
        let chance = &mut self.chance;
        let mut state = self.ground.state();
        state.now += hours * 3_600_000;
        let mut some = |most: usize| if chance.percent(35) { 1 + chance.below(most) as u32 } else { 0 };
        state.weather = Weather {
            lost: some(8),
            ambiguous: some(8),
            full: some(15),
            undeleted: some(10),
            unread: some(4),
            short: some(4),
            stale: some(60),
        };
        if chance.percent(50) {
            state.weather = Weather::default();
        }
        if state.trap.is_none() {
            let n_kills = state.kills.values().sum();
            state.trap = Some(match aim_of(self.first_aim, n_kills) {
                None => Trap::Any(chance.below(60)),
                Some(step) => Trap::At(step, chance.below(4)),
            });
        }
        if state.lies.unsynced > 0 && chance.percent(10) {
            state.flip_a_bit();
        }
    }

    /// Everything that goes on in a round. Gives the process, unless it did not even begin.
    fn work(&mut self) -> impl Future<Output = Option<Service>> + use<> {
        let alive = self.service.take();
        let (ground, tables) = (self.ground.clone(), self.tables.clone());
        let is_honest = self.is_honest();
        let aim = self.aim();
        let seed = self.chance.next();
        let offers = self.guests.clone();
        let mut chance = self.chance.fork();
        async move {
            let mut service = match alive {
                Some(service) => service,
                None => start(&ground, tables, seed).await?,
            };
            service.now = ground.state().now;
            let outcomes = join_all(activities(&service, aim, offers, &mut chance)).await;
            for outcome in outcomes {
                judge(outcome, is_honest);
            }
            // Restarted in peace now and then.
            chance.percent(60).then_some(service)
        }
    }

    async fn check(&mut self) {
        let tables = self.tables.lock().unwrap().clone();
        if self.service.is_none() {
            self.repair_keys();
        }
        self.volumes += promises::check(&self.ground, &tables).await;
    }

    /// Brings back key objects from a backup, as whoever runs a service with a lying disk must: without them nothing at
    /// all can be read.
    fn repair_keys(&mut self) {
        let mut state = self.ground.state();
        let spoilt: Vec<_> = state.spoilt.iter().filter(|path| path.as_ref().starts_with("keys/")).cloned().collect();
        for path in spoilt {
            match state.written.get(&path).cloned() {
                Some(bytes) => {
                    let made_at = state.now;
                    state.objects.insert(path, crate::ground::Object { bytes, made_at });
                }
                None => {
                    state.objects.remove(&path);
                }
            }
        }
    }

    /// Peace: what was begun ends, and what nobody needs goes.
    async fn rest(&mut self) {
        {
            let mut state = self.ground.state();
            (state.weather, state.trap) = (Weather::default(), None);
            (state.lies, state.now) = (Lies::default(), state.now + 3_600_000);
        }
        self.repair_keys();
        let is_honest = self.is_honest();
        let (ground, tables) = (self.ground.clone(), self.tables.clone());
        let seed = self.chance.next();
        let mut service = start(&ground, tables, seed).await.expect("nothing is in its way");
        for job in 0..SERVERS.len() {
            let mut runs = 0;
            while runs == 0 || service.book.read(|tables| tables.jobs[job].run.is_some()) {
                let offer = Offer { volumes: self.guests[job].clone(), is_lost: false, is_tracked: true };
                judge(service.run(job, offer, &mut self.chance).await, is_honest);
                runs += 1;
                assert!(runs < 10, "a run in peace does not end");
            }
        }
        judge(service.delete(None).await, is_honest);
        judge(service.sweep().await, is_honest);
        self.check().await;
        let images = self.tables.lock().unwrap().visible();
        self.tables.lock().unwrap().jobs.iter_mut().for_each(|job| job.baselines.clear());
        for (id, _) in images {
            judge(service.delete(Some(&id)).await, is_honest);
        }
        service.now += Millis::DAY.times(30).0;
        judge(service.sweep().await, is_honest);
        if is_honest {
            let state = self.ground.state();
            let left: Vec<_> = state.objects.keys().filter(|path| !path.as_ref().starts_with("keys/")).collect();
            assert!(left.is_empty(), "left of a store in which nothing is: {left:?}");
        }
    }

    /// The kind of step that the trap which is set waits for.
    fn aim(&self) -> Option<Step> {
        match self.ground.state().trap {
            Some(Trap::At(step, _)) => Some(step),
            _ => None,
        }
    }

    fn change_guests(&mut self) {
        let aim = self.aim();
        // What is to be removed or moved must have died.
        let dying = if aim.is_some_and(Step::removes) { 50 } else { 20 };
        for volume in self.guests.iter_mut().flatten() {
            let mut content = volume.to_vec();
            change(&mut content, dying, &mut self.chance);
            *volume = Arc::new(content);
        }
        self.spread_blocks(if aim.is_some_and(Step::lends) { 100 } else { 60 });
    }

    /// Copies pieces of one volume into another, as files are copied between servers: blocks to be found elsewhere.
    fn spread_blocks(&mut self, percent: u32) {
        let volumes: Vec<Arc<Vec<u8>>> = self.guests.iter().flatten().cloned().collect();
        for volume in self.guests.iter_mut().flatten() {
            let from = &volumes[self.chance.below(volumes.len())];
            let blocks = from.len().min(volume.len()) / 4096;
            if blocks < 2 || !self.chance.percent(percent) {
                continue;
            }
            let length = (1 + self.chance.below(blocks.min(40))) * 4096;
            let place = |chance: &mut Chance, size: usize| chance.below((size - length) / 4096 + 1) * 4096;
            let (to, at) = (place(&mut self.chance, volume.len()), place(&mut self.chance, from.len()));
            Arc::make_mut(volume)[to..to + length].copy_from_slice(&from[at..at + length]);
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// A process begins; `None` if the store cannot be opened in this weather.
async fn start(ground: &Ground, tables: Arc<Mutex<Tables>>, seed: u64) -> Option<Service> {
    let epoch = ground.begin();
    let objects = Arc::new(Session::of(ground, epoch));
    let options = Options { pack_target: PACK };
    for _ in 0..5 {
        match BlockStore::open_with(objects.clone(), &MasterKey::new([7; 32]), entropy(seed), options).await {
            Ok(store) => {
                let now = ground.state().now;
                let service = Service { store, book: Book::of(ground, epoch, tables), now };
                while service.book.read(|tables| tables.jobs[1].version == 0) {
                    if let Err(failure) = service.rotate(1).await {
                        assert!(failure.code.kind().is_transient(), "{failure}");
                        return None;
                    }
                }
                service.learn().await;
                return Some(service);
            }
            Err(failure) => assert!(failure.code.kind().is_transient(), "{failure}"),
        }
    }
    None
}

fn activities<'a>(
    service: &'a Service,
    aim: Option<Step>,
    guests: Vec<Vec<Content>>,
    chance: &mut Chance,
) -> Vec<BoxFuture<'a, Result<(), Failure>>> {
    let mut all: Vec<BoxFuture<'a, Result<(), Failure>>> = Vec::new();
    let removes = aim.is_some_and(Step::removes);
    for (job, volumes) in guests.into_iter().enumerate() {
        if chance.percent(80) {
            let offer = Offer { volumes, is_lost: chance.percent(25), is_tracked: chance.percent(75) };
            let mut dice = chance.fork();
            all.push(async move { service.run(job, offer, &mut dice).await }.boxed());
        }
    }
    let images = service.book.read(Tables::visible);
    let ids: Vec<ImageId> = images.iter().map(|(id, _)| id.clone()).collect();
    if chance.percent(35) || removes {
        let kept = SERVERS.len() * if removes { 1 } else { IMAGES };
        let spare = (ids.len() > kept).then(|| chance.pick(&ids));
        all.push(async move { service.delete(spare.as_ref()).await }.boxed());
    }
    if chance.percent(30) || removes {
        all.push(service.sweep().boxed());
    }
    if aim == Some(Step::PutKey) || chance.percent(8) {
        let job = chance.below(SERVERS.len());
        all.push(service.rotate(job).boxed());
    }
    if !ids.is_empty() && chance.percent(30) {
        let (id, mut dice) = (chance.pick(&ids), chance.fork());
        all.push(async move { service.look_at(&id, &mut dice).await }.boxed());
    }
    all
}

/// How something may end: well, or with what the weather explains, or what was spoilt.
fn judge(outcome: Result<(), Failure>, is_honest: bool) {
    let Err(failure) = outcome else { return };
    let is_damage = matches!(failure.code, Code::StoreCorrupt | Code::VerifyMismatch);
    assert!(
        is_damage && !is_honest || failure.code.kind().is_transient() && failure.code != Code::KeyUnavailable,
        "{failure}"
    );
}

/// The guest works.
fn change(content: &mut [u8], dying: u32, chance: &mut Chance) {
    let size = content.len();
    for _ in 0..chance.below(6) {
        let start = chance.below(size);
        let end = (start + 1 + chance.below(40_000)).min(size);
        match chance.below(4) {
            0 => content[start..end].fill(0),
            1 => content[start..end].fill(b'a' + chance.below(20) as u8),
            _ => {
                let new = noise(chance.next(), end - start);
                content[start..end].copy_from_slice(&new);
            }
        }
    }
    // So much that most of what was stored is dead.
    if chance.percent(dying) {
        for block in content[..size.min(300_000)].chunks_mut(4096) {
            if chance.percent(70) {
                let new = noise(chance.next(), block.len());
                block.copy_from_slice(&new);
            }
        }
    }
}
