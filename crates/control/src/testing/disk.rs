//! The disk under the database, which may be full. It is SQLite itself that says so.

use super::at_once;
use sqlx::{AnyConnection, AnyPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Room on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    Plenty,
    /// The file cannot grow: what fits into its pages is written.
    ForNoPage,
    /// Nothing is written any more.
    None,
}

/// As many pages as SQLite's file may have.
const PLENTY: u32 = u32::MAX - 1;

/// Begins with plenty of room.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    is_full: Arc<AtomicBool>,
    refuses_all: Arc<AtomicBool>,
    /// The connection has a limit.
    is_limited: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Disk {
    pub fn set(&self, room: Room) {
        self.is_full.store(room != Room::Plenty, Ordering::SeqCst);
        self.refuses_all.store(room == Room::None, Ordering::SeqCst);
    }

    /// Transactions that came to their end and were not committed.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// A transaction is about to begin. A connection that replaced another knows no limit.
    pub async fn begin(&self, writer: &AnyPool) {
        let is_full = self.is_full.load(Ordering::SeqCst);
        if is_full || self.is_limited.swap(is_full, Ordering::SeqCst) {
            self.is_limited.store(is_full, Ordering::SeqCst);
            let limit = format!("PRAGMA max_page_count = {}", if is_full { 1 } else { PLENTY });
            at_once(sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(writer)).await.unwrap();
        }
    }

    /// A transaction is about to be committed: what no disk has room for is put into it.
    pub async fn commit(&self, tx: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self.refuses_all.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            at_once(sqlx::query("CREATE TABLE too_much AS SELECT zeroblob(16777216) AS much").execute(tx)).await?;
            panic!("the disk was not full");
        }
        Ok(())
    }
}
