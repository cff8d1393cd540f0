//! What a look of the driver and an import of the catalog cost over a database file: `./dev bench` runs this.
//!
//!     costs look DATABASE NOW-MS TIMES
//!     costs import DATABASE NOW-MS TIMES SERVERS
//!
//! Prints one JSON object: how many milliseconds each took, and how many decisions a look made.

use godwit_control::{Draw, import_found, look, store::Store};
use godwit_model::id::ConnectorId;
use godwit_model::schedule::Limits;
use godwit_model::server::{DiscoveredServer, DiscoveredVolume, Discovery};
use godwit_model::time::{Millis, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [what, database, now, times, more @ ..] = &arguments[..] else {
        return Err("see the head of this file".into());
    };
    let store = Store::open(database.as_ref()).await?;
    let (now, times) = (Timestamp(now.parse()?), times.parse()?);
    let said = match (*what, more) {
        ("look", []) => looks(&store, now, times).await?,
        ("import", [servers]) => imports(&store, now, times, servers.parse()?).await?,
        _ => return Err("give look or import".into()),
    };
    store.close().await;
    println!("{said}");
    Ok(())
}

async fn looks(store: &Store, now: Timestamp, times: usize) -> Outcome<serde_json::Value> {
    let limits = Limits { max_active: 2, since: now - Millis::DAY, late_start: Millis::MINUTE.times(5) };
    let (mut spent, mut decisions) = (Vec::new(), 0);
    for _ in 0..times {
        let begin = Instant::now();
        decisions = look(store, &limits, now).await?.0.len();
        spent.push(milliseconds(begin));
    }
    Ok(serde_json::json!({ "milliseconds": spent, "decisions": decisions }))
}

/// The first import meets an empty catalog, the others know every server.
async fn imports(store: &Store, now: Timestamp, times: usize, servers: usize) -> Outcome<serde_json::Value> {
    let drawn = AtomicU64::new(1);
    // An odd factor: different numbers stay different in the low bits that ids take.
    let draw: Draw = Arc::new(move || u128::from(drawn.fetch_add(0x9e37_79b9, Ordering::Relaxed)));
    let server = |n: usize| DiscoveredServer {
        vm_id: format!("5f0c3a52-0000-4000-8000-{n:012x}"),
        name: format!("imported-{n:05}"),
        path: format!("/imported/{n:05}"),
        volumes: vec![DiscoveredVolume { device: "virtio0".into(), size: 1 << 34, allocated: None }],
        platform: None,
    };
    let found = Discovery {
        manager_id: "imported".into(),
        manager_name: "a manager of many".into(),
        manager_version: "1".into(),
        servers: (0..servers).map(server).collect(),
        warnings: vec![],
    };
    let mut spent = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        import_found(store, &ConnectorId::from_bits(77), &found, &draw, now).await?;
        spent.push(milliseconds(begin));
    }
    Ok(serde_json::json!({ "milliseconds": spent }))
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
