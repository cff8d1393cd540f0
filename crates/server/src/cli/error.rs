//! What a command ends with if it does not succeed: one line what, one line what to do, and a status.

use crate::cli::output::{self, Tone};
use crate::client::ClientError;
use crate::credentials::KeysError;
use crate::serve::config::ConfigError;
use crate::serve::folder::FolderError;
use crate::serve::remote::StoreRefused;
use godwit_model::failure::Failure;
use std::process::ExitCode;

/// Status of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The operation failed.
    Failed = 1,
    /// The command was not understood.
    Usage = 2,
    /// The service cannot be reached.
    Unreachable = 3,
    /// The service does not let us in.
    NotAuthorised = 4,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CliError {
    /// What went wrong.
    pub what: String,
    /// What to do.
    pub next: Option<String>,
    /// Status.
    pub exit: Exit,
}

impl CliError {
    /// The operation failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None, exit: Exit::Failed }
    }

    /// The command was not understood.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None, exit: Exit::Usage }
    }

    /// With what to do about it.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Tells it, and gives the status to end with.
    pub fn tell(&self) -> ExitCode {
        output::aside(format!("{} {}", output::paint_aside("error:", Tone::Bad), self.what));
        if let Some(next) = &self.next {
            output::aside(format!("{} {next}", output::paint_aside(" next:", Tone::Busy)));
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let what = error.to_string();
        match &error {
            ClientError::Unreachable { .. } => CliError { what, next: None, exit: Exit::Unreachable }
                .next("start it with 'godwit serve --data DIR', or say where it is with --endpoint or GODWIT_ENDPOINT"),
            ClientError::NotTheService { .. } => CliError { what, next: None, exit: Exit::Unreachable }
                .next("say where the service is with --endpoint or GODWIT_ENDPOINT"),
            ClientError::Signing(_) => CliError::failed(what).next("check the access keys and the region"),
            ClientError::Refused { code, .. } => refused(what, code),
        }
    }
}

fn refused(what: String, code: &str) -> CliError {
    let keys = "use the keys of this service: export AWS_SHARED_CREDENTIALS_FILE=DIR/credentials, where DIR is the \
                folder given to 'godwit serve --data', and unset AWS_ACCESS_KEY_ID";
    let not_authorised =
        |next: &str| CliError { what: what.clone(), next: Some(next.to_owned()), exit: Exit::NotAuthorised };
    match code {
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException" => not_authorised(keys),
        "RequestTimeTooSkewed" => not_authorised("set this machine's clock"),
        "UnauthorizedOperationException" => not_authorised("use keys that may do this"),
        "NoConnectorsAvailableException" => {
            CliError::failed(what).next("add one: godwit connectors add qmp --name NAME --socket PATH-OR-FOLDER")
        }
        "ReplicationJobAlreadyExistsException" => {
            CliError::failed(what).next("see it with 'godwit jobs list'; delete it first if you want another one")
        }
        "ReplicationJobNotFoundException" => CliError::failed(what).next("see which there are: godwit jobs list"),
        "TemporarilyUnavailableException" => CliError::failed(what).next("try again in a moment"),
        "InternalError" => CliError::failed(what).next("look into the log of 'godwit serve'"),
        _ => CliError::failed(what),
    }
}

impl From<KeysError> for CliError {
    fn from(error: KeysError) -> Self {
        let next = match &error {
            KeysError::NoProfile { .. } => "name one of these with --profile or AWS_PROFILE".to_owned(),
            KeysError::HalfPair { present, missing } => format!("set {missing} as well, or unset {present}"),
            KeysError::Nowhere { .. } | KeysError::Unreadable { .. } | KeysError::Incomplete { .. } => {
                "export AWS_SHARED_CREDENTIALS_FILE=DIR/credentials, the file that 'godwit serve --data DIR' wrote at \
                 its first start"
                    .to_owned()
            }
        };
        CliError { what: error.to_string(), next: Some(next), exit: Exit::NotAuthorised }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        CliError::usage(error.to_string()).next(error.next_step())
    }
}

/// What `serve` ends with.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        if let Some(folder) = error.chain().find_map(|cause| cause.downcast_ref::<FolderError>()) {
            return CliError::failed(folder.to_string()).next(folder.next_step());
        }
        if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<StoreRefused>()) {
            return CliError::failed(refused.to_string()).next(refused.next_step());
        }
        let cli = CliError::failed(format!("{error:#}"));
        if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
            return cli.next(failure.code.next_step());
        }
        let in_use = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        if in_use.into_iter().any(|io| io.kind() == std::io::ErrorKind::AddrInUse) {
            return cli
                .next("stop what listens there, or give another port: --listen 127.0.0.1:PORT (0 takes a free one)");
        }
        cli
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(code: &str) -> Exit {
        let error = ClientError::Refused { code: code.into(), message: "m".into(), by_server: false };
        CliError::from(error).exit
    }

    #[test]
    fn statuses_are_those_documented() {
        for code in ["UnrecognizedClientException", "InvalidSignatureException", "RequestTimeTooSkewed"] {
            assert_eq!(exit_of(code), Exit::NotAuthorised, "{code}");
        }
        assert_eq!(exit_of("InvalidParameterException"), Exit::Failed);
        let unreachable = ClientError::Unreachable { endpoint: "e".into(), reason: "r".into() };
        assert_eq!(CliError::from(unreachable).exit, Exit::Unreachable);
        let statuses = [Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::NotAuthorised].map(|exit| exit as u8);
        assert_eq!(statuses, [1, 2, 3, 4]);
    }

    #[test]
    fn what_can_be_acted_on_says_how() {
        let folder = FolderError::Newer { folder: "/d".into(), found: 9 };
        let error = CliError::from(anyhow::Error::from(folder));
        assert!(error.what.contains("format 9") && error.next.unwrap().contains("newer"));
        let busy = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::AddrInUse)).context("listen on x");
        assert!(CliError::from(busy).next.unwrap().contains("--listen"));
    }
}
