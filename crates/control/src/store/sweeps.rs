//! What the store of objects may lose: claims on it, what was released, what sweeps did.

use super::key_uses::{User, note_key_use};
use super::query::{After, Order, Verbs};
use super::row::{Fields, to_sql};
use super::{Store, StoreError, Tx};
use crate::control::Draw;
use crate::replicator::{PackRange, SweepClaims};
use crate::service::{Sweep, SweepState};
use godwit_model::id::{ImageId, PackId, SnapshotId, SweepId};
use godwit_model::key::KeyUse;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// Rows of the ledger that are read at a time: a first copy of 10 TB has some 600,000 packs.
const LEDGER_PAGE: i64 = 5_000;

/// Sweeps that are remembered: with one a day, a good quarter of a year.
const REMEMBERED: i64 = 100;

/// Packs and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Staged {
    pub packs: u64,
    pub bytes: u64,
}

impl Store {
    /// What is claimed of the store. The ledger comes first: whoever looks at snapshots after this sees in one of the two
    /// every pack that somebody may still name.
    pub(crate) async fn store_claims(&self) -> Result<SweepClaims, StoreError> {
        let what = "read what is claimed of the store";
        let packs = self.ledger_ranges().await?;
        let released = sqlx::query("SELECT first_pack, packs FROM released_packs ORDER BY first_pack")
            .all(self.reader(), what, pack_range)
            .await?;
        let ids = |sql| sqlx::query(sql).all(self.reader(), what, |row| Fields(row).id::<SnapshotId>("id"));
        // Of the runs before of all: a snapshot goes from the one list to the other when its image is recorded.
        let mut in_use = ids("SELECT snapshot_id AS id FROM run_volume WHERE run_id IN \
             (SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING'))")
        .await?;
        in_use.extend(
            ids("SELECT parent_id AS id FROM run_volume WHERE parent_id IS NOT NULL AND run_id IN \
                 (SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING'))")
            .await?,
        );
        let snapshots = ids("SELECT snapshot_id AS id FROM snapshot").await?;
        Ok(SweepClaims { packs, released, snapshots, in_use })
    }

    /// All packs of the ledger, as ranges of ids that follow each other.
    async fn ledger_ranges(&self) -> Result<Vec<PackRange>, StoreError> {
        let mut ranges: Vec<PackRange> = Vec::new();
        let mut last = String::new();
        loop {
            let page: Vec<PackId> =
                sqlx::query("SELECT pack_id FROM pack_ledger WHERE pack_id > $1 ORDER BY pack_id LIMIT $2")
                    .bind(last.clone())
                    .bind(LEDGER_PAGE)
                    .all(self.reader(), "read the ledger", |row| Fields(row).id("pack_id"))
                    .await?;
            let Some(newest) = page.last() else { return Ok(ranges) };
            last = newest.to_string();
            for pack in page {
                match ranges.last_mut() {
                    Some(range) if range.next() == Some(bits(&pack)) => range.count += 1,
                    _ => ranges.push(PackRange { first: pack, count: 1 }),
                }
            }
        }
    }

