//! What runs and jobs that ended have left in the store because it could not be removed then.

use super::query::Verbs;
use super::row::Fields;
use super::{Store, StoreError, Tx};
use godwit_model::id::{ImageId, SnapshotId};
use sqlx::any::AnyRow;

/// Images and snapshots that nothing needs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Leftovers {
    /// Ids of images: they may exist, whole or not at all.
    pub images: Vec<ImageId>,
    /// The same of snapshots.
    pub snapshots: Vec<SnapshotId>,
}

impl Leftovers {
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.snapshots.is_empty()
    }

    fn ids(&self) -> impl Iterator<Item = String> {
        self.images.iter().map(ToString::to_string).chain(self.snapshots.iter().map(ToString::to_string))
    }
}

impl Store {
    /// Everything that is left.
    pub(crate) async fn leftovers(&self) -> Result<Leftovers, StoreError> {
        let ids = sqlx::query("SELECT object_id FROM leftover ORDER BY object_id")
            .all(self.reader(), "look for leftovers", object_id)
            .await?;
        let mut left = Leftovers::default();
        for id in ids {
            match (id.parse(), id.parse()) {
                (Ok(image), _) => left.images.push(image),
                (_, Ok(snapshot)) => left.snapshots.push(snapshot),
                _ => return Err(StoreError::unreadable("a leftover", id)),
            }
        }
        Ok(left)
    }

    /// These are removed from the store.
    pub(crate) async fn forget_leftovers(&self, gone: &Leftovers) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for id in gone.ids() {
            sqlx::query("DELETE FROM leftover WHERE object_id = $1")
                .bind(id)
                .run(&mut *tx, "forget a leftover")
                .await?;
        }
        tx.commit().await
    }
}

/// Remembers what could not be removed.
pub(super) async fn leave(tx: &mut Tx, left: &Leftovers) -> Result<(), StoreError> {
    for id in left.ids() {
        sqlx::query("INSERT INTO leftover (object_id) VALUES ($1) ON CONFLICT (object_id) DO NOTHING")
            .bind(id)
            .run(&mut **tx, "remember a leftover")
            .await?;
    }
    Ok(())
}

fn object_id(row: &AnyRow) -> Result<String, StoreError> {
    Fields(row).text("object_id")
}
