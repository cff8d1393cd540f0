//! Sockets of all kinds where a QMP socket is expected, and finding machines among them.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use godwit_blocks::source::{Settle, Source};
use godwit_model::failure::{Code, Failure};
use godwit_sources::nbd::client::speaks_nbd;
use godwit_sources::qmp::source::{QmpOptions, QmpSource};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

fn quick(daemon: &Daemon, socket: &Path) -> QmpOptions {
    let mut options = daemon.options();
    options.socket = socket.to_owned();
    options.limits.qmp.greeting = Duration::from_millis(300);
    options.limits.qmp.busy = Duration::from_millis(900);
    options
}

async fn refused(daemon: &Daemon, socket: &Path) -> Failure {
    QmpSource::new(quick(daemon, socket)).discover().await.unwrap_err()
}

/// Answers every connection with the same bytes and keeps it open.
fn server_that_says(path: PathBuf, bytes: &'static [u8]) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(bytes).await.unwrap();
            open.push(stream);
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_socket_has_its_own_message() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let told = |failure: Failure, code: Code, words: &str| {
        assert!(failure.code == code && failure.evidence.contains(words), "{failure}");
    };
    told(refused(&daemon, &daemon.path("none.sock")).await, Code::SourceUnreachable, "there is no socket");
    std::fs::write(daemon.path("file"), "x").unwrap();
    told(refused(&daemon, &daemon.path("file")).await, Code::SourceProtocol, "neither a socket nor a folder");
    drop(std::os::unix::net::UnixListener::bind(daemon.path("dead.sock")).unwrap());
    told(refused(&daemon, &daemon.path("dead.sock")).await, Code::SourceUnreachable, "nobody listens");
    told(refused(&daemon, &daemon.path("g.sock")).await, Code::SourceProtocol, "'NBDMAGICIHAVEOPT");
    let servers =
        [("silent.sock", &b""[..]), ("http.sock", b"HTTP/1.0 400 Bad\r\n\r\n"), ("half.sock", b"{\"QMP\": {")];
    let tasks: Vec<_> = servers.map(|(name, bytes)| server_that_says(daemon.path(name), bytes)).into();
    let json = server_that_says(daemon.path("json.sock"), b"{\"hello\": 1}\n");
    told(refused(&daemon, &daemon.path("silent.sock")).await, Code::SourceProtocol, "no greeting");
    told(refused(&daemon, &daemon.path("http.sock")).await, Code::SourceProtocol, "HTTP/1.0");
    told(refused(&daemon, &daemon.path("half.sock")).await, Code::SourceProtocol, "instead of a greeting");
    told(refused(&daemon, &daemon.path("json.sock")).await, Code::SourceProtocol, "hello");
    tasks.iter().chain([&json]).for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_conversation_before_is_no_greeting() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let monitor = daemon.options().socket;
    let listener = UnixListener::bind(daemon.path("late.sock")).unwrap();
    let task = tokio::spawn(async move {
        let event = br#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "JOB_STATUS_CHANGE", "data": {}}"#;
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = UnixStream::connect(&monitor).await.unwrap();
            client.write_all(&[event, &b"\n"[..]].concat().repeat(2)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    let found = QmpSource::new(quick(&daemon, &daemon.path("late.sock"))).discover().await.unwrap();
    assert_eq!(found.servers.len(), 1);
    // Events alone are no greeting either, and the wait for one has its bound.
    let events = server_that_says(daemon.path("events.sock"), b"{\"event\": \"STOP\", \"data\": {}}\n");
    let failure = refused(&daemon, &daemon.path("events.sock")).await;
    assert!(failure.code == Code::SourceProtocol && failure.evidence.contains("STOP"), "{failure}");
    task.abort();
    events.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_refused() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let listener = UnixListener::bind(daemon.path("long.sock")).unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while stream.write_all(&[b'{'; 1 << 16]).await.is_ok() {}
        }
    });
    let mut options = quick(&daemon, &daemon.path("long.sock"));
    options.limits.qmp.greeting = Duration::from_secs(20);
    let failure = QmpSource::new(options).discover().await.unwrap_err();
    assert_eq!(failure.code, Code::SourceProtocol, "{failure}");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_socket_is_waited_for_and_then_named() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let other = daemon.qmp().await;
    let failure = refused(&daemon, &daemon.path("q.sock")).await;
    assert_eq!(failure.code, Code::SourceUnreachable);
    assert!(failure.evidence.contains("another client is connected"), "{failure}");
    let mut options = quick(&daemon, &daemon.path("q.sock"));
    options.limits.qmp.busy = Duration::from_secs(20);
    let waiting = tokio::spawn(async move { QmpSource::new(options).discover().await });
    while !std::fs::read_to_string("/proc/net/unix")
        .unwrap()
        .lines()
        .any(|l| l.contains(" 02 ") && l.contains("q.sock"))
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(other);
    assert_eq!(waiting.await.unwrap().unwrap().servers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_found_among_rubbish() {
    let (one, two) =
        (Daemon::start(&[("qcow2", SIZE), ("raw", SIZE)]).await, Daemon::start(&[("qcow2", 2 * SIZE)]).await);
    let folder = one.path("all");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(one.path("q.sock"), folder.join("alpha.sock")).unwrap();
    std::os::unix::fs::symlink(two.path("q.sock"), folder.join("beta.sock")).unwrap();
    std::os::unix::fs::symlink(two.path("g.sock"), folder.join("godwit-0a1b2c3d-00000000.nbd")).unwrap();
    std::fs::write(folder.join("notes.txt"), "x").unwrap();
    std::fs::create_dir(folder.join("sub")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("dead.sock")).unwrap());
    let silent = server_that_says(folder.join("agent.sock"), b"");
    let mut options = quick(&one, &folder);
    options.limits.qmp.busy = Duration::from_secs(20);
    let source = QmpSource::new(options);
    let found = source.discover().await.unwrap();
    assert_eq!(found.servers.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(found.servers[0].path, "/alpha");
    let volumes: Vec<_> = found.servers[0].volumes.iter().map(|v| (v.device.as_str(), v.size)).collect();
    assert_eq!(volumes, [("disk0", SIZE), ("disk1", SIZE)]);
    assert!(found.manager_version.starts_with("QEMU "), "{}", found.manager_version);
    assert_eq!(found.warnings.len(), 2, "the dead and the silent one: {:?}", found.warnings);
    assert_eq!(found, source.discover().await.unwrap(), "the same again, ids included");

    // Both can be opened through the folder, and swept; their discovery stays the same meanwhile.
    for server in &found.servers {
        drop(open(&source, &first(&server.vm_id, &run_id(5))).await);
    }
    assert_eq!(found.servers, source.discover().await.unwrap().servers, "filters of ours are looked through");
    for server in &found.servers {
        source.settle(&server.vm_id, &run_id(5), Settle::Forget).await.unwrap();
    }
    assert_eq!((one.bitmaps(0).await, two.bitmaps(0).await), (vec![], vec![]));
    silent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_no_error() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let source = QmpSource::new(quick(&daemon, &daemon.path("scratch")));
    let found = source.discover().await.unwrap();
    assert!(found.servers.is_empty() && found.warnings.is_empty());
    assert_eq!(sweep(&source, &[], &[]).await.unwrap(), [""; 0]);
    assert_eq!(source.open(&first("no-such", &run_id(1))).await.err().unwrap().code, Code::ServerGone);
}

/// A daemon whose disk is exported by vhost-user: it has no NBD server until we start one.
struct WithoutServer {
    dir: tempfile::TempDir,
    child: Child,
}

impl WithoutServer {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").unwrap();
        run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(dir.path().join("d.qcow2")).arg("16M"));
        let mut command = Command::new("qemu-storage-daemon");
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.args(["--chardev", "socket,id=c0,path=q.sock,server=on,wait=off", "--monitor", "chardev=c0"]);
        // Accepts connections and says nothing, as a serial console does.
        command.args(["--chardev", "socket,id=c1,path=serial.sock,server=on,wait=off"]);
        command.args(["--blockdev", "driver=file,node-name=f0,filename=d.qcow2"]);
        command.args(["--blockdev", "driver=qcow2,node-name=disk0,file=f0"]);
        command.args(["--export", "vhost-user-blk,id=v0,node-name=disk0,writable=on,addr.type=unix,addr.path=v.sock"]);
        let child = command.spawn().unwrap();
        Self { dir, child }
    }

    /// Its id, once it answers.
    async fn vm_id(&self, source: &QmpSource) -> String {
        for _ in 0..500 {
            if let Some(server) = source.discover().await.ok().and_then(|found| found.servers.into_iter().next()) {
                return server.vm_id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the storage daemon did not start");
    }

    fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name]).arg(self.child.id().to_string()));
    }
}

