//! Who signs requests, and what they may do.

use super::query::Verbs;
use super::row::Fields;
use super::{Store, StoreError, Tx};
use crate::hex;
use godwit_model::id::JobId;
use godwit_model::policy::{BuiltIn, Policy, administers};
use godwit_model::time::Timestamp;
use sqlx::AnyExecutor;
use sqlx::any::AnyRow;

/// The user that the first start makes.
const ADMINISTRATOR: &str = "administrator";

/// Why who may do what was not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AccessDenied {
    #[error("there is no {noun} '{name}': see which there are with {list}")]
    Unknown { noun: &'static str, name: String, list: &'static str },
    #[error("there is a {0} '{1}' already")]
    Taken(&'static str, String),
    #[error(
        "nobody could decide about users any more: this is what is left of the last enabled administrator; make \
         another one first, with the policy administrator and an access key"
    )]
    LastAdministrator,
    #[error("{0} has {1} access keys already, as many as a user may have: delete one first")]
    TooManyKeys(String, usize),
    #[error("the policy '{0}' is attached to {1}: detach it first")]
    PolicyInUse(String, String),
    #[error("the role '{0}' is used by {1}: give that job another role, or delete it, first")]
    RoleInUse(String, JobId),
}

/// Outcome of a change of who may do what.
pub(crate) type Change<T = ()> = Result<Result<T, AccessDenied>, StoreError>;

/// By whom a request may be signed.
#[derive(Clone)]
pub(crate) struct Signer {
    pub user: String,
    pub wrapped_secret: Vec<u8>,
}

/// Whose key it is.
#[derive(Clone, Debug)]
pub(crate) struct KeyOwner {
    pub user: String,
    pub last_used_at: Option<Timestamp>,
    /// By name.
    pub policies: Vec<(String, Policy)>,
}

impl Store {
    /// Whose key it is, if it is valid now: enabled, not ended, of an enabled user.
    pub(crate) async fn signer(&self, access_key_id: &str, now: Timestamp) -> Result<Option<Signer>, StoreError> {
        sqlx::query(
            "SELECT access_key.secret, access_key.principal \
             FROM access_key JOIN service_user ON service_user.user_name = access_key.principal \
             WHERE access_key.access_key_id = $1 AND access_key.enabled = 1 AND service_user.enabled = 1 \
             AND (access_key.ends_at IS NULL OR access_key.ends_at > $2)",
        )
        .bind(access_key_id.to_owned())
        .bind(now.0)
        .find(self.reader(), "read an access key", |row| {
            Ok(Signer { user: Fields(row).text("principal")?, wrapped_secret: wrapped_secret(row)? })
        })
        .await
    }

    /// Whose key it is, valid or not, and what that user may do.
    pub(crate) async fn key_owner(&self, access_key_id: &str) -> Result<Option<KeyOwner>, StoreError> {
        let rows = sqlx::query(
            "SELECT access_key.principal, access_key.last_used_at, user_policy.policy_name, access_policy.document \
             FROM access_key LEFT JOIN user_policy ON user_policy.user_name = access_key.principal \
             LEFT JOIN access_policy ON access_policy.policy_name = user_policy.policy_name \
             WHERE access_key.access_key_id = $1 ORDER BY user_policy.policy_name",
        )
        .bind(access_key_id.to_owned())
        .all(self.reader(), "read what the user of an access key may do", |row| {
            let fields = Fields(row);
            let has_policy = fields.opt_text("policy_name")?.is_some();
            let policy = if has_policy { Some(policy_of_user(row)?) } else { None };
            Ok((fields.text("principal")?, fields.opt_time("last_used_at")?, policy))
        })
        .await?;
        let mut owner: Option<KeyOwner> = None;
        for (user, last_used_at, policy) in rows {
            let owner = owner.get_or_insert(KeyOwner { user, last_used_at, policies: vec![] });
            owner.policies.extend(policy);
        }
        Ok(owner)
    }

    /// What a user may do: nothing if it is disabled or does not exist.
    pub(crate) async fn policies_of_enabled(&self, user: &str) -> Result<Vec<(String, Policy)>, StoreError> {
        let enabled = sqlx::query("SELECT user_name FROM service_user WHERE user_name = $1 AND enabled = 1")
            .bind(user.to_owned())
            .exists(self.reader(), "look for a user")
            .await?;
        if enabled { policies_of(self.reader(), user).await } else { Ok(vec![]) }
    }

