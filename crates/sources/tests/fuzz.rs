//! Conversations with a real QEMU, recorded, changed at places of chance, and played back: whatever comes, the answer
//! is an error or what was asked for, in time, and no panic.
//!
//! `GODWIT_SEED` chooses the changes of the tests that are named for it; a case that fails tells its seed and number.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use godwit_blocks::source::Source;
use godwit_model::extent::Extent;
use godwit_sources::nbd::client::{NbdClient, NbdError, NbdTarget};
use godwit_sources::qmp::source::{QmpOptions, QmpSource};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

const CASES: u64 = 400;
const READ: Extent = Extent::between(0, 256 << 10);
/// Far above what a conversation takes, far below what a length of 32 bits could demand.
const MEMORY: u64 = 512 << 20;
/// Until a client that has lost the thread is not waited for any more.
const PATIENCE: Duration = Duration::from_millis(20);
/// No case may take longer; the bounds of the clients are below.
const HANG: Duration = Duration::from_secs(20);

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// What a server said, and how many bytes of the client's it had seen before.
type Turns = Vec<(usize, Vec<u8>)>;

/// Passes one conversation on to a real server and writes down what that says.
fn record(real: PathBuf, at: &Path) -> tokio::task::JoinHandle<Turns> {
    let listener = UnixListener::bind(at).unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = UnixStream::connect(real).await.unwrap();
        let (mut turns, mut seen) = (Turns::new(), 0);
        let (mut question, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                asked = client.read(&mut question) => {
                    let Ok(asked @ 1..) = asked else { return turns };
                    seen += asked;
                    server.write_all(&question[..asked]).await.unwrap();
                }
                said = server.read(&mut answer) => {
                    let Ok(said @ 1..) = said else { return turns };
                    match turns.last_mut().filter(|(before, _)| *before == seen) {
                        Some((_, bytes)) => bytes.extend(&answer[..said]),
                        None => turns.push((seen, answer[..said].to_vec())),
                    }
                    client.write_all(&answer[..said]).await.unwrap();
                }
            }
        }
    })
}

/// Says the same to every client that comes.
fn play(turns: Turns, at: &Path) -> tokio::task::JoinHandle<()> {
    let _ = std::fs::remove_file(at);
    let listener = UnixListener::bind(at).unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut seen, mut lost, mut buffer) = (0, false, vec![0; 1 << 16]);
            for (before, bytes) in &turns {
                while seen < *before && !lost {
                    match timeout(PATIENCE, client.read(&mut buffer)).await {
                        Ok(Ok(asked @ 1..)) => seen += asked,
                        _ => lost = true,
                    }
                }
                if client.write_all(bytes).await.is_err() {
                    break;
                }
            }
            let _ = client.shutdown().await;
        }
    })
}

/// Changes bytes somewhere.
fn spoil(turns: &Turns, chance: &mut Chance) -> Turns {
    let mut turns = turns.clone();
    for _ in 0..=chance.below(3) {
        let turn = chance.below(turns.len());
        let bytes = &mut turns[turn].1;
        let at = chance.below(bytes.len());
        let end = (at + 1 + chance.below(40)).min(bytes.len());
        match chance.below(7) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, (0..end - at).map(|_| chance.next() as u8))),
            4 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 => bytes.truncate(at),
            // Lengths, offsets, numbers of chunks, at their extremes.
            _ => {
                let number = chance.one_of(&[0, 1, 0x7fff_ffff, 0x8000_0000, u64::MAX >> 1, u64::MAX]).to_be_bytes();
                let width = chance.one_of(&[2, 4, 8]);
                for (to, from) in bytes[at..].iter_mut().zip(&number[8 - width..]) {
                    *to = *from;
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(chance.next() as u8);
        }
    }
    turns
}

