//! Named keys: what they are called, which is the default, whether they may be used.

use super::jobs::locked_job;
use super::query::{After, Order, Verbs};
use super::row::Fields;
use super::run_steps::check_fence;
use super::{RunRecord, Store, StoreError, Tx};
use godwit_model::id::{JobId, KeyId};
use godwit_model::key::{Alias, KeyRef, KeyState, MOST_ALIASES, MOST_KEYS, first_key};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

/// A key's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyRecord {
    pub id: KeyId,
    pub description: Option<String>,
    pub state: KeyState,
    pub is_default: bool,
    /// The newest.
    pub version: u32,
    pub created_at: Timestamp,
    pub state_since: Timestamp,
    pub rotated_at: Option<Timestamp>,
    /// Sorted.
    pub aliases: Vec<String>,
}

/// Why a key is not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeyDenied {
    /// There are as many keys as there may be.
    TooMany,
    /// The key has as many aliases as it may have.
    TooManyAliases,
    /// The alias belongs to this key.
    AliasTaken(KeyId),
    /// There is no such alias.
    NoSuchAlias,
    /// A job that is not over names its key by the alias.
    AliasInUse(JobId),
    /// It is the default.
    IsDefault,
    /// It is disabled.
    IsDisabled,
}

/// The key of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RunKey {
    pub id: KeyId,
    /// The latest version that a pack of the run is under.
    pub version: u32,
    /// How its job named it.
    pub name: Option<String>,
    pub encrypted: Option<bool>,
}

/// What a job's wish for a key came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Chosen {
    /// This key, enabled or not.
    Key(KeyRecord),
    /// The job names one that does not exist.
    Gone(String),
}

type Decided<T> = Result<Result<T, KeyDenied>, StoreError>;

