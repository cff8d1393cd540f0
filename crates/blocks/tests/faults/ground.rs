//! What survives a kill: objects, and what becomes of changes that were under way or only seemed durable.
//!
//! A change is one step: a put, a deletion, a transaction of the database. Each can be the one at which the process is
//! killed; then the dice decide whether it has happened. An honest ground keeps all else. One that lies has said of some
//! changes that they were durable: at the kill they are undone, or what was put is torn.

use crate::chance::Chance;
pub use crate::step::{STEPS, Step, Trap};
use crate::step::{deletion_of, step_of};
use bytes::Bytes;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Changes that a stale list may not know of.
const STALE: usize = 8;

/// What goes wrong for a while though nobody is killed, each in so many of a hundred calls.
#[derive(Clone, Copy, Default, Debug)]
pub struct Weather {
    /// A put fails and nothing is stored.
    pub lost: u32,
    /// A put fails and is stored all the same.
    pub ambiguous: u32,
    /// A put finds no room.
    pub full: u32,
    /// A deletion fails; it has happened or not.
    pub undeleted: u32,
    /// A get fails.
    pub unread: u32,
    /// A get ends before its end, and says nothing.
    pub short: u32,
    /// A list is as it was some changes ago.
    pub stale: u32,
}

/// All that can go wrong of [`Weather`], as it is counted.
pub const MISHAPS: [&str; 7] = ["lost", "ambiguous", "full", "undeleted", "unread", "short", "stale"];

/// How the ground breaks its contract, each in so many of a hundred cases.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lies {
    /// A change that returned is not durable.
    pub unsynced: u32,
    /// What is lost of a put is a piece and not all.
    pub torn: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    pub bytes: Bytes,
    pub made_at: i64,
}

struct Change {
    path: Path,
    was: Option<Object>,
    number: u64,
}

/// What became of a call.
pub enum Call<T> {
    /// The caller is dead: there is nobody to answer.
    Dead,
    Answer(T),
}

/// How a put or a deletion ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Done,
    Exists,
    Missing,
    Failed,
    Full,
}

#[derive(Clone)]
pub struct Ground(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    killed: Notify,
}

pub struct State {
    pub objects: BTreeMap<Path, Object>,
    pub now: i64,
    pub weather: Weather,
    pub lies: Lies,
    pub trap: Option<Trap>,
    /// Processes so far. Calls of earlier ones come to nothing.
    epoch: u64,
    n_changes: u64,
    last_change: BTreeMap<Path, u64>,
    /// The last changes, for lists that are stale.
    recent: VecDeque<Change>,
    /// Changes that only seemed durable.
    loose: Vec<Change>,
    /// What was put last, whatever became of it.
    pub written: BTreeMap<Path, Bytes>,
    /// Objects that a broken contract has damaged or lost.
    pub spoilt: BTreeSet<Path>,
    /// Whether something came back that had been deleted or replaced: it may name what is gone since.
    pub is_haunted: bool,
    pub kills: BTreeMap<Step, u64>,
    /// How often each of [`MISHAPS`] went wrong, and what the ground lied about.
    pub mishaps: BTreeMap<&'static str, u64>,
    /// The last kill, for whoever reads a failure.
    pub last_kill: String,
    chance: Chance,
}

