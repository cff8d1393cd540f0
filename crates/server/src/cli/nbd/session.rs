//! One connection, from the first words to the last reply.
//!
//! Requests are read one behind the other and worked on side by side; each reply goes out when it is ready, under the
//! cookie of its request. What a client can make us hold is bounded, and so is how long it may keep it.

use crate::cli::nbd::codec::{self, Asked, Command, Errno, Export, Malformed, Request};
use crate::cli::nbd::handshake::{Agreed, Handshake, Next};
use crate::cli::nbd::origin::Origin;
use crate::cli::nbd::volume::{Volume, VolumeError};
use bytes::Bytes;
use godwit_model::extent::Extent;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Requests of one connection that are worked on at a time: as many as `nbdcopy` sends.
const IN_FLIGHT: usize = 64;
/// Bytes of requests and replies that all connections together may hold: two of the longest.
const MOST_BYTES: usize = 2 * codec::MAX_DATA as usize;
/// How long a client may take to agree on an export, between its options and all together: programs take no second.
const HANDSHAKE_BOUND: Duration = Duration::from_secs(60);
/// Options of one client: a list of exports costs one for each of them.
const MOST_OPTIONS: usize = 1024;
/// How long a client may leave a reply unread, or the bytes of a write unsent: others wait for the memory.
const STALLED: Duration = Duration::from_secs(120);

