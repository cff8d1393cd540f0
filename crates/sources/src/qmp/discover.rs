//! Which servers there are: a QMP socket, or a folder of them.

use crate::qmp::client::QmpError;
use crate::qmp::names::{hash, is_any_godwit};
use crate::qmp::platform::platform;
use crate::qmp::session::{Identity, Session};
use crate::qmp::source::QmpSource;
use futures::stream::{self, StreamExt};
use godwit_model::failure::{Code, Failure};
use godwit_model::server::{DiscoveredServer, DiscoveredVolume, Discovery};
use std::collections::HashSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Sockets that are asked at the same time: a silent one costs seconds, and the others need not wait for it.
const AT_ONCE: usize = 16;
/// Sockets in one folder that are looked at.
const MAX_SOCKETS: usize = 4096;
/// Until the kernel has told who listens on a socket.
const LISTENER_LIMIT: Duration = Duration::from_secs(1);

/// What a connector's path is.
pub(super) enum Place {
    /// One socket: if it does not answer, the connector does not.
    Socket(PathBuf),
    /// A folder: what does not answer in it is a warning.
    Folder(Vec<PathBuf>),
}

impl Place {
    /// Looks at `path`.
    pub(super) fn of(path: &Path) -> Result<Place, Failure> {
        let unreachable = |what: String| Failure::new(Code::SourceUnreachable, what);
        let read = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => unreachable(format!("there is no socket or folder {}", path.display())),
            _ => unreachable(format!("{} cannot be looked at: {error}", path.display())),
        };
        let kind = std::fs::metadata(path).map_err(read)?.file_type();
        if kind.is_socket() {
            return Ok(Place::Socket(path.to_owned()));
        }
        if !kind.is_dir() {
            let what = format!("{} is neither a socket nor a folder of sockets", path.display());
            return Err(Failure::new(Code::SourceProtocol, what));
        }
        let mut sockets = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)?.flatten() {
            let is_socket = std::fs::metadata(entry.path()).is_ok_and(|data| data.file_type().is_socket());
            // Our own NBD sockets may lie beside the machines' sockets.
            if is_socket && !is_any_godwit(&entry.file_name().to_string_lossy()) {
                sockets.push(entry.path());
            }
        }
        sockets.sort();
        sockets.truncate(MAX_SOCKETS);
        Ok(Place::Folder(sockets))
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> &[PathBuf] {
        match self {
            Place::Socket(path) => std::slice::from_ref(path),
            Place::Folder(paths) => paths,
        }
    }
}

/// Asks every socket. What cannot be used is a warning, as long as the place is a folder.
pub(super) async fn discover(source: &QmpSource) -> Result<Discovery, Failure> {
    let path = &source.options().socket;
    let place = Place::of(path)?;
    let answers = ask_all(source, place.sockets()).await;
    let (mut servers, mut warnings, mut version): (Vec<DiscoveredServer>, Vec<String>, _) = (vec![], vec![], None);
    for (socket, answer) in answers {
        match answer {
            Ok(found) => {
                version.get_or_insert(found.version);
                let warned = found.warnings.into_iter().map(|warning| format!("{}: {warning}", found.server.name));
                warnings.extend(warned);
                if servers.iter().any(|server| server.vm_id == found.server.vm_id) {
                    let (id, name) = (&found.server.vm_id, socket.display());
                    warnings.push(format!("{name} is left out: another machine has the same identity, {id}"));
                } else {
                    servers.push(found.server);
                }
            }
            Err(error) if matches!(place, Place::Socket(_)) => return Err(error.into()),
            Err(error) => warnings.push(error.to_string()),
        }
    }
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    Ok(Discovery {
        manager_id: format!("qmp-{:016x}", hash(&whole.to_string_lossy())),
        manager_name: path.display().to_string(),
        manager_version: version.map_or_else(String::new, |version| format!("QEMU {version}")),
        servers,
        warnings,
    })
}

/// The sockets behind which machines answered, with who they are; and those that may hide one.
pub(super) struct Census {
    pub(super) machines: Vec<(PathBuf, Identity)>,
    pub(super) unsure: Vec<QmpError>,
}

/// Who answers where.
pub(super) async fn census(source: &QmpSource) -> Result<Census, Failure> {
    let place = match Place::of(&source.options().socket) {
        Ok(place) => place,
        // Nothing there: no machine runs.
        Err(failure) if failure.code == Code::SourceUnreachable && !source.options().socket.exists() => {
            return Ok(Census { machines: Vec::new(), unsure: Vec::new() });
        }
        Err(failure) => return Err(failure),
    };
    let answers: Vec<_> = stream::iter(place.sockets().to_vec())
        .map(|path| async move {
            let identity = identity_and_process(source, &path).await;
            (path, identity)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut machines, mut processes, mut doubts) = (Vec::new(), HashSet::new(), Vec::new());
    for (path, answer) in answers {
        match answer {
            Ok((identity, process)) => {
                machines.push((path, identity));
                processes.extend(process);
            }
            Err(error) if error.is_gone() => {}
            // In a folder there may be anything.
            Err(QmpError::NotQmp { .. }) if matches!(place, Place::Folder(_)) => {}
            Err(error) => doubts.push((path, error)),
        }
    }
    let mut unsure = Vec::new();
    for (path, error) in doubts {
        // A machine has other sockets beside the one that it answered on: its guest agent's, its serial console's.
        let is_of_a_machine = listener(&path).await.is_some_and(|process| processes.contains(&process));
        if !is_of_a_machine {
            unsure.push(error);
        }
    }
    machines.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Census { machines, unsure })
}

async fn identity_and_process(source: &QmpSource, path: &Path) -> Result<(Identity, Option<i32>), QmpError> {
    let mut session = source.session(path).await?;
    Ok((session.identity().await?, session.client().peer_pid()))
}

/// The process that listens on a socket, as far as the kernel tells.
async fn listener(path: &Path) -> Option<i32> {
    let stream = timeout(LISTENER_LIMIT, UnixStream::connect(path)).await.ok()?.ok()?;
    stream.peer_cred().ok()?.pid()
}

struct Found {
    server: DiscoveredServer,
    version: String,
    warnings: Vec<String>,
}

async fn ask_all(source: &QmpSource, sockets: &[PathBuf]) -> Vec<(PathBuf, Result<Found, QmpError>)> {
    let mut answers: Vec<_> = stream::iter(sockets.to_vec())
        .map(|path| async move {
            let found = async { describe(source, &mut source.session(&path).await?).await };
            let found = found.await;
            (path, found)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    answers
}

async fn describe(source: &QmpSource, session: &mut Session) -> Result<Found, QmpError> {
    let Identity { vm_id, name } = session.identity().await?;
    let mut inventory = session.inventory().await?;
    inventory.warnings.extend(session.danger().await?);
    let volume = |disk: crate::qmp::inventory::Disk| {
        let allocated = inventory.nodes.get(&disk.node).and_then(|node| node.allocated);
        DiscoveredVolume { device: disk.device, size: disk.size, allocated }
    };
    let volumes = inventory.disks.into_iter().map(volume).collect();
    let platform = platform(source, session, &vm_id).await?;
    let server = DiscoveredServer { vm_id, path: format!("/{name}"), name, volumes, platform };
    Ok(Found { server, version: session.client().version().to_owned(), warnings: inventory.warnings })
}
