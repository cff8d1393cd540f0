//! Problems on the terminal: each once, not once for each of the requests that meet it.

use crate::cli::error::CliError;
use crate::cli::nbd::codec::Export;
use crate::cli::nbd::volume::VolumeError;
use crate::cli::output::{self, Tone};
use crate::client::ClientError;
use crate::outside;
use godwit_model::time::{Millis, Timestamp};
use std::sync::{Mutex, PoisonError};

/// The same problem is told again after this time.
const AGAIN: Millis = Millis::SECOND.times(30);

/// What was told last, and when.
#[derive(Default)]
pub struct Problems {
    last: Mutex<Option<(String, Timestamp)>>,
}

impl Problems {
    /// Tells why a request failed, unless that was told just now.
    pub fn tell(&self, export: &Export, error: &VolumeError) {
        let what = format!("volume {} ({}): {error}", export.name, export.alias);
        if !self.is_news(&what, outside::now()) {
            return;
        }
        output::aside(format!("{} {what}", output::paint_aside("error:", Tone::Bad)));
        if let Some(next) = next_step(error) {
            output::aside(format!("{} {next}", output::paint_aside(" next:", Tone::Busy)));
        }
    }

    fn is_news(&self, what: &str, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(same, when)| same == what && now - *when < AGAIN) {
            return false;
        }
        *last = Some((what.to_owned(), now));
        true
    }
}

fn next_step(error: &VolumeError) -> Option<String> {
    match error {
        VolumeError::Image(ClientError::Unreachable { .. }) => {
            Some("start 'godwit serve' again: the guest can go on when it tries again".to_owned())
        }
        VolumeError::Image(error) => CliError::from(error.clone()).next,
        VolumeError::Overlay(_) => {
            Some("look at the disk of the overlay; the guest was told that its request failed".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_in_a_while() {
        let (problems, now) = (Problems::default(), Timestamp(1_000_000));
        assert!(problems.is_news("a", now) && !problems.is_news("a", now + Millis::SECOND));
        assert!(problems.is_news("b", now) && problems.is_news("a", now));
        assert!(problems.is_news("a", now + AGAIN));
    }
}