/// Why a connection was ended by us.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The client does not speak the protocol.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It makes no end of its options, or stopped in the middle of something.
    #[error("an NBD client {0}")]
    Stalled(&'static str),
    /// The connection broke; that is how many clients say goodbye.
    #[error("the connection of an NBD client broke: {0}")]
    Broken(#[from] io::Error),
}

/// What to do with problems of requests, which end no connection.
pub type Tell = Arc<dyn Fn(&Export, &VolumeError) + Send + Sync>;

/// All exports, and what connections share.
pub struct Exports<O> {
    volumes: Vec<Volume<O>>,
    exports: Vec<Export>,
    tell: Tell,
    bytes: Arc<Semaphore>,
}

impl<O: Origin> Exports<O> {
    /// `exports` describes `volumes`, in the same order.
    pub fn new(volumes: Vec<Volume<O>>, exports: Vec<Export>, tell: Tell) -> Self {
        Self { volumes, exports, tell, bytes: Arc::new(Semaphore::new(MOST_BYTES)) }
    }

    /// What clients may know.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Makes durable what was written to any of them.
    pub async fn flush(&self) -> Result<(), VolumeError> {
        for volume in &self.volumes {
            volume.flush().await?;
        }
        Ok(())
    }
}

/// A reply on its way. What the request took is given back when it was sent.
struct Reply {
    head: Vec<u8>,
    body: Option<Bytes>,
    _taken: [OwnedSemaphorePermit; 2],
}

/// Talks to a client until it leaves or `stop` is cancelled; what was begun is finished.
pub async fn converse<O: Origin>(
    served: Arc<Exports<O>>,
    reader: impl AsyncRead + Send + Unpin,
    mut writer: impl AsyncWrite + Send + Unpin + 'static,
    stop: &CancellationToken,
) -> Result<(), SessionError> {
    let mut reader = BufReader::new(reader);
    let agreed = tokio::select! {
        agreed = timeout(HANDSHAKE_BOUND, agree(&served.exports, &mut reader, &mut writer)) => {
            agreed.map_err(|_| SessionError::Stalled("took too long to choose an export"))??
        }
        () = stop.cancelled() => return Ok(()),
    };
    let Some(agreed) = agreed else { return Ok(()) };
    let (replies, queue) = mpsc::channel(IN_FLIGHT);
    let over = CancellationToken::new();
    let writing = tokio::spawn({
        let over = over.clone().drop_guard();
        async move {
            let _over = over;
            send_all(writer, queue).await
        }
    });
    let read = tokio::select! {
        read = requests(&served, agreed, &mut reader, replies) => read,
        () = stop.cancelled() => Ok(()),
        () = over.cancelled() => Ok(()),
    };
    let written = writing.await.map_err(|error| SessionError::Broken(io::Error::other(error)))?;
    read.and(written)
}

/// The export that the client chose; `None` if it left.
async fn agree(
    exports: &[Export],
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<Agreed>, SessionError> {
    writer.write_all(&codec::hello()).await?;
    let mut flags = [0; 4];
    reader.read_exact(&mut flags).await?;
    let mut handshake = Handshake::new(!codec::can_do_without_padding(flags)?);
    for _ in 0..MOST_OPTIONS {
        let mut head = [0; codec::OPTION_BYTES];
        reader.read_exact(&mut head).await?;
        let header = codec::option_header(&head)?;
        let mut data = vec![0; header.length as usize];
        reader.read_exact(&mut data).await?;
        let asked: Option<Asked> = codec::option(header.option, &data);
        let (bytes, next) = handshake.answer(header.option, asked, exports);
        let written = writer.write_all(&bytes).await;
        match next {
            // Who leaves need not listen any more.
            Next::End => return Ok(None),
            Next::Requests(agreed) => return Ok(written.map(|()| Some(agreed))?),
            Next::Option => written?,
        }
    }
    Err(SessionError::Stalled("had too many questions"))
}

async fn requests<O: Origin>(
    served: &Arc<Exports<O>>,
    agreed: Agreed,
    reader: &mut (impl AsyncRead + Unpin),
    replies: mpsc::Sender<Reply>,
) -> Result<(), SessionError> {
    let export = &served.exports[agreed.export];
    let turns = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        let turn = take(&turns, 1).await;
        let mut head = [0; codec::REQUEST_BYTES];
        reader.read_exact(&mut head).await?;
        let request = codec::request(&head)?;
        if request.command == Command::Disconnect {
            return Ok(());
        }
        let verdict = codec::check(&request, export.size, export.writable, agreed.allocation);
        let holds = verdict.is_ok() && matches!(request.command, Command::Read | Command::Write);
        let bytes = take(&served.bytes, if holds { request.length } else { 0 }).await;
        let payload = match request.command {
            Command::Write => in_time(payload(reader, request.length, verdict.is_ok())).await?,
            _ => Bytes::new(),
        };
        let (served, replies) = (served.clone(), replies.clone());
        tokio::spawn(async move {
            let (head, body) = match verdict {
                Ok(()) => answer(&served, agreed, request, payload).await,
                Err(errno) => (refusal(agreed, request, errno), None),
            };
            // If nobody sends it any more, nobody waits for it.
            let _ = replies.send(Reply { head, body, _taken: [turn, bytes] }).await;
        });
    }
}

/// What is to be written; if it is refused, it only goes by.
async fn payload(reader: &mut (impl AsyncRead + Unpin), length: u32, is_wanted: bool) -> io::Result<Bytes> {
    if is_wanted {
        let mut bytes = vec![0; length as usize];
        reader.read_exact(&mut bytes).await?;
        return Ok(bytes.into());
    }
    match tokio::io::copy(&mut reader.take(u64::from(length)), &mut tokio::io::sink()).await? {
        all if all == u64::from(length) => Ok(Bytes::new()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn answer<O: Origin>(
    served: &Exports<O>,
    agreed: Agreed,
    request: Request,
    payload: Bytes,
) -> (Vec<u8>, Option<Bytes>) {
    let volume = &served.volumes[agreed.export];
    let span = Extent { offset: request.offset, length: u64::from(request.length) };
    let outcome = match request.command {
        Command::Read => volume.read(span).await.map(|bytes| found(agreed, request, bytes)),
        Command::BlockStatus => {
            let status = volume.status(span, request.flags & codec::REQUEST_ONE != 0).await;
            status.map(|found| (codec::status_chunk(request.cookie, &found), None))
        }
        _ => change(volume, request, span, payload).await.map(|()| (codec::simple_reply(request.cookie, Ok(())), None)),
    };
    outcome.unwrap_or_else(|error| {
        (served.tell)(&served.exports[agreed.export], &error);
        (refusal(agreed, request, errno(&error)), None)
    })
}

async fn change<O: Origin>(
    volume: &Volume<O>,
    request: Request,
    span: Extent,
    payload: Bytes,
) -> Result<(), VolumeError> {
    match request.command {
        Command::Write => volume.write(span.offset, payload).await?,
        Command::WriteZeroes => volume.zero(span, request.flags & codec::REQUEST_NO_HOLE == 0).await?,
        Command::Trim => volume.trim(span).await?,
        _ => {}
    }
    if request.command == Command::Flush || request.flags & codec::REQUEST_FUA != 0 {
        volume.flush().await?;
    }
    Ok(())
}

/// The reply to a read; `None` are zeros.
fn found(agreed: Agreed, request: Request, bytes: Option<Bytes>) -> (Vec<u8>, Option<Bytes>) {
    let Request { cookie, offset, length, .. } = request;
    if !agreed.structured {
        let bytes = bytes.unwrap_or_else(|| vec![0; length as usize].into());
        return (codec::simple_reply(cookie, Ok(())), Some(bytes));
    }
    match bytes {
        _ if length == 0 => (codec::done_chunk(cookie), None),
        None => (codec::hole_chunk(cookie, offset, length), None),
        Some(bytes) => (codec::data_chunk(cookie, offset, length), Some(bytes)),
    }
}

fn refusal(agreed: Agreed, request: Request, errno: Errno) -> Vec<u8> {
    // Only these two have replies with chunks.
    if agreed.structured && matches!(request.command, Command::Read | Command::BlockStatus) {
        codec::error_chunk(request.cookie, errno)
    } else {
        codec::simple_reply(request.cookie, Err(errno))
    }
}

fn errno(error: &VolumeError) -> Errno {
    match error {
        VolumeError::Overlay(error) if error.kind() == io::ErrorKind::StorageFull => Errno::NoSpace,
        VolumeError::Overlay(error) if error.kind() == io::ErrorKind::QuotaExceeded => Errno::NoSpace,
        _ => Errno::Io,
    }
}

async fn send_all(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Reply>) -> Result<(), SessionError> {
    while let Some(reply) = queue.recv().await {
        in_time(async {
            writer.write_all(&reply.head).await?;
            if let Some(body) = &reply.body {
                writer.write_all(body).await?;
            }
            writer.flush().await
        })
        .await?;
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, SessionError> {
    let done = timeout(STALLED, work).await;
    Ok(done.map_err(|_| SessionError::Stalled("stopped in the middle of a request or a reply"))??)
}

async fn take(from: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    from.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed")
}
