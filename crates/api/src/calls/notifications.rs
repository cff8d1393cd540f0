//! Notifications.

use super::{Outcome, page};
use crate::shapes::godwit::{
    DescribeNotificationsRequest, DescribeNotificationsResponse, NoAnswer, NotificationDescription,
    NotificationFailure, NotificationState, RedeliverNotificationRequest, SendTestNotificationRequest,
    SendTestNotificationResponse,
};
use godwit_control::service::{Notification, NotificationsFilter, Service};
use godwit_model::event::delivery::DeliveryState;
use godwit_model::failure::Failure;
use godwit_model::time::Timestamp;

/// `DescribeNotifications`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeNotificationsRequest,
) -> Outcome<DescribeNotificationsResponse> {
    let filter = NotificationsFilter {
        notification_ids: request.notification_ids,
        job_id: request.replication_job_id,
        state: request.state.map(|state| state.as_str().to_owned()),
    };
    let page = page(request.next_token, request.max_results);
    let found = service.describe_notifications(&filter, &page).await?.map(description);
    Ok(DescribeNotificationsResponse { notifications: found.items, next_token: found.next })
}

/// `RedeliverNotification`.
pub async fn redeliver(service: &Service, now: Timestamp, request: RedeliverNotificationRequest) -> Outcome<NoAnswer> {
    service.redeliver_notification(&request.notification_id, now).await?;
    Ok(NoAnswer {})
}

/// `SendTestNotification`.
pub async fn test(
    service: &Service,
    now: Timestamp,
    request: SendTestNotificationRequest,
) -> Outcome<SendTestNotificationResponse> {
    let outcome = service.send_test_notification(&request.recipient, now).await?;
    Ok(SendTestNotificationResponse { delivered: outcome.is_ok(), failure: outcome.err().map(failure) })
}

fn description(notification: Notification) -> NotificationDescription {
    NotificationDescription {
        notification_id: notification.id.to_string(),
        event_id: notification.event_id.to_string(),
        event: notification.kind.as_str().to_owned(),
        happened_on: notification.at.into(),
        replication_job_id: notification.job.to_string(),
        replication_run_id: notification.run.map(|run| run.to_string()),
        server_id: notification.server.to_string(),
        server_name: notification.server_name,
        recipient: notification.recipient,
        state: match notification.state {
            DeliveryState::Pending => NotificationState::Pending,
            DeliveryState::Delivered => NotificationState::Delivered,
            DeliveryState::GivenUp => NotificationState::GivenUp,
        },
        attempts: notification.attempts,
        next_attempt_on: notification.next_attempt.map(Into::into),
        delivered_on: notification.delivered_at.map(Into::into),
        failure: notification.failure.map(failure),
        subject: notification.subject,
        text: notification.text,
    }
}

fn failure(failure: Failure) -> NotificationFailure {
    NotificationFailure {
        code: failure.code.to_string(),
        evidence: failure.evidence,
        next_step: failure.code.next_step().to_owned(),
    }
}
