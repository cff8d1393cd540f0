//! Who is next.
//!
//! Seats are asked in turn, each for one read. A seat holds at most its share: all turns divided by the seats that want
//! any, rounded up; so a volume whose source is slow cannot gather them all. What a cap holds back is passed over, with
//! one exception: the cap over everything holds all back alike, so whoever is next waits for it and nobody slips by.

use godwit_model::cap::{Answered, Bucket, HeldBack, Pressure, Rate, Wait, wait_of_all};
use godwit_model::id::RunId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::Rates;

/// How long a run counts as held back behind the last time that it was: between two looks it may just have read.
const HELD_FOR: Duration = Duration::from_secs(2);

/// Names a seat.
pub(super) type SeatId = u64;

/// Seats and what they wait for. `W` is whoever waits.
pub(super) struct Queue<W> {
    most: usize,
    /// Turns that are given.
    held: usize,
    rates: Rates,
    total: Bucket,
    /// As many as there are connectors. Kept, so that it is remembered how fast they answer.
    sources: HashMap<String, Source>,
    runs: HashMap<RunId, Run>,
    seats: BTreeMap<SeatId, Seat<W>>,
    next_id: SeatId,
    /// Who had a turn last.
    last: SeatId,
}

struct Source {
    bucket: Bucket,
    pressure: Pressure,
    held: usize,
    reading: usize,
}

struct Run {
    bucket: Bucket,
    seats: usize,
    held_back: Option<(HeldBack, Duration)>,
}

struct Seat<W> {
    source: String,
    run: RunId,
    held: usize,
    waiting: VecDeque<(u64, W)>,
    /// It is free as soon as it holds no turn any more.
    has_left: bool,
}

/// Turns that are given, and when somebody who waits may have one if nothing happens before.
pub(super) type Granted<W> = (Vec<(SeatId, W)>, Option<Duration>);

impl<W> Queue<W> {
    pub fn new(most: usize) -> Queue<W> {
        Queue {
            most,
            held: 0,
            rates: Rates::default(),
            total: Bucket::new(Rate::Unlimited, Duration::ZERO),
            sources: HashMap::new(),
            runs: HashMap::new(),
            seats: BTreeMap::new(),
            next_id: 1,
            last: 0,
        }
    }

    pub fn join(&mut self, source: &str, run: &RunId, now: Duration) -> SeatId {
        let rate = self.rates.sources.get(source).copied().unwrap_or(Rate::Unlimited);
        self.sources.entry(source.to_owned()).or_insert_with(|| Source {
            bucket: Bucket::new(rate, now),
            pressure: Pressure::new(self.most, now),
            held: 0,
            reading: 0,
        });
        let rate = self.rates.runs.get(run).copied().unwrap_or(Rate::Unlimited);
        let known = self.runs.entry(run.clone());
        known.or_insert_with(|| Run { bucket: Bucket::new(rate, now), seats: 0, held_back: None }).seats += 1;
        let id = self.next_id;
        self.next_id += 1;
        let seat =
            Seat { source: source.to_owned(), run: run.clone(), held: 0, waiting: VecDeque::new(), has_left: false };
        self.seats.insert(id, seat);
        id
    }

    /// Seats that are taken.
    pub fn n_seats(&self) -> usize {
        self.seats.values().filter(|seat| !seat.has_left).count()
    }

    /// The seat is free. Turns that it still holds are given back one by one.
    pub fn leave(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.waiting.clear();
        seat.has_left = true;
        if let Some(run) = self.runs.get_mut(&seat.run) {
            run.seats -= 1;
            if run.seats == 0 {
                self.runs.remove(&seat.run);
            }
        }
        self.forget_empty(id);
    }

    pub fn set_rates(&mut self, rates: Rates, now: Duration) {
        self.total.set_rate(rates.total, now);
        for (name, source) in &mut self.sources {
            source.bucket.set_rate(rates.sources.get(name).copied().unwrap_or(Rate::Unlimited), now);
        }
        for (id, run) in &mut self.runs {
            run.bucket.set_rate(rates.runs.get(id).copied().unwrap_or(Rate::Unlimited), now);
        }
        self.rates = rates;
    }

