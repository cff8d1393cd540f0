//! The store: an object store, the keys to what is in it, and how much of the machine it may use.
//!
//! # Consistency
//! Objects are put once and never replaced, but for snapshots' manifests by a repack: every put is conditional, also the one
//! that replaces, which asks for the very object that was read before. An object that exists is whole, because the object
//! store publishes whole objects only (the folder store writes beside and links).
//!
//! # Retries
//! Not here: each call is made once. Remote object stores retry by themselves; runs are retried by `control`.
//!
//! # Cancellation
//! Dropping a call may leave an object behind that nobody names. That is what [`BlockStore::discard_packs`] and the
//! sweep are for.
//!
//! # Completion
//! A put is durable when it returns (the folder store must be opened with fsync). Each call has a bound of time.
//!
//! # Crash consistency
//! Nothing here writes two objects that depend on each other.

mod calls;
mod failure;
mod folder;
mod read_only;
mod remote;
mod ring;

pub use folder::FolderStore;
pub use read_only::ReadOnly;
pub use remote::{AskKeys, RemoteBounds, RemoteError, RemoteKeys, RemoteOptions, RemoteStore};
pub use ring::MOST_VERSIONS;

use crate::block::{Codecs, Effort};
use crate::buffers::Buffers;
use crate::crypt::{Entropy, Keys, MasterKey};
use crate::dedup::index::{Index, MOST_SAMPLES};
use crate::dedup::loans::Loans;
use crate::envelope;
use crate::pack::PACK_TARGET;
use crate::recent::Recent;
use crate::store::calls::{Got, bounded, get, get_small, list, put, replace};
use crate::store::failure::{failure, missing, too_short};
use crate::store::ring::{KeyRing, path_of};
use crate::sweep::PackFact;
use crate::turns::Turns;
use bytes::Bytes;
use futures::StreamExt;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, PackId};
use godwit_model::key::first_key;
use godwit_model::time::Timestamp;
use object_store::path::Path;
use object_store::{GetRange, ObjectStore, ObjectStoreExt, UpdateVersion};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

/// How long one call to the object store may take. The largest object is a pack: at this bound a link would move less
/// than 60 KiB a second, which counts as broken.
const CALL_BOUND: Duration = Duration::from_secs(300);

/// Packs on their way into the store at the same time, over all volumes: one waits for its syncs while another is
/// written. Each holds a whole pack in memory.
pub(crate) const PUTS: usize = 2;

/// Reads of sources in flight, over all volumes: what saturates NBD (see docs/performance.md), a megabyte each.
pub(crate) const READS: usize = 8;

/// Range reads of packs in flight, over all verifications and readers, two megabytes each: one for each core that works
/// on what it fetched, and as many on their way.
pub(crate) const FETCHES: usize = 4;

/// Buffers that are kept for reads of snapshots, and how long they are at most: those that are at work at a time while an
/// export waits for both cores, each as long as what it asks for. Fresh ones would cost a tenth of the time.
const READ_BUFFERS: usize = 4;
const READ_BUFFER: usize = 2 << 20;

/// Key domains whose blocks are looked for at a time. Of one that is used again after others, what is stored from then on is
/// known, and after the next start all of it.
const DOMAINS: usize = 4;

/// Packs are not made smaller than this, however many volumes are at work: objects would get many, and syncs slow.
const LEAST_PACK: usize = 1 << 20;

/// How a store is used. The default is right except for tests.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A pack is sent when it has reached this many bytes, see [`PACK_TARGET`].
    pub pack_target: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { pack_target: PACK_TARGET }
    }
}

/// An open store. Clones share everything.
///
/// It writes in one key domain: the first one, or that of [`BlockStore::under`]. It reads what is of any.
#[derive(Clone)]
pub struct BlockStore {
    inner: Arc<Inner>,
    keys: Arc<Keys>,
}

struct Inner {
    objects: Arc<dyn ObjectStore>,
    ring: KeyRing,
    entropy: Entropy,
    options: Options,
    codecs: Codecs,
    cores: Arc<Semaphore>,
    /// Computations that wait for a core.
    waiting: AtomicUsize,
    puts: Arc<Semaphore>,
    turns: Turns,
    fetches: Semaphore,
    read_buffers: Arc<Buffers>,
    loans: Arc<Loans>,
    indexes: std::sync::Mutex<Recent<KeyId, Arc<Index>>>,
    /// Held by who deletes a snapshot's manifest or replaces it: else a deleted snapshot could come back where the object
    /// store has no conditions for a replacement.
    manifests: Mutex<()>,
}

