//! The pack that is being filled, and the way of full packs into the store.

use crate::pack::builder::{PackBuilder, Record, SealedPack};
use crate::pack::{PackSet, Place};
use crate::replicate::Ledger;
use crate::replicate::meter::Meter;
use crate::store::{BlockStore, PUTS, Put, pack_path};
use bytes::BytesMut;
use futures::StreamExt;
use godwit_model::failure::{Code, Failure};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// A full pack and the right to be in memory beside the one that is being filled.
pub(super) struct Outgoing {
    pack: SealedPack,
    _right: OwnedSemaphorePermit,
}

/// Takes records and gives full packs to the [`send_packs`] at the other end.
pub(super) struct Packer {
    store: BlockStore,
    open: Arc<AsyncMutex<OpenPack>>,
    outgoing: mpsc::Sender<Outgoing>,
    spare: Spare,
}

/// Buffers of packs that were sent: used again, so that the allocator keeps no holes of this size.
pub(super) type Spare = Arc<Mutex<Vec<BytesMut>>>;

struct OpenPack {
    builder: Option<PackBuilder>,
    /// Id of the first pack of this attempt. Its upper 96 bits are random, the rest counts.
    first: u128,
    n_packs: u64,
    bytes: u64,
}

impl Packer {
    /// A packer and where its packs come out.
    pub(super) fn new(store: &BlockStore, spare: Spare) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, packs) = mpsc::channel(PUTS);
        let open = OpenPack { builder: None, first: store.draw() << 32, n_packs: 0, bytes: 0 };
        (Self { store: store.clone(), open: Arc::new(AsyncMutex::new(open)), outgoing, spare }, packs)
    }

    /// Appends all records, in order, to as many packs as it takes. Waits while too many packs are on their way.
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::with_capacity(records.len());
        let mut rest = records.into_iter().peekable();
        let mut open = self.open.clone().lock_owned().await;
        while rest.peek().is_some() {
            let spare = self.spare.clone();
            // Encryption is the processor's work too: it goes where hashing goes, and takes the open pack along.
            (open, places, rest) = self
                .store
                .cpu(move |store| {
                    let next = open.first + u128::from(open.n_packs);
                    let builder = open.builder.get_or_insert_with(|| {
                        let room = spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
                        PackBuilder::new(store.keys(), next, store.pack_target(), room)
                    });
                    while let Some(record) = rest.next_if(|record| builder.has_room(record.content.len())) {
                        places.push(builder.append(&record));
                    }
                    (open, places, rest)
                })
                .await?;
            if rest.peek().is_some() {
                self.send(&mut open).await?;
            }
        }
        Ok(places)
    }

    /// Sends what is in the open pack, if anything.
    pub(super) async fn flush(&self) -> Result<(), Failure> {
        let mut open = self.open.lock().await;
        self.send(&mut open).await
    }

    /// The packs sent so far and the sum of their bytes.
    pub(super) async fn sent(&self) -> (PackSet, u64) {
        let open = self.open.lock().await;
        let mut packs = PackSet::default();
        packs.insert(open.first, open.n_packs);
        (packs, open.bytes)
    }

    async fn send(&self, open: &mut OpenPack) -> Result<(), Failure> {
        if open.builder.as_ref().is_none_or(PackBuilder::is_empty) {
            return Ok(());
        }
        let right = self.store.puts().clone().acquire_owned().await.expect("the semaphore is never closed");
        let Some(builder) = open.builder.take() else { return Ok(()) };
        let pack = builder.seal();
        open.n_packs += 1;
        open.bytes += pack.bytes.len() as u64;
        self.outgoing.send(Outgoing { pack, _right: right }).await.map_err(|_| stopped())
    }
}

/// Puts packs as they come, a few at a time, until the packer is gone. After the first failure `stop` is cancelled, what
/// is on its way is waited for, and the rest is dropped.
pub(super) async fn send_packs(
    store: &BlockStore,
    packs: mpsc::Receiver<Outgoing>,
    spare: &Spare,
    ledger: &dyn Ledger,
    meter: &Meter<'_>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let packs = futures::stream::unfold(packs, async |mut packs| packs.recv().await.map(|pack| (pack, packs)));
    packs
        .for_each_concurrent(PUTS, async |outgoing| {
            if failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            match put_pack(store, outgoing.pack, ledger, meter).await {
                Ok(room) => spare.lock().unwrap_or_else(PoisonError::into_inner).extend(room),
                Err(failure) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
                    stop.cancel();
                }
            }
        })
        .await;
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What a walk fails with when its packs find no way into the store: the sender's own failure says why.
pub(super) fn stopped() -> Failure {
    Failure::new(Code::Internal, "packs are no longer sent")
}

/// Puts one pack and gives its buffer back, if nobody else holds it.
async fn put_pack(
    store: &BlockStore,
    SealedPack { pack, bytes }: SealedPack,
    ledger: &dyn Ledger,
    meter: &Meter<'_>,
) -> Result<Option<BytesMut>, Failure> {
    let length = bytes.len() as u64;
    let path = pack_path(&pack);
    ledger.begun(&pack, length).await?;
    meter.sent(length);
    if store.put(&path, bytes.clone()).await? == Put::Exists {
        // Only a repeated request of the object store's own client can have been first.
        let existing = store.get(&path, length).await?;
        if existing.is_none_or(|existing| existing != bytes) {
            return Err(Failure::new(Code::Internal, format!("object {path} exists already with another content")));
        }
    }
    ledger.durable(&pack).await?;
    meter.stored(length);
    Ok(bytes.try_into_mut().ok().map(|mut room| {
        room.clear();
        room
    }))
}
