//! The real service over a temporary SQLite file, with a data line of a few lines: everything succeeds at once.

use crate::oracle::{ACCESS_KEY, Draft, SECRET};
use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use bytes::Bytes;
use godwit_api::{ApiState, Bounds, router};
use godwit_control::notify::Notifier;
use godwit_control::options::Options;
use godwit_control::replicator::{
    AskClaims, ExtentPage, ImageOrder, ImageStore, PackCount, PackFinding, PackRange, Point, PointOrder, PointVolume,
    ReadRates, Replicator, SettleEnd, SourceServer, SweepEnd, SweepOrder, SweepPlan, SweepProgress, Traced,
    TransferOrder, TransferReport, VerifyResult, VerifyScope, VolumeResult,
};
use godwit_control::service::{Passwords, Secret, SecretBox, SetIn, Setting, SettingsInForce};
use godwit_control::store::Store;
use godwit_control::{Clock, Control, KeyStore, Parts};
use godwit_model::cap::HeldBack;
use godwit_model::connector::ConnectorConfig;
use godwit_model::event::Message;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, KeyId, PackId, RunId, SnapshotId};
use godwit_model::key::{NoteKeyUse, first_key};
use godwit_model::recipient::Recipient;
use godwit_model::server::{DiscoveredServer, DiscoveredVolume, Discovery, Platform};
use godwit_model::store_use::Pace;
use godwit_model::time::{Millis, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use zeroize::Zeroizing;

/// Size of the only volume.
pub const DISK: u64 = 1 << 20;
/// A socket behind which somebody answers.
pub const SOCKET: &str = "/run/guests";
/// Another way to the same.
pub const SAME_SOCKET: &str = "/run/by-another-name";
/// A socket behind which another VM manager answers, the first time.
pub const FICKLE_SOCKET: &str = "/run/fickle";
/// A socket that nobody listens at.
pub const DEAD_SOCKET: &str = "/run/dead.sock";
/// A socket that makes the data line panic.
pub const PANIC_SOCKET: &str = "/run/panic.sock";
/// Begin of the operations' names.
pub const SMS: &str = "AWSServerMigrationService_V2016_10_24.";
/// Begin of our own operations' names.
pub const OWN: &str = "Godwit_V1.";
/// 2026-11-23T04:12:44Z
pub const TIME: &str = "20261123T041244Z";
/// The same.
pub const NOW: i64 = 1_795_407_164_000;

const DIGEST: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

#[derive(Default)]
struct DataLine {
    /// Whether the fickle one has answered.
    has_answered: AtomicBool,
}

#[async_trait]
impl Replicator for DataLine {
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure> {
        let ConnectorConfig::Qmp { socket } = config;
        assert_ne!(socket, PANIC_SOCKET, "what this socket is for");
        let is_fickle = socket == FICKLE_SOCKET && !self.has_answered.swap(true, Ordering::Relaxed);
        if ![SOCKET, SAME_SOCKET].contains(&socket.as_str()) && !is_fickle {
            return Err(Failure::new(Code::SourceUnreachable, format!("nobody answers at the socket {socket}")));
        }
        let server = |n: u32| DiscoveredServer {
            vm_id: format!("vm-{n}"),
            name: format!("guest {n}"),
            path: format!("/guests/guest {n}"),
            volumes: vec![DiscoveredVolume { device: "drive0".into(), size: DISK, allocated: Some(DISK / 2) }],
            platform: (n == 0).then_some(Platform::Linux),
        };
        Ok(Discovery {
            manager_id: if is_fickle { "77aa" } else { "9d2f3c0e" }.into(),
            manager_name: "QEMU at /run/guests".into(),
            manager_version: "10.0.2".into(),
            servers: (0..3).map(server).collect(),
            warnings: vec!["/run/guests/old.sock does not answer".into()],
        })
    }

    async fn take_point(&self, _order: &PointOrder) -> Result<Point, Failure> {
        let volume = PointVolume { device: "drive0".into(), size: DISK, tracked: false, note: None };
        Ok(Point {
            point: "p1".into(),
            consistency: Consistency::FileSystem,
            volumes: vec![volume],
            notes: vec!["the guest agent answered".into()],
        })
    }

    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        _cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure> {
        let pack = PackId::from_bits(7);
        report.pack_begun(&pack, 4_096).await?;
        report.packs_durable(std::slice::from_ref(&pack)).await?;
        let figures = VolumeFigures {
            bytes_total: DISK,
            bytes_done: DISK,
            bytes_read: DISK,
            bytes_sent: 4_096,
            bytes_stored: 4_096,
            ..order.figures
        };
        report.progress(figures);
        let root_digest = DIGEST.to_owned();
        Ok(VolumeResult { snapshot: order.snapshot.clone(), root_digest, key_version: 1, figures, notes: vec![] })
    }

    fn set_rates(&self, _: &ReadRates) {}

    fn held_back(&self, _: &RunId) -> Option<HeldBack> {
        None
    }

    async fn settle(&self, _source: &SourceServer, _run: &RunId, _end: SettleEnd) -> Result<(), Failure> {
        Ok(())
    }

    async fn sweep_source(&self, _config: &ConnectorConfig, _: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![])
    }
}

