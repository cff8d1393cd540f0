//! Answers in place of the service: for what needs an image but no guest, and to see what is sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The image that it has.
pub const IMAGE: &str = "ami-00000000000000001";
/// Bytes of the image's volume.
pub const SIZE: u64 = 64 << 20;
/// Where the volume holds data: offset and length.
pub const DATA: [(u64, u64); 2] = [(0, 1 << 20), (9 << 20, 5 << 20)];
/// What the data is.
pub const BYTE: u8 = 0xa7;

/// The `authorization` header of all that was asked.
type Asked = Arc<Mutex<Vec<String>>>;

/// A service that believes every signature; it ends with the process.
pub struct StandIn {
    pub endpoint: String,
    asked: Asked,
}

impl StandIn {
    pub fn start() -> StandIn {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let asked = Asked::default();
        let router = Router::new().route("/", post(answer)).with_state(asked.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        StandIn { endpoint, asked }
    }

    /// The `authorization` header of the last request.
    pub fn last_authorization(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }
}

async fn answer(State(asked): State<Asked>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    asked.lock().unwrap().push(header("authorization"));
    let request: Value = serde_json::from_slice(&body).unwrap();
    let number = |name: &str| request[name].as_u64().unwrap();
    match header("x-amz-target").rsplit('.').next().unwrap() {
        "DescribeImages" => json!({ "images": [image()] }).to_string().into_bytes(),
        "ListImageExtents" => {
            let extents = DATA.map(|(offset, length)| json!({ "offset": offset, "length": length }));
            json!({ "size": SIZE, "extents": extents }).to_string().into_bytes()
        }
        "GetForecast" => forecast().to_string().into_bytes(),
        "ReadImage" => (number("offset")..number("offset") + number("length")).map(byte_at).collect(),
        other => panic!("the stand-in does not know {other}"),
    }
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

fn byte_at(at: u64) -> u8 {
    if DATA.iter().any(|(offset, length)| (*offset..offset + length).contains(&at)) { BYTE } else { 0 }
}

fn image() -> Value {
    json!({
        "imageId": IMAGE, "description": "d", "replicationJobId": "sms-job-00000001",
        "replicationRunId": "sms-run-00000001", "serverId": "s-00000001", "serverName": "web01",
        "createdOn": 1_700_000_000, "sizeBytes": SIZE, "verification": { "state": "UNVERIFIED", "damaged": [] },
        "volumes": [{
            "volume": 0, "device": "vda", "size": SIZE, "snapshotId": "snap-00000000000000001", "rootDigest": "00",
        }],
    })
}
