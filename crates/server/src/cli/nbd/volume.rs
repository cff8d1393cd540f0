//! A volume as a client sees it: the image, and over it what was written.

use crate::cli::nbd::cache::Cache;
use crate::cli::nbd::codec::Status;
use crate::cli::nbd::origin::Origin;
use crate::cli::nbd::overlay::{Layer, Part, UNIT};
use crate::client::ClientError;
use bytes::Bytes;
use godwit_model::extent::{Extent, subtract};
use std::io;
use std::sync::Arc;

/// Ranges in one block status at most: they are asked for again from where the answer ends.
const MOST_STATUS: usize = 1024;
/// How much of a volume is looked at in one go for a block status: what it takes in memory is bounded by it.
const STATUS_WINDOW: u64 = 128 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The image could not be read.
    #[error("{0}")]
    Image(#[from] ClientError),
    /// The overlay could not be read or written.
    #[error("the overlay cannot be used: {0}")]
    Overlay(#[from] io::Error),
}

/// A volume of the image.
pub struct Volume<O> {
    /// Its number in the image.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// What of the image is kept.
    pub cache: Cache<O>,
    /// What was written; `None` if nothing can be.
    pub layer: Option<Arc<Layer>>,
}

impl<O: Origin> Volume<O> {
    /// Bytes of a range; `None` if they are zeros all over.
    pub async fn read(&self, span: Extent) -> Result<Option<Bytes>, VolumeError> {
        let parts = self.parts(span).await?;
        let mut buffer = Vec::new();
        let mut image = vec![];
        for part in parts.iter().filter(|part| !part.is_held) {
            image.extend(self.cache.data(self.number, self.size, part.span).await?);
        }
        let held: Vec<Extent> = parts.iter().filter(|part| part.is_held).map(|part| part.span).collect();
        if image.is_empty() && held.is_empty() {
            return Ok(None);
        }
        buffer.resize(span.length as usize, 0);
        for data in image {
            let into = &mut buffer[within(span, data)];
            self.cache.read(self.number, self.size, data.offset, into).await?;
        }
        let Some(layer) = self.layer.clone().filter(|_| !held.is_empty()) else {
            return Ok(Some(buffer.into()));
        };
        let read = blocking(move || {
            held.into_iter().try_for_each(|part| layer.read(part.offset, &mut buffer[within(span, part)]))?;
            Ok(buffer)
        });
        Ok(Some(read.await?.into()))
    }

    /// Keeps bytes.
    pub async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), VolumeError> {
        let span = Extent { offset, length: bytes.len() as u64 };
        let layer = self.layer()?;
        let (whole, edges) = self.cut(span);
        for edge in edges {
            self.patch(edge, bytes.slice(within(span, edge))).await?;
        }
        if whole.is_empty() {
            return Ok(());
        }
        Ok(blocking(move || layer.write(whole.offset, &bytes[within(span, whole)])).await?)
    }

    /// Makes a range zeros.
    pub async fn zero(&self, span: Extent, as_hole: bool) -> Result<(), VolumeError> {
        let layer = self.layer()?;
        let (whole, edges) = self.cut(span);
        for edge in edges {
            self.patch(edge, vec![0; edge.length as usize].into()).await?;
        }
        if whole.is_empty() {
            return Ok(());
        }
        Ok(blocking(move || layer.zero(whole, as_hole)).await?)
    }

    /// Nobody needs a range any more: what of it is in whole units becomes a hole.
    pub async fn trim(&self, span: Extent) -> Result<(), VolumeError> {
        let layer = self.layer()?;
        let whole = self.cut(span).0;
        if whole.is_empty() {
            return Ok(());
        }
        Ok(blocking(move || layer.zero(whole, true)).await?)
    }

    /// Makes durable what was written.
    pub async fn flush(&self) -> Result<(), VolumeError> {
        match self.layer.clone() {
            Some(layer) => Ok(blocking(move || layer.flush()).await?),
            None => Ok(()),
        }
    }

    /// What is known of a range, from its beginning on; perhaps not to its end, but always of some bytes.
    pub async fn status(&self, span: Extent, only_one: bool) -> Result<Vec<Status>, VolumeError> {
        let most = if only_one { 1 } else { MOST_STATUS };
        let mut found: Vec<(u64, bool)> = vec![];
        for window in span.pieces(STATUS_WINDOW) {
            for part in self.parts(window).await? {
                let (data, holes) = if part.is_held {
                    let holes = self.holes(part.span).await?;
                    (subtract(part.span, &holes), holes)
                } else {
                    let data = self.cache.data(self.number, self.size, part.span).await?;
                    let holes = subtract(part.span, &data);
                    (data, holes)
                };
                let holes = holes.into_iter().map(|hole| (hole, true));
                let mut all: Vec<_> = data.into_iter().map(|data| (data, false)).chain(holes).collect();
                all.sort_unstable();
                all.into_iter().for_each(|(span, is_hole)| join(&mut found, span.length, is_hole));
            }
            // The last one may go on.
            if found.len() > most {
                break;
            }
        }
        found.truncate(most);
        // The range of a request has 32 bits, and so has each part of it.
        Ok(found.into_iter().map(|(length, is_hole)| Status { length: length as u32, is_hole }).collect())
    }

    async fn parts(&self, span: Extent) -> Result<Vec<Part>, VolumeError> {
        match self.layer.clone() {
            Some(layer) => Ok(blocking(move || layer.parts(span)).await?),
            None => Ok(vec![Part { span, is_held: false }]),
        }
    }

    /// Where a range that the overlay holds is a hole.
    async fn holes(&self, held: Extent) -> Result<Vec<Extent>, VolumeError> {
        let layer = self.layer()?;
        Ok(blocking(move || layer.holes(held)).await?)
    }

    /// Keeps a part of one unit.
    async fn patch(&self, part: Extent, bytes: Bytes) -> Result<(), VolumeError> {
        let layer = self.layer()?;
        let unit = part.align(UNIT, self.size);
        let is_held = self.parts(unit).await?.iter().all(|part| part.is_held);
        let mut whole = vec![0; unit.length as usize];
        if !is_held {
            for data in self.cache.data(self.number, self.size, unit).await? {
                self.cache.read(self.number, self.size, data.offset, &mut whole[within(unit, data)]).await?;
            }
        }
        Ok(blocking(move || layer.patch(part.offset, &bytes, &whole)).await?)
    }

    /// The whole units of a range, and what is left at its ends.
    fn cut(&self, span: Extent) -> (Extent, Vec<Extent>) {
        let start = span.offset.next_multiple_of(UNIT);
        // The last unit of a volume may be short.
        let end = if span.end() == self.size { self.size } else { span.end() - span.end() % UNIT };
        let whole = Extent::between(start, end);
        if whole.is_empty() {
            // It may lie in two units all the same.
            return (Extent { offset: start, length: 0 }, span.pieces(UNIT).collect());
        }
        (whole, subtract(span, &[whole]))
    }

    fn layer(&self) -> Result<Arc<Layer>, VolumeError> {
        self.layer.clone().ok_or_else(|| io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into())
    }
}

/// Where `part` lies in a buffer that holds `span`.
fn within(span: Extent, part: Extent) -> std::ops::Range<usize> {
    let from = (part.offset - span.offset) as usize;
    from..from + part.length as usize
}

fn join(found: &mut Vec<(u64, bool)>, length: u64, is_hole: bool) {
    match found.last_mut() {
        Some((last, same)) if *same == is_hole => *last += length,
        _ => found.push((length, is_hole)),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
