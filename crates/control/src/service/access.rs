//! Access keys: who signs requests.

use super::{Answer, Service, ServiceError};
use godwit_model::failure::Failure;
use godwit_model::time::Timestamp;
use std::fmt;
use zeroize::Zeroizing;

/// A secret access key. Never shown by `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: only for signing and wrapping.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who signs with an access key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// Whose key it is.
    pub user: String,
    /// By which a signature is checked.
    pub secret: Secret,
}

/// Wraps secrets for the store. Given by the server, so that this crate needs no cryptography.
pub trait SecretBox: Send + Sync {
    /// Encrypts `secret`; `context` (the access key's id) is bound to the result.
    fn wrap(&self, context: &str, secret: &[u8]) -> Result<Vec<u8>, Failure>;
    /// Decrypts what [`SecretBox::wrap`] made for the same `context`.
    fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure>;
}

impl Service {
    /// Who signs with an access key; `None` if there is no such key, or if it or its user is disabled.
    pub async fn signer(&self, access_key_id: &str) -> Answer<Option<Signer>> {
        let Some(signer) = self.line.store.signer(access_key_id, self.line.now()).await? else { return Ok(None) };
        let plain = self.line.secrets.unwrap(access_key_id, &signer.wrapped_secret).map_err(|f| refused(&f))?;
        let text = String::from_utf8(plain.to_vec())
            .map_err(|_| ServiceError::new(super::ErrorCode::Internal, "a stored secret is not text"))?;
        Ok(Some(Signer { user: signer.user, secret: Secret::new(text) }))
    }

    /// Whether somebody can decide about users. If not: draw a key pair, write it to the credentials file, then call
    /// [`Service::create_administrator`]; a crash between leaves no administrator, and the next start does it again.
    pub async fn has_administrator(&self) -> Answer<bool> {
        Ok(self.line.store.has_administrator().await?)
    }

    /// Gives the user `administrator` this key pair, and makes it an administrator if it is none. The same key again changes nothing.
    pub async fn create_administrator(&self, access_key_id: &str, secret: &Secret, now: Timestamp) -> Answer<()> {
        let wrapped = self.line.secrets.wrap(access_key_id, secret.expose().as_bytes()).map_err(|f| refused(&f))?;
        Ok(self.line.store.add_administrator(access_key_id, &wrapped, now).await?)
    }
}

/// The cause may say something about keys: it goes to the log, not to a caller who has not proven who it is.
pub(super) fn refused(failure: &Failure) -> ServiceError {
    tracing::error!(%failure, "a stored secret cannot be wrapped or unwrapped");
    ServiceError::new(super::ErrorCode::TemporarilyUnavailable, format!("keys: {}", failure.code.next_step()))
}
