//! Answers in place of the service: for what needs an image but no guest, and to see what is sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The image that it has.
pub const IMAGE: &str = "ami-00000000000000001";
/// Bytes of the image's volume.
pub const SIZE: u64 = 64 << 20;
/// Where the volume holds data: offset and length.
pub const DATA: [(u64, u64); 2] = [(0, 1 << 20), (9 << 20, 5 << 20)];
/// What the data is.
pub const BYTE: u8 = 0xa7;

/// Another image, whose volume holds enough data for an export to be interrupted.
pub const LARGE: &str = "ami-00000000000000002";
/// Bytes of its volume.
pub const LARGE_SIZE: u64 = 512 << 20;
/// Where that holds data.
pub const LARGE_DATA: [(u64, u64); 3] = [(0, 90 << 20), (200 << 20, 70 << 20), ((512 << 20) - 5000, 5000)];

/// Looks at an import until it is over: longer than what is over soon and therefore not worth a line.
const LOOKS: u64 = 14;

/// The `authorization` header of all that was asked.
type Asked = Arc<Mutex<Vec<String>>>;

/// What it saw and is to do.
#[derive(Clone, Default)]
struct Scene {
    asked: Asked,
    /// Bytes that `ReadImage` gave.
    read: Arc<AtomicU64>,
    /// `ReadImage` gives this many, then it does not answer.
    patience: Arc<AtomicU64>,
    /// It says no instead of not answering.
    refuses: Arc<AtomicBool>,
    /// Looks at the import that was asked for.
    looks: Arc<AtomicU64>,
}

/// A service that believes every signature; it ends with the process.
pub struct StandIn {
    pub endpoint: String,
    scene: Scene,
}

