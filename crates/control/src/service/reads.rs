//! Reads of images, on record as uses of their key. An export makes thousands of calls: one record stands for all reads
//! of an image in a span of time.

use super::{Answer, Image, Service, ServiceError};
use crate::keys::disabled;
use crate::store::{KeyUse, Purpose, User};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::ImageId;
use godwit_model::key::KeyState;
use godwit_model::time::{Millis, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// One record stands for this long.
const SPAN: Millis = Millis::MINUTE.times(15);

/// Images remembered: far more than are read at a time. Of one that is forgotten too early there is a record more.
const REMEMBERED: usize = 256;

/// Which reads are on record already: of which image, with which outcome, since when.
#[derive(Default)]
pub(crate) struct NotedReads(Mutex<HashMap<(ImageId, Option<Code>), Timestamp>>);

impl NotedReads {
    /// Whether a read is to be put on record now; if so, it counts as done.
    fn is_due(&self, image: &ImageId, outcome: Option<Code>, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (image.clone(), outcome);
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
}

impl Service {
    /// Refuses to read an image whose key is disabled.
    pub(super) async fn check_readable(&self, image: &Image, now: Timestamp) -> Answer<()> {
        match self.line.store.key(&image.key).await? {
            Some(key) if key.state == KeyState::Disabled => {
                self.note_read(image, Some(Code::KeyDisabled), now).await?;
                let failure: Failure = disabled(&format!("{} is encrypted", image.id), &key);
                Err(ServiceError::from_failure(&failure))
            }
            _ => Ok(()),
        }
    }

    /// Puts on record that an image is read, or was to be.
    pub(super) async fn note_read(&self, image: &Image, failure: Option<Code>, now: Timestamp) -> Answer<()> {
        if !self.line.noted_reads.is_due(&image.id, failure, now) {
            return Ok(());
        }
        let used = KeyUse {
            key: image.key.clone(),
            version: image.key_version,
            purpose: Purpose::Decrypt,
            user: User::Image(image.id.clone()),
            failure,
        };
        Ok(self.line.store.note_key_use(&used, now).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_stands_for_a_span_of_reads_of_one_image() {
        let (reads, image, start) = (NotedReads::default(), ImageId::from_bits(1), Timestamp(1_800_000_000_000));
        assert!(reads.is_due(&image, None, start));
        assert!(!reads.is_due(&image, None, start + Millis::MINUTE));
        assert!(reads.is_due(&image, Some(Code::KeyDisabled), start + Millis::MINUTE), "a refusal is another record");
        assert!(reads.is_due(&ImageId::from_bits(2), None, start));
        assert!(reads.is_due(&image, None, start + SPAN));
        for n in 0..2 * REMEMBERED as u128 {
            assert!(reads.is_due(&ImageId::from_bits(100 + n), None, start));
            assert!(reads.0.lock().unwrap().len() <= REMEMBERED);
        }
    }
}
