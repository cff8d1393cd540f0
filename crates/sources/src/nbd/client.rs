//! An NBD connection with several requests in flight.
//!
//! One task writes requests, one reads replies; between them a table of what is in flight, keyed by the request's
//! cookie. The table is bounded by the slots that requests take, and each slot's buffer by [`MAX_READ_BYTES`]. A
//! protocol error or a request without an answer in time ends the connection: everything in flight fails with it.
//!
//! Cancellation: a dropped call leaves its request in flight; its reply is read and thrown away.

use crate::nbd::codec::{self, Chunk, ChunkKind, Command, Malformed, Request, ServerError, Status};
use crate::nbd::handshake::{Agreement, agree};
use crate::nbd::inflight::{Answer, Assembly, ReadBuffer, StatusLists, Trouble};
use bytes::Bytes;
use godwit_blocks::buffers::Buffers;
use godwit_model::extent::Extent;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest read.
pub const MAX_READ_BYTES: usize = 1 << 20;
/// Requests in flight: QEMU serves sixteen of a client at a time.
const SLOTS: usize = 16;
/// Replies' headers are read through a buffer; what of the payload comes with them is copied, the rest is not.
const HEADER_BUFFER: usize = 4 << 10;
/// Longest range of one block status request: the protocol has 32 bits for it.
const MAX_STATUS_BYTES: u64 = 1 << 30;
/// Extents of one context that a caller can get at once: 32 MiB of memory.
const MAX_EXTENTS: usize = 1 << 21;

/// What can go wrong with a connection or a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NbdError {
    /// The connection could not be made, or ended.
    #[error("the connection to the NBD server was lost: {0}")]
    Lost(String),
    /// The server broke the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server refused during the handshake.
    #[error("the NBD server refused: {}", if text.is_empty() { "no reason given" } else { text })]
    Refused {
        /// Whether the export does not exist.
        unknown_export: bool,
        /// The server's words.
        text: String,
    },
    /// The server speaks to nobody without TLS.
    #[error("the NBD server demands TLS, which is not supported: stop it, or start it without on a unix socket")]
    TlsRequired,
    /// The server could not serve a request.
    #[error("the NBD server failed to serve {length} bytes at {offset}: error {}{}{}", error.errno,
        if error.text.is_empty() { "" } else { ", " }, error.text)]
    Server {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Its number and words.
        error: ServerError,
    },
    /// No answer in time.
    #[error("the NBD server did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The request is beyond the end of the export, or too long: our mistake.
    #[error("a request for {length} bytes at {offset} does not fit an export of {size} bytes")]
    Range {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Of the export.
        size: u64,
    },
}

impl NbdError {
    /// Whether a new connection may help.
    pub fn is_connection(&self) -> bool {
        matches!(self, NbdError::Lost(_) | NbdError::Timeout(_) | NbdError::Malformed(_))
    }
}

impl From<io::Error> for NbdError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => NbdError::Lost("the server closed it".into()),
            _ => NbdError::Lost(error.to_string()),
        }
    }
}

/// Which export of which server, and how long to wait.
#[derive(Clone, Debug)]
pub struct NbdTarget {
    /// The server's socket.
    pub socket: PathBuf,
    /// Name of the export.
    pub export: String,
    /// Metadata contexts that are wanted.
    pub contexts: Vec<String>,
    /// Until connection and handshake are done.
    pub connect_limit: Duration,
    /// Until a request is answered.
    pub request_limit: Duration,
}

