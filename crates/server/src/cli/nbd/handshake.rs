//! What is agreed on before the first request. Pure: an option in, bytes and what comes next out.

use crate::cli::nbd::codec::{self, ALLOCATION, Asked, Export, ReplyKind};

/// Number of the information that every client needs.
const INFO_EXPORT: u16 = 0;

/// What was agreed on so far.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Handshake {
    padded: bool,
    structured: bool,
    /// For which export block status was asked for.
    allocation: Option<usize>,
}

/// What comes behind the answer to an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another option.
    Option,
    /// Requests.
    Requests(Agreed),
    /// Nothing.
    End,
}

/// What holds for the requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Which export.
    pub export: usize,
    /// Whether replies are structured.
    pub structured: bool,
    /// Whether block status may be asked for.
    pub allocation: bool,
}

impl Handshake {
    /// The beginning, with a client that needs padding or does not.
    pub fn new(padded: bool) -> Self {
        Self { padded, ..Self::default() }
    }

    /// Answers the option of this number; `asked` is `None` if its data makes no sense.
    pub fn answer(&mut self, option: u32, asked: Option<Asked>, exports: &[Export]) -> (Vec<u8>, Next) {
        let reply = |kind, payload: &[u8]| codec::option_reply(option, kind, payload);
        let mut next = Next::Option;
        let bytes = match asked {
            Some(Asked::ExportName(name)) => match find(&name, exports) {
                Some(export) => {
                    next = Next::Requests(self.agreed(export));
                    codec::export_begins(&exports[export], self.structured, self.padded)
                }
                // There is no way to say so, by the protocol.
                None => {
                    next = Next::End;
                    vec![]
                }
            },
            Some(Asked::Abort) => {
                next = Next::End;
                reply(ReplyKind::Ack, &[])
            }
            Some(Asked::List) => {
                let listed = exports.iter().flat_map(|export| reply(ReplyKind::Server, &codec::listed(export)));
                listed.chain(reply(ReplyKind::Ack, &[])).collect()
            }
            Some(Asked::Info { name, wants, go }) => match find(&name, exports) {
                Some(export) => {
                    if go {
                        next = Next::Requests(self.agreed(export));
                    }
                    self.informed(option, &wants, &exports[export])
                }
                None => reply(ReplyKind::NoSuchExport, unknown(&name, exports).as_bytes()),
            },
            Some(Asked::StructuredReply) => {
                self.structured = true;
                reply(ReplyKind::Ack, &[])
            }
            Some(Asked::Contexts { name, queries, choose }) => self.contexts(option, &name, &queries, choose, exports),
            Some(Asked::Unknown) => reply(ReplyKind::Unsupported, b"this server does not know the option"),
            // `EXPORT_NAME` cannot be refused in words, by the protocol.
            None if option == 1 => {
                next = Next::End;
                vec![]
            }
            None => reply(ReplyKind::Invalid, b"the option's data is not what the protocol allows"),
        };
        (bytes, next)
    }

    fn agreed(&self, export: usize) -> Agreed {
        let allocation = self.structured && self.allocation == Some(export);
        Agreed { export, structured: self.structured, allocation }
    }

    fn informed(&self, option: u32, wants: &[u16], export: &Export) -> Vec<u8> {
        let mut numbers: Vec<u16> = wants.iter().copied().filter(|number| *number != INFO_EXPORT).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.push(INFO_EXPORT);
        let told = numbers.into_iter().filter_map(|number| codec::info(number, export, self.structured));
        let infos = told.flat_map(|payload| codec::option_reply(option, ReplyKind::Info, &payload));
        infos.chain(codec::option_reply(option, ReplyKind::Ack, &[])).collect()
    }

    fn contexts(&mut self, option: u32, name: &str, queries: &[String], choose: bool, exports: &[Export]) -> Vec<u8> {
        let reply = |kind, payload: &[u8]| codec::option_reply(option, kind, payload);
        if choose {
            self.allocation = None;
        }
        if !self.structured {
            return reply(ReplyKind::Invalid, b"ask for structured replies first");
        }
        let Some(export) = find(name, exports) else {
            return reply(ReplyKind::NoSuchExport, unknown(name, exports).as_bytes());
        };
        let is_meant = |query: &String| query == ALLOCATION || (!choose && query == "base:");
        let mut bytes = vec![];
        if queries.iter().any(is_meant) || (!choose && queries.is_empty()) {
            if choose {
                self.allocation = Some(export);
            }
            bytes = reply(ReplyKind::Context, &codec::allocation_context(choose));
        }
        bytes.extend(reply(ReplyKind::Ack, &[]));
        bytes
    }
}