impl Ground {
    pub fn new(chance: Chance, lies: Lies) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            now: 1_795_000_000_000,
            weather: Weather::default(),
            lies,
            trap: None,
            epoch: 0,
            n_changes: 0,
            last_change: BTreeMap::new(),
            recent: VecDeque::new(),
            loose: Vec::new(),
            written: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            is_haunted: false,
            kills: BTreeMap::new(),
            mishaps: BTreeMap::new(),
            last_kill: "none".to_owned(),
            chance,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), killed: Notify::new() }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A new process begins. Nothing of an earlier one is heard any more.
    pub fn begin(&self) -> u64 {
        let mut state = self.state();
        state.epoch += 1;
        state.epoch
    }

    /// Returns when the process is killed.
    pub async fn killed(&self) {
        self.0.killed.notified().await;
    }

    /// A transaction of the database, which is honest. `None`: the process was killed, and it has happened or not.
    pub fn commit<T>(&self, epoch: u64, step: Step, change: impl FnOnce() -> T) -> Call<T> {
        let mut state = self.state();
        if state.epoch != epoch {
            return Call::Dead;
        }
        if state.springs(step, "the database") {
            if state.chance.percent(50) {
                change();
            }
            self.die(&mut state);
            return Call::Dead;
        }
        drop(state);
        Call::Answer(change())
    }

    /// Puts an object.
    pub fn put(&self, epoch: u64, path: &Path, bytes: Bytes, replaces: bool) -> Call<Ended> {
        let mut state = self.state();
        if state.epoch != epoch {
            return Call::Dead;
        }
        if !replaces && state.objects.contains_key(path) {
            return Call::Answer(Ended::Exists);
        }
        if state.springs(step_of(path, replaces), path.as_ref()) {
            let torn = state.lies.torn;
            if state.chance.percent(torn) {
                let piece = torn_of(&bytes, &mut state.chance);
                state.change(path, Some(piece));
                state.spoil(path);
            } else if state.chance.percent(50) {
                state.change(path, Some(bytes));
            }
            self.die(&mut state);
            return Call::Dead;
        }
        let weather = state.weather;
        if state.befalls("full", weather.full) {
            return Call::Answer(Ended::Full);
        }
        if state.befalls("lost", weather.lost) {
            return Call::Answer(Ended::Failed);
        }
        state.change(path, Some(bytes.clone()));
        state.written.insert(path.clone(), bytes);
        let answer = if state.befalls("ambiguous", weather.ambiguous) { Ended::Failed } else { Ended::Done };
        Call::Answer(answer)
    }

    /// Deletes an object.
    pub fn delete(&self, epoch: u64, path: &Path) -> Call<Ended> {
        let mut state = self.state();
        if state.epoch != epoch {
            return Call::Dead;
        }
        if !state.objects.contains_key(path) {
            return Call::Answer(Ended::Missing);
        }
        if state.springs(deletion_of(path), path.as_ref()) {
            if state.chance.percent(50) {
                state.change(path, None);
            }
            self.die(&mut state);
            return Call::Dead;
        }
        let percent = state.weather.undeleted;
        let fails = state.befalls("undeleted", percent);
        if !fails || state.chance.percent(50) {
            state.change(path, None);
        }
        Call::Answer(if fails { Ended::Failed } else { Ended::Done })
    }

    /// What a get finds, if it does not fail; and how many of its bytes come.
    pub fn get(&self, epoch: Option<u64>, path: &Path) -> Call<Result<Option<Object>, ()>> {
        let mut state = self.state();
        if epoch.is_some_and(|epoch| epoch != state.epoch) {
            return Call::Dead;
        }
        let percent = state.weather.unread;
        if epoch.is_some() && state.befalls("unread", percent) {
            return Call::Answer(Err(()));
        }
        Call::Answer(Ok(state.objects.get(path).cloned()))
    }

    /// Tells an object from those that had its name before; `None` if there is none.
    pub fn tag(&self, path: &Path) -> Option<String> {
        let state = self.state();
        state.objects.get(path).and_then(|_| state.last_change.get(path)).map(u64::to_string)
    }

    /// How many of `length` bytes come.
    pub fn come(&self, epoch: Option<u64>, length: usize) -> usize {
        let mut state = self.state();
        let percent = state.weather.short;
        if epoch.is_some() && length > 1 && state.befalls("short", percent) {
            return state.chance.below(length);
        }
        length
    }

    /// All objects as a list tells of them.
    pub fn list(&self, epoch: Option<u64>) -> Call<Vec<(Path, Object)>> {
        let mut state = self.state();
        if epoch.is_some_and(|epoch| epoch != state.epoch) {
            return Call::Dead;
        }
        let mut seen = state.objects.clone();
        let percent = state.weather.stale;
        if epoch.is_some() && state.befalls("stale", percent) {
            let missed = 1 + state.chance.below(STALE);
            for change in state.recent.iter().rev().take(missed) {
                match &change.was {
                    Some(was) => seen.insert(change.path.clone(), was.clone()),
                    None => seen.remove(&change.path),
                };
            }
        }
        Call::Answer(seen.into_iter().collect())
    }

    /// A pause of this many turns, so that others overtake.
    pub fn turns(&self) -> usize {
        self.state().chance.below(3)
    }

    fn die(&self, state: &mut State) {
        state.epoch += 1;
        state.settle();
        self.0.killed.notify_one();
    }
}

