//! One QMP connection: open, work, close quickly.
//!
//! A QMP socket of QEMU serves one client at a time: a second one is left in the listen queue without a word. So a
//! connection is never held while data moves, and a silent socket is looked at twice: somebody else may be connected.

use crate::qmp::codec::{self, MAX_LINE, Message, NotQmp};
use crate::wire::excerpt;
use godwit_model::failure::{Code, Failure};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long a conversation may take.
#[derive(Clone, Copy, Debug)]
pub struct QmpLimits {
    /// Until a server that nobody else talks to has greeted.
    pub greeting: Duration,
    /// Until another client has left.
    pub busy: Duration,
    /// Until a command is answered.
    pub command: Duration,
}

impl Default for QmpLimits {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(2),
            busy: Duration::from_secs(15),
            // A transaction drains all requests of the guest that are in flight: slow disks take their time.
            command: Duration::from_secs(30),
        }
    }
}

/// What can go wrong in a conversation.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nothing at that path.
    #[error("there is no socket {}", path.display())]
    NoSocket {
        /// Where it should be.
        path: PathBuf,
    },
    /// A socket file that nobody listens on.
    #[error("nobody listens on {}: QEMU has ended", path.display())]
    NobodyListens {
        /// Which socket.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {} failed: {reason}", path.display())]
    Io {
        /// "connecting to", "reading from" …
        action: &'static str,
        /// Which socket.
        path: PathBuf,
        /// The system's words: kept as text, as they belong into the message.
        reason: io::Error,
    },
    /// Something else answers there.
    #[error("{} is not a QMP socket: {seen} came instead of a greeting", path.display())]
    NotQmp {
        /// Which socket.
        path: PathBuf,
        /// What came.
        seen: String,
    },
    /// Somebody accepted and says nothing.
    #[error("{} is not a QMP socket, or QEMU hangs: no greeting within {} s", path.display(), waited.as_secs_f32())]
    Silent {
        /// Which socket.
        path: PathBuf,
        /// How long we listened.
        waited: Duration,
    },
    /// Somebody else uses it.
    #[error(
        "another client is connected to {}, and a QMP socket serves one at a time; it did not leave within {} s",
        path.display(), waited.as_secs_f32()
    )]
    Busy {
        /// Which socket.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// A line within the conversation that is no message.
    #[error("{} broke the protocol: {seen}", path.display())]
    Broken {
        /// Which socket.
        path: PathBuf,
        /// What was seen.
        seen: String,
    },
    /// The connection ended.
    #[error("{} was closed while it was needed: QEMU has ended, or another program took the socket", path.display())]
    Closed {
        /// Which socket.
        path: PathBuf,
    },
    /// No answer.
    #[error("{} did not answer {command} within {} s", path.display(), waited.as_secs_f32())]
    Timeout {
        /// Which socket.
        path: PathBuf,
        /// Which command.
        command: String,
        /// How long we waited.
        waited: Duration,
    },
    /// QEMU refused a command.
    #[error("QEMU refused {command}: {desc}")]
    Refused {
        /// Which command.
        command: String,
        /// QEMU's error class.
        class: String,
        /// QEMU's own sentence.
        desc: String,
    },
}

impl QmpError {
    /// Whether nothing runs behind the socket any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, QmpError::NoSocket { .. } | QmpError::NobodyListens { .. })
    }

    /// Whether the command does not exist in this QEMU.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, QmpError::Refused { class, .. } if class == "CommandNotFound")
    }
}

/// The one door through which QMP errors leave this crate.
impl From<QmpError> for Failure {
    fn from(error: QmpError) -> Failure {
        let code = match &error {
            QmpError::NoSocket { .. }
            | QmpError::NobodyListens { .. }
            | QmpError::Io { .. }
            | QmpError::Closed { .. }
            | QmpError::Busy { .. } => Code::SourceUnreachable,
            QmpError::NotQmp { .. } | QmpError::Silent { .. } | QmpError::Broken { .. } => Code::SourceProtocol,
            QmpError::Timeout { .. } => Code::TimedOut,
            QmpError::Refused { .. } => Code::SourceRefused,
        };
        Failure::new(code, error.to_string())
    }
}

