//! Puts the service together: folder → store → connector → decision line → API.

use crate::connector::{Connector, ConnectorParts, Images, Keys, MakeSource};
use crate::notify::Messenger;
use crate::outside;
use crate::serve::config::Config;
use crate::serve::folder::{Folder, create_private};
use crate::serve::passwords::Argon;
use crate::serve::remote::{self, StoreRefused};
use crate::serve::secrets::MasterBox;
use crate::serve::settings::in_force;
use crate::serve::{administrator, console};
use anyhow::Context;
use axum::Router;
use godwit_api::{ApiState, Bounds};
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::dedup;
use godwit_blocks::store::{BlockStore, FolderStore, RemoteStore};
use godwit_control::service::Secret;
use godwit_control::store::Store;
use godwit_control::{Clock, Control, Draw, Parts};
use godwit_model::connector::ConnectorConfig;
use godwit_sources::freeze::FreezerCommand;
use godwit_sources::qmp::names::Owner;
use godwit_sources::qmp::source::{Limits, QmpOptions, QmpSource};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Free space that scratch files must leave: below it the guest's own writes would be at risk.
const SCRATCH_RESERVE: u64 = 256 << 20;

/// Free space that the store leaves when no scratch files are on its file system: the database must be able to record
/// that the store is full.
const STATE_RESERVE: u64 = 4 << 20;

/// Name of the hidden command that guards a freeze.
pub const THAW_GUARD: &str = "thaw-guard";

/// The service, put together and at work; not listening yet.
pub struct App {
    control: Control,
    router: Router,
    new_credentials: Option<PathBuf>,
    sign_in_link: Option<Secret>,
    /// Learns what the store holds. Ended with the service.
    _learning: AbortOnDropHandle<()>,
    // Last: whoever gets the lock next finds everything else closed.
    _folder: Folder,
}

impl App {
    /// Opens everything and picks up the work that the last process left. `stop` ends what would never end by itself.
    pub async fn build(config: &Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let folder = Folder::open_with(&config.data, &config.master)?;
        create_private(&config.scratch)?;
        let clock: Clock = Arc::new(outside::now);
        let draw: Draw = Arc::new(outside::random_bits);

        let blocks = open_blocks(&folder, config, draw.clone()).await?;
        let state = folder.state();
        let store = Store::open(&state).await.with_context(|| format!("open {}", state.display()))?;
        let messenger = Messenger::new(&config.settings.notifications, &config.region, &config.data, clock.clone())
            .context("prepare notifications")?;
        let connector = Connector::new(ConnectorParts {
            make_source: sources(config, &folder)?,
            store: blocks.clone(),
            clock: clock.clone(),
        });
        let images = Arc::new(Images::new(blocks.clone()));
        let _learning = AbortOnDropHandle::new(tokio::spawn(learn(blocks.clone())));
        let control = Control::start(Parts {
            store,
            replicator: Arc::new(connector),
            images: images.clone(),
            keys: Arc::new(Keys::new(blocks, images)),
            notifier: Arc::new(messenger),
            secrets: Arc::new(MasterBox::new(folder.master())),
            passwords: Arc::new(Argon::new()?),
            clock: clock.clone(),
            draw: draw.clone(),
            options: config.settings.options(),
            settings: in_force(&config.settings, &config.file, &config.options),
        })
        .await
        .context("start the decision line")?;

        let credentials = folder.credentials();
        let service = control.service();
        let first = administrator::ensure(&service, &credentials, &config.region, clock()).await;
        let first = match first {
            Ok(true) => administrator::sign_in_link(&service, clock()).await.map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        let sign_in_link = match first {
            Ok(link) => link,
            Err(error) => {
                control.shutdown().await;
                return Err(error);
            }
        };
        let router = godwit_api::router(ApiState { service, clock, draw, stop }, Bounds::default());
        let router = router.merge(console::router());
        let new_credentials = sign_in_link.is_some().then_some(credentials);
        Ok(Self { control, router, new_credentials, sign_in_link, _learning, _folder: folder })
    }

    /// What answers requests.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Where the administrator's keys were written, if that was now.
    pub fn new_credentials(&self) -> Option<&Path> {
        self.new_credentials.as_deref()
    }

    /// What the administrator's first sign-in link holds, if the keys were written now.
    pub fn sign_in_link(&self) -> Option<&Secret> {
        self.sign_in_link.as_ref()
    }

    /// Stops all work; what was active goes on at the next start.
    pub async fn shutdown(self) {
        self.control.shutdown().await;
    }
}

async fn open_blocks(folder: &Folder, config: &Config, draw: Draw) -> anyhow::Result<BlockStore> {
    let (store, scratch) = (&config.settings.store, &config.scratch);
    remote::check_place(folder, store.url.as_deref())?;
    let master = MasterKey::new(*folder.master().expose());
    if let (Some(options), Some(url)) = (remote::options(store, folder.owner())?, &store.url) {
        let objects = RemoteStore::open(&options, draw()).await.map_err(StoreRefused::from)?;
        let blocks = BlockStore::open(objects, &master, draw).await.context("open the store")?;
        remote::mark_place(folder, url)?;
        tracing::info!(store = url, "objects are in a store elsewhere");
        return Ok(blocks);
    }
    let path = folder.objects();
    let open = || FolderStore::open(&path, store_reserve(&path, scratch)?);
    let objects = open().with_context(|| format!("open the store in {}", path.display()))?;
    BlockStore::open(Arc::new(objects), &master, draw).await.context("open the store")
}

/// Finds out, beside everything else, which blocks the store holds: equal ones are stored once. Until it has come by, and
/// of a key that cannot be used now, they are stored again, which costs room only.
async fn learn(store: BlockStore) {
    if let Err(failure) = dedup::learn(&store, &CancellationToken::new()).await {
        tracing::warn!(%failure, "equal blocks of earlier images will be stored again until the next start");
    }
}

/// A store that shares its file system with scratch files stops well before these get no space: a run that fails can be
/// started again, a guest whose write fails cannot.
fn store_reserve(store: &Path, scratch: &Path) -> std::io::Result<u64> {
    let shared = store.metadata()?.dev() == scratch.metadata()?.dev();
    Ok(if shared { 2 * SCRATCH_RESERVE } else { STATE_RESERVE })
}

fn sources(config: &Config, folder: &Folder) -> anyhow::Result<MakeSource> {
    let owner = Owner::parse(folder.owner()).context("read the owner")?;
    let program = std::env::current_exe().context("find this program's own file")?;
    let freezer = FreezerCommand { program, args: vec![THAW_GUARD.to_owned()] };
    let (runtime_dir, scratch_dir) = (folder.runtime(), config.scratch.clone());
    Ok(Box::new(move |config| {
        let ConnectorConfig::Qmp { socket } = config;
        Arc::new(QmpSource::new(QmpOptions {
            socket: PathBuf::from(socket),
            owner: owner.clone(),
            runtime_dir: runtime_dir.clone(),
            scratch_dir: scratch_dir.clone(),
            scratch_reserve: SCRATCH_RESERVE,
            nbd_socket: None,
            freezer: Some(freezer.clone()),
            limits: Limits::default(),
            random: Arc::new(|| outside::random_bits() as u64),
        }))
    }))
}