/// Outcome of a conditional put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// The object is new.
    Created,
    /// There was one of this name already; it stays as it is.
    Exists,
}

/// Which of the objects that a name may have had was read, as far as the object store tells.
#[derive(Clone, Debug)]
pub(crate) struct Seen(UpdateVersion);

impl BlockStore {
    /// Opens the store in `objects`. The first time, this makes the first key and puts it, wrapped under `master`.
    pub async fn open(objects: Arc<dyn ObjectStore>, master: &MasterKey, entropy: Entropy) -> Result<Self, Failure> {
        Self::open_with(objects, master, entropy, Options::default()).await
    }

    /// As [`BlockStore::open`], with options.
    pub async fn open_with(
        objects: Arc<dyn ObjectStore>,
        master: &MasterKey,
        entropy: Entropy,
        options: Options,
    ) -> Result<Self, Failure> {
        let id = first_key();
        let ring = KeyRing::new(objects.clone(), master.clone(), entropy.clone());
        let keys = match ring.keys(&id).await? {
            Some(keys) => keys,
            None => {
                refuse_orphans(&*objects, &path_of(&id, 1)).await?;
                ring.make(&id, 1).await?;
                ring.keys(&id).await?.ok_or_else(|| {
                    let path = path_of(&id, 1);
                    Failure::new(Code::StoreUnavailable, format!("object {path} vanished after it was put"))
                })?
            }
        };
        Ok(Self::with_keys(objects, ring, keys, entropy, options))
    }

    /// Opens a store that was opened before, to look at it: nothing is made or put, and nothing can be.
    pub async fn open_to_read(objects: Arc<dyn ObjectStore>, master: &MasterKey) -> Result<Self, Failure> {
        let objects: Arc<dyn ObjectStore> = Arc::new(ReadOnly::new(objects));
        // Only what is put needs random bits.
        let entropy: Entropy = Arc::new(|| 0);
        let id = first_key();
        let ring = KeyRing::new(objects.clone(), master.clone(), entropy.clone());
        let keys = ring.keys(&id).await?.ok_or_else(|| {
            let what =
                format!("there is no object {}: without its first key nothing of a store can be read", path_of(&id, 1));
            Failure::new(Code::KeyUnavailable, what)
        })?;
        Ok(Self::with_keys(objects, ring, keys, entropy, Options::default()))
    }