#[async_trait]
impl Notifier for DataLine {
    async fn deliver(&self, _: &Message, recipient: &Recipient) -> Result<(), Failure> {
        match recipient {
            Recipient::Webhook(_) => Ok(()),
            Recipient::Email(_) => Err(Failure::new(Code::NoMailServer, "no mail server is configured")),
        }
    }
}

#[async_trait]
impl ImageStore for DataLine {
    async fn verify(
        &self,
        _snapshot: &SnapshotId,
        _scope: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        _cancel: &CancellationToken,
    ) -> Result<VerifyResult, Failure> {
        progress(DISK, DISK);
        let root_digest = DIGEST.to_owned();
        Ok(VerifyResult {
            root_digest,
            bytes_verified: DISK,
            damaged: vec![],
            first_problem: None,
            packs: vec![],
            is_cut_off: false,
        })
    }

    async fn register(&self, _order: &ImageOrder) -> Result<(), Failure> {
        Ok(())
    }

    async fn discard_staged(&self, _packs: &[PackId]) -> Result<(), Failure> {
        Ok(())
    }

    async fn pack_is_complete(&self, _pack: &PackId) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn delete_image(&self, _image: &ImageId) -> Result<(), Failure> {
        Ok(())
    }

    async fn delete_snapshots(&self, _snapshots: &[SnapshotId]) -> Result<(), Failure> {
        Ok(())
    }

    async fn packs_of(&self, _snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure> {
        Ok(vec![])
    }

    async fn plan_sweep(&self, order: &SweepOrder<'_>, _cancel: &CancellationToken) -> Result<SweepPlan, Failure> {
        (order.claims)().await?;
        let count = |packs, bytes| PackCount { packs, bytes, oldest: Some(Timestamp(NOW)) };
        let all = count(3, 7_000);
        Ok(SweepPlan {
            all,
            named: count(2, 5_000),
            released: count(1, 2_000),
            dead_bytes: 100,
            ..SweepPlan::default()
        })
    }

    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        _cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure> {
        (order.claims)().await?;
        report(SweepProgress::default());
        Ok(SweepEnd { packs_freed: 1, bytes_freed: 2_000, ..SweepEnd::default() })
    }

    async fn list_packs(&self) -> Result<Vec<(u128, u64)>, Failure> {
        Ok(vec![(7, 4_096)])
    }

    async fn check_pack(
        &self,
        _pack: &PackId,
        _used: NoteKeyUse<'_>,
        _cancel: &CancellationToken,
    ) -> Result<PackFinding, Failure> {
        Ok(PackFinding::Whole)
    }

    async fn trace(
        &self,
        _packs: Option<&[PackId]>,
        _snapshots: &[SnapshotId],
        _used: NoteKeyUse<'_>,
        _cancel: &CancellationToken,
    ) -> Result<Vec<Traced>, Failure> {
        Ok(vec![])
    }

    async fn data_extents(&self, _snapshot: &SnapshotId, _from: u64, _limit: usize) -> Result<ExtentPage, Failure> {
        Ok(ExtentPage { extents: vec![Extent::between(65_536, 131_072)], next: None })
    }

    async fn changed_extents(
        &self,
        _base: &SnapshotId,
        _snapshot: &SnapshotId,
        _from: u64,
        _limit: usize,
    ) -> Result<ExtentPage, Failure> {
        Ok(ExtentPage { extents: vec![Extent::between(0, 65_536)], next: None })
    }

    async fn read(&self, _snapshot: &SnapshotId, extent: Extent) -> Result<Bytes, Failure> {
        Ok((extent.offset..extent.end()).map(|at| (at / 65_536) as u8).collect())
    }
}

#[async_trait]
impl KeyStore for DataLine {
    async fn make(&self, _key: &KeyId, _version: u32) -> Result<(), Failure> {
        Ok(())
    }

    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        Ok([(first_key(), 1)].into())
    }

