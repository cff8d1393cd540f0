//! Tells recipients what happened.
//!
//! The store says what is due to whom. One task works for one recipient, so messages arrive there in order unless one
//! of them has to be tried again, and no receiver is called twice at the same time. A message that was delivered may be
//! delivered again after a crash: its id is the same then.

use crate::control::Line;
use crate::driver::Ended;
use crate::store::{NotificationRecord, StoreError};
use async_trait::async_trait;
use godwit_model::event::Message;
use godwit_model::event::delivery::{Next, Patience};
use godwit_model::failure::{Code, Failure};
use godwit_model::recipient::Recipient;
use godwit_model::time::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Carries messages to their recipients. Implemented in `server`.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Gives the message to the recipient. That it returns `Ok` means that the receiver took it. It may be called again
    /// with the same message, and be dropped at any point. Only the kind of the failure's code decides whether the same
    /// is tried again.
    async fn deliver(&self, message: &Message, recipient: &Recipient) -> Result<(), Failure>;
}

/// Bounds of telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotifyOptions {
    /// Recipients that are called at the same time: so many that one that does not answer keeps nobody waiting, so few
    /// that connections and memory do not matter.
    pub in_flight: usize,
    /// Bound of one attempt.
    pub attempt: Duration,
    /// How long and how often a delivery is tried.
    pub patience: Patience,
    /// How long the record says what was told to whom; `None` is for ever.
    pub keep: Option<Millis>,
}

/// Messages that one task delivers before others get its place.
const BATCH: usize = 16;

impl Default for NotifyOptions {
    fn default() -> Self {
        Self {
            in_flight: 8,
            attempt: Duration::from_secs(30),
            // Doubling from ten seconds to an hour and then hourly, 80 attempts fit into three days: a mail server that
            // is down from Friday evening to Monday morning loses nothing.
            patience: Patience {
                first: Millis::SECOND.times(10),
                longest: Millis::HOUR,
                attempts: 100,
                age: Millis::DAY.times(3),
            },
            keep: Some(Millis::DAY.times(90)),
        }
    }
}

/// Tells this recipient what is due, until nothing is, or the first time that it does not work.
pub(crate) async fn tell(line: Arc<Line>, recipient: String, cancel: CancellationToken) -> Result<Ended, StoreError> {
    for _ in 0..BATCH {
        let Some(due) = line.store.due_notification(&recipient, line.now()).await? else { break };
        let message = Message::Event(Box::new(due.event.clone()));
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            outcome = attempt(&line, &message, &due.recipient) => outcome,
        };
        let worked = outcome.is_ok();
        match record(&line, &due, outcome).await {
            // Somebody wants it delivered again meanwhile: it is still due.
            Ok(()) | Err(StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
        if !worked {
            break;
        }
    }
    Ok(Ended::Done)
}

/// One attempt, within its bound.
pub(crate) async fn attempt(line: &Line, message: &Message, recipient: &str) -> Result<(), Failure> {
    let recipient: Recipient =
        recipient.parse().map_err(|error| Failure::new(Code::RecipientRefused, format!("{error}")))?;
    let bound = line.options.notify.attempt;
    match tokio::time::timeout(bound, line.notifier.deliver(message, &recipient)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(Code::RecipientUnreachable, format!("no answer within {} s", bound.as_secs_f32()))),
    }
}

async fn record(line: &Line, due: &NotificationRecord, outcome: Result<(), Failure>) -> Result<(), StoreError> {
    let now = line.now();
    let Err(failure) = outcome else { return line.store.notification_delivered(due, now).await };
    let passing = failure.code.kind().is_transient();
    let next = line.options.notify.patience.after_failure(due.attempts + 1, due.since, now, passing);
    match next {
        Next::Again(_) => {
            tracing::info!(notification = %due.id, %failure, "a notification was not delivered; it is tried again");
        }
        Next::GiveUp => {
            tracing::warn!(notification = %due.id, %failure, "a notification was given up");
        }
    }
    line.store.notification_failed(due, &failure, next).await
}
