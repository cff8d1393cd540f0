//! The table of operations: name, request, answer, function, permission.
//!
//! Every operation of the SMS model is in it, also those that do not work yet; a test holds the table against the
//! model.

use crate::calls::{
    audit, connectors, forecasts, images, jobs, keys, limits, notifications, policies, runs, scrub, servers, settings,
    snapshots, store, users,
};
use crate::errors::{ApiError, ErrorCode};
use crate::shapes::godwit::{self, OwnOperation};
use crate::shapes::operations::{self as sms, Operation};
use crate::shapes::rule::Structure;
use crate::wire::Answer;
use futures::future::BoxFuture;
use godwit_control::service::Service;
use godwit_model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// An operation and what carries it out.
pub struct Entry {
    /// What precedes the name in `X-Amz-Target`.
    pub prefix: &'static str,
    /// The operation's name.
    pub name: &'static str,
    /// What a caller must be allowed to do.
    pub permission: &'static str,
    rules: &'static Structure,
    run: Run,
}

/// How an operation is carried out.
#[derive(Clone, Copy)]
enum Run {
    /// The answer is a structure.
    Json(Function),
    /// The answer is bytes, a few mebibytes of them at most.
    Octets(Function),
    /// Not yet.
    Later,
}

type Function = fn(Service, Timestamp, Map<String, Value>) -> BoxFuture<'static, Result<Answer, ApiError>>;

impl Entry {
    /// Whether the operation works in this version.
    pub fn works(&self) -> bool {
        !matches!(self.run, Run::Later)
    }

    /// Whether it answers with bytes of an image.
    pub fn answers_bytes(&self) -> bool {
        matches!(self.run, Run::Octets(_))
    }

    /// Whether it changes nothing, by its verb: what is not known to read counts as a change.
    pub fn only_reads(&self) -> bool {
        ["Get", "Describe", "List", "Read", "Verify", "Preview"].iter().any(|verb| self.name.starts_with(verb))
    }

    /// What its request must obey.
    pub(crate) fn rules(&self) -> &'static Structure {
        self.rules
    }

    /// Checks a request and carries it out.
    pub async fn call(
        &self,
        service: Service,
        now: Timestamp,
        request: Map<String, Value>,
    ) -> Result<Answer, ApiError> {
        let (Run::Json(function) | Run::Octets(function)) = self.run else {
            let message = format!("{} does not work in this version of Godwit yet.", self.name);
            return Err(ApiError::new(ErrorCode::UnknownOperationException, message));
        };
        self.rules.check(&request)?;
        function(service, now, request).await
    }
}

/// The operation of an `X-Amz-Target`.
pub fn find(target: &str) -> Option<&'static Entry> {
    let (prefix, name) = target.split_once('.')?;
    TABLE.iter().find(|entry| entry.prefix == prefix && entry.name == name)
}

/// What there is to be allowed and denied: the permission of every operation.
pub fn actions() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.permission).collect()
}

/// The request as its structure. The rules have been checked, so what fails here was not said in them.
fn read<T: DeserializeOwned>(request: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(request)).map_err(|error| {
        ApiError::new(ErrorCode::SerializationException, format!("The request is not understood: {error}."))
    })
}

macro_rules! entry {
    (sms $name:ident, $run:expr) => {
        Entry {
            prefix: sms::TARGET_PREFIX,
            name: Operation::$name.name(),
            permission: concat!("sms:", stringify!($name)),
            rules: Operation::$name.rules(),
            run: $run,
        }
    };
    (own $name:ident, $run:expr) => {
        Entry {
            prefix: godwit::TARGET_PREFIX,
            name: OwnOperation::$name.name(),
            permission: concat!("godwit:", stringify!($name)),
            rules: OwnOperation::$name.rules(),
            run: $run,
        }
    };
}

macro_rules! table {
    ($($target:ident $name:ident: $kind:ident $($function:path)?;)*) => {
        /// Every operation.
        pub static TABLE: &[Entry] = &[$(entry!($target $name, run!($kind $($function)?)),)*];

        /// Tells of which types requests and answers are.
        #[cfg(test)]
        pub(crate) fn tell_types(to: &mut crate::bindings::Bindings) {
            $(tell!(to, $target $name, $kind $($function)?);)*
        }
    };
}

