//! Ranges of bytes of a volume, and their algebra.

use serde::{Deserialize, Serialize};

/// `length` bytes from `offset` on. An extent never reaches beyond `u64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Extent {
    /// The extent from `offset` for `length` bytes, or `None` if it would reach beyond what 64 bits can address.
    pub const fn new(offset: u64, length: u64) -> Option<Extent> {
        match offset.checked_add(length) {
            Some(_) => Some(Extent { offset, length }),
            None => None,
        }
    }

    /// The extent of the bytes `start..end`; empty if `end` is not beyond `start`.
    pub const fn between(start: u64, end: u64) -> Extent {
        Extent { offset: start, length: end.saturating_sub(start) }
    }

    /// First byte behind the extent.
    pub const fn end(self) -> u64 {
        self.offset + self.length
    }

    /// Whether it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// What `self` and `other` share; empty if nothing.
    pub fn intersect(self, other: Extent) -> Extent {
        Extent::between(self.offset.max(other.offset), self.end().min(other.end()))
    }

    /// The smallest extent that holds `self`, starts and ends at multiples of `unit`, and does not reach beyond
    /// `limit` (where the last one may be cut).
    pub fn align(self, unit: u64, limit: u64) -> Extent {
        if self.is_empty() {
            return self;
        }
        let start = self.offset - self.offset % unit;
        let end = self.end().div_ceil(unit).saturating_mul(unit).min(limit);
        Extent::between(start, end)
    }

    /// `self` in pieces of at most `size` bytes that end at multiples of `size`.
    pub fn pieces(self, size: u64) -> impl Iterator<Item = Extent> {
        let mut at = self.offset;
        std::iter::from_fn(move || {
            if at >= self.end() {
                return None;
            }
            let end = ((at / size + 1).saturating_mul(size)).min(self.end());
            let piece = Extent::between(at, end);
            at = end;
            Some(piece)
        })
    }
}

/// The union of `extents`: sorted, without empty ones, touching ones joined.
pub fn merge(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.retain(|e| !e.is_empty());
    extents.sort_unstable();
    let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
    for next in extents {
        match merged.last_mut() {
            Some(last) if next.offset <= last.end() => {
                *last = Extent::between(last.offset, last.end().max(next.end()));
            }
            _ => merged.push(next),
        }
    }
    merged
}

/// What of `whole` is in none of `holes`. `holes` must be merged (see [`merge`]).
pub fn subtract(whole: Extent, holes: &[Extent]) -> Vec<Extent> {
    let mut left = Vec::new();
    let mut at = whole.offset;
    for hole in holes {
        if hole.offset >= whole.end() {
            break;
        }
        if hole.offset > at {
            left.push(Extent::between(at, hole.offset));
        }
        at = at.max(hole.end());
    }
    if at < whole.end() {
        left.push(Extent::between(at, whole.end()));
    }
    left
}

/// Sum of the lengths.
pub fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(|e| e.length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: u64 = 200;

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        proptest::collection::vec((0..SPACE, 0..20u64).prop_map(|(o, l)| Extent::between(o, (o + l).min(SPACE))), 0..20)
    }

    fn bytes(extents: &[Extent]) -> Vec<bool> {
        let mut set = vec![false; SPACE as usize];
        for e in extents {
            set[e.offset as usize..e.end() as usize].fill(true);
        }
        set
    }

    proptest! {
        #[test]
        fn merge_keeps_every_byte_and_orders(list in extents()) {
            let merged = merge(list.clone());
            prop_assert_eq!(bytes(&merged), bytes(&list));
            prop_assert!(merged.windows(2).all(|w| w[0].end() < w[1].offset));
        }

        #[test]
        fn subtract_is_set_difference(list in extents(), start in 0..SPACE, length in 0..SPACE) {
            let whole = Extent::between(start, (start + length).min(SPACE));
            let holes = merge(list);
            let left = subtract(whole, &holes);
            let expected: Vec<bool> =
                bytes(&[whole]).iter().zip(bytes(&holes)).map(|(inside, hole)| *inside && !hole).collect();
            prop_assert_eq!(bytes(&left), expected);
        }

        #[test]
        fn pieces_cover_exactly(start in 0..SPACE, length in 0..SPACE, size in 1..40u64) {
            let whole = Extent::between(start, start + length);
            let pieces: Vec<_> = whole.pieces(size).collect();
            prop_assert_eq!(total(&pieces), whole.length);
            prop_assert!(pieces.iter().all(|p| p.length <= size && !p.is_empty()));
            prop_assert!(pieces.windows(2).all(|w| w[0].end() == w[1].offset && w[0].end() % size == 0));
        }

        #[test]
        fn align_holds_the_extent(start in 0..SPACE, length in 0..SPACE, unit in 1..40u64) {
            let e = Extent::between(start, (start + length).min(SPACE));
            let wide = e.align(unit, SPACE);
            prop_assert_eq!(wide.intersect(e), e);
            prop_assert!(e.is_empty() || wide.offset.is_multiple_of(unit));
            prop_assert!(e.is_empty() || wide.end().is_multiple_of(unit) || wide.end() == SPACE);
        }
    }
}
