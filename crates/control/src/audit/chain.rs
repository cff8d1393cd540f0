//! What the hash of an audit record covers, and whether records are a chain. No I/O.

use super::{AuditRecord, NewAuditRecord};
use crate::hex;
use std::fmt;

/// What precedes everything that is hashed: a record of another version has another hash.
const DOMAIN: &[u8] = b"godwit audit record v1\n";

/// Hash of a record: BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first record follows.
    pub const NOTHING: Hash = Hash([0; 32]);

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Hash> {
        hex::decode(text)?.try_into().ok().map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the chain: a record's number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The record's number; 0 before the first one.
    pub number: i64,
    /// The record's hash.
    pub hash: Hash,
}

impl Link {
    /// The record that follows this one.
    pub(crate) fn next(self, what: NewAuditRecord) -> AuditRecord {
        let number = self.number.saturating_add(1);
        let hash = hash_of(number, &what, self.hash);
        AuditRecord { number, what, previous: self.hash, hash }
    }

    /// Goes on to `record` if that is what was appended behind this one; else says what is wrong with which number.
    pub(crate) fn step(&mut self, record: &AuditRecord) -> Result<(), Break> {
        let wanted = self.number.saturating_add(1);
        if record.number != wanted {
            let reason = format!("record {wanted} is missing: the next one that is there is {}", record.number);
            return Err(Break { number: wanted, reason });
        }
        let broken = |reason: &str| Err(Break { number: wanted, reason: reason.to_owned() });
        if record.previous != self.hash {
            return broken("it does not follow the record before it: that one's hash is another one");
        }
        if hash_of(record.number, &record.what, record.previous) != record.hash {
            return broken("its content is not what its hash was made of: it was changed");
        }
        *self = Link { number: record.number, hash: record.hash };
        Ok(())
    }
}

/// Where a chain is broken first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Break {
    /// Number of the record.
    pub number: i64,
    /// What is wrong with it.
    pub reason: String,
}

/// The hash of a record: BLAKE3 over [`DOMAIN`], the numbers as 8 bytes little endian, each text behind its length in
/// bytes, and the hash of the record before. Lengths keep texts apart, so no two records are the same bytes.
fn hash_of(number: i64, what: &NewAuditRecord, previous: Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    hasher.update(&number.to_le_bytes());
    hasher.update(&what.at.0.to_le_bytes());
    let user = what.caller.user.as_deref().unwrap_or_default();
    for text in [
        user,
        &what.caller.access_key_id,
        &what.action,
        &what.parameters,
        &what.outcome,
        &what.message,
        &what.request_id,
        &what.source,
    ] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&previous.0);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Caller;
    use godwit_model::time::Timestamp;
    use proptest::prelude::*;

    fn record() -> NewAuditRecord {
        NewAuditRecord {
            at: Timestamp(1_795_407_164_000),
            caller: Caller { user: Some("ada".into()), access_key_id: "GW1".into() },
            action: "sms:GetServers".into(),
            parameters: "{}".into(),
            outcome: "OK".into(),
            message: String::new(),
            request_id: "r-1".into(),
            source: "127.0.0.1:5".into(),
        }
    }

    #[test]
    fn the_documented_example_has_its_hash() {
        // docs/formats.md shows it: whoever writes a checker of their own begins here.
        let first = Link { number: 0, hash: Hash::NOTHING }.next(record());
        assert_eq!(first.hash.to_string(), "bf61db20026a633b1ad61f8b23527de924760e2e2a8c825ce0b5a75a8eba12b2");
    }

    #[test]
    fn every_member_counts_and_none_runs_into_the_next() {
        let link = Link { number: 7, hash: Hash([9; 32]) };
        let hash = |change: fn(&mut NewAuditRecord)| {
            let mut what = record();
            change(&mut what);
            link.next(what).hash
        };
        let mut all = vec![
            hash(|_| {}),
            hash(|w| w.at = Timestamp(0)),
            hash(|w| w.caller.user = None),
            hash(|w| w.caller.access_key_id = "GW2".into()),
            hash(|w| w.action = "sms:GetJobs".into()),
            hash(|w| w.parameters = "{} ".into()),
            hash(|w| w.outcome = "UNKNOWN".into()),
            hash(|w| w.message = "m".into()),
            hash(|w| w.request_id = "r-2".into()),
            hash(|w| w.source = String::new()),
            hash(|w| (w.outcome, w.message) = ("O".into(), "K".into())),
            Link { number: 8, ..link }.next(record()).hash,
            Link { hash: Hash([8; 32]), ..link }.next(record()).hash,
        ];
        let count = all.len();
        all.sort_by_key(|hash| hash.0);
        all.dedup();
        assert_eq!(all.len(), count);
    }

    proptest! {
        #[test]
        fn what_was_appended_is_a_chain_and_what_was_swapped_is_not(texts in proptest::collection::vec(".{0,20}", 2..12), at in any::<proptest::sample::Index>()) {
            let start = Link { number: 3, hash: Hash([1; 32]) };
            let mut end = start;
            let mut records = Vec::new();
            for text in texts {
                let next = end.next(NewAuditRecord { parameters: text, ..record() });
                prop_assert_eq!(end.step(&next), Ok(()));
                records.push(next);
            }
            let at = at.index(records.len() - 1);
            let mut swapped = records.clone();
            swapped.swap(at, at + 1);
            let mut link = start;
            let broken = swapped.iter().find_map(|record| link.step(record).err()).expect("it is broken");
            prop_assert_eq!(broken.number, 4 + at as i64);
        }
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = Hash([0xa5; 32]);
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        assert_eq!(Hash::parse("a5"), None);
        assert_eq!(Hash::parse(&"g".repeat(64)), None);
    }
}
