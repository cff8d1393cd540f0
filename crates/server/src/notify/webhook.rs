//! Events by HTTP: a POST with the event as JSON and a signature, to exactly the address that was asked for.
//!
//! No redirect is followed, no proxy used. Addresses are judged after the name was resolved, and the connection is made
//! to an address that was judged: a name that means something else a moment later changes nothing.

use crate::notify::addresses::is_public;
use crate::notify::innermost;
use anyhow::Context;
use aws_lc_rs::hmac;
use godwit_control::Clock;
use godwit_control::service::Secret;
use godwit_model::event::Message;
use godwit_model::event::envelope::{Origin, envelope};
use godwit_model::failure::{Code, Failure};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, StatusCode, Url};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// How long an answer may take: less than the bound of an attempt, so that the record says which bound it was.
const ANSWER_BOUND: Duration = Duration::from_secs(25);

/// The id of the event, the same at every attempt.
const ID: &str = "godwit-event-id";
/// Seconds since the epoch at which the attempt was signed.
const TIME: &str = "godwit-timestamp";
/// `v1=` and the signature over time, full stop and body.
const SIGNATURE: &str = "godwit-signature";

/// Sends events.
pub struct Webhooks {
    client: Client,
    secret: Secret,
    origin: Origin,
    allow_private: bool,
    clock: Clock,
}

/// Only addresses of the public network are called.
#[derive(Clone, Copy, Debug)]
struct NotAllowed(IpAddr);

/// Resolves names to addresses that may be called.
struct Guard {
    allow_private: bool,
}

impl Webhooks {
    /// Contacts nobody. `authorities`: certificates in PEM that are trusted besides the system's.
    pub fn new(
        secret: Secret,
        allow_private: bool,
        authorities: Option<&[u8]>,
        origin: Origin,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let certificates = authorities.map(Certificate::from_pem_bundle).transpose();
        let certificates = certificates.context("read the certificates of notifications.ca_file")?.unwrap_or_default();
        let client = match builder(allow_private).tls_certs_merge(certificates.clone()).build() {
            Ok(client) => client,
            Err(error) => {
                // Most likely there is no store of certificates on this machine. Nobody needs it for plain HTTP.
                let why = innermost(&error);
                tracing::warn!(
                    "the system's certificates cannot be used, so https recipients will not be trusted: {why}"
                );
                let only = builder(allow_private).tls_certs_only(certificates).build();
                only.context("prepare notifications by HTTP")?
            }
        };
        Ok(Self { client, secret, origin, allow_private, clock })
    }

    /// One attempt.
    pub async fn deliver(&self, message: &Message, url: &str) -> Result<(), Failure> {
        let refused = |why: String| Failure::new(Code::RecipientRefused, why);
        let url: Url = url.parse().map_err(|error| refused(format!("it is no web address: {error}")))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        // Addresses that are written as such are not resolved, so the guard does not see them.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !self.allow_private
            && !is_public(address)
        {
            return Err(NotAllowed(address).to_failure(&host));
        }
        let body = serde_json::to_vec(&envelope(message, &self.origin))
            .map_err(|error| Failure::new(Code::Internal, format!("an event cannot be written: {error}")))?;
        let time = ((self.clock)().as_millis() / 1_000).to_string();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header(ID, message.id().as_str())
            .header(SIGNATURE, signature(&self.secret, &time, &body))
            .header(TIME, time)
            .body(body);
        match request.send().await {
            Ok(answer) => judge(answer.status(), &host),
            Err(error) => Err(not_sent(&error, &host)),
        }
    }
}

fn builder(allow_private: bool) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("godwit/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Guard { allow_private }))
        // A connection is not used again: the next one is judged anew.
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_BOUND)
        .timeout(ANSWER_BOUND)
}

/// What the receiver's status means. Receivers that are being replaced answer with all kinds of refusals for a while, so
/// only what was said for good is taken for that.
fn judge(status: StatusCode, host: &str) -> Result<(), Failure> {
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => {
            let words = format!("{host} answered {status}: redirects are not followed, give the final address");
            Err(Failure::new(Code::RecipientRefused, words))
        }
        410 => Err(Failure::new(Code::RecipientRefused, format!("{host} answered {status}"))),
        _ => Err(Failure::new(Code::RecipientUnreachable, format!("{host} answered {status}"))),
    }
}

fn not_sent(error: &reqwest::Error, host: &str) -> Failure {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(not_allowed) = error.downcast_ref::<NotAllowed>() {
            return not_allowed.to_failure(host);
        }
        cause = error.source();
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(error) };
    Failure::new(Code::RecipientUnreachable, format!("{host}: {why}"))
}

/// `v1=` and the HMAC-SHA256 of time, full stop and body.
fn signature(secret: &Secret, time: &str, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()));
    for part in [time.as_bytes(), b".", body] {
        signed.update(part);
    }
    let hex: String = signed.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

impl NotAllowed {
    fn to_failure(self, host: &str) -> Failure {
        let what =
            if host.trim_matches(['[', ']']) == self.0.to_string() { String::new() } else { format!("{host} is ") };
        let words = format!("{what}{}, which is no address of the public network", self.0);
        Failure::new(Code::RecipientNotAllowed, words)
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no address of the public network", self.0)
    }
}

impl Error for NotAllowed {}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let may_be_called = |address: &SocketAddr| allow_private || is_public(address.ip());
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(may_be_called).collect();
            match (allowed.is_empty(), found.first()) {
                (true, Some(address)) => Err(NotAllowed(address.ip()).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests;