    /// The packs of snapshots that are about to be deleted, or that were emptied.
    pub(crate) async fn release_packs(&self, ranges: &[PackRange], now: Timestamp) -> Result<(), StoreError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for range in ranges {
            sqlx::query(
                "INSERT INTO released_packs (first_pack, packs, released_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (first_pack, packs) DO UPDATE SET released_at = excluded.released_at",
            )
            .bind(range.first.to_string())
            .bind(to_sql(range.count))
            .bind(now.0)
            .run(&mut *tx, "record what was released")
            .await?;
        }
        tx.commit().await
    }

    /// What failed runs have staged that became durable at or before `before`: resumed by nobody any more.
    pub(crate) async fn staged_before(&self, before: Timestamp) -> Result<Staged, StoreError> {
        sqlx::query(
            "SELECT COUNT(*) AS packs, COALESCE(SUM(bytes), 0) AS bytes FROM pack_ledger WHERE run_id IN \
             (SELECT run_id FROM run WHERE state = 'FAILED') AND \
             (state = 'BEGUN' OR (state = 'DURABLE' AND durable_at <= $1))",
        )
        .bind(before.0)
        .one(self.reader(), "look for what was staged for long", staged)
        .await
    }

    /// Takes out of the ledger what failed runs staged before `before`: from this transaction on no run can be given it,
    /// and it is removed as what is void. Of packs that were begun nobody knows whether they are there, and nobody
    /// resumes from them. Gives how much it was.
    pub(crate) async fn expire_staged(&self, before: Timestamp, now: Timestamp) -> Result<Staged, StoreError> {
        let what = "take out of the ledger what was staged for long";
        let expired = self.staged_before(before).await?;
        let undated = "SELECT pack_id FROM pack_ledger WHERE state = 'DURABLE' AND durable_at IS NULL";
        if expired.packs == 0 && !sqlx::query(undated).exists(self.reader(), what).await? {
            return Ok(expired);
        }
        let mut tx = self.begin().await?;
        for (sql, at) in [
            (
                "UPDATE pack_ledger SET state = 'VOID' WHERE run_id IN (SELECT run_id FROM run WHERE state = 'FAILED') \
                 AND (state = 'BEGUN' OR (state = 'DURABLE' AND durable_at <= $1))",
                before,
            ),
            ("UPDATE pack_ledger SET durable_at = $1 WHERE state = 'DURABLE' AND durable_at IS NULL", now),
        ] {
            sqlx::query(sql).bind(at.0).run(&mut *tx, what).await?;
        }
        tx.commit().await?;
        Ok(expired)
    }

    /// Images of runs that failed or were deleted, should one be left in the store.
    pub(crate) async fn void_images(&self) -> Result<Vec<ImageId>, StoreError> {
        sqlx::query(
            "SELECT image_id FROM run WHERE state IN ('FAILED', 'DELETED') AND image_id IS NOT NULL \
             AND image_id NOT IN (SELECT image_id FROM image) ORDER BY image_id LIMIT 1000",
        )
        .all(self.reader(), "look for void images", |row| Fields(row).id("image_id"))
        .await
    }

    /// Begins a sweep, unless one is at work: then that one is given.
    pub(crate) async fn begin_sweep(&self, on_demand: bool, draw: &Draw, now: Timestamp) -> Result<Sweep, StoreError> {
        let mut tx = self.begin().await?;
        let what = "begin a sweep";
        let running = "SELECT * FROM store_sweep WHERE state = 'RUNNING'";
        if let Some(running) = sqlx::query(running).find(&mut *tx, what, sweep).await? {
            return Ok(running);
        }
        let id = tx.fresh("SELECT sweep_id FROM store_sweep WHERE sweep_id = $1", draw, SweepId::from_bits).await?;
        sqlx::query(
            "INSERT INTO store_sweep (sweep_id, on_demand, state, started_at, packs_freed, bytes_freed, bytes_moved, \
             left_behind) VALUES ($1, $2, 'RUNNING', $3, 0, 0, 0, 0)",
        )
        .bind(id.to_string())
        .bind(i64::from(on_demand))
        .bind(now.0)
        .run(&mut *tx, what)
        .await?;
        let begun = sqlx::query(running).one(&mut *tx, what, sweep).await?;
        tx.commit().await?;
        Ok(begun)
    }

    /// The sweep that is at work.
    pub(crate) async fn running_sweep(&self) -> Result<Option<Sweep>, StoreError> {
        sqlx::query("SELECT * FROM store_sweep WHERE state = 'RUNNING'")
            .find(self.reader(), "look for a sweep at work", sweep)
            .await
    }

    /// When a sweep began last; without one, when the first run did. `None`: there is nothing to sweep.
    pub(crate) async fn swept_last(&self) -> Result<Option<Timestamp>, StoreError> {
        let what = "look for the last sweep";
        let time = |row: &AnyRow| Fields(row).opt_time("at");
        let swept = sqlx::query("SELECT MAX(started_at) AS at FROM store_sweep").one(self.reader(), what, time).await?;
        match swept {
            Some(at) => Ok(Some(at)),
            None => sqlx::query("SELECT MIN(started_at) AS at FROM run").one(self.reader(), what, time).await,
        }
    }

    /// What a sweep at work has done so far.
    pub(crate) async fn record_sweep(&self, is: &Sweep) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        write_sweep(&mut tx, is).await?;
        tx.commit().await
    }

    /// A sweep has ended, and these are the keys that it used. Of what was released, what is old by now need not be
    /// remembered; old sweeps are forgotten.
    pub(crate) async fn end_sweep(
        &self,
        is: &Sweep,
        uses: &[KeyUse],
        old: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let what = "end a sweep";
        write_sweep(&mut tx, is).await?;
        for used in uses {
            note_key_use(&mut tx, &User::Sweep(Some(is.id.clone())), used, now).await?;
        }
        sqlx::query("DELETE FROM released_packs WHERE released_at <= $1").bind(old.0).run(&mut *tx, what).await?;
        sqlx::query(
            "DELETE FROM store_sweep WHERE state <> 'RUNNING' AND sweep_id NOT IN \
             (SELECT sweep_id FROM store_sweep ORDER BY started_at DESC, sweep_id DESC LIMIT $1)",
        )
        .bind(REMEMBERED)
        .run(&mut *tx, what)
        .await?;
        tx.commit().await
    }

    /// Up to `limit` sweeps behind `after`, newest first.
    pub(crate) async fn sweeps(&self, after: Option<After>, limit: usize) -> Result<Vec<Sweep>, StoreError> {
        sqlx::query(
            "SELECT * FROM store_sweep WHERE started_at < $1 OR (started_at = $1 AND sweep_id < $2) \
             ORDER BY started_at DESC, sweep_id DESC LIMIT $3",
        )
        .page(after, Order::NewestFirst, limit)
        .all(self.reader(), "list sweeps", sweep)
        .await
    }

    /// The sweeps of these ids, as far as they exist.
    pub(crate) async fn sweeps_named(&self, ids: &[SweepId]) -> Result<HashMap<SweepId, Sweep>, StoreError> {
        self.named("SELECT * FROM store_sweep WHERE sweep_id IN ", ids, "read sweeps", sweep, |s| &s.id).await
    }
}

