//! Users and their access keys.

use super::{Outcome, page};
use crate::shapes::godwit::{
    AccessKeyDescription, AccessKeyRequest, CreateSignInLinkResponse, CreateUserRequest, DescribeAccessKeysRequest,
    DescribeAccessKeysResponse, DescribeUsersRequest, DescribeUsersResponse, NewAccessKeyResponse, NoAnswer,
    PolicyOfUserRequest, RotateAccessKeyRequest, SetPasswordRequest, UserDescription, UserRequest,
};
use godwit_control::service::{AccessKey, NewAccessKey, Secret, Service, User};
use godwit_model::time::Timestamp;

/// `CreateUser`.
pub async fn create(service: &Service, now: Timestamp, request: CreateUserRequest) -> Outcome<NoAnswer> {
    let policies = request.policy_names.unwrap_or_default();
    service.create_user(&request.user_name, &policies, now).await?;
    Ok(NoAnswer {})
}

/// `DescribeUsers`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeUsersRequest,
) -> Outcome<DescribeUsersResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_users(request.user_names.as_deref(), &page).await?.map(user);
    Ok(DescribeUsersResponse { users: found.items, next_token: found.next })
}

/// `EnableUser`.
pub async fn enable(service: &Service, _now: Timestamp, request: UserRequest) -> Outcome<NoAnswer> {
    service.set_user_enabled(&request.user_name, true).await?;
    Ok(NoAnswer {})
}

/// `DisableUser`.
pub async fn disable(service: &Service, _now: Timestamp, request: UserRequest) -> Outcome<NoAnswer> {
    service.set_user_enabled(&request.user_name, false).await?;
    Ok(NoAnswer {})
}

/// `DeleteUser`.
pub async fn delete(service: &Service, _now: Timestamp, request: UserRequest) -> Outcome<NoAnswer> {
    service.delete_user(&request.user_name).await?;
    Ok(NoAnswer {})
}

/// `AttachPolicy`.
pub async fn attach_policy(service: &Service, _now: Timestamp, request: PolicyOfUserRequest) -> Outcome<NoAnswer> {
    service.attach_policy(&request.user_name, &request.policy_name).await?;
    Ok(NoAnswer {})
}

/// `DetachPolicy`.
pub async fn detach_policy(service: &Service, _now: Timestamp, request: PolicyOfUserRequest) -> Outcome<NoAnswer> {
    service.detach_policy(&request.user_name, &request.policy_name).await?;
    Ok(NoAnswer {})
}

/// `CreateAccessKey`.
pub async fn create_key(service: &Service, now: Timestamp, request: UserRequest) -> Outcome<NewAccessKeyResponse> {
    Ok(new_key(service.create_access_key(&request.user_name, now).await?))
}

/// `RotateAccessKey`.
pub async fn rotate_key(
    service: &Service,
    now: Timestamp,
    request: RotateAccessKeyRequest,
) -> Outcome<NewAccessKeyResponse> {
    let grace = request.grace_minutes.map(i64::from);
    Ok(new_key(service.rotate_access_key(&request.access_key_id, grace, now).await?))
}

/// `EnableAccessKey`.
pub async fn enable_key(service: &Service, now: Timestamp, request: AccessKeyRequest) -> Outcome<NoAnswer> {
    service.set_access_key_enabled(&request.access_key_id, true, now).await?;
    Ok(NoAnswer {})
}

/// `DisableAccessKey`.
pub async fn disable_key(service: &Service, now: Timestamp, request: AccessKeyRequest) -> Outcome<NoAnswer> {
    service.set_access_key_enabled(&request.access_key_id, false, now).await?;
    Ok(NoAnswer {})
}

/// `DeleteAccessKey`.
pub async fn delete_key(service: &Service, _now: Timestamp, request: AccessKeyRequest) -> Outcome<NoAnswer> {
    service.delete_access_key(&request.access_key_id).await?;
    Ok(NoAnswer {})
}

/// `DescribeAccessKeys`.
pub async fn describe_keys(
    service: &Service,
    now: Timestamp,
    request: DescribeAccessKeysRequest,
) -> Outcome<DescribeAccessKeysResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_access_keys(request.user_name.as_deref(), &page, now).await?.map(key);
    Ok(DescribeAccessKeysResponse { access_keys: found.items, next_token: found.next })
}

/// `SetPassword`.
pub async fn set_password(service: &Service, now: Timestamp, request: SetPasswordRequest) -> Outcome<NoAnswer> {
    service.set_password(&request.user_name, Secret::new(request.password), now).await?;
    Ok(NoAnswer {})
}

/// `DeletePassword`.
pub async fn delete_password(service: &Service, _now: Timestamp, request: UserRequest) -> Outcome<NoAnswer> {
    service.delete_password(&request.user_name).await?;
    Ok(NoAnswer {})
}

/// `CreateSignInLink`.
pub async fn create_link(service: &Service, now: Timestamp, request: UserRequest) -> Outcome<CreateSignInLinkResponse> {
    let link = service.create_sign_in_link(&request.user_name, now).await?;
    let (token, expires_on) = (link.token.expose().to_owned(), link.expires_at.into());
    Ok(CreateSignInLinkResponse { user_name: request.user_name, token, expires_on })
}

fn user(user: User) -> UserDescription {
    UserDescription {
        user_name: user.name,
        enabled: user.enabled,
        policy_names: user.policies,
        has_password: user.has_password,
        created_on: user.created_at.into(),
    }
}

fn key(key: AccessKey) -> AccessKeyDescription {
    AccessKeyDescription {
        access_key_id: key.id,
        user_name: key.user,
        enabled: key.enabled,
        created_on: key.created_at.into(),
        last_used_on: key.last_used_at.map(Into::into),
        ends_on: key.ends_at.map(Into::into),
    }
}

fn new_key(key: NewAccessKey) -> NewAccessKeyResponse {
    NewAccessKeyResponse {
        access_key_id: key.id,
        secret_access_key: key.secret.expose().to_owned(),
        user_name: key.user,
        old_key_ends_on: key.old_ends_at.map(Into::into),
    }
}
