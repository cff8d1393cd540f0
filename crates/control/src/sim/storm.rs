//! The weather between the decision line and the world: calls that fail before or after their effect, that take their
//! time, that never come back.

use super::dice::Dice;
use super::is_broken;
use super::life::Clock;
use crate::keys::KeyStore;
use crate::notify::Notifier;
use crate::replicator::*;
use crate::testing::World;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_model::cap::HeldBack;
use godwit_model::connector::ConnectorConfig;
use godwit_model::event::Message;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{EventId, ImageId, KeyId, PackId, RunId, SnapshotId};
use godwit_model::key::NoteKeyUse;
use godwit_model::recipient::Recipient;
use godwit_model::server::Discovery;
use godwit_model::time::{Millis, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How bad it is, in calls of a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Weather {
    /// Fail and have no effect.
    pub before: u64,
    /// Take effect and fail all the same.
    pub after: u64,
    /// Never come back.
    pub hang: u64,
    /// Longest time that a call takes, in seconds.
    pub slow: u64,
    /// Longest time that a transfer or a verification takes, in seconds.
    pub long: u64,
    /// Find that the VM manager has lost the point in time.
    pub lost: u64,
    /// The VM manager does not answer at all.
    pub dark: bool,
}

impl Weather {
    pub const CALM: Weather = Weather { before: 0, after: 0, hang: 0, slow: 2, long: 60, lost: 0, dark: false };

    /// Whether every call at the source comes through, and within its bound.
    fn is_fair(&self) -> bool {
        self.before + self.after + self.hang == 0 && !self.dark && self.slow <= 60
    }

    pub fn roll(dice: &mut Dice) -> Weather {
        match dice.below(10) {
            0..=3 => Weather { long: 600, ..Weather::CALM },
            4 => Weather { long: 9_000, ..Weather::CALM },
            5 => Weather { long: 30_000, slow: 20, ..Weather::CALM },
            6 => Weather { before: 40, after: 40, hang: 4, slow: 10, long: 900, lost: 200, dark: false },
            7 => Weather { slow: 200, ..Weather::CALM },
            8 => Weather { before: 400, after: 200, hang: 30, slow: 60, long: 60, lost: 50, dark: false },
            _ => Weather { dark: true, ..Weather::CALM },
        }
    }
}

/// Of a spell of fair weather: who was refused before it rests for an hour (a heartbeat), behind a call that may hang
/// until its bound.
pub(super) const FIRST: Millis = Millis(70 * Millis::MINUTE.0);

/// What counts of a spell that began `since` then.
fn counted(since: Option<i64>, up: i64) -> i64 {
    since.map_or(0, |since| (up - since - FIRST.0).max(0))
}

/// What the receiver has seen of a message.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// How often it took it.
    pub taken: usize,
    /// When the last attempt was over; if the clock was set back since, the latest of all.
    pub tried: Option<Timestamp>,
}

/// How long the source could be asked, in the service's own time.
#[derive(Default)]
struct Spells {
    /// Of all spells of fair weather that are over.
    total: i64,
    /// When the one at hand began.
    since: Option<i64>,
}

/// What becomes of one call.
struct Fate {
    /// In milliseconds.
    wait: u64,
    hangs: bool,
    before: bool,
    after: bool,
    code: Code,
}

impl Fate {
    fn roll(weather: &Weather, dice: &mut Dice, longest: u64, at_source: bool) -> Fate {
        let codes: &[Code] = match at_source {
            true => &[Code::SourceUnreachable, Code::SourceRead, Code::SourceRefused],
            false => &[Code::StoreFull, Code::StoreUnavailable],
        };
        Fate {
            wait: dice.below(longest * 1_000 + 1),
            code: if weather.dark { Code::SourceUnreachable } else { *dice.pick(codes) },
            hangs: dice.chance(weather.hang),
            before: dice.chance(weather.before) || (weather.dark && at_source),
            after: dice.chance(weather.after),
        }
    }
}

/// The world behind the weather.
pub(super) struct Storm {
    world: Arc<World>,
    clock: Arc<Clock>,
    sky: Mutex<(Weather, Dice)>,
    /// Deliveries throw dice of their own: who is told moves nothing else.
    post: Mutex<Dice>,
    /// The same of points in time.
    losses: Mutex<Dice>,
    /// What was told, by event and recipient.
    told: Mutex<BTreeMap<(EventId, String), Seen>>,
    spells: Mutex<Spells>,
}

