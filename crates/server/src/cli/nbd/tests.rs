//! The pieces together, over an image in memory and connections in memory.

use crate::cli::nbd::cache::Cache;
use crate::cli::nbd::codec::{Export, MAX_DATA};
use crate::cli::nbd::origin::{Chapter, Origin};
use crate::cli::nbd::overlay::{Identity, Layer, Overlay, UNIT, VolumeIdentity};
use crate::cli::nbd::session::{Exports, converse};
use crate::cli::nbd::volume::{Volume, VolumeError};
use crate::client::ClientError;
use async_trait::async_trait;
use bytes::Bytes;
use godwit_model::extent::{Extent, merge};
use proptest::prelude::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;

/// Byte `n` of a place that holds data is `n` modulo 251, and not zero.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..MIB + 251).map(|at| (at % 251) as u8 + 1).collect());

/// An image whose byte at `n` is made of `n`, where it holds data.
#[derive(Default)]
struct Memory {
    size: u64,
    data: Vec<Extent>,
    /// What was read.
    reads: Mutex<Vec<Extent>>,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
    is_gone: AtomicBool,
    chapters: AtomicU64,
}

impl Memory {
    fn new(size: u64, data: &[(u64, u64)]) -> Arc<Self> {
        let data = data.iter().map(|(offset, length)| Extent { offset: *offset, length: *length }).collect();
        Arc::new(Memory { size, data: merge(data), ..Memory::default() })
    }

    fn bytes(&self, span: Extent) -> Vec<u8> {
        let mut bytes = vec![0; span.length as usize];
        for part in self.data.iter().map(|extent| extent.intersect(span)).flat_map(|part| part.pieces(MIB)) {
            let (to, from) = ((part.offset - span.offset) as usize, (part.offset % 251) as usize);
            bytes[to..to + part.length as usize].copy_from_slice(&PATTERN[from..from + part.length as usize]);
        }
        bytes
    }

    fn gone() -> ClientError {
        ClientError::Refused { code: "InvalidParameterException".into(), message: "gone".into(), by_server: false }
    }
}

#[async_trait]
impl Origin for Arc<Memory> {
    async fn read(&self, _volume: u32, span: Extent) -> Result<Bytes, ClientError> {
        assert!((1..=MIB).contains(&span.length) && span.end() <= self.size, "{span:?}");
        self.reads.lock().unwrap().push(span);
        let now = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_work.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        if self.is_gone.load(Ordering::SeqCst) { Err(Memory::gone()) } else { Ok(self.bytes(span).into()) }
    }

    async fn chapter(&self, _volume: u32, from: u64) -> Result<Chapter, ClientError> {
        assert!(from < self.size);
        self.chapters.fetch_add(1, Ordering::SeqCst);
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(Memory::gone());
        }
        // Three extents at a time, as a service with many would.
        let rest = self.data.iter().filter(|extent| extent.end() > from);
        let end = rest.clone().nth(3).map_or(self.size, |extent| extent.offset);
        let span = Extent::between(from, end);
        let data = rest.take(3).map(|extent| extent.intersect(span)).filter(|extent| !extent.is_empty());
        Ok(Chapter { span, data: data.collect() })
    }
}

fn identity(size: u64) -> Identity {
    let volume = VolumeIdentity { volume: 0, size, root_digest: "d".into() };
    Identity { image: "ami-1".into(), volumes: vec![volume] }
}

