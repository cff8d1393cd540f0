//! Samples of what the store of objects held.

use super::query::Verbs;
use super::row::{Fields, to_sql};
use super::{Store, StoreError};
use godwit_model::store_use::{ALL, Sample, superfluous};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// Samples that go in one transaction at most; what is left goes with the next ones. Usually it is one or none.
const PRUNED_AT_ONCE: usize = 500;

impl Store {
    /// When a sample was taken last.
    pub(crate) async fn sampled_last(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query("SELECT MAX(sampled_at) AS at FROM store_use")
            .one(self.reader(), "look for the last sample of the store's use", |row| Fields(row).opt_time("at"))
            .await
    }

    /// When a sweep ended last, however it ended.
    pub(crate) async fn sweep_ended_last(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query("SELECT MAX(ended_at) AS at FROM store_sweep")
            .one(self.reader(), "look for the end of the last sweep", |row| Fields(row).opt_time("at"))
            .await
    }

    /// Records a sample, and forgets those that have had their time.
    pub(crate) async fn record_use(&self, sample: &Sample) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let what = "record the store's use";
        let others = "SELECT sampled_at FROM store_use WHERE sampled_at <= $1 OR sampled_at > $2 ORDER BY sampled_at";
        let others = sqlx::query(others)
            .bind((sample.at - ALL).0)
            .bind(sample.at.0)
            .all(&mut *tx, what, |row| Fields(row).time("sampled_at"))
            .await?;
        for at in superfluous(&others, sample.at).into_iter().take(PRUNED_AT_ONCE) {
            sqlx::query("DELETE FROM store_use WHERE sampled_at = $1").bind(at.0).run(&mut *tx, what).await?;
        }
        sqlx::query(
            "INSERT INTO store_use (sampled_at, packs, live, dead, staged, to_free) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (sampled_at) DO NOTHING",
        )
        .bind(sample.at.0)
        .bind(to_sql(sample.packs))
        .bind(to_sql(sample.live))
        .bind(to_sql(sample.dead))
        .bind(to_sql(sample.staged))
        .bind(to_sql(sample.to_free))
        .run(&mut *tx, what)
        .await?;
        tx.commit().await
    }

    /// The samples of a span of time, both ends included, oldest first. As many as there are: a few hundred in all,
    /// unless the store is swept again and again.
    pub(crate) async fn samples(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Sample>, StoreError> {
        sqlx::query("SELECT * FROM store_use WHERE sampled_at >= $1 AND sampled_at <= $2 ORDER BY sampled_at")
            .bind(from.0)
            .bind(to.0)
            .all(self.reader(), "read the store's use", sample)
            .await
    }
}

fn sample(row: &AnyRow) -> Result<Sample, StoreError> {
    let fields = Fields(row);
    Ok(Sample {
        at: fields.time("sampled_at")?,
        packs: fields.number("packs")?,
        live: fields.number("live")?,
        dead: fields.number("dead")?,
        staged: fields.number("staged")?,
        to_free: fields.number("to_free")?,
    })
}
