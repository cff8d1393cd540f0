//! What errors of an object store mean for us.

use godwit_model::failure::{Code, Failure};
use object_store::path::Path;
use rustix::io::Errno;
use std::error::Error;
use std::io;

/// The failure that an error of the object store is: the one place where this is decided.
pub(super) fn failure(verb: &str, path: &Path, error: &object_store::Error) -> Failure {
    let code = match error {
        _ if is_full(error) => Code::StoreFull,
        object_store::Error::NotFound { .. } => Code::StoreCorrupt,
        _ if is_unreadable(error) => Code::StoreCorrupt,
        object_store::Error::JoinError { .. } => Code::Internal,
        _ => Code::StoreUnavailable,
    };
    Failure::new(code, format!("could not {verb} object {path}: {}", words(error)))
}

/// Longest text of an error that is told: servers answer with pages.
const MOST_WORDS: usize = 400;

/// What an error says, for people. Of a server's answer only its code and message: the rest is long, and names keys.
pub(super) fn words(error: &object_store::Error) -> String {
    // Display of object_store's errors tells the whole chain already.
    let text = error.to_string();
    let said = |tag: &str| {
        let rest = text.split_once(&format!("<{tag}>"))?.1;
        Some(rest.split_once(&format!("</{tag}>"))?.0.trim().to_owned())
    };
    let text = match (said("Code"), said("Message")) {
        (Some(code), message) => {
            let refused = match error {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    "the object store refuses access: "
                }
                _ if code == "SlowDown" => "the object store is overloaded, also after retries: ",
                _ => "the object store answers ",
            };
            format!("{refused}{code}, {}", message.unwrap_or_default())
        }
        _ => text,
    };
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(MOST_WORDS).collect()
}

fn is_full(error: &object_store::Error) -> bool {
    io_errors(error).any(|e| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Whether the disk under the store tells that what it holds there is damaged: asking again gives the same answer.
fn is_unreadable(error: &object_store::Error) -> bool {
    let damage = [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(Errno::raw_os_error);
    io_errors(error).filter_map(io::Error::raw_os_error).any(|code| damage.contains(&code))
}

/// All errors of the operating system in the chain of causes.
fn io_errors(error: &object_store::Error) -> impl Iterator<Item = &io::Error> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |&error| error.source()).filter_map(|error| error.downcast_ref())
}

pub(super) fn missing(path: &Path) -> Failure {
    Failure::new(Code::StoreCorrupt, format!("object {path} is missing"))
}

pub(super) fn too_short(path: &Path, size: u64, wanted: u64) -> Failure {
    Failure::new(Code::StoreCorrupt, format!("object {path} has {size} bytes where at least {wanted} were written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_through_any_number_of_wrappings() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let inner = object_store::Error::Generic { store: "x", source: Box::new(io::Error::from(kind)) };
            let outer = object_store::Error::Generic { store: "y", source: Box::new(inner) };
            assert_eq!(failure("put", &Path::from("a"), &outer).code, Code::StoreFull);
        }
        let other = object_store::Error::Generic { store: "x", source: Box::new(io::Error::other("cable")) };
        assert_eq!(failure("put", &Path::from("a"), &other).code, Code::StoreUnavailable);
    }

    #[test]
    fn an_unreadable_sector_is_damage_and_not_a_store_that_is_away() {
        let generic = |source: io::Error| object_store::Error::Generic { store: "x", source: Box::new(source) };
        for code in [Errno::IO, Errno::BADMSG, Errno::UCLEAN] {
            let error = generic(io::Error::from_raw_os_error(code.raw_os_error()));
            assert_eq!(failure("get", &Path::from("a"), &error).code, Code::StoreCorrupt);
        }
        let error = generic(io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error()));
        assert_eq!(failure("get", &Path::from("a"), &error).code, Code::StoreUnavailable);
    }
}
