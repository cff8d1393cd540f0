//! Blocks: the unit of digest, comparison and storage. Zero test, digest, compression. Pure.

use crate::crypt::Keys;
use crate::damage::Damage;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Size of the blocks of a snapshot: a power of two from 4 KiB to 1 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct BlockSize(u32);

impl BlockSize {
    /// 64 KiB: the granularity of QEMU's dirty bitmaps, so that a small change costs no more than it must.
    pub const DEFAULT: BlockSize = BlockSize(64 << 10);

    /// The smallest: what file systems and sector emulation align to.
    pub const MIN: BlockSize = BlockSize(4 << 10);

    /// The largest: one block must fit into one read of the source.
    pub const MAX: BlockSize = BlockSize(1 << 20);

    /// `bytes` as block size, if it is a power of two within the bounds.
    pub const fn new(bytes: u32) -> Option<BlockSize> {
        if bytes.is_power_of_two() && bytes >= Self::MIN.0 && bytes <= Self::MAX.0 {
            return Some(BlockSize(bytes));
        }
        None
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = String;
    fn try_from(bytes: u32) -> Result<Self, String> {
        BlockSize::new(bytes).ok_or_else(|| format!("{bytes} is not a block size"))
    }
}

impl From<BlockSize> for u32 {
    fn from(size: BlockSize) -> u32 {
        size.0
    }
}

/// Keyed BLAKE3 of a block, a page or a volume. All zeros stands for a block or page that holds only zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest that stands for "only zeros, not stored".
    pub const ZERO: Digest = Digest([0; 32]);
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a digest is 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Digest(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// How the bytes of a record are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    Raw,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// As it is stored.
    pub const fn to_byte(self) -> u8 {
        match self {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        }
    }

    /// What a stored byte means.
    pub const fn from_byte(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// Whether `bytes` are all zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Compared in pieces: memcmp is far faster than a loop over bytes, and data mostly differs in the first piece.
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|piece| piece == &ZEROS[..piece.len()])
}

/// The digest of a block's bytes; [`Digest::ZERO`] if they are all zeros.
pub fn digest(keys: &Keys, bytes: &[u8]) -> Digest {
    if is_zero(bytes) {
        return Digest::ZERO;
    }
    keys.block_digest(bytes)
}

/// Compressors and decompressors in reserve: making one costs about a megabyte of memory, so they are used again.
/// Never more than there are threads at work at the same time.
#[derive(Default)]
pub(crate) struct Codecs {
    quick: Mutex<Vec<zstd::bulk::Compressor<'static>>>,
    thorough: Mutex<Vec<zstd::bulk::Compressor<'static>>>,
    decompressors: Mutex<Vec<zstd::bulk::Decompressor<'static>>>,
}

/// How much work to put into making a block smaller. The codec is most of the processor's work (docs/performance.md), so
/// it depends on whether the processor has something else to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// Others wait for a core: zstd 1. What is faster still (zstd -1, lz4) saves a tenth to a third of the time and
    /// stores as much more.
    Quick,
    /// Source or store keep us waiting: zstd 3, a twentieth smaller for a third more time, which nobody waits for.
    Thorough,
}

impl Effort {
    /// What fits when so many computations wait for a core.
    pub(crate) fn beside(n_waiting: usize) -> Effort {
        if n_waiting > 0 { Effort::Quick } else { Effort::Thorough }
    }

    const fn level(self) -> i32 {
        match self {
            Effort::Quick => 1,
            Effort::Thorough => 3,
        }
    }
}

impl Codecs {
    /// `raw` compressed, or `None` if that saves too little to be worth decompressing later.
    pub(crate) fn compress(&self, raw: &[u8], effort: Effort) -> Option<Vec<u8>> {
        if looks_incompressible(raw) {
            return None;
        }
        self.compress_always(raw, effort)
    }

    /// As [`Codecs::compress`], without the early give-up: for pages, of which only a part is incompressible.
    pub(crate) fn compress_always(&self, raw: &[u8], effort: Effort) -> Option<Vec<u8>> {
        let spares = match effort {
            Effort::Quick => &self.quick,
            Effort::Thorough => &self.thorough,
        };
        let spare = spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut compressor = match spare {
            Some(compressor) => compressor,
            None => zstd::bulk::Compressor::new(effort.level()).ok()?,
        };
        // Less than one part in 32 saved is not worth the time of decompressing.
        let worth = raw.len() - raw.len() / 32;
        let mut packed = Vec::with_capacity(worth);
        // An error here means that the output does not fit: the block is kept as it is.
        let outcome = compressor.compress_to_buffer(raw, &mut packed);
        spares.lock().unwrap_or_else(PoisonError::into_inner).push(compressor);
        outcome.ok().map(|_| packed)
    }

    /// Fills `raw` with the bytes that were compressed to `stored`: exactly as many.
    pub(crate) fn expand(&self, stored: &[u8], raw: &mut [u8]) -> Result<(), Damage> {
        const WRONG: Damage = Damage::Changed { part: "record", proof: "length after decompression" };
        let spare = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decompressor = match spare {
            Some(decompressor) => decompressor,
            None => zstd::bulk::Decompressor::new().map_err(|_| WRONG)?,
        };
        let outcome = decompressor.decompress_to_buffer(stored, raw);
        self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).push(decompressor);
        match outcome {
            Ok(length) if length == raw.len() => Ok(()),
            _ => Err(WRONG),
        }
    }
}