    fn set_enabled(&self, _key: &KeyId, _enabled: bool) {}
}

struct Unwrapped;

impl SecretBox for Unwrapped {
    fn wrap(&self, _context: &str, secret: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(secret.to_vec())
    }

    fn unwrap(&self, _context: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Ok(Zeroizing::new(wrapped.to_vec()))
    }
}

impl Passwords for Unwrapped {
    fn digest(&self, password: &Secret) -> Result<String, Failure> {
        Ok(format!("digest of {}", password.expose()))
    }

    fn is(&self, password: &Secret, digest: Option<&str>) -> bool {
        digest.is_some_and(|digest| digest == format!("digest of {}", password.expose()))
    }
}

/// What a server might tell of its settings.
fn settings() -> SettingsInForce {
    let setting = |name: &str, value: Option<&str>, default: Option<&str>, set_in| Setting {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        default: default.map(str::to_owned),
        is_default: value == default,
        is_hidden: value.is_none() && set_in != SetIn::Default,
        set_in,
        about: format!("What {name} is."),
    };
    SettingsInForce {
        file: "/data/godwit.toml".to_owned(),
        file_exists: true,
        settings: vec![
            setting("audit.keep", Some("30d"), Some("365d"), SetIn::File),
            setting("store.url", None, None, SetIn::Default),
            setting("store.s3.credentials", None, Some("env"), SetIn::File),
            setting("--listen", Some("10.0.0.1:1"), Some("127.0.0.1:8384"), SetIn::CommandLine),
            setting("--log", Some("debug"), Some("info"), SetIn::Environment),
        ],
    }
}

/// A service with one administrator.
pub struct Scene {
    /// The API.
    pub router: axum::Router,
    control: Control,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// At [`NOW`], a millisecond later with every look at the clock.
    pub async fn new() -> Scene {
        Scene::bounded(Bounds::default()).await
    }

    /// The same with other bounds.
    pub async fn bounded(bounds: Bounds) -> Scene {
        let clock = AtomicI64::new(NOW);
        let clock: Clock = Arc::new(move || Timestamp(clock.fetch_add(1, Ordering::Relaxed)));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        // SplitMix64: ids that look random, and the same ones every time.
        let drawn = AtomicU64::new(0);
        let draw = Arc::new(move || {
            let mut z = drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(1);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(z ^ (z >> 31)) << 64 | u128::from(z)
        });
        let parts = Parts {
            store,
            replicator: Arc::new(DataLine::default()),
            images: Arc::new(DataLine::default()),
            notifier: Arc::new(DataLine::default()),
            keys: Arc::new(DataLine::default()),
            secrets: Arc::new(Unwrapped),
            passwords: Arc::new(Unwrapped),
            clock: clock.clone(),
            draw: draw.clone(),
            // The clock hardly moves: a sample of the store's use must not wait for it.
            options: Options { sampling: Pace { soonest: Millis(0), ..Pace::default() }, ..Options::default() },
            settings: settings(),
        };
        let control = Control::start(parts).await.unwrap();
        let service = control.service();
        service.create_administrator(ACCESS_KEY, &Secret::new(SECRET.to_owned()), clock()).await.unwrap();
        Scene {
            router: router(ApiState { service, clock, draw, stop: CancellationToken::new() }, bounds),
            control,
            _folder: folder,
        }
    }

