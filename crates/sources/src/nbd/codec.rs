//! What goes over the wire, byte by byte. Pure: bytes in, values out, nothing allocated on the word of a peer before
//! its length has been found plausible.
//!
//! Numbers are big-endian. The names are those of the protocol's description (NetworkBlockDevice, `doc/proto.md`).

/// First words of a server.
const MAGIC: &[u8; 8] = b"NBDMAGIC";
/// Second words of a newstyle server, and first ones of every option.
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Length of a server's first words.
pub const HELLO_BYTES: usize = 18;
/// Length of the header of an option's reply.
pub const OPTION_REPLY_BYTES: usize = 20;
/// Length of a simple reply behind its magic number.
pub const SIMPLE_BYTES: usize = 12;
/// Length of a structured reply's header behind its magic number.
pub const CHUNK_BYTES: usize = 16;

/// Longest payload of an option's reply: names and messages have at most 4096 bytes by the protocol.
const MAX_OPTION_REPLY: u32 = 16 << 10;
/// Longest request for data of any client, by the protocol: no chunk can hold more.
const MAX_DATA: u32 = 32 << 20;
/// Extents in one block status chunk: what QEMU sends at most.
const MAX_STATUS_EXTENTS: u32 = 128 << 10;
/// Longest text of an error, by the protocol.
const MAX_ERROR_TEXT: u32 = 4096;

const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
const CHUNK_DONE: u16 = 1;

/// Option: agree on the export and begin.
pub const OPT_GO: u32 = 7;
/// Option: stop talking.
pub const OPT_ABORT: u32 = 2;
/// Option: structured replies.
pub const OPT_STRUCTURED_REPLY: u32 = 8;
/// Option: choose metadata contexts.
pub const OPT_SET_META_CONTEXT: u32 = 10;

/// Transmission flag: the server can be told not to fragment a read.
pub const EXPORT_SEND_DF: u16 = 1 << 7;
/// Request flag: one chunk, please.
pub const REQUEST_DF: u16 = 1 << 2;

/// Bytes that are not what the protocol allows at that place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the NBD server sent {seen} where {expected} was due")]
pub struct Malformed {
    /// What the protocol wants.
    pub expected: &'static str,
    /// What came.
    pub seen: String,
}

impl Malformed {
    /// `seen` came instead of `expected`.
    pub fn new(expected: &'static str, seen: impl Into<String>) -> Self {
        Self { expected, seen: seen.into() }
    }
}

/// Header of an option's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionReplyHeader {
    /// Which option it answers.
    pub option: u32,
    kind: u32,
    /// Bytes that follow, plausible.
    pub length: u32,
}

/// Reply to an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OptionReply {
    /// Done.
    Ack,
    /// Size and abilities of the export.
    Export {
        /// Bytes.
        size: u64,
        /// Transmission flags.
        flags: u16,
    },
    /// Which sizes of requests the server likes.
    BlockSize {
        /// Requests must be multiples of it.
        minimum: u32,
        /// Longest request.
        maximum: u32,
    },
    /// An information that nobody asked for.
    OtherInfo,
    /// A metadata context was chosen.
    Context {
        /// Its number in block status replies.
        id: u32,
        /// Its name.
        name: String,
    },
    /// Refused.
    Refused {
        /// The protocol's number of the error.
        kind: u32,
        /// The server's words.
        text: String,
    },
}

/// Kind of a refusal: there is no such export.
pub const REFUSED_UNKNOWN: u32 = 0x8000_0006;
/// Kind of a refusal: not before TLS.
pub const REFUSED_TLS: u32 = 0x8000_0005;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Bytes of a range.
    Read,
    /// Goodbye.
    Disconnect,
    /// What is known of a range.
    BlockStatus,
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// What.
    pub command: Command,
    /// Flags of the command.
    pub flags: u16,
    /// Comes back with the reply.
    pub cookie: u64,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
}

/// Header of a structured reply's chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// What it is.
    pub kind: ChunkKind,
    /// Whether it is the last one of its reply.
    pub done: bool,
    /// Whose reply.
    pub cookie: u64,
    /// Bytes that follow: plausible for the kind.
    pub length: u32,
}

/// Kinds of chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkKind {
    /// Nothing; ends a reply.
    None,
    /// Offset and bytes.
    Data,
    /// Offset and length of zeros.
    Hole,
    /// A context's number and its extents.
    BlockStatus,
    /// The request failed.
    Error,
    /// The request failed at an offset.
    ErrorAt,
}

/// What a block status says of some bytes, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// How many bytes; never none.
    pub length: u32,
    /// Flags of the context.
    pub flags: u32,
}

/// An error of the server, about one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerError {
    /// The protocol's number, close to Linux's errno.
    pub errno: u32,
    /// The server's words, perhaps none.
    pub text: String,
}

