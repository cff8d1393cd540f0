//! Packs that runs take blocks from, and packs that are about to go: none is ever both. Pure but for a lock.
//!
//! A sweep decides on what it saw when it began. A snapshot that was committed since, and names a pack of the sweep's list
//! only because it was lent, must be safe as well: so packs that come back while a sweep is at work stay as if on loan
//! until it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is on loan, and what goes.
#[derive(Default, Debug)]
pub(crate) struct Loans(Mutex<Book>);

#[derive(Default, Debug)]
struct Book {
    /// How many runs use it.
    lent: BTreeMap<u128, u32>,
    /// Came back while a sweep was at work.
    returned: BTreeSet<u128>,
    going: BTreeSet<u128>,
    sweeps: u32,
}

/// What one run has on loan. Comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Borrowed {
    loans: Arc<Loans>,
    packs: Mutex<BTreeSet<u128>>,
    /// Those of which it is durable that they were lent.
    noted: Mutex<BTreeSet<u128>>,
}

/// Packs that are about to go: not to be lent until this is dropped.
#[derive(Debug)]
pub(crate) struct Going {
    loans: Arc<Loans>,
    packs: Vec<u128>,
}

/// A sweep at work.
#[derive(Debug)]
pub(crate) struct Sweeping(Arc<Loans>);

impl Loans {
    /// A run begins that may borrow.
    pub(crate) fn open(self: &Arc<Self>) -> Borrowed {
        Borrowed { loans: self.clone(), packs: Mutex::default(), noted: Mutex::default() }
    }

    /// A sweep begins: it has not looked at anything yet.
    pub(crate) fn begin_sweep(self: &Arc<Self>) -> Sweeping {
        self.book().sweeps += 1;
        Sweeping(self.clone())
    }

    /// Those of `packs` that are not on loan: they may go.
    pub(crate) fn let_go(self: &Arc<Self>, packs: impl IntoIterator<Item = u128>) -> Going {
        let mut book = self.book();
        let may_go = packs.into_iter().filter(|p| !book.lent.contains_key(p) && !book.returned.contains(p));
        let packs: Vec<u128> = may_go.collect();
        book.going.extend(&packs);
        Going { loans: self.clone(), packs }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed {
    /// Borrows a pack; false if it is about to go.
    pub(crate) fn borrow(&self, pack: u128) -> bool {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = self.loans.book();
        if book.going.contains(&pack) {
            return false;
        }
        if packs.insert(pack) {
            *book.lent.entry(pack).or_default() += 1;
        }
        true
    }
}

impl Borrowed {
    /// Whether the pack is on loan, and that is noted.
    pub(crate) fn has(&self, pack: u128) -> bool {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).contains(&pack)
    }

    /// The loan of the pack is noted.
    pub(crate) fn keep(&self, pack: u128) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let packs = std::mem::take(self.packs.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut book = self.loans.book();
        for pack in packs {
            match book.lent.get_mut(&pack) {
                Some(runs) if *runs > 1 => *runs -= 1,
                _ => drop(book.lent.remove(&pack)),
            }
            if book.sweeps > 0 {
                book.returned.insert(pack);
            }
        }
    }
}

impl Going {
    /// Which may go.
    pub(crate) fn packs(&self) -> &[u128] {
        &self.packs
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut book = self.loans.book();
        book.going.retain(|pack| !self.packs.contains(pack));
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        let mut book = self.0.book();
        book.sweeps -= 1;
        if book.sweeps == 0 {
            book.returned.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Open,
        Borrow(usize, u128),
        Close(usize),
        BeginSweep,
        EndSweep,
        LetGo(u128),
        Gone(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Open),
            6 => (0usize..4, 0u128..6).prop_map(|(run, pack)| Step::Borrow(run, pack)),
            2 => (0usize..4).prop_map(Step::Close),
            1 => Just(Step::BeginSweep),
            1 => Just(Step::EndSweep),
            4 => (0u128..6).prop_map(Step::LetGo),
            3 => (0usize..4).prop_map(Step::Gone),
        ]
    }

    proptest! {
        #[test]
        fn no_pack_is_lent_and_going_and_what_came_back_stays_while_a_sweep_works(
            steps in prop::collection::vec(step(), 1..80)
        ) {
            let loans = Arc::new(Loans::default());
            let mut runs: Vec<(Borrowed, BTreeSet<u128>)> = Vec::new();
            let (mut going, mut sweep): (Vec<Going>, Option<Sweeping>) = Default::default();
            let mut returned: BTreeSet<u128> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Open => runs.push((loans.open(), BTreeSet::new())),
                    Step::Borrow(run, pack) if run < runs.len() => {
                        let goes = going.iter().any(|g| g.packs().contains(&pack));
                        prop_assert_eq!(runs[run].0.borrow(pack), !goes);
                        if !goes {
                            runs[run].1.insert(pack);
                        }
                    }
                    Step::Close(run) if run < runs.len() => {
                        let (_, packs) = runs.swap_remove(run);
                        if sweep.is_some() {
                            returned.extend(packs);
                        }
                    }
                    Step::BeginSweep if sweep.is_none() => sweep = Some(loans.begin_sweep()),
                    Step::EndSweep => {
                        sweep = None;
                        returned.clear();
                    }
                    Step::LetGo(pack) => {
                        let may = loans.let_go([pack]);
                        let held = runs.iter().any(|(_, packs)| packs.contains(&pack)) || returned.contains(&pack);
                        prop_assert_eq!(may.packs().is_empty(), held);
                        going.push(may);
                    }
                    // Two may be letting the same one go: then it is the first of them that ends it.
                    Step::Gone(at) if at < going.len() => {
                        let ended = going.swap_remove(at);
                        going.retain(|other| !other.packs().iter().any(|p| ended.packs().contains(p)));
                    }
                    _ => {}
                }
            }
            drop((runs, going, sweep));
            let book = loans.book();
            prop_assert!(book.lent.is_empty() && book.going.is_empty() && book.returned.is_empty());
        }
    }
}
