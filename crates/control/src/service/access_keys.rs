//! Access keys of users: made, changed over, taken away.

use super::access::refused;
use super::page::paged;
use super::{Answer, Page, Paged, Secret, Service, ServiceError};
use crate::control::Draw;
use crate::store::NewKey;
use godwit_model::time::{Millis, Timestamp};
use zeroize::Zeroizing;

/// What makes a key recognisable as Godwit's.
const PREFIX: &str = "GW";
/// Characters of an id behind the prefix: 90 bits.
const ID_CHARACTERS: usize = 18;
/// Characters of a secret: 240 bits.
const SECRET_CHARACTERS: usize = 40;

/// Longest time that a rotated key goes on, in minutes: 30 days.
const LONGEST_GRACE: i64 = 43_200;

/// How exactly it is known when a key was last used.
pub(super) const USE_NOTED_EVERY: Millis = Millis(15 * Millis::MINUTE.0);

/// An access key, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// Whether it is taken.
    pub enabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends by itself, if it was rotated.
    pub ends_at: Option<Timestamp>,
    /// When it was last used, to a quarter of an hour.
    pub last_used_at: Option<Timestamp>,
}

impl AccessKey {
    /// Whether it has not ended.
    pub(crate) fn is_there(&self, now: Timestamp) -> bool {
        self.ends_at.is_none_or(|end| end > now)
    }
}

/// A key that was just made: its secret is told once and never again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// Whose it is.
    pub user: String,
    /// Until when the key that it replaces goes on.
    pub old_ends_at: Option<Timestamp>,
}

impl Service {
    /// `CreateAccessKey`.
    pub async fn create_access_key(&self, user: &str, now: Timestamp) -> Answer<NewAccessKey> {
        let (id, secret, wrapped) = self.drawn()?;
        self.line.store.add_key(user, NewKey { id: &id, wrapped: &wrapped }, now).await??;
        Ok(NewAccessKey { id, secret, user: user.to_owned(), old_ends_at: None })
    }

    /// `RotateAccessKey`: a new key of the same user. The old one goes on for so many minutes, so that its holders can
    /// change over; 0 ends it at once.
    pub async fn rotate_access_key(
        &self,
        old: &str,
        grace_minutes: Option<i64>,
        now: Timestamp,
    ) -> Answer<NewAccessKey> {
        let grace = match grace_minutes {
            None => self.line.options.key_grace,
            Some(minutes) if (0..=LONGEST_GRACE).contains(&minutes) => Millis(minutes * Millis::MINUTE.0),
            Some(minutes) => {
                let what = format!("graceMinutes is {minutes}: give 0 to {LONGEST_GRACE} minutes");
                return Err(ServiceError::invalid(what));
            }
        };
        let (id, secret, wrapped) = self.drawn()?;
        let key = NewKey { id: &id, wrapped: &wrapped };
        let user = self.line.store.rotate_key(old, key, now + grace, now).await??;
        Ok(NewAccessKey { id, secret, user, old_ends_at: Some(now + grace) })
    }

    /// `EnableAccessKey` and `DisableAccessKey`. Already so: nothing changes.
    pub async fn set_access_key_enabled(&self, id: &str, enabled: bool, now: Timestamp) -> Answer<()> {
        Ok(self.line.store.set_key_enabled(id, enabled, now).await??)
    }

    /// `DeleteAccessKey`.
    pub async fn delete_access_key(&self, id: &str) -> Answer<()> {
        Ok(self.line.store.delete_key(id).await??)
    }

    /// `DescribeAccessKeys`: of one user or of all. Keys that have ended are not there any more.
    pub async fn describe_access_keys(
        &self,
        user: Option<&str>,
        page: &Page,
        now: Timestamp,
    ) -> Answer<Paged<AccessKey>> {
        let store = &self.line.store;
        if let Some(user) = user
            && store.user(user).await?.is_none()
        {
            let user: String = user.chars().take(64).collect();
            return Err(ServiceError::invalid(format!(
                "there is no user '{user}': see which there are with DescribeUsers"
            )));
        }
        let read = |after, limit| store.access_keys(user, now, after, limit);
        paged(page, "access-keys", read, |key| (key.created_at.0, key.id.clone())).await
    }

    /// A new key: id, secret, and the secret as it is stored.
    fn drawn(&self) -> Answer<(String, Secret, Vec<u8>)> {
        let (id, secret) = draw_pair(&self.line.draw);
        let wrapped = self.line.secrets.wrap(&id, secret.expose().as_bytes()).map_err(|failure| refused(&failure))?;
        Ok((id, secret, wrapped))
    }
}

/// A key pair in the form that AWS gives them.
fn draw_pair(draw: &Draw) -> (String, Secret) {
    const CAPITALS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const ALL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut id = PREFIX.to_owned();
    id.extend(characters(draw(), CAPITALS, ID_CHARACTERS));
    let half = SECRET_CHARACTERS / 2;
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARACTERS));
    secret.extend(characters(draw(), ALL, half));
    secret.extend(characters(draw(), ALL, SECRET_CHARACTERS - half));
    (id, Secret::new(secret.to_string()))
}

/// The lowest bits as characters of an alphabet whose length is a power of two: every one is equally likely.
fn characters(mut bits: u128, alphabet: &[u8], n: usize) -> impl Iterator<Item = char> {
    let length = alphabet.len() as u128;
    (0..n).map(move |_| {
        let character = alphabet[usize::try_from(bits % length).expect("less than the alphabet's length")];
        bits /= length;
        char::from(character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn pairs_have_the_form_of_aws_and_every_bit_counts() {
        let bits = Arc::new(AtomicU64::new(1));
        let again = bits.clone();
        let draw: Draw = Arc::new(move || u128::from(again.fetch_add(1, Ordering::SeqCst)) << 64 | 5);
        let (id, secret) = draw_pair(&draw);
        assert!(id.len() == 20 && id.starts_with("GWF") && secret.expose().len() == 40, "{id}");
        let (other, other_secret) = draw_pair(&draw);
        assert!(id != other && secret.expose() != other_secret.expose());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(bits.load(Ordering::SeqCst), 7, "three draws for each pair");
    }
}
