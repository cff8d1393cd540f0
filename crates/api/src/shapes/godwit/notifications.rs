//! Notifications.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

/// How far a notification is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationState {
    /// Still to be delivered.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It is not tried any more.
    GivenUp,
}

impl NotificationState {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationState::Pending => "PENDING",
            NotificationState::Delivered => "DELIVERED",
            NotificationState::GivenUp => "GIVEN_UP",
        }
    }
}

shapes! {
    /// Request of `DescribeNotifications`.
    #[derive(Default)]
    DescribeNotificationsRequest {
        /// Only these.
        notification_ids: Option<Vec<String>>,
        /// Only those of this job.
        replication_job_id: Option<String>,
        /// Only those in this state.
        state: Option<NotificationState>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeNotifications`.
    DescribeNotificationsResponse {
        /// The notifications, newest first.
        notifications: Vec<NotificationDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// An event on its way to one recipient.
    NotificationDescription {
        /// Its id.
        notification_id: String,
        /// The id that receivers see, the same for all recipients and at every attempt.
        event_id: String,
        /// What happened: `RUN_FAILED`, `JOB_COMPLETED` …
        event: String,
        /// When it happened.
        happened_on: EpochSeconds,
        /// To which job.
        replication_job_id: String,
        /// In which run.
        replication_run_id: Option<String>,
        /// The job's server.
        server_id: String,
        /// What people call it.
        server_name: String,
        /// Who is told.
        recipient: String,
        /// How far it is.
        state: NotificationState,
        /// Attempts so far.
        attempts: u32,
        /// When it is tried next.
        next_attempt_on: Option<EpochSeconds>,
        /// When the receiver took it.
        delivered_on: Option<EpochSeconds>,
        /// Why the last attempt failed.
        failure: Option<NotificationFailure>,
        /// What it says, in a line.
        subject: String,
        /// What it says to people.
        text: String,
    }

    /// Why a notification did not arrive.
    NotificationFailure {
        /// Stable code.
        code: String,
        /// What was seen.
        evidence: String,
        /// What to do.
        next_step: String,
    }

    /// Request of `RedeliverNotification`.
    RedeliverNotificationRequest {
        /// Which.
        notification_id: String,
    }

    /// Request of `SendTestNotification`.
    SendTestNotificationRequest {
        /// An e-mail address, or a web address.
        recipient: String,
    }

    /// Answer of `SendTestNotification`.
    SendTestNotificationResponse {
        /// Whether the receiver took it.
        delivered: bool,
        /// Why not.
        failure: Option<NotificationFailure>,
    }
}
