//! NBD servers that lie, hang or break off, scripted; and `qemu-nbd`, which does not.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use godwit_blocks::source::{ExtentKind, VolumeReader};
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use godwit_sources::nbd::client::{NbdClient, NbdError, NbdTarget};
use godwit_sources::reader::{NbdVolume, VolumeTarget};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const SIZE: u64 = 1 << 20;

/// What a server answers to a request: its cookie, offset and length.
type Lie = fn(u64, u64, u32) -> Vec<u8>;

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").unwrap()
}

fn target(socket: PathBuf) -> NbdTarget {
    let contexts = vec!["base:allocation".into(), "qemu:dirty-bitmap:b".into()];
    let (connect_limit, request_limit) = (Duration::from_secs(5), Duration::from_millis(500));
    NbdTarget { socket, export: "e".into(), contexts, connect_limit, request_limit }
}

fn volume_target(socket: &Path) -> VolumeTarget {
    VolumeTarget {
        sockets: vec![socket.to_owned()],
        export: "e".into(),
        bitmap: Some("b".into()),
        size: SIZE,
        connect_limit: Duration::from_secs(5),
        request_limit: Duration::from_millis(500),
    }
}

fn option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let head = [0x0003_e889_0455_65a9u64.to_be_bytes().to_vec(), option.to_be_bytes().to_vec()].concat();
    [&head[..], &kind.to_be_bytes(), &(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// Everything that a good server says up to transmission, for an export of [`SIZE`] bytes with both contexts.
fn good_handshake() -> Vec<u8> {
    let context = |id: u32, name: &str| [&id.to_be_bytes()[..], name.as_bytes()].concat();
    let export = [&[0, 0][..], &SIZE.to_be_bytes(), &[0, 0x83]].concat();
    [
        b"NBDMAGICIHAVEOPT\x00\x03".to_vec(),
        option_reply(8, 1, &[]),
        option_reply(10, 4, &context(1, "base:allocation")),
        option_reply(10, 4, &context(2, "qemu:dirty-bitmap:b")),
        option_reply(10, 1, &[]),
        option_reply(7, 3, &export),
        option_reply(7, 1, &[]),
    ]
    .concat()
}

fn chunk(done: bool, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let head = [0x668e_33efu32.to_be_bytes().to_vec(), u16::from(done).to_be_bytes().to_vec()].concat();
    [&head[..], &kind.to_be_bytes(), &cookie.to_be_bytes(), &(payload.len() as u32).to_be_bytes(), payload].concat()
}

fn data(done: bool, cookie: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    chunk(done, 1, cookie, &[&offset.to_be_bytes()[..], bytes].concat())
}

fn status(done: bool, cookie: u64, context: u32, list: &[(u32, u32)]) -> Vec<u8> {
    let mut payload = context.to_be_bytes().to_vec();
    list.iter().for_each(|(length, flags)| payload.extend([length.to_be_bytes(), flags.to_be_bytes()].concat()));
    chunk(done, 5, cookie, &payload)
}

/// A server that greets like a good one and gives a script's bytes for each request that it reads.
fn scripted(socket: &Path, script: impl Fn(u64, u64, u32) -> Vec<u8> + Send + Sync + 'static) -> Arc<AtomicUsize> {
    let (listener, script) = (UnixListener::bind(socket).unwrap(), Arc::new(script));
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let script = script.clone();
            tokio::spawn(async move { serve(&mut stream, &*script).await });
        }
    });
    connections
}

async fn serve(stream: &mut UnixStream, script: &(dyn Fn(u64, u64, u32) -> Vec<u8> + Send + Sync)) -> Option<()> {
    stream.write_all(&good_handshake()).await.ok()?;
    // Flags, then three options with their data.
    stream.read_exact(&mut [0; 4]).await.ok()?;
    for _ in 0..3 {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.ok()?;
        let mut rest = vec![0; u32::from_be_bytes(head[12..].try_into().unwrap()) as usize];
        stream.read_exact(&mut rest).await.ok()?;
    }
    loop {
        let mut request = [0; 28];
        stream.read_exact(&mut request).await.ok()?;
        let number = |range: std::ops::Range<usize>| u64::from_be_bytes(request[range].try_into().unwrap());
        let reply = script(number(8..16), number(16..24), u32::from_be_bytes(request[24..].try_into().unwrap()));
        if reply == b"END" {
            return None;
        }
        stream.write_all(&reply).await.ok()?;
    }
}

