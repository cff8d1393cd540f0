//! Where the NBD server of a QEMU listens. There is one per process: ours, or one that was there before us.

use crate::nbd::client::speaks_nbd;
use crate::qmp::client::QmpError;
use crate::qmp::codec::path_text;
use crate::qmp::names::is_any_godwit;
use crate::qmp::session::Session;
use futures::future::join_all;
use godwit_model::failure::{Code, Failure};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest path of a unix socket, without the zero behind it.
const MAX_SOCKET_PATH: usize = 107;
/// Until a server has said its first words.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// Sockets of one process that are looked at.
const MAX_CANDIDATES: usize = 64;

/// Makes sure that there is an NBD server; gives the sockets on which it may be, likeliest first.
pub(super) async fn ensure(session: &mut Session, own: &Path, given: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    check_length(own)?;
    let text = path_text(own)?;
    if speaks_nbd(own, HELLO_LIMIT).await {
        return Ok(vec![own.to_owned()]);
    }
    let address = json!({ "type": "unix", "data": { "path": text } });
    match session.execute("nbd-server-start", json!({ "addr": address, "max-connections": 0 })).await {
        Ok(_) => return Ok(vec![own.to_owned()]),
        Err(QmpError::Refused { desc, .. }) if desc.contains("already running") => {}
        Err(error) => return Err(error.into()),
    }
    let candidates: Vec<PathBuf> = match given {
        Some(given) => vec![given.to_owned()],
        None => session.client().peer_pid().map(listening_sockets).unwrap_or_default(),
    };
    // This very conversation's socket is busy with it.
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let busy = whole(session.client().path());
    let others = candidates.into_iter().filter(|candidate| whole(candidate) != busy).take(MAX_CANDIDATES);
    let asked = others.map(|path| async move { speaks_nbd(&path, HELLO_LIMIT).await.then_some(path) });
    let found: Vec<PathBuf> = join_all(asked).await.into_iter().flatten().collect();
    if found.is_empty() {
        let what = "its NBD server was started by another program and no socket of it was found";
        return Err(Failure::new(
            Code::SourceRefused,
            format!("QEMU of {}: {what}", session.client().path().display()),
        ));
    }
    Ok(found)
}

/// Stops the server if it is ours and nothing is exported any more. Gives whether it did.
pub(super) async fn stop_if_idle(session: &mut Session, own: &Path) -> Result<bool, QmpError> {
    if !own.exists() {
        return Ok(false);
    }
    if session.exports().await?.iter().any(|export| export.r#type == "nbd") {
        return Ok(false);
    }
    if !speaks_nbd(own, HELLO_LIMIT).await {
        // QEMU may have been killed and started again.
        remove_dead_socket(own).await;
        return Ok(false);
    }
    match session.execute("nbd-server-stop", Value::Null).await {
        // It was stopped meanwhile.
        Ok(_) | Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    remove_dead_socket(own).await;
    Ok(true)
}

/// Removes what a server of ours left behind when its process ended. A socket on which anybody listens stays, however
/// silent: a machine that stands still now cannot make it again when it goes on.
pub(super) async fn remove_dead_socket(own: &Path) {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    let outcome = timeout(HELLO_LIMIT, UnixStream::connect(own)).await;
    if !matches!(outcome, Ok(Err(error)) if refused(&error)) {
        return;
    }
    let name = own.file_name().unwrap_or_default().to_string_lossy();
    if is_any_godwit(&name)
        && let Err(error) = std::fs::remove_file(own)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, socket = %own.display(), "cannot remove a socket of ours");
    }
}

fn check_length(socket: &Path) -> Result<(), Failure> {
    let length = socket.as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    let what = format!(
        "the socket path {} has {length} characters, and a unix socket's may have {MAX_SOCKET_PATH}: choose a shorter folder",
        socket.display()
    );
    Err(Failure::new(Code::SourceRefused, what))
}

/// Unix sockets on which a process listens, by the kernel's lists.
fn listening_sockets(pid: i32) -> Vec<PathBuf> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let Ok(list) = std::fs::read_to_string(proc.join("net/unix")) else { return Vec::new() };
    let Ok(files) = std::fs::read_dir(proc.join("fd")) else { return Vec::new() };
    let open: HashSet<String> = files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let folder = std::fs::read_link(proc.join("cwd")).unwrap_or_default();
    listening(&list).filter(|(inode, _)| open.contains(*inode)).map(|(_, path)| folder.join(path)).collect()
}

/// Inode and path of the sockets that are listened on.
fn listening(list: &str) -> impl Iterator<Item = (&str, &str)> {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    list.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let flags = fields.nth(3)?;
        let inode = fields.nth(2)?;
        let path = fields.next()?;
        (flags == ACCEPTS_CONNECTIONS && !path.starts_with('@')).then_some((inode, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_are_listened_on_are_found_in_the_kernels_list() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000063b7cdcd: 00000002 00000000 00010000 0001 01 22714 /run/nbd.sock\n\
            0000000063b7cdce: 00000003 00000000 00000000 0001 03 22715 /run/nbd.sock\n\
            0000000063b7cdcf: 00000002 00000000 00010000 0001 01 22716 @abstract\n\
            0000000063b7cdd0: 00000002 00000000 00010000 0001 01 22717\n";
        assert_eq!(listening(list).collect::<Vec<_>>(), [("22714", "/run/nbd.sock")]);
    }

    #[test]
    fn a_path_that_is_too_long_says_so() {
        let failure = check_length(&PathBuf::from("/".repeat(108))).expect_err("too long");
        assert!(failure.evidence.contains("shorter folder"), "{failure}");
        assert!(check_length(&PathBuf::from("/".repeat(107))).is_ok());
    }
}