/// Checks a server's first words; gives the flags to answer with.
pub fn hello(bytes: &[u8; HELLO_BYTES]) -> Result<[u8; 4], Malformed> {
    let mut fields = Fields(bytes);
    if fields.take(8) != Some(MAGIC.as_slice()) {
        return Err(Malformed::new("'NBDMAGIC'", crate::wire::excerpt(&bytes[..8])));
    }
    if fields.u64() != Some(OPTION_MAGIC) {
        return Err(Malformed::new("the newstyle protocol", "another version of it"));
    }
    let flags = fields.u16().unwrap_or_default();
    if flags & FLAG_FIXED_NEWSTYLE == 0 {
        return Err(Malformed::new("the fixed newstyle protocol", format!("handshake flags {flags:#x}")));
    }
    Ok(u32::from(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)).to_be_bytes())
}

/// An option without data.
pub fn plain_option(option: u32) -> Vec<u8> {
    option_bytes(option, &[])
}

/// `SET_META_CONTEXT` for an export.
pub fn set_meta_context(export: &str, queries: &[String]) -> Vec<u8> {
    let mut data = text(export);
    data.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend(text(query));
    }
    option_bytes(OPT_SET_META_CONTEXT, &data)
}

/// `GO` for an export, with the wish to know its block sizes.
pub fn go(export: &str) -> Vec<u8> {
    const INFO_BLOCK_SIZE: u16 = 3;
    let mut data = text(export);
    data.extend(1u16.to_be_bytes());
    data.extend(INFO_BLOCK_SIZE.to_be_bytes());
    option_bytes(OPT_GO, &data)
}

/// Header of an option's reply.
pub fn option_reply_header(bytes: &[u8; OPTION_REPLY_BYTES]) -> Result<OptionReplyHeader, Malformed> {
    const EXPECTED: &str = "a reply to an option";
    let mut fields = Fields(bytes);
    let (magic, option, kind, length) = (fields.u64(), fields.u32(), fields.u32(), fields.u32());
    let (Some(OPTION_REPLY_MAGIC), Some(option), Some(kind), Some(length)) = (magic, option, kind, length) else {
        return Err(Malformed::new(EXPECTED, crate::wire::excerpt(bytes)));
    };
    if length > MAX_OPTION_REPLY {
        return Err(Malformed::new(EXPECTED, format!("one of {length} bytes")));
    }
    Ok(OptionReplyHeader { option, kind, length })
}

/// The reply whose header said `header`.
pub fn option_reply(header: OptionReplyHeader, payload: &[u8]) -> Result<OptionReply, Malformed> {
    const REP_ACK: u32 = 1;
    const REP_INFO: u32 = 3;
    const REP_META_CONTEXT: u32 = 4;
    const REP_ERROR: u32 = 1 << 31;
    let mut fields = Fields(payload);
    let reply = match header.kind {
        REP_ACK => fields.end().map(|()| OptionReply::Ack),
        REP_INFO => info(&mut fields),
        REP_META_CONTEXT => fields.u32().map(|id| OptionReply::Context { id, name: fields.rest_text() }),
        kind if kind & REP_ERROR != 0 => Some(OptionReply::Refused { kind, text: fields.rest_text() }),
        kind => return Err(Malformed::new("a known reply to an option", format!("number {kind:#x}"))),
    };
    reply.ok_or_else(|| {
        Malformed::new("a whole reply to an option", format!("{} bytes of kind {:#x}", payload.len(), header.kind))
    })
}

/// A request's bytes.
pub fn request(request: Request) -> [u8; 28] {
    let command: u16 = match request.command {
        Command::Read => 0,
        Command::Disconnect => 2,
        Command::BlockStatus => 7,
    };
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    bytes[4..6].copy_from_slice(&request.flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&command.to_be_bytes());
    bytes[8..16].copy_from_slice(&request.cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&request.offset.to_be_bytes());
    bytes[24..].copy_from_slice(&request.length.to_be_bytes());
    bytes
}

/// Whether a reply that begins with these bytes is a structured one.
pub fn is_structured(magic: [u8; 4]) -> Result<bool, Malformed> {
    match u32::from_be_bytes(magic) {
        STRUCTURED_REPLY_MAGIC => Ok(true),
        SIMPLE_REPLY_MAGIC => Ok(false),
        other => Err(Malformed::new("a reply", format!("{other:#010x}"))),
    }
}

/// The error number and the cookie of a simple reply.
pub fn simple_reply(bytes: &[u8; SIMPLE_BYTES]) -> (u32, u64) {
    let mut fields = Fields(bytes);
    (fields.u32().unwrap_or_default(), fields.u64().unwrap_or_default())
}

