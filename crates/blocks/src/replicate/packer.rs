//! The pack that is being filled, and the way of full packs into the store.

use crate::pack::builder::{PackBuilder, Record, SealedPack};
use crate::pack::{PackSet, Place};
use crate::replicate::Ledger;
use crate::replicate::meter::Meter;
use crate::store::{BlockStore, PUTS, Put, pack_path};
use bytes::BytesMut;
use futures::StreamExt;
use godwit_model::failure::{Code, Failure};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Packs of one volume in memory: one is filled while another is on its way.
const ROOMS: usize = 1 + PUTS;

/// A full pack, and its room in memory.
pub(super) struct Outgoing {
    pack: SealedPack,
    _room: OwnedSemaphorePermit,
}

/// Takes records and gives full packs to the [`send_packs`] at the other end.
pub(super) struct Packer {
    store: BlockStore,
    open: Mutex<OpenPack>,
    rooms: Arc<Semaphore>,
    outgoing: mpsc::Sender<Outgoing>,
    spare: Spare,
}

/// Buffers of packs that were sent: used again, so that the allocator keeps no holes of this size.
pub(super) type Spare = Arc<Mutex<Vec<BytesMut>>>;

struct OpenPack {
    builder: Option<(PackBuilder, OwnedSemaphorePermit)>,
    /// Id of the first pack of this attempt. Its upper 96 bits are random, the rest counts.
    first: u128,
    n_packs: u64,
    bytes: u64,
}

/// Records on their way into packs.
pub(super) struct Filling {
    places: Vec<Place>,
    rest: std::vec::IntoIter<Record>,
}

impl From<Vec<Record>> for Filling {
    fn from(records: Vec<Record>) -> Self {
        Self { places: Vec::with_capacity(records.len()), rest: records.into_iter() }
    }
}

impl Packer {
    /// A packer and where its packs come out.
    pub(super) fn new(store: &BlockStore, spare: Spare) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, packs) = mpsc::channel(ROOMS);
        let open = OpenPack { builder: None, first: store.draw() << 32, n_packs: 0, bytes: 0 };
        let rooms = Arc::new(Semaphore::new(ROOMS));
        (Self { store: store.clone(), open: Mutex::new(open), rooms, outgoing, spare }, packs)
    }

    /// Appends records, in order, until all are packed or there is no open pack with room for the next one. This is the
    /// processor's work: it is done where records are made.
    pub(super) fn fill(&self, mut filling: Filling) -> Result<Filling, Failure> {
        let mut open = self.open();
        while let Some(next) = filling.rest.as_slice().first() {
            match &mut open.builder {
                None => break,
                Some((builder, _)) if builder.has_room(next.content.len()) => filling.places.push(builder.append(next)),
                Some(_) => {
                    self.send(&mut open)?;
                    break;
                }
            }
            filling.rest.next();
        }
        Ok(filling)
    }

    /// Appends what [`Packer::fill`] has left over, to as many packs as it takes. Waits while too many packs are on their
    /// way.
    pub(super) async fn append(self: &Arc<Self>, mut filling: Filling) -> Result<Vec<Place>, Failure> {
        while !filling.rest.as_slice().is_empty() {
            self.open_pack().await;
            let packer = self.clone();
            filling = self.store.cpu(move |_| packer.fill(filling)).await??;
        }
        Ok(filling.places)
    }

    /// Sends what is in the open pack, if anything.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.send(&mut self.open())
    }

    /// The packs sent so far and the sum of their bytes.
    pub(super) fn sent(&self) -> (PackSet, u64) {
        let open = self.open();
        let mut packs = PackSet::default();
        packs.insert(open.first, open.n_packs);
        (packs, open.bytes)
    }

    fn open(&self) -> MutexGuard<'_, OpenPack> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a pack as soon as there is room for one, unless somebody else has.
    async fn open_pack(&self) {
        let room = self.rooms.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut open = self.open();
        if open.builder.is_none() {
            let bytes = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let next = open.first + u128::from(open.n_packs);
            open.builder = Some((PackBuilder::new(self.store.keys(), next, self.store.pack_target(), bytes), room));
        }
    }

    /// Whoever takes a pack away gives it to the sender before anybody could lose it.
    fn send(&self, open: &mut OpenPack) -> Result<(), Failure> {
        let Some((builder, room)) = open.builder.take_if(|(builder, _)| !builder.is_empty()) else { return Ok(()) };
        let pack = builder.seal();
        open.n_packs += 1;
        open.bytes += pack.bytes.len() as u64;
        // The queue has a place for each room.
        self.outgoing.try_send(Outgoing { pack, _room: room }).map_err(|_| stopped())
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
    SealedPack { pack, bytes, blocks }: SealedPack,
    ledger: &dyn Ledger,
    meter: &Meter<'_>,
) -> Result<Option<BytesMut>, Failure> {
    let length = bytes.len() as u64;
    let path = pack_path(&pack);
    let _turn = store.puts().acquire().await.expect("the semaphore is never closed");
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
    store.index().remember(u128::from_be_bytes(pack.to_bytes()), blocks.iter());
    meter.stored(length);
    Ok(bytes.try_into_mut().ok().map(|mut room| {
        room.clear();
        room
    }))
}
