//! A machine whose NBD server lies about lengths, or falls silent. It stands before an honest storage daemon: QMP passes as it is, and
//! of what the NBD server says one thing is changed. Godwit finds that NBD server as it finds any that was started by
//! somebody else: among the sockets on which the process that answers QMP listens.

use crate::daemon::Daemon;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

const HELLO_BYTES: usize = 18;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: [u8; 2] = [0, 0];
const CHUNK_MAGIC: u32 = 0x668e_33ef;
const CHUNK_DATA: u16 = 1;

/// What is not true.
#[derive(Clone, Copy)]
pub enum Lie {
    /// Each answer to a read lacks its last 512 bytes.
    ShortReads,
    /// The export is said to be 1 MiB longer than the disk.
    LargerExport,
    /// After so many bytes of answers nothing more comes on a connection, which stays open.
    SilentAfter(u64),
}

/// Lies until it is told to be honest; ended with the value.
pub struct Liar {
    socket: PathBuf,
    lying: Arc<AtomicBool>,
    // Dropping it ends all tasks and so closes all sockets.
    _runtime: Runtime,
}

impl Liar {
    /// Begins to lie for `daemon` at a new QMP `socket`, with one for NBD beside it.
    pub fn start(daemon: &Daemon, socket: &Path, lie: Lie) -> Liar {
        let runtime = Runtime::new().expect("a runtime");
        let lying = Arc::new(AtomicBool::new(true));
        let (qmp, nbd) = {
            let _inside = runtime.enter();
            let bind = |path: &Path| UnixListener::bind(path).expect("a socket in our folder");
            (bind(socket), bind(&socket.with_extension("nbd")))
        };
        runtime.spawn(pass_on(qmp, daemon.qmp_socket()));
        runtime.spawn(lie_on(nbd, daemon.nbd_socket(), lie, lying.clone()));
        Liar { socket: socket.to_owned(), lying, _runtime: runtime }
    }

    /// Its QMP socket.
    pub fn qmp_socket(&self) -> &Path {
        &self.socket
    }

    /// From now on it tells the truth.
    pub fn be_honest(&self) {
        self.lying.store(false, Ordering::SeqCst);
    }
}

async fn pass_on(listener: UnixListener, real: PathBuf) {
    while let Ok((mut client, _)) = listener.accept().await {
        let real = real.clone();
        tokio::spawn(async move {
            let mut server = UnixStream::connect(real).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn lie_on(listener: UnixListener, real: PathBuf, lie: Lie, lying: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let (real, lying) = (real.clone(), lying.clone());
        tokio::spawn(async move {
            let (mut requests, to_client) = client.into_split();
            let (from_server, mut to_server) = UnixStream::connect(real).await?.into_split();
            // Whichever side ends, both connections do.
            tokio::select! {
                done = tokio::io::copy(&mut requests, &mut to_server) => done.map(|_| ()),
                done = twist(from_server, to_client, lie, &lying) => done,
            }
        });
    }
}

/// Passes on what an NBD server says, with the lie.
async fn twist(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lie: Lie, lying: &AtomicBool) -> io::Result<()> {
    let mut hello = [0; HELLO_BYTES];
    from.read_exact(&mut hello).await?;
    to.write_all(&hello).await?;
    loop {
        // Replies to options: magic (8), option, kind, length, payload.
        let mut head = [0; 20];
        from.read_exact(&mut head).await?;
        let (option, kind) = (number(&head[8..12]), number(&head[12..16]));
        let mut payload = vec![0; number(&head[16..20]) as usize];
        from.read_exact(&mut payload).await?;
        if let (Lie::LargerExport, true) = (lie, lying.load(Ordering::SeqCst))
            && kind == REPLY_INFO
            && payload.starts_with(&INFO_EXPORT)
        {
            let size = u64::from_be_bytes(payload[2..10].try_into().expect("eight bytes"));
            payload[2..10].copy_from_slice(&(size + (1 << 20)).to_be_bytes());
        }
        to.write_all(&[&head[..], &payload].concat()).await?;
        if (option, kind) == (OPTION_GO, REPLY_ACK) {
            break;
        }
    }
    let mut told = 0;
    loop {
        // Chunks of replies: magic, flags and kind (2 each), cookie (8), length, payload.
        let mut head = [0; 20];
        from.read_exact(&mut head).await?;
        if number(&head[..4]) != CHUNK_MAGIC {
            return Err(io::Error::other("QEMU answered a request with something else than chunks"));
        }
        let mut payload = vec![0; number(&head[16..20]) as usize];
        from.read_exact(&mut payload).await?;
        told += payload.len() as u64;
        if let (Lie::SilentAfter(bytes), true) = (lie, lying.load(Ordering::SeqCst))
            && told > bytes
        {
            std::future::pending::<()>().await;
        }
        if let (Lie::ShortReads, true) = (lie, lying.load(Ordering::SeqCst))
            && u16::from_be_bytes([head[6], head[7]]) == CHUNK_DATA
        {
            payload.truncate(payload.len() - 512);
            head[16..20].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        }
        to.write_all(&[&head[..], &payload].concat()).await?;
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}
