//! The real binary from outside: its statuses, its messages, its data folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod access;
mod audit;
mod connection;
mod connectors;
mod export;
mod export_again;
mod forecast;
mod keys;
mod notifications;
mod pressure;
mod runs;
mod serve;
mod serve_image;
mod service;
mod settings;
mod stand_in;
mod store_use;
mod thaw_guard;
mod usage;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const GODWIT: &str = env!("CARGO_BIN_EXE_godwit");
/// Bound of everything that is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// A command without anything of this machine's environment.
fn godwit(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(GODWIT);
    command.args(args).env_clear().env("HOME", folder).env("TZ", "UTC").current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    told(godwit(folder, args).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
