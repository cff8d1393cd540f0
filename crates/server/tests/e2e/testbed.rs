//! Folders, random numbers and tools that every scenario uses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A folder with a short path (unix sockets allow 107 bytes), removed at the end.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").expect("a folder in /tmp")
}

/// A tool or disk that `./dev test` prepares and names in the environment.
pub fn prepared(variable: &str) -> PathBuf {
    match std::env::var(variable) {
        Ok(value) => PathBuf::from(value),
        Err(_) => panic!("{variable} is not set: run the tests through ./dev test, which prepares what it names"),
    }
}

/// Runs a command to its end and insists on success.
pub fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
    let name = program.as_ref().to_owned();
    let output = Command::new(&name).args(args).output().unwrap_or_else(|e| panic!("start {name:?}: {e}"));
    text(&format!("{name:?} {args:?}"), output)
}

/// Standard output of a command that must have succeeded.
pub fn text(what: &str, output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} ended with {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Polls `probe` until it gives something; panics with `what` after `bound`.
pub fn wait<T>(what: &str, bound: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A small seeded generator: the same seed gives the same scenario.
pub struct Random(u64);

impl Random {
    /// From a seed, which the scenario prints.
    pub fn new(seed: u64) -> Self {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next 64 bits (SplitMix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// `length` bytes that do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Panics unless both files hold the same bytes.
pub fn assert_same_bytes(left: &Path, right: &Path) {
    let output = Command::new("cmp").arg(left).arg(right).output().expect("cmp of diffutils");
    assert!(
        output.status.success(),
        "{} and {} differ: {}{}",
        left.display(),
        right.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
