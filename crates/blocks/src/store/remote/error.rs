//! What a server's answers mean, and why a store is not opened.

use super::super::failure::words;
use super::RemoteOptions;
use object_store::Error;

/// What became of a creation, or a replacement, that failed.
pub(super) enum Outcome {
    /// There is an object of this name. Of a replacement: not the one that was to be replaced.
    Exists,
    /// Another put of it was at work.
    Contended,
    /// The server will not.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Reads it from the error that object_store made of it.
pub(super) fn outcome(error: &Error) -> Outcome {
    match error {
        // A replacement in a bucket that is gone: object_store makes this of it.
        Error::Precondition { .. } if lacks_bucket(error) => Outcome::Refused,
        Error::Precondition { .. } => Outcome::Exists,
        // It makes this of 412 and of 409 alike, and keeps an error of its own for the first only.
        Error::AlreadyExists { source, .. } => match source.is::<Error>() {
            true => Outcome::Exists,
            false => Outcome::Contended,
        },
        // The upload that was to be completed is gone: it may have become the object.
        Error::NotFound { .. } if !lacks_bucket(error) => Outcome::Unknown,
        error if is_final(error) => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// Whether asking again gives the same answer.
pub(super) fn is_final(error: &Error) -> bool {
    !matches!(error, Error::Generic { .. })
}

fn lacks_bucket(error: &Error) -> bool {
    let may_be = matches!(error, Error::NotFound { .. } | Error::Generic { .. } | Error::Precondition { .. });
    may_be && error.to_string().contains("NoSuchBucket")
}

/// The error as the rest of us understands it: a bucket that is gone is no object that is missing.
pub(super) fn told(error: Error, bucket: &str) -> Error {
    match lacks_bucket(&error) {
        true => Error::Generic { store: "S3", source: format!("the bucket {bucket} does not exist").into() },
        false => error,
    }
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The options make no client.
    #[error("the object store cannot be set up: {0}")]
    Options(String),
    /// No such bucket.
    #[error("the bucket {bucket} does not exist at {place}")]
    NoBucket {
        /// Which.
        bucket: String,
        /// Where.
        place: String,
    },
    /// The keys do not allow what we do.
    #[error("the object store at {place} refused to {doing} the bucket {bucket}: {words}")]
    Denied {
        /// Which.
        bucket: String,
        /// Where.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// The server's words.
        words: String,
    },
    /// The server cannot be reached, or something else went wrong.
    #[error("the object store at {place} could not {doing} the bucket {bucket}: {words}")]
    Unavailable {
        /// Which.
        bucket: String,
        /// Where.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// What happened.
        words: String,
    },
    /// It replaces what it was asked to create.
    #[error(
        "the object store at {place} does not support conditional puts: it replaced an object that it was asked to create only if it is new"
    )]
    NoConditions {
        /// Where.
        place: String,
    },
    /// What was put is not what came back.
    #[error("the object store at {place} gave back other bytes than were put into the bucket {bucket}")]
    Differs {
        /// Which.
        bucket: String,
        /// Where.
        place: String,
    },
    /// Somebody else's.
    #[error("the store at {place} belongs to another data folder: its object 'owner' says {found}, this one is {ours}")]
    Taken {
        /// Where, with bucket and prefix.
        place: String,
        /// Whose it is.
        found: String,
        /// Whose it was to be.
        ours: String,
    },
}

impl RemoteError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            RemoteError::Options(_) => "correct the section [store] of the settings, see docs/settings.md",
            RemoteError::NoBucket { .. } => {
                "create the bucket, or correct store.url and the endpoint and region of [store.s3]"
            }
            RemoteError::Denied { .. } => {
                "check the credentials, and that they may put, get, list and delete objects, see docs/object-stores.md"
            }
            RemoteError::Unavailable { .. } => {
                "check the endpoint and region of [store.s3], the way there, and that the server runs"
            }
            RemoteError::NoConditions { .. } => {
                "use a server that obeys If-None-Match, see docs/object-stores.md: without it, packs could be lost"
            }
            RemoteError::Differs { .. } => "check the server and what lies between: nothing was stored",
            RemoteError::Taken { .. } => {
                "give each data folder a prefix of its own in store.url; two services in one store would delete each \
                 other's packs"
            }
        }
    }
}

/// What goes wrong while a server is tried: a [`RemoteError`] when it is said where.
pub(super) enum Trouble {
    /// A call failed.
    Call(&'static str, Error),
    /// See [`RemoteError::NoConditions`].
    NoConditions,
    /// See [`RemoteError::Differs`].
    Differs,
    /// See [`RemoteError::Taken`].
    Taken(String),
}

impl Trouble {
    pub fn of(self, options: &RemoteOptions) -> RemoteError {
        let (bucket, place) = (options.bucket.clone(), place(options));
        match self {
            Trouble::NoConditions => RemoteError::NoConditions { place },
            Trouble::Differs => RemoteError::Differs { bucket, place },
            Trouble::Taken(found) => {
                let place = format!("s3://{bucket}/{} at {place}", options.prefix);
                RemoteError::Taken { place, found, ours: options.owner.clone() }
            }
            Trouble::Call(_, error) if lacks_bucket(&error) => RemoteError::NoBucket { bucket, place },
            Trouble::Call(doing, error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                RemoteError::Denied { bucket, place, doing, words: words(&error) }
            }
            Trouble::Call(doing, error) => RemoteError::Unavailable { bucket, place, doing, words: words(&error) },
        }
    }
}

fn place(options: &RemoteOptions) -> String {
    options.endpoint.clone().unwrap_or_else(|| format!("AWS, region {}", options.region))
}