    pub fn ask(&mut self, id: SeatId, bytes: u64, who: W) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.waiting.push_back((bytes, who));
        }
    }

    /// Gives what may be given now, but not to who is gone.
    pub fn grant(&mut self, now: Duration, is_gone: impl Fn(&W) -> bool) -> Granted<W> {
        self.seats.values_mut().for_each(|seat| seat.waiting.retain(|(_, who)| !is_gone(who)));
        let (mut granted, mut next) = (Vec::new(), None);
        while self.held < self.most {
            let Some(id) = self.first(now, &mut next) else { return (granted, next) };
            granted.extend(self.give(id, now).map(|who| (id, who)));
        }
        // Who is held back is told so, although there is no turn for it.
        self.first(now, &mut next);
        (granted, None)
    }

    /// Whose turn it is. `next` becomes the time at which a cap lets somebody through.
    fn first(&mut self, now: Duration, next: &mut Option<Duration>) -> Option<SeatId> {
        *next = None;
        let waiting: Vec<SeatId> =
            self.seats.iter().filter(|(_, seat)| !seat.waiting.is_empty()).map(|(id, _)| *id).collect();
        let (behind, before): (Vec<SeatId>, Vec<SeatId>) = waiting.into_iter().partition(|id| *id > self.last);
        let mut free = Vec::new();
        let mut total_is_used_up = false;
        for id in behind.into_iter().chain(before) {
            match self.obstacle(id, now) {
                None if !total_is_used_up => free.push(id),
                None => {}
                Some((why, wait)) => {
                    self.note(id, why, now);
                    if let Wait::Until(at) = wait {
                        *next = Some(next.map_or(at, |earliest| earliest.min(at)));
                    }
                    total_is_used_up |= why == HeldBack::TotalCap;
                }
            }
        }
        let wanting = self.seats.iter().filter(|(id, seat)| seat.held > 0 || free.contains(id)).count();
        let share = self.most.div_ceil(wanting.max(1));
        free.into_iter().find(|id| self.seats[id].held < share)
    }

    fn give(&mut self, id: SeatId, now: Duration) -> Option<W> {
        let seat = self.seats.get_mut(&id)?;
        let (bytes, who) = seat.waiting.pop_front()?;
        seat.held += 1;
        self.held += 1;
        self.last = id;
        self.total.take(now, bytes);
        if let Some(source) = self.sources.get_mut(&seat.source) {
            source.bucket.take(now, bytes);
            source.held += 1;
        }
        if let Some(run) = self.runs.get_mut(&seat.run) {
            run.bucket.take(now, bytes);
        }
        Some(who)
    }

    /// What holds the seat's first read back.
    fn obstacle(&mut self, id: SeatId, now: Duration) -> Option<(HeldBack, Wait)> {
        let seat = self.seats.get(&id)?;
        let (bytes, _) = seat.waiting.front()?;
        let (run, source) = (self.runs.get_mut(&seat.run)?, self.sources.get_mut(&seat.source)?);
        let why = [HeldBack::RunCap, HeldBack::ConnectorCap];
        if let Err((place, wait)) = wait_of_all(&mut [&mut run.bucket, &mut source.bucket], now, *bytes) {
            return Some((why[place], wait));
        }
        if source.pressure.is_reduced() && source.held >= source.pressure.allowed() {
            return Some((HeldBack::SlowSource, Wait::Forever));
        }
        match self.total.wait(now, *bytes) {
            Wait::No => None,
            wait => Some((HeldBack::TotalCap, wait)),
        }
    }

    /// A cap holds back who has nothing in flight: who has waits for its source as well, and that may be stuck.
    fn note(&mut self, id: SeatId, why: HeldBack, now: Duration) {
        let Some(seat) = self.seats.get(&id).filter(|seat| seat.held == 0 || why == HeldBack::SlowSource) else {
            return;
        };
        if let Some(run) = self.runs.get_mut(&seat.run) {
            run.held_back = Some((why, now));
        }
    }

    pub fn held_back(&self, run: &RunId, now: Duration) -> Option<HeldBack> {
        let (why, at) = self.runs.get(run)?.held_back?;
        (now.saturating_sub(at) <= HELD_FOR).then_some(why)
    }

    pub fn give_back(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.held = seat.held.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        if let Some(source) = self.sources.get_mut(&seat.source) {
            source.held = source.held.saturating_sub(1);
        }
        self.forget_empty(id);
    }

    fn forget_empty(&mut self, id: SeatId) {
        if self.seats.get(&id).is_some_and(|seat| seat.has_left && seat.held == 0) {
            self.seats.remove(&id);
        }
    }

    /// How many reads are in flight at the source now.
    pub fn begin_read(&mut self, id: SeatId) -> usize {
        let source = self.seats.get(&id).and_then(|seat| self.sources.get_mut(&seat.source));
        source.map_or(1, |source| {
            source.reading += 1;
            source.reading
        })
    }

    pub fn end_read(&mut self, id: SeatId) {
        if let Some(source) = self.seats.get(&id).and_then(|seat| self.sources.get_mut(&seat.source)) {
            source.reading = source.reading.saturating_sub(1);
        }
    }

    pub fn answered(&mut self, id: SeatId, now: Duration, bytes: u64, depth: usize, took: Duration) {
        if let Some(source) = self.seats.get(&id).and_then(|seat| self.sources.get_mut(&seat.source)) {
            source.pressure.observe(now, Answered { bytes, depth, took });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 8;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Join(u8),
        Leave(usize),
        Ask(usize),
        GiveBack(usize),
        Cap(u8, u32),
        Pass(u16),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            1 => (0_u8..4).prop_map(Act::Join),
            1 => any::<usize>().prop_map(Act::Leave),
            6 => any::<usize>().prop_map(Act::Ask),
            5 => any::<usize>().prop_map(Act::GiveBack),
            1 => (0_u8..4, 0_u32..8_000_000).prop_map(|(which, rate)| Act::Cap(which, rate)),
            1 => (0_u16..2_000).prop_map(Act::Pass),
        ];
        proptest::collection::vec(act, 1..300)
    }

    /// What the queue should know: whose reads wait, in order, and who holds turns.
    #[derive(Default)]
    struct Seen {
        seats: Vec<SeatId>,
        waiting: Vec<(SeatId, u32)>,
        held: Vec<SeatId>,
    }

    fn pick<T: Copy>(of: &[T], n: usize) -> Option<T> {
        of.get(n.checked_rem(of.len())?).copied()
    }

    fn step(queue: &mut Queue<u32>, seen: &mut Seen, act: Act, n: u32, now: &mut Duration) {
        match act {
            Act::Join(which) => {
                let run = RunId::from_bits(u128::from(which));
                seen.seats.push(queue.join(if which < 2 { "a" } else { "b" }, &run, *now));
            }
            Act::Leave(which) => {
                let Some(seat) = pick(&seen.seats, which) else { return };
                queue.leave(seat);
                seen.seats.retain(|s| *s != seat);
                seen.waiting.retain(|(s, _)| *s != seat);
            }
            Act::Ask(which) => {
                let Some(seat) = pick(&seen.seats, which) else { return };
                queue.ask(seat, 1 << 20, n);
                seen.waiting.push((seat, n));
            }
            Act::GiveBack(which) => {
                let Some(seat) = pick(&seen.held, which) else { return };
                queue.give_back(seat);
                let at = seen.held.iter().position(|s| *s == seat).unwrap();
                seen.held.remove(at);
            }
            Act::Cap(which, rate) => {
                let rate = if rate < 1_000_000 { Rate::Unlimited } else { Rate::BytesPerSecond(u64::from(rate)) };
                let mut rates = queue.rates.clone();
                match which {
                    0 => rates.total = rate,
                    1 => drop(rates.sources.insert("a".to_owned(), rate)),
                    which => drop(rates.runs.insert(RunId::from_bits(u128::from(which)), rate)),
                }
                queue.set_rates(rates, *now);
            }
            Act::Pass(ms) => *now += Duration::from_millis(u64::from(ms)),
        }
    }

    proptest! {
        #[test]
        fn turns_are_bounded_in_order_and_never_idle(acts in acts()) {
            let (mut queue, mut seen, mut now) = (Queue::new(MOST), Seen::default(), Duration::ZERO);
            for (n, act) in (0_u32..).zip(acts) {
                step(&mut queue, &mut seen, act, n, &mut now);
                let (granted, next) = queue.grant(now, |_| false);
                for (seat, who) in granted {
                    let first = seen.waiting.iter().position(|(s, _)| *s == seat).expect("somebody waits there");
                    prop_assert_eq!(seen.waiting.remove(first).1, who, "a seat's reads go in order");
                    seen.held.push(seat);
                }
                prop_assert!(seen.held.len() <= MOST);
                prop_assert_eq!(queue.held, seen.held.len());
                if let Some(at) = next {
                    prop_assert!(at > now, "what may go goes");
                }
                let is_capped = queue.rates != Rates::default();
                if !is_capped && seen.waiting.iter().any(|(s, _)| !seen.held.contains(s)) {
                    prop_assert_eq!(seen.held.len(), MOST, "a seat without a turn waits only if there is none");
                }
            }
            // Everybody gets everything in the end.
            queue.set_rates(Rates::default(), now);
            while !seen.waiting.is_empty() {
                seen.held.drain(..).for_each(|seat| queue.give_back(seat));
                let (granted, _) = queue.grant(now, |_| false);
                prop_assert!(!granted.is_empty());
                for (seat, who) in granted {
                    seen.waiting.retain(|waiting| *waiting != (seat, who));
                    seen.held.push(seat);
                }
            }
            seen.held.drain(..).for_each(|seat| queue.give_back(seat));
            seen.seats.drain(..).for_each(|seat| queue.leave(seat));
            prop_assert!(queue.seats.is_empty() && queue.runs.is_empty() && queue.held == 0);
        }

        #[test]
        fn no_seat_gathers_more_than_its_share(n_seats in 1_usize..70, slow in 0_usize..70) {
            // All always want more. One never gives anything back; the others do so at once.
            let mut queue = Queue::new(MOST);
            let now = Duration::ZERO;
            let seats: Vec<_> = (0..n_seats).map(|n| queue.join("a", &RunId::from_bits(n as u128), now)).collect();
            let slow = seats[slow % n_seats];
            for seat in &seats {
                (0..MOST).for_each(|_| queue.ask(*seat, 1, 0));
            }
            let mut turns = vec![0_usize; n_seats];
            for _ in 0..(n_seats * 20) {
                let (granted, _) = queue.grant(now, |_| false);
                for (seat, _) in granted {
                    let place = seats.iter().position(|s| *s == seat).unwrap();
                    turns[place] += 1;
                    queue.ask(seat, 1, 0);
                    if seat != slow {
                        queue.give_back(seat);
                    }
                }
            }
            let of_slow = turns[seats.iter().position(|s| *s == slow).unwrap()];
            prop_assert_eq!(of_slow, MOST.div_ceil(n_seats));
            let others: Vec<_> = seats.iter().zip(&turns).filter(|(s, _)| **s != slow).map(|(_, n)| *n).collect();
            if let (Some(least), Some(most)) = (others.iter().min(), others.iter().max()) {
                prop_assert!(*least >= 20 && most - least <= MOST, "{least} to {most}");
            }
        }
    }
}
