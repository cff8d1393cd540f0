//! What goes over the wire, byte by byte, as a server sees it. Pure: bytes in, values out, nothing allocated on the word
//! of a client before its length has been found plausible.
//!
//! Numbers are big-endian. The names are those of the protocol's description (NetworkBlockDevice, `doc/proto.md`).
//! `godwit_sources` has the client's half of it; the two share no more than a few magic numbers. What other people's
//! clients make of these bytes is tested with them (`tests/cli/serve_image.rs`).

use bytes::Buf;

/// First words of a server.
const MAGIC: &[u8; 8] = b"NBDMAGIC";
/// Second words of a newstyle server, and first ones of every option.
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
/// Zeros behind the answer to `EXPORT_NAME`, for a client that did not say that it can do without.
const PADDING: usize = 124;

/// Length of an option's header.
pub const OPTION_BYTES: usize = 16;
/// Length of a request's header.
pub const REQUEST_BYTES: usize = 28;
/// Longest data of an option. Names have at most [`MAX_NAME`] bytes and a client knows a handful of contexts.
pub const MAX_OPTION: u32 = 64 << 10;
/// Longest name, by the protocol.
const MAX_NAME: usize = 4096;
/// Most questions in one option: each may cost an answer.
const MAX_QUERIES: usize = 64;
/// Longest request for data or with data: what a client that knows no better may send, by the protocol.
pub const MAX_DATA: u32 = 32 << 20;

/// The only metadata context that we have.
pub const ALLOCATION: &str = "base:allocation";
/// Its number in replies.
const ALLOCATION_ID: u32 = 1;
/// Of a range: nothing is stored for it.
const STATE_HOLE: u32 = 1;
/// Of a range: it reads as zeros.
const STATE_ZERO: u32 = 2;

/// Transmission flags of every export: flags are there; flush; several connections see the same.
const EXPORT_ALWAYS: u16 = 1 | 1 << 2 | 1 << 8;
const EXPORT_READ_ONLY: u16 = 1 << 1;
/// Forced unit access, trim, write zeroes.
const EXPORT_WRITABLE: u16 = 1 << 3 | 1 << 5 | 1 << 6;
/// A reply can be had in one piece: all of ours are.
const EXPORT_SEND_DF: u16 = 1 << 7;

/// Request flag: durable before it is answered.
pub const REQUEST_FUA: u16 = 1;
/// Request flag: zeros that take space.
pub const REQUEST_NO_HOLE: u16 = 1 << 1;
/// Request flag: one chunk, please.
const REQUEST_DF: u16 = 1 << 2;
/// Request flag: one extent, please.
pub const REQUEST_ONE: u16 = 1 << 3;

/// Bytes that are not what the protocol allows at that place: the client is not to be talked to any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an NBD client sent {seen} where {expected} was due")]
pub struct Malformed {
    expected: &'static str,
    seen: String,
}

impl Malformed {
    fn new(expected: &'static str, seen: impl Into<String>) -> Self {
        Self { expected, seen: seen.into() }
    }
}

/// Number of an error, as the protocol has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    /// The export cannot be written to.
    Permission = 1,
    /// It could not be done.
    Io = 5,
    /// The request makes no sense.
    Invalid = 22,
    /// No space, or beyond the end.
    NoSpace = 28,
    /// The reply would be too large.
    Overflow = 75,
}

/// Header of an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionHeader {
    /// Which; may be one that nobody knows.
    pub option: u32,
    /// Bytes that follow, at most [`MAX_OPTION`].
    pub length: u32,
}

/// What a client asks before it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Begin with this export, without a word.
    ExportName(String),
    /// Goodbye.
    Abort,
    /// Which exports are there?
    List,
    /// What is this export like? Begin with it, if so wanted.
    Info {
        /// Name of the export.
        name: String,
        /// Numbers of what it wants to know.
        wants: Vec<u16>,
        /// Whether to begin.
        go: bool,
    },
    /// Structured replies.
    StructuredReply,
    /// Metadata contexts: choose them, or only list them.
    Contexts {
        /// Name of the export.
        name: String,
        /// Which ones.
        queries: Vec<String>,
        /// Whether to choose them.
        choose: bool,
    },
    /// What nobody knows.
    Unknown,
}

/// Kinds of replies to options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ReplyKind {
    /// Done.
    Ack = 1,
    /// An export.
    Server = 2,
    /// A detail of an export.
    Info = 3,
    /// A metadata context.
    Context = 4,
    /// We do not know the option.
    Unsupported = 0x8000_0001,
    /// The option makes no sense.
    Invalid = 0x8000_0003,
    /// There is no such export.
    NoSuchExport = 0x8000_0006,
}

