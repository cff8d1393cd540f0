//! The names that everything of ours at a QEMU carries. Pure.
//!
//! | thing | name |
//! | --- | --- |
//! | bitmap | `godwit-OWNER-RUN-DEVICE` |
//! | backup job, export, export's name | `godwit-OWNER-RUN-N.TOTAL-POINT-DEVICE`, the *mark*; its existence as a job **is** the point in time |
//! | job that creates a scratch file | `godwit-OWNER-RUN-create-N` |
//! | nodes | `godwit-OWNER-RRRRRRRR-Nk`: the digits of the run and a letter for the kind, as QEMU cuts node names at 31 characters |
//! | scratch file | the mark and `.qcow2` |
//! | NBD socket, freeze marker | `godwit-OWNER-VVVVVVVV.nbd`, `….frozen`: a hash of the server's id, as socket paths are short |
//!
//! POINT is random, DEVICE a hash of the volume's name, so that a mark alone says which volume it is of. In a bitmap's
//! name it tells two disks apart that were exchanged: both carry bitmaps of the right run, and may have the same size.

use godwit_model::failure::{Code, Failure};
use godwit_model::id::RunId;
use std::fmt;

const RUN_TEXT: usize = RunId::PREFIX.len() + 8;

/// Whose things they are: eight hexadecimal digits, made once per data folder.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner(String);

/// The parts of a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The run that took the point in time.
    pub run: RunId,
    /// Number of the volume within the point.
    pub index: usize,
    /// How many volumes the point has.
    pub total: usize,
    /// Which point in time: drawn anew each time that one is taken.
    pub point: u64,
    /// Hash of the volume's name.
    pub device: u32,
}

/// The parts of a bitmap's name: the changes of one volume since one run's point in time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TrackerId {
    /// The run.
    pub run: RunId,
    /// Hash of the volume's name at that point in time.
    pub device: u32,
}

impl TrackerId {
    /// Of the volume named `device`.
    pub fn new(run: &RunId, device: &str) -> Self {
        Self { run: run.clone(), device: short_hash(device) }
    }
}

/// What a node of ours is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Format layer of the scratch file, what is exported.
    Scratch,
    /// Protocol layer of the scratch file.
    File,
    /// The filter that copies before a write.
    Filter,
}

impl NodeKind {
    const fn letter(self) -> char {
        match self {
            NodeKind::Scratch => 's',
            NodeKind::File => 'f',
            NodeKind::Filter => 'c',
        }
    }
}

