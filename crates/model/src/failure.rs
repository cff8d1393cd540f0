//! What can go wrong, in words that an operator can act on.
//!
//! A [`Failure`] is what a run, an import or a request ends with: a stable [`Code`], what was seen (the evidence) and,
//! through [`Code::next_step`], what to do. [`Kind`] is the coarse class by which programs decide.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The class of an error: by it callers decide, never by its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The thing named does not exist.
    NotFound,
    /// The request contradicts the present state.
    Conflict,
    /// The caller may not do this.
    Denied,
    /// The request or the data given is wrong in itself.
    Invalid,
    /// Too many requests; later it would work.
    Throttled,
    /// Something needed is out of reach or full; later it may work.
    Unavailable,
    /// Data that was read is not what was written.
    Corrupt,
    /// Godwit broke one of its own rules.
    Bug,
}

impl Kind {
    /// Whether the same attempt can succeed later without anybody changing the request.
    pub const fn is_transient(self) -> bool {
        matches!(self, Kind::Throttled | Kind::Unavailable)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident, $kind:ident, $next:literal;)*) => {
        /// Why a run, an import or a notification failed: stable, so that scripts can match it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table in the documentation.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it is written in status messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// The class that decides about retries.
            pub const fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)* }
            }

            /// What happened, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*).trim_ascii(),)* }
            }

            /// What the operator should do.
            pub const fn next_step(self) -> &'static str {
                match self { $(Code::$name => $next,)* }
            }
        }
    };
}

codes! {
    /// The VM manager cannot be reached.
    SourceUnreachable, Unavailable, "check that the hypervisor runs and that its socket or address is reachable from the connector; the run is tried again";
    /// Something answers, but it does not speak the expected protocol.
    SourceProtocol, Invalid, "check that the address of the connector is the one of the VM manager";
    /// The licence type of the job is not possible for what runs in the server.
    LicenseNotAllowed, Invalid, "change the job's licence type to BYOL or to automatic, then start a run";
    /// The role that the job runs under is missing or does not allow what a run does.
    RoleNotAllowed, Denied, "let the role allow what the message names, or give the job another role, then start a run";
    /// The VM manager refused a command.
    SourceRefused, Invalid, "read the VM manager's own message; permissions, free space beside the disk and other backup jobs are the usual causes";
    /// The server is no longer where the catalog says.
    ServerGone, NotFound, "start the server, or re-import the server catalog and delete the job of a server that no longer exists";
    /// A disk of the server cannot be replicated.
    VolumeUnsupported, Invalid, "convert or detach the disk that the message names";
    /// Reading the source failed or gave less than was asked for.
    SourceRead, Unavailable, "check the source's disk and the link; the run goes on from the last durable block";
    /// The guest's point in time was lost before all of it was read.
    PointInTimeLost, Unavailable, "nothing: the run takes a new point in time and sends only what differs";
    /// The store has no space left.
    StoreFull, Unavailable, "free space where the store is, then start a run: it goes on with what is durable";
    /// The store cannot be reached or refuses.
    StoreUnavailable, Unavailable, "check the store's folder or address and its permissions";
    /// What the store returned is not what was put there.
    StoreCorrupt, Corrupt, "check the store's disk; delete the damaged image and run again: unchanged blocks are compared, not trusted";
    /// The image is not equal to what was read from the source.
    VerifyMismatch, Corrupt, "keep the failed run's record and report it: the image was not registered";
    /// The key that the data is encrypted with is missing or wrong.
    KeyUnavailable, Unavailable, "bring back the master key that belongs to this data folder";
    /// The key that the data is encrypted with, or is to be, is disabled.
    KeyDisabled, Denied, "enable the key (godwit keys enable), or choose another one for the job";
    /// The key that the job names does not exist any more.
    KeyGone, NotFound, "choose another key for the job";
    /// The connector of the server is not associated any more.
    ConnectorGone, NotFound, "associate the connector again, or delete the job";
    /// Stopped because the job was deleted.
    Cancelled, Conflict, "nothing";
    /// A step took longer than its bound.
    TimedOut, Unavailable, "check the load of the source and the store; the run is tried again";
    /// The receiver of a notification cannot be reached, or asks to come back later.
    RecipientUnreachable, Unavailable, "check the address and what receives there, or the mail server and its settings; it is tried again";
    /// The receiver of a notification will not have it.
    RecipientRefused, Invalid, "read the receiver's own words; correct the address with 'godwit jobs update JOB --notify', then 'godwit notifications retry'";
    /// The receiver of a notification is at an address that is not called.
    RecipientNotAllowed, Denied, "give a public address, or set notifications.allow_private_webhooks and start the service again";
    /// There is no mail server to give a mail to.
    NoMailServer, Denied, "name one in notifications.smtp, start the service again, then 'godwit notifications retry'";
    /// Godwit broke one of its own rules.
    Internal, Bug, "report it with the log of the time of the run";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something ended without success: a code, and what was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {evidence}")]
pub struct Failure {
    /// Stable class.
    pub code: Code,
    /// What was seen, where: one sentence without secrets.
    pub evidence: String,
}

impl Failure {
    /// A failure with its evidence.
    pub fn new(code: Code, evidence: impl Into<String>) -> Self {
        Self { code, evidence: evidence.into() }
    }

    /// The whole message for people: code, cause, evidence, next step.
    pub fn message(&self) -> String {
        let (code, evidence) = (self.code, self.evidence.trim_end_matches('.'));
        let cause = code.meaning().trim_end_matches('.');
        format!("{code}: {cause}. Seen: {evidence}. Next step: {}.", code.next_step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_to_do() {
        for code in Code::ALL {
            assert!(!code.next_step().is_empty() && !code.next_step().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn message_has_one_full_stop_between_its_parts() {
        let failure = Failure::new(Code::StoreFull, "no space left in the store.");
        assert!(failure.message().starts_with(
            "StoreFull: The store has no space left. Seen: no space left in the store. Next step: free space"
        ));
    }
}
