//! The frame around manifests: mark, version, key, JSON body, authentication code. Pure.
//!
//! ```text
//!  0   7  mark: "GODWITS" snapshot, "GODWITI" image
//!  7   1  format version: 1, or 2 if a later version of the key than the first one is needed to read what it names
//!  8  16  id of the data key whose manifest key made the code
//! 24   4  length of the body, little endian
//! 28   n  body: JSON
//!  …  32  keyed BLAKE3 of everything before
//! ```

use crate::crypt::Keys;
use crate::damage::Damage;
use godwit_model::id::KeyId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest manifest that is read: far beyond what the largest volume needs, and small enough to be held.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;

const VERSION: u8 = 1;
const VERSION_OF_LATER_KEYS: u8 = 2;
const HEADER: usize = 28;
const CODE: usize = 32;
const PART: &str = "the manifest";

/// What a manifest is that names a key which the store does not hold.
pub(crate) const OTHER_KEY: Damage =
    Damage::Field { part: PART, field: "key id (damaged, or made under a key that this store does not hold)" };

/// What a manifest describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A snapshot.
    Snapshot,
    /// An image.
    Image,
}

impl Kind {
    const fn mark(self) -> &'static [u8; 7] {
        match self {
            Kind::Snapshot => b"GODWITS",
            Kind::Image => b"GODWITI",
        }
    }
}

/// The manifest whose body is `body`. `key_version` is the latest that is needed to read what it names.
pub(crate) fn seal<T: Serialize>(kind: Kind, key_version: u32, keys: &Keys, body: &T) -> Vec<u8> {
    let body = serde_json::to_vec(body).expect("manifests are plain structures with text keys");
    let mut object = Vec::with_capacity(HEADER + body.len() + CODE);
    object.extend_from_slice(kind.mark());
    object.push(if key_version == 1 { VERSION } else { VERSION_OF_LATER_KEYS });
    object.extend_from_slice(&keys.id().to_bytes());
    object.extend_from_slice(&u32::try_from(body.len()).expect("manifests are far below 4 GiB").to_le_bytes());
    object.extend_from_slice(&body);
    let code = keys.manifest_code(&object);
    object.extend_from_slice(code.as_bytes());
    object
}

/// The key that the manifest `object` says it is authenticated with.
pub(crate) fn key_of(kind: Kind, object: &[u8]) -> Result<KeyId, Damage> {
    if object.len() < HEADER + CODE {
        return Err(Damage::Short { part: PART });
    }
    if object[..7] != kind.mark()[..] {
        return Err(Damage::Magic { part: PART });
    }
    if !matches!(object[7], VERSION | VERSION_OF_LATER_KEYS) {
        return Err(Damage::Version { part: PART, found: object[7] });
    }
    let id: [u8; 16] = object[8..24].try_into().map_err(|_| Damage::Short { part: PART })?;
    Ok(KeyId::from_bits(u128::from_be_bytes(id)))
}

/// The body of the manifest `object`.
pub(crate) fn open<T: DeserializeOwned>(kind: Kind, keys: &Keys, object: &[u8]) -> Result<T, Damage> {
    if key_of(kind, object)? != *keys.id() {
        return Err(OTHER_KEY);
    }
    let (whole, code) = object.split_at(object.len() - CODE);
    // `Hash` compares in constant time.
    if keys.manifest_code(whole) != blake3::Hash::from_slice(code).map_err(|_| Damage::Short { part: PART })? {
        return Err(Damage::Changed { part: PART, proof: "authentication code" });
    }
    let length = u32::from_le_bytes([whole[24], whole[25], whole[26], whole[27]]) as usize;
    if length != whole.len() - HEADER {
        return Err(Damage::Field { part: PART, field: "length of the body" });
    }
    serde_json::from_slice(&whole[HEADER..]).map_err(|_| Damage::Field { part: PART, field: "body" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::derive(KeyId::from_bits(1), &[5; 32])
    }

    #[test]
    fn what_was_sealed_comes_back_and_nothing_else() {
        let body = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(seal(Kind::Image, 9, &keys(), &body)[7], VERSION_OF_LATER_KEYS);
        let object = seal(Kind::Image, 1, &keys(), &body);
        assert_eq!(key_of(Kind::Image, &object), Ok(KeyId::from_bits(1)));
        assert_eq!(open::<Vec<String>>(Kind::Image, &keys(), &object), Ok(body));
        assert!(open::<Vec<String>>(Kind::Snapshot, &keys(), &object).is_err());
        assert!(open::<u32>(Kind::Image, &keys(), &object).is_err());
        for at in 0..object.len() {
            let mut bad = object.clone();
            bad[at] ^= 0x40;
            assert!(open::<Vec<String>>(Kind::Image, &keys(), &bad).is_err(), "flip at {at}");
            assert!(open::<Vec<String>>(Kind::Image, &keys(), &object[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn malformed_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open::<Vec<String>>(Kind::Image, &keys(), &bytes).is_err());
        }
    }
}
