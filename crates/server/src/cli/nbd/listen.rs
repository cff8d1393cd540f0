//! Where clients connect: a unix socket that its owner alone can use, or a port of this machine.

use crate::cli::error::CliError;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Longest path of a unix socket: what the kernel has room for.
const MOST_PATH: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Where clients connect. The socket goes with the value.
pub enum Listener {
    /// A unix socket.
    Unix {
        /// Accepts.
        listener: UnixListener,
        /// Its name.
        name: SocketName,
    },
    /// A port.
    Tcp {
        /// Accepts.
        listener: TcpListener,
        /// Where.
        address: SocketAddr,
    },
}

/// A connection.
pub enum Stream {
    /// By a unix socket.
    Unix(UnixStream),
    /// By a port.
    Tcp(TcpStream),
}

impl Listener {
    /// Listens on a unix socket.
    pub fn unix(path: &Path) -> Result<Self, CliError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if path.as_os_str().len() > MOST_PATH {
            return Err(CliError::failed(format!(
                "{}: the path of a socket has {MOST_PATH} bytes at most",
                path.display()
            ))
            .next("give a shorter one with --socket"));
        }
        let bound = match bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_dead(&path)?;
                bind(&path)
            }
            bound => bound,
        };
        let cannot = |error: io::Error| {
            CliError::failed(format!("{} cannot be listened on: {error}", path.display()))
                .next("give a path in a folder where you can write: --socket PATH")
        };
        let (socket, name) = bound.map_err(cannot)?;
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true).map_err(cannot)?;
        Ok(Listener::Unix { listener: UnixListener::from_std(listener).map_err(cannot)?, name })
    }

    /// Listens on a port of this machine.
    pub async fn tcp(address: SocketAddr) -> Result<Self, CliError> {
        if !address.ip().is_loopback() {
            return Err(CliError::usage(format!("{address} can be reached from other machines, and NBD has no lock"))
                .next("give a loopback address (--listen 127.0.0.1:0), and a tunnel (ssh -L) from elsewhere"));
        }
        let cannot = |error: io::Error| {
            CliError::failed(format!("{address} cannot be listened on: {error}"))
                .next("give another port: --listen 127.0.0.1:0 takes a free one")
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Listener::Tcp { listener, address })
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
            Listener::Tcp { listener, .. } => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }

    /// The address of an export, as clients take it.
    pub fn uri(&self, export: &str) -> String {
        let export = escaped(export);
        match self {
            Listener::Unix { name, .. } => {
                format!("nbd+unix:///{export}?socket={}", escaped(&name.path.to_string_lossy()))
            }
            Listener::Tcp { address, .. } => format!("nbd://{address}/{export}"),
        }
    }

    /// The path of the socket, if there is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Listener::Unix { name, .. } => Some(&name.path),
            Listener::Tcp { .. } => None,
        }
    }
}

/// The name of our socket; it goes with the value.
pub struct SocketName {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketName {
    fn drop(&mut self) {
        // Somebody else may have taken the name meanwhile.
        if inode(&self.path).is_some_and(|found| found == self.inode) {
            // If it cannot be removed, the next start finds it dead.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Its mode is set before anybody can connect.
fn bind(path: &Path) -> io::Result<(OwnedFd, SocketName)> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let inode = inode(path).ok_or(io::ErrorKind::NotFound)?;
    let name = SocketName { path: path.to_owned(), inode };
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((socket, name))
}

/// Removes a socket that nobody listens on any more; refuses anything else.
fn remove_dead(path: &Path) -> Result<(), CliError> {
    let refused =
        |why: &str| CliError::failed(format!("{} {why}", path.display())).next("give another path: --socket PATH");
    let found = std::fs::symlink_metadata(path).map_err(|error| refused(&format!("cannot be looked at: {error}")))?;
    if !found.file_type().is_socket() {
        return Err(refused("is there already and not a socket"));
    }
    let seen = inode(path);
    match StdUnixStream::connect(path) {
        Ok(_) => return Err(refused("is in use: something listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(refused(&format!("is there already, and who listens cannot be seen: {error}"))),
    }
    if inode(path) != seen {
        return Err(refused("was just taken by something else"));
    }
    std::fs::remove_file(path).map_err(|error| refused(&format!("is dead and cannot be removed: {error}")))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// As a part of an address: also commas, which QEMU's options are parted by.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                escaped.push(char::from(byte))
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: CliError) -> String {
        format!("{error} {}", error.next.as_deref().unwrap_or_default())
    }

    #[test]
    fn addresses_survive_shells_and_options() {
        assert_eq!(escaped("/run/a-b_1.sock"), "/run/a-b_1.sock");
        assert_eq!(escaped("/tmp/it's, ä"), "/tmp/it%27s%2C%20%C3%A4");
    }

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = Listener::unix(&path).expect("listens");
        assert_eq!(std::fs::symlink_metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(listener.uri("0"), format!("nbd+unix:///0?socket={}", path.display()));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_living_socket_and_what_is_none_are_refused_and_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let living = Listener::unix(&path).expect("listens");
        assert!(told(Listener::unix(&path).err().expect("in use")).contains("in use: something listens there"));
        assert!(path.exists());
        let Listener::Unix { listener, name } = living else { panic!("not a unix socket") };
        std::mem::forget(name);
        drop(listener);
        assert!(path.exists(), "as after a kill -9");
        drop(Listener::unix(&path).expect("takes over"));
        std::fs::write(&path, "dear").expect("a file");
        assert!(told(Listener::unix(&path).err().expect("a file")).contains("not a socket"));
        assert_eq!(std::fs::read(&path).expect("left alone"), b"dear");
    }

    #[tokio::test]
    async fn other_machines_cannot_connect() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:10809"] {
            let refused = Listener::tcp(address.parse().expect("an address")).await.err().expect("refused");
            assert!(told(refused).contains("--listen 127.0.0.1:0"), "{address}");
        }
    }
}
