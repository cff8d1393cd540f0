//! Verification of images: asked for, ended.

use super::jobs::forget_baseline;
use super::key_uses::{User, note_key_use};
use super::query::Verbs;
use super::row::{Fields, to_json, to_sql};
use super::{Store, StoreError, Tx};
use crate::service::{DamagedRange, Verification, VerificationState};
use godwit_model::extent::Extent;
use godwit_model::id::{ImageId, PackId};
use godwit_model::key::KeyUse;
use godwit_model::time::Timestamp;

/// How a verification ended.
#[derive(Clone, Debug)]
pub(crate) struct VerificationEnd {
    pub state: VerificationState,
    pub bytes_verified: u64,
    pub damaged: Vec<DamagedRange>,
    /// Packs in which it lies.
    pub packs: Vec<PackId>,
    /// Whether there may be more.
    pub is_cut_off: bool,
    pub message: Option<String>,
}

impl Store {
    /// Marks an image's verification as running; false if there is no such image. One that runs stays the one it is.
    pub(crate) async fn begin_verification(&self, id: &ImageId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let what = "begin a verification";
        let size = sqlx::query("SELECT size FROM image WHERE image_id = $1 AND deleting = 0")
            .bind(id.to_string())
            .find(&mut *tx, what, |row| Fields(row).int("size"))
            .await?;
        let Some(size) = size else { return Ok(false) };
        sqlx::query(
            "INSERT INTO image_verification (image_id, state, started_at, verified_at, bytes_verified, bytes_total, \
             damaged, message, fence) VALUES ($1, 'RUNNING', $2, NULL, 0, $3, '[]', NULL, 0) \
             ON CONFLICT (image_id) DO UPDATE SET state = 'RUNNING', started_at = excluded.started_at, \
             verified_at = NULL, bytes_verified = 0, damaged = '[]', message = NULL, \
             fence = image_verification.fence + 1 WHERE image_verification.state <> 'RUNNING'",
        )
        .bind(id.to_string())
        .bind(now.0)
        .bind(size)
        .run(&mut *tx, what)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Verifications that are to be at work.
    pub(crate) async fn running_verifications(&self) -> Result<Vec<ImageId>, StoreError> {
        sqlx::query(
            "SELECT v.image_id FROM image_verification v JOIN image ON image.image_id = v.image_id \
             WHERE v.state = 'RUNNING' AND image.deleting = 0 ORDER BY v.started_at, v.image_id",
        )
        .all(self.reader(), "look for verifications", |row| Fields(row).id("image_id"))
        .await
    }

    /// Records how a verification ended. An image that was deleted meanwhile stays deleted.
    pub(crate) async fn end_verification(
        &self,
        id: &ImageId,
        end: &VerificationEnd,
        used: &KeyUse,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let damaged: Vec<(u32, u64, u64)> =
            end.damaged.iter().map(|d| (d.volume, d.extent.offset, d.extent.length)).collect();
        let mut tx = self.begin().await?;
        note_key_use(&mut tx, &User::Image(id.clone()), used, now).await?;
        sqlx::query(
            "UPDATE image_verification SET state = $1, verified_at = $2, bytes_verified = $3, damaged = $4, \
             message = $5, fence = fence + 1 WHERE image_id = $6 AND state = 'RUNNING'",
        )
        .bind(end.state.as_str())
        .bind(now.0)
        .bind(to_sql(end.bytes_verified))
        .bind(to_json(&damaged))
        .bind(end.message.clone())
        .bind(id.to_string())
        .run(&mut *tx, "record a verification")
        .await?;
        tx.commit().await
    }

    /// The next run of an image's job builds on nothing that is stored: a block of the image proved damaged.
    pub(crate) async fn forget_baseline_of(&self, image: &ImageId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        forget_baseline_of(&mut tx, image).await?;
        tx.commit().await
    }
}

/// The newest snapshot of the image's job shares blocks with the image: the next run must not build on them.
async fn forget_baseline_of(tx: &mut Tx, image: &ImageId) -> Result<(), StoreError> {
    let job = sqlx::query("SELECT job_id FROM image WHERE image_id = $1")
        .bind(image.to_string())
        .find(&mut **tx, "read the job of an image", |row| Fields(row).id("job_id"))
        .await?;
    match job {
        Some(job) => forget_baseline(tx, &job).await,
        None => Ok(()),
    }
}

/// The columns of an image's verification in a row of images.
pub(super) fn verification(fields: &Fields<'_>) -> Result<Verification, StoreError> {
    let Some(state) = fields.opt_name("v_state", parse_state)? else {
        return Ok(Verification {
            state: VerificationState::Unverified,
            verified_at: None,
            bytes_verified: None,
            bytes_total: None,
            damaged: vec![],
            message: None,
        });
    };
    let damaged: Vec<(u32, u64, u64)> = fields.json("damaged")?;
    Ok(Verification {
        state,
        verified_at: fields.opt_time("verified_at")?,
        bytes_verified: Some(fields.number("bytes_verified")?),
        bytes_total: Some(fields.number("bytes_total")?),
        damaged: damaged
            .into_iter()
            .filter_map(|(volume, offset, length)| {
                Extent::new(offset, length).map(|extent| DamagedRange { volume, extent })
            })
            .collect(),
        message: fields.opt_text("message")?,
    })
}

fn parse_state(text: &str) -> Option<VerificationState> {
    use VerificationState::{Damaged, Failed, Running, Unverified, Verified};
    [Unverified, Running, Verified, Damaged, Failed].into_iter().find(|s| s.as_str() == text)
}