/// A connection that is ready for commands. Dropping it closes it.
pub struct QmpClient {
    path: PathBuf,
    version: String,
    peer_pid: Option<i32>,
    limits: QmpLimits,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next_id: u64,
    /// A command was sent and its answer not read: set while waiting, so that a cancelled wait is noticed.
    in_doubt: bool,
}

impl QmpClient {
    /// Connects and leaves negotiation mode.
    pub async fn connect(path: &Path, limits: QmpLimits) -> Result<Self, QmpError> {
        let stream = open_socket(path, limits.busy).await?;
        let peer_pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
        let (read, writer) = stream.into_split();
        let mut reader = BufReader::new(read);
        let line = greeting(&mut reader, path, limits).await?;
        let version = match codec::message(&line) {
            Ok(Message::Greeting { version }) => version,
            _ => return Err(QmpError::NotQmp { path: path.to_owned(), seen: excerpt(&line) }),
        };
        let path = path.to_owned();
        let mut client = Self { path, version, peer_pid, limits, reader, writer, next_id: 1, in_doubt: false };
        client.execute("qmp_capabilities", Value::Null).await?;
        Ok(client)
    }

    /// Version of QEMU, for example `10.0.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Process that listens on the socket, as far as the kernel tells.
    pub fn peer_pid(&self) -> Option<i32> {
        self.peer_pid
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs one command. After a timeout or a cancelled call the connection is of no use any more and says so.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        if self.in_doubt {
            return Err(QmpError::Closed { path: self.path.clone() });
        }
        self.in_doubt = true;
        let waited = self.limits.command;
        let answer = match timeout(waited, self.exchange(command, &arguments)).await {
            Ok(Err(QmpError::Refused { command, class, desc })) => {
                self.in_doubt = false;
                return Err(QmpError::Refused { command, class, desc });
            }
            Ok(answer) => answer?,
            Err(_) => {
                let command = command.to_owned();
                return Err(QmpError::Timeout { path: self.path.clone(), command, waited });
            }
        };
        self.in_doubt = false;
        Ok(answer)
    }

    async fn exchange(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let id = self.next_id;
        self.next_id += 1;
        tracing::debug!(command, %arguments, socket = %self.path.display(), "QMP command");
        let line = codec::command(id, command, arguments);
        self.writer.write_all(&line).await.map_err(|reason| lost(&self.path, "writing to", reason))?;
        loop {
            let line = read_line(&mut self.reader, &self.path).await?;
            match codec::message(&line) {
                Ok(Message::Event { name }) => tracing::trace!(name, "QMP event"),
                Ok(Message::Return { id: Some(got), value }) if got == id => return Ok(value),
                Ok(Message::Error { id: Some(got), class, desc }) if got == id => {
                    return Err(QmpError::Refused { command: command.to_owned(), class, desc });
                }
                Ok(_) => return Err(self.broken(&line)),
                Err(NotQmp { .. }) => return Err(self.broken(&line)),
            }
        }
    }

    fn broken(&self, line: &[u8]) -> QmpError {
        QmpError::Broken { path: self.path.clone(), seen: excerpt(line) }
    }
}

async fn open_socket(path: &Path, bound: Duration) -> Result<UnixStream, QmpError> {
    let attempt = async {
        loop {
            match UnixStream::connect(path).await {
                // The listen queue is full: others wait before us.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    };
    match timeout(bound, attempt).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::NotFound => QmpError::NoSocket { path: path.to_owned() },
            io::ErrorKind::ConnectionRefused => QmpError::NobodyListens { path: path.to_owned() },
            _ => QmpError::Io { action: "connecting to", path: path.to_owned(), reason: error },
        }),
        Err(_) => Err(QmpError::Busy { path: path.to_owned(), waited: bound }),
    }
}