    fn with_keys(
        objects: Arc<dyn ObjectStore>,
        ring: KeyRing,
        keys: Arc<Keys>,
        entropy: Entropy,
        options: Options,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            objects,
            ring,
            entropy,
            options,
            codecs: Codecs::default(),
            cores: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            puts: Arc::new(Semaphore::new(PUTS)),
            turns: Turns::new(READS),
            fetches: Semaphore::new(FETCHES),
            read_buffers: Arc::new(Buffers::new(READ_BUFFERS, READ_BUFFER)),
            loans: Arc::default(),
            indexes: std::sync::Mutex::new(Recent::new(DOMAINS)),
            manifests: Mutex::new(()),
        };
        Self { inner: Arc::new(inner), keys }
    }

    /// The same store, to write in the key domain of `key`, under its newest version.
    pub async fn under(&self, key: &KeyId) -> Result<Self, Failure> {
        match self.inner.ring.keys(key).await? {
            Some(keys) => Ok(Self { inner: self.inner.clone(), keys }),
            None => Err(Failure::new(Code::KeyUnavailable, format!("{key} is not in the store"))),
        }
    }

    /// The same store, to read what the object at `path` says is of the key domain of `key` and of no later version
    /// than this one.
    pub(crate) async fn reading(&self, key: &KeyId, version: u32, path: &Path) -> Result<Self, Failure> {
        let keys = match self.keys.id() == key && self.keys.newest() >= version {
            true => Some(self.keys.clone()),
            false => self.inner.ring.keys_up_to(key, version).await?,
        };
        let keys = keys.ok_or_else(|| envelope::OTHER_KEY.of(path))?;
        keys.check_leave()?;
        Ok(Self { inner: self.inner.clone(), keys })
    }

    /// Makes version `version` of a key durable, wrapped under the master key. Version 1 makes the key. Repeatable.
    pub async fn make_key(&self, key: &KeyId, version: u32) -> Result<(), Failure> {
        self.inner.ring.make(key, version).await
    }

    /// Every key in the store with its newest version.
    pub async fn all_keys(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        self.inner.ring.all().await
    }

    /// Lets a key be used, or not. What is known of a disabled key is forgotten, and everything at work that needs it
    /// fails with `KeyDisabled`. After a start every key is enabled.
    pub fn set_key_enabled(&self, key: &KeyId, enabled: bool) {
        self.inner.ring.set_enabled(key, enabled);
    }

    /// Removes packs that no snapshot of their own run names. Those that do not exist are removed already. What was ever lent
    /// stays: other snapshots may name it, and if none does it goes with a sweep when its time comes.
    pub async fn discard_packs(&self, packs: &[PackId]) -> Result<(), Failure> {
        let going = self.loans().let_go(packs.iter().map(|pack| u128::from_be_bytes(pack.to_bytes())));
        for pack in going.packs() {
            if self.size(&loan_path(*pack)).await?.is_none() {
                self.remove_pack(*pack).await?;
            }
        }
        Ok(())
    }

    /// Removes a pack that is on no loan.
    pub(crate) async fn remove_pack(&self, pack: u128) -> Result<(), Failure> {
        for index in self.indexes().values() {
            index.forget(pack);
        }
        // The note first: one without a pack would stay for ever.
        self.delete(&loan_path(pack)).await?;
        self.delete(&pack_path(&PackId::from_bits(pack))).await
    }

    /// Makes durable that a pack was lent. Repeatable.
    pub(crate) async fn note_loan(&self, pack: u128) -> Result<(), Failure> {
        self.put(&loan_path(pack), Bytes::from_static(b"lent")).await.map(drop)
    }

    /// What is known of where blocks of the store's key domain are.
    pub(crate) fn index(&self) -> Arc<Index> {
        let mut indexes = self.indexes();
        if let Some(index) = indexes.get(self.keys.id()) {
            return index;
        }
        let index = Arc::new(Index::new(MOST_SAMPLES));
        indexes.put(self.keys.id().clone(), index.clone());
        index
    }

    fn indexes(&self) -> std::sync::MutexGuard<'_, Recent<KeyId, Arc<Index>>> {
        self.inner.indexes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn loans(&self) -> &Arc<Loans> {
        &self.inner.loans
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn codecs(&self) -> &Codecs {
        &self.inner.codecs
    }

    /// How large a pack is to get that is begun now.
    pub(crate) fn pack_target(&self) -> usize {
        self.inner.options.pack_target.min(share_of_pack(self.inner.turns.n_seats()))
    }

    pub(crate) fn draw(&self) -> u128 {
        (self.inner.entropy)()
    }

    pub(crate) fn puts(&self) -> &Arc<Semaphore> {
        &self.inner.puts
    }

    /// Turns to read sources, over all volumes.
    pub fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    pub(crate) fn fetches(&self) -> &Semaphore {
        &self.inner.fetches
    }

    /// Where what is read of snapshots is put together.
    pub(crate) fn read_buffers(&self) -> &Arc<Buffers> {
        &self.inner.read_buffers
    }

    pub(crate) async fn manifests(&self) -> MutexGuard<'_, ()> {
        self.inner.manifests.lock().await
    }

    /// Runs `work` beside the async threads, at most one for each core at a time: hashing and compressing more at once
    /// gains nothing and would only hold more memory.
    pub(crate) async fn cpu<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BlockStore) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // Whatever encrypts, decrypts or digests comes by here.
        self.keys.check_leave()?;
        let core = {
            let _waiting = Waiting::begin(&self.inner.waiting);
            self.inner.cores.clone().acquire_owned().await.expect("the semaphore is never closed")
        };
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself, which goes on if nobody waits for it any more.
            let _core = core;
            work(&store)
        });
        task.await
            .map_err(|error| Failure::new(Code::Internal, format!("a computation on blocks did not end: {error}")))
    }

    /// How much work a block is worth at the moment.
    pub(crate) fn effort(&self) -> Effort {
        Effort::beside(self.inner.waiting.load(Ordering::Relaxed))
    }

    pub(crate) async fn put(&self, path: &Path, object: Bytes) -> Result<Put, Failure> {
        put(&*self.inner.objects, path, object).await
    }

    /// Puts an object in the place of the one of this name that was `seen`. False if there is another one by now, or none:
    /// that stays as it is.
    pub(crate) async fn replace(&self, path: &Path, object: Bytes, seen: Seen) -> Result<bool, Failure> {
        replace(&*self.inner.objects, path, object, seen).await
    }

    /// As [`BlockStore::get`], to replace what was read.
    pub(crate) async fn get_to_replace(&self, path: &Path, limit: u64) -> Result<Option<(Bytes, Seen)>, Failure> {
        Ok(get(&*self.inner.objects, path, None, limit).await?.map(|got| (got.bytes, got.seen)))
    }

    /// The whole object, or `None` if there is none. One longer than `limit` is refused before it is read.
    pub(crate) async fn get(&self, path: &Path, limit: u64) -> Result<Option<Bytes>, Failure> {
        get_small(&*self.inner.objects, path, limit).await
    }

    /// Exactly the bytes `range` of an object that must exist.
    pub(crate) async fn get_range(&self, path: &Path, range: Range<u64>) -> Result<Bytes, Failure> {
        let length = range.end - range.start;
        match get(&*self.inner.objects, path, Some(GetRange::Bounded(range.clone())), length).await {
            Ok(Some(Got { bytes, .. })) if bytes.len() as u64 == length => Ok(bytes),
            Ok(Some(Got { size, .. })) => Err(too_short(path, size, range.end)),
            Ok(None) => Err(missing(path)),
            // Object stores word "beyond the end" differently: the size decides.
            Err(failure) => match self.size(path).await {
                Ok(Some(size)) if size < range.end => Err(too_short(path, size, range.end)),
                _ => Err(failure),
            },
        }
    }

    /// The last bytes of an object, `length` of them if it has as many, and its size.
    pub(crate) async fn get_tail(&self, path: &Path, length: u64) -> Result<Option<(Bytes, u64)>, Failure> {
        if matches!(self.size(path).await?, Some(0)) {
            return Ok(Some((Bytes::new(), 0)));
        }
        let got = get(&*self.inner.objects, path, Some(GetRange::Suffix(length)), length).await?;
        Ok(got.map(|got| (got.bytes, got.size)))
    }

    async fn size(&self, path: &Path) -> Result<Option<u64>, Failure> {
        match bounded(path, self.inner.objects.head(path)).await? {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure("ask for", path, &error)),
        }
    }

    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Failure> {
        match bounded(path, self.inner.objects.delete(path)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure("delete", path, &error)),
        }
    }

    /// All packs, as the object store lists them. Each answer has its bound, the list has none: it is as long as it is.
    pub(crate) async fn list_packs(&self) -> Result<Vec<PackFact>, Failure> {
        let path = Path::from("packs");
        let mut listed = self.inner.objects.list(Some(&path));
        let mut packs = Vec::new();
        while let Some(object) = bounded(&path, listed.next()).await? {
            let object = match object {
                Ok(object) => object,
                // Deleted since the folder was read.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(failure("list", &path, &error)),
            };
            // What is not named like a pack is not ours.
            let id = object.location.filename().and_then(|name| name.parse::<PackId>().ok());
            packs.extend(id.map(|id| PackFact {
                pack: u128::from_be_bytes(id.to_bytes()),
                bytes: object.size,
                made_at: Timestamp(object.last_modified.timestamp_millis()),
            }));
        }
        Ok(packs)
    }

    /// Names of the objects directly below `folder`.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, Failure> {
        list(&*self.inner.objects, folder).await
    }
}