/// Header of a structured reply's chunk. Its length fits its kind.
pub fn chunk(bytes: &[u8; CHUNK_BYTES]) -> Result<Chunk, Malformed> {
    let mut fields = Fields(bytes);
    let (flags, kind) = (fields.u16().unwrap_or_default(), fields.u16().unwrap_or_default());
    let (cookie, length) = (fields.u64().unwrap_or_default(), fields.u32().unwrap_or_default());
    let (kind, fits) = match kind {
        0 => (ChunkKind::None, length == 0),
        1 => (ChunkKind::Data, (9..=8 + MAX_DATA).contains(&length)),
        2 => (ChunkKind::Hole, length == 12),
        5 => (ChunkKind::BlockStatus, (12..=4 + 8 * MAX_STATUS_EXTENTS).contains(&length) && length % 8 == 4),
        0x8001 => (ChunkKind::Error, (6..=6 + MAX_ERROR_TEXT).contains(&length)),
        0x8002 => (ChunkKind::ErrorAt, (14..=14 + MAX_ERROR_TEXT).contains(&length)),
        other => return Err(Malformed::new("a known chunk", format!("number {other:#x}"))),
    };
    if !fits {
        return Err(Malformed::new("a chunk", format!("one of kind {kind:?} with {length} bytes")));
    }
    Ok(Chunk { kind, done: flags & CHUNK_DONE != 0, cookie, length })
}

/// Offset and length of a hole.
pub fn hole(payload: &[u8]) -> Result<(u64, u32), Malformed> {
    let mut fields = Fields(payload);
    let hole = fields.u64().zip(fields.u32()).filter(|(_, length)| *length > 0);
    hole.filter(|_| fields.0.is_empty()).ok_or_else(|| Malformed::new("a hole", format!("{} bytes", payload.len())))
}

/// Number of the context and what it says.
pub fn block_status(payload: &[u8]) -> Result<(u32, Vec<Status>), Malformed> {
    let refuse = |seen: String| Malformed::new("a block status", seen);
    let mut fields = Fields(payload);
    let context = fields.u32().ok_or_else(|| refuse(format!("{} bytes", payload.len())))?;
    if fields.0.is_empty() || !fields.0.len().is_multiple_of(8) {
        return Err(refuse(format!("{} bytes", payload.len())));
    }
    let mut extents = Vec::with_capacity(fields.0.len() / 8);
    while let Some((length, flags)) = fields.u32().zip(fields.u32()) {
        if length == 0 {
            return Err(refuse("an extent of no bytes".into()));
        }
        extents.push(Status { length, flags });
    }
    Ok((context, extents))
}

/// What an error chunk says.
pub fn error(kind: ChunkKind, payload: &[u8]) -> Result<ServerError, Malformed> {
    let parse = |fields: &mut Fields<'_>| {
        let errno = fields.u32()?;
        let length = fields.u16()?;
        let text = String::from_utf8_lossy(fields.take(usize::from(length))?).into_owned();
        if kind == ChunkKind::ErrorAt {
            fields.u64()?;
        }
        fields.end()?;
        Some(ServerError { errno, text })
    };
    parse(&mut Fields(payload)).ok_or_else(|| Malformed::new("an error", format!("{} bytes", payload.len())))
}

fn info(fields: &mut Fields<'_>) -> Option<OptionReply> {
    match fields.u16()? {
        0 => {
            let (size, flags) = (fields.u64()?, fields.u16()?);
            fields.end().map(|()| OptionReply::Export { size, flags })
        }
        3 => {
            let (minimum, _preferred, maximum) = (fields.u32()?, fields.u32()?, fields.u32()?);
            fields.end()?;
            // Powers of two only, and a minimum that one of our reads can hold.
            let plausible = minimum.is_power_of_two() && minimum <= 64 << 10 && maximum >= minimum;
            plausible.then_some(OptionReply::BlockSize { minimum, maximum })
        }
        _ => Some(OptionReply::OtherInfo),
    }
}

