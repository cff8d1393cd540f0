//! Turns to read sources: who may read next, how many at once, how fast.
//!
//! Whoever moves a volume takes a `Seat` and asks it for a `Turn` for each read. A turn is kept until what was read is
//! packed, so turns bound what all volumes together hold in memory, and each volume's share of processors and puts, too:
//! those are given in the order in which they are asked for.
//!
//! # Consistency
//! The rules are those of `queue`: values, without waiting. Here is what waits.
//!
//! # Cancellation
//! Dropping a wait for a turn gives up the wait; dropping a turn gives it back.
//!
//! # Memory
//! A seat asks for as many turns at once as its walk has reads queued, no more than there are turns in all.

mod queue;

use crate::turns::queue::{Queue, SeatId};
use godwit_model::cap::{HeldBack, Rate};
use godwit_model::failure::Failure;
use godwit_model::id::RunId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How fast may be read at the moment. What is not named is unlimited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Everything together.
    pub total: Rate,
    /// What is read of a source, by the name that [`crate::replicate::Request::source`] gives it.
    pub sources: HashMap<String, Rate>,
    /// What a run reads, over all its volumes.
    pub runs: HashMap<RunId, Rate>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { total: Rate::Unlimited, sources: HashMap::new(), runs: HashMap::new() }
    }
}

/// The turns of a store. Clones are one.
#[derive(Clone)]
pub struct Turns(Arc<Desk>);

struct Desk {
    origin: Instant,
    state: Mutex<State>,
}

struct State {
    queue: Queue<oneshot::Sender<Turn>>,
    /// When somebody looks at the queue again, if nobody has reason to before.
    timer: Option<Duration>,
}

/// A volume's place.
pub(crate) struct Seat {
    desk: Arc<Desk>,
    id: SeatId,
}

/// The right to read, and to hold what was read.
pub(crate) struct Turn {
    desk: Arc<Desk>,
    seat: SeatId,
}

impl Turns {
    /// `most` turns at the same time.
    pub(crate) fn new(most: usize) -> Turns {
        let state = State { queue: Queue::new(most), timer: None };
        Turns(Arc::new(Desk { origin: Instant::now(), state: Mutex::new(state) }))
    }

    /// A place for a volume that `run` reads of `source`.
    pub(crate) fn seat(&self, source: &str, run: &RunId) -> Seat {
        let now = self.0.now();
        Seat { id: self.0.lock().queue.join(source, run, now), desk: self.0.clone() }
    }

    /// Volumes that are being read.
    pub(crate) fn n_seats(&self) -> usize {
        self.0.lock().queue.n_seats()
    }

    /// From now on these rates: also for who waits already.
    pub fn set_rates(&self, rates: Rates) {
        let now = self.0.now();
        self.0.lock().queue.set_rates(rates, now);
        self.0.look();
    }

    /// What holds the run's reads back, or has of late.
    pub fn held_back(&self, run: &RunId) -> Option<HeldBack> {
        self.0.look();
        let now = self.0.now();
        self.0.lock().queue.held_back(run, now)
    }
}

impl Seat {
    /// A turn to read `bytes`, as soon as it may be. Who asks first is first, whenever the answer is waited for.
    pub(crate) fn turn(&self, bytes: u64) -> impl Future<Output = Turn> + Send + use<> {
        let (give, given) = oneshot::channel();
        self.desk.lock().queue.ask(self.id, bytes, give);
        self.desk.look();
        async move { given.await.expect("who waits stays in the queue until it has its turn, as long as its seat is there") }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.lock().queue.leave(self.id);
        self.desk.look();
    }
}

impl Turn {
    /// Reads, and takes note of how fast the source answered. A failure says nothing about that.
    pub(crate) async fn read<T>(
        &self,
        bytes: u64,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = self.desk.now();
        let reading = Reading(self, self.desk.lock().queue.begin_read(self.seat));
        let done = read.await;
        let depth = reading.1;
        drop(reading);
        if done.is_ok() {
            let now = self.desk.now();
            self.desk.lock().queue.answered(self.seat, now, bytes, depth, now.saturating_sub(began));
        }
        done
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.desk.lock().queue.give_back(self.seat);
        self.desk.look();
    }
}

