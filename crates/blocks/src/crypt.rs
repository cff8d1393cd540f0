//! Keys and sealing: what makes stored bytes unreadable and unchangeable for whoever holds the store. Pure.
//!
//! The master key wraps data keys. A key domain has one for each version of its key. Everything else is derived from
//! them: from the first one the keys of digests and authentication codes, which never change, so that content compares
//! across versions; from each one a base from which every pack of that version gets an AES-256-GCM key of its own. A
//! pack's key is used for its records only, with the record's ordinal as nonce, so that no nonce is ever used twice.

use crate::block::Digest;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// Draws 128 random bits. Keys are made from it, so it must be fit for cryptography (the operating system's generator
/// or one seeded from it).
pub type Entropy = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The key that data keys are wrapped with. Wiped from memory when dropped; shows nothing of itself.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// A data key: material of one version of a key.
pub(crate) type DataKey = Zeroizing<[u8; 32]>;

impl MasterKey {
    /// The key of these bytes. The caller wipes its own copy.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn cipher(&self) -> LessSafeKey {
        cipher(&self.0)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// Bytes that AES-GCM adds to what it seals.
pub(crate) const TAG: usize = 16;

/// Whether the keys of a domain may be used: shared by all that hold them, whatever version they were read with.
#[derive(Clone, Default)]
pub(crate) struct Leave(Arc<AtomicBool>);

impl Leave {
    /// Gives or takes leave.
    pub(crate) fn set(&self, may_be_used: bool) {
        self.0.store(!may_be_used, Ordering::Release);
    }

    fn is_given(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

/// All keys of one key domain.
pub struct Keys {
    id: KeyId,
    block: Zeroizing<[u8; 32]>,
    page: Zeroizing<[u8; 32]>,
    manifest: Zeroizing<[u8; 32]>,
    /// What the keys of packs are derived from: version 1 first.
    packs: Vec<Zeroizing<[u8; 32]>>,
    leave: Leave,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, hidden)", self.id)
    }
}

impl Keys {
    /// Derives all keys of a domain whose key has one version, from its data key `data`.
    pub fn derive(id: KeyId, data: &[u8; 32]) -> Self {
        Self::of_versions(id, data, &[], Leave::default())
    }

    /// Derives all keys from the data key of the first version and those of the `later` ones, in order.
    pub(crate) fn of_versions(id: KeyId, first: &[u8; 32], later: &[DataKey], leave: Leave) -> Self {
        let sub = |context: &str| Zeroizing::new(blake3::derive_key(context, first));
        let base = |data: &[u8; 32]| Zeroizing::new(blake3::derive_key("godwit 2026-11 pack key v1", data));
        Self {
            id,
            block: sub("godwit 2026-11 block digest v1"),
            page: sub("godwit 2026-11 page digest v1"),
            manifest: sub("godwit 2026-11 manifest code v1"),
            packs: std::iter::once(first).chain(later.iter().map(|data| &**data)).map(base).collect(),
            leave,
        }
    }

    /// The newest version: what is packed from now on is encrypted under it.
    pub(crate) fn newest(&self) -> u32 {
        u32::try_from(self.packs.len()).expect("the number of versions is bounded")
    }

    /// Fails if the key was disabled since these keys were read.
    pub(crate) fn check_leave(&self) -> Result<(), Failure> {
        if self.leave.is_given() { Ok(()) } else { Err(disabled(&self.id)) }
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

    /// The cipher of the pack `pack`, which is encrypted under this version; `None` if there is no such version.
    pub(crate) fn pack_cipher(&self, version: u32, pack: u128) -> Option<PackCipher> {
        let base = self.packs.get(usize::try_from(version.checked_sub(1)?).ok()?)?;
        let key = Zeroizing::new(*blake3::keyed_hash(base, &pack.to_be_bytes()).as_bytes());
        Some(PackCipher(cipher(&key)))
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
        let mut plain = Vec::new();
        self.open_into(ordinal, bound, stored, &mut plain).map(|()| plain)
    }

    /// As [`PackCipher::open`], into a buffer that is used again. After a failure it is worth nothing.
    pub(crate) fn open_into(&self, ordinal: u64, bound: &[u8], stored: &[u8], plain: &mut Vec<u8>) -> Option<()> {
        let (text, tag) = stored.split_at_checked(stored.len().checked_sub(TAG)?)?;
        plain.resize(text.len(), 0);
        self.0.open_separate_gather(nonce(ordinal), Aad::from(bound), text, tag, plain).ok()
    }
}

/// What everything fails with that needs a disabled key.
pub(crate) fn disabled(key: &KeyId) -> Failure {
    Failure::new(Code::KeyDisabled, format!("{key} is disabled"))
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes"))
}

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&ordinal.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> KeyId {
        KeyId::from_bits(9)
    }

