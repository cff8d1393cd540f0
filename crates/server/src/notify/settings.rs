//! Section `[notifications]` of the settings file.

use crate::serve::settings::{Kept, Span, section};
use godwit_control::notify::NotifyOptions;
use godwit_model::event::delivery::Patience;
use godwit_model::recipient::Recipient;
use godwit_model::time::Millis;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

section! {
    /// How recipients are told.
    #[serde(deny_unknown_fields, default)]
    pub struct Notifications in "notifications" {
        /// Account in events: twelve digits.
        pub account: String,
        /// How long a delivery is tried.
        pub give_up_after: Span,
        /// How long the record says what was told to whom.
        pub keep: Kept,
        /// Whether web addresses of machines that only we can reach are called.
        pub allow_private_webhooks: bool,
        /// File with the secret that events are signed with; one is made in the data folder if neither is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub webhook_secret_file: Option<PathBuf>,
        /// Variable of the environment with the secret that events are signed with.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub webhook_secret_variable: Option<String>,
        /// Certificates, in PEM, of authorities that are trusted besides the system's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ca_file: Option<PathBuf>,
        /// The mail server; without it no mails are sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub smtp: Option<Smtp>,
    }
}

section! {
    /// Section `[notifications.smtp]`.
    #[serde(deny_unknown_fields)]
    pub struct Smtp in "notifications.smtp" {
        /// Name or address of the mail server.
        pub host: String,
        /// Port of the mail server: 587 with STARTTLS, 465 with implicit TLS, 25 without TLS, unless another is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub port: Option<u16>,
        /// How the connection to the mail server is protected.
        #[serde(default)]
        pub tls: TlsMode,
        /// Whether mails and passwords may cross a network unprotected.
        #[serde(default)]
        pub allow_plain: bool,
        /// Sender of all mails: an e-mail address.
        pub from: String,
        /// Name that the service signs in to the mail server with; it does not if none is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub user: Option<String>,
        /// File with the password for the mail server.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub password_file: Option<PathBuf>,
        /// Variable of the environment with the password for the mail server.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub password_variable: Option<String>,
    }
}

/// How a mail server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// It begins in plain text and must change to TLS before anything is said.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Not at all: on this machine, or where `allow_plain` says so.
    None,
}

impl Default for Notifications {
    fn default() -> Self {
        let options = NotifyOptions::default();
        Self {
            account: "000000000000".to_owned(),
            give_up_after: Span(Duration::from_millis(options.patience.age.0.unsigned_abs())),
            keep: Kept::of(options.keep),
            allow_private_webhooks: false,
            webhook_secret_file: None,
            webhook_secret_variable: None,
            ca_file: None,
            smtp: None,
        }
    }
}

impl Notifications {
    /// Says what cannot be.
    pub fn check(&self) -> Result<(), String> {
        if self.account.len() != 12 || !self.account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("notifications.account is '{}': give twelve digits", self.account));
        }
        if self.webhook_secret_file.is_some() && self.webhook_secret_variable.is_some() {
            return Err("notifications has webhook_secret_file and webhook_secret_variable: give one of them".into());
        }
        self.smtp.as_ref().map_or(Ok(()), Smtp::check)
    }

    /// The bounds of the decision line that follow.
    pub fn options(&self) -> NotifyOptions {
        let options = NotifyOptions::default();
        let age = Millis(i64::try_from(self.give_up_after.0.as_millis()).unwrap_or(i64::MAX));
        // With the longest pause between any two, so many fit that the time decides.
        let hourly = u32::try_from(age.0 / options.patience.longest.0).unwrap_or(u32::MAX);
        let attempts = options.patience.attempts.max(hourly.saturating_add(options.patience.attempts));
        let patience = match age == options.patience.age {
            true => options.patience,
            false => Patience { age, attempts, ..options.patience },
        };
        NotifyOptions { patience, keep: self.keep.millis(), ..options }
    }
}

