//! What stands between the store and its database: a gate at which to kill, a disk that may be full, a witness.

use super::{Disk, Gate, at_once};
use sqlx::{AnyConnection, AnyPool};

/// Everything passes it, as long as nobody sets anything.
#[derive(Clone)]
pub(crate) struct Probe {
    pub gate: Gate,
    pub disk: Disk,
    /// A statement that ends each transaction.
    pub last_word: Option<&'static str>,
}

impl Probe {
    pub fn new() -> Probe {
        Probe { gate: Gate::open(), disk: Disk::default(), last_word: None }
    }

    pub async fn begin(&self, writer: &AnyPool) {
        self.gate.pass("begin").await;
        self.disk.begin(writer).await;
    }

    pub async fn commit(&self, tx: &mut AnyConnection) -> Result<(), sqlx::Error> {
        self.gate.pass("commit").await;
        if let Some(sql) = self.last_word {
            at_once(sqlx::raw_sql(sql).execute(&mut *tx)).await?;
        }
        self.disk.commit(tx).await
    }

    pub async fn committed(&self) {
        self.gate.pass("committed").await;
    }
}