fn volume(image: &Arc<Memory>, overlay: Option<&Overlay>) -> Volume<Arc<Memory>> {
    let layer = overlay.map(|overlay| overlay.layers[0].clone());
    Volume { number: 0, size: image.size, cache: Cache::new(image.clone()), layer }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn content(volume: &Volume<Arc<Memory>>, span: Extent) -> Vec<u8> {
    let bytes = volume.read(span).await.unwrap();
    bytes.map_or_else(|| vec![0; span.length as usize], |bytes| bytes.to_vec())
}

#[test]
fn what_is_read_twice_is_fetched_once_and_holes_never() {
    let image = Memory::new(64 * MIB, &[(0, MIB), (32 * MIB, 100_000)]);
    let volume = volume(&image, None);
    run(async {
        let small = Extent { offset: 32 * MIB + 5, length: 4096 };
        for _ in 0..3 {
            assert_eq!(content(&volume, small).await, image.bytes(small));
        }
        assert_eq!(volume.read(Extent { offset: 8 * MIB, length: 8 * MIB }).await.unwrap(), None);
    });
    let reads = image.reads.lock().unwrap().clone();
    assert_eq!(reads, [Extent { offset: 32 * MIB, length: 256 << 10 }], "one small piece");
}

#[test]
fn a_sequence_is_read_ahead_in_large_pieces_and_each_byte_once_or_twice() {
    let image = Memory::new(40 * MIB, &[(0, 40 * MIB)]);
    let volume = volume(&image, None);
    run(async {
        for at in (0..40 * MIB).step_by(128 << 10) {
            let span = Extent { offset: at, length: 128 << 10 };
            assert_eq!(content(&volume, span).await, image.bytes(span));
        }
    });
    let reads = image.reads.lock().unwrap().clone();
    let large = reads.iter().filter(|span| span.length == MIB).count();
    assert!(large >= 39 && reads.len() <= 42, "{} reads, {large} large ones", reads.len());
    assert!(image.most_at_work.load(Ordering::SeqCst) >= 2, "nothing was read ahead");
    assert!(image.most_at_work.load(Ordering::SeqCst) <= 4, "more at a time than the service serves");
}

#[test]
fn what_is_kept_is_bounded() {
    let image = Memory::new(160 * MIB, &[(0, 160 * MIB)]);
    let volume = volume(&image, None);
    run(async {
        for at in (0..160 * MIB).step_by(MIB as usize) {
            assert!(volume.read(Extent { offset: at, length: MIB }).await.unwrap().is_some());
            assert!(volume.cache.kept_bytes() <= 64 * MIB);
        }
        assert!(volume.cache.kept_bytes() >= 32 * MIB, "and used");
    });
}

#[test]
fn a_failure_is_not_kept() {
    let image = Memory::new(64 * MIB, &[(0, 64 * MIB)]);
    let volume = volume(&image, None);
    let span = Extent { offset: 5, length: 2 * MIB };
    run(async {
        image.is_gone.store(true, Ordering::SeqCst);
        assert!(matches!(volume.read(span).await, Err(VolumeError::Image(_))));
        image.is_gone.store(false, Ordering::SeqCst);
        assert_eq!(content(&volume, span).await, image.bytes(span));
        image.is_gone.store(true, Ordering::SeqCst);
        assert_eq!(content(&volume, span).await, image.bytes(span), "what is kept needs no service");
        let far = Extent { offset: 40 * MIB, length: 4096 };
        assert!(matches!(volume.read(far).await, Err(VolumeError::Image(_))));
        image.is_gone.store(false, Ordering::SeqCst);
        assert_eq!(content(&volume, far).await, image.bytes(far));
    });
}

/// What a guest may do.
#[derive(Clone, Debug)]
enum Act {
    Write(u64, u64, u8),
    Zero(u64, u64, bool),
    Trim(u64, u64),
    Flush,
    Kill,
}

/// The size is no multiple of a unit, so that the last one is short.
const SIZE: u64 = 300 * 1024 + 512;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let range = || (0..SIZE, 1u64..40_000).prop_map(|(at, length)| (at, length.min(SIZE - at)));
    let aligned = || {
        range().prop_map(|(at, length)| (at - at % UNIT, length.next_multiple_of(UNIT).min(SIZE - (at - at % UNIT))))
    };
    let act = prop_oneof![
        4 => (range(), any::<u8>()).prop_map(|((at, length), byte)| Act::Write(at, length, byte)),
        2 => (aligned(), any::<u8>()).prop_map(|((at, length), byte)| Act::Write(at, length, byte)),
        2 => (range(), any::<bool>()).prop_map(|((at, length), hole)| Act::Zero(at, length, hole)),
        1 => range().prop_map(|(at, length)| Act::Trim(at, length)),
        1 => Just(Act::Flush),
        1 => Just(Act::Kill),
    ];
    proptest::collection::vec(act, 1..25)
}

