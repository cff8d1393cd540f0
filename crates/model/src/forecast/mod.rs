//! What a run will read, store and take, told from what earlier runs did.
//!
//! ```text
//!  allocated bytes ──► first copy: bytes read ─┐
//!                                              ├─► bytes stored, time: a line over bytes read, fitted to past runs
//!  past changes ─────► k × span^p: bytes read ─┘
//! ```
//!
//! Changes grow slower than time, because a guest writes to the same blocks again: the exponent `p` is between 0 and 1,
//! and 1 if no two runs lay differently far behind the ones before them. Everything is a median, so that one absurd run
//! moves nothing. Low and high come from how far off the forecasts of past runs were, with a least width. What no run
//! has shown yet is not told: before any run there are bytes and no hours.

mod fit;
#[cfg(test)]
mod tests;

use crate::time::{Millis, Timestamp};
use fit::{Band, Law, Line, distance};
use serde::{Deserialize, Serialize};

/// Past runs of a job, or of others, that are looked at: the newest. Older ones tell of a workload that was.
pub const NEWEST: usize = 40;

/// Bytes below which a difference between forecast and run means nothing: a block.
const BYTES_GRAIN: f64 = 65_536.0;

/// The same of milliseconds.
const TIME_GRAIN: f64 = 1_000.0;

/// What a block that cannot be compressed costs in the store beyond its bytes.
const UNCOMPRESSED: f64 = 1.02;

/// Errors of so many runs say how far off the next one may be; fewer do not.
const ENOUGH_ERRORS: usize = 4;

/// An estimate with its bounds: `low` ≤ `likely` ≤ `high`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Range {
    /// It will hardly be less.
    pub low: u64,
    /// As often more as less.
    pub likely: u64,
    /// It will hardly be more.
    pub high: u64,
}

/// What a run looks at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Looked {
    /// Everything that is allocated, and nothing of it is in the store.
    FirstCopy,
    /// What the change tracker names.
    Changes,
    /// Everything, compared by digest: the change tracker was not to be trusted, or the key is another.
    Everything,
}

impl Looked {
    /// In the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Looked::FirstCopy => "FIRST_COPY",
            Looked::Changes => "CHANGES",
            Looked::Everything => "EVERYTHING",
        }
    }
}

/// What a run is expected to move and take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// What it looks at.
    pub looked: Looked,
    /// Of changes: since the point in time before.
    pub span: Option<Millis>,
    /// Content bytes asked from the source. `None`: no run has shown it yet; so of the next two.
    pub read: Option<Range>,
    /// Bytes that it adds to the store.
    pub stored: Option<Range>,
    /// Milliseconds from its start to its end.
    pub took: Option<Range>,
    /// What that was told from, in words.
    pub basis: String,
}

/// What a run moved and took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Actual {
    /// Content bytes asked from the source.
    pub read: u64,
    /// Bytes added to the store.
    pub stored: u64,
    /// Milliseconds from its start to its end.
    pub took: u64,
}

/// What a run moved and took, each divided by what was likely: 1 is as forecast, 2 twice as much.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct ForecastError {
    /// Of bytes read. `None`: there was no forecast of it, or one of nothing.
    pub read: Option<f64>,
    /// Of bytes stored.
    pub stored: Option<f64>,
    /// Of the time.
    pub took: Option<f64>,
}

/// Whose run a past one was, seen from the job that is forecast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Whose {
    /// The job's own.
    Job,
    /// Another job's at the same connector.
    Connector,
    /// Another job's elsewhere.
    Service,
}

/// A run that completed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastRun {
    /// Whose it was.
    pub whose: Whose,
    /// Its point in time.
    pub point_at: Timestamp,
    /// What it looked at.
    pub looked: Looked,
    /// What it moved and took.
    pub actual: Actual,
    /// What was forecast when it began.
    pub forecast: Option<Forecast>,
}

/// How far a first copy that is at work has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Underway {
    /// Bytes read so far.
    pub read: u64,
    /// Bytes that the walk over the volumes has not come to.
    pub ahead: u64,
}

/// What a forecast is made from. The order of runs does not matter.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Past {
    /// Virtual size of all volumes.
    pub size: u64,
    /// Bytes of them that the VM manager says are allocated, if it says so of all.
    pub allocated: Option<u64>,
    /// Runs that completed.
    pub runs: Vec<PastRun>,
    /// The first copy, if it is at work.
    pub underway: Option<Underway>,
    /// Point in time of a run at work: what changed before it is that run's.
    pub point_at_work: Option<Timestamp>,
}

