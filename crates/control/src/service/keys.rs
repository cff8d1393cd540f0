//! Named keys: create, list, rotate, disable and enable, choose the default, give and take aliases.

use super::jobs::text;
use super::page::paged;
use super::{Answer, Page, Paged, Service, ServiceError};
use crate::store::{KeyDenied, KeyRecord, StoreError};
use godwit_model::id::KeyId;
use godwit_model::key::{ALIAS_PREFIX, Alias, KeyRef, KeyState, MOST_ALIASES, MOST_KEYS, ParseKeyError, arn_of};
use godwit_model::time::Timestamp;

/// A key to create.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NewKey {
    /// For people.
    pub description: Option<String>,
    /// What it is called: `alias/…`.
    pub alias: Option<String>,
}

/// A named key. Its material is nowhere in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its id as an ARN.
    pub arn: String,
    /// What it is called, sorted.
    pub aliases: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether it may be used.
    pub state: KeyState,
    /// Since when it is in that state.
    pub state_since: Timestamp,
    /// Whether it is the one of jobs that name none.
    pub is_default: bool,
    /// Its newest version: what is encrypted from now on is encrypted under it.
    pub version: u32,
    /// When that was made, if it is not the first.
    pub rotated_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        Key {
            arn: arn_of(&record.id),
            id: record.id,
            aliases: record.aliases,
            description: record.description,
            state: record.state,
            state_since: record.state_since,
            is_default: record.is_default,
            version: record.version,
            rotated_at: record.rotated_at,
            created_at: record.created_at,
        }
    }
}

impl Service {
    /// `CreateKey`. Its material is durable before it is listed.
    pub async fn create_key(&self, new: NewKey, now: Timestamp) -> Answer<Key> {
        let description = text(new.description.as_deref(), "description")?;
        let alias = new.alias.as_deref().filter(|alias| !alias.is_empty()).map(alias_of).transpose()?;
        if let Some(alias) = &alias
            && let Some(owner) = self.line.store.key_named(&KeyRef::Alias(alias.clone())).await?
        {
            return Err(refused(&owner.id, alias.as_str(), &KeyDenied::AliasTaken(owner.id.clone())));
        }
        let _turn = self.line.key_changes.lock().await;
        let id = KeyId::from_bits((self.line.draw)());
        if self.line.store.key(&id).await?.is_some() {
            return Err(StoreError::NoFreeId.into());
        }
        self.ask("making the key", self.line.keys.make(&id, 1)).await?;
        let created = self.line.store.create_key(&id, description, alias.as_ref(), now).await?;
        created.map_err(|denied| refused(&id, alias.as_ref().map_or("", Alias::as_str), &denied))?;
        self.key_named(id.as_str()).await.map(Key::from)
    }

    /// `DescribeKeys`: oldest first. If `names` are given: exactly these, on one page; ids, aliases, or ARNs of either.
    pub async fn describe_keys(&self, names: Option<&[String]>, page: &Page) -> Answer<Paged<Key>> {
        let Some(names) = names else {
            let read = |after, limit| self.line.store.keys(after, limit);
            return Ok(paged(page, "keys", read, |k| (k.created_at.0, k.id.to_string())).await?.map(Key::from));
        };
        page.check("keys")?;
        if names.len() > super::LONGEST_PAGE {
            let what = format!("{} keys at once: give at most {}", names.len(), super::LONGEST_PAGE);
            return Err(ServiceError::invalid(what));
        }
        let mut items = Vec::with_capacity(names.len());
        for name in names {
            items.push(self.key_named(name).await?.into());
        }
        Ok(Paged { items, next: None })
    }

    /// `UpdateKey`: an empty description removes it.
    pub async fn update_key(&self, name: &str, description: Option<&str>, _now: Timestamp) -> Answer<()> {
        let key = self.key_named(name).await?;
        if let Some(description) = description {
            self.line.store.describe_key(&key.id, text(Some(description), "description")?).await?;
        }
        Ok(())
    }

    /// `RotateKey`: a new version, under which everything is encrypted from now on. What was encrypted before stays
    /// readable. Gives the new version.
    pub async fn rotate_key(&self, name: &str, now: Timestamp) -> Answer<u32> {
        let _turn = self.line.key_changes.lock().await;
        let key = self.key_named(name).await?;
        if key.state == KeyState::Disabled {
            return Err(refused(&key.id, name, &KeyDenied::IsDisabled));
        }
        let next = key.version.saturating_add(1);
        self.ask("making a version of the key", self.line.keys.make(&key.id, next)).await?;
        self.line.store.key_rotated(&key.id, next, now).await?;
        Ok(next)
    }

