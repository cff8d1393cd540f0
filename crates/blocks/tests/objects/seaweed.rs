//! A SeaweedFS of its own for a test: free ports of the loopback address, a folder that goes with it.

#![allow(clippy::disallowed_methods, reason = "a server starts in real time, and is named by the real environment")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Keys that may do everything.
pub const KEY: &str = "godwit-test-key";
pub const SECRET: &str = "surely-a-secret-of-the-store";
/// Keys that may only read.
pub const READER: &str = "godwit-test-reader";
/// The bucket that is there.
pub const BUCKET: &str = "godwit-test";

/// Starts in which another process took a port in between, before it is something else.
const STARTS: u32 = 5;

/// How long a start may take on a machine with much else to do.
const BOUND: Duration = Duration::from_secs(60);

/// A running server; ended with the value.
pub struct Server {
    child: Child,
    s3: SocketAddr,
    filer: SocketAddr,
    // Last: the process is gone when it is removed.
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server and makes the bucket.
    pub fn start() -> Server {
        for _ in 0..STARTS {
            if let Some(server) = Server::try_start() {
                return server;
            }
        }
        panic!("the S3 server did not start, {STARTS} times")
    }

    fn try_start() -> Option<Server> {
        let program = std::env::var("GODWIT_S3_SERVER").map(PathBuf::from).unwrap_or_else(|_| {
            panic!("GODWIT_S3_SERVER is not set: run the tests through ./dev test, which installs what it names")
        });
        let folder = tempfile::Builder::new().prefix("gws3").tempdir().expect("a folder");
        let users = folder.path().join("users.json");
        std::fs::write(&users, users_file()).expect("write the users");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let ports = free_ports();
        let mut command = Command::new(program);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]);
        command.arg(format!("-dir={}", folder.path().display())).arg(format!("-s3.config={}", users.display()));
        let options = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"];
        for (option, port) in options.iter().chain(&["filer.port", "filer.port.grpc"]).zip(ports) {
            command.arg(format!("-{option}={port}"));
        }
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", "-s3.iam=false"]);
        // Nothing is told to anybody, and small volumes are enough.
        command.args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=60"]);
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = command.current_dir(folder.path()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("start the S3 server");
        let mut server = Server { child, s3: at(ports[0]), filer: at(ports[6]), folder };
        server.is_up().then_some(server)
    }

    /// Waits until it takes objects; false if it ended before.
    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < BOUND {
            if self.child.try_wait().expect("ask for the S3 server").is_some() {
                return false;
            }
            let is_there = TcpStream::connect(self.s3).is_ok();
            if is_there && self.make_folder(BUCKET) && self.ask("PUT", "/ready", "ready") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// Where it answers, as an address.
    pub fn address(&self) -> SocketAddr {
        self.s3
    }

    /// Makes a bucket, on the server's back stairs.
    pub fn make_bucket(&self, name: &str) {
        assert!(self.make_folder(name), "the bucket {name} was not made");
    }

    /// Removes one, with all that is in it.
    pub fn remove_bucket(&self, name: &str) {
        assert!(
            self.ask("DELETE", &format!("/buckets/{name}?recursive=true"), ""),
            "the bucket {name} was not removed"
        );
    }

    /// Buckets are folders of the server's file system.
    fn make_folder(&self, name: &str) -> bool {
        self.ask("POST", &format!("/buckets/{name}/"), "")
    }

    fn ask(&self, method: &str, path: &str, content: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.filer) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        let length = content.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}",
            self.filer
        );
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.starts_with("HTTP/1.1 2")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn users_file() -> String {
    let user = |key: &str, actions: &str| {
        format!(
            r#"{{"name":"{key}","credentials":[{{"accessKey":"{key}","secretKey":"{SECRET}"}}],"actions":[{actions}]}}"#
        )
    };
    let all = r#""Admin","Read","Write","List","Tagging""#;
    format!(r#"{{"identities":[{},{}]}}"#, user(KEY, all), user(READER, r#""Read","List""#))
}

/// Ports that nobody listens on now.
fn free_ports() -> [u16; 8] {
    // Held together: else the same could come twice.
    let held = [(); 8].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}