async fn greeting(reader: &mut BufReader<OwnedReadHalf>, path: &Path, limits: QmpLimits) -> Result<Vec<u8>, QmpError> {
    // A server of another protocol may send something without a line end: what came within the bound is judged.
    match timeout(limits.greeting, first_bytes(reader, path)).await {
        Ok(begun) => begun?,
        Err(_) if !someone_else_is_served(path) => {
            return Err(QmpError::Silent { path: path.to_owned(), waited: limits.greeting });
        }
        Err(_) => {
            let rest = limits.busy.saturating_sub(limits.greeting);
            let busy = |_| QmpError::Busy { path: path.to_owned(), waited: limits.busy };
            timeout(rest, first_bytes(reader, path)).await.map_err(busy)??;
        }
    }
    let seen = excerpt(reader.buffer());
    if reader.buffer().first() != Some(&b'{') {
        return Err(QmpError::NotQmp { path: path.to_owned(), seen });
    }
    let cut = |_| QmpError::NotQmp { path: path.to_owned(), seen: seen.clone() };
    match timeout(limits.greeting, first_of_ours(reader, path)).await.map_err(cut)? {
        Err(QmpError::Closed { .. } | QmpError::Broken { .. }) => {
            Err(QmpError::NotQmp { path: path.to_owned(), seen: seen.clone() })
        }
        line => line,
    }
}

/// The first line that belongs to this conversation. QEMU accepts a connection before it has taken leave of the one
/// before: an event of that moment still comes out here, ahead of the greeting.
async fn first_of_ours(reader: &mut BufReader<OwnedReadHalf>, path: &Path) -> Result<Vec<u8>, QmpError> {
    loop {
        let line = read_line(reader, path).await?;
        match codec::message(&line) {
            Ok(Message::Event { name }) => tracing::trace!(name, "QMP event before the greeting"),
            _ => return Ok(line),
        }
    }
}

async fn first_bytes(reader: &mut BufReader<OwnedReadHalf>, path: &Path) -> Result<(), QmpError> {
    let bytes = reader.fill_buf().await.map_err(|reason| lost(path, "reading from", reason))?;
    if bytes.is_empty() {
        return Err(QmpError::NotQmp { path: path.to_owned(), seen: "the end of the connection".into() });
    }
    Ok(())
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>, path: &Path) -> Result<Vec<u8>, QmpError> {
    let mut line = Vec::new();
    let read = reader.take(MAX_LINE as u64).read_until(b'\n', &mut line).await;
    read.map_err(|reason| lost(path, "reading from", reason))?;
    if line.last() == Some(&b'\n') {
        return Ok(line);
    }
    if line.len() >= MAX_LINE {
        return Err(QmpError::Broken { path: path.to_owned(), seen: format!("a line of more than {MAX_LINE} bytes") });
    }
    Err(QmpError::Closed { path: path.to_owned() })
}

fn lost(path: &Path, action: &'static str, reason: io::Error) -> QmpError {
    match reason.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => QmpError::Closed { path: path.to_owned() },
        _ => QmpError::Io { action, path: path.to_owned(), reason },
    }
}

/// Whether a connection to the socket waits in its listen queue while another one is being served, by the kernel's
/// own list. Without that list the answer is no.
fn someone_else_is_served(path: &Path) -> bool {
    let list = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    has_waiting_and_served(&list, path)
}

fn has_waiting_and_served(list: &str, path: &Path) -> bool {
    let mut waiting = false;
    let mut served = false;
    for line in list.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(state), Some(bound)) = (fields.nth(5), fields.nth(1)) else { continue };
        // A server may have bound a relative path: then only the file name can be compared.
        let bound = Path::new(bound);
        let same = if bound.is_absolute() { bound == path } else { bound.file_name() == path.file_name() };
        waiting |= same && state == "02";
        served |= same && state == "03";
    }
    waiting && served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_tells_who_is_served() {
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let listening = "0000000000000000: 00000002 00000000 00010000 0001 01 27150 /run/x.sock\n";
        let served = "0000000000000000: 00000003 00000000 00000000 0001 03 27152 /run/x.sock\n";
        let waiting = "0000000000000000: 00000002 00000000 00000000 0001 02     0 /run/x.sock\n";
        let path = Path::new("/run/x.sock");
        assert!(!has_waiting_and_served(&format!("{head}{listening}{served}"), path));
        assert!(!has_waiting_and_served(&format!("{head}{listening}{waiting}"), path));
        assert!(has_waiting_and_served(&format!("{head}{listening}{served}{waiting}"), path));
        assert!(!has_waiting_and_served(&format!("{head}{listening}{served}{waiting}"), Path::new("/run/y.sock")));
    }
}
