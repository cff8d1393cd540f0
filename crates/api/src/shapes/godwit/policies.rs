//! Policies, and the roles that jobs run under.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `CreatePolicy`.
    CreatePolicyRequest {
        /// Its name.
        policy_name: String,
        /// Its JSON, as text.
        policy_document: String,
        /// For people.
        description: Option<String>,
    }

    /// Request of `UpdatePolicy`: what is absent stays as it is.
    UpdatePolicyRequest {
        /// Which policy.
        policy_name: String,
        /// The new JSON, as text.
        policy_document: Option<String>,
        /// For people; an empty one removes it.
        description: Option<String>,
    }

    /// Request of `DeletePolicy`.
    PolicyRequest {
        /// Which policy.
        policy_name: String,
    }

    /// Request of `DescribePolicies`.
    #[derive(Default)]
    DescribePoliciesRequest {
        /// Only these.
        policy_names: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribePolicies`.
    DescribePoliciesResponse {
        /// The policies, the built-in ones first.
        policies: Vec<PolicyDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A policy.
    PolicyDescription {
        /// Its name.
        policy_name: String,
        /// Whether it is always there and cannot be changed.
        built_in: bool,
        /// Its JSON, as text.
        policy_document: String,
        /// For people.
        description: Option<String>,
        /// When it was created; absent if it is built in.
        created_on: Option<EpochSeconds>,
        /// When it was last changed; absent if it is built in.
        changed_on: Option<EpochSeconds>,
    }

    /// Request of `CreateRole`.
    CreateRoleRequest {
        /// Its name.
        role_name: String,
        /// Its JSON, as text.
        policy_document: String,
        /// For people.
        description: Option<String>,
    }

    /// Request of `UpdateRole`: what is absent stays as it is.
    UpdateRoleRequest {
        /// Which role.
        role_name: String,
        /// The new JSON, as text.
        policy_document: Option<String>,
        /// For people; an empty one removes it.
        description: Option<String>,
    }

    /// Request of `DeleteRole`.
    RoleRequest {
        /// Which role.
        role_name: String,
    }

    /// Request of `DescribeRoles`.
    #[derive(Default)]
    DescribeRolesRequest {
        /// Only these.
        role_names: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeRoles`.
    DescribeRolesResponse {
        /// The roles, oldest first.
        roles: Vec<RoleDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A role.
    RoleDescription {
        /// Its name.
        role_name: String,
        /// Its JSON, as text.
        policy_document: String,
        /// For people.
        description: Option<String>,
        /// When it was created.
        created_on: EpochSeconds,
        /// When it was last changed.
        changed_on: EpochSeconds,
    }
}