impl Drop for WithoutServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_machine_that_stands_still_stays() {
    let helper = Daemon::start(&[("qcow2", SIZE)]).await;
    let machine = WithoutServer::start();
    // A folder of sockets, looked at by somebody who has never seen what is in it.
    let folder = machine.dir.path().join("machines");
    std::fs::create_dir(&folder).unwrap();
    for name in ["q.sock", "serial.sock"] {
        std::os::unix::fs::symlink(machine.dir.path().join(name), folder.join(name)).unwrap();
    }
    let mut options = quick(&helper, &folder);
    options.runtime_dir = machine.dir.path().to_owned();
    let source = QmpSource::new(options.clone());
    let vm = machine.vm_id(&source).await;
    drop(open(&source, &first(&vm, &run_id(1))).await);
    let socket = machine.dir.path().join(options.owner.nbd_socket(&vm));
    let scratch_files = || std::fs::read_dir(&options.scratch_dir).unwrap().count();
    assert_eq!((speaks_nbd(&socket, Duration::from_secs(2)).await, scratch_files()), (true, 1));

    machine.signal("STOP");
    let stranger = QmpSource::new(options.clone());
    let failure = stranger.settle(&vm, &run_id(1), Settle::Abandoned).await.unwrap_err();
    assert!(failure.evidence.contains("QEMU hangs"), "{failure}");
    assert_eq!((socket.exists(), scratch_files()), (true, 1));
    machine.signal("CONT");
    assert!(speaks_nbd(&socket, Duration::from_secs(2)).await);
    stranger.settle(&vm, &run_id(1), Settle::Abandoned).await.unwrap();
    assert_eq!((socket.exists(), scratch_files()), (false, 0));
    stranger.settle("another", &run_id(1), Settle::Abandoned).await.unwrap();
    let told = sweep(&stranger, &[], &[]).await.unwrap();
    assert_eq!(told, [""; 0], "a silent socket of a machine that answers elsewhere hides no other machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nbd_server_of_ours_is_started_and_stopped() {
    let helper = Daemon::start(&[("qcow2", SIZE)]).await;
    let machine = WithoutServer::start();
    let mut options = helper.options();
    options.socket = machine.dir.path().join("q.sock");
    options.runtime_dir = machine.dir.path().to_owned();
    let source = QmpSource::new(options.clone());
    let vm = machine.vm_id(&source).await;
    let socket = machine.dir.path().join(options.owner.nbd_socket(&vm));
    let view = open(&source, &first(&vm, &run_id(1))).await;
    assert!(speaks_nbd(&socket, Duration::from_secs(2)).await);
    assert_eq!(content(&view.volumes[0], None).await, vec![0; SIZE as usize]);
    let again = open(&QmpSource::new(options.clone()), &first(&vm, &run_id(1))).await;
    assert!(again.resumed, "a server that runs already is used");
    source.settle(&vm, &run_id(1), Settle::Committed).await.unwrap();
    assert!(!socket.exists() && !speaks_nbd(&socket, Duration::from_secs(2)).await);

    options.runtime_dir = machine.dir.path().join("x".repeat(100));
    let failure = QmpSource::new(options).open(&first(&vm, &run_id(2))).await.err().unwrap();
    assert!(failure.evidence.contains("shorter folder"), "{failure}");
}
