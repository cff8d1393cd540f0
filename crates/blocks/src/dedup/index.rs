//! Which pack may hold the block of a digest. Pure.

use crate::block::Digest;
use crate::pack::Place;
use crate::recent::Recent;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Samples kept: with all that belongs to one, 17 bytes each in a table that may be half empty.
pub(crate) const MOST_SAMPLES: usize = 450_000;

/// Packs whose contents are kept, some 100 KiB each, 700 KiB at most. Equal blocks come in sequences: mostly they are in
/// the pack that the last ones were in.
const KEPT: usize = 8;

/// The blocks of a pack and their places.
pub(crate) type Contents = HashMap<Digest, Place>;

/// What is known of a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hint {
    /// The pack holds it, at this place.
    At(Place),
    /// The pack most likely holds it.
    In(u128),
}

/// Where blocks of one key domain may be found.
pub(crate) struct Index {
    most: usize,
    known: Mutex<Known>,
}

struct Known {
    /// Beginnings of digests, and the number of the pack.
    samples: HashMap<u64, u32>,
    /// Only digests that end in so many zero bits are sampled.
    zero_bits: u32,
    /// Packs by number. Those that went leave a gap.
    packs: Vec<Option<u128>>,
    numbers: HashMap<u128, u32>,
    contents: Recent<u128, Arc<Contents>>,
}

impl Index {
    /// An empty one of at most `most` samples.
    pub(crate) fn new(most: usize) -> Self {
        let known = Known {
            samples: HashMap::new(),
            zero_bits: 0,
            packs: Vec::new(),
            numbers: HashMap::new(),
            contents: Recent::new(KEPT),
        };
        Self { most: most.max(1), known: Mutex::new(known) }
    }

    /// Whether the pack was added and is still there.
    pub(crate) fn knows(&self, pack: u128) -> bool {
        self.known().numbers.contains_key(&pack)
    }