impl Range {
    /// From numbers of any kind, at most `most`, put into order.
    fn of(low: f64, likely: f64, high: f64, most: u64) -> Range {
        // A cast of what is too large, negative or no number saturates.
        let likely = (likely.round() as u64).min(most);
        Range { low: (low.floor() as u64).min(likely), likely, high: (high.ceil() as u64).clamp(likely, most) }
    }

    /// Whether a number is within the bounds.
    pub fn holds(&self, number: u64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

impl Forecast {
    /// How far off it was.
    pub fn error(&self, actual: &Actual) -> ForecastError {
        let ratio = |range: Option<Range>, actual: u64| match range?.likely {
            0 => (actual == 0).then_some(1.0),
            likely => Some(actual as f64 / likely as f64),
        };
        ForecastError {
            read: ratio(self.read, actual.read),
            stored: ratio(self.stored, actual.stored),
            took: ratio(self.took, actual.took),
        }
    }
}

impl Past {
    /// Forecasts the run whose point in time is taken at `at`: the first copy if there was none, else the changes since
    /// the newest point in time.
    pub fn run_at(&self, at: Timestamp) -> Forecast {
        match self.own().map(|run| run.point_at).max() {
            None => self.first_copy(),
            Some(last) => {
                let since = self.point_at_work.map_or(last, |point| point.max(last));
                self.changes(Millis((at - since).0.max(0)))
            }
        }
    }

    /// Whether the job has made its first copy.
    pub fn has_first_copy(&self) -> bool {
        self.own().next().is_some()
    }

    fn own(&self) -> impl Iterator<Item = &PastRun> {
        self.runs.iter().filter(|run| run.whose == Whose::Job)
    }

    fn first_copy(&self) -> Forecast {
        let allocated = self.allocated.filter(|allocated| *allocated > 0).map(|allocated| allocated.min(self.size));
        let likely = allocated.unwrap_or(self.size) as f64;
        let errors = self.errors(Looked::FirstCopy);
        let told = if allocated.is_some() { "allocated bytes" } else { "the size of the volumes" };
        let (mut read, mut basis) = match errors.read.len() >= ENOUGH_ERRORS {
            true => {
                let range = Band::of(&errors.read).around(likely, BYTES_GRAIN, self.size);
                (range, format!("bytes: {told}, and the errors of {}", runs(errors.read.len(), Whose::Service)))
            }
            // What is allocated may be zeros, and more may be in a compressed image than it takes.
            false => (Range::of(0.0, likely, self.size as f64, self.size), format!("bytes: {told}")),
        };
        if let Some(Underway { read: done, ahead }) = self.underway {
            let most = done.saturating_add(ahead);
            let within = |n: u64| n.clamp(done, most);
            read = Range { low: within(read.low), likely: within(read.likely), high: within(read.high) };
            basis.push_str(", and what the run has read so far");
        }
        self.complete(Looked::FirstCopy, None, read, &errors, basis)
    }

    fn changes(&self, span: Millis) -> Forecast {
        let samples = self.change_samples();
        if samples.is_empty() {
            let basis = "no run of changes yet: how much changes is not known".to_owned();
            let looked = Looked::Changes;
            return Forecast { looked, span: Some(span), read: None, stored: None, took: None, basis };
        }
        let points: Vec<(f64, f64)> = samples.iter().map(|(span, run)| (*span, run.actual.read as f64)).collect();
        let law = Law::of(&points);
        let likely = law.at(span.0 as f64).min(self.size as f64);
        let mut errors = self.errors(Looked::Changes);
        // A run without a forecast tells how far off the law is.
        let unforecast = samples.iter().filter(|(_, run)| run.forecast_of(Looked::Changes).is_none());
        errors.read.extend(unforecast.map(|(span, run)| distance(run.actual.read as f64, law.at(*span), BYTES_GRAIN)));
        let read = Band::of(&errors.read).around(likely, BYTES_GRAIN, self.size);
        let basis = format!("bytes: changes of {}", runs(samples.len(), Whose::Job));
        self.complete(Looked::Changes, Some(span), read, &errors, basis)
    }

    /// Adds what follows from the bytes read.
    fn complete(
        &self,
        looked: Looked,
        span: Option<Millis>,
        read: Range,
        errors: &Errors,
        mut basis: String,
    ) -> Forecast {
        let (pool, whose) = self.pool(looked);
        let like = pool.iter().filter(|run| run.looked == looked).copied();
        let stored: Vec<_> = like.map(|run| (run.actual.read as f64, run.actual.stored as f64)).collect();
        let most = (self.size as f64 * UNCOMPRESSED + BYTES_GRAIN).ceil() as u64;
        let stored = match Line::of(&stored) {
            Some(line) => line.through(read, &errors.stored, BYTES_GRAIN, most),
            // How well it compresses is not known: as if not at all.
            None => Range::of(0.0, read.likely as f64, read.high as f64 * UNCOMPRESSED + BYTES_GRAIN, most),
        };
        let took: Vec<_> = pool.iter().map(|run| (run.actual.read as f64, run.actual.took as f64)).collect();
        let took = Line::of(&took).map(|line| line.through(read, &errors.took, TIME_GRAIN, i64::MAX as u64));
        match took {
            Some(_) => basis.push_str(&format!("; time: {}", runs(pool.len(), whose))),
            None => basis.push_str("; no run yet: no hours"),
        }
        Forecast { looked, span, read: Some(read), stored: Some(stored), took, basis }
    }

    /// Runs that tell how long one takes: the nearest that are two or more, because one does not tell what a run takes
    /// that reads nothing.
    fn pool(&self, looked: Looked) -> (Vec<&PastRun>, Whose) {
        let mut best = (Vec::new(), Whose::Job);
        for whose in [Whose::Job, Whose::Connector, Whose::Service] {
            for alike in [true, false] {
                let wanted = |run: &&PastRun| run.whose <= whose && (!alike || run.looked == looked);
                let found: Vec<_> = self.runs.iter().filter(wanted).collect();
                if found.len() >= 2 {
                    return (found, whose);
                }
                if best.0.is_empty() {
                    best = (found, whose);
                }
            }
        }
        best
    }

    /// The job's runs of changes, each with the milliseconds that it had changed in. The oldest has none before it.
    fn change_samples(&self) -> Vec<(f64, &PastRun)> {
        let mut own: Vec<&PastRun> = self.own().collect();
        own.sort_by_key(|run| (run.point_at, run.actual.read, run.actual.took));
        let pairs = own.iter().zip(own.iter().skip(1));
        let changes = pairs.filter(|(_, run)| run.looked == Looked::Changes);
        changes.map(|(before, run)| ((run.point_at - before.point_at).0.max(1) as f64, *run)).collect()
    }

    /// How far off forecasts of such runs were. A job has one first copy, so those of others count.
    fn errors(&self, looked: Looked) -> Errors {
        let mut errors = Errors::default();
        let counts = |run: &&PastRun| run.whose == Whose::Job || looked == Looked::FirstCopy;
        for run in self.runs.iter().filter(counts).filter(|run| run.looked == looked) {
            let Some(forecast) = run.forecast_of(looked) else { continue };
            let off = |range: Option<Range>, actual: u64, grain| {
                range.map(|range| distance(actual as f64, range.likely as f64, grain))
            };
            errors.read.extend(off(forecast.read, run.actual.read, BYTES_GRAIN));
            errors.stored.extend(off(forecast.stored, run.actual.stored, BYTES_GRAIN));
            errors.took.extend(off(forecast.took, run.actual.took, TIME_GRAIN));
        }
        errors
    }
}

impl PastRun {
    /// What was forecast, if that was a run of this kind and something could be told.
    fn forecast_of(&self, looked: Looked) -> Option<&Forecast> {
        self.forecast.as_ref().filter(|forecast| forecast.looked == looked && forecast.read.is_some())
    }
}

/// Logarithms of actual by likely.
#[derive(Default)]
struct Errors {
    read: Vec<f64>,
    stored: Vec<f64>,
    took: Vec<f64>,
}

fn runs(n: usize, whose: Whose) -> String {
    let runs = if n == 1 { "run" } else { "runs" };
    let whose = match whose {
        Whose::Job => "of the job",
        Whose::Connector => "at the connector",
        Whose::Service => "of the service",
    };
    format!("{n} {runs} {whose}")
}