async fn write_sweep(tx: &mut Tx, is: &Sweep) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE store_sweep SET state = $1, ended_at = $2, packs_freed = $3, bytes_freed = $4, bytes_moved = $5, \
         left_behind = $6, message = $7 WHERE sweep_id = $8 AND state = 'RUNNING'",
    )
    .bind(is.state.as_str())
    .bind(is.ended_at.map(|at| at.0))
    .bind(to_sql(is.packs_freed))
    .bind(to_sql(is.bytes_freed))
    .bind(to_sql(is.bytes_moved))
    .bind(to_sql(is.left))
    .bind(is.message.clone())
    .bind(is.id.to_string())
    .run(&mut **tx, "record a sweep")
    .await?;
    Ok(())
}

fn sweep(row: &AnyRow) -> Result<Sweep, StoreError> {
    let fields = Fields(row);
    Ok(Sweep {
        id: fields.id("sweep_id")?,
        on_demand: fields.truth("on_demand")?,
        state: fields.name("state", SweepState::parse)?,
        started_at: fields.time("started_at")?,
        ended_at: fields.opt_time("ended_at")?,
        packs_freed: fields.number("packs_freed")?,
        bytes_freed: fields.number("bytes_freed")?,
        bytes_moved: fields.number("bytes_moved")?,
        left: fields.number("left_behind")?,
        message: fields.opt_text("message")?,
        progress: None,
    })
}

fn staged(row: &AnyRow) -> Result<Staged, StoreError> {
    let fields = Fields(row);
    Ok(Staged { packs: fields.number("packs")?, bytes: fields.number("bytes")? })
}

fn pack_range(row: &AnyRow) -> Result<PackRange, StoreError> {
    let fields = Fields(row);
    Ok(PackRange { first: fields.id("first_pack")?, count: fields.number("packs")? })
}

fn bits(pack: &PackId) -> u128 {
    u128::from_be_bytes(pack.to_bytes())
}
