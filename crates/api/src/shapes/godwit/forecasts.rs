//! What runs will read, store and take.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `GetForecast`.
    GetForecastRequest {
        /// Which job.
        replication_job_id: String,
    }

    /// Answer of `GetForecast`. A job that makes no more runs has nothing of it.
    GetForecastResponse {
        /// Which job.
        replication_job_id: String,
        /// When that was told.
        made_on: EpochSeconds,
        /// Of the first copy, until there is one.
        first_copy: Option<ForecastDescription>,
        /// Of the run that is due next behind it.
        next_run: Option<ForecastDescription>,
        /// Of a last run, if the server were stopped now: its time is how long the server is away.
        cut_over: Option<ForecastDescription>,
    }

    /// What a run is expected to move and take.
    ForecastDescription {
        /// `FIRST_COPY` or `CHANGES`.
        looks_at: String,
        /// When it is due.
        due_on: Option<EpochSeconds>,
        /// Seconds in which the changes are made that it reads.
        seconds_of_changes: Option<f64>,
        /// Bytes asked from the source. Absent if no run has shown it yet; so are the next two.
        bytes_read: Option<ByteRange>,
        /// Bytes added to the store.
        bytes_stored: Option<ByteRange>,
        /// From start to end.
        seconds: Option<SecondRange>,
        /// What that was told from, in words.
        basis: String,
        /// How far off it was: of runs that have completed.
        error: Option<ForecastErrorDescription>,
    }

    /// Bytes with their bounds.
    ByteRange {
        /// It will hardly be less.
        low: u64,
        /// As often more as less.
        likely: u64,
        /// It will hardly be more.
        high: u64,
    }

    /// Seconds with their bounds.
    SecondRange {
        /// It will hardly be less.
        low: f64,
        /// As often more as less.
        likely: f64,
        /// It will hardly be more.
        high: f64,
    }

    /// What was, divided by what was likely: 1 is as forecast. Absent if there was no forecast, or one of nothing.
    ForecastErrorDescription {
        /// Of bytes read.
        bytes_read: Option<f64>,
        /// Of bytes stored.
        bytes_stored: Option<f64>,
        /// Of the time.
        seconds: Option<f64>,
    }
}
