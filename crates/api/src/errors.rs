//! Errors as AWS clients know them: a code, a message, an HTTP status.
//!
//! This is the one door through which inner errors become codes of the wire. A message is for the caller; what only
//! the operator may see is logged where the error is handled.

use godwit_control::service::{self, ServiceError};
use http::StatusCode;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $status:ident;)*) => {
        /// Code of an error, as clients match it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// As it is written on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => stringify!($name),)* }
            }

            /// Status of the answer that carries it.
            pub const fn status(self) -> StatusCode {
                match self { $(ErrorCode::$name => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// Modelled; no public client can ask for a dry run, so it is never sent.
    DryRunOperationException, BAD_REQUEST;
    /// We broke one of our own rules, or something needed failed.
    InternalError, INTERNAL_SERVER_ERROR;
    /// A member's value is wrong, or names something that does not exist.
    InvalidParameterException, BAD_REQUEST;
    /// A member that is needed is absent.
    MissingRequiredParameterException, BAD_REQUEST;
    /// No connector is associated.
    NoConnectorsAvailableException, BAD_REQUEST;
    /// The present state does not allow it.
    OperationNotPermittedException, BAD_REQUEST;
    /// The server has a live job already.
    ReplicationJobAlreadyExistsException, BAD_REQUEST;
    /// There is no such job.
    ReplicationJobNotFoundException, BAD_REQUEST;
    /// Too many on-demand runs.
    ReplicationRunLimitExceededException, BAD_REQUEST;
    /// The server is of a kind that cannot be replicated.
    ServerCannotBeReplicatedException, BAD_REQUEST;
    /// Something needed is out of reach; later it may work.
    TemporarilyUnavailableException, SERVICE_UNAVAILABLE;
    /// The caller may not do this.
    UnauthorizedOperationException, BAD_REQUEST;
    /// The request is not signed.
    MissingAuthenticationTokenException, BAD_REQUEST;
    /// The signature's parts are not all there, or not understood.
    IncompleteSignatureException, BAD_REQUEST;
    /// The signature is not the one that the secret key gives.
    InvalidSignatureException, BAD_REQUEST;
    /// The access key is unknown.
    UnrecognizedClientException, BAD_REQUEST;
    /// The request's time is too far from ours.
    RequestTimeTooSkewed, BAD_REQUEST;
    /// The body is not JSON, or a member has the wrong type.
    SerializationException, BAD_REQUEST;
    /// There is no such operation, or it does not work yet.
    UnknownOperationException, BAD_REQUEST;
    /// The body is larger than any request needs to be.
    RequestEntityTooLargeException, PAYLOAD_TOO_LARGE;
    /// Whoever signs in to the console has shown something wrong; what, is not told.
    AccessDeniedException, FORBIDDEN;
    /// Another site than ours sent it.
    CrossOriginException, FORBIDDEN;
    /// There is no session, or it has ended.
    SessionExpiredException, UNAUTHORIZED;
    /// Too many attempts to sign in have failed.
    TooManyRequestsException, TOO_MANY_REQUESTS;
    /// Too many pages listen.
    TooManyStreamsException, TOO_MANY_REQUESTS;
    /// The body is of another type.
    UnsupportedMediaTypeException, UNSUPPORTED_MEDIA_TYPE;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request ends with if it does not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    code: ErrorCode,
    message: String,
}

impl ApiError {
    /// An error with a message for the caller.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What clients match.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What people read.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let code = match error.code {
            service::ErrorCode::InvalidParameter => ErrorCode::InvalidParameterException,
            service::ErrorCode::MissingRequiredParameter => ErrorCode::MissingRequiredParameterException,
            service::ErrorCode::OperationNotPermitted => ErrorCode::OperationNotPermittedException,
            service::ErrorCode::ServerCannotBeReplicated => ErrorCode::ServerCannotBeReplicatedException,
            service::ErrorCode::ReplicationJobAlreadyExists => ErrorCode::ReplicationJobAlreadyExistsException,
            service::ErrorCode::ReplicationJobNotFound => ErrorCode::ReplicationJobNotFoundException,
            service::ErrorCode::ReplicationRunLimitExceeded => ErrorCode::ReplicationRunLimitExceededException,
            service::ErrorCode::NoConnectorsAvailable => ErrorCode::NoConnectorsAvailableException,
            service::ErrorCode::TemporarilyUnavailable => ErrorCode::TemporarilyUnavailableException,
            service::ErrorCode::UnauthorizedOperation => ErrorCode::UnauthorizedOperationException,
            service::ErrorCode::Internal => ErrorCode::InternalError,
        };
        ApiError::new(code, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::operations::Operation;

    #[test]
    fn every_modelled_error_has_its_code() {
        for operation in Operation::ALL {
            for error in operation.errors() {
                assert!(ErrorCode::ALL.iter().any(|code| code.as_str() == *error), "{error} of {}", operation.name());
            }
        }
    }

    #[test]
    fn only_our_own_faults_are_answered_with_5xx() {
        let server: Vec<_> = ErrorCode::ALL.iter().filter(|c| c.status().is_server_error()).collect();
        assert_eq!(server, [&ErrorCode::InternalError, &ErrorCode::TemporarilyUnavailableException]);
    }
}
