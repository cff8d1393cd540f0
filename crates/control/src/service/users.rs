//! Users: who there is, and which policies they have.

use super::page::paged;
use super::policies::named;
use super::{Answer, Page, Paged, Service, ServiceError};
use crate::store::StoreError;
use godwit_model::policy::{Policy, Verdict, evaluate};
use godwit_model::time::Timestamp;

/// Longest name of a user, a policy or a role.
const LONGEST_NAME: usize = 64;

/// Policies of a user at most, when they are given at once: every call looks at all of its caller's.
const MOST_POLICIES: usize = 20;

/// Somebody, or some program, that may sign requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Whether its access keys are taken at all.
    pub enabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Names of its policies.
    pub policies: Vec<String>,
    /// Whether it can sign in with a password.
    pub has_password: bool,
}

impl Service {
    /// `CreateUser`: with these policies from the start. It has no access key yet.
    pub async fn create_user(&self, name: &str, policies: &[String], now: Timestamp) -> Answer<()> {
        check_name("userName", name)?;
        if policies.len() > MOST_POLICIES {
            let what = format!("policyNames: {} are given, a user has at most {MOST_POLICIES}", policies.len());
            return Err(ServiceError::invalid(what));
        }
        Ok(self.line.store.add_user(name, policies, now).await??)
    }

    /// `DescribeUsers`. If `names` are given: exactly these, on one page.
    pub async fn describe_users(&self, names: Option<&[String]>, page: &Page) -> Answer<Paged<User>> {
        let store = &self.line.store;
        if let Some(names) = names {
            return named(names, "user", "users", page, |name| async move { store.user(&name).await }).await;
        }
        let read = |after, limit| store.users(after, limit);
        paged(page, "users", read, |user| (user.created_at.0, user.name.clone())).await
    }

    /// `EnableUser` and `DisableUser`. Already so: nothing changes.
    pub async fn set_user_enabled(&self, name: &str, enabled: bool) -> Answer<()> {
        Ok(self.line.store.set_user_enabled(name, enabled).await??)
    }

    /// `DeleteUser`: with its access keys.
    pub async fn delete_user(&self, name: &str) -> Answer<()> {
        Ok(self.line.store.delete_user(name).await??)
    }

    /// `AttachPolicy`. Already attached: nothing changes.
    pub async fn attach_policy(&self, user: &str, policy: &str) -> Answer<()> {
        let has = self.line.store.user(user).await?.map_or(0, |user| user.policies.len());
        if has > MOST_POLICIES {
            let what =
                format!("'{user}' has {has} policies, more than {MOST_POLICIES} are not allowed: detach one first");
            return Err(ServiceError::not_permitted(what));
        }
        Ok(self.line.store.attach_policy(user, policy).await??)
    }

    /// `DetachPolicy`. Not attached: nothing changes.
    pub async fn detach_policy(&self, user: &str, policy: &str) -> Answer<()> {
        Ok(self.line.store.detach_policy(user, policy).await??)
    }

    /// The user whose key this is, if it may carry out `action`; else the refusal. Ask after the signature is proven.
    pub async fn authorize(&self, access_key_id: &str, action: &str, now: Timestamp) -> Answer<String> {
        let Some(owner) = self.line.store.key_owner(access_key_id).await? else {
            return Err(unauthorized(format!("the access key was removed; {action} was not carried out")));
        };
        check_allowed(&owner.user, &owner.policies, action)?;
        self.note_use(access_key_id, owner.last_used_at, now).await;
        Ok(owner.user)
    }

    /// Whether the user of a session may carry out `action`; else the refusal.
    pub async fn authorize_user(&self, user: &str, action: &str) -> Answer<()> {
        let policies = self.line.store.policies_of_enabled(user).await?;
        check_allowed(user, &policies, action)
    }

    /// Which of `actions` a user may carry out.
    pub async fn allowed(&self, user: &str, actions: &[&'static str]) -> Answer<Vec<&'static str>> {
        let policies = self.line.store.policies_of_enabled(user).await?;
        let may = |action: &&'static str| check_allowed(user, &policies, action).is_ok();
        Ok(actions.iter().copied().filter(may).collect())
    }

    /// Coarse, so that a call that only reads does not cost a write. A full disk keeps nobody from asking why.
    async fn note_use(&self, access_key_id: &str, last: Option<Timestamp>, now: Timestamp) {
        if last.is_some_and(|last| now < last + super::access_keys::USE_NOTED_EVERY) {
            return;
        }
        if let Err(error) = self.line.store.key_used(access_key_id, now).await {
            let failure: &StoreError = &error;
            tracing::debug!(access_key_id, error = %failure, "the use of an access key was not recorded");
        }
    }
}

/// Refuses what the policies of a user do not allow it.
fn check_allowed(user: &str, policies: &[(String, Policy)], action: &str) -> Answer<()> {
    match evaluate(policies.iter().map(|(_, policy)| policy), action) {
        Verdict::Allowed => Ok(()),
        Verdict::Denied => {
            let denies = |policy| evaluate([policy], action) == Verdict::Denied;
            let name = policies.iter().find(|(_, policy)| denies(policy)).map_or("", |(name, _)| name.as_str());
            Err(unauthorized(format!("the user '{user}' may not do {action}: the policy '{name}' denies it")))
        }
        Verdict::NotAllowed => Err(unauthorized(format!(
            "the user '{user}' may not do {action}: none of its policies allows it; an administrator can attach one"
        ))),
    }
}

fn unauthorized(why: String) -> ServiceError {
    ServiceError::new(super::ErrorCode::UnauthorizedOperation, why)
}

/// Refuses what cannot be a name of a user, a policy or a role: as IAM does it.
pub(super) fn check_name(member: &str, name: &str) -> Answer<()> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fits) {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        return Err(ServiceError::invalid(format!(
            "{member} '{shown}' cannot be a name: give 1 to {LONGEST_NAME} letters, digits or characters of + = , . @ _ -"
        )));
    }
    Ok(())
}
