//! Reads one volume at one point in time, over NBD.

use crate::nbd::client::{NbdClient, NbdError, NbdTarget};
use crate::nbd::codec::Status;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Allocation of a range, by the protocol itself.
const ALLOCATION: &str = "base:allocation";
/// Flag of [`ALLOCATION`]: reads as zeros. The flag for holes says nothing about what they read as.
const ZERO: u32 = 2;
/// Flag of a dirty bitmap.
const DIRTY: u32 = 1;

/// Which export holds the volume.
#[derive(Clone, Debug)]
pub struct VolumeTarget {
    /// Sockets on which the server may listen, in the order to try them.
    pub sockets: Vec<PathBuf>,
    /// Name of the export; it names the point in time.
    pub export: String,
    /// Bitmap that tells what changed since the baseline, if it is believed.
    pub bitmap: Option<String>,
    /// Size of the volume.
    pub size: u64,
    /// Until connected.
    pub connect_limit: Duration,
    /// Until a request is answered.
    pub request_limit: Duration,
}

/// A volume at a point in time.
pub struct NbdVolume {
    target: VolumeTarget,
    client: Mutex<Option<Arc<NbdClient>>>,
}

impl NbdVolume {
    /// Connects; checks that export, size and bitmap are what they should be.
    pub async fn connect(target: VolumeTarget) -> Result<Self, Failure> {
        let client = connect(&target).await?;
        Ok(Self { target, client: Mutex::new(Some(client)) })
    }

    /// The living connection, made anew if the one at hand is `dead`.
    async fn client(&self, dead: Option<&Arc<NbdClient>>) -> Result<Arc<NbdClient>, Failure> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| dead.is_none_or(|dead| !Arc::ptr_eq(client, dead))) {
            return Ok(client.clone());
        }
        *slot = None;
        let client = connect(&self.target).await?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// What the server says of `window`, or of a little more where it counts in larger blocks; one list per context.
    async fn statuses(&self, window: Extent) -> Result<(Extent, Vec<Vec<Status>>), Failure> {
        if window.is_empty() {
            return Ok((window, Vec::new()));
        }
        self.request(|client| async move {
            let wide = window.align(client.minimum_block(), client.size());
            Ok((wide, client.block_status(wide).await?))
        })
        .await
    }

    /// Runs a request; a lost connection is made anew once.
    async fn request<T, F>(&self, request: impl Fn(Arc<NbdClient>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, NbdError>>,
    {
        let client = self.client(None).await?;
        match request(client.clone()).await {
            Err(error) if error.is_connection() => {
                tracing::info!(%error, export = self.target.export, "NBD connection lost, connecting again");
                tokio::time::sleep(Duration::from_millis(200)).await;
                let fresh = self.client(Some(&client)).await?;
                request(fresh).await.map_err(|error| failure(&error, &self.target))
            }
            answer => answer.map_err(|error| failure(&error, &self.target)),
        }
    }
}

#[async_trait]
impl VolumeReader for NbdVolume {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let (wide, lists) = self.statuses(window).await?;
        let (allocation, dirty) = (lists.first(), lists.get(1));
        Ok(cut(combine(wide, slice(allocation), dirty.map(Vec::as_slice)), window))
    }

    async fn zeros(&self, window: Extent) -> Result<Vec<Extent>, Failure> {
        let (wide, lists) = self.statuses(window).await?;
        let known = cut(combine(wide, slice(lists.first()), None), window).into_iter();
        Ok(known.filter(|known| known.kind == ExtentKind::Zero).map(|known| known.extent).collect())
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        if extent.is_empty() {
            return Ok(Bytes::new());
        }
        self.request(|client| async move {
            let wide = extent.align(client.minimum_block(), client.size());
            let bytes = client.read(wide).await?;
            let start = (extent.offset - wide.offset) as usize;
            Ok(bytes.slice(start..start + extent.length as usize))
        })
        .await
    }
}

/// The one door through which NBD errors leave this crate.
fn failure(error: &NbdError, target: &VolumeTarget) -> Failure {
    let code = match error {
        // The export's name is that of the point in time: without it, that point does not exist any more.
        NbdError::Refused { unknown_export: true, .. } => Code::PointInTimeLost,
        NbdError::TlsRequired => Code::SourceRefused,
        NbdError::Range { .. } => Code::Internal,
        _ => Code::SourceRead,
    };
    Failure::new(code, format!("export {}: {error}", target.export))
}

async fn connect(target: &VolumeTarget) -> Result<Arc<NbdClient>, Failure> {
    let bitmap = target.bitmap.as_ref().map(|name| format!("qemu:dirty-bitmap:{name}"));
    let contexts: Vec<String> = [ALLOCATION.to_owned()].into_iter().chain(bitmap).collect();
    let mut last = None;
    for socket in &target.sockets {
        let (socket, export, contexts) = (socket.clone(), target.export.clone(), contexts.clone());
        let (connect_limit, request_limit) = (target.connect_limit, target.request_limit);
        let one = NbdTarget { socket, export, contexts, connect_limit, request_limit };
        match NbdClient::connect(&one).await {
            Ok(client) => return checked(client, target).map(Arc::new),
            Err(error) => last = Some(error),
        }
    }
    let none = || NbdError::Lost("no socket of its server is known".into());
    Err(failure(&last.unwrap_or_else(none), target))
}

