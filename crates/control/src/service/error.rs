//! Why an operation was refused: one of the modelled codes, and a sentence that says what was wrong and what to do.

use crate::store::{AccessDenied, StoreError};
use godwit_model::failure::Failure;
use godwit_model::id::ParseIdError;

/// The error codes of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// A member's value is wrong, or names something that does not exist.
    InvalidParameter,
    /// A member that is needed is missing.
    MissingRequiredParameter,
    /// The present state does not allow it.
    OperationNotPermitted,
    /// The server cannot be replicated.
    ServerCannotBeReplicated,
    /// The server has a live job already.
    ReplicationJobAlreadyExists,
    /// No such job.
    ReplicationJobNotFound,
    /// Too many on-demand runs.
    ReplicationRunLimitExceeded,
    /// No connector is associated.
    NoConnectorsAvailable,
    /// Something needed is out of reach; later it may work.
    TemporarilyUnavailable,
    /// The caller may not do this.
    UnauthorizedOperation,
    /// Godwit broke one of its own rules.
    Internal,
}

impl ErrorCode {
    /// The code's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidParameter => "InvalidParameterException",
            ErrorCode::MissingRequiredParameter => "MissingRequiredParameterException",
            ErrorCode::OperationNotPermitted => "OperationNotPermittedException",
            ErrorCode::ServerCannotBeReplicated => "ServerCannotBeReplicatedException",
            ErrorCode::ReplicationJobAlreadyExists => "ReplicationJobAlreadyExistsException",
            ErrorCode::ReplicationJobNotFound => "ReplicationJobNotFoundException",
            ErrorCode::ReplicationRunLimitExceeded => "ReplicationRunLimitExceededException",
            ErrorCode::NoConnectorsAvailable => "NoConnectorsAvailableException",
            ErrorCode::TemporarilyUnavailable => "TemporarilyUnavailableException",
            ErrorCode::UnauthorizedOperation => "UnauthorizedOperationException",
            ErrorCode::Internal => "InternalError",
        }
    }
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// By this programs decide.
    pub code: ErrorCode,
    /// For people: what was wrong, where, what to do.
    pub message: String,
}

impl ServiceError {
    /// A refusal with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameter, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::MissingRequiredParameter, message)
    }

    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::OperationNotPermitted, message)
    }

    /// A failure of the data line, told to the caller of an operation.
    pub(crate) fn from_failure(failure: &Failure) -> Self {
        use godwit_model::failure::Kind;
        let code = match failure.code.kind() {
            Kind::Throttled | Kind::Unavailable => ErrorCode::TemporarilyUnavailable,
            Kind::NotFound | Kind::Invalid => ErrorCode::InvalidParameter,
            Kind::Conflict | Kind::Denied => ErrorCode::OperationNotPermitted,
            Kind::Corrupt | Kind::Bug => ErrorCode::Internal,
        };
        Self::new(code, failure.message())
    }
}

/// Whatever the store says is not the caller's fault. The cause is logged here and not told to the caller.
impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        let failure = error.to_failure();
        tracing::error!(%failure, "an operation failed");
        if failure.code.kind().is_transient() {
            return Self::new(
                ErrorCode::TemporarilyUnavailable,
                format!("try again later: {}", failure.code.next_step()),
            );
        }
        if matches!(error, StoreError::Stale) {
            return Self::new(
                ErrorCode::TemporarilyUnavailable,
                "something else changed this at the same moment: try again",
            );
        }
        Self::new(ErrorCode::Internal, "Godwit broke one of its own rules: the log says more")
    }
}

impl From<AccessDenied> for ServiceError {
    fn from(denied: AccessDenied) -> Self {
        let code = match denied {
            AccessDenied::Unknown { .. } | AccessDenied::Taken(..) => ErrorCode::InvalidParameter,
            AccessDenied::LastAdministrator
            | AccessDenied::TooManyKeys(..)
            | AccessDenied::PolicyInUse(..)
            | AccessDenied::RoleInUse(..) => ErrorCode::OperationNotPermitted,
        };
        Self::new(code, denied.to_string())
    }
}

impl From<ParseIdError> for ServiceError {
    fn from(error: ParseIdError) -> Self {
        Self::invalid(error.to_string())
    }
}
