//! Uses of keys on their way to the record: gathered while a look at the store is at work, and put on record once for a
//! span of time where many calls make the same one.

use crate::store::User;
use godwit_model::failure::Code;
use godwit_model::id::KeyId;
use godwit_model::key::{KeyUse, MOST_KEYS, Purpose};
use godwit_model::time::{Millis, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One record stands for this long.
pub(crate) const SPAN: Millis = Millis::MINUTE.times(15);

/// Uses remembered: a few looks at a store of all the keys there can be, or far more images than are read at a time. Of
/// one that is forgotten too early there is a record more.
const REMEMBERED: usize = 4 * MOST_KEYS;

/// Uses that one record stands for: of which key, what for, and how they ended.
type Alike = (KeyId, Purpose, Option<Code>);

/// What a look at the store used, as far as it is not on record yet: each key once for each purpose and end, with the
/// latest version.
#[derive(Default)]
pub(crate) struct Gathered(Mutex<HashMap<Alike, Option<u32>>>);

impl Gathered {
    pub fn add(&self, used: KeyUse) {
        let KeyUse { key, version, purpose, failure } = used;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry((key, purpose, failure)).or_default();
        *known = version.max(*known);
    }

    /// All of them, in an order that depends on nothing else.
    pub fn all(&self) -> Vec<KeyUse> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |((key, purpose, failure), version): (&Alike, &Option<u32>)| KeyUse {
            key: key.clone(),
            version: *version,
            purpose: *purpose,
            failure: *failure,
        };
        let mut uses: Vec<KeyUse> = all.iter().map(used).collect();
        uses.sort_by(|a, b| {
            let by = |used: &KeyUse| (used.key.clone(), used.purpose, used.failure.map(Code::as_str));
            by(a).cmp(&by(b))
        });
        uses
    }
}

/// Which uses are on record already, since when.
#[derive(Default)]
pub(crate) struct Noted(Mutex<HashMap<(User, KeyUse), Timestamp>>);

impl Noted {
    /// Whether a use is to be put on record now; if so, it counts as done.
    pub fn is_due(&self, user: &User, used: &KeyUse, now: Timestamp) -> bool {
        let mut noted = self.noted();
        let key = (user.clone(), used.clone());
        // A clock that was set back makes a record more, never one less.
        if noted.get(&key).is_some_and(|at| (Millis(0)..SPAN).contains(&(now - *at))) {
            return false;
        }
        if noted.len() >= REMEMBERED {
            noted.retain(|_, at| (Millis(0)..SPAN).contains(&(now - *at)));
        }
        if noted.len() >= REMEMBERED {
            noted.clear();
        }
        noted.insert(key, now);
        true
    }

    /// A use that was due could not be put on record.
    pub fn forget(&self, user: &User, used: &KeyUse) {
        self.noted().remove(&(user.clone(), used.clone()));
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<(User, KeyUse), Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::id::ImageId;
    use godwit_model::key::first_key;

    fn used(version: u32) -> KeyUse {
        KeyUse::of(&first_key(), version, Purpose::Decrypt)
    }

    #[test]
    fn one_record_stands_for_a_span_of_reads_of_one_image() {
        let (noted, start) = (Noted::default(), Timestamp(1_800_000_000_000));
        let image = |n| User::Image(ImageId::from_bits(n));
        let refused = KeyUse { failure: Some(Code::KeyDisabled), ..used(1) };
        assert!(noted.is_due(&image(1), &used(1), start));
        assert!(!noted.is_due(&image(1), &used(1), start + Millis::MINUTE));
        assert!(noted.is_due(&image(1), &refused, start + Millis::MINUTE), "a refusal is another record");
        assert!(noted.is_due(&image(1), &used(2), start), "so is another version");
        assert!(noted.is_due(&image(2), &used(1), start));
        assert!(noted.is_due(&image(1), &used(1), start + SPAN));
        noted.forget(&image(1), &used(1));
        assert!(noted.is_due(&image(1), &used(1), start + SPAN), "what could not be recorded is due");
        for n in 0..2 * REMEMBERED as u128 {
            assert!(noted.is_due(&image(100 + n), &used(1), start));
            assert!(noted.noted().len() <= REMEMBERED);
        }
    }

    #[test]
    fn of_many_uses_of_a_key_the_latest_version_counts_for_each_purpose_and_end() {
        let gathered = Gathered::default();
        let encrypted = KeyUse { purpose: Purpose::Encrypt, ..used(2) };
        let refused = KeyUse { version: None, failure: Some(Code::KeyDisabled), ..used(1) };
        for one in [used(1), used(3), refused.clone(), used(2), encrypted.clone(), encrypted.clone()] {
            gathered.add(one);
        }
        assert_eq!(gathered.all(), [encrypted, used(3), refused]);
    }
}
