//! Notifications: events on their way to recipients, and what became of them.

use super::query::{After, Order, Verbs, of};
use super::row::{Fields, to_sql};
use super::runs::parse_code;
use super::{Store, StoreError};
use godwit_model::event::Event;
use godwit_model::event::delivery::{DeliveryState, Next};
use godwit_model::failure::Failure;
use godwit_model::id::{JobId, NotificationId};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// A notification's row, with its event.
#[derive(Clone, Debug)]
pub(crate) struct NotificationRecord {
    pub id: NotificationId,
    pub event: Event,
    /// As text: what was checked once may be kept.
    pub recipient: String,
    pub state: DeliveryState,
    /// Attempts since it was wanted.
    pub attempts: u32,
    /// When it was wanted, first or again.
    pub since: Timestamp,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    /// How the last attempt failed.
    pub failure: Option<Failure>,
    pub fence: i64,
}

/// Rows that one pruning takes at most, so that it holds the writer only shortly.
const PRUNED_AT_ONCE: i64 = 500;

const COLUMNS: &str = "SELECT notification.*, job_event.facts FROM notification \
                       JOIN job_event ON job_event.event_id = notification.event_id";

impl Store {
    /// Up to `limit` recipients to whom something is due. Those with something that was not tried yet come first: what
    /// was tried in vain must not keep the others waiting.
    pub(crate) async fn recipients_due(&self, now: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        sqlx::query(
            "SELECT recipient, MIN(attempts) AS tried, MIN(next_at) AS due FROM notification \
             WHERE state = 'PENDING' AND next_at <= $1 GROUP BY recipient ORDER BY tried, due LIMIT $2",
        )
        .bind(now.0)
        .bind(to_sql(limit))
        .all(self.reader(), "look whom to tell", |row| Fields(row).text("recipient"))
        .await
    }

    /// When the next notification that is not due yet will be.
    pub(crate) async fn next_notification(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query("SELECT MIN(next_at) AS due FROM notification WHERE state = 'PENDING' AND next_at > $1")
            .bind(now.0)
            .one(self.reader(), "look when to tell", |row| Fields(row).opt_time("due"))
            .await
    }

    /// What this recipient is told next, if something is due: what was tried least often, and of that the oldest.
    pub(crate) async fn due_notification(
        &self,
        recipient: &str,
        now: Timestamp,
    ) -> Result<Option<NotificationRecord>, StoreError> {
        let sql = format!(
            "{COLUMNS} WHERE notification.recipient = $1 AND notification.state = 'PENDING' \
             AND notification.next_at <= $2 ORDER BY notification.attempts, notification.notification_id LIMIT 1"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(recipient.to_owned())
            .bind(now.0)
            .find(self.reader(), "read what to tell", notification_record)
            .await
    }

    /// The receiver took it.
    pub(crate) async fn notification_delivered(
        &self,
        was: &NotificationRecord,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE notification SET state = 'DELIVERED', attempts = attempts + 1, next_at = NULL, delivered_at = $1, \
             failure_code = NULL, failure_evidence = NULL, fence = fence + 1 WHERE notification_id = $2 AND fence = $3",
        )
        .bind(now.0)
        .bind(was.id.to_string())
        .bind(was.fence)
        .run_fenced(&mut *tx, "record a delivery")
        .await?;
        tx.commit().await
    }

