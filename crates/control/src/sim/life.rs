//! One history: lives of the service, one after the other, on the same files and the same world.

use super::access;
use super::actor;
use super::checks::Record;
use super::dice::Dice;
use super::is_broken;
use super::journal::Journal;
use super::storm::{Storm, Weather};
use crate::notify::NotifyOptions;
use crate::options::{Options, Retry};
use crate::service::{Service, SettingsInForce};
use crate::store::Store;
use crate::testing::{Database, Reversing, Room, START, World, at_once, server};
use crate::{Control, Parts};
use godwit_model::event::delivery::Patience;
use godwit_model::retention::Retention;
use godwit_model::store_use::Pace;
use godwit_model::time::{Millis, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Servers of the world.
const SERVERS: usize = 4;

/// A history under way.
pub(super) struct Sim {
    pub dice: Dice,
    /// A stream of its own: what becomes of keys moves no other throw.
    pub key_dice: Dice,
    /// The same of users and policies, and of the disk.
    pub access_dice: Dice,
    disk_dice: Dice,
    /// The same of rare wishes.
    pub wish_dice: Dice,
    /// There is somebody who may decide about users.
    pub is_administered: bool,
    /// The life before was ended by a kill.
    was_killed: bool,
    pub world: Arc<World>,
    pub storm: Arc<Storm>,
    pub clock: Arc<Clock>,
    pub record: Record,
    folder: TempDir,
    drawn: Arc<Mutex<Dice>>,
    options: Options,
}

/// The wall clock: virtual time and what outages and corrections add to it.
pub(super) struct Clock {
    /// What it showed when this life began, in milliseconds, corrections included.
    base: AtomicI64,
    /// The latest that it has ever shown.
    latest: AtomicI64,
    /// Virtual time of all lives before.
    lived: AtomicI64,
    began: Mutex<Option<Instant>>,
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        let now = self.base.load(Ordering::SeqCst) + self.of_this_life();
        self.latest.fetch_max(now, Ordering::SeqCst);
        Timestamp(now)
    }

    pub fn latest(&self) -> Timestamp {
        Timestamp(self.latest.load(Ordering::SeqCst))
    }

    /// How long the service has been up in all, in milliseconds.
    pub fn up(&self) -> i64 {
        self.lived.load(Ordering::SeqCst) + self.of_this_life()
    }

    /// Somebody sets the clock, or time passes while the service is down.
    pub fn shift(&self, ms: i64) {
        self.base.fetch_add(ms, Ordering::SeqCst);
    }

    fn begin_life(&self) {
        *self.began.lock().unwrap() = Some(Instant::now());
    }

    fn end_life(&self) {
        let lived = self.of_this_life();
        self.base.fetch_add(lived, Ordering::SeqCst);
        self.lived.fetch_add(lived, Ordering::SeqCst);
        *self.began.lock().unwrap() = None;
    }

    fn of_this_life(&self) -> i64 {
        self.began.lock().unwrap().map_or(0, |began| began.elapsed().as_millis() as i64)
    }
}