impl Storm {
    pub fn new(world: Arc<World>, clock: Arc<Clock>, mut dice: Dice) -> Storm {
        let (post, losses) = (Mutex::new(dice.fork()), Mutex::new(dice.fork()));
        let spells = Mutex::new(Spells { total: 0, since: Some(0) });
        Storm { world, clock, sky: Mutex::new((Weather::CALM, dice)), post, losses, told: Mutex::default(), spells }
    }

    pub fn set(&self, weather: Weather) {
        self.sky.lock().unwrap().0 = weather;
        let (up, mut spells) = (self.clock.up(), self.spells.lock().unwrap());
        if weather.is_fair() {
            spells.since.get_or_insert(up);
        } else {
            spells.total += counted(spells.since.take(), up);
        }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// How long the source could be asked so far, in milliseconds of the service's own time. Of each spell of fair
    /// weather only what follows its [`FIRST`] counts, so that many short ones do not add up: whoever was refused before
    /// it rests for a while, and asks again within that.
    pub fn askable(&self) -> i64 {
        let spells = self.spells.lock().unwrap();
        spells.total + counted(spells.since, self.clock.up())
    }

    /// What the receiver has seen of it.
    pub fn seen(&self, event: &EventId, recipient: &str) -> Seen {
        let told = self.told.lock().unwrap();
        told.get(&(event.clone(), recipient.to_owned())).copied().unwrap_or_default()
    }

    /// One short call through the weather.
    async fn pass<T>(&self, at_source: bool, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let slow = self.sky.lock().unwrap().0.slow;
        self.pass_within(slow, at_source, call).await
    }

    /// One that may take so many seconds.
    async fn pass_within<T>(
        &self,
        longest: u64,
        at_source: bool,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let fate = {
            let (weather, dice) = &mut *self.sky.lock().unwrap();
            Fate::roll(weather, dice, longest, at_source)
        };
        self.meet(fate, call).await
    }

    /// What nobody knows is kept for seven days, by the clock.
    fn is_patient(&self, order: &SweepOrder<'_>) {
        assert_eq!(order.staging, Millis::DAY.times(7));
        assert!(order.now <= self.clock.latest(), "swept as of {:?}", order.now);
    }

    async fn meet<T>(&self, fate: Fate, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::sleep(Duration::from_millis(fate.wait)).await;
        // What broke is told at the next look, once.
        if fate.hangs || is_broken() {
            return std::future::pending().await;
        }
        let failure = || Failure::new(fate.code, "the weather");
        if fate.before {
            return Err(failure());
        }
        // The store dates what is put.
        self.world.look().clock.store(self.clock.now().0, Ordering::SeqCst);
        let done = call.await?;
        if fate.after { Err(failure()) } else { Ok(done) }
    }
}

#[async_trait]
impl Replicator for Storm {
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure> {
        // Short of the bound: what is slower is not there.
        tokio::time::timeout(Duration::from_secs(40), self.pass(true, self.world.discover(config)))
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::SourceUnreachable, "no answer")))
    }

    fn set_rates(&self, rates: &ReadRates) {
        self.world.set_rates(rates);
    }

    fn held_back(&self, run: &RunId) -> Option<HeldBack> {
        self.world.held_back(run)
    }

    async fn take_point(&self, order: &PointOrder) -> Result<Point, Failure> {
        self.pass(true, self.world.take_point(order)).await
    }

    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        let Weather { long, lost, .. } = self.sky.lock().unwrap().0;
        if self.losses.lock().unwrap().chance(lost) {
            self.world.look().points.remove(&order.run);
        }
        let told = async {
            tokio::select! {
                done = self.pass_within(long, true, self.world.transfer(order, report, cancel)) => done,
                () = cancel.cancelled() => Err(Failure::new(Code::Cancelled, "told to stop")),
                never = signs_of_life(long, report, order) => never,
            }
        };
        told.await
    }

    async fn settle(&self, source: &SourceServer, run: &RunId, end: SettleEnd) -> Result<(), Failure> {
        self.pass(true, self.world.settle(source, run, end)).await
    }

    async fn sweep_source(&self, config: &ConnectorConfig, claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        self.pass(true, self.world.sweep_source(config, claims)).await
    }
}

/// How often something slow tells that it moves, in seconds.
const SIGN: u64 = 120;

/// A slow transfer that moves for so long.
async fn signs_of_life<T>(seconds: u64, report: &dyn TransferReport, order: &TransferOrder) -> T {
    let mut figures = order.figures;
    for _ in 0..seconds / SIGN {
        tokio::time::sleep(Duration::from_secs(SIGN)).await;
        figures.bytes_read += 1;
        report.progress(figures);
    }
    std::future::pending().await
}