    /// An attempt failed.
    pub(crate) async fn notification_failed(
        &self,
        was: &NotificationRecord,
        failure: &Failure,
        next: Next,
    ) -> Result<(), StoreError> {
        let (state, at) = match next {
            Next::Again(at) => (DeliveryState::Pending, Some(at.0)),
            Next::GiveUp => (DeliveryState::GivenUp, None),
        };
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE notification SET state = $1, attempts = attempts + 1, next_at = $2, failure_code = $3, \
             failure_evidence = $4, fence = fence + 1 WHERE notification_id = $5 AND fence = $6",
        )
        .bind(state.as_str())
        .bind(at)
        .bind(failure.code.as_str())
        .bind(failure.evidence.clone())
        .bind(was.id.to_string())
        .bind(was.fence)
        .run_fenced(&mut *tx, "record a delivery that failed")
        .await?;
        tx.commit().await
    }

    /// It is wanted again, now: whatever became of it, and with all attempts. False if there is no such notification.
    pub(crate) async fn redeliver(&self, id: &NotificationId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE notification SET state = 'PENDING', attempts = 0, since_at = $1, next_at = $1, \
             fence = fence + 1 WHERE notification_id = $2",
        )
        .bind(now.0)
        .bind(id.to_string())
        .run(&mut *tx, "deliver a notification again")
        .await?;
        tx.commit().await?;
        Ok(changed == 1)
    }

    /// The notifications of these ids, as far as they exist.
    pub(crate) async fn notifications_named(
        &self,
        ids: &[NotificationId],
    ) -> Result<HashMap<NotificationId, NotificationRecord>, StoreError> {
        let head = format!("{COLUMNS} WHERE notification.notification_id IN ");
        self.named(&head, ids, "read notifications", notification_record, |n| &n.id).await
    }

    /// Up to `limit` notifications behind `after`, newest first; of one job, or in one state, if these are given.
    pub(crate) async fn notifications(
        &self,
        job: Option<&JobId>,
        state: Option<DeliveryState>,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        let (whose, job) = of("notification.job_id", job);
        let sql = format!(
            "{COLUMNS} WHERE {whose} AND ($2 = '' OR notification.state = $2) AND (notification.happened_at < $3 \
             OR (notification.happened_at = $3 AND notification.notification_id < $4)) \
             ORDER BY notification.happened_at DESC, notification.notification_id DESC LIMIT $5"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(job)
            .bind(state.map(DeliveryState::as_str).unwrap_or_default())
            .page(after, Order::NewestFirst, limit)
            .all(self.reader(), "list notifications", notification_record)
            .await
    }

    /// Forgets events from `before` and earlier whose deliveries have all come to their end.
    pub(crate) async fn forget_events(&self, before: Timestamp) -> Result<(), StoreError> {
        let what = "forget what was told";
        let over = "happened_at <= $1 AND NOT EXISTS (SELECT 1 FROM notification \
                    WHERE notification.event_id = job_event.event_id AND notification.state = 'PENDING')";
        let due = format!("SELECT event_id FROM job_event WHERE {over} ORDER BY happened_at LIMIT $2");
        let events = sqlx::query(sqlx::AssertSqlSafe(due))
            .bind(before.0)
            .bind(PRUNED_AT_ONCE)
            .all(self.reader(), what, |row| Fields(row).text("event_id"))
            .await?;
        if events.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for event in events {
            let pending = "SELECT event_id FROM notification WHERE event_id = $1 AND state = 'PENDING'";
            if sqlx::query(pending).bind(event.clone()).exists(&mut *tx, what).await? {
                continue;
            }
            for sql in ["DELETE FROM notification WHERE event_id = $1", "DELETE FROM job_event WHERE event_id = $1"] {
                sqlx::query(sql).bind(event.clone()).run(&mut *tx, what).await?;
            }
        }
        tx.commit().await
    }
}

fn notification_record(row: &AnyRow) -> Result<NotificationRecord, StoreError> {
    let fields = Fields(row);
    let failure = match fields.opt_name("failure_code", parse_code)? {
        None => None,
        Some(code) => Some(Failure::new(code, fields.opt_text("failure_evidence")?.unwrap_or_default())),
    };
    Ok(NotificationRecord {
        id: fields.id("notification_id")?,
        event: fields.json("facts")?,
        recipient: fields.text("recipient")?,
        state: fields.name("state", DeliveryState::parse)?,
        attempts: fields.number("attempts")?,
        since: fields.time("since_at")?,
        next_at: fields.opt_time("next_at")?,
        delivered_at: fields.opt_time("delivered_at")?,
        failure,
        fence: fields.int("fence")?,
    })
}
