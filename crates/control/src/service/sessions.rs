//! How people come into the console: passwords, sign-in links, and the sessions that follow.
//!
//! A session's secret is known to the browser alone; the store has its digest. It is as good as an access key of its
//! user, so that nothing that ends a user, a key or a password leaves it behind.

use super::lockout::Attempt;
use super::{Answer, ErrorCode, Secret, Service, ServiceError};
use crate::changes::Changes;
use crate::control::Draw;
use crate::store::{NewSession, SessionRecord, StoreError};
use godwit_model::time::{Millis, Timestamp};
use std::fmt;
use std::sync::{Arc, PoisonError};
use tokio::sync::Semaphore;

/// Fewest and most characters of a password. More than a few hundred are a mistake, and cost time.
const PASSWORD: std::ops::RangeInclusive<usize> = 12..=256;

/// How long a sign-in link is good.
const LINK: Millis = Millis::HOUR;

/// How exactly it is known when a session was last used.
const USE_NOTED_EVERY: Millis = Millis::MINUTE;

/// Names and ids beyond this are nobody's; what is remembered of failures is bounded by it.
const LONGEST_NAME: usize = 64;

/// Passwords that are digested at the same time: each takes 19 MiB and a core for a moment, on purpose.
const DIGESTS: usize = 1;

/// Those that wait for that; more are told to come again.
const WAITING: usize = 16;

/// Digests passwords. Given by the server, so that this crate needs no cryptography. Both take a good part of a second
/// of a core, so they are called where that keeps nobody waiting.
pub trait Passwords: Send + Sync {
    /// The digest of a password: a text that says how it was made.
    fn digest(&self, password: &Secret) -> Result<String, godwit_model::failure::Failure>;
    /// Whether it is the password of this digest. Without a digest it takes as long and says no.
    fn is(&self, password: &Secret, digest: Option<&str>) -> bool;
}

/// How long sessions live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// In any case.
    pub longest: Millis,
    /// If nothing is asked for.
    pub idle: Millis,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { longest: Millis::HOUR.times(12), idle: Millis::HOUR }
    }
}

/// With what a session is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignedInWith {
    /// A password.
    Password,
    /// An access key.
    AccessKey,
    /// A sign-in link.
    Link,
}

impl SignedInWith {
    /// As it is stored and shown on the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignedInWith::Password => "PASSWORD",
            SignedInWith::AccessKey => "ACCESS_KEY",
            SignedInWith::Link => "LINK",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Password, Self::AccessKey, Self::Link].into_iter().find(|with| with.as_str() == text)
    }
}

/// What somebody who signs in shows.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// A name and a password.
    Password(String, Secret),
    /// An access key's id and its secret.
    AccessKey(String, Secret),
    /// What a sign-in link holds.
    Link(Secret),
}

/// Why somebody is not let in.
#[derive(Debug)]
pub enum NotSignedIn {
    /// Something is wrong; what, is told to nobody.
    Wrong,
    /// Too often: to be tried again after this time.
    TooOften(Millis),
    /// It could not be found out.
    Failed(ServiceError),
}

impl From<ServiceError> for NotSignedIn {
    fn from(error: ServiceError) -> Self {
        NotSignedIn::Failed(error)
    }
}

impl From<StoreError> for NotSignedIn {
    fn from(error: StoreError) -> Self {
        NotSignedIn::Failed(error.into())
    }
}

/// Somebody has shown who it is; no session has begun yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Who.
    pub user: String,
    /// With what.
    pub with: SignedInWith,
    /// What the audit trail will call the session.
    pub session_id: String,
    access_key_id: Option<String>,
    password: Option<Digest>,
    link: Option<Digest>,
}

/// A session that is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// What the audit trail calls it.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// With what it was begun.
    pub with: SignedInWith,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ends if nothing is asked for meanwhile.
    pub expires_at: Timestamp,
    /// When it ends in any case.
    pub ends_at: Timestamp,
    digest: Digest,
}

/// What is stored of a secret. Nobody has to see it.
#[derive(Clone, PartialEq, Eq)]
struct Digest(String);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A link that was just made: what it holds is told once and never again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInLink {
    /// What it holds.
    pub token: Secret,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Lets so many passwords be digested at the same time.
pub(crate) struct Digesting {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Digesting {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(DIGESTS)), places: Arc::new(Semaphore::new(DIGESTS + WAITING)) }
    }
}