impl Sim {
    pub fn new(seed: u64) -> Sim {
        let mut dice = Dice::new(seed);
        let world = World::new();
        {
            let mut state = world.look();
            state.servers = (1..=SERVERS).map(|n| server(&format!("vm-{n}"), &format!("server {n}"))).collect();
            state.busy_guests = 1;
        }
        let hours = |n: u64| Duration::from_secs(3_600 * n);
        // So short that some bad weather outlasts it.
        let patience = Patience { age: Millis::HOUR.times(3), ..NotifyOptions::default().patience };
        let options = Options {
            max_active_runs: dice.within(1, 3) as usize,
            // Rare enough that a month takes a second; the plan wakes the driver when something is due.
            tick: hours(1),
            longest_gap: hours(3),
            heartbeat: hours(1),
            persist: Duration::from_secs(600),
            pause_after: dice.within(1, 4) as u32,
            retention: Retention {
                paused_jobs: dice.chance(500).then_some(Millis::DAY.times(4)),
                deleted_jobs: Some(Millis::DAY.times(10)),
                catalog: Some(Millis::DAY.times(5)),
            },
            notify: NotifyOptions { keep: Some(Millis::DAY.times(10)), patience, ..NotifyOptions::default() },
            retry: Retry { attempts: 4, first: Duration::from_secs(2), longest: Duration::from_secs(120) },
            // Rare enough that a history takes hardly longer.
            sampling: Pace { every: Some(Millis::HOUR.times(6)), ..Pace::default() },
            // Rot is not in the weather.
            scrub_every: None,
            ..Options::default()
        };
        let clock = Arc::new(Clock {
            base: AtomicI64::new(START.0),
            latest: AtomicI64::new(START.0),
            lived: AtomicI64::new(0),
            began: Mutex::new(None),
        });
        Sim {
            storm: Arc::new(Storm::new(world.clone(), clock.clone(), dice.fork())),
            drawn: Arc::new(Mutex::new(dice.fork())),
            clock,
            folder: folder(),
            record: Record::new(options),
            key_dice: Dice::new(!seed),
            access_dice: Dice::new(!seed ^ 1),
            disk_dice: Dice::new(!seed ^ 2),
            wish_dice: Dice::new(!seed ^ 3),
            is_administered: false,
            was_killed: false,
            dice,
            world,
            options,
        }
    }

    /// Lives until so many days have passed, then one calm life in which everything comes to rest.
    /// Gives the arrows that were gone along.
    pub fn run(mut self, days: u64) -> BTreeSet<String> {
        let _database = Database::apart();
        let end = START + Millis::DAY.times(days as i64);
        while self.clock.now() < end {
            let killed = self.live(Sim::troubled_life);
            let outage = match self.dice.below(10) {
                0..=5 => self.dice.below(600_000),
                6..=8 => self.dice.below(6 * 3_600_000),
                _ => self.dice.below(3 * 86_400_000),
            };
            let from = self.clock.now();
            self.clock.shift(outage as i64);
            // What a kill cut off may have been in the middle of its turn.
            self.was_killed = killed;
            let slack = if killed { Millis::MINUTE } else { Millis(0) };
            self.record.excuse(from - slack, self.clock.now() + slack);
        }
        self.storm.set(Weather::CALM);
        let killed = self.live(Sim::calm_life);
        assert!(!killed);
        self.record.sum_up()
    }

