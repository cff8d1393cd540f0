//! Notifications: what was told to whom, once more, and whether messages arrive at all.

use super::page::{only, paged};
use super::{Answer, Page, Paged, Service, ServiceError};
use crate::notify;
use crate::store::NotificationRecord;
use godwit_model::event::delivery::DeliveryState;
use godwit_model::event::{self, EventKind, Message, mail};
use godwit_model::failure::Failure;
use godwit_model::id::{EventId, JobId, NotificationId, RunId, ServerId};
use godwit_model::recipient::Recipient;
use godwit_model::time::Timestamp;

/// Which notifications.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NotificationsFilter {
    /// Exactly these.
    pub notification_ids: Option<Vec<String>>,
    /// Those of this job, also if it is deleted and forgotten.
    pub job_id: Option<String>,
    /// Those in this state: `PENDING`, `DELIVERED` or `GIVEN_UP`.
    pub state: Option<String>,
}

/// An event on its way to one recipient.
#[derive(Clone, PartialEq, Debug)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// The id that the receiver sees, the same at every attempt and for every recipient.
    pub event_id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// When it happened.
    pub at: Timestamp,
    /// To which job.
    pub job: JobId,
    /// In which run.
    pub run: Option<RunId>,
    /// The job's server.
    pub server: ServerId,
    /// What people call it.
    pub server_name: String,
    /// Who is told.
    pub recipient: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt: Option<Timestamp>,
    /// When it was delivered last.
    pub delivered_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// What it says, in a line.
    pub subject: String,
    /// What it says, to people.
    pub text: String,
}

impl Service {
    /// `DescribeNotifications`: newest first.
    pub async fn describe_notifications(
        &self,
        filter: &NotificationsFilter,
        page: &Page,
    ) -> Answer<Paged<Notification>> {
        let (store, list) = (&self.line.store, "notifications");
        if let Some(ids) = &filter.notification_ids {
            let read = async |ids: &[NotificationId]| store.notifications_named(ids).await;
            return Ok(only(ids, "notification", list, page, read).await?.map(notification));
        }
        let job = filter.job_id.as_deref().map(str::parse::<JobId>).transpose()?;
        let state = filter.state.as_deref().map(parse_state).transpose()?;
        let read = |after, limit| store.notifications(job.as_ref(), state, after, limit);
        let at = |record: &NotificationRecord| (record.event.at.0, record.id.to_string());
        Ok(paged(page, list, read, at).await?.map(notification))
    }

    /// `RedeliverNotification`: it is tried again now, whatever became of it.
    pub async fn redeliver_notification(&self, id: &str, now: Timestamp) -> Answer<()> {
        let id: NotificationId = id.parse()?;
        if !self.line.store.redeliver(&id, now).await? {
            return Err(ServiceError::invalid(format!(
                "there is no notification {id}: see which there are with DescribeNotifications"
            )));
        }
        self.line.wake.notify_one();
        Ok(())
    }

    /// `SendTestNotification`: a message that says that it is a test, at once and without a record. Gives why it did
    /// not arrive, if so.
    pub async fn send_test_notification(&self, recipient: &str, now: Timestamp) -> Answer<Result<(), Failure>> {
        let recipient: Recipient =
            recipient.parse().map_err(|error| ServiceError::invalid(format!("recipient: {error}")))?;
        let message = Message::Test { id: event::test_id(now, (self.line.draw)()), at: now };
        Ok(notify::attempt(&self.line, &message, &recipient.to_string()).await)
    }
}

fn parse_state(text: &str) -> Answer<DeliveryState> {
    DeliveryState::parse(text).ok_or_else(|| {
        let all = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        ServiceError::invalid(format!("state is '{text}': give one of {all}"))
    })
}

fn notification(record: NotificationRecord) -> Notification {
    let event = record.event.clone();
    let mail = mail::mail(&Message::Event(Box::new(record.event)));
    Notification {
        id: record.id,
        event_id: event.id,
        kind: event.kind,
        at: event.at,
        job: event.job,
        run: event.run,
        server: event.server,
        server_name: event.server_name,
        recipient: record.recipient,
        state: record.state,
        attempts: record.attempts,
        next_attempt: record.next_at,
        delivered_at: record.delivered_at,
        failure: record.failure,
        subject: mail.subject,
        text: mail.text,
    }
}
