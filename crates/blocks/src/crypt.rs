//! Keys and sealing: what makes stored bytes unreadable and unchangeable for whoever holds the store. Pure.
//!
//! The master key wraps data keys (one per key domain; there is one domain now). Everything else is derived from the
//! data key: keys for digests and authentication codes, and one AES-256-GCM key for each pack. A pack's key is used for
//! its records only, with the record's ordinal as nonce, so that no nonce is ever used twice.

use crate::block::Digest;
use crate::damage::Damage;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use godwit_model::id::KeyId;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Draws 128 random bits. Keys are made from it, so it must be fit for cryptography (the operating system's generator
/// or one seeded from it).
pub type Entropy = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The key that data keys are wrapped with. Wiped from memory when dropped; shows nothing of itself.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// The key of these bytes. The caller wipes its own copy.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// Bytes that AES-GCM adds to what it seals.
pub(crate) const TAG: usize = 16;

const KEY_MAGIC: &[u8; 7] = b"GODWITK";
const KEY_VERSION: u8 = 1;
const KEY_HEADER: usize = 36;
const KEY_CHECKSUM: usize = 16;
/// Length of a key object.
pub(crate) const KEY_OBJECT: usize = KEY_HEADER + 32 + TAG + KEY_CHECKSUM;

/// Why a key object gives no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UnwrapError {
    /// The object is damaged.
    Damaged(Damage),
    /// The object is whole, but was not wrapped under this master key.
    OtherMaster,
}

/// All keys of one key domain.
pub struct Keys {
    id: KeyId,
    block: Zeroizing<[u8; 32]>,
    page: Zeroizing<[u8; 32]>,
    pack: Zeroizing<[u8; 32]>,
    manifest: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, hidden)", self.id)
    }
}

impl Keys {
    /// Derives all keys from the data key `data`.
    pub fn derive(id: KeyId, data: &[u8; 32]) -> Self {
        let sub = |context: &str| Zeroizing::new(blake3::derive_key(context, data));
        Self {
            id,
            block: sub("godwit 2026-11 block digest v1"),
            page: sub("godwit 2026-11 page digest v1"),
            pack: sub("godwit 2026-11 pack key v1"),
            manifest: sub("godwit 2026-11 manifest code v1"),
        }
    }

    /// Id of the key domain's data key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Digest of a block that is not all zeros.
    pub(crate) fn block_digest(&self, bytes: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.block, bytes).as_bytes())
    }

    /// Digest over the parts of a page or of a volume.
    pub(crate) fn page_digest(&self, parts: &[&[u8]]) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.page);
        for part in parts {
            hasher.update(part);
        }
        Digest(*hasher.finalize().as_bytes())
    }

    /// Authentication code of a manifest.
    pub(crate) fn manifest_code(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.manifest, bytes)
    }

    /// The cipher of the pack `pack`.
    pub(crate) fn pack_cipher(&self, pack: u128) -> PackCipher {
        let key = Zeroizing::new(*blake3::keyed_hash(&self.pack, &pack.to_be_bytes()).as_bytes());
        PackCipher(cipher(&key))
    }
}

/// Seals and opens the records of one pack.
pub(crate) struct PackCipher(LessSafeKey);

impl PackCipher {
    /// Encrypts `bytes` where they are; returns the tag to be stored behind them. `ordinal` is used once per pack.
    pub(crate) fn seal(&self, ordinal: u64, bound: &[u8], bytes: &mut [u8]) -> [u8; TAG] {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(ordinal), Aad::from(bound), bytes)
            .expect("AES-GCM fails only beyond 64 GiB, records are a megabyte at most");
        let mut out = [0; TAG];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// What was sealed, or `None` if it was changed or is not what `ordinal` and `bound` say.
    pub(crate) fn open(&self, ordinal: u64, bound: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = stored.split_at_checked(stored.len().checked_sub(TAG)?)?;
        let mut plain = vec![0; text.len()];
        self.0.open_separate_gather(nonce(ordinal), Aad::from(bound), text, tag, &mut plain).ok()?;
        Some(plain)
    }
}

