//! `GET /events`: says what has changed, as server-sent events.
//!
//! Nothing is queued for a listener: it remembers the last revision that it was told of, and is told what has changed
//! since. So a slow one costs no memory, and one that comes back misses nothing.

use super::streams::Place;
use super::{cookie, expired, site};
use crate::errors::{ApiError, ErrorCode};
use crate::router::Shared;
use crate::shapes::session::StreamEvent;
use crate::wire;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use godwit_control::changes::{Kind, Revisions};
use godwit_control::service::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(500);

/// A stream that has nothing to tell says that it is there: whoever hears nothing knows that it is not.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Milliseconds after which browsers try again when a stream has ended.
const RETRY: u64 = 2_000;

/// Seconds after which it makes sense to ask for a stream again when there were too many.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("10");

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Opens a stream.
pub(crate) async fn events(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = shared.new_id();
    match open(&shared, request.headers()).await {
        Ok(stream) => {
            let body = Body::from_stream(stream::unfold(stream, Listener::next));
            let mut response = wire::finished(http::StatusCode::OK, EVENTS, body, &id);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            let too_many = error.code() == ErrorCode::TooManyStreamsException;
            let mut response = wire::response(Err(error), &id);
            if too_many {
                response.headers_mut().insert(header::RETRY_AFTER, COME_AGAIN);
            }
            response
        }
    }
}

async fn open(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Listener, ApiError> {
    site::check(headers)?;
    let secret = cookie::secret(headers).ok_or_else(expired)?;
    let now = (shared.state.clock)();
    let session = shared.state.service.session(&secret, false, now).await?.ok_or_else(expired)?;
    let place = shared.streams.place(&session.id).ok_or_else(|| {
        let message = "There are too many streams of changes: close some pages, or let them share one.";
        ApiError::new(ErrorCode::TooManyStreamsException, message)
    })?;
    let last = headers.get(&LAST_EVENT).map(|value| value.to_str().unwrap_or_default().to_owned());
    let heard = shared.state.service.changes().listen();
    let told = heard.borrow().last;
    let at = Instant::now();
    Ok(Listener {
        shared: shared.clone(),
        heard,
        told,
        at,
        secret,
        last,
        is_greeted: false,
        is_over: false,
        _place: place,
    })
}

struct Listener {
    shared: Arc<Shared>,
    heard: watch::Receiver<Revisions>,
    /// The last revision that was told.
    told: u64,
    /// When something was told last.
    at: Instant,
    secret: Secret,
    /// What the browser heard last, if it was here before.
    last: Option<String>,
    is_greeted: bool,
    is_over: bool,
    _place: Place,
}

impl Listener {
    /// The next event, when there is one; the end of the stream, when the service stops or has said its last word.
    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Listener)> {
        if self.is_over {
            return None;
        }
        let event = if self.is_greeted { self.after_greeting().await? } else { self.greeting() };
        self.at = Instant::now();
        Some((Ok(event), self))
    }

    fn greeting(&mut self) -> Bytes {
        self.is_greeted = true;
        let revisions = self.heard.borrow_and_update().clone();
        self.told = revisions.last;
        let changed = self.last.take().map_or(vec![], |last| missed(&last, self.shared.boot, &revisions));
        let data = StreamEvent { version: Some(crate::VERSION.to_owned()), ..self.data(Some(changed)) };
        let event = self.event("hello", true, &data);
        Bytes::from(format!("retry: {RETRY}\n\n{event}"))
    }

    async fn after_greeting(&mut self) -> Option<Bytes> {
        let Listener { shared, heard, told, at, .. } = self;
        let (told, at) = (*told, *at);
        let changed = async {
            sleep_until(at + GATHER).await;
            heard.wait_for(|revisions| revisions.last > told).await.map(|revisions| revisions.clone())
        };
        let changed = tokio::select! {
            () = shared.state.stop.cancelled() => return None,
            changed = changed => Some(changed.ok()?),
            () = sleep_until(at + HEARTBEAT) => None,
        };
        if self.has_ended().await {
            self.is_over = true;
            let data = StreamEvent { revision: None, ..self.data(None) };
            return Some(Bytes::from(self.event("signed-out", false, &data)));
        }
        let Some(revisions) = changed else {
            return Some(Bytes::from(self.event("heartbeat", false, &self.data(None))));
        };
        let kinds = revisions.since(self.told);
        self.told = revisions.last;
        Some(Bytes::from(self.event("change", true, &self.data(Some(kinds)))))
    }

    /// Whether the session has ended. That it cannot be found out ends nothing.
    async fn has_ended(&self) -> bool {
        let now = (self.shared.state.clock)();
        matches!(self.shared.state.service.session(&self.secret, false, now).await, Ok(None))
    }

    fn data(&self, changed: Option<Vec<Kind>>) -> StreamEvent {
        StreamEvent {
            revision: Some(self.told),
            server_time: (self.shared.state.clock)().into(),
            changed: changed.map(|kinds| kinds.into_iter().map(Into::into).collect()),
            version: None,
        }
    }

    /// An event with its id, if it is one to go on from.
    fn event(&self, name: &str, has_id: bool, data: &StreamEvent) -> String {
        let id = if has_id { format!("id: {:08x}-{}\n", self.shared.boot, self.told) } else { String::new() };
        let data = serde_json::to_string(data).expect("a structure of texts and numbers");
        format!("{id}event: {name}\ndata: {data}\n\n")
    }
}

/// What has changed since the event of this id. Everything, if it is of another process or makes no sense.
fn missed(last: &str, boot: u32, revisions: &Revisions) -> Vec<Kind> {
    let known = last.split_once('-').and_then(|(process, revision)| {
        let is_ours = u32::from_str_radix(process, 16) == Ok(boot);
        revision.parse().ok().filter(|revision| is_ours && *revision <= revisions.last)
    });
    known.map_or_else(|| Kind::ALL.to_vec(), |revision| revisions.since(revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_is_told_everything_unless_it_is_known_what_it_heard() {
        let nothing = Revisions::default();
        assert_eq!(missed("0000002a-0", 42, &nothing), []);
        for strange in ["", "0000002b-0", "0000002a-1", "0000002a", "0000002a-x", "-", "2a--1"] {
            assert_eq!(missed(strange, 42, &nothing), Kind::ALL, "{strange}");
        }
    }
}