/// Counts among those that wait as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How large the packs of each of so many volumes may get: all together they take the memory that one volume may.
fn share_of_pack(n_volumes: usize) -> usize {
    (PACK_TARGET / n_volumes.max(1)).max(LEAST_PACK)
}

/// Where a pack is. The folder comes from the id's last digits, which count up: so folders fill evenly.
pub(crate) fn pack_path(pack: &PackId) -> Path {
    let id = pack.as_str();
    Path::from(format!("packs/{}/{id}", &id[id.len() - 2..]))
}

/// The note that a pack was lent.
fn loan_path(pack: u128) -> Path {
    Path::from(format!("loans/{}", PackId::from_bits(pack)))
}

/// A store that holds something but no key lost it: a new key would only hide that nothing can be read any more.
async fn refuse_orphans(objects: &dyn ObjectStore, key: &Path) -> Result<(), Failure> {
    let mut listed = objects.list(None);
    let first = async {
        while let Some(object) = listed.next().await {
            match object {
                Ok(object) if is_no_content(&object.location) => {}
                Err(object_store::Error::NotFound { .. }) => {}
                found => return Some(found),
            }
        }
        None
    };
    match bounded(key, first).await? {
        None => Ok(()),
        Some(Ok(object)) => Err(Failure::new(
            Code::KeyUnavailable,
            format!("the store holds object {} but not {key}, the key that it is encrypted with", object.location),
        )),
        Some(Err(error)) => Err(failure("list", key, &error)),
    }
}

