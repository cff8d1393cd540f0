//! From a fresh connection to the transmission phase.

use crate::nbd::client::NbdError;
use crate::nbd::codec::{self, Malformed, OptionReply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Replies to one option: a peer that goes on for ever is refused.
const MAX_REPLIES: usize = 64;

/// What server and client agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Agreement {
    pub(super) size: u64,
    pub(super) flags: u16,
    pub(super) minimum: u32,
    pub(super) maximum: u32,
    /// Number of each context in the order it was asked for; `None` if the server does not have it.
    pub(super) contexts: Vec<Option<u32>>,
}

pub(super) async fn agree(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    export: &str,
    contexts: &[String],
) -> Result<Agreement, NbdError> {
    let mut hello = [0; codec::HELLO_BYTES];
    reader.read_exact(&mut hello).await?;
    writer.write_all(&codec::hello(&hello)?).await?;

    writer.write_all(&codec::plain_option(codec::OPT_STRUCTURED_REPLY)).await?;
    replies(reader, codec::OPT_STRUCTURED_REPLY).await?;

    let mut numbers = vec![None; contexts.len()];
    if !contexts.is_empty() {
        writer.write_all(&codec::set_meta_context(export, contexts)).await?;
        for reply in replies(reader, codec::OPT_SET_META_CONTEXT).await? {
            let OptionReply::Context { id, name } = reply else { continue };
            let place = contexts.iter().position(|wanted| *wanted == name);
            let place = place.ok_or_else(|| Malformed::new("a context that was asked for", "another one"))?;
            if numbers.contains(&Some(id)) {
                return Err(Malformed::new("contexts with numbers of their own", "the same number twice").into());
            }
            numbers[place] = Some(id);
        }
    }

    writer.write_all(&codec::go(export)).await?;
    let (mut export_info, mut minimum, mut maximum) = (None, 1, 32 << 20);
    for reply in replies(reader, codec::OPT_GO).await? {
        match reply {
            OptionReply::Export { size, flags } => export_info = Some((size, flags)),
            OptionReply::BlockSize { minimum: least, maximum: most } => (minimum, maximum) = (least, most),
            _ => {}
        }
    }
    let (size, flags) = export_info.ok_or_else(|| Malformed::new("the size of the export", "no word of it"))?;
    if i64::try_from(size).is_err() {
        return Err(Malformed::new("the size of the export", format!("{size}")).into());
    }
    Ok(Agreement { size, flags, minimum, maximum, contexts: numbers })
}

/// All replies to an option, up to its acknowledgement.
async fn replies(reader: &mut (impl AsyncRead + Unpin), option: u32) -> Result<Vec<OptionReply>, NbdError> {
    let mut replies = Vec::new();
    while replies.len() < MAX_REPLIES {
        let mut header = [0; codec::OPTION_REPLY_BYTES];
        reader.read_exact(&mut header).await?;
        let header = codec::option_reply_header(&header)?;
        if header.option != option {
            return Err(Malformed::new("a reply to the option sent", format!("one to option {}", header.option)).into());
        }
        let mut payload = vec![0; header.length as usize];
        reader.read_exact(&mut payload).await?;
        match codec::option_reply(header, &payload)? {
            OptionReply::Ack => return Ok(replies),
            OptionReply::Refused { kind: codec::REFUSED_TLS, .. } => return Err(NbdError::TlsRequired),
            OptionReply::Refused { kind, text } => {
                return Err(NbdError::Refused { unknown_export: kind == codec::REFUSED_UNKNOWN, text });
            }
            reply => replies.push(reply),
        }
    }
    Err(Malformed::new("the end of an option's replies", "more and more of them").into())
}