#[tokio::test]
async fn replies_that_lie_about_a_read_are_refused() {
    let lies: Vec<(&str, Lie)> = vec![
        ("too few bytes", |c, o, l| data(true, c, o, &vec![1; l as usize - 1])),
        ("too many bytes", |c, o, l| data(true, c, o, &vec![1; l as usize + 1])),
        ("bytes of another place", |c, o, l| data(true, c, o + 1, &vec![1; l as usize])),
        ("bytes before it", |c, o, l| data(true, c, o.wrapping_sub(1), &vec![1; l as usize])),
        ("bytes twice", |c, o, l| [data(false, c, o, &vec![1; l as usize]), data(true, c, o, &[2])].concat()),
        ("no bytes at all", |c, _, _| chunk(true, 0, c, &[])),
        ("a hole too long", |c, o, _| chunk(true, 2, c, &[&o.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat())),
        ("another cookie", |c, o, l| data(true, c + 5, o, &vec![1; l as usize])),
        ("a simple reply", |c, _, _| [&0x6744_6698u32.to_be_bytes()[..], &[0; 4], &c.to_be_bytes()].concat()),
        ("a block status", |c, _, l| status(true, c, 1, &[(l, 0)])),
        ("an unknown chunk", |c, _, _| chunk(true, 77, c, &[])),
        ("no magic", |_, _, _| vec![7; 64]),
        ("a huge chunk", |c, _, _| [&chunk(true, 1, c, &[])[..16], &u32::MAX.to_be_bytes()].concat()),
    ];
    let folder = folder();
    for (index, (what, lie)) in lies.into_iter().enumerate() {
        let socket = folder.path().join(format!("{index}"));
        scripted(&socket, lie);
        let client = NbdClient::connect(&target(socket)).await.unwrap();
        let extent = Extent::between(4096, 8192);
        let error = client.read(extent).await.unwrap_err();
        assert!(matches!(error, NbdError::Malformed(_)), "{what}: {error}");
        assert!(client.read(extent).await.is_err(), "{what}: such a connection is not used again");
    }
}

#[tokio::test]
async fn a_server_that_demands_tls_is_told_apart() {
    let folder = folder();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let refusal = option_reply(8, 0x8000_0005, b"Option 0x8 not permitted before TLS");
        stream.write_all(&[&b"NBDMAGICIHAVEOPT\x00\x03"[..], &refusal].concat()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let failure = NbdVolume::connect(volume_target(&socket)).await.err().unwrap();
    assert_eq!(failure.code, Code::SourceRefused, "{failure}");
    assert!(failure.evidence.contains("demands TLS") && failure.evidence.contains("unix socket"), "{failure}");
}

#[tokio::test]
async fn block_statuses_that_lie_are_refused() {
    let lies: Vec<(&str, Lie)> = vec![
        ("one context missing", |c, _, l| status(true, c, 1, &[(l, 0)])),
        ("one context twice", |c, _, l| [status(false, c, 1, &[(l, 0)]), status(true, c, 1, &[(l, 0)])].concat()),
        ("an unknown context", |c, _, l| [status(false, c, 1, &[(l, 0)]), status(true, c, 9, &[(l, 0)])].concat()),
        ("no extent", |c, _, _| chunk(true, 5, c, &1u32.to_be_bytes())),
        ("an extent of nothing", |c, _, l| [status(false, c, 1, &[(0, 0)]), status(true, c, 2, &[(l, 0)])].concat()),
        ("bytes", |c, o, _| data(true, c, o, &[0; 16])),
    ];
    let folder = folder();
    for (index, (what, lie)) in lies.into_iter().enumerate() {
        let socket = folder.path().join(format!("{index}"));
        scripted(&socket, lie);
        let client = NbdClient::connect(&target(socket)).await.unwrap();
        let error = client.block_status(Extent::between(0, SIZE)).await.unwrap_err();
        assert!(matches!(error, NbdError::Malformed(_)), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_status_told_in_parts_is_put_together() {
    let folder = folder();
    let socket = folder.path().join("s");
    // Each context tells another length, one of them beyond what was asked.
    scripted(&socket, |c, o, l| {
        let dirty = u32::from(o >= 4096);
        [status(false, c, 1, &[(1024, 0), (u32::MAX, 3)]), status(true, c, 2, &[(l.min(2048), dirty)])].concat()
    });
    let volume = NbdVolume::connect(volume_target(&socket)).await.unwrap();
    let extents = volume.extents(Extent::between(0, 8192)).await.unwrap();
    let kinds: Vec<_> = extents.iter().map(|e| (e.extent.offset, e.extent.length, e.kind)).collect();
    let expected = [
        (0, 4096, ExtentKind::Unchanged),
        (4096, 1024, ExtentKind::Data),
        (5120, 1024, ExtentKind::Zero),
        (6144, 1024, ExtentKind::Data),
        (7168, 1024, ExtentKind::Zero),
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn fragments_and_errors_of_an_honest_server_are_understood() {
    let folder = folder();
    let socket = folder.path().join("s");
    scripted(&socket, |c, o, l| {
        let half = u64::from(l) / 2;
        let hole = [&o.to_be_bytes()[..], &(half as u32).to_be_bytes()].concat();
        let failed = chunk(true, 0x8002, c, &[&5u32.to_be_bytes()[..], &[0, 3], b"bad", &o.to_be_bytes()].concat());
        match o {
            0 => [data(false, c, half, &vec![9; half as usize]), chunk(false, 2, c, &hole), chunk(true, 0, c, &[])]
                .concat(),
            _ => [data(false, c, o, &vec![9; half as usize]), failed].concat(),
        }
    });
    let client = NbdClient::connect(&target(socket)).await.unwrap();
    let bytes = client.read(Extent::between(0, 8192)).await.unwrap();
    assert!(bytes[..4096].iter().all(|b| *b == 0) && bytes[4096..].iter().all(|b| *b == 9));
    let error = client.read(Extent::between(8192, 16384)).await.unwrap_err();
    assert!(
        matches!(&error, NbdError::Server { offset: 8192, error, .. } if error.errno == 5 && error.text == "bad"),
        "{error}"
    );
    assert!(
        client.read(Extent::between(0, 8192)).await.is_ok(),
        "an error of one request is not one of the connection"
    );
    assert!(matches!(client.read(Extent::between(SIZE - 1, SIZE + 1)).await, Err(NbdError::Range { .. })));
}

#[tokio::test]
async fn a_server_that_hangs_or_breaks_off_is_left_in_time() {
    let folder = folder();
    let socket = folder.path().join("hangs");
    let connections = scripted(&socket, |_, _, _| Vec::new());
    let volume = NbdVolume::connect(volume_target(&socket)).await.unwrap();
    let failure = volume.read(Extent::between(0, 4096)).await.unwrap_err();
    assert_eq!(failure.code, Code::SourceRead, "{failure}");
    assert_eq!(connections.load(Ordering::SeqCst), 2, "tried again once");

    let socket = folder.path().join("breaks");
    let calls = AtomicUsize::new(0);
    let connections = scripted(&socket, move |c, o, l| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => b"END".to_vec(),
        _ => data(true, c, o, &vec![4; l as usize]),
    });
    let volume = NbdVolume::connect(volume_target(&socket)).await.unwrap();
    assert_eq!(volume.read(Extent::between(0, 4096)).await.unwrap(), vec![4; 4096], "by a new connection");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn many_requests_fly_at_once_and_come_back_in_any_order() {
    let folder = folder();
    let socket = folder.path().join("s");
    let waiting = std::sync::Mutex::new(Vec::new());
    scripted(&socket, move |c, o, l| {
        let mut waiting = waiting.lock().unwrap();
        waiting.push(data(true, c, o, &vec![(o / 4096) as u8; l as usize]));
        if waiting.len() < 8 {
            return Vec::new();
        }
        waiting.drain(..).rev().flatten().collect()
    });
    let client = NbdClient::connect(&target(socket)).await.unwrap();
    let reads = (0..32u64).map(|i| client.read(Extent::between(i * 4096, (i + 1) * 4096)));
    for (index, bytes) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert_eq!(bytes.unwrap(), vec![index as u8; 4096]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_handshake_that_is_damaged_anywhere_ends_in_an_answer(at in 0usize..200, byte: u8, cut in 0usize..200) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = folder();
            let socket = folder.path().join("s");
            let listener = UnixListener::bind(&socket).unwrap();
            let mut bytes = good_handshake();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut / 20));
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
            let outcome = NbdClient::connect(&target(socket)).await.map(drop);
            assert!(!matches!(outcome, Err(NbdError::Timeout(_))), "a server that ends is not waited for");
            server.await.unwrap();
        });
    }

    #[test]
    fn replies_of_arbitrary_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = folder();
            let socket = folder.path().join("s");
            let head = if magic { vec![0x66, 0x8e, 0x33, 0xef, 0, 1, 0] } else { vec![] };
            let bytes = [head, bytes, b"\0".repeat(40)].concat();
            scripted(&socket, move |_, _, _| bytes.clone());
            let client = NbdClient::connect(&target(socket)).await.unwrap();
            assert!(client.read(Extent::between(0, 512)).await.is_err());
        });
    }
}