impl Service {
    /// Finds out who signs in. `address` is where the attempt comes from. A session follows with [`Service::begin_session`].
    pub async fn prove(&self, sign_in: SignIn, address: &str, now: Timestamp) -> Result<Proof, NotSignedIn> {
        let name = match &sign_in {
            SignIn::Password(name, _) | SignIn::AccessKey(name, _) if name.chars().count() > LONGEST_NAME => {
                return Err(NotSignedIn::Wrong);
            }
            SignIn::Password(user, _) => Some(format!("user {}", user.to_lowercase())),
            SignIn::AccessKey(id, _) => Some(format!("key {id}")),
            SignIn::Link(_) => None,
        };
        let attempt = Attempt { name, address: address.to_owned() };
        self.lockouts().begin(&attempt, now).map_err(NotSignedIn::TooOften)?;
        let proven = self.proven(sign_in, now).await;
        match &proven {
            Ok(Some(_)) => self.lockouts().succeeded(&attempt),
            Ok(None) => {}
            // Nothing was found out: neither for nor against whoever tried.
            Err(_) => self.lockouts().taken_back(&attempt),
        }
        proven?.ok_or(NotSignedIn::Wrong)
    }

    async fn proven(&self, sign_in: SignIn, now: Timestamp) -> Result<Option<Proof>, NotSignedIn> {
        let proof = |user, with| Proof {
            user,
            with,
            session_id: format!("session-{:08x}", (self.line.draw)() as u32),
            access_key_id: None,
            password: None,
            link: None,
        };
        match sign_in {
            SignIn::Password(user, password) => {
                let digest = self.line.store.password(&user).await?;
                let is = self.is_password(password, digest.clone()).await?;
                let password = digest.map(Digest);
                Ok(is.then(|| Proof { password, ..proof(user, SignedInWith::Password) }))
            }
            SignIn::AccessKey(id, secret) => {
                let signer = self.signer(&id).await?;
                // Both cases compare: which keys there are is told by nothing that can be measured here.
                let known = signer.as_ref().map_or("", |signer| signer.secret.expose());
                let is = blake3::hash(known.as_bytes()) == blake3::hash(secret.expose().as_bytes());
                let signer = signer.filter(|_| is && !secret.expose().is_empty());
                Ok(signer
                    .map(|signer| Proof { access_key_id: Some(id), ..proof(signer.user, SignedInWith::AccessKey) }))
            }
            SignIn::Link(token) => {
                let link = digest_of(&token);
                let user = self.line.store.link(&link.0, now).await?;
                Ok(user.map(|user| Proof { link: Some(link), ..proof(user, SignedInWith::Link) }))
            }
        }
    }

    /// Begins a session; gives the secret that the browser keeps. `None` if what was shown has ended meanwhile, or if a
    /// link was used by somebody else.
    pub async fn begin_session(&self, proof: &Proof, now: Timestamp) -> Answer<Option<(Secret, Session)>> {
        let secret = secret(&self.line.draw);
        let digest = digest_of(&secret);
        let SessionLimits { longest, idle } = self.line.options.sessions;
        let new = NewSession {
            hash: &digest.0,
            id: &proof.session_id,
            user: &proof.user,
            with: proof.with,
            access_key_id: proof.access_key_id.as_deref(),
            password: proof.password.as_ref().map(|digest| digest.0.as_str()),
            link: proof.link.as_ref().map(|digest| digest.0.as_str()),
            created_at: now,
            ends_at: now + longest,
        };
        if !self.line.store.add_session(new).await? {
            return Ok(None);
        }
        let session = Session {
            id: proof.session_id.clone(),
            user: proof.user.clone(),
            with: proof.with,
            created_at: now,
            expires_at: (now + idle).min(now + longest),
            ends_at: now + longest,
            digest,
        };
        Ok(Some((secret, session)))
    }

    /// The session of a secret, if it is valid. If it is `used`, its end is put off.
    pub async fn session(&self, secret: &Secret, used: bool, now: Timestamp) -> Answer<Option<Session>> {
        let digest = digest_of(secret);
        let idle = self.line.options.sessions.idle;
        let Some(record) = self.line.store.session(&digest.0, idle, now).await? else { return Ok(None) };
        let SessionRecord { id, user, with, created_at, mut last_used_at, ends_at } = record;
        let noted_every = USE_NOTED_EVERY.min(Millis(idle.0 / 10));
        if used && now >= last_used_at + noted_every {
            match self.line.store.session_used(&digest.0, now).await {
                Ok(()) => last_used_at = now,
                // A full disk keeps nobody from asking why.
                Err(error) => tracing::debug!(session = id, error = %error, "the use of a session was not recorded"),
            }
        }
        let expires_at = (last_used_at + idle).min(ends_at);
        Ok(Some(Session { id, user, with, created_at, expires_at, ends_at, digest }))
    }

