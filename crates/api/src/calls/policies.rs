//! Policies, and the roles that jobs run under.

use super::{Outcome, page};
use crate::operations::actions;
use crate::shapes::godwit::{
    CreatePolicyRequest, CreateRoleRequest, DescribePoliciesRequest, DescribePoliciesResponse, DescribeRolesRequest,
    DescribeRolesResponse, NoAnswer, PolicyDescription, PolicyRequest, RoleDescription, RoleRequest,
    UpdatePolicyRequest, UpdateRoleRequest,
};
use godwit_control::service::{PolicyChanges, Role, Service, WrittenPolicy};
use godwit_model::time::Timestamp;

/// `CreatePolicy`.
pub async fn create(service: &Service, now: Timestamp, request: CreatePolicyRequest) -> Outcome<NoAnswer> {
    let description = request.description.as_deref();
    let (name, document) = (&request.policy_name, &request.policy_document);
    service.create_policy(name, document, description, &actions(), now).await?;
    Ok(NoAnswer {})
}

/// `UpdatePolicy`.
pub async fn update(service: &Service, now: Timestamp, request: UpdatePolicyRequest) -> Outcome<NoAnswer> {
    let changes = PolicyChanges { document: request.policy_document, description: request.description };
    service.update_policy(&request.policy_name, &changes, &actions(), now).await?;
    Ok(NoAnswer {})
}

/// `DeletePolicy`.
pub async fn delete(service: &Service, _now: Timestamp, request: PolicyRequest) -> Outcome<NoAnswer> {
    service.delete_policy(&request.policy_name).await?;
    Ok(NoAnswer {})
}

/// `DescribePolicies`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribePoliciesRequest,
) -> Outcome<DescribePoliciesResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_policies(request.policy_names.as_deref(), &page).await?.map(policy);
    Ok(DescribePoliciesResponse { policies: found.items, next_token: found.next })
}

/// `CreateRole`.
pub async fn create_role(service: &Service, now: Timestamp, request: CreateRoleRequest) -> Outcome<NoAnswer> {
    let description = request.description.as_deref();
    let (name, document) = (&request.role_name, &request.policy_document);
    service.create_role(name, document, description, &actions(), now).await?;
    Ok(NoAnswer {})
}

/// `UpdateRole`.
pub async fn update_role(service: &Service, now: Timestamp, request: UpdateRoleRequest) -> Outcome<NoAnswer> {
    let changes = PolicyChanges { document: request.policy_document, description: request.description };
    service.update_role(&request.role_name, &changes, &actions(), now).await?;
    Ok(NoAnswer {})
}

/// `DeleteRole`.
pub async fn delete_role(service: &Service, _now: Timestamp, request: RoleRequest) -> Outcome<NoAnswer> {
    service.delete_role(&request.role_name).await?;
    Ok(NoAnswer {})
}

/// `DescribeRoles`.
pub async fn describe_roles(
    service: &Service,
    _now: Timestamp,
    request: DescribeRolesRequest,
) -> Outcome<DescribeRolesResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_roles(request.role_names.as_deref(), &page).await?.map(role);
    Ok(DescribeRolesResponse { roles: found.items, next_token: found.next })
}

fn policy(policy: WrittenPolicy) -> PolicyDescription {
    let unless_built_in = |at: Timestamp| (!policy.built_in).then(|| at.into());
    PolicyDescription {
        created_on: unless_built_in(policy.created_at),
        changed_on: unless_built_in(policy.changed_at),
        policy_name: policy.name,
        built_in: policy.built_in,
        policy_document: policy.document,
        description: policy.description,
    }
}

fn role(role: Role) -> RoleDescription {
    RoleDescription {
        role_name: role.name,
        policy_document: role.document,
        description: role.description,
        created_on: role.created_at.into(),
        changed_on: role.changed_at.into(),
    }
}
