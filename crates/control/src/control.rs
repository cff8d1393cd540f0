//! Puts the decision line together, starts it and stops it.

use crate::audit::recorder::Recorder;
use crate::caps::{self, Caps};
use crate::driver::Driver;
use crate::import::Imports;
use crate::key_uses::Noted;
use crate::keys::KeyStore;
use crate::notify::Notifier;
use crate::options::Options;
use crate::replicator::{ImageStore, Replicator};
use crate::run::Progress;
use crate::service::lockout::Lockouts;
use crate::service::sessions::Digesting;
use crate::service::{Passwords, SecretBox, Service, SettingsInForce};
use crate::store::{Store, StoreError};
use futures::future::BoxFuture;
use godwit_model::failure::Failure;
use godwit_model::id::{ConnectorId, RunId};
use godwit_model::run::Claims;
use godwit_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Tells the time. Given by the server.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Draws random bits, for ids and for secrets that nobody may guess. Given by the server.
pub type Draw = Arc<dyn Fn() -> u128 + Send + Sync>;

/// What the decision line is made of.
pub struct Parts {
    /// The state store.
    pub store: Store,
    /// The connector.
    pub replicator: Arc<dyn Replicator>,
    /// Snapshots and images.
    pub images: Arc<dyn ImageStore>,
    /// Tells recipients.
    pub notifier: Arc<dyn Notifier>,
    /// The material of keys.
    pub keys: Arc<dyn KeyStore>,
    /// Wraps secrets.
    pub secrets: Arc<dyn SecretBox>,
    /// Digests passwords.
    pub passwords: Arc<dyn Passwords>,
    /// Tells the time.
    pub clock: Clock,
    /// Draws ids.
    pub draw: Draw,
    /// Bounds and limits.
    pub options: Options,
    /// What the operator has set, as it is told.
    pub settings: SettingsInForce,
}

/// What service, driver and runs share: the parts, and what is known only while the process lives.
pub(crate) struct Line {
    parts: Parts,
    /// Puts calls on record.
    pub recorder: Recorder,
    /// Live figures; lost at a restart, when the store's are as good.
    pub progress: Progress,
    /// Wakes the driver: the store has changed.
    pub wake: Notify,
    /// How the import of the catalog goes, or went.
    pub imports: Imports,
    /// How far the sweep of the store has come.
    pub sweeping: crate::store_sweep::Live,
    /// What is known of the store's use since the last sample.
    pub sampling: crate::store_use::Sampling,
    /// Connectors whose source may hold something of ours that nobody needs, with the runs whose end is to be awaited:
    /// before that, what they left is taken for theirs.
    sweeps: Mutex<BTreeMap<ConnectorId, BTreeSet<RunId>>>,
    /// Changes of keys, one behind the other: each is a step in the store and one in the key store, in this order.
    pub key_changes: tokio::sync::Mutex<()>,
    /// Which uses of keys a record stands for already.
    pub noted_uses: Noted,
    /// What is told to the data line of caps.
    pub caps: Caps,
    /// Who has to wait before it may try to sign in again.
    pub lockouts: Mutex<Lockouts>,
    /// Who digests a password now.
    pub digesting: Digesting,
}

/// The decision line at work.
pub struct Control {
    service: Service,
    stop: CancellationToken,
    driver: JoinHandle<()>,
    recorder: JoinHandle<()>,
    options: Options,
    store: Store,
}

/// The parts go by their own names: `line.store`, not `line.parts.store`.
impl Deref for Line {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Line {
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The source of this connector is to be swept when it is reachable and these runs have ended.
    pub fn sweep_behind(&self, connector: ConnectorId, runs: impl IntoIterator<Item = RunId>) {
        self.sweeps().entry(connector).or_default().extend(runs);
    }

    /// Whether a sweep is to begin.
    pub fn wants_sweep(&self, connector: &ConnectorId, is_at_work: impl Fn(&RunId) -> bool) -> bool {
        self.sweeps().get(connector).is_some_and(|behind| !behind.iter().any(is_at_work))
    }

    /// A sweep begins. Gives the runs that it was to come behind, in case that it has to come again.
    pub fn begin_sweep(&self, connector: &ConnectorId) -> BTreeSet<RunId> {
        self.sweeps().remove(connector).unwrap_or_default()
    }

    fn sweeps(&self) -> MutexGuard<'_, BTreeMap<ConnectorId, BTreeSet<RunId>>> {
        self.sweeps.lock().expect("no thread panics while it holds this")
    }

    /// What must stay at sources, in the words of the data line.
    pub fn claims(&self) -> BoxFuture<'_, Result<Claims, Failure>> {
        Box::pin(async { self.store.claims().await.map_err(|error| error.to_failure()) })
    }
}

/// Dropped without [`Control::shutdown`], the work is told to stop and not waited for.
impl Drop for Control {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Control {
    /// Starts the driver, which picks up what the last process left: runs that were active go on.
    pub async fn start(parts: Parts) -> Result<Control, StoreError> {
        let now = (parts.clock)();
        parts.store.date_catalog(now).await?;
        let unknown = parts.store.settle_intents().await?;
        if unknown > 0 {
            tracing::warn!(
                unknown,
                "calls were at work when the service stopped: their outcome is on record as unknown"
            );
        }
        let (options, store) = (parts.options, parts.store.clone());
        let stop = CancellationToken::new();
        let imports = Imports::telling(store.changes().clone());
        let (recorder, recording) = Recorder::start(store.clone(), parts.clock.clone(), stop.clone());
        let line = Arc::new(Line {
            parts,
            recorder,
            progress: Progress::telling(store.changes().clone()),
            wake: Notify::new(),
            imports,
            sweeping: Default::default(),
            sampling: Default::default(),
            sweeps: Mutex::default(),
            key_changes: tokio::sync::Mutex::default(),
            noted_uses: Noted::default(),
            caps: Caps::default(),
            lockouts: Mutex::default(),
            digesting: Digesting::default(),
        });
        crate::keys::settle(&line).await?;
        crate::recover::pick_up(&line).await?;
        line.tell_caps().await?;
        tokio::spawn(caps::keep(line.clone(), stop.clone()));
        let driver = tokio::spawn(Driver::new(line.clone(), stop.clone(), now).drive());
        Ok(Control { service: Service::new(line), stop, driver, recorder: recording, options, store })
    }

    /// The operations.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// Stops all work without changing the state of any run: active runs go on at the next start. Waits at most
    /// four times [`Options::stop`], then lets go of what has not stopped.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(self.options.stop.saturating_mul(2), &mut self.driver).await.is_err() {
            tracing::warn!("some work did not stop in time and was dropped; it goes on at the next start");
            self.driver.abort();
        }
        if tokio::time::timeout(self.options.stop, &mut self.recorder).await.is_err() {
            tracing::warn!("some calls could not be put on record in time");
        }
        if tokio::time::timeout(self.options.stop, self.store.close()).await.is_err() {
            tracing::warn!("the state database did not close in time; what was committed is on disk");
        }
    }
}
