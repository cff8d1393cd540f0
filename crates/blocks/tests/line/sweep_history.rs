//! Random histories of a store with several keys, against a model of what must be in it.

use crate::stage::{content, noise, open, runtime, snapshot_id};
use crate::sweep::{EARLY, LATE, PACK, check, known, pack_bytes, sweep};
use crate::sweep_keys::{check_own, headers, manifest, replicated};
use godwit_blocks::pack::PackSet;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::Claims;
use godwit_model::failure::Code;
use godwit_model::id::KeyId;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const N_KEYS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Replicate { seed: u64, quarters: u8 },
    DeleteOldest,
    Rotate,
    Toggle,
    Sweep { late: bool },
    Restart,
}

/// What is done, and with which key.
fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        6 => (0u64..1000, 1u8..4).prop_map(|(seed, quarters)| Step::Replicate { seed, quarters }),
        3 => Just(Step::DeleteOldest),
        2 => Just(Step::Rotate),
        2 => Just(Step::Toggle),
        4 => any::<bool>().prop_map(|late| Step::Sweep { late }),
        1 => Just(Step::Restart),
    ];
    (0..N_KEYS, step)
}

#[derive(Default)]
struct Domain {
    version: u32,
    is_disabled: bool,
    /// Snapshots, oldest first, and their content.
    snapshots: BTreeMap<u128, Vec<u8>>,
}

struct History {
    objects: Arc<dyn ObjectStore>,
    store: BlockStore,
    domains: [Domain; N_KEYS],
    released: PackSet,
    n: u128,
}

fn key(domain: usize) -> KeyId {
    KeyId::from_bits(70 + domain as u128)
}

impl History {
    async fn begin() -> History {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = open(objects.clone(), 1, PACK).await;
        let mut domains: [Domain; N_KEYS] = Default::default();
        for (n, domain) in domains.iter_mut().enumerate() {
            store.make_key(&key(n), 1).await.unwrap();
            domain.version = 1;
        }
        History { objects, store, domains, released: PackSet::default(), n: 0 }
    }

    async fn take(&mut self, at: usize, step: &Step) {
        let domain = &mut self.domains[at];
        match *step {
            Step::Replicate { .. } if domain.is_disabled => {
                assert_eq!(self.store.under(&key(at)).await.err().unwrap().code, Code::KeyDisabled);
            }
            Step::Replicate { seed, quarters } => {
                self.n += 1;
                let last = domain.snapshots.last_key_value();
                let mut model = last.map_or_else(|| noise(seed, 300_000), |(_, model)| model.clone());
                for (n, block) in model.chunks_mut(4096).enumerate().filter(|(n, _)| n % 4 < usize::from(quarters)) {
                    block.copy_from_slice(&noise(seed * 7919 + n as u64, block.len()));
                }
                replicated(&self.store, &key(at), self.n, &model, last.map(|(n, base)| (*n, &base[..]))).await;
                assert_eq!(manifest(&self.store, self.n).await.key_version, domain.version);
                domain.snapshots.insert(self.n, model);
            }
            Step::DeleteOldest => {
                let Some((n, _)) = domain.snapshots.pop_first() else { return };
                // What is under a disabled key cannot be released: it goes when it is old.
                let known = snapshot::load(&self.store, &snapshot_id(n)).await;
                assert_eq!(known.is_err(), domain.is_disabled);
                let packs = known.ok().flatten().map(|manifest| manifest.packs).unwrap_or_default();
                packs.ranges().for_each(|(first, count)| self.released.add(first, count));
                snapshot::delete(&self.store, &snapshot_id(n)).await.unwrap();
            }
            Step::Rotate => {
                domain.version += 1;
                self.store.make_key(&key(at), domain.version).await.unwrap();
            }
            Step::Toggle => {
                domain.is_disabled = !domain.is_disabled;
                self.store.set_key_enabled(&key(at), !domain.is_disabled);
            }
            Step::Sweep { late } => self.sweep(late).await,
            Step::Restart => {
                self.store = open(self.objects.clone(), 1000 + self.n as u64, PACK).await;
                let disabled = (0..N_KEYS).filter(|n| self.domains[*n].is_disabled);
                disabled.for_each(|n| self.store.set_key_enabled(&key(n), false));
            }
        }
    }

    async fn sweep(&mut self, late: bool) {
        let is_barred = self.domains.iter().any(|domain| domain.is_disabled && !domain.snapshots.is_empty());
        let before = headers(&*self.objects).await;
        let ids = self.domains.iter().flat_map(|domain| domain.snapshots.keys()).map(|n| snapshot_id(*n));
        let claims = Claims { released: self.released.clone(), ..known(ids) };
        let swept = sweep(&self.store, &claims, if late { LATE } else { EARLY }).await.unwrap();
        assert_eq!(swept.left, 0, "{swept:?}");
        swept.repacked.emptied.iter().for_each(|pack| self.released.add(pack, 1));
        let after = headers(&*self.objects).await;
        assert!(!is_barred || before == after, "nothing goes or moves beside a disabled key");
        for (_, (of, format, _)) in after.iter().filter(|(id, _)| !before.contains_key(id)) {
            let domain = (0..N_KEYS).find(|n| key(*n) == *of).unwrap();
            assert_eq!(*format == 1, self.domains[domain].version == 1, "moved under the newest version");
        }
    }

    async fn check(&self, when: &str) {
        let packs = headers(&*self.objects).await;
        for domain in &self.domains {
            for (n, model) in &domain.snapshots {
                if domain.is_disabled {
                    let read = content(&self.store, &snapshot_id(*n)).await;
                    assert_eq!(read.unwrap_err().code, Code::KeyDisabled, "{when}");
                } else {
                    check(&self.store, &snapshot_id(*n), model, when).await;
                    check_own(&manifest(&self.store, *n).await, &packs, when);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn histories_of_several_keys(steps in proptest::collection::vec(step(), 6..24)) {
        runtime().block_on(async {
            let mut history = History::begin().await;
            for (at, step) in &steps {
                history.take(*at, step).await;
                history.check(&format!("{step:?} of {at}")).await;
            }
            for at in 0..N_KEYS {
                if history.domains[at].is_disabled {
                    history.take(at, &Step::Toggle).await;
                }
            }
            for _ in 0..4 {
                history.sweep(false).await;
            }
            history.check("swept, and everything enabled").await;
            for at in 0..N_KEYS {
                while !history.domains[at].snapshots.is_empty() {
                    history.take(at, &Step::DeleteOldest).await;
                }
            }
            history.sweep(true).await;
            assert_eq!(pack_bytes(&history.objects).await, 0);
        });
    }
}