    #[test]
    fn records_open_only_at_their_place() {
        let keys = Keys::derive(id(), &[3; 32]);
        let cipher = keys.pack_cipher(1, 1).unwrap();
        let mut sealed = b"content".to_vec();
        let tag = cipher.seal(4, b"bound", &mut sealed);
        sealed.extend_from_slice(&tag);
        assert_eq!(cipher.open(4, b"bound", &sealed).unwrap(), b"content");
        assert!(cipher.open(5, b"bound", &sealed).is_none());
        assert!(cipher.open(4, b"other", &sealed).is_none());
        assert!(keys.pack_cipher(1, 2).unwrap().open(4, b"bound", &sealed).is_none());
        assert!(cipher.open(4, b"bound", &sealed[..10]).is_none());
    }

    #[test]
    fn versions_share_digests_and_nothing_else() {
        let one = Keys::derive(id(), &[3; 32]);
        let two = Keys::of_versions(id(), &[3; 32], &[Zeroizing::new([4; 32])], Leave::default());
        assert_eq!((one.newest(), two.newest()), (1, 2));
        assert_eq!(one.block_digest(b"x"), two.block_digest(b"x"));
        assert_eq!(one.manifest_code(b"x"), two.manifest_code(b"x"));
        let mut sealed = b"content".to_vec();
        let tag = two.pack_cipher(2, 7).unwrap().seal(0, b"", &mut sealed);
        sealed.extend_from_slice(&tag);
        assert_eq!(two.pack_cipher(2, 7).unwrap().open(0, b"", &sealed).unwrap(), b"content");
        assert!(two.pack_cipher(1, 7).unwrap().open(0, b"", &sealed).is_none());
        assert!(one.pack_cipher(2, 7).is_none() && two.pack_cipher(0, 7).is_none() && two.pack_cipher(3, 7).is_none());
    }

    #[test]
    fn digests_say_nothing_to_who_does_not_have_the_key() {
        let [one, two] = [[3; 32], [4; 32]].map(|data| Keys::derive(id(), &data));
        assert_eq!(one.block_digest(b"x"), Keys::derive(id(), &[3; 32]).block_digest(b"x"));
        assert_ne!(one.block_digest(b"x"), two.block_digest(b"x"));
        assert_ne!(one.block_digest(b"x").0, *blake3::hash(b"x").as_bytes());
        assert_ne!(one.manifest_code(b"x"), two.manifest_code(b"x"));
    }

    #[test]
    fn leave_is_taken_from_all_that_hold_the_keys() {
        let leave = Leave::default();
        let (old, new) = (
            Keys::of_versions(id(), &[3; 32], &[], leave.clone()),
            Keys::of_versions(id(), &[3; 32], &[Zeroizing::new([4; 32])], leave.clone()),
        );
        assert!(old.check_leave().is_ok());
        leave.set(false);
        assert_eq!(old.check_leave().unwrap_err().code, Code::KeyDisabled);
        assert_eq!(new.check_leave().unwrap_err().code, Code::KeyDisabled);
        leave.set(true);
        assert!(old.check_leave().is_ok() && new.check_leave().is_ok());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", MasterKey::new([0xAB; 32])), "MasterKey(hidden)");
        assert!(!format!("{:?}", Keys::derive(id(), &[0xAB; 32])).contains("171"));
    }
}
