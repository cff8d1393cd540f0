//! Access keys.

use super::query::Verbs;
use super::row::Fields;
use super::{Store, StoreError};
use crate::hex;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// The principal of the keys that the first start makes.
const ADMINISTRATOR: &str = "administrator";

impl Store {
    /// The wrapped secret of a key.
    pub(crate) async fn wrapped_secret(&self, access_key_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query("SELECT secret FROM access_key WHERE access_key_id = $1")
            .bind(access_key_id.to_owned())
            .find(self.reader(), "read an access key", wrapped_secret)
            .await
    }

    pub(crate) async fn has_administrator(&self) -> Result<bool, StoreError> {
        sqlx::query("SELECT access_key_id FROM access_key WHERE principal = $1 LIMIT 1")
            .bind(ADMINISTRATOR)
            .exists(self.reader(), "look for an administrator")
            .await
    }

    pub(crate) async fn add_administrator(
        &self,
        access_key_id: &str,
        wrapped: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO access_key (access_key_id, principal, secret, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (access_key_id) DO NOTHING",
        )
        .bind(access_key_id.to_owned())
        .bind(ADMINISTRATOR)
        .bind(hex::encode(wrapped))
        .bind(now.0)
        .run(&mut *tx, "add an access key")
        .await?;
        tx.commit().await
    }
}

fn wrapped_secret(row: &AnyRow) -> Result<Vec<u8>, StoreError> {
    let bytes = hex::decode(&Fields(row).text("secret")?);
    bytes.ok_or_else(|| StoreError::unreadable("a wrapped secret", "no hexadecimal text"))
}