fn option_bytes(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// Bytes that are taken from the front, never beyond their end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn rest_text(&mut self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply_header(kind: u32, length: u32) -> [u8; OPTION_REPLY_BYTES] {
        let mut bytes = [0; OPTION_REPLY_BYTES];
        bytes[..8].copy_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
        bytes[8..12].copy_from_slice(&OPT_GO.to_be_bytes());
        bytes[12..16].copy_from_slice(&kind.to_be_bytes());
        bytes[16..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    fn chunk_header(kind: u16, length: u32) -> [u8; CHUNK_BYTES] {
        let mut bytes = [0; CHUNK_BYTES];
        bytes[1] = 1;
        bytes[2..4].copy_from_slice(&kind.to_be_bytes());
        bytes[4..12].copy_from_slice(&77u64.to_be_bytes());
        bytes[12..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn first_words_are_checked() {
        let good = *b"NBDMAGICIHAVEOPT\x00\x03";
        assert_eq!(hello(&good), Ok([0, 0, 0, 3]));
        assert!(hello(b"NBDMAGICIHAVEOPT\x00\x02").is_err(), "not fixed newstyle");
        assert!(hello(b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x03").is_err(), "oldstyle");
        assert!(hello(b"{\"QMP\": {\"version\"").is_err());
    }

    #[test]
    fn oversized_option_replies_are_refused_before_they_are_read() {
        assert!(option_reply_header(&reply_header(1, 0)).is_ok());
        assert!(option_reply_header(&reply_header(1, u32::MAX)).is_err());
        let header = option_reply_header(&reply_header(3, 12)).expect("good header");
        let export = [&[0, 0][..], &(1u64 << 40).to_be_bytes(), &[0, 3]].concat();
        assert_eq!(option_reply(header, &export), Ok(OptionReply::Export { size: 1 << 40, flags: 3 }));
        assert!(option_reply(header, &export[..11]).is_err());
        let sizes =
            |min: u32| [&[0, 3][..], &min.to_be_bytes(), &4096u32.to_be_bytes(), &MAX_DATA.to_be_bytes()].concat();
        assert!(option_reply(header, &sizes(512)).is_ok());
        for lie in [0, 3, 1 << 30] {
            assert!(option_reply(header, &sizes(lie)).is_err(), "{lie}");
        }
    }

    #[test]
    fn lengths_of_chunks_must_fit_their_kind() {
        for (kind, good, bad) in [(0, 0, 1), (1, 9, 8), (2, 12, 13), (5, 12, 16), (0x8001, 6, 5), (0x8002, 14, 13)] {
            assert_eq!(chunk(&chunk_header(kind, good)).expect("fits").cookie, 77);
            assert!(chunk(&chunk_header(kind, bad)).is_err(), "{kind:#x}");
            assert!(chunk(&chunk_header(kind, u32::MAX - 3)).is_err(), "{kind:#x}");
        }
        assert!(chunk(&chunk_header(9, 0)).is_err(), "unknown kind");
    }

    #[test]
    fn extents_of_no_bytes_are_refused() {
        let status = |length: u32| [&[0, 0, 0, 1][..], &length.to_be_bytes(), &[0, 0, 0, 3]].concat();
        assert_eq!(block_status(&status(512)), Ok((1, vec![Status { length: 512, flags: 3 }])));
        assert!(block_status(&status(0)).is_err());
        assert!(hole(&[0; 12]).is_err());
    }

    #[test]
    fn an_error_tells_its_words() {
        let payload = [&5u32.to_be_bytes()[..], &[0, 2], b"no", &[0; 8]].concat();
        assert_eq!(error(ChunkKind::ErrorAt, &payload), Ok(ServerError { errno: 5, text: "no".into() }));
        assert!(error(ChunkKind::Error, &payload).is_err(), "bytes behind the end");
        assert!(error(ChunkKind::Error, &[0, 0, 0, 5, 255, 255, 0]).is_err(), "a text longer than the chunk");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            hello_bytes: [u8; HELLO_BYTES], reply: [u8; OPTION_REPLY_BYTES], simple: [u8; SIMPLE_BYTES],
            head: [u8; CHUNK_BYTES], payload in proptest::collection::vec(any::<u8>(), 0..200), kind: u32,
        ) {
            let _ = (hello(&hello_bytes), option_reply_header(&reply), simple_reply(&simple), chunk(&head));
            let _ = (hole(&payload), error(ChunkKind::Error, &payload), error(ChunkKind::ErrorAt, &payload));
            let _ = option_reply(OptionReplyHeader { option: 7, kind, length: payload.len() as u32 }, &payload);
            for kind in [1, 3, 4, 0x8000_0001] {
                let _ = option_reply(OptionReplyHeader { option: 7, kind, length: payload.len() as u32 }, &payload);
            }
            if let Ok((_, extents)) = block_status(&payload) {
                prop_assert!(extents.len() * 8 < payload.len() && extents.iter().all(|e| e.length > 0));
            }
        }

        #[test]
        fn mutated_headers_keep_the_bounds(at in 0usize..CHUNK_BYTES, byte: u8, kind in 0u16..7, length in 0u32..64) {
            let mut bytes = chunk_header(kind, length);
            bytes[at] = byte;
            if let Ok(chunk) = chunk(&bytes) {
                prop_assert!(chunk.length <= 8 + MAX_DATA);
            }
            let mut bytes = reply_header(u32::from(kind), length);
            bytes[at] = byte;
            if let Ok(header) = option_reply_header(&bytes) {
                prop_assert!(header.length <= MAX_OPTION_REPLY);
            }
        }
    }
}
