//! Users, their access keys, and the policies that are attached to them.

use super::access::{AccessDenied, Change, commit_access, has_administrator};
use super::query::{After, Order, Verbs};
use super::row::Fields;
use super::sessions::{end_sessions, end_sessions_of_key};
use super::{Store, StoreError, Tx};
use crate::hex;
use crate::service::{AccessKey, User};
use godwit_model::policy::BuiltIn;
use godwit_model::time::Timestamp;
use sqlx::AnyExecutor;
use sqlx::any::AnyRow;

/// Access keys of a user at most: one in use, and one to change over to.
const MOST_KEYS: usize = 2;

/// A key to write.
pub(crate) struct NewKey<'a> {
    pub id: &'a str,
    pub wrapped: &'a [u8],
}

impl Store {
    /// Adds a user. Names that differ in capitals only are taken too.
    pub(crate) async fn add_user(&self, name: &str, policies: &[String], now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        let what = "add a user";
        let taken = sqlx::query("SELECT user_name FROM service_user WHERE LOWER(user_name) = $1")
            .bind(name.to_lowercase())
            .find(&mut *tx, what, |row| Fields(row).text("user_name"))
            .await?;
        if let Some(taken) = taken {
            return Ok(Err(AccessDenied::Taken("user", taken)));
        }
        sqlx::query("INSERT INTO service_user (user_name, enabled, created_at) VALUES ($1, 1, $2)")
            .bind(name.to_owned())
            .bind(now.0)
            .run(&mut *tx, what)
            .await?;
        for policy in policies {
            if let Err(denied) = attach(&mut tx, name, policy).await? {
                return Ok(Err(denied));
            }
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    pub(crate) async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let found = sqlx::query("SELECT * FROM service_user WHERE user_name = $1")
            .bind(name.to_owned())
            .find(self.reader(), "read a user", user)
            .await?;
        match found {
            Some(user) => self.with_policies(user).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` users behind `after`, oldest first.
    pub(crate) async fn users(&self, after: Option<After>, limit: usize) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM service_user WHERE created_at > $1 OR (created_at = $1 AND user_name > $2) \
             ORDER BY created_at, user_name LIMIT $3",
        )
        .page(after, Order::OldestFirst, limit)
        .all(self.reader(), "list users", user)
        .await?;
        let mut users = Vec::with_capacity(rows.len());
        for row in rows {
            users.push(self.with_policies(row).await?);
        }
        Ok(users)
    }

    async fn with_policies(&self, user: User) -> Result<User, StoreError> {
        let policies = sqlx::query("SELECT policy_name FROM user_policy WHERE user_name = $1 ORDER BY policy_name")
            .bind(user.name.clone())
            .all(self.reader(), "list the policies of a user", |row| Fields(row).text("policy_name"))
            .await?;
        let has_password = sqlx::query("SELECT user_name FROM user_password WHERE user_name = $1")
            .bind(user.name.clone())
            .exists(self.reader(), "look for a password")
            .await?;
        Ok(User { policies, has_password, ..user })
    }

    /// Already so: nothing changes.
    pub(crate) async fn set_user_enabled(&self, name: &str, enabled: bool) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        let changed = sqlx::query("UPDATE service_user SET enabled = $1 WHERE user_name = $2")
            .bind(i64::from(enabled))
            .bind(name.to_owned())
            .run(&mut *tx, "enable or disable a user")
            .await?;
        if !enabled {
            end_sessions(&mut tx, name, None).await?;
        }
        if changed == 0 { Ok(Err(no_user(name))) } else { commit_access(tx, had).await }
    }

    /// Removes a user with its keys.
    pub(crate) async fn delete_user(&self, name: &str) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        for sql in [
            "DELETE FROM access_key WHERE principal = $1",
            "DELETE FROM user_policy WHERE user_name = $1",
            "DELETE FROM user_password WHERE user_name = $1",
            "DELETE FROM sign_in_link WHERE user_name = $1",
            "DELETE FROM console_session WHERE user_name = $1",
        ] {
            sqlx::query(sql).bind(name.to_owned()).run(&mut *tx, "delete a user").await?;
        }
        let deleted = sqlx::query("DELETE FROM service_user WHERE user_name = $1")
            .bind(name.to_owned())
            .run(&mut *tx, "delete a user")
            .await?;
        if deleted == 0 { Ok(Err(no_user(name))) } else { commit_access(tx, had).await }
    }

    /// Attached already: nothing changes.
    pub(crate) async fn attach_policy(&self, user: &str, policy: &str) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        match attach(&mut tx, user, policy).await? {
            Ok(()) => commit_access(tx, had).await,
            denied => Ok(denied),
        }
    }

    /// Detached already: nothing changes.
    pub(crate) async fn detach_policy(&self, user: &str, policy: &str) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        if !policy_exists(&mut tx, policy).await? {
            return Ok(Err(no_policy(policy)));
        }
        sqlx::query("DELETE FROM user_policy WHERE user_name = $1 AND policy_name = $2")
            .bind(user.to_owned())
            .bind(policy.to_owned())
            .run(&mut *tx, "detach a policy")
            .await?;
        commit_access(tx, had).await
    }

    pub(crate) async fn add_key(&self, user: &str, key: NewKey<'_>, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        if let Err(denied) = insert_key(&mut tx, user, &key, now).await? {
            return Ok(Err(denied));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Adds a key beside an old one of the same user, which ends then. Gives the user's name.
    pub(crate) async fn rotate_key(
        &self,
        old: &str,
        key: NewKey<'_>,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Change<String> {
        let mut tx = self.begin().await?;
        let was = sqlx::query("SELECT * FROM access_key WHERE access_key_id = $1")
            .bind(old.to_owned())
            .find(&mut *tx, "read an access key", access_key)
            .await?;
        let Some(was) = was.filter(|key| key.is_there(now)) else { return Ok(Err(no_key(old))) };
        if let Err(denied) = insert_key(&mut tx, &was.user, &key, now).await? {
            return Ok(Err(denied));
        }
        // A key that is rotated twice does not live longer.
        sqlx::query(
            "UPDATE access_key SET ends_at = $1 WHERE access_key_id = $2 AND (ends_at IS NULL OR ends_at > $1)",
        )
        .bind(ends_at.0)
        .bind(old.to_owned())
        .run(&mut *tx, "let an access key end")
        .await?;
        tx.commit().await?;
        Ok(Ok(was.user))
    }

    /// Already so: nothing changes.
    pub(crate) async fn set_key_enabled(&self, id: &str, enabled: bool, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        let changed = sqlx::query(
            "UPDATE access_key SET enabled = $1 WHERE access_key_id = $2 AND (ends_at IS NULL OR ends_at > $3)",
        )
        .bind(i64::from(enabled))
        .bind(id.to_owned())
        .bind(now.0)
        .run(&mut *tx, "enable or disable an access key")
        .await?;
        if !enabled {
            end_sessions_of_key(&mut tx, id).await?;
        }
        if changed == 0 { Ok(Err(no_key(id))) } else { commit_access(tx, had).await }
    }

    pub(crate) async fn delete_key(&self, id: &str) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        let deleted = sqlx::query("DELETE FROM access_key WHERE access_key_id = $1")
            .bind(id.to_owned())
            .run(&mut *tx, "delete an access key")
            .await?;
        end_sessions_of_key(&mut tx, id).await?;
        if deleted == 0 { Ok(Err(no_key(id))) } else { commit_access(tx, had).await }
    }

    /// Up to `limit` access keys behind `after` that have not ended, oldest first: of one user or of all.
    pub(crate) async fn access_keys(
        &self,
        of: Option<&str>,
        now: Timestamp,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<AccessKey>, StoreError> {
        let (condition, user) = super::query::of("principal", of.map(str::to_owned).as_ref());
        let sql = format!(
            "SELECT * FROM access_key WHERE {condition} AND (ends_at IS NULL OR ends_at > $2) \
             AND (created_at > $3 OR (created_at = $3 AND access_key_id > $4)) \
             ORDER BY created_at, access_key_id LIMIT $5"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(user)
            .bind(now.0)
            .page(after, Order::OldestFirst, limit)
            .all(self.reader(), "list access keys", access_key)
            .await
    }
}

/// The user exists.
async fn attach(tx: &mut Tx, user: &str, policy: &str) -> Change {
    if !policy_exists(tx, policy).await? {
        return Ok(Err(no_policy(policy)));
    }
    sqlx::query(
        "INSERT INTO user_policy (user_name, policy_name) VALUES ($1, $2) \
         ON CONFLICT (user_name, policy_name) DO NOTHING",
    )
    .bind(user.to_owned())
    .bind(policy.to_owned())
    .run(&mut **tx, "attach a policy")
    .await?;
    Ok(Ok(()))
}

/// Keys that have ended make room.
async fn insert_key(tx: &mut Tx, user: &str, key: &NewKey<'_>, now: Timestamp) -> Change {
    let what = "add an access key";
    sqlx::query("DELETE FROM access_key WHERE principal = $1 AND ends_at <= $2")
        .bind(user.to_owned())
        .bind(now.0)
        .run(&mut **tx, what)
        .await?;
    let there = sqlx::query("SELECT access_key_id FROM access_key WHERE principal = $1")
        .bind(user.to_owned())
        .all(&mut **tx, what, |row| Fields(row).text("access_key_id"))
        .await?;
    if there.len() >= MOST_KEYS {
        return Ok(Err(AccessDenied::TooManyKeys(user.to_owned(), there.len())));
    }
    sqlx::query("INSERT INTO access_key (access_key_id, principal, secret, created_at) VALUES ($1, $2, $3, $4)")
        .bind(key.id.to_owned())
        .bind(user.to_owned())
        .bind(hex::encode(key.wrapped))
        .bind(now.0)
        .run(&mut **tx, what)
        .await?;
    Ok(Ok(()))
}

pub(super) async fn user_exists<'c>(at: impl AnyExecutor<'c>, name: &str) -> Result<bool, StoreError> {
    sqlx::query("SELECT user_name FROM service_user WHERE user_name = $1")
        .bind(name.to_owned())
        .exists(at, "look for a user")
        .await
}

async fn policy_exists(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    if BuiltIn::named(name).is_some() {
        return Ok(true);
    }
    sqlx::query("SELECT policy_name FROM access_policy WHERE policy_name = $1")
        .bind(name.to_owned())
        .exists(&mut **tx, "look for a policy")
        .await
}

pub(super) fn no_user(name: &str) -> AccessDenied {
    AccessDenied::Unknown { noun: "user", name: name.to_owned(), list: "DescribeUsers" }
}

fn no_key(id: &str) -> AccessDenied {
    AccessDenied::Unknown { noun: "access key", name: id.to_owned(), list: "DescribeAccessKeys" }
}

pub(super) fn no_policy(name: &str) -> AccessDenied {
    AccessDenied::Unknown { noun: "policy", name: name.to_owned(), list: "DescribePolicies" }
}

fn user(row: &AnyRow) -> Result<User, StoreError> {
    let fields = Fields(row);
    Ok(User {
        name: fields.text("user_name")?,
        enabled: fields.truth("enabled")?,
        created_at: fields.time("created_at")?,
        policies: vec![],
        has_password: false,
    })
}

fn access_key(row: &AnyRow) -> Result<AccessKey, StoreError> {
    let fields = Fields(row);
    Ok(AccessKey {
        id: fields.text("access_key_id")?,
        user: fields.text("principal")?,
        enabled: fields.truth("enabled")?,
        created_at: fields.time("created_at")?,
        ends_at: fields.opt_time("ends_at")?,
        last_used_at: fields.opt_time("last_used_at")?,
    })
}
