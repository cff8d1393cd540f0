//! Wraps what is secret in the database under the folder's master key.
//!
//! Layout: version 1 (one byte), then the nonce, the ciphertext and the tag of AES-256-GCM; the context is authenticated
//! with it. The key is derived from the master key for this purpose alone.

use crate::serve::master::MasterBytes;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use godwit_control::service::SecretBox;
use godwit_model::failure::{Code, Failure};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE: usize = 12;
const PURPOSE: &[u8] = b"godwit access secrets v1";

/// Wraps with a key that is derived from the master key.
pub struct MasterBox {
    key: RandomizedNonceKey,
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl MasterBox {
    /// The box of this master key.
    pub fn new(master: &MasterBytes) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(master.expose())
            .expand(&[PURPOSE], KeyLength)
            .and_then(|derived| derived.fill(&mut *bytes))
            .expect("32 bytes can be derived");
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).expect("32 bytes are a key");
        Self { key }
    }
}

impl SecretBox for MasterBox {
    fn wrap(&self, context: &str, secret: &[u8]) -> Result<Vec<u8>, Failure> {
        let failed = |_| Failure::new(Code::Internal, "a secret could not be encrypted");
        let mut sealed = secret.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(context), &mut sealed).map_err(failed)?;
        let mut wrapped = vec![VERSION];
        wrapped.extend_from_slice(nonce.as_ref());
        wrapped.append(&mut sealed);
        Ok(wrapped)
    }

    fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let evidence = "a secret in the database was not encrypted with the master key of this folder, or was changed";
        let failed = || Failure::new(Code::KeyUnavailable, evidence);
        let sealed = wrapped.strip_prefix(&[VERSION]).ok_or_else(failed)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let length = self.key.open_in_place(nonce, Aad::from(context), &mut opened).map_err(|_| failed())?.len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::folder::Folder;

    fn secret_box() -> MasterBox {
        MasterBox::new(Folder::open(tempfile::tempdir().unwrap().path()).unwrap().master())
    }

    #[test]
    fn what_is_wrapped_comes_back_and_never_looks_the_same() {
        let secrets = secret_box();
        let (first, second) = (secrets.wrap("GW1", b"secret").unwrap(), secrets.wrap("GW1", b"secret").unwrap());
        assert_ne!(first, second);
        assert!(!first.windows(6).any(|w| w == b"secret"));
        assert_eq!(secrets.unwrap("GW1", &first).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn another_context_another_key_and_any_change_are_refused() {
        let secrets = secret_box();
        let wrapped = secrets.wrap("GW1", b"secret").unwrap();
        assert!(secrets.unwrap("GW2", &wrapped).is_err());
        assert!(secret_box().unwrap("GW1", &wrapped).is_err());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert_eq!(secrets.unwrap("GW1", &changed).unwrap_err().code, Code::KeyUnavailable);
            assert!(secrets.unwrap("GW1", &wrapped[..at]).is_err());
        }
    }
}
