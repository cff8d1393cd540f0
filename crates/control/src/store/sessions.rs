//! Passwords, sign-in links and sessions of the console. Of secrets only digests come here.

use super::access::Change;
use super::query::Verbs;
use super::row::Fields;
use super::users::{no_user, user_exists};
use super::{Store, StoreError, Tx};
use crate::service::SignedInWith;
use godwit_model::time::{Millis, Timestamp};
use sqlx::any::AnyRow;

/// Sessions of a user at most; the oldest make room. Each browser has one.
const MOST_SESSIONS: i64 = 32;

/// Sign-in links of a user at most; the oldest make room.
const MOST_LINKS: i64 = 8;

/// A session to write.
pub(crate) struct NewSession<'a> {
    /// Digest of the secret that the browser keeps.
    pub hash: &'a str,
    pub id: &'a str,
    pub user: &'a str,
    pub with: SignedInWith,
    /// The key that it is begun with, and ends with.
    pub access_key_id: Option<&'a str>,
    /// The digest of the password that it is begun with: the user has another one if that was set meanwhile.
    pub password: Option<&'a str>,
    /// The digest of the link that it is begun with, and that is used up by it.
    pub link: Option<&'a str>,
    pub created_at: Timestamp,
    pub ends_at: Timestamp,
}

/// A session that is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SessionRecord {
    pub id: String,
    pub user: String,
    pub with: SignedInWith,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
    pub ends_at: Timestamp,
}

impl Store {
    /// The digest of a user's password, if the user is enabled and has one.
    pub(crate) async fn password(&self, user: &str) -> Result<Option<String>, StoreError> {
        sqlx::query(
            "SELECT user_password.hash FROM user_password \
             JOIN service_user ON service_user.user_name = user_password.user_name \
             WHERE user_password.user_name = $1 AND service_user.enabled = 1",
        )
        .bind(user.to_owned())
        .find(self.reader(), "read the digest of a password", |row| Fields(row).text("hash"))
        .await
    }