/// Does it to the volume and to the model, which is a plain array.
async fn perform(act: &Act, volume: &Volume<Arc<Memory>>, model: &mut [u8]) {
    match *act {
        Act::Write(at, length, byte) => {
            volume.write(at, vec![byte; length as usize].into()).await.unwrap();
            model[at as usize..(at + length) as usize].fill(byte);
        }
        Act::Zero(at, length, hole) => {
            volume.zero(Extent { offset: at, length }, hole).await.unwrap();
            model[at as usize..(at + length) as usize].fill(0);
        }
        Act::Trim(at, length) => {
            let span = Extent { offset: at, length };
            let before = content(volume, span).await;
            volume.trim(span).await.unwrap();
            let after = content(volume, span).await;
            // Whoever trims may find either.
            assert!(before.iter().zip(&after).all(|(before, after)| after == before || *after == 0));
            model[at as usize..(at + length) as usize].copy_from_slice(&after);
        }
        Act::Flush | Act::Kill => volume.flush().await.unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_written_the_disk_is_what_a_plain_array_is(
        acts in acts(), data in proptest::collection::vec((0..SIZE, 1u64..60_000), 0..5),
        reads in proptest::collection::vec((0..SIZE, 1u64..50_000), 8),
    ) {
        let data: Vec<_> = data.into_iter().map(|(at, length)| (at, length.min(SIZE - at))).collect();
        let image = Memory::new(SIZE, &data);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o");
        let whole = Extent { offset: 0, length: SIZE };
        let mut model = image.bytes(whole);
        run(async {
            let mut seen = volume(&image, Some(&Overlay::kept(&path, &identity(SIZE)).unwrap()));
            for act in &acts {
                perform(act, &seen, &mut model).await;
                if matches!(act, Act::Kill) {
                    // What was flushed is all that counts: the next process begins from the file.
                    drop(seen);
                    seen = volume(&image, Some(&Overlay::kept(&path, &identity(SIZE)).unwrap()));
                }
            }
            for (at, length) in reads {
                let span = Extent { offset: at, length: length.min(SIZE - at) };
                assert_eq!(content(&seen, span).await, &model[at as usize..span.end() as usize]);
            }
            assert_eq!(content(&seen, whole).await, model);
            let status = seen.status(whole, false).await.unwrap();
            let mut at = 0;
            for part in status {
                assert!(part.length > 0);
                let end = at + part.length as usize;
                assert!(!part.is_hole || model[at..end].iter().all(|byte| *byte == 0), "a hole holds data at {at}");
                at = end;
            }
            assert_eq!(at as u64, SIZE);
        });
    }

    #[test]
    fn a_client_that_sends_anything_ends_nothing_but_its_connection(
        greets: bool, chooses: bool, bytes in proptest::collection::vec(any::<u8>(), 0..400),
        requests in proptest::collection::vec((0u16..9, 0u16..20, 0..2 * SIZE, 0u32..100_000), 0..8),
    ) {
        let image = Memory::new(SIZE, &[(0, 100_000)]);
        let folder = tempfile::tempdir().unwrap();
        let mut sent = vec![];
        if greets {
            sent.extend([0, 0, 0, 3]);
        }
        if greets && chooses {
            sent.extend(b"IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00");
            for (command, flags, offset, length) in requests {
                sent.extend(request(flags, command, 9, offset, length));
                // A few of the bytes that are due to a write: the rest is taken from what follows.
                sent.extend(vec![1; length.min(64) as usize]);
            }
        }
        sent.extend(bytes);
        run(async {
            let overlay = Overlay::temporary(folder.path(), &identity(SIZE)).unwrap();
            let served = exports(volume(&image, Some(&overlay)));
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let (reader, writer) = tokio::io::split(ours);
            let (mut answers, mut asks) = tokio::io::split(theirs);
            let asking = tokio::spawn(async move {
                // It may be hung up on.
                let _ = asks.write_all(&sent).await;
                let _ = asks.shutdown().await;
            });
            let reading = tokio::spawn(async move {
                let mut all = vec![];
                answers.read_to_end(&mut all).await.map(|_| all.len())
            });
            // It always ends; how is its own affair.
            let _ = converse(served.clone(), reader, writer, &CancellationToken::new()).await;
            asking.await.unwrap();
            drop(reading);
            served.flush().await.unwrap();
        });
    }
}

fn request(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513u32.to_be_bytes().to_vec();
    bytes.extend([flags.to_be_bytes(), command.to_be_bytes()].concat());
    bytes.extend([cookie.to_be_bytes(), offset.to_be_bytes()].concat());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn exports(volume: Volume<Arc<Memory>>) -> Arc<Exports<Arc<Memory>>> {
    let export = Export {
        name: "0".into(),
        alias: "vda".into(),
        description: "d".into(),
        size: volume.size,
        writable: volume.layer.is_some(),
    };
    Arc::new(Exports::new(vec![volume], vec![export], Arc::new(|_: &Export, _: &VolumeError| {})))
}

#[test]
fn a_failed_read_is_one_requests_error_and_the_connection_goes_on() {
    let image = Memory::new(SIZE, &[(0, SIZE)]);
    run(async {
        let served = exports(volume(&image, None));
        let (ours, mut client) = tokio::io::duplex(1 << 20);
        let (reader, writer) = tokio::io::split(ours);
        let session = tokio::spawn(async move { converse(served, reader, writer, &CancellationToken::new()).await });
        client.write_all(&[0, 0, 0, 3]).await.unwrap();
        client.write_all(b"IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x01" as &[u8]).await.unwrap();
        client.write_all(b"0").await.unwrap();
        let mut hello = [0; 18 + 10];
        client.read_exact(&mut hello).await.unwrap();
        image.is_gone.store(true, Ordering::SeqCst);
        client.write_all(&request(0, 0, 1, 0, 512)).await.unwrap();
        let mut reply = [0; 16];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!((&reply[4..8], &reply[8..]), (&[0, 0, 0, 5][..], &1u64.to_be_bytes()[..]), "EIO");
        image.is_gone.store(false, Ordering::SeqCst);
        client.write_all(&request(0, 0, 2, 100, 8)).await.unwrap();
        let mut reply = [0; 24];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[16..], image.bytes(Extent { offset: 100, length: 8 }));
        client.write_all(&request(0, 0, 3, 0, MAX_DATA + 1)).await.unwrap();
        let mut reply = [0; 16];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[4..8], [0, 0, 0, 22], "beyond the end");
        client.write_all(&request(0, 2, 4, 0, 0)).await.unwrap();
        session.await.unwrap().unwrap();
    });
}