    /// Records that a key was used; never an earlier time than is known.
    pub(crate) async fn key_used(&self, access_key_id: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE access_key SET last_used_at = $1 \
             WHERE access_key_id = $2 AND (last_used_at IS NULL OR last_used_at < $1)",
        )
        .bind(now.0)
        .bind(access_key_id.to_owned())
        .run(&mut *tx, "record the use of an access key")
        .await?;
        tx.commit().await
    }

    /// Whether there is somebody who can decide about users.
    pub(crate) async fn has_administrator(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        has_administrator(&mut tx).await
    }

    /// Gives the user `administrator` this key. That user is made if it is missing, and is an enabled administrator
    /// afterwards in any case.
    pub(crate) async fn add_administrator(
        &self,
        access_key_id: &str,
        wrapped: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let what = "add an administrator";
        sqlx::query(
            "INSERT INTO service_user (user_name, enabled, created_at) VALUES ($1, 1, $2) \
             ON CONFLICT (user_name) DO UPDATE SET enabled = 1",
        )
        .bind(ADMINISTRATOR)
        .bind(now.0)
        .run(&mut *tx, what)
        .await?;
        sqlx::query(
            "INSERT INTO user_policy (user_name, policy_name) VALUES ($1, $2) \
             ON CONFLICT (user_name, policy_name) DO NOTHING",
        )
        .bind(ADMINISTRATOR)
        .bind(BuiltIn::Administrator.name())
        .run(&mut *tx, what)
        .await?;
        sqlx::query(
            "INSERT INTO access_key (access_key_id, principal, secret, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (access_key_id) DO UPDATE SET enabled = 1, ends_at = NULL",
        )
        .bind(access_key_id.to_owned())
        .bind(ADMINISTRATOR)
        .bind(hex::encode(wrapped))
        .bind(now.0)
        .run(&mut *tx, what)
        .await?;
        tx.commit().await
    }
}

/// Makes a change of who may do what durable, unless nobody could decide about users behind it.
pub(super) async fn commit_access(mut tx: Tx, had_administrator: bool) -> Change {
    if had_administrator && !has_administrator(&mut tx).await? {
        return Ok(Err(AccessDenied::LastAdministrator));
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Keys that end by themselves do not count: they would lock everybody out later.
pub(super) async fn has_administrator(tx: &mut Tx) -> Result<bool, StoreError> {
    let users = sqlx::query(
        "SELECT DISTINCT service_user.user_name FROM service_user \
         JOIN access_key ON access_key.principal = service_user.user_name \
         WHERE service_user.enabled = 1 AND access_key.enabled = 1 AND access_key.ends_at IS NULL",
    )
    .all(&mut **tx, "look for an administrator", |row| Fields(row).text("user_name"))
    .await?;
    for user in users {
        let policies = policies_of(&mut **tx, &user).await?;
        if administers(policies.iter().map(|(_, policy)| policy)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn policies_of<'c>(at: impl AnyExecutor<'c>, user: &str) -> Result<Vec<(String, Policy)>, StoreError> {
    sqlx::query(
        "SELECT user_policy.policy_name, access_policy.document FROM user_policy \
         LEFT JOIN access_policy ON access_policy.policy_name = user_policy.policy_name \
         WHERE user_policy.user_name = $1 ORDER BY user_policy.policy_name",
    )
    .bind(user.to_owned())
    .all(at, "read the policies of a user", policy_of_user)
    .await
}

fn policy_of_user(row: &AnyRow) -> Result<(String, Policy), StoreError> {
    let (name, document) = (Fields(row).text("policy_name")?, Fields(row).opt_text("document")?);
    let policy = match (BuiltIn::named(&name), document) {
        (Some(built_in), _) => built_in.policy(),
        (None, Some(document)) => understood(&document)?,
        (None, None) => return Err(StoreError::unreadable("the policy of a user", name)),
    };
    Ok((name, policy))
}

/// A policy that was checked when it was written.
pub(super) fn understood(document: &str) -> Result<Policy, StoreError> {
    Policy::parse(document).map_err(|error| StoreError::unreadable("a policy", format!("{error}")))
}

fn wrapped_secret(row: &AnyRow) -> Result<Vec<u8>, StoreError> {
    let bytes = hex::decode(&Fields(row).text("secret")?);
    bytes.ok_or_else(|| StoreError::unreadable("a wrapped secret", "no hexadecimal text"))
}
