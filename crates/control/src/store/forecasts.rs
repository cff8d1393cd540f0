//! What is forecast of runs, and how far off it was.

use super::query::Verbs;
use super::row::{Fields, to_json, to_sql};
use super::{RunRecord, Store, StoreError, Tx};
use godwit_model::forecast::{Actual, Forecast, Looked, NEWEST, Past, PastRun, Whose};
use godwit_model::id::{ConnectorId, JobId, RunId};
use godwit_model::server::DiscoveredVolume;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// What was forecast of a run, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ForecastRecord {
    pub forecast: Forecast,
    /// Known once the run has completed.
    pub actual: Option<Actual>,
}

/// So many runs of changes of its own tell all that a job's next one is forecast from.
const OWN_SUFFICE: usize = 2;

/// Runs that have ended, with the sums over their volumes.
macro_rules! past_runs {
    () => {
        "SELECT run.job_id, run.point_at, run.started_at, run.completed_at, server.connector_id, f.forecast, \
         (SELECT COALESCE(SUM(v.bytes_total), 0) FROM run_volume v WHERE v.run_id = run.run_id) AS bytes_total, \
         (SELECT COALESCE(SUM(v.bytes_read), 0) FROM run_volume v WHERE v.run_id = run.run_id) AS bytes_read, \
         (SELECT COALESCE(SUM(v.bytes_stored), 0) FROM run_volume v WHERE v.run_id = run.run_id) AS bytes_stored, \
         (SELECT COALESCE(MIN(v.tracked), 0) FROM run_volume v WHERE v.run_id = run.run_id) AS tracked, \
         (SELECT COUNT(v.parent_id) FROM run_volume v WHERE v.run_id = run.run_id) AS parents \
         FROM run JOIN job ON job.job_id = run.job_id JOIN server ON server.server_id = job.server_id \
         LEFT JOIN run_forecast f ON f.run_id = run.run_id \
         WHERE run.point_at IS NOT NULL AND run.started_at IS NOT NULL AND run.completed_at IS NOT NULL "
    };
}

/// The job's own runs, the newest ones.
const OWN: &str =
    concat!(past_runs!(), "AND run.job_id = $1 AND run.state = 'COMPLETED' ORDER BY run.completed_at DESC LIMIT $2");

/// Those of other jobs among the newest of all. Only a run that completed has an end there; its state is not asked for,
/// so that no index by state is read through.
const OTHERS: &str = concat!(
    past_runs!(),
    "AND run.job_id <> $1 AND run.run_id IN (SELECT newest.run_id FROM run_forecast newest \
     WHERE newest.ended_at IS NOT NULL ORDER BY newest.ended_at DESC LIMIT $2)"
);

/// A row of [`past_runs`].
struct Row {
    connector: Option<ConnectorId>,
    bytes_total: u64,
    run: PastRun,
}

impl Store {
    /// What forecasts of a job are made from; nothing of a job that there is not.
    pub(crate) async fn past(&self, job: &JobId) -> Result<Past, StoreError> {
        let server = sqlx::query(
            "SELECT server.volumes, server.connector_id FROM job JOIN server ON server.server_id = job.server_id \
             WHERE job.job_id = $1",
        )
        .bind(job.to_string())
        .find(self.reader(), "read the volumes of a server", |row| {
            let fields = Fields(row);
            Ok((fields.json::<Vec<DiscoveredVolume>>("volumes")?, fields.opt_id::<ConnectorId>("connector_id")?))
        })
        .await?;
        let Some((volumes, connector)) = server else { return Ok(Past::default()) };
        let own = self.past_runs(OWN, job).await?;
        // A disk may have grown since the catalog was imported.
        let known = own.first().map_or(0, |newest| newest.bytes_total);
        let size = volumes.iter().fold(0, |sum: u64, volume| sum.saturating_add(volume.size)).max(known);
        let allocated = volumes.iter().try_fold(0, |sum: u64, volume| Some(sum.saturating_add(volume.allocated?)));
        let mut runs: Vec<PastRun> = own.into_iter().map(|row| PastRun { whose: Whose::Job, ..row.run }).collect();
        if runs.iter().filter(|run| run.looked == Looked::Changes).count() < OWN_SUFFICE {
            let others = self.past_runs(OTHERS, job).await?;
            runs.extend(others.into_iter().map(|row| {
                let beside = connector.is_some() && row.connector == connector;
                PastRun { whose: if beside { Whose::Connector } else { Whose::Service }, ..row.run }
            }));
        }
        Ok(Past { size, allocated, runs, ..Past::default() })
    }

