//! What an export asks the service for: where the volume holds data, cut into requests.

use crate::client::{Client, ClientError};
use futures::{Stream, TryStreamExt, stream};
use godwit_api::shapes::godwit::ListImageExtentsRequest;
use godwit_model::extent::Extent;
use std::collections::VecDeque;

/// Bytes of one request: what the service gives at most. Large enough that its overhead does not count.
pub(super) const PIECE: u64 = 2 << 20;
/// Zeros that are read along rather than making another request.
const GAP: u64 = 256 << 10;

/// A request, and the parts of it that hold data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub span: Extent,
    pub data: Vec<Extent>,
}

/// Where the volume holds data from `position` on, page by page as it is needed.
pub(super) fn extents(
    client: Client,
    image: String,
    volume: u32,
    position: u64,
) -> impl Stream<Item = Result<Extent, ClientError>> {
    stream::try_unfold(Some(position), move |from| {
        let request =
            ListImageExtentsRequest { image_id: image.clone(), volume: u64::from(volume), from, max_results: None };
        let client = client.clone();
        async move {
            if from.is_none() {
                return Ok(None);
            }
            let answer = client.list_image_extents(&request).await?;
            // Going on where one has been would never end.
            let next = answer.next.filter(|next| Some(*next) > from);
            let extents = answer.extents.into_iter().filter_map(|e| Extent::new(e.offset, e.length));
            let behind = extents.map(|e| Extent::between(e.offset.max(position), e.end())).filter(|e| !e.is_empty());
            Ok::<_, ClientError>(Some((stream::iter(behind.map(Ok).collect::<Vec<_>>()), next)))
        }
    })
    .try_flatten()
}

/// Requests that cover all extents in their order: small ones together, large ones in parts.
pub(super) fn pieces(
    extents: impl Stream<Item = Result<Extent, ClientError>>,
) -> impl Stream<Item = Result<Piece, ClientError>> {
    let state = (Box::pin(extents), VecDeque::<Extent>::new(), false);
    stream::try_unfold(state, |(mut extents, mut waiting, mut ended)| async move {
        let mut piece: Option<Piece> = None;
        loop {
            if waiting.is_empty() && !ended {
                match extents.try_next().await? {
                    Some(extent) => waiting.extend(extent.pieces(PIECE)),
                    None => ended = true,
                }
            }
            let Some(next) = waiting.front().copied() else {
                if ended {
                    return Ok(piece.map(|piece| (piece, (extents, waiting, ended))));
                }
                continue;
            };
            match &mut piece {
                None => piece = Some(Piece { span: next, data: vec![next] }),
                Some(piece) if fits(piece.span, next) => {
                    piece.span = Extent::between(piece.span.offset, next.end());
                    piece.data.push(next);
                }
                Some(_) => return Ok(piece.map(|piece| (piece, (extents, waiting, ended)))),
            }
            waiting.pop_front();
        }
    })
}

fn fits(span: Extent, next: Extent) -> bool {
    next.offset - span.end() <= GAP && next.end() - span.offset <= PIECE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(extents: Vec<Extent>) -> Vec<Piece> {
        let all = pieces(stream::iter(extents.into_iter().map(Ok)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(all.try_collect()).unwrap()
    }

    fn kib(offset: u64, length: u64) -> Extent {
        Extent { offset: offset << 10, length: length << 10 }
    }

    #[test]
    fn small_extents_share_a_request_and_large_ones_are_split() {
        let near = cut(vec![kib(0, 64), kib(128, 64), kib(1024, 64)]);
        assert_eq!(near.iter().map(|p| p.span).collect::<Vec<_>>(), [kib(0, 192), kib(1024, 64)]);
        assert_eq!(near[0].data, [kib(0, 64), kib(128, 64)]);
        let large = cut(vec![kib(1024, 10 << 10)]);
        assert!(large.len() >= 3 && large.iter().all(|piece| piece.span.length <= PIECE));
        assert!(cut(vec![]).is_empty());
    }

    proptest! {
        #[test]
        fn every_byte_of_data_is_asked_for_once_and_in_order(
            parts in proptest::collection::vec((0u64..600, 1u64..9000), 0..30)
        ) {
            let mut at = 0;
            let extents: Vec<_> = parts.into_iter().map(|(gap, length)| {
                let extent = kib(at + gap + 1, length);
                at += gap + 1 + length;
                extent
            }).collect();
            let pieces = cut(extents.clone());
            let data: Vec<_> = pieces.iter().flat_map(|p| p.data.clone()).collect();
            prop_assert_eq!(godwit_model::extent::merge(data), extents);
            for piece in &pieces {
                prop_assert!(piece.span.length <= PIECE);
                prop_assert_eq!(piece.span.offset, piece.data[0].offset);
                prop_assert_eq!(piece.span.end(), piece.data[piece.data.len() - 1].end());
            }
            prop_assert!(pieces.windows(2).all(|w| w[0].span.end() <= w[1].span.offset));
        }
    }
}
