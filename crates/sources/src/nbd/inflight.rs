//! What one request in flight collects until its reply is whole. Pure but for the bytes that are read straight into
//! the request's buffer.

use crate::nbd::codec::{Malformed, ServerError, Status};
use bytes::Bytes;
use godwit_blocks::buffers::{Buffer, Buffers};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Pieces of a fragmented reply that do not touch. QEMU sends one or a few, in order; a peer that scatters a read
/// into more is not worth the memory.
const MAX_PIECES: usize = 4096;

/// The bytes of a read, each to be given exactly once.
pub(super) struct ReadBuffer {
    offset: u64,
    want: usize,
    buffer: Buffer,
    home: Arc<Buffers>,
    /// In the usual, ordered case how many bytes came so far.
    filled: usize,
    /// Out of order: what has been covered, sorted, touching pieces joined.
    pieces: Option<Vec<(usize, usize)>>,
}

impl ReadBuffer {
    pub(super) fn new(offset: u64, want: usize, home: &Arc<Buffers>) -> Self {
        Self { offset, want, buffer: home.take(want), home: home.clone(), filled: 0, pieces: None }
    }

    /// Takes `length` bytes of the volume at `offset` from `source`.
    pub(super) async fn data(
        &mut self,
        offset: u64,
        length: usize,
        source: &mut (impl AsyncRead + Unpin),
    ) -> Result<std::io::Result<()>, Malformed> {
        let at = self.place(offset, length)?;
        Ok(source.read_exact(&mut self.buffer.bytes(at + length)[at..]).await.map(|_| ()))
    }

    /// `length` zeros at `offset`.
    pub(super) fn hole(&mut self, offset: u64, length: usize) -> Result<(), Malformed> {
        let at = self.place(offset, length)?;
        self.buffer.bytes(at + length)[at..].fill(0);
        Ok(())
    }

    /// All bytes, if each has come.
    pub(super) fn finish(self) -> Result<Bytes, Malformed> {
        let whole = match &self.pieces {
            None => self.filled == self.want,
            Some(pieces) => pieces.as_slice() == [(0, self.want)],
        };
        if whole {
            return Ok(self.home.lend(self.buffer, 0..self.want));
        }
        Err(Malformed::new("every byte of a read", "an end before all of them had come"))
    }

    /// Where the bytes go, which count as given from now on.
    fn place(&mut self, offset: u64, length: usize) -> Result<usize, Malformed> {
        let refuse = |seen: &str| Malformed::new("bytes of the range that was asked for", seen);
        let at = offset.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        let at = at.ok_or_else(|| refuse("bytes before it"))?;
        let end = at.checked_add(length).filter(|end| *end <= self.want).ok_or_else(|| refuse("bytes behind it"))?;
        if self.pieces.is_none() && at == self.filled {
            self.filled = end;
            return Ok(at);
        }
        let filled = self.filled;
        let pieces = self.pieces.get_or_insert_with(|| if filled == 0 { vec![] } else { vec![(0, filled)] });
        let next = pieces.partition_point(|piece| piece.0 < at);
        let overlaps = |index: usize| pieces.get(index).is_some_and(|piece| piece.0 < end && at < piece.1);
        if overlaps(next) || next.checked_sub(1).is_some_and(overlaps) {
            return Err(refuse("the same bytes twice"));
        }
        if pieces.len() >= MAX_PIECES {
            return Err(refuse("more fragments than can be followed"));
        }
        pieces.insert(next, (at, end));
        if pieces.get(next + 1).is_some_and(|behind| behind.0 == end) {
            pieces[next].1 = pieces.remove(next + 1).1;
        }
        if next > 0 && pieces[next - 1].1 == at {
            pieces[next - 1].1 = pieces.remove(next).1;
        }
        Ok(at)
    }
}

/// The block status of a range: one list for each context.
pub(super) struct StatusLists {
    lists: BTreeMap<u32, Option<Vec<Status>>>,
}

impl StatusLists {
    pub(super) fn new(contexts: impl Iterator<Item = u32>) -> Self {
        Self { lists: contexts.map(|id| (id, None)).collect() }
    }

