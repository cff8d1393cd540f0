//! `qemu-storage-daemon` as a source: a disk that a test writes to as a guest would.

use crate::testbed::{self, Random};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running storage daemon with qcow2 disks `disk0`, `disk1` …; ended with the value.
pub struct Daemon {
    child: Child,
    folder: PathBuf,
}

impl Daemon {
    /// Starts it over new qcow2 disks of the given sizes in `folder`.
    pub fn start(folder: &Path, sizes: &[u64]) -> Daemon {
        Daemon::start_with(Path::new("qemu-storage-daemon"), folder, sizes)
    }

    /// Like [`Daemon::start`] with another program than the one on the path.
    pub fn start_with(program: &Path, folder: &Path, sizes: &[u64]) -> Daemon {
        for (n, size) in sizes.iter().enumerate() {
            let disk = folder.join(format!("disk{n}.qcow2"));
            testbed::run("qemu-img", &["create", "-q", "-f", "qcow2", &disk.display().to_string(), &size.to_string()]);
        }
        Daemon::launch(program, folder, sizes.len())
    }

    /// Starts it over the disks that are in `folder` already.
    pub fn over(folder: &Path, disks: usize) -> Daemon {
        Daemon::launch(Path::new("qemu-storage-daemon"), folder, disks)
    }

    fn launch(program: &Path, folder: &Path, disks: usize) -> Daemon {
        let path = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(program);
        command.arg("--chardev").arg(format!("socket,id=c0,path={},server=on,wait=off", path("qmp.sock")));
        command.args(["--monitor", "chardev=c0"]);
        command.arg("--nbd-server").arg(format!("addr.type=unix,addr.path={},max-connections=0", path("nbd.sock")));
        for n in 0..disks {
            let file = path(&format!("disk{n}.qcow2"));
            command.arg("--blockdev").arg(format!("driver=file,node-name=file{n},filename={file}"));
            command.arg("--blockdev").arg(format!("driver=qcow2,node-name=disk{n},file=file{n},discard=unmap"));
            command.arg("--export").arg(format!("nbd,id=guest{n},node-name=disk{n},name=guest{n},writable=on"));
        }
        let child = command.stdout(Stdio::null()).spawn().expect("start qemu-storage-daemon of qemu-utils");
        let daemon = Daemon { child, folder: folder.to_owned() };
        testbed::wait("the storage daemon's socket", Duration::from_secs(10), || {
            UnixStream::connect(daemon.qmp_socket()).ok()
        });
        daemon
    }

    /// Its QMP socket.
    pub fn qmp_socket(&self) -> PathBuf {
        self.folder.join("qmp.sock")
    }

    /// The socket of its NBD server.
    pub fn nbd_socket(&self) -> PathBuf {
        self.folder.join("nbd.sock")
    }

    fn uri(&self, disk: usize) -> String {
        format!("nbd+unix:///guest{disk}?socket={}", self.nbd_socket().display())
    }

    /// Writes as the guest would, and flushes. Each item is where and what byte, for how long.
    pub fn write(&self, disk: usize, writes: &[(u64, u8, u64)]) {
        let mut script = String::new();
        for (offset, byte, length) in writes {
            writeln!(script, "write -q -P {byte} {offset} {length}").expect("a String takes all");
        }
        self.qemu_io(disk, &script);
    }

    /// Writes a file's bytes at an offset, as the guest would.
    pub fn write_bytes(&self, disk: usize, offset: u64, bytes: &[u8]) {
        let file = self.folder.join("bytes.tmp");
        std::fs::write(&file, bytes).expect("write the bytes to hand over");
        self.qemu_io(disk, &format!("write -q -s {} {offset} {}\n", file.display(), bytes.len()));
    }

    /// Writes `count` blocks of 64 KiB of random bytes at random aligned places of the first `within` bytes; gives the
    /// number of different blocks written.
    pub fn scatter(&self, disk: usize, count: usize, within: u64, random: &mut Random) -> u64 {
        let mut places = std::collections::BTreeSet::new();
        while places.len() < count {
            places.insert(random.below(within / 65536) * 65536);
        }
        let writes: Vec<_> = places.iter().map(|at| (*at, 1 + random.below(255) as u8, 65536)).collect();
        self.write(disk, &writes);
        places.len() as u64
    }

