//! Reads of images and looks at the store, on record as uses of keys. An export makes thousands of calls: one record
//! stands for all reads of an image in a span of time.

use super::{Answer, Image, Service, ServiceError};
use crate::keys::disabled;
use crate::store::{StoreError, User};
use godwit_model::failure::{Code, Failure};
use godwit_model::key::{KeyState, KeyUse, Purpose};
use godwit_model::time::Timestamp;

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
        let used = KeyUse { failure, ..KeyUse::of(&image.key, image.key_version, Purpose::Decrypt) };
        Ok(self.note_uses(&User::Image(image.id.clone()), vec![used], now).await?)
    }

    /// Puts on record those of `uses` for which no record stands.
    pub(super) async fn note_uses(&self, user: &User, mut uses: Vec<KeyUse>, now: Timestamp) -> Result<(), StoreError> {
        let noted = &self.line.noted_uses;
        uses.retain(|used| noted.is_due(user, used, now));
        let written = self.line.store.note_key_uses(user, &uses, now).await;
        if written.is_err() {
            uses.iter().for_each(|used| noted.forget(user, used));
        }
        written
    }
}
