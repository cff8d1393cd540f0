//! Sign-in, sign-out, and what a page has to know of its session.

use super::{Encrypted, cookie, expired, session, site};
use crate::audit::Peer;
use crate::errors::{ApiError, ErrorCode};
use crate::operations;
use crate::router::Shared;
use crate::shapes::session::{ChangePasswordRequest, SessionDescription, SignInRequest, SignedInWith};
use crate::wire::{self, Answer};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use godwit_control::audit::{Caller, NewAuditRecord, OK};
use godwit_control::service::{self, NotSignedIn, Secret, Session, SignIn};
use godwit_model::time::{Millis, Timestamp};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Largest body: a password and some names.
const BODY_LIMIT: usize = 4 << 10;

/// How long it may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What is answered to whatever is wrong when somebody signs in.
const WRONG: &str = "The user name or the password is wrong, or the key or the link is not valid.";

/// An answer, and what goes with it.
struct Outcome {
    answer: Result<Body, ApiError>,
    cookie: Option<HeaderValue>,
    retry_after: Option<Millis>,
}

impl From<ApiError> for Outcome {
    fn from(error: ApiError) -> Self {
        Outcome { answer: Err(error), cookie: None, retry_after: None }
    }
}

/// `POST /session`.
pub(crate) async fn sign_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = shared.new_id();
    let (head, body) = request.into_parts();
    // A task of its own: who goes away in the midst of it leaves no session that is not on record.
    let (at_work, told) = (shared.clone(), id.clone());
    let task = tokio::spawn(async move { begin(&at_work, &head, body, &told).await.unwrap_or_else(Outcome::from) });
    response(task.await.unwrap_or_else(|_| broken().into()), &id)
}

async fn begin(shared: &Shared, head: &Parts, body: Body, id: &str) -> Result<Outcome, ApiError> {
    let request: SignInRequest = read(head, body).await?;
    let now = (shared.state.clock)();
    let service = &shared.state.service;
    let key = match &request {
        SignInRequest::AccessKey { access_key_id, .. } => Some(access_key_id.clone()),
        // What is typed as a name may be a password.
        _ => None,
    };
    let proof = match service.prove(inner(request), &address(head), now).await {
        Ok(proof) => proof,
        Err(error) => {
            let outcome = refusal(error);
            if let Err(error) = &outcome.answer {
                tracing::info!(outcome = error.code().as_str(), address = address(head), request_id = id, "sign-in");
                service.audit_refused(error.code().as_str(), key.as_deref());
            }
            return Ok(outcome);
        }
    };
    let caller = Caller { user: Some(proof.user.clone()), access_key_id: proof.session_id.clone() };
    let record = Record { head, id, caller, action: "godwit:SignIn", parameters: json!({"with": proof.with.as_str()}) };
    service.audit_begin(&record.of(now, None)).await?;
    let begun = service.begin_session(&proof, now).await.map_err(ApiError::from);
    let begun = begun.and_then(|begun| begun.ok_or_else(|| ApiError::new(ErrorCode::AccessDeniedException, WRONG)));
    service.audit_end(record.of(now, Some(begun.as_ref().map(|_| ())))).await;
    let (secret, session) = begun?;
    tracing::info!(outcome = "OK", user = session.user, session = session.id, request_id = id, "sign-in");
    let cookie = cookie::set(&secret, (session.ends_at - now).0 / Millis::SECOND.0, is_encrypted(head));
    Ok(Outcome { answer: Ok(description(shared, &session, now).await?), cookie: Some(cookie), retry_after: None })
}

/// `GET /session`.
pub(crate) async fn describe(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let described = async {
        site::check(&head.headers)?;
        let now = (shared.state.clock)();
        let secret = cookie::secret(&head.headers).ok_or_else(expired)?;
        let session = session(&shared.state.service, &secret, &head.headers, now).await?;
        description(&shared, &session, now).await
    };
    let answer = described.await;
    response(Outcome { answer, cookie: None, retry_after: None }, &shared.new_id())
}

