//! Why the store did not do what was asked.

use godwit_model::failure::{Code, Failure};
use godwit_model::{job, run};

/// Why the store did not do what was asked. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer Godwit.
    #[error("the database has version {found}, this program knows versions up to {known}: start the newer program")]
    NewerVersion {
        /// What it is.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// The database could not be brought to the present version.
    #[error("cannot bring the database to the present version")]
    Migration {
        /// What the migration said.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// The database failed.
    #[error("cannot {what}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A row holds what was never written there.
    #[error("the database holds '{value}' as {what}")]
    Unreadable {
        /// Which column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
    /// The change was based on a state that is no more.
    #[error("the change came late: the state has moved on")]
    Stale,
    /// No free id was found.
    #[error("no free id was found: is the source of randomness broken?")]
    NoFreeId,
    /// A rule of the model forbids the step of a run.
    #[error("a run cannot take this step")]
    RunStep(#[from] run::Denied),
    /// A rule of the model forbids the step of a job.
    #[error("a job cannot take this step")]
    JobStep(#[from] job::Denied),
}

impl StoreError {
    pub(crate) fn database(what: &'static str, source: sqlx::Error) -> Self {
        StoreError::Database { what, source }
    }

    pub(crate) fn unreadable(what: &'static str, value: impl Into<String>) -> Self {
        StoreError::Unreadable { what, value: value.into() }
    }

    /// The same as what a run ends with. Whether the disk is full is told by SQLite's own result code.
    pub(crate) fn to_failure(&self) -> Failure {
        let code = match self {
            StoreError::Database { source: sqlx::Error::Database(error), .. } if is_full(error.code().as_deref()) => {
                Code::StoreFull
            }
            StoreError::Database { .. } => Code::StoreUnavailable,
            StoreError::Stale => Code::Cancelled,
            _ => Code::Internal,
        };
        let mut evidence = format!("the state database: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            evidence.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Failure::new(code, evidence)
    }
}

/// SQLITE_FULL, whatever the extended part of the code says.
fn is_full(code: Option<&str>) -> bool {
    code.and_then(|c| c.parse::<i64>().ok()).is_some_and(|c| c & 0xff == 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_and_late_writers_are_not_failures_of_the_store() {
        assert!(is_full(Some("13")) && is_full(Some("269")) && !is_full(Some("5")) && !is_full(None));
        assert_eq!(StoreError::Stale.to_failure().code, Code::Cancelled);
        let failure = StoreError::database("commit", sqlx::Error::PoolTimedOut).to_failure();
        assert_eq!(failure.code, Code::StoreUnavailable);
        assert!(failure.evidence.starts_with("the state database: cannot commit: "), "{failure}");
    }
}
