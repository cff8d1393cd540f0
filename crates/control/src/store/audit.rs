//! The audit trail's rows. Records are only ever appended, and pruned from the oldest on.

use super::query::Verbs;
use super::row::Fields;
use super::{READ_ONLY_WAIT, Store, StoreError, Tx};
use crate::audit::chain::{Break, Hash, Link};
use crate::audit::{AuditLimits, AuditRecord, Caller, NewAuditRecord, UNKNOWN};
use godwit_model::retention::due_before;
use godwit_model::time::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, ConnectOptions};
use std::path::Path;

/// Records that are read at a time to check them: a few hundred KiB.
const CHECKED_AT_ONCE: i64 = 1_000;

/// Records that are pruned in one transaction: others that write wait that long, some ten milliseconds.
const PRUNED_AT_ONCE: i64 = 5_000;

/// Which records are wanted. Empty texts want all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AuditQuery {
    pub since: Timestamp,
    pub until: Timestamp,
    pub who: String,
    pub what: String,
    pub outcome: String,
}

/// Both ends of the chain: the last record that was pruned, and the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ends {
    anchor: Link,
    last: Link,
}

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
    /// Puts something on record within a transaction: it is on record if, and only if, that is committed.
    pub(crate) async fn append_audit(tx: &mut Tx, what: NewAuditRecord) -> Result<Link, StoreError> {
        let last = lock_chain(tx).await?.last.next(what);
        insert(tx, &last).await?;
        let last = Link { number: last.number, hash: last.hash };
        write_last(tx, last).await?;
        Ok(last)
    }

    /// Puts these on record, in this order. With each comes whether its intent is on record, which goes.
    pub(crate) async fn record_all(&self, all: &[(NewAuditRecord, bool)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let mut last = lock_chain(&mut tx).await?.last;
        for (what, begun) in all {
            if *begun && !end_intent(&mut tx, &what.request_id).await? {
                // Already on record: a commit that looked as if it had failed.
                continue;
            }
            let record = last.next(what.clone());
            insert(&mut tx, &record).await?;
            last = Link { number: record.number, hash: record.hash };
        }
        write_last(&mut tx, last).await?;
        tx.commit().await
    }

    /// A call that may change something begins. If its outcome never gets on record, the next start says so.
    pub(crate) async fn begin_audited(&self, what: &NewAuditRecord) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO audit_intent (request_id, at, user_name, access_key_id, action, parameters, source) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(what.request_id.clone())
        .bind(what.at.0)
        .bind(what.caller.user.clone().unwrap_or_default())
        .bind(what.caller.access_key_id.clone())
        .bind(what.action.clone())
        .bind(what.parameters.clone())
        .bind(what.source.clone())
        .run(&mut *tx, "put the begin of a call on record")
        .await?;
        tx.commit().await
    }

    /// Puts on record the calls that were at work when the last process ended. Gives how many.
    pub(crate) async fn settle_intents(&self) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let left = sqlx::query("SELECT * FROM audit_intent ORDER BY at, request_id")
            .all(&mut *tx, "read the calls whose outcome is unknown", intent)
            .await?;
        for what in &left {
            Store::append_audit(&mut tx, what.clone()).await?;
        }
        sqlx::query("DELETE FROM audit_intent").run(&mut *tx, "settle the calls whose outcome is unknown").await?;
        tx.commit().await?;
        Ok(left.len())
    }

    /// Up to `limit` records with numbers below `below`, newest first.
    pub(crate) async fn audit_records(
        &self,
        query: &AuditQuery,
        below: i64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        sqlx::query(
            "SELECT * FROM audit WHERE number < $1 AND at >= $2 AND at < $3 \
             AND ($4 = '' OR user_name = $4 OR access_key_id = $4) \
             AND ($5 = '' OR action = $5 OR action = 'sms:' || $5 OR action = 'godwit:' || $5) \
             AND ($6 = '' OR outcome = $6 OR ($6 = 'FAILED' AND outcome <> 'OK')) \
             ORDER BY number DESC LIMIT $7",
        )
        .bind(below)
        .bind(query.since.0)
        .bind(query.until.0)
        .bind(query.who.clone())
        .bind(query.what.clone())
        .bind(query.outcome.clone())
        .bind(super::row::to_sql(limit))
        .all(self.reader(), "list audit records", record)
        .await
    }

    /// Checks the whole trail. `expected` is a record that was noted elsewhere and must still be part of it.
    pub(crate) async fn check_trail(&self, expected: Option<Link>) -> Result<TrailReport, StoreError> {
        check(self.reader(), expected).await
    }

    /// Removes what is kept no longer, and puts that on record. Gives how many records went.
    pub(crate) async fn prune_audit(&self, limits: &AuditLimits, now: Timestamp) -> Result<u64, StoreError> {
        let (mut pruned, mut newest) = (0, None);
        loop {
            let mut tx = self.begin().await?;
            let ends = lock_chain(&mut tx).await?;
            // What the pruning itself puts on record is not for this one to prune.
            let newest = *newest.get_or_insert(ends.last.number);
            let until = prune_until(&mut tx, limits, ends, now).await?.min(newest);
            let until = until.min(ends.anchor.number.saturating_add(PRUNED_AT_ONCE));
            if until <= ends.anchor.number {
                return Ok(pruned);
            }
            let hash = sqlx::query("SELECT hash FROM audit WHERE number = $1")
                .bind(until)
                .one(&mut *tx, "read the last record to prune", |row| hash_in(row, "hash"))
                .await?;
            let gone = sqlx::query("DELETE FROM audit WHERE number <= $1")
                .bind(until)
                .run(&mut *tx, "prune the audit trail")
                .await?;
            sqlx::query("UPDATE audit_chain SET anchor_number = $1, anchor_hash = $2 WHERE chain = 1")
                .bind(until)
                .bind(hash.to_string())
                .run(&mut *tx, "anchor the audit trail")
                .await?;
            let parameters = serde_json::json!({ "records": gone, "upTo": until });
            let what = NewAuditRecord::of_the_service("godwit:PruneAuditTrail", &parameters, now);
            Store::append_audit(&mut tx, what).await?;
            tx.commit().await?;
            pruned += gone;
        }
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

/// The last record that is kept no longer.
async fn prune_until(tx: &mut Tx, limits: &AuditLimits, ends: Ends, now: Timestamp) -> Result<i64, StoreError> {
    let most = i64::try_from(limits.most).unwrap_or(i64::MAX);
    // One more goes for the record of the pruning itself.
    let too_many = ends.last.number.saturating_sub(most);
    let too_many = if too_many > ends.anchor.number { too_many.saturating_add(1) } else { ends.anchor.number };
    let Some(before) = due_before(limits.keep, now) else { return Ok(too_many.min(ends.last.number)) };
    // Only a beginning of the chain can go: it ends before the first record that is kept, whatever the clock said.
    let kept = sqlx::query("SELECT number FROM audit WHERE at > $1 ORDER BY number LIMIT 1")
        .bind(before.0)
        .find(&mut **tx, "look for the first record to keep", |row| Fields(row).int("number"))
        .await?;
    let too_old = kept.map_or(ends.last.number, |kept| kept - 1);
    Ok(too_old.max(too_many).min(ends.last.number))
}

/// The ends of the chain, which nobody else moves until the transaction ends.
async fn lock_chain(tx: &mut Tx) -> Result<Ends, StoreError> {
    sqlx::query("UPDATE audit_chain SET chain = 1 WHERE chain = 1").run(&mut **tx, "lock the audit trail").await?;
    sqlx::query(ENDS).one(&mut **tx, "read the ends of the audit trail", read_ends).await
}

const ENDS: &str = "SELECT anchor_number, anchor_hash, last_number, last_hash FROM audit_chain WHERE chain = 1";

/// The same for whoever checks: `None` if the row is not there, or holds what was never written there.
async fn ends(at: &AnyPool) -> Result<Option<Ends>, StoreError> {
    let found = sqlx::query(ENDS).find(at, "read the ends of the audit trail", |row| Ok(read_ends(row).ok())).await?;
    Ok(found.flatten())
}

async fn insert(tx: &mut Tx, record: &AuditRecord) -> Result<(), StoreError> {
    let what = record.what.clone();
    sqlx::query(
        "INSERT INTO audit (number, at, user_name, access_key_id, action, parameters, outcome, message, request_id, \
         source, previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(record.number)
    .bind(what.at.0)
    .bind(what.caller.user.unwrap_or_default())
    .bind(what.caller.access_key_id)
    .bind(what.action)
    .bind(what.parameters)
    .bind(what.outcome)
    .bind(what.message)
    .bind(what.request_id)
    .bind(what.source)
    .bind(record.previous.to_string())
    .bind(record.hash.to_string())
    .run(&mut **tx, "append to the audit trail")
    .await?;
    Ok(())
}

async fn write_last(tx: &mut Tx, last: Link) -> Result<(), StoreError> {
    sqlx::query("UPDATE audit_chain SET last_number = $1, last_hash = $2 WHERE chain = 1")
        .bind(last.number)
        .bind(last.hash.to_string())
        .run(&mut **tx, "end the audit trail")
        .await?;
    Ok(())
}

/// Whether the intent was there.
async fn end_intent(tx: &mut Tx, request_id: &str) -> Result<bool, StoreError> {
    let gone = sqlx::query("DELETE FROM audit_intent WHERE request_id = $1")
        .bind(request_id.to_owned())
        .run(&mut **tx, "end the begin of a call")
        .await?;
    Ok(gone > 0)
}

fn read_ends(row: &AnyRow) -> Result<Ends, StoreError> {
    let link = |number, hash| Ok::<_, StoreError>(Link { number: Fields(row).int(number)?, hash: hash_in(row, hash)? });
    Ok(Ends { anchor: link("anchor_number", "anchor_hash")?, last: link("last_number", "last_hash")? })
}

fn record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
    let fields = Fields(row);
    Ok(AuditRecord {
        number: fields.int("number")?,
        what: NewAuditRecord {
            at: fields.time("at")?,
            caller: caller(row)?,
            action: fields.text("action")?,
            parameters: fields.text("parameters")?,
            outcome: fields.text("outcome")?,
            message: fields.text("message")?,
            request_id: fields.text("request_id")?,
            source: fields.text("source")?,
        },
        previous: hash_in(row, "previous_hash")?,
        hash: hash_in(row, "hash")?,
    })
}

fn intent(row: &AnyRow) -> Result<NewAuditRecord, StoreError> {
    let fields = Fields(row);
    Ok(NewAuditRecord {
        at: fields.time("at")?,
        caller: caller(row)?,
        action: fields.text("action")?,
        parameters: fields.text("parameters")?,
        outcome: UNKNOWN.to_owned(),
        message: "The service stopped before the outcome was on record.".to_owned(),
        request_id: fields.text("request_id")?,
        source: fields.text("source")?,
    })
}

fn caller(row: &AnyRow) -> Result<Caller, StoreError> {
    let user = Fields(row).text("user_name")?;
    Ok(Caller { user: Some(user).filter(|user| !user.is_empty()), access_key_id: Fields(row).text("access_key_id")? })
}

fn hash_in(row: &AnyRow, column: &'static str) -> Result<Hash, StoreError> {
    let text = Fields(row).text(column)?;
    let hash = Hash::parse(&text).filter(|hash| hash.to_string() == text);
    hash.ok_or_else(|| StoreError::unreadable(column, text))
}
