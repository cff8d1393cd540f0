//! Where what lies in an overlay, and its first bytes. Pure. The format is in `docs/formats.md`.

use crate::cli::nbd::overlay::UNIT;
use bytes::Buf;

const MAGIC: &[u8; 7] = b"GODWITO";
const VERSION: u8 = 1;
/// Bytes before the maps.
pub const HEADER_BYTES: usize = 64 << 10;
/// Bytes of a sector of a map: what a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Bytes of bits in a sector; the rest is its checksum.
pub const BIT_BYTES: usize = SECTOR_BYTES - CHECK_BYTES;
/// Units that a sector tells of.
pub const SECTOR_UNITS: u64 = BIT_BYTES as u64 * 8;

const CHECK_BYTES: usize = 8;
const CODE_BYTES: usize = 16;
const ID_BYTES: usize = 32;
const DIGEST_BYTES: usize = 64;
const VOLUME_BYTES: usize = 4 + 8 + DIGEST_BYTES;
/// Volumes that the header has room for.
const MOST_VOLUMES: usize = (HEADER_BYTES - 8 - ID_BYTES - 4 - CODE_BYTES) / VOLUME_BYTES;
/// Maps and contents begin at multiples of it, so that holes can be made of whole pages of the file system.
const ALIGNMENT: u64 = 1 << 20;

/// What an overlay belongs to. It fits no other content, so it is used with no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Id of the image.
    pub image: String,
    /// Its volumes, all of them, in their order.
    pub volumes: Vec<VolumeIdentity>,
}

/// A volume that an overlay belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeIdentity {
    /// Its number in the image.
    pub volume: u32,
    /// Bytes.
    pub size: u64,
    /// Digest over all of it.
    pub root_digest: String,
}

/// Where a volume lies in the overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where its map begins.
    pub map: u64,
    /// Where its content begins: byte `n` of the volume is `n` bytes behind it.
    pub content: u64,
    /// Bytes of the volume.
    pub size: u64,
}

/// Where the volumes lie, in their order, and how long the file is; `None` if no file can be so long.
pub fn places(identity: &Identity) -> Option<(Vec<Place>, u64)> {
    let aligned = |at: u64| at.checked_next_multiple_of(ALIGNMENT);
    let mut at = aligned(HEADER_BYTES as u64)?;
    let mut places = Vec::with_capacity(identity.volumes.len());
    for volume in &identity.volumes {
        let sectors = volume.size.div_ceil(UNIT).div_ceil(SECTOR_UNITS);
        let content = aligned(at.checked_add(sectors.checked_mul(SECTOR_BYTES as u64)?)?)?;
        places.push(Place { map: at, content, size: volume.size });
        at = aligned(content.checked_add(volume.size)?)?;
    }
    i64::try_from(at).is_ok().then_some((places, at))
}

/// The header; `None` if it has no room.
pub fn header(identity: &Identity) -> Option<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    put_text(&mut bytes, &identity.image, ID_BYTES)?;
    bytes.extend((identity.volumes.len() as u32).to_le_bytes());
    if identity.volumes.len() > MOST_VOLUMES {
        return None;
    }
    for volume in &identity.volumes {
        bytes.extend(volume.volume.to_le_bytes());
        bytes.extend(volume.size.to_le_bytes());
        put_text(&mut bytes, &volume.root_digest, DIGEST_BYTES)?;
    }
    let code = *blake3::hash(&bytes).as_bytes();
    bytes.extend(&code[..CODE_BYTES]);
    bytes.resize(HEADER_BYTES, 0);
    Some(bytes)
}

/// What a header says, or what is wrong with it.
pub fn identity(bytes: &[u8]) -> Result<Identity, &'static str> {
    const FOREIGN: &str = "is not an overlay of Godwit's";
    const TORN: &str = "is not whole: its creation was interrupted, or its disk has damaged it";
    if bytes.len() < HEADER_BYTES || bytes.iter().all(|byte| *byte == 0) {
        return Err(if bytes.starts_with(MAGIC) || bytes.iter().all(|byte| *byte == 0) { TORN } else { FOREIGN });
    }
    if !bytes.starts_with(MAGIC) {
        return Err(FOREIGN);
    }
    if bytes[MAGIC.len()] != VERSION {
        return Err("is an overlay of another version of Godwit");
    }
    parse(bytes).ok_or(TORN)
}

fn parse(bytes: &[u8]) -> Option<Identity> {
    let mut fields = bytes.get(8..)?;
    let image = take_text(&mut fields, ID_BYTES)?;
    let count = usize::try_from(fields.try_get_u32_le().ok()?).ok().filter(|count| *count <= MOST_VOLUMES)?;
    let volume = |fields: &mut &[u8]| {
        Some(VolumeIdentity {
            volume: fields.try_get_u32_le().ok()?,
            size: fields.try_get_u64_le().ok()?,
            root_digest: take_text(fields, DIGEST_BYTES)?,
        })
    };
    let volumes = (0..count).map(|_| volume(&mut fields)).collect::<Option<Vec<_>>>()?;
    let hashed = &bytes[..bytes.len() - fields.len()];
    (fields.get(..CODE_BYTES)? == &blake3::hash(hashed).as_bytes()[..CODE_BYTES]).then_some(Identity { image, volumes })
}

