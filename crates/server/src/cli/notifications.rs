//! `godwit notifications`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, facts, table};
use crate::cli::{human, output};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::{Subcommand, ValueEnum};
use godwit_api::shapes::godwit::{
    DescribeNotificationsRequest, NotificationDescription, NotificationState, RedeliverNotificationRequest,
    SendTestNotificationRequest,
};
use godwit_model::time::Timestamp;
use serde_json::json;

const LIST_EXAMPLES: &str = "\
Examples:
  godwit notifications list
  godwit notifications list --job sms-job-1a2b3c4d --state given-up";

const TEST_EXAMPLES: &str = "\
Sends a message that says that it is a test, at once and once.

Examples:
  godwit notifications test ops@example.org
  godwit notifications test https://example.org/hook";

/// What to do with notifications.
#[derive(Subcommand, Debug)]
pub enum NotificationsCommand {
    /// List what was told to whom, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only those of this job
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        /// Only those in this state
        #[arg(long)]
        state: Option<State>,
    },
    /// Show one with its text
    #[command(after_help = "Example:\n  godwit notifications show ntf-0192f0c1a2b388008000000000000001")]
    Show {
        /// Id of the notification
        notification: String,
    },
    /// Deliver one again, now, whatever became of it
    #[command(after_help = "Example:\n  godwit notifications retry ntf-0192f0c1a2b388008000000000000001")]
    Retry {
        /// Id of the notification
        notification: String,
    },
    /// See whether messages arrive
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// E-mail address or web address
        recipient: String,
    },
}

/// How far a notification is.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum State {
    /// Still to be delivered
    Pending,
    /// The receiver took it
    Delivered,
    /// Not tried any more
    GivenUp,
}

/// Does it.
pub async fn run(command: NotificationsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        NotificationsCommand::List { job, state } => list(client, json, job, state).await,
        NotificationsCommand::Show { notification } => show(client, json, &notification).await,
        NotificationsCommand::Retry { notification } => retry(client, json, notification).await,
        NotificationsCommand::Test { recipient } => test(client, json, recipient).await,
    }
}

async fn all(
    client: &Client,
    job: Option<&str>,
    state: Option<State>,
) -> Result<Vec<NotificationDescription>, ClientError> {
    let state = state.map(|state| match state {
        State::Pending => NotificationState::Pending,
        State::Delivered => NotificationState::Delivered,
        State::GivenUp => NotificationState::GivenUp,
    });
    all_pages(|next_token| async {
        let request = DescribeNotificationsRequest {
            replication_job_id: job.map(str::to_owned),
            state,
            next_token,
            ..DescribeNotificationsRequest::default()
        };
        let answer = client.describe_notifications(&request).await?;
        Ok((answer.notifications, answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool, job: Option<String>, state: Option<State>) -> Result<(), CliError> {
    let all = all(client, job.as_deref(), state).await?;
    if json {
        return output::json(&all);
    }
    if all.is_empty() {
        return output::line(match (job, state) {
            (None, None) => {
                "Nothing was told to anybody yet. Name recipients of a job: godwit jobs update JOB --notify ADDRESS"
            }
            _ => "Nothing of this kind was told to anybody.",
        });
    }
    let now = outside::now();
    let row = |n: &NotificationDescription| {
        [
            n.notification_id.as_str().into(),
            human::ago(n.happened_on.into(), now).into(),
            n.server_name.as_str().into(),
            human::state(&n.event).into(),
            n.recipient.as_str().into(),
            state_of(n),
            Field::number(n.attempts.to_string()),
        ]
    };
    let header = ["notification", "when", "server", "event", "recipient", "state", "attempts"];
    table(header, &["attempts", "when"], &all.iter().map(row).collect::<Vec<_>>())
}

async fn show(client: &Client, json: bool, id: &str) -> Result<(), CliError> {
    let request = DescribeNotificationsRequest {
        notification_ids: Some(vec![id.to_owned()]),
        ..DescribeNotificationsRequest::default()
    };
    let found = client.describe_notifications(&request).await?.notifications.into_iter().next();
    let Some(notification) = found else {
        return Err(CliError::failed(format!("there is no notification {id}"))
            .next("see which there are: godwit notifications list"));
    };
    if json {
        return output::json(&notification);
    }
    let now = outside::now();
    let moment = |time: Timestamp| human::moment(time, now);
    let mut about = vec![
        ("notification", Field::from(notification.notification_id.as_str()).tone(Tone::Strong)),
        ("recipient", notification.recipient.as_str().into()),
        ("state", state_of(&notification)),
        ("attempts", notification.attempts.to_string().into()),
    ];
    about.extend(notification.next_attempt_on.map(|at| ("next attempt", moment(at.into()).into())));
    about.extend(notification.delivered_on.map(|at| ("delivered", moment(at.into()).into())));
    if let Some(failure) = &notification.failure {
        about.push(("failure", format!("{}: {}", failure.code, failure.evidence).into()));
        about.push(("next step", failure.next_step.as_str().into()));
    }
    about.push(("event", notification.event_id.as_str().into()));
    about.push(("happened", moment(notification.happened_on.into()).into()));
    about.push(("subject", notification.subject.as_str().into()));
    facts(&about)?;
    output::line("")?;
    output::line(notification.text.trim_end())
}

async fn retry(client: &Client, json: bool, id: String) -> Result<(), CliError> {
    client.redeliver_notification(&RedeliverNotificationRequest { notification_id: id.clone() }).await?;
    if json {
        return output::json(&json!({ "notification_id": id }));
    }
    output::line(format!("{id} is delivered again now. See how it went: godwit notifications show {id}"))
}

async fn test(client: &Client, json: bool, recipient: String) -> Result<(), CliError> {
    let answer = client.send_test_notification(&SendTestNotificationRequest { recipient: recipient.clone() }).await?;
    if json {
        output::json(&answer)?;
    }
    match answer.failure {
        None if json => Ok(()),
        None => output::line(format!("{recipient} took the test message.")),
        Some(failure) => {
            Err(CliError::failed(format!("{recipient} was not told: {}: {}", failure.code, failure.evidence))
                .next(failure.next_step))
        }
    }
}

fn state_of(notification: &NotificationDescription) -> Field {
    let tone = match notification.state {
        NotificationState::Delivered => Tone::Good,
        NotificationState::GivenUp => Tone::Bad,
        NotificationState::Pending if notification.failure.is_some() => Tone::Warning,
        NotificationState::Pending => Tone::Busy,
    };
    Field::from(human::state(notification.state.as_str())).tone(tone)
}