/// The export of a name: a volume's number before a device's name; the first one has no name, too.
fn find(name: &str, exports: &[Export]) -> Option<usize> {
    if name.is_empty() {
        return (!exports.is_empty()).then_some(0);
    }
    let by = |wanted: fn(&Export) -> &str| exports.iter().position(|export| wanted(export) == name);
    by(|export| &export.name).or_else(|| by(|export| &export.alias))
}

fn unknown(name: &str, exports: &[Export]) -> String {
    let all: Vec<_> = exports.iter().map(|export| format!("'{}' ({})", export.name, export.alias)).collect();
    // A message has at most 4096 bytes, by the protocol; a name may have as many.
    let name: String = name.chars().take(64).collect();
    let mut text = format!("there is no export '{name}'; there are: {}", all.join(", "));
    text.truncate(text.floor_char_boundary(1024));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exports() -> Vec<Export> {
        let export = |name: &str, alias: &str| Export {
            name: name.into(),
            alias: alias.into(),
            description: "d".into(),
            size: 1 << 20,
            writable: false,
        };
        vec![export("0", "vda"), export("1", "0")]
    }

    fn go(name: &str) -> Option<Asked> {
        Some(Asked::Info { name: name.into(), wants: vec![3], go: true })
    }

    fn choose(name: &str) -> Option<Asked> {
        Some(Asked::Contexts { name: name.into(), queries: vec![ALLOCATION.into()], choose: true })
    }

    #[test]
    fn exports_have_their_number_their_device_and_the_first_no_name() {
        let found = |name: &str| match Handshake::new(false).answer(7, go(name), &exports()).1 {
            Next::Requests(agreed) => Some(agreed.export),
            _ => None,
        };
        assert_eq!([found(""), found("0"), found("1"), found("vda")], [Some(0), Some(0), Some(1), Some(0)]);
        assert_eq!(found("vdb"), None);
        let (bytes, next) = Handshake::new(false).answer(7, go("vdb"), &exports());
        assert!(String::from_utf8_lossy(&bytes).contains("there are: '0' (vda), '1' (0)") && next == Next::Option);
    }

    #[test]
    fn block_status_holds_for_the_export_it_was_asked_for_and_needs_structured_replies() {
        let mut handshake = Handshake::new(false);
        let refused = handshake.answer(10, choose("0"), &exports()).0;
        assert_eq!(refused[12..16], (ReplyKind::Invalid as u32).to_be_bytes());
        handshake.answer(8, Some(Asked::StructuredReply), &exports());
        handshake.answer(10, choose("0"), &exports());
        let agreed = |export, allocation| Next::Requests(Agreed { export, structured: true, allocation });
        assert_eq!(handshake.clone().answer(7, go("vda"), &exports()).1, agreed(0, true));
        assert_eq!(handshake.answer(7, go("1"), &exports()).1, agreed(1, false));
    }

    #[test]
    fn an_old_client_gets_its_padding() {
        let name = || Some(Asked::ExportName("0".into()));
        assert_eq!(Handshake::new(true).answer(1, name(), &exports()).0.len(), 134);
        assert_eq!(Handshake::new(false).answer(1, name(), &exports()).0.len(), 10);
        let (bytes, next) = Handshake::new(true).answer(1, Some(Asked::ExportName("no".into())), &exports());
        assert!(bytes.is_empty() && next == Next::End);
    }

    proptest! {
        #[test]
        fn any_options_in_any_order_are_answered_in_bounded_words(
            asked in proptest::collection::vec((0u32..12, proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        ) {
            let mut handshake = Handshake::new(false);
            for (option, data) in asked {
                let (bytes, next) = handshake.answer(option, codec::option(option, &data), &exports());
                prop_assert!(bytes.len() < 4096);
                prop_assert!(next != Next::Option || bytes.len() >= 20, "every option is answered");
            }
        }
    }
}