/// A connection in transmission phase. Dropping it says goodbye.
pub struct NbdClient {
    agreement: Agreement,
    request_limit: Duration,
    table: Arc<Mutex<Table>>,
    slots: Arc<Semaphore>,
    buffers: Arc<Buffers>,
    requests: mpsc::Sender<[u8; 28]>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Table {
    last_cookie: u64,
    in_flight: HashMap<u64, InFlight>,
    broken: Option<NbdError>,
}

struct InFlight {
    extent: Extent,
    assembly: Assembly,
    trouble: Trouble,
    answer: oneshot::Sender<Result<Answer, NbdError>>,
    /// Given back when the reply has come, not when the caller has lost interest: it stands for the buffer.
    _slot: OwnedSemaphorePermit,
}

impl NbdClient {
    /// Connects and agrees on export and contexts. A context that the server does not have is not an error, see
    /// [`NbdClient::has_context`].
    pub async fn connect(target: &NbdTarget) -> Result<Self, NbdError> {
        let attempt = async {
            let stream = UnixStream::connect(&target.socket).await?;
            let (read, mut writer) = stream.into_split();
            let mut reader = BufReader::with_capacity(HEADER_BUFFER, read);
            let agreement = agree(&mut reader, &mut writer, &target.export, &target.contexts).await?;
            Ok::<_, NbdError>((agreement, reader, writer))
        };
        let (agreement, reader, writer) =
            timeout(target.connect_limit, attempt).await.map_err(|_| NbdError::Timeout(target.connect_limit))??;
        let table = Arc::new(Mutex::new(Table::default()));
        let (requests, queue) = mpsc::channel(SLOTS);
        tokio::spawn(write_requests(writer, queue, target.request_limit));
        let reader = tokio::spawn(read_replies(reader, table.clone()));
        let slots = Arc::new(Semaphore::new(SLOTS));
        let buffers = Arc::new(Buffers::new(SLOTS, MAX_READ_BYTES));
        Ok(Self { agreement, request_limit: target.request_limit, table, slots, buffers, requests, reader })
    }

    /// Size of the export in bytes.
    pub fn size(&self) -> u64 {
        self.agreement.size
    }

    /// Requests must begin and end at multiples of it.
    pub fn minimum_block(&self) -> u64 {
        u64::from(self.agreement.minimum)
    }

    /// Whether the server has the context that was asked for at this place of the list.
    pub fn has_context(&self, index: usize) -> bool {
        self.agreement.contexts.get(index).is_some_and(Option::is_some)
    }

    /// Exactly the bytes of `extent`, at most [`MAX_READ_BYTES`].
    pub async fn read(&self, extent: Extent) -> Result<Bytes, NbdError> {
        let longest = MAX_READ_BYTES.min(self.agreement.maximum as usize) as u64;
        self.check(extent, longest)?;
        let df = if self.agreement.flags & codec::EXPORT_SEND_DF != 0 { codec::REQUEST_DF } else { 0 };
        let assembly = Assembly::Read(ReadBuffer::new(extent.offset, extent.length as usize, &self.buffers));
        match self.submit(Command::Read, df, extent, assembly).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            Answer::Status(_) => Err(Malformed::new("bytes", "a block status").into()),
        }
    }

    /// What each context says of `window`, in the order the contexts were asked for; contexts that the server does not
    /// have give empty lists, all others cover the window exactly.
    pub async fn block_status(&self, window: Extent) -> Result<Vec<Vec<Status>>, NbdError> {
        self.check(window, u64::MAX)?;
        let mut lists: Vec<Vec<Status>> = vec![Vec::new(); self.agreement.contexts.len()];
        if self.agreement.contexts.iter().all(Option::is_none) {
            return Ok(lists);
        }
        let mut at = window.offset;
        while at < window.end() {
            let asked = Extent::between(at, window.end().min(at.saturating_add(MAX_STATUS_BYTES)));
            let assembly = Assembly::Status(StatusLists::new(self.agreement.contexts.iter().copied().flatten()));
            let Answer::Status(mut told) = self.submit(Command::BlockStatus, 0, asked, assembly).await? else {
                return Err(Malformed::new("a block status", "bytes").into());
            };
            // The server may tell less than was asked, each context differently: the least counts. It may also go on
            // behind the range: that is cut.
            let length = |list: &Vec<Status>| list.iter().map(|s| u64::from(s.length)).sum::<u64>();
            let told_by_all = told.values().map(length).min().unwrap_or(0).min(asked.length);
            for (list, number) in lists.iter_mut().zip(&self.agreement.contexts) {
                let Some(new) = number.and_then(|number| told.remove(&number)) else { continue };
                append(list, new, told_by_all);
                if list.len() > MAX_EXTENTS {
                    return Err(Malformed::new("a block status", "more extents than can be held").into());
                }
            }
            at += told_by_all;
        }
        Ok(lists)
    }