/// `DELETE /session`.
pub(crate) async fn sign_out(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = shared.new_id();
    let (head, _) = request.into_parts();
    let is_encrypted = is_encrypted(&head);
    let (at_work, told) = (shared.clone(), id.clone());
    let task = tokio::spawn(async move { end(&at_work, &head, &told).await });
    let answer = task.await.unwrap_or_else(|_| Err(broken())).map(|()| Body::empty());
    let cookie = answer.is_ok().then(|| cookie::clear(is_encrypted));
    response(Outcome { answer, cookie, retry_after: None }, &id)
}

async fn end(shared: &Shared, head: &Parts, id: &str) -> Result<(), ApiError> {
    site::check(&head.headers)?;
    let now = (shared.state.clock)();
    let service = &shared.state.service;
    let Some(secret) = cookie::secret(&head.headers) else { return Ok(()) };
    let Some(session) = service.session(&secret, false, now).await? else { return Ok(()) };
    let everywhere = head.uri.query().is_some_and(|query| query.split('&').any(|part| part == "everywhere"));
    let parameters = json!({ "everywhere": everywhere });
    let record = Record { head, id, caller: caller(&session), action: "godwit:SignOut", parameters };
    service.audit_begin(&record.of(now, None)).await?;
    let ended = service.end_session(&session, everywhere).await.map_err(ApiError::from);
    service.audit_end(record.of(now, Some(ended.as_ref().map(|_| ())))).await;
    ended
}

/// `PUT /session/password`.
pub(crate) async fn change_password(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = shared.new_id();
    let (head, body) = request.into_parts();
    let (at_work, told) = (shared.clone(), id.clone());
    let task = tokio::spawn(async move { change(&at_work, &head, body, &told).await.unwrap_or_else(Outcome::from) });
    response(task.await.unwrap_or_else(|_| broken().into()), &id)
}

async fn change(shared: &Shared, head: &Parts, body: Body, id: &str) -> Result<Outcome, ApiError> {
    let now = (shared.state.clock)();
    let service = &shared.state.service;
    site::check(&head.headers)?;
    let secret = cookie::secret(&head.headers).ok_or_else(expired)?;
    let session = session(service, &secret, &head.headers, now).await?;
    let ChangePasswordRequest { new_password, current_password } = read(head, body).await?;
    let record = Record { head, id, caller: caller(&session), action: "godwit:ChangePassword", parameters: json!({}) };
    service.audit_begin(&record.of(now, None)).await?;
    let (current, new) = (current_password.map(Secret::new), Secret::new(new_password));
    let changed = service.change_password(&session, current, new, &address(head), now).await;
    let outcome = match changed {
        Ok(()) => Outcome { answer: Ok(Body::empty()), cookie: None, retry_after: None },
        Err(error) => refusal(error),
    };
    service.audit_end(record.of(now, Some(outcome.answer.as_ref().map(|_| ())))).await;
    Ok(outcome)
}

fn caller(session: &Session) -> Caller {
    Caller { user: Some(session.user.clone()), access_key_id: session.id.clone() }
}

fn refusal(error: NotSignedIn) -> Outcome {
    match error {
        NotSignedIn::Wrong => ApiError::new(ErrorCode::AccessDeniedException, WRONG).into(),
        NotSignedIn::Failed(error) => ApiError::from(error).into(),
        NotSignedIn::TooOften(wait) => {
            let seconds = whole_seconds(wait);
            let message = format!("Too many attempts have failed: try again in {seconds} s.");
            let answer = Err(ApiError::new(ErrorCode::TooManyRequestsException, message));
            Outcome { answer, cookie: None, retry_after: Some(wait) }
        }
    }
}

/// Rounded up: before that it would be too early.
fn whole_seconds(wait: Millis) -> i64 {
    (wait.0.max(1) - 1) / Millis::SECOND.0 + 1
}

fn broken() -> ApiError {
    ApiError::new(ErrorCode::InternalError, "Godwit broke one of its own rules: its log says more.")
}

/// What goes on record of a call that is no operation.
struct Record<'a> {
    head: &'a Parts,
    id: &'a str,
    caller: Caller,
    action: &'static str,
    parameters: Value,
}

