//! Wrapped keys: the objects that hold data keys, encrypted under the master key. Pure.
//!
//! ```text
//!   0   7  mark: "GODWITK"
//!   7   1  format version: 1 for the first version of a key, 2 for later ones
//!   8  16  id of the key
//!  24  12  nonce
//!  36   4  version of the key, only in format version 2
//!   …  32  the data key, encrypted; everything before is bound to it
//!   …  16  tag
//!   …  16  checksum of everything before
//! ```
//!
//! The checksum tells damage from another master key.

use crate::crypt::{DataKey, MasterKey, TAG};
use crate::damage::Damage;
use aws_lc_rs::aead::{Aad, Nonce};
use godwit_model::id::KeyId;
use zeroize::Zeroizing;

const MAGIC: &[u8; 7] = b"GODWITK";
const FIRST: u8 = 1;
const LATER: u8 = 2;
const NONCE_AT: usize = 24;
const NONCE: usize = 12;
const CHECKSUM: usize = 16;

/// Length of the longest key object.
pub(crate) const LONGEST: usize = header_of(LATER) + 32 + TAG + CHECKSUM;

/// Why a key object gives no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UnwrapError {
    /// The object is damaged.
    Damaged(Damage),
    /// The object is whole, but was not wrapped under this master key.
    OtherMaster,
}

/// The key object of the data key `data`. `random` is the nonce's source: the master key wraps few keys, so 96 random
/// bits never repeat.
pub(crate) fn wrap(master: &MasterKey, id: &KeyId, version: u32, data: &[u8; 32], random: u128) -> Vec<u8> {
    let mut object = Vec::with_capacity(LONGEST);
    object.extend_from_slice(MAGIC);
    object.push(format_of(version));
    object.extend_from_slice(&id.to_bytes());
    object.extend_from_slice(&random.to_be_bytes()[..NONCE]);
    if version > 1 {
        object.extend_from_slice(&version.to_le_bytes());
    }
    let mut sealed = Zeroizing::new(*data);
    let tag = master
        .cipher()
        .seal_in_place_separate_tag(nonce(&object), Aad::from(&object[..]), &mut sealed[..])
        .expect("AES-GCM fails only beyond 64 GiB");
    object.extend_from_slice(&sealed[..]);
    object.extend_from_slice(tag.as_ref());
    let checksum = blake3::hash(&object);
    object.extend_from_slice(&checksum.as_bytes()[..CHECKSUM]);
    object
}

/// The data key in the key object `object`, which is the one of this version of this key.
pub(crate) fn unwrap(master: &MasterKey, id: &KeyId, version: u32, object: &[u8]) -> Result<DataKey, UnwrapError> {
    const PART: &str = "the wrapped key";
    let damaged = |damage| Err(UnwrapError::Damaged(damage));
    let format = format_of(version);
    let header = header_of(format);
    if object.len() != header + 32 + TAG + CHECKSUM {
        return damaged(Damage::Short { part: PART });
    }
    if object[..7] != MAGIC[..] {
        return damaged(Damage::Magic { part: PART });
    }
    if object[7] != format {
        return damaged(Damage::Version { part: PART, found: object[7] });
    }
    let (whole, checksum) = object.split_at(object.len() - CHECKSUM);
    if blake3::hash(whole).as_bytes()[..CHECKSUM] != *checksum {
        return damaged(Damage::Changed { part: PART, proof: "checksum" });
    }
    if whole[8..NONCE_AT] != id.to_bytes() {
        return damaged(Damage::Field { part: PART, field: "key id" });
    }
    let (header, sealed) = whole.split_at(header);
    if format == LATER && header[NONCE_AT + NONCE..] != version.to_le_bytes() {
        return damaged(Damage::Field { part: PART, field: "version of the key" });
    }
    let mut data = Zeroizing::new([0; 32]);
    master
        .cipher()
        .open_separate_gather(nonce(header), Aad::from(header), &sealed[..32], &sealed[32..], &mut data[..])
        .map_err(|_| UnwrapError::OtherMaster)?;
    Ok(data)
}

const fn format_of(version: u32) -> u8 {
    if version == 1 { FIRST } else { LATER }
}

/// What precedes the data key.
const fn header_of(format: u8) -> usize {
    NONCE_AT + NONCE + if format == FIRST { 0 } else { 4 }
}

fn nonce(header: &[u8]) -> Nonce {
    let mut bytes = [0; NONCE];
    bytes.copy_from_slice(&header[NONCE_AT..NONCE_AT + NONCE]);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_key_comes_back_and_any_bytes_are_damage(
            bits: u128, version in 1u32..=2000, data: [u8; 32], random: u128,
            at in any::<proptest::sample::Index>(), byte: u8,
            bytes in proptest::collection::vec(any::<u8>(), 0..LONGEST + 20),
        ) {
            let (master, id) = (MasterKey::new([1; 32]), KeyId::from_bits(bits));
            let object = wrap(&master, &id, version, &data, random);
            prop_assert_eq!(unwrap(&master, &id, version, &object).map(|key| *key), Ok(data));
            let mut spoilt = object.clone();
            let at = at.index(object.len());
            spoilt[at] = byte;
            prop_assert_eq!(unwrap(&master, &id, version, &spoilt).is_err(), byte != object[at]);
            prop_assert!(matches!(unwrap(&master, &id, version, &bytes), Err(UnwrapError::Damaged(_))));
        }
    }

    fn id() -> KeyId {
        KeyId::from_bits(9)
    }

    #[test]
    fn a_wrapped_key_comes_back_only_under_its_master_key_and_as_its_version() {
        let master = MasterKey::new([1; 32]);
        for version in [1, 2, 70_000] {
            let object = wrap(&master, &id(), version, &[7; 32], 5);
            assert!(object.len() <= LONGEST);
            assert_eq!(*unwrap(&master, &id(), version, &object).unwrap(), [7; 32]);
            assert_eq!(unwrap(&MasterKey::new([2; 32]), &id(), version, &object), Err(UnwrapError::OtherMaster));
            assert!(!object.windows(32).any(|w| w == [7; 32]));
            for other in [1, 2, 3, 70_000].into_iter().filter(|other| *other != version) {
                assert!(matches!(unwrap(&master, &id(), other, &object), Err(UnwrapError::Damaged(_))));
            }
            let other = KeyId::from_bits(8);
            assert!(matches!(unwrap(&master, &other, version, &object), Err(UnwrapError::Damaged(_))));
        }
    }

    #[test]
    fn every_flipped_or_missing_byte_of_a_key_object_is_damage() {
        let master = MasterKey::new([1; 32]);
        for version in [1, 2] {
            let object = wrap(&master, &id(), version, &[7; 32], 5);
            for at in 0..object.len() {
                let mut bad = object.clone();
                bad[at] ^= 1;
                let found = unwrap(&master, &id(), version, &bad);
                assert!(matches!(found, Err(UnwrapError::Damaged(_))), "byte {at}");
                let cut = unwrap(&master, &id(), version, &object[..at]);
                assert!(matches!(cut, Err(UnwrapError::Damaged(_))), "cut at {at}");
            }
        }
    }
}
