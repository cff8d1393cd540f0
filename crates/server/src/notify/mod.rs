//! Carries notifications to their recipients: mails by SMTP, events by signed HTTP requests.
//!
//! Nothing is kept here: what is due, how often it was tried and what became of it is the decision line's business.
//! Each attempt makes a connection of its own, and ends within a bound.

mod addresses;
mod secrets;
pub mod settings;
mod smtp;
mod webhook;

use crate::notify::secrets::webhook_secret;
use crate::notify::settings::Notifications;
use crate::notify::smtp::Mailer;
use crate::notify::webhook::Webhooks;
use anyhow::Context;
use async_trait::async_trait;
use godwit_control::Clock;
use godwit_control::notify::Notifier;
use godwit_model::event::Message;
use godwit_model::event::envelope::Origin;
use godwit_model::failure::{Code, Failure};
use godwit_model::recipient::Recipient;
use std::error::Error;
use std::path::Path;

/// Tells every kind of recipient.
pub struct Messenger {
    webhooks: Webhooks,
    /// `None`: no mail server is configured.
    mailer: Option<Mailer>,
}

impl Messenger {
    /// Reads secrets and certificates, which the first start makes where they are ours to make. Nothing is contacted.
    pub fn new(settings: &Notifications, region: &str, data: &Path, clock: Clock) -> anyhow::Result<Self> {
        let authorities = match &settings.ca_file {
            None => None,
            Some(file) => {
                let file = data.join(file);
                Some(std::fs::read(&file).with_context(|| format!("read notifications.ca_file {}", file.display()))?)
            }
        };
        let origin = Origin { region: region.to_owned(), account: settings.account.clone() };
        let secret = webhook_secret(settings, data)?;
        let webhooks = Webhooks::new(secret, settings.allow_private_webhooks, authorities.as_deref(), origin, clock)?;
        let mailer = settings.smtp.as_ref().map(|smtp| Mailer::new(smtp, data, authorities.as_deref())).transpose()?;
        Ok(Self { webhooks, mailer })
    }
}

#[async_trait]
impl Notifier for Messenger {
    async fn deliver(&self, message: &Message, recipient: &Recipient) -> Result<(), Failure> {
        match (recipient, &self.mailer) {
            (Recipient::Webhook(url), _) => self.webhooks.deliver(message, url).await,
            (Recipient::Email(address), Some(mailer)) => mailer.deliver(message, address).await,
            (Recipient::Email(_), None) => Err(Failure::new(Code::NoMailServer, "no mail server is configured")),
        }
    }
}

/// The words of the error that is behind all others.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