    /// What was forecast of these runs, as far as anything was.
    pub(crate) async fn forecasts_of(&self, runs: &[RunId]) -> Result<HashMap<RunId, ForecastRecord>, StoreError> {
        let head = "SELECT * FROM run_forecast WHERE run_id IN ";
        let rows = self.of_all(head, runs, "", "read the forecasts of runs", |row| {
            Ok((Fields(row).id("run_id")?, forecast_record(row)?))
        });
        Ok(rows.await?.into_iter().collect())
    }

    /// What is forecast of a pending run if it begins now.
    pub(super) async fn forecast_of(&self, run: &RunId, now: Timestamp) -> Result<Forecast, StoreError> {
        let run = self.run(run).await?.ok_or(StoreError::Stale)?;
        Ok(self.past(&run.job).await?.run_at(now))
    }

    async fn past_runs(&self, sql: &'static str, job: &JobId) -> Result<Vec<Row>, StoreError> {
        sqlx::query(sql)
            .bind(job.to_string())
            .bind(to_sql(NEWEST))
            .all(self.reader(), "read what past runs moved", past_run)
            .await
    }
}

/// Writes down what is forecast of a run that begins.
pub(super) async fn write_forecast(tx: &mut Tx, run: &RunId, forecast: &Forecast) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO run_forecast (run_id, forecast) VALUES ($1, $2)")
        .bind(run.to_string())
        .bind(to_json(forecast))
        .run(&mut **tx, "write down a forecast")
        .await?;
    Ok(())
}

/// Writes down what a run that completes now has moved and taken.
pub(super) async fn record_actual(tx: &mut Tx, run: &RunRecord, now: Timestamp) -> Result<(), StoreError> {
    let took = run.started_at.map(|started| (now - started).0.max(0));
    sqlx::query(
        "UPDATE run_forecast SET took = $1, ended_at = $3, \
         bytes_read = (SELECT COALESCE(SUM(v.bytes_read), 0) FROM run_volume v WHERE v.run_id = $2), \
         bytes_stored = (SELECT COALESCE(SUM(v.bytes_stored), 0) FROM run_volume v WHERE v.run_id = $2) \
         WHERE run_id = $2",
    )
    .bind(took)
    .bind(run.id.to_string())
    .bind(now.0)
    .run(&mut **tx, "write down how far off a forecast was")
    .await?;
    Ok(())
}

fn forecast_record(row: &AnyRow) -> Result<ForecastRecord, StoreError> {
    let fields = Fields(row);
    let numbers = (fields.opt_number("bytes_read")?, fields.opt_number("bytes_stored")?, fields.opt_number("took")?);
    let actual = match numbers {
        (Some(read), Some(stored), Some(took)) => Some(Actual { read, stored, took }),
        _ => None,
    };
    Ok(ForecastRecord { forecast: fields.json("forecast")?, actual })
}

fn past_run(row: &AnyRow) -> Result<Row, StoreError> {
    let fields = Fields(row);
    let looked = match (fields.truth("tracked")?, fields.int("parents")?) {
        (true, _) => Looked::Changes,
        (false, 0) => Looked::FirstCopy,
        (false, _) => Looked::Everything,
    };
    let took = fields.time("completed_at")? - fields.time("started_at")?;
    let run = PastRun {
        whose: Whose::Service,
        point_at: fields.time("point_at")?,
        looked,
        actual: Actual {
            read: fields.number("bytes_read")?,
            stored: fields.number("bytes_stored")?,
            took: took.0.max(0).unsigned_abs(),
        },
        forecast: match fields.opt_text("forecast")? {
            Some(_) => Some(fields.json("forecast")?),
            None => None,
        },
    };
    Ok(Row { connector: fields.opt_id("connector_id")?, bytes_total: fields.number("bytes_total")?, run })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn however_many_runs_there_are_the_newest_are_found_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        for (sql, index) in [(OWN, "run_by_end (job_id=?"), (OTHERS, "run_forecast_by_end (ended_at>?)")] {
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .bind("sms-job-00000001")
                .bind(1)
                .all(store.reader(), "read a plan", |row| Fields(row).text("detail"))
                .await
                .unwrap();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("SCAN ") || step.contains("run_by_state")), "{plan:#?}");
        }
    }
}