/// Whether an object is there before the first key is: keys, whose store it is, what tried a server.
fn is_no_content(location: &Path) -> bool {
    let folder = location.parts().next();
    folder.is_some_and(|folder| ["keys", remote::OWNER, remote::PROBES].contains(&folder.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::PutPayload;
    use object_store::memory::InMemory;
    use std::sync::atomic::AtomicU64;

    fn entropy() -> Entropy {
        let next = AtomicU64::new(77);
        Arc::new(move || u128::from(next.fetch_add(1, Ordering::Relaxed)) * 0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn packs_of_many_volumes_share_the_memory_of_one() {
        assert_eq!([0, 1].map(share_of_pack), [PACK_TARGET; 2]);
        for n_volumes in 1..200 {
            let all = n_volumes * share_of_pack(n_volumes);
            assert!(all <= PACK_TARGET.max(n_volumes * LEAST_PACK), "{n_volumes}");
        }
    }

    #[tokio::test]
    async fn a_second_start_finds_the_key_of_the_first_and_a_wrong_master_key_is_told() {
        let objects = Arc::new(InMemory::new());
        let first = BlockStore::open(objects.clone(), &MasterKey::new([1; 32]), entropy()).await.unwrap();
        let again = BlockStore::open(objects.clone(), &MasterKey::new([1; 32]), entropy()).await.unwrap();
        assert_eq!(first.keys().block_digest(b"x"), again.keys().block_digest(b"x"));
        let wrong = BlockStore::open(objects, &MasterKey::new([2; 32]), entropy()).await.err().unwrap();
        assert_eq!(wrong.code, Code::KeyUnavailable);
        assert!(wrong.evidence.contains("another master key"), "{wrong}");
    }

    #[tokio::test]
    async fn a_damaged_key_object_is_corrupt_and_not_a_wrong_key() {
        let objects = Arc::new(InMemory::new());
        objects.put(&path_of(&first_key(), 1), PutPayload::from_static(b"rubbish")).await.unwrap();
        let failure = BlockStore::open(objects, &MasterKey::new([1; 32]), entropy()).await.err().unwrap();
        assert_eq!(failure.code, Code::StoreCorrupt);
    }

    #[tokio::test]
    async fn a_store_that_lost_its_key_gets_no_new_one() {
        let objects = Arc::new(InMemory::new());
        objects.put(&Path::from("packs/00/x"), PutPayload::from_static(b"x")).await.unwrap();
        let failure = BlockStore::open(objects, &MasterKey::new([1; 32]), entropy()).await.err().unwrap();
        assert_eq!(failure.code, Code::KeyUnavailable);
    }

    #[tokio::test]
    async fn ranges_beyond_the_end_are_corruption_and_not_short_answers() {
        let objects = Arc::new(InMemory::new());
        let store = BlockStore::open(objects, &MasterKey::new([1; 32]), entropy()).await.unwrap();
        let path = Path::from("packs/00/x");
        assert_eq!(store.put(&path, Bytes::from_static(b"0123456789")).await.unwrap(), Put::Created);
        assert_eq!(store.put(&path, Bytes::from_static(b"other")).await.unwrap(), Put::Exists);
        assert_eq!(&store.get_range(&path, 2..5).await.unwrap()[..], b"234");
        for range in [5..11, 10..12, 50..60] {
            let failure = store.get_range(&path, range).await.unwrap_err();
            assert_eq!(failure.code, Code::StoreCorrupt, "{failure}");
        }
        assert_eq!(store.get(&path, 5).await.unwrap_err().code, Code::StoreCorrupt);
        assert_eq!(store.get_range(&Path::from("packs/00/y"), 0..1).await.unwrap_err().code, Code::StoreCorrupt);
        assert_eq!(&store.get_tail(&path, 4).await.unwrap().unwrap().0[..], b"6789");
    }
}
