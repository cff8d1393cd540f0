//! What a job's runs will move and take.

use super::{Answer, Run, Service};
use godwit_model::forecast::{Actual, Forecast, ForecastError, Underway};
use godwit_model::id::JobId;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Timestamp;

/// What a job's runs will move and take, as it looks now.
#[derive(Clone, PartialEq, Debug)]
pub struct JobForecast {
    /// Which job.
    pub job: JobId,
    /// When that was told.
    pub made_at: Timestamp,
    /// Of the first copy, until there is one.
    pub first_copy: Option<Forecast>,
    /// When the next run behind the first copy is due, and what it will be.
    pub next_run: Option<(Timestamp, Forecast)>,
    /// If the server were stopped now and a last run made: its time is how long the server is away.
    pub cut_over: Option<Forecast>,
}

/// What was forecast of a run when it began, and how far off that was.
#[derive(Clone, PartialEq, Debug)]
pub struct RunForecast {
    /// The forecast.
    pub forecast: Forecast,
    /// Known once the run has completed.
    pub outcome: Option<(Actual, ForecastError)>,
}

impl Service {
    /// `GetForecast`: nothing is forecast of a job that makes no more runs.
    pub async fn get_forecast(&self, job_id: &str, now: Timestamp) -> Answer<JobForecast> {
        let record = self.job_named(job_id).await?;
        let (id, state) = (record.id.clone(), record.state);
        let mut told = JobForecast { job: id.clone(), made_at: now, first_copy: None, next_run: None, cut_over: None };
        if !state.is_running() && state != JobState::PausedOnFailure {
            return Ok(told);
        }
        let job = self.job(record).await?;
        let mut past = self.line.store.past(&id).await?;
        let at_work = job.latest_runs.into_iter().find(|run| run.state == RunState::Active);
        past.point_at_work = at_work.as_ref().and_then(|run| run.point_at);
        if past.has_first_copy() {
            told.next_run = job.next_start.map(|at| (at, past.run_at(at.max(now))));
        } else {
            past.underway = at_work.and_then(|run| underway(&run));
            told.first_copy = Some(past.run_at(now));
        }
        told.cut_over = Some(past.run_at(now));
        Ok(told)
    }
}

/// How far a first copy has come; nothing before its point in time.
fn underway(run: &Run) -> Option<Underway> {
    let mut sum = Underway::default();
    for volume in &run.volumes {
        let figures = volume.figures;
        sum.read = sum.read.saturating_add(figures.bytes_read);
        sum.ahead = sum.ahead.saturating_add(figures.bytes_total.saturating_sub(figures.bytes_done));
    }
    (!run.volumes.is_empty()).then_some(sum)
}
