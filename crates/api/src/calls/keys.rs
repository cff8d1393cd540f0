//! Named keys.

use super::{Outcome, page};
use crate::shapes::godwit::{
    self, CreateAliasRequest, CreateKeyRequest, CreateKeyResponse, DeleteAliasRequest, DescribeKeysRequest,
    DescribeKeysResponse, KeyDescription, KeyRequest, NoAnswer, RotateKeyResponse, UpdateKeyRequest,
};
use godwit_control::service::{Key, NewKey, Service};
use godwit_model::key::KeyState;
use godwit_model::time::Timestamp;

/// `CreateKey`.
pub async fn create(service: &Service, now: Timestamp, request: CreateKeyRequest) -> Outcome<CreateKeyResponse> {
    let new = NewKey { description: request.description, alias: request.alias };
    Ok(CreateKeyResponse { key: description(service.create_key(new, now).await?) })
}

/// `DescribeKeys`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeKeysRequest,
) -> Outcome<DescribeKeysResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_keys(request.key_ids.as_deref(), &page).await?.map(description);
    Ok(DescribeKeysResponse { keys: found.items, next_token: found.next })
}

/// `UpdateKey`.
pub async fn update(service: &Service, now: Timestamp, request: UpdateKeyRequest) -> Outcome<NoAnswer> {
    service.update_key(&request.key_id, request.description.as_deref(), now).await?;
    Ok(NoAnswer {})
}

/// `RotateKey`.
pub async fn rotate(service: &Service, now: Timestamp, request: KeyRequest) -> Outcome<RotateKeyResponse> {
    Ok(RotateKeyResponse { version: service.rotate_key(&request.key_id, now).await? })
}

/// `EnableKey`.
pub async fn enable(service: &Service, now: Timestamp, request: KeyRequest) -> Outcome<NoAnswer> {
    service.set_key_state(&request.key_id, KeyState::Enabled, now).await?;
    Ok(NoAnswer {})
}

/// `DisableKey`.
pub async fn disable(service: &Service, now: Timestamp, request: KeyRequest) -> Outcome<NoAnswer> {
    service.set_key_state(&request.key_id, KeyState::Disabled, now).await?;
    Ok(NoAnswer {})
}

/// `SetDefaultKey`.
pub async fn set_default(service: &Service, now: Timestamp, request: KeyRequest) -> Outcome<NoAnswer> {
    service.set_default_key(&request.key_id, now).await?;
    Ok(NoAnswer {})
}

/// `CreateAlias`.
pub async fn create_alias(service: &Service, now: Timestamp, request: CreateAliasRequest) -> Outcome<NoAnswer> {
    service.create_alias(&request.alias, &request.key_id, now).await?;
    Ok(NoAnswer {})
}

/// `DeleteAlias`.
pub async fn delete_alias(service: &Service, now: Timestamp, request: DeleteAliasRequest) -> Outcome<NoAnswer> {
    service.delete_alias(&request.alias, now).await?;
    Ok(NoAnswer {})
}

fn description(key: Key) -> KeyDescription {
    KeyDescription {
        key_id: key.id.to_string(),
        arn: key.arn,
        aliases: key.aliases,
        description: key.description,
        state: match key.state {
            KeyState::Enabled => godwit::KeyState::Enabled,
            KeyState::Disabled => godwit::KeyState::Disabled,
        },
        state_since: key.state_since.into(),
        default: key.is_default,
        version: key.version,
        rotated_on: key.rotated_at.map(Into::into),
        created_on: key.created_at.into(),
    }
}
