//! What the console needs besides operations: sessions and a stream of changes.
//!
//! A browser proves who asks by a cookie that no script can read. It sends that along whoever made the request, so that
//! a request counts only if it shows that a page of ours made it: [`site`]. Nothing here does what an operation does:
//! the console calls the same ones as everybody, under the same permissions, and the audit trail names its user.

mod cookie;
mod events;
mod handlers;
mod site;
mod streams;

pub(crate) use events::events;
pub(crate) use handlers::{change_password, describe, sign_in, sign_out};
pub(crate) use streams::Streams;

use crate::errors::{ApiError, ErrorCode};
use godwit_control::service::{Secret, Service, Session};
use godwit_model::time::Timestamp;
use http::{HeaderMap, HeaderName, header};

/// Says that a page of ours made a request. No form and no image of another site can send it.
const CONSOLE: HeaderName = HeaderName::from_static("x-godwit-console");

/// Says that nobody asked for a request: a page fetches again by itself. It keeps no session alive.
const BACKGROUND: HeaderName = HeaderName::from_static("x-godwit-background");

/// A connection that nobody can read along. Put into a request's extensions by whoever accepts connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encrypted;

/// The secret of the session that a call is to be made in: the cookie in place of a signature. `None` if the request is
/// signed, or has neither.
pub(crate) fn of_call(headers: &HeaderMap) -> Result<Option<Secret>, ApiError> {
    let cookie = cookie::secret(headers);
    let is_of_console = headers.contains_key(&CONSOLE);
    if headers.contains_key(header::AUTHORIZATION) || (cookie.is_none() && !is_of_console) {
        return Ok(None);
    }
    site::check(headers)?;
    if headers.get(&CONSOLE).is_none_or(|value| value != "1") {
        return Err(site::foreign("it does not have the header x-godwit-console: 1"));
    }
    if !site::has_type(headers, "application/x-amz-json-1.1") {
        return Err(site::foreign("its content type is not application/x-amz-json-1.1"));
    }
    cookie.map(Some).ok_or_else(expired)
}

/// The session of a secret, or the refusal.
pub(crate) async fn session(
    service: &Service,
    secret: &Secret,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Session, ApiError> {
    let is_used = !headers.contains_key(&BACKGROUND);
    service.session(secret, is_used, now).await?.ok_or_else(expired)
}

fn expired() -> ApiError {
    ApiError::new(ErrorCode::SessionExpiredException, "There is no session, or it has ended: sign in.")
}
