//! The state of the decision line, in SQL.
//!
//! # What do we store?
//!
//! Connectors and what their VM managers said of themselves; the servers they found; jobs, their schedule and state;
//! runs, the stage they are in, their volumes with figures, and the packs that a run has begun or made durable (the
//! ledger from which it goes on after a crash), and what was forecast of it; what every image and snapshot is; how much the store held, over time; what is told to whom, and how far that
//! is; what keys are called and whether they may be used; users, their policies and access keys, wrapped; roles; passwords, sign-in
//! links and sessions, as digests; the audit trail. Not stored: material of keys, blocks, digests of blocks, logs, rates, anything that a restart may forget.
//!
//! # Consistency
//!
//! Every method is one transaction, and a change of state is in the same transaction as its outcome: a run that is at
//! Cleaning *has* its image rows. Changes of a run or a job follow `model::run::step` and `model::job::step`, and
//! name the fence that they are based on: whoever is late gets [`StoreError::Stale`] and changes nothing. Unique
//! indexes hold what must never be: two live jobs of a server, two runs at work in a job.
//!
//! # Retries
//!
//! None here. A transaction that failed has changed nothing; the caller may make it again.
//!
//! # Cancellation
//!
//! A method that is dropped before its commit has changed nothing; dropped during its commit, either everything or
//! nothing.
//!
//! # Completion
//!
//! When a method returns `Ok`, the change is on disk (`synchronous = FULL`).
//!
//! # Crash consistency
//!
//! SQLite's write-ahead log. After a crash the last committed transaction is there and nothing of a later one.
//!
//! SQL is kept to what SQLite and PostgreSQL both take: `$1` placeholders, TEXT and BIGINT columns, ON CONFLICT.

mod access;
mod audit;
mod beside;
mod caps;
mod catalog;
mod connectors;
mod damage;
mod error;
mod events;
mod forecasts;
mod images;
mod job_end;
mod jobs;
mod key_uses;
mod keys;
mod leftovers;
mod notifications;
mod packs;
mod policies;
mod query;
mod row;
mod run_steps;
mod runs;
mod scrubs;
mod sessions;
mod store_use;
mod sweeps;
mod trail;
mod users;
mod verifications;
mod writing;

pub(crate) use beside::BesideJobs;

pub(crate) use audit::AuditQuery;

pub(crate) use access::AccessDenied;
pub(crate) use caps::RunCapDenied;
pub(crate) use catalog::CatalogRow;
pub(crate) use connectors::{ConnectorUpdate, Removal, Updated};
pub use error::StoreError;
pub(crate) use forecasts::ForecastRecord;
pub(crate) use jobs::{CreateDenied, DeleteDenied, JobRecord, NewJobRecord, NextStart};
pub(crate) use key_uses::User;
pub(crate) use keys::{Chosen, KeyDenied, KeyRecord, id_of};
pub(crate) use leftovers::Leftovers;
pub(crate) use notifications::NotificationRecord;
pub(crate) use packs::PackState;
pub(crate) use query::After;
pub(crate) use run_steps::{Done, PointRecord, PointVolumeRecord};
pub(crate) use runs::{DemandDenied, Facts, RunRecord, VolumeRecord};
pub(crate) use sessions::{NewSession, SessionRecord};
pub use trail::{TrailReport, check_trail_in};
pub(crate) use users::NewKey;
pub(crate) use verifications::VerificationEnd;

use crate::changes::{Changes, Kinds};
use crate::control::Draw;
use query::Verbs;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, ConnectOptions, Connection, Executor, Row};
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;
use writing::Writing;

/// Version of the schema that this program writes.
pub const SCHEMA_VERSION: i64 = 13;

/// Readers at the same time. Requests are short; more connections would only hold memory.
const READERS: u32 = 4;

/// Longest wait for a connection, and for another process that holds the file's lock.
const LOCK_WAIT: Duration = Duration::from_secs(15);

/// Longest wait for a database that is only looked at.
const READ_ONLY_WAIT: Duration = Duration::from_secs(15);

/// How often an id that is taken is drawn anew: with 32 bits and a million rows, once is rare.
const DRAWS: usize = 64;

/// Access to the state. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    readers: AnyPool,
    /// One connection: writers queue here in order instead of polling for the file's lock.
    pub(crate) writer: AnyPool,
    changes: Changes,
    #[cfg(test)]
    pub(crate) probe: crate::testing::Probe,
}

/// A transaction that writes. Dropped without [`Tx::commit`] it changes nothing.
pub(crate) struct Tx {
    /// Gone once it is committed.
    inner: Option<Writing>,
    changes: Changes,
    #[cfg(test)]
    probe: crate::testing::Probe,
}

