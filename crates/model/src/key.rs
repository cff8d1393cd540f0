//! Named keys: how callers name them, and what may be done with them.
//!
//! A caller names a key by its id, by an alias, or by the ARN of either, as clients of the seed service do. Of an ARN
//! only the last part counts: there is one account here, and any region will do.

use crate::failure::Code;
use crate::id::KeyId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How every alias begins.
pub const ALIAS_PREFIX: &str = "alias/";

/// Aliases that begin like this are not given out: in AWS they belong to the services.
const RESERVED: &str = "alias/aws/";

/// What the seed service calls the default key of an account: here it always means the default key.
const DEFAULT_ALIAS: &str = "alias/aws/ebs";

/// Longest alias, its prefix included, as AWS has it.
const LONGEST_ALIAS: usize = 256;

/// Named keys at most. Each is a key domain, held in memory while it is used.
pub const MOST_KEYS: usize = 1_000;

/// Aliases of one key at most: as many as AWS allows.
pub const MOST_ALIASES: usize = 50;

/// The key that every store begins with: the default until another one is chosen. Its id is fixed, so that two first
/// starts at once cannot make two.
pub fn first_key() -> KeyId {
    KeyId::from_bits(1)
}

/// The ARN of a key, for clients that want one.
pub fn arn_of(key: &KeyId) -> String {
    format!("arn:aws:kms:us-east-1:000000000000:key/{key}")
}

/// What a key was used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// Something was encrypted with it.
    Encrypt,
    /// Something was decrypted with it.
    Decrypt,
}

impl Purpose {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Encrypt => "encrypt",
            Purpose::Decrypt => "decrypt",
        }
    }
}

/// A use of a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyUse {
    /// Which key.
    pub key: KeyId,
    /// The latest version that was used; `None` if that was not known before the key was refused.
    pub version: Option<u32>,
    /// What for.
    pub purpose: Purpose,
    /// Why it came to nothing, if it did.
    pub failure: Option<Code>,
}

impl KeyUse {
    /// One that succeeded.
    pub fn of(key: &KeyId, version: u32, purpose: Purpose) -> Self {
        Self { key: key.clone(), version: Some(version), purpose, failure: None }
    }
}

/// Told of uses of keys as they happen, of the same one many times.
pub type NoteKeyUse<'a> = &'a (dyn Fn(KeyUse) + Send + Sync);

/// Whether a key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyState {
    /// It encrypts and decrypts.
    Enabled,
    /// Nothing is encrypted with it, and nothing that is can be read.
    Disabled,
}

impl KeyState {
    /// Every state.
    pub const ALL: [KeyState; 2] = [KeyState::Enabled, KeyState::Disabled];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Enabled => "ENABLED",
            KeyState::Disabled => "DISABLED",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<KeyState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A name that people give to a key: `alias/` and letters, digits, `/`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Alias(String);

impl Alias {
    /// The alias as text, its prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Alias {
    type Err = ParseKeyError;
    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let name = text.strip_prefix(ALIAS_PREFIX).ok_or_else(|| ParseKeyError::alias(text))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-');
        if name.is_empty() || text.len() > LONGEST_ALIAS || !name.chars().all(fits) {
            return Err(ParseKeyError::alias(text));
        }
        if text.starts_with(RESERVED) {
            return Err(ParseKeyError { text: shown(text), wanted: "an alias that does not begin with alias/aws/" });
        }
        Ok(Alias(text.to_owned()))
    }
}

/// What a caller means by the text that names a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyRef {
    /// The default key, whichever that is.
    Default,
    /// The key of this id.
    Id(KeyId),
    /// The key that has this alias.
    Alias(Alias),
}

impl FromStr for KeyRef {
    type Err = ParseKeyError;
    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let named = match text.strip_prefix("arn:") {
            Some(arn) => resource(arn).ok_or_else(|| ParseKeyError::key(text))?,
            None => text,
        };
        if named == DEFAULT_ALIAS {
            return Ok(KeyRef::Default);
        }
        if named.starts_with(ALIAS_PREFIX) {
            return named.parse().map(KeyRef::Alias);
        }
        let id = if named == text { Some(named) } else { named.strip_prefix("key/") };
        id.and_then(|id| id.parse().ok()).map(KeyRef::Id).ok_or_else(|| ParseKeyError::key(text))
    }
}

/// The resource in an ARN of the key service, after `arn:`.
fn resource(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(5, ':');
    let (_partition, service) = (parts.next()?, parts.next()?);
    let (_region, _account) = (parts.next()?, parts.next()?);
    parts.next().filter(|_| service == "kms")
}

/// A text that names no key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{text}' does not name a key: expected {wanted}")]
pub struct ParseKeyError {
    /// What was given, cut to a length fit for a message.
    pub text: String,
    /// What it should have been.
    pub wanted: &'static str,
}

impl ParseKeyError {
    fn key(text: &str) -> Self {
        Self {
            text: shown(text),
            wanted: "a key's id ('key-' and 32 hexadecimal digits), an alias, or the ARN of either",
        }
    }

    fn alias(text: &str) -> Self {
        Self { text: shown(text), wanted: "'alias/' and up to 250 letters, digits, '/', '_' and '-'" }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_named_in_four_ways() {
        let id = KeyId::from_bits(77);
        let by_id = KeyRef::Id(id.clone());
        let by_alias = KeyRef::Alias("alias/web".parse().unwrap());
        for (text, wanted) in [
            (id.to_string(), &by_id),
            (arn_of(&id), &by_id),
            (format!("arn:aws-cn:kms:cn-north-1:123456789012:key/{id}"), &by_id),
            ("alias/web".to_owned(), &by_alias),
            ("arn:aws:kms:eu-central-1:123456789012:alias/web".to_owned(), &by_alias),
            ("alias/aws/ebs".to_owned(), &KeyRef::Default),
            ("arn:aws:kms:us-east-1:123456789012:alias/aws/ebs".to_owned(), &KeyRef::Default),
        ] {
            assert_eq!(&text.parse::<KeyRef>().unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_names_no_key_says_what_does() {
        let id = KeyId::from_bits(77);
        for text in [
            "",
            "web",
            "key/web",
            "alias/",
            "alias/a b",
            "alias/aws/s3",
            "arn:aws:s3:::alias/web",
            "arn:aws:kms",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            &format!("key/{id}"),
            &format!("arn:aws:kms:us-east-1:1:{id}"),
            &format!("alias/{}", "a".repeat(251)),
        ] {
            let error = text.parse::<KeyRef>().unwrap_err();
            assert!(error.to_string().contains("expected"), "{text}: {error}");
        }
        assert!(format!("alias/{}", "a".repeat(250)).parse::<Alias>().is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,300}") {
            let _ = text.parse::<KeyRef>();
            let _ = format!("arn:{text}").parse::<KeyRef>();
            let _ = format!("alias/{text}").parse::<KeyRef>();
        }
    }
}