fn checked(client: NbdClient, target: &VolumeTarget) -> Result<NbdClient, Failure> {
    let wrong = |what: String| Err(Failure::new(Code::SourceRead, format!("export {}: {what}", target.export)));
    if client.size() != target.size {
        return wrong(format!("has {} bytes instead of {}", client.size(), target.size));
    }
    if target.bitmap.is_some() && !client.has_context(1) {
        return wrong("does not tell what changed".into());
    }
    Ok(client)
}

/// Puts both contexts together. Without a list of what is dirty nothing is unchanged; without allocation all is data.
fn combine(window: Extent, allocation: &[Status], dirty: Option<&[Status]>) -> Vec<SourceExtent> {
    let mut extents: Vec<SourceExtent> = Vec::new();
    let (mut zeros, mut changes) = (Spans::new(allocation), Spans::new(dirty.unwrap_or_default()));
    let mut at = window.offset;
    while at < window.end() {
        let (zero, zero_left) = zeros.now();
        let (change, change_left) = changes.now();
        let step = zero_left.min(change_left).min(window.end() - at);
        let kind = match (dirty.is_some(), change.map(|flags| flags & DIRTY), zero.map(|flags| flags & ZERO)) {
            (true, Some(0), _) => ExtentKind::Unchanged,
            (_, _, Some(ZERO)) => ExtentKind::Zero,
            _ => ExtentKind::Data,
        };
        match extents.last_mut() {
            Some(last) if last.kind == kind => last.extent.length += step,
            _ => extents.push(SourceExtent { extent: Extent::between(at, at + step), kind }),
        }
        zeros.skip(step);
        changes.skip(step);
        at += step;
    }
    extents
}

/// Walks a list of statuses; behind its end nothing is known.
struct Spans<'a> {
    list: std::slice::Iter<'a, Status>,
    flags: Option<u32>,
    left: u64,
}

impl<'a> Spans<'a> {
    fn new(list: &'a [Status]) -> Self {
        let mut spans = Self { list: list.iter(), flags: None, left: 0 };
        spans.advance();
        spans
    }

    fn now(&self) -> (Option<u32>, u64) {
        (self.flags, self.left)
    }

    fn skip(&mut self, bytes: u64) {
        self.left -= bytes;
        if self.left == 0 {
            self.advance();
        }
    }

    fn advance(&mut self) {
        match self.list.next() {
            Some(status) => (self.flags, self.left) = (Some(status.flags), u64::from(status.length)),
            None => (self.flags, self.left) = (None, u64::MAX),
        }
    }
}

fn slice(list: Option<&Vec<Status>>) -> &[Status] {
    list.map_or(&[], Vec::as_slice)
}

fn cut(extents: Vec<SourceExtent>, window: Extent) -> Vec<SourceExtent> {
    let within = |SourceExtent { extent, kind }| SourceExtent { extent: extent.intersect(window), kind };
    extents.into_iter().map(within).filter(|known| !known.extent.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Vec<Status>> {
        let one = (1u32..9, 0u32..4).prop_map(|(length, flags)| Status { length, flags });
        proptest::collection::vec(one, 0..20)
    }

    fn flag_at(list: &[Status], at: u64) -> Option<u32> {
        let mut end = 0;
        list.iter()
            .find(|s| {
                end += u64::from(s.length);
                at < end
            })
            .map(|s| s.flags)
    }

    proptest! {
        #[test]
        fn both_contexts_are_combined_byte_by_byte(
            offset in 0u64..5, length in 1u64..60, allocation in spans(), dirty in spans(), tracked: bool,
        ) {
            let window = Extent::between(offset, offset + length);
            let extents = combine(window, &allocation, tracked.then_some(dirty.as_slice()));
            prop_assert!(extents.windows(2).all(|w| w[0].extent.end() == w[1].extent.offset && w[0].kind != w[1].kind));
            prop_assert_eq!((extents[0].extent.offset, extents[extents.len() - 1].extent.end()), (offset, offset + length));
            for extent in extents {
                for at in extent.extent.offset..extent.extent.end() {
                    let clean = tracked && flag_at(&dirty, at - offset).is_some_and(|flags| flags & DIRTY == 0);
                    let zero = flag_at(&allocation, at - offset).is_some_and(|flags| flags & ZERO != 0);
                    let expected = match (clean, zero) {
                        (true, _) => ExtentKind::Unchanged,
                        (_, true) => ExtentKind::Zero,
                        _ => ExtentKind::Data,
                    };
                    prop_assert_eq!(extent.kind, expected, "at {}", at);
                }
            }
        }
    }
}