#[test]
fn what_was_not_flushed_is_old_or_new_and_never_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let image = Memory::new(SIZE, &[(0, SIZE)]);
    run(async {
        let seen = volume(&image, Some(&Overlay::kept(&path, &identity(SIZE)).unwrap()));
        seen.write(0, vec![7; UNIT as usize].into()).await.unwrap();
        seen.flush().await.unwrap();
        seen.write(3 * UNIT, vec![9; UNIT as usize].into()).await.unwrap();
        drop(seen);
        let again = volume(&image, Some(&Overlay::kept(&path, &identity(SIZE)).unwrap()));
        assert_eq!(content(&again, Extent { offset: 0, length: UNIT }).await, vec![7; UNIT as usize]);
        let span = Extent { offset: 3 * UNIT, length: UNIT };
        assert_eq!(content(&again, span).await, image.bytes(span), "no bit stands for what may not be durable");
    });
}

#[test]
fn bits_that_are_not_durable_are_bounded() {
    let size = 40 << 30;
    let folder = tempfile::tempdir().unwrap();
    let overlay = Overlay::temporary(folder.path(), &identity(size)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
    let layer: &Arc<Layer> = &overlay.layers[0];
    for at in (0..size).step_by(16 << 20) {
        layer.write(at, &[1; UNIT as usize]).unwrap();
        assert!(layer.new_sectors() <= 1024);
    }
    layer.zero(Extent { offset: 0, length: size }, true).unwrap();
    assert!(layer.new_sectors() <= 1024);
    assert!(layer.parts(Extent { offset: size - 64 * UNIT, length: 64 * UNIT }).unwrap()[0].is_held);
}

#[test]
fn a_symbolic_link_is_no_overlay_wherever_it_leads() {
    let folder = tempfile::tempdir().unwrap();
    let (link, other) = (folder.path().join("link"), folder.path().join("other"));
    std::os::unix::fs::symlink(&other, &link).unwrap();
    assert!(refusal(&link, &identity(SIZE)).contains("is a symbolic link"));
    assert!(!other.exists(), "made through a link");
    for content in ["", "dear"] {
        std::fs::write(&other, content).unwrap();
        let said = refusal(&link, &identity(SIZE));
        assert!(said.contains("is a symbolic link") && said.contains("give the path of the file itself"), "{said}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), content);
    }
    // The folder that it is in may be reached by one: who made that one has the say there.
    let (real, way) = (folder.path().join("real"), folder.path().join("way"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &way).unwrap();
    assert!(!Overlay::kept(&way.join("o"), &identity(SIZE)).unwrap().is_continued);
    assert!(Overlay::kept(&real.join("o"), &identity(SIZE)).unwrap().is_continued);
}

fn refusal(path: &Path, identity: &Identity) -> String {
    let error = Overlay::kept(path, identity).err().expect("refused");
    format!("{error}; {}", error.next_step())
}

#[test]
fn an_overlay_that_is_torn_foreign_busy_or_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let ours = identity(SIZE);
    let open = Overlay::kept(&path, &ours).unwrap();
    assert!(!open.is_continued && refusal(&path, &ours).contains("in use by another"));
    open.layers[0].write(0, &[1; UNIT as usize]).unwrap();
    open.layers[0].flush().unwrap();
    drop(open);
    assert!(Overlay::kept(&path, &ours).unwrap().is_continued);
    let other = Identity { image: "ami-2".into(), ..ours.clone() };
    assert!(refusal(&path, &other).contains("of another image, ami-1"));
    let mut changed = ours.clone();
    changed.volumes[0].root_digest = "e".into();
    assert!(refusal(&path, &changed).contains("another content"));

    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 1).unwrap();
    assert!(refusal(&path, &ours).contains("is not whole"));
    file.set_len(length).unwrap();
    file.write_all_at(b"x", 1 << 20).unwrap();
    let damaged = Overlay::kept(&path, &ours).unwrap();
    let error = damaged.layers[0].parts(Extent { offset: 0, length: 1 }).unwrap_err();
    assert!(error.to_string().contains("map of the overlay is damaged"), "{error}");
    drop(damaged);
    file.write_all_at(&[0; 100], 0).unwrap();
    assert!(refusal(&path, &ours).contains("not an overlay of Godwit's"));
    std::fs::write(&path, b"dear").unwrap();
    assert!(refusal(&path, &ours).contains("not an overlay of Godwit's"));
    assert_eq!(std::fs::read(&path).unwrap(), b"dear");
}
