//! The key ring: reads the keys of domains from the store, keeps them in memory, and lets go of those of disabled keys.
//!
//! # Consistency
//! A key object is put once and never changes. Version 1 of a key is `keys/<id>`, a later version is `keys/<id>.<version>`;
//! versions are made one behind the other, so there is never a gap.
//!
//! # Retries
//! Making a version that exists is success; its material stays as it is.
//!
//! # Cancellation
//! A call that is dropped has made the version or not; whoever repeats it finds out.
//!
//! # Completion
//! A version is durable when [`KeyRing::make`] returns, and used from then on.
//!
//! # Crash consistency
//! One conditional put of one object.

use super::Put;
use super::calls::{get_small, list, put};
use crate::crypt::{DataKey, Entropy, Keys, Leave, MasterKey, disabled};
use crate::wrapped::{LONGEST, UnwrapError, unwrap, wrap};
use bytes::Bytes;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Versions of one key at most: all of a domain are in memory at a time, 32 bytes each, and read one by one.
pub const MOST_VERSIONS: u32 = 1_000;

/// Where the objects of keys are.
const FOLDER: &str = "keys";

/// Keys of domains, as far as they were asked for. There are as many as there are keys in use, a few hundred bytes each.
pub(super) struct KeyRing {
    objects: Arc<dyn ObjectStore>,
    master: MasterKey,
    entropy: Entropy,
    held: Mutex<HashMap<KeyId, Held>>,
}

/// What is known of a key.
#[derive(Default)]
struct Held {
    keys: Option<Arc<Keys>>,
    is_disabled: bool,
    leave: Leave,
    /// The newest version that was made here: keys that were read before it are not kept.
    made: u32,
}

impl KeyRing {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, master: MasterKey, entropy: Entropy) -> Self {
        Self { objects, master, entropy, held: Mutex::default() }
    }

    /// The keys of a domain; `None` if the store holds no such key.
    pub(super) async fn keys(&self, id: &KeyId) -> Result<Option<Arc<Keys>>, Failure> {
        if let Some(keys) = self.kept(id)? {
            return Ok(Some(keys));
        }
        let Some(first) = self.read(id, 1).await? else { return Ok(None) };
        let newest = self.newest(id).await?;
        let mut later = Vec::new();
        for version in 2..=newest {
            later.push(self.read(id, version).await?.ok_or_else(|| lost(id, version))?);
        }
        self.keep(id, &first, &later).map(Some)
    }

    /// The same, and of this version at least: one that was made elsewhere meanwhile is looked for.
    pub(super) async fn keys_up_to(&self, id: &KeyId, version: u32) -> Result<Option<Arc<Keys>>, Failure> {
        let Some(keys) = self.keys(id).await? else { return Ok(None) };
        if keys.newest() >= version {
            return Ok(Some(keys));
        }
        self.held().entry(id.clone()).or_default().keys = None;
        match self.keys(id).await? {
            Some(keys) if keys.newest() < version => Err(lost(id, version)),
            found => Ok(found),
        }
    }

    /// Makes a version of a key, if it is not there yet. Its material is drawn here and leaves only wrapped.
    pub(super) async fn make(&self, id: &KeyId, version: u32) -> Result<(), Failure> {
        if version > MOST_VERSIONS {
            let what = format!("{id} has {MOST_VERSIONS} versions already, the most that a key can have");
            return Err(Failure::new(Code::Internal, what));
        }
        if version > 1 && self.newest(id).await? + 1 < version {
            return Err(lost(id, version - 1));
        }
        let mut data: DataKey = Zeroizing::new([0; 32]);
        data[..16].copy_from_slice(&(self.entropy)().to_be_bytes());
        data[16..].copy_from_slice(&(self.entropy)().to_be_bytes());
        let object = Bytes::from(wrap(&self.master, id, version, &data, (self.entropy)()));
        let path = path_of(id, version);
        if put(&*self.objects, &path, object).await? == Put::Exists {
            // Somebody was first: also that one must be one that we can use.
            self.read(id, version).await?;
        }
        // Read anew when it is needed next.
        let mut held = self.held();
        let known = held.entry(id.clone()).or_default();
        known.keys = None;
        known.made = known.made.max(version);
        Ok(())
    }

    /// Every key in the store with its newest version.
    pub(super) async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        let mut newest = BTreeMap::new();
        for name in list(&*self.objects, FOLDER).await? {
            let (id, version) = match name.split_once('.') {
                None => (name.as_str(), Some(1)),
                Some((id, version)) => (id, version.parse().ok()),
            };
            if let (Ok(id), Some(version)) = (id.parse::<KeyId>(), version) {
                let known = newest.entry(id).or_insert(version);
                *known = version.max(*known);
            }
        }
        Ok(newest)
    }

    /// Lets a key be used, or not: then its keys are forgotten, and whoever holds them fails from now on.
    pub(super) fn set_enabled(&self, id: &KeyId, enabled: bool) {
        let mut held = self.held();
        let known = held.entry(id.clone()).or_default();
        known.is_disabled = !enabled;
        known.leave.set(enabled);
        if !enabled {
            known.keys = None;
        }
    }

    fn kept(&self, id: &KeyId) -> Result<Option<Arc<Keys>>, Failure> {
        match self.held().get(id) {
            Some(known) if known.is_disabled => Err(disabled(id)),
            known => Ok(known.and_then(|known| known.keys.clone())),
        }
    }

    fn keep(&self, id: &KeyId, first: &[u8; 32], later: &[DataKey]) -> Result<Arc<Keys>, Failure> {
        let mut held = self.held();
        let known = held.entry(id.clone()).or_default();
        // It may have been disabled while it was read.
        if known.is_disabled {
            return Err(disabled(id));
        }
        let keys = Arc::new(Keys::of_versions(id.clone(), first, later, known.leave.clone()));
        // A version may have been made while it was read.
        if keys.newest() >= known.made {
            known.keys = Some(keys.clone());
        }
        Ok(keys)
    }

    /// The newest version of a key; 0 if there is none. A list may be behind: what follows is looked for by name.
    async fn newest(&self, id: &KeyId) -> Result<u32, Failure> {
        let mut newest = self.all().await?.get(id).copied().unwrap_or(0);
        while newest < MOST_VERSIONS {
            let next = path_of(id, newest + 1);
            if get_small(&*self.objects, &next, LONGEST as u64).await?.is_none() {
                break;
            }
            newest += 1;
        }
        Ok(newest)
    }

    async fn read(&self, id: &KeyId, version: u32) -> Result<Option<DataKey>, Failure> {
        let path = path_of(id, version);
        let Some(object) = get_small(&*self.objects, &path, LONGEST as u64).await? else { return Ok(None) };
        let data = unwrap(&self.master, id, version, &object).map_err(|error| match error {
            UnwrapError::Damaged(damage) => damage.of(&path),
            UnwrapError::OtherMaster => Failure::new(
                Code::KeyUnavailable,
                format!("the data key in {path} was wrapped under another master key than the one given"),
            ),
        })?;
        Ok(Some(data))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<KeyId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a version of a key is.
pub(super) fn path_of(id: &KeyId, version: u32) -> Path {
    match version {
        1 => Path::from(format!("{FOLDER}/{id}")),
        later => Path::from(format!("{FOLDER}/{id}.{later}")),
    }
}

fn lost(id: &KeyId, version: u32) -> Failure {
    let path = path_of(id, version);
    Failure::new(Code::KeyUnavailable, format!("version {version} of {id} is not in the store: {path} is missing"))
}
