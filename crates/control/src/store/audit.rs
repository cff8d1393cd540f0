//! The audit trail's rows. Records are only ever appended, and pruned from the oldest on.

use super::query::Verbs;
use super::row::Fields;
use super::{Store, StoreError, Tx};
use crate::audit::{AuditLimits, AuditRecord, Caller, NewAuditRecord, UNKNOWN};
use crate::audit::{Hash, Link};
use crate::changes::{Kind, Kinds};
use godwit_model::policy::is_reading;
use godwit_model::retention::due_before;
use godwit_model::time::Timestamp;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

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
pub(super) struct Ends {
    pub anchor: Link,
    pub last: Link,
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

    /// Puts on record the calls that were at work when the last process ended, before others begin. Gives how
    /// many.
    pub(crate) async fn settle_intents(&self) -> Result<usize, StoreError> {
        let left = sqlx::query("SELECT * FROM audit_intent ORDER BY at, request_id")
            .all(self.reader(), "read the calls whose outcome is unknown", intent)
            .await?;
        if left.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
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

    /// Removes what is kept no longer, and puts that on record. Gives how many records went. One at a time: only
    /// others may append meanwhile.
    pub(crate) async fn prune_audit(&self, limits: &AuditLimits, now: Timestamp) -> Result<u64, StoreError> {
        let (mut pruned, mut newest) = (0, None);
        loop {
            let unreadable = || StoreError::unreadable("the ends of the audit trail", "nothing that can be read");
            let ends = ends(self.reader()).await?.ok_or_else(unreadable)?;
            // What the pruning itself puts on record is not for this one to prune.
            let newest = *newest.get_or_insert(ends.last.number);
            let until = prune_until(self.reader(), limits, ends, now).await?.min(newest);
            let until = until.min(ends.anchor.number.saturating_add(PRUNED_AT_ONCE));
            if until <= ends.anchor.number {
                return Ok(pruned);
            }
            let mut tx = self.begin().await?;
            lock_chain(&mut tx).await?;
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

/// The last record that is kept no longer.
async fn prune_until(at: &AnyPool, limits: &AuditLimits, ends: Ends, now: Timestamp) -> Result<i64, StoreError> {
    let most = i64::try_from(limits.most).unwrap_or(i64::MAX);
    // One more goes for the record of the pruning itself.
    let too_many = ends.last.number.saturating_sub(most);
    let too_many = if too_many > ends.anchor.number { too_many.saturating_add(1) } else { ends.anchor.number };
    let Some(before) = due_before(limits.keep, now) else { return Ok(too_many.min(ends.last.number)) };
    // Only a beginning of the chain can go: it ends before the first record that is kept, whatever the clock said.
    let kept = sqlx::query("SELECT number FROM audit WHERE at > $1 ORDER BY number LIMIT 1")
        .bind(before.0)
        .find(at, "look for the first record to keep", |row| Fields(row).int("number"))
        .await?;
    let too_old = kept.map_or(ends.last.number, |kept| kept - 1);
    Ok(too_old.max(too_many).min(ends.last.number))
}

/// The ends of the chain, which nobody else moves until the transaction ends.
async fn lock_chain(tx: &mut Tx) -> Result<Ends, StoreError> {
    sqlx::query("UPDATE audit_chain SET chain = 1 WHERE chain = 1").run(&mut **tx, "lock the audit trail").await?;
    let mut ends = sqlx::query(ENDS).one(&mut **tx, "read the ends of the audit trail", read_ends).await?;
    // Whoever put a record behind the last one must not keep us from writing: we go on behind it, and it is found.
    let forged = sqlx::query("SELECT number FROM audit WHERE number > $1 ORDER BY number DESC LIMIT 1")
        .bind(ends.last.number)
        .find(&mut **tx, "look behind the end of the audit trail", |row| Ok(Fields(row).int("number").ok()))
        .await?;
    if let Some(number) = forged.flatten() {
        tracing::error!(number, "somebody has put a record at the end of the audit trail: see 'godwit audit verify'");
        ends.last.number = number;
    }
    Ok(ends)
}

const ENDS: &str = "SELECT anchor_number, anchor_hash, last_number, last_hash FROM audit_chain WHERE chain = 1";

/// The same for whoever checks: `None` if the row is not there, or holds what was never written there.
pub(super) async fn ends(at: &AnyPool) -> Result<Option<Ends>, StoreError> {
    let found = sqlx::query(ENDS).find(at, "read the ends of the audit trail", |row| Ok(read_ends(row).ok())).await?;
    Ok(found.flatten())
}

async fn insert(tx: &mut Tx, record: &AuditRecord) -> Result<(), StoreError> {
    let what = record.what.clone();
    if !only_reads(&what.action) {
        tx.touches(Kinds::of(Kind::Audit));
    }
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

/// An export reads thousands of times.
fn only_reads(action: &str) -> bool {
    is_reading(action) || action == "godwit:ReadImage"
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

pub(super) fn record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
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
