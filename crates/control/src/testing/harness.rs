//! A decision line on a real database file in a temporary folder, against a [`World`].

use super::{Gate, Receivers, World};
use crate::options::{Options, Retry};
use crate::service::*;
use crate::store::Store;
use crate::{Control, Parts};
use godwit_model::connector::ConnectorConfig;
use godwit_model::failure::Failure;
use godwit_model::id::{JobId, RunId, ServerId};
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::store_use::Pace;
use godwit_model::time::{Millis, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

/// Bounds that make failures quick and are never reached otherwise.
fn quick() -> Options {
    let ms = Duration::from_millis;
    Options {
        tick: ms(200),
        // Tests let time pass by setting the clock.
        longest_gap: Duration::MAX,
        heartbeat: Duration::from_secs(3_600),
        stop: ms(200),
        persist: ms(20),
        retry: Retry { attempts: 3, first: ms(1), longest: ms(4) },
        clean_retry: Retry { attempts: 2, first: ms(1), longest: ms(4) },
        scrub_every: None,
        // Who wants to see it says so: it looks at the store, as tests do.
        sampling: Pace { every: None, ..Pace::default() },
        ..Options::default()
    }
}

/// What outlives a kill: the folder, the world, the clock.
pub(crate) struct Harness {
    folder: TempDir,
    pub world: Arc<World>,
    pub receivers: Arc<Receivers>,
    now: Arc<AtomicI64>,
    drawn: Arc<AtomicU64>,
    pub options: Options,
}

/// Wraps by reversing: enough to see that wrapping happened.
pub(crate) struct Reversing;

impl SecretBox for Reversing {
    fn wrap(&self, _: &str, secret: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(secret.iter().rev().copied().collect())
    }

    fn unwrap(&self, _: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Ok(Zeroizing::new(wrapped.iter().rev().copied().collect()))
    }
}

impl Passwords for Reversing {
    fn digest(&self, password: &Secret) -> Result<String, Failure> {
        Ok(password.expose().chars().rev().collect())
    }

    fn is(&self, password: &Secret, digest: Option<&str>) -> bool {
        digest.is_some_and(|digest| digest.chars().rev().eq(password.expose().chars()))
    }
}

impl Harness {
    pub fn new() -> Harness {
        let (world, now) = (World::new(), Arc::new(AtomicI64::new(START.0)));
        world.look().clock = now.clone();
        Harness {
            folder: tempfile::tempdir().unwrap(),
            receivers: Receivers::new(world.gate.clone()),
            world,
            now,
            drawn: Arc::new(AtomicU64::new(1)),
            options: quick(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    /// A store and a world behind the same gate.
    pub async fn store(&self) -> Store {
        let mut store = Store::open(&self.path()).await.unwrap();
        store.probe.gate = self.gate();
        store
    }

    pub fn gate(&self) -> Gate {
        self.world.gate.clone()
    }

    pub async fn start(&self) -> Control {
        self.world.look().disabled_keys.clear();
        let (now, drawn) = (self.now.clone(), self.drawn.clone());
        Control::start(Parts {
            store: self.store().await,
            replicator: self.world.clone(),
            images: self.world.clone(),
            notifier: self.receivers.clone(),
            keys: self.world.clone(),
            secrets: Arc::new(Reversing),
            passwords: Arc::new(Reversing),
            clock: Arc::new(move || Timestamp(now.load(Ordering::SeqCst))),
            draw: Arc::new(move || {
                // Spread over the low bits, so that short ids differ, and now and then the same twice.
                let n = drawn.fetch_add(1, Ordering::SeqCst);
                u128::from((n - n % 7 / 6).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            }),
            options: self.options,
            settings: SettingsInForce::default(),
        })
        .await
        .unwrap()
    }

    /// Starts it; gives its operations too.
    pub async fn serve(&self) -> (Control, Service) {
        let control = self.start().await;
        let service = control.service();
        (control, service)
    }

    /// Associates the world and imports its servers.
    pub async fn catalog(&self, service: &Service) -> Vec<Server> {
        let config = ConnectorConfig::Qmp { socket: "/run/qmp".into() };
        service.associate_connector(NewConnector { name: "here".into(), config }, self.now()).await.unwrap();
        self.import(service).await
    }

    pub async fn import(&self, service: &Service) -> Vec<Server> {
        use godwit_model::catalog::CatalogStatus;
        service.import_server_catalog(self.now()).await.unwrap();
        until("the import", async || {
            let catalog = service.get_servers(None, &Page::default()).await.unwrap();
            catalog.status != CatalogStatus::Importing
        })
        .await;
        self.servers(service).await
    }

    pub async fn servers(&self, service: &Service) -> Vec<Server> {
        service.get_servers(None, &Page::default()).await.unwrap().servers.items
    }

    /// The connector to the world.
    pub async fn connector(&self, service: &Service) -> Connector {
        service.describe_connectors(None, &Page::default()).await.unwrap().items.remove(0)
    }

    /// A catalog of one server, and its id.
    pub async fn one_server(&self, service: &Service) -> ServerId {
        self.catalog(service).await[0].id.clone()
    }

    /// An hourly job of the only server.
    pub async fn hourly(&self, service: &Service) -> JobId {
        self.hourly_of(service, &self.one_server(service).await).await
    }

    pub async fn hourly_of(&self, service: &Service, server: &ServerId) -> JobId {
        let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.as_str(), self.now()) };
        service.create_replication_job(new, self.now()).await.unwrap()
    }

    /// An hourly job of the only server whose first run has made an image.
    pub async fn replicated(&self, service: &Service) -> JobId {
        let job = self.hourly(service).await;
        self.until_runs(service, &job, 1, RunState::Completed).await;
        job
    }

    /// A one-time job of the only server.
    pub async fn once(&self, service: &Service) -> JobId {
        self.once_of(service, &self.one_server(service).await).await
    }

    pub async fn once_of(&self, service: &Service, server: &ServerId) -> JobId {
        let new = NewJob { run_once: Some(true), ..NewJob::new(server.as_str(), self.now()) };
        service.create_replication_job(new, self.now()).await.unwrap()
    }

    /// Time passes.
    pub fn wait(&self, span: Millis, service: &Service) {
        self.now.fetch_add(span.0, Ordering::SeqCst);
        service.wake();
    }

    pub async fn job(&self, service: &Service, id: &JobId) -> Job {
        service.get_replication_jobs(Some(id.as_str()), &Page::default()).await.unwrap().items.remove(0)
    }

    /// All runs of a job, oldest first.
    pub async fn runs(&self, service: &Service, id: &JobId) -> Vec<Run> {
        let (_, mut runs) = service.get_replication_runs(id.as_str(), &Page::default()).await.unwrap();
        runs.items.reverse();
        runs.items
    }

    pub async fn run(&self, service: &Service, id: &RunId) -> Run {
        let filter = RunsFilter { run_ids: Some(vec![id.to_string()]), job_id: None };
        service.describe_replication_runs(&filter, &Page::default()).await.unwrap().items.remove(0)
    }

    pub async fn images(&self, service: &Service) -> Vec<Image> {
        service.describe_images(&ImagesFilter::default(), &Page::default()).await.unwrap().items
    }

    pub async fn snapshots(&self, service: &Service) -> Vec<Snapshot> {
        service.describe_snapshots(&SnapshotsFilter::default(), &Page::default()).await.unwrap().items
    }

    /// Rows of a table.
    pub async fn rows(&self, table: &str) -> i64 {
        let store = Store::open(&self.path()).await.unwrap();
        let sql = format!("SELECT COUNT(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(store.reader()).await.unwrap()
    }

    /// Waits until the world was called so often.
    pub async fn until_calls(&self, call: &str, n: usize) {
        until(call, async || self.world.calls(call) >= n).await;
    }

    /// Waits until the job is in a state.
    pub async fn until_job(&self, service: &Service, id: &JobId, state: JobState) {
        until(state.as_str(), async || self.job(service, id).await.state == state).await;
    }

    /// Waits until the job has so many runs in a state.
    pub async fn until_runs(&self, service: &Service, id: &JobId, n: usize, state: RunState) {
        let what = format!("{n} runs {}", state.as_str());
        until(&what, async || self.runs(service, id).await.iter().filter(|r| r.state == state).count() == n).await;
    }
}

/// Polls until `done`; fails the test if that does not come.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..4_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}
