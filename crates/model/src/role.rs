//! Roles: what the runs of a job may do, whoever created the job.

use crate::policy::{Policy, Verdict, evaluate};

/// The role of a job that names none: made automatically.
pub const DEFAULT: &str = "sms";

/// What AWS calls its own: clients of the seed service send it. Made automatically too.
pub const SERVICE_LINKED: &str = "AWSServiceRoleForSMS";

/// What every run does: read its source, write to the store, register the image.
pub const EVERY_RUN: [&str; 3] = ["godwit:ReadSource", "godwit:WriteStore", "godwit:RegisterImage"];

/// What the run of a job with a named key does too.
pub const WITH_KEY: &str = "godwit:UseKey";

/// What a role that is made automatically allows, as people would write it.
pub const DEFAULT_DOCUMENT: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["godwit:ReadSource", "godwit:WriteStore", "godwit:RegisterImage", "godwit:UseKey"], "Resource": "*"}]}"#;

/// A role that does not allow what a run needs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the role does not allow {}", missing.join(", "))]
pub struct Insufficient {
    /// The actions that it does not allow.
    pub missing: Vec<&'static str>,
}

/// Every action that only roles know: nobody calls them.
pub fn actions() -> impl Iterator<Item = &'static str> {
    EVERY_RUN.into_iter().chain([WITH_KEY])
}

/// Whether a role of this name is made when a job first asks for it.
pub fn is_automatic(name: &str) -> bool {
    name == DEFAULT || name == SERVICE_LINKED
}

/// Whether a role allows all that a run needs; `named_key` says whether its job has one.
pub fn suffices(policy: &Policy, named_key: bool) -> Result<(), Insufficient> {
    let needed = EVERY_RUN.into_iter().chain(named_key.then_some(WITH_KEY));
    let missing: Vec<_> = needed.filter(|action| evaluate([policy], action) != Verdict::Allowed).collect();
    if missing.is_empty() { Ok(()) } else { Err(Insufficient { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let policy = |text: &str| Policy::parse(text).unwrap();
        assert_eq!(suffices(&policy(DEFAULT_DOCUMENT), true), Ok(()));
        let some = policy(
            r#"{"Statement": [{"Effect": "Allow", "Action": "godwit:*"}, {"Effect": "Deny", "Action": ["godwit:UseKey"]}]}"#,
        );
        assert_eq!(suffices(&some, false), Ok(()));
        let refused = suffices(&some, true).unwrap_err();
        assert_eq!(refused.to_string(), "the role does not allow godwit:UseKey");
        let nothing = policy(r#"{"Statement": {"Effect": "Allow", "Action": "sms:*"}}"#);
        assert_eq!(suffices(&nothing, false).unwrap_err().missing, EVERY_RUN);
        assert_eq!(policy(DEFAULT_DOCUMENT).check(&actions().collect::<Vec<_>>()), Ok(()));
    }
}
