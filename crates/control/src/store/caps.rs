//! Caps: how fast may be read.

use super::query::Verbs;
use super::row::Fields;
use super::{Store, StoreError};
use godwit_model::cap::Cap;
use godwit_model::connector::ConnectorConfig;
use godwit_model::id::RunId;
use godwit_model::run::RunState;

/// The row of the cap over everything.
const TOTAL: &str = "total_cap";

/// What counts at the moment, as far as anything does.
#[derive(Clone, Debug)]
pub(crate) struct CapsRecord {
    pub total: Option<Cap>,
    pub connectors: Vec<(ConnectorConfig, Cap)>,
    /// Of runs at work: their own, or else their job's.
    pub runs: Vec<(RunId, Cap)>,
}

/// Why a run's cap is not changed.
#[derive(Debug)]
pub(crate) enum RunCapDenied {
    Unknown,
    Ended(RunState),
}

impl Store {
    pub(crate) async fn caps(&self) -> Result<CapsRecord, StoreError> {
        let what = "read the caps";
        let connectors = sqlx::query("SELECT config, cap FROM connector WHERE cap IS NOT NULL")
            .all(self.reader(), what, |row| Ok((Fields(row).json("config")?, Fields(row).id("cap")?)))
            .await?;
        let runs = sqlx::query(
            "SELECT run.run_id AS run_id, COALESCE(run.cap, job.cap) AS cap FROM run JOIN job ON job.job_id = run.job_id \
             WHERE run.state = 'ACTIVE' AND COALESCE(run.cap, job.cap) IS NOT NULL",
        )
        .all(self.reader(), what, |row| Ok((Fields(row).id("run_id")?, Fields(row).id("cap")?)))
        .await?;
        Ok(CapsRecord { total: self.total_cap().await?, connectors, runs })
    }

    pub(crate) async fn total_cap(&self) -> Result<Option<Cap>, StoreError> {
        sqlx::query("SELECT value FROM service_limit WHERE name = $1")
            .bind(TOTAL)
            .find(self.reader(), "read the cap over everything", |row| Fields(row).id("value"))
            .await
    }

    pub(crate) async fn set_total_cap(&self, cap: Option<&Cap>) -> Result<(), StoreError> {
        let (mut tx, what) = (self.begin().await?, "change the cap over everything");
        sqlx::query("DELETE FROM service_limit WHERE name = $1").bind(TOTAL).run(&mut *tx, what).await?;
        if let Some(cap) = cap {
            sqlx::query("INSERT INTO service_limit (name, value) VALUES ($1, $2)")
                .bind(TOTAL)
                .bind(cap.to_string())
                .run(&mut *tx, what)
                .await?;
        }
        tx.commit().await
    }

    /// Only of a run that is not over. Its fence stays: what it is doing goes on.
    pub(crate) async fn set_run_cap(
        &self,
        id: &RunId,
        cap: Option<&Cap>,
    ) -> Result<Result<(), RunCapDenied>, StoreError> {
        let (mut tx, what) = (self.begin().await?, "change the cap of a run");
        let state = sqlx::query("SELECT state FROM run WHERE run_id = $1")
            .bind(id.to_string())
            .find(&mut *tx, what, |row| Fields(row).name("state", RunState::parse))
            .await?;
        match state {
            None => return Ok(Err(RunCapDenied::Unknown)),
            Some(RunState::Pending | RunState::Active) => {}
            Some(state) => return Ok(Err(RunCapDenied::Ended(state))),
        }
        sqlx::query("UPDATE run SET cap = $1 WHERE run_id = $2")
            .bind(cap.map(Cap::to_string))
            .bind(id.to_string())
            .run(&mut *tx, what)
            .await?;
        tx.commit().await?;
        Ok(Ok(()))
    }
}