    /// Ends a session, or all sessions of its user.
    pub async fn end_session(&self, session: &Session, everywhere: bool) -> Answer<()> {
        match everywhere {
            true => Ok(self.line.store.end_sessions_of(&session.user).await?),
            false => Ok(self.line.store.end_session(&session.digest.0).await?),
        }
    }

    /// `SetPassword`: ends all sessions of the user.
    pub async fn set_password(&self, user: &str, password: Secret, now: Timestamp) -> Answer<()> {
        check_password("password", &password)?;
        let digest = self.digest(password).await?;
        Ok(self.line.store.set_password(user, &digest, None, now).await??)
    }

    /// `DeletePassword`: ends all sessions of the user. It has none: only these end.
    pub async fn delete_password(&self, user: &str) -> Answer<()> {
        Ok(self.line.store.delete_password(user).await??)
    }

    /// Sets the password of a session's user, who shows the present one, unless there is none or the session was begun
    /// with a link. Ends all other sessions of the user.
    pub async fn change_password(
        &self,
        session: &Session,
        current: Option<Secret>,
        new: Secret,
        address: &str,
        now: Timestamp,
    ) -> Result<(), NotSignedIn> {
        check_password("newPassword", &new)?;
        let known = self.line.store.password(&session.user).await?;
        if known.is_some() && session.with != SignedInWith::Link {
            let name = Some(format!("user {}", session.user.to_lowercase()));
            let attempt = Attempt { name, address: address.to_owned() };
            self.lockouts().begin(&attempt, now).map_err(NotSignedIn::TooOften)?;
            let current = current.unwrap_or_else(|| Secret::new(String::new()));
            if !self.is_password(current, known).await? {
                return Err(NotSignedIn::Wrong);
            }
            self.lockouts().succeeded(&attempt);
        }
        let digest = self.digest(new).await?;
        let set = self.line.store.set_password(&session.user, &digest, Some(&session.digest.0), now).await?;
        Ok(set.map_err(ServiceError::from)?)
    }

    /// `CreateSignInLink`.
    pub async fn create_sign_in_link(&self, user: &str, now: Timestamp) -> Answer<SignInLink> {
        let token = secret(&self.line.draw);
        self.line.store.add_link(user, &digest_of(&token).0, now + LINK, now).await??;
        Ok(SignInLink { token, expires_at: now + LINK })
    }

    /// Hears of changes.
    pub fn changes(&self) -> &Changes {
        self.line.store.changes()
    }

    async fn is_password(&self, password: Secret, digest: Option<String>) -> Result<bool, NotSignedIn> {
        let place = self.line.digesting.places.clone().try_acquire_owned();
        let _place = place.map_err(|_| NotSignedIn::TooOften(Millis::SECOND))?;
        let passwords = self.line.passwords.clone();
        Ok(self.apart(move || passwords.is(&password, digest.as_deref())).await?)
    }

    async fn digest(&self, password: Secret) -> Answer<String> {
        let passwords = self.line.passwords.clone();
        let digest = self.apart(move || passwords.digest(&password)).await?;
        digest.map_err(|failure| ServiceError::from_failure(&failure))
    }

    /// Work that takes a core for a while, when it is its turn.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let turn = self.line.digesting.turns.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| ServiceError::new(ErrorCode::Internal, "a password could not be digested"))
    }

    fn lockouts(&self) -> std::sync::MutexGuard<'_, super::lockout::Lockouts> {
        self.line.lockouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_password(member: &str, password: &Secret) -> Answer<()> {
    let length = password.expose().chars().count();
    if PASSWORD.contains(&length) {
        return Ok(());
    }
    let (fewest, most) = (PASSWORD.start(), PASSWORD.end());
    Err(ServiceError::invalid(format!("{member} has {length} characters: give {fewest} to {most}")))
}

/// 256 bits that nobody can guess.
fn secret(draw: &Draw) -> Secret {
    Secret::new(format!("{:032x}{:032x}", draw(), draw()))
}

/// What is stored of a secret. It has 256 random bits, so that nothing slows down a guess but their number.
fn digest_of(secret: &Secret) -> Digest {
    Digest(blake3::hash(secret.expose().as_bytes()).to_hex().to_string())
}
