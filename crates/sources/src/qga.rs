//! The guest agent: a JSON object per line over a channel that keeps what nobody read.
//!
//! So a conversation begins with `guest-sync-delimited`: what an earlier client left behind is thrown away up to the
//! byte 0xFF that the agent puts before its answer. The socket serves one client at a time, and connecting succeeds
//! without an agent in the guest: only an answer proves one.

use crate::wire::excerpt;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest line, and most rubbish before the first answer.
const MAX_BYTES: u64 = 1 << 20;
/// Never part of UTF-8, so it cannot be part of a message.
const DELIMITER: u8 = 0xff;

/// What can go wrong with an agent.
#[derive(Debug, thiserror::Error)]
pub enum QgaError {
    /// The channel's socket is not there or refuses.
    #[error("the guest agent's socket {} cannot be reached: {reason}", path.display())]
    Unreachable {
        /// Which socket.
        path: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// No agent in the guest, another client on its channel, or it hangs.
    #[error("no guest agent answered {command} within {} s", waited.as_secs_f32())]
    NoAnswer {
        /// What was asked.
        command: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// The agent said no.
    #[error("the guest agent refused {command}: {desc}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Its words.
        desc: String,
    },
    /// Something else answers there.
    #[error("the guest agent's channel gave {seen} instead of an answer")]
    Malformed {
        /// What came.
        seen: String,
    },
}

impl QgaError {
    /// Whether nobody listens on the channel any more.
    pub fn is_gone(&self) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        matches!(self, QgaError::Unreachable { reason, .. } if gone.contains(&reason.kind()))
    }
}

/// A conversation with an agent that has answered.
pub struct Agent {
    stream: BufReader<UnixStream>,
}

impl Agent {
    /// Connects and waits for the agent to answer; `sync_id` marks the answer as ours.
    pub async fn connect(path: &Path, sync_id: u64, limit: Duration) -> Result<Self, QgaError> {
        const COMMAND: &str = "guest-sync-delimited";
        let unreachable = |reason| QgaError::Unreachable { path: path.to_owned(), reason };
        let attempt = async {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            let mut agent = Self { stream: BufReader::new(stream) };
            // The agent reads it as a signed number of 64 bits.
            let id = sync_id >> 1;
            agent.send(&[DELIMITER], &json!({ "execute": COMMAND, "arguments": { "id": id } })).await?;
            loop {
                agent.skip_to_delimiter().await?;
                if agent.line().await?.get("return").and_then(Value::as_u64) == Some(id) {
                    return Ok(agent);
                }
            }
        };
        timeout(limit, attempt).await.map_err(|_| QgaError::NoAnswer { command: COMMAND, waited: limit })?
    }

    /// Whether file systems are frozen.
    pub async fn is_frozen(&mut self, limit: Duration) -> Result<bool, QgaError> {
        let status = self.execute("guest-fsfreeze-status", limit).await?;
        Ok(status.as_str() == Some("frozen"))
    }

    /// Flushes and freezes; gives the number of file systems.
    pub async fn freeze(&mut self, limit: Duration) -> Result<u64, QgaError> {
        let frozen = self.execute("guest-fsfreeze-freeze", limit).await?;
        frozen.as_u64().ok_or_else(|| QgaError::Malformed { seen: excerpt(frozen.to_string().as_bytes()) })
    }

    /// Thaws; does no harm if nothing is frozen. Gives the number of file systems that were: fewer than were frozen
    /// if something else has thawed some before.
    pub async fn thaw(&mut self, limit: Duration) -> Result<u64, QgaError> {
        let thawed = self.execute("guest-fsfreeze-thaw", limit).await?;
        thawed.as_u64().ok_or_else(|| QgaError::Malformed { seen: excerpt(thawed.to_string().as_bytes()) })
    }

    /// What runs in the guest, in the words of `guest-get-osinfo`.
    pub async fn os_info(&mut self, limit: Duration) -> Result<Value, QgaError> {
        self.execute("guest-get-osinfo", limit).await
    }

    async fn execute(&mut self, command: &'static str, limit: Duration) -> Result<Value, QgaError> {
        let exchange = async {
            self.send(&[], &json!({ "execute": command })).await?;
            self.line().await
        };
        let mut answer =
            timeout(limit, exchange).await.map_err(|_| QgaError::NoAnswer { command, waited: limit })??;
        if let Some(desc) = answer.pointer("/error/desc").and_then(Value::as_str) {
            return Err(QgaError::Refused { command, desc: desc.to_owned() });
        }
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(QgaError::Malformed { seen: excerpt(answer.to_string().as_bytes()) }),
        }
    }

    async fn send(&mut self, before: &[u8], command: &Value) -> Result<(), QgaError> {
        let line = [before, command.to_string().as_bytes(), b"\n"].concat();
        self.stream.write_all(&line).await.map_err(|error| closed(&error))
    }

    async fn skip_to_delimiter(&mut self) -> Result<(), QgaError> {
        let mut rubbish = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_BYTES);
        limited.read_until(DELIMITER, &mut rubbish).await.map_err(|error| closed(&error))?;
        if rubbish.last() == Some(&DELIMITER) {
            return Ok(());
        }
        Err(QgaError::Malformed { seen: excerpt(&rubbish) })
    }

    async fn line(&mut self) -> Result<Value, QgaError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_BYTES);
        limited.read_until(b'\n', &mut line).await.map_err(|error| closed(&error))?;
        serde_json::from_slice(&line).map_err(|_| QgaError::Malformed { seen: excerpt(&line) })
    }
}

fn closed(error: &io::Error) -> QgaError {
    QgaError::Malformed { seen: format!("an end: {error}") }
}
