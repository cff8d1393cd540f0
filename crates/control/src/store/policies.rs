//! Policies that people wrote, and roles: both are a name and a document.

use super::access::{AccessDenied, Change, commit_access, has_administrator, understood};
use super::query::{After, Order, Verbs};
use super::row::Fields;
use super::users::no_policy;
use super::{Store, StoreError, Tx};
use crate::service::{PolicyChanges, Role, WrittenPolicy};
use godwit_model::policy::Policy;
use godwit_model::role;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

impl Store {
    pub(crate) async fn add_policy(&self, new: &WrittenPolicy) -> Change {
        let mut tx = self.begin().await?;
        let added = sqlx::query(
            "INSERT INTO access_policy (policy_name, document, description, created_at, changed_at) \
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT (policy_name) DO NOTHING",
        )
        .bind(new.name.clone())
        .bind(new.document.clone())
        .bind(new.description.clone())
        .bind(new.created_at.0)
        .run(&mut *tx, "add a policy")
        .await?;
        if added == 0 {
            return Ok(Err(AccessDenied::Taken("policy", new.name.clone())));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// What is not given stays; an empty description is none.
    pub(crate) async fn update_policy(&self, name: &str, changes: &PolicyChanges, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        let had = has_administrator(&mut tx).await?;
        let changed = sqlx::query(
            "UPDATE access_policy SET document = COALESCE($1, document), \
             description = NULLIF(COALESCE($2, description), ''), changed_at = $3 WHERE policy_name = $4",
        )
        .bind(changes.document.clone())
        .bind(changes.description.clone())
        .bind(now.0)
        .bind(name.to_owned())
        .run(&mut *tx, "change a policy")
        .await?;
        if changed == 0 { Ok(Err(no_policy(name))) } else { commit_access(tx, had).await }
    }

    pub(crate) async fn delete_policy(&self, name: &str) -> Change {
        let mut tx = self.begin().await?;
        let what = "delete a policy";
        let holder = sqlx::query("SELECT user_name FROM user_policy WHERE policy_name = $1 ORDER BY user_name LIMIT 1")
            .bind(name.to_owned())
            .find(&mut *tx, what, |row| Fields(row).text("user_name"))
            .await?;
        if let Some(holder) = holder {
            return Ok(Err(AccessDenied::PolicyInUse(name.to_owned(), holder)));
        }
        let deleted = sqlx::query("DELETE FROM access_policy WHERE policy_name = $1")
            .bind(name.to_owned())
            .run(&mut *tx, what)
            .await?;
        if deleted == 0 {
            return Ok(Err(no_policy(name)));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    pub(crate) async fn policy(&self, name: &str) -> Result<Option<WrittenPolicy>, StoreError> {
        sqlx::query("SELECT * FROM access_policy WHERE policy_name = $1")
            .bind(name.to_owned())
            .find(self.reader(), "read a policy", written_policy)
            .await
    }

    /// Up to `limit` policies behind `after`, oldest first.
    pub(crate) async fn policies(&self, after: Option<After>, limit: usize) -> Result<Vec<WrittenPolicy>, StoreError> {
        sqlx::query(
            "SELECT * FROM access_policy WHERE created_at > $1 OR (created_at = $1 AND policy_name > $2) \
             ORDER BY created_at, policy_name LIMIT $3",
        )
        .page(after, Order::OldestFirst, limit)
        .all(self.reader(), "list policies", written_policy)
        .await
    }

    pub(crate) async fn add_role(&self, new: &Role) -> Change {
        let mut tx = self.begin().await?;
        if !insert_role(&mut tx, new).await? {
            return Ok(Err(AccessDenied::Taken("role", new.name.clone())));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// What is not given stays; an empty description is none.
    pub(crate) async fn update_role(&self, name: &str, changes: &PolicyChanges, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE job_role SET document = COALESCE($1, document), \
             description = NULLIF(COALESCE($2, description), ''), changed_at = $3 WHERE role_name = $4",
        )
        .bind(changes.document.clone())
        .bind(changes.description.clone())
        .bind(now.0)
        .bind(name.to_owned())
        .run(&mut *tx, "change a role")
        .await?;
        if changed == 0 {
            return Ok(Err(no_role(name)));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Refused while a job that is not over uses it.
    pub(crate) async fn delete_role(&self, name: &str) -> Change {
        let mut tx = self.begin().await?;
        let what = "delete a role";
        let job = sqlx::query(
            "SELECT job_id FROM job WHERE role_name = $1 AND state NOT IN ('DELETED', 'FAILED', 'COMPLETED') \
             ORDER BY job_id LIMIT 1",
        )
        .bind(name.to_owned())
        .find(&mut *tx, what, |row| Fields(row).id("job_id"))
        .await?;
        if let Some(job) = job {
            return Ok(Err(AccessDenied::RoleInUse(name.to_owned(), job)));
        }
        let deleted =
            sqlx::query("DELETE FROM job_role WHERE role_name = $1").bind(name.to_owned()).run(&mut *tx, what).await?;
        if deleted == 0 {
            return Ok(Err(no_role(name)));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    pub(crate) async fn role(&self, name: &str) -> Result<Option<Role>, StoreError> {
        sqlx::query("SELECT * FROM job_role WHERE role_name = $1")
            .bind(name.to_owned())
            .find(self.reader(), "read a role", stored_role)
            .await
    }

    /// What a role allows; `None` if there is no such role.
    pub(crate) async fn role_policy(&self, name: &str) -> Result<Option<Policy>, StoreError> {
        self.role(name).await?.map(|role| understood(&role.document)).transpose()
    }

    /// Up to `limit` roles behind `after`, oldest first.
    pub(crate) async fn roles(&self, after: Option<After>, limit: usize) -> Result<Vec<Role>, StoreError> {
        sqlx::query(
            "SELECT * FROM job_role WHERE created_at > $1 OR (created_at = $1 AND role_name > $2) \
             ORDER BY created_at, role_name LIMIT $3",
        )
        .page(after, Order::OldestFirst, limit)
        .all(self.reader(), "list roles", stored_role)
        .await
    }
}

/// The role that a job is to have, within the transaction that gives it: one that is automatic is made if it is missing.
pub(super) async fn role_for_job(tx: &mut Tx, name: &str, now: Timestamp) -> Result<Option<Policy>, StoreError> {
    if role::is_automatic(name) {
        let made = Role {
            name: name.to_owned(),
            document: role::DEFAULT_DOCUMENT.to_owned(),
            description: Some("Made automatically".to_owned()),
            created_at: now,
            changed_at: now,
        };
        insert_role(tx, &made).await?;
    }
    let found = sqlx::query("SELECT * FROM job_role WHERE role_name = $1")
        .bind(name.to_owned())
        .find(&mut **tx, "read the role of a job", stored_role)
        .await?;
    found.map(|role| understood(&role.document)).transpose()
}

/// False if the name is taken.
async fn insert_role(tx: &mut Tx, new: &Role) -> Result<bool, StoreError> {
    let added = sqlx::query(
        "INSERT INTO job_role (role_name, document, description, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT (role_name) DO NOTHING",
    )
    .bind(new.name.clone())
    .bind(new.document.clone())
    .bind(new.description.clone())
    .bind(new.created_at.0)
    .run(&mut **tx, "add a role")
    .await?;
    Ok(added == 1)
}

fn no_role(name: &str) -> AccessDenied {
    AccessDenied::Unknown { noun: "role", name: name.to_owned(), list: "DescribeRoles" }
}

fn written_policy(row: &AnyRow) -> Result<WrittenPolicy, StoreError> {
    let fields = Fields(row);
    Ok(WrittenPolicy {
        name: fields.text("policy_name")?,
        built_in: false,
        document: fields.text("document")?,
        description: fields.opt_text("description")?,
        created_at: fields.time("created_at")?,
        changed_at: fields.time("changed_at")?,
    })
}

fn stored_role(row: &AnyRow) -> Result<Role, StoreError> {
    let fields = Fields(row);
    Ok(Role {
        name: fields.text("role_name")?,
        document: fields.text("document")?,
        description: fields.opt_text("description")?,
        created_at: fields.time("created_at")?,
        changed_at: fields.time("changed_at")?,
    })
}