/// Changes the sense of messages, not their form.
fn twist(turns: &Turns, chance: &mut Chance) -> Turns {
    let mut turns = turns.clone();
    for _ in 0..=chance.below(2) {
        let turn = chance.below(turns.len());
        let text = String::from_utf8(turns[turn].1.clone()).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = chance.below(lines.len());
        // What an earlier change has nested too deep stays as it is.
        let Ok(mut message) = serde_json::from_str::<Value>(&lines[at]) else { continue };
        let what = chance.below(6);
        match what {
            0 | 1 => {
                let ids = [json!(null), json!(0), json!(-1), json!("1"), json!(u64::MAX)];
                let id = if what == 0 { Some(chance.one_of(&ids)) } else { None };
                // An earlier change may have made something else of the whole message.
                if let Some(members) = message.as_object_mut() {
                    members.remove("id");
                    members.extend(id.map(|id| ("id".to_owned(), id)));
                }
            }
            2 => lines.insert(at, json!({ "event": "JOB_STATUS_CHANGE", "data": {}, "timestamp": {} }).to_string()),
            3 => lines.insert(at, lines[at].clone()),
            _ => {
                let mut place = chance.below(size(&message));
                replace(&mut message, &mut place, &rubbish(chance));
            }
        }
        if lines.get(at).is_some_and(|line| !line.contains("JOB_STATUS")) {
            lines[at] = message.to_string();
        }
        turns[turn].1 = (lines.join("\r\n") + "\r\n").into_bytes();
    }
    turns
}

fn rubbish(chance: &mut Chance) -> Value {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("godwit-0a1b2c3d-00000001-0s"),
        json!("\u{0}\u{fffd}/../"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([[], {}]),
        json!({}),
        json!({ "name": { "name": null } }),
        deep,
    ];
    chance.one_of(&values)
}

/// Values in a value, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

fn replace(value: &mut Value, place: &mut usize, by: &Value) {
    if *place == 0 {
        *value = by.clone();
        // Nothing more.
        *place = usize::MAX;
        return;
    }
    *place -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => return,
    };
    for one in inner {
        if *place != usize::MAX {
            replace(one, place, by);
        }
    }
}

/// Panics of any thread, those of tasks that nobody joins too.
fn count_panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
    });
    &PANICS
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Plays changed conversations to `talk`, which says what it came to.
async fn fuzz<T: std::fmt::Debug>(
    seed: u64,
    socket: &Path,
    turns: &Turns,
    change: impl Fn(&Turns, &mut Chance) -> Turns,
    talk: impl AsyncFn() -> Result<T, String>,
) {
    let panics = count_panics();
    let (mut understood, mut refused) = (0, 0);
    for case in 0..CASES {
        let mut chance = Chance(seed.wrapping_mul(1_000_003).wrapping_add(case));
        let player = play(change(turns, &mut chance), socket);
        match timeout(HANG, talk()).await {
            Ok(Ok(_)) => understood += 1,
            Ok(Err(why)) => {
                refused += 1;
                assert!(!why.is_empty(), "seed {seed}, case {case}: no reason");
            }
            Err(_) => panic!("seed {seed}, case {case}: hangs"),
        }
        player.abort();
        assert_eq!(panics.load(Ordering::SeqCst), 0, "seed {seed}, case {case}");
    }
    assert!(peak_memory() < MEMORY, "seed {seed}: {} bytes at the peak", peak_memory());
    assert!(refused > CASES / 10, "the changes do something: {understood} understood, {refused} refused");
}

async fn read_some(socket: &Path) -> Result<(), String> {
    let target = NbdTarget {
        socket: socket.to_owned(),
        export: "guest0".into(),
        contexts: vec!["base:allocation".into(), "qemu:dirty-bitmap:b".into()],
        connect_limit: Duration::from_millis(300),
        request_limit: Duration::from_millis(300),
    };
    let said = |error: NbdError| error.to_string();
    let client = NbdClient::connect(&target).await.map_err(said)?;
    if client.size() != SIZE {
        return Err("another size, which its reader refuses".into());
    }
    let lists = client.block_status(Extent::between(0, SIZE)).await.map_err(said)?;
    for list in lists.iter().filter(|list| !list.is_empty()) {
        assert_eq!(list.iter().map(|status| u64::from(status.length)).sum::<u64>(), SIZE, "{list:?}");
    }
    let bytes = client.read(READ).await.map_err(said)?;
    assert_eq!(bytes.len() as u64, READ.length);
    Ok(())
}