impl Record<'_> {
    fn of(&self, now: Timestamp, outcome: Option<Result<(), &ApiError>>) -> NewAuditRecord {
        let (outcome, message) = match outcome {
            None => (String::new(), String::new()),
            Some(Ok(())) => (OK.to_owned(), String::new()),
            Some(Err(error)) => (error.code().as_str().to_owned(), error.message().to_owned()),
        };
        NewAuditRecord {
            at: now,
            caller: self.caller.clone(),
            action: self.action.to_owned(),
            parameters: self.parameters.to_string(),
            outcome,
            message,
            request_id: self.id.to_owned(),
            source: self.head.extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
        }
    }
}

async fn description(shared: &Shared, session: &Session, now: Timestamp) -> Result<Body, ApiError> {
    let service = &shared.state.service;
    let names = [session.user.clone()];
    let user = service.describe_users(Some(&names), &Default::default()).await?.items.pop().ok_or_else(expired)?;
    let works = operations::TABLE.iter().filter(|entry| entry.works()).map(|entry| entry.permission);
    let mut actions = service.allowed(&session.user, &works.collect::<Vec<_>>()).await?;
    actions.sort_unstable();
    let description = SessionDescription {
        user_name: session.user.clone(),
        policy_names: user.policies,
        actions: actions.into_iter().map(str::to_owned).collect(),
        signed_in_with: match session.with {
            service::SignedInWith::Password => SignedInWith::Password,
            service::SignedInWith::AccessKey => SignedInWith::AccessKey,
            service::SignedInWith::Link => SignedInWith::Link,
        },
        has_password: user.has_password,
        server_time: now.into(),
        created_at: session.created_at.into(),
        expires_at: session.expires_at.into(),
        ends_at: session.ends_at.into(),
        version: crate::VERSION.to_owned(),
    };
    match Answer::json(&description)? {
        Answer::Json(text) | Answer::Octets(text) => Ok(Body::from(text)),
    }
}

/// A small JSON body of a page of ours. What it says is repeated in no message: it holds passwords.
async fn read<T: DeserializeOwned>(head: &Parts, body: Body) -> Result<T, ApiError> {
    site::check(&head.headers)?;
    if !site::has_type(&head.headers, "application/json") {
        let message = "The body must have the content type application/json.";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaTypeException, message));
    }
    let mut body = body.into_data_stream();
    let text = timeout(BODY_TIME, wire::body(&mut body, BODY_LIMIT)).await;
    let text: Bytes = text.map_err(|_| not_understood())??;
    serde_json::from_slice(&text).map_err(|_| not_understood())
}

fn not_understood() -> ApiError {
    let message = "The body is not one of those that docs/console-api.md lists for this path.";
    ApiError::new(ErrorCode::SerializationException, message)
}

fn inner(request: SignInRequest) -> SignIn {
    match request {
        SignInRequest::Password { user_name, password } => SignIn::Password(user_name, Secret::new(password)),
        SignInRequest::AccessKey { access_key_id, secret_access_key } => {
            SignIn::AccessKey(access_key_id, Secret::new(secret_access_key))
        }
        SignInRequest::Link { link } => SignIn::Link(Secret::new(link)),
    }
}

/// Where attempts are counted. Whoever has one address of IPv6 has 2^64 of them.
fn address(head: &Parts) -> String {
    let Some(Peer(peer)) = head.extensions.get() else { return "unknown".to_owned() };
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}", &address.segments()[..4]),
    }
}

fn is_encrypted(head: &Parts) -> bool {
    head.extensions.get::<Encrypted>().is_some()
}

fn response(outcome: Outcome, id: &str) -> Response {
    let mut response = match outcome.answer {
        Ok(body) => {
            let is_empty = axum::body::HttpBody::size_hint(&body).exact() == Some(0);
            let status = if is_empty { StatusCode::NO_CONTENT } else { StatusCode::OK };
            wire::finished(status, HeaderValue::from_static("application/json"), body, id)
        }
        Err(error) => wire::response(Err(error), id),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = outcome.cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    if let Some(wait) = outcome.retry_after {
        headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
    }
    response
}
