//! A guest that writes all the time: many writes on their way at once, each to a block that was never written before.

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Writes on their way at once.
const DEPTH: u64 = 32;
/// Bytes of each write, at the beginning of a block.
pub const WRITTEN: u64 = 512;

/// Writes until it is told to stop.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    /// Begins to write to the blocks of `size` bytes from `blocks.start` on.
    pub fn start(socket: &Path, export: &str, size: u64, blocks: Range<u64>) -> Writer {
        let mut line = connect(socket, export);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut sent, mut answered) = (blocks.start, blocks.start);
            let goes_on = |sent| sent < blocks.end && !told.load(Ordering::Relaxed);
            while goes_on(sent) || answered < sent {
                while sent < answered + DEPTH && goes_on(sent) {
                    write(&mut line, sent, sent * size);
                    sent += 1;
                }
                let mut reply = [0; 16];
                line.read_exact(&mut reply).unwrap();
                assert_eq!(reply[4..8], [0; 4], "the guest's write failed");
                answered += 1;
            }
            sent
        });
        Writer { stop, thread }
    }

    /// Stops; gives the first block that was not written.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn write(line: &mut UnixStream, cookie: u64, offset: u64) {
    let mut request = Vec::with_capacity(28 + WRITTEN as usize);
    request.extend(0x2560_9513_u32.to_be_bytes());
    request.extend([0, 0, 0, 1]);
    request.extend(cookie.to_be_bytes());
    request.extend(offset.to_be_bytes());
    request.extend((WRITTEN as u32).to_be_bytes());
    request.extend([0xa5; WRITTEN as usize]);
    line.write_all(&request).unwrap();
}

/// The oldest and shortest way into an export.
fn connect(socket: &Path, export: &str) -> UnixStream {
    let mut line = UnixStream::connect(socket).unwrap();
    line.read_exact(&mut [0; 18]).unwrap();
    line.write_all(&3_u32.to_be_bytes()).unwrap();
    line.write_all(b"IHAVEOPT").unwrap();
    line.write_all(&1_u32.to_be_bytes()).unwrap();
    line.write_all(&(export.len() as u32).to_be_bytes()).unwrap();
    line.write_all(export.as_bytes()).unwrap();
    line.read_exact(&mut [0; 10]).unwrap();
    line
}