    fn qemu_io(&self, disk: usize, script: &str) {
        let mut child = Command::new("qemu-io")
            .args(["-f", "raw", &self.uri(disk)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start qemu-io of qemu-utils");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(script.as_bytes()).expect("qemu-io takes its script");
        stdin.write_all(b"flush\nquit\n").expect("qemu-io takes its script");
        drop(stdin);
        let out = testbed::text("qemu-io", child.wait_with_output().expect("qemu-io ends"));
        assert!(!out.contains("failed"), "{out}");
    }

    /// The disk's present content as a raw file.
    pub fn reference(&self, disk: usize, to: &Path) {
        testbed::run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &self.uri(disk), &to.display().to_string()]);
    }

    /// One QMP command; waits its turn if another client holds the monitor.
    pub fn qmp(&self, command: &str, arguments: Value) -> Value {
        testbed::wait("a turn at the monitor", Duration::from_secs(20), || self.try_qmp(command, &arguments))
    }

    /// The same, if the monitor is free and answers.
    fn try_qmp(&self, command: &str, arguments: &Value) -> Option<Value> {
        let stream = UnixStream::connect(self.qmp_socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        let mut say = |message: Value| {
            let mut stream = &stream;
            writeln!(stream, "{message}").ok()?;
            loop {
                let answer: Value = serde_json::from_str(&lines.next()?.ok()?).ok()?;
                if answer.get("event").is_none() && answer.get("QMP").is_none() {
                    return Some(answer);
                }
            }
        };
        say(json!({"execute": "qmp_capabilities"}))?;
        let answer = say(json!({"execute": command, "arguments": arguments}))?;
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        Some(answer["return"].clone())
    }

    /// Resizes a disk; its export is away meanwhile, because the daemon does not resize what is exported.
    pub fn resize(&self, disk: usize, size: u64) {
        let (id, node) = (format!("guest{disk}"), format!("disk{disk}"));
        self.qmp("block-export-del", json!({"id": id, "mode": "hard"}));
        testbed::wait("the export to go", Duration::from_secs(10), || {
            let exports = self.qmp("query-block-exports", json!({}));
            exports.as_array().expect("a list").iter().all(|export| export["id"] != *id).then_some(())
        });
        self.qmp("block_resize", json!({"node-name": node, "size": size}));
        let export = json!({"type": "nbd", "id": id, "node-name": node, "name": id, "writable": true});
        self.qmp("block-export-add", export);
    }

    /// What of Godwit's is left: names of exports, jobs, nodes and bitmaps that carry our prefix.
    pub fn left_behind(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (query, key) in
            [("query-block-exports", "id"), ("query-jobs", "id"), ("query-named-block-nodes", "node-name")]
        {
            for item in self.qmp(query, json!({})).as_array().expect("a list") {
                names.extend(item[key].as_str().map(str::to_owned));
                for bitmap in item["dirty-bitmaps"].as_array().into_iter().flatten() {
                    names.extend(bitmap["name"].as_str().map(str::to_owned));
                }
            }
        }
        names.retain(|name| name.starts_with("godwit-"));
        names
    }

    /// `kill -9`: bitmaps become inconsistent.
    pub fn kill(mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("the killed daemon is reaped");
        let _ = std::fs::remove_file(self.qmp_socket());
        let _ = std::fs::remove_file(self.nbd_socket());
    }

    /// An orderly stop: bitmaps are saved.
    pub fn stop(mut self) {
        let mut is_told = false;
        testbed::wait("the daemon to end", Duration::from_secs(30), || {
            // It may end before its answer is read.
            if self.child.try_wait().expect("a child").is_some() {
                return Some(());
            }
            is_told = is_told || self.try_qmp("quit", &json!({})).is_some();
            None
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
