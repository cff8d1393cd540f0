//! The pack that is being filled, and the way of full packs into the store.

use crate::block::Digest;
use crate::pack::builder::{PackBuilder, Record, SealedPack};
use crate::pack::{PackSet, Place};
use crate::replicate::Ledger;
use crate::replicate::meter::Meter;
use crate::store::{BlockStore, PUTS, Put, pack_path};
use bytes::BytesMut;
use futures::StreamExt;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::PackId;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Packs of one volume that are filled, or full and not yet on their way: what is on its way is bounded by [`PUTS`] over
/// all volumes.
const ROOMS: usize = 1;

/// Packs that are durable and not yet recorded as such, each some kilobytes of digests.
const UNRECORDED: usize = 8;

/// A full pack, and its room in memory.
pub(super) struct Outgoing {
    pack: SealedPack,
    room: OwnedSemaphorePermit,
}

/// Takes records and gives full packs to the [`send_packs`] at the other end.
pub(super) struct Packer {
    store: BlockStore,
    open: Mutex<OpenPack>,
    /// Held while a pack is opened.
    opening: tokio::sync::Mutex<()>,
    rooms: Arc<Semaphore>,
    outgoing: mpsc::Sender<Outgoing>,
    spare: Spare,
}

/// The buffer of a pack that was sent: used again, so that the allocator keeps no holes of this size.
pub(super) type Spare = Arc<Mutex<Option<BytesMut>>>;

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
        (
            Self { store: store.clone(), open: Mutex::new(open), opening: Default::default(), rooms, outgoing, spare },
            packs,
        )
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
        // Who waits for the room must not wait for it any more when somebody else has opened the pack.
        let _opening = self.opening.lock().await;
        if self.open().builder.is_some() {
            return;
        }
        let room = self.rooms.clone().acquire_owned().await.expect("the semaphore is never closed");
        let bytes = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let mut open = self.open();
        let next = open.first + u128::from(open.n_packs);
        open.builder = Some((PackBuilder::new(self.store.keys(), next, self.store.pack_target(), bytes), room));
    }

    /// Whoever takes a pack away gives it to the sender before anybody could lose it.
    fn send(&self, open: &mut OpenPack) -> Result<(), Failure> {
        let Some((builder, room)) = open.builder.take_if(|(builder, _)| !builder.is_empty()) else { return Ok(()) };
        let pack = builder.seal();
        open.n_packs += 1;
        open.bytes += pack.bytes.len() as u64;
        // The queue has a place for each room.
        self.outgoing.try_send(Outgoing { pack, room }).map_err(|_| stopped())
    }
}

/// Puts packs as they come, a few at a time, until the packer is gone. Which of them are durable is recorded beside that,
/// several at once if they came meanwhile: the next pack need not wait for it. After the first failure `stop` is
/// cancelled, what is on its way is waited for, and the rest is dropped.
pub(super) async fn send_packs(
    store: &BlockStore,
    packs: mpsc::Receiver<Outgoing>,
    spare: &Spare,
    ledger: &dyn Ledger,
    meter: &Meter<'_>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let failed: OnceLock<Failure> = OnceLock::new();
    let fail = |failure: Failure| {
        // Only the first is told.
        let _ = failed.set(failure);
        stop.cancel();
    };
    let (durable, mut unrecorded) = mpsc::channel(UNRECORDED);
    let putting = async {
        // Owned in here: when all is put, the recording comes to its end.
        let durable = durable;
        let packs = futures::stream::unfold(packs, async |mut packs| packs.recv().await.map(|pack| (pack, packs)));
        let put = packs.for_each_concurrent(PUTS, async |outgoing| {
            if failed.get().is_some() {
                return;
            }
            match put_pack(store, outgoing, spare, ledger, meter).await {
                Ok(stored) => durable.send(stored).await.expect("what records them waits for the last one"),
                Err(failure) => fail(failure),
            }
        });
        put.await;
    };
    let recording = async {
        let mut packs: Vec<StoredPack> = Vec::with_capacity(UNRECORDED);
        while unrecorded.recv_many(&mut packs, UNRECORDED).await > 0 {
            let ids: Vec<PackId> = packs.iter().map(|stored| stored.pack.clone()).collect();
            match ledger.durable(&ids).await {
                Ok(()) => packs.drain(..).for_each(|stored| stored.note(store, meter)),
                Err(failure) => {
                    packs.clear();
                    fail(failure);
                }
            }
        }
    };
    futures::future::join(putting, recording).await;
    failed.into_inner().map_or(Ok(()), Err)
}

/// What a walk fails with when its packs find no way into the store: the sender's own failure says why.
pub(super) fn stopped() -> Failure {
    Failure::new(Code::Internal, "packs are no longer sent")
}

/// A pack that is durable.
struct StoredPack {
    pack: PackId,
    length: u64,
    blocks: Vec<Digest>,
}

impl StoredPack {
    /// The ledger knows of it.
    fn note(self, store: &BlockStore, meter: &Meter<'_>) {
        store.index().add(u128::from_be_bytes(self.pack.to_bytes()), self.blocks.iter());
        meter.stored(self.length);
    }
}

/// Puts one pack.
async fn put_pack(
    store: &BlockStore,
    Outgoing { pack: SealedPack { pack, bytes, blocks }, room }: Outgoing,
    spare: &Spare,
    ledger: &dyn Ledger,
    meter: &Meter<'_>,
) -> Result<StoredPack, Failure> {
    let length = bytes.len() as u64;
    let path = pack_path(&pack);
    let _turn = store.puts().acquire().await.expect("the semaphore is never closed");
    // From here on it is among the few on their way, and the volume may fill the next one.
    drop(room);
    ledger.begun(&pack, length).await?;
    meter.sent(length);
    if store.put(&path, bytes.clone()).await? == Put::Exists {
        // Only a repeated request of the object store's own client can have been first.
        let existing = store.get(&path, length).await?;
        if existing.is_none_or(|existing| existing != bytes) {
            return Err(Failure::new(Code::Internal, format!("object {path} exists already with another content")));
        }
    }
    if let Ok(mut room) = bytes.try_into_mut() {
        room.clear();
        spare.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(room);
    }
    Ok(StoredPack { pack, length, blocks })
}
