//! The ledger of packs: what a run has begun to send, and what of it is durable.

use super::query::Verbs;
use super::row::{Fields, to_sql};
use super::run_steps::{check_fence, write_figures};
use super::{RunRecord, Store, StoreError, Tx};
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, RunId};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// Whether a pack is known to be in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PackState {
    /// It was about to be sent: it may be there, in part, or not at all.
    Begun,
    /// It is there.
    Durable,
}

/// A pack of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct LedgerPack {
    pub pack: PackId,
    pub bytes: u64,
    pub state: PackState,
    /// The point in time that it was read from.
    pub point: String,
}

impl Store {
    pub(crate) async fn pack_begun(
        &self,
        was: &RunRecord,
        device: &str,
        pack: &PackId,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        sqlx::query(
            "INSERT INTO pack_ledger (pack_id, run_id, device, bytes, state, point) \
             VALUES ($1, $2, $3, $4, 'BEGUN', $5) ON CONFLICT (pack_id) DO NOTHING",
        )
        .bind(pack.to_string())
        .bind(was.id.to_string())
        .bind(device.to_owned())
        .bind(to_sql(bytes))
        .bind(was.point.clone().unwrap_or_default())
        .run(&mut *tx, "record that a pack is begun")
        .await?;
        tx.commit().await
    }

    /// Records that packs are durable, and the figures at that moment.
    pub(crate) async fn packs_durable(
        &self,
        was: &RunRecord,
        device: &str,
        packs: &[PackId],
        figures: Option<&VolumeFigures>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        for pack in packs {
            sqlx::query("UPDATE pack_ledger SET state = 'DURABLE', durable_at = $1 WHERE pack_id = $2 AND run_id = $3")
                .bind(now.0)
                .bind(pack.to_string())
                .bind(was.id.to_string())
                .run(&mut *tx, "record that a pack is durable")
                .await?;
        }
        if let Some(figures) = figures {
            write_figures(&mut tx, &was.id, device, figures).await?;
        }
        tx.commit().await
    }

    /// A begun pack turned out not to be in the store in full: it is forgotten, and what was sent of it was in vain.
    pub(crate) async fn pack_lost(
        &self,
        was: &RunRecord,
        device: &str,
        pack: &LedgerPack,
        figures: &VolumeFigures,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        sqlx::query("DELETE FROM pack_ledger WHERE pack_id = $1 AND run_id = $2")
            .bind(pack.pack.to_string())
            .bind(was.id.to_string())
            .run(&mut *tx, "forget a pack")
            .await?;
        write_figures(&mut tx, &was.id, device, figures).await?;
        tx.commit().await
    }

    /// Packs that are to be removed from the store. While their run is at work its snapshots may name them.
    pub(crate) async fn unneeded_packs(&self) -> Result<Vec<PackId>, StoreError> {
        sqlx::query(
            "SELECT pack_id FROM pack_ledger WHERE state = 'VOID' AND EXISTS (SELECT 1 FROM run \
             WHERE run.run_id = pack_ledger.run_id AND run.state NOT IN ('ACTIVE', 'DELETING')) \
             ORDER BY pack_id LIMIT 1000",
        )
        .all(self.reader(), "look for packs to remove", |row| Fields(row).id("pack_id"))
        .await
    }

    /// These packs are removed from the store.
    pub(crate) async fn forget_packs(&self, packs: &[PackId]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for pack in packs {
            sqlx::query("DELETE FROM pack_ledger WHERE pack_id = $1")
                .bind(pack.to_string())
                .run(&mut *tx, "forget a pack")
                .await?;
        }
        tx.commit().await
    }

    /// The ledger of one volume of a run.
    pub(crate) async fn packs(&self, run: &RunId, device: &str) -> Result<Vec<LedgerPack>, StoreError> {
        sqlx::query("SELECT * FROM pack_ledger WHERE run_id = $1 AND device = $2 AND state <> 'VOID' ORDER BY pack_id")
            .bind(run.to_string())
            .bind(device.to_owned())
            .all(self.reader(), "read a ledger", ledger_pack)
            .await
    }
}

/// Nothing may use these packs any more.
pub(super) async fn void_packs(tx: &mut Tx, run: &RunId) -> Result<(), StoreError> {
    sqlx::query("UPDATE pack_ledger SET state = 'VOID' WHERE run_id = $1")
        .bind(run.to_string())
        .run(&mut **tx, "void a ledger")
        .await?;
    Ok(())
}

fn ledger_pack(row: &AnyRow) -> Result<LedgerPack, StoreError> {
    let fields = Fields(row);
    Ok(LedgerPack {
        pack: fields.id("pack_id")?,
        bytes: fields.number("bytes")?,
        state: fields.name("state", parse)?,
        point: fields.text("point")?,
    })
}

fn parse(text: &str) -> Option<PackState> {
    match text {
        "BEGUN" => Some(PackState::Begun),
        "DURABLE" => Some(PackState::Durable),
        _ => None,
    }
}
