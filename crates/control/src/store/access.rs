//! Access keys.

use super::row::Fields;
use super::{Store, StoreError};
use godwit_model::time::Timestamp;

/// The principal of the keys that the first start makes.
const ADMINISTRATOR: &str = "administrator";

impl Store {
    /// The wrapped secret of a key.
    pub(crate) async fn wrapped_secret(&self, access_key_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT secret FROM access_key WHERE access_key_id = $1")
            .bind(access_key_id.to_owned())
            .fetch_optional(self.reader())
            .await
            .map_err(|e| StoreError::database("read an access key", e))?;
        let Some(row) = row else { return Ok(None) };
        let text = Fields(&row).text("secret")?;
        let bytes: Option<Vec<u8>> = (text.len().is_multiple_of(2) && text.is_ascii())
            .then(|| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect())
            .flatten();
        bytes.map(Some).ok_or_else(|| StoreError::unreadable("a wrapped secret", "no hexadecimal text"))
    }

    pub(crate) async fn has_administrator(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT access_key_id FROM access_key WHERE principal = $1 LIMIT 1")
            .bind(ADMINISTRATOR)
            .fetch_optional(self.reader())
            .await
            .map_err(|e| StoreError::database("look for an administrator", e))?;
        Ok(row.is_some())
    }

    pub(crate) async fn add_administrator(
        &self,
        access_key_id: &str,
        wrapped: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let secret: String = wrapped.iter().map(|b| format!("{b:02x}")).collect();
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO access_key (access_key_id, principal, secret, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (access_key_id) DO NOTHING",
        )
        .bind(access_key_id.to_owned())
        .bind(ADMINISTRATOR)
        .bind(secret)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(|e| StoreError::database("add an access key", e))?;
        tx.commit().await
    }
}