    /// Sets a user's password. Ends what was begun before: all sessions but `kept`, and all links.
    pub(crate) async fn set_password(&self, user: &str, hash: &str, kept: Option<&str>, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        sqlx::query(
            "INSERT INTO user_password (user_name, hash, changed_at) VALUES ($1, $2, $3) \
             ON CONFLICT (user_name) DO UPDATE SET hash = $2, changed_at = $3",
        )
        .bind(user.to_owned())
        .bind(hash.to_owned())
        .bind(now.0)
        .run(&mut *tx, "set a password")
        .await?;
        end_sessions(&mut tx, user, kept).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Removes a user's password, with what was begun. None there: only that ends.
    pub(crate) async fn delete_password(&self, user: &str) -> Change {
        let mut tx = self.begin().await?;
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        sqlx::query("DELETE FROM user_password WHERE user_name = $1")
            .bind(user.to_owned())
            .run(&mut *tx, "remove a password")
            .await?;
        end_sessions(&mut tx, user, None).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Adds a link that is good for one sign-in.
    pub(crate) async fn add_link(&self, user: &str, hash: &str, expires_at: Timestamp, now: Timestamp) -> Change {
        let mut tx = self.begin().await?;
        let what = "add a sign-in link";
        if !user_exists(&mut *tx, user).await? {
            return Ok(Err(no_user(user)));
        }
        sqlx::query("DELETE FROM sign_in_link WHERE expires_at <= $1").bind(now.0).run(&mut *tx, what).await?;
        sqlx::query("INSERT INTO sign_in_link (link_hash, user_name, expires_at) VALUES ($1, $2, $3)")
            .bind(hash.to_owned())
            .bind(user.to_owned())
            .bind(expires_at.0)
            .run(&mut *tx, what)
            .await?;
        sqlx::query(
            "DELETE FROM sign_in_link WHERE user_name = $1 AND link_hash NOT IN (SELECT link_hash FROM sign_in_link \
             WHERE user_name = $1 ORDER BY expires_at DESC, link_hash LIMIT $2)",
        )
        .bind(user.to_owned())
        .bind(MOST_LINKS)
        .run(&mut *tx, what)
        .await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Whose link it is, if it is good.
    pub(crate) async fn link(&self, hash: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        sqlx::query(
            "SELECT sign_in_link.user_name FROM sign_in_link \
             JOIN service_user ON service_user.user_name = sign_in_link.user_name \
             WHERE sign_in_link.link_hash = $1 AND sign_in_link.expires_at > $2 AND service_user.enabled = 1",
        )
        .bind(hash.to_owned())
        .bind(now.0)
        .find(self.reader(), "read a sign-in link", |row| Fields(row).text("user_name"))
        .await
    }

    /// Begins a session, and uses up the link that it is begun with. False if what it is begun with is not good any more.
    pub(crate) async fn add_session(&self, new: NewSession<'_>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let what = "begin a session";
        let (user, now) = (new.user, new.created_at);
        if let Some(link) = new.link {
            let used = sqlx::query("DELETE FROM sign_in_link WHERE link_hash = $1 AND expires_at > $2")
                .bind(link.to_owned())
                .bind(now.0)
                .run(&mut *tx, what)
                .await?;
            if used == 0 {
                return Ok(false);
            }
        }
        if let Some(password) = new.password {
            let is_same = sqlx::query("SELECT user_name FROM user_password WHERE user_name = $1 AND hash = $2")
                .bind(user.to_owned())
                .bind(password.to_owned())
                .exists(&mut *tx, what)
                .await?;
            if !is_same {
                return Ok(false);
            }
        }
        let enabled = sqlx::query("SELECT user_name FROM service_user WHERE user_name = $1 AND enabled = 1")
            .bind(user.to_owned())
            .exists(&mut *tx, what)
            .await?;
        if !enabled {
            return Ok(false);
        }
        sqlx::query("DELETE FROM console_session WHERE ends_at <= $1").bind(now.0).run(&mut *tx, what).await?;
        sqlx::query(
            "INSERT INTO console_session (session_hash, session_id, user_name, signed_in_with, access_key_id, \
             created_at, last_used_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        )
        .bind(new.hash.to_owned())
        .bind(new.id.to_owned())
        .bind(user.to_owned())
        .bind(new.with.as_str())
        .bind(new.access_key_id.map(str::to_owned))
        .bind(now.0)
        .bind(new.ends_at.0)
        .run(&mut *tx, what)
        .await?;
        sqlx::query(
            "DELETE FROM console_session WHERE user_name = $1 AND session_hash NOT IN (SELECT session_hash \
             FROM console_session WHERE user_name = $1 ORDER BY created_at DESC, session_hash LIMIT $2)",
        )
        .bind(user.to_owned())
        .bind(MOST_SESSIONS)
        .run(&mut *tx, what)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The session of this digest, if it is valid: neither too old nor idle for too long, its user enabled, and the key
    /// that it was begun with still taken.
    pub(crate) async fn session(
        &self,
        hash: &str,
        idle: Millis,
        now: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        sqlx::query(
            "SELECT console_session.* FROM console_session \
             JOIN service_user ON service_user.user_name = console_session.user_name \
             WHERE console_session.session_hash = $1 AND console_session.ends_at > $2 \
             AND console_session.last_used_at > $3 AND service_user.enabled = 1 \
             AND (console_session.access_key_id IS NULL OR EXISTS (SELECT access_key.access_key_id FROM access_key \
             WHERE access_key.access_key_id = console_session.access_key_id AND access_key.enabled = 1 \
             AND (access_key.ends_at IS NULL OR access_key.ends_at > $2)))",
        )
        .bind(hash.to_owned())
        .bind(now.0)
        .bind(now.0.saturating_sub(idle.0))
        .find(self.reader(), "read a session", session)
        .await
    }

    /// Records that a session was used; never an earlier time than is known.
    pub(crate) async fn session_used(&self, hash: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE console_session SET last_used_at = $1 WHERE session_hash = $2 AND last_used_at < $1")
            .bind(now.0)
            .bind(hash.to_owned())
            .run(&mut *tx, "record the use of a session")
            .await?;
        tx.commit().await
    }

    /// Ends one session. Ended already: nothing changes.
    pub(crate) async fn end_session(&self, hash: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM console_session WHERE session_hash = $1")
            .bind(hash.to_owned())
            .run(&mut *tx, "end a session")
            .await?;
        tx.commit().await
    }

    /// Ends all sessions of a user.
    pub(crate) async fn end_sessions_of(&self, user: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        end_sessions(&mut tx, user, None).await?;
        tx.commit().await
    }
}

/// Ends all sessions of a user but the one with the digest `kept`, and takes back links that were not used.
pub(super) async fn end_sessions(tx: &mut Tx, user: &str, kept: Option<&str>) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM console_session WHERE user_name = $1 AND session_hash <> $2")
        .bind(user.to_owned())
        .bind(kept.unwrap_or_default().to_owned())
        .run(&mut **tx, "end the sessions of a user")
        .await?;
    sqlx::query("DELETE FROM sign_in_link WHERE user_name = $1")
        .bind(user.to_owned())
        .run(&mut **tx, "take back the sign-in links of a user")
        .await?;
    Ok(())
}

/// Ends all sessions that were begun with a key.
pub(super) async fn end_sessions_of_key(tx: &mut Tx, access_key_id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM console_session WHERE access_key_id = $1")
        .bind(access_key_id.to_owned())
        .run(&mut **tx, "end the sessions of an access key")
        .await?;
    Ok(())
}

fn session(row: &AnyRow) -> Result<SessionRecord, StoreError> {
    let fields = Fields(row);
    Ok(SessionRecord {
        id: fields.text("session_id")?,
        user: fields.text("user_name")?,
        with: fields.name("signed_in_with", SignedInWith::parse)?,
        created_at: fields.time("created_at")?,
        last_used_at: fields.time("last_used_at")?,
        ends_at: fields.time("ends_at")?,
    })
}