/// The key object of the data key `data`. `random` is the nonce's source: the master key wraps few keys, so 96 random
/// bits never repeat.
pub(crate) fn wrap(master: &MasterKey, id: &KeyId, data: &[u8; 32], random: u128) -> Vec<u8> {
    let mut object = Vec::with_capacity(KEY_OBJECT);
    object.extend_from_slice(KEY_MAGIC);
    object.push(KEY_VERSION);
    object.extend_from_slice(&id.to_bytes());
    object.extend_from_slice(&random.to_be_bytes()[..12]);
    let mut sealed = Zeroizing::new(*data);
    let tag = cipher(&master.0)
        .seal_in_place_separate_tag(key_nonce(&object), Aad::from(&object[..]), &mut sealed[..])
        .expect("AES-GCM fails only beyond 64 GiB");
    object.extend_from_slice(&sealed[..]);
    object.extend_from_slice(tag.as_ref());
    let checksum = blake3::hash(&object);
    object.extend_from_slice(&checksum.as_bytes()[..KEY_CHECKSUM]);
    object
}

/// The data key in the key object `object`.
pub(crate) fn unwrap(master: &MasterKey, id: &KeyId, object: &[u8]) -> Result<Zeroizing<[u8; 32]>, UnwrapError> {
    const PART: &str = "the wrapped key";
    let damaged = |damage| Err(UnwrapError::Damaged(damage));
    if object.len() != KEY_OBJECT {
        return damaged(Damage::Short { part: PART });
    }
    if object[..7] != KEY_MAGIC[..] {
        return damaged(Damage::Magic { part: PART });
    }
    if object[7] != KEY_VERSION {
        return damaged(Damage::Version { part: PART, found: object[7] });
    }
    let (whole, checksum) = object.split_at(KEY_OBJECT - KEY_CHECKSUM);
    if blake3::hash(whole).as_bytes()[..KEY_CHECKSUM] != *checksum {
        return damaged(Damage::Changed { part: PART, proof: "checksum" });
    }
    if whole[8..24] != id.to_bytes() {
        return damaged(Damage::Field { part: PART, field: "key id" });
    }
    let (header, sealed) = whole.split_at(KEY_HEADER);
    let mut data = Zeroizing::new([0; 32]);
    cipher(&master.0)
        .open_separate_gather(key_nonce(header), Aad::from(header), &sealed[..32], &sealed[32..], &mut data[..])
        .map_err(|_| UnwrapError::OtherMaster)?;
    Ok(data)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes"))
}

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&ordinal.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn key_nonce(header: &[u8]) -> Nonce {
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&header[24..KEY_HEADER]);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> KeyId {
        KeyId::from_bits(9)
    }

    #[test]
    fn a_wrapped_key_comes_back_only_under_its_master_key() {
        let object = wrap(&MasterKey::new([1; 32]), &id(), &[7; 32], 5);
        assert_eq!(object.len(), KEY_OBJECT);
        assert_eq!(*unwrap(&MasterKey::new([1; 32]), &id(), &object).unwrap(), [7; 32]);
        assert_eq!(unwrap(&MasterKey::new([2; 32]), &id(), &object), Err(UnwrapError::OtherMaster));
        assert!(!object.windows(32).any(|w| w == [7; 32]));
    }

    #[test]
    fn every_flipped_or_missing_byte_of_a_key_object_is_damage() {
        let master = MasterKey::new([1; 32]);
        let object = wrap(&master, &id(), &[7; 32], 5);
        for at in 0..object.len() {
            let mut bad = object.clone();
            bad[at] ^= 1;
            assert!(matches!(unwrap(&master, &id(), &bad), Err(UnwrapError::Damaged(_))), "byte {at}");
            assert!(matches!(unwrap(&master, &id(), &object[..at]), Err(UnwrapError::Damaged(_))), "cut at {at}");
        }
    }

    #[test]
    fn records_open_only_at_their_place() {
        let keys = Keys::derive(id(), &[3; 32]);
        let cipher = keys.pack_cipher(1);
        let mut sealed = b"content".to_vec();
        let tag = cipher.seal(4, b"bound", &mut sealed);
        sealed.extend_from_slice(&tag);
        assert_eq!(cipher.open(4, b"bound", &sealed).unwrap(), b"content");
        assert!(cipher.open(5, b"bound", &sealed).is_none());
        assert!(cipher.open(4, b"other", &sealed).is_none());
        assert!(keys.pack_cipher(2).open(4, b"bound", &sealed).is_none());
        assert!(cipher.open(4, b"bound", &sealed[..10]).is_none());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", MasterKey::new([0xAB; 32])), "MasterKey(hidden)");
        assert!(!format!("{:?}", Keys::derive(id(), &[0xAB; 32])).contains("171"));
    }
}
