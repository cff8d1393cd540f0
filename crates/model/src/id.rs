//! Typed ids in the shapes that AWS clients know: a prefix and lower-case hexadecimal digits.
//!
//! Nothing here draws random numbers: an id is made from bits that the caller drew.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {noun} id: expected '{prefix}' and {digits} hexadecimal digits")]
pub struct ParseIdError {
    /// What was given, cut to a length fit for a message.
    pub text: String,
    /// What it should have been: "server", "replication job" …
    pub noun: &'static str,
    /// How such an id begins.
    pub prefix: &'static str,
    /// How many hexadecimal digits follow the prefix.
    pub digits: usize,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $noun:literal, $prefix:literal, $digits:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// How every such id begins.
            pub const PREFIX: &'static str = $prefix;

            /// The id whose digits are the lowest bits of `bits`.
            pub fn from_bits(bits: u128) -> Self {
                let hex = format!("{bits:032x}");
                Self(format!("{}{}", $prefix, &hex[32 - $digits..]))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let ok = text.strip_prefix($prefix).is_some_and(|hex| {
                    hex.len() == $digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                });
                if ok {
                    return Ok(Self(text.to_owned()));
                }
                Err(ParseIdError {
                    text: text.chars().take(64).collect(),
                    noun: $noun,
                    prefix: $prefix,
                    digits: $digits,
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A server of the catalog: `s-1a2b3c4d`.
    ServerId, "server", "s-", 8;
    /// A replication job: `sms-job-1a2b3c4d`.
    JobId, "replication job", "sms-job-", 8;
    /// A replication run: `sms-run-1a2b3c4d`.
    RunId, "replication run", "sms-run-", 8;
    /// A connector: `c-` and 17 digits.
    ConnectorId, "connector", "c-", 17;
    /// A bootable image, one per completed run: `ami-` and 17 digits.
    ImageId, "image", "ami-", 17;
    /// The content of one volume at one point in time: `snap-` and 17 digits.
    SnapshotId, "snapshot", "snap-", 17;
    /// One immutable object that holds many blocks. Never drawn twice: a pack's key is derived from its id.
    PackId, "pack", "pack-", 32;
    /// A data key and all that is encrypted under it: `key-` and 32 digits.
    KeyId, "key", "key-", 32;
    /// Something that happened and is told: `evt-` and 32 digits, those of a UUID.
    EventId, "event", "evt-", 32;
    /// An event on its way to one recipient: `ntf-` and 32 digits.
    NotificationId, "notification", "ntf-", 32;
    /// A sweep of the store: `sweep-` and 8 digits.
    SweepId, "sweep", "sweep-", 8;
}

impl PackId {
    /// The 16 bytes that the digits stand for.
    pub fn to_bytes(&self) -> [u8; 16] {
        hex_bytes(&self.0[Self::PREFIX.len()..])
    }

    /// The id of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_bits(u128::from_be_bytes(bytes))
    }
}

impl KeyId {
    /// The 16 bytes that the digits stand for.
    pub fn to_bytes(&self) -> [u8; 16] {
        hex_bytes(&self.0[Self::PREFIX.len()..])
    }
}

fn hex_bytes(hex: &str) -> [u8; 16] {
    u128::from_str_radix(hex, 16).expect("an id holds 32 hexadecimal digits by construction").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_ids_of_the_seed_service_parse() {
        assert_eq!("s-4e856027".parse::<ServerId>().unwrap().as_str(), "s-4e856027");
        assert!("sms-job-5691743f".parse::<JobId>().is_ok());
        assert!("sms-run-12688d7b".parse::<RunId>().is_ok());
        assert!("c-415fef98f4c66c487".parse::<ConnectorId>().is_ok());
    }

    #[test]
    fn wrong_ids_say_what_was_expected() {
        for bad in ["", "s-", "s-4E856027", "s-4e85602", "s-4e8560277", "sms-job-5691743f", "é-4e856027"] {
            let error = bad.parse::<ServerId>().unwrap_err();
            assert_eq!((error.prefix, error.digits), ("s-", 8), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_number_makes_an_id_that_parses(bits: u128) {
            let pack = PackId::from_bits(bits);
            prop_assert_eq!(&pack.as_str().parse::<PackId>().unwrap(), &pack);
            prop_assert_eq!(PackId::from_bytes(pack.to_bytes()), pack);
            let image = ImageId::from_bits(bits);
            prop_assert_eq!(&image.as_str().parse::<ImageId>().unwrap(), &image);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = text.parse::<ConnectorId>();
        }
    }
}