impl StandIn {
    pub fn start() -> StandIn {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let scene = Scene::default();
        scene.patience.store(u64::MAX, Ordering::SeqCst);
        let router = Router::new().route("/", post(answer)).with_state(scene.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        StandIn { endpoint, scene }
    }

    /// The `authorization` header of the last request.
    pub fn last_authorization(&self) -> String {
        self.scene.asked.lock().unwrap().last().cloned().unwrap()
    }

    /// From now on `ReadImage` gives `bytes`, then it does not answer.
    pub fn give(&self, bytes: u64) {
        self.scene.read.store(0, Ordering::SeqCst);
        self.scene.patience.store(bytes, Ordering::SeqCst);
    }

    /// Having given what it gives, `ReadImage` says no.
    pub fn refuse(&self) {
        self.scene.refuses.store(true, Ordering::SeqCst);
    }

    /// What `ReadImage` gave since.
    pub fn given(&self) -> u64 {
        self.scene.read.load(Ordering::SeqCst)
    }
}

async fn answer(State(scene): State<Scene>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    scene.asked.lock().unwrap().push(header("authorization"));
    let request: Value = serde_json::from_slice(&body).unwrap();
    let number = |name: &str| request[name].as_u64().unwrap();
    let is_large = [&request["imageId"], &request["imageIds"][0]].iter().any(|id| **id == LARGE);
    let answer = match header("x-amz-target").rsplit('.').next().unwrap() {
        "DescribeImages" if is_large => json!({ "images": [image(LARGE, LARGE_SIZE)] }).to_string().into_bytes(),
        "DescribeImages" => json!({ "images": [image(IMAGE, SIZE)] }).to_string().into_bytes(),
        "ListImageExtents" => {
            let (size, data) = if is_large { (LARGE_SIZE, &LARGE_DATA[..]) } else { (SIZE, &DATA[..]) };
            let from = request["from"].as_u64().unwrap_or_default();
            let extents = data.iter().filter(|(offset, length)| offset + length > from);
            let extents: Vec<_> = extents.map(|(offset, length)| json!({"offset": offset, "length": length})).collect();
            json!({ "size": size, "extents": extents }).to_string().into_bytes()
        }
        "ReadImage" => {
            let (offset, length) = (number("offset"), number("length"));
            if scene.read.load(Ordering::SeqCst) + length > scene.patience.load(Ordering::SeqCst) {
                if scene.refuses.load(Ordering::SeqCst) {
                    let why = json!({ "__type": "KeyDisabled", "message": "the key is disabled" });
                    return (StatusCode::BAD_REQUEST, why.to_string().into_bytes());
                }
                return std::future::pending().await;
            }
            scene.read.fetch_add(length, Ordering::SeqCst);
            if is_large { large_bytes(offset, length) } else { small_bytes(offset, length) }
        }
        "ImportServerCatalog" => b"{}".to_vec(),
        "DescribeServers" => servers(scene.looks.fetch_add(1, Ordering::SeqCst)).to_string().into_bytes(),
        "DescribeReplicationRuns" => json!({ "runs": runs() }).to_string().into_bytes(),
        "GetForecast" => forecast().to_string().into_bytes(),
        other => panic!("the stand-in does not know {other}"),
    };
    (StatusCode::OK, answer)
}

/// An import that asks three connectors: one answers at once, one gives no servers, and one takes its time.
fn servers(looks: u64) -> Value {
    let is_over = looks >= LOOKS;
    let failure =
        json!({"connectorId": "c-00000000000000002", "connectorName": "rack2", "reason": "nobody answers there"});
    let mut import = json!({
        "beganOn": 1_700_000_000, "connectors": 3, "answered": 1 + u64::from(is_over), "failed": 1,
        "failures": [failure], "servers": 7,
    });
    if is_over {
        import["endedOn"] = json!(1_700_000_004);
    }
    let status = if is_over { "AVAILABLE" } else { "IMPORTING" };
    json!({"serverCatalogStatus": status, "lastModifiedOn": 1_700_000_000, "catalogImport": import, "servers": []})
}

fn forecast() -> Value {
    let first = json!({
        "looksAt": "FIRST_COPY", "bytesRead": {"low": 0, "likely": 3u64 << 30, "high": 8u64 << 30},
        "bytesStored": {"low": 0, "likely": 2u64 << 30, "high": 8u64 << 30}, "basis": "bytes: allocated bytes; no run yet",
    });
    let seconds = json!({"low": 61.0, "likely": 120.0, "high": 300.0});
    let last = json!({
        "looksAt": "CHANGES", "secondsOfChanges": 7_200.0, "bytesRead": {"low": 1 << 20, "likely": 5 << 20, "high": 9 << 20},
        "bytesStored": {"low": 1 << 20, "likely": 2 << 20, "high": 3 << 20}, "seconds": seconds, "basis": "bytes: much",
    });
    json!({ "replicationJobId": "sms-job-00000001", "madeOn": 1_700_000_000, "firstCopy": first, "cutOver": last })
}

/// A run at work, one that read more than was forecast, one that failed, and the first, of which nothing was forecast.
fn runs() -> Value {
    let volume = |read: u64| {
        json!({
            "device": "vda", "bytesTotal": 20u64 << 30, "bytesDone": 0, "bytesRead": read, "bytesSent": read / 2, "bytesStored": read / 2,
            "bytesResent": 0, "bytesVerified": 0, "tracked": true, "notes": [],
        })
    };
    let run = |n: u32, state: &str, read: u64, more: Value| {
        let mut run = json!({
            "replicationRunId": format!("sms-run-0000000{n}"), "replicationJobId": "sms-job-00000001", "state": state,
            "type": "AUTOMATIC", "percent": 40.0, "scheduledStartTime": 1_700_000_000, "startedOn": 1_700_000_000,
            "notes": [], "volumes": [volume(read)],
        });
        run.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run
    };
    let told = |more: Value| {
        let mut told = json!({
            "looksAt": "CHANGES", "basis": "bytes: changes of 12 runs of the job",
            "bytesRead": {"low": 310u64 << 20, "likely": 410u64 << 20, "high": 560u64 << 20},
        });
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told
    };
    let ended = |more: Value| {
        let mut ended = json!({ "completedTime": 1_700_000_009, "imageId": IMAGE });
        ended.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ended
    };
    json!([
        run(4, "ACTIVE", 100 << 20, json!({ "stage": "Transferring", "forecast": told(json!({})) })),
        run(3, "COMPLETED", 460 << 20, ended(json!({ "forecast": told(json!({"error": {"bytesRead": 1.122}})) }))),
        run(2, "FAILED", 5 << 20, json!({ "completedTime": 1_700_000_009, "forecast": told(json!({})) })),
        run(1, "COMPLETED", 3 << 30, ended(json!({}))),
    ])
}

fn small_bytes(offset: u64, length: u64) -> Vec<u8> {
    filled(&DATA, offset, length, |_, bytes| bytes.fill(BYTE))
}

/// Bytes of the large image. No two clusters are the same, and they shrink somewhat.
pub fn large_bytes(offset: u64, length: u64) -> Vec<u8> {
    // By words, because a debug build takes its time over every byte.
    let word = |n: u64| {
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 5 & 0x0707_0707_0707_0707 | 0x4040_4040_4040_4040).to_le_bytes()
    };
    filled(&LARGE_DATA, offset, length, |at, bytes| {
        let mut words = Vec::with_capacity(bytes.len() + 16);
        for n in at / 8..(at + bytes.len() as u64).div_ceil(8) {
            words.extend_from_slice(&word(n));
        }
        bytes.copy_from_slice(&words[(at % 8) as usize..][..bytes.len()]);
    })
}

/// Zeros, and in them what `fill` makes of the ranges of `data`, each told where it begins.
fn filled(data: &[(u64, u64)], offset: u64, length: u64, fill: impl Fn(u64, &mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    for (at, of) in data {
        let (from, to) = ((*at).max(offset), (at + of).min(offset + length));
        if from < to {
            fill(from, &mut bytes[(from - offset) as usize..(to - offset) as usize]);
        }
    }
    bytes
}

fn image(id: &str, size: u64) -> Value {
    json!({
        "imageId": id, "description": "d", "replicationJobId": "sms-job-00000001",
        "replicationRunId": "sms-run-00000001", "serverId": "s-00000001", "serverName": "web01",
        "createdOn": 1_700_000_000, "sizeBytes": size, "verification": { "state": "UNVERIFIED", "damaged": [] },
        "volumes": [{
            "volume": 0, "device": "vda", "size": size, "snapshotId": "snap-00000000000000001", "rootDigest": "00",
        }],
    })
}
