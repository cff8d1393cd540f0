//! A real `qemu-storage-daemon` in a folder of its own, and what tests ask of it.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod proxy;
pub mod writer;

use godwit_blocks::source::{Baseline, ExtentKind, OpenRequest, Source, View, VolumeView};
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::id::RunId;
use godwit_model::run::Claims;
use godwit_sources::qmp::client::{QmpClient, QmpError, QmpLimits};
use godwit_sources::qmp::names::{Owner, TrackerId};
use godwit_sources::qmp::source::{Limits, QmpOptions, QmpSource};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub const OWNER: &str = "0a1b2c3d";
pub const SIZE: u64 = 16 << 20;
pub const BLOCK: u64 = 64 << 10;

/// A disk, and what it must hold.
pub struct TestDisk {
    pub name: String,
    pub format: &'static str,
    pub bytes: Vec<u8>,
}

/// A storage daemon. Killed when dropped.
pub struct Daemon {
    pub dir: TempDir,
    pub disks: Vec<TestDisk>,
    /// Whether exports are served by a thread of their own.
    iothread: bool,
    child: Child,
}

impl Daemon {
    pub async fn start(disks: &[(&'static str, u64)]) -> Daemon {
        Daemon::start_with(disks, false).await
    }

    pub async fn start_with(disks: &[(&'static str, u64)], iothread: bool) -> Daemon {
        let dir = tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").unwrap();
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        let mut list = Vec::new();
        for (index, (format, size)) in disks.iter().enumerate() {
            let name = format!("disk{index}");
            let file = dir.path().join(format!("{name}.{format}"));
            run(Command::new("qemu-img").args(["create", "-q", "-f", format]).arg(file).arg(size.to_string()));
            list.push(TestDisk { name, format, bytes: vec![0; *size as usize] });
        }
        let child = spawn(dir.path(), &list, iothread);
        let daemon = Daemon { dir, disks: list, iothread, child };
        drop(daemon.qmp().await);
        daemon
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection of the test's own; drop it before the source works.
    pub async fn qmp(&self) -> QmpClient {
        for _ in 0..500 {
            match QmpClient::connect(&self.path("q.sock"), QmpLimits::default()).await {
                Ok(client) => return client,
                Err(error) if error.is_gone() => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the storage daemon did not start");
    }

    pub async fn execute(&self, command: &str, arguments: Value) -> Value {
        self.qmp().await.execute(command, arguments).await.unwrap()
    }

    /// Writes as the guest does.
    pub async fn write(&mut self, disk: usize, pattern: u8, offset: u64, length: u64) {
        let uri = format!("nbd+unix:///guest{disk}?socket={}", self.path("g.sock").display());
        let command = match pattern {
            0 => format!("write -q -z -u {offset} {length}"),
            _ => format!("write -q -P {pattern} {offset} {length}"),
        };
        let mut qemu_io = tokio::process::Command::new("qemu-io");
        let out = qemu_io.args(["-f", "raw", "-c", &command, "-c", "flush", &uri]).output().await.unwrap();
        assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
        self.disks[disk].bytes[offset as usize..(offset + length) as usize].fill(pattern);
    }

    async fn quit(&mut self) {
        match self.qmp().await.execute("quit", Value::Null).await {
            Ok(_) => {}
            // It may end before its answer is read.
            Err(error) => assert!(matches!(error, QmpError::Closed { .. }), "{error}"),
        }
        self.child.wait().unwrap();
    }

    /// Ends in order and starts again with the same disks.
    pub async fn restart(&mut self) {
        self.quit().await;
        self.start_again().await;
    }

    /// `kill -9`, then a new start.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops in order, exchanges the files of two disks of one format, and starts again.
    pub async fn exchange(&mut self, one: usize, other: usize) {
        self.quit().await;
        let file = |disk: usize| self.path(&format!("{}.{}", self.disks[disk].name, self.disks[disk].format));
        std::fs::rename(file(one), self.path("aside")).unwrap();
        std::fs::rename(file(other), file(one)).unwrap();
        std::fs::rename(self.path("aside"), file(other)).unwrap();
        let bytes = std::mem::take(&mut self.disks[one].bytes);
        self.disks[one].bytes = std::mem::replace(&mut self.disks[other].bytes, bytes);
        self.start_again().await;
    }

    async fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), &self.disks, self.iothread);
        drop(self.qmp().await);
    }

    pub fn options(&self) -> QmpOptions {
        static POINTS: AtomicU64 = AtomicU64::new(1);
        QmpOptions {
            socket: self.path("q.sock"),
            owner: Owner::parse(OWNER).unwrap(),
            runtime_dir: self.dir.path().to_owned(),
            scratch_dir: self.path("scratch"),
            scratch_reserve: 1 << 20,
            nbd_socket: None,
            freezer: None,
            limits: Limits::default(),
            random: Arc::new(|| POINTS.fetch_add(2, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    pub fn source(&self) -> QmpSource {
        QmpSource::new(self.options())
    }

    /// Everything at QEMU and in the scratch folder that carries our owner, bitmaps apart.
    pub async fn leftovers(&self) -> Vec<String> {
        let mut client = self.qmp().await;
        let mut names = Vec::new();
        let nodes = client.execute("query-named-block-nodes", Value::Null).await.unwrap();
        let jobs = client.execute("query-jobs", Value::Null).await.unwrap();
        let exports = client.execute("query-block-exports", Value::Null).await.unwrap();
        for (list, key) in [(nodes, "node-name"), (jobs, "id"), (exports, "id")] {
            names.extend(list.as_array().unwrap().iter().map(|thing| thing[key].as_str().unwrap().to_owned()));
        }
        let files = std::fs::read_dir(self.path("scratch")).unwrap();
        names.extend(files.map(|file| file.unwrap().file_name().into_string().unwrap()));
        names.retain(|name| name.contains(OWNER));
        names
    }

    /// Name and whether it records, of each named bitmap of a disk.
    pub async fn bitmaps(&self, disk: usize) -> Vec<(String, bool)> {
        let nodes = self.execute("query-named-block-nodes", json!({ "flat": true })).await;
        let node = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == self.disks[disk].name).unwrap();
        let list = node["dirty-bitmaps"].as_array().cloned().unwrap_or_default();
        let named = list.iter().filter_map(|b| Some((b.get("name")?.as_str()?.to_owned(), b["recording"] == true)));
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }

    /// The name of a disk's bitmap since the point of `run`.
    pub fn bitmap(&self, disk: usize, run: &RunId) -> String {
        Owner::parse(OWNER).unwrap().bitmap(&TrackerId::new(run, &self.disks[disk].name))
    }

    pub async fn vm_id(&self) -> String {
        vm_id(&self.source()).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, disks: &[TestDisk], iothread: bool) -> Child {
    let mut command = Command::new("qemu-storage-daemon");
    command.current_dir(dir).stdin(Stdio::null());
    command.args(["--chardev", "socket,id=c0,path=q.sock,server=on,wait=off", "--monitor", "chardev=c0"]);
    command.args(["--nbd-server", "addr.type=unix,addr.path=g.sock,max-connections=0"]);
    // Fixed, as a guest's devices are: QEMU before 10.1 hangs or aborts when it tries to move a busy node elsewhere.
    let thread = if iothread { ",iothread=io0,fixed-iothread=on" } else { "" };
    if iothread {
        command.args(["--object", "iothread,id=io0"]);
    }
    for (index, TestDisk { name, format, .. }) in disks.iter().enumerate() {
        command.args(["--blockdev", &format!("driver=file,node-name=f{index},filename={name}.{format},discard=unmap")]);
        command.args(["--blockdev", &format!("driver={format},node-name={name},file=f{index},discard=unmap")]);
        let export = format!("nbd,id=guest{index},node-name={name},name=guest{index},writable=on{thread}");
        command.args(["--export", &export]);
    }
    command.spawn().expect("qemu-storage-daemon is installed")
}

pub fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {out:?}");
}

pub fn run_id(number: u128) -> RunId {
    RunId::from_bits(number)
}

pub async fn vm_id(source: &QmpSource) -> String {
    source.discover().await.unwrap().servers.remove(0).vm_id
}

/// An order without baselines.
pub fn first(vm_id: &str, run: &RunId) -> OpenRequest {
    OpenRequest { vm_id: vm_id.to_owned(), run: run.clone(), baselines: Vec::new(), expect_point: None }
}

/// An order with the same baseline for all disks of the daemon.
pub fn next(daemon: &Daemon, vm_id: &str, run: &RunId, baseline: &RunId) -> OpenRequest {
    let of =
        |disk: &TestDisk| Baseline { device: disk.name.clone(), run: baseline.clone(), size: disk.bytes.len() as u64 };
    OpenRequest { baselines: daemon.disks.iter().map(of).collect(), ..first(vm_id, run) }
}

/// The volume's bytes, by its extents: what is unchanged is taken from `before`.
pub async fn content(volume: &VolumeView, before: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![0xee; volume.size as usize];
    for window in Extent::between(0, volume.size).pieces(5 << 20) {
        for known in volume.reader.extents(window).await.unwrap() {
            for piece in known.extent.pieces(1 << 20) {
                let place = piece.offset as usize..piece.end() as usize;
                match known.kind {
                    ExtentKind::Zero => bytes[place].fill(0),
                    ExtentKind::Data => bytes[place].copy_from_slice(&volume.reader.read(piece).await.unwrap()),
                    ExtentKind::Unchanged => bytes[place.clone()].copy_from_slice(&before.unwrap()[place]),
                }
            }
        }
    }
    bytes
}

/// Every byte read, whatever the extents say.
pub async fn all_bytes(volume: &VolumeView) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in Extent::between(0, volume.size).pieces(1 << 20) {
        bytes.extend_from_slice(&volume.reader.read(piece).await.unwrap());
    }
    bytes
}

/// Bytes that must be read, in all.
pub async fn bytes_to_read(volume: &VolumeView) -> u64 {
    let extents = volume.reader.extents(Extent::between(0, volume.size)).await.unwrap();
    extents.iter().filter(|e| e.kind == ExtentKind::Data).map(|e| e.extent.length).sum()
}

/// Fails with the first place where two contents differ, not with megabytes of them.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    if got != expected {
        let at = got.iter().zip(expected).position(|(a, b)| a != b);
        panic!("{what}: differ at byte {at:?}");
    }
}

pub async fn open(source: &QmpSource, request: &OpenRequest) -> View {
    source.open(request).await.unwrap()
}

/// Sweeps, with these claims.
pub async fn sweep(source: &QmpSource, at_work: &[RunId], baselines: &[RunId]) -> Result<Vec<String>, Failure> {
    let claims = Claims { at_work: at_work.to_vec(), baselines: baselines.to_vec() };
    source.sweep(&|| Box::pin(std::future::ready(Ok(claims.clone())))).await
}