    fn check(&self, extent: Extent, longest: u64) -> Result<(), NbdError> {
        let size = self.agreement.size;
        if extent.is_empty()
            || extent.length > longest
            || extent.offset.checked_add(extent.length).is_none_or(|e| e > size)
        {
            return Err(NbdError::Range { offset: extent.offset, length: extent.length, size });
        }
        Ok(())
    }

    async fn submit(
        &self,
        command: Command,
        flags: u16,
        extent: Extent,
        assembly: Assembly,
    ) -> Result<Answer, NbdError> {
        let work = async {
            let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (answer, reply) = oneshot::channel();
            let cookie = {
                let mut table = locked(&self.table);
                if let Some(error) = &table.broken {
                    return Err(error.clone());
                }
                table.last_cookie += 1;
                let cookie = table.last_cookie;
                table.in_flight.insert(cookie, InFlight { extent, assembly, trouble: None, answer, _slot: slot });
                cookie
            };
            let length = u32::try_from(extent.length).expect("requests are cut to less than 32 bits");
            let request = codec::request(Request { command, flags, cookie, offset: extent.offset, length });
            let gone = || NbdError::Lost("the server does not take requests".into());
            self.requests.send(request).await.map_err(|_| self.broken().unwrap_or_else(gone))?;
            reply.await.unwrap_or_else(|_| Err(self.broken().unwrap_or_else(gone)))
        };
        match timeout(self.request_limit, work).await {
            Ok(answer) => answer,
            Err(_) => {
                let error = NbdError::Timeout(self.request_limit);
                self.reader.abort();
                fail_all(&self.table, error.clone());
                Err(error)
            }
        }
    }

    fn broken(&self) -> Option<NbdError> {
        locked(&self.table).broken.clone()
    }
}

impl Drop for NbdClient {
    fn drop(&mut self) {
        let goodbye = Request { command: Command::Disconnect, flags: 0, cookie: 0, offset: 0, length: 0 };
        // A queue that is full or closed means that the connection is in no state for good manners.
        let _ = self.requests.try_send(codec::request(goodbye));
        self.reader.abort();
    }
}

/// Whether an NBD server listens on `path`.
pub async fn speaks_nbd(path: &Path, limit: Duration) -> bool {
    let attempt = async {
        let mut stream = UnixStream::connect(path).await.ok()?;
        let mut hello = [0; codec::HELLO_BYTES];
        stream.read_exact(&mut hello).await.ok()?;
        codec::hello(&hello).ok()
    };
    matches!(timeout(limit, attempt).await, Ok(Some(_)))
}

/// Adds `new` to `list`, cut to `length` bytes; neighbours of the same flags become one as far as 32 bits allow.
fn append(list: &mut Vec<Status>, new: Vec<Status>, length: u64) {
    let mut left = length;
    for status in new {
        let taken = u64::from(status.length).min(left) as u32;
        left -= u64::from(taken);
        if taken == 0 {
            return;
        }
        match list.last_mut() {
            Some(last) if last.flags == status.flags && last.length.checked_add(taken).is_some() => {
                last.length += taken
            }
            _ => list.push(Status { length: taken, flags: status.flags }),
        }
    }
}

fn locked(table: &Mutex<Table>) -> std::sync::MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fail_all(table: &Mutex<Table>, error: NbdError) {
    let in_flight = {
        let mut table = locked(table);
        table.broken.get_or_insert_with(|| error.clone());
        std::mem::take(&mut table.in_flight)
    };
    for (_, request) in in_flight {
        let _ = request.answer.send(Err(error.clone()));
    }
}

