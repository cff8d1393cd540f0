//! How far the scrub of the store is, and what it found.

use super::query::Verbs;
use super::row::{Fields, to_sql};
use super::{Store, StoreError};
use crate::service::Scrub;
use godwit_model::id::PackId;
use godwit_model::scrub::Course;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

const ROW: &str = "SELECT store_scrub.*, (SELECT COUNT(*) FROM damaged_pack) AS damaged, \
                   (SELECT MIN(problem) FROM damaged_pack) AS problem FROM store_scrub";

impl Store {
    /// How far the scrub is.
    pub(crate) async fn scrub(&self) -> Result<Scrub, StoreError> {
        sqlx::query(ROW).one(self.reader(), "read how far the scrub is", scrub).await
    }

    /// Somebody wants a whole round: the one that is open is dropped for it. While one goes on on demand, that is it.
    pub(crate) async fn demand_scrub(&self) -> Result<Scrub, StoreError> {
        let mut tx = self.begin().await?;
        let what = "ask for a scrub";
        sqlx::query("UPDATE store_scrub SET on_demand = 1, is_open = 0, message = NULL WHERE on_demand = 0")
            .run(&mut *tx, what)
            .await?;
        let is = sqlx::query(ROW).one(&mut *tx, what, scrub).await?;
        tx.commit().await?;
        Ok(is)
    }

    /// Records how far it is, unless somebody asked for another round since `was` was read.
    pub(crate) async fn record_scrub(&self, was: &Scrub, is: &Scrub) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let written = sqlx::query(
            "UPDATE store_scrub SET on_demand = $1, round = $2, began_at = $3, is_open = $4, position = $5, \
             looked_at = $6, packs = $7, bytes = $8, bytes_total = $9, skipped = $10, ended_at = $11, message = $12 \
             WHERE on_demand = $13 AND is_open = $14 AND round = $15",
        )
        .bind(i64::from(is.course.on_demand))
        .bind(to_sql(is.round))
        .bind(is.course.began_at.map(|at| at.0))
        .bind(i64::from(is.course.is_open))
        .bind(is.course.position.map(|pack| PackId::from_bits(pack).to_string()))
        .bind(is.course.looked_at.map(|at| at.0))
        .bind(to_sql(is.packs))
        .bind(to_sql(is.course.bytes))
        .bind(to_sql(is.bytes_total))
        .bind(to_sql(is.skipped))
        .bind(is.ended_at.map(|at| at.0))
        .bind(is.message.clone())
        .bind(i64::from(was.course.on_demand))
        .bind(i64::from(was.course.is_open))
        .bind(to_sql(was.round))
        .run(&mut *tx, "record how far the scrub is")
        .await?;
        if written == 0 {
            return Err(StoreError::Stale);
        }
        tx.commit().await
    }

    /// A pack was checked: `problem` says what is wrong with it.
    pub(crate) async fn record_pack(
        &self,
        pack: &PackId,
        problem: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let what = "record a damaged pack";
        let id = pack.to_string();
        let mut tx = self.begin().await?;
        match problem {
            Some(problem) => {
                sqlx::query(
                    "INSERT INTO damaged_pack (pack_id, found_at, problem, traced) VALUES ($1, $2, $3, 0) \
                     ON CONFLICT (pack_id) DO UPDATE SET problem = excluded.problem, traced = 0",
                )
                .bind(id)
                .bind(now.0)
                .bind(problem.to_owned())
                .run(&mut *tx, what)
                .await?
            }
            None => sqlx::query("DELETE FROM damaged_pack WHERE pack_id = $1").bind(id).run(&mut *tx, what).await?,
        };
        tx.commit().await
    }

    /// Packs that proved damaged; only those whose harm is not on record yet, if `untraced`.
    pub(crate) async fn damaged_packs(&self, untraced: bool) -> Result<Vec<PackId>, StoreError> {
        sqlx::query("SELECT pack_id FROM damaged_pack WHERE traced = 0 OR $1 = 0 ORDER BY pack_id")
            .bind(i64::from(untraced))
            .all(self.reader(), "read which packs are damaged", |row| Fields(row).id("pack_id"))
            .await
    }
}

fn scrub(row: &AnyRow) -> Result<Scrub, StoreError> {
    let fields = Fields(row);
    let position = fields.opt_id::<PackId>("position")?;
    Ok(Scrub {
        round: fields.number("round")?,
        course: Course {
            on_demand: fields.truth("on_demand")?,
            began_at: fields.opt_time("began_at")?,
            is_open: fields.truth("is_open")?,
            position: position.map(|pack| u128::from_be_bytes(pack.to_bytes())),
            bytes: fields.number("bytes")?,
            looked_at: fields.opt_time("looked_at")?,
        },
        packs: fields.number("packs")?,
        bytes_total: fields.number("bytes_total")?,
        skipped: fields.number("skipped")?,
        ended_at: fields.opt_time("ended_at")?,
        damaged_packs: fields.number("damaged")?,
        problem: fields.opt_text("problem")?,
        message: fields.opt_text("message")?,
    })
}
