//! The policies that are always there, and which of them may do what.
//!
//! Reading is told by the operation's verb. Of all others, each is named in one of two lists: a test of the API fails
//! when an operation is in neither, so that whoever adds one decides.

use super::Policy;
use std::fmt::Write;

/// Verbs of operations that show what is there and change nothing. Not `Read`: bytes of disks are no description.
const READING: [&str; 5] = ["Get", "Describe", "List", "Preview", "Verify"];

/// What changes something, or gives away what is on disks, and belongs to the daily work.
pub const OPERATORS: &[&str] = &[
    "sms:CreateApp",
    "sms:CreateReplicationJob",
    "sms:DeleteApp",
    "sms:DeleteAppLaunchConfiguration",
    "sms:DeleteAppReplicationConfiguration",
    "sms:DeleteAppValidationConfiguration",
    "sms:DeleteReplicationJob",
    "sms:DeleteServerCatalog",
    "sms:DisassociateConnector",
    "sms:GenerateChangeSet",
    "sms:GenerateTemplate",
    "sms:ImportAppCatalog",
    "sms:ImportServerCatalog",
    "sms:LaunchApp",
    "sms:NotifyAppValidationOutput",
    "sms:PutAppLaunchConfiguration",
    "sms:PutAppReplicationConfiguration",
    "sms:PutAppValidationConfiguration",
    "sms:StartAppReplication",
    "sms:StartOnDemandAppReplication",
    "sms:StartOnDemandReplicationRun",
    "sms:StopAppReplication",
    "sms:TerminateApp",
    "sms:UpdateApp",
    "sms:UpdateReplicationJob",
    "godwit:AssociateConnector",
    "godwit:CreateReplicationJob",
    "godwit:DeleteImage",
    "godwit:ReadImage",
    "godwit:RedeliverNotification",
    "godwit:ResumeReplicationJob",
    "godwit:SendTestNotification",
    "godwit:StartImageVerification",
    "godwit:StartScrub",
    "godwit:StartSweep",
    "godwit:TestConnector",
    "godwit:UpdateConnector",
    "godwit:UpdateLimits",
    "godwit:UpdateReplicationJob",
    "godwit:UpdateReplicationRun",
];

/// What decides who may do what, and about keys: only for administrators.
pub const ADMINISTRATORS: &[&str] = &[
    "godwit:AttachPolicy",
    "godwit:CreateAccessKey",
    "godwit:CreateAlias",
    "godwit:CreateKey",
    "godwit:CreatePolicy",
    "godwit:CreateRole",
    "godwit:CreateSignInLink",
    "godwit:CreateUser",
    "godwit:DeleteAccessKey",
    "godwit:DeleteAlias",
    "godwit:DeletePassword",
    "godwit:DeletePolicy",
    "godwit:DeleteRole",
    "godwit:DeleteUser",
    "godwit:DetachPolicy",
    "godwit:DisableAccessKey",
    "godwit:DisableKey",
    "godwit:DisableUser",
    "godwit:EnableAccessKey",
    "godwit:EnableKey",
    "godwit:EnableUser",
    "godwit:RotateAccessKey",
    "godwit:RotateKey",
    "godwit:SetDefaultKey",
    "godwit:SetPassword",
    "godwit:UpdateKey",
    "godwit:UpdatePolicy",
    "godwit:UpdateRole",
];

/// Whether an action only shows what is there.
pub fn is_reading(action: &str) -> bool {
    let name = action.split_once(':').map_or(action, |(_, name)| name);
    READING.iter().any(|verb| name.starts_with(verb))
}

/// A policy that is always there and cannot be changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BuiltIn {
    /// Everything.
    Administrator,
    /// Everything but users, access keys, policies, roles and keys.
    Operator,
    /// Sees everything but the content of disks, changes nothing.
    ReadOnly,
}

impl BuiltIn {
    /// Every one, by name.
    pub const ALL: [BuiltIn; 3] = [BuiltIn::Administrator, BuiltIn::Operator, BuiltIn::ReadOnly];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            BuiltIn::Administrator => "administrator",
            BuiltIn::Operator => "operator",
            BuiltIn::ReadOnly => "read-only",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<BuiltIn> {
        BuiltIn::ALL.into_iter().find(|built_in| built_in.name() == name)
    }

    /// What it is for.
    pub const fn description(self) -> &'static str {
        match self {
            BuiltIn::Administrator => "Everything",
            BuiltIn::Operator => "Everything but changes of users, access keys, policies, roles and keys",
            BuiltIn::ReadOnly => "Everything that shows what is there, without the content of disks",
        }
    }

    /// As people would write it.
    pub fn document(self) -> String {
        let reading = READING.iter().flat_map(|verb| [format!("sms:{verb}*"), format!("godwit:{verb}*")]);
        let actions: Vec<String> = match self {
            BuiltIn::Administrator => vec!["*".to_owned()],
            BuiltIn::Operator => OPERATORS.iter().map(|action| (*action).to_owned()).chain(reading).collect(),
            BuiltIn::ReadOnly => reading.collect(),
        };
        let mut list = String::new();
        for action in actions {
            let comma = if list.is_empty() { "" } else { ", " };
            write!(list, "{comma}\"{action}\"").expect("a text can always be written to");
        }
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": [{list}], "Resource": "*"}}]}}"#
        )
    }

    /// The same, understood.
    pub fn policy(self) -> Policy {
        Policy::parse(&self.document()).expect("a built-in policy is written by the rules")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, evaluate};
    use super::*;

    #[test]
    fn built_in_policies_allow_what_the_lists_say() {
        let allows = |built_in: BuiltIn, action| evaluate([&built_in.policy()], action) == Verdict::Allowed;
        for action in ["sms:GetServers", "godwit:DescribeUsers", "sms:ListApps", "godwit:ListImageExtents"] {
            assert!(BuiltIn::ALL.into_iter().all(|b| allows(b, action)) && is_reading(action), "{action}");
        }
        for action in OPERATORS {
            assert!(allows(BuiltIn::Administrator, action) && allows(BuiltIn::Operator, action), "{action}");
            assert!(!allows(BuiltIn::ReadOnly, action) && !is_reading(action), "{action}");
        }
        for action in ADMINISTRATORS {
            assert!(allows(BuiltIn::Administrator, action) && !allows(BuiltIn::Operator, action), "{action}");
            assert!(!allows(BuiltIn::ReadOnly, action), "{action}");
        }
        assert!(OPERATORS.iter().all(|action| !ADMINISTRATORS.contains(action)));
        assert!(BuiltIn::ALL.into_iter().all(|b| BuiltIn::named(b.name()) == Some(b)));
    }
}