impl Store {
    /// Opens the database file, makes it if it is missing, and brings it to the present version. A database of a
    /// newer version is refused and left as it is.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let url = SqliteConnectOptions::new().filename(path).create_if_missing(true).to_url_lossy();
        let options =
            AnyConnectOptions::from_url(&url).map_err(|e| StoreError::database("understand the database path", e))?;
        if path.exists() {
            refuse_newer(&options).await?;
        }
        let writer = pool(&options, 1).await?;
        migrations().run(&writer).await.map_err(|e| StoreError::Migration { source: Box::new(e) })?;
        let readers = pool(&options, READERS).await?;
        Ok(Store {
            readers,
            writer,
            changes: Changes::default(),
            #[cfg(test)]
            probe: crate::testing::Probe::new(),
        })
    }

    /// Closes all connections; what was committed is on disk already.
    pub async fn close(&self) {
        at_once(async {
            self.readers.close().await;
            self.writer.close().await;
        })
        .await;
    }

    /// Lets the database grow no more, as a full disk does, until the writer connects anew.
    #[cfg(test)]
    pub(crate) async fn limit_growth(&self) {
        sqlx::query("PRAGMA max_page_count = 1").execute(&self.writer).await.unwrap();
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        #[cfg(test)]
        self.probe.begin(&self.writer).await;
        let begun = at_once(self.writer.begin_with("BEGIN IMMEDIATE")).await;
        let inner = begun.map_err(|e| StoreError::database("begin", e))?;
        Ok(Tx {
            inner: Some(Writing { inner, touched: Kinds::NONE }),
            changes: self.changes.clone(),
            #[cfg(test)]
            probe: self.probe.clone(),
        })
    }

    /// Tells what was committed.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn reader(&self) -> &AnyPool {
        &self.readers
    }
}

impl Tx {
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        #[cfg(test)]
        {
            let probe = self.probe.clone();
            probe.commit(&mut self).await.map_err(|e| StoreError::database("commit", e))?;
        }
        if let Some(Writing { inner, touched }) = self.inner.take() {
            at_once(inner.commit()).await.map_err(|e| StoreError::database("commit", e))?;
            self.changes.tell(touched);
        }
        #[cfg(test)]
        self.probe.committed().await;
        Ok(())
    }

    /// These change, although no table says so.
    pub(crate) fn touches(&mut self, kinds: Kinds) {
        self.touched = self.touched.and(kinds);
    }

    /// Draws ids until one is free. `sql` selects a row with the id `$1`.
    pub(crate) async fn fresh<I: Display>(
        &mut self,
        sql: &'static str,
        draw: &Draw,
        make: fn(u128) -> I,
    ) -> Result<I, StoreError> {
        for _ in 0..DRAWS {
            let id = make(draw());
            if !sqlx::query(sql).bind(id.to_string()).exists(&mut **self, "look for a free id").await? {
                return Ok(id);
            }
        }
        Err(StoreError::NoFreeId)
    }
}

/// `commit` takes the transaction with it.
const OPEN: &str = "a transaction is open until it is committed";

#[cfg(test)]
impl Drop for Tx {
    fn drop(&mut self) {
        crate::testing::let_go(self.inner.take());
    }
}

/// Work of the database. Where time is virtual it must take none: see `testing::database`.
#[cfg(not(test))]
async fn at_once<F: Future>(work: F) -> F::Output {
    work.await
}

#[cfg(test)]
use crate::testing::at_once;

impl Deref for Tx {
    type Target = Writing;
    fn deref(&self) -> &Self::Target {
        self.inner.as_ref().expect(OPEN)
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.inner.as_mut().expect(OPEN)
    }
}

/// All versions of the schema, oldest first.
pub(crate) fn migrations() -> Migrator {
    let migration = |version, name, sql| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "first flight", include_str!("../../migrations/0001_first_flight.sql")),
        migration(2, "life of a job", include_str!("../../migrations/0002_life_of_a_job.sql")),
        migration(3, "audit", include_str!("../../migrations/0003_audit.sql")),
        migration(4, "users and roles", include_str!("../../migrations/0004_users_and_roles.sql")),
        migration(5, "named keys", include_str!("../../migrations/0005_named_keys.sql")),
        migration(6, "notifications", include_str!("../../migrations/0006_notifications.sql")),
        migration(7, "staging", include_str!("../../migrations/0007_staging.sql")),
        migration(8, "many jobs", include_str!("../../migrations/0008_many_jobs.sql")),
        migration(9, "caps", include_str!("../../migrations/0009_caps.sql")),
        migration(10, "scrub", include_str!("../../migrations/0010_scrub.sql")),
        migration(11, "forecast", include_str!("../../migrations/0011_forecast.sql")),
        migration(12, "console", include_str!("../../migrations/0012_console.sql")),
        migration(13, "store use", include_str!("../../migrations/0013_store_use.sql")),
    ])
}

async fn pool(options: &AnyConnectOptions, connections: u32) -> Result<AnyPool, StoreError> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(LOCK_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection
                    .execute(
                        "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                         PRAGMA foreign_keys = ON;",
                    )
                    .await?;
                Ok(())
            })
        })
        .after_release(|connection, _| {
            // SQLite ends a transaction by itself when the disk is full. The driver does not notice and would take the
            // next transaction for a nested one: such a connection is closed and replaced. The ping lets a queued
            // rollback go first.
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options.clone())
        .await
        .map_err(|e| StoreError::database("open the database", e))
}

/// Looks at the version before anything is written, pragmas included.
async fn refuse_newer(options: &AnyConnectOptions) -> Result<(), StoreError> {
    const WHAT: &str = "read the database's version";
    let failed = |e| StoreError::database(WHAT, e);
    let mut connection = options.connect().await.map_err(failed)?;
    let mut found = None;
    if sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'")
        .exists(&mut connection, WHAT)
        .await?
    {
        found = sqlx::query("SELECT version FROM _sqlx_migrations ORDER BY version DESC LIMIT 1")
            .find(&mut connection, WHAT, |row| row.try_get::<i64, _>(0).map_err(|e| StoreError::database(WHAT, e)))
            .await?;
    }
    connection.close().await.map_err(failed)?;
    match found {
        Some(found) if found > SCHEMA_VERSION => Err(StoreError::NewerVersion { found, known: SCHEMA_VERSION }),
        _ => Ok(()),
    }
}