    /// Stops the service.
    pub async fn end(self) {
        self.control.shutdown().await;
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a signed draft; status, headers and body of the answer.
    pub async fn send_draft(&self, draft: &Draft) -> (u16, http::HeaderMap, Bytes) {
        let mut request =
            Request::builder().method(draft.method.as_str()).uri("/").body(Body::from(draft.body.clone()));
        *request.as_mut().unwrap().headers_mut() = draft.sign();
        let (head, body) = self.send(request.unwrap()).await.into_parts();
        (head.status.as_u16(), head.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap())
    }

    /// Calls an operation; its answer, or code and message of its refusal.
    pub async fn call(&self, target: &str, request: Value) -> Result<Value, (String, String)> {
        let (status, headers, body) = self.send_draft(&Draft::new(target, TIME, request.to_string().as_bytes())).await;
        assert!(headers.contains_key("x-amzn-requestid"), "{target}: {headers:?}");
        assert_eq!(headers["content-type"], "application/x-amz-json-1.1", "{target}");
        let answer: Value = serde_json::from_slice(&body).expect("the answer is JSON");
        if status == 200 {
            return Ok(answer);
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
        assert_eq!(headers["x-amzn-errortype"], text("__type").as_str());
        Err((text("__type"), text("message")))
    }

    /// Calls an operation of the SMS API that succeeds.
    pub async fn sms(&self, name: &str, request: Value) -> Value {
        let answer = self.call(&format!("{SMS}{name}"), request.clone()).await;
        answer.unwrap_or_else(|error| panic!("{name} {request}: {error:?}"))
    }

    /// Calls one of our own operations that succeeds.
    pub async fn own(&self, name: &str, request: Value) -> Value {
        let answer = self.call(&format!("{OWN}{name}"), request.clone()).await;
        answer.unwrap_or_else(|error| panic!("{name} {request}: {error:?}"))
    }

    /// Insists that a call is refused with this code and a message that holds these words.
    pub async fn refused(&self, target: &str, request: Value, code: &str, words: &str) {
        let (was, message) = self.call(target, request.clone()).await.expect_err(&format!("{target} {request}"));
        assert_eq!(was, code, "{target} {request}: {message}");
        assert!(message.contains(words), "{target} {request}: '{words}' is missing in: {message}");
    }

    /// Associates a connector and imports its three servers; their ids.
    pub async fn with_servers(&self) -> Vec<String> {
        let associate = json!({"name": "guests", "type": "QMP", "socket": SOCKET});
        self.own("AssociateConnector", associate).await;
        self.sms("ImportServerCatalog", json!({})).await;
        let catalog = self
            .until("the import ends", || async {
                let answer = self.sms("GetServers", json!({})).await;
                (answer["serverCatalogStatus"] == "AVAILABLE").then_some(answer)
            })
            .await;
        let servers = catalog["serverList"].as_array().unwrap();
        servers.iter().map(|server| server["serverId"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets one of the servers become an image; its id.
    pub async fn with_image(&self) -> String {
        let server = self.with_servers().await.remove(0);
        let create = json!({"serverId": server, "seedReplicationTime": 0, "runOnce": true});
        self.sms("CreateReplicationJob", create).await;
        self.until("there is an image", || async {
            let answer = self.own("DescribeImages", json!({})).await;
            answer["images"][0]["imageId"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Polls until there is something; panics after half a minute.
    pub async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut probe: impl FnMut() -> F) -> T {
        for _ in 0..1_500 {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("in vain waited for: {what}");
    }
}