fn put_text(bytes: &mut Vec<u8>, text: &str, room: usize) -> Option<()> {
    let zeros = room.checked_sub(text.len())?;
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len() + zeros, 0);
    Some(())
}

fn take_text(fields: &mut &[u8], room: usize) -> Option<String> {
    let (head, tail) = fields.split_at_checked(room)?;
    *fields = tail;
    Some(std::str::from_utf8(head).ok()?.trim_end_matches('\0').to_owned())
}

/// Bits of a sector: which of its units the overlay holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bits(pub [u8; BIT_BYTES]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; BIT_BYTES])
    }
}

impl Bits {
    /// Whether it is held.
    pub fn has(&self, unit: u64) -> bool {
        self.0[unit as usize / 8] & 1 << (unit % 8) != 0
    }

    /// It is held from now on.
    pub fn set(&mut self, unit: u64) {
        self.0[unit as usize / 8] |= 1 << (unit % 8);
    }

    /// What `other` has is held, too.
    pub fn add(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }
}

/// A sector of a map. Bound to its place, so that none can be taken for another.
pub fn sector(at: u64, bits: &Bits) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    bytes[..BIT_BYTES].copy_from_slice(&bits.0);
    bytes[BIT_BYTES..].copy_from_slice(&check(at, &bits.0));
    bytes
}

/// The bits of a sector; `None` if it is damaged. What was never written is a hole: no bits.
pub fn bits(at: u64, bytes: &[u8; SECTOR_BYTES]) -> Option<Bits> {
    let (bits, code) = bytes.split_at(BIT_BYTES);
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(Bits::default());
    }
    (code == check(at, bits)).then(|| Bits(bits.try_into().expect("split there")))
}

fn check(at: u64, bits: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(&at.to_le_bytes()).update(bits).finalize();
    hash.as_bytes()[..CHECK_BYTES].try_into().expect("a hash is longer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities() -> impl Strategy<Value = Identity> {
        let volume = (any::<u32>(), 0u64..1 << 46, "[0-9a-f]{0,64}");
        let volumes = proptest::collection::vec(volume, 0..5);
        ("ami-[0-9a-f]{17}", volumes).prop_map(|(image, volumes)| {
            let volumes = volumes.into_iter();
            let volumes =
                volumes.map(|(volume, size, root_digest)| VolumeIdentity { volume, size, root_digest }).collect();
            Identity { image, volumes }
        })
    }

    #[test]
    fn what_is_no_header_says_what_it_is() {
        assert!(identity(&vec![0; HEADER_BYTES]).unwrap_err().contains("interrupted"));
        assert!(identity(&vec![7; HEADER_BYTES]).unwrap_err().contains("not an overlay"));
        assert!(identity(b"QFI\xfb").unwrap_err().contains("not an overlay"));
        let image = Identity { image: "i".into(), volumes: vec![] };
        let mut newer = header(&image).expect("fits");
        newer[7] = 9;
        assert!(identity(&newer).unwrap_err().contains("another version"));
    }

    #[test]
    fn what_cannot_be_held_has_no_layout() {
        let volume = |size| VolumeIdentity { volume: 0, size, root_digest: String::new() };
        let image = |size, count| Identity { image: "i".into(), volumes: vec![volume(size); count] };
        assert_eq!(places(&image(u64::MAX, 1)), None);
        assert!(header(&image(1, MOST_VOLUMES)).is_some() && header(&image(1, MOST_VOLUMES + 1)).is_none());
    }

    proptest! {
        #[test]
        fn headers_come_back_and_no_changed_byte_goes_unnoticed(image in identities(), at: usize, byte in 1u8..) {
            let bytes = header(&image).expect("fits");
            prop_assert_eq!(identity(&bytes), Ok(image.clone()));
            let used = 8 + ID_BYTES + 4 + image.volumes.len() * VOLUME_BYTES + CODE_BYTES;
            let mut changed = bytes;
            changed[at % used] ^= byte;
            prop_assert!(identity(&changed).is_err());
        }

        #[test]
        fn nothing_overlaps(image in identities()) {
            let (places, end) = places(&image).expect("small enough");
            let mut at = HEADER_BYTES as u64;
            for place in places {
                let sectors = place.size.div_ceil(UNIT).div_ceil(SECTOR_UNITS);
                prop_assert!(place.map >= at && place.map.is_multiple_of(UNIT) && place.content.is_multiple_of(UNIT));
                prop_assert!(place.content >= place.map + sectors * SECTOR_BYTES as u64);
                at = place.content + place.size;
            }
            prop_assert!(end >= at);
        }

        #[test]
        fn sectors_come_back_and_belong_to_their_place(units in proptest::collection::vec(0..SECTOR_UNITS, 1..20), at: u64) {
            let mut some = Bits::default();
            units.iter().for_each(|unit| some.set(*unit));
            prop_assert!(units.iter().all(|unit| some.has(*unit)));
            let bytes = sector(at, &some);
            prop_assert_eq!(bits(at, &bytes), Some(some));
            prop_assert_eq!(bits(at ^ 1, &bytes), None);
            prop_assert_eq!(bits(at, &[0; SECTOR_BYTES]), Some(Bits::default()));
        }
    }
}
