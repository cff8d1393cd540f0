//! Where the bytes of an image come from: the service, asked as an export asks it.

use crate::client::{Client, ClientError};
use async_trait::async_trait;
use bytes::Bytes;
use godwit_api::shapes::godwit::{ListImageExtentsRequest, ReadImageRequest};
use godwit_blocks::buffers::Buffers;
use godwit_model::extent::Extent;
use std::sync::Arc;

/// Extents in one answer: a quarter of a gibibyte of a disk with a hole in every second block. What is kept of answers is
/// a multiple of it.
const EXTENTS: i32 = 2000;

/// What is known of where a volume holds data, from some byte on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chapter {
    /// All that it tells of.
    pub span: Extent,
    /// Where data is, in order; what lies between is zeros.
    pub data: Vec<Extent>,
}

/// Reads volumes of one image. Content never changes.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// Bytes of a volume; at most a mebibyte.
    async fn read(&self, volume: u32, span: Extent) -> Result<Bytes, ClientError>;
    /// Where data is, from this byte on, which is before the end. Tells of one byte at least.
    async fn chapter(&self, volume: u32, from: u64) -> Result<Chapter, ClientError>;
}

/// An image of a service.
pub struct ServiceImage {
    client: Client,
    image: String,
    buffers: Arc<Buffers>,
}

impl ServiceImage {
    /// Nothing is asked yet.
    pub fn new(client: Client, image: String) -> Self {
        // What is read is kept, so there is nothing to be used again.
        Self { client, image, buffers: Arc::new(Buffers::new(0, 0)) }
    }
}

#[async_trait]
impl Origin for ServiceImage {
    async fn read(&self, volume: u32, span: Extent) -> Result<Bytes, ClientError> {
        let Extent { offset, length } = span;
        let request = ReadImageRequest { image_id: self.image.clone(), volume: u64::from(volume), offset, length };
        self.client.read_image(&request, &self.buffers).await
    }

    async fn chapter(&self, volume: u32, from: u64) -> Result<Chapter, ClientError> {
        let request = ListImageExtentsRequest {
            image_id: self.image.clone(),
            volume: u64::from(volume),
            from: Some(from),
            max_results: Some(EXTENTS),
        };
        let answer = self.client.list_image_extents(&request).await?;
        // Going on where one has been would never end.
        let next = answer.next.filter(|next| *next > from).unwrap_or(answer.size);
        let span = Extent::between(from, next);
        if span.is_empty() {
            // Else nobody would get any further.
            let message = format!("the service says that the volume ends at {}, before {from}", answer.size);
            return Err(ClientError::Refused { code: "InternalError".into(), message, by_server: true });
        }
        let data = answer.extents.into_iter().filter_map(|extent| Extent::new(extent.offset, extent.length));
        let data = data.map(|extent| extent.intersect(span)).filter(|extent| !extent.is_empty()).collect();
        Ok(Chapter { span, data: godwit_model::extent::merge(data) })
    }
}
