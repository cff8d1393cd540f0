//! The connection of a transaction that writes: notes which tables it changes, so that its commit can tell.
//!
//! Every statement of a transaction goes through [`Writing`], whoever makes it. So a change cannot be forgotten, and a
//! test sees to it that somebody has decided of each table which kind of thing it is.

use crate::changes::{Kind, Kinds};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::error::BoxDynError;
use sqlx::{Any, AnyConnection, Either, Error, Execute, Executor, SqlStr, Transaction};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// An open transaction and what it has changed so far.
pub(crate) struct Writing {
    pub(super) inner: Transaction<'static, Any>,
    pub(super) touched: Kinds,
}

impl Writing {
    fn note(&mut self, sql: &str) {
        self.touched = changed_by(sql).map_or(self.touched, |table| self.touched.and(kinds_of(table)));
    }
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").field("touched", &self.touched).finish_non_exhaustive()
    }
}

impl Deref for Writing {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

impl<'c> Executor<'c> for &'c mut Writing {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let query = Noted::of(query);
        self.note(query.sql.as_str());
        (&mut *self.inner).fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let query = Noted::of(query);
        self.note(query.sql.as_str());
        (&mut *self.inner).fetch_optional(query)
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        (&mut *self.inner).prepare_with(sql, parameters)
    }
}

/// A statement whose text was looked at: a query gives it away only once.
struct Noted {
    sql: SqlStr,
    arguments: Option<Result<Option<AnyArguments>, BoxDynError>>,
    persistent: bool,
}

impl Noted {
    fn of<'q>(mut query: impl Execute<'q, Any>) -> Noted {
        let (arguments, persistent) = (Some(query.take_arguments()), query.persistent());
        Noted { sql: query.sql(), arguments, persistent }
    }
}

impl Execute<'_, Any> for Noted {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&AnyStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, BoxDynError> {
        self.arguments.take().unwrap_or(Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// The table that a statement changes; `None` if it only reads.
fn changed_by(sql: &str) -> Option<&str> {
    let mut words = sql.split_ascii_whitespace();
    let table = match (words.next()?, words.next()?) {
        ("UPDATE", table) => table,
        ("INSERT", "INTO") | ("DELETE", "FROM") => words.next()?,
        _ => return None,
    };
    table.split('(').next()
}

/// What people take a table's rows for.
fn kinds_of(table: &str) -> Kinds {
    let kind = match table {
        "job" => Kind::Jobs,
        "run" | "run_forecast" => Kind::Runs,
        "run_volume" | "pack_ledger" => Kind::Progress,
        "server" => Kind::Servers,
        "catalog" => Kind::Catalog,
        "connector" => Kind::Connectors,
        "image" | "image_volume" | "image_verification" => Kind::Images,
        "snapshot" => Kind::Snapshots,
        // Something was removed from the store that no other table knew.
        "released_packs" | "damaged_pack" | "leftover" | "store_scrub" | "store_sweep" => Kind::Store,
        "store_use" => Kind::StoreUse,
        "notification" => Kind::Notifications,
        "service_user" | "user_policy" | "user_password" | "access_key" => Kind::Users,
        "access_policy" => Kind::Policies,
        "job_role" => Kind::Roles,
        "named_key" | "key_alias" => Kind::Keys,
        "service_limit" => Kind::Limits,
        _ => return Kinds::NONE,
    };
    Kinds::of(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, migrations};
    use std::collections::BTreeSet;

    /// Tables that nobody looks at, or of whose changes another place tells.
    const UNSHOWN: [&str; 8] = [
        // Records of changes tell of themselves: see `Kind::Audit`.
        "audit",
        "audit_chain",
        "audit_intent",
        "baseline",
        "console_session",
        // What is told of a job; who is told is in `notification`.
        "job_event",
        "sign_in_link",
        "suspect",
    ];

    #[test]
    fn of_every_table_it_is_decided_whether_its_changes_are_told() {
        let mut tables = BTreeSet::new();
        for migration in migrations().iter() {
            for line in migration.sql.as_str().lines() {
                tables.extend(
                    line.strip_prefix("CREATE TABLE ")
                        .and_then(|rest| rest.split_whitespace().next())
                        .map(str::to_owned),
                );
            }
        }
        assert!(tables.len() > 30, "{tables:?}");
        for table in &tables {
            let is_told = kinds_of(table) != Kinds::NONE;
            assert!(is_told != UNSHOWN.contains(&table.as_str()), "{table}: told or not?");
        }
    }

    #[test]
    fn the_table_of_a_statement_is_found() {
        for (sql, table) in [
            ("INSERT INTO run_volume (run_id) VALUES ($1)", Some("run_volume")),
            ("INSERT INTO job(job_id) VALUES ($1)", Some("job")),
            ("UPDATE job SET state = $1", Some("job")),
            ("DELETE FROM image WHERE image_id = $1 RETURNING image_id", Some("image")),
            ("SELECT * FROM job", None),
            ("PRAGMA x", None),
            ("", None),
        ] {
            assert_eq!(changed_by(sql), table, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_is_committed_is_told_and_what_is_not_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        let heard = store.changes().listen();
        let add = "INSERT INTO service_user (user_name, enabled, created_at) VALUES ('u', 1, 0)";
        let mut tx = store.begin().await.unwrap();
        sqlx::query(add).execute(&mut *tx).await.unwrap();
        drop(tx);
        assert_eq!(heard.borrow().last, 0, "rolled back");
        let mut tx = store.begin().await.unwrap();
        sqlx::query(add).execute(&mut *tx).await.unwrap();
        assert_eq!(heard.borrow().last, 0, "not committed yet");
        tx.commit().await.unwrap();
        assert_eq!((heard.borrow().last, heard.borrow().since(0)), (1, vec![Kind::Users]));
        let mut tx = store.begin().await.unwrap();
        sqlx::query("SELECT user_name FROM service_user").fetch_all(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(heard.borrow().last, 1, "only read");
    }
}