async fn write_requests(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<[u8; 28]>, limit: Duration) {
    while let Some(request) = queue.recv().await {
        // What cannot be written fails by its own time limit, or by the reader, which sees the end as well.
        if !matches!(timeout(limit, writer.write_all(&request)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read_replies(mut reader: BufReader<OwnedReadHalf>, table: Arc<Mutex<Table>>) {
    let error = loop {
        if let Err(error) = read_reply(&mut reader, &table).await {
            break error;
        }
    };
    fail_all(&table, error);
}

async fn read_reply(reader: &mut BufReader<OwnedReadHalf>, table: &Mutex<Table>) -> Result<(), NbdError> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).await?;
    if !codec::is_structured(magic)? {
        let mut simple = [0; codec::SIMPLE_BYTES];
        reader.read_exact(&mut simple).await?;
        let (errno, cookie) = codec::simple_reply(&simple);
        let request = take(table, cookie)?;
        if errno == 0 {
            return Err(Malformed::new("a structured reply", "a simple one").into());
        }
        request.fail(ServerError { errno, text: String::new() });
        return Ok(());
    }
    let mut header = [0; codec::CHUNK_BYTES];
    reader.read_exact(&mut header).await?;
    let chunk = codec::chunk(&header)?;
    let mut request = take(table, chunk.cookie)?;
    take_chunk(reader, chunk, &mut request).await?;
    if !chunk.done {
        locked(table).in_flight.insert(chunk.cookie, request);
        return Ok(());
    }
    match request.trouble.take() {
        Some(error) => request.fail(error),
        None => {
            let InFlight { assembly, answer, _slot, .. } = request;
            let whole = assembly.finish();
            // A reply that lacks something was cut by a peer that does not keep to the protocol: nothing it says later
            // can be trusted either.
            let broken = whole.as_ref().err().cloned();
            let _ = answer.send(whole.map_err(NbdError::from));
            if let Some(error) = broken {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

async fn take_chunk(
    reader: &mut BufReader<OwnedReadHalf>,
    chunk: Chunk,
    request: &mut InFlight,
) -> Result<(), NbdError> {
    if let (ChunkKind::Data, Assembly::Read(buffer)) = (chunk.kind, &mut request.assembly) {
        let offset = reader.read_u64().await?;
        buffer.data(offset, chunk.length as usize - 8, reader).await??;
        return Ok(());
    }
    if chunk.kind == ChunkKind::Data {
        return Err(Malformed::new("a block status", "bytes").into());
    }
    let mut payload = vec![0; chunk.length as usize];
    reader.read_exact(&mut payload).await?;
    match (chunk.kind, &mut request.assembly) {
        (ChunkKind::None, _) if chunk.done => {}
        (ChunkKind::None, _) => return Err(Malformed::new("a chunk", "an empty one before the last").into()),
        (ChunkKind::Hole, Assembly::Read(buffer)) => {
            let (offset, length) = codec::hole(&payload)?;
            buffer.hole(offset, length as usize)?;
        }
        (ChunkKind::BlockStatus, Assembly::Status(lists)) => {
            let (context, list) = codec::block_status(&payload)?;
            lists.add(context, list)?;
        }
        (ChunkKind::Error | ChunkKind::ErrorAt, _) => {
            let error = codec::error(chunk.kind, &payload)?;
            request.trouble.get_or_insert(error);
        }
        (kind, _) => return Err(Malformed::new("a chunk of the command's reply", format!("{kind:?}")).into()),
    }
    Ok(())
}

fn take(table: &Mutex<Table>, cookie: u64) -> Result<InFlight, Malformed> {
    let found = locked(table).in_flight.remove(&cookie);
    found.ok_or_else(|| Malformed::new("a reply to one of our requests", format!("cookie {cookie:#x}")))
}

impl InFlight {
    fn fail(self, error: ServerError) {
        let Extent { offset, length } = self.extent;
        let _ = self.answer.send(Err(NbdError::Server { offset, length, error }));
    }
}
