//! More connections and bodies than anybody needs, from whoever reaches the port.

use crate::service::Service;
use crate::{BOUND, folder};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

/// What the process may take at its peak in this test, in KiB: two thirds of what it is promised to take while it
/// replicates, and less than the bodies are together.
const MEMORY: u64 = 64 << 10;
const BODY: usize = 1 << 20;
/// Connections that it serves at once, with the 512 descriptors or more that every system gives.
const PLACES: usize = 128;
/// Descriptors that its own work may open and close meanwhile.
const SLACK: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

fn connect(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(service.endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn peak_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn bodies_of_strangers_take_no_memory() {
    let folder = folder();
    let service = Service::start(folder.path());
    // All of it but the last byte: what waits for that holds the rest.
    let request =
        [format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n").as_bytes(), &[b'x'; BODY - 1]]
            .concat();
    let mut streams: Vec<TcpStream> = (0..100).map(|_| connect(&service)).collect();
    for stream in &mut streams {
        stream.write_all(&request).unwrap();
    }
    for stream in &mut streams {
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 400");
    }
    let peak = peak_kib(&service.child);
    assert!(peak < MEMORY, "{peak} KiB");
}

#[test]
fn idle_connections_leave_descriptors_for_the_work() {
    let folder = folder();
    let service = Service::start(folder.path());
    let opened = || std::fs::read_dir(format!("/proc/{}/fd", service.child.id())).unwrap().count();
    let before = opened();
    let idle: Vec<TcpStream> = (0..PLACES + 100).map(|_| connect(&service)).collect();
    for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
        if opened() >= before + PLACES - SLACK {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    // Time for more, which would be a fault.
    std::thread::sleep(PAUSE);
    let more = opened() - before;
    assert!((PLACES - SLACK..=PLACES + SLACK).contains(&more), "{more} descriptors more than {before}");
    drop(idle);
    assert_eq!(service.ask(folder.path(), &["jobs", "list"]).0, 0);
}