/// A read in flight, with how many there were when it began.
struct Reading<'a>(&'a Turn, usize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.desk.lock().queue.end_read(self.0.seat);
    }
}

impl Desk {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turns that may be given.
    fn look(self: &Arc<Self>) {
        let now = self.now();
        let granted = {
            let mut state = self.lock();
            let (granted, next) = state.queue.grant(now, oneshot::Sender::is_closed);
            if let Some(at) = next {
                self.look_again(&mut state, at);
            }
            granted
        };
        for (seat, give) in granted {
            // Whoever does not wait any more gives it back by dropping it.
            let _ = give.send(Turn { desk: self.clone(), seat });
        }
    }

    fn look_again(self: &Arc<Self>, state: &mut State, at: Duration) {
        if state.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        // Without a runtime nobody waits either.
        let Ok(runtime) = Handle::try_current() else { return };
        state.timer = Some(at);
        let (desk, when) = (Arc::downgrade(self), self.origin + at);
        runtime.spawn(async move {
            tokio::time::sleep_until(when).await;
            let Some(desk) = desk.upgrade() else { return };
            let mut state = desk.lock();
            // An earlier one may have taken its place meanwhile: then this one is not waited for any more.
            if state.timer == Some(at) {
                state.timer = None;
            }
            drop(state);
            desk.look();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::failure::Code;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    const MOST: usize = 8;
    const MIB: u64 = 1 << 20;

    fn run(n: u128) -> RunId {
        RunId::from_bits(n)
    }

    fn only_total(rate: Rate) -> Rates {
        Rates { total: rate, ..Rates::default() }
    }

    /// Reads mebibytes for ever, each of which takes as many milliseconds as `takes` says at its time.
    fn read_for_ever(turns: &Turns, source: &'static str, of: u128, takes: Arc<AtomicU64>) -> (Arc<AtomicU64>, Abort) {
        let (seat, done) = (Arc::new(turns.seat(source, &run(of))), Arc::new(AtomicU64::new(0)));
        let tasks = (0..MOST).map(|_| {
            let (seat, takes, done) = (seat.clone(), takes.clone(), done.clone());
            tokio::spawn(async move {
                loop {
                    let turn = seat.turn(MIB).await;
                    let read = async {
                        tokio::time::sleep(Duration::from_millis(takes.load(Ordering::Relaxed))).await;
                        Ok::<_, Failure>(())
                    };
                    turn.read(MIB, read).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks = Abort(tasks.collect());
        (done, tasks)
    }

    struct Abort(Vec<tokio::task::JoinHandle<()>>);

    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }

    fn ms(n: u64) -> Arc<AtomicU64> {
        Arc::new(AtomicU64::new(n))
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_holds_over_all_and_a_new_one_counts_at_once() {
        let turns = Turns::new(MOST);
        turns.set_rates(only_total(Rate::BytesPerSecond(10 * MIB)));
        let (one, _one) = read_for_ever(&turns, "a", 1, ms(5));
        let (other, _other) = read_for_ever(&turns, "b", 2, ms(5));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (first, second) = (one.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
        assert!((95..=104).contains(&(first + second)), "{first} + {second} MiB in 10 s at 10 MiB/s");
        assert!(first.abs_diff(second) <= 2, "{first} and {second}");
        assert_eq!(turns.held_back(&run(1)), Some(HeldBack::TotalCap));

        turns.set_rates(only_total(Rate::HELD));
        // What is in flight is answered, and nothing more begins.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let held = one.load(Ordering::Relaxed) + other.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(one.load(Ordering::Relaxed) + other.load(Ordering::Relaxed), held);
        assert_eq!(turns.held_back(&run(2)), Some(HeldBack::TotalCap));

        turns.set_rates(Rates::default());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(one.load(Ordering::Relaxed) + other.load(Ordering::Relaxed) >= held + 1_000);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(turns.held_back(&run(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_cap_of_a_run_or_a_source_is_its_own_matter() {
        let turns = Turns::new(MOST);
        turns.set_rates(Rates {
            runs: HashMap::from([(run(1), Rate::BytesPerSecond(MIB))]),
            sources: HashMap::from([("b".to_owned(), Rate::HELD)]),
            ..Rates::default()
        });
        let (capped, _capped) = read_for_ever(&turns, "a", 1, ms(5));
        let (held, _held) = read_for_ever(&turns, "b", 2, ms(5));
        let (free, _free) = read_for_ever(&turns, "a", 3, ms(5));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let [capped, held, free] = [capped, held, free].map(|done| done.load(Ordering::Relaxed));
        assert!((9..=11).contains(&capped), "{capped} MiB in 10 s at 1 MiB/s");
        assert_eq!(held, 0);
        assert!(free >= 10_000, "{free}: eight at once, five milliseconds each");
        assert_eq!(turns.held_back(&run(1)), Some(HeldBack::RunCap));
        assert_eq!(turns.held_back(&run(2)), Some(HeldBack::ConnectorCap));
        assert_eq!(turns.held_back(&run(3)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_answers_slowly_is_asked_less() {
        let turns = Turns::new(MOST);
        let takes = ms(20);
        let (done, _reading) = read_for_ever(&turns, "a", 1, takes.clone());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(turns.held_back(&run(1)), None);
        takes.store(500, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(turns.held_back(&run(1)), Some(HeldBack::SlowSource));
        let before = done.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let reads = done.load(Ordering::Relaxed) - before;
        assert!((118..=122).contains(&reads), "{reads} reads in 60 s, one at a time");
        takes.store(20, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(turns.held_back(&run(1)), None, "it has its reads back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_of_a_slow_source_gets_on_and_does_not_hold_the_turns() {
        let turns = Turns::new(MOST);
        let (slow, _slow) = read_for_ever(&turns, "a", 1, ms(100));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let alone = slow.load(Ordering::Relaxed);
        assert!((790..=800).contains(&alone), "alone it has all turns: {alone} in 10 s");
        let (fast, _fast) = read_for_ever(&turns, "b", 2, ms(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (slow, fast) = (slow.load(Ordering::Relaxed) - alone, fast.load(Ordering::Relaxed));
        assert!((395..=410).contains(&slow), "half of the turns: {slow} in 10 s");
        assert!(fast >= 15_000, "the other half, a millisecond or two each: {fast} in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn reads_in_flight_are_bounded_whoever_reads() {
        for n_volumes in [8_u128, 64] {
            let turns = Turns::new(MOST);
            let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let volumes: Vec<_> = (0..n_volumes)
                .map(|n| {
                    let (seat, at_once, most) = (turns.seat("a", &run(n)), at_once.clone(), most.clone());
                    tokio::spawn(async move {
                        for _ in 0..20 {
                            let turn = seat.turn(MIB).await;
                            let now = at_once.fetch_add(1, Ordering::Relaxed) + 1;
                            most.fetch_max(now, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(1 + n as u64)).await;
                            at_once.fetch_sub(1, Ordering::Relaxed);
                            drop(turn);
                        }
                    })
                })
                .collect();
            for volume in volumes {
                volume.await.unwrap();
            }
            assert_eq!(most.load(Ordering::Relaxed), MOST, "{n_volumes} volumes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let turns = Turns::new(1);
        let seat = turns.seat("a", &run(1));
        let held = seat.turn(1).await;
        for _ in 0..100 {
            assert!(tokio::time::timeout(Duration::from_millis(1), seat.turn(1)).await.is_err());
        }
        drop(held);
        let again = tokio::time::timeout(Duration::from_millis(1), seat.turn(1)).await;
        let turn = again.expect("the turn is free");
        let failed = turn.read(1, async { Err::<(), _>(Failure::new(Code::SourceRead, "broken")) }).await;
        assert!(failed.is_err());
    }
}