impl Smtp {
    /// The port that is used.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            TlsMode::Starttls => 587,
            TlsMode::Implicit => 465,
            TlsMode::None => 25,
        })
    }

    fn check(&self) -> Result<(), String> {
        if self.host.is_empty() || self.host.contains(['/', ' ', '@']) {
            return Err(format!("notifications.smtp.host is '{}': give a name or an address", self.host));
        }
        if !matches!(self.from.parse(), Ok(Recipient::Email(_))) {
            return Err(format!("notifications.smtp.from is '{}': give an e-mail address", self.from));
        }
        if self.tls == TlsMode::None && !self.allow_plain && !is_here(&self.host) {
            return Err(format!(
                "notifications.smtp.tls is none, and {} is not this machine: mails would cross the network readable by \
                 anybody; use starttls or implicit, or set allow_plain = true",
                self.host
            ));
        }
        match (&self.user, &self.password_file, &self.password_variable) {
            (None, None, None) | (Some(_), Some(_), None) | (Some(_), None, Some(_)) => Ok(()),
            (_, Some(_), Some(_)) => {
                Err("notifications.smtp has password_file and password_variable: give one of them".into())
            }
            (None, ..) => Err("notifications.smtp has a password but no user".into()),
            (Some(_), None, None) => {
                Err("notifications.smtp has a user but no password_file or password_variable".into())
            }
        }
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp() -> Smtp {
        Smtp {
            host: "mail.example.org".into(),
            port: None,
            tls: TlsMode::Starttls,
            allow_plain: false,
            from: "godwit@example.org".into(),
            user: None,
            password_file: None,
            password_variable: None,
        }
    }

    fn refused(smtp: Smtp) -> String {
        Notifications { smtp: Some(smtp), ..Notifications::default() }.check().unwrap_err()
    }

    #[test]
    fn ports_follow_from_the_protection() {
        let port = |tls| Smtp { tls, ..smtp() }.port();
        assert_eq!([TlsMode::Starttls, TlsMode::Implicit, TlsMode::None].map(port), [587, 465, 25]);
        assert_eq!(Smtp { port: Some(2525), ..smtp() }.port(), 2525);
    }

    #[test]
    fn nothing_crosses_a_network_in_plain_text_unless_it_is_allowed() {
        let plain = |host: &str| Smtp { host: host.into(), tls: TlsMode::None, ..smtp() };
        assert!(refused(plain("mail.example.org")).contains("readable by anybody"));
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(plain(host).check(), Ok(()));
        }
        assert_eq!(Smtp { allow_plain: true, ..plain("mail.example.org") }.check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |user: Option<&str>, file: Option<&str>, variable: Option<&str>| Smtp {
            user: user.map(Into::into),
            password_file: file.map(Into::into),
            password_variable: variable.map(Into::into),
            ..smtp()
        };
        assert_eq!(smtp().check(), Ok(()));
        assert_eq!(with(Some("u"), Some("f"), None).check(), Ok(()));
        assert!(refused(with(Some("u"), None, None)).contains("no password_file"));
        assert!(refused(with(None, Some("f"), None)).contains("no user"));
        assert!(refused(with(Some("u"), Some("f"), Some("v"))).contains("one of them"));
        assert!(refused(Smtp { from: "godwit".into(), ..smtp() }).contains("e-mail address"));
        assert!(refused(Smtp { host: "smtp://x".into(), ..smtp() }).contains("smtp.host"));
        let settings = Notifications { account: "12".into(), ..Notifications::default() };
        assert!(settings.check().unwrap_err().contains("twelve digits"));
    }

    #[test]
    fn the_defaults_are_those_of_the_decision_line() {
        assert_eq!(Notifications::default().options(), NotifyOptions::default());
        let longer = Notifications { give_up_after: Span(Duration::from_secs(864_000)), ..Notifications::default() };
        let patience = longer.options().patience;
        assert_eq!((patience.age, patience.attempts), (Millis::DAY.times(10), 340));
    }
}
