//! Policies, and the roles that jobs run under.

use super::page::{LONGEST_PAGE, paged};
use super::users::check_name;
use super::{Answer, Page, Paged, Service, ServiceError};
use crate::store::StoreError;
use godwit_model::policy::{BuiltIn, Policy};
use godwit_model::role;
use godwit_model::time::Timestamp;

/// A policy as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenPolicy {
    /// Its name.
    pub name: String,
    /// Whether it is always there and cannot be changed.
    pub built_in: bool,
    /// Its JSON.
    pub document: String,
    /// For people.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// A role: what the runs of its jobs may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its JSON, in the language of policies.
    pub document: String,
    /// For people.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// What to change of a policy or a role; `None` leaves it as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PolicyChanges {
    /// The new JSON.
    pub document: Option<String>,
    /// For people; an empty one removes it.
    pub description: Option<String>,
}

impl Service {
    /// `CreatePolicy`. `operations` are the actions of all operations that there are.
    pub async fn create_policy(
        &self,
        name: &str,
        document: &str,
        description: Option<&str>,
        operations: &[&str],
        now: Timestamp,
    ) -> Answer<()> {
        check_name("policyName", name)?;
        refuse_built_in(name)?;
        check_document(document, operations)?;
        let policy = WrittenPolicy {
            name: name.to_owned(),
            built_in: false,
            document: document.to_owned(),
            description: text(description)?,
            created_at: now,
            changed_at: now,
        };
        Ok(self.line.store.add_policy(&policy).await??)
    }

    /// `UpdatePolicy`: for all who have it, from the next call on.
    pub async fn update_policy(
        &self,
        name: &str,
        changes: &PolicyChanges,
        operations: &[&str],
        now: Timestamp,
    ) -> Answer<()> {
        refuse_built_in(name)?;
        changes.check(operations)?;
        Ok(self.line.store.update_policy(name, changes, now).await??)
    }

    /// `DeletePolicy`: refused while a user has it.
    pub async fn delete_policy(&self, name: &str) -> Answer<()> {
        refuse_built_in(name)?;
        Ok(self.line.store.delete_policy(name).await??)
    }

    /// `DescribePolicies`: the built-in ones first. If `names` are given: exactly these, on one page.
    pub async fn describe_policies(&self, names: Option<&[String]>, page: &Page) -> Answer<Paged<WrittenPolicy>> {
        let store = &self.line.store;
        if let Some(names) = names {
            let read = |name: String| async move {
                match BuiltIn::named(&name) {
                    Some(built_in) => Ok(Some(written(built_in))),
                    None => store.policy(&name).await,
                }
            };
            return named(names, "policy", "policies", page, read).await;
        }
        let read = |after: Option<crate::store::After>, limit: usize| async move {
            let is_behind = |policy: &WrittenPolicy| {
                after.as_ref().is_none_or(|a| (policy.created_at.0, policy.name.as_str()) > (a.key, a.id.as_str()))
            };
            let mut all: Vec<_> = BuiltIn::ALL.into_iter().map(written).filter(is_behind).collect();
            all.extend(store.policies(after, limit).await?);
            all.truncate(limit);
            Ok(all)
        };
        paged(page, "policies", read, |policy| (policy.created_at.0, policy.name.clone())).await
    }

    /// `CreateRole`.
    pub async fn create_role(
        &self,
        name: &str,
        document: &str,
        description: Option<&str>,
        operations: &[&str],
        now: Timestamp,
    ) -> Answer<()> {
        check_name("roleName", name)?;
        check_document(document, operations)?;
        let role = Role {
            name: name.to_owned(),
            document: document.to_owned(),
            description: text(description)?,
            created_at: now,
            changed_at: now,
        };
        Ok(self.line.store.add_role(&role).await??)
    }

    /// `UpdateRole`: for all its jobs, from their next run on.
    pub async fn update_role(
        &self,
        name: &str,
        changes: &PolicyChanges,
        operations: &[&str],
        now: Timestamp,
    ) -> Answer<()> {
        changes.check(operations)?;
        Ok(self.line.store.update_role(name, changes, now).await??)
    }

    /// `DeleteRole`: refused while a job that is not over uses it.
    pub async fn delete_role(&self, name: &str) -> Answer<()> {
        Ok(self.line.store.delete_role(name).await??)
    }

    /// `DescribeRoles`. If `names` are given: exactly these, on one page.
    pub async fn describe_roles(&self, names: Option<&[String]>, page: &Page) -> Answer<Paged<Role>> {
        let store = &self.line.store;
        if let Some(names) = names {
            return named(names, "role", "roles", page, |name| async move { store.role(&name).await }).await;
        }
        let read = |after, limit| store.roles(after, limit);
        paged(page, "roles", read, |role| (role.created_at.0, role.name.clone())).await
    }
}

impl PolicyChanges {
    fn check(&self, operations: &[&str]) -> Answer<()> {
        if self.document.is_none() && self.description.is_none() {
            return Err(ServiceError::missing("nothing is to be changed: give policyDocument or description"));
        }
        if let Some(document) = &self.document {
            check_document(document, operations)?;
        }
        text(self.description.as_deref()).map(|_| ())
    }
}

/// Exactly the things of these names, on one page of the list called `list`. One that does not exist is refused.
pub(super) async fn named<T, F>(
    names: &[String],
    noun: &str,
    list: &str,
    page: &Page,
    read: impl Fn(String) -> F,
) -> Answer<Paged<T>>
where
    F: Future<Output = Result<Option<T>, StoreError>>,
{
    page.check(list)?;
    if names.len() > LONGEST_PAGE {
        return Err(ServiceError::invalid(format!("{} names at once: give at most {LONGEST_PAGE}", names.len())));
    }
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let found = read(name.clone()).await?;
        let shown: String = name.chars().take(64).collect();
        items.push(found.ok_or_else(|| ServiceError::invalid(format!("there is no {noun} '{shown}'")))?);
    }
    Ok(Paged { items, next: None })
}

/// A built-in policy comes before all others, whenever they were made.
fn written(built_in: BuiltIn) -> WrittenPolicy {
    WrittenPolicy {
        name: built_in.name().to_owned(),
        built_in: true,
        document: built_in.document(),
        description: Some(built_in.description().to_owned()),
        created_at: Timestamp(0),
        changed_at: Timestamp(0),
    }
}

fn check_document(document: &str, operations: &[&str]) -> Answer<()> {
    let policy = Policy::parse(document).map_err(|error| ServiceError::invalid(format!("policyDocument: {error}")))?;
    let mut known = operations.to_vec();
    role::actions().for_each(|action| known.push(action));
    policy.check(&known).map_err(|error| ServiceError::invalid(format!("policyDocument: {error}")))
}

fn refuse_built_in(name: &str) -> Answer<()> {
    match BuiltIn::named(name) {
        None => Ok(()),
        Some(_) => Err(ServiceError::not_permitted(format!(
            "the policy '{name}' is built in and stays as it is: create one of your own under another name"
        ))),
    }
}

fn text(given: Option<&str>) -> Answer<Option<String>> {
    super::jobs::text(given, "description")
}