async fn nbd(seed: u64) {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let bitmap = json!({ "node": "disk0", "name": "b", "granularity": 65536 });
    daemon.execute("block-dirty-bitmap-add", bitmap).await;
    for block in [0, 1, 5, 100, 200] {
        daemon.write(0, 7, block * BLOCK, BLOCK / 2).await;
    }
    daemon.execute("block-dirty-bitmap-disable", json!({ "node": "disk0", "name": "b" })).await;
    daemon.execute("block-export-del", json!({ "id": "guest0" })).await;
    let export = json!({ "type": "nbd", "id": "e", "name": "guest0", "node-name": "disk0", "bitmaps": ["b"] });
    daemon.execute("block-export-add", export).await;

    let recorder = record(daemon.path("g.sock"), &daemon.path("rec.sock"));
    read_some(&daemon.path("rec.sock")).await.unwrap();
    let turns = recorder.await.unwrap();
    let socket = daemon.path("play.sock");
    let player = play(turns.clone(), &socket);
    read_some(&socket).await.expect("what was recorded is understood");
    player.abort();
    fuzz(seed, &socket, &turns, spoil, async || read_some(&socket).await).await;
}

async fn qmp(seed: u64, change: impl Fn(&Turns, &mut Chance) -> Turns) {
    let daemon = Daemon::start(&[("qcow2", SIZE), ("raw", SIZE)]).await;
    let vm = daemon.vm_id().await;
    // With things of ours, so that names are parsed too.
    drop(open(&daemon.source(), &first(&vm, &run_id(1))).await);
    let at = |socket: PathBuf| -> QmpOptions {
        let mut options = daemon.options();
        options.socket = socket;
        options.limits.qmp.greeting = Duration::from_millis(200);
        options.limits.qmp.busy = Duration::from_millis(400);
        options.limits.qmp.command = Duration::from_millis(400);
        options
    };
    let recorder = record(daemon.path("q.sock"), &daemon.path("rec.sock"));
    let honest = QmpSource::new(at(daemon.path("rec.sock"))).discover().await.unwrap();
    let turns = recorder.await.unwrap();
    assert_eq!(honest.servers[0].volumes.len(), 2);
    let socket = daemon.path("play.sock");
    let talk = async || {
        let found = QmpSource::new(at(socket.clone())).discover().await.map_err(|failure| failure.to_string())?;
        let volumes = &found.servers.first().ok_or("no server")?.volumes;
        let mut devices: Vec<&str> = volumes.iter().map(|volume| volume.device.as_str()).collect();
        devices.dedup();
        assert_eq!(devices.len(), volumes.len(), "one name for two volumes: {volumes:?}");
        Ok(())
    };
    let player = play(turns.clone(), &socket);
    talk().await.expect("what was recorded is understood");
    player.abort();
    fuzz(seed, &socket, &turns, change, talk).await;
}

#[allow(clippy::disallowed_methods, reason = "tests of chance take their seed from the environment")]
fn seed_of_the_environment() -> u64 {
    std::env::var("GODWIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn nbd_replies_that_are_spoilt() {
    nbd(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nbd_replies_that_are_spoilt_by_the_seed_of_the_environment() {
    nbd(seed_of_the_environment()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qmp_lines_that_are_spoilt() {
    qmp(1, spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qmp_messages_that_make_no_sense() {
    qmp(1, twist).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qmp_messages_that_make_no_sense_by_the_seed_of_the_environment() {
    let seed = seed_of_the_environment();
    qmp(seed, twist).await;
    qmp(seed, spoil).await;
}