/// A slow verification that moves for so long.
async fn steady<T>(seconds: u64, progress: &(dyn Fn(u64, u64) + Send + Sync)) -> T {
    for _ in 0..seconds / SIGN {
        tokio::time::sleep(Duration::from_secs(SIGN)).await;
        progress(0, 1);
    }
    std::future::pending().await
}

/// An attempt to tell something, over when it is dropped: one that hangs is dropped by who waits for it.
struct Attempt<'a> {
    storm: &'a Storm,
    letter: (EventId, String),
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Ok(mut told) = self.storm.told.lock() {
            let seen = told.entry(self.letter.clone()).or_default();
            seen.tried = seen.tried.max(Some(self.storm.clock.now()));
        }
    }
}

#[async_trait]
impl Notifier for Storm {
    async fn deliver(&self, message: &Message, recipient: &Recipient) -> Result<(), Failure> {
        let attempt = Attempt { storm: self, letter: (message.id().clone(), recipient.to_string()) };
        let taken = async {
            self.world.gate.pass("deliver").await;
            self.told.lock().unwrap().entry(attempt.letter.clone()).or_default().taken += 1;
            Ok(())
        };
        let unreachable = |_| Failure::new(Code::RecipientUnreachable, "the weather");
        let weather = self.sky.lock().unwrap().0;
        let fate = Fate::roll(&weather, &mut self.post.lock().unwrap(), weather.slow, false);
        self.meet(fate, taken).await.map_err(unreachable)
    }
}

#[async_trait]
impl ImageStore for Storm {
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        scope: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<VerifyResult, Failure> {
        let long = self.sky.lock().unwrap().0.long;
        tokio::select! {
            done = self.pass_within(long, false, self.world.verify(snapshot, scope, progress, cancel)) => done,
            () = cancel.cancelled() => Err(Failure::new(Code::Cancelled, "told to stop")),
            never = steady(long, progress) => never,
        }
    }

    async fn register(&self, order: &ImageOrder) -> Result<(), Failure> {
        self.pass(false, self.world.register(order)).await
    }

    async fn discard_staged(&self, packs: &[PackId]) -> Result<(), Failure> {
        self.pass(false, self.world.discard_staged(packs)).await
    }

    async fn pack_is_complete(&self, pack: &PackId) -> Result<bool, Failure> {
        self.pass(false, self.world.pack_is_complete(pack)).await
    }

    async fn delete_image(&self, image: &ImageId) -> Result<(), Failure> {
        self.pass(false, self.world.delete_image(image)).await
    }

    async fn delete_snapshots(&self, snapshots: &[SnapshotId]) -> Result<(), Failure> {
        self.pass(false, self.world.delete_snapshots(snapshots)).await
    }

    async fn packs_of(&self, snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure> {
        self.pass(false, self.world.packs_of(snapshot)).await
    }

    async fn plan_sweep(&self, order: &SweepOrder<'_>, cancel: &CancellationToken) -> Result<SweepPlan, Failure> {
        self.is_patient(order);
        self.pass(false, self.world.plan_sweep(order, cancel)).await
    }

    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure> {
        self.is_patient(order);
        self.pass(false, self.world.sweep(order, report, cancel)).await
    }

    async fn list_packs(&self) -> Result<Vec<(u128, u64)>, Failure> {
        self.pass(false, self.world.list_packs()).await
    }

    async fn check_pack(
        &self,
        pack: &PackId,
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<PackFinding, Failure> {
        self.pass(false, self.world.check_pack(pack, used, cancel)).await
    }

    async fn trace(
        &self,
        packs: Option<&[PackId]>,
        snapshots: &[SnapshotId],
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Traced>, Failure> {
        self.pass(false, self.world.trace(packs, snapshots, used, cancel)).await
    }

    async fn data_extents(&self, snapshot: &SnapshotId, from: u64, limit: usize) -> Result<ExtentPage, Failure> {
        self.world.data_extents(snapshot, from, limit).await
    }

    async fn changed_extents(
        &self,
        base: &SnapshotId,
        snapshot: &SnapshotId,
        from: u64,
        limit: usize,
    ) -> Result<ExtentPage, Failure> {
        self.world.changed_extents(base, snapshot, from, limit).await
    }

    async fn read(&self, snapshot: &SnapshotId, extent: Extent) -> Result<Bytes, Failure> {
        self.world.read(snapshot, extent).await
    }
}

#[async_trait]
impl KeyStore for Storm {
    async fn make(&self, key: &KeyId, version: u32) -> Result<(), Failure> {
        self.pass(false, self.world.make(key, version)).await
    }

    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        self.pass(false, self.world.all()).await
    }

    fn set_enabled(&self, key: &KeyId, enabled: bool) {
        self.world.set_enabled(key, enabled);
    }
}