/// What a client may know of an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Its first name: the number of the volume.
    pub name: String,
    /// Its other name: the device.
    pub alias: String,
    /// For people.
    pub description: String,
    /// Bytes.
    pub size: u64,
    /// Whether it may be written to.
    pub writable: bool,
}

impl Export {
    /// Transmission flags.
    pub fn flags(&self, structured: bool) -> u16 {
        let df = if structured { EXPORT_SEND_DF } else { 0 };
        EXPORT_ALWAYS | df | if self.writable { EXPORT_WRITABLE } else { EXPORT_READ_ONLY }
    }
}

/// What a client wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Bytes of a range.
    Read,
    /// Bytes follow; keep them.
    Write,
    /// Goodbye.
    Disconnect,
    /// Make durable what was written.
    Flush,
    /// Nobody needs this range any more.
    Trim,
    /// Zeros.
    WriteZeroes,
    /// What is known of a range.
    BlockStatus,
    /// What nobody knows.
    Unknown,
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// What.
    pub command: Command,
    /// Flags of the command.
    pub flags: u16,
    /// Goes back with the reply.
    pub cookie: u64,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
}

/// A range of a block status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// How many bytes.
    pub length: u32,
    /// Whether it is a hole and reads as zeros; else it may hold anything.
    pub is_hole: bool,
}