    /// `EnableKey` and `DisableKey`. The default key stays enabled.
    pub async fn set_key_state(&self, name: &str, state: KeyState, now: Timestamp) -> Answer<()> {
        let _turn = self.line.key_changes.lock().await;
        let key = self.key_named(name).await?;
        let changed = self.line.store.set_key_state(&key.id, state, now).await?;
        changed.map_err(|denied| refused(&key.id, name, &denied))?;
        self.line.keys.set_enabled(&key.id, state == KeyState::Enabled);
        Ok(())
    }

    /// `SetDefaultKey`: the key of all jobs that name none, from their next run on.
    pub async fn set_default_key(&self, name: &str, _now: Timestamp) -> Answer<()> {
        let _turn = self.line.key_changes.lock().await;
        let key = self.key_named(name).await?;
        self.line.store.set_default_key(&key.id).await?.map_err(|denied| refused(&key.id, name, &denied))
    }

    /// `CreateAlias`. One that the key has already stays.
    pub async fn create_alias(&self, alias: &str, name: &str, now: Timestamp) -> Answer<()> {
        let alias = alias_of(alias)?;
        let key = self.key_named(name).await?;
        let created = self.line.store.create_alias(&alias, &key.id, now).await?;
        created.map_err(|denied| refused(&key.id, alias.as_str(), &denied))
    }

    /// `DeleteAlias`.
    pub async fn delete_alias(&self, alias: &str, _now: Timestamp) -> Answer<()> {
        let alias = alias_of(alias)?;
        let Some(key) = self.line.store.key_named(&KeyRef::Alias(alias.clone())).await? else {
            return Err(ServiceError::invalid(no_such_key(alias.as_str())));
        };
        let deleted = self.line.store.delete_alias(&alias).await?;
        deleted.map_err(|denied| refused(&key.id, alias.as_str(), &denied))
    }

    /// The key that a caller names.
    pub(super) async fn key_named(&self, name: &str) -> Answer<KeyRecord> {
        let found = self.line.store.key_named(&name.parse::<KeyRef>()?).await?;
        found.ok_or_else(|| ServiceError::invalid(no_such_key(name)))
    }

    /// Refuses a key that a job cannot use.
    pub(super) async fn check_key(&self, name: &str) -> Answer<()> {
        let told = |error: ServiceError| ServiceError { message: format!("kmsKeyId: {}", error.message), ..error };
        let key = self.key_named(name).await.map_err(told)?;
        if key.state == KeyState::Disabled {
            let what = format!("kmsKeyId: {} is disabled: enable it (godwit keys enable), or name another key", key.id);
            return Err(ServiceError::invalid(what));
        }
        Ok(())
    }
}

fn alias_of(text: &str) -> Answer<Alias> {
    text.parse().map_err(|error: ParseKeyError| match text.starts_with(ALIAS_PREFIX) {
        true => ServiceError::invalid(format!("alias: {error}")),
        false => ServiceError::invalid(format!("alias: {error}; did you mean alias/{}?", error.text)),
    })
}

impl From<ParseKeyError> for ServiceError {
    fn from(error: ParseKeyError) -> Self {
        Self::invalid(error.to_string())
    }
}

fn no_such_key(name: &str) -> String {
    let name: String = name.chars().take(300).collect();
    format!("there is no key '{name}': godwit keys list shows those that there are")
}

fn refused(key: &KeyId, alias: &str, denied: &KeyDenied) -> ServiceError {
    match denied {
        KeyDenied::TooMany => ServiceError::not_permitted(format!("there are {MOST_KEYS} keys, more are not possible")),
        KeyDenied::TooManyAliases => {
            ServiceError::not_permitted(format!("{key} has {MOST_ALIASES} aliases: delete one of them first"))
        }
        KeyDenied::AliasTaken(owner) => ServiceError::invalid(format!(
            "{alias} is the alias of {owner}: choose another one, or delete it there first (godwit keys alias --delete)"
        )),
        KeyDenied::NoSuchAlias => ServiceError::invalid(no_such_key(alias)),
        KeyDenied::AliasInUse(job) => ServiceError::not_permitted(format!(
            "{job} names its key as {alias}: give that job another key first (godwit jobs update {job} --key)"
        )),
        KeyDenied::IsDefault => ServiceError::not_permitted(format!(
            "{key} is the default key: make another one the default first (godwit keys default)"
        )),
        KeyDenied::IsDisabled => {
            ServiceError::not_permitted(format!("{key} is disabled: enable it first (godwit keys enable {key})"))
        }
    }
}
