//! Digests passwords with Argon2id, with the parameters that its crate recommends: 19 MiB, two passes.
//!
//! A digest says how it was made, so that other parameters hold for new passwords and old ones go on.

use anyhow::Context;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use godwit_control::service::{Passwords, Secret};
use godwit_model::failure::{Code, Failure};

/// Digests with Argon2.
pub struct Argon {
    /// Of no password: compared where there is none, so that it takes as long.
    nobodys: String,
}

impl Argon {
    /// Ready to digest.
    pub fn new() -> anyhow::Result<Argon> {
        let nobodys = digest(&crate::outside::random_bits().to_be_bytes());
        Ok(Argon { nobodys: nobodys.context("prepare to digest passwords")? })
    }
}

fn digest(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password)?.to_string())
}

impl Passwords for Argon {
    fn digest(&self, password: &Secret) -> Result<String, Failure> {
        digest(password.expose().as_bytes())
            .map_err(|error| Failure::new(Code::Internal, format!("a password could not be digested: {error}")))
    }

    fn is(&self, password: &Secret, known: Option<&str>) -> bool {
        let digest = known.unwrap_or(&self.nobodys);
        let parsed = PasswordHash::new(digest);
        let is =
            parsed.is_ok_and(|digest| Argon2::default().verify_password(password.expose().as_bytes(), &digest).is_ok());
        is && known.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_is_known_by_its_digest_alone() {
        let argon = Argon::new().unwrap();
        let (first, second) =
            (argon.digest(&secret("correct horse")).unwrap(), argon.digest(&secret("correct horse")).unwrap());
        assert_ne!(first, second, "salted");
        assert!(first.starts_with("$argon2id$") && !first.contains("horse"), "{first}");
        assert!(argon.is(&secret("correct horse"), Some(&first)) && argon.is(&secret("correct horse"), Some(&second)));
        for wrong in ["correct horse ", "Correct horse", ""] {
            assert!(!argon.is(&secret(wrong), Some(&first)), "{wrong}");
        }
    }

    #[test]
    fn nobody_has_no_password() {
        let argon = Argon::new().unwrap();
        assert!(!argon.is(&secret("correct horse"), None) && !argon.is(&secret(""), None));
        assert!(!argon.is(&secret("correct horse"), Some("no digest")));
    }
}