impl Owner {
    /// An owner of eight lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::new(Code::Internal, "an owner must have eight lower-case hexadecimal digits"))
    }

    /// The name of a bitmap.
    pub fn bitmap(&self, id: &TrackerId) -> String {
        let TrackerId { run, device } = id;
        format!("{self}-{run}-{device:08x}")
    }

    /// What a bitmap of ours records.
    pub fn parse_bitmap(&self, name: &str) -> Option<TrackerId> {
        let (run, device) = self.rest(name)?.rsplit_once('-')?;
        Some(TrackerId { run: run.parse().ok()?, device: short_hex(device)? })
    }

    /// The text of a mark.
    pub fn mark(&self, mark: &Mark) -> String {
        let Mark { run, index, total, point, device } = mark;
        format!("{self}-{run}-{index}.{total}-{point:016x}-{device:08x}")
    }

    /// The mark that `name` is, if it is one of ours.
    pub fn parse_mark(&self, name: &str) -> Option<Mark> {
        let rest = self.rest(name)?;
        let run = rest.get(..RUN_TEXT)?.parse().ok()?;
        let mut parts = rest.get(RUN_TEXT..)?.strip_prefix('-')?.split('-');
        let (index, total) = parts.next()?.split_once('.')?;
        let (point, device) = (hex(parts.next()?, 16)?, short_hex(parts.next()?)?);
        let (index, total) = (index.parse().ok()?, total.parse().ok()?);
        (parts.next().is_none()).then_some(Mark { run, index, total, point, device })
    }

    /// The job that creates the scratch file of volume `index`.
    pub fn create_job(&self, run: &RunId, index: usize) -> String {
        format!("{self}-{run}-create-{index}")
    }

    /// The run of a job, an export or a scratch file of ours.
    pub fn parse_run(&self, name: &str) -> Option<RunId> {
        let rest = self.rest(name)?;
        let run = rest.get(..RUN_TEXT)?.parse().ok()?;
        let behind = rest.get(RUN_TEXT..)?;
        (behind.is_empty() || behind.starts_with('-')).then_some(run)
    }

    /// A node of volume `index`.
    pub fn node(&self, run: &RunId, index: usize, kind: NodeKind) -> String {
        format!("{self}-{}-{index}{}", &run.as_str()[RunId::PREFIX.len()..], kind.letter())
    }

    /// The run and the kind of a node of ours.
    pub fn parse_node(&self, name: &str) -> Option<(RunId, NodeKind)> {
        let (digits, rest) = self.rest(name)?.split_once('-')?;
        let run = format!("{}{digits}", RunId::PREFIX).parse().ok()?;
        let kind = [NodeKind::Scratch, NodeKind::File, NodeKind::Filter]
            .into_iter()
            .find(|kind| rest.strip_suffix(kind.letter()).is_some_and(|n| n.parse::<usize>().is_ok()))?;
        Some((run, kind))
    }

    /// File name of the NBD socket of a server.
    pub fn nbd_socket(&self, vm_id: &str) -> String {
        format!("{self}-{:08x}.nbd", short_hash(vm_id))
    }

    /// File name of the sign that a server's file systems are frozen by us.
    pub fn frozen_marker(&self, vm_id: &str) -> String {
        format!("{self}-{:08x}.frozen", short_hash(vm_id))
    }

    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix("godwit-")?.strip_prefix(self.0.as_str())?.strip_prefix('-')
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "godwit-{}", self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether some Godwit made the thing of this name, ours or another one.
pub fn is_any_godwit(name: &str) -> bool {
    name.strip_prefix("godwit-")
        .and_then(|rest| rest.get(..9))
        .is_some_and(|owner| owner.ends_with('-') && owner[..8].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// A stable hash of a text (FNV-1a): the same in every version, as it is part of names that outlive a process.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// [`hash`], folded to 32 bits.
pub fn short_hash(text: &str) -> u32 {
    let wide = hash(text);
    (wide >> 32) as u32 ^ (wide & u64::from(u32::MAX)) as u32
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

fn short_hex(text: &str) -> Option<u32> {
    hex(text, 8).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner() -> Owner {
        Owner::parse("0a1b2c3d").expect("eight digits")
    }

    #[test]
    fn an_owner_is_eight_digits() {
        for bad in ["", "0a1b2c3", "0A1B2C3D", "0a1b2c3d0", "0a1b2c3g"] {
            assert!(Owner::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_owners_and_other_names_are_not_ours() {
        let id = TrackerId::new(&RunId::from_bits(7), "disk0");
        let other = Owner::parse("ffffffff").expect("eight digits");
        assert_eq!(owner().parse_bitmap(&other.bitmap(&id)), None);
        assert!(is_any_godwit(&other.bitmap(&id)));
        assert_eq!(owner().parse_bitmap("godwit-0a1b2c3d-sms-run-00000007"), None, "of no volume");
        assert!(!is_any_godwit("godwit-disk"));
        assert_eq!(owner().parse_run("godwit-0a1b2c3d-sms-run-00000007x"), None);
        assert_eq!(owner().parse_node("godwit-0a1b2c3d-00000007-x"), None);
    }

    proptest! {
        #[test]
        fn names_come_back(bits: u128, index in 0usize..9999, total in 0usize..9999, point: u64, device: u32) {
            let run = RunId::from_bits(bits);
            let mark = Mark { run: run.clone(), index, total, point, device };
            let text = owner().mark(&mark);
            prop_assert_eq!(owner().parse_run(&text), Some(run.clone()));
            prop_assert_eq!(owner().parse_mark(&text), Some(mark));
            let id = TrackerId { run: run.clone(), device };
            prop_assert_eq!(owner().parse_bitmap(&owner().bitmap(&id)), Some(id));
            prop_assert_eq!(owner().parse_run(&owner().create_job(&run, index)), Some(run.clone()));
            for kind in [NodeKind::Scratch, NodeKind::File, NodeKind::Filter] {
                let node = owner().node(&run, index, kind);
                prop_assert!(node.len() <= 31, "{node}");
                prop_assert_eq!(owner().parse_node(&node), Some((run.clone(), kind)));
            }
        }

        #[test]
        fn no_name_makes_the_parsers_panic(text in "(godwit-0a1b2c3d-)?(sms-run-0000000a)?.{0,40}") {
            let _ = (owner().parse_mark(&text), owner().parse_node(&text), owner().parse_run(&text));
            let _ = (owner().parse_bitmap(&text), is_any_godwit(&text));
        }
    }
}
