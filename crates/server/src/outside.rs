//! Clock, randomness and environment: the only place in the whole program that asks for them.
//!
//! Everything else gets the time as a value and random bits from a closure, so that it can be tested.

use godwit_model::time::Timestamp;
use rand::TryRng;
use rand::rngs::SysRng;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// 128 random bits of the operating system.
pub fn random_bits() -> u128 {
    let mut bytes = [0; 16];
    fill_random(&mut bytes);
    u128::from_be_bytes(bytes)
}

/// Fills `bytes` with random ones of the operating system.
pub fn fill_random(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("the operating system gives random numbers; without them nothing is safe");
}

/// A variable of the environment; one that is empty or not text counts as absent.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The home folder.
pub fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}

/// What this machine calls itself.
pub fn host_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = text.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_ascii_lowercase())
}

/// Replaces this program by itself, with these variables in its environment. Comes back only if that fails.
pub fn start_again(variables: &[(&str, &str)]) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut args = std::env::args_os();
    let mut command = Command::new(&program);
    command.arg0(args.next().unwrap_or_else(|| program.into_os_string()));
    command.args(args).envs(variables.iter().copied()).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(random_bits(), random_bits());
    }

    #[test]
    fn the_clock_is_in_this_century() {
        assert!((1_700_000_000_000..4_102_444_800_000).contains(&now().as_millis()));
    }
}