/// A server's first words.
pub fn hello() -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
    bytes[16..].copy_from_slice(&(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
    bytes
}

/// Whether a client that answers so can do without padding.
pub fn can_do_without_padding(flags: [u8; 4]) -> Result<bool, Malformed> {
    let flags = u32::from_be_bytes(flags);
    let (fixed, no_zeroes) = (u32::from(FLAG_FIXED_NEWSTYLE), u32::from(FLAG_NO_ZEROES));
    if flags & fixed == 0 || flags & !(fixed | no_zeroes) != 0 {
        return Err(Malformed::new("flags of the fixed newstyle protocol", format!("{flags:#x}")));
    }
    Ok(flags & no_zeroes != 0)
}

/// An option's header.
pub fn option_header(bytes: &[u8; OPTION_BYTES]) -> Result<OptionHeader, Malformed> {
    let mut fields = bytes.as_slice();
    if fields.get_u64() != OPTION_MAGIC {
        return Err(Malformed::new("an option", "something else"));
    }
    let (option, length) = (fields.get_u32(), fields.get_u32());
    if length > MAX_OPTION {
        return Err(Malformed::new("an option", format!("one of {length} bytes")));
    }
    Ok(OptionHeader { option, length })
}

/// The option whose header said `option`; `None` if its data makes no sense.
pub fn option(option: u32, data: &[u8]) -> Option<Asked> {
    let mut fields = data;
    let asked = match option {
        1 => Asked::ExportName(rest_text(&mut fields)?),
        2 => return Some(Asked::Abort),
        3 => Asked::List,
        6 | 7 => {
            let name = text(&mut fields)?;
            let count = usize::from(fields.try_get_u16().ok()?);
            let wants = (0..count).map(|_| fields.try_get_u16().ok()).collect::<Option<_>>()?;
            Asked::Info { name, wants, go: option == 7 }
        }
        8 => Asked::StructuredReply,
        9 | 10 => {
            let name = text(&mut fields)?;
            let count = fields.try_get_u32().ok()? as usize;
            let queries = (0..count.min(MAX_QUERIES + 1)).map(|_| text(&mut fields)).collect::<Option<Vec<_>>>()?;
            if queries.len() > MAX_QUERIES {
                return None;
            }
            Asked::Contexts { name, queries, choose: option == 10 }
        }
        _ => return Some(Asked::Unknown),
    };
    fields.is_empty().then_some(asked)
}

/// A reply to an option.
pub fn option_reply(option: u32, kind: ReplyKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((kind as u32).to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The answer to `EXPORT_NAME`.
pub fn export_begins(export: &Export, structured: bool, padded: bool) -> Vec<u8> {
    let mut bytes = size_and_flags(export, structured);
    bytes.resize(bytes.len() + if padded { PADDING } else { 0 }, 0);
    bytes
}

/// Payload of a `Server` reply.
pub fn listed(export: &Export) -> Vec<u8> {
    let mut bytes = (export.name.len() as u32).to_be_bytes().to_vec();
    bytes.extend(export.name.as_bytes());
    bytes.extend(export.description.as_bytes());
    bytes
}

/// Payload of an `Info` reply about what has this number; `None` if we cannot tell it.
pub fn info(number: u16, export: &Export, structured: bool) -> Option<Vec<u8>> {
    // Any range is fine; what fits our blocks is cheapest.
    const MINIMUM: u32 = 1;
    let tail = match number {
        0 => size_and_flags(export, structured),
        1 => export.name.as_bytes().to_vec(),
        2 => export.description.as_bytes().to_vec(),
        3 => [MINIMUM, super::overlay::UNIT as u32, MAX_DATA].map(u32::to_be_bytes).concat(),
        _ => return None,
    };
    Some([number.to_be_bytes().as_slice(), &tail].concat())
}

/// Payload of a `Context` reply. A number is given to what was chosen only.
pub fn allocation_context(chosen: bool) -> Vec<u8> {
    let id = if chosen { ALLOCATION_ID } else { 0 };
    [id.to_be_bytes().as_slice(), ALLOCATION.as_bytes()].concat()
}

/// A request.
pub fn request(bytes: &[u8; REQUEST_BYTES]) -> Result<Request, Malformed> {
    let mut fields = bytes.as_slice();
    let magic = fields.get_u32();
    if magic != REQUEST_MAGIC {
        return Err(Malformed::new("a request", format!("{magic:#010x}")));
    }
    let flags = fields.get_u16();
    let command = match fields.get_u16() {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        4 => Command::Trim,
        6 => Command::WriteZeroes,
        7 => Command::BlockStatus,
        _ => Command::Unknown,
    };
    let request =
        Request { command, flags, cookie: fields.get_u64(), offset: fields.get_u64(), length: fields.get_u32() };
    if command == Command::Write && request.length > MAX_DATA {
        return Err(Malformed::new("a request", format!("one with {} bytes", request.length)));
    }
    Ok(request)
}

/// Why a request is refused whatever the disk holds.
pub fn check(request: &Request, size: u64, writable: bool, allocation: bool) -> Result<(), Errno> {
    let changes = matches!(request.command, Command::Write | Command::WriteZeroes | Command::Trim);
    let known = match request.command {
        Command::Read => REQUEST_DF,
        Command::WriteZeroes => REQUEST_FUA | REQUEST_NO_HOLE,
        Command::BlockStatus => REQUEST_ONE,
        _ => 0,
    };
    // Durability may be asked for anywhere, by the protocol.
    if request.flags & !(known | REQUEST_FUA) != 0 {
        return Err(Errno::Invalid);
    }
    let is_beyond = request.offset.checked_add(u64::from(request.length)).is_none_or(|end| end > size);
    match request.command {
        Command::Unknown => Err(Errno::Invalid),
        Command::Flush | Command::Disconnect => Ok(()),
        _ if changes && !writable => Err(Errno::Permission),
        _ if changes && is_beyond => Err(Errno::NoSpace),
        _ if is_beyond => Err(Errno::Invalid),
        Command::Read if request.length > MAX_DATA => Err(Errno::Overflow),
        Command::BlockStatus if !allocation || request.length == 0 => Err(Errno::Invalid),
        _ => Ok(()),
    }
}

/// Header of the reply to a request that succeeded; the bytes that were asked for follow.
pub fn simple_reply(cookie: u64, outcome: Result<(), Errno>) -> Vec<u8> {
    let mut bytes = SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(outcome.map_or_else(|errno| errno as u32, |()| 0).to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes
}

/// The only chunk of a reply without content.
pub fn done_chunk(cookie: u64) -> Vec<u8> {
    chunk(0, cookie, 0)
}

/// Header of the only chunk of a reply with `length` bytes, which follow.
pub fn data_chunk(cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = chunk(1, cookie, 8 + length);
    bytes.extend(offset.to_be_bytes());
    bytes
}

/// The only chunk of a reply that says that all of it is zeros.
pub fn hole_chunk(cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = chunk(2, cookie, 12);
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

/// The only chunk of a block status.
pub fn status_chunk(cookie: u64, found: &[Status]) -> Vec<u8> {
    let mut bytes = chunk(5, cookie, 4 + 8 * found.len() as u32);
    bytes.extend(ALLOCATION_ID.to_be_bytes());
    for status in found {
        bytes.extend(status.length.to_be_bytes());
        bytes.extend((if status.is_hole { STATE_HOLE | STATE_ZERO } else { 0 }).to_be_bytes());
    }
    bytes
}

/// The only chunk of a reply that is an error.
pub fn error_chunk(cookie: u64, errno: Errno) -> Vec<u8> {
    let mut bytes = chunk(0x8001, cookie, 6);
    bytes.extend((errno as u32).to_be_bytes());
    bytes.extend(0u16.to_be_bytes());
    bytes
}

fn chunk(kind: u16, cookie: u64, length: u32) -> Vec<u8> {
    const DONE: u16 = 1;
    let mut bytes = STRUCTURED_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(DONE.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn size_and_flags(export: &Export, structured: bool) -> Vec<u8> {
    [export.size.to_be_bytes().as_slice(), &export.flags(structured).to_be_bytes()].concat()
}

fn text(fields: &mut &[u8]) -> Option<String> {
    let length = fields.try_get_u32().ok()? as usize;
    let (head, tail) = fields.split_at_checked(length)?;
    *fields = tail;
    rest_text(&mut { head })
}

fn rest_text(fields: &mut &[u8]) -> Option<String> {
    let all = std::mem::take(fields);
    (all.len() <= MAX_NAME).then(|| String::from_utf8(all.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request_bytes(command: u16, flags: u16, offset: u64, length: u32) -> [u8; REQUEST_BYTES] {
        let bytes = [
            &REQUEST_MAGIC.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &7u64.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ];
        bytes.concat().try_into().expect("28 bytes")
    }

    fn verdict(command: u16, flags: u16, offset: u64, length: u32, writable: bool) -> Result<(), Errno> {
        let request = request(&request_bytes(command, flags, offset, length)).expect("a request");
        assert_eq!(request.cookie, 7);
        check(&request, 1 << 20, writable, true)
    }

    #[test]
    fn what_is_beyond_the_end_or_not_allowed_has_the_protocols_error() {
        assert_eq!(verdict(0, 0, 0, 1 << 20, false), Ok(()));
        assert_eq!(verdict(0, 0, 1, 1 << 20, false), Err(Errno::Invalid));
        assert_eq!(verdict(0, 0, u64::MAX, 2, false), Err(Errno::Invalid));
        assert_eq!(verdict(1, 0, 0, 512, false), Err(Errno::Permission));
        assert_eq!(verdict(1, 0, 1 << 20, 1, true), Err(Errno::NoSpace));
        assert_eq!(verdict(6, REQUEST_NO_HOLE | REQUEST_FUA, 0, 512, true), Ok(()));
        assert_eq!(verdict(4, REQUEST_NO_HOLE, 0, 512, true), Err(Errno::Invalid));
        assert_eq!(verdict(7, REQUEST_ONE, 0, 0, false), Err(Errno::Invalid));
        assert_eq!(verdict(5, 0, 0, 512, true), Err(Errno::Invalid), "an unknown command");
        let far = Request { length: MAX_DATA + 1, ..request(&request_bytes(0, 0, 0, 0)).expect("a request") };
        assert_eq!(check(&far, 1 << 40, false, true), Err(Errno::Overflow));
    }

    #[test]
    fn oversized_options_and_writes_are_refused_before_they_are_read() {
        let header = |length: u32| [&OPTION_MAGIC.to_be_bytes()[..], &[0, 0, 0, 7], &length.to_be_bytes()].concat();
        assert!(option_header(&header(MAX_OPTION).try_into().expect("16 bytes")).is_ok());
        assert!(option_header(&header(MAX_OPTION + 1).try_into().expect("16 bytes")).is_err());
        assert!(request(&request_bytes(1, 0, 0, MAX_DATA)).is_ok());
        assert!(request(&request_bytes(1, 0, 0, MAX_DATA + 1)).is_err());
        let lie = [&[0; 4][..], &u32::MAX.to_be_bytes()].concat();
        assert_eq!(option(10, &lie), None, "four thousand million queries in eight bytes");
        assert_eq!(option(7, &[0, 0, 0, 9, b'x', 0, 0]), None, "a name beyond the end");
        assert_eq!(option(7, &[0, 0, 0, 0, 0, 0, 1]), None, "bytes behind the end");
    }

    #[test]
    fn who_is_no_newstyle_client_is_refused() {
        assert_eq!(can_do_without_padding([0, 0, 0, 3]), Ok(true));
        assert_eq!(can_do_without_padding([0, 0, 0, 1]), Ok(false));
        assert!(can_do_without_padding([0, 0, 0, 0]).is_err());
        assert!(can_do_without_padding(*b"GET ").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            head: [u8; OPTION_BYTES], number in 0u32..12, data in proptest::collection::vec(any::<u8>(), 0..300),
            request_head: [u8; REQUEST_BYTES], flags: [u8; 4],
        ) {
            let _ = (option_header(&head), request(&request_head), can_do_without_padding(flags));
            if let Some(Asked::Contexts { queries, .. }) = option(number, &data) {
                prop_assert!(queries.len() <= MAX_QUERIES);
            }
        }

        #[test]
        fn no_request_that_passes_reaches_beyond_the_end(
            command in 0u16..9, flags: u16, offset: u64, length: u32, size: u64, writable: bool, allocation: bool,
        ) {
            if let Ok(request) = request(&request_bytes(command, flags, offset, length))
                && check(&request, size, writable, allocation).is_ok()
                && !matches!(request.command, Command::Flush | Command::Disconnect)
            {
                prop_assert!(u128::from(offset) + u128::from(length) <= u128::from(size));
                let changes = matches!(request.command, Command::Write | Command::Trim | Command::WriteZeroes);
                prop_assert!(writable || !changes);
            }
        }
    }
}