/// Estimates the entropy of every 15th byte (odd, so that no column of a table is met again and again). Compressed or encrypted data comes out at nearly eight bits a byte, what
/// zstd can shorten at clearly less. Costs a hundredth of trying.
fn looks_incompressible(raw: &[u8]) -> bool {
    const STEP: usize = 15;
    const SAMPLES: usize = 2048;
    /// With as few samples the estimate for random bytes is 7.91 bits; text and code stay below 6.5.
    const BITS: f32 = 7.8;
    if raw.len() < STEP * SAMPLES {
        return false;
    }
    let mut counts = [0u32; 256];
    let mut n_samples = 0u32;
    for byte in raw.iter().step_by(STEP) {
        counts[*byte as usize] += 1;
        n_samples += 1;
    }
    let total = n_samples as f32;
    let bits: f32 = counts.iter().filter(|n| **n > 0).map(|n| *n as f32).map(|n| n * (total / n).log2()).sum();
    bits / total > BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn random(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        StdRng::seed_from_u64(7).fill_bytes(&mut bytes);
        bytes
    }

    proptest! {
        /// Whatever claims to be a frame: it fills exactly the room that was promised it, or is damage.
        #[test]
        fn spoilt_frames_are_damage_or_as_long_as_promised(
            content in proptest::collection::vec(0u8..4, 200..3000),
            at in any::<proptest::sample::Index>(),
            bytes in proptest::collection::vec(any::<u8>(), 1..40),
            promised in 1usize..4000,
        ) {
            let codecs = Codecs::default();
            let mut frame = codecs.compress_always(&content, Effort::Quick).expect("four letters compress");
            let mut raw = vec![9; content.len()];
            codecs.expand(&frame, &mut raw).expect("it was just made");
            prop_assert_eq!(&raw, &content);
            for other in [content.len() - 1, content.len() + 1] {
                prop_assert!(codecs.expand(&frame, &mut vec![9; other]).is_err(), "another length");
            }
            let at = at.index(frame.len());
            let end = (at + bytes.len()).min(frame.len());
            frame[at..end].copy_from_slice(&bytes[..end - at]);
            for (stored, length) in [(frame, content.len()), (bytes.clone(), promised)] {
                // Room of two fillings: what is as it was in either was not filled.
                let mut raw = [vec![8; length], vec![9; length]];
                if raw.iter_mut().all(|raw| codecs.expand(&stored, raw).is_ok()) {
                    prop_assert_eq!(&raw[0], &raw[1]);
                }
            }
        }
    }

    #[test]
    fn zero_is_found_and_one_bit_is_seen_anywhere() {
        for length in [0usize, 1, 4095, 4096, 4097, 65536] {
            let mut bytes = vec![0u8; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length.saturating_sub(1)] {
                if length > 0 {
                    bytes[at] = 1;
                    assert!(!is_zero(&bytes), "{length} {at}");
                    bytes[at] = 0;
                }
            }
        }
    }

    #[test]
    fn random_data_is_given_up_and_text_is_compressed() {
        let codecs = Codecs::default();
        assert!(looks_incompressible(&random(65536)));
        assert_eq!(codecs.compress(&random(65536), Effort::Thorough), None);
        assert_eq!(codecs.compress_always(&random(65536), Effort::Quick), None);
        let text: Vec<u8> =
            b"the quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(65536).collect();
        for effort in [Effort::beside(0), Effort::beside(1)] {
            let packed = codecs.compress(&text, effort).expect("text is compressible");
            assert!(packed.len() < 1000);
            let mut raw = vec![0; text.len()];
            codecs.expand(&packed, &mut raw).unwrap();
            assert_eq!(raw, text);
        }
    }

    #[test]
    fn more_effort_stores_less_and_is_made_only_when_nobody_waits() {
        // Something like a program: recurring pieces at changing distances, between bytes of many kinds.
        let noise = random(60_000);
        let pieces: Vec<&[u8]> = noise.chunks(29).collect();
        let code: Vec<u8> =
            (0..3000).flat_map(|n| [pieces[n * n % 97], &pieces[n % 700][..7]].concat()).take(65536).collect();
        let codecs = Codecs::default();
        let length = |effort| codecs.compress(&code, effort).expect("compressible").len();
        assert!(length(Effort::Thorough) < length(Effort::Quick));
        assert_eq!([0, 1, 7].map(Effort::beside), [Effort::Thorough, Effort::Quick, Effort::Quick]);
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        assert!([0, 2048, 65535, 2 << 20].iter().all(|n| BlockSize::new(*n).is_none()));
        assert_eq!(BlockSize::new(65536), Some(BlockSize::DEFAULT));
    }

    proptest! {
        #[test]
        fn malformed_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in 0usize..5000) {
            let codecs = Codecs::default();
            let mut raw = [vec![8; length], vec![9; length]];
            if raw.iter_mut().all(|raw| codecs.expand(&bytes, raw).is_ok()) {
                prop_assert_eq!(&raw[0], &raw[1]);
            }
        }

        #[test]
        fn digests_survive_their_text(bytes: [u8; 32], garbage in ".{0,70}") {
            prop_assert_eq!(Digest(bytes).to_string().parse(), Ok(Digest(bytes)));
            let _ = garbage.parse::<Digest>();
        }
    }
}