    /// Adds a pack that holds blocks of these digests, unless none of them is sampled.
    pub(crate) fn add<'a>(&self, pack: u128, digests: impl Iterator<Item = &'a Digest>) {
        let mut known = self.known();
        let samples: Vec<u64> = digests.map(sample_of).filter(|sample| known.is_sampled(*sample)).collect();
        if known.numbers.contains_key(&pack) || samples.is_empty() {
            return;
        }
        known.packs.push(Some(pack));
        for sample in samples {
            // Anew each time: what follows may have changed it.
            let number = u32::try_from(known.packs.len() - 1).expect("there are fewer packs than samples");
            known.numbers.insert(pack, number);
            if known.is_sampled(sample) {
                known.samples.insert(sample, number);
            }
            while known.samples.len() > self.most {
                known.thin_out();
            }
        }
    }

    /// The pack is going, or has gone.
    pub(crate) fn forget(&self, pack: u128) {
        let mut known = self.known();
        if let Some(number) = known.numbers.remove(&pack) {
            known.packs[number as usize] = None;
        }
        known.contents.remove(&pack);
    }

    /// What is known of the block of a digest.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Hint> {
        let known = self.known();
        if let Some(place) = known.contents.values().find_map(|contents| contents.get(digest)) {
            return Some(Hint::At(*place));
        }
        let number = known.samples.get(&sample_of(digest))?;
        known.packs.get(*number as usize).copied().flatten().map(Hint::In)
    }

    /// The contents of a pack, if they are kept.
    pub(crate) fn contents(&self, pack: u128) -> Option<Arc<Contents>> {
        self.known().contents.get(&pack)
    }

    /// Keeps the contents of a pack, until other packs are of more use.
    pub(crate) fn keep(&self, pack: u128, contents: Arc<Contents>) {
        let mut known = self.known();
        // It may have gone since it was read.
        if known.numbers.contains_key(&pack) {
            known.contents.put(pack, contents);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_sampled(&self, sample: u64) -> bool {
        sample.trailing_zeros() >= self.zero_bits
    }

    /// Drops each second sample, those of packs that went, and packs that no sample leads to any more.
    fn thin_out(&mut self) {
        self.zero_bits += 1;
        let (zero_bits, packs) = (self.zero_bits, &self.packs);
        self.samples.retain(|sample, number| sample.trailing_zeros() >= zero_bits && packs[*number as usize].is_some());
        self.samples.shrink_to_fit();
        let used: HashSet<u32> = self.samples.values().copied().collect();
        let mut renumbered = HashMap::new();
        let mut kept = Vec::with_capacity(used.len() + 1);
        for (number, pack) in (0..).zip(&self.packs) {
            // The last one is just being added.
            if used.contains(&number) || number as usize + 1 == self.packs.len() {
                renumbered.insert(number, u32::try_from(kept.len()).expect("fewer than before"));
                kept.push(*pack);
            }
        }
        self.samples.values_mut().for_each(|number| *number = renumbered[number]);
        self.numbers = (0..).zip(&kept).filter_map(|(number, pack)| Some(((*pack)?, number))).collect();
        self.packs = kept;
    }
}

/// The beginning of a digest. Digests are keyed hashes: any 64 bits of them are as good as random.
fn sample_of(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;
    use proptest::prelude::*;

    fn digest(n: u64) -> Digest {
        Digest(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn place(pack: u128) -> Place {
        Place { pack, offset: 40, stored: 17, raw: 1, ordinal: 0, codec: Codec::Raw, key_version: 1 }
    }

    #[test]
    fn contents_that_are_kept_tell_the_place_and_go_with_the_pack() {
        let index = Index::new(10);
        index.add(7, [digest(1)].iter());
        assert_eq!(index.find(&digest(1)), Some(Hint::In(7)));
        assert_eq!(index.find(&digest(2)), None);
        index.keep(7, Arc::new([(digest(1), place(7)), (digest(2), place(7))].into()));
        assert_eq!(index.find(&digest(2)), Some(Hint::At(place(7))));
        index.forget(7);
        assert_eq!((index.find(&digest(1)), index.find(&digest(2))), (None, None));
        index.keep(7, Arc::new([(digest(1), place(7))].into()));
        assert_eq!(index.find(&digest(1)), None, "it has gone");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(Vec<u64>),
        Forget(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop::collection::vec(0u64..400, 1..40).prop_map(Step::Add),
            1 => any::<prop::sample::Index>().prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn hints_are_right_and_bounded_and_complete_while_there_is_room(
            steps in prop::collection::vec(step(), 1..40), most in 1usize..300,
        ) {
            let index = Index::new(most);
            let mut packs: Vec<(u128, Vec<u64>)> = Vec::new();
            let mut newest: HashMap<u64, u128> = HashMap::new();
            let mut n_added = 0;
            for (n, step) in (1u128..).zip(steps) {
                match step {
                    Step::Add(blocks) => {
                        let digests: Vec<Digest> = blocks.iter().map(|b| digest(*b)).collect();
                        index.add(n, digests.iter());
                        n_added += blocks.len();
                        newest.extend(blocks.iter().map(|block| (*block, n)));
                        packs.push((n, blocks));
                    }
                    Step::Forget(which) if !packs.is_empty() => {
                        let (pack, _) = packs.remove(which.index(packs.len()));
                        index.forget(pack);
                    }
                    Step::Forget(_) => {}
                }
                let known = index.known();
                prop_assert!(known.samples.len() <= most && known.numbers.len() <= known.packs.len());
            }
            for block in 0..400 {
                let holds = |pack: u128| packs.iter().any(|(p, blocks)| *p == pack && blocks.contains(&block));
                let found = index.find(&digest(block));
                if n_added <= most {
                    let expected = newest.get(&block).copied().filter(|pack| holds(*pack)).map(Hint::In);
                    prop_assert_eq!(found, expected);
                } else if let Some(hint) = found {
                    prop_assert!(matches!(hint, Hint::In(pack) if holds(pack)), "{:?}", hint);
                }
            }
        }
    }

    #[test]
    fn however_many_blocks_there_are_some_lead_to_their_packs() {
        let index = Index::new(1000);
        for pack in 0..400u64 {
            let digests: Vec<Digest> = (0..200).map(|n| digest(pack * 1000 + n)).collect();
            index.add(u128::from(pack), digests.iter());
        }
        let n_samples = index.known().samples.len();
        assert!((400..=1000).contains(&n_samples), "{n_samples}");
        let n_reachable = (0..400u64)
            .filter(|p| (0..200).any(|n| index.find(&digest(p * 1000 + n)) == Some(Hint::In(u128::from(*p)))));
        let n_reachable = n_reachable.count();
        assert!(n_reachable > 250, "{n_reachable} of 400");
        // Each time samples were dropped the pack that was just being added may have lost its last one.
        let known = index.known();
        assert!(known.packs.len() <= n_reachable + known.zero_bits as usize);
    }
}