#[cfg(test)]
macro_rules! tell {
    ($to:ident, $target:ident $name:ident, later) => {};
    ($to:ident, $target:ident $name:ident, $kind:ident $function:path) => {
        $to.$kind(&entry!($target $name, Run::Later), |service, now, request| $function(service, now, request));
    };
}

macro_rules! run {
    (json $function:path) => {
        Run::Json(|service, now, request| {
            Box::pin(async move { Answer::json(&$function(&service, now, read(request)?).await?) })
        })
    };
    (octets $function:path) => {
        Run::Octets(|service, now, request| {
            Box::pin(async move { Ok(Answer::Octets($function(&service, now, read(request)?).await?)) })
        })
    };
    (later) => {
        Run::Later
    };
}

table! {
    sms CreateApp: later;
    sms CreateReplicationJob: json jobs::create;
    sms DeleteApp: later;
    sms DeleteAppLaunchConfiguration: later;
    sms DeleteAppReplicationConfiguration: later;
    sms DeleteAppValidationConfiguration: later;
    sms DeleteReplicationJob: json jobs::delete;
    sms DeleteServerCatalog: json servers::delete_catalog;
    sms DisassociateConnector: json connectors::disassociate;
    sms GenerateChangeSet: later;
    sms GenerateTemplate: later;
    sms GetApp: later;
    sms GetAppLaunchConfiguration: later;
    sms GetAppReplicationConfiguration: later;
    sms GetAppValidationConfiguration: later;
    sms GetAppValidationOutput: later;
    sms GetConnectors: json connectors::get;
    sms GetReplicationJobs: json jobs::get;
    sms GetReplicationRuns: json runs::get;
    sms GetServers: json servers::get;
    sms ImportAppCatalog: later;
    sms ImportServerCatalog: json servers::import_catalog;
    sms LaunchApp: later;
    sms ListApps: later;
    sms NotifyAppValidationOutput: later;
    sms PutAppLaunchConfiguration: later;
    sms PutAppReplicationConfiguration: later;
    sms PutAppValidationConfiguration: later;
    sms StartAppReplication: later;
    sms StartOnDemandAppReplication: later;
    sms StartOnDemandReplicationRun: json runs::start;
    sms StopAppReplication: later;
    sms TerminateApp: later;
    sms UpdateApp: later;
    sms UpdateReplicationJob: json jobs::update;
    own AssociateConnector: json connectors::associate;
    own DescribeConnectors: json connectors::describe;
    own UpdateConnector: json connectors::update;
    own TestConnector: json connectors::test;
    own DescribeServers: json servers::describe;
    own CreateReplicationJob: json jobs::create_own;
    own UpdateReplicationJob: json jobs::update_own;
    own ResumeReplicationJob: json jobs::resume;
    own DescribeReplicationJobs: json jobs::describe;
    own DescribeReplicationRuns: json runs::describe;
    own UpdateReplicationRun: json runs::update;
    own GetForecast: json forecasts::get;
    own DescribeImages: json images::describe;
    own DescribeSnapshots: json snapshots::describe;
    own StartImageVerification: json images::start_verification;
    own ListImageExtents: json images::list_extents;
    own ListImageChanges: json images::list_changes;
    own ReadImage: octets images::read;
    own DeleteImage: json images::delete;
    own DescribeNotifications: json notifications::describe;
    own RedeliverNotification: json notifications::redeliver;
    own SendTestNotification: json notifications::test;
    own DescribeLimits: json limits::describe;
    own UpdateLimits: json limits::update;
    own DescribeStore: json store::describe;
    own DescribeStoreUse: json store::describe_use;
    own DescribeSettings: json settings::describe;
    own PreviewSweep: json store::preview;
    own StartSweep: json store::start;
    own DescribeSweeps: json store::sweeps;
    own StartScrub: json scrub::start;
    own DescribeScrub: json scrub::describe;
    own DescribeAuditRecords: json audit::describe;
    own VerifyAuditTrail: json audit::verify;
    own CreateUser: json users::create;
    own DescribeUsers: json users::describe;
    own EnableUser: json users::enable;
    own DisableUser: json users::disable;
    own DeleteUser: json users::delete;
    own AttachPolicy: json users::attach_policy;
    own DetachPolicy: json users::detach_policy;
    own CreateAccessKey: json users::create_key;
    own RotateAccessKey: json users::rotate_key;
    own EnableAccessKey: json users::enable_key;
    own DisableAccessKey: json users::disable_key;
    own DeleteAccessKey: json users::delete_key;
    own DescribeAccessKeys: json users::describe_keys;
    own SetPassword: json users::set_password;
    own DeletePassword: json users::delete_password;
    own CreateSignInLink: json users::create_link;
    own CreatePolicy: json policies::create;
    own UpdatePolicy: json policies::update;
    own DeletePolicy: json policies::delete;
    own DescribePolicies: json policies::describe;
    own CreateRole: json policies::create_role;
    own UpdateRole: json policies::update_role;
    own DeleteRole: json policies::delete_role;
    own DescribeRoles: json policies::describe_roles;
    own CreateKey: json keys::create;
    own DescribeKeys: json keys::describe;
    own UpdateKey: json keys::update;
    own RotateKey: json keys::rotate;
    own EnableKey: json keys::enable;
    own DisableKey: json keys::disable;
    own SetDefaultKey: json keys::set_default;
    own CreateAlias: json keys::create_alias;
    own DeleteAlias: json keys::delete_alias;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_is_in_the_table_once() {
        let model = Operation::ALL.iter().map(|o| (sms::TARGET_PREFIX, o.name()));
        let own = OwnOperation::ALL.iter().map(|o| (godwit::TARGET_PREFIX, o.name()));
        let wanted: BTreeSet<_> = model.chain(own).collect();
        let there: BTreeSet<_> = TABLE.iter().map(|e| (e.prefix, e.name)).collect();
        assert_eq!(there, wanted);
        assert_eq!(there.len(), TABLE.len(), "none twice");
    }

    #[test]
    fn every_operation_of_our_own_is_on_the_page_of_the_api() {
        let page = include_str!("../../../docs/api.md");
        let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
        for entry in TABLE.iter().filter(|entry| entry.prefix == godwit::TARGET_PREFIX) {
            let name = format!("`{}`", entry.name);
            assert!(rows.iter().any(|row| row.contains(&name)), "docs/api.md has no row of {name}");
        }
    }

    #[test]
    fn permissions_are_named_after_their_operations() {
        for entry in TABLE {
            let wanted = if entry.prefix == sms::TARGET_PREFIX { "sms:" } else { "godwit:" };
            assert_eq!(entry.permission.strip_prefix(wanted), Some(entry.name));
        }
    }

    #[test]
    fn of_every_operation_it_is_decided_which_built_in_policy_allows_it() {
        use godwit_model::policy::{ADMINISTRATORS, OPERATORS, is_reading};
        let all = actions();
        for action in &all {
            let decisions = [is_reading(action), OPERATORS.contains(action), ADMINISTRATORS.contains(action)];
            let n = decisions.into_iter().filter(|decided| *decided).count();
            assert_eq!(
                n, 1,
                "{action}: put it into one of the lists of model::policy, unless its verb shows that it reads"
            );
        }
        let listed = OPERATORS.iter().chain(ADMINISTRATORS);
        assert_eq!(listed.filter(|action| !all.contains(action)).collect::<Vec<_>>(), [&""; 0], "no such operation");
    }

    #[test]
    fn what_works_is_what_the_documentation_promises() {
        let working: Vec<_> = TABLE.iter().filter(|e| e.prefix == sms::TARGET_PREFIX && e.works()).collect();
        let names: Vec<_> = working.iter().map(|e| e.name).collect();
        let promised = [
            "CreateReplicationJob",
            "DeleteReplicationJob",
            "DeleteServerCatalog",
            "DisassociateConnector",
            "GetConnectors",
            "GetReplicationJobs",
            "GetReplicationRuns",
            "GetServers",
            "ImportServerCatalog",
            "StartOnDemandReplicationRun",
            "UpdateReplicationJob",
        ];
        assert_eq!(names, promised);
        assert!(TABLE.iter().all(|e| e.works() || e.prefix == sms::TARGET_PREFIX), "all of our own work");
    }
}