impl State {
    /// Whether the process is killed at this step.
    fn springs(&mut self, step: Step, what: &str) -> bool {
        let left = match &mut self.trap {
            Some(Trap::Any(left)) => left,
            Some(Trap::At(kind, left)) if *kind == step => left,
            _ => return false,
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.trap = None;
        *self.kills.entry(step).or_default() += 1;
        self.last_kill = format!("kill {} at {step:?} of {what}", self.kills.values().sum::<u64>());
        true
    }

    /// Whether something goes wrong that does so in so many of a hundred cases. The first time that it may, it does:
    /// what is rare would else be missing from some histories.
    fn befalls(&mut self, mishap: &'static str, percent: u32) -> bool {
        let is_first = percent > 0 && !self.mishaps.contains_key(mishap);
        let befalls = self.chance.percent(percent) || is_first;
        if befalls {
            *self.mishaps.entry(mishap).or_default() += 1;
        }
        befalls
    }

    fn change(&mut self, path: &Path, to: Option<Bytes>) {
        self.n_changes += 1;
        let number = self.n_changes;
        let made_at = self.now;
        let was = match to {
            Some(bytes) => self.objects.insert(path.clone(), Object { bytes, made_at }),
            None => self.objects.remove(path),
        };
        self.last_change.insert(path.clone(), number);
        if self.chance.percent(self.lies.unsynced) {
            self.loose.push(Change { path: path.clone(), was: was.clone(), number });
        }
        self.recent.push_back(Change { path: path.clone(), was, number });
        if self.recent.len() > STALE {
            self.recent.pop_front();
        }
    }

    pub fn spoil(&mut self, path: &Path) {
        self.spoilt.insert(path.clone());
    }

    /// What becomes of changes that were not durable.
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.loose).into_iter().rev() {
            if self.last_change.get(&change.path) != Some(&change.number) || self.chance.percent(50) {
                continue;
            }
            let torn = self.chance.percent(self.lies.torn);
            match self.objects.get_mut(&change.path) {
                Some(object) if torn && change.was.is_none() => {
                    object.bytes = torn_of(&object.bytes, &mut self.chance);
                    *self.mishaps.entry("torn").or_default() += 1;
                }
                _ => {
                    *self.mishaps.entry("unsynced").or_default() += 1;
                    self.is_haunted |= change.was.is_some();
                    match change.was {
                        Some(was) => self.objects.insert(change.path.clone(), was),
                        None => self.objects.remove(&change.path),
                    };
                }
            }
            self.spoil(&change.path);
        }
        self.recent.clear();
    }

    /// Flips one bit of an object.
    pub fn flip_a_bit(&mut self) {
        let paths: Vec<Path> =
            self.objects.keys().filter(|path| !path.as_ref().starts_with("keys/")).cloned().collect();
        if paths.is_empty() {
            return;
        }
        let path = self.chance.pick(&paths);
        let Some(object) = self.objects.get_mut(&path).filter(|object| !object.bytes.is_empty()) else { return };
        let mut bytes = object.bytes.to_vec();
        let at = self.chance.below(bytes.len());
        bytes[at] ^= 1 << self.chance.below(8);
        object.bytes = bytes.into();
        self.spoil(&path);
    }
}

/// What is left of a put that a power cut tore: cut off, or with a few pages of zeros or of something else.
fn torn_of(bytes: &Bytes, chance: &mut Chance) -> Bytes {
    const PAGE: usize = 4096;
    let mut torn = bytes.to_vec();
    let start = chance.below(torn.len().div_ceil(PAGE)) * PAGE;
    let end = (start + PAGE * (1 + chance.below(3))).min(torn.len());
    match chance.below(3) {
        0 => torn.truncate(start),
        1 => torn[start..end].fill(0),
        _ => torn[start..end].iter_mut().for_each(|byte| *byte = chance.next() as u8),
    }
    torn.into()
}