/// `qemu-nbd` over a raw file. Killed when dropped.
struct QemuNbd(std::process::Child);

impl Drop for QemuNbd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn qemu_nbd_is_read_byte_for_byte() {
    let folder = folder();
    let (file, socket) = (folder.path().join("d.raw"), folder.path().join("s"));
    let mut content = vec![0u8; 8 << 20];
    for (index, byte) in content[3 << 20..5 << 20].iter_mut().enumerate() {
        *byte = (index / 512 % 255) as u8 + 1;
    }
    let raw = std::fs::File::create(&file).unwrap();
    raw.set_len(content.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&raw, &content[3 << 20..5 << 20], 3 << 20).unwrap();
    let mut command = Command::new("qemu-nbd");
    command.args(["-r", "-t", "-e", "8", "-f", "raw", "-x", "e", "-k"]).arg(&socket).arg(&file);
    let _server = QemuNbd(command.spawn().unwrap());
    let target = VolumeTarget { bitmap: None, size: content.len() as u64, ..volume_target(&socket) };
    let mut volume = NbdVolume::connect(target.clone()).await;
    for _ in 0..500 {
        if volume.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        volume = NbdVolume::connect(target.clone()).await;
    }
    let volume = volume.unwrap();
    let extents = volume.extents(Extent::between(0, target.size)).await.unwrap();
    assert_eq!(
        extents.iter().map(|e| e.kind).collect::<Vec<_>>(),
        [ExtentKind::Zero, ExtentKind::Data, ExtentKind::Zero]
    );
    for extent in [Extent::between(0, 1 << 20), Extent::between((3 << 20) - 7, (4 << 20) - 100), Extent::between(7, 8)]
    {
        let bytes = volume.read(extent).await.unwrap();
        assert!(bytes == content[extent.offset as usize..extent.end() as usize], "{extent:?}");
    }
    let wrong = NbdVolume::connect(VolumeTarget { size: 512, ..target.clone() }).await.err().unwrap();
    assert!(wrong.evidence.contains("instead of 512"), "{wrong}");
    let lost = NbdVolume::connect(VolumeTarget { export: "other".into(), ..target }).await.err().unwrap();
    assert_eq!(lost.code, Code::PointInTimeLost, "{lost}");
}
