//! Mails: one for each recipient and event, given to the configured mail server.

use crate::notify::secrets::referred;
use crate::notify::settings::{Smtp, TlsMode};
use anyhow::Context;
use godwit_model::event::{Message, mail};
use godwit_model::failure::{Code, Failure};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// How long the mail server may take for each of its answers: less than the bound of an attempt.
const ANSWER_BOUND: Duration = Duration::from_secs(20);

/// What precedes every subject, so that people and their filters know whose mail it is.
const PREFIX: &str = "[godwit] ";

/// Answers by which a mail server says that it does not take anything from us: authentication is missing, failed, or
/// wants more. The recipient has nothing to do with it, and whoever looks after the server can put it right.
const NOT_FROM_US: [u16; 4] = [530, 534, 535, 538];

/// Gives mails to a mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    host: String,
}

impl Mailer {
    /// Reads the password; contacts nobody. `authorities`: certificates in PEM that are trusted besides the system's.
    pub fn new(smtp: &Smtp, data: &Path, authorities: Option<&[u8]>) -> anyhow::Result<Self> {
        let from: Mailbox = smtp.from.parse().context("read notifications.smtp.from")?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.as_str())
            .port(smtp.port())
            .timeout(Some(ANSWER_BOUND))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .tls(tls(smtp, authorities)?);
        let (file, variable) = (smtp.password_file.as_deref(), smtp.password_variable.as_deref());
        let password = referred("notifications.smtp.password", file, variable, data)?;
        if let (Some(user), Some(password)) = (&smtp.user, password) {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: transport.build(), from, host: smtp.host.clone() })
    }

    /// One attempt.
    pub async fn deliver(&self, message: &Message, address: &str) -> Result<(), Failure> {
        let mail = self.written(message, address)?;
        self.transport.send(mail).await.map(|_| ()).map_err(|error| self.failure(&error))
    }

    fn written(&self, message: &Message, address: &str) -> Result<lettre::Message, Failure> {
        let refused = |why: String| Failure::new(Code::RecipientRefused, why);
        let to: Mailbox = address.parse().map_err(|error| refused(format!("it is no address: {error}")))?;
        let written = mail::mail(message);
        let header = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let (id, at) = (message.id(), Duration::from_millis(message.at().as_millis().unsigned_abs()));
        lettre::Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(format!("{PREFIX}{}", written.subject))
            .date(UNIX_EPOCH + at)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            // Nobody's out-of-office assistant need answer.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Godwit-Event-Id", id.as_str()))
            .body(written.text)
            .map_err(|error| Failure::new(Code::Internal, format!("a mail cannot be written: {error}")))
    }

    fn failure(&self, error: &lettre::transport::smtp::Error) -> Failure {
        let status = error.status().map(u16::from);
        let code = match status {
            Some(status) if error.is_permanent() && !NOT_FROM_US.contains(&status) => Code::RecipientRefused,
            _ => Code::RecipientUnreachable,
        };
        Failure::new(code, format!("mail server {}: {error}", self.host))
    }
}

fn tls(smtp: &Smtp, authorities: Option<&[u8]>) -> anyhow::Result<Tls> {
    if smtp.tls == TlsMode::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(smtp.host.clone());
    if let Some(pem) = authorities {
        let certificates = Certificate::from_pem(pem).context("read the certificates of notifications.ca_file")?;
        parameters = parameters.add_root_certificate(certificates);
    }
    let parameters = parameters.build().context("prepare TLS with the mail server")?;
    Ok(match smtp.tls {
        TlsMode::Implicit => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::event::test_id;
    use godwit_model::time::Timestamp;

    fn mailer() -> Mailer {
        let smtp = Smtp {
            host: "127.0.0.1".into(),
            port: Some(9),
            tls: TlsMode::None,
            allow_plain: false,
            from: "godwit@example.org".into(),
            user: None,
            password_file: None,
            password_variable: None,
        };
        Mailer::new(&smtp, Path::new("/"), None).unwrap()
    }

    #[test]
    fn a_mail_is_the_same_at_every_attempt() {
        let at = Timestamp(1_518_042_611_000);
        let test = Message::Test { id: test_id(at, 7), at };
        let written = || mailer().written(&test, "ops@example.org").unwrap().formatted();
        let text = String::from_utf8(written()).unwrap();
        assert_eq!(written(), text.as_bytes());
        for line in [
            "From: godwit@example.org\r\n",
            "To: ops@example.org\r\n",
            "Subject: [godwit] Test of Godwit's notifications\r\n",
            "Date: Wed, 07 Feb 2018 22:30:11 +0000\r\n",
            &format!("Message-ID: <{}@example.org>\r\n", test.id()),
            "Auto-Submitted: auto-generated\r\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn a_mail_server_that_is_not_there_is_tried_again() {
        let test = Message::Test { id: test_id(Timestamp(0), 7), at: Timestamp(0) };
        let failure = mailer().deliver(&test, "ops@example.org").await.unwrap_err();
        assert_eq!(failure.code, Code::RecipientUnreachable);
        assert!(failure.evidence.starts_with("mail server 127.0.0.1: "), "{failure}");
    }
}