    /// One life on a runtime of its own; true if it ended by a kill.
    fn live(&mut self, life: impl AsyncFnOnce(&mut Sim, &Control, &Service)) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let killed = runtime.block_on(async {
            self.clock.begin_life();
            let gate = self.world.gate.clone();
            let killed = tokio::select! {
                biased;
                () = gate.held() => true,
                () = async {
                    let control = self.start().await;
                    let service = control.service();
                    life(self, &control, &service).await;
                    // A stop may be cut off by a kill, too.
                    control.shutdown().await;
                } => false,
            };
            self.clock.end_life();
            killed
        });
        runtime.shutdown_timeout(Duration::ZERO);
        self.world.gate.reopen();
        assert!(!is_broken(), "a task broke: see above");
        killed
    }

    async fn start(&self) -> Control {
        // A key ring is as old as its process.
        self.world.look().disabled_keys.clear();
        let store = at_once(Store::open(&self.folder.path().join("state.db"))).await;
        let mut store = store.unwrap();
        store.probe.gate = self.world.gate.clone();
        Journal::begin_life(&mut store, self.clock.now()).await;
        let (clock, drawn) = (self.clock.clone(), self.drawn.clone());
        let parts = Parts {
            store,
            replicator: self.storm.clone(),
            images: self.storm.clone(),
            notifier: self.storm.clone(),
            keys: self.storm.clone(),
            secrets: Arc::new(Reversing),
            passwords: Arc::new(Reversing),
            clock: Arc::new(move || clock.now()),
            draw: Arc::new(move || {
                let mut dice = drawn.lock().unwrap();
                u128::from(dice.roll()) << 64 | u128::from(dice.roll())
            }),
            options: self.options,
            settings: SettingsInForce::default(),
        };
        Control::start(parts).await.unwrap()
    }

    /// Weather, callers and clocks do what they want, for a while.
    async fn troubled_life(&mut self, _: &Control, service: &Service) {
        // What a kill left is found by the start alone.
        if self.was_killed && self.dice.chance(500) {
            self.come_to_rest(service).await;
        }
        let turns = self.dice.within(1, 60);
        let killed_at = self.dice.chance(700).then(|| self.dice.within(1, turns));
        for turn in 1..=turns {
            let weather = Weather::roll(&mut self.dice);
            self.storm.set(weather);
            self.set_the_clock();
            if killed_at == Some(turn) {
                self.world.gate.close_after(self.dice.within(1, 300) as i64);
            }
            for _ in 0..self.dice.below(4) {
                actor::act(self, service).await;
                // Time for the driver to see it, and hardly for anything to end.
                sleep(Duration::from_millis(50)).await;
            }
            // Some come when much is at work.
            for _ in 0..self.dice.below(3) {
                sleep(Duration::from_secs(self.dice.within(1, 400))).await;
                actor::act(self, service).await;
            }
            if self.key_dice.chance(100) {
                actor::change_key(self, service).await;
            }
            if self.access_dice.chance(300) {
                access::act(self, service).await;
            }
            if self.wish_dice.chance(250) {
                actor::wish(self, service).await;
            }
            if self.disk_dice.chance(60) {
                self.fill_the_disk(service).await;
            }
            sleep(Duration::from_secs(self.dice.within(60, 12 * 3_600))).await;
            self.record.look(service, &self.storm, &self.clock).await;
            if self.dice.chance(60) {
                self.come_to_rest(service).await;
            }
        }
    }

    async fn calm_life(&mut self, _: &Control, service: &Service) {
        self.come_to_rest(service).await;
    }

    /// With good weather, what is left of bad days is gone after some hours.
    async fn come_to_rest(&mut self, service: &Service) {
        self.storm.set(Weather::CALM);
        let calm = self.clock.now();
        sleep(Duration::from_secs(8 * 3_600)).await;
        self.record.look(service, &self.storm, &self.clock).await;
        self.record.look_at_rest(service, &self.world, calm, self.clock.now()).await;
    }

    /// The disk under the database is full for a while, and callers go on; then somebody makes room.
    async fn fill_the_disk(&mut self, service: &Service) {
        let disk = service.store().probe.disk.clone();
        let seconds = self.disk_dice.within(10, 300);
        let from = self.clock.now();
        // Runs are not begun meanwhile. Behind it the driver looks as soon as its trouble is over.
        self.record.excuse(from, from + Millis::SECOND.times(seconds as i64) + Millis::MINUTE);
        disk.set(*self.disk_dice.pick(&[Room::ForNoPage, Room::None]));
        std::mem::swap(&mut self.dice, &mut self.disk_dice);
        for _ in 0..self.dice.below(5) {
            actor::act(self, service).await;
            sleep(Duration::from_millis(50)).await;
        }
        std::mem::swap(&mut self.dice, &mut self.disk_dice);
        sleep(Duration::from_secs(seconds)).await;
        disk.set(Room::Plenty);
        self.record.disk_was_full(disk.refused());
    }

    fn set_the_clock(&mut self) {
        if !self.dice.chance(30) {
            return;
        }
        let step = match self.dice.below(4) {
            0 => -(self.dice.below(3_600_000) as i64),
            1 => self.dice.below(3_600_000) as i64,
            2 => self.dice.below(2_000) as i64 - 1_000,
            _ => self.dice.below(2 * 86_400_000) as i64,
        };
        let from = self.clock.now();
        self.clock.shift(step);
        let to = self.clock.now();
        // The driver notices a step when it looks next.
        self.record.excuse(from.min(to) - Millis::HOUR.times(2), from.max(to) + Millis::HOUR.times(2));
    }
}

/// A folder in memory where there is one: the history is as durable as the machine that tells it.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}
