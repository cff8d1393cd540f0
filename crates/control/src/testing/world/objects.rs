//! The object store and its key ring.

use super::*;

#[async_trait]
impl ImageStore for World {
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        _: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        _: &CancellationToken,
    ) -> Result<VerifyResult, Failure> {
        let act = self.call("verify").await?;
        progress(PACKS * PACK, PACKS * PACK);
        let stored = self.look().snapshots.get(snapshot).cloned();
        let stored = stored.ok_or_else(|| Failure::new(Code::StoreCorrupt, "no such snapshot"))?;
        self.key(&stored.key)?;
        let damaged = matches!(act, Some(Act::Damage)).then_some(Extent { offset: 64, length: 8 });
        let found = VerifyResult {
            root_digest: stored.digest.clone(),
            bytes_verified: PACKS * PACK,
            first_problem: damaged.map(|_| "a block differs".to_owned()),
            // Which pack that is, nobody asks.
            packs: damaged.iter().filter_map(|_| stored.blocks.first().cloned()).collect(),
            damaged: damaged.into_iter().collect(),
            is_cut_off: false,
        };
        World::answer(act, found)
    }

    async fn register(&self, order: &ImageOrder) -> Result<(), Failure> {
        let act = self.call("register").await?;
        self.key(&order.key)?;
        {
            let mut state = self.look();
            assert!(order.volumes.iter().all(|(_, s)| state.snapshots[s].key == order.key), "an image mixes keys");
            assert!(order.volumes.iter().all(|(_, s)| state.snapshots.contains_key(s)), "an image names no snapshot");
            let versions: BTreeSet<_> = order
                .volumes
                .iter()
                .map(|(_, s)| state.snapshots[s].digest.rsplit(' ').next().map(str::to_owned))
                .collect();
            assert_eq!(versions.len(), 1, "an image mixes points in time: {versions:?}");
            state.registered.insert(order.run.clone());
            let known = state.images.insert(order.image.clone(), order.clone());
            assert!(known.is_none_or(|known| known == *order), "the same image, but another content");
        }
        self.gate.pass("registered").await;
        World::answer(act, ())
    }

    async fn discard_staged(&self, packs: &[PackId]) -> Result<(), Failure> {
        self.call("discard_staged").await?;
        let mut state = self.look();
        for pack in packs {
            assert!(!state.snapshots.values().any(|s| s.blocks.contains(pack)), "a pack that is named is discarded");
            state.packs.remove(pack);
        }
        Ok(())
    }

    async fn pack_is_complete(&self, pack: &PackId) -> Result<bool, Failure> {
        self.call("pack_is_complete").await?;
        Ok(self.look().packs.contains_key(pack))
    }

    async fn delete_image(&self, image: &ImageId) -> Result<(), Failure> {
        self.call("delete_image").await?;
        self.look().images.remove(image);
        Ok(())
    }

    async fn delete_snapshots(&self, snapshots: &[SnapshotId]) -> Result<(), Failure> {
        self.call("delete_snapshots").await?;
        let mut state = self.look();
        for snapshot in snapshots {
            let named = state.images.values().any(|i| i.volumes.iter().any(|(_, s)| s == snapshot));
            assert!(!named, "a snapshot that an image names is deleted");
            state.snapshots.remove(snapshot);
        }
        Ok(())
    }

    async fn packs_of(&self, snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure> {
        self.call("packs_of").await?;
        let state = self.look();
        let blocks = state.snapshots.get(snapshot).map(|s| s.blocks.clone()).unwrap_or_default();
        Ok(blocks.into_iter().map(|first| PackRange { first, count: 1 }).collect())
    }

    async fn plan_sweep(&self, order: &SweepOrder<'_>, _: &CancellationToken) -> Result<SweepPlan, Failure> {
        self.call("plan_sweep").await?;
        let listed = self.listed();
        let claims = (order.claims)().await?;
        self.tell_uses(order, false);
        Ok(self.doomed(&listed, &claims, order).0)
    }

    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure> {
        let act = self.call("sweep_store").await?;
        let listed = self.listed();
        self.gate.pass("packs listed").await;
        let claims = (order.claims)().await?;
        self.gate.pass("claims asked for").await;
        self.tell_uses(order, matches!(act, Some(Act::Repack)));
        let (_, doomed) = self.doomed(&listed, &claims, order);
        let mut end = SweepEnd::default();
        for pack in &doomed {
            if cancel.is_cancelled() {
                return Err(Failure::new(Code::Cancelled, "told to stop"));
            }
            self.gate.pass("a pack swept").await;
            self.look().packs.remove(pack);
            end.packs_freed += 1;
            end.bytes_freed += PACK;
            report(SweepProgress {
                packs_to_free: doomed.len() as u64,
                packs_freed: end.packs_freed,
                ..Default::default()
            });
        }
        self.call("sweep_end").await?;
        Ok(end)
    }

    async fn list_packs(&self) -> Result<Vec<(u128, u64)>, Failure> {
        self.call("list_packs").await?;
        let mut packs: Vec<_> = self.listed().iter().map(|pack| (u128::from_be_bytes(pack.to_bytes()), PACK)).collect();
        packs.sort_unstable();
        Ok(packs)
    }

    async fn check_pack(
        &self,
        pack: &PackId,
        used: NoteKeyUse<'_>,
        _: &CancellationToken,
    ) -> Result<PackFinding, Failure> {
        self.call("check_pack").await?;
        let mut state = self.look();
        state.checked.push(pack.clone());
        let Some(block) = state.packs.get(pack) else { return Ok(PackFinding::Gone) };
        if state.disabled_keys.contains(&block.key) {
            return Ok(PackFinding::Closed);
        }
        used(KeyUse::of(&block.key, 1, Purpose::Decrypt));
        let is_rotten = state.rotten.contains(pack);
        Ok(if is_rotten { PackFinding::Damaged("it is rotten".to_owned()) } else { PackFinding::Whole })
    }

    async fn trace(
        &self,
        packs: Option<&[PackId]>,
        snapshots: &[SnapshotId],
        _: NoteKeyUse<'_>,
        _: &CancellationToken,
    ) -> Result<Vec<Traced>, Failure> {
        self.call("trace").await?;
        let state = self.look();
        let is_bad = |pack: &PackId| match packs {
            Some(packs) => packs.contains(pack) && state.rotten.contains(pack),
            None => !state.packs.contains_key(pack),
        };
        let trace = |id: &SnapshotId| {
            let bad = state.snapshots.get(id)?.blocks.iter().enumerate().filter(|(_, pack)| is_bad(pack));
            let damaged: Vec<_> = bad.map(|(n, _)| Extent { offset: n as u64 * PACK, length: PACK }).collect();
            let problem = "a block is rotten".to_owned();
            (!damaged.is_empty()).then(|| Traced { snapshot: id.clone(), damaged, is_cut_off: false, problem })
        };
        Ok(snapshots.iter().filter_map(trace).collect())
    }

    async fn data_extents(&self, _: &SnapshotId, from: u64, limit: usize) -> Result<ExtentPage, Failure> {
        self.call("data_extents").await?;
        let all = (0..PACKS).map(|n| Extent { offset: n * PACK, length: PACK / 2 });
        let extents: Vec<Extent> = all.filter(|e| e.offset >= from).take(limit).collect();
        let next = extents.last().map(|e| e.offset + PACK).filter(|n| *n < PACKS * PACK);
        Ok(ExtentPage { extents, next })
    }

    async fn changed_extents(
        &self,
        base: &SnapshotId,
        snapshot: &SnapshotId,
        from: u64,
        limit: usize,
    ) -> Result<ExtentPage, Failure> {
        self.call("changed_extents").await?;
        let state = self.look();
        let (was, is) = (&state.snapshots[base], &state.snapshots[snapshot]);
        assert_eq!(was.key, is.key, "digests of different keys are compared");
        let all = is.blocks.iter().enumerate().filter(|(n, pack)| was.blocks.get(*n) != Some(pack));
        let all = all.map(|(n, _)| Extent { offset: n as u64 * PACK, length: PACK });
        let extents: Vec<Extent> = all.filter(|e| e.offset >= from).take(limit).collect();
        let next = extents.last().map(|e| e.end()).filter(|n| *n < PACKS * PACK);
        Ok(ExtentPage { extents, next })
    }

    async fn read(&self, _: &SnapshotId, extent: Extent) -> Result<Bytes, Failure> {
        self.call("read").await?;
        Ok(Bytes::from(vec![7; extent.length as usize]))
    }
}

#[async_trait]
impl KeyStore for World {
    async fn make(&self, key: &KeyId, version: u32) -> Result<(), Failure> {
        self.call("make key").await?;
        {
            let mut state = self.look();
            let newest = state.keys.entry(key.clone()).or_insert(0);
            assert!(version <= *newest + 1, "a version is left out");
            *newest = version.max(*newest);
        }
        self.gate.pass("key made").await;
        Ok(())
    }

    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        self.call("all keys").await?;
        Ok(self.look().keys.clone())
    }

    fn set_enabled(&self, key: &KeyId, enabled: bool) {
        let mut state = self.look();
        if enabled {
            state.disabled_keys.remove(key)
        } else {
            state.disabled_keys.insert(key.clone())
        };
    }
}