impl Store {
    /// Writes a key whose material is durable.
    pub(crate) async fn create_key(
        &self,
        id: &KeyId,
        description: Option<String>,
        alias: Option<&Alias>,
        now: Timestamp,
    ) -> Decided<()> {
        let mut tx = self.begin().await?;
        let number = count(&mut tx, "SELECT COUNT(*) AS n FROM named_key WHERE $1 <> ''", id).await?;
        if number >= MOST_KEYS as i64 {
            return Ok(Err(KeyDenied::TooMany));
        }
        insert_key(&mut tx, id, description, KeyState::Enabled, 1, now).await?;
        if let Some(alias) = alias
            && let Err(denied) = insert_alias(&mut tx, alias, id, now).await?
        {
            return Ok(Err(denied));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Lists keys whose material is in the store and which the database does not know, disabled; and versions that were
    /// made and not recorded. Gives the former.
    pub(crate) async fn adopt_keys(
        &self,
        found: &BTreeMap<KeyId, u32>,
        now: Timestamp,
    ) -> Result<Vec<KeyId>, StoreError> {
        let mut tx = self.begin().await?;
        let what = "take up keys";
        let mut new = Vec::new();
        for (id, version) in found {
            match locked_key(&mut tx, id).await? {
                Some(known) if known.version < *version => write_version(&mut tx, id, *version, now).await?,
                Some(_) => {}
                None => {
                    let text = "found in the store at a start".to_owned();
                    insert_key(&mut tx, id, Some(text), KeyState::Disabled, *version, now).await?;
                    new.push(id.clone());
                }
            }
        }
        sqlx::query("UPDATE named_key SET created_at = $1, state_since = $1 WHERE key_id = $2 AND created_at = 0")
            .bind(now.0)
            .bind(first_key().to_string())
            .run(&mut *tx, what)
            .await?;
        tx.commit().await?;
        Ok(new)
    }

    pub(crate) async fn describe_key(&self, id: &KeyId, description: Option<String>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE named_key SET description = $1 WHERE key_id = $2")
            .bind(description)
            .bind(id.to_string())
            .run(&mut *tx, "describe a key")
            .await?;
        tx.commit().await
    }

    /// Records that a version is durable. Versions only grow: what is recorded already stays.
    pub(crate) async fn key_rotated(&self, id: &KeyId, version: u32, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        write_version(&mut tx, id, version, now).await?;
        tx.commit().await
    }

    /// Enables or disables a key; the default one stays enabled. Already so: nothing changes.
    pub(crate) async fn set_key_state(&self, id: &KeyId, state: KeyState, now: Timestamp) -> Decided<()> {
        let mut tx = self.begin().await?;
        let was = locked_key(&mut tx, id).await?.ok_or(StoreError::Stale)?;
        if was.is_default && state == KeyState::Disabled {
            return Ok(Err(KeyDenied::IsDefault));
        }
        sqlx::query("UPDATE named_key SET state = $1, state_since = $2 WHERE key_id = $3 AND state <> $1")
            .bind(state.as_str())
            .bind(now.0)
            .bind(id.to_string())
            .run(&mut *tx, "enable or disable a key")
            .await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Makes a key the default.
    pub(crate) async fn set_default_key(&self, id: &KeyId) -> Decided<()> {
        let mut tx = self.begin().await?;
        let what = "choose the default key";
        let was = locked_key(&mut tx, id).await?.ok_or(StoreError::Stale)?;
        if was.state == KeyState::Disabled {
            return Ok(Err(KeyDenied::IsDisabled));
        }
        sqlx::query("UPDATE named_key SET is_default = 0 WHERE is_default = 1").run(&mut *tx, what).await?;
        sqlx::query("UPDATE named_key SET is_default = 1 WHERE key_id = $1")
            .bind(id.to_string())
            .run(&mut *tx, what)
            .await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Gives a key an alias. Already so: nothing changes.
    pub(crate) async fn create_alias(&self, alias: &Alias, key: &KeyId, now: Timestamp) -> Decided<()> {
        let mut tx = self.begin().await?;
        let done = insert_alias(&mut tx, alias, key, now).await?;
        if done.is_ok() {
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Takes an alias from its key; refused while a job that is not over names its key by it.
    pub(crate) async fn delete_alias(&self, alias: &Alias) -> Decided<()> {
        let mut tx = self.begin().await?;
        let what = "delete an alias";
        let naming = sqlx::query(
            "SELECT job_id, kms_key_id FROM job WHERE kms_key_id IS NOT NULL \
             AND state IN ('PENDING', 'ACTIVE', 'PAUSED_ON_FAILURE')",
        )
        .all(&mut *tx, what, |row| Ok((Fields(row).id("job_id")?, Fields(row).text("kms_key_id")?)))
        .await?;
        let wanted = KeyRef::Alias(alias.clone());
        if let Some((job, _)) = naming.into_iter().find(|(_, name)| name.parse().is_ok_and(|key: KeyRef| key == wanted))
        {
            return Ok(Err(KeyDenied::AliasInUse(job)));
        }
        let deleted =
            sqlx::query("DELETE FROM key_alias WHERE alias = $1").bind(alias.to_string()).run(&mut *tx, what).await?;
        if deleted == 0 {
            return Ok(Err(KeyDenied::NoSuchAlias));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// The key that a caller means, if there is one.
    pub(crate) async fn key_named(&self, name: &KeyRef) -> Result<Option<KeyRecord>, StoreError> {
        // One transaction: between alias and key nothing changes.
        let mut tx = self.begin().await?;
        find_key(&mut tx, name).await
    }

    pub(crate) async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let key = sqlx::query("SELECT * FROM named_key WHERE key_id = $1")
            .bind(id.to_string())
            .find(self.reader(), "read a key", key_alone)
            .await?;
        match key {
            Some(key) => Ok(Some(self.with_aliases(key).await?)),
            None => Ok(None),
        }
    }

    /// Up to `limit` keys behind `after`, oldest first.
    pub(crate) async fn keys(&self, after: Option<After>, limit: usize) -> Result<Vec<KeyRecord>, StoreError> {
        let alone = sqlx::query(
            "SELECT * FROM named_key WHERE created_at > $1 OR (created_at = $1 AND key_id > $2) \
             ORDER BY created_at, key_id LIMIT $3",
        )
        .page(after, Order::OldestFirst, limit)
        .all(self.reader(), "list keys", key_alone)
        .await?;
        let mut keys = Vec::with_capacity(alone.len());
        for key in alone {
            keys.push(self.with_aliases(key).await?);
        }
        Ok(keys)
    }

    /// Resolves what a run's job says of its key, and records which one that is: also a disabled one, so that the run
    /// says what it failed for.
    pub(crate) async fn choose_key(&self, was: &RunRecord) -> Result<Chosen, StoreError> {
        let mut tx = self.begin().await?;
        check_fence(&mut tx, was).await?;
        let settings = locked_job(&mut tx, &was.job).await?.ok_or(StoreError::Stale)?.settings;
        let name = settings.kms_key_id.as_deref();
        // What was taken once and is understood no more is as good as gone.
        let key = match name.map_or(Ok(KeyRef::Default), str::parse) {
            Ok(key) => find_key(&mut tx, &key).await?,
            Err(_) => None,
        };
        let Some(key) = key else { return Ok(Chosen::Gone(name.unwrap_or_default().to_owned())) };
        sqlx::query("UPDATE run SET key_id = $1, key_version = $2, key_name = $3, encrypted = $4 WHERE run_id = $5")
            .bind(key.id.to_string())
            .bind(i64::from(key.version))
            .bind(settings.kms_key_id.clone())
            .bind(settings.encrypted.map(i64::from))
            .bind(was.id.to_string())
            .run(&mut *tx, "choose the key of a run")
            .await?;
        tx.commit().await?;
        Ok(Chosen::Key(key))
    }

    async fn with_aliases(&self, alone: KeyRecord) -> Result<KeyRecord, StoreError> {
        let aliases = sqlx::query("SELECT alias FROM key_alias WHERE key_id = $1 ORDER BY alias")
            .bind(alone.id.to_string())
            .all(self.reader(), "read the aliases of a key", |row| Fields(row).text("alias"))
            .await?;
        Ok(KeyRecord { aliases, ..alone })
    }
}

/// Records under which version a run's packs are at the latest.
///
/// The key has it then, too: a rotation that seemed to fail may have made it all the same.
pub(super) async fn note_version(tx: &mut Tx, run: &RunRecord, version: u32, now: Timestamp) -> Result<(), StoreError> {
    write_version(tx, &id_of(run)?, version, now).await?;
    sqlx::query("UPDATE run SET key_version = $1 WHERE run_id = $2 AND (key_version IS NULL OR key_version < $1)")
        .bind(i64::from(version))
        .bind(run.id.to_string())
        .run(&mut **tx, "record the version of a key")
        .await?;
    Ok(())
}

/// The key that was chosen for a run.
pub(crate) fn id_of(run: &RunRecord) -> Result<KeyId, StoreError> {
    let key = run.key.as_ref().ok_or_else(|| StoreError::unreadable("the key of a run", "nothing"))?;
    Ok(key.id.clone())
}

/// The key of a run, if it was chosen already.
pub(super) fn run_key(fields: &Fields<'_>) -> Result<Option<RunKey>, StoreError> {
    let Some(id) = fields.opt_id("key_id")? else { return Ok(None) };
    Ok(Some(RunKey {
        id,
        version: fields.opt_number("key_version")?.unwrap_or(1),
        name: fields.opt_text("key_name")?,
        encrypted: fields.opt_int("encrypted")?.map(|n| n != 0),
    }))
}

async fn find_key(tx: &mut Tx, name: &KeyRef) -> Result<Option<KeyRecord>, StoreError> {
    let what = "look for a key";
    let id = |row: &AnyRow| Fields(row).id::<KeyId>("key_id");
    let id = match name {
        KeyRef::Id(id) => Some(id.clone()),
        KeyRef::Default => {
            sqlx::query("SELECT key_id FROM named_key WHERE is_default = 1").find(&mut **tx, what, id).await?
        }
        KeyRef::Alias(alias) => {
            sqlx::query("SELECT key_id FROM key_alias WHERE alias = $1")
                .bind(alias.to_string())
                .find(&mut **tx, what, id)
                .await?
        }
    };
    match id {
        Some(id) => locked_key(tx, &id).await,
        None => Ok(None),
    }
}

async fn locked_key(tx: &mut Tx, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let what = "read a key";
    let key = sqlx::query("SELECT * FROM named_key WHERE key_id = $1")
        .bind(id.to_string())
        .find(&mut **tx, what, key_alone)
        .await?;
    let Some(key) = key else { return Ok(None) };
    let aliases = sqlx::query("SELECT alias FROM key_alias WHERE key_id = $1 ORDER BY alias")
        .bind(id.to_string())
        .all(&mut **tx, what, |row| Fields(row).text("alias"))
        .await?;
    Ok(Some(KeyRecord { aliases, ..key }))
}

async fn insert_key(
    tx: &mut Tx,
    id: &KeyId,
    description: Option<String>,
    state: KeyState,
    version: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO named_key (key_id, description, state, is_default, version, created_at, state_since) \
         VALUES ($1, $2, $3, 0, $4, $5, $5)",
    )
    .bind(id.to_string())
    .bind(description)
    .bind(state.as_str())
    .bind(i64::from(version))
    .bind(now.0)
    .run(&mut **tx, "create a key")
    .await?;
    Ok(())
}

async fn insert_alias(tx: &mut Tx, alias: &Alias, key: &KeyId, now: Timestamp) -> Decided<()> {
    let what = "create an alias";
    let owner = sqlx::query("SELECT key_id FROM key_alias WHERE alias = $1")
        .bind(alias.to_string())
        .find(&mut **tx, what, |row| Fields(row).id::<KeyId>("key_id"))
        .await?;
    match owner {
        Some(owner) if owner == *key => return Ok(Ok(())),
        Some(owner) => return Ok(Err(KeyDenied::AliasTaken(owner))),
        None => {}
    }
    if count(tx, "SELECT COUNT(*) AS n FROM key_alias WHERE key_id = $1", key).await? >= MOST_ALIASES as i64 {
        return Ok(Err(KeyDenied::TooManyAliases));
    }
    sqlx::query("INSERT INTO key_alias (alias, key_id, created_at) VALUES ($1, $2, $3)")
        .bind(alias.to_string())
        .bind(key.to_string())
        .bind(now.0)
        .run(&mut **tx, what)
        .await?;
    Ok(Ok(()))
}

async fn write_version(tx: &mut Tx, id: &KeyId, version: u32, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE named_key SET version = $1, rotated_at = $2 WHERE key_id = $3 AND version < $1")
        .bind(i64::from(version))
        .bind(now.0)
        .bind(id.to_string())
        .run(&mut **tx, "record a version of a key")
        .await?;
    Ok(())
}

async fn count(tx: &mut Tx, sql: &'static str, key: &KeyId) -> Result<i64, StoreError> {
    sqlx::query(sql).bind(key.to_string()).one(&mut **tx, "count keys", |row| Fields(row).int("n")).await
}

/// A key without its aliases.
fn key_alone(row: &AnyRow) -> Result<KeyRecord, StoreError> {
    let fields = Fields(row);
    Ok(KeyRecord {
        id: fields.id("key_id")?,
        description: fields.opt_text("description")?,
        state: fields.name("state", KeyState::parse)?,
        is_default: fields.truth("is_default")?,
        version: fields.number("version")?,
        created_at: fields.time("created_at")?,
        state_since: fields.time("state_since")?,
        rotated_at: fields.opt_time("rotated_at")?,
        aliases: Vec::new(),
    })
}