    pub(super) fn add(&mut self, context: u32, list: Vec<Status>) -> Result<(), Malformed> {
        let refuse = |seen: &str| Malformed::new("the block status of each context once", seen);
        match self.lists.get_mut(&context) {
            None => Err(refuse("one of an unknown context")),
            Some(Some(_)) => Err(refuse("one of them twice")),
            Some(empty) => {
                *empty = Some(list);
                Ok(())
            }
        }
    }

    /// The lists by context, if all have come.
    pub(super) fn finish(self) -> Result<BTreeMap<u32, Vec<Status>>, Malformed> {
        let lists: Option<_> = self.lists.into_iter().map(|(id, list)| Some((id, list?))).collect();
        lists.ok_or_else(|| Malformed::new("the block status of each context", "an end before all had come"))
    }
}

/// What the chunks of a reply become.
pub(super) enum Assembly {
    Read(ReadBuffer),
    Status(StatusLists),
}

/// A whole reply.
pub(super) enum Answer {
    Bytes(Bytes),
    Status(BTreeMap<u32, Vec<Status>>),
}

impl Assembly {
    pub(super) fn finish(self) -> Result<Answer, Malformed> {
        match self {
            Assembly::Read(buffer) => buffer.finish().map(Answer::Bytes),
            Assembly::Status(lists) => lists.finish().map(Answer::Status),
        }
    }
}

/// The first error that a reply's chunks told.
pub(super) type Trouble = Option<ServerError>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn home() -> Arc<Buffers> {
        Arc::new(Buffers::new(1, 1 << 20))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(future)
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_give_the_bytes(
            cuts in proptest::collection::btree_set(1usize..500, 0..12), holes: u16, seed: u64,
        ) {
            const OFFSET: u64 = 1 << 33;
            let mut content: Vec<u8> = (0..500usize).map(|i| (i % 251) as u8 + 1).collect();
            let edges: Vec<usize> = [0].into_iter().chain(cuts).chain([500]).collect();
            let mut pieces: Vec<(usize, usize, bool)> =
                edges.windows(2).enumerate().map(|(i, w)| (w[0], w[1], holes >> i & 1 == 1)).collect();
            for (start, end, hole) in &pieces {
                if *hole { content[*start..*end].fill(0) }
            }
            pieces.sort_by_key(|piece| (piece.0 as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut buffer = ReadBuffer::new(OFFSET, 500, &home());
            for (start, end, hole) in pieces {
                let offset = OFFSET + start as u64;
                if hole {
                    buffer.hole(offset, end - start).expect("fits");
                } else {
                    block_on(buffer.data(offset, end - start, &mut &content[start..end])).expect("fits").expect("read");
                }
            }
            prop_assert_eq!(buffer.finish().expect("whole"), Bytes::from(content));
        }

        #[test]
        fn what_is_given_twice_or_never_is_refused(first in 0usize..80, length in 1usize..80, second in 0usize..80) {
            let mut buffer = ReadBuffer::new(0, 100, &home());
            let fits = |at: usize| at + length <= 100;
            prop_assert_eq!(buffer.hole(first as u64, length).is_ok(), fits(first));
            let overlap = fits(first) && first.abs_diff(second) < length;
            prop_assert_eq!(buffer.hole(second as u64, length).is_ok(), fits(second) && !overlap);
            let covered = usize::from(fits(first)) * length + usize::from(fits(second) && !overlap) * length;
            prop_assert_eq!(buffer.finish().is_ok(), covered == 100);
        }
    }

    #[test]
    fn a_peer_cannot_scatter_without_end() {
        let mut buffer = ReadBuffer::new(0, 1 << 20, &home());
        let refused = (0..1u64 << 19).map(|i| buffer.hole((1 << 20) - 1 - 2 * i, 1)).position(|r| r.is_err());
        assert_eq!(refused, Some(MAX_PIECES));
    }

    #[test]
    fn each_context_is_told_exactly_once() {
        let list = || vec![Status { length: 1, flags: 0 }];
        let mut lists = StatusLists::new([3, 9].into_iter());
        assert!(lists.add(4, list()).is_err());
        assert!(lists.add(3, list()).is_ok());
        assert!(lists.add(3, list()).is_err());
        assert!(lists.finish().is_err());
    }
}
