//! Checks the audit trail as it is in the database, from its anchor to its end.

use super::audit::{Ends, ends, record};
use super::query::Verbs;
use super::{READ_ONLY_WAIT, Store, StoreError};
use crate::audit::AuditRecord;
use crate::audit::{Break, Hash, Link};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, ConnectOptions};
use std::path::Path;

/// Records that are read at a time: a few hundred KiB.
const CHECKED_AT_ONCE: i64 = 1_000;

/// What a check of the trail has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrailReport {
    /// Records that were checked and are in order.
    pub records: u64,
    /// The last record that was pruned; number 0 if none was.
    pub anchor: Link,
    /// The last record that is in order. Kept elsewhere, it proves later that nothing up to it was changed.
    pub last: Link,
    /// Where the chain is broken first.
    pub broken: Option<Break>,
}

impl Store {
    /// Checks the whole trail. `expected` is a record that was noted elsewhere and must still be part of it.
    pub(crate) async fn check_trail(&self, expected: Option<Link>) -> Result<TrailReport, StoreError> {
        check(self.reader(), expected).await
    }
}

/// Checks the trail in a database file, which is only read. The service may be at work on it.
pub async fn check_trail_in(file: &Path, expected: Option<Link>) -> Result<TrailReport, StoreError> {
    sqlx::any::install_default_drivers();
    let url = SqliteConnectOptions::new().filename(file).read_only(true).to_url_lossy();
    let what = "open the database to read it";
    let options = AnyConnectOptions::from_url(&url).map_err(|e| StoreError::database(what, e))?;
    let pool = AnyPoolOptions::new().max_connections(1).acquire_timeout(READ_ONLY_WAIT).connect_with(options);
    let pool = pool.await.map_err(|e| StoreError::database(what, e))?;
    let report = check(&pool, expected).await;
    pool.close().await;
    report
}

/// Checks until a chain is found whose beginning was not pruned meanwhile.
async fn check(at: &AnyPool, expected: Option<Link>) -> Result<TrailReport, StoreError> {
    loop {
        let Some(Ends { anchor, .. }) = ends(at).await? else { return Ok(without_ends()) };
        let report = walk(at, anchor, expected).await?;
        if report.broken.is_none() || ends(at).await?.is_none_or(|now| now.anchor == anchor) {
            return Ok(report);
        }
    }
}

fn without_ends() -> TrailReport {
    let nothing = Link { number: 0, hash: Hash::NOTHING };
    let reason = "the row that says where the trail begins and ends is missing, or cannot be read".to_owned();
    TrailReport { records: 0, anchor: nothing, last: nothing, broken: Some(Break { number: 0, reason }) }
}

async fn walk(at: &AnyPool, anchor: Link, expected: Option<Link>) -> Result<TrailReport, StoreError> {
    let mut link = anchor;
    let mut waits = false;
    let broken = loop {
        let page = sqlx::query("SELECT * FROM audit WHERE number > $1 ORDER BY number LIMIT $2")
            .bind(link.number)
            .bind(CHECKED_AT_ONCE)
            .all(at, "read the audit trail", |row| Ok(record(row).ok()))
            .await?;
        if !page.is_empty() {
            waits = false;
            match page.into_iter().find_map(|record| follow(&mut link, record, expected).err()) {
                Some(broken) => break Some(broken),
                None => continue,
            }
        }
        let Some(Ends { last, .. }) = ends(at).await? else { return Ok(without_ends()) };
        // What was appended between the two looks is there at the next one.
        if last.number > link.number && !waits {
            waits = true;
            continue;
        }
        break end_of(link, last).or_else(|| beyond(link, expected));
    };
    let broken = broken.or_else(|| before_all(anchor, expected));
    let records = u64::try_from(link.number - anchor.number).unwrap_or_default();
    Ok(TrailReport { records, anchor, last: link, broken })
}

fn follow(link: &mut Link, record: Option<AuditRecord>, expected: Option<Link>) -> Result<(), Break> {
    let number = link.number.saturating_add(1);
    let Some(record) = record else {
        return Err(Break { number, reason: "it cannot be read: it holds what was never written there".to_owned() });
    };
    let mut next = *link;
    next.step(&record)?;
    if expected.is_some_and(|e| e.number == number && e.hash != next.hash) {
        let reason = "it is in order with the others, but it is not the one that was noted: the trail was rewritten";
        return Err(Break { number, reason: reason.to_owned() });
    }
    *link = next;
    Ok(())
}

/// Whether the chain ends where it should.
fn end_of(link: Link, last: Link) -> Option<Break> {
    let number = link.number.saturating_add(1);
    match last.number {
        there if there > link.number => {
            Some(Break { number, reason: format!("records {number} to {there} are missing at the end") })
        }
        there if there < link.number => {
            let number = there.saturating_add(1);
            Some(Break { number, reason: format!("the trail ends with record {there}: what follows was put there") })
        }
        there if last.hash != link.hash => {
            Some(Break { number: there, reason: "it is not the record that the trail ended with".to_owned() })
        }
        _ => None,
    }
}

/// A record that was noted, but is not there yet.
fn beyond(link: Link, expected: Option<Link>) -> Option<Break> {
    let noted = expected.filter(|e| e.number > link.number)?;
    let number = link.number.saturating_add(1);
    let reason = format!("record {} was noted, but the trail ends with {}: it was cut", noted.number, link.number);
    Some(Break { number, reason })
}

/// A record that was noted, and has been pruned: only the last one of these can still be compared.
fn before_all(anchor: Link, expected: Option<Link>) -> Option<Break> {
    let noted = expected.filter(|e| e.number <= anchor.number && *e != anchor)?;
    let reason = match noted.number == anchor.number {
        true => "it is not the one that was noted: the trail was rewritten".to_owned(),
        false => format!("it has been pruned, so it cannot be compared: the trail begins behind {}", anchor.number),
    };
    Some(Break { number: noted.number, reason })
}
