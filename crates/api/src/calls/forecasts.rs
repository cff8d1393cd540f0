//! What runs will read, store and take.

use super::Outcome;
use crate::shapes::godwit::{
    ByteRange, ForecastDescription, ForecastErrorDescription, GetForecastRequest, GetForecastResponse, SecondRange,
};
use godwit_control::service::{RunForecast, Service};
use godwit_model::forecast::{Forecast, Range};
use godwit_model::time::Timestamp;

/// `GetForecast`.
pub async fn get(service: &Service, now: Timestamp, request: GetForecastRequest) -> Outcome<GetForecastResponse> {
    let told = service.get_forecast(&request.replication_job_id, now).await?;
    Ok(GetForecastResponse {
        replication_job_id: told.job.to_string(),
        made_on: told.made_at.into(),
        first_copy: told.first_copy.map(description),
        next_run: told
            .next_run
            .map(|(due, forecast)| ForecastDescription { due_on: Some(due.into()), ..description(forecast) }),
        cut_over: told.cut_over.map(description),
    })
}

/// What was forecast of a run, and what became of it.
pub fn of_run(run: RunForecast) -> ForecastDescription {
    let error = run.outcome.map(|(_, error)| ForecastErrorDescription {
        bytes_read: error.read,
        bytes_stored: error.stored,
        seconds: error.took,
    });
    ForecastDescription { error, ..description(run.forecast) }
}

fn description(forecast: Forecast) -> ForecastDescription {
    let bytes = |Range { low, likely, high }| ByteRange { low, likely, high };
    ForecastDescription {
        looks_at: forecast.looked.as_str().to_owned(),
        due_on: None,
        seconds_of_changes: forecast.span.map(|span| span.0 as f64 / 1e3),
        bytes_read: forecast.read.map(bytes),
        bytes_stored: forecast.stored.map(bytes),
        seconds: forecast.took.map(|Range { low, likely, high }| {
            let [low, likely, high] = [low, likely, high].map(|ms| ms as f64 / 1e3);
            SecondRange { low, likely, high }
        }),
        basis: forecast.basis,
        error: None,
    }
}
