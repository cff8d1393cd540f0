//! The administrator: a key pair in a file for people and, wrapped, in the database.
//!
//! At the first start the file comes first. A crash between leaves a file whose keys are not known yet; the next start
//! takes them from it. If the file is lost later, nobody could ask for anything any more: a further pair is made, for
//! whoever may start the service owns its folder. Then the database comes first: a crash between leaves a pair that
//! nobody has, and the next start makes another.

use crate::credentials::{self, AccessKey};
use crate::outside;
use crate::serve::folder::{FolderError, refuse_open, write_private};
use anyhow::Context;
use godwit_control::service::{Secret, Service};
use godwit_model::time::Timestamp;
use std::path::Path;
use zeroize::Zeroizing;

/// The user that the first start makes.
const NAME: &str = "administrator";

/// What makes a key pair recognisable as Godwit's.
const PREFIX: &str = "GW";
/// Length of an access key's id, as AWS has it.
const ID_LENGTH: usize = 20;
/// Length of a secret, as AWS has it: 40 characters of 6 bits.
const SECRET_LENGTH: usize = 40;

/// Makes sure that there is an administrator, and a file with its keys. True if they were written now.
pub async fn ensure(service: &Service, file: &Path, region: &str, now: Timestamp) -> anyhow::Result<bool> {
    if !service.has_administrator().await.context("look for the administrator")? {
        let key = written_or_new(file, region)?;
        add(service, &key, now).await?;
        return Ok(true);
    }
    if file.try_exists().unwrap_or(true) {
        warn_if_open(file);
        return Ok(false);
    }
    let key = draw();
    add(service, &key, now).await?;
    write_private(file, credentials::to_text(&key, region).as_bytes())?;
    tracing::warn!(file = %file.display(), "the administrator's keys were missing; new ones were written, the lost ones stay valid");
    Ok(true)
}

/// A link by which a person comes into the console and sets a password.
pub async fn sign_in_link(service: &Service, now: Timestamp) -> anyhow::Result<Secret> {
    let link = service.create_sign_in_link(NAME, now).await.context("make the first sign-in link")?;
    Ok(link.token)
}

async fn add(service: &Service, key: &AccessKey, now: Timestamp) -> anyhow::Result<()> {
    let secret = Secret::new(key.secret.to_string());
    service.create_administrator(&key.id, &secret, now).await.context("create the administrator")
}

/// A warning only, other than for the master key: people may have reasons to share what they can give away anyway.
fn warn_if_open(file: &Path) {
    if let Err(error) = refuse_open(file) {
        tracing::warn!("{error}; next: {}", error.next_step());
    }
}

/// The keys of the file that a crashed first start left, or new ones that are written to it.
fn written_or_new(file: &Path, region: &str) -> Result<AccessKey, FolderError> {
    if let Ok(text) = std::fs::read_to_string(file).map(Zeroizing::new)
        && let Ok(key) = credentials::from_text(&text, file, "default")
        && is_ours(&key)
    {
        return Ok(key);
    }
    let key = draw();
    write_private(file, credentials::to_text(&key, region).as_bytes())?;
    Ok(key)
}

fn is_ours(key: &AccessKey) -> bool {
    key.id.len() == ID_LENGTH && key.id.starts_with(PREFIX) && key.secret.len() == SECRET_LENGTH
}

fn draw() -> AccessKey {
    const CAPITALS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const ALL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = Zeroizing::new([0; SECRET_LENGTH]);
    outside::fill_random(&mut *bits);
    // 64 and 32 divide 256: every character is equally likely.
    let secret: String = bits.iter().map(|byte| char::from(ALL[usize::from(byte % 64)])).collect();
    outside::fill_random(&mut *bits);
    let id = bits.iter().take(ID_LENGTH - PREFIX.len()).map(|byte| char::from(CAPITALS[usize::from(byte % 32)]));
    AccessKey { id: PREFIX.chars().chain(id).collect(), secret: Zeroizing::new(secret), session_token: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_between_file_and_database_leads_to_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let first = written_or_new(&file, "us-east-1").unwrap();
        assert!(is_ours(&first));
        assert_eq!(written_or_new(&file, "us-east-1").unwrap(), first);
    }

    #[test]
    fn a_file_that_is_not_whole_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        for text in ["", "[default]\naws_access_key_id = GW\naws_secret_access_key = x\n"] {
            std::fs::write(&file, text).unwrap();
            let key = written_or_new(&file, "us-east-1").unwrap();
            let read = credentials::from_text(&std::fs::read_to_string(&file).unwrap(), &file, "default").unwrap();
            assert!(is_ours(&key) && read == key);
        }
    }
}
